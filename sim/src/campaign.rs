//! Many seeds, one process each, several at once; and the search for the smallest part of a plan that still breaks a promise.
//!
//! A child prints one line of JSON: `{"seed":N,"ok":bool,"violation":text?,"hash":text,"counters":{name: number}}`, and exits with 0
//! (held), 1 (violation) or else (defect of the simulator).
#![allow(
    clippy::disallowed_methods,
    reason = "a launcher: it starts processes and tells people how long they take; nothing simulated runs in it"
)]

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use highwater_sim::plan::Plan;

use super::Nodes;

/// How many of the first seeds are run a second time.
const RUN_TWICE: u64 = 10;
/// Seconds between two lines of progress.
const PROGRESS: u64 = 15;
/// So many seeds of clusters must have had each of [`IN_CLUSTERS`].
const ENOUGH: u64 = 60;
/// What a campaign of clusters must have come to, at least once: else it shows less than it seems to.
const IN_CLUSTERS: [&str; 17] = [
    "elections_seen",
    "leader_changes",
    "leader_changes_under_writes",
    "leaders_cut_off",
    "crashes_of_leaders",
    "pauses_of_leaders",
    "one_way_partitions",
    "bridges",
    "swizzles",
    "nodes_that_stay_down",
    "writes_forwarded",
    "reads_on_followers",
    "clients_turn_to_another_node",
    "retried_under_its_id",
    "histories_linearizable",
    "replicas_compared",
    "N9 reset",
];

/// What to run.
#[derive(clap::Args, Clone)]
pub struct Options {
    /// First seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// How many at most.
    #[arg(long, default_value_t = 500)]
    seeds: u64,
    /// Stop after so many seconds, but not below the floor.
    #[arg(long)]
    seconds: Option<u64>,
    /// Run at least this many.
    #[arg(long, default_value_t = 100)]
    floor: u64,
    /// Processes at once (all CPUs).
    #[arg(long)]
    jobs: Option<usize>,
    /// Servers: 1 or 3, or mix for what each seed draws.
    #[arg(long, default_value = "1")]
    nodes: Nodes,
    /// A planted bug: stop at the first seed that finds it; finding it is success.
    #[arg(long)]
    mutant: Option<u32>,
    /// Seeds that are run before all others, as they once broke a promise.
    #[arg(long, value_delimiter = ',')]
    before: Vec<u64>,
    /// Do not stop at the first violation: every one is told, and all of them fail the campaign.
    #[arg(long)]
    keep_going: bool,
    /// Print each seed's line.
    #[arg(long)]
    json: bool,
}

/// The sums of a campaign so far.
#[derive(Default)]
struct Sums {
    done: u64,
    /// Per counter: the sum, and in how many seeds it was above zero.
    counters: BTreeMap<String, (u64, u64)>,
    /// Seeds that failed, with what they said.
    found: BTreeMap<u64, String>,
    /// The lines of the first seeds.
    first: BTreeMap<u64, String>,
}

impl Sums {
    /// Adds a line's counters. Its shape is this program's own, flat and without escapes inside `counters`.
    fn count(&mut self, line: &str) {
        let inside = line.split_once("\"counters\":{").and_then(|(_, rest)| rest.split_once('}'));
        for pair in inside.map(|(inside, _)| inside.split(',')).into_iter().flatten() {
            let Some((name, value)) = pair.split_once(':') else { continue };
            let Ok(value) = value.trim().parse::<u64>() else { continue };
            let (sum, seeds) = self.counters.entry(name.trim().trim_matches('"').to_owned()).or_default();
            // What is a maximum in each seed is one of the campaign, too.
            if name.contains("_at_most") {
                *sum = (*sum).max(value)
            } else {
                *sum += value
            }
            *seeds += u64::from(value > 0);
        }
    }

    fn of(&self, name: &str) -> u64 {
        self.counters.get(name).map_or(0, |(sum, _)| *sum)
    }
}

/// Starts one seed.
fn start(seed: u64, nodes: Nodes, mutant: Option<u32>, without: &[String]) -> Result<Child, String> {
    let program = std::env::current_exe().map_err(|error| format!("where is this program? {error}"))?;
    let mut command = Command::new(&program);
    command.args(["run", "--json", "--seed", &seed.to_string(), "--nodes", nodes.name()]);
    if let Some(mutant) = mutant {
        command.args(["--mutant", &mutant.to_string()]);
    }
    for part in without {
        command.args(["--without", part]);
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{}: {error}", program.display()))
}

/// The last line of a seed's output, whether it held, and the end of what it said.
fn finish(seed: u64, child: Child) -> Result<(String, bool, String), String> {
    let output = child.wait_with_output().map_err(|error| format!("seed {seed}: {error}"))?;
    let line = String::from_utf8_lossy(&output.stdout).lines().last().unwrap_or_default().to_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    let tail: Vec<&str> = errors.lines().rev().take(12).collect();
    let tail: Vec<&str> = tail.into_iter().rev().collect();
    Ok((line, output.status.success(), tail.join("\n")))
}

/// Runs seeds.
///
/// # Errors
/// A violation (unless a planted bug is looked for: then none), two runs of a seed that differ, or something that never happened.
pub fn run(options: &Options) -> Result<(), String> {
    let started = Instant::now();
    let jobs =
        options.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(2, std::num::NonZero::get)).max(1);
    let end = options.from.saturating_add(options.seeds);
    let mut before: Vec<u64> = if options.mutant.is_none() { options.before.clone() } else { Vec::new() };
    before.retain(|seed| !(options.from..end).contains(seed) || options.seconds.is_some());
    let (mut next, mut sums, mut told) = (options.from, Sums::default(), 0);
    let mut running: Vec<(u64, Child)> = Vec::new();
    loop {
        let late = options.seconds.is_some_and(|limit| started.elapsed() >= Duration::from_secs(limit));
        let enough = late && next - options.from >= options.floor;
        while running.len() < jobs && next < end && !enough && (sums.found.is_empty() || options.keep_going) {
            let seed = before.pop().unwrap_or(next);
            next += u64::from(seed == next);
            running.push((seed, start(seed, options.nodes, options.mutant, &[])?));
        }
        if running.is_empty() {
            break;
        }
        let (seed, child) = running.remove(0);
        let (line, held, said) = finish(seed, child)?;
        sums.done += 1;
        if options.json {
            println!("{line}");
        }
        sums.count(&line);
        if seed.checked_sub(options.from).is_some_and(|place| place < RUN_TWICE) {
            sums.first.insert(seed, line.clone());
        }
        if !held {
            if options.keep_going {
                println!("seed {seed}: {said}");
            }
            sums.found.insert(seed, format!("{line}\n{said}"));
        }
        let seconds = started.elapsed().as_secs();
        if seconds >= told + PROGRESS {
            told = seconds;
            println!("{} seeds, {seconds} s, {} failed; at seed {seed}", sums.done, sums.found.len());
        }
    }
    tell(&sums, started.elapsed());
    judge(options, &sums)
}

