//! The supervisor's side: starts the keeper, tells it what it has to know, hears its news.
//!
//! Nothing in here waits. A keeper that does not take its orders in time is lost: it is killed, and
//! the engine asks for another one, who is told everything again.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use steersman_engine::id::LockId;
use steersman_engine::input::{ExitStatus, KeeperNews};
use steersman_engine::{RunId, Time};
use tokio::net::unix::pipe;
use tokio::sync::mpsc;

use super::order::{self, Order};
use crate::limits::{KEEPER_FRAME_BYTES_MAX, KEEPER_NEWS_MAX};
use crate::process::{Identity, Processes};

/// Where the news of all keepers arrive.
pub(crate) type Heard = mpsc::Receiver<News>;

/// Something that a keeper says.
#[derive(Debug)]
pub(crate) struct News {
    pid: u32,
    /// None is the last: it will say nothing any more.
    said: Option<KeeperNews>,
}

/// A job of which nothing may outlive a term, and its present runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Charge {
    /// Its name.
    pub(crate) job: Box<str>,
    /// The first processes of its runs.
    pub(crate) leaders: Vec<(RunId, u32)>,
}

/// The supervisor's end of the keeper's pipes.
#[derive(Debug)]
pub(crate) struct Link {
    mailbox: mpsc::Sender<News>,
    current: Option<Current>,
}

/// The keeper that is there.
#[derive(Debug)]
struct Current {
    pid: u32,
    orders: OwnedFd,
    guards: BTreeMap<LockId, Vec<Box<str>>>,
    /// The first processes that it knows of.
    leaders: BTreeMap<RunId, Identity>,
    /// How it has ended.
    status: Option<ExitStatus>,
    /// Whether all that it has said was heard.
    is_silent: bool,
}

impl Link {
    /// Builds one without a keeper; says where news arrive.
    pub(crate) fn new() -> (Link, Heard) {
        let (mailbox, heard) = mpsc::channel(KEEPER_NEWS_MAX);
        (Link { mailbox, current: None }, heard)
    }

    /// Has everything of these jobs killed at a time; starts a keeper if there is none.
    ///
    /// # Errors
    /// There is no keeper, and why.
    pub(crate) fn guard(
        &mut self,
        processes: &mut Processes,
        lock: LockId,
        until: Time,
        charges: Vec<Charge>,
    ) -> Result<(), KeeperNews> {
        let mut said = Vec::new();
        if self.current.is_none() {
            let begun = self.begin(processes, &mut said);
            self.current = Some(begun.map_err(|reason| lost(&reason))?);
        }
        let Some(current) = &mut self.current else { return Ok(()) };
        let outcome = current.guard(lock, until, charges, &mut said);
        self.say(processes, outcome.map(|()| said))
    }

    /// Says that there is nothing left of a term; the keeper ends with the last one.
    ///
    /// # Errors
    /// There is no keeper any more, and why.
    pub(crate) fn lift(&mut self, processes: &Processes, lock: LockId) -> Result<(), KeeperNews> {
        let Some(current) = &mut self.current else { return Ok(()) };
        let mut said = Vec::new();
        current.guards.remove(&lock);
        let is_last = current.guards.is_empty();
        let outcome = order::put(&mut said, &Order::Lift { lock });
        let outcome = self.say(processes, outcome.map(|()| said));
        if is_last {
            // What it says on its way out is still heard.
            self.current = None;
        }
        outcome
    }

    /// Tells of the first process of a run, if its job is guarded.
    ///
    /// # Errors
    /// There is no keeper any more, and why.
    pub(crate) fn began(
        &mut self,
        processes: &Processes,
        job: &str,
        leader: (RunId, u32),
    ) -> Result<(), KeeperNews> {
        let Some(current) = &mut self.current else { return Ok(()) };
        let is_guarded = |jobs: &Vec<Box<str>>| jobs.iter().any(|one| **one == *job);
        if !current.guards.values().any(is_guarded) {
            return Ok(());
        }
        let mut said = Vec::new();
        let outcome = current.tell_leader(job, leader, &mut said);
        self.say(processes, outcome.map(|()| said))
    }

    /// Tells that nothing is left of a run.
    ///
    /// # Errors
    /// There is no keeper any more, and why.
    pub(crate) fn over(&mut self, processes: &Processes, run: RunId) -> Result<(), KeeperNews> {
        let Some(current) = &mut self.current else { return Ok(()) };
        let Some(leader) = current.leaders.remove(&run) else { return Ok(()) };
        let mut said = Vec::new();
        let outcome = order::put(&mut said, &Order::Over { leader });
        self.say(processes, outcome.map(|()| said))
    }

    /// Takes news of a keeper, the present one or one before it.
    pub(crate) fn hear(&mut self, processes: &Processes, news: News) -> Option<KeeperNews> {
        let is_current = self.current.as_ref().is_some_and(|current| current.pid == news.pid);
        match news.said {
            // However old the keeper is, that has happened.
            Some(KeeperNews::Killed { .. }) => news.said,
            Some(KeeperNews::Ready(_)) => news.said.filter(|_| is_current),
            Some(KeeperNews::Lost(_)) if is_current => {
                self.drop_current(processes);
                news.said
            }
            Some(KeeperNews::Lost(_)) => None,
            None => {
                // Who has nothing to say any more ends, if he has not.
                processes.kill_keeper(news.pid);
                let current = self.current.as_mut().filter(|_| is_current)?;
                current.is_silent = true;
                self.bury()
            }
        }
    }

