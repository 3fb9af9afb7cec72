//! Ring 0: the Raft state machine alone, by `highwater-ring0`, which is built without the server.

use crate::steps::{cargo, run};

/// The page that holds the table of planted bugs.
const PAGE: &str = "docs/internals/ring0.md";

/// `cargo xtask ring0`.
pub fn command(args: &[String]) -> Result<(), String> {
    let jobs = std::thread::available_parallelism().map_or(2, std::num::NonZero::get).to_string();
    let (mut seeds, mut from, mut steps, mut jobs) = ("100000".to_owned(), "1".to_owned(), "4000".to_owned(), jobs);
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
            "--steps" => steps = number()?,
            "--jobs" => jobs = number()?,
            "--mutant" => mutant = Some(number()?),
            "--mutants" => campaign = true,
            other => return Err(format!("ring0: no option '{other}'")),
        }
    }
    let ring0 = build(mutant.is_some() || campaign)?;
    if campaign {
        return run(&ring0, &["mutants", "--jobs", &jobs, "--write", PAGE]);
    }
    let bug: Vec<&str> = mutant.iter().flat_map(|number| ["--mutant", number.as_str()]).collect();
    let common = ["run", "--seeds", &seeds, "--from", &from, "--steps", &steps, "--jobs", &jobs];
    run(&ring0, &[&common, &bug[..]].concat())
}

/// The slice of every commit: seeds for a while, and two planted bugs that must be found.
pub fn slice() -> Result<(), String> {
    let ring0 = build(true)?;
    run(&ring0, &["run", "--seeds", "1000000", "--seconds", "18", "--jobs", "2"])?;
    run(&ring0, &["run", "--seeds", "200", "--mutant", "1"])?;
    run(&ring0, &["run", "--seeds", "200", "--mutant", "36"])
}

/// Builds the simulator in the development profile, in which the state machine is optimised and its assertions are on.
fn build(planted: bool) -> Result<String, String> {
    let mut args = vec!["build", "-p", "highwater-sim", "--bin", "highwater-ring0", "--no-default-features"];
    if planted {
        args.extend(["--features", "mutants"]);
    }
    cargo(&args)()?;
    let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".into());
    Ok(format!("{target}/debug/highwater-ring0"))
}
