//! The keys of scenarios, with their types and what they mean: read, and printed as a schema.

use super::block::{Key, key};

pub(super) const TOP: &[Key] = &[
    key("title", "text", "What the scenario is about."),
    key("nodes", "nodes", "The containers, by name: each with its real configuration."),
    key(
        "processes",
        "processes",
        "How processes behave, by JOB or NODE/JOB; `*` stands for letters.",
    ),
    key("consul", "consul", "The Consul that the nodes share; an ordinary one when left out."),
    key("faults", "faults", "What goes wrong in every run."),
    key(
        "swarm",
        "swarm",
        "What may go wrong besides, drawn per seed: \"all\", \"none\" or a list.",
    ),
    key("programs", "programs", "What processes do, step by step, by name."),
    key("databases", "databases", "Replicated databases, by name."),
    key("clients", "clients", "Who writes to the databases, by name."),
    key("facts", "texts", "Conditions with names, to be used in properties."),
    key("properties", "properties", "What must hold."),
    key("limits", "limits", "How long runs are."),
];
pub(super) const NODE: &[Key] = &[
    key("config", "config", "A file, by its path from the scenario, or the configuration itself."),
    key("count", "number", "How many nodes of this kind: NAME-1, NAME-2, …"),
    key("running", "number", "How many of them run from the beginning; all when left out."),
    key("env", "texts", "The environment that the configuration's template sees."),
    key("variants", "variants", "Other contents of its file: more environment, by name."),
    key("volume", "truth", "Whether files and data outlive the container."),
    key(
        "restart",
        "restart",
        "What the scheduler does when one has ended: \"never\", \"always\" or \"on-failure\".",
    ),
    key("restartDelay", "duration", "From the end to the next start; 1 s when left out."),
    key("grace", "duration", "From the wish to stop to the end by force; 10 s when left out."),
    key(
        "agent",
        "agentPlace",
        "Where its Consul agent is: \"beside\" it, or \"inside\" the container, ending with it.",
    ),
    key("clock", "clock", "How wrong its clocks are: `offset` and `rate` in millionths."),
];
pub(super) const CONSUL: &[Key] = &[
    key("servers", "number", "How many servers, from 1 to 7: 3 when left out."),
    key(
        "agents",
        "agents",
        "Whom supervisors ask: \"each\" an agent of its own, \"shared\", or the \"servers\".",
    ),
    key("lag", "span", "From a write until a follower knows it."),
    key("election", "span", "From the loss of a leader to the next one."),
    key("antiEntropy", "span", "Between two comparisons of an agent with the catalog."),
    key(
        "contract",
        "truth",
        "Whether all is possible that the documentation allows, not only what 1.8.7 does.",
    ),
    key("services", "counts", "Services of others: how many instances of each there are."),
    key("keys", "strings", "What is in the key-value store from the beginning."),
];
pub(super) const CLOCK: &[Key] = &[
    key(
        "offset",
        "duration",
        "What the monotonic clock shows at the beginning; drawn when left out.",
    ),
    key("rate", "number", "By how many millionths the clocks are too fast; drawn when left out."),
];
pub(super) const PROCESS: &[Key] = &[
    key("start", "span", "From the wish to the running process."),
    key("startFails", "share", "The share of starts that fail."),
    key("run", "run", "How long it runs: a duration, a range, or \"forever\"."),
    key("exit", "exit", "How it ends: a status, a signal, or a block of ends with weights."),
    key(
        "stop",
        "stop",
        "What it does when asked to end: \"dies\", \"ignores\", or how long it takes.",
    ),
    key("leaves", "leaves", "The share of processes that leave a child behind."),
    key("program", "text", "The program whose steps it does; then `run` and `exit` are its own."),
    key("check", "check", "How its health check behaves."),
];
pub(super) const CHECK: &[Key] = &[
    key("program", "text", "The program whose steps a check does."),
    key("takes", "span", "How long a check takes."),
    key("fails", "share", "The share of checks that fail."),
    key("output", "text", "What a check says."),
    key("failing", "spells", "From when until when every check fails: [[\"10s\", \"20s\"]]."),
    key("hanging", "spells", "From when until when no check ends."),
];
pub(super) const FAULT: &[Key] = &[
    key("at", "span", "When: a time, or a range to draw it from."),
    key("node", "text", "On which nodes; `*` stands for letters; all when left out."),
    key("do", "action", "What."),
    key("for", "span", "For how long, where it ends; from one node to the next of an \"upgrade\"."),
    key("signal", "text", "Which signal, for \"signal\"."),
    key("peer", "text", "Which other node or client, for \"part\"."),
    key(
        "job",
        "text",
        "Which job, for \"restart\", \"crash\", \"crash-check\" and \"deregister\".",
    ),
    key("by", "any", "By how many seconds, for \"clock-step\"; how long, for \"delay\" and lags."),
    key("rate", "number", "By how many millionths, for \"clock-rate\"."),
    key("way", "way", "For \"cut\": \"both\" ways, requests on their way \"out\", answers \"in\"."),
    key("share", "share", "Which share of messages, for \"loss\" and \"duplicate\"."),
    key("memory", "truth", "Whether the agent remembers, for \"agent-restart\"."),
    key("key", "text", "Which key, for \"put\", \"delete-key\" and \"destroy-session\"."),
    key("value", "text", "Which value, for \"put\"."),
    key("service", "text", "Which service of others, for \"service-up\" and \"service-down\"."),
    key("instance", "number", "Which instance of it, from 1."),
    key("to", "any", "How many nodes, for \"scale\"; whose machine, for \"move\"."),
    key("config", "config", "The new configuration, for \"upgrade\"."),
    key("env", "texts", "The environment that the template of the new configuration sees."),
];
pub(super) const PROPERTY: &[Key] = &[
    key("name", "text", "Its name; the expression when left out."),
    key("always", "expression", "Holds all the time."),
    key("never", "expression", "Never holds."),
    key("atMostOne", "expression", "No two fit it at once: `db-*/mysql is running`."),
    key(
        "eventually",
        "expression",
        "Holds `within` some time of the last fault, and from then on.",
    ),
    key("whenever", "expression", "Each time it holds, `then` does `within` some time."),
    key("sometimes", "expression", "Holds at least once in at least one run."),
    key("then", "expression", "What must follow, for `whenever`."),
    key("within", "duration", "How long that may take."),
    key("longerThan", "duration", "How long `always` and `never` put up with the opposite."),
];
pub(super) const LIMITS: &[Key] = &[
    key("trouble", "duration", "How long things may go wrong, at most."),
    key("settle", "duration", "How long the world may take to settle afterwards."),
];
pub(super) const ACTIONS: &[&str] = &[
    "stop",
    "signal",
    "reload",
    "reload-all",
    "bad-reload",
    "maintenance",
    "restart",
    "crash",
    "crash-check",
    "pause",
    "part",
    "break",
    "store-outage",
    "clock-step",
    "clock-rate",
    "freeze",
    "kill",
    "stop-container",
    "start-container",
    "scale",
    "upgrade",
    "move",
    "cut",
    "refuse",
    "delay",
    "loss",
    "duplicate",
    "agent-restart",
    "agent-pause",
    "agent-cut",
    "deregister",
    "consul-leader-loss",
    "consul-step-down",
    "consul-outage",
    "consul-total-loss",
    "consul-lag",
    "destroy-session",
    "put",
    "delete-key",
    "service-up",
    "service-down",
];
/// What is done to Consul or the store of backups as a whole, and so once however many nodes there
/// are.
pub(super) const OF_CONSUL: &[&str] = &[
    "store-outage",
    "consul-leader-loss",
    "consul-step-down",
    "consul-outage",
    "consul-total-loss",
    "consul-lag",
    "destroy-session",
    "put",
    "delete-key",
    "service-up",
    "service-down",
];
/// What the scheduler does with a container that has ended.
pub(super) const RESTARTS: &[&str] = &["never", "always", "on-failure"];
/// Where a Consul agent is.
pub(super) const AGENT_PLACES: &[&str] = &["beside", "inside"];
/// Which ways a link may be cut.
pub(super) const WAYS: &[&str] = &["both", "out", "in"];