    /// Takes note of the end of a keeper.
    pub(crate) fn ended(&mut self, pid: u32, status: ExitStatus) -> Option<KeeperNews> {
        let current = self.current.as_mut().filter(|current| current.pid == pid)?;
        current.status = Some(status);
        self.bury()
    }

    /// The keeper has ended, and all its words were heard: they may have been the reason.
    fn bury(&mut self) -> Option<KeeperNews> {
        let current = self.current.take_if(|current| current.is_silent && current.status.is_some());
        Some(lost(&match current?.status? {
            ExitStatus::Code(code) => format!("it has ended with status {code}"),
            ExitStatus::Signal(signal) => format!("it was killed by signal {signal}"),
        }))
    }

    /// Lets go of the keeper: it kills what it still guards, and ends.
    pub(crate) fn finish(&mut self) {
        self.current = None;
    }

    fn begin(&self, processes: &mut Processes, said: &mut Vec<u8>) -> Result<Current, String> {
        let cannot = |error: io::Error| format!("cannot start a keeper: {error}");
        let pipe = || nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(|error| cannot(error.into()));
        let (theirs, orders) = pipe()?;
        let (heard, news) = pipe()?;
        set_nonblocking(&orders).and_then(|()| set_nonblocking(&heard)).map_err(cannot)?;
        let supervisor = i32::try_from(std::process::id()).unwrap_or(0);
        let begin = Order::Begin { version: order::VERSION, supervisor };
        order::put(said, &begin).map_err(cannot)?;
        let heard = pipe::Receiver::from_owned_fd(heard).map_err(cannot)?;
        let pid = processes.start_keeper(theirs, news)?;
        tokio::spawn(listen(pid, heard, self.mailbox.clone()));
        let (guards, leaders) = (BTreeMap::new(), BTreeMap::new());
        Ok(Current { pid, orders, guards, leaders, status: None, is_silent: false })
    }

    /// Writes all of it at once, or gives the keeper up.
    fn say(&mut self, processes: &Processes, said: io::Result<Vec<u8>>) -> Result<(), KeeperNews> {
        let Some(current) = &self.current else { return Ok(()) };
        let written = said.and_then(|said| {
            make_room(&current.orders, said.len());
            let count = nix::unistd::write(&current.orders, &said)?;
            if count == said.len() { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
        });
        let reason = match written {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                String::from("it does not take its orders")
            }
            Err(error) => format!("cannot give it orders: {error}"),
        };
        self.drop_current(processes);
        Err(lost(&reason))
    }

    /// Ends the keeper without letting it do anything more: dead first, then its pipe.
    fn drop_current(&mut self, processes: &Processes) {
        if let Some(current) = self.current.take() {
            processes.kill_keeper(current.pid);
        }
    }
}

impl Current {
    fn guard(
        &mut self,
        lock: LockId,
        until: Time,
        charges: Vec<Charge>,
        said: &mut Vec<u8>,
    ) -> io::Result<()> {
        for charge in &charges {
            for leader in &charge.leaders {
                self.tell_leader(&charge.job, *leader, said)?;
            }
        }
        let jobs: Vec<Box<str>> = charges.into_iter().map(|charge| charge.job).collect();
        if self.guards.get(&lock) == Some(&jobs) {
            return order::put(said, &Order::Move { lock, until });
        }
        order::put(said, &Order::Guard { lock, until, jobs: jobs.clone() })?;
        self.guards.insert(lock, jobs);
        Ok(())
    }

    fn tell_leader(
        &mut self,
        job: &str,
        (run, pid): (RunId, u32),
        said: &mut Vec<u8>,
    ) -> io::Result<()> {
        if self.leaders.contains_key(&run) {
            return Ok(());
        }
        // It is a child that we have not reaped: the number is still its own.
        let pid = i32::try_from(pid).map_err(io::Error::other)?;
        let Some(leader) = Identity::of(pid) else { return Ok(()) };
        self.leaders.insert(run, leader);
        order::put(said, &Order::Began { job: job.into(), leader })
    }
}

fn lost(reason: &str) -> KeeperNews {
    KeeperNews::Lost(reason.into())
}

fn set_nonblocking(fd: &OwnedFd) -> io::Result<()> {
    fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(())
}

/// A pipe holds 64 KiB unless asked for more, which is seldom needed.
fn make_room(pipe: &OwnedFd, bytes: usize) {
    if bytes > 16 * 1024 {
        let most = i32::try_from(KEEPER_FRAME_BYTES_MAX).unwrap_or(i32::MAX);
        // Where it is refused, the order does not fit, and that is said.
        let _ = fcntl(pipe, FcntlArg::F_SETPIPE_SZ(most));
    }
}

/// Passes on what one keeper says, until it says nothing any more.
async fn listen(pid: u32, pipe: pipe::Receiver, mailbox: mpsc::Sender<News>) {
    let (mut inbox, mut piece) = (Vec::new(), [0; 512]);
    let mut is_over = false;
    while !is_over {
        is_over = pipe.readable().await.is_err();
        match pipe.try_read(&mut piece) {
            Ok(0) => is_over = true,
            Ok(count) => inbox.extend_from_slice(piece.get(..count).unwrap_or_default()),
            Err(error) => is_over |= error.kind() != io::ErrorKind::WouldBlock,
        }
        loop {
            let said = order::take(&mut inbox);
            is_over |= said.is_err();
            let Ok(Some(said)) = said else { break };
            // It is closed when the driver has ended.
            let _ = mailbox.send(News { pid, said: Some(said) }).await;
        }
    }
    let _ = mailbox.send(News { pid, said: None }).await;
}
