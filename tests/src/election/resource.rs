//! The protected resource: a process that everybody can always reach, takes no write with an older
//! token than one that it has seen, and keeps what arrived, in the order in which it arrived.

use std::fs::File;
use std::io::{BufWriter, ErrorKind, Write, stdout};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use super::attempt::{Attempt, Message, Writer};
use super::moment::{Moment, nanos, now};

/// What ends the resource.
pub(super) const OVER: &str = "over";

/// How often it says what it has seen.
const SAY_EVERY: Duration = Duration::from_millis(20);

/// What the resource says about itself, one line at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    /// The newest token.
    pub(super) token: u64,
    /// Whose it is, from 1; 0 before the first.
    pub(super) member: usize,
    pub(super) life: u32,
    /// When the job with `while` last wrote with it; 0 when it has not.
    pub(super) led: Moment,
    /// When the job with `stopWith` last wrote with it; 0 when it has not.
    pub(super) served: Moment,
}

impl Standing {
    fn to_text(self) -> String {
        let Standing { token, member, life, led, served } = self;
        format!("{token} {member} {life} {led} {served}")
    }

    pub(super) fn read(line: &str) -> Option<Standing> {
        let words: Vec<u64> =
            line.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
        let [token, member, life, led, served] = words[..] else { return None };
        let (member, life) = (usize::try_from(member).ok()?, u32::try_from(life).ok()?);
        Some(Standing { token, member, life, led, served })
    }

    /// Takes a write or refuses it.
    fn admit(&mut self, message: &Message, at: Moment) -> bool {
        if message.token < self.token {
            return false;
        }
        if message.token > self.token {
            let Message { member, life, token, .. } = *message;
            *self = Standing { token, member, life, ..Standing::default() };
        }
        match message.writer {
            Writer::Lead => self.led = at,
            Writer::Serve => self.served = at,
            Writer::Child | Writer::Rogue => {}
        }
        true
    }
}

/// Guards the resource at a socket until it is told that it is over; keeps everything in a file.
///
/// # Errors
///
/// The socket or the file cannot be made or used.
pub fn guard(socket: &Path, log: &Path) -> std::io::Result<()> {
    let receiver = UnixDatagram::bind(socket)?;
    receiver.set_read_timeout(Some(SAY_EVERY))?;
    let mut log = BufWriter::new(File::create(log)?);
    let mut standing = Standing::default();
    let mut said = 0;
    let mut buffer = [0; 256];
    loop {
        match receiver.recv(&mut buffer) {
            Ok(length) => {
                let at = now();
                let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                if text == OVER {
                    break;
                }
                let message = Message::read(&text)
                    .map_err(|error| std::io::Error::new(ErrorKind::InvalidData, error))?;
                let is_accepted = standing.admit(&message, at);
                writeln!(log, "{}", Attempt { at, message, is_accepted }.to_text())?;
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
        if now() - said > nanos(SAY_EVERY) {
            said = now();
            println!("{}", standing.to_text());
            stdout().flush()?;
        }
    }
    log.flush()
}
