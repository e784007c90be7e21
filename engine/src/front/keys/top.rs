//! The top level, and what is the adapter's.

use super::shorthand::{DURATION, PORT, added, key, required};
use super::{
    BACKOFF, Block, CONSUL_EXTRAS, HEALTH, JOB, JOB_LOGGING, Kind, LIMIT, LOCK, WATCH, WHEN,
};

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
             Consul inside the process. Without it it is that of `CONSUL_HTTP_ADDR`, or jobs run \
             without discovery.",
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
    doc: "How to reach Consul. Where the file names no address or scheme, `CONSUL_HTTP_ADDR` and \
          `CONSUL_HTTP_SSL` do. For the rest the environment comes first: `CONSUL_HTTP_TOKEN`, \
          `CONSUL_HTTP_TOKEN_FILE`, `CONSUL_HTTP_AUTH`, `CONSUL_NAMESPACE`, `CONSUL_CACERT`, \
          `CONSUL_CAPATH`, `CONSUL_CLIENT_CERT`, `CONSUL_CLIENT_KEY`, `CONSUL_TLS_SERVER_NAME`, \
          `CONSUL_HTTP_SSL_VERIFY`.",
    keys: &[
        key(
            "address",
            Kind::Text,
            "`CONSUL_HTTP_ADDR`, else `127.0.0.1:8500`",
            "Host and port, perhaps with the scheme in front; or `unix://` and a path.",
        ),
        key(
            "scheme",
            Kind::Word(&["http", "https"]),
            "`https` if `CONSUL_HTTP_SSL` says so, else `http`",
            "The protocol.",
        ),
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
