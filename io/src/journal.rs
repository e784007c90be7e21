//! The log as the driver sees it: what is worth a record, and what happens when nobody reads.

use std::io;
use std::time::Duration;

use steersman_engine::effect::Level;
use steersman_engine::front::{LogLevel, Logging};

use crate::log::{self, Fields, Formatter};
use crate::writer::Writer;

/// Takes records and lines of jobs, in order.
#[derive(Debug)]
pub struct Journal {
    level: LogLevel,
    formatter: Formatter,
    writer: Writer,
    wall_ns: i128,
    dropped: u64,
}

impl Journal {
    /// Opens the log.
    ///
    /// # Errors
    /// When a log file cannot be opened.
    pub fn open(settings: &Logging) -> io::Result<Journal> {
        Ok(Journal {
            level: settings.level,
            formatter: Formatter::new(settings.format),
            writer: Writer::open(&settings.output)?,
            wall_ns: 0,
            dropped: 0,
        })
    }

    /// Puts new settings in force.
    ///
    /// # Errors
    /// When a log file cannot be opened; everything then stays as it was.
    pub fn apply(&mut self, settings: &Logging) -> io::Result<()> {
        self.writer.switch(&settings.output)?;
        self.level = settings.level;
        self.formatter = Formatter::new(settings.format);
        Ok(())
    }

    /// Says what time it is, for all records from now on.
    pub fn set_time(&mut self, wall_ns: i128) {
        self.wall_ns = wall_ns;
    }

    /// Tells whether a record of this level would be written.
    pub fn wants(&self, level: Level) -> bool {
        log::is_wanted(level, self.level)
    }

    /// Writes a record of the supervisor's own; drops it, and counts that, when nobody reads.
    pub fn record(&mut self, level: Level, fields: Fields<'_>, message: &str) {
        if !self.wants(level) {
            return;
        }
        if self.writer.is_full() {
            self.dropped += 1;
            return;
        }
        self.admit_dropped();
        self.put(level, fields, message.as_bytes());
    }

    /// Writes a line of a job.
    pub fn line(&mut self, fields: Fields<'_>, line: &[u8]) {
        if !self.wants(Level::Info) {
            return;
        }
        if self.writer.is_over_full() {
            self.dropped += 1;
            return;
        }
        self.put(Level::Info, fields, line);
    }

    /// Passes bytes through to standard output.
    pub fn raw(&mut self, bytes: &[u8]) {
        if self.writer.is_over_full() {
            self.dropped += 1;
        } else {
            self.writer.raw().extend_from_slice(bytes);
        }
    }

    /// Tells whether the pipes of jobs are to be left unread.
    pub fn is_full(&self) -> bool {
        self.writer.is_full()
    }

    /// Tells whether not even the rest of an ended process's output is to be taken.
    pub fn is_over_full(&self) -> bool {
        self.writer.is_over_full()
    }

    /// Waits until [`Journal::is_full`] may have become false.
    pub async fn room(&self) {
        self.writer.room().await;
    }

    /// Hands over everything written so far; never waits.
    pub fn flush(&mut self) {
        if self.dropped > 0 && !self.writer.is_full() {
            self.admit_dropped();
        }
        self.writer.flush();
    }

    /// Opens log files again.
    pub fn reopen(&mut self) {
        self.writer.reopen();
    }

    /// Waits until everything is written, as long as there is progress and no longer than `most`.
    pub fn drain(&mut self, patience: Duration, most: Duration) {
        self.flush();
        self.writer.drain(patience, most);
    }

    fn admit_dropped(&mut self) {
        let dropped = std::mem::take(&mut self.dropped);
        if dropped > 0 && self.wants(Level::Warn) {
            let message = format!("{dropped} records dropped: the log was not read fast enough");
            self.put(Level::Warn, Fields::default(), message.as_bytes());
        }
    }

    fn put(&mut self, level: Level, fields: Fields<'_>, message: &[u8]) {
        self.formatter.write(self.writer.log(), self.wall_ns, level, fields, message);
    }
}
