//! Starting processes: everything that allocates or can be refused early happens in here; the rest
//! is the [`child`]'s.
//!
//! A start returns as soon as there is a process. Whether it has become its program turns out a
//! moment later: [`Spawner::settled`] and [`Spawner::ended`] say so.

use std::ffi::{CString, c_int};
use std::fmt;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use steersman_engine::config::{Command, Resource};

use super::child::{self, Failure, Plan, Report, Stack, Step, Strings, Table};
use super::environment::{Environment, Own};
use super::places::Places;
use super::system::FileLimits;
use super::users;
use crate::limits::{STACKS_KEPT_MAX, STARTING_MAX};

/// Where programs are looked up when there is no `PATH` (the default of POSIX shells and Docker).
const PATH_DEFAULT: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What starts processes.
#[derive(Debug)]
pub(super) struct Spawner {
    places: Places,
    ignored: Rc<[c_int]>,
    file_limits: Option<FileLimits>,
    parent: libc::pid_t,
    /// Processes that have not become their programs yet.
    starting: Vec<Starting>,
    /// Stacks that no child uses.
    stacks: Vec<Stack>,
}

/// A process on its way to its program.
#[derive(Debug)]
struct Starting {
    pid: libc::pid_t,
    plan: Rc<Plan>,
    stack: Stack,
    /// Where it finds its pipe, until it has a table of descriptors of its own.
    place: Option<usize>,
    command: Arc<Command>,
}

/// The keeper's ends of its two pipes.
#[derive(Debug)]
pub(super) struct KeeperStreams {
    pub(super) orders: OwnedFd,
    pub(super) news: OwnedFd,
}

/// Where a process writes.
#[derive(Debug)]
pub(super) enum Streams {
    /// Where we do.
    Ours,
    /// Into a pipe.
    Pipe(OwnedFd),
}

/// Why a process could not be started; says what is wrong, not for whom.
#[derive(Debug)]
pub(super) struct SpawnError(String);

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Drop for Spawner {
    fn drop(&mut self) {
        // A child may still use its plan and stack: better lost than given to somebody else.
        mem::forget(mem::take(&mut self.starting));
    }
}

impl Spawner {
    /// Prepares for starts from this process.
    pub(super) fn new(file_limits: Option<FileLimits>) -> io::Result<Spawner> {
        Ok(Spawner {
            places: Places::new()?,
            ignored: super::system::ignored_signals().into(),
            file_limits,
            parent: libc::pid_t::try_from(std::process::id()).unwrap_or(0),
            starting: Vec::new(),
            stacks: Vec::new(),
        })
    }

    /// Starts a process in a group of its own.
    ///
    /// Must be called from the main thread: the kernel ties the parent-death signal to the thread.
    pub(super) fn spawn(
        &mut self,
        command: &Arc<Command>,
        environment: &Environment,
        marker: &str,
        target: Streams,
    ) -> Result<libc::pid_t, SpawnError> {
        self.free_places();
        let input = if command.reads_input { libc::STDIN_FILENO } else { self.places.null() };
        let place = match &target {
            Streams::Ours => None,
            Streams::Pipe(pipe) => self.places.take(pipe.as_fd()),
        };
        let streams = match (&target, place) {
            (Streams::Ours, _) => [input, libc::STDOUT_FILENO, libc::STDERR_FILENO],
            (Streams::Pipe(_), Some((_, at))) => [input, at, at],
            (Streams::Pipe(pipe), None) => [input, pipe.as_raw_fd(), pipe.as_raw_fd()],
        };
        // Without a place the child copies the whole table, and finds the pipe where it is.
        let is_short = place.is_some() || matches!(target, Streams::Ours);
        let table = Table { streams, spare: if is_short { self.places.spare() } else { 0 } };
        let place = place.map(|(index, _)| index);
        let plan = self.plan(command, environment, marker, table);
        let outcome = plan.and_then(|plan| self.begin(Rc::new(plan), place, command));
        if outcome.is_err() {
            place.into_iter().for_each(|index| self.places.give_back(index));
        }
        outcome
    }

