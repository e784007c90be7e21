//! The first start.

use steersman_engine::config::Name;
use steersman_engine::input::ExitStatus;
use steersman_sim::Action;
use steersman_sim::link::LinkState;

use crate::row::{Case, Original, PRIMARY, Row, T0, VOLUME, deed, original, repaired};

crate::rows! {
    m01_members_that_start_together_all_serve = m01(),
    m02_founder_that_dies_before_its_first_backup_is_no_second_history = m02(),
    m03_check_killed_while_it_makes_the_primary_is_made_good = m03(),
    m04_replica_that_came_too_early_is_set_up_later = m04(),
    m06_backup_without_users_keeps_nobody_out = m06(),
    m07_another_name_of_the_service_is_known_everywhere = m07(),
    m09_herd_has_one_session_each = m09(),
}

const CONVERGES: &str =
    "{ name: 'converges', eventually: 'database mysql is converged', within: '250s' }";

fn m01() -> Row {
    let herd = original(Vec::new(), CONVERGES);
    let herd = Case { changes: vec![("\"sleep 0s..120s\"", "\"sleep 0s\"")], ..herd };
    let own = Case { changes: vec![("\"sleep 0s..120s\"", "\"sleep 0s\"")], ..repaired(vec![]) };
    Row {
        id: "M01",
        title: "Three members start at once",
        violates: "P3, P9",
        original: Original::Breaks(herd, 2),
        repaired: own,
        rule: "a member with other data than the holder's takes a copy, at every check",
        leaders: 0,
        is_overlong: false,
    }
}

fn m02() -> Row {
    // The founder has the lock and users, and no backup yet; it comes back with its own data.
    let die = |at| vec![deed(at, "db-1", &[(0, Action::Crash), (55, Action::StartContainer)])];
    let slow =
        [("\"sleep 0s..120s\"", "\"sleep 0s\""), ("\"sleep 5s..30s\"", "\"sleep 60s\""), VOLUME];
    Row {
        id: "M02",
        title: "The founder dies before its first backup",
        violates: "P1, P7",
        original: Original::Breaks(original(die(16), CONVERGES).with_all(&slow[1..]), 4),
        repaired: repaired(die(35)),
        rule: "an acknowledged write is on two members; the cluster's number is written when all \
               have its data",
        leaders: 0,
        is_overlong: false,
    }
}

fn m03() -> Row {
    let job = |name: &str| Action::EndCheck(Name::from(name), ExitStatus::Signal(9));
    let kill = |at, name: &str| vec![deed(at, "db-1", &[(0, job(name))])];
    let slow = ("\"sleep 5s..30s\"", "\"sleep 30s\"");
    let first = ("\"sleep 0s..120s\"", "\"sleep 0s\"");
    let mut lead = kill(28, "mysql");
    lead.push(deed(30, "db-1", &[(0, Action::EndJob("mysql-primary".into(), killed()))]));
    Row {
        id: "M03",
        title: "The check is killed while it makes the primary",
        violates: "P3, P9, P10",
        original: Original::Breaks(original(kill(20, "mysql"), CONVERGES).with(slow.0, slow.1), 2),
        repaired: Case { changes: vec![first, crate::row::HOLDS_ON], ..repaired(lead) },
        rule: "no check makes anything that the next one would not make again; the job that leads \
               is started again",
        leaders: 0,
        is_overlong: false,
    }
}

const fn killed() -> ExitStatus {
    ExitStatus::Signal(9)
}

fn m04() -> Row {
    let late = |from, lasts| {
        let cut = [(0, Action::Link(LinkState::Cut)), (lasts, Action::Link(LinkState::Up))];
        vec![deed(T0, "db-3", &[(0, Action::StartContainer)]), deed(T0 + from, "db-3", &cut)]
    };
    let at_once = ("\"sleep 0s..120s\"", "\"sleep 0s\"");
    let first = ("env.WAIT and node != 'db-1'", "env.WAIT and node == 'db-2'");
    Row {
        id: "M04",
        title: "A replica is set up while Consul is away",
        violates: "P9",
        original: Original::Breaks(
            original(late(2, 60), CONVERGES).with(first.0, first.1).later(&["db-3"]),
            2,
        ),
        repaired: Case { changes: vec![at_once, crate::row::HOLDS_ON], ..repaired(late(2, 60)) }
            .later(&["db-3"]),
        rule: "what a replica needs is looked at in every check, not in the first",
        leaders: 0,
        is_overlong: false,
    }
}

