//! The token and the password that requests carry. Neither is ever printed.

use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use hyper::header::HeaderValue;
use steersman_engine::front::{Agent, Secret};

use super::failure::Failure;
use super::files::{self, FileStamp};
use crate::limits::TOKEN_BYTES_MAX;

/// Where the token comes from.
#[derive(Debug)]
pub(super) enum Token {
    /// There is none.
    None,
    /// It was given.
    Given(Secret),
    /// It is in a file.
    File(TokenFile),
}

/// A token in a file that others may replace.
pub(super) struct TokenFile {
    path: PathBuf,
    latest: Mutex<Option<(FileStamp, HeaderValue)>>,
}

impl Token {
    pub(super) fn of(agent: &Agent) -> Token {
        match (&agent.token, &agent.token_file) {
            (Some(token), _) if !token.0.is_empty() => Token::Given(token.clone()),
            (_, Some(path)) if !path.is_empty() => {
                Token::File(TokenFile { path: path.into(), latest: Mutex::new(None) })
            }
            (_, _) => Token::None,
        }
    }

    /// Gives the header's value as of now.
    pub(super) fn header(&self) -> Result<Option<HeaderValue>, Failure> {
        match self {
            Token::None => Ok(None),
            Token::Given(token) => secret_header(&token.0, "the token").map(Some),
            Token::File(file) => file.header().map(Some),
        }
    }
}

impl TokenFile {
    fn header(&self) -> Result<HeaderValue, Failure> {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = FileStamp::of(&self.path);
        if let Some((of, header)) = &*latest
            && stamp.is_none_or(|stamp| stamp == *of)
        {
            // Unchanged, or away for a moment while somebody replaces it.
            return Ok(header.clone());
        }
        let path = self.path.display();
        let cannot = |error: io::Error| {
            let reason = files::reason(&error);
            Failure::Secret(format!("cannot read the token file {path}: {reason}"))
        };
        let Some(stamp) = stamp else {
            return Err(cannot(io::Error::from(io::ErrorKind::NotFound)));
        };
        if stamp.size() > TOKEN_BYTES_MAX {
            return Err(cannot(io::Error::from(io::ErrorKind::FileTooLarge)));
        }
        let text = fs::read_to_string(&self.path).map_err(cannot)?;
        let header = secret_header(text.trim(), &format!("the token in {path}"))?;
        *latest = Some((stamp, header.clone()));
        Ok(header)
    }
}

impl fmt::Debug for TokenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenFile").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Gives `Authorization` for `user:password`.
pub(super) fn basic_auth(secret: &Secret) -> HeaderValue {
    let text = format!("Basic {}", base64(secret.0.as_bytes()));
    let mut value = HeaderValue::try_from(text).expect("base64 has no control characters");
    value.set_sensitive(true);
    value
}

fn secret_header(text: &str, what: &str) -> Result<HeaderValue, Failure> {
    let mut value = HeaderValue::from_str(text).map_err(|_| {
        Failure::Secret(format!("cannot send {what}: no header may have such characters"))
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// Encodes as of RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let at = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for position in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * position)) as usize & 63];
            text.push(if position <= group.len() { letter as char } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use steersman_engine::front::Scheme;

    #[test]
    fn base64_is_that_of_the_standard() {
        let pairs = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
            ("user:pässword?>", "dXNlcjpww6Rzc3dvcmQ/Pg=="),
        ];
        for (plain, encoded) in pairs {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }

    #[test]
    fn secrets_are_never_printed() {
        let mut agent = Agent::new("c:8500", Scheme::Http);
        agent.token = Some(Secret("hush-hush".into()));
        agent.auth = Some(Secret("me:hush-hush".into()));
        let token = Token::of(&agent);
        let header = token.header().unwrap().unwrap();
        let auth = basic_auth(agent.auth.as_ref().unwrap());
        let printed = format!("{agent:?} {token:?} {header:?} {auth:?}");
        assert!(!printed.contains("hush"), "{printed}");
        assert!(!printed.contains("bWU6"), "{printed}");
        let failure = secret_header("hush\nhush", "the token").unwrap_err();
        assert!(!format!("{failure:?} {failure}").contains("hush"));
    }

    #[test]
    fn token_file_is_read_again_when_it_changed_and_kept_while_it_is_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let mut agent = Agent::new("c:8500", Scheme::Http);
        agent.token_file = Some(path.display().to_string());
        let token = Token::of(&agent);
        let missing = token.header().unwrap_err().to_string();
        assert!(missing.starts_with("cannot read the token file"), "{missing}");
        fs::write(&path, "first\n").unwrap();
        assert_eq!(token.header().unwrap().unwrap(), "first");
        fs::write(&path, "second!\n").unwrap();
        assert_eq!(token.header().unwrap().unwrap(), "second!");
        fs::remove_file(&path).unwrap();
        assert_eq!(token.header().unwrap().unwrap(), "second!");
        fs::write(&path, "third").unwrap();
        assert_eq!(token.header().unwrap().unwrap(), "third");
    }
}