    /// Starts this very program as a keeper, which outlives us if it has to.
    ///
    /// It has none of our environment: by that it would seem to be of a run.
    pub(super) fn spawn_keeper(
        &mut self,
        streams: KeeperStreams,
    ) -> Result<libc::pid_t, SpawnError> {
        let parent = CString::new(self.parent.to_string()).unwrap_or_default();
        let [orders, news] = [streams.orders.as_raw_fd(), streams.news.as_raw_fd()];
        let plan = Plan {
            // Whatever has become of its file.
            candidates: Strings::new(vec![c"/proc/self/exe".to_owned()]),
            argv: Strings::new(vec![c"steersman".to_owned(), c"keeper".to_owned(), parent]),
            envp: Strings::new(Vec::new()),
            table: Table { streams: [orders, news, self.places.null()], spare: 0 },
            ignored: Rc::clone(&self.ignored),
            limits: Vec::new(),
            umask: None,
            credentials: None,
            directory: None,
            parent: None,
            report: Report::new(),
        };
        self.begin(Rc::new(plan), None, &Arc::new(Command::new(["steersman", "keeper"])))
    }

    fn begin(
        &mut self,
        plan: Rc<Plan>,
        place: Option<usize>,
        command: &Arc<Command>,
    ) -> Result<libc::pid_t, SpawnError> {
        let mut stack = self.stacks.pop().unwrap_or_else(child::new_stack);
        let waits = self.starting.len() >= STARTING_MAX;
        // SAFETY: `starting` keeps the plan and the stack, which nobody touches there, until the
        // report says that the child has gone; dropping the spawner keeps them for ever.
        match unsafe { child::clone(&plan, &mut stack, waits) } {
            Ok(pid) => {
                let command = Arc::clone(command);
                self.starting.push(Starting { pid, plan, stack, place, command });
                Ok(pid)
            }
            Err(error) => {
                self.keep(stack);
                Err(cannot_start(command, &explain_clone(&error)))
            }
        }
    }

    /// Frees the places of children that have a table of descriptors of their own.
    fn free_places(&mut self) {
        for one in self.starting.iter_mut().filter(|one| one.plan.report.has_own_table()) {
            if let Some(index) = one.place.take() {
                self.places.give_back(index);
            }
        }
    }

    /// Tells whether there are processes that have not become their programs.
    pub(super) fn is_starting(&self) -> bool {
        !self.starting.is_empty()
    }

    /// Takes out the processes that have become their programs since the last look.
    ///
    /// One that failed ends, and is left for [`Spawner::ended`].
    pub(super) fn settled(&mut self) -> Vec<libc::pid_t> {
        self.free_places();
        let is_settled =
            |one: &mut Starting| !one.plan.report.is_here() && one.plan.report.failure().is_none();
        let settled: Vec<Starting> = self.starting.extract_if(.., is_settled).collect();
        settled.into_iter().map(|one| self.release(one)).collect()
    }

    /// Takes out a process that has ended; says why, if it has never become its program.
    ///
    /// `None` is a process that has become its program before.
    pub(super) fn ended(&mut self, pid: libc::pid_t) -> Option<Result<(), SpawnError>> {
        let index = self.starting.iter().position(|one| one.pid == pid)?;
        let one = self.starting.remove(index);
        let outcome = match one.plan.report.failure() {
            Some(failure) => Err(explain(failure, &one.command, &one.plan)),
            None => Ok(()),
        };
        self.release(one);
        Some(outcome)
    }

    fn release(&mut self, one: Starting) -> libc::pid_t {
        one.place.into_iter().for_each(|index| self.places.give_back(index));
        self.keep(one.stack);
        one.pid
    }

    fn keep(&mut self, stack: Stack) {
        if self.stacks.len() < STACKS_KEPT_MAX {
            self.stacks.push(stack);
        }
    }

