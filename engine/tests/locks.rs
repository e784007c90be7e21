//! Locks, rule by rule, against scripted answers.
//!
//! - a term: session, key, token, quiet time, jobs
//! - its end: deadline, session gone, key gone, pause, orderly stop, maintenance, health, reload
//! - standing again: hold-off, refusals, many candidates
//! - the keeper (`locks/guarding.rs`)
//! - how old a reading of the key may get (`locks/readings.rs`)
//! - giving back when Consul does not hear it (`locks/vacating.rs`)

use std::sync::Arc;
use std::time::Duration;

use steersman_engine::config::{
    CheckStatus, Command, Config, HealthCheck, Job, Keeping, Lock, Restarts, Service, Signal,
    Takeover,
};
use steersman_engine::consul::{ConsulFailure, ConsulOp, ConsulReply, ConsulRequest, Entry, Owner};
use steersman_engine::event::SignalName;
use steersman_engine::input::{Control, ExitStatus, Tree};
use steersman_engine::limits::{HELD_FLAG, RELEASED_FLAG};
use steersman_engine::status::{PhaseWord, StandingWord};
use steersman_engine::{
    Code, Effect, Engine, Input, JobId, RequestId, RunId, RunKind, Source, Stamp, Time,
};

#[path = "locks/guarding.rs"]
mod guarding;
#[path = "locks/readings.rs"]
mod readings;
#[path = "locks/vacating.rs"]
mod vacating;

const MINE: &str = "11111111-aaaa";
const OTHERS: &str = "22222222-bbbb";

/// An engine with one lock and one job under it, its clock, and everything it ever asked for.
struct Bench {
    engine: Engine,
    now_ms: u64,
    effects: Vec<Effect>,
    /// Whether renewals are answered by themselves.
    renews: bool,
}

impl Bench {
    fn new(config: Config) -> Bench {
        let engine = Engine::new(config, 1);
        let mut bench = Bench { engine, now_ms: 0, effects: Vec::new(), renews: true };
        bench.feed(Input::Begin);
        bench
    }

    /// Gives what the status says of the lock.
    fn standing(&self) -> (StandingWord, Option<u64>) {
        let status = self.engine.status();
        (status.locks[0].standing, status.locks[0].token)
    }

    fn feed(&mut self, input: Input) {
        let from = self.effects.len();
        self.engine.handle(Stamp::from_millis(self.now_ms), input, &mut self.effects);
        let renewals: Vec<ConsulOp> = self.effects[from..]
            .iter()
            .filter_map(|effect| match effect {
                Effect::Consul { op, request: ConsulRequest::SessionRenew { .. }, .. } => Some(*op),
                _ => None,
            })
            .collect();
        let renewals = if self.renews { renewals } else { Vec::new() };
        for op in renewals {
            self.answer(op, ConsulReply::Done);
        }
    }

    fn pass(&mut self, span_ms: u64) {
        let until = self.now_ms + span_ms;
        while let Some(Time(at)) = self.engine.next_wakeup() {
            let at_ms = at.div_ceil(1_000_000);
            if at_ms > until {
                break;
            }
            self.now_ms = self.now_ms.max(at_ms);
            self.feed(Input::Tick);
        }
        self.now_ms = until;
        self.feed(Input::Tick);
    }

    /// Lets so much time pass while the key goes on to show that it is held.
    fn pass_holding(&mut self, span_ms: u64) {
        self.pass_showing(span_ms, &entry(Some(MINE), 76, 0));
    }

    fn pass_showing(&mut self, span_ms: u64, entry: &Entry) {
        let until = self.now_ms + span_ms;
        while self.now_ms < until {
            self.pass(100.min(until - self.now_ms));
            if let Some((op, ConsulRequest::LockRead { .. })) = self.asked() {
                let entries = vec![entry.clone()];
                self.answer(op, ConsulReply::Keys { index: entry.modified, entries });
            }
        }
    }

    fn answer(&mut self, op: ConsulOp, reply: ConsulReply) {
        self.feed(Input::Consul { op, reply });
    }

    /// The last request about the lock or its session that is not a renewal.
    fn asked(&self) -> Option<(ConsulOp, ConsulRequest)> {
        self.effects.iter().rev().find_map(|effect| match effect {
            Effect::Consul { op, request, .. }
                if matches!(op.owner, Owner::Lock(_) | Owner::Session(_))
                    && !matches!(request, ConsulRequest::SessionRenew { .. }) =>
            {
                Some((*op, request.clone()))
            }
            _ => None,
        })
    }

