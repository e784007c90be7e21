//! Trouble around a supervisor: its container, its link, its agent, and Consul.

use core::time::Duration;

use steersman_engine::Time;
use steersman_engine::config::WatchTarget;

use super::Fault;
use crate::catalog::{AgentFault, CatalogFault};
use crate::explore::consul_spec::{Agents, ConsulSpec, needs_consul};
use crate::explore::manner::Span;
use crate::explore::plan::{NodeSpec, Setting};
use crate::link::{Link, LinkState};
use crate::random::Random;
use crate::world::Action;

/// Tells whether a kind of trouble is Consul's own and belongs to no node.
pub(super) const fn is_of_consul(fault: Fault) -> bool {
    matches!(
        fault,
        Fault::LeaderLoss
            | Fault::Outage
            | Fault::TotalLoss
            | Fault::Lag
            | Fault::Operator
            | Fault::Others
    )
}

/// Tells which kinds of trouble a node can have: none with an agent that it does not have.
pub(super) fn of_node(node: &NodeSpec, consul: Option<&ConsulSpec>) -> impl Fn(Fault) -> bool {
    let asks = consul.is_some() && needs_consul(&node.config);
    let has_agent = asks && consul.is_some_and(|consul| consul.agents == Agents::Each);
    let has_service = asks && node.config.jobs.iter().any(|job| job.service.is_some());
    move |fault| match fault {
        Fault::Cut | Fault::Refuse | Fault::Delay | Fault::Loss | Fault::Duplicate => asks,
        Fault::AgentRestart | Fault::AgentCut => has_agent,
        Fault::Deregister => has_service,
        other => !is_of_consul(other),
    }
}

/// Draws trouble with a node's container, link or agent.
pub(super) fn draw_surroundings(
    fault: Fault,
    node: &NodeSpec,
    random: Random,
    (at, later): (Time, Time),
    put: &mut dyn FnMut(Time, Action),
) {
    let up = || Action::Link(LinkState::Up);
    match fault {
        Fault::Freeze => {
            put(at, Action::Freeze);
            put(later, Action::Thaw);
        }
        Fault::ContainerKill => {
            put(at, Action::Crash);
            put(later, Action::StartContainer);
        }
        Fault::ContainerStop => {
            put(at, Action::StopContainer(node.grace));
            put(later, Action::StartContainer);
        }
        Fault::Cut => {
            let all = [LinkState::Cut, LinkState::CutIn, LinkState::CutOut];
            let state = random.stream("way").pick(&all).copied().unwrap_or(LinkState::Cut);
            put(at, Action::Link(state));
            put(later, up());
        }
        Fault::Refuse => {
            put(at, Action::Link(LinkState::Refused));
            put(later, up());
        }
        Fault::Delay => {
            let least = Span::millis(1, 1_000).draw(random.stream("least"));
            let more = Span::millis(1, 3_000).draw(random.stream("more"));
            let usual = Link::default().latency;
            put(at, Action::Latency(least, least + more));
            put(later, Action::Latency(usual.0, usual.1));
        }
        Fault::Loss | Fault::Duplicate => {
            let share = 1_000_000_u32 >> random.stream("share").between(1, 7);
            let action = |share| match fault {
                Fault::Loss => Action::Loss(share),
                _ => Action::Duplication(share),
            };
            put(at, action(share));
            put(later, action(0));
        }
        Fault::AgentRestart | Fault::AgentCut | Fault::Deregister => {
            draw_agent_deed(fault, node, random, (at, later), put);
        }
        _ => {}
    }
}

/// Draws when something ends that ends by itself: it has ended when the trouble is over.
pub(super) fn end_of(at: Time, trouble: Duration, random: Random) -> Time {
    let later = at + Span::millis(1, 20_000).draw(random.stream("later"));
    later.min(Time(0) + trouble).max(at)
}

/// Draws that a node and another, or a client, do not reach each other for a while.
pub(super) fn draw_part(
    (setting, node): (&Setting, &NodeSpec),
    random: Random,
    (at, trouble): (Time, Duration),
    put: &mut dyn FnMut(Time, Action),
) {
    let clients = setting.applications.clients.iter().map(|client| &client.name);
    let others = setting.nodes.iter().map(|other| &other.name).filter(|name| **name != node.name);
    let peers: Vec<_> = others.chain(clients).cloned().collect();
    let has_ways = !setting.applications.databases.is_empty();
    let Some(with) = random.stream("peer").pick(&peers).filter(|_| has_ways) else { return };
    let way = |is_open| Action::Way { with: with.clone(), is_open };
    put(at, way(false));
    put(end_of(at, trouble, random), way(true));
}