    fn plan(
        &self,
        command: &Command,
        environment: &Environment,
        marker: &str,
        table: Table,
    ) -> Result<Plan, SpawnError> {
        let about = |reason: &dyn fmt::Display| cannot_start(command, reason);
        let program =
            command.argv.first().ok_or_else(|| SpawnError("nothing to execute".into()))?;
        let own = Own::collect(command, marker).map_err(|reason| about(&reason))?;
        let credentials = users::credentials(command.user.as_deref(), command.group.as_deref())
            .map_err(|reason| about(&reason))?;
        let path = own.value("PATH").or_else(|| environment.value("PATH")).unwrap_or(PATH_DEFAULT);
        let no_nul = |_| about(&"a NUL byte in the command");
        let argv = command.argv.iter().map(|argument| CString::new(&**argument));
        let envp = environment.without(&own).chain(own.entries());
        Ok(Plan {
            candidates: Strings::new(candidates(program, path).map_err(no_nul)?),
            argv: Strings::new(argv.collect::<Result<_, _>>().map_err(no_nul)?),
            envp: Strings::new(envp.map(Rc::clone).collect()),
            table,
            ignored: Rc::clone(&self.ignored),
            limits: self.limits(command),
            umask: command.umask,
            credentials,
            directory: command.workdir.as_deref().map(CString::new).transpose().map_err(no_nul)?,
            parent: Some(self.parent),
            report: Report::new(),
        })
    }

    fn limits(&self, command: &Command) -> Vec<(c_int, libc::rlimit)> {
        let bound = |limit: Option<u64>| limit.unwrap_or(libc::RLIM_INFINITY);
        let restored = self.file_limits.map(|(soft, hard)| {
            (libc::RLIMIT_NOFILE as c_int, libc::rlimit { rlim_cur: soft, rlim_max: hard })
        });
        let own = command.limits.iter().map(|limit| {
            let pair = libc::rlimit { rlim_cur: bound(limit.soft), rlim_max: bound(limit.hard) };
            (resource_number(limit.resource), pair)
        });
        restored.into_iter().chain(own).collect()
    }
}

fn cannot_start(command: &Command, reason: &dyn fmt::Display) -> SpawnError {
    let program = command.argv.first().map_or("", |program| &**program);
    SpawnError(format!("cannot start \"{program}\": {reason}"))
}

fn resource_number(resource: Resource) -> c_int {
    let number = match resource {
        Resource::As => libc::RLIMIT_AS,
        Resource::Core => libc::RLIMIT_CORE,
        Resource::Cpu => libc::RLIMIT_CPU,
        Resource::Data => libc::RLIMIT_DATA,
        Resource::Fsize => libc::RLIMIT_FSIZE,
        Resource::Memlock => libc::RLIMIT_MEMLOCK,
        Resource::Msgqueue => libc::RLIMIT_MSGQUEUE,
        Resource::Nice => libc::RLIMIT_NICE,
        Resource::Nofile => libc::RLIMIT_NOFILE,
        Resource::Nproc => libc::RLIMIT_NPROC,
        Resource::Rss => libc::RLIMIT_RSS,
        Resource::Rtprio => libc::RLIMIT_RTPRIO,
        Resource::Sigpending => libc::RLIMIT_SIGPENDING,
        Resource::Stack => libc::RLIMIT_STACK,
    };
    number as c_int
}

fn resource_name(number: c_int) -> &'static str {
    let named = |resource: &&Resource| resource_number(**resource) == number;
    Resource::ALL.iter().find(named).map_or("unknown", |resource| resource.as_str())
}

/// Gives what to try to execute, in order: an empty entry of `PATH` is the working directory.
fn candidates(program: &str, path: &[u8]) -> Result<Vec<CString>, std::ffi::NulError> {
    if program.contains('/') {
        return Ok(vec![CString::new(program)?]);
    }
    let join = |directory: &[u8]| {
        let directory = if directory.is_empty() { b"." } else { directory };
        CString::new([directory, b"/", program.as_bytes()].concat())
    };
    path.split(|byte| *byte == b':').map(join).collect()
}

