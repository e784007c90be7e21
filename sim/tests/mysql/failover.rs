//! The primary is lost, or seems to be.

use steersman_sim::Action;
use steersman_sim::link::LinkState;

use crate::row::{
    Case, DB, HOLDS_ON, Original, PRIMARY, Row, T0, VOLUME, deed, original, repaired,
};

crate::rows! {
    m10_promoted_one_and_the_winner_do_not_wait_for_each_other = m10(),
    m11_second_of_two_leads_after_the_first_was_killed = m11(),
    m12_failed_promotion_is_tried_again = m12(),
    m13_promotion_that_dies_half_way_is_done_by_another = m13(),
    m14_promotion_that_outlives_its_lock_is_not_a_second_one = m14(),
    m15_promotion_restarts_no_server = m15(),
    m16_newcomer_does_not_take_a_lock_that_is_led_without_being_held = m16(),
    m17_replica_that_reads_the_past_has_a_source = m17(),
    m18_replication_is_stopped_and_started_by_one = m18(),
    m19_broken_database_makes_room = m19(),
    m20_failover_begins_at_the_lock = m20(),
    m21_primary_that_stood_still_does_not_write_beside_its_successor = m21(),
    m22_primary_that_only_consul_cannot_reach_stops = m22(),
    m23_minority_stops_and_comes_back = m23(),
    m24_primary_whose_session_died_serves_again_or_stops = m24(),
    m25_replica_that_was_left_out_follows = m25(),
    m26_old_primary_that_comes_back_in_place_follows = m26(),
    m28_restart_within_one_interval_is_noticed = m28(),
    m30_orderly_stop_is_a_hand_over = m30(),
    m31_half_stopped_container_leaves_nothing_behind = m31(),
}

/// Kills whoever is the primary.
fn kill() -> Vec<steersman_sim::explore::Scripted> {
    vec![deed(T0, PRIMARY, &[(0, Action::Crash)])]
}

/// For so long nothing gets through between a node and Consul.
fn cut(lasts: u64) -> [(u64, Action); 2] {
    [(0, Action::Link(LinkState::Cut)), (lasts, Action::Link(LinkState::Up))]
}

const TWO: &str = "{ name: 'one primary', longerThan: '30s', \
                   never: 'count(database mysql is primary) >= 2' }";
const WRITER: &str = "{ name: 'one writer', atMostOne: 'database mysql is accepting' }";
const CONVERGES: &str =
    "{ name: 'converges', eventually: 'database mysql is converged', within: '250s' }";

/// One row with what most of them have.
fn row(id: &'static str, title: &'static str, original: Original, repaired: Case) -> Row {
    let (violates, rule) = ("P3", "");
    Row { id, title, violates, original, repaired, rule, leaders: 0, is_overlong: false }
}

fn m10() -> Row {
    let soon = "{ name: 'soon', whenever: 'node db-* is over', within: '150s', \
                then: 'count(database mysql is primary) == 1 and any mysql-primary is healthy' }";
    let original = Original::Breaks(original(kill(), soon), 6);
    Row {
        rule: "whoever holds the lock promotes itself and says so; nobody waits for it to be said",
        ..row("M10", "Winner and promoted wait for each other", original, repaired(kill()))
    }
}

fn m11() -> Row {
    let leads = "{ name: 'leads', eventually: 'any mysql-primary is healthy', within: '290s' }";
    let two = &["db-1", "db-2"];
    let own = repaired(kill()).with("db-1 db-2 db-3\", VOTES: \"2\"", "db-1 db-2\", VOTES: \"1\"");
    Row {
        violates: "P3, P9",
        rule: "holding the lock is the role; it is looked at again and again",
        ..row(
            "M11",
            "The primary of two is killed",
            Original::Breaks(original(kill(), leads).on(two), 2),
            own.on(two),
        )
    }
}

fn m12() -> Row {
    let deeds = || {
        vec![
            deed(T0 - 6, "db-2", &cut(31)),
            deed(T0 - 6, "db-3", &cut(31)),
            deed(T0, "db-1", &[(0, Action::Crash)]),
        ]
    };
    Row {
        violates: "P3, P5, P9",
        rule: "the lock is asked for until it is had; what fails is begun again",
        ..row(
            "M12",
            "The tool finds no candidate, and nobody tries again",
            Original::Breaks(original(deeds(), CONVERGES), 6),
            repaired(deeds()),
        )
    }
}

