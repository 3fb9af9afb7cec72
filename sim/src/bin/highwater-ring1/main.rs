//! `highwater-ring1`: the store alone on a simulated disk, crashed at every point, damaged in every way, and held against a model.
//!
//! Exit codes: 0 every promise held (or the planted bug was found), 1 one was broken (or the bug was not found), 2 bad usage.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a command-line tool: it reads the clock, starts threads and writes a report; what it runs is simulated on each thread alone"
)]

mod campaign;
mod clocks;
mod exhaust;
mod figures;
mod life;
mod model;
#[path = "../../rings/page.rs"]
mod page;
mod recovered;
mod sample;
#[path = "../../rings/seeds.rs"]
mod seeds;
mod swarm;
mod transfer;
mod workload;

use std::process::ExitCode;
use std::time::Instant;

use clap::{Args, Parser, Subcommand};
use seeds::verdict;

/// What is said when nothing was found.
const HELD: &str = "every promise held";

/// Crashes and damages a store on a simulated disk, and holds what it recovers against a model.
#[derive(Parser)]
#[command(name = "highwater-ring1", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Short workloads: every crash point, every surviving subset of what was not durable (beyond 10 things at risk: every single
    /// keep and drop, and 256 drawn subsets), recoveries cut short, and every operation failing once.
    Exhaust(Exhaust),
    /// Longer histories, one per seed, with crashes and every storage fault.
    Sample(Sample),
    /// The whole campaign: looks for each planted bug with both, and writes a table.
    Mutants(campaign::Campaign),
}

/// Options of `exhaust`.
#[derive(Args, Clone)]
struct Exhaust {
    /// Only this workload, from 1 (default: all).
    #[arg(long)]
    workload: Option<usize>,
    /// Only this crash point.
    #[arg(long)]
    point: Option<usize>,
    /// Only every n-th crash point and failing operation.
    #[arg(long, default_value_t = 1)]
    every: usize,
    /// Threads.
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// Number of a planted bug to switch on (needs the feature `mutants`): then finding it is success.
    #[arg(long)]
    mutant: Option<u32>,
    /// Print one line of JSON per workload.
    #[arg(long)]
    json: bool,
}

/// Options of `sample`.
#[derive(Args, Clone)]
pub struct Sample {
    /// First seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// How many seeds.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// Stop after so many seconds.
    #[arg(long)]
    seconds: Option<u64>,
    /// Threads.
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// One seed in so many is run twice; both runs must agree to the last bit of the trace hash.
    #[arg(long, default_value_t = 50)]
    twice: u64,
    /// Number of a planted bug to switch on (needs the feature `mutants`): then finding it is success.
    #[arg(long)]
    mutant: Option<u32>,
    /// Print one line of JSON per seed.
    #[arg(long)]
    json: bool,
    /// Print what happens, a line for each event.
    #[arg(long)]
    trace: bool,
}

impl Sample {
    /// Looks for a planted bug.
    fn looking_for(mutant: u32, seeds: u64, jobs: usize) -> Self {
        Self { from: 1, seeds, seconds: None, jobs, twice: 0, mutant: Some(mutant), json: false, trace: false }
    }
}

