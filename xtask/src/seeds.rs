//! Simulated seeds: one process per seed, several at once, stopped by count or by time above a floor.
//!
//! `highwater-sim run --seed N --json` prints one line of JSON: `{"seed":N,"ok":bool,"violation":text?,"hash":text,
//! "counters":{name: number}}` and exits 0 (held), 1 (violation) or else (defect of the simulator).

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::steps;

/// Seeds that once broke a promise; they run before all others.
const REGRESSIONS: [u64; 1] = [
    // A consume under a request id took a partition's unknown outcome for "nothing", and its messages were lost.
    759,
];
/// How many of the first seeds are run a second time.
const RUN_TWICE: u64 = 10;

/// What to run.
pub struct Options {
    /// First seed.
    pub from: u64,
    /// How many at most.
    pub seeds: u64,
    /// Stop after this long, but not below the floor.
    pub seconds: Option<u64>,
    /// Run at least this many.
    pub floor: u64,
    /// Processes at once.
    pub jobs: usize,
    /// A planted bug: stop at the first seed that finds it.
    pub mutant: Option<u32>,
    /// Print each seed's line.
    pub json: bool,
}

impl Default for Options {
    fn default() -> Self {
        let jobs = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Self { from: 1, seeds: 500, seconds: None, floor: 100, jobs, mutant: None, json: false }
    }
}

/// `cargo xtask sim`.
pub fn command(args: &[String]) -> Result<(), String> {
    let mut options = Options::default();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        let mut number =
            || rest.next().and_then(|value| value.parse::<u64>().ok()).ok_or_else(|| format!("{arg} takes a number"));
        match arg.as_str() {
            "--from" => options.from = number()?,
            "--seeds" => options.seeds = number()?,
            "--seconds" => options.seconds = Some(number()?),
            "--floor" => options.floor = number()?,
            "--jobs" => options.jobs = usize::try_from(number()?).unwrap_or(1).max(1),
            "--mutant" => options.mutant = Some(u32::try_from(number()?).map_err(|_| "no such mutant")?),
            "--json" => options.json = true,
            other => return Err(format!("sim: no option '{other}'")),
        }
    }
    run(&options)
}

/// Runs seeds; the first violation ends it with an error, unless a planted bug is looked for.
pub fn run(options: &Options) -> Result<(), String> {
    let simulator = steps::build_simulator()?;
    let started = Instant::now();
    let mut next = options.from;
    let end = options.from.saturating_add(options.seeds);
    let mut regressions = if options.mutant.is_none() { REGRESSIONS.to_vec() } else { Vec::new() };
    regressions.retain(|seed| !(options.from..end).contains(seed) || options.seconds.is_some());
    let mut running: Vec<(u64, Child)> = Vec::new();
    let mut done = 0_u64;
    let mut totals: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let mut found: Option<(u64, String)> = None;
    let mut first_lines: BTreeMap<u64, String> = BTreeMap::new();
    loop {
        let late = options.seconds.is_some_and(|limit| started.elapsed() >= Duration::from_secs(limit));
        while running.len() < options.jobs
            && next < end
            && found.is_none()
            && !(late && next - options.from >= options.floor)
        {
            let seed = regressions.pop().unwrap_or(next);
            next += u64::from(seed == next);
            let mut command = Command::new(&simulator);
            command.args(["run", "--json", "--seed", &seed.to_string()]);
            if let Some(mutant) = options.mutant {
                command.args(["--mutant", &mutant.to_string()]);
            }
            let child = command
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .map_err(|error| format!("{}: {error}", simulator.display()))?;
            running.push((seed, child));
        }
        if running.is_empty() {
            break;
        }
        let (seed, child) = running.remove(0);
        let output = child.wait_with_output().map_err(|error| format!("seed {seed}: {error}"))?;
        done += 1;
        let line = String::from_utf8_lossy(&output.stdout);
        let line = line.lines().last().unwrap_or_default();
        if options.json {
            println!("{line}");
        }
        count(line, &mut totals);
        if seed.checked_sub(options.from).is_some_and(|place| place < RUN_TWICE) {
            first_lines.insert(seed, line.to_owned());
        }
        if !output.status.success() && found.as_ref().is_none_or(|(known, _)| seed < *known) {
            let errors = String::from_utf8_lossy(&output.stderr);
            let tail: Vec<&str> = errors.lines().rev().take(12).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            found = Some((seed, format!("{line}\n{}", tail.join("\n"))));
        }
        if done.is_multiple_of(50) {
            println!("{done} seeds, {} s", started.elapsed().as_secs());
        }
    }
    println!(
        "{done} seeds in {} s ({:.1} per minute)",
        started.elapsed().as_secs(),
        done as f64 * 60.0 / started.elapsed().as_secs_f64().max(0.001)
    );
    for (name, (sum, seeds)) in &totals {
        println!(
            "  {name:<28} {sum:>10} in all, in {seeds} seeds ({:.1} %)",
            *seeds as f64 * 100.0 / done.max(1) as f64
        );
    }
    if found.is_none() && options.mutant.is_none() {
        run_again(&simulator, &first_lines)?;
    }
    match (found, options.mutant) {
        (Some((seed, what)), Some(mutant)) => {
            println!(
                "mutant {mutant} found by seed {seed}, after {} seed(s):\n{what}",
                (seed + 1).saturating_sub(options.from)
            );
            Ok(())
        }
        (None, Some(mutant)) => {
            Err(format!("mutant {mutant} was not found in {done} seeds: a defect of the simulator"))
        }
        (Some((seed, what)), None) => Err(format!(
            "seed {seed} broke a promise; run it again with: {} run --seed {seed}\n{what}",
            simulator.display()
        )),
        (None, None) => Ok(()),
    }
}

/// The same seeds in new processes must give the same lines, trace hash included: else no failure could be replayed.
fn run_again(simulator: &Path, first_lines: &BTreeMap<u64, String>) -> Result<(), String> {
    for (seed, first) in first_lines {
        let output = Command::new(simulator)
            .args(["run", "--json", "--seed", &seed.to_string()])
            .output()
            .map_err(|error| format!("seed {seed}: {error}"))?;
        let second = String::from_utf8_lossy(&output.stdout);
        let second = second.lines().last().unwrap_or_default();
        if first != second {
            return Err(format!("seed {seed} is not deterministic: two processes gave\n{first}\n{second}"));
        }
    }
    println!("{} seeds run twice: equal to the last bit of the trace hash", first_lines.len());
    Ok(())
}

/// Adds a seed's counters: the sum, and in how many seeds it was above zero. The line's shape is the simulator's own, flat
/// and without escapes inside `counters`.
fn count(line: &str, totals: &mut BTreeMap<String, (u64, u64)>) {
    let Some(counters) =
        line.split_once("\"counters\":{").and_then(|(_, rest)| rest.split_once('}')).map(|(inside, _)| inside)
    else {
        return;
    };
    for pair in counters.split(',') {
        let Some((name, value)) = pair.split_once(':') else { continue };
        let Ok(value) = value.trim().parse::<u64>() else { continue };
        let total = totals.entry(name.trim().trim_matches('"').to_owned()).or_default();
        total.0 += value;
        total.1 += u64::from(value > 0);
    }
}
