//! `highwater-sim`: ring 2, the real server code under madsim, SQL through HTTP, crashes and recovery. One process runs one seed.
//!
//! Exit codes: 0 every promise held, 1 one was broken, 2 bad usage, anything else is a defect of the simulator.

#[cfg(madsim)]
mod ring2;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use highwater_sim::plan::Plan;

/// Simulates a node through crashes and recoveries, and holds every answer against a model.
#[derive(Parser)]
#[command(name = "highwater-sim", version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs one seed.
    Run(Chosen),
    /// Runs one seed and prints what happens, a line for each event.
    Replay(Chosen),
    /// Prints the plan of a seed.
    Plan {
        /// The seed.
        #[arg(long)]
        seed: u64,
    },
}

/// A seed and how to run it.
#[derive(clap::Args, Clone)]
struct Chosen {
    /// The seed.
    #[arg(long)]
    seed: u64,
    /// Number of a planted bug to switch on.
    #[arg(long, default_value_t = 0)]
    mutant: u32,
    /// The last line of the output is the result as JSON.
    #[arg(long)]
    json: bool,
    /// Prints a line for each event.
    #[arg(long)]
    trace: bool,
    /// Prints the server's log lines from this level on (error, warn, info, debug, trace).
    #[arg(long)]
    log: Option<String>,
}

fn main() -> ExitCode {
    match Args::parse().command {
        Command::Plan { seed } => {
            print!("{}", Plan::draw(seed));
            ExitCode::SUCCESS
        }
        Command::Run(chosen) => run(&chosen),
        Command::Replay(chosen) => run(&Chosen { trace: true, ..chosen }),
    }
}

#[cfg(madsim)]
fn run(chosen: &Chosen) -> ExitCode {
    if let Some(level) = &chosen.log {
        ring2::log_to_stderr(level);
    }
    let report = ring2::run(chosen.seed, chosen.mutant, chosen.trace);
    if let Some(violation) = &report.violation {
        eprintln!("seed {}: {violation}", chosen.seed);
    }
    if chosen.json {
        println!("{}", report.json());
    } else {
        println!("{report}");
    }
    if report.violation.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(not(madsim))]
fn run(chosen: &Chosen) -> ExitCode {
    let Chosen { seed, mutant, json, trace, log } = chosen;
    let _ = (mutant, json, trace, log);
    eprintln!(
        "highwater-sim: this build has no simulator in it, seed {seed} was not run; `cargo xtask sim` builds one in target/sim and runs seeds"
    );
    ExitCode::from(2)
}
