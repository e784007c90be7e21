//! Checks a configuration and shows what is wrong with it: `cargo run --example check FILE`.

use std::process::ExitCode;

use steersman_engine::front::{self, Colours, Surroundings};

fn main() -> ExitCode {
    let Some(file) = std::env::args().nth(1) else {
        eprintln!("usage: check FILE");
        return ExitCode::from(2);
    };
    let text = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) => {
            eprintln!("cannot read {file}: {error}");
            return ExitCode::from(2);
        }
    };
    let around = Surroundings { env: std::env::vars().collect(), ..Surroundings::default() };
    let report = front::check(&file, &text, &around);
    print!("{}", report.to_text(Colours::Off));
    match report.is_good() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(1),
    }
}