    fn stands(&self) -> bool {
        let is_create = |effect: &Effect| {
            matches!(effect, Effect::Consul { request: ConsulRequest::SessionCreate { .. }, .. })
        };
        self.effects.iter().any(is_create)
    }

    /// Waits for a request of a kind and answers it.
    fn expect(&mut self, what: &str, reply: ConsulReply) {
        for _ in 0..2000 {
            if let Some((op, request)) = self.asked()
                && format!("{request:?}").starts_with(what)
            {
                self.effects.clear();
                return self.answer(op, reply);
            }
            self.pass(10);
        }
        panic!("expected {what}, last was {:?}", self.asked());
    }

    fn read(&mut self, entry: Option<Entry>) {
        let index = entry.as_ref().map_or(1, |entry| entry.modified);
        let reply = ConsulReply::Keys { index, entries: entry.into_iter().collect() };
        self.expect("LockRead", reply);
    }

    fn started(&mut self, nth: u32) {
        let run = RunId { job: JobId(0), kind: RunKind::Main, nth };
        self.feed(Input::Started { run, pid: 100 + nth });
    }

    fn ended(&mut self, nth: u32) {
        let run = RunId { job: JobId(0), kind: RunKind::Main, nth };
        let status = ExitStatus::Signal(15);
        self.feed(Input::Exited { run, status, tree: Tree::Gone, output: "".into() });
    }

    fn starts(&self) -> usize {
        self.effects.iter().filter(|effect| matches!(effect, Effect::Start { .. })).count()
    }

    fn signals(&self) -> Vec<Signal> {
        let signals = self.effects.iter().filter_map(|effect| match effect {
            Effect::Signal { signal, .. } => Some(*signal),
            _ => None,
        });
        signals.collect()
    }

    fn codes(&self) -> Vec<Code> {
        let codes = self.effects.iter().filter_map(|effect| match effect {
            Effect::Published(event) if matches!(event.source, Source::Lock(_)) => Some(event.code),
            _ => None,
        });
        codes.collect()
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.effects.iter().rev().find_map(|effect| match effect {
            Effect::SetVariable { name: set, value } if &**set == name => {
                value.as_ref().map(ToString::to_string)
            }
            _ => None,
        })
    }
}

fn lock() -> Lock {
    Lock {
        name: "primary".into(),
        key: "svc/db/leader".into(),
        ttl: Duration::from_secs(20),
        lock_delay: Duration::from_secs(20),
        renew_every: Duration::from_secs(5),
        request_timeout: Duration::from_secs(2),
        demote_after: Duration::from_secs(13),
        stop_timeout: Duration::from_secs(5),
        max_pause: Duration::from_secs(1),
        max_drift_ppm: 1000,
        takeover: Takeover::Auto,
        healthy: None,
        health_grace: Duration::from_secs(15),
        hold_off: Duration::from_secs(30),
        value: Some("10.0.0.1:7101".into()),
        risk_accepted: false,
        stands_again: true,
        give_up_after: None,
        token_file: None,
        keeper: Keeping::Auto,
    }
}

fn config() -> Config {
    let mut job = Job::new("db", Command::new(["/bin/db"]));
    job.restarts = Restarts::Unlimited;
    job.while_lock = Some("primary".into());
    Config { jobs: vec![Arc::new(job)], locks: vec![lock()], ..Config::default() }
}

fn entry(session: Option<&str>, modified: u64, flags: u64) -> Entry {
    Entry {
        key: "svc/db/leader".into(),
        value: "YQ==".into(),
        modified,
        flags,
        acquired: u64::from(flags != 0),
        created: 50,
        session: session.map(Into::into),
    }
}

fn granted() -> ConsulReply {
    ConsulReply::Acquired { token: Some(76) }
}

fn refused() -> ConsulReply {
    ConsulReply::Acquired { token: None }
}

/// A candidate whose predecessor gave the lock back in order.
fn leading(config: Config) -> Bench {
    let mut bench = Bench::new(config);
    bench.expect("SessionCreate", ConsulReply::Session { id: MINE.into() });
    bench.read(Some(entry(None, 70, RELEASED_FLAG)));
    bench.expect("Acquire", granted());
    assert_eq!(bench.starts(), 1, "the job starts with the term");
    bench.started(1);
    bench
}

fn holder_is_me(bench: &mut Bench) {
    bench.read(Some(entry(Some(MINE), 76, 0)));
}

