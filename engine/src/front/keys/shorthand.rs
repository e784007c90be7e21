//! Short forms for the tables of keys.

use super::{Key, Kind, MILLISECOND, MORE_THAN_ZERO, Need, Since};

pub(super) const fn key(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    doc: &'static str,
) -> Key {
    Key { name, kind, need: Need::Optional, default, since: Since::V3, doc }
}

pub(super) const fn added(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    doc: &'static str,
) -> Key {
    Key { name, kind, need: Need::Optional, default, since: Since::Here, doc }
}

pub(super) const fn required(key: Key) -> Key {
    Key { need: Need::Required, ..key }
}

pub(super) const DURATION: Kind = Kind::Duration { min_ns: 0 };
pub(super) const DURATION_ABOVE_ZERO: Kind = Kind::Duration { min_ns: MORE_THAN_ZERO };
pub(super) const DURATION_FROM_MILLISECOND: Kind = Kind::Duration { min_ns: MILLISECOND };
pub(super) const PORT: Kind = Kind::Whole { min: 0, max: 65_535 };