fn m06() -> Row {
    // No other backup follows soon.
    let none = (
        "\"store.login\",\n      \"run role\",\n      { if: \"role != 'primary'\"",
        "\"exit 0\",\n      { if: \"role != 'primary'\"",
    );
    let swapped =
        ("\"db.users\",\n        \"run backUp\",", "\"run backUp\",\n        \"db.users\",");
    Row {
        id: "M06",
        title: "A backup is recorded before the users are made",
        violates: "P9",
        original: Original::Breaks(original(Vec::new(), CONVERGES).with_all(&[swapped, none]), 2),
        repaired: repaired(Vec::new()),
        rule: "a copy is taken from a server that leads, which has its users",
        leaders: 0,
        is_overlong: false,
    }
}

fn m07() -> Row {
    let names = original(Vec::new(), CONVERGES)
        .with("SERVICE: \"mysql\"", "SERVICE: \"orders\"")
        .with("name: '{{ .SERVICE }}{{ .ROLE }}'", "name: 'mysql{{ .ROLE }}'")
        .with("    \"store*\": {", "    \"mysql-p*\": {")
        .with("job: \"store*\"", "job: \"mysql*\"");
    let own = repaired(Vec::new())
        .with("SERVICE: \"mysql\"", "SERVICE: \"orders\"")
        .with("\"mysql\": { stop", "\"orders\": { stop")
        .with("job: \"mysql\"", "job: \"orders\"")
        .with("primary: \"mysql-primary\"", "primary: \"orders-primary\"")
        .with("service: \"mysql-primary\"", "service: \"orders-primary\"");
    Row {
        id: "M07",
        title: "The service has another name than usual",
        violates: "P3, P10",
        original: Original::Breaks(names, 1),
        repaired: own,
        rule: "one variable gives the name to job, service and key",
        leaders: 0,
        is_overlong: false,
    }
}

fn m09() -> Row {
    let storm = "{ name: 'sessions', never: 'count(session * is live) > 12' }";
    let kill = |name: &str| vec![deed(T0, name, &[(0, Action::Crash)])];
    let old = Case {
        changes: Vec::new(),
        nodes: &["old-1", "old-2", "old-3"],
        ..original(kill("primary of store"), storm)
    };
    let many = repaired(kill(PRIMARY))
        .with(
            "      count: 3,\n      volume: true,\n      env: { SERVICE: \"mysql\"",
            "      count: 9,\n      volume: true,\n      env: { SERVICE: \"mysql\"",
        )
        .with(
            "db-1 db-2 db-3\", VOTES: \"2\"",
            "db-1 db-2 db-3 db-4 db-5 db-6 db-7 db-8 db-9\", VOTES: \"8\"",
        )
        .on(&["db-1", "db-2", "db-3", "db-4", "db-5", "db-6", "db-7", "db-8", "db-9"])
        .holds("{ name: 'sessions', never: 'count(session * is live) > 10' }");
    Row {
        id: "M09",
        title: "A herd of members",
        violates: "P5",
        original: Original::Breaks(old, 2),
        repaired: many,
        rule: "a supervisor has one session a lock and waits with a blocking read",
        leaders: 0,
        is_overlong: false,
    }
}

#[test]
fn members_that_start_in_order_all_serve_under_the_scripts() {
    let case = original(Vec::new(), CONVERGES);
    let search = case.search("", 260);
    for seed in 0..3 {
        assert_eq!(crate::run(&search, seed, crate::Mode::Written), None);
    }
}
