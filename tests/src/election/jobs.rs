//! What a member runs: a job that writes while it leads, and one that is always there and writes
//! once it is told to. Neither ever stops by itself.

use std::env;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};

use super::attempt::{Message, Writer};
use super::moment::now;
use crate::wait::pass;

/// How often a writer writes.
const WRITE_EVERY: Duration = Duration::from_millis(5);

/// How a job takes the end of its term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manners {
    /// It ends when it is asked to.
    Prompt,
    /// It has to be killed.
    Stubborn,
    /// It ends when it is asked to; what it left in the background, in a session of its own, does
    /// not.
    Forks,
}

impl Manners {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Manners::Prompt => "prompt",
            Manners::Stubborn => "stubborn",
            Manners::Forks => "forks",
        }
    }
}

/// The beginning of the name that a writing process gives itself; the token is the rest.
pub(super) const NAME: &str = "term-";

/// Runs the job with `while`; `is_child` for what it leaves in the background.
///
/// # Panics
///
/// When it was not started by the example's configuration.
pub fn lead(is_child: bool) {
    let mut pen = Pen::take(if is_child { Writer::Child } else { Writer::Lead });
    let token = number("CONTAINERPILOT_LOCK_LEADER_TOKEN");
    let manners = env::var("MANNERS").unwrap_or_default();
    let is_stubborn = manners == Manners::Stubborn.word();
    if is_child || is_stubborn {
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGTERM);
        mask.thread_block().expect("it is our thread");
    }
    if !is_child && manners == Manners::Forks.word() {
        let program = env::current_exe().expect("a running program has a path");
        let mut child = Command::new("setsid");
        child.arg("--fork").arg(program).arg("child").stdin(Stdio::null());
        assert!(child.status().expect("setsid can be run").success(), "cannot fork");
    }
    let server = server_socket();
    for count in 0u64.. {
        pen.write(token);
        if !is_child && count.is_multiple_of(10) {
            // It may not be there yet, or not any more.
            let _ = pen.socket.send_to(token.to_string().as_bytes(), &server);
        }
        pass(WRITE_EVERY);
    }
}

/// Runs the job with `stopWith`: it writes from the moment on in which it is told a token. It knows
/// nothing of the lock and is never told that a term has ended.
///
/// # Panics
///
/// When it was not started by the example's configuration.
pub fn serve() {
    let mut pen = Pen::take(Writer::Serve);
    let socket = server_socket();
    // What an earlier one of us has left.
    let _ = fs::remove_file(&socket);
    let orders = UnixDatagram::bind(&socket).expect("the folder is ours");
    orders.set_read_timeout(Some(WRITE_EVERY)).expect("it is longer than nothing");
    let mut token = None;
    loop {
        let mut buffer = [0; 32];
        let order = orders.recv(&mut buffer).ok();
        let told = order.and_then(|length| String::from_utf8_lossy(&buffer[..length]).parse().ok());
        token = told.or(token);
        if let Some(token) = token {
            pen.write(token);
        }
    }
}

/// What a process writes with.
struct Pen {
    socket: UnixDatagram,
    resource: PathBuf,
    message: Message,
}

impl Pen {
    fn take(writer: Writer) -> Pen {
        let message = Message {
            member: usize::try_from(number("NODE")).expect("it is small"),
            life: u32::try_from(number("LIFE")).expect("it is small"),
            token: 0,
            number: 0,
            writer,
            clock: 0,
        };
        let resource = env::var_os("RESOURCE").expect("the configuration gives it").into();
        let socket = UnixDatagram::unbound().expect("there are sockets");
        Pen { socket, resource, message }
    }

    fn write(&mut self, token: u64) {
        if self.message.token != token {
            self.message.token = token;
            // Whoever looks at the processes sees what it writes for.
            fs::write("/proc/self/comm", format!("{NAME}{token}")).expect("it is our name");
        }
        self.message.number += 1;
        self.message.clock = now();
        // A resource that has gone takes nothing: then the run is over.
        let _ = self.socket.send_to(self.message.to_text().as_bytes(), &self.resource);
    }
}

fn server_socket() -> PathBuf {
    let folder: PathBuf = env::var_os("RUN_DIR").expect("the configuration gives it").into();
    folder.join("orders")
}

fn number(variable: &str) -> u64 {
    let value = env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set"));
    value.parse().unwrap_or_else(|_| panic!("{variable} is no number: {value:?}"))
}
