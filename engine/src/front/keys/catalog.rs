//! What looks at Consul: watches and locks.

use super::shorthand::{
    DURATION, DURATION_ABOVE_ZERO, DURATION_FROM_MILLISECOND, added, key, required,
};
use super::{Block, Kind};

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
        added(
            "settle",
            DURATION,
            "0",
            "How long a set must stay the same before it is announced; it is after four times as \
             long if it never does.",
        ),
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
            "The age of the last renewal, or reading of the key, at which stopping begins.",
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
        added(
            "standAgain",
            Kind::Bool,
            "true",
            "Whether to stand again after a lost term; without, the jobs of the lock end for good.",
        ),
        added(
            "giveUpAfter",
            DURATION,
            "",
            "How long to stand for the lock at most; then its jobs end for good. For ever when \
             left out.",
        ),
        added("value", Kind::Text, "", "What others read in the key."),
        added(
            "tokenFile",
            Kind::Text,
            "",
            "A file for the fencing token: written before the jobs of a term start, removed when \
             they have gone.",
        ),
        added(
            "keeper",
            Kind::Word(&["off", "auto", "required"]),
            "auto",
            "A process that kills what is left of a term when its time is over, whatever has \
             become of the supervisor. \"auto\": with it if it can be had. \"required\": no term \
             without it.",
        ),
        added("unsafe", Kind::Bool, "false", "Accepts figures that do not keep two holders apart."),
    ],
};
