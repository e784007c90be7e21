//! What the keeper is told, and what its absence means.

use steersman_engine::effect::{Message, Record};
use steersman_engine::input::{KeeperNews, KeeperPowers};

use super::*;

impl Bench {
    /// What the keeper was told, in order: until when, and the numbers of the jobs.
    fn guards(&self) -> Vec<(Option<u64>, Vec<u16>)> {
        let guards = self.effects.iter().filter_map(|effect| match effect {
            Effect::Guard { until, jobs, .. } => {
                let until = until.map(|until| until.0 / 1_000_000);
                Some((until, jobs.iter().map(|job| job.0).collect()))
            }
            _ => None,
        });
        guards.collect()
    }

    fn place(&self, is_it: impl Fn(&Effect) -> bool) -> Option<usize> {
        self.effects.iter().position(is_it)
    }

    fn keeper(&mut self, news: KeeperNews) {
        self.feed(Input::Keeper(news));
    }

    fn keeper_comes(&mut self) {
        self.keeper(KeeperNews::Ready(KeeperPowers::default()));
    }

    fn keeper_goes(&mut self) {
        self.keeper(KeeperNews::Lost("killed".into()));
    }
}

fn requiring() -> Config {
    let mut config = config();
    config.locks[0].keeper = Keeping::Required;
    config
}

/// A candidate that has just been granted a lock that nobody held for long.
fn granted_to(config: Config) -> Bench {
    let mut bench = Bench::new(config);
    bench.expect("SessionCreate", ConsulReply::Session { id: MINE.into() });
    bench.read(Some(entry(None, 70, RELEASED_FLAG)));
    bench.expect("Acquire", granted());
    bench
}

fn is_start(effect: &Effect) -> bool {
    matches!(effect, Effect::Start { .. })
}

#[test]
fn keeper_knows_the_time_and_the_jobs_before_one_of_them_starts() {
    let bench = leading(config());
    let guard = bench.place(|effect| matches!(effect, Effect::Guard { until: Some(_), .. }));
    assert!(guard < bench.place(is_start));
    let guards = bench.guards();
    // demoteAfter and stopTimeout after the sending of what was answered last.
    assert!(
        guards.iter().all(|(until, jobs)| *until == Some(18_000) && *jobs == [0]),
        "{guards:?}"
    );
}

#[test]
fn every_renewal_that_is_answered_moves_the_time_on_and_no_other_does() {
    let mut bench = leading(config());
    bench.keeper_comes();
    bench.pass_holding(11_000);
    let times: Vec<_> = bench.guards().iter().map(|(until, _)| *until).collect();
    assert_eq!(times.last(), Some(&Some(10_000 + 18_000)));
    assert!(times.is_sorted());
    bench.effects.clear();
    bench.renews = false;
    bench.pass_holding(12_500);
    assert_eq!(bench.guards(), vec![], "nothing was answered");
}

#[test]
fn term_that_is_being_ended_is_guarded_until_nothing_of_it_is_left() {
    let mut bench = leading(config());
    bench.keeper_comes();
    bench.effects.clear();
    bench.feed(Input::Signal(SignalName::Term));
    bench.pass(4_000);
    assert!(bench.guards().iter().all(|(until, _)| until.is_some()));
    bench.effects.clear();
    bench.ended(1);
    assert_eq!(bench.guards(), vec![(None, vec![0])]);
    let is_release = |effect: &Effect| {
        matches!(effect, Effect::Consul { request: ConsulRequest::Release { .. }, .. })
    };
    let lifted = bench.place(|effect| matches!(effect, Effect::Guard { .. }));
    assert!(lifted < bench.place(is_release));
}

#[test]
fn job_that_also_runs_outside_terms_is_guarded_within_them_only() {
    let mut config = config();
    let mut server = Job::new("server", Command::new(["/bin/server"]));
    server.stop_with = Some("primary".into());
    config.jobs.push(Arc::new(server));
    let mut bench = Bench::new(config);
    bench.expect("SessionCreate", ConsulReply::Session { id: MINE.into() });
    bench.read(None);
    bench.expect("Acquire", granted());
    assert!(bench.guards().iter().all(|(_, jobs)| *jobs == [0]), "quiet: {:?}", bench.guards());
    bench.pass_holding(20_500);
    assert_eq!(bench.guards().last().unwrap().1, vec![0, 1]);
}

