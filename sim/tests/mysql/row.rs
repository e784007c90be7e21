//! What a row of the catalogue is: a world, what goes wrong in it, what the original scripts break
//! and what their repair holds.

use core::fmt::Write as _;
use core::time::Duration;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use steersman_engine::Time;
use steersman_sim::Action;
use steersman_sim::explore::{Limits, Scripted, Search, Span};
use steersman_sim::property::Breach;
use steersman_sim::scenario;

use crate::neighbourhood::Mode;

pub(crate) const ORIGINAL: &str = "mysql-cold-start.json5";
pub(crate) const REPAIRED: &str = "mysql-repaired.json5";

/// The three members of most rows.
pub(crate) const DB: &[&str] = &["db-1", "db-2", "db-3"];

/// When things go wrong in most rows: everybody serves by then.
pub(crate) const T0: u64 = 150;

/// Whatever node is the primary when the first thing is done to it.
pub(crate) const PRIMARY: &str = "primary of mysql";

/// A text of an example and what stands there instead.
pub(crate) type Change = (&'static str, &'static str);

/// Members of the original that start one after another, in a good order.
pub(crate) const IN_ORDER: Change = ("\"sleep 0s..120s\"", "\"sleep 40s\"");

/// Members of the repaired application that start within some seconds.
pub(crate) const SOON: Change = ("\"sleep 0s..120s\"", "\"sleep 0s..10s\"");

/// A second client that does not let go of its connection.
pub(crate) const HOLDS_ON: Change = (
    "clients: {",
    "clients: { web: { database: \"mysql\", service: \"mysql-primary\", finds: \"cached\" },",
);

/// Containers of the original whose data outlives them.
pub(crate) const VOLUME: Change = ("count: 3,", "count: 3,\n      volume: true,");

/// A world, what is done in it, and what must hold.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) file: &'static str,
    pub(crate) changes: Vec<Change>,
    pub(crate) nodes: &'static [&'static str],
    /// Nodes that do not run from the beginning.
    pub(crate) later: &'static [&'static str],
    pub(crate) deeds: Vec<Scripted>,
    /// What must hold, besides what holds in every row of the repaired application.
    pub(crate) properties: &'static str,
    /// What must hold besides, unless somebody is held up for longer than was declared.
    pub(crate) in_time: &'static str,
    /// How long a run goes on after the last deed.
    pub(crate) settle: u64,
    /// How long nobody may ask for the lock, in seconds, because every member has lost terms of
    /// its own when somebody was held up for longer than was declared.
    pub(crate) holds_off: u64,
}

/// What the original does.
#[derive(Clone, Debug)]
pub(crate) enum Original {
    /// It breaks the case's property, in one of so many seeds at the latest.
    Breaks(Case, u64),
    /// The model cannot tell, and why.
    Untold(&'static str),
}

/// One row.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    /// Which property the original breaks, for the page.
    pub(crate) violates: &'static str,
    pub(crate) original: Original,
    pub(crate) repaired: Case,
    /// By which rule of the repaired application it holds.
    pub(crate) rule: &'static str,
    /// How often Consul's leader changes in the row: each may double the wait for a lock.
    pub(crate) leaders: u64,
    /// Whether only the resource can keep two writers apart, because the supervisor is held up for
    /// longer than it declared.
    pub(crate) is_overlong: bool,
}

/// A case of the original scripts on three members.
pub(crate) fn original(deeds: Vec<Scripted>, properties: &'static str) -> Case {
    Case {
        file: ORIGINAL,
        changes: vec![IN_ORDER],
        nodes: DB,
        later: &[],
        deeds,
        properties,
        in_time: "",
        settle: 300,
        holds_off: 0,
    }
}

/// A case of the repaired application on three members.
pub(crate) fn repaired(deeds: Vec<Scripted>) -> Case {
    Case { file: REPAIRED, changes: vec![SOON, HOLDS_ON], settle: 0, ..original(deeds, "") }
}

impl Case {
    /// Changes a text of the example.
    pub(crate) fn with(mut self, from: &'static str, to: &'static str) -> Case {
        self.changes.push((from, to));
        self
    }

    /// Changes several texts of the example.
    pub(crate) fn with_all(mut self, changes: &[Change]) -> Case {
        self.changes.extend_from_slice(changes);
        self
    }

