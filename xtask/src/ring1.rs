//! Ring 1: the store alone on a simulated disk, by `highwater-ring1`, which is built without the server.

use crate::steps::{cargo, run};

/// The page that holds the table of planted bugs.
const PAGE: &str = "docs/internals/ring1.md";

/// `cargo xtask ring1`.
pub fn command(args: &[String]) -> Result<(), String> {
    let jobs = std::thread::available_parallelism().map_or(2, std::num::NonZero::get).to_string();
    let (mut seeds, mut from, mut jobs) = ("20000".to_owned(), "1".to_owned(), jobs);
    let (mut mutant, mut campaign) = (None, false);
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        let mut number = || {
            let value = rest.next().filter(|value| value.parse::<u64>().is_ok());
            value.cloned().ok_or_else(|| format!("{arg} takes a number"))
        };
        match arg.as_str() {
            "--seeds" => seeds = number()?,
            "--from" => from = number()?,
            "--jobs" => jobs = number()?,
            "--mutant" => mutant = Some(number()?),
            "--mutants" => campaign = true,
            other => return Err(format!("ring1: no option '{other}'")),
        }
    }
    let ring1 = build(mutant.is_some() || campaign)?;
    if campaign {
        return run(&ring1, &["mutants", "--jobs", &jobs, "--write", PAGE]);
    }
    let bug: Vec<&str> = mutant.iter().flat_map(|number| ["--mutant", number.as_str()]).collect();
    let exhaust = run(&ring1, &[&["exhaust", "--jobs", &jobs], &bug[..]].concat());
    let sample = run(&ring1, &[&["sample", "--seeds", &seeds, "--from", &from, "--jobs", &jobs], &bug[..]].concat());
    // A planted bug need not be found in both ways.
    if mutant.is_some() { exhaust.or(sample) } else { exhaust.and(sample) }
}

/// The slice of every commit: one workload at every fifth crash point, and sampled histories for a while.
pub fn slice() -> Result<(), String> {
    let ring1 = build(true)?;
    run(&ring1, &["exhaust", "--workload", "2", "--every", "5", "--jobs", "2"])?;
    run(&ring1, &["sample", "--seeds", "20000", "--seconds", "35", "--jobs", "2"])?;
    run(&ring1, &["sample", "--seeds", "200", "--mutant", "13"])
}

/// Builds the simulator in the development profile, in which the engine is optimised and its assertions are on.
fn build(planted: bool) -> Result<String, String> {
    let mut args = vec!["build", "-p", "highwater-sim", "--bin", "highwater-ring1", "--no-default-features"];
    if planted {
        args.extend(["--features", "mutants"]);
    }
    cargo(&args)()?;
    let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".into());
    Ok(format!("{target}/debug/highwater-ring1"))
}
