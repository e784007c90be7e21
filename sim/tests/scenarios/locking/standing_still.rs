//! A supervisor, or its whole container, does not run for a while. While the supervisor alone
//! stands still, and there is no keeper, its job works on: what remains is what a resource makes of
//! the tokens. What a keeper does about it is in `keeping`.

use steersman_engine::config::Backoff;
use steersman_engine::input::ExitStatus;
use steersman_sim::fixture::{ms, secs};
use steersman_sim::fleet::{Fleet, advertised, bystander, ledger, lock, node};
use steersman_sim::resource::Resource;
use steersman_sim::script::Script;
use steersman_sim::{Action, NodeId};

use super::{JOB, KEY, failover, others, settled, three, unkept};
use crate::lab::{Lab, scenarios};

scenarios![
    supervisor_that_stands_still_for_a_moment_keeps_its_term,
    container_that_stands_still_for_a_moment_keeps_its_term,
    supervisor_that_stands_still_past_its_deadline_kills_when_it_wakes_up,
    container_that_stands_still_past_its_deadline_kills_when_it_wakes_up,
    supervisor_that_stands_still_for_longer_is_fenced_by_its_token,
    container_that_stands_still_for_longer_is_fenced_by_its_token,
    frozen_holder_stops_when_it_wakes_up,
    holder_frozen_in_its_quiet_time_starts_nothing,
    holder_frozen_between_two_runs_starts_nothing,
    frozen_holder_is_not_advertised_again_when_it_wakes_up,
];

/// What stands still.
#[derive(Clone, Copy)]
enum What {
    Supervisor,
    Container,
}

impl What {
    fn stop(self, fleet: &mut Fleet, node: NodeId) {
        let action = match self {
            What::Supervisor => Action::Pause,
            What::Container => Action::Freeze,
        };
        fleet.act(node, action);
    }

    fn go_on(self, fleet: &mut Fleet, node: NodeId) {
        let action = match self {
            What::Supervisor => Action::Resume,
            What::Container => Action::Thaw,
        };
        fleet.act(node, action);
    }
}

fn for_a_moment(lab: Lab, what: What) {
    let (mut fleet, leader) = settled(lab, three());
    for _ in 0..10 {
        fleet.run_for(lab.about(secs(37)));
        what.stop(&mut fleet, leader);
        fleet.run_for(lab.about(secs(5)));
        what.go_on(&mut fleet, leader);
    }
    fleet.run_for(lab.about(secs(60)));
    assert_eq!(fleet.runner(JOB), leader);
    assert_eq!(fleet.job(leader, JOB).count(), 1);
    assert_eq!(fleet.times_of(leader, "acquired lock.#0").len(), 1);
}

fn supervisor_that_stands_still_for_a_moment_keeps_its_term(lab: Lab) {
    for_a_moment(lab, What::Supervisor);
}

fn container_that_stands_still_for_a_moment_keeps_its_term(lab: Lab) {
    for_a_moment(lab, What::Container);
}

/// As long as the last renewal is too old for anything but SIGKILL, and not so long that Consul
/// could have let anybody else in.
fn past_its_deadline(lab: Lab, what: What) {
    let deaf = Script::endless().ignores_stop();
    let (mut fleet, leader) = settled(lab, unkept().script(JOB, deaf));
    fleet.run_for(lab.about(secs(60)));
    let stopped = fleet.world.now();
    what.stop(&mut fleet, leader);
    fleet.run_for(lab.about(secs(20)));
    let woken = fleet.world.now();
    assert_eq!(fleet.runner(JOB), leader, "nobody else is let in");
    what.go_on(&mut fleet, leader);
    fleet.run_for(secs(3));
    let gone = fleet.job(leader, JOB).last().gone.expect("it is killed");
    // The last renewal was sent before it stopped.
    let latest = woken.max(stopped + secs(13) + secs(5)) + ms(10);
    assert!(gone <= latest, "gone {:?} after it woke up", gone.since(woken));
    fleet.await_runner(JOB, failover(lab), others(leader));
    assert_eq!(fleet.world.observer().excused(), 0);
}

fn supervisor_that_stands_still_past_its_deadline_kills_when_it_wakes_up(lab: Lab) {
    past_its_deadline(lab, What::Supervisor);
}

fn container_that_stands_still_past_its_deadline_kills_when_it_wakes_up(lab: Lab) {
    past_its_deadline(lab, What::Container);
}

