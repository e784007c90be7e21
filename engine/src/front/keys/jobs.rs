//! Jobs and what is in them.

use super::shorthand::{
    DURATION, DURATION_ABOVE_ZERO, DURATION_FROM_MILLISECOND, PORT, added, key, required,
};
use super::{Block, Kind};

pub(crate) static JOB: Block = Block {
    path: "jobs[]",
    doc: "One job: a process with its trigger, or, without `exec`, a service to advertise.",
    keys: &[
        required(key(
            "name",
            Kind::Text,
            "",
            "The name, unique among jobs. With `port` it is the service's name and must match \
             `[a-z][a-zA-Z0-9-]+`.",
        )),
        key(
            "exec",
            Kind::TextOrTexts,
            "",
            "What to execute: a list of arguments, or a string split at white space. No shell \
             reads it.",
        ),
        key("when", Kind::Block(&WHEN), "once, at startup", "When to start."),
        added(
            "while",
            Kind::Text,
            "",
            "`lock.NAME`: the job runs exactly while this supervisor holds the lock.",
        ),
        added(
            "stopWith",
            Kind::Text,
            "",
            "`lock.NAME`: the job runs without the lock as well, but each end of a term ends it; \
             the lock passes on only when it has gone. Then it starts again.",
        ),
        key(
            "restarts",
            Kind::Any(&[
                Kind::Whole { min: 0, max: 4_294_967_295 },
                Kind::Word(&["unlimited", "never"]),
            ]),
            "never; unlimited for an interval job",
            "How often to run again after an end.",
        ),
        added(
            "backoff",
            Kind::Any(&[Kind::Word(&["none"]), Kind::Block(&BACKOFF)]),
            "",
            "How long to wait between restarts; `\"none\"` for no wait, as v3 did.",
        ),
        key(
            "timeout",
            DURATION_FROM_MILLISECOND,
            "none; the interval of an interval job",
            "How long one run may take before its process group gets SIGKILL.",
        ),
        key(
            "stopTimeout",
            DURATION,
            "the rest of the global one",
            "How long a stopping job waits for the jobs that react to its `stopping`.",
        ),
        added(
            "stopSignal",
            Kind::Signal,
            "SIGTERM",
            "The first signal of a stop, with or without `SIG`.",
        ),
        added(
            "killTimeout",
            DURATION,
            "the global stopTimeout",
            "From the stop signal to SIGKILL.",
        ),
        added(
            "essential",
            Kind::Bool,
            "false",
            "Whether the container ends, with its status, when this job ends.",
        ),
        key(
            "health",
            Kind::Block(&HEALTH),
            "",
            "How to tell whether it works; required with `port`.",
        ),
        key("port", PORT, "", "The port to advertise in Consul; 0 is none."),
        key(
            "initial_status",
            Kind::Word(&["passing", "warning", "critical"]),
            "",
            "Registers at once with this status, before any check.",
        ),
        key(
            "interfaces",
            Kind::TextOrTexts,
            "[\"eth0:inet\", \"inet\"]",
            "Which address to advertise: `eth0`, `eth0:inet6`, `eth0[1]`, a network such as \
             `10.0.0.0/16`, \
             `inet`, `inet6` or `static:ADDRESS`; the first that matches.",
        ),
        key("tags", Kind::Texts, "", "Tags of the service."),
        added("meta", Kind::TextMap, "", "Meta data of the service."),
        added(
            "drain",
            DURATION,
            "0",
            "How long to wait between the withdrawal of the service and the stop signal.",
        ),
        key("consul", Kind::Block(&CONSUL_EXTRAS), "", "More about the service."),
        added("env", Kind::TextMap, "", "Variables for the process, over the supervisor's own."),
        added(
            "envFile",
            Kind::Text,
            "",
            "A file of `NAME=value` lines, read at each start, below `env`.",
        ),
        added("user", Kind::Text, "", "The user to run as, by name or number."),
        added(
            "group",
            Kind::Text,
            "the user's own",
            "The group to run as, by name or number; only with `user`.",
        ),
        added("workdir", Kind::Text, "", "The working directory."),
        added(
            "stdin",
            Kind::Word(&["null", "inherit"]),
            "null",
            "What the process reads: nothing, or what the supervisor itself is given.",
        ),
        added(
            "umask",
            Kind::Umask,
            "",
            "The file mode creation mask, octal, as a string such as `\"027\"`.",
        ),
        added(
            "limits",
            Kind::Limits,
            "",
            "Resource limits by name: a number, `\"unlimited\"`, or `{soft, hard}`.",
        ),
        key("logging", Kind::Block(&JOB_LOGGING), "", "What becomes of its output."),
    ],
};