#[test]
fn job_runs_only_while_the_lock_is_held_and_knows_its_token() {
    let mut bench = Bench::new(config());
    assert_eq!(bench.starts(), 0);
    bench.expect("SessionCreate", ConsulReply::Session { id: MINE.into() });
    bench.read(Some(entry(None, 70, RELEASED_FLAG)));
    assert_eq!(bench.starts(), 0);
    assert_eq!(bench.standing(), (StandingWord::Candidate, None));
    bench.expect("Acquire", granted());
    assert_eq!(bench.starts(), 1);
    assert_eq!(bench.standing(), (StandingWord::Leading, Some(76)));
    assert_eq!(bench.codes(), vec![Code::Acquired]);
    assert_eq!(bench.variable("CONTAINERPILOT_LOCK_PRIMARY_TOKEN").as_deref(), Some("76"));
}

#[test]
fn taker_that_cannot_prove_continuity_keeps_quiet_first() {
    let mut bench = Bench::new(config());
    bench.expect("SessionCreate", ConsulReply::Session { id: MINE.into() });
    bench.read(None);
    bench.expect("Acquire", granted());
    let granted_ms = bench.now_ms;
    holder_is_me(&mut bench);
    // f·(A + P + g + κ) of the example: 19.54 s.
    bench.pass_holding(granted_ms + 19_500 - bench.now_ms);
    assert_eq!(bench.starts(), 0);
    bench.pass(1_000);
    assert_eq!(bench.starts(), 0, "the key is read once more");
    holder_is_me(&mut bench);
    assert_eq!(bench.starts(), 1);
}

#[test]
fn tokens_go_on_above_the_highest_known_when_consul_counts_from_anew() {
    let mut bench = Bench::new(config());
    bench.expect("SessionCreate", ConsulReply::Session { id: MINE.into() });
    bench.read(Some(entry(Some(OTHERS), 5_000, HELD_FLAG)));
    assert_eq!(bench.variable("CONTAINERPILOT_LOCK_PRIMARY_TOKEN").as_deref(), Some("5000"));
    // Consul has lost everything, this supervisor's session included.
    bench.renews = false;
    bench.read(None);
    bench.read(None);
    let Some((_, ConsulRequest::Acquire { floor, .. })) = bench.asked() else { panic!("free") };
    assert_eq!(floor, 5_000);
    bench.renews = true;
    bench.expect("Acquire", ConsulReply::Acquired { token: Some(12) });
    bench.pass_showing(20_500, &entry(Some(MINE), 12, HELD_FLAG | 5_000));
    assert_eq!(bench.variable("CONTAINERPILOT_LOCK_PRIMARY_TOKEN").as_deref(), Some("5012"));
    bench.started(1);
    bench.feed(Input::Signal(SignalName::Term));
    bench.ended(1);
    let Some((_, ConsulRequest::Release { floor, .. })) = bench.asked() else { panic!("held") };
    assert_eq!(floor, 5_000, "the next one counts on from there");
}

#[test]
fn token_that_was_told_is_known_although_a_stranger_wrote_the_key() {
    let mut bench = Bench::new(config());
    bench.expect("SessionCreate", ConsulReply::Session { id: MINE.into() });
    bench.read(Some(entry(Some(OTHERS), 5_000, 0)));
    assert_eq!(bench.variable("CONTAINERPILOT_LOCK_PRIMARY_TOKEN").as_deref(), Some("5000"));
    bench.read(None);
    bench.read(None);
    let Some((_, ConsulRequest::Acquire { floor, .. })) = bench.asked() else { panic!("free") };
    assert_eq!(floor, 5_000);
}

#[test]
fn tokens_of_others_have_the_floor_that_their_key_says() {
    let mut bench = Bench::new(config());
    bench.expect("SessionCreate", ConsulReply::Session { id: MINE.into() });
    bench.read(Some(entry(Some(OTHERS), 40, HELD_FLAG | 5_000)));
    assert_eq!(bench.variable("CONTAINERPILOT_LOCK_PRIMARY_TOKEN").as_deref(), Some("5040"));
}

#[test]
fn key_that_has_gone_in_the_quiet_time_begins_no_term() {
    let mut bench = Bench::new(config());
    bench.expect("SessionCreate", ConsulReply::Session { id: MINE.into() });
    bench.read(None);
    bench.expect("Acquire", granted());
    bench.pass_holding(19_500);
    bench.pass(1_000);
    bench.read(Some(entry(Some(OTHERS), 90, 0)));
    assert_eq!(bench.starts(), 0);
    assert_eq!(bench.standing().0, StandingWord::Vacating);
}

