//! The environment of jobs: the supervisor's own, what was set since, and what a command adds.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, OsString};
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::OpenOptionsExt;
use std::rc::Rc;

use steersman_engine::config::Command;

use crate::limits::ENV_FILE_BYTES_MAX;

/// Marks every process of a run, so that what it leaves behind is known to be its own.
pub(super) const RUN_MARKER: &str = "STEERSMAN_RUN";

/// Names the supervisor in the environment of its jobs, as v3 did.
pub(super) const SUPERVISOR_PID: &str = "CONTAINERPILOT_PID";

/// The variables that every job starts from, each kept as `NAME=value`.
#[derive(Debug)]
pub(super) struct Environment {
    variables: BTreeMap<Box<[u8]>, Rc<CStr>>,
}

impl Environment {
    /// Builds one from the supervisor's own variables.
    pub(super) fn new(inherited: impl Iterator<Item = (OsString, OsString)>) -> Environment {
        let pairs = inherited.map(|(name, value)| (name.into_vec(), value.into_vec()));
        let mut variables: BTreeMap<Box<[u8]>, Rc<CStr>> = pairs
            .filter_map(|(name, value)| Some((Box::from(&*name), entry(&name, &value)?)))
            .collect();
        let pid = std::process::id().to_string();
        if let Some(entry) = entry(SUPERVISOR_PID.as_bytes(), pid.as_bytes()) {
            variables.insert(Box::from(SUPERVISOR_PID.as_bytes()), entry);
        }
        variables.remove(RUN_MARKER.as_bytes());
        Environment { variables }
    }

    /// Sets a variable for later starts; `None` hides it.
    pub(super) fn set(&mut self, name: &str, value: Option<&str>) {
        match value.and_then(|value| entry(name.as_bytes(), value.as_bytes())) {
            Some(entry) => self.variables.insert(Box::from(name.as_bytes()), entry),
            None => self.variables.remove(name.as_bytes()),
        };
    }

    /// Gives the value of a variable.
    pub(super) fn value(&self, name: &str) -> Option<&[u8]> {
        let entry = self.variables.get(name.as_bytes())?.to_bytes();
        entry.get(name.len() + 1..)
    }

    /// Gives the entries that `own` does not replace.
    pub(super) fn without<'a>(&'a self, own: &'a Own) -> impl Iterator<Item = &'a Rc<CStr>> {
        self.variables.iter().filter(|(name, _)| !own.0.contains_key(*name)).map(|(_, value)| value)
    }
}

/// The variables that one start adds.
#[derive(Debug, Default)]
pub(super) struct Own(BTreeMap<Box<[u8]>, Rc<CStr>>);

impl Own {
    /// Collects them: the file's, then the configuration's, then the marker of the run.
    pub(super) fn collect(command: &Command, marker: &str) -> Result<Own, String> {
        let mut own = Own::default();
        if let Some(path) = &command.env_file {
            let text = read_env_file(path)?;
            for (number, line) in text.lines().enumerate() {
                if let Some((name, value)) = parse_line(line, path, number + 1)? {
                    own.set(name, value)?;
                }
            }
        }
        for (name, value) in &command.env {
            own.set(name, value)?;
        }
        own.set(RUN_MARKER, marker)?;
        Ok(own)
    }

    /// Gives the value of a variable.
    pub(super) fn value(&self, name: &str) -> Option<&[u8]> {
        self.0.get(name.as_bytes())?.to_bytes().get(name.len() + 1..)
    }

    /// Gives the entries.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Rc<CStr>> {
        self.0.values()
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let made = entry(name.as_bytes(), value.as_bytes())
            .ok_or_else(|| format!("the variable \"{name}\" or its value cannot be used"))?;
        self.0.insert(Box::from(name.as_bytes()), made);
        Ok(())
    }
}

fn entry(name: &[u8], value: &[u8]) -> Option<Rc<CStr>> {
    if name.is_empty() || name.contains(&b'=') {
        return None;
    }
    Some(CString::new([name, b"=", value].concat()).ok()?.as_c_str().into())
}

fn read_env_file(path: &str) -> Result<String, String> {
    let broken = |error: &dyn std::fmt::Display| format!("envFile \"{path}\": {error}");
    // Without O_NONBLOCK a pipe in this place would stop the supervisor.
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .map_err(|error| broken(&error))?;
    if !file.metadata().map_err(|error| broken(&error))?.is_file() {
        return Err(broken(&"not a file"));
    }
    let mut text = String::new();
    let room = ENV_FILE_BYTES_MAX + 1;
    file.take(room).read_to_string(&mut text).map_err(|error| broken(&error))?;
    if text.len() as u64 == room {
        return Err(broken(&format_args!("longer than {ENV_FILE_BYTES_MAX} bytes")));
    }
    Ok(text)
}

/// Reads `NAME=value`, perhaps after `export` and perhaps with quotes around the whole value.
fn parse_line<'a>(
    line: &'a str,
    path: &str,
    number: usize,
) -> Result<Option<(&'a str, &'a str)>, String> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let line = line.strip_prefix("export ").map_or(line, str::trim_start);
    let Some((name, value)) = line.split_once('=') else {
        return Err(format!("envFile \"{path}\": line {number} is not NAME=value"));
    };
    let (name, value) = (name.trim_end(), value.trim_start());
    if name.is_empty() {
        return Err(format!("envFile \"{path}\": line {number} has no name before the ="));
    }
    let unquoted = ['"', '\'']
        .iter()
        .find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote))
        .unwrap_or(value);
    Ok(Some((name, unquoted)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts<'a>(entries: impl Iterator<Item = &'a Rc<CStr>>) -> Vec<&'a str> {
        entries.map(|entry| entry.to_str().unwrap()).collect()
    }

    #[test]
    fn later_sources_win_and_the_marker_is_always_there() {
        let pairs = [("A", "1"), ("B", "2"), (RUN_MARKER, "outer.1")];
        let mut environment = Environment::new(
            pairs.into_iter().map(|(n, v)| (OsString::from(n), OsString::from(v))),
        );
        environment.set("C", Some("x=y"));
        environment.set("A", None);
        let mut command = Command::new(["true"]);
        command.env = vec![("B".into(), "9".into())];
        let own = Own::collect(&command, "job.7").unwrap();
        let all: Vec<&str> =
            texts(environment.without(&own)).into_iter().chain(texts(own.entries())).collect();
        let pid = format!("{SUPERVISOR_PID}={}", std::process::id());
        assert_eq!(all, ["C=x=y", &pid, "B=9", "STEERSMAN_RUN=job.7"]);
        assert_eq!(environment.value("C"), Some(&b"x=y"[..]));
    }

    #[test]
    fn env_file_lines_are_read_as_people_write_them() {
        let read = |line| parse_line(line, "f", 3);
        assert_eq!(read("  # note"), Ok(None));
        assert_eq!(read(""), Ok(None));
        assert_eq!(read("A=b=c d"), Ok(Some(("A", "b=c d"))));
        assert_eq!(read("export A=\"b c\""), Ok(Some(("A", "b c"))));
        assert_eq!(read("A=' b'"), Ok(Some(("A", " b"))));
        assert_eq!(read("A="), Ok(Some(("A", ""))));
        assert!(read("no sign").unwrap_err().contains("line 3"));
        assert!(read("=x").is_err());
    }

    #[test]
    fn env_file_that_is_no_file_is_refused_and_never_waited_for() {
        assert!(read_env_file("/").unwrap_err().contains("not a file"));
        assert!(read_env_file("/nonexistent/f").is_err());
    }
}
