//! Clients that write all the time and remember what they were told.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::cluster::{Cluster, MEMBERS};

/// An acknowledged write.
#[derive(Clone, Debug)]
pub struct Ack {
    /// Which client wrote it.
    pub writer: usize,
    /// The client's own count.
    pub number: u64,
    /// The term that the server knew when it wrote.
    pub term: u64,
    /// Who acknowledged it.
    pub member: usize,
    /// When, in seconds since 1970 by the server's clock, after the commit was acknowledged.
    pub at: f64,
}

/// Clients in threads of their own.
#[derive(Debug)]
pub struct Writers {
    acks: Arc<Mutex<Vec<Ack>>>,
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// How long a client waits for an acknowledgement before it tries elsewhere.
const IMPATIENT: Duration = Duration::from_secs(2);

/// How long the client waits that trusts its old connection for as long as it stands.
const STUBBORN: Duration = Duration::from_secs(120);

impl Writers {
    /// Starts three clients that try every member in turn, and a fourth that does not let go of a
    /// connection.
    pub fn start(cluster: &Cluster) -> Writers {
        let acks = Arc::new(Mutex::new(Vec::new()));
        let is_over = Arc::new(AtomicBool::new(false));
        let addresses: Vec<String> = (0..MEMBERS).map(|nth| cluster.address(nth)).collect();
        let begin = |writer: usize| {
            let patience = if writer == 3 { STUBBORN } else { IMPATIENT };
            let client = Client {
                writer,
                patience,
                addresses: addresses.clone(),
                acks: acks.clone(),
                is_over: is_over.clone(),
                number: 0,
            };
            thread::spawn(move || client.write_on())
        };
        let threads = (0..4).map(begin).collect();
        Writers { acks, is_over, threads }
    }

    /// Gives the acknowledgements so far.
    pub fn acks(&self) -> Vec<Ack> {
        self.acks.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    /// Ends all clients and gives every acknowledgement.
    pub fn stop(mut self) -> Vec<Ack> {
        self.end();
        self.acks()
    }

    fn end(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        self.end();
    }
}

struct Client {
    writer: usize,
    patience: Duration,
    addresses: Vec<String>,
    acks: Arc<Mutex<Vec<Ack>>>,
    is_over: Arc<AtomicBool>,
    number: u64,
}

impl Client {
    fn write_on(mut self) {
        let mut member = self.writer;
        while !self.is_over.load(Ordering::Relaxed) {
            member = (member + 1) % self.addresses.len();
            if !is_there(&self.addresses[member]) {
                continue;
            }
            let mut session = Session::open(&self.addresses[member]);
            while let Some((term, at)) = self.write(&mut session) {
                let ack = Ack { writer: self.writer, number: self.number, term, member, at };
                self.acks.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(ack);
                thread::park_timeout(Duration::from_millis(20));
            }
            thread::park_timeout(Duration::from_millis(50));
        }
    }

    /// Writes a row; gives the term and the time when it was acknowledged.
    fn write(&mut self, session: &mut Session) -> Option<(u64, f64)> {
        if self.is_over.load(Ordering::Relaxed) {
            return None;
        }
        // Never the same number again: whether an unanswered write was done is open.
        self.number += 1;
        let (writer, number) = (self.writer, self.number);
        session.send(&format!(
            "INSERT INTO app.ledger (writer, number, term) \
             SELECT {writer}, {number}, MAX(token) FROM cluster.terms;\n\
             SELECT 'ack', term, UNIX_TIMESTAMP(SYSDATE(6)) FROM app.ledger \
             WHERE writer = {writer} AND number = {number};\n"
        ))?;
        let line = self.answer(session)?;
        let mut words = line.split_whitespace().skip_while(|word| *word != "ack").skip(1);
        let term = words.next().and_then(|word| word.parse().ok())?;
        let at = words.next().and_then(|word| word.parse().ok())?;
        Some((term, at))
    }

    fn answer(&self, session: &Session) -> Option<String> {
        let slice = Duration::from_millis(100);
        let mut waited = Duration::ZERO;
        loop {
            match session.lines.recv_timeout(slice) {
                Ok(line) => return Some(line),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => waited += slice,
            }
            if waited >= self.patience || self.is_over.load(Ordering::Relaxed) {
                return None;
            }
        }
    }
}

/// Tells whether somebody listens: a client of its own would wait a second for a host that is gone.
fn is_there(address: &str) -> bool {
    let Ok(address) = format!("{address}:3306").parse() else { return false };
    TcpStream::connect_timeout(&address, Duration::from_millis(100)).is_ok()
}

/// A connection that stays open: the client program, which ends at the first error.
struct Session {
    client: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Session {
    fn open(address: &str) -> Session {
        let mut client = Command::new("mariadb")
            .args(["--no-defaults", "--user=app", "--connect-timeout=1", "--unbuffered"])
            .args(["--batch", "--skip-column-names", "--host", address])
            .env("MYSQL_PWD", "three")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the client of MariaDB is installed");
        let input = client.stdin.take();
        let output = client.stdout.take().expect("it was asked for");
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Session { client, input, lines }
    }

    fn send(&mut self, text: &str) -> Option<()> {
        let input = self.input.as_mut()?;
        input.write_all(text.as_bytes()).and_then(|()| input.flush()).ok()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.client.kill();
        let _ = self.client.wait();
    }
}
