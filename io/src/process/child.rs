//! The child between its birth and its program: system calls only.
//!
//! It shares the supervisor's memory (`CLONE_VM`): no page table is copied, whatever the
//! supervisor's size. It runs beside the supervisor, which goes on at once: neither a busy machine
//! nor a program on a file system that hangs holds up a decision. What it reads belongs to its
//! [`Plan`], which lives until the kernel says that the child has left this memory; how it failed,
//! it writes there.

use std::ffi::{CStr, CString, c_char, c_int, c_long, c_void};
use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::sync::atomic::{AtomicI32, Ordering};

use super::raw;
use super::users::Credentials;

/// The child runs a few system calls on it: a fraction would do. Allocators map pieces of this size
/// one by one and give them back whole, so that only the pages that a child touches cost memory.
const STACK_BYTES: usize = 256 * 1024;

/// A unit of stack with the alignment that every ABI asks for.
type Block = u128;

/// The memory on which a child runs.
pub(super) type Stack = Box<[Block]>;

/// Gives a new stack; it costs no memory before it is used.
pub(super) fn new_stack() -> Stack {
    const { assert!(align_of::<Block>() == 16) };
    // Zeroes of a number, so that fresh memory is taken as it is and not written.
    vec![0; STACK_BYTES / size_of::<Block>()].into_boxed_slice()
}

/// The child's steps, for the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub(super) enum Step {
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

impl Step {
    const ALL: [Step; 9] = [
        Step::Group,
        Step::Streams,
        Step::Limits,
        Step::Groups,
        Step::GroupId,
        Step::UserId,
        Step::Directory,
        Step::DeathSignal,
        Step::Execute,
    ];
}

/// How a child failed to become its program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// At what.
    pub(super) step: Step,
    /// Which stream, limit or candidate.
    pub(super) detail: c_int,
    /// The system's number for it.
    pub(super) errno: c_int,
}

/// A list of strings with the null-ended list of pointers that the kernel wants.
#[derive(Debug)]
pub(super) struct Strings<T> {
    /// They keep the pointers good.
    pub(super) texts: Vec<T>,
    pointers: Vec<*const c_char>,
}

impl<T: AsRef<CStr>> Strings<T> {
    /// Collects them.
    pub(super) fn new(texts: Vec<T>) -> Strings<T> {
        let pointers = texts.iter().map(|text| text.as_ref().as_ptr());
        let pointers = pointers.chain([std::ptr::null()]).collect();
        Strings { texts, pointers }
    }

    fn list(&self) -> usize {
        self.pointers.as_ptr() as usize
    }

    /// Gives the pointers without the null.
    fn each(&self) -> impl Iterator<Item = *const c_char> {
        self.pointers.iter().copied().take_while(|pointer| !pointer.is_null())
    }
}

/// The child's descriptors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table {
    /// What become its standard input, output and error.
    pub(super) streams: [RawFd; 3],
    /// The first descriptor that it does not need; zero when it begins with a table of its own.
    pub(super) spare: RawFd,
}

/// All that the child reads, and the report that it writes.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) candidates: Strings<CString>,
    pub(super) argv: Strings<CString>,
    pub(super) envp: Strings<Rc<CStr>>,
    pub(super) table: Table,
    pub(super) ignored: Rc<[c_int]>,
    pub(super) limits: Vec<(c_int, libc::rlimit)>,
    pub(super) umask: Option<u32>,
    pub(super) credentials: Option<Credentials>,
    pub(super) directory: Option<CString>,
    /// Whose death is its own; none for a keeper.
    pub(super) parent: Option<libc::pid_t>,
    pub(super) report: Report,
}

/// What the child and the kernel write while the supervisor may look.
#[derive(Debug)]
pub(super) struct Report {
    /// Not zero as long as the child is in this memory; the kernel clears it.
    is_here: AtomicI32,
    has_own_table: AtomicI32,
    /// 0, or 1 + the step that failed.
    failed: AtomicI32,
    detail: AtomicI32,
    errno: AtomicI32,
}

impl Report {
    pub(super) fn new() -> Report {
        Report {
            is_here: AtomicI32::new(1),
            has_own_table: AtomicI32::new(0),
            failed: AtomicI32::new(0),
            detail: AtomicI32::new(0),
            errno: AtomicI32::new(0),
        }
    }

