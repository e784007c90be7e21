//! What is done, word by word: to a supervisor, its container, its link and agent, or to Consul.

use core::time::Duration;
use std::sync::Arc;

use steersman_engine::config::Name;
use steersman_engine::event::SignalName;
use steersman_engine::front::document::{Tree, TreeValue, suggestion};
use steersman_engine::input::{Control, ExitStatus};

use super::Decoder;
use crate::catalog::{AgentFault, CatalogFault};
use crate::explore::{NodeSpec, Span};
use crate::link::{Link, LinkState};
use crate::scenario::block::Block;
use crate::scenario::keys::{ACTIONS, WAYS};
use crate::world::Action;

/// A fault as written, for one node.
pub(super) struct Wanted<'a> {
    pub(super) block: &'a Block<'a>,
    pub(super) node: &'a NodeSpec,
    /// The how manieth of the nodes that are meant, from 0.
    pub(super) index: usize,
}

/// What is done, each so long after what was done before.
type Deeds = Vec<(Span, Action)>;

/// At once.
const NOW: Span = Span::exactly(Duration::ZERO);

/// How long a fault lasts that does not say.
const LASTING: Span = Span::exactly(Duration::from_secs(10));

/// How long a shorter link delay may be; messages overtake each other within it.
const SPREAD: u32 = 2;

