//! The showpiece by one command: three MariaDB servers in containers, clients, faults, a judge.
//!
//!     cargo run --release -p steersman-tests --bin mariadb-showpiece
//!     cargo run --release -p steersman-tests --bin mariadb-showpiece -- --rounds 3
//!     cargo run --release -p steersman-tests --bin mariadb-showpiece -- --only stop --logs /tmp

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use steersman_tests::maria::{Cluster, Fault, Figures, Writers, inflict, judge, settled};

fn main() -> ExitCode {
    let wanted = match wanted() {
        Ok(wanted) => wanted,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::from(2);
        }
    };
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
    for _ in 0..wanted.rounds {
        for fault in &wanted.faults {
            print_row(*fault, &inflict(&cluster, &writers, *fault));
        }
    }
    if let Some(folder) = &wanted.logs {
        for member in 0..3 {
            let path = folder.join(format!("{}.log", cluster.address(member)));
            std::fs::write(&path, cluster.log(member))
                .expect("the folder of --logs can be written");
        }
    }
    let acks = writers.stop();
    let wrong = judge(&cluster, &acks);
    let terms: std::collections::BTreeSet<u64> = acks.iter().map(|ack| ack.term).collect();
    println!("\n{} acknowledged writes in {} terms", acks.len(), terms.len());
    println!("{} faults, {} things wrong", wanted.rounds * wanted.faults.len(), wrong.len());
    for line in &wrong {
        println!("WRONG: {line}");
    }
    ExitCode::from(u8::from(!wrong.is_empty()))
}

/// What the command line asks for.
struct Wanted {
    rounds: usize,
    faults: Vec<Fault>,
    logs: Option<PathBuf>,
}

fn wanted() -> Result<Wanted, String> {
    let mut wanted = Wanted { rounds: 1, faults: Fault::ALL.to_vec(), logs: None };
    let mut arguments = std::env::args().skip(1);
    while let Some(option) = arguments.next() {
        let value =
            arguments.next().ok_or_else(|| format!("cannot use {option} without a value"))?;
        match &*option {
            "--rounds" => {
                let number = value.parse();
                wanted.rounds = number.map_err(|_| format!("cannot use {value} as a number"))?;
            }
            "--only" => {
                let fault = Fault::ALL.into_iter().find(|fault| fault.name() == value);
                let names: Vec<_> = Fault::ALL.iter().map(|fault| fault.name()).collect();
                let unknown = || format!("cannot find fault {value}; use {}", names.join(", "));
                wanted.faults = vec![fault.ok_or_else(unknown)?];
            }
            "--logs" => wanted.logs = Some(value.into()),
            _ => return Err(format!("cannot use {option}: use --rounds, --only, --logs")),
        }
    }
    Ok(wanted)
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
    if let Some((held, primary)) = figures.hand_over {
        let (held, primary) = (seconds(held), seconds(primary));
        println!("| … from SIGTERM: the lock {held}, the next primary {primary} | | | |");
    }
}
