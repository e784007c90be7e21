//! Trouble with Consul, with its agent, and with what stands in the path of a check.

use steersman_sim::Action;
use steersman_sim::catalog::{AgentFault, CatalogFault};

use crate::row::{Original, PRIMARY, Row, T0, deed, original, repaired};

crate::rows! {
    m32_loss_of_the_leader_is_no_failover_of_everything = m32(),
    m33_catalog_without_memory_gets_a_primary_again = m33(),
    m34_agent_that_lost_its_memory_is_no_failover = m34(),
    m35_check_of_the_node_takes_nothing_else_down = m35(),
    m36_storage_is_not_in_the_path_of_a_check = m36(),
    m38_several_listed_primaries_do_not_stop_anybody = m38(),
}

fn m32() -> Row {
    let lose = || {
        let actions = [
            (0, Action::Catalog(CatalogFault::KillLeader)),
            (40, Action::Catalog(CatalogFault::StartServers)),
        ];
        vec![deed(T0, "db-1", &actions)]
    };
    let slow = ("consul: { servers: 3 }", "consul: { servers: 3, election: [\"28s\", \"32s\"] }");
    Row {
        id: "M32",
        title: "Consul has no leader for longer than a check lives",
        violates: "P3",
        original: Original::Breaks(
            original(
                lose(),
                "{ name: 'stays listed', longerThan: '5s', \
              never: 'database mysql is converged and no mysql-primary is healthy and \
                every database mysql is joined' }",
            )
            .with(slow.0, slow.1),
            4,
        ),
        repaired: repaired(lose()).with(slow.0, slow.1),
        rule: "the term ends by itself before another can begin; the check looks at the database \
               only",
        leaders: 1,
        is_overlong: false,
    }
}

fn m33() -> Row {
    // Everything is forgotten; a fourth member without data starts at that moment.
    let lose = || {
        vec![
            deed(T0, "db-1", &[(0, Action::Catalog(CatalogFault::LoseState))]),
            deed(T0 + 10, "db-4", &[(0, Action::StartContainer)]),
        ]
    };
    const FOUR: &[&str] = &["db-1", "db-2", "db-3", "db-4"];
    let four = (
        "      count: 3,\n      env: { SERVICE: \"mysql\"",
        "      count: 4,\n      env: { SERVICE: \"mysql\"",
    );
    let own = (
        "      count: 3,\n      volume: true,\n      env: { SERVICE: \"mysql\"",
        "      count: 4,\n      volume: true,\n      env: { SERVICE: \"mysql\"",
    );
    let late = ("env.WAIT and node != 'db-1'", "env.WAIT and node != 'db-1' and node != 'db-4'");
    Row {
        id: "M33",
        title: "Consul loses its memory",
        violates: "P1, P4, P7, P9",
        original: Original::Breaks(
            original(
                lose(),
                "{ name: 'says so', within: '200s', \
              eventually: 'database mysql is converged and any mysql-primary is healthy' }",
            )
            .with_all(&[four, late])
            .on(FOUR)
            .later(&["db-4"]),
            2,
        ),
        repaired: repaired(lose())
            .with_all(&[
                own,
                ("db-1 db-2 db-3\", VOTES: \"2\"", "db-1 db-2 db-3 db-4\", VOTES: \"3\""),
            ])
            .on(FOUR)
            .later(&["db-4"]),
        rule: "the holder stops, a taker keeps quiet; who has promised more than the new tokens is \
               asked with more by whoever has the lock",
        leaders: 1,
        is_overlong: false,
    }
}

fn m34() -> Row {
    let restart = || {
        let actions = [
            (0, Action::Agent(AgentFault::Kill)),
            (5, Action::Agent(AgentFault::Start { keeps: false })),
        ];
        vec![deed(T0, PRIMARY, &actions)]
    };
    Row {
        id: "M34",
        title: "The agent starts again without memory",
        violates: "P4, P1",
        original: Original::Untold(
            "the original's supervisor never registered again; here both have steersman's, which \
             does",
        ),
        repaired: repaired(restart()).holds_in_time(
            "{ name: 'registered again', longerThan: '60s', never: \
             'database mysql is converged and \
             count(service mysql-primary is passing) == 0' }",
        ),
        rule: "a refused report registers again; the lock's session is tied to no check of the \
               node",
        leaders: 0,
        is_overlong: false,
    }
}

fn m35() -> Row {
    let check = (
        "\"sleep 5s..30s\",\n      \"id = db.snapshot\",",
        "\"sleep 5s..30s\",\n      \"id = db.snapshot\",\n      \"consul.put \
         '/v1/agent/check/register' '{\\\"Name\\\":\\\"backup\\\",\\\"TTL\\\":\\\"200s\\\",\
         \\\"Status\\\":\\\"passing\\\"}'\",",
    );
    let listed = "{ name: 'stays listed', longerThan: '60s', \
                  never: 'database mysql is converged and \
                  count(service mysql-primary is passing) == 0' }";
    Row {
        id: "M35",
        title: "A check of the whole node expires",
        violates: "P3",
        original: Original::Breaks(
            original(
                Vec::new(),
                "{ name: 'no failover', longerThan: '20s', never: 'any database mysql on db-2 is \
                 primary or any database mysql on db-3 is primary' }",
            )
            .with_all(&[check])
            .settles(500),
            2,
        ),
        repaired: repaired(Vec::new()).holds(listed).settles(500),
        rule: "each check belongs to one service; a backup says nothing about health",
        leaders: 0,
        is_overlong: false,
    }
}

fn m36() -> Row {
    let away =
        || vec![deed(T0, "db-1", &[(0, Action::StoreAway(true)), (60, Action::StoreAway(false))])];
    let stays = "{ name: 'no failover', never: 'database mysql is converged and \
                 every database mysql is joined and any mysql-primary is unhealthy' }";
    Row {
        id: "M36",
        title: "The store of backups is away",
        violates: "P3",
        original: Original::Breaks(original(away(), stays), 2),
        repaired: repaired(away()).holds_in_time(stays),
        rule: "only the backup needs the store",
        leaders: 0,
        is_overlong: false,
    }
}

fn m38() -> Row {
    let freeze = || vec![deed(T0, PRIMARY, &[(0, Action::Freeze), (33, Action::Thaw)])];
    Row {
        id: "M38",
        title: "Several primaries are listed",
        violates: "P3",
        original: Original::Breaks(
            original(
                freeze(),
                "{ name: 'one is listed', \
              never: 'count(service mysql-primary is passing) > 1' }",
            ),
            6,
        ),
        repaired: repaired(freeze()).holds(
            "{ name: 'one is listed', longerThan: '6s', \
             never: 'count(service mysql-primary is passing) > 1' }",
        ),
        rule: "members go by the holder of the lock, and are listed by what they do",
        leaders: 0,
        is_overlong: true,
    }
}
