//! `highwater-ring0`: the Raft state machine alone, several replicas in one process, held against Raft's invariants after every
//! single step.
//!
//! Exit codes: 0 every promise held (or the planted bug was found), 1 one was broken (or the bug was not found), 2 bad usage.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a command-line tool: it reads the clock, starts threads and writes a report; each seed runs on one thread alone"
)]

mod campaign;
mod checker;
mod cluster;
mod dice;
mod disk;
mod driver;
mod liveness;
#[path = "../../rings/looked_for.rs"]
mod looked_for;
mod network;
mod oracle;
#[path = "../../rings/page.rs"]
mod page;
mod replica;
#[path = "../../rings/seeds.rs"]
mod seeds;
mod swarm;
mod trials;
mod world;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::{Args, Parser, Subcommand};

/// Runs replicas of one group against a network and disks that fail, and checks Raft's invariants after every step.
#[derive(Parser)]
#[command(name = "highwater-ring0", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Many seeds: each draws its own world, takes its steps, and must then come to rest.
    Run(Run),
    /// One seed, a line for each event.
    Replay(Replay),
    /// Looks for each planted bug, and writes a table.
    Mutants(campaign::Campaign),
}

/// Options of `run`.
#[derive(Args, Clone)]
pub struct Run {
    /// First seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// How many seeds.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// Steps of the first phase of each seed.
    #[arg(long, default_value_t = 4000)]
    steps: u64,
    /// Stop after so many seconds.
    #[arg(long)]
    seconds: Option<u64>,
    /// Threads.
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// One seed in so many is run twice; both runs must agree to the last bit of the hash.
    #[arg(long, default_value_t = 50)]
    twice: u64,
    /// Number of a planted bug to switch on (needs the feature `mutants`): then finding it is success.
    #[arg(long)]
    mutant: Option<u32>,
    /// Print one line of JSON per seed.
    #[arg(long)]
    json: bool,
}

/// Options of `replay`.
#[derive(Args, Clone)]
struct Replay {
    /// The seed.
    #[arg(long)]
    seed: u64,
    /// Steps of its first phase.
    #[arg(long, default_value_t = 4000)]
    steps: u64,
    /// Number of a planted bug to switch on (needs the feature `mutants`).
    #[arg(long)]
    mutant: Option<u32>,
    /// Only the result.
    #[arg(long)]
    quiet: bool,
}

/// What one seed gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What was broken.
    violation: Option<String>,
    /// Hash of everything that happened.
    hash: u64,
    /// Steps of both phases.
    steps: u64,
    /// What happened how often.
    marks: BTreeMap<&'static str, u64>,
}

/// From so many seeds on, each of [`MARKS`] must have been met.
const ENOUGH: u64 = 2000;
/// What a campaign must have seen to say anything.
const MARKS: &[&str] = &[
    "crashes that lost writes",
    "disks lost",
    "elections",
    "groups put to sleep",
    "groups that came to rest",
    "groups that slept",
    "groups with dead machines",
    "joint memberships applied",
    "leaders that left and were lost",
    "log reads for followers",
    "logs cut",
    "logs truncated",
    "membership changes applied",
    "messages doubled",
    "messages lost",
    "partitions",
    "reads of leaders cut off",
    "reads served",
    "snapshots installed",
    "transfers begun",
];

/// Runs one seed.
pub fn seed(seed: u64, steps: u64, mutant: u32, trace: bool) -> Outcome {
    let mut cluster = match cluster::Cluster::new(seed, mutant, trace) {
        Ok(cluster) => cluster,
        Err(what) => return Outcome { violation: Some(what), hash: 0, steps: 0, marks: BTreeMap::new() },
    };
    let run = std::panic::AssertUnwindSafe(|| -> checker::Check {
        for _ in 0..steps {
            cluster.step()?;
        }
        cluster.settle()
    });
    // The replicas check themselves in development builds, and panic.
    let result = std::panic::catch_unwind(run).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().cloned();
        Err(format!("a replica panicked: {}", said.unwrap_or_else(|| "without a word".to_owned())))
    });
    let violation = result.err().map(|what| format!("step {}: {what}", cluster.steps));
    cluster.marks.insert("entries committed", cluster.checker.committed().0);
    cluster.marks.insert("terms with a leader", cluster.checker.elections() as u64);
    cluster.marks.insert("messages sent", cluster.sent);
    Outcome { violation, hash: cluster.hash, steps: cluster.steps, marks: cluster.marks }
}

