//! Ring 0: the Raft state machine alone, by `highwater-ring0`, which is built without the server.

use crate::rings::{Options, build};
use crate::steps::run;

const BINARY: &str = "highwater-ring0";
/// The page that holds the table of planted bugs.
const PAGE: &str = "docs/internals/ring0.md";

/// `cargo xtask ring0`.
pub fn command(args: &[String]) -> Result<(), String> {
    let options = Options::parse("ring0", &[("--seeds", 100_000), ("--from", 1), ("--steps", 4000)], args)?;
    let ring0 = build(BINARY, options.is_planted())?;
    if options.campaign {
        return run(&ring0, &options.campaign(PAGE));
    }
    run(&ring0, &options.arguments("run", &["--seeds", "--from", "--steps", "--jobs"]))
}

/// The slice of every commit: seeds for a while, and two planted bugs that must be found.
pub fn slice() -> Result<(), String> {
    let ring0 = build(BINARY, true)?;
    run(&ring0, &["run", "--seeds", "1000000", "--seconds", "18", "--jobs", "2"])?;
    run(&ring0, &["run", "--seeds", "200", "--mutant", "1"])?;
    run(&ring0, &["run", "--seeds", "200", "--mutant", "36"])
}
