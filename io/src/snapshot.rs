//! What watches have read, as files: nobody who reacts to a change has to ask again.
//!
//! `SOCKET.watches/NAME.json` beside the control socket (a directory that is there and usually in
//! memory) holds the last reading, replaced in one step. It is written before the reactions start.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use steersman_engine::consul::{ConsulFailure, ConsulOp, ConsulReply, FileState, Reading};
use tokio::sync::mpsc;

/// Keeps the files, and looks at those that are watched.
#[derive(Clone, Debug)]
pub struct Snapshots {
    socket: String,
    answers: mpsc::Sender<(ConsulOp, ConsulReply)>,
}

impl Snapshots {
    /// Keeps them beside a control socket; what it sees goes to `answers`.
    pub fn new(socket: String, answers: mpsc::Sender<(ConsulOp, ConsulReply)>) -> Snapshots {
        Snapshots { socket, answers }
    }

    /// Writes a reading; gives the file's path.
    ///
    /// # Errors
    /// The directory or file cannot be written; the reading before stays as it was.
    pub fn write(&self, watch: &str, reading: &Reading) -> Result<String, String> {
        write(&self.socket, watch, reading)
    }

    /// Looks at a file off the decision path; the answer names the question.
    pub fn look(&self, op: ConsulOp, path: Box<str>) {
        let answers = self.answers.clone();
        tokio::spawn(async move {
            let looked = tokio::task::spawn_blocking(move || state_of(Path::new(&*path))).await;
            let reply = match looked {
                Ok(Ok(state)) => ConsulReply::File(state),
                Ok(Err(error)) => failed(&error.to_string()),
                Err(error) => failed(&error.to_string()),
            };
            // It is closed when the driver has ended.
            let _ = answers.send((op, reply)).await;
        });
    }
}

fn write(socket: &str, watch: &str, reading: &Reading) -> Result<String, String> {
    let directory = PathBuf::from(format!("{socket}.watches"));
    let path = directory.join(format!("{}.json", file_name(watch)));
    let cannot = |error: io::Error| format!("cannot write {}: {error}", path.display());
    fs::create_dir_all(&directory).map_err(cannot)?;
    replace(&path, Some(&document(watch, reading).to_string()))?;
    Ok(path.to_string_lossy().into_owned())
}

/// Replaces a file in one step, or removes it; nobody reads half of it.
///
/// # Errors
/// It cannot be written or removed; what was there stays.
pub fn replace(path: &Path, contents: Option<&str>) -> Result<(), String> {
    let Some(contents) = contents else {
        return match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(format!("cannot remove {}: {error}", path.display()))
            }
            Ok(()) | Err(_) => Ok(()),
        };
    };
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let written = File::create(&fresh).and_then(|mut file| file.write_all(contents.as_bytes()));
    let replaced = written.and_then(|()| fs::rename(&fresh, path));
    replaced.map_err(|error| format!("cannot write {}: {error}", path.display()))
}

fn failed(reason: &str) -> ConsulReply {
    ConsulReply::Failed(ConsulFailure::Unreachable(reason.into()))
}

fn state_of(path: &Path) -> io::Result<Option<FileState>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut state = FileState { size: 0, hash: 0xCBF2_9CE4_8422_2325 };
    let mut buffer = vec![0u8; 64 * 1024];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(Some(state));
        }
        state.size += count as u64;
        // FNV-1a: the same on every machine.
        for byte in &buffer[..count] {
            state.hash = (state.hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
        }
    }
}

/// A watch's name cannot leave the directory.
fn file_name(watch: &str) -> String {
    watch.chars().map(|char| if matches!(char, '/' | '\0') { '_' } else { char }).collect()
}

fn document(watch: &str, reading: &Reading) -> Value {
    let entries: Vec<Value> = match reading {
        Reading::Instances(instances) => instances
            .iter()
            .map(|instance| {
                let meta: serde_json::Map<String, Value> = instance
                    .meta
                    .iter()
                    .map(|(key, value)| (key.to_string(), json!(&**value)))
                    .collect();
                json!({
                    "id": &*instance.id,
                    "node": &*instance.node,
                    "address": &*instance.address,
                    "port": instance.port,
                    "tags": instance.tags,
                    "meta": meta,
                    "weights": { "passing": instance.weights.0, "warning": instance.weights.1 },
                })
            })
            .collect(),
        Reading::Keys(entries) => entries
            .iter()
            .map(|entry| {
                json!({
                    "key": &*entry.key,
                    "value": &*entry.value,
                    "modifyIndex": entry.modified,
                    "session": entry.session,
                })
            })
            .collect(),
        Reading::File(file) => file.iter().map(|file| json!({ "size": file.size })).collect(),
    };
    let kind = match reading {
        Reading::Instances(_) => "instances",
        Reading::Keys(_) => "keys",
        Reading::File(_) => "file",
    };
    json!({ "watch": watch, kind: entries })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_is_replaced_in_one_step_and_names_cannot_leave_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("s.sock");
        let socket = socket.to_str().unwrap();
        for size in [1, 2] {
            let reading = Reading::File(Some(FileState { size, hash: 1 }));
            let path = write(socket, "../db", &reading).unwrap();
            assert!(path.starts_with(directory.path().to_str().unwrap()), "{path}");
            let text = fs::read_to_string(&path).unwrap();
            assert_eq!(text, format!(r#"{{"file":[{{"size":{size}}}],"watch":"../db"}}"#));
        }
        assert_eq!(fs::read_dir(format!("{socket}.watches")).unwrap().count(), 1);
    }

    #[test]
    fn file_is_told_apart_by_its_contents_and_may_be_missing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        assert_eq!(state_of(&path).unwrap(), None);
        fs::write(&path, "a").unwrap();
        let one = state_of(&path).unwrap();
        fs::write(&path, "b").unwrap();
        assert_ne!(state_of(&path).unwrap(), one);
        assert_eq!(one.map(|state| state.size), Some(1));
    }
}
