//! Starting one process: everything that allocates or can be refused early happens before, in the
//! parent; the child makes system calls only.
//!
//! The child borrows the supervisor's memory until it has executed its program (`CLONE_VM` and
//! `CLONE_VFORK`, as `posix_spawn` does): no page table is copied, whatever the supervisor's size,
//! and a failure comes back through that memory instead of a pipe. The price: the supervisor waits
//! while the kernel opens the program, so a program on a file system that hangs holds it up.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;

use nix::fcntl::OFlag;
use steersman_engine::config::{Command, Resource};

use super::environment::{Environment, Own};
use super::system::FileLimits;
use super::users::{self, Credentials};

/// Where programs are looked up when there is no `PATH` (the default of POSIX shells and Docker).
const PATH_DEFAULT: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The child runs a few system calls on it: a sixteenth would do, in a build without optimisation.
const STACK_BYTES: usize = 64 * 1024;

/// What never changes from one start to the next.
#[derive(Debug)]
pub(super) struct Spawner {
    stack: Box<[Block]>,
    /// Gives nothing to read.
    null: OwnedFd,
    /// A low number in which the child finds where to write, so that its table of descriptors can be
    /// short: copying ours costs more than all the rest once there are a thousand jobs.
    place: OwnedFd,
    has_close_range: bool,
    ignored: Vec<c_int>,
    file_limits: Option<FileLimits>,
    parent: libc::pid_t,
}

