//! What makes a process ready to act when others are not: rank, memory, and no ties to others.

use std::io::Write;

use steersman_engine::input::KeeperPowers;

/// What a terminal, a stop or a reader that has gone would end us with.
const IGNORED: [libc::c_int; 8] = [
    libc::SIGTERM,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGHUP,
    libc::SIGPIPE,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGTSTP,
];

/// Cuts all ties but standard input and output: descriptors, session, folder, signals.
///
/// Nothing of it can fail for a process that was just started; where it does, the tie stays.
pub(crate) fn cut_ties() {
    for signal in IGNORED {
        super::system::set_disposition(signal, libc::SIG_IGN);
    }
    let _ = nix::unistd::setsid();
    let _ = nix::unistd::chdir("/");
    // SAFETY: what is closed belongs to nobody in this process, which has opened nothing yet.
    unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) };
}

/// Takes what the system lets us have; says what that is.
pub(crate) fn take_powers() -> KeeperPowers {
    KeeperPowers {
        is_realtime: become_realtime(),
        is_locked: lock_memory(),
        is_spared: become_spared(),
    }
}

fn become_realtime() -> bool {
    // SAFETY: all-zero bytes are a valid `sched_param`, which outlives the call.
    unsafe {
        let mut param: libc::sched_param = std::mem::zeroed();
        param.sched_priority = libc::sched_get_priority_min(libc::SCHED_FIFO);
        libc::sched_setscheduler(0, libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, &raw const param)
            == 0
    }
}

/// Keeps every page that has been used: what the first look has touched is what each needs.
///
/// Later memory is left free: where the limit is small, being refused it would end us.
fn lock_memory() -> bool {
    // SAFETY: takes a number only.
    unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_ONFAULT) == 0 }
}

fn become_spared() -> bool {
    let file = std::fs::File::options().write(true).open("/proc/self/oom_score_adj");
    file.is_ok_and(|mut file| file.write_all(b"-1000").is_ok())
}
