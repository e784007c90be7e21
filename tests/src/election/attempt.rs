//! A write on its way to the protected resource, and how the resource keeps it.

use std::str::FromStr;

use super::moment::Moment;

/// Who writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Writer {
    /// The job with `while`.
    Lead,
    /// What that job left in the background.
    Child,
    /// The job with `stopWith`, told by the other one that it is the leader's.
    Serve,
    /// A planted one that nobody ends.
    Rogue,
}

impl Writer {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Writer::Lead => "lead",
            Writer::Child => "child",
            Writer::Serve => "serve",
            Writer::Rogue => "rogue",
        }
    }
}

impl FromStr for Writer {
    type Err = String;

    fn from_str(word: &str) -> Result<Writer, String> {
        [Writer::Lead, Writer::Child, Writer::Serve, Writer::Rogue]
            .into_iter()
            .find(|writer| writer.word() == word)
            .ok_or_else(|| format!("cannot tell who {word:?} is"))
    }
}

/// What a writer sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// The member's number, from 1.
    pub(super) member: usize,
    /// How many times that member's container was started before.
    pub(super) life: u32,
    /// The fencing token of the term.
    pub(super) token: u64,
    /// Counts what this process has sent.
    pub(super) number: u64,
    pub(super) writer: Writer,
    /// The writer's own clock, which nobody else's agrees with.
    pub(super) clock: u64,
}

impl Message {
    pub(super) fn to_text(&self) -> String {
        let Message { member, life, token, number, writer, clock } = self;
        format!("{member} {life} {token} {number} {} {clock}", writer.word())
    }

    pub(super) fn read(text: &str) -> Result<Message, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let [member, life, token, number, writer, clock] = words[..] else {
            return Err(format!("cannot read {text:?} as a write"));
        };
        Ok(Message {
            member: read(member)?,
            life: read(life)?,
            token: read(token)?,
            number: read(number)?,
            writer: writer.parse()?,
            clock: read(clock)?,
        })
    }
}

/// A write that has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attempt {
    pub(super) at: Moment,
    pub(super) message: Message,
    /// Whether the resource took it.
    pub(super) is_accepted: bool,
}

impl Attempt {
    pub(super) fn to_text(&self) -> String {
        let verdict = if self.is_accepted { "accepted" } else { "refused" };
        format!("{} {verdict} {}", self.at, self.message.to_text())
    }

    pub(super) fn read(line: &str) -> Result<Attempt, String> {
        let mut parts = line.splitn(3, ' ');
        let mut part = || parts.next().ok_or_else(|| format!("cannot read {line:?}"));
        let at = read(part()?)?;
        let is_accepted = match part()? {
            "accepted" => true,
            "refused" => false,
            other => return Err(format!("cannot tell what {other:?} is")),
        };
        Ok(Attempt { at, message: Message::read(part()?)?, is_accepted })
    }
}

fn read<T: FromStr>(word: &str) -> Result<T, String> {
    word.parse().map_err(|_| format!("cannot read {word:?} as a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_read_as_they_were_written() {
        let message =
            Message { member: 2, life: 3, token: 44, number: 5, writer: Writer::Serve, clock: 6 };
        let attempt = Attempt { at: 77, message, is_accepted: false };
        assert_eq!(Attempt::read(&attempt.to_text()), Ok(attempt));
        assert!(Attempt::read("77 taken 2 3 44 5 serve 6").is_err());
        assert!(Attempt::read("77 refused 2 3 44 5 serve").is_err());
    }
}