/// A unit of stack with the alignment that every ABI asks for.
#[derive(Clone, Copy, Debug)]
#[repr(align(16))]
struct Block(#[expect(dead_code, reason = "only ever addressed as memory")] [u8; 16]);

/// Where a process writes.
#[derive(Debug)]
pub(super) enum Target {
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

/// The child's steps, for the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
enum Step {
    None,
    Group,
    Streams,
    Limits,
    Groups,
    GroupId,
    UserId,
    Directory,
    DeathSignal,
    Execute,
}

/// All that the child reads, and the report that it writes.
struct Plan<'a> {
    candidates: &'a [*const c_char],
    argv: *const *const c_char,
    envp: *const *const c_char,
    streams: [RawFd; 3],
    /// The first descriptor that the child does not need; zero when it has a table of its own.
    spare: RawFd,
    ignored: &'a [c_int],
    limits: &'a [(c_int, libc::rlimit)],
    umask: Option<u32>,
    credentials: Option<&'a Credentials>,
    directory: *const c_char,
    parent: libc::pid_t,
    failed: Step,
    detail: c_int,
    errno: c_int,
}

impl Spawner {
    /// Prepares for starts from this process.
    pub(super) fn new(file_limits: Option<FileLimits>) -> io::Result<Spawner> {
        let null = open_null()?;
        let place = null.try_clone()?;
        // SAFETY: a range that holds no descriptor; this only asks whether the call exists.
        let probe = unsafe {
            libc::syscall(libc::SYS_close_range, libc::c_uint::MAX, libc::c_uint::MAX, 0)
        };
        Ok(Spawner {
            null,
            place,
            has_close_range: probe == 0,
            stack: vec![Block([0; 16]); STACK_BYTES / 16].into_boxed_slice(),
            ignored: super::system::ignored_signals(),
            file_limits,
            parent: libc::pid_t::try_from(std::process::id()).unwrap_or(0),
        })
    }

    /// Starts a process in a group of its own.
    ///
    /// Must be called from the main thread: the kernel ties the parent-death signal to the thread.
    pub(super) fn spawn(
        &mut self,
        command: &Command,
        environment: &Environment,
        marker: &str,
        target: Target,
    ) -> Result<libc::pid_t, SpawnError> {
        let program =
            command.argv.first().ok_or_else(|| SpawnError("nothing to execute".into()))?;
        let about =
            |reason: &dyn fmt::Display| SpawnError(format!("cannot start \"{program}\": {reason}"));
        let own = Own::collect(command, marker).map_err(|reason| about(&reason))?;
        let credentials = users::credentials(command.user.as_deref(), command.group.as_deref())
            .map_err(|reason| about(&reason))?;
        let path = own.value("PATH").or_else(|| environment.value("PATH")).unwrap_or(PATH_DEFAULT);
        let no_nul = |_| about(&"a NUL byte in the command");
        let candidates = candidates(program, path).map_err(no_nul)?;
        let argv = strings(command.argv.iter().map(|argument| &**argument)).map_err(no_nul)?;
        let directory = command.workdir.as_deref().map(CString::new).transpose().map_err(no_nul)?;
        let limits = self.limits(command);
        let argv = pointers(argv.iter().map(CString::as_c_str));
        let envp = pointers(environment.without(&own).chain(own.entries()).map(CString::as_c_str));
        let candidate_pointers = pointers(candidates.iter().map(CString::as_c_str));
        let mut plan = Plan {
            candidates: candidate_pointers.split_last().map_or(&[], |(_null, rest)| rest),
            argv: argv.as_ptr(),
            envp: envp.as_ptr(),
            streams: self.streams(target).map_err(|error| about(&text(&error)))?,
            spare: self.spare(),
            ignored: &self.ignored,
            limits: &limits,
            umask: command.umask,
            credentials: credentials.as_ref(),
            directory: directory.as_ref().map_or(std::ptr::null(), |path| path.as_ptr()),
            parent: self.parent,
            failed: Step::None,
            detail: 0,
            errno: 0,
        };
        let outcome = clone(&mut self.stack, &mut plan);
        // Nobody but the process may keep its pipe open.
        let _kept = put(self.null.as_fd(), &self.place);
        match outcome {
            Ok(pid) => Ok(pid),
            Err(Failure::Clone(error)) => Err(about(&explain_clone(&error))),
            Err(Failure::Child) => Err(about(&explain(&plan, command, program, path, &candidates))),
        }
    }

    fn streams(&self, target: Target) -> io::Result<[RawFd; 3]> {
        let null = self.null.as_raw_fd();
        match target {
            Target::Ours => Ok([null, libc::STDOUT_FILENO, libc::STDERR_FILENO]),
            Target::Pipe(writer) => {
                put(writer.as_fd(), &self.place)?;
                let place = self.place.as_raw_fd();
                Ok([null, place, place])
            }
        }
    }

    fn spare(&self) -> RawFd {
        if self.has_close_range { self.null.as_raw_fd().max(self.place.as_raw_fd()) + 1 } else { 0 }
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

fn open_null() -> io::Result<OwnedFd> {
    match File::options().read(true).open("/dev/null") {
        Ok(file) => Ok(file.into()),
        // A container without /dev: an empty pipe ends as soon.
        Err(_) => Ok(nix::unistd::pipe2(OFlag::O_CLOEXEC)?.0),
    }
}

/// Makes `place` the same open file as `source`.
fn put(source: BorrowedFd<'_>, place: &OwnedFd) -> io::Result<()> {
    // SAFETY: both are open descriptors of ours; `place` stays one.
    let result = unsafe { libc::dup3(source.as_raw_fd(), place.as_raw_fd(), libc::O_CLOEXEC) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
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

fn strings<'a>(texts: impl Iterator<Item = &'a str>) -> Result<Vec<CString>, std::ffi::NulError> {
    texts.map(CString::new).collect()
}

/// Gives the list that `execve` wants, with its null at the end.
fn pointers<'a>(texts: impl Iterator<Item = &'a CStr>) -> Vec<*const c_char> {
    texts.map(CStr::as_ptr).chain([std::ptr::null()]).collect()
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

enum Failure {
    Clone(io::Error),
    Child,
}

fn clone(stack: &mut [Block], plan: &mut Plan<'_>) -> Result<libc::pid_t, Failure> {
    let shared = if plan.spare > 0 { libc::CLONE_FILES } else { 0 };
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD | shared;
    let plan: *mut Plan<'_> = plan;
    // SAFETY: the stack grows down from the end of `stack`, which is aligned to 16 and lives longer
    // than the child uses it: CLONE_VFORK returns here only after the child has executed a program
    // or ended. `child` makes system calls on `plan`, which lives as long, and nobody else touches
    // it meanwhile because this thread is the only one that knows it.
    let pid =
        unsafe { libc::clone(child, stack.as_mut_ptr_range().end.cast(), flags, plan.cast()) };
    if pid < 0 {
        return Err(Failure::Clone(io::Error::last_os_error()));
    }
    // SAFETY: `plan` is valid, as above; the read is volatile because the compiler does not know
    // that the child wrote through the pointer it was given.
    if unsafe { std::ptr::read_volatile(&raw const (*plan).failed) } == Step::None {
        return Ok(pid);
    }
    // The child has ended: nobody shall ever hear of it.
    // SAFETY: a null pointer asks for no status.
    while unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::__WALL) } < 0
        && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
    {}
    Err(Failure::Child)
}

/// The child. It shares memory with the supervisor: no allocation, no lock, no unwinding.
extern "C" fn child(plan: *mut c_void) -> c_int {
    // SAFETY: `clone` passes a plan that nobody else uses while the child runs, and the calls are
    // system calls with pointers out of that plan. What glibc wraps for threads (`setuid` and the
    // like) is called raw: it would change the supervisor's threads.
    unsafe {
        let plan = &mut *plan.cast::<Plan<'_>>();
        let outcome = prepare(plan).and_then(|()| execute(plan));
        if let Err((step, detail)) = outcome {
            plan.errno = *libc::__errno_location();
            plan.detail = detail;
            std::ptr::write_volatile(&raw mut plan.failed, step);
        }
        libc::_exit(127)
    }
}

type ChildResult = Result<(), (Step, c_int)>;

fn done(result: c_int, step: Step, detail: c_int) -> ChildResult {
    if result < 0 { Err((step, detail)) } else { Ok(()) }
}

/// # Safety
/// Only in the child of [`clone`].
unsafe fn prepare(plan: &Plan<'_>) -> ChildResult {
    // SAFETY: system calls with pointers out of the plan.
    unsafe {
        done(libc::setpgid(0, 0), Step::Group, 0)?;
        for signal in plan.ignored {
            libc::signal(*signal, libc::SIG_DFL);
        }
        let close_range = |first: RawFd, flags: libc::c_uint| {
            let all = libc::c_uint::MAX;
            libc::syscall(libc::SYS_close_range, first, all, flags) as c_int
        };
        if plan.spare > 0 {
            // Until here the table is the supervisor's; from here on it is a short one of our own.
            done(close_range(plan.spare, libc::CLOSE_RANGE_UNSHARE), Step::Streams, -1)?;
        }
        for (wanted, fd) in (0..).zip(plan.streams) {
            done(libc::dup2(fd, wanted), Step::Streams, wanted)?;
        }
        // Whatever the supervisor itself was started with stays here. Older kernels do not know the
        // flag; the supervisor's own descriptors close themselves anyway.
        close_range(3, libc::CLOSE_RANGE_CLOEXEC);
        for (resource, limit) in plan.limits {
            done(libc::setrlimit(*resource as _, limit), Step::Limits, *resource)?;
        }
        if let Some(mask) = plan.umask {
            libc::umask(mask);
        }
        if let Some(credentials) = plan.credentials {
            take_credentials(credentials)?;
        }
        if !plan.directory.is_null() {
            done(libc::chdir(plan.directory), Step::Directory, 0)?;
        }
        // After the change of user, which would clear it.
        done(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL), Step::DeathSignal, 0)?;
        if libc::getppid() != plan.parent {
            libc::_exit(127);
        }
    }
    Ok(())
}

/// # Safety
/// Only in the child of [`clone`].
unsafe fn take_credentials(credentials: &Credentials) -> ChildResult {
    let raw = |result: libc::c_long, step| done(if result < 0 { -1 } else { 0 }, step, 0);
    // SAFETY: raw system calls; the list of groups outlives them.
    unsafe {
        let (gid, groups) = (credentials.gid, &credentials.groups);
        let already = credentials.uid.is_none_or(|uid| uid == libc::geteuid())
            && gid == libc::getegid()
            && libc::geteuid() != 0;
        // Without privilege, one may still "become" what one is.
        if already {
            return Ok(());
        }
        raw(libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()), Step::Groups)?;
        raw(libc::syscall(libc::SYS_setresgid, gid, gid, gid), Step::GroupId)?;
        if let Some(uid) = credentials.uid {
            raw(libc::syscall(libc::SYS_setresuid, uid, uid, uid), Step::UserId)?;
        }
    }
    Ok(())
}