    /// Tells whether the child may still use the plan and the stack.
    pub(super) fn is_here(&self) -> bool {
        self.is_here.load(Ordering::Acquire) != 0
    }

    /// Tells whether the child uses a table of descriptors of its own.
    pub(super) fn has_own_table(&self) -> bool {
        self.has_own_table.load(Ordering::Acquire) != 0
    }

    /// Says how the child failed, if it has.
    pub(super) fn failure(&self) -> Option<Failure> {
        let index = usize::try_from(self.failed.load(Ordering::Acquire)).ok()?.checked_sub(1)?;
        let step = *Step::ALL.get(index)?;
        let (detail, errno) = (&self.detail, &self.errno);
        let (detail, errno) = (detail.load(Ordering::Relaxed), errno.load(Ordering::Relaxed));
        Some(Failure { step, detail, errno })
    }

    fn set(&self, failure: Failure) {
        self.detail.store(failure.detail, Ordering::Relaxed);
        self.errno.store(failure.errno, Ordering::Relaxed);
        self.failed.store(failure.step as c_int + 1, Ordering::Release);
    }
}

/// Makes the child; gives its number. With `waits`, returns after it has left this memory.
///
/// # Safety
/// `plan` and `stack` must stay where they are, and `stack` unused by others, until
/// [`Report::is_here`] says no.
pub(super) unsafe fn clone(
    plan: &Rc<Plan>,
    stack: &mut Stack,
    waits: bool,
) -> io::Result<libc::pid_t> {
    let mut flags = libc::CLONE_VM | libc::CLONE_CHILD_CLEARTID | libc::SIGCHLD;
    if waits || !raw::IS_NATIVE {
        flags |= libc::CLONE_VFORK;
    }
    if plan.table.spare > 0 {
        flags |= libc::CLONE_FILES;
    }
    let top = stack.as_mut_ptr_range().end.cast::<c_void>();
    let plan: *const Plan = Rc::as_ptr(plan);
    // SAFETY: the stack grows down from the end of `stack`, which is aligned to 16; it and the plan
    // live as long as the child uses them, as the caller promises. Both sides only read the plan
    // but for its report, which is atomic. The kernel writes an i32 to `is_here`, which is one.
    let pid = unsafe {
        let is_here = (*plan).report.is_here.as_ptr();
        let none = std::ptr::null_mut::<c_void>();
        libc::clone(begin, top, flags, plan.cast_mut().cast(), none, none, is_here)
    };
    if pid < 0 { Err(io::Error::last_os_error()) } else { Ok(pid) }
}

/// The child's first function: no allocation, no lock, no unwinding, no C library.
extern "C" fn begin(plan: *mut c_void) -> c_int {
    // SAFETY: `clone` passes a plan that outlives the child's stay in this memory. All else are
    // system calls with pointers out of that plan.
    unsafe {
        let plan = &*plan.cast_const().cast::<Plan>();
        if let Err(failure) = prepare(plan).and_then(|()| execute(plan)) {
            plan.report.set(failure);
        }
        leave()
    }
}

fn leave() -> ! {
    loop {
        // SAFETY: takes a number only, and does not return.
        unsafe { raw::call(libc::SYS_exit_group, [127, 0, 0, 0]) };
    }
}

type ChildResult = Result<(), Failure>;

/// # Safety
/// As for the call made.
unsafe fn step(step: Step, detail: c_int, number: c_long, arguments: [usize; 4]) -> ChildResult {
    // SAFETY: passed on to the caller.
    match raw::error_of(unsafe { raw::call(number, arguments) }) {
        Some(errno) => Err(Failure { step, detail, errno }),
        None => Ok(()),
    }
}