fn m13() -> Row {
    // Whoever has the failover lock dies between the two halves of the tool's work.
    let slow =
        [("\"sleep 1s..4s\"", "\"sleep 60s\""), ("\"sleep 2s..8s\",\n      \"best", "\"best")];
    let lies = "{ name: 'lies', longerThan: '60s', never: 'no database mysql is primary and \
                any database mysql is lying' }";
    let deeds = vec![
        deed(T0, "db-1", &[(0, Action::Crash)]),
        deed(T0 + 60, "db-3", &[(0, Action::Crash), (40, Action::StartContainer)]),
    ];
    let own = vec![
        deed(T0, "db-1", &[(0, Action::Crash), (30, Action::StartContainer)]),
        deed(T0 + 64, "db-2", &[(0, Action::Crash), (40, Action::StartContainer)]),
        deed(T0 + 66, "db-3", &[(0, Action::Crash), (40, Action::StartContainer)]),
    ];
    Row {
        violates: "P3, P10",
        rule: "a promotion is the work of one process within one term; the next holder begins anew",
        ..row(
            "M13",
            "The winner dies half way",
            Original::Breaks(original(deeds, lies).with_all(&slow), 6),
            repaired(own),
        )
    }
}

fn m14() -> Row {
    let slow = ("\"run gather\",", "\"sleep 5s..20s\",\n      \"run gather\",");
    Row {
        violates: "P1, P3",
        rule: "the lock lives as long as its supervisor renews it, and its process not longer",
        ..row(
            "M14",
            "The tool outlives its lock",
            Original::Untold(
                "what the second owner does is not in our copy of the catalogue; in the model \
                 whoever waited for the tool does not run it again",
            ),
            repaired(kill()).with(slow.0, slow.1),
        )
    }
}

fn m15() -> Row {
    let stays = "{ name: 'no restart', longerThan: '1s', \
                 never: 'node db-* is over and count(database mysql is up) < 2' }";
    let reload = |all| Action::Control(steersman_engine::input::Control::Reload { all });
    let mut deeds = kill();
    for (nth, name) in DB.iter().enumerate() {
        deeds.push(deed(T0 + 40 + 10 * nth as u64, name, &[(0, reload(false))]));
    }
    Row {
        violates: "P3, P6",
        rule: "a promotion changes the running server; a reload restarts only what has changed",
        ..row(
            "M15",
            "The promotion restarts the server that it promotes",
            Original::Breaks(original(kill(), stays), 6),
            repaired(deeds).holds_in_time(stays),
        )
    }
}

fn m16() -> Row {
    // After a failover nobody holds the lock: its result was written over the key. Somebody new
    // comes, and nobody is listed.
    let deeds = |primary| {
        vec![
            deed(T0, primary, &[(0, Action::Crash)]),
            deed(T0 + 120, "db-3", &[(0, Action::StartContainer)]),
        ]
    };
    let late = ("env.WAIT and node != 'db-1'", "env.WAIT and node == 'db-2'");
    Row {
        violates: "P1",
        rule: "the key is never written without the lock, and never led without being held",
        ..row(
            "M16",
            "After a failover nobody holds the lock",
            Original::Breaks(original(deeds("db-1"), TWO).with(late.0, late.1).later(&["db-3"]), 6),
            repaired(deeds(PRIMARY)).later(&["db-3"]),
        )
    }
}

fn m17() -> Row {
    let follows = "{ name: 'follows', within: '60s', \
                   whenever: 'node old-* is over and count(database store is primary) == 1', \
                   then: 'no database store on old-* is astray' }";
    let lag = |primary: &str| {
        use core::time::Duration;
        use steersman_sim::catalog::CatalogFault;
        let slow = |by| {
            let slow = move |id| CatalogFault::SlowFollower(id, Duration::from_secs(by));
            (0..3).map(move |id| (0, Action::Catalog(slow(id)))).collect::<Vec<_>>()
        };
        let kill = [(0, Action::Crash)];
        vec![deed(T0 - 1, "db-1", &slow(100)), deed(T0, primary, &kill)]
    };
    let old = Case {
        changes: Vec::new(),
        nodes: &["old-1", "old-2", "old-3"],
        settle: 400,
        ..original(lag("primary of store"), follows)
    };
    Row {
        violates: "P3, P6",
        rule: "replicas follow the holder of the lock by a consistent read, and keep their source \
               until then",
        ..row("M17", "A replica reads the past", Original::Breaks(old, 6), repaired(lag(PRIMARY)))
    }
}

