//! Images for containers, made from this machine's own files: nothing is pulled from anywhere.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Once;

/// Copies a program and the libraries that its loader will look for below `root`.
///
/// # Panics
///
/// When it cannot be copied.
pub fn add_program(root: &Path, program: &Path, to: &str) {
    add_file(root, program, to);
    let output = Command::new("ldd").arg(program).output().expect("ldd can be run");
    // A static program has no libraries, and ldd says so with a status.
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for library in text.split_whitespace().filter(|word| word.starts_with('/')) {
        add_file(root, Path::new(library), library);
    }
}

/// Copies a file below `root`, executable.
///
/// # Panics
///
/// When it cannot be copied.
pub fn add_file(root: &Path, from: &Path, to: &str) {
    let to = root.join(to.trim_start_matches('/'));
    fs::create_dir_all(to.parent().expect("it is below the root")).expect("it can be written");
    fs::copy(from, &to).unwrap_or_else(|error| panic!("cannot copy {}: {error}", from.display()));
    fs::set_permissions(&to, fs::Permissions::from_mode(0o755)).expect("it is ours");
}

/// Makes an image of a folder; `changes` are instructions such as `ENV …`.
///
/// # Panics
///
/// When Docker or tar cannot.
pub fn import(root: &Path, name: &str, changes: &[&str]) {
    require_engine();
    let mut tar = Command::new("tar")
        .args(["--create", "--numeric-owner", "--owner=0", "--group=0", "--directory"])
        .arg(root)
        .arg(".")
        .stdout(Stdio::piped())
        .spawn()
        .expect("tar can be run");
    let changes = changes.iter().flat_map(|change| ["--change", change]);
    let output = Command::new("docker")
        .arg("import")
        .args(changes)
        .args(["-", name])
        .stdin(tar.stdout.take().expect("it was asked for"))
        .output()
        .expect("docker can be run");
    // Docker first: tar fails as well when nobody takes what it writes.
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(tar.wait().expect("tar was started").success(), "tar failed");
}

/// Sees to it that a Docker engine answers: the one that ran when the tests began may have ended.
fn require_engine() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/setup/docker.sh");
        let status = Command::new(script).status().expect("the script can be run");
        assert!(status.success(), "there is no Docker engine");
    });
}
