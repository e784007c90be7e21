//! The socket's file: taken over when it is stale, never when somebody answers; removed at the end
//! when it is still one's own.

use std::fmt;
use std::fs::{self, Metadata};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net;
use std::path::{Path, PathBuf};

use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, UnixAddr};
use nix::sys::stat::{Mode, fchmod};
use tokio::net::UnixListener;

/// The longest path that a socket may have: `sun_path` has 108 bytes, one for the end (`unix(7)`).
pub const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Why nothing can listen at a path.
#[derive(Debug)]
pub struct ListenError {
    path: PathBuf,
    problem: ListenProblem,
}

/// What keeps one from listening.
#[derive(Debug)]
pub enum ListenProblem {
    /// The path is longer than the kernel allows.
    TooLong(usize),
    /// The directory is missing.
    NoDirectory,
    /// There is something else at the path.
    NoSocket,
    /// A supervisor answers there.
    InUse,
    /// The system refuses.
    System(io::Error),
}

impl ListenError {
    /// Gives what keeps one from listening.
    pub fn into_problem(self) -> ListenProblem {
        self.problem
    }
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot listen on the control socket {}: ", self.path.display())?;
        match &self.problem {
            ListenProblem::TooLong(bytes) => write!(
                f,
                "the path has {bytes} bytes, a socket's may have {SOCKET_PATH_BYTES_MAX}; \
                 choose a shorter one for control.socket"
            ),
            ListenProblem::NoDirectory => write!(
                f,
                "the directory {} does not exist; create it, or choose another control.socket",
                parent(&self.path).display()
            ),
            ListenProblem::NoSocket => {
                f.write_str("there is a file that is no socket; it is left alone")
            }
            ListenProblem::InUse => f.write_str("another supervisor answers there"),
            ListenProblem::System(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for ListenError {}

/// A listening socket with its file.
#[derive(Debug)]
pub struct Socket {
    path: PathBuf,
    identity: Identity,
    /// Keeps the file's inode in use, so that no later file can have the same identity.
    _pin: OwnedFd,
}

/// Which file it is, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    fn of(metadata: &Metadata) -> Identity {
        Identity { device: metadata.dev(), inode: metadata.ino() }
    }
}

impl Socket {
    /// Listens at `path`, with mode 0600 from the first moment on.
    pub fn listen(path: &Path) -> Result<(Socket, UnixListener), ListenError> {
        listen(path).map_err(|problem| ListenError { path: path.to_owned(), problem })
    }

    /// Gives the path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let found = fs::symlink_metadata(&self.path);
        if found.is_ok_and(|found| Identity::of(&found) == self.identity) {
            // Nothing to be done about a failure: the next one finds it stale.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn listen(path: &Path) -> Result<(Socket, UnixListener), ListenProblem> {
    let bytes = path.as_os_str().len();
    if bytes > SOCKET_PATH_BYTES_MAX {
        return Err(ListenProblem::TooLong(bytes));
    }
    if !parent(path).is_dir() {
        return Err(ListenProblem::NoDirectory);
    }
    remove_stale(path)?;
    let system = |error: nix::Error| match error {
        nix::Error::EADDRINUSE => ListenProblem::InUse,
        error => ListenProblem::System(error.into()),
    };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket::socket(AddressFamily::Unix, SockType::Stream, flags, None).map_err(system)?;
    // The file that `bind` makes takes the mode of the descriptor: there is no moment at which
    // somebody else could connect.
    fchmod(&fd, Mode::S_IRUSR | Mode::S_IWUSR).map_err(system)?;
    let address = UnixAddr::new(path).map_err(system)?;
    socket::bind(fd.as_raw_fd(), &address).map_err(system)?;
    let metadata = fs::symlink_metadata(path).map_err(ListenProblem::System)?;
    let pin = fd.try_clone().map_err(ListenProblem::System)?;
    let socket = Socket { path: path.to_owned(), identity: Identity::of(&metadata), _pin: pin };
    socket::listen(&fd, Backlog::MAXALLOWABLE).map_err(system)?;
    let listener = UnixListener::from_std(net::UnixListener::from(fd));
    Ok((socket, listener.map_err(ListenProblem::System)?))
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Removes a socket that nobody listens on any more.
fn remove_stale(path: &Path) -> Result<(), ListenProblem> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(ListenProblem::System(error)),
    };
    if !metadata.file_type().is_socket() {
        return Err(ListenProblem::NoSocket);
    }
    if is_answered(path)? {
        return Err(ListenProblem::InUse);
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(ListenProblem::System(error)),
        _ => Ok(()),
    }
}

/// Tries to connect, without waiting: a full queue belongs to somebody who lives.
fn is_answered(path: &Path) -> Result<bool, ListenProblem> {
    let system = |error: nix::Error| ListenProblem::System(error.into());
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket::socket(AddressFamily::Unix, SockType::Stream, flags, None).map_err(system)?;
    let address = UnixAddr::new(path).map_err(system)?;
    match socket::connect(fd.as_raw_fd(), &address) {
        Ok(()) | Err(nix::Error::EAGAIN) => Ok(true),
        Err(nix::Error::ECONNREFUSED | nix::Error::ENOENT) => Ok(false),
        // A socket of another kind: somebody else's.
        Err(nix::Error::EPROTOTYPE) => Err(ListenProblem::NoSocket),
        Err(error) => Err(system(error)),
    }
}
