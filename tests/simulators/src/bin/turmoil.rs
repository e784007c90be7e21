//! The job of the benchmark in turmoil: hosts tell one server every so often that they are well,
//! and the server answers each.
//!
//! `turmoil HOSTS INTERVAL_MS TICK_MS SECONDS` prints how many seconds a core worked, and how many
//! answers came.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use steersman_simulators::{Job, core_seconds, report};
use turmoil::Builder;
use turmoil::net::UdpSocket;

fn main() {
    let job = Job::from_args();
    let answers = Rc::new(Cell::new(0));
    let mut builder = Builder::new();
    builder
        .rng_seed(1)
        .epoch(SystemTime::UNIX_EPOCH)
        .tick_duration(job.tick)
        .simulation_duration(job.length)
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(1));
    let mut sim = builder.build();
    sim.host("server", move || async move {
        let desks: Vec<_> = (0..job.hosts).map(|nth| tokio::spawn(serve(nth))).collect();
        for desk in desks {
            desk.await??;
        }
        Ok(())
    });
    for nth in 0..job.hosts {
        let answers = answers.clone();
        let offset = job.offset(nth);
        sim.host(format!("host{nth}"), move || {
            let answers = answers.clone();
            async move {
                let socket = UdpSocket::bind("0.0.0.0:9001").await?;
                let mut buffer = [0; 128];
                tokio::time::sleep(offset).await;
                let mut due = tokio::time::Instant::now();
                loop {
                    socket.send_to(&[7; 64], ("server", job.port(nth))).await?;
                    socket.recv_from(&mut buffer).await?;
                    answers.set(answers.get() + 1);
                    due += job.interval;
                    tokio::time::sleep_until(due).await;
                }
            }
        });
    }
    let begin = core_seconds();
    while sim.elapsed() < job.length - job.tick {
        sim.step().expect("no host fails");
    }
    report(begin, answers.get());
}

/// Answers one host, for ever.
async fn serve(nth: u8) -> std::io::Result<()> {
    let socket = UdpSocket::bind(("0.0.0.0", Job::from_args().port(nth))).await?;
    let mut buffer = [0; 128];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).await?;
        socket.send_to(&buffer[..length], from).await?;
    }
}