fn main() -> ExitCode {
    let ok = match Cli::parse().command {
        Command::Exhaust(options) => exhausted(&options),
        Command::Sample(options) => sampled(&options),
        Command::Mutants(options) => campaign::run(&options),
    };
    if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn choose(mutant: Option<u32>) {
    highwater_runtime::choose_mutant(mutant.unwrap_or(0));
}

fn exhausted(options: &Exhaust) -> bool {
    choose(options.mutant);
    let plan = exhaust::Plan { jobs: options.jobs, mutant: options.mutant, every: options.every, only: options.point };
    let mut total = exhaust::Effort::default();
    let began = Instant::now();
    let mut found = None;
    for (number, workload) in (1..).zip(workload::Workload::all()) {
        if options.workload.is_some_and(|only| only != number) {
            continue;
        }
        let (name, started) = (workload.name, Instant::now());
        let sizes = exhaust::sizes(&workload.options);
        let (effort, outcome) = exhaust::run(workload, number, &plan);
        let seconds = started.elapsed().as_secs_f64();
        if options.json {
            highwater_sim::say!(
                "{}",
                serde_json::json!({
                    "workload": number, "ok": outcome.is_ok(), "violation": outcome.as_ref().err(), "points": effort.points,
                    "outcomes": effort.outcomes, "states": effort.states, "recovery_points": effort.recovery_points,
                    "recovery_states": effort.recovery_states, "faulty_runs": effort.faulty_runs,
                    "repeated": effort.repeated, "flushes": effort.flushes, "compactions": effort.compactions,
                    "seconds": seconds,
                })
            );
        } else {
            highwater_sim::say!(
                "workload {number}: {name} ({sizes}; {} flushes, {} compactions inside)",
                effort.flushes,
                effort.compactions
            );
            highwater_sim::say!("  {}, {seconds:.1} s", told(&effort));
        }
        total.add(&effort);
        if let Err(what) = outcome {
            found = Some(what);
            break;
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    highwater_sim::say!(
        "in all: {}, {seconds:.1} s ({:.0} stores opened per minute)",
        told(&total),
        total.opened() as f64 * 120.0 / seconds
    );
    verdict(HELD, found.as_deref(), options.mutant)
}

fn told(effort: &exhaust::Effort) -> String {
    format!(
        "{} crash points, {} outcomes, {} distinct states opened twice; {} crash points in recoveries, {} states; \
         {} runs with one failing operation; {} points reached again by running again",
        effort.points,
        effort.outcomes,
        effort.states,
        effort.recovery_points,
        effort.recovery_states,
        effort.faulty_runs,
        effort.repeated
    )
}

impl seeds::Outcome for sample::Outcome {
    fn violation(&self) -> Option<&str> {
        self.violation.as_deref()
    }

    fn counters(&self) -> impl Iterator<Item = (&str, u64)> {
        self.counters.iter().map(|(name, count)| (name.as_str(), *count))
    }
}

/// Runs seeds until the first that finds something.
pub fn sample_seeds(options: &Sample) -> seeds::Sums {
    let Sample { from, seeds, seconds, jobs, twice, mutant, json, trace } = options.clone();
    choose(mutant);
    let twice = if mutant.is_some() || trace { 0 } else { twice };
    let told = |seed, outcome: &sample::Outcome, violation: Option<&str>| {
        if json {
            let line = serde_json::json!({
                "seed": seed, "ok": violation.is_none(), "violation": violation, "hash": format!("{:016x}", outcome.hash),
                "counters": outcome.counters,
            });
            highwater_sim::say!("{line}");
        }
    };
    let plan = seeds::Plan { from, seeds, seconds, jobs, twice };
    seeds::run(&plan, |seed| sample::run(seed, mutant, trace), told)
}

fn sampled(options: &Sample) -> bool {
    let (json, mutant) = (options.json, options.mutant);
    let sums = sample_seeds(options);
    if !json {
        sums.print();
        let seconds = sums.took.as_secs_f64();
        highwater_sim::say!(
            "{} histories in {seconds:.1} s ({:.1} ms each), {} of them run twice with equal trace hashes",
            sums.seeds,
            seconds * 1000.0 / (sums.seeds + sums.twice).max(1) as f64,
            sums.twice
        );
    }
    let missed = figures::never_met(|name| sums.met(name));
    if mutant.is_none() && sums.found.is_none() && !missed.is_empty() && !json {
        highwater_sim::say!("never met: {missed:?}");
        if sums.seeds >= figures::ENOUGH_SEEDS {
            return false;
        }
    }
    let found = sums.found.map(|(seed, what)| {
        let with = mutant.map_or(String::new(), |number| format!(" --mutant {number}"));
        format!("seed {seed}: {what}\n  again: highwater-ring1 sample --from {seed} --seeds 1{with}")
    });
    verdict(HELD, found.as_deref(), mutant)
}
