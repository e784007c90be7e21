//! Clients, upgrades and overload.

use core::time::Duration;

use steersman_engine::config::Restarts;
use steersman_sim::Action;
use steersman_sim::link::LinkState;

use crate::row::{Case, HOLDS_ON, Original, PRIMARY, Row, T0, VOLUME, deed, original, repaired};

crate::rows! {
    m44_clients_find_the_new_primary = m44(),
    m45_acknowledged_writes_of_a_kept_connection_do_not_vanish = m45(),
    m46_old_and_new_release_have_one_primary = m46(),
    m47_shorter_limit_of_a_check_stops_nobody_for_good = m47(),
    m49_restart_during_a_promotion_is_made_good = m49(),
    m50_slow_primary_is_not_replaced_in_a_loop = m50(),
}

fn m44() -> Row {
    let once = ("finds: \"listed\" },\n    till", "finds: \"once\" },\n    till");
    let kill = || vec![deed(T0, PRIMARY, &[(0, Action::Crash)])];
    let written = "{ name: 'writes arrive', eventually: 'any database mysql is accepting', \
                   within: '280s' }";
    Row {
        id: "M44",
        title: "A client watches the wrong name",
        violates: "P3 for clients",
        original: Original::Breaks(original(kill(), written).with_all(&[once]).settles(300), 2),
        repaired: Case { changes: vec![crate::row::SOON], ..repaired(kill()) }.holds(
            "{ name: 'writes arrive', within: '180s', \
             eventually: 'any database mysql is accepting' }",
        ),
        rule: "`…-primary` is listed while it takes writes, so clients look for that",
        leaders: 0,
        is_overlong: false,
    }
}

fn m45() -> Row {
    let cut = || {
        let actions = [(0, Action::Link(LinkState::Cut)), (120, Action::Link(LinkState::Up))];
        vec![deed(T0, PRIMARY, &actions), deed(T0 + 200, PRIMARY, &[(0, Action::Crash)])]
    };
    let lossy = "{ name: 'lost', never: 'database mysql is lossy' }";
    Row {
        id: "M45",
        title: "A client keeps its connection to the old primary",
        violates: "P7",
        original: Original::Breaks(original(cut(), lossy).with(HOLDS_ON.0, HOLDS_ON.1), 6),
        repaired: repaired(cut()),
        rule: "the end of the term is the end of the server and of every connection",
        leaders: 0,
        is_overlong: false,
    }
}

fn m46() -> Row {
    // One cluster of both releases: the first is of the old one, and its successor as well.
    let both = [
        ("env: { SERVICE: \"store\"", "env: { SERVICE: \"mysql\""),
        ("job: \"mysql*\", on: \"db-*\"", "job: \"mysql*\", on: \"*\""),
        ("env.WAIT and node != 'db-1'", "env.WAIT"),
        (
            "then: [\"sleep 60s\"] },\n      { repeat: 60",
            "then: [\"sleep 40s\"] },\n      { repeat: 60",
        ),
        ("    \"store*\": {", "    \"mysql-p*\": {"),
        ("job: \"store*\", on: \"old-*\"", "job: \"mysql*\", on: \"nobody\""),
    ];
    let stop = || {
        let stop = Action::StopContainer(Duration::from_secs(10));
        vec![deed(T0, PRIMARY, &[(0, stop)])]
    };
    let two = "{ name: 'one primary', longerThan: '30s', \
               never: 'count(database mysql is primary) >= 2' }";
    Row {
        id: "M46",
        title: "Old and new release in one cluster",
        violates: "P1",
        original: Original::Breaks(
            original(stop(), two).with_all(&both).on(&["old-1", "old-2", "db-2", "db-3"]),
            10,
        ),
        repaired: repaired(upgrade()),
        rule: "whatever a release does, it does it under the same lock and the same promises",
        leaders: 0,
        is_overlong: false,
    }
}

