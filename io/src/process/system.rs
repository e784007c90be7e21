//! The supervisor's own place in the system: signals, limits, memory, local time.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use steersman_engine::event::SignalName;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The signals that reach the supervisor through [`SignalInbox`].
const TAKEN: [libc::c_int; 6] =
    [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2, libc::SIGCHLD];

/// Blocks every signal the supervisor reacts to, so that none is lost before it reads them.
///
/// To be called before anything else. Threads started later inherit it.
pub fn hold_signals() {
    // A parent that ignores SIGCHLD would make the kernel reap our children unseen.
    set_disposition(libc::SIGCHLD, libc::SIG_DFL);
    change_mask(libc::SIG_BLOCK);
}

/// Takes back [`hold_signals`], for a process that does not supervise after all.
pub fn release_signals() {
    change_mask(libc::SIG_UNBLOCK);
}

fn change_mask(how: libc::c_int) {
    let set = taken_set();
    // SAFETY: `set` is an initialised signal set; a null pointer asks for no old mask.
    unsafe { libc::pthread_sigmask(how, &raw const set, std::ptr::null_mut()) };
}

fn taken_set() -> libc::sigset_t {
    // SAFETY: an all-zero `sigset_t` is a valid value, which `sigemptyset` then initialises; the
    // signal numbers are constants that exist.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in TAKEN {
            libc::sigaddset(&raw mut set, signal);
        }
        set
    }
}

pub(super) fn set_disposition(signal: libc::c_int, to: libc::sighandler_t) {
    // SAFETY: `to` is SIG_DFL or SIG_IGN, never a function.
    unsafe { libc::signal(signal, to) };
}

/// Gives the signals that this process ignores: they are the ones `execve` would hand down.
pub(super) fn ignored_signals() -> Vec<libc::c_int> {
    let is_ignored = |signal: libc::c_int| {
        // SAFETY: an all-zero `sigaction` is valid, and a null pointer changes nothing.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            libc::sigaction(signal, std::ptr::null(), &raw mut action) == 0
                && action.sa_sigaction == libc::SIG_IGN
        }
    };
    (1..=libc::SIGRTMAX()).filter(|signal| is_ignored(*signal)).collect()
}

/// What one look into the inbox found.
#[derive(Debug, Default)]
pub struct Received {
    /// Signals that are inputs, in the order in which the kernel hands them out.
    pub signals: Vec<SignalName>,
    /// Whether a child may have ended.
    pub child: bool,
}

/// Where the signals of [`hold_signals`] arrive.
#[derive(Debug)]
pub struct SignalInbox(OwnedFd);