/// Tries the candidates as `execvp` does: a file that may not be executed is remembered and passed
/// over.
///
/// # Safety
/// Only in the child of [`clone`].
unsafe fn execute(plan: &Plan<'_>) -> ChildResult {
    let mut refused = None;
    // SAFETY: the mask is initialised before use; the lists end with null.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
        for (index, candidate) in (0..).zip(plan.candidates) {
            libc::execve(*candidate, plan.argv, plan.envp);
            match *libc::__errno_location() {
                libc::ENOENT | libc::ENOTDIR => {}
                libc::EACCES => refused = refused.or(Some(index)),
                _ => return Err((Step::Execute, index)),
            }
        }
        if let Some(index) = refused {
            *libc::__errno_location() = libc::EACCES;
            return Err((Step::Execute, index));
        }
    }
    Err((Step::Execute, 0))
}

fn explain_clone(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EAGAIN) => String::from("the limit of processes is reached"),
        Some(libc::ENOMEM) => String::from("no memory for another process"),
        _ => text(error),
    }
}

fn explain(
    plan: &Plan<'_>,
    command: &Command,
    program: &str,
    path: &[u8],
    candidates: &[CString],
) -> String {
    let error = io::Error::from_raw_os_error(plan.errno);
    let quoted = |name: &Option<Box<str>>| format!("\"{}\"", name.as_deref().unwrap_or_default());
    let denied = plan.errno == libc::EPERM;
    match plan.failed {
        // Only reached after a failure.
        Step::None | Step::Group => format!("no process group: {}", text(&error)),
        Step::Streams => format!("no stream {}: {}", plan.detail, text(&error)),
        Step::Limits => {
            format!("limit \"{}\" refused: {}", resource_name(plan.detail), text(&error))
        }
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
        Step::Execute => {
            let tried = usize::try_from(plan.detail).ok().and_then(|index| candidates.get(index));
            let tried = tried.map(|tried| tried.to_string_lossy()).unwrap_or_default();
            explain_execute(plan.errno, &tried, program, path)
        }
    }
}

fn explain_execute(errno: c_int, tried: &str, program: &str, path: &[u8]) -> String {
    match errno {
        libc::ENOENT | libc::ENOTDIR if !program.contains('/') => {
            format!("no such program in PATH ({})", String::from_utf8_lossy(path))
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