/// Seed 4 of docs/examples/mariadb/cluster.json5, when Consul went away for a while at the start.
#[test]
fn lock_lost_in_its_quiet_time_does_not_wait_for_the_jobs_that_stop_with_it() {
    let mut config = config();
    let mut server = Job::new("server", Command::new(["/bin/server"]));
    server.restarts = Restarts::Unlimited;
    server.stop_with = Some("primary".into());
    config.jobs.push(Arc::new(server));
    let mut bench = Bench::new(config);
    bench.feed(Input::Started {
        run: RunId { job: JobId(1), kind: RunKind::Main, nth: 1 },
        pid: 201,
    });
    bench.expect("SessionCreate", ConsulReply::Session { id: MINE.into() });
    bench.read(None);
    bench.renews = false;
    bench.expect("Acquire", granted());
    bench.pass(13_000);
    assert_eq!(bench.standing().0, StandingWord::Vacating, "nothing had begun");
    assert_eq!(bench.signals(), vec![], "the server was nobody's leader");
}

#[test]
fn holder_whose_reading_of_the_key_failed_reads_it_again() {
    let mut bench = leading(config());
    bench.expect("LockRead", ConsulReply::Failed(ConsulFailure::Unreachable("gone".into())));
    bench.pass(5_000);
    bench.read(Some(entry(Some(OTHERS), 90, 0)));
    assert_eq!(bench.codes().last(), Some(&Code::Lost));
}

#[test]
fn key_that_was_deleted_and_written_anew_is_no_proof_that_consul_remembers() {
    let mut bench = Bench::new(config());
    bench.expect("SessionCreate", ConsulReply::Session { id: MINE.into() });
    bench.read(Some(entry(Some(OTHERS), 60, HELD_FLAG)));
    // Deleted and written anew before it was looked at, and perhaps not for the first time.
    let anew = Entry { created: 70, ..entry(None, 70, 0) };
    bench.read(Some(entry(Some(OTHERS), 61, 0)));
    bench.read(Some(anew.clone()));
    bench.read(Some(anew));
    bench.expect("Acquire", granted());
    assert_eq!(bench.standing().0, StandingWord::Quiet);
}

#[test]
fn key_that_a_stranger_wrote_and_nobody_deleted_is_continued() {
    let mut bench = Bench::new(config());
    bench.expect("SessionCreate", ConsulReply::Session { id: MINE.into() });
    bench.read(Some(entry(Some(OTHERS), 60, HELD_FLAG)));
    // Written and let go of before it was looked at: the lock delay has barred it.
    bench.read(Some(entry(None, 70, 0)));
    bench.read(Some(entry(None, 70, 0)));
    bench.expect("Acquire", granted());
    assert_eq!(bench.standing().0, StandingWord::Leading);
}

/// A snapshot of Consul brings back a key that was given back long ago.
#[test]
fn release_that_is_older_than_what_is_known_is_no_hand_over() {
    let mut bench = Bench::new(config());
    bench.expect("SessionCreate", ConsulReply::Session { id: MINE.into() });
    bench.read(Some(entry(Some(OTHERS), 70, HELD_FLAG)));
    bench.read(Some(entry(None, 60, RELEASED_FLAG)));
    bench.read(Some(entry(None, 60, RELEASED_FLAG)));
    bench.expect("Acquire", granted());
    assert_eq!(bench.standing().0, StandingWord::Quiet);
}

/// An operator deletes the key and writes it again as it was in a backup.
#[test]
fn key_with_the_flags_of_a_backup_is_no_proof_of_anything() {
    for flags in [RELEASED_FLAG, HELD_FLAG] {
        let mut bench = Bench::new(config());
        bench.expect("SessionCreate", ConsulReply::Session { id: MINE.into() });
        bench.read(Some(entry(Some(OTHERS), 60, HELD_FLAG)));
        let restored = Entry { acquired: 0, created: 70, ..entry(None, 70, flags) };
        bench.read(Some(restored.clone()));
        bench.read(Some(restored));
        bench.expect("Acquire", granted());
        assert_eq!(bench.standing().0, StandingWord::Quiet);
    }
}

#[test]
fn key_is_acquired_only_as_it_was_read() {
    for (read, modified) in [(Some(entry(None, 70, RELEASED_FLAG)), 70), (None, 0)] {
        let mut bench = Bench::new(config());
        bench.expect("SessionCreate", ConsulReply::Session { id: MINE.into() });
        bench.read(read);
        let Some((_, ConsulRequest::Acquire { modified: asked, .. })) = bench.asked() else {
            panic!("{:?}", bench.asked())
        };
        assert_eq!(asked, Some(modified));
    }
}

