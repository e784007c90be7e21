//! The job of the benchmark in madsim: hosts tell one server every so often that they are well, and
//! the server answers each.
//!
//! `madsim HOSTS INTERVAL_MS TICK_MS SECONDS` prints the seconds a core worked and how many answers
//! came; there are no ticks here.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use madsim::Config;
use madsim::net::UdpSocket;
use madsim::runtime::Runtime;
use madsim::time;
use steersman_simulators::{Job, core_seconds, report};

fn main() {
    let job = Job::from_args();
    let mut config = Config::default();
    config.net.send_latency = Duration::from_millis(1)..Duration::from_millis(2);
    let runtime = Runtime::with_seed_and_config(1, config);
    let server = IpAddr::from(Ipv4Addr::new(10, 0, 0, 1));
    let node = runtime.create_node().name("server").ip(server).build();
    for nth in 0..job.hosts {
        node.spawn(serve(SocketAddr::from((server, job.port(nth)))));
    }
    let answers = Arc::new(AtomicU64::new(0));
    for nth in 0..job.hosts {
        let ip = IpAddr::from(Ipv4Addr::new(10, 0, 1, nth));
        let node = runtime.create_node().name(format!("host{nth}")).ip(ip).build();
        let answers = answers.clone();
        node.spawn(async move {
            let socket = UdpSocket::bind((ip, 9001)).await.expect("the port is free");
            let mut buffer = [0; 128];
            time::sleep(job.offset(nth)).await;
            let mut due = time::Instant::now();
            loop {
                socket.send_to((server, job.port(nth)), &[7; 64]).await.expect("nothing fails");
                socket.recv_from(&mut buffer).await.expect("nothing fails");
                answers.fetch_add(1, Ordering::Relaxed);
                due += job.interval;
                time::sleep_until(due).await;
            }
        });
    }
    let begin = core_seconds();
    runtime.block_on(async move { time::sleep(job.length).await });
    report(begin, answers.load(Ordering::Relaxed));
}

/// Answers one host, for ever.
async fn serve(address: SocketAddr) {
    let socket = UdpSocket::bind(address).await.expect("the port is free");
    let mut buffer = [0; 128];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).await.expect("nothing fails");
        socket.send_to(from, &buffer[..length]).await.expect("nothing fails");
    }
}