fn m18() -> Row {
    Row {
        violates: "P6, P3",
        rule: "only the check changes what a replica follows",
        ..row(
            "M18",
            "Two handlers stop and start replication",
            Original::Untold(
                "the error was mended before the releases that are modelled: their health does not \
                 start what the other handler stops",
            ),
            repaired(vec![
                deed(T0, PRIMARY, &[(0, Action::Crash), (20, Action::StartContainer)]),
                deed(T0 + 100, PRIMARY, &[(0, Action::Crash), (20, Action::StartContainer)]),
            ]),
        )
    }
}

fn m19() -> Row {
    let breaks = |lasts| [(0, Action::Break(true)), (lasts, Action::Break(false))];
    let writes = "{ name: 'somebody writes', longerThan: '200s', \
                  never: 'every database store is joined and no database store is primary' }";
    let old = Case {
        changes: Vec::new(),
        nodes: &["old-1", "old-2", "old-3"],
        ..original(vec![deed(T0 + 50, "primary of store", &breaks(300))], writes)
    };
    Row {
        violates: "P3, P6",
        rule: "`healthy`: a term ends when the server did nothing for `healthGrace`",
        ..row(
            "M19",
            "The lock is renewed, and the database is broken",
            Original::Breaks(old, 2),
            repaired(vec![deed(T0, PRIMARY, &breaks(200))]).holds_in_time(
                "{ name: 'somebody writes', longerThan: '100s', \
                 never: 'every database mysql is joined and no database mysql is primary' }",
            ),
        )
    }
}

fn m20() -> Row {
    let held = "{ name: 'not beside a holder', \
                never: 'count(database mysql is primary) >= 2 and key mysql-primary is held' }";
    let pause = |lasts| vec![deed(T0, PRIMARY, &[(0, Action::Pause), (lasts, Action::Resume)])];
    Row {
        violates: "P1",
        rule: "a term begins with the lock and never with a list",
        is_overlong: true,
        ..row(
            "M20",
            "A failover beside somebody who holds the lock",
            Original::Breaks(original(pause(40), held), 6),
            repaired(pause(40)),
        )
    }
}

fn m21() -> Row {
    let freeze = |lasts| vec![deed(T0, PRIMARY, &[(0, Action::Freeze), (lasts, Action::Thaw)])];
    Row {
        violates: "P1, P2",
        rule: "after a wake-up the deadline comes first; who has promised the next token \
               acknowledges nothing for the last",
        is_overlong: true,
        ..row(
            "M21",
            "The primary stands still for longer than its check lives",
            Original::Breaks(original(freeze(33), TWO).with(HOLDS_ON.0, HOLDS_ON.1), 6),
            repaired(freeze(33)),
        )
    }
}

fn m22() -> Row {
    let cuts = || vec![deed(T0, PRIMARY, &cut(120))];
    Row {
        violates: "P1, P7",
        rule: "the server ends before its term can be another's",
        ..row(
            "M22",
            "Consul cannot reach the primary, clients and replicas can",
            Original::Breaks(original(cuts(), WRITER).with(HOLDS_ON.0, HOLDS_ON.1), 6),
            repaired(cuts()),
        )
    }
}

fn m23() -> Row {
    // {db-1, db-3, some clients} | {db-2, Consul, the others}.
    let deeds = |lasts: u64| {
        let way = |with: &str, is_open| Action::Way { with: with.into(), is_open };
        let part = |with: &str| [(0, way(with, false)), (lasts, way(with, true))];
        vec![
            deed(30, "db-2", &[(0, Action::StartContainer)]),
            deed(30, "db-3", &[(0, Action::StartContainer)]),
            deed(T0, "db-1", &cut(lasts)),
            deed(T0, "db-3", &cut(lasts)),
            deed(T0, "db-2", &part("db-1")),
            deed(T0, "db-2", &part("db-3")),
            deed(T0, "db-2", &part("web")),
        ]
    };
    Row {
        violates: "P1, P3, P7",
        rule: "a term needs the promise of two of three; what was not acknowledged is replaced by \
               a copy",
        ..row(
            "M23",
            "The primary is on the smaller side of a partition",
            Original::Breaks(original(deeds(120), TWO).with(HOLDS_ON.0, HOLDS_ON.1), 4),
            repaired(deeds(120)).later(&["db-2", "db-3"]),
        )
    }
}