/// Draws trouble with a node's agent.
fn draw_agent_deed(
    fault: Fault,
    node: &NodeSpec,
    random: Random,
    (at, later): (Time, Time),
    put: &mut dyn FnMut(Time, Action),
) {
    match fault {
        Fault::AgentRestart => {
            let keeps = random.stream("keeps").happens(500_000);
            put(at, Action::Agent(AgentFault::Kill));
            put(later, Action::Agent(AgentFault::Start { keeps }));
        }
        Fault::AgentCut => {
            let is_cut = random.stream("cut").happens(500_000);
            let (begin, end) = match is_cut {
                true => (AgentFault::Cut, AgentFault::Join),
                false => (AgentFault::Pause, AgentFault::Resume),
            };
            put(at, Action::Agent(begin));
            put(later, Action::Agent(end));
        }
        Fault::Deregister => {
            let jobs: Vec<_> =
                node.config.jobs.iter().filter(|job| job.service.is_some()).collect();
            if let Some(job) = random.stream("job").pick(&jobs) {
                put(at, Action::Agent(AgentFault::Deregister { job: job.name.clone() }));
            }
        }
        _ => {}
    }
}

/// Draws trouble with Consul itself.
pub(super) fn draw_consul_deed(
    fault: Fault,
    (setting, consul): (&Setting, &ConsulSpec),
    random: Random,
    (at, trouble): (Time, Duration),
    put: &mut dyn FnMut(Time, CatalogFault),
) {
    let later = at + Span::millis(1, 20_000).draw(random.stream("later"));
    let later = later.min(Time(0) + trouble).max(at);
    match fault {
        Fault::LeaderLoss => match random.stream("dies").happens(500_000) {
            true => {
                put(at, CatalogFault::KillLeader);
                put(later, CatalogFault::StartServers);
            }
            false => put(at, CatalogFault::StepDown),
        },
        Fault::Outage => {
            put(at, CatalogFault::KillServers);
            put(later, CatalogFault::StartServers);
        }
        Fault::TotalLoss => put(at, CatalogFault::LoseState),
        Fault::Lag => {
            let by = Span::millis(1, 10_000).draw(random.stream("by"));
            let server = random.stream("server").below(u64::from(consul.servers));
            let server = u16::try_from(server).unwrap_or(0);
            put(at, CatalogFault::SlowFollower(server, by));
            put(later, CatalogFault::SlowFollower(server, Duration::ZERO));
        }
        Fault::Operator => {
            let locks: Vec<_> = setting.nodes.iter().flat_map(|node| &node.config.locks).collect();
            let Some(lock) = random.stream("lock").pick(&locks) else { return };
            let key = lock.key.clone();
            put(
                at,
                match random.stream("deed").below(3) {
                    0 => CatalogFault::DestroyHolder { key },
                    1 => CatalogFault::Put { key, value: "somebody was here".into() },
                    _ => CatalogFault::Delete { key },
                },
            );
        }
        Fault::Others => draw_others(setting, random, (at, later), put),
        _ => {}
    }
}

/// Lets an instance of a watched service come or go, or a watched key change.
fn draw_others(
    setting: &Setting,
    random: Random,
    (at, later): (Time, Time),
    put: &mut dyn FnMut(Time, CatalogFault),
) {
    let watches: Vec<_> = setting.nodes.iter().flat_map(|node| &node.config.watches).collect();
    let Some(watch) = random.stream("watch").pick(&watches) else { return };
    match &watch.target {
        WatchTarget::Service { name, .. } => {
            let nth = u16::try_from(random.stream("instance").between(1, 3)).unwrap_or(1);
            let service = name.clone();
            let (come, go) = (
                CatalogFault::Appear { service: service.clone(), nth },
                CatalogFault::Vanish { service, nth },
            );
            // The first one is there in ordinary times.
            let (first, last) = if nth == 1 { (go, come) } else { (come, go) };
            put(at, first);
            put(later, last);
        }
        WatchTarget::Key(key) => {
            let value = format!("{}", random.stream("value").below(1_000)).into();
            put(at, CatalogFault::Put { key: key.clone(), value });
        }
        WatchTarget::Prefix(prefix) => {
            let value = format!("{}", random.stream("value").below(1_000)).into();
            let nth = random.stream("instance").between(1, 3);
            put(at, CatalogFault::Put { key: format!("{prefix}/{nth}").into(), value });
        }
        WatchTarget::File(_) => {}
    }
}