impl SignalInbox {
    /// Opens it.
    ///
    /// # Errors
    /// When the kernel has no descriptor left.
    pub fn open() -> io::Result<SignalInbox> {
        let set = taken_set();
        // SAFETY: `set` is initialised; -1 asks for a new descriptor.
        let fd =
            unsafe { libc::signalfd(-1, &raw const set, libc::SFD_NONBLOCK | libc::SFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel just gave us `fd`; nobody else knows it.
        Ok(SignalInbox(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Takes out what has arrived; never waits.
    ///
    /// # Errors
    /// `WouldBlock` when nothing has arrived.
    pub fn receive(&self) -> io::Result<Received> {
        const ROOM: usize = 8;
        let mut received = Received::default();
        // SAFETY: all-zero bytes are a valid `signalfd_siginfo`.
        let mut infos: [libc::signalfd_siginfo; ROOM] = unsafe { std::mem::zeroed() };
        // SAFETY: `infos` is writable for exactly the length given.
        let count = unsafe {
            let room = size_of_val(&infos);
            libc::read(raw(self.0.as_fd()), infos.as_mut_ptr().cast(), room)
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        for info in infos.iter().take(count / size_of::<libc::signalfd_siginfo>()) {
            match libc::c_int::try_from(info.ssi_signo).unwrap_or(0) {
                libc::SIGCHLD => received.child = true,
                libc::SIGTERM => received.signals.push(SignalName::Term),
                libc::SIGINT => received.signals.push(SignalName::Int),
                libc::SIGHUP => received.signals.push(SignalName::Hup),
                libc::SIGUSR1 => received.signals.push(SignalName::Usr1),
                libc::SIGUSR2 => received.signals.push(SignalName::Usr2),
                // Only the numbers in TAKEN are in the set.
                _ => {}
            }
        }
        Ok(received)
    }
}

impl AsFd for SignalInbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Lets the runtime wait until a descriptor is readable. To be called inside the runtime.
///
/// # Errors
/// When the kernel has no descriptor left.
pub fn watch(fd: &impl AsFd) -> io::Result<AsyncFd<OwnedFd>> {
    let own = fd.as_fd().try_clone_to_owned()?;
    // SAFETY: an `OwnedFd` gives the same descriptor as long as it lives, and keeps it open.
    Ok(unsafe { AsyncFd::register_with_interest(own, Interest::READABLE)? })
}

fn raw(fd: BorrowedFd<'_>) -> std::os::fd::RawFd {
    use std::os::fd::AsRawFd;
    fd.as_raw_fd()
}

/// Makes orphans of jobs our children, unless they become so anyway because we are PID 1.
///
/// # Errors
/// When the kernel is older than 3.4.
pub fn become_subreaper() -> io::Result<()> {
    if std::process::id() == 1 { Ok(()) } else { Ok(prctl::set_child_subreaper(true)?) }
}

/// The open-file limits that this process started with; jobs get them back.
pub type FileLimits = (u64, u64);

/// Allows this process as many open files as it may have: each job costs one.
pub fn raise_file_limit() -> Option<FileLimits> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    if soft == hard {
        return None;
    }
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).ok()?;
    Some((soft, hard))
}

/// Keeps the allocator to one arena: a second thread would otherwise cost its own.
pub fn keep_memory_small() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the two options exist in every glibc since 2.10 and take any small positive number.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 128 * 1024);
    }
}

/// Gives back the memory that only the start needed: reading the configuration touches most of the
/// program, running it a small part. Code that is needed again comes back from the page cache.
pub fn forget_startup() {
    // SAFETY: `forget_segments` matches the type, keeps nothing and only reads what it is given.
    unsafe { libc::dl_iterate_phdr(Some(forget_segments), std::ptr::null_mut()) };
    #[cfg(target_env = "gnu")]
    // SAFETY: gives free pages of the heap back; it takes its own locks.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// # Safety
/// To be called by `dl_iterate_phdr` only.
unsafe extern "C" fn forget_segments(
    info: *mut libc::dl_phdr_info,
    _size: libc::size_t,
    _data: *mut libc::c_void,
) -> libc::c_int {
    // SAFETY: the loader passes a valid description with `dlpi_phnum` headers. Only segments of the
    // program that were never writable are dropped: their pages are those of the file, unchanged
    // (position-independent code has no relocations in them), so they come back as they were.
    unsafe {
        let info = &*info;
        let headers = std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum));
        for header in headers {
            if header.p_type != libc::PT_LOAD || header.p_flags & libc::PF_W != 0 {
                continue;
            }
            let (start, length) = (info.dlpi_addr + header.p_vaddr, header.p_memsz);
            let page = u64::try_from(libc::sysconf(libc::_SC_PAGESIZE)).unwrap_or(4096);
            let (first, end) = (start.next_multiple_of(page), (start + length) / page * page);
            if first < end {
                let place = std::ptr::with_exposed_provenance_mut::<libc::c_void>(first as usize);
                libc::madvise(place, (end - first) as usize, libc::MADV_DONTNEED);
            }
        }
    }
    // The first object is the program itself; the libraries are shared with others anyway.
    1
}

/// Tells how many seconds local time is ahead of UTC at `unix_seconds`.
pub fn local_offset(unix_seconds: i64) -> i32 {
    let seconds = unix_seconds as libc::time_t;
    // SAFETY: all-zero bytes are a valid `tm`, and both pointers are to live values. The C library
    // reads TZ from the environment: nothing in this program ever changes its own environment.
    let (found, local) = unsafe {
        let mut local: libc::tm = std::mem::zeroed();
        (!libc::localtime_r(&raw const seconds, &raw mut local).is_null(), local)
    };
    if found { i32::try_from(local.tm_gmtoff).unwrap_or(0) } else { 0 }
}