fn m24() -> Row {
    // Longer than the session lives: its id in the file is dead, and nobody makes another.
    let freeze = |lasts| vec![deed(T0, PRIMARY, &[(0, Action::Freeze), (lasts, Action::Thaw)])];
    let alone = vec![deed(T0, "db-1", &cut(90))];
    Row {
        violates: "P1, P9",
        rule: "a session is made for one term and is kept nowhere",
        is_overlong: true,
        ..row(
            "M24",
            "The primary outlives its session",
            Original::Breaks(
                original(
                    alone,
                    "{ name: 'serves again', \
                  eventually: 'any mysql-primary is healthy', within: '250s' }",
                )
                .on(&["db-1"]),
                2,
            ),
            repaired(freeze(60)),
        )
    }
}

fn m25() -> Row {
    let deeds = || vec![deed(T0 - 8, "db-3", &cut(60)), deed(T0, "db-1", &[(0, Action::Crash)])];
    Row {
        violates: "P3, P10",
        rule: "a replica is healthy when it follows the present holder and is connected",
        ..row(
            "M25",
            "A replica is left out when the others are pointed to the new primary",
            Original::Breaks(original(deeds(), CONVERGES), 6),
            repaired(deeds()),
        )
    }
}

fn m26() -> Row {
    let again =
        |after| vec![deed(T0, PRIMARY, &[(0, Action::Crash), (after, Action::StartContainer)])];
    Row {
        violates: "P1, P9",
        rule: "a server refuses writes when it starts, until a term lets it",
        ..row(
            "M26",
            "The old primary comes back in place",
            Original::Breaks(original(again(120), TWO).with(VOLUME.0, VOLUME.1), 6),
            repaired(again(120)),
        )
    }
}

fn m28() -> Row {
    let again = || vec![deed(T0, PRIMARY, &[(0, Action::Crash), (7, Action::StartContainer)])];
    Row {
        violates: "P3, P7",
        rule: "a member without the cluster's data has no vote and takes a copy",
        ..row(
            "M28",
            "The primary is back with an empty disk before anybody has looked",
            Original::Breaks(original(again(), CONVERGES), 6),
            repaired(again()).with("      volume: true,\n", ""),
        )
    }
}

fn m30() -> Row {
    let stop = |primary: &str| {
        let stop = Action::StopContainer(core::time::Duration::from_secs(30));
        vec![deed(T0, primary, &[(0, stop)])]
    };
    let soon = "{ name: 'soon', whenever: 'node old-* is over and count(node old-* is up) == 2', \
                within: '60s', then: 'count(database store is primary) == 1' }";
    let old = Case {
        changes: Vec::new(),
        nodes: &["old-1", "old-2", "old-3"],
        ..original(stop("primary of store"), soon)
    };
    Row {
        violates: "P3, P5",
        rule: "the end of the server, then the lock: the next one has it within a second",
        ..row(
            "M30",
            "The primary is stopped in good order",
            Original::Breaks(old, 2),
            repaired(stop(PRIMARY)).holds_in_time(
                "{ name: 'soon', within: '30s', then: 'count(database mysql is primary) == 1', \
                 whenever: 'node db-* is over and count(node db-* is up) == 2' }",
            ),
        )
    }
}

fn m31() -> Row {
    let stop = || {
        let stop = Action::StopContainer(core::time::Duration::from_secs(10));
        vec![deed(T0, PRIMARY, &[(0, stop)])]
    };
    Row {
        violates: "P8, P4, P5",
        rule: "every stop has its time; what is left over is killed, and the lock expires",
        ..row(
            "M31",
            "The container is killed in the middle of its stop",
            Original::Untold(
                "what took so long in the original was its supervisor; here both have steersman's",
            ),
            repaired(stop()).with("\"mysql\": { stop: \"1s\"", "\"mysql\": { stop: \"30s\""),
        )
    }
}