fn explain_clone(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EAGAIN) => String::from("the limit of processes is reached"),
        Some(libc::ENOMEM) => String::from("no memory for another process"),
        _ => text(error),
    }
}

fn explain(failure: Failure, command: &Command, plan: &Plan) -> SpawnError {
    let Failure { step, detail, errno } = failure;
    let error = io::Error::from_raw_os_error(errno);
    let quoted = |name: &Option<Box<str>>| format!("\"{}\"", name.as_deref().unwrap_or_default());
    let denied = errno == libc::EPERM;
    let reason = match step {
        Step::Group => format!("no process group: {}", text(&error)),
        Step::Streams => format!("no stream {detail}: {}", text(&error)),
        Step::Limits => format!("limit \"{}\" refused: {}", resource_name(detail), text(&error)),
        Step::Groups | Step::GroupId | Step::UserId if denied && command.user.is_some() => {
            format!("becoming user {} needs root", quoted(&command.user))
        }
        Step::Groups | Step::GroupId | Step::UserId if denied => {
            format!("taking group {} needs root", quoted(&command.group))
        }
        Step::Groups | Step::GroupId => format!("group refused: {}", text(&error)),
        Step::UserId => format!("user {} refused: {}", quoted(&command.user), text(&error)),
        Step::Directory => format!("workdir {}: {}", quoted(&command.workdir), text(&error)),
        Step::DeathSignal => format!("no parent-death signal: {}", text(&error)),
        Step::Execute => explain_execute(errno, detail, command, plan),
    };
    cannot_start(command, &reason)
}

fn explain_execute(errno: c_int, detail: c_int, command: &Command, plan: &Plan) -> String {
    let candidates = &plan.candidates.texts;
    let tried = usize::try_from(detail).ok().and_then(|index| candidates.get(index));
    let tried = &*tried.map(|tried| tried.to_string_lossy()).unwrap_or_default();
    match errno {
        libc::ENOENT | libc::ENOTDIR if command.argv.first().is_some_and(|p| !p.contains('/')) => {
            let prefix = b"PATH=";
            let path =
                plan.envp.texts.iter().find_map(|entry| entry.to_bytes().strip_prefix(prefix));
            let path = String::from_utf8_lossy(path.unwrap_or(PATH_DEFAULT));
            format!("no such program in PATH ({path})")
        }
        libc::ENOENT if Path::new(tried).exists() => {
            String::from("the interpreter or loader that the file names does not exist")
        }
        libc::ENOENT | libc::ENOTDIR => String::from("no such file"),
        libc::EACCES if Path::new(tried).is_dir() => format!("{tried} is a directory"),
        libc::EACCES => format!("{tried} is not executable for this user"),
        libc::ENOEXEC => format!("{tried} is no program for this machine and has no #! line"),
        libc::E2BIG => String::from("arguments and environment are too long"),
        libc::ETXTBSY => format!("{tried} is being written"),
        _ => format!("{tried}: {}", text(&io::Error::from_raw_os_error(errno))),
    }
}

/// Gives the system's words without Rust's "(os error N)".
fn text(error: &io::Error) -> String {
    let full = error.to_string();
    match full.rfind(" (os error") {
        Some(end) => full.get(..end).unwrap_or(&full).to_lowercase(),
        None => full,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_looked_up_in_every_directory_of_the_path() {
        let found = candidates("sh", b"/a::/b").unwrap();
        let found: Vec<&str> = found.iter().map(|path| path.to_str().unwrap()).collect();
        assert_eq!(found, ["/a/sh", "./sh", "/b/sh"]);
        assert_eq!(candidates("./x", b"/a").unwrap(), [CString::new("./x").unwrap()]);
        assert!(candidates("a\0b", b"/a").is_err());
    }

    #[test]
    fn every_resource_has_its_number_and_name() {
        for resource in Resource::ALL {
            assert_eq!(resource_name(resource_number(*resource)), resource.as_str());
        }
    }
}
