//! 01-ledger-db: members that choose a primary with a lock of their own scripts.

use std::time::Duration;

use steersman_tests::wait::until;

use crate::bench::{Catalog, Kind, ROOM, Supervisor, free_port, request, time};

struct Member {
    supervisor: Supervisor,
    port: u16,
}

impl Member {
    fn start(catalog: &Catalog, nth: usize) -> Member {
        let port = free_port();
        let env = [
            ("CONSUL", catalog.address.clone()),
            ("PORT", port.to_string()),
            ("DB_ID", format!("db{nth}")),
            ("SES_TTL", "10s".into()),
            ("LOCK_DELAY", "3s".into()),
            ("SNAP_EVERY", "2s".into()),
        ];
        let host = format!("db{nth}");
        Member { supervisor: Supervisor::start("01-ledger-db.json5", &host, &env), port }
    }

    fn role(&self) -> Option<String> {
        let (_, body) = request(&format!("127.0.0.1:{}", self.port), "GET", "/role", "")?;
        body.split_whitespace().next().map(str::to_owned)
    }

    fn upstream(&self) -> Option<String> {
        let (_, body) = request(&format!("127.0.0.1:{}", self.port), "GET", "/upstream", "")?;
        Some(body.trim().to_owned())
    }

    fn is_primary(&self) -> bool {
        self.role().as_deref() == Some("primary")
    }
}

fn primary_of(members: &[Member]) -> Option<usize> {
    let primaries: Vec<usize> =
        (0..members.len()).filter(|nth| members[*nth].is_primary()).collect();
    assert!(primaries.len() <= 1, "two primaries");
    primaries.first().copied()
}

fn members_replace_a_primary(kind: Kind) {
    let catalog = Catalog::start(kind);
    let mut members: Vec<Member> = (1..=3).map(|nth| Member::start(&catalog, nth)).collect();
    let together =
        time("three passing members", || (catalog.passing("ledger").len() == 3).then_some(()));
    assert!(together < Duration::from_secs(60), "{together:?}");
    let first = until("a primary", || primary_of(&members));
    // kill -9 of the supervisor: its jobs die with it.
    members[first].supervisor.kill();
    let killed = members.remove(first);
    assert_eq!(killed.role(), None, "the killed member's server still answers");
    let replaced = time("the next primary", || primary_of(&members));
    // 2 x SES_TTL + LOCK_DELAY + 10 s
    assert!(replaced < Duration::from_secs(33) + ROOM, "{replaced:?}");
    let second = primary_of(&members).expect("there is one");
    let name = format!(":{}", members[second].port);
    until("the other one names it upstream", || {
        members[1 - second].upstream().filter(|upstream| upstream.ends_with(&name))
    });
    // TERM: the role is withdrawn, the lock is free, then the server stops.
    let (status, took) = members[second].supervisor.stop();
    assert_eq!(status, Some(0));
    assert!(took < Duration::from_secs(13), "{took:?}");
    let handed = time("the hand-over", || members[1 - second].is_primary().then_some(()));
    assert!(handed < Duration::from_secs(7) + ROOM, "nobody waits for a TTL: {handed:?}");
}

#[test]
fn members_replace_a_primary_with_the_model() {
    members_replace_a_primary(Kind::Model);
}

#[test]
fn members_replace_a_primary_with_a_real_consul() {
    members_replace_a_primary(Kind::Real);
}