#[test]
fn grant_that_was_learned_by_reading_has_the_quiet_time_of_when_it_was_asked_for() {
    let mut bench = Bench::new(config());
    bench.expect("SessionCreate", ConsulReply::Session { id: MINE.into() });
    bench.read(None);
    bench.expect("Acquire", ConsulReply::Failed(ConsulFailure::Unreachable("late".into())));
    bench.read(Some(entry(Some(MINE), 76, HELD_FLAG)));
    assert_eq!(bench.standing().0, StandingWord::Quiet);
}

/// Found by three supervisors under random troubles: a request that was carried out twice.
#[test]
fn grant_of_a_try_that_was_refused_has_its_quiet_time() {
    for first in [refused(), ConsulReply::Failed(ConsulFailure::Unreachable("late".into()))] {
        let mut bench = Bench::new(config());
        bench.expect("SessionCreate", ConsulReply::Session { id: MINE.into() });
        bench.read(None);
        bench.expect("Acquire", first);
        bench.read(None);
        bench.expect("Acquire", refused());
        bench.read(Some(entry(Some(MINE), 76, HELD_FLAG)));
        assert_eq!(bench.standing().0, StandingWord::Quiet);
    }
}

/// Which try it was of, and what that one had read, nobody knows.
#[test]
fn grant_learned_by_reading_is_quiet_although_the_key_was_given_back() {
    let mut bench = Bench::new(config());
    bench.expect("SessionCreate", ConsulReply::Session { id: MINE.into() });
    bench.read(Some(entry(None, 70, RELEASED_FLAG)));
    bench.expect("Acquire", refused());
    bench.read(Some(entry(Some(MINE), 76, HELD_FLAG)));
    assert_eq!(bench.standing().0, StandingWord::Quiet);
}

#[test]
fn refused_try_makes_no_later_grant_quiet() {
    let mut bench = Bench::new(config());
    bench.expect("SessionCreate", ConsulReply::Session { id: MINE.into() });
    bench.read(None);
    bench.expect("Acquire", refused());
    bench.read(Some(entry(Some(OTHERS), 60, HELD_FLAG)));
    bench.read(Some(entry(None, 70, RELEASED_FLAG)));
    bench.read(Some(entry(None, 70, RELEASED_FLAG)));
    bench.expect("Acquire", granted());
    assert_eq!(bench.standing().0, StandingWord::Leading);
}

#[test]
fn grant_to_a_session_that_has_gone_begins_no_term() {
    let mut bench = Bench::new(config());
    bench.renews = false;
    bench.expect("SessionCreate", ConsulReply::Session { id: MINE.into() });
    bench.pass(4_500);
    bench.read(Some(entry(None, 70, RELEASED_FLAG)));
    let acquire = bench.asked().expect("it asks for the key");
    bench.pass(600);
    let renewal = bench.effects.iter().rev().find_map(|effect| match effect {
        Effect::Consul { op, request: ConsulRequest::SessionRenew { .. }, .. } => Some(*op),
        _ => None,
    });
    let renewal = renewal.expect("it renews");
    bench.answer(renewal, ConsulReply::Failed(ConsulFailure::Unknown));
    bench.answer(acquire.0, granted());
    assert_eq!(bench.starts(), 0);
    assert_eq!(bench.standing().0, StandingWord::Vacating);
    // Perhaps Consul was wrong, and the key is held.
    bench.expect("Release", ConsulReply::Done);
    bench.expect("SessionDestroy", ConsulReply::Done);
    bench.expect("SessionCreate", ConsulReply::Session { id: MINE.into() });
}

#[test]
fn holder_that_leaves_in_its_quiet_time_does_not_hand_over() {
    let mut bench = Bench::new(config());
    bench.expect("SessionCreate", ConsulReply::Session { id: MINE.into() });
    bench.read(None);
    bench.expect("Acquire", granted());
    bench.effects.clear();
    bench.feed(Input::Signal(SignalName::Term));
    let Some((_, request)) = bench.asked() else { panic!("it gives the lock back") };
    // The lock delay bars the key for as long as an older holder may still be at work.
    assert!(matches!(request, ConsulRequest::SessionDestroy { .. }), "{request:?}");
}