impl Decoder<'_> {
    pub(super) fn actions(&mut self, wanted: &Wanted<'_>) -> Option<Deeds> {
        let block = wanted.block;
        let Some(what) = block.get("do") else {
            let start = (block.span.0, block.span.0 + 1);
            let help = format!("there are: {}", ACTIONS.join(", "));
            let message = "cannot leave out `do` of a fault";
            self.reader.blame("missing-key", start, message, Some(&help));
            return None;
        };
        let word = self.reader.text(what, "`do` of a fault")?;
        if !ACTIONS.contains(&word) {
            let message = format!("cannot do \"{word}\": there is no such fault");
            let help = suggestion(word, ACTIONS.iter().copied());
            self.reader.blame("bad-value", what.span, message, help.as_deref());
            return None;
        }
        let lasting = block.get("for").and_then(|it| self.reader.span(it, "`for` of a fault"));
        let ends = lasting.unwrap_or(LASTING);
        let deeds = self.deeds_of_supervisor(word, wanted, ends);
        let deeds = deeds.or_else(|| self.deeds_of_container(word, wanted, lasting));
        let deeds = deeds.or_else(|| self.deeds_of_link(word, wanted, ends));
        let deeds = deeds.or_else(|| self.deeds_of_agent(word, wanted, ends));
        deeds.or_else(|| self.deeds_of_consul(word, wanted, ends))
    }

    fn deeds_of_supervisor(
        &mut self,
        word: &str,
        wanted: &Wanted<'_>,
        ends: Span,
    ) -> Option<Deeds> {
        let block = wanted.block;
        let reload = |all| Action::Control(Control::Reload { all });
        let maintenance = |on| Action::Control(Control::Maintenance(on));
        Some(match word {
            "stop" => vec![(NOW, Action::Signal(SignalName::Term))],
            "signal" => vec![(NOW, Action::Signal(self.signal(block)?))],
            "reload" => vec![(NOW, reload(false))],
            "reload-all" => vec![(NOW, reload(true))],
            "bad-reload" => vec![
                (NOW, Action::WriteConfig(Err(Box::from("line 1: cannot read this")))),
                (NOW, reload(false)),
                (ends, Action::WriteConfig(Ok(wanted.node.config.clone()))),
                (NOW, reload(false)),
            ],
            "maintenance" => vec![(NOW, maintenance(true)), (ends, maintenance(false))],
            "restart" => {
                let job = Box::from(&*self.job(wanted)?);
                vec![(NOW, Action::Control(Control::RestartJob { job }))]
            }
            "crash" => vec![(NOW, Action::EndJob(self.job(wanted)?, ExitStatus::Signal(9)))],
            "crash-check" => {
                vec![(NOW, Action::EndCheck(self.job(wanted)?, ExitStatus::Signal(9)))]
            }
            "pause" => vec![(NOW, Action::Pause), (ends, Action::Resume)],
            "break" => vec![(NOW, Action::Break(true)), (ends, Action::Break(false))],
            "store-outage" => {
                vec![(NOW, Action::StoreAway(true)), (ends, Action::StoreAway(false))]
            }
            "part" => {
                let peer = self.needed(block, "peer", "part")?;
                let with: Arc<str> = Arc::from(self.reader.text(peer, "`peer` of a fault")?);
                let way = |is_open| Action::Way { with: with.clone(), is_open };
                vec![(NOW, way(false)), (ends, way(true))]
            }
            "clock-step" => {
                let by = self.figure(block, "by", 1e9).unwrap_or(3600.0);
                vec![(NOW, Action::StepWall((by * 1000.0) as i64))]
            }
            "clock-rate" => {
                let rate = self.figure(block, "rate", 500_000.0).unwrap_or(500.0);
                vec![(NOW, Action::ClockRate(rate as i32))]
            }
            _ => return None,
        })
    }

    fn deeds_of_container(
        &mut self,
        word: &str,
        wanted: &Wanted<'_>,
        lasting: Option<Span>,
    ) -> Option<Deeds> {
        let stop = || Action::StopContainer(wanted.node.grace);
        let mut deeds = match word {
            "freeze" => {
                let ends = lasting.unwrap_or(LASTING);
                return Some(vec![(NOW, Action::Freeze), (ends, Action::Thaw)]);
            }
            "kill" => vec![(NOW, Action::Crash)],
            "stop-container" => vec![(NOW, stop())],
            "start-container" => return Some(vec![(NOW, Action::StartContainer)]),
            "scale" => {
                let to = self.needed(wanted.block, "to", "scale")?;
                let to = self.reader.number(to, "`to` of a fault", 0.0, 200.0)? as usize;
                let stays = wanted.index < to;
                return Some(vec![(NOW, if stays { Action::StartContainer } else { stop() })]);
            }
            "upgrade" => return self.upgrade(wanted, lasting.unwrap_or(LASTING)),
            "move" => {
                let to = self.needed(wanted.block, "to", "move")?;
                let machine = self.machine(to)?;
                let settled = Span::exactly(wanted.node.grace + Duration::from_millis(100));
                return Some(vec![
                    (NOW, stop()),
                    (settled, Action::Move(machine)),
                    (NOW, Action::StartContainer),
                ]);
            }
            _ => return None,
        };
        deeds.extend(lasting.map(|lasting| (lasting, Action::StartContainer)));
        Some(deeds)
    }

    /// One node after the other: stopped, given another configuration, and started.
    fn upgrade(&mut self, wanted: &Wanted<'_>, step: Span) -> Option<Deeds> {
        let tree = self.needed(wanted.block, "config", "upgrade")?;
        let name = wanted.node.name.clone();
        let index = self.nodes.iter().position(|node| node.name == name)?;
        let config = self.config(&name, tree, wanted.block, index)?;
        let nth = u32::try_from(wanted.index).unwrap_or(u32::MAX);
        let turn = Span { from: step.from * nth, to: step.to * nth };
        let settled = Span::exactly(wanted.node.grace + Duration::from_millis(100));
        Some(vec![
            (turn, Action::StopContainer(wanted.node.grace)),
            (settled, Action::WriteConfig(Ok(config))),
            (NOW, Action::StartContainer),
        ])
    }

    fn deeds_of_link(&mut self, word: &str, wanted: &Wanted<'_>, ends: Span) -> Option<Deeds> {
        let block = wanted.block;
        let ordinary = Link::default();
        Some(match word {
            "cut" => {
                let state = match self.word(block, "way", WAYS) {
                    Some("out") => LinkState::CutOut,
                    Some("in") => LinkState::CutIn,
                    _ => LinkState::Cut,
                };
                vec![(NOW, Action::Link(state)), (ends, Action::Link(LinkState::Up))]
            }
            "refuse" => {
                vec![(NOW, Action::Link(LinkState::Refused)), (ends, Action::Link(LinkState::Up))]
            }
            "delay" => {
                let by = block.get("by").and_then(|by| self.reader.span(by, "`by` of a fault"));
                let by = by.unwrap_or(Span::millis(200, 600));
                let most = if by.to > by.from { by.to } else { by.from * SPREAD };
                let (least, normal) = (by.from, ordinary.latency);
                vec![
                    (NOW, Action::Latency(least, most)),
                    (ends, Action::Latency(normal.0, normal.1)),
                ]
            }
            "loss" => {
                let share = self.share_of(block);
                vec![(NOW, Action::Loss(share)), (ends, Action::Loss(0))]
            }
            "duplicate" => {
                let share = self.share_of(block);
                vec![(NOW, Action::Duplication(share)), (ends, Action::Duplication(0))]
            }
            _ => return None,
        })
    }

    fn deeds_of_agent(&mut self, word: &str, wanted: &Wanted<'_>, ends: Span) -> Option<Deeds> {
        let block = wanted.block;
        let agent = Action::Agent;
        Some(match word {
            "agent-restart" => {
                let keeps = match block.get("memory").map(|it| (&it.value, it.span)) {
                    None => true,
                    Some((TreeValue::Bool(keeps), _)) => *keeps,
                    Some((_, span)) => {
                        let message = "cannot use this as `memory`: it is true or false";
                        self.reader.blame("wrong-type", span, message, None);
                        return None;
                    }
                };
                let start = AgentFault::Start { keeps };
                vec![(NOW, agent(AgentFault::Kill)), (ends, agent(start))]
            }
            "agent-pause" => {
                vec![(NOW, agent(AgentFault::Pause)), (ends, agent(AgentFault::Resume))]
            }
            "agent-cut" => vec![(NOW, agent(AgentFault::Cut)), (ends, agent(AgentFault::Join))],
            "deregister" => {
                let job = self.job(wanted)?;
                vec![(NOW, agent(AgentFault::Deregister { job }))]
            }
            _ => return None,
        })
    }

    fn deeds_of_consul(&mut self, word: &str, wanted: &Wanted<'_>, ends: Span) -> Option<Deeds> {
        let block = wanted.block;
        let catalog = Action::Catalog;
        Some(match word {
            "consul-leader-loss" => vec![
                (NOW, catalog(CatalogFault::KillLeader)),
                (ends, catalog(CatalogFault::StartServers)),
            ],
            "consul-step-down" => vec![(NOW, catalog(CatalogFault::StepDown))],
            "consul-outage" => vec![
                (NOW, catalog(CatalogFault::KillServers)),
                (ends, catalog(CatalogFault::StartServers)),
            ],
            "consul-total-loss" => vec![(NOW, catalog(CatalogFault::LoseState))],
            "consul-lag" => {
                let by = block.get("by").and_then(|by| self.reader.duration(by, "`by`"));
                let by = by.unwrap_or(Duration::from_secs(1));
                let slow = |by| (1..3).map(move |id| CatalogFault::SlowFollower(id, by));
                let begin = slow(by).map(|fault| (NOW, catalog(fault)));
                let end = slow(Duration::ZERO).zip([ends, NOW]);
                begin.chain(end.map(|(fault, after)| (after, catalog(fault)))).collect()
            }
            "destroy-session" => {
                let key = self.named(block, "key", word)?;
                vec![(NOW, catalog(CatalogFault::DestroyHolder { key }))]
            }
            "put" => {
                let key = self.named(block, "key", word)?;
                let value = self.named(block, "value", word)?;
                vec![(NOW, catalog(CatalogFault::Put { key, value }))]
            }
            "delete-key" => {
                let key = self.named(block, "key", word)?;
                vec![(NOW, catalog(CatalogFault::Delete { key }))]
            }
            "service-up" | "service-down" => {
                let service = self.named(block, "service", word)?;
                let nth = self.figure(block, "instance", 1000.0).unwrap_or(1.0).max(1.0) as u16;
                vec![(
                    NOW,
                    catalog(match word {
                        "service-up" => CatalogFault::Appear { service, nth },
                        _ => CatalogFault::Vanish { service, nth },
                    }),
                )]
            }
            _ => return None,
        })
    }

    fn figure(&mut self, block: &Block<'_>, name: &str, most: f64) -> Option<f64> {
        let tree = block.get(name)?;
        self.reader.number(tree, &format!("`{name}` of a fault"), -most, most)
    }

    fn share_of(&mut self, block: &Block<'_>) -> u32 {
        let share = block.get("share").and_then(|it| self.reader.share(it, "`share` of a fault"));
        share.unwrap_or(200_000)
    }

    fn needed<'t>(&mut self, block: &Block<'t>, name: &str, word: &str) -> Option<&'t Tree> {
        let found = block.get(name);
        if found.is_none() {
            let start = (block.span.0, block.span.0 + 1);
            let message = format!("cannot do \"{word}\" without `{name}`");
            self.reader.blame("missing-key", start, message, None);
        }
        found
    }

    fn named(&mut self, block: &Block<'_>, name: &str, word: &str) -> Option<Box<str>> {
        let tree = self.needed(block, name, word)?;
        self.reader.text(tree, &format!("`{name}` of a fault")).map(Box::from)
    }

    fn machine(&mut self, tree: &Tree) -> Option<Arc<str>> {
        let text = self.reader.text(tree, "`to` of a fault")?;
        let found = self.nodes.iter().find(|node| &*node.name == text);
        if let Some(node) = found {
            return Some(node.name.clone());
        }
        let names: Vec<Arc<str>> = self.nodes.iter().map(|node| node.name.clone()).collect();
        let help = suggestion(text, names.iter().map(|name| &**name));
        let message = format!("cannot find a node named \"{text}\"");
        self.reader.blame("unknown-node", tree.span, message, help.as_deref());
        None
    }

    fn signal(&mut self, block: &Block<'_>) -> Option<SignalName> {
        const ALL: [SignalName; 5] = [
            SignalName::Term,
            SignalName::Int,
            SignalName::Hup,
            SignalName::Usr1,
            SignalName::Usr2,
        ];
        let Some(tree) = block.get("signal") else { return Some(SignalName::Hup) };
        let text = self.reader.text(tree, "`signal` of a fault")?;
        let found = ALL.into_iter().find(|signal| signal.as_str() == text);
        if found.is_none() {
            let message = format!("cannot send \"{text}\" to a supervisor");
            let help = suggestion(text, ALL.iter().map(|signal| signal.as_str()));
            self.reader.blame("bad-value", tree.span, message, help.as_deref());
        }
        found
    }

    /// Reads the job that is meant; it must be there.
    fn job(&mut self, wanted: &Wanted<'_>) -> Option<Name> {
        let Some(tree) = wanted.block.get("job") else {
            let start = (wanted.block.span.0, wanted.block.span.0 + 1);
            self.reader.blame("missing-key", start, "cannot do this without `job`", None);
            return None;
        };
        let text = self.reader.text(tree, "`job` of a fault")?;
        let jobs = &wanted.node.config.jobs;
        if let Some(job) = jobs.iter().find(|job| &*job.name == text) {
            return Some(job.name.clone());
        }
        let help = suggestion(text, jobs.iter().map(|job| &*job.name));
        let message = format!("cannot find a job named \"{text}\" on {}", wanted.node.name);
        self.reader.blame("unknown-job", tree.span, message, help.as_deref());
        None
    }
}
