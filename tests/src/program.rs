//! The `steersman` program as its users get it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Names the program where it is built already; whoever starts many asks cargo once.
pub const BUILT: &str = "STEERSMAN_BUILT";

/// Gives the path of the program, built from the present sources in the tests' own profile.
///
/// # Panics
///
/// When it cannot be built: then there is nothing to test.
pub fn steersman() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(build)
}

fn build() -> PathBuf {
    if let Some(built) = env::var_os(BUILT) {
        return built.into();
    }
    // A test program is TARGET/PROFILE/deps/NAME, any other TARGET/PROFILE/NAME.
    let own = env::current_exe().expect("a running program has a path");
    let folder = own.parent().expect("a program is in a folder");
    let profile = if folder.ends_with("deps") { folder.parent() } else { Some(folder) };
    let profile = profile.expect("cargo puts programs two or three levels deep");
    let target = profile.parent().expect("cargo puts programs two or three levels deep");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--package", "steersman", "--bin", "steersman"]);
    command.arg("--target-dir").arg(target).current_dir(env!("CARGO_MANIFEST_DIR"));
    if profile.ends_with("release") {
        command.arg("--release");
    }
    let status = command.status().expect("cargo can be run");
    assert!(status.success(), "steersman cannot be built");
    profile.join("steersman")
}
