//! Files that may change while we run: tokens and certificates are renewed by others.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What a file looked like: any of it differs once it was replaced or written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileStamp {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl FileStamp {
    /// Looks at a file; none when there is nothing to be seen.
    ///
    /// This is a system call on the thread of decisions. It takes a microsecond on the file systems
    /// that secrets are mounted on, and a thread for it would cost more.
    pub(super) fn of(path: &Path) -> Option<FileStamp> {
        let metadata = fs::metadata(path).ok()?;
        Some(FileStamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    /// Tells how many bytes there were.
    pub(super) fn size(&self) -> u64 {
        self.size
    }
}

/// Says for people why a file cannot be read.
pub(super) fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => String::from("no such file"),
        kind @ (io::ErrorKind::PermissionDenied
        | io::ErrorKind::FileTooLarge
        | io::ErrorKind::IsADirectory) => kind.to_string(),
        _ => error.to_string(),
    }
}
