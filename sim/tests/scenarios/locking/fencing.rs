//! Tokens: a resource that compares them takes none that is older than one it has taken, whoever
//! stands still and for how long, and never refuses who really leads.

use steersman_sim::fixture::{ms, secs};
use steersman_sim::resource::Resource;
use steersman_sim::{Action, CatalogFault};

use super::{JOB, KEY, failover, settled, unkept};
use crate::lab::{Lab, scenarios};

scenarios![
    older_tokens_are_refused_and_the_newest_is_not,
    who_compares_no_tokens_takes_what_is_old,
];

/// One leader after the other stands still until there is another, and wakes up while that works.
/// Gives the fleet.
fn overtaken(lab: Lab, resource: Resource) -> steersman_sim::fleet::Fleet {
    let (mut fleet, _) = settled(lab, unkept());
    fleet.set_resource(resource);
    for round in 0..6 {
        fleet.run_for(lab.about(secs(20)));
        let old = fleet.runner(JOB);
        fleet.act(old, Action::Pause);
        if round % 2 == 1 {
            fleet.run_for(lab.about(secs(2)));
            fleet.trouble(CatalogFault::StepDown);
        }
        let limit = failover(lab) + failover(lab) + secs(300);
        let lead = |fleet: &steersman_sim::fleet::Fleet| fleet.runners(JOB).len() == 2;
        fleet.await_that("somebody else leads", limit, lead);
        fleet.run_for(lab.about(secs(5)));
        let before = fleet.resource().map_or(0, Resource::accepted);
        fleet.run_for(lab.about(secs(5)));
        let accepted = fleet.resource().map_or(0, Resource::accepted) - before;
        assert!(accepted >= 50, "who leads is served: {accepted} writes in five seconds");
        fleet.act(old, Action::Resume);
    }
    fleet
}

fn older_tokens_are_refused_and_the_newest_is_not(lab: Lab) {
    let fleet = overtaken(lab, Resource::of(KEY, ms(50)));
    let resource = fleet.resource().expect("it was set");
    assert!(resource.refused() >= 6 * 100, "{} writes were refused", resource.refused());
    assert_eq!(resource.offences(), &[] as &[String]);
}

/// What the comparison is good for: without it a paused leader's job goes on writing beside the
/// next one's. The oracle excuses it, as nothing on the node can prevent it.
fn who_compares_no_tokens_takes_what_is_old(lab: Lab) {
    let fleet = overtaken(lab, Resource::of(KEY, ms(50)).careless());
    let resource = fleet.resource().expect("it was set");
    assert!(resource.interleaved() > 100, "{}", resource.interleaved());
}
