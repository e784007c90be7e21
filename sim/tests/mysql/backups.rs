//! Backups, and the server that has ended.

use steersman_engine::config::Name;
use steersman_engine::input::ExitStatus;
use steersman_sim::Action;

use crate::row::{Case, Change, DB, Original, Row, T0, deed, original, repaired};

crate::rows! {
    m39_backups_do_not_end_after_the_first_hours = m39(),
    m40_dead_database_does_not_leave_a_living_container = m40(),
    m41_what_changes_during_a_backup_is_backed_up_later = m41(),
    m42_wall_clock_decides_nothing = m42(),
}

/// Hours in the life of the backups become minutes: a session of 3600 s, a task every 300 s, a day,
/// and a file of the log that is full after 100 writes.
const HASTE: &[Change] = &[
    ("\"id = session.create '3600s'\"", "\"id = session.create '100s'\""),
    ("when: { interval: \"300s\" }", "when: { interval: \"30s\" }"),
    ("clock minus at < 86400", "clock minus at < 600"),
];

/// The same for the repaired application, which makes one at every interval.
const OWN_HASTE: Change = ("when: { interval: \"300s\" }", "when: { interval: \"100s\" }");

fn m39() -> Row {
    let bound = (
        "primary: \"mysql-primary\", replica: \"mysql\" },\n    store",
        "primary: \"mysql-primary\", replica: \"mysql\", backup: \"500s\" },\n    store",
    );
    let fresh = "{ name: 'backups', never: 'database mysql is unsaved' }";
    let own = (
        "sync: 1, backup: \"700s\",\n      primary: \"mysql",
        "sync: 1, backup: \"300s\",\n      primary: \"mysql",
    );
    Row {
        id: "M39",
        title: "Backups end after the first hours",
        violates: "P5, P7, P9",
        original: Original::Breaks(
            original(Vec::new(), fresh).with_all(HASTE).with(bound.0, bound.1).settles(1200),
            2,
        ),
        repaired: repaired(Vec::new())
            .with_all(&[OWN_HASTE, own])
            .holds_in_time(fresh)
            .settles(1200),
        rule: "whoever leads makes the backup: its right to do so is renewed with its term",
        leaders: 0,
        is_overlong: false,
    }
}

fn m40() -> Row {
    let crash = |at, name: &str| {
        let end = Action::EndJob(Name::from(name), ExitStatus::Signal(9));
        vec![deed(at, "db-1", &[(0, end)])]
    };
    Row {
        id: "M40",
        title: "The server is dead, its container lives",
        violates: "P3, P6",
        original: Original::Breaks(
            original(
                crash(T0, "mysql-primary"),
                "{ name: 'comes back', \
              eventually: 'database mysql is converged', within: '250s' }",
            ),
            1,
        ),
        repaired: repaired(crash(T0, "mysql")),
        rule: "the server is restarted; a term in which it does nothing for `healthGrace` ends",
        leaders: 0,
        is_overlong: false,
    }
}

fn m41() -> Row {
    // The log has another file every 300 s. A backup takes so long that the change falls into it.
    let slow = (
        "\"sleep 5s..30s\",\n      \"id = db.snapshot\",",
        "\"id = db.snapshot\",\n      \"sleep 200s..250s\",",
    );
    let clients =
        ("finds: \"listed\" },\n    till", "finds: \"listed\", every: \"3s\" },\n    till");
    let bound = (
        "primary: \"mysql-primary\", replica: \"mysql\" },\n    store",
        "primary: \"mysql-primary\", replica: \"mysql\", backup: \"560s\" },\n    store",
    );
    let day = ("clock minus at < 86400", "clock minus at < 3000");
    let task = ("when: { interval: \"300s\" }", "when: { interval: \"30s\" }");
    let fresh = "{ name: 'backups', never: 'database mysql is unsaved' }";
    let own = (
        "sync: 1, backup: \"700s\",\n      primary: \"mysql",
        "sync: 1, backup: \"560s\",\n      primary: \"mysql",
    );
    Row {
        id: "M41",
        title: "The log changes between a backup and its record",
        violates: "P7",
        original: Original::Breaks(
            original(Vec::new(), fresh).with_all(&[slow, clients, bound, day, task]).settles(1500),
            4,
        ),
        repaired: repaired(Vec::new())
            .with(
                "\"sleep 5s..30s\",\n      \"id = db.snapshot\",",
                "\"id = db.snapshot\",\n      \"sleep 200s..250s\",",
            )
            .with_all(&[own, clients])
            .holds_in_time(fresh)
            .settles(1500),
        rule: "the position is read before and recorded with the backup in one guarded step",
        leaders: 0,
        is_overlong: false,
    }
}

fn m42() -> Row {
    let back = |at| {
        let step = |name: &str| deed(at, name, &[(0, Action::StepWall(-86_400_000))]);
        DB.iter().map(|name| step(name)).collect::<Vec<_>>()
    };
    let bound = (
        "primary: \"mysql-primary\", replica: \"mysql\" },\n    store",
        "primary: \"mysql-primary\", replica: \"mysql\", backup: \"900s\" },\n    store",
    );
    let haste = [
        ("when: { interval: \"300s\" }", "when: { interval: \"30s\" }"),
        ("clock minus at < 86400", "clock minus at < 600"),
        // Nobody writes: only the age counts.
        ("finds: \"listed\" },\n    till", "finds: \"listed\", every: \"1h\" },\n    till"),
    ];
    let fresh = "{ name: 'backups', never: 'database mysql is unsaved' }";
    let own = (
        "sync: 1, backup: \"700s\",\n      primary: \"mysql",
        "sync: 1, backup: \"300s\",\n      primary: \"mysql",
    );
    Row {
        id: "M42",
        title: "The wall clock is set back by a day",
        violates: "P7",
        original: Original::Breaks(
            Case { deeds: back(T0 + 200), ..original(Vec::new(), fresh) }
                .with_all(&haste)
                .with(bound.0, bound.1)
                .settles(1200),
            2,
        ),
        repaired: repaired(back(T0)).with_all(&[OWN_HASTE, own]).holds_in_time(fresh).settles(600),
        rule: "a backup is made at every interval, which no wall clock counts",
        leaders: 0,
        is_overlong: false,
    }
}
