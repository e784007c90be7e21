use std::sync::Arc;
use steersman::companions::NoCompanions;
use steersman::driver::{self, Setup};
use steersman_engine::front::{Loaded, Settings};
fn main() {
    steersman::process::hold_signals();
    let text = std::fs::read_to_string(std::env::args().nth(1).unwrap()).unwrap();
    let config: steersman_engine::config::Config = serde_json::from_str(&text).unwrap();
    let mut settings = Settings::default();
    if let Ok(f) = std::env::var("LOGFILE") {
        settings.logging.output = steersman_engine::front::LogOutput::File(f);
    }
    let loaded = Loaded { config, settings, warnings: vec![] };
    let reader = Arc::new(|| Err("no".into()));
    let status =
        driver::run(Setup { loaded, seed: 1, reader }, |_, ways| Ok(NoCompanions::new(ways)))
            .unwrap();
    std::process::exit(status.into());
}
