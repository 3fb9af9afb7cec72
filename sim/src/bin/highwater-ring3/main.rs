//! Ring 3: real processes on io_uring under load and faults, every acknowledgement checked.
//!
//! Three nodes on loopback reach each other through wires of ours. Per round one fault befalls them: SIGKILL, SIGSTOP, cut wires, a full
//! disk. Clients insert, read, set registers, consume and ack throughout. After every round everything is healed and looked at: nothing
//! acknowledged is lost, nothing is there twice, no read was stale, offsets only rose, all nodes have the same.
//! What it does is described in docs/internals/ring3.md.
//!
//! Exit codes: 0 every promise held, 1 one was broken, 2 bad usage or no result.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    reason = "a checker of real processes: it starts programs, threads and connections; indexing JSON gives null, it never panics"
)]

mod check;
mod client;
mod cluster;
mod consumers;
mod disk;
mod fault;
mod figures;
mod flushes;
mod gate;
mod history;
mod patience;
mod probes;
mod readers;
mod registers;
mod round;
mod stage;
mod wires;
mod writers;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use clap::Parser;
use highwater_runtime::rng::Rng;

use cluster::{Cluster, Shape};
use fault::{Fault, Kind};
use figures::Figures;
use round::{Clients, Outcome};
use stage::Stage;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Rounds of one cluster; then a new one begins, so that the look at everything stays short.
const ROUNDS_OF_A_CLUSTER: u32 = 20;

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Kills, stops, cuts off and fills real nodes under load, and checks every acknowledgement.
#[derive(Parser, Clone)]
#[command(name = "highwater-ring3", version)]
pub struct Args {
    /// Rounds of each kind of fault.
    #[arg(long, default_value_t = 20)]
    rounds: u32,
    /// Kinds: kill-leader, kill-follower, kill-all, pause-leader, partition, one-way, full-disk. All that the number of nodes allows
    /// unless given.
    #[arg(long, value_delimiter = ',')]
    faults: Vec<Kind>,
    /// Nodes: 3, or 1 for kill-all alone.
    #[arg(long, default_value_t = 3, value_parser = nodes)]
    nodes: usize,
    /// The server.
    #[arg(long, default_value = "target/release/highwaterd")]
    server: PathBuf,
    /// Folder of the nodes; must not exist, and is removed. The logs of a broken promise are kept beside it, in DIR-logs.
    #[arg(long, default_value = "target/ring3-data")]
    data_dir: PathBuf,
    /// The first of 20 ports on loopback.
    #[arg(long, default_value_t = 29_300)]
    port: u16,
    /// Seed of the faults' times.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The last line is the result as JSON.
    #[arg(long)]
    json: bool,
    /// Instead: insert this many rows over one connection into a node and compare with the device's count of flushes.
    #[arg(long)]
    count_flushes: Option<u64>,
}

fn nodes(text: &str) -> Result<usize, String> {
    match text {
        "1" => Ok(1),
        "3" => Ok(3),
        _ => Err("there are 1 and 3".into()),
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("highwater-ring3: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &Args) -> Result<bool, Failure> {
    if args.data_dir.exists() {
        return Err(format!("{} exists; remove it or name another --data-dir", args.data_dir.display()).into());
    }
    if let Some(rows) = args.count_flushes {
        return flushes::compare(&Shape::of(args, false), rows);
    }
    let mut kinds = args.faults.clone();
    match (args.nodes, kinds.is_empty()) {
        (1, true) => kinds.push(Kind::KillAll),
        (_, true) => kinds.extend(Kind::ALL),
        (1, false) if kinds != [Kind::KillAll] => return Err("one node allows kill-all only".into()),
        (_, false) => {}
    }
    let (mut figures, begun) = (Figures::default(), Instant::now());
    for kind in kinds {
        for first in (0..args.rounds).step_by(ROUNDS_OF_A_CLUSTER as usize) {
            let rounds = first..args.rounds.min(first + ROUNDS_OF_A_CLUSTER);
            if figures.violations.is_empty() {
                life(args, kind, rounds, &mut figures)?;
            }
        }
    }
    highwater_sim::say!("\n{figures}, {} s", begun.elapsed().as_secs());
    if args.json {
        highwater_sim::say!("{}", figures.json());
    }
    Ok(figures.violations.is_empty())
}

/// One cluster from its first start to its end.
fn life(args: &Args, kind: Kind, rounds: std::ops::Range<u32>, figures: &mut Figures) -> Result<(), Failure> {
    let is_disk = kind == Kind::FullDisk;
    let mut cluster = Cluster::start(&Shape::of(args, is_disk))?;
    // Full disks need load that needs space.
    let stage = Arc::new(Stage::new(cluster.shape.site(), if is_disk { 8000 } else { 100 }));
    let outcome = rounds_of(args, kind, rounds, &mut cluster, &stage, figures);
    stage.gate.close();
    let violations = stage.history.violations();
    let logs = args.data_dir.with_file_name(format!(
        "{}-logs",
        args.data_dir.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
    ));
    cluster.remove((!violations.is_empty() || outcome.is_err()).then_some(logs.as_path()))?;
    figures.add_cluster(&stage.history.counts, outcome.as_ref().ok().and_then(Option::as_ref), violations);
    outcome.map(drop)
}

/// The rounds of one cluster; answers the last one.
fn rounds_of(
    args: &Args,
    kind: Kind,
    rounds: std::ops::Range<u32>,
    cluster: &mut Cluster,
    stage: &Arc<Stage>,
    figures: &mut Figures,
) -> Result<Option<Outcome>, Failure> {
    stage.set_up()?;
    stage.gate.enter(gate::Phase::Check, 0)?;
    let (threads, load) = stage.enter();
    let clients = Clients { load, all: threads.len() };
    let mut last = None;
    for round in rounds {
        let mut rng = Rng::new(args.seed.wrapping_mul(1000).wrapping_add(u64::from(round)));
        let fault = Fault::draw(kind, round, &mut rng);
        let outcome = round::run(cluster, stage, clients, fault)?;
        highwater_sim::say!(
            "{} {}/{}: first write after {:.2} s, healthy {:.2} s after its end; {} rows, {} messages{}",
            fault.label(),
            round + 1,
            args.rounds,
            outcome.first_write.as_secs_f64(),
            outcome.healthy.as_secs_f64(),
            outcome.looked.rows,
            outcome.looked.messages,
            match (kind, outcome.refused, outcome.stopped) {
                (Kind::FullDisk, _, 1..) => "; the node had stopped itself",
                (Kind::FullDisk, true, _) => "; its store refused writes",
                (Kind::FullDisk, false, _) => "; its store never needed space",
                _ => "",
            }
        );
        figures.add(&outcome);
        last = Some(outcome);
        if stage.history.is_broken() {
            break;
        }
    }
    stage.gate.close();
    for thread in threads {
        thread.join().map_err(|_| "a client thread panicked")?;
    }
    Ok(last)
}
