//! Ring 1: the store alone on a simulated disk, by `highwater-ring1`, which is built without the server.

use crate::rings::{Options, build};
use crate::steps::run;

const BINARY: &str = "highwater-ring1";
/// The page that holds the table of planted bugs.
const PAGE: &str = "docs/internals/ring1.md";

/// `cargo xtask ring1`.
pub fn command(args: &[String]) -> Result<(), String> {
    let options = Options::parse("ring1", &[("--seeds", 20_000), ("--from", 1)], args)?;
    let ring1 = build(BINARY, options.is_planted())?;
    if options.campaign {
        return run(&ring1, &options.campaign(PAGE));
    }
    let exhaust = run(&ring1, &options.arguments("exhaust", &["--jobs"]));
    let sample = run(&ring1, &options.arguments("sample", &["--seeds", "--from", "--jobs"]));
    // A planted bug need not be found in both ways.
    if options.mutant.is_some() { exhaust.or(sample) } else { exhaust.and(sample) }
}

/// The slice of every commit: one workload at every fifth crash point, and sampled histories for a while.
pub fn slice() -> Result<(), String> {
    let ring1 = build(BINARY, true)?;
    run(&ring1, &["exhaust", "--workload", "2", "--every", "5", "--jobs", "2"])?;
    run(&ring1, &["sample", "--seeds", "20000", "--seconds", "35", "--jobs", "2"])?;
    run(&ring1, &["sample", "--seeds", "200", "--mutant", "13"])
}
