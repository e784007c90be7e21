//! The files that a search and a replay write: looked at before the work, not after it.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// Sees whether the page and the trace can be written, and are two files. Leaves nothing behind.
pub(super) fn check(html: Option<&str>, trace: Option<&str>) -> Result<(), String> {
    if let (Some(one), Some(other)) = (html, trace)
        && one == other
    {
        return Err(format!("cannot write the page and the trace to one file: {one}"));
    }
    [html, trace].into_iter().flatten().try_for_each(probe)
}

/// Opens a file for writing without changing it.
fn probe(file: &str) -> Result<(), String> {
    let is_new = !Path::new(file).exists();
    let opened = OpenOptions::new().write(true).create(true).truncate(false).open(file);
    opened.map_err(|error| unwritten(file, &error))?;
    if is_new {
        std::fs::remove_file(file).map_err(|error| unwritten(file, &error))?;
    }
    Ok(())
}

/// Writes a file.
pub(super) fn write(
    file: &str,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), String> {
    let written = File::create(file).and_then(|created| {
        let mut out = BufWriter::new(created);
        write(&mut out)?;
        out.flush()
    });
    written.map_err(|error| unwritten(file, &error))
}

fn unwritten(file: &str, error: &io::Error) -> String {
    format!("cannot write {file}: {}", reason(error))
}

/// Says why, without the system's number.
pub(super) fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => String::from("there is no such file or folder"),
        io::ErrorKind::PermissionDenied => String::from("this user may not"),
        io::ErrorKind::IsADirectory => String::from("it is a folder"),
        io::ErrorKind::InvalidData => String::from("it is no text"),
        _ => error.to_string(),
    }
}
