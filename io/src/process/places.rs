//! Low descriptors in which children find where to write, so that their tables of descriptors can
//! be short: copying ours costs more than all the rest once there are a thousand jobs.
//!
//! A child begins with the supervisor's own table (`CLONE_FILES`) and at once takes a copy of its
//! beginning (`CLOSE_RANGE_UNSHARE`). Until it has, its place must not change.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::fcntl::OFlag;

/// How many children may be between their birth and their own table: they are there for
/// microseconds. One more gets a copy of the whole table.
const PLACES_MAX: usize = 8;

/// The places, and what they hold when nobody uses them.
#[derive(Debug)]
pub(super) struct Places {
    null: OwnedFd,
    places: Vec<OwnedFd>,
    is_used: [bool; PLACES_MAX],
    has_close_range: bool,
}

impl Places {
    /// Takes low descriptors. To be called early, before there are others.
    pub(super) fn new() -> io::Result<Places> {
        let null = open_null()?;
        // SAFETY: a range that holds no descriptor; this only asks whether the call exists.
        let probe = unsafe {
            libc::syscall(libc::SYS_close_range, libc::c_uint::MAX, libc::c_uint::MAX, 0)
        };
        let has_close_range = probe == 0;
        let count = if has_close_range { PLACES_MAX } else { 0 };
        let places = (0..count).map(|_| null.try_clone()).collect::<io::Result<_>>()?;
        Ok(Places { null, places, is_used: [false; PLACES_MAX], has_close_range })
    }

    /// Gives a descriptor with nothing to read.
    pub(super) fn null(&self) -> RawFd {
        self.null.as_raw_fd()
    }

    /// Gives the first descriptor that no child needs; zero when children copy the whole table.
    pub(super) fn spare(&self) -> RawFd {
        if !self.has_close_range {
            return 0;
        }
        let highest = self.places.iter().map(AsRawFd::as_raw_fd).max();
        highest.unwrap_or(0).max(self.null()) + 1
    }

    /// Puts a pipe into a free place; `None` when there is none.
    pub(super) fn take(&mut self, pipe: BorrowedFd<'_>) -> Option<(usize, RawFd)> {
        let index = (0..self.places.len()).find(|index| !self.is_used[*index])?;
        let place = self.places.get(index)?;
        put(pipe, place).ok()?;
        self.is_used[index] = true;
        Some((index, place.as_raw_fd()))
    }

    /// Frees a place: nobody but the process may keep its pipe open.
    pub(super) fn give_back(&mut self, index: usize) {
        if let Some(place) = self.places.get(index) {
            // It fails for bad descriptors only, and both are ours.
            let _kept = put(self.null.as_fd(), place);
            self.is_used[index] = false;
        }
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
