//! The `steersman` binary.

use std::process::ExitCode;
use std::sync::Arc;

use steersman::cli::{self, RunOptions};
use steersman::driver::{self, Setup};
use steersman::observe::Observers;
use steersman::process;
use steersman_engine::front::{self, Colours, Loaded};

/// Bad usage or configuration.
const STATUS_BAD_USAGE: u8 = 2;

fn main() -> ExitCode {
    // First of all: PID 1 never gets a signal that nobody has asked for.
    process::hold_signals();
    ExitCode::from(cli::main(run))
}

/// Runs a configuration to its end.
fn run(options: RunOptions) -> u8 {
    for argument in &options.ignored {
        cli::complain(&format!("ignores the argument \"{argument}\", as v3 did"));
    }
    let file = options.config;
    let reader = Arc::new(move || read(&file));
    let loaded = match reader() {
        Ok(loaded) => loaded,
        Err(reason) => {
            cli::complain(&reason);
            return STATUS_BAD_USAGE;
        }
    };
    let setup = Setup { loaded, seed: driver::seed(), reader };
    let recording = options.recording;
    driver::run(setup, |setup, ways| Observers::attach(setup, ways, &recording)).unwrap_or_else(
        |error| {
            cli::complain(&error.to_string());
            STATUS_BAD_USAGE
        },
    )
}

fn read(file: &str) -> Result<Loaded, Box<str>> {
    let text = cli::read(file)?;
    front::load(file, &text, &cli::surroundings()).map_err(|errors| {
        let errors = errors.iter().map(|error| error.to_text(Colours::Off));
        errors.collect::<Vec<_>>().join("\n").into_boxed_str()
    })
}
