//! Every row of the catalogue of failures of a published MySQL image as a scenario: what its
//! original scripts break, and what their repair with a lock in the configuration holds.
//!
//! - `row`: what a row is made of
//! - `neighbourhood`: other times, orders, delays and pauses near a row
//! - `start`: M01 to M09, the first start
//! - `failover`: M10 to M31
//! - `consul`: M32 to M38, trouble with Consul and with storage
//! - `backups`: M39 to M42
//! - `clients`: M44 to M50, clients, upgrades and overload
//! - `controls`: rules of the repair taken away, and the rows that notice
//! - `page`: the page `docs/mysql-scenarios.md`, written from the rows
//! - `long`: so many seeds of each row in each mode

mod backups;
mod clients;
mod consul;
mod controls;
mod failover;
mod long;
mod neighbourhood;
mod page;
mod row;
mod start;

use neighbourhood::Mode;
use row::{Original, Row, run};

/// Every row, in order.
fn all() -> Vec<Row> {
    [start::rows(), failover::rows(), consul::rows(), backups::rows(), clients::rows()].concat()
}

/// The original breaks what it should, and the repaired application holds as written and in a few
/// places near that.
fn check(row: &Row) {
    if let Original::Breaks(case, seeds) = &row.original {
        let search = case.search("", case.settle);
        let is_broken = (0..*seeds).any(|seed| {
            let breach = run(&search, seed, Mode::Written);
            breach.is_some_and(|breach| &*breach.property != "supervisor invariants")
        });
        assert!(is_broken, "{}: the original breaks nothing in {seeds} seeds", row.id);
    }
    let near = Mode::NEAR.iter().zip(1..).map(|(mode, seed)| (*mode, seed));
    for (mode, seed) in [(Mode::Written, 0)].into_iter().chain(near) {
        let breach = run(&row.search(mode), seed, mode);
        assert!(breach.is_none(), "{}, seed {seed}, {mode:?}: {breach:#?}", row.id);
    }
}

/// Makes a test of each row.
macro_rules! rows {
    ($($name:ident = $row:expr),+ $(,)?) => {
        pub(crate) fn rows() -> Vec<crate::row::Row> {
            vec![$($row),+]
        }

        $(
            #[test]
            fn $name() {
                crate::check(&$row);
            }
        )+
    };
}
use rows;