/// Gives the number of writes that the resource refused when the holder stood still for a minute,
/// and on until somebody else led.
fn for_longer(lab: Lab, what: What) -> u64 {
    let deaf = Script::endless().ignores_stop();
    let (mut fleet, leader) = settled(lab, unkept().script(JOB, deaf));
    fleet.set_resource(Resource::of(KEY, ms(50)));
    fleet.run_for(lab.about(secs(60)));
    what.stop(&mut fleet, leader);
    fleet.run_for(lab.about(secs(60)));
    fleet.await_that("somebody else leads", failover(lab), |fleet| fleet.runners(JOB).len() == 2);
    fleet.run_for(lab.about(secs(10)));
    let woken = fleet.world.now();
    what.go_on(&mut fleet, leader);
    fleet.run_for(lab.about(secs(100)));
    let gone = fleet.job(leader, JOB).last().gone.expect("it is killed at once");
    assert!(gone <= woken + ms(10), "gone after {:?}", gone.since(woken));
    assert_ne!(fleet.runner(JOB), leader);
    assert_eq!(fleet.world.observer().excused(), 1, "what no software in it could prevent");
    let resource = fleet.resource().expect("it was set");
    assert_eq!(resource.offences(), &[] as &[String]);
    resource.refused()
}

fn supervisor_that_stands_still_for_longer_is_fenced_by_its_token(lab: Lab) {
    let refused = for_longer(lab, What::Supervisor);
    assert!(refused > 100, "its job worked on for ten seconds: {refused} writes were refused");
}

fn container_that_stands_still_for_longer_is_fenced_by_its_token(lab: Lab) {
    let refused = for_longer(lab, What::Container);
    assert!(refused <= 1, "from the waking to the kill is no time: {refused}");
}

fn frozen_holder_stops_when_it_wakes_up(lab: Lab) {
    let deaf = Script::endless().ignores_stop();
    let (mut fleet, leader) = settled(lab, three().script(JOB, deaf));
    fleet.run_for(lab.about(secs(10)));
    fleet.act(leader, Action::Freeze);
    fleet.run_for(failover(lab));
    let woken = fleet.world.now();
    fleet.act(leader, Action::Thaw);
    fleet.run_for(ms(100));
    assert_ne!(fleet.runner(JOB), leader, "{}", fleet.story());
    let gone = fleet.job(leader, JOB).last().gone.expect("it is killed at once");
    assert!(gone <= woken + ms(10));
    assert_eq!(fleet.world.observer().excused(), 1, "what no software in it could prevent");
}

fn holder_frozen_in_its_quiet_time_starts_nothing(lab: Lab) {
    let mut fleet = lab.begin_fleet(three());
    // Just after a renewal, so that its deadline lies behind the end of the quiet time.
    fleet.run_for(secs(12));
    let granted = (0..3).map(node).find(|node| {
        let effects = fleet.world.observer().log(*node);
        effects.map(|line| format!("{:?}", line.record.message)).any(|it| it.contains("Granted"))
    });
    let holder = granted.expect("somebody holds it and keeps quiet");
    fleet.act(holder, Action::Freeze);
    fleet.await_runner(JOB, failover(lab), others(holder));
    fleet.act(holder, Action::Thaw);
    fleet.run_for(lab.about(secs(60)));
    assert_eq!(fleet.job(holder, JOB).count(), 0, "{}", fleet.story());
}

/// Two timers are due when the holder wakes up: that of the restart comes first.
fn holder_frozen_between_two_runs_starts_nothing(lab: Lab) {
    let job = ledger().unlimited().backoff(Backoff::default());
    let three =
        Fleet::of(3, [job, bystander()]).with(|config| config.locks.push(lock("ledger", KEY)));
    let (mut fleet, leader) = settled(lab, three);
    fleet.run_for(lab.about(secs(100)));
    for _ in 0..2 {
        let run = fleet.job(leader, JOB).last().run;
        fleet.act(leader, Action::EndProcess(run, ExitStatus::Signal(9)));
        fleet.run_for(ms(20));
    }
    assert!(fleet.job(leader, JOB).last().gone.is_some(), "the next start is waited for");
    let runs = fleet.job(leader, JOB).count();
    fleet.act(leader, Action::Freeze);
    fleet.await_runner(JOB, failover(lab), others(leader));
    fleet.act(leader, Action::Thaw);
    fleet.run_for(lab.about(secs(5)));
    assert_eq!(fleet.job(leader, JOB).count(), runs);
}

fn frozen_holder_is_not_advertised_again_when_it_wakes_up(lab: Lab) {
    let deaf = Script::endless().ignores_stop();
    let fleet = Fleet::of(3, [advertised(ledger().checked(secs(2)), 7101), bystander()])
        .with(|config| config.locks.push(lock("ledger", KEY)))
        .script(JOB, deaf);
    let (mut fleet, leader) = settled(lab, fleet);
    fleet.run_for(lab.about(secs(60)));
    fleet.act(leader, Action::Freeze);
    fleet.run_for(failover(lab));
    fleet.act(leader, Action::Thaw);
    fleet.run_for(lab.about(secs(30)));
    let entries = fleet.read("/v1/health/service/ledger");
    let count = entries.as_array().map_or(0, Vec::len);
    assert_eq!(count, 1, "only who leads is advertised: {entries}");
}
