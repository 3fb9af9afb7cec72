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
mod network;
mod oracle;
mod replica;
mod swarm;
mod trials;
mod world;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

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

/// What a run of many seeds gave.
pub struct Sums {
    /// Seeds that were run.
    pub seeds: u64,
    /// Seeds that were run twice, with equal results.
    pub twice: u64,
    /// Steps in all.
    pub steps: u64,
    /// The lowest seed that found something, and what.
    pub found: Option<(u64, String)>,
    /// Sums of all marks, and in how many seeds each was above zero.
    pub marks: BTreeMap<&'static str, (u64, u64)>,
    /// How long it took.
    pub took: Duration,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs seeds until the first that finds something.
pub fn run(options: &Run) -> Sums {
    let began = Instant::now();
    let mutant = options.mutant.unwrap_or(0);
    let end = options.from.saturating_add(options.seeds);
    let (next, stop) = (AtomicU64::new(options.from), AtomicBool::new(false));
    let sums =
        Mutex::new(Sums { seeds: 0, twice: 0, steps: 0, found: None, marks: BTreeMap::new(), took: Duration::ZERO });
    let work = || loop {
        let late = options.seconds.is_some_and(|limit| began.elapsed() >= Duration::from_secs(limit));
        let number = next.fetch_add(1, Ordering::Relaxed);
        if late || number >= end || stop.load(Ordering::Relaxed) {
            return;
        }
        let outcome = seed(number, options.steps, mutant, false);
        let again = mutant == 0 && (number - options.from).is_multiple_of(options.twice.max(1));
        let differs = again && seed(number, options.steps, mutant, false) != outcome;
        let violation = outcome.violation.clone().or_else(|| differs.then(|| "two runs of the seed differ".to_owned()));
        if options.json {
            let line = serde_json::json!({
                "seed": number, "ok": violation.is_none(), "violation": violation, "steps": outcome.steps,
                "hash": format!("{:016x}", outcome.hash), "marks": outcome.marks,
            });
            println!("{line}");
        }
        let mut sums = locked(&sums);
        sums.seeds += 1;
        sums.twice += u64::from(again);
        sums.steps += outcome.steps * (1 + u64::from(again));
        for (name, count) in outcome.marks {
            let mark = sums.marks.entry(name).or_default();
            mark.0 += count;
            mark.1 += u64::from(count > 0);
        }
        if let Some(what) = violation {
            stop.store(true, Ordering::Relaxed);
            if sums.found.as_ref().is_none_or(|(known, _)| number < *known) {
                sums.found = Some((number, what));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..options.jobs.max(1) {
            scope.spawn(work);
        }
        work();
    });
    let mut sums = sums.into_inner().unwrap_or_else(PoisonError::into_inner);
    sums.took = began.elapsed();
    sums
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
    if options.mutant.is_some() && !cfg!(feature = "mutants") {
        println!("this build has no planted bugs in it; build it with --features mutants");
        return false;
    }
    let sums = run(options);
    if !options.json {
        for (name, (count, in_seeds)) in &sums.marks {
            let share = *in_seeds as f64 * 100.0 / sums.seeds.max(1) as f64;
            println!("  {name:<32} {count:>12} in all, in {in_seeds} seeds ({share:.1} %)");
        }
        let seconds = sums.took.as_secs_f64();
        println!(
            "{} seeds, {} steps in {seconds:.1} s ({:.0} steps per second, {} threads), {} seeds run twice with equal hashes",
            sums.seeds,
            sums.steps,
            sums.steps as f64 / seconds,
            options.jobs.max(1),
            sums.twice
        );
    }
    let missing: Vec<&str> = MARKS.iter().copied().filter(|mark| !sums.marks.contains_key(mark)).collect();
    if sums.found.is_none() && options.mutant.is_none() && sums.seeds >= ENOUGH && !missing.is_empty() {
        println!("BROKEN: {} seeds never met: {}", sums.seeds, missing.join(", "));
        return false;
    }
    match (sums.found, options.mutant) {
        (None, None) => println!("every invariant held"),
        (Some((seed, what)), None) => {
            println!(
                "BROKEN: seed {seed}: {what}\n  again: highwater-ring0 replay --seed {seed} --steps {}",
                options.steps
            );
            return false;
        }
        (Some((seed, what)), Some(number)) => println!(
            "planted bug {number} found: seed {seed}: {what}\n  again: highwater-ring0 replay --seed {seed} --steps {} --mutant {number}",
            options.steps
        ),
        (None, Some(number)) => {
            println!("planted bug {number} NOT FOUND");
            return false;
        }
    }
    true
}

fn replayed(options: &Replay) -> bool {
    let outcome = seed(options.seed, options.steps, options.mutant.unwrap_or(0), !options.quiet);
    println!("seed {}: {} steps, hash {:016x}", options.seed, outcome.steps, outcome.hash);
    match &outcome.violation {
        Some(what) => println!("BROKEN: {what}"),
        None => println!("every invariant held"),
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