#[test]
fn deleted_key_is_no_proof_that_consul_remembers() {
    let mut bench = Bench::new(config());
    bench.expect("SessionCreate", ConsulReply::Session { id: MINE.into() });
    bench.read(Some(entry(Some(OTHERS), 60, HELD_FLAG)));
    bench.read(None);
    // Somebody had it in between: its index has grown, and proves nothing.
    bench.read(Some(entry(None, 70, HELD_FLAG)));
    bench.expect("Acquire", granted());
    assert_eq!(bench.starts(), 0);
    assert_eq!(bench.standing().0, StandingWord::Quiet);
}

#[test]
fn taker_that_saw_the_holder_before_starts_at_once() {
    let mut bench = Bench::new(config());
    bench.expect("SessionCreate", ConsulReply::Session { id: MINE.into() });
    bench.read(Some(entry(Some(OTHERS), 60, HELD_FLAG)));
    assert_eq!(bench.codes(), vec![Code::Observed]);
    assert_eq!(bench.variable("CONTAINERPILOT_LOCK_PRIMARY_HOLDER").as_deref(), Some("a"));
    bench.read(Some(entry(None, 61, HELD_FLAG)));
    bench.read(Some(entry(None, 61, HELD_FLAG)));
    bench.expect("Acquire", granted());
    assert_eq!(bench.starts(), 1);
    // Token and holder are of one term: an older holder's name beside one's own token would
    // mislead.
    let holder = bench.variable("CONTAINERPILOT_LOCK_PRIMARY_HOLDER");
    assert_eq!(holder.as_deref(), Some("10.0.0.1:7101"));
}

#[test]
fn unanswered_renewals_end_the_term_by_its_deadline_counted_from_the_sending() {
    let mut bench = leading(config());
    holder_is_me(&mut bench);
    bench.pass(4_000);
    bench.effects.clear();
    bench.renews = false;
    // The renewal at the grant was the last that was answered.
    let demote_ms = 13_000 + 1_000;
    while bench.signals().is_empty() {
        bench.pass(50);
        assert!(bench.now_ms <= demote_ms, "not stopped by {demote_ms}");
    }
    assert!(bench.now_ms >= 12_900, "stopped too early, at {}", bench.now_ms);
    assert_eq!(bench.signals(), vec![Signal::TERM]);
    let begun_ms = bench.now_ms;
    assert!(bench.codes().contains(&Code::Jeopardy));
    bench.pass(5_000);
    assert_eq!(bench.signals(), vec![Signal::TERM, Signal::KILL]);
    assert!(bench.now_ms <= begun_ms + 5_000);
    let gave_back = |bench: &Bench| {
        bench.effects.iter().any(|effect| {
            matches!(effect, Effect::Consul { request: ConsulRequest::Release { .. }, .. })
        })
    };
    assert!(!gave_back(&bench), "nothing is given back while the job lives");
    bench.ended(1);
    assert!(gave_back(&bench));
}

#[test]
fn job_of_a_lost_term_has_most_of_its_time_although_consul_cannot_be_told() {
    let mut config = config();
    config.locks[0].stop_timeout = Duration::from_secs(2);
    let mut job = Job::clone(&config.jobs[0]);
    job.service = Some(Service {
        port: 80,
        address: Some([10, 0, 0, 1].into()),
        initial_status: Some(CheckStatus::Passing),
        tags: Vec::new(),
        meta: Vec::new(),
        enable_tag_override: false,
        deregister_critical_after: None,
        drain: Duration::ZERO,
    });
    config.jobs[0] = Arc::new(job);
    config.stop_timeout = Duration::from_secs(20);
    let mut bench = leading(config);
    bench.renews = false;
    bench.pass(13_490);
    assert_eq!(bench.signals(), vec![]);
    bench.pass(20);
    assert_eq!(bench.signals(), vec![Signal::TERM], "a quarter of two seconds");
}

#[test]
fn pause_beyond_deadline_and_stop_timeout_kills_at_once() {
    let mut bench = leading(config());
    bench.effects.clear();
    bench.renews = false;
    bench.now_ms += 60_000;
    bench.feed(Input::Tick);
    assert!(bench.signals().contains(&Signal::KILL), "{:?}", bench.signals());
}

#[test]
fn session_that_consul_forgot_ends_the_term_at_once() {
    let mut bench = leading(config());
    bench.effects.clear();
    bench.renews = false;
    while !bench.effects.iter().any(|effect| {
        matches!(effect, Effect::Consul { request: ConsulRequest::SessionRenew { .. }, .. })
    }) {
        bench.pass(100);
    }
    let renewal = bench.effects.iter().find_map(|effect| match effect {
        Effect::Consul { op, request: ConsulRequest::SessionRenew { .. }, .. } => Some(*op),
        _ => None,
    });
    bench.answer(renewal.unwrap(), ConsulReply::Failed(ConsulFailure::Unknown));
    assert_eq!(bench.signals(), vec![Signal::TERM]);
    assert_eq!(bench.codes(), vec![Code::Lost]);
}

