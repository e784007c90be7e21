//! Finds the commit that is being built, for `-version`.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=STEERSMAN_GIT_HASH");
    let given = std::env::var("STEERSMAN_GIT_HASH").ok().filter(|hash| !hash.is_empty());
    // While developing, every commit would build everything anew: only a release looks.
    let is_release = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let found = || if is_release { from_git() } else { None };
    let hash = given.or_else(found).unwrap_or_else(|| String::from("unknown"));
    println!("cargo::rustc-env=STEERSMAN_GIT_HASH={hash}");
}

fn from_git() -> Option<String> {
    for path in ["HEAD", "logs/HEAD"] {
        let path = git(&["rev-parse", "--git-path", path])?;
        println!("cargo::rerun-if-changed={path}");
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
