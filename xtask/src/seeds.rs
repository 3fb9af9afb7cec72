//! Simulated seeds: builds the simulator and lets it run its campaign.

use std::process::Command;

use crate::steps;

/// Seeds that once broke a promise; they run before all others.
const REGRESSIONS: [u64; 1] = [
    // A consume under a request id took a partition's unknown outcome for "nothing", and its messages were lost.
    759,
];

/// `cargo xtask sim`: the options are the campaign's own.
pub fn command(args: &[String]) -> Result<(), String> {
    let simulator = steps::build_simulator()?;
    let before: Vec<String> = REGRESSIONS.iter().map(ToString::to_string).collect();
    let status = Command::new(&simulator)
        .args(["campaign", "--before", &before.join(",")])
        .args(args)
        .status()
        .map_err(|error| format!("{}: {error}", simulator.display()))?;
    if status.success() { Ok(()) } else { Err("the campaign failed".to_owned()) }
}

/// The seeds of `cargo xtask test`: stopped by time, above a floor.
pub fn slice() -> Result<(), String> {
    command(&["--seeds", "100000", "--seconds", "300", "--floor", "100"].map(str::to_owned))
}
