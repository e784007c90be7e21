//! 08-twin-services: two that show data of each other, either may start first; four kinds of
//! metric.

use std::time::Duration;

use steersman_tests::wait::until;

use crate::bench::{Catalog, Kind, ROOM, Supervisor, free_port, request, time};

struct Twin {
    supervisor: Supervisor,
    port: u16,
    metrics: u16,
}

impl Twin {
    fn start(catalog: &Catalog, name: &str, peer: &str) -> Twin {
        let (port, metrics) = (free_port(), free_port());
        let env = [
            ("CONSUL", catalog.address.clone()),
            ("NAME", name.to_owned()),
            ("PEER", peer.to_owned()),
            ("PORT", port.to_string()),
            ("METRICS_PORT", metrics.to_string()),
        ];
        let supervisor = Supervisor::start("08-twin-services.json5", name, &env);
        Twin { supervisor, port, metrics }
    }

    fn sees(&self, peer: &Twin) -> bool {
        self.supervisor.read("peer").trim_end().ends_with(&format!(":{}", peer.port))
    }

    fn metric(&self, name: &str) -> Option<f64> {
        let (status, text) =
            request(&format!("127.0.0.1:{}", self.metrics), "GET", "/metrics", "")?;
        assert_eq!(status, 200);
        let line = text.lines().find(|line| line.starts_with(&format!("{name} ")))?;
        line.split(' ').nth(1)?.parse().ok()
    }
}

fn twins_see_each_other_and_count(kind: Kind) {
    let catalog = Catalog::start(kind);
    let mut cats = Twin::start(&catalog, "cats", "dogs");
    until("one alone is passing", || (catalog.passing("cats").len() == 1).then_some(()));
    let mut dogs = Twin::start(&catalog, "dogs", "cats");
    until("they see each other", || (cats.sees(&dogs) && dogs.sees(&cats)).then_some(()));
    until("telemetry is registered", || {
        (catalog.passing("containerpilot").len() == 2).then_some(())
    });
    let visits = until("two visits", || cats.metric("visits").filter(|visits| *visits >= 2.0));
    assert!(cats.metric("open_files").is_some_and(|files| files > 0.0));
    assert!(cats.metric("reply_seconds_count").is_some_and(|count| count >= 2.0));
    assert!(cats.metric("reply_bytes_count").is_some_and(|count| count >= 2.0));
    assert!(cats.supervisor.control(&["reload"]).success());
    until("the counter only grows", || {
        let now = cats.metric("visits")?;
        assert!(now >= visits);
        (now > visits).then_some(())
    });
    let (status, _) = dogs.supervisor.stop();
    assert_eq!(status, Some(0));
    let gone =
        time("the peer's leaving", || cats.supervisor.read("peer").trim().is_empty().then_some(()));
    assert!(gone < Duration::from_secs(4) + ROOM, "{gone:?}");
    assert_eq!(catalog.passing("cats").len(), 1);
    let (status, _) = cats.supervisor.stop();
    assert_eq!(status, Some(0));
    assert_eq!(catalog.status("containerpilot"), None, "telemetry is deregistered as well");
}

#[test]
fn twins_see_each_other_and_count_with_the_model() {
    twins_see_each_other_and_count(Kind::Model);
}

#[test]
fn twins_see_each_other_and_count_with_a_real_consul() {
    twins_see_each_other_and_count(Kind::Real);
}
