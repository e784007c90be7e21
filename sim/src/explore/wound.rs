//! What deeds leave behind until another deed mends it: a smaller run must not leave more.
//!
//! "Once nothing goes wrong any more" is said of what is over. A run in which Consul dies and never
//! comes back, as the deed that starts it again was taken away, would break such a property for a
//! reason that the run it was made from did not have.

use std::collections::BTreeSet;
use std::sync::Arc;

use steersman_engine::input::Control;

use crate::action::Action;
use crate::catalog::{AgentFault, CatalogFault};
use crate::link::{Link, LinkState};

/// One thing that is not as it was, and where.
pub type Wound = (Arc<str>, Box<str>);

/// Notes what a deed does and mends.
pub(crate) fn note(open: &mut BTreeSet<Wound>, node: &Arc<str>, action: &Action) {
    let Some((what, is_open)) = wound(action) else { return };
    // What is done to Consul belongs to no node.
    let place = match action {
        Action::Catalog(_) => Arc::from(""),
        _ => node.clone(),
    };
    if matches!(action, Action::Catalog(CatalogFault::StartServers)) {
        open.retain(|(_, what)| !what.starts_with(SERVER));
    }
    let wound = (place, what);
    match is_open {
        true => open.insert(wound),
        false => open.remove(&wound),
    };
}

const SERVER: &str = "server";

/// Gives what an action does something about, and whether it is out of order afterwards.
fn wound(action: &Action) -> Option<(Box<str>, bool)> {
    let plain = |what: &str, is_open: bool| Some((Box::from(what), is_open));
    match action {
        Action::Pause => plain("pause", true),
        Action::Resume => plain("pause", false),
        Action::Freeze => plain("freeze", true),
        Action::Thaw => plain("freeze", false),
        Action::BarKeeper(is_barred) => plain("keeper", *is_barred),
        Action::Link(state) => plain("link", *state != LinkState::Up),
        Action::Latency(least, most) => {
            plain("latency", (*least, *most) != Link::default().latency)
        }
        Action::Loss(ppm) => plain("loss", *ppm != 0),
        Action::Duplication(ppm) => plain("duplication", *ppm != 0),
        Action::Way { with, is_open } => Some((format!("way to {with}").into(), !is_open)),
        Action::Crash | Action::StopContainer(_) => plain("container", true),
        Action::StartContainer => plain("container", false),
        Action::Control(Control::Maintenance(is_on)) => plain("maintenance", *is_on),
        Action::Break(is_broken) => plain("database", *is_broken),
        Action::StoreAway(is_away) => plain("store", *is_away),
        Action::Agent(fault) => of_agent(fault, ""),
        Action::Catalog(fault) => of_catalog(fault),
        Action::Signal(_)
        | Action::Control(_)
        | Action::WriteConfig(_)
        | Action::StepWall(_)
        | Action::ClockRate(_)
        | Action::EndProcess(..)
        | Action::EndJob(..)
        | Action::EndCheck(..)
        | Action::Move(_)
        | Action::WriteFile { .. }
        | Action::Inject(_) => None,
    }
}

fn of_agent(fault: &AgentFault, which: &str) -> Option<(Box<str>, bool)> {
    let (what, is_open) = match fault {
        AgentFault::Kill => ("agent", true),
        AgentFault::Start { .. } => ("agent", false),
        AgentFault::Pause => ("pause of the agent", true),
        AgentFault::Resume => ("pause of the agent", false),
        AgentFault::Cut => ("cut of the agent", true),
        AgentFault::Join => ("cut of the agent", false),
        AgentFault::Deregister { .. } => return None,
    };
    Some((format!("{what}{which}").into(), is_open))
}

fn of_catalog(fault: &CatalogFault) -> Option<(Box<str>, bool)> {
    let some = |what: String, is_open: bool| Some((what.into(), is_open));
    match fault {
        CatalogFault::KillServer(id) => some(format!("{SERVER} {id}"), true),
        CatalogFault::StartServer { server, .. } => some(format!("{SERVER} {server}"), false),
        CatalogFault::KillLeader | CatalogFault::KillServers => some(SERVER.to_owned(), true),
        CatalogFault::StartServers => some(SERVER.to_owned(), false),
        CatalogFault::PauseServer(id) => some(format!("pause of {id}"), true),
        CatalogFault::ResumeServer(id) => some(format!("pause of {id}"), false),
        CatalogFault::SlowFollower(id, by) => some(format!("lag of {id}"), !by.is_zero()),
        CatalogFault::SlowDisk(id, by) => some(format!("disk of {id}"), !by.is_zero()),
        CatalogFault::KillAgent(id) => of_agent(&AgentFault::Kill, &format!(" {id}")),
        CatalogFault::StartAgent { agent, keeps } => {
            of_agent(&AgentFault::Start { keeps: *keeps }, &format!(" {agent}"))
        }
        CatalogFault::CutAgent(id) => of_agent(&AgentFault::Cut, &format!(" {id}")),
        CatalogFault::JoinAgent(id) => of_agent(&AgentFault::Join, &format!(" {id}")),
        CatalogFault::Vanish { service, nth } => some(format!("{service} {nth}"), true),
        CatalogFault::Appear { service, nth } => some(format!("{service} {nth}"), false),
        CatalogFault::StepDown
        | CatalogFault::LoseState
        | CatalogFault::Delete { .. }
        | CatalogFault::Put { .. }
        | CatalogFault::DestroyHolder { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(deeds: &[(&str, Action)]) -> usize {
        let mut open = BTreeSet::new();
        deeds.iter().for_each(|(node, action)| note(&mut open, &Arc::from(*node), action));
        open.len()
    }

    #[test]
    fn what_is_mended_is_not_left_behind() {
        let dead = ("a", Action::Catalog(CatalogFault::KillServers));
        let again = ("b", Action::Catalog(CatalogFault::StartServers));
        let one = ("a", Action::Catalog(CatalogFault::KillServer(1)));
        assert_eq!(left(&[dead.clone(), one.clone()]), 2);
        assert_eq!(left(&[dead, one, again]), 0, "wherever the deed was written down");
        let cut = |state| Action::Link(state);
        assert_eq!(left(&[("a", cut(LinkState::Cut)), ("b", cut(LinkState::Up))]), 1);
        assert_eq!(left(&[("a", cut(LinkState::Cut)), ("a", cut(LinkState::Up))]), 0);
    }
}
