//! The `steersman` binary.

use std::process::ExitCode;
use std::sync::Arc;

use steersman::companions::NoCompanions;
use steersman::driver::{self, Setup};
use steersman::{interfaces, process};
use steersman_engine::front::{self, Colours, Loaded, Surroundings};

/// Bad usage or configuration.
const STATUS_BAD_USAGE: u8 = 2;

fn main() -> ExitCode {
    process::hold_signals();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let file = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["-config" | "--config", file] => String::from(file),
        _ => {
            eprintln!("usage: steersman -config FILE");
            return ExitCode::from(STATUS_BAD_USAGE);
        }
    };
    let reader = Arc::new(move || read(&file));
    let loaded = match reader() {
        Ok(loaded) => loaded,
        Err(reason) => {
            eprintln!("{reason}");
            return ExitCode::from(STATUS_BAD_USAGE);
        }
    };
    match driver::run(Setup { loaded, seed: seed(), reader }, |_, _| Ok(NoCompanions)) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(STATUS_BAD_USAGE)
        }
    }
}

fn read(file: &str) -> Result<Loaded, Box<str>> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Box::from(format!("cannot read {file}: {error}")))?;
    let env = std::env::vars_os()
        .map(|(name, value)| {
            (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())
        })
        .collect();
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let hostname = String::from(hostname.trim());
    let around = Surroundings { env, interfaces: interfaces::list(), hostname };
    front::load(file, &text, &around).map_err(|errors| {
        let errors = errors.iter().map(|error| error.to_text(Colours::Off));
        errors.collect::<Vec<_>>().join("\n").into_boxed_str()
    })
}

/// Differs from start to start: the hasher's keys come from the system's generator.
fn seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish()
}
