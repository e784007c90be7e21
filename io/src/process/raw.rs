//! System calls without the C library, for a child that shares memory with the running supervisor.
//!
//! The C library keeps `errno` in the memory of the thread that both would write to; the kernel
//! gives it back in a register.

use std::ffi::{c_int, c_long};

/// Whether the child may run beside the supervisor. Where we do not know the instruction, the
/// supervisor must wait for it instead (`CLONE_VFORK`): then nobody else uses `errno` meanwhile.
pub(super) const IS_NATIVE: bool =
    cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) && cfg!(target_pointer_width = "64");

/// Makes a system call; an error is the negative error number.
///
/// # Safety
/// As for the call made: pointers among the arguments must be good for what it does with them.
#[cfg(all(target_arch = "x86_64", target_pointer_width = "64"))]
pub(super) unsafe fn call(number: c_long, arguments: [usize; 4]) -> isize {
    let [a, b, c, d] = arguments;
    let result: isize;
    // SAFETY: the registers are those of the kernel's calling convention; it changes rcx and r11.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a,
            in("rsi") b,
            in("rdx") c,
            in("r10") d,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// Makes a system call; an error is the negative error number.
///
/// # Safety
/// As for the call made: pointers among the arguments must be good for what it does with them.
#[cfg(all(target_arch = "aarch64", target_pointer_width = "64"))]
pub(super) unsafe fn call(number: c_long, arguments: [usize; 4]) -> isize {
    let [a, b, c, d] = arguments;
    let result: isize;
    // SAFETY: the registers are those of the kernel's calling convention.
    unsafe {
        std::arch::asm!(
            "svc 0",
            in("x8") number as isize,
            inlateout("x0") a => result,
            in("x1") b,
            in("x2") c,
            in("x3") d,
            options(nostack),
        );
    }
    result
}

/// Makes a system call; an error is the negative error number.
///
/// # Safety
/// As for the call made: pointers among the arguments must be good for what it does with them.
#[cfg(not(all(
    any(target_arch = "x86_64", target_arch = "aarch64"),
    target_pointer_width = "64"
)))]
pub(super) unsafe fn call(number: c_long, arguments: [usize; 4]) -> isize {
    let [a, b, c, d] = arguments;
    // SAFETY: passed on to the caller.
    unsafe {
        match libc::syscall(number, a, b, c, d) {
            -1 => -(*libc::__errno_location() as isize),
            result => result as isize,
        }
    }
}

/// Gives the error number of a result, if it is one.
pub(super) fn error_of(result: isize) -> Option<c_int> {
    // The kernel's errors are the last page of the address space.
    (-4095..0).contains(&result).then_some(-(result as c_int))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_and_errors_come_back() {
        // SAFETY: the two calls take numbers only.
        let (own, error) = unsafe {
            (call(libc::SYS_getpid, [0; 4]), call(libc::SYS_dup3, [usize::MAX, 1000, 0, 0]))
        };
        assert_eq!(own, std::process::id() as isize);
        assert_eq!(error_of(own), None);
        assert_eq!(error_of(error), Some(libc::EBADF));
    }
}