pub(crate) static WHEN: Block = Block {
    path: "jobs[].when",
    doc: "A trigger: `source` with `once` or `each`, or one of `interval`, `schedule`, `all`, \
          `any`.",
    keys: &[
        key(
            "source",
            Kind::Text,
            "",
            "Who: a job, `check.JOB`, `watch.NAME`, `lock.NAME`, `SIGHUP` or `SIGUSR2`. Global \
             events \
             take any source.",
        ),
        key("once", Kind::Text, "", "The event; only the first time counts."),
        key("each", Kind::Text, "", "The event; every time counts."),
        key(
            "interval",
            DURATION_FROM_MILLISECOND,
            "",
            "How often, counted from startup; the first time at startup.",
        ),
        added("schedule", Kind::Cron, "", "The times as a cron expression of five fields, in UTC."),
        added("all", Kind::Triggers, "", "Several triggers that must all hold at the same time."),
        added("any", Kind::Triggers, "", "Several triggers of which any will do."),
        key("timeout", DURATION, "none", "How long to wait before giving up."),
    ],
};

pub(crate) static HEALTH: Block = Block {
    path: "jobs[].health",
    doc: "A health check. Without `exec` the job counts as healthy while it runs.",
    keys: &[
        key("exec", Kind::TextOrTexts, "", "What to execute; status 0 is healthy."),
        required(key("interval", DURATION_ABOVE_ZERO, "", "From one check to the next.")),
        key(
            "ttl",
            DURATION_ABOVE_ZERO,
            "",
            "How long Consul believes the last report; required with `port`.",
        ),
        key(
            "timeout",
            DURATION_FROM_MILLISECOND,
            "the interval",
            "How long one check may take before it counts as failed.",
        ),
        added(
            "retries",
            Kind::Whole { min: 1, max: 1_000_000 },
            "1",
            "Failures in a row that make the job unhealthy.",
        ),
        added("startPeriod", DURATION, "0", "After a start, how long failures do not count."),
        added(
            "startInterval",
            DURATION_FROM_MILLISECOND,
            "the interval",
            "From one check to the next within the start period, until one succeeds.",
        ),
        key("logging", Kind::Block(&JOB_LOGGING), "", "What becomes of its output."),
    ],
};

pub(crate) static CONSUL_EXTRAS: Block = Block {
    path: "jobs[].consul",
    doc: "More about the registration of a service.",
    keys: &[
        key("enableTagOverride", Kind::Bool, "false", "Whether the catalog may change the tags."),
        key(
            "deregisterCriticalServiceAfter",
            DURATION_ABOVE_ZERO,
            "never",
            "After how long critical Consul removes the service.",
        ),
    ],
};

pub(crate) static BACKOFF: Block = Block {
    path: "jobs[].backoff",
    doc: "How long to wait between restarts. The first restart after good running comes at once.",
    keys: &[
        added("initial", DURATION_FROM_MILLISECOND, "100ms", "The first wait."),
        added("max", DURATION_FROM_MILLISECOND, "30s", "The longest wait."),
        added(
            "factor",
            Kind::Text,
            "2",
            "By how much each wait is longer than the one before; from 1 to 100.",
        ),
        added("reset", DURATION, "10s", "Running for so long forgives everything before."),
    ],
};

pub(crate) static LIMIT: Block = Block {
    path: "jobs[].limits.*",
    doc: "A soft and a hard limit; see setrlimit(2).",
    keys: &[
        added(
            "soft",
            Kind::Any(&[Kind::Whole { min: 0, max: i64::MAX }, Kind::Word(&["unlimited"])]),
            "the hard one",
            "What the kernel enforces.",
        ),
        added(
            "hard",
            Kind::Any(&[Kind::Whole { min: 0, max: i64::MAX }, Kind::Word(&["unlimited"])]),
            "the soft one",
            "What the process may raise it to.",
        ),
    ],
};

pub(crate) static JOB_LOGGING: Block = Block {
    path: "jobs[].logging",
    doc: "What becomes of the output of a job or a health check.",
    keys: &[key(
        "raw",
        Kind::Bool,
        "false",
        "Whether output passes through untouched instead of becoming log records.",
    )],
};