#[test]
fn job_that_a_reload_adds_to_a_term_is_guarded_before_it_starts() {
    let mut bench = leading(config());
    bench.keeper_comes();
    bench.effects.clear();
    let mut more = config();
    let mut other = Job::new("other", Command::new(["/bin/other"]));
    other.while_lock = Some("primary".into());
    more.jobs.push(Arc::new(other));
    let command = Control::Reload { all: false };
    bench.feed(Input::Control { request: RequestId(1), command });
    bench.feed(Input::Loaded { config: Ok(Box::new(more)) });
    let knows = |effect: &Effect| matches!(effect, Effect::Guard { jobs, .. } if jobs.len() == 2);
    assert!(bench.place(knows).is_some());
    assert!(bench.place(knows) < bench.place(is_start));
}

#[test]
fn lock_without_a_keeper_tells_none() {
    let mut config = config();
    config.locks[0].keeper = Keeping::Off;
    let mut bench = leading(config);
    bench.pass_holding(11_000);
    assert_eq!(bench.guards(), vec![]);
    assert_eq!(bench.engine.status().locks[0].guarded, None);
}

#[test]
fn lost_keeper_is_replaced_after_a_wait_that_grows_and_the_term_goes_on() {
    let mut bench = leading(config());
    bench.keeper_comes();
    assert_eq!(bench.engine.status().locks[0].guarded, Some(true));
    let mut waits = Vec::new();
    for _ in 0..6 {
        bench.keeper_goes();
        assert_eq!(bench.engine.status().locks[0].guarded, Some(false));
        bench.effects.clear();
        let lost_ms = bench.now_ms;
        while bench.guards().is_empty() {
            bench.pass(10);
            assert!(bench.now_ms < lost_ms + 60_000, "never asked for again");
        }
        waits.push(bench.now_ms - lost_ms);
    }
    assert!(waits.is_sorted(), "{waits:?}");
    assert!(waits[0] <= 110, "{waits:?}");
    assert!(waits[5] >= 20 * waits[0], "{waits:?}");
    assert_eq!(bench.signals(), vec![]);
    bench.keeper_comes();
    assert_eq!(bench.engine.status().locks[0].guarded, Some(true));
}

#[test]
fn loss_of_the_keeper_is_said() {
    let mut bench = leading(config());
    bench.keeper_comes();
    bench.effects.clear();
    bench.keeper_goes();
    let is_said = |effect: &Effect| {
        let Effect::Log(Record { message, .. }) = effect else { return false };
        matches!(message, Message::KeeperLost { reason } if &**reason == "killed")
    };
    assert!(bench.place(is_said).is_some());
}

#[test]
fn term_that_requires_a_keeper_begins_when_there_is_one() {
    let mut bench = granted_to(requiring());
    bench.pass(500);
    assert_eq!(bench.starts(), 0);
    bench.keeper_comes();
    // The key is looked at once more: a moment has passed.
    holder_is_me(&mut bench);
    assert_eq!(bench.starts(), 1);
}

#[test]
fn lock_whose_required_keeper_does_not_come_is_given_back() {
    let mut bench = granted_to(requiring());
    bench.keeper_goes();
    bench.pass(2_100);
    assert_eq!(bench.starts(), 0);
    bench.expect("SessionDestroy", ConsulReply::Done);
}

#[test]
fn term_ends_when_its_required_keeper_stays_away() {
    let mut bench = granted_to(requiring());
    bench.keeper_comes();
    holder_is_me(&mut bench);
    bench.started(1);
    bench.keeper_goes();
    bench.pass(1_900);
    bench.keeper_comes();
    bench.pass_holding(3_000);
    assert_eq!(bench.signals(), vec![], "it was there again in time");
    bench.keeper_goes();
    bench.pass(2_100);
    assert_eq!(bench.signals(), vec![Signal::TERM]);
}

#[test]
fn news_of_a_keeper_that_nobody_needs_change_nothing() {
    let mut bench = Bench::new(config());
    let before = bench.engine.digest();
    bench.effects.clear();
    bench.keeper_comes();
    bench.keeper_goes();
    assert_eq!(bench.effects, vec![]);
    assert_eq!(bench.engine.digest(), before);
}