/// One member after another is stopped, gets another configuration, and starts.
fn upgrade() -> Vec<steersman_sim::explore::Scripted> {
    let config = |name: &str| {
        let case = Case { deeds: Vec::new(), ..repaired(Vec::new()) };
        let search = case.search("{ sometimes: 'node * is up' }", 1);
        let node = search.setting.nodes.iter().find(|node| *node.name == *name);
        let mut config = node.expect("a member").config.clone();
        for job in config.jobs.iter_mut().filter(|job| &*job.name == "preStart") {
            std::sync::Arc::make_mut(job).restarts = Restarts::Limited(5);
        }
        for lock in &mut config.locks {
            lock.renew_every = Duration::from_secs(4);
        }
        config
    };
    let turn = |nth: u64, name: &str| {
        let actions = [
            (0, Action::StopContainer(Duration::from_secs(10))),
            (11, Action::WriteConfig(Ok(config(name)))),
            (0, Action::StartContainer),
        ];
        deed(T0 + 60 * nth, name, &actions)
    };
    ["db-1", "db-2", "db-3"].iter().zip(0..).map(|(name, nth)| turn(nth, name)).collect()
}

fn m47() -> Row {
    let limit =
        ("timeout: \"600s\", // the supervisor of the time had no limit", "timeout: \"5s\",");
    Row {
        id: "M47",
        title: "A new supervisor has another default: 5 s for a check",
        violates: "P9",
        original: Original::Breaks(
            original(
                Vec::new(),
                "{ name: 'converges', \
              eventually: 'database mysql is converged', within: '250s' }",
            )
            .with("\"sleep 5s..30s\"", "\"sleep 10s..30s\"")
            .with(limit.0, limit.1),
            2,
        ),
        repaired: repaired(Vec::new())
            .with("ttl: 25, timeout: \"30s\" }", "ttl: 25 }")
            .settles(250),
        rule: "what a check does not finish the next one begins again; only a copy is long",
        leaders: 1,
        is_overlong: false,
    }
}

fn m49() -> Row {
    let slow =
        [("\"sleep 1s..4s\"", "\"sleep 60s\""), ("\"sleep 2s..8s\",\n      \"best", "\"best")];
    let restart =
        |at, name: &str| deed(at, name, &[(0, Action::Crash), (1, Action::StartContainer)]);
    let deeds = vec![
        deed(T0, "db-1", &[(0, Action::Crash)]),
        restart(T0 + 60, "db-2"),
        restart(T0 + 60, "db-3"),
    ];
    let own = vec![
        deed(T0, PRIMARY, &[(0, Action::Crash)]),
        restart(T0 + 64, "db-2"),
        restart(T0 + 70, "db-3"),
        restart(T0 + 76, "db-1"),
    ];
    Row {
        id: "M49",
        title: "The supervisor restarts during a promotion",
        violates: "P1, P6",
        original: Original::Breaks(
            original(
                deeds,
                "{ name: 'leads', eventually: 'database mysql is converged and \
              any mysql-primary is healthy', within: '280s' }",
            )
            .with_all(&slow)
            .with(VOLUME.0, VOLUME.1),
            4,
        ),
        repaired: repaired(own),
        rule: "its processes die with it, and what it began belongs to a term that has ended",
        leaders: 0,
        is_overlong: false,
    }
}

fn m50() -> Row {
    // Whoever is the primary is slow: a check takes 26 s.
    let slow = (
        "\"db.query\",\n      ] },\n      { if: \"role == 'replica'\"",
        "\"db.query\",\n        { if: \"seconds > 150\", then: [\"sleep 26s\"] },\n      \
         ] },\n      \
                 { if: \"role == 'replica'\"",
    );
    let limit =
        ("timeout: \"600s\", // the supervisor of the time had no limit", "timeout: \"20s\",");
    let short = ("\"sleep 5s..30s\"", "\"sleep 5s\"");
    let own = (
        "then: [\"db.query\", \"exit 0\"] }",
        "then: [\"db.query\", { if: \"seconds > 150 and seconds < 400\", \
                then: [\"sleep 26s\"] }, \"exit 0\"] }",
    );
    let later = ["db-2", "db-3"].map(|name| deed(30, name, &[(0, Action::StartContainer)]));
    let later = later.to_vec();
    let stays = "{ name: 'stays', longerThan: '20s', never: \
                 'any database mysql on db-2 is primary or \
                 any database mysql on db-3 is primary' }";
    Row {
        id: "M50",
        title: "The primary is slow, and so is every successor",
        violates: "P3",
        original: Original::Breaks(
            original(Vec::new(), stays).with_all(&[slow, limit, short]).settles(500),
            2,
        ),
        repaired: repaired(later)
            .later(&["db-2", "db-3"])
            .with(own.0, own.1)
            .holds_in_time(stays)
            .settles(500)
            .holds_off(300),
        rule: "a slow check is no lost term; `healthGrace` and `holdOff` hold back the next one",
        leaders: 0,
        is_overlong: false,
    }
}