#[test]
fn key_in_other_hands_ends_the_term_and_a_plain_put_does_not() {
    let mut bench = leading(config());
    holder_is_me(&mut bench);
    bench.read(Some(entry(Some(MINE), 80, 0)));
    assert_eq!(bench.signals(), vec![]);
    bench.read(Some(entry(Some(OTHERS), 81, 0)));
    assert_eq!(bench.signals(), vec![Signal::TERM]);
}

#[test]
fn stop_ends_the_job_then_releases_then_destroys_then_exits() {
    let mut bench = leading(config());
    bench.effects.clear();
    bench.feed(Input::Signal(SignalName::Term));
    assert_eq!(bench.signals(), vec![Signal::TERM]);
    bench.pass(300);
    bench.ended(1);
    assert!(!bench.engine.is_over());
    bench.expect("Release", ConsulReply::Done);
    assert_eq!(bench.codes(), vec![Code::Released]);
    bench.expect("SessionDestroy", ConsulReply::Done);
    assert_eq!(bench.effects.last(), Some(&Effect::Exit { status: 0 }));
}

#[test]
fn stop_with_a_silent_consul_ends_within_the_budget() {
    let mut bench = leading(config());
    bench.feed(Input::Signal(SignalName::Term));
    bench.ended(1);
    let from_ms = bench.now_ms;
    while !bench.engine.is_over() {
        bench.pass(10);
        assert!(bench.now_ms <= from_ms + 6_000);
    }
}

#[test]
fn candidate_leaves_no_session_behind() {
    let mut bench = Bench::new(config());
    bench.expect("SessionCreate", ConsulReply::Session { id: MINE.into() });
    bench.read(Some(entry(Some(OTHERS), 60, 0)));
    bench.feed(Input::Signal(SignalName::Term));
    bench.expect("SessionDestroy", ConsulReply::Done);
    assert!(bench.engine.is_over());
}

#[test]
fn leader_in_maintenance_hands_over_and_stands_again_afterwards() {
    let mut bench = leading(config());
    let command = Control::Maintenance(true);
    bench.feed(Input::Control { request: RequestId(1), command });
    assert_eq!(bench.signals(), vec![Signal::TERM]);
    bench.ended(1);
    bench.expect("Release", ConsulReply::Done);
    bench.expect("SessionDestroy", ConsulReply::Done);
    bench.effects.clear();
    bench.pass(60_000);
    assert!(!bench.stands(), "it only listens");
    let command = Control::Maintenance(false);
    bench.feed(Input::Control { request: RequestId(2), command });
    bench.expect("SessionCreate", ConsulReply::Session { id: MINE.into() });
}

#[test]
fn leader_whose_job_stays_unhealthy_gives_up_after_its_grace() {
    let mut config = config();
    let mut job = (*config.jobs[0]).clone();
    job.health = Some(HealthCheck {
        command: None,
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        ttl: None,
        retries: 1,
        start_period: Duration::ZERO,
        start_interval: None,
    });
    config.jobs[0] = Arc::new(job);
    config.locks[0].healthy = Some("db".into());
    let mut bench = leading(config);
    bench.pass_holding(30_000);
    assert_eq!(bench.signals(), vec![], "healthy after a second");
    let run = RunId { job: JobId(0), kind: RunKind::Main, nth: 1 };
    let status = ExitStatus::Code(1);
    bench.feed(Input::Exited { run, status, tree: Tree::Gone, output: "".into() });
    bench.effects.clear();
    bench.pass_holding(14_000);
    assert!(!bench.codes().contains(&Code::Lost));
    bench.pass_holding(1_500);
    assert!(bench.codes().contains(&Code::Lost), "never started again, so never healthy");
}

#[test]
fn lost_term_is_followed_by_the_hold_off() {
    let mut bench = leading(config());
    holder_is_me(&mut bench);
    bench.read(Some(entry(None, 90, 0)));
    bench.ended(1);
    bench.expect("Release", ConsulReply::Done);
    bench.expect("SessionDestroy", ConsulReply::Done);
    let from_ms = bench.now_ms;
    bench.effects.clear();
    while !bench.stands() {
        bench.pass(100);
        assert!(bench.now_ms < from_ms + 31_000);
    }
    assert!(bench.now_ms >= from_ms + 30_000, "stood again after {}", bench.now_ms - from_ms);
}

