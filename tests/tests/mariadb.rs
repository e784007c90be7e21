//! The showpiece of the locks, in short: `docs/examples/mariadb` with real servers in containers.
//!
//! - `databases_elect_a_primary_and_lose_no_acknowledged_write`
//!
//! Needs Docker and MariaDB; without them it fails. `mariadb-showpiece` runs all the faults.

use steersman_tests::maria::{Cluster, Fault, Writers, inflict, judge, settled};

#[test]
fn databases_elect_a_primary_and_lose_no_acknowledged_write() {
    let cluster = Cluster::start();
    let primary = settled(&cluster);
    cluster.create_ledger(primary);
    let writers = Writers::start(&cluster);
    for fault in [Fault::Stop, Fault::Kill, Fault::Pause] {
        let figures = inflict(&cluster, &writers, fault);
        eprintln!("{}: {figures:?}", fault.words());
    }
    let acks = writers.stop();
    assert!(acks.len() > 100, "the clients were served: {}", acks.len());
    let wrong = judge(&cluster, &acks);
    assert!(wrong.is_empty(), "{wrong:#?}");
}