impl seeds::Outcome for Outcome {
    fn violation(&self) -> Option<&str> {
        self.violation.as_deref()
    }

    fn counters(&self) -> impl Iterator<Item = (&str, u64)> {
        self.marks.iter().map(|(name, count)| (*name, *count))
    }
}

/// Runs seeds until the first that finds something. What they add up to, and the steps that were taken.
pub fn run(options: &Run) -> (seeds::Sums, u64) {
    let Run { from, seeds, steps, seconds, jobs, twice, mutant, json } = options.clone();
    // Whoever looks for a bug needs no run twice.
    let twice = if mutant.is_some() { 0 } else { twice };
    let taken = AtomicU64::new(0);
    let one = |number| {
        let outcome = seed(number, steps, mutant.unwrap_or(0), false);
        taken.fetch_add(outcome.steps, Ordering::Relaxed);
        outcome
    };
    let told = |seed, outcome: &Outcome, violation: Option<&str>| {
        if json {
            let line = serde_json::json!({
                "seed": seed, "ok": violation.is_none(), "violation": violation, "steps": outcome.steps,
                "hash": format!("{:016x}", outcome.hash), "marks": outcome.marks,
            });
            highwater_sim::say!("{line}");
        }
    };
    let sums = seeds::run(&seeds::Plan { from, seeds, seconds, jobs, twice }, one, told);
    (sums, taken.into_inner())
}

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|_| {}));
    let ok = match Cli::parse().command {
        Command::Run(options) => ran(&options),
        Command::Replay(options) => replayed(&options),
        Command::Mutants(options) => campaign::run_campaign(&options),
    };
    if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn ran(options: &Run) -> bool {
    let (steps, mutant) = (options.steps, options.mutant);
    if mutant.is_some() && !seeds::has_planted_bugs() {
        return false;
    }
    let (sums, taken) = run(options);
    if !options.json {
        sums.print();
        let seconds = sums.took.as_secs_f64();
        highwater_sim::say!(
            "{} seeds, {taken} steps in {seconds:.1} s ({:.0} steps per second, {} threads), {} seeds run twice with equal hashes",
            sums.seeds,
            taken as f64 / seconds,
            options.jobs.max(1),
            sums.twice
        );
    }
    let missing: Vec<&str> = MARKS.iter().copied().filter(|mark| !sums.met(mark)).collect();
    if sums.found.is_none() && mutant.is_none() && sums.seeds >= ENOUGH && !missing.is_empty() {
        highwater_sim::say!("BROKEN: {} seeds never met: {}", sums.seeds, missing.join(", "));
        return false;
    }
    let found = sums.found.map(|(seed, what)| {
        let with = mutant.map_or(String::new(), |number| format!(" --mutant {number}"));
        format!("seed {seed}: {what}\n  again: highwater-ring0 replay --seed {seed} --steps {steps}{with}")
    });
    seeds::verdict("every invariant held", found.as_deref(), mutant)
}

fn replayed(options: &Replay) -> bool {
    let outcome = seed(options.seed, options.steps, options.mutant.unwrap_or(0), !options.quiet);
    highwater_sim::say!("seed {}: {} steps, hash {:016x}", options.seed, outcome.steps, outcome.hash);
    match &outcome.violation {
        Some(what) => highwater_sim::say!("BROKEN: {what}"),
        None => highwater_sim::say!("every invariant held"),
    }
    outcome.violation.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_seeds_keep_every_invariant_and_come_to_rest() {
        for number in 1..=100 {
            let outcome = seed(number, 2000, 0, false);
            assert_eq!(outcome.violation, None, "seed {number}");
        }
    }

    #[test]
    fn a_seed_determines_everything() {
        for number in 101..=110 {
            assert_eq!(seed(number, 2000, 0, false), seed(number, 2000, 0, false));
        }
    }
}