    pub(crate) fn on(mut self, nodes: &'static [&'static str]) -> Case {
        self.nodes = nodes;
        self
    }

    pub(crate) fn later(mut self, nodes: &'static [&'static str]) -> Case {
        self.later = nodes;
        self
    }

    pub(crate) fn holds(mut self, properties: &'static str) -> Case {
        self.properties = properties;
        self
    }

    pub(crate) fn holds_in_time(mut self, properties: &'static str) -> Case {
        self.in_time = properties;
        self
    }

    pub(crate) fn settles(mut self, seconds: u64) -> Case {
        self.settle = seconds;
        self
    }

    pub(crate) fn holds_off(mut self, seconds: u64) -> Case {
        self.holds_off = seconds;
        self
    }

    /// Makes the search of a case as written, with further properties.
    pub(crate) fn search(&self, more: &str, settle: u64) -> Search {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples").join(self.file);
        let mut text = fs::read_to_string(path).expect("the example");
        for (from, to) in &self.changes {
            assert!(text.contains(from), "{} has no {from}", self.file);
            text = text.replace(from, to);
        }
        let end = text.find("\n  faults: [").expect("faults");
        text.truncate(end);
        let properties = [self.properties, more].join(", ");
        let settle = settle.max(self.settle);
        write!(
            text,
            "\n  swarm: \"none\",\n  properties: [{}],\n  limits: {{ settle: \"900s\" }},\n}}\n",
            properties.trim_matches([',', ' '])
        )
        .expect("a text grows");
        let read = |path: &str| Err(format!("no {path} here"));
        let loaded = scenario::load(self.file, &text, &read);
        let scenario = loaded.unwrap_or_else(|problems| panic!("{problems:#?}"));
        let mut setting = scenario.setting;
        setting.nodes.retain(|node| self.nodes.contains(&&*node.name));
        for node in &mut setting.nodes {
            node.begins = !self.later.contains(&&*node.name);
        }
        let databases = &mut setting.applications.databases;
        let has_member = |on: &str| {
            let start = on.trim_end_matches('*');
            self.nodes.iter().any(|node| node.starts_with(start))
        };
        databases.retain(|database| has_member(&database.on));
        let names: Vec<_> = databases.iter().map(|database| database.name.clone()).collect();
        setting.applications.clients.retain(|client| names.contains(&client.database));
        Search {
            setting: Arc::new(setting),
            suite: scenario.suite,
            faults: scenario.faults,
            limits: Limits { trouble: Duration::from_secs(1), settle: Duration::from_secs(settle) },
            scripted: self.deeds.clone(),
            seeds: 0..1,
            shard: (0, 1),
            jobs: 1,
            check_determinism: false,
        }
    }
}

impl Row {
    /// Gives what must hold in every row of the repaired application.
    fn demands(&self, mode: Mode) -> String {
        let within = self.bound(mode);
        let mut demands = format!(
            "{{ name: 'no acknowledged write is lost', never: 'database mysql is lossy' }}, \
             {{ name: 'no older token', never: 'database mysql is unfenced' }}, \
             {{ name: 'converges', eventually: 'database mysql is converged and \
                any *-primary is healthy', within: '{within}s' }}"
        );
        if mode != Mode::Overlong && !self.is_overlong {
            demands.push_str(", { name: 'one writer', atMostOne: 'database mysql is accepting' }");
        }
        if mode != Mode::Overlong && !self.repaired.in_time.is_empty() {
            demands.push_str(", ");
            demands.push_str(self.repaired.in_time);
        }
        demands
    }

    /// How long the world may take to settle: 2T (1 + leader changes) + δ + W + 2w + the start of
    /// the database, a copy, and 30 s; besides, over-long, what the members hold off.
    fn bound(&self, mode: Mode) -> u64 {
        let (ttl, delay, quiet, watch, boot, copy) = (20, 20, 20, 10, 3, 8);
        let holds_off = if mode == Mode::Overlong { self.repaired.holds_off } else { 0 };
        holds_off + 2 * ttl * (1 + self.leaders) + delay + quiet + 2 * watch + boot + copy + 30
    }

    /// Makes the search of the repaired application as written.
    pub(crate) fn search(&self, mode: Mode) -> Search {
        self.repaired.search(&self.demands(mode), self.bound(mode) + 1)
    }
}

/// Makes one run near a search; tells what was broken.
pub(crate) fn run(search: &Search, seed: u64, mode: Mode) -> Option<Breach> {
    look(search, seed, mode).0
}

/// Makes one run near a search; tells what was broken, and the hash of all that happened.
pub(crate) fn look(search: &Search, seed: u64, mode: Mode) -> (Option<Breach>, u64) {
    let (search, begun) = crate::neighbourhood::near(search, seed, mode);
    let found = match begun {
        Some(begun) => search.go_on(seed, begun),
        None => search.go_here(&Default::default()),
    };
    (found.breaches.into_iter().next().map(|found| found.breach), found.fingerprint)
}

/// Something done to a node at an instant, and more so long after.
pub(crate) fn deed(at: u64, node: &str, actions: &[(u64, Action)]) -> Scripted {
    let exactly = |seconds| Span::exactly(Duration::from_secs(seconds));
    let actions = actions.iter().map(|(after, action)| (exactly(*after), action.clone()));
    Scripted { at: exactly(at), node: Arc::from(node), actions: actions.collect() }
}

/// Gives when the last deed of a list is done.
pub(crate) fn last_of(deeds: &[Scripted]) -> Time {
    let ends = deeds.iter().map(|deed| {
        let after: Duration = deed.actions.iter().map(|(after, _)| after.to).sum();
        Time(0) + deed.at.to + after
    });
    ends.max().unwrap_or(Time(0))
}