#[test]
fn lock_that_does_not_stand_again_ends_its_jobs_with_a_lost_term() {
    let mut config = config();
    config.locks[0].stands_again = false;
    let mut bench = leading(config);
    bench.renews = false;
    bench.pass(13_000);
    assert_eq!(bench.signals(), vec![Signal::TERM]);
    bench.ended(1);
    assert_eq!(bench.engine.status().jobs[0].phase, PhaseWord::Completed);
    bench.renews = true;
    bench.pass(600_000);
    assert_eq!(bench.starts(), 1, "no further term");
    let is_exit = |effect: &Effect| matches!(effect, Effect::Exit { .. });
    assert!(bench.effects.iter().any(is_exit), "nothing is left to do");
}

#[test]
fn token_is_in_a_file_from_before_the_start_until_everything_has_gone() {
    let mut config = config();
    config.locks[0].token_file = Some("/run/token".into());
    let mut bench = leading(config);
    let writes = |bench: &Bench| {
        let at = |effect: &(usize, &Effect)| match effect.1 {
            Effect::WriteFile { path, contents } => {
                assert_eq!(&**path, "/run/token");
                Some((effect.0, contents.clone()))
            }
            _ => None,
        };
        bench.effects.iter().enumerate().filter_map(|effect| at(&effect)).collect::<Vec<_>>()
    };
    let is_start = |effect: &Effect| matches!(effect, Effect::Start { .. });
    let start = bench.effects.iter().position(is_start).unwrap();
    assert_eq!(writes(&bench).len(), 1);
    assert!(writes(&bench)[0].0 < start);
    assert_eq!(writes(&bench)[0].1.as_deref(), Some("76\n"));
    bench.feed(Input::Signal(SignalName::Term));
    assert_eq!(writes(&bench).len(), 1);
    bench.ended(1);
    assert_eq!(writes(&bench)[1].1, None);
}

#[test]
fn barred_key_is_tried_again_without_a_busy_loop() {
    let mut bench = Bench::new(config());
    bench.expect("SessionCreate", ConsulReply::Session { id: MINE.into() });
    let mut tries = 0;
    while bench.now_ms < 40_000 {
        match bench.asked() {
            Some((op, ConsulRequest::LockRead { .. })) => {
                let entries = vec![entry(None, 70, 0)];
                bench.effects.clear();
                bench.answer(op, ConsulReply::Keys { index: 70, entries });
            }
            Some((op, ConsulRequest::Acquire { .. })) => {
                tries += 1;
                bench.effects.clear();
                bench.answer(op, refused());
            }
            _ => bench.pass(50),
        }
    }
    assert!((8..60).contains(&tries), "{tries}");
}

#[test]
fn candidates_of_a_lock_that_became_free_spread() {
    let delay_of = |id: &str| {
        let mut bench = Bench::new(config());
        bench.expect("SessionCreate", ConsulReply::Session { id: id.into() });
        bench.read(Some(entry(Some(OTHERS), 60, 0)));
        bench.read(Some(entry(None, 61, 0)));
        let from_ms = bench.now_ms;
        bench.read(Some(entry(None, 61, 0)));
        bench.now_ms - from_ms
    };
    let delays: Vec<u64> = (0..30).map(|nth| delay_of(&format!("session-{nth}"))).collect();
    assert!(delays.iter().all(|delay| *delay <= 260), "{delays:?}");
    assert!(delays.iter().max() > delays.iter().min().map(|least| least + 100).as_ref());
}

#[test]
fn reload_of_the_lock_hands_over_and_an_unchanged_one_keeps_its_term() {
    let mut bench = leading(config());
    let reload = |bench: &mut Bench, config: Config| {
        let command = Control::Reload { all: false };
        bench.feed(Input::Control { request: RequestId(1), command });
        bench.feed(Input::Loaded { config: Ok(Box::new(config)) });
    };
    let mut other = config();
    other.jobs.push(Arc::new(Job::new("new", Command::new(["/bin/new"]))));
    reload(&mut bench, other.clone());
    assert_eq!(bench.signals(), vec![]);
    other.locks[0].ttl = Duration::from_secs(25);
    reload(&mut bench, other);
    assert_eq!(bench.signals(), vec![Signal::TERM]);
    bench.ended(1);
    bench.expect("Release", ConsulReply::Done);
    bench.expect("SessionDestroy", ConsulReply::Done);
    bench.expect("SessionCreate", ConsulReply::Session { id: MINE.into() });
}
