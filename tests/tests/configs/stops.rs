//! 04-cache-sentry and 07-drain-and-maintain: order and bounds of stopping, maintenance, signals.

use std::time::Duration;

use steersman_tests::wait::{stays, until};

use crate::bench::{Catalog, Kind, ROOM, Supervisor, children_of, free_port, time};

fn cache(catalog: &Catalog, takes: &str) -> (Supervisor, u16) {
    let (port, watch_port) = (free_port(), free_port());
    let env = [
        ("CONSUL", catalog.address.clone()),
        ("PORT", port.to_string()),
        ("WATCH_PORT", watch_port.to_string()),
        ("FAREWELL_TAKES", takes.to_owned()),
    ];
    let cache = Supervisor::start("04-cache-sentry.json5", "cache", &env);
    until("both services", || {
        let both = catalog.passing("cache").len() + catalog.passing("cache-sentry").len();
        (both == 2).then_some(())
    });
    (cache, watch_port)
}

fn cache_says_farewell_before_it_goes(kind: Kind) {
    let catalog = Catalog::start(kind);
    let (mut cache, watch_port) = cache(&catalog, "1");
    // The monitor alone dies: only its own service fails, and it comes back.
    let needle = format!("PORT={watch_port}");
    let monitor = children_of(cache.pid()).into_iter().find(|(pid, _)| {
        let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        String::from_utf8_lossy(&environ).split('\0').any(|entry| entry == needle)
    });
    let (monitor, _) = monitor.expect("the monitor runs");
    let status = std::process::Command::new("kill").arg("-9").arg(monitor.to_string()).status();
    assert!(status.expect("kill can be run").success());
    until("the monitor is critical", || {
        (catalog.status("cache-sentry").as_deref() == Some("critical")).then_some(())
    });
    assert_eq!(catalog.passing("cache").len(), 1);
    until("the monitor is back", || (catalog.passing("cache-sentry").len() == 1).then_some(()));
    assert_eq!(cache.lines("farewell"), Vec::<String>::new(), "farewell never runs at start");
    let (status, took) = cache.stop();
    assert_eq!(status, Some(0));
    assert!(took < Duration::from_secs(9), "{took:?}");
    let farewell = cache.lines("farewell");
    assert_eq!(farewell.len(), 2, "{farewell:?}");
    assert!(farewell[1].contains("cache still up"), "{farewell:?}");
    assert_eq!(catalog.status("cache"), None);
    assert_eq!(catalog.status("cache-sentry"), None);
}

#[test]
fn cache_says_farewell_before_it_goes_with_the_model() {
    cache_says_farewell_before_it_goes(Kind::Model);
}

#[test]
fn cache_says_farewell_before_it_goes_with_a_real_consul() {
    cache_says_farewell_before_it_goes(Kind::Real);
}

#[test]
fn farewell_that_hangs_is_cut_and_the_stop_stays_within_its_budget() {
    let catalog = Catalog::start(Kind::Model);
    let (mut cache, _) = cache(&catalog, "1000");
    let (status, took) = cache.stop();
    assert_eq!(status, Some(0));
    assert!(took >= Duration::from_millis(3900), "cut before its limit: {took:?}");
    assert!(took < Duration::from_secs(9), "{took:?}");
    assert_eq!(catalog.status("cache"), None);
}

fn front_is_drained_and_maintained(kind: Kind) {
    let catalog = Catalog::start(kind);
    let port = free_port();
    let env = [
        ("CONSUL", catalog.address.clone()),
        ("PORT", port.to_string()),
        ("DRAIN", "1".to_owned()),
    ];
    let mut front = Supervisor::start("07-drain-and-maintain.json5", "front", &env);
    until("passing", || (catalog.passing("front").len() == 1).then_some(()));
    assert!(front.control(&["maintenance", "enable"]).success());
    let out = time("out of the catalog", || catalog.status("front").is_none().then_some(()));
    assert!(out < Duration::from_secs(1) + ROOM, "{out:?}");
    assert!(front.control(&["maintenance", "enable"]).success());
    until("the note", || front.read("notes").contains("in ").then_some(()));
    assert!(front.control(&["reload"]).success());
    // A reload does not end maintenance.
    stays("out of the catalog", Duration::from_secs(4), || catalog.status("front").is_none());
    assert!(front.control(&["maintenance", "disable"]).success());
    let back = time("passing again", || (catalog.passing("front").len() == 1).then_some(()));
    assert!(back < Duration::from_secs(4) + ROOM, "{back:?}");
    for (signal, note) in [("HUP", "hup "), ("USR2", "usr2 "), ("HUP", "hup ")] {
        let count = |front: &Supervisor| front.read("notes").matches(note).count();
        let before = count(&front);
        front.signal(signal);
        until("its note", || (count(&front) == before + 1).then_some(()));
    }
    let (status, took) = front.stop();
    assert_eq!(status, Some(0));
    assert!(took < Duration::from_secs(7), "{took:?}");
    let notes = front.read("notes");
    let counts = ["in ", "out ", "hup ", "usr2 "].map(|note| notes.matches(note).count());
    assert_eq!(counts, [1, 1, 2, 1], "{notes}");
    assert!(notes.contains("after-stop server=gone"), "{notes}");
    assert_eq!(catalog.status("front"), None);
}

#[test]
fn front_is_drained_and_maintained_with_the_model() {
    front_is_drained_and_maintained(Kind::Model);
}

#[test]
fn front_is_drained_and_maintained_with_a_real_consul() {
    front_is_drained_and_maintained(Kind::Real);
}

#[test]
fn server_that_drains_too_long_is_killed_and_seen_gone() {
    let catalog = Catalog::start(Kind::Model);
    let port = free_port();
    let env = [
        ("CONSUL", catalog.address.clone()),
        ("PORT", port.to_string()),
        ("DRAIN", "1000".to_owned()),
    ];
    let mut front = Supervisor::start("07-drain-and-maintain.json5", "front", &env);
    until("passing", || (catalog.passing("front").len() == 1).then_some(()));
    let (status, took) = front.stop();
    assert_eq!(status, Some(137), "it did not end in time");
    assert!(took >= Duration::from_millis(5900), "{took:?}");
    assert!(took < Duration::from_secs(7) + ROOM, "{took:?}");
    assert!(front.read("notes").contains("after-stop server=gone"), "{}", front.read("notes"));
}
