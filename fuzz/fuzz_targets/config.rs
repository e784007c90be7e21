#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| steersman_sim::fuzz::config(data));