/// # Safety
/// Only in the child.
unsafe fn prepare(plan: &Plan) -> ChildResult {
    // The kernel's `sigaction` for SIG_DFL is all zero, whatever its exact size.
    let default = [0u64; 8];
    // SAFETY: system calls with pointers to live values of the kernel's own layout.
    unsafe {
        step(Step::Group, 0, libc::SYS_setpgid, [0; 4])?;
        for signal in plan.ignored.iter() {
            let arguments = [*signal as usize, default.as_ptr() as usize, 0, 8];
            raw::call(libc::SYS_rt_sigaction, arguments);
        }
        let close_range = |first: RawFd, flags: libc::c_uint| {
            [first as usize, u32::MAX as usize, flags as usize, 0]
        };
        if plan.table.spare > 0 {
            // Until here the table is the supervisor's; from here on it is a short one of our own.
            let arguments = close_range(plan.table.spare, libc::CLOSE_RANGE_UNSHARE);
            step(Step::Streams, -1, libc::SYS_close_range, arguments)?;
            plan.report.has_own_table.store(1, Ordering::Release);
        }
        for (wanted, fd) in (0..).zip(plan.table.streams) {
            // dup3(2) refuses what dup2(2) lets pass: a descriptor that is in its place.
            if fd != wanted {
                let arguments = [fd as usize, wanted as usize, 0, 0];
                step(Step::Streams, wanted, libc::SYS_dup3, arguments)?;
            }
        }
        // Whatever the supervisor itself was started with stays here, and nobody else's pipe is
        // kept open by a program that takes long to open. Older kernels do not know the call; the
        // supervisor's own descriptors close themselves anyway.
        raw::call(libc::SYS_close_range, close_range(3, 0));
        for (resource, limit) in &plan.limits {
            let arguments = [0, *resource as usize, &raw const *limit as usize, 0];
            step(Step::Limits, *resource, libc::SYS_prlimit64, arguments)?;
        }
        if let Some(mask) = plan.umask {
            raw::call(libc::SYS_umask, [mask as usize, 0, 0, 0]);
        }
        if let Some(credentials) = &plan.credentials {
            take_credentials(credentials)?;
        }
        if let Some(directory) = &plan.directory {
            let arguments = [directory.as_ptr() as usize, 0, 0, 0];
            step(Step::Directory, 0, libc::SYS_chdir, arguments)?;
        }
        if let Some(parent) = plan.parent {
            // After the change of user, which would clear it.
            let arguments = [libc::PR_SET_PDEATHSIG as usize, libc::SIGKILL as usize, 0, 0];
            step(Step::DeathSignal, 0, libc::SYS_prctl, arguments)?;
            if raw::call(libc::SYS_getppid, [0; 4]) != parent as isize {
                leave();
            }
        }
    }
    Ok(())
}

/// # Safety
/// Only in the child.
unsafe fn take_credentials(credentials: &Credentials) -> ChildResult {
    // SAFETY: system calls of this process only; the list of groups outlives them.
    unsafe {
        let own_uid = raw::call(libc::SYS_geteuid, [0; 4]);
        let own_gid = raw::call(libc::SYS_getegid, [0; 4]);
        let (gid, groups) = (credentials.gid as usize, &credentials.groups);
        // Without privilege, one may still "become" what one is.
        let is_same = credentials.uid.is_none_or(|uid| uid as isize == own_uid);
        if own_uid != 0 && is_same && gid as isize == own_gid {
            return Ok(());
        }
        let list = [groups.len(), groups.as_ptr() as usize, 0, 0];
        step(Step::Groups, 0, libc::SYS_setgroups, list)?;
        step(Step::GroupId, 0, libc::SYS_setresgid, [gid, gid, gid, 0])?;
        if let Some(uid) = credentials.uid {
            let uid = uid as usize;
            step(Step::UserId, 0, libc::SYS_setresuid, [uid, uid, uid, 0])?;
        }
    }
    Ok(())
}

/// Tries the candidates as `execvp` does: a file that may not be executed is remembered and passed
/// over.
///
/// # Safety
/// Only in the child.
unsafe fn execute(plan: &Plan) -> ChildResult {
    let failure = |detail, errno| Failure { step: Step::Execute, detail, errno };
    let none = [0u64; 2];
    let mut refused = None;
    let mut last = libc::ENOENT;
    // SAFETY: the mask is as large as the kernel is told; the lists end with null.
    unsafe {
        let arguments = [libc::SIG_SETMASK as usize, none.as_ptr() as usize, 0, 8];
        raw::call(libc::SYS_rt_sigprocmask, arguments);
        for (index, candidate) in (0..).zip(plan.candidates.each()) {
            let arguments = [candidate as usize, plan.argv.list(), plan.envp.list(), 0];
            let result = raw::call(libc::SYS_execve, arguments);
            last = raw::error_of(result).unwrap_or(0);
            match last {
                libc::ENOENT | libc::ENOTDIR => {}
                libc::EACCES => refused = refused.or(Some(index)),
                _ => return Err(failure(index, last)),
            }
        }
    }
    Err(refused.map_or(failure(0, last), |index| failure(index, libc::EACCES)))
}