fn tell(sums: &Sums, took: Duration) {
    let per_hour = sums.done as f64 * 3600.0 / took.as_secs_f64().max(0.001);
    println!("{} seeds in {} s ({per_hour:.0} per hour)", sums.done, took.as_secs());
    for (name, (sum, seeds)) in &sums.counters {
        println!(
            "  {name:<30} {sum:>10} in all, in {seeds} seeds ({:.1} %)",
            *seeds as f64 * 100.0 / sums.done.max(1) as f64
        );
    }
}

fn judge(options: &Options, sums: &Sums) -> Result<(), String> {
    let first = sums.found.first_key_value();
    if let Some(mutant) = options.mutant {
        let Some((seed, what)) = first else {
            return Err(format!("mutant {mutant} was not found in {} seeds: a defect of the simulator", sums.done));
        };
        let needed = (seed + 1).saturating_sub(options.from);
        println!("mutant {mutant} found by seed {seed}, after {needed} seed(s):\n{what}");
        return Ok(());
    }
    if let Some((seed, what)) = first {
        let (count, nodes) = (sums.found.len(), options.nodes.name());
        let program = std::env::current_exe().unwrap_or_default();
        return Err(format!(
            "{count} seed(s) broke a promise, the first is {seed}; run it again with: {} replay --seed {seed} --nodes {nodes}\n{what}",
            program.display()
        ));
    }
    run_again(options, sums)?;
    let clusters = sums.of("seeds_of_3_nodes");
    let missing: Vec<&str> = IN_CLUSTERS.into_iter().filter(|name| sums.of(name) == 0).collect();
    if clusters >= ENOUGH && !missing.is_empty() {
        return Err(format!("in {clusters} seeds of clusters these never happened: {}", missing.join(", ")));
    }
    Ok(())
}

/// The same seeds in new processes must give the same lines, trace hash included: else no failure could be replayed.
fn run_again(options: &Options, sums: &Sums) -> Result<(), String> {
    for (seed, first) in &sums.first {
        let (second, ..) = finish(*seed, start(*seed, options.nodes, None, &[])?)?;
        if *first != second {
            return Err(format!("seed {seed} is not deterministic: two processes gave\n{first}\n{second}"));
        }
    }
    println!("{} seeds run twice: equal to the last bit of the trace hash", sums.first.len());
    Ok(())
}

/// Leaves parts of a failing seed's plan out, one after the other, for as long as it still fails.
///
/// # Errors
/// The seed does not fail, or a process cannot be started.
pub fn minimize(seed: u64, nodes: Nodes, mutant: u32) -> Result<(), String> {
    let mutant = (mutant > 0).then_some(mutant);
    let fails = |without: &[String]| -> Result<Option<String>, String> {
        let (line, held, _) = finish(seed, start(seed, nodes, mutant, without)?)?;
        Ok((!held).then_some(line))
    };
    let mut last = fails(&[])?.ok_or_else(|| format!("seed {seed} breaks no promise"))?;
    let parts = Plan::draw(seed, nodes.count()).parts();
    let mut without: Vec<String> = Vec::new();
    let mut size = parts.len();
    // Halves first, then ever smaller pieces, as delta debugging does.
    while size > 0 {
        for piece in parts.chunks(size) {
            let fresh: Vec<String> = piece.iter().filter(|part| !without.contains(part)).cloned().collect();
            if fresh.is_empty() {
                continue;
            }
            let tried: Vec<String> = without.iter().chain(&fresh).cloned().collect();
            if let Some(line) = fails(&tried)? {
                println!("not needed: {}", fresh.join(" "));
                (without, last) = (tried, line);
            }
        }
        size /= 2;
    }
    let needed: Vec<String> = parts.into_iter().filter(|part| !without.contains(part)).collect();
    let flags: Vec<String> = without.iter().map(|part| format!("--without {part}")).collect();
    println!("needed: {}\n{last}", needed.join(" "));
    println!("replay --seed {seed} --nodes {} {}", nodes.name(), flags.join(" "));
    Ok(())
}
