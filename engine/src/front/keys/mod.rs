//! The keys of a configuration, declared once: the decoder, the schema, the near names and the
//! reference page all read these tables.

mod catalog;
mod jobs;
mod shorthand;
mod top;

pub(crate) use catalog::{LOCK, WATCH};
pub(crate) use jobs::{BACKOFF, CONSUL_EXTRAS, HEALTH, JOB, JOB_LOGGING, LIMIT, WHEN};
pub(crate) use top::{BLOCKS, CONSUL, CONTROL, LOGGING, METRIC, TELEMETRY, TLS, TOP};

/// One kind of block and its keys.
#[derive(Debug)]
pub(crate) struct Block {
    /// Its place in the file, such as `jobs[].health`.
    pub(crate) path: &'static str,
    /// What it is for.
    pub(crate) doc: &'static str,
    /// Its keys, in the order of the reference page.
    pub(crate) keys: &'static [Key],
}

impl Block {
    /// Finds a key by name; only the top level cares about case.
    pub(crate) fn index(&self, name: &str) -> Option<usize> {
        self.keys.iter().position(|key| match self.minds_case() {
            true => key.name == name,
            false => key.name.eq_ignore_ascii_case(name),
        })
    }

    pub(crate) fn minds_case(&self) -> bool {
        self.path.is_empty()
    }
}

/// One key.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// Whether it must be given.
    pub(crate) need: Need,
    /// What counts when it is not given, for the reference page; empty when there is no such thing.
    pub(crate) default: &'static str,
    /// Whether v3 knew it.
    pub(crate) since: Since,
    pub(crate) doc: &'static str,
}

/// Whether a key must be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    Required,
    Optional,
}

/// Where a key comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    /// ContainerPilot v3.
    V3,
    /// This program.
    Here,
}

/// What a key takes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// A string; numbers count as their text.
    Text,
    /// True or false; 1 and 0 count as well.
    Bool,
    /// A whole number within limits; digits in a string count as well.
    Whole { min: i64, max: i64 },
    /// A duration, at least so many nanoseconds.
    Duration { min_ns: u64 },
    /// A list of strings.
    Texts,
    /// One string, or a list of strings.
    TextOrTexts,
    /// One of these words, in any case.
    Word(&'static [&'static str]),
    /// Names with strings.
    TextMap,
    /// A block.
    Block(&'static Block),
    /// A list of blocks.
    Blocks(&'static Block),
    /// Names (of these) with numbers or blocks.
    Limits,
    /// A signal by name or number.
    Signal,
    /// An octal number in a string.
    Umask,
    /// A cron expression.
    Cron,
    /// A list of triggers (`when` within `when`).
    Triggers,
    /// Any of several kinds.
    Any(&'static [Kind]),
}

/// One nanosecond more than nothing: the minimum of a duration that may not be zero.
pub(crate) const MORE_THAN_ZERO: u64 = 1;

/// The shortest time v3 allowed where it allowed less than a second.
pub(crate) const MILLISECOND: u64 = 1_000_000;

/// Keys that other programs and earlier versions had, with what to write instead.
pub(crate) static ELSEWHERE: &[(&str, &[&str], &str)] = &[
    (
        "",
        &[
            "services",
            "backends",
            "tasks",
            "coprocesses",
            "preStart",
            "preStop",
            "postStop",
            "onStart",
            "sensors",
        ],
        "this key is of ContainerPilot 2; there everything that runs is one of `jobs` now",
    ),
    ("jobs[]", &["command", "cmd"], "write `exec`"),
    (
        "jobs[]",
        &["poll", "ttl", "check", "healthcheck"],
        "write it within `health: { exec, interval, ttl }`",
    ),
    ("jobs[]", &["source", "once", "each", "interval", "frequency"], "write it within `when`"),
    ("jobs[]", &["dependsOn", "depends_on", "after"], "write `when: { source, once }`"),
    ("jobs[]", &["environment", "vars"], "write `env`"),
    ("jobs[]", &["cwd", "directory"], "write `workdir`"),
    ("jobs[].when", &["event"], "write `once` or `each`"),
    ("jobs[].when", &["frequency", "every"], "write `interval`"),
    ("jobs[].when", &["cron"], "write `schedule`"),
    ("jobs[].health", &["command", "check"], "write `exec`"),
    ("jobs[].health", &["poll", "period"], "write `interval`"),
    ("watches[]", &["poll"], "write `interval`"),
    ("telemetry", &["sensors"], "sensors are `metrics` now; a job measures and calls `putmetric`"),
];

/// Finds what to write instead of a key from elsewhere.
pub(crate) fn instead_of(block: &Block, key: &str) -> Option<&'static str> {
    let is_it = |names: &[&str]| names.iter().any(|name| name.eq_ignore_ascii_case(key));
    let found = ELSEWHERE.iter().find(|(path, names, _)| *path == block.path && is_it(names));
    found.map(|(_, _, help)| *help)
}
