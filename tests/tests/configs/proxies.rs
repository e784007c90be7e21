//! 02-edge-router and 03-log-shipper: files that follow a watched set.

use std::time::Duration;

use steersman_tests::wait::{stays, until};

use crate::bench::{Catalog, Kind, ROOM, Supervisor, children_of, free_port, time};

fn follows(router: &Supervisor, expected: &[&str]) -> Duration {
    let mut expected: Vec<String> = expected.iter().map(|line| (*line).to_owned()).collect();
    expected.sort();
    time(&format!("upstreams are {expected:?}"), || {
        let mut lines = router.lines("upstreams");
        lines.sort();
        (lines == expected).then_some(())
    })
}

fn router_follows_its_back_ends(kind: Kind) {
    let mut catalog = Catalog::start(kind);
    catalog.register("red", "red-1", 8001);
    let port = free_port();
    let env = [("CONSUL", catalog.address.clone()), ("PORT", port.to_string())];
    let mut router = Supervisor::start("02-edge-router.json5", "edge", &env);
    follows(&router, &["red 10.9.0.1:8001"]);
    until("both names are passing", || {
        (catalog.passing("edge").len() == 1 && catalog.passing("edge-public").len() == 1)
            .then_some(())
    });
    let server = || {
        let command = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/cmdline")).ok();
        let mut pids: Vec<u32> =
            children_of(router.pid()).into_iter().map(|child| child.0).collect();
        pids.retain(|pid| command(*pid).is_some_and(|text| text.contains("perl")));
        pids
    };
    let before = server();
    assert_eq!(before.len(), 1, "{before:?}");
    // Both change in the same moment: no update is lost.
    catalog.register("red", "red-2", 8002);
    catalog.register("blue", "blue-1", 8101);
    let all = ["red 10.9.0.1:8001", "red 10.9.0.1:8002", "blue 10.9.0.1:8101"];
    let joined = follows(&router, &all);
    assert!(joined < Duration::from_secs(8) + ROOM, "{joined:?}");
    catalog.deregister("red-1");
    catalog.deregister("red-2");
    catalog.deregister("blue-1");
    follows(&router, &[]);
    // The catalog cannot be reached, comes back with other contents, and nothing changes after
    // that.
    catalog.register("red", "red-3", 8003);
    follows(&router, &["red 10.9.0.1:8003"]);
    until("no reaction is under way", || router.is_idle(&["on-a", "on-b"]).then_some(()));
    catalog.kill();
    stays("the last content", Duration::from_secs(2), || {
        router.lines("upstreams") == ["red 10.9.0.1:8003"]
    });
    catalog.restart();
    catalog.register("blue", "blue-9", 8109);
    follows(&router, &["blue 10.9.0.1:8109"]);
    until("the router is registered again by itself", || {
        (catalog.passing("edge").len() == 1).then_some(())
    });
    assert_eq!(server(), before, "the proxy's process is the same one");
    let (status, took) = router.stop();
    assert_eq!(status, Some(0));
    assert!(took < Duration::from_secs(6) + ROOM, "{took:?}");
    assert_eq!(catalog.passing("edge"), Vec::<String>::new());
}

#[test]
fn router_follows_its_back_ends_with_the_model() {
    router_follows_its_back_ends(Kind::Model);
}

#[test]
fn router_follows_its_back_ends_with_a_real_consul() {
    router_follows_its_back_ends(Kind::Real);
}

fn shipper_waits_for_its_store(kind: Kind) {
    let catalog = Catalog::start(kind);
    let port = free_port();
    let env = [("CONSUL", catalog.address.clone()), ("PORT", port.to_string())];
    let mut shipper = Supervisor::start("03-log-shipper.json5", "shipper", &env);
    until("the note", || shipper.log().contains("waiting for the index store").then_some(()));
    assert_eq!(catalog.status("shipper"), None, "nothing is registered before the store is there");
    catalog.register("indexer", "store-1", 9201);
    let passing = time("the shipper", || (catalog.passing("shipper").len() == 1).then_some(()));
    assert!(passing < Duration::from_secs(11) + ROOM, "{passing:?}");
    until("the target", || shipper.read("target").contains(":9201").then_some(()));
    for port in [9202, 9203, 9204] {
        catalog.deregister("store-1");
        catalog.register("indexer", "store-1", port);
        let moved = time("the store's move", || {
            (shipper.read("target").trim() == format!("indexer 10.9.0.1:{port}")).then_some(())
        });
        assert!(moved < Duration::from_secs(6) + ROOM, "{moved:?}");
    }
    until("the first line", || (shipper.lines("first-line").len() == 1).then_some(()));
    let (status, _) = shipper.stop();
    assert_eq!(status, Some(0));
    assert_eq!(shipper.lines("first-line").len(), 1, "once, and never again");
}

#[test]
fn shipper_waits_for_its_store_with_the_model() {
    shipper_waits_for_its_store(Kind::Model);
}

#[test]
fn shipper_waits_for_its_store_with_a_real_consul() {
    shipper_waits_for_its_store(Kind::Real);
}
