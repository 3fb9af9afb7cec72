//! `highwater-sim`: ring 2, the real server code under madsim, SQL through HTTP, crashes, partitions and recovery. One process runs one
//! seed.
//!
//! Exit codes: 0 every promise held, 1 one was broken, 2 bad usage, 141 whoever read the output has gone, anything else is a
//! defect of the simulator.

mod campaign;
#[allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a launcher's file of what was run; nothing simulated runs in it"
)]
mod ledger;
#[path = "rings/looked_for.rs"]
mod looked_for;
#[path = "rings/page.rs"]
#[allow(
    clippy::disallowed_methods,
    reason = "a page of the documentation is read and written; nothing simulated runs in it"
)]
mod page;
mod planted;
#[cfg(madsim)]
mod ring2;
mod written;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use highwater_sim::plan::Plan;

/// Simulates a node or a cluster through crashes, partitions and recoveries, and holds every answer against a model.
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
    /// Writes the page of a run whose trace was kept: what `replay` printed.
    Report {
        /// The trace.
        #[arg(long)]
        trace: std::path::PathBuf,
        /// The page.
        #[arg(long, value_name = "FILE.html")]
        report: std::path::PathBuf,
    },
    /// Runs many seeds, one process each, and adds up what happened.
    Campaign(campaign::Options),
    /// Looks for every planted bug, and says how many seeds each took.
    Mutants(planted::Options),
    /// Finds the parts of a failing seed's plan that it needs to fail.
    Minimize {
        /// The seed.
        #[arg(long)]
        seed: u64,
        /// Servers: 1, 3 or 5, or mix for what the seed draws.
        #[arg(long, default_value = "mix")]
        nodes: Nodes,
        /// Number of a planted bug to switch on.
        #[arg(long, default_value_t = 0)]
        mutant: u32,
    },
    /// Prints the plan of a seed.
    Plan {
        /// The seed.
        #[arg(long)]
        seed: u64,
        /// Servers: 1, 3 or 5, or mix for what the seed draws.
        #[arg(long, default_value = "mix")]
        nodes: Nodes,
    },
}

/// How many servers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
enum Nodes {
    #[value(name = "1")]
    One,
    #[value(name = "3")]
    Three,
    #[value(name = "5")]
    Five,
    Mix,
}

impl Nodes {
    const fn count(self) -> Option<usize> {
        match self {
            Self::One => Some(1),
            Self::Three => Some(3),
            Self::Five => Some(5),
            Self::Mix => None,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::One => "1",
            Self::Three => "3",
            Self::Five => "5",
            Self::Mix => "mix",
        }
    }
}

/// A seed and how to run it.
#[derive(clap::Args, Clone)]
struct Chosen {
    /// The seed.
    #[arg(long)]
    seed: u64,
    /// Servers: 1, 3 or 5, or mix for what the seed draws.
    #[arg(long, default_value = "mix")]
    nodes: Nodes,
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
    /// Writes a page with the run's timeline: nodes, leaders, partitions, crashes, clients' requests.
    #[arg(long, value_name = "FILE.html")]
    report: Option<std::path::PathBuf>,
    /// Leaves a part of the plan out, as `minimize` names them; may be repeated.
    #[arg(long)]
    without: Vec<String>,
}

impl Chosen {
    /// The plan, without what is left out.
    fn plan(&self) -> Result<Plan, String> {
        let mut plan = Plan::draw(self.seed, self.nodes.count());
        for part in &self.without {
            plan.leave_out(part)?;
        }
        Ok(plan)
    }
}

fn main() -> ExitCode {
    match Args::parse().command {
        Command::Plan { seed, nodes } => {
            highwater_sim::output::write(format_args!("{}", Plan::draw(seed, nodes.count())));
            ExitCode::SUCCESS
        }
        Command::Campaign(options) => ended(campaign::run(&options)),
        Command::Mutants(options) => ended(planted::run(&options)),
        Command::Minimize { seed, nodes, mutant } => ended(campaign::minimize(seed, nodes, mutant)),
        Command::Report { trace, report } => ended(written::of_trace(&trace, &report)),
        Command::Run(chosen) => run(&chosen),
        Command::Replay(chosen) => run(&Chosen { trace: true, ..chosen }),
    }
}

fn ended(outcome: Result<(), String>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(madsim)]
fn run(chosen: &Chosen) -> ExitCode {
    if let Some(level) = &chosen.log {
        ring2::log_to_stderr(level);
    }
    let plan = match chosen.plan() {
        Ok(plan) => plan,
        Err(reason) => {
            eprintln!("{reason}");
            return ExitCode::from(2);
        }
    };
    let shown = plan.to_string();
    let (report, trace) = ring2::run(plan, chosen.mutant, chosen.trace, chosen.report.is_some());
    if let Some(page) = &chosen.report {
        let texts = highwater_sim::report::page::Texts {
            title: format!("Simulated run of seed {}, nodes: {}", chosen.seed, chosen.nodes.name()),
            verdict: report.violation.as_deref().unwrap_or("every promise held").to_owned(),
            plan: shown,
            counters: report.to_string(),
        };
        if let Err(reason) = written::write(&texts, &trace, page) {
            eprintln!("{reason}");
            return ExitCode::from(2);
        }
    }
    if let Some(violation) = &report.violation {
        eprintln!("seed {}: {violation}", chosen.seed);
    }
    if chosen.json {
        highwater_sim::say!("{}", report.json());
    } else {
        highwater_sim::say!("{report}");
    }
    if report.violation.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(not(madsim))]
fn run(chosen: &Chosen) -> ExitCode {
    let Chosen { seed, mutant, json, trace, log, report, .. } = chosen;
    let _ = (chosen.plan(), mutant, json, trace, log, report);
    eprintln!(
        "highwater-sim: this build has no simulator in it, seed {seed} was not run; `cargo xtask sim` builds one in target/sim and runs seeds"
    );
    ExitCode::from(2)
}
