//! The tables themselves.

use super::{Block, Key, Kind, MILLISECOND, MORE_THAN_ZERO, Need, Since};

const fn key(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Key {
    Key { name, kind, need: Need::Optional, default, since: Since::V3, doc }
}

const fn added(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Key {
    Key { name, kind, need: Need::Optional, default, since: Since::Here, doc }
}

const fn required(key: Key) -> Key {
    Key { need: Need::Required, ..key }
}

const DURATION: Kind = Kind::Duration { min_ns: 0 };
const DURATION_ABOVE_ZERO: Kind = Kind::Duration { min_ns: MORE_THAN_ZERO };
const DURATION_FROM_MILLISECOND: Kind = Kind::Duration { min_ns: MILLISECOND };
const PORT: Kind = Kind::Whole { min: 0, max: 65_535 };

/// Every block, in the order of the reference page.
pub(crate) static BLOCKS: &[&Block] = &[
    &TOP,
    &CONSUL,
    &TLS,
    &LOGGING,
    &CONTROL,
    &JOB,
    &WHEN,
    &HEALTH,
    &CONSUL_EXTRAS,
    &BACKOFF,
    &LIMIT,
    &JOB_LOGGING,
    &WATCH,
    &LOCK,
    &TELEMETRY,
    &METRIC,
];

pub(crate) static TOP: Block = Block {
    path: "",
    doc: "The file is a Go template that renders to JSON5. Upper and lower case matter for these \
          keys; \
          they do not for the keys within blocks.",
    keys: &[
        key(
            "consul",
            Kind::Any(&[Kind::Text, Kind::Block(&CONSUL)]),
            "",
            "Where Consul is: `[http://|https://]host:port`, a block, or `\"embedded\"` for a \
             development \
             Consul inside the process. Without it jobs run without discovery.",
        ),
        key("logging", Kind::Block(&LOGGING), "", "How to log."),
        key(
            "stopTimeout",
            DURATION,
            "5",
            "How long a shutdown may take, and the default of every `killTimeout`. 0 is the \
             default, as in v3.",
        ),
        key("control", Kind::Block(&CONTROL), "", "The control socket."),
        key("jobs", Kind::Blocks(&JOB), "", "What to run."),
        key("watches", Kind::Blocks(&WATCH), "", "What to watch."),
        added(
            "locks",
            Kind::Blocks(&LOCK),
            "",
            "Locks in Consul, for jobs of which only one may run.",
        ),
        key("telemetry", Kind::Block(&TELEMETRY), "", "Metrics and status over HTTP."),
    ],
};

pub(crate) static CONSUL: Block = Block {
    path: "consul",
    doc: "How to reach Consul. The environment comes first: `CONSUL_HTTP_TOKEN`, \
          `CONSUL_HTTP_TOKEN_FILE`, \
          `CONSUL_HTTP_AUTH`, `CONSUL_NAMESPACE`, `CONSUL_CACERT`, `CONSUL_CAPATH`, \
          `CONSUL_CLIENT_CERT`, `CONSUL_CLIENT_KEY`, `CONSUL_TLS_SERVER_NAME`, \
          `CONSUL_HTTP_SSL_VERIFY`.",
    keys: &[
        required(key(
            "address",
            Kind::Text,
            "",
            "Host and port, perhaps with the scheme in front.",
        )),
        key("scheme", Kind::Word(&["http", "https"]), "http", "The protocol."),
        key("token", Kind::Text, "", "The token to send."),
        key("tls", Kind::Block(&TLS), "", "Certificates, for `https`."),
    ],
};

pub(crate) static TLS: Block = Block {
    path: "consul.tls",
    doc: "Certificates for the connection to Consul.",
    keys: &[
        key("cafile", Kind::Text, "", "File with the authority's certificate."),
        key("capath", Kind::Text, "", "Directory with authorities' certificates."),
        key("clientcert", Kind::Text, "", "File with one's own certificate."),
        key("clientkey", Kind::Text, "", "File with one's own key."),
        key("servername", Kind::Text, "the host", "The name that Consul's certificate must have."),
        key("verify", Kind::Bool, "true", "Whether Consul's certificate is checked."),
    ],
};

pub(crate) static LOGGING: Block = Block {
    path: "logging",
    doc: "How the supervisor logs; the output of jobs is logged at INFO.",
    keys: &[
        key(
            "level",
            Kind::Word(&["DEBUG", "INFO", "WARN", "WARNING", "ERROR", "FATAL", "PANIC"]),
            "INFO",
            "What is worth a record.",
        ),
        key(
            "format",
            Kind::Word(&["default", "text", "json"]),
            "default",
            "What a record looks like.",
        ),
        key(
            "output",
            Kind::Text,
            "stdout",
            "`stdout`, `stderr`, or a file, which is opened anew on SIGUSR1.",
        ),
    ],
};

pub(crate) static CONTROL: Block = Block {
    path: "control",
    doc: "The control socket.",
    keys: &[key("socket", Kind::Text, "/var/run/containerpilot.socket", "Its path.")],
};

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

pub(crate) static WATCH: Block = Block {
    path: "watches[]",
    doc: "A watch of a service, a key, a prefix or a file; its events come from `watch.NAME`.",
    keys: &[
        required(key(
            "name",
            Kind::Text,
            "",
            "The name, unique among watches; the service to watch unless another target is given.",
        )),
        key(
            "interval",
            DURATION_ABOVE_ZERO,
            "10 for keys, prefixes and files",
            "How old a reading may be; required for services.",
        ),
        key("tag", Kind::Text, "", "A tag that every instance must have."),
        key("dc", Kind::Text, "", "The data centre."),
        added("service", Kind::Text, "", "The service, where it is not the name."),
        added("key", Kind::Text, "", "A key in Consul."),
        added("prefix", Kind::Text, "", "All keys in Consul below this."),
        added("file", Kind::Text, "", "A file."),
        added("settle", DURATION, "0", "How long a set must stay the same before it is announced."),
        added(
            "stale",
            DURATION_ABOVE_ZERO,
            "never",
            "How long the source may be out of reach before `stale` is announced.",
        ),
    ],
};

pub(crate) static LOCK: Block = Block {
    path: "locks[]",
    doc: "A lock in Consul that one supervisor holds at a time; its events come from `lock.NAME`. \
          The check \
          refuses figures with which two could hold it, and says by how much.",
    keys: &[
        required(added("name", Kind::Text, "", "The name, unique among locks.")),
        required(added("key", Kind::Text, "", "The key in Consul; one for each elected role.")),
        added("ttl", DURATION, "20s", "The time to live of the session; from 10s to 24h."),
        added(
            "lockDelay",
            DURATION,
            "20s",
            "How long Consul keeps others out after a loss without a release; at most 60s.",
        ),
        added(
            "renewEvery",
            DURATION_FROM_MILLISECOND,
            "5s",
            "From one renewal to the next; at most a third of the TTL.",
        ),
        added(
            "requestTimeout",
            DURATION_FROM_MILLISECOND,
            "2s",
            "How long one request about the lock may take.",
        ),
        added(
            "demoteAfter",
            DURATION_FROM_MILLISECOND,
            "13s",
            "The age of the last confirmed renewal at which stopping begins.",
        ),
        added(
            "stopTimeout",
            DURATION,
            "5s",
            "From the stop signal to SIGKILL for the jobs that need the lock.",
        ),
        added(
            "maxPause",
            DURATION,
            "1s",
            "The longest pause of the supervisor that is allowed for.",
        ),
        added(
            "maxDrift",
            Kind::Whole { min: 0, max: 100_000 },
            "1000",
            "The largest error of a clock that is allowed for, in parts per million.",
        ),
        added(
            "takeover",
            Kind::Any(&[Kind::Word(&["auto"]), DURATION]),
            "auto",
            "How long to keep quiet after acquiring.",
        ),
        added("healthy", Kind::Text, "", "A job that must be healthy to keep the lock."),
        added("healthGrace", DURATION, "15s", "How long that job may be unhealthy."),
        added(
            "holdOff",
            DURATION,
            "30s",
            "After a lost term, how long before standing again; at least `lockDelay`.",
        ),
        added("value", Kind::Text, "", "What others read in the key."),
        added("unsafe", Kind::Bool, "false", "Accepts figures that do not keep two holders apart."),
    ],
};

pub(crate) static TELEMETRY: Block = Block {
    path: "telemetry",
    doc: "Metrics in Prometheus' format at `/metrics`, and `/status`. With `consul` it is \
          registered as the \
          service `containerpilot`.",
    keys: &[
        key("port", PORT, "9090", "The port to listen on."),
        key(
            "interfaces",
            Kind::TextOrTexts,
            "[\"eth0:inet\", \"inet\"]",
            "The address to listen on, as for jobs.",
        ),
        key("tags", Kind::Texts, "", "Tags of the service."),
        key("metrics", Kind::Blocks(&METRIC), "", "The metrics that `putmetric` may set."),
    ],
};

pub(crate) static METRIC: Block = Block {
    path: "telemetry.metrics[]",
    doc: "A metric; its full name is namespace, subsystem and name, joined by `_`, without empty \
          parts.",
    keys: &[
        key("namespace", Kind::Text, "", "First part of the name."),
        key("subsystem", Kind::Text, "", "Second part of the name."),
        required(key("name", Kind::Text, "", "Last part of the name.")),
        key("help", Kind::Text, "", "What it counts."),
        required(key(
            "type",
            Kind::Word(&["counter", "gauge", "histogram", "summary"]),
            "",
            "A counter adds, a gauge sets, a histogram and a summary observe.",
        )),
    ],
};
