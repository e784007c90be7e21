//! The showpiece by one command: three MariaDB servers in containers, clients, faults, a judge.
//!
//!     cargo run --release -p steersman-tests --bin mariadb-showpiece
//!     cargo run --release -p steersman-tests --bin mariadb-showpiece -- --rounds 3

use std::process::ExitCode;
use std::time::{Duration, Instant};

use steersman_tests::maria::{Cluster, Fault, Figures, Writers, inflict, judge, settled};

fn main() -> ExitCode {
    let rounds = rounds();
    let begun = Instant::now();
    let cluster = Cluster::start();
    let primary = settled(&cluster);
    println!(
        "three empty members are a primary ({}) and two replicas after {:.1} s",
        cluster.address(primary),
        begun.elapsed().as_secs_f64()
    );
    cluster.create_ledger(primary);
    let writers = Writers::start(&cluster);
    println!(
        "\n| fault of the primary | writes acknowledged again after | longest silence | old \
         primary follows again after |\n|---|---|---|---|"
    );
    for _ in 0..rounds {
        for fault in Fault::ALL {
            print_row(fault, &inflict(&cluster, &writers, fault));
        }
    }
    let acks = writers.stop();
    let wrong = judge(&cluster, &acks);
    let terms: std::collections::BTreeSet<u64> = acks.iter().map(|ack| ack.term).collect();
    println!("\n{} acknowledged writes in {} terms", acks.len(), terms.len());
    println!("{} faults, {} things wrong", rounds * Fault::ALL.len(), wrong.len());
    for line in &wrong {
        println!("WRONG: {line}");
    }
    ExitCode::from(u8::from(!wrong.is_empty()))
}

fn rounds() -> usize {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next()) {
        (Some("--rounds"), Some(number)) => number.parse().unwrap_or(1),
        _ => 1,
    }
}

fn print_row(fault: Fault, figures: &Figures) {
    let seconds = |span: Duration| format!("{:.2} s", span.as_secs_f64());
    println!(
        "| {} | {} | {} | {} |",
        fault.words(),
        seconds(figures.until_writes),
        seconds(figures.silence),
        seconds(figures.until_replica)
    );
}
