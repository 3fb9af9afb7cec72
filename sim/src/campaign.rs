//! Many seeds, one process each, several at once; and the search for the smallest part of a plan that still breaks a promise.
//!
//! A child prints one line of JSON: `{"seed":N,"ok":bool,"violation":text?,"hash":text,"counters":{name: number}}`, and exits with 0
//! (held), 1 (violation) or else (defect of the simulator).
#![allow(
    clippy::disallowed_methods,
    reason = "a launcher: it starts processes and tells people how long they take; nothing simulated runs in it"
)]

use std::collections::BTreeMap;
use std::fmt;
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use clap::ValueEnum as _;
use highwater_sim::plan::Plan;

use super::Nodes;
use super::ledger::Ledger;

/// Seconds between two lines of progress.
const PROGRESS: u64 = 15;
/// So many seeds of clusters must have had each of [`IN_CLUSTERS`].
const ENOUGH: u64 = 60;
/// What a campaign of clusters must have come to, at least once: else it shows less than it seems to.
const IN_CLUSTERS: [&str; 69] = [
    // What befell it.
    "leaders_cut_off",
    "crashes_of_leaders",
    "crashes_during_recovery",
    "pauses_of_leaders",
    "one_way_partitions",
    "bridges",
    "swizzles",
    "resets_of_all_links",
    "slow_nodes",
    "slow_disks",
    "full_disks",
    "quiet_windows",
    "clock_jumps",
    "nodes_that_stay_down",
    "stopped_when_asked",
    "refused_without_its_disk",
    "N9 reset",
    "N13 corrupted",
    "leads_transferred",
    "moves_ordered",
    "rebalances_ordered",
    "nodes_started_to_join",
    "nodes_that_left",
    "rotten_disks_taken_out",
    "nights",
    // What it did about that.
    "elections_seen",
    "leader_changes",
    "leader_changes_under_writes",
    "leads_handed_over",
    "snapshots_put_in_place",
    "writes_forwarded",
    "hints_followed",
    "silent_leaders_left",
    "unknown_outcomes_learned",
    "answers_given_again",
    "statements_planned_anew",
    "proposals_displaced",
    "reads_on_followers",
    "reads_asked_for_again",
    "ranges_that_came_twice",
    "ranges_that_came_too_soon",
    "woken_by_a_proposal",
    "woken_by_a_read",
    "woken_by_a_lost_node",
    "woken_by_a_found_node",
    // What was seen of it.
    "clients_turn_to_another_node",
    "retried_under_its_id",
    "expired_requests_refused",
    "answers_ended",
    "acks_refused_as_they_should_be",
    "leads_gone_round",
    "probes_answered",
    "memberships_compared",
    "consumed_once_acknowledged",
    "tables_made_and_dropped",
    "tokens_ended",
    "shapes_changed_under_load",
    "changes_refused_as_they_should_be",
    "jobs_taken_up_again",
    "payments_made",
    "payments_refused",
    "sessions_committed",
    "transactions_committed",
    "transactions_that_met_a_change",
    "transactions_run_anew",
    "transactions_answered_again",
    "tokens_compared",
    "histories_linearizable",
    "replicas_compared",
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
    /// Servers: 1, 3 or 5, or mix for what each seed draws.
    #[arg(long, default_value = "mix")]
    nodes: Nodes,
    /// A planted bug: stop at the first seed that finds it; finding it is success.
    #[arg(long)]
    mutant: Option<u32>,
    /// Seeds that are run before all others, as they once broke a promise, each as SEED@NODES.
    #[arg(long, value_delimiter = ',')]
    before: Vec<Case>,
    /// Do not stop at the first violation: every one is told, and all of them fail the campaign.
    #[arg(long)]
    keep_going: bool,
    /// Run so many of the first seeds a second time: the traces must be equal.
    #[arg(long, default_value_t = 10)]
    twice: u64,
    /// A file to which each seed's line is added, and whose seeds of this commit are not run again.
    #[arg(long, requires = "commit")]
    ledger: Option<std::path::PathBuf>,
    /// The commit, for the ledger.
    #[arg(long)]
    commit: Option<String>,
    /// Print each seed's line.
    #[arg(long)]
    json: bool,
    /// Print nothing on the way.
    #[arg(skip)]
    is_quiet: bool,
}

impl Options {
    fn jobs(&self) -> usize {
        self.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(2, std::num::NonZero::get)).max(1)
    }
}

/// A seed, and with how many servers it is run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Case {
    seed: u64,
    nodes: Nodes,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--seed {} --nodes {}", self.seed, self.nodes.name())
    }
}

impl FromStr for Case {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is no SEED@NODES");
        let (seed, nodes) = text.split_once('@').ok_or_else(wrong)?;
        Ok(Self { seed: seed.parse().map_err(|_| wrong())?, nodes: Nodes::from_str(nodes, false)? })
    }
}

/// The sums of a campaign so far.
#[derive(Default)]
struct Sums {
    done: u64,
    /// Of those, the ones that stood in the ledger.
    known: u64,
    /// Per counter: the sum, and in how many seeds it was above zero.
    counters: BTreeMap<String, (u64, u64)>,
    /// Seeds that failed, with what they said.
    found: BTreeMap<Case, String>,
    /// The lines of the first seeds.
    first: BTreeMap<Case, String>,
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

    /// Takes a seed's line; what it said counts if a promise was broken, or if the process told nothing.
    fn take(&mut self, case: Case, options: &Options, line: String, said: &str) {
        self.done += 1;
        if options.json {
            highwater_sim::say!("{line}");
        }
        self.count(&line);
        if !is_held(&line) {
            self.found.insert(case, format!("{line}\n{said}"));
        }
        if case.nodes == options.nodes && case.seed.checked_sub(options.from).is_some_and(|place| place < options.twice)
        {
            self.first.insert(case, line);
        }
    }

    fn of(&self, name: &str) -> u64 {
        self.counters.get(name).map_or(0, |(sum, _)| *sum)
    }
}

/// Whether a seed's line says that every promise held.
fn is_held(line: &str) -> bool {
    line.contains("\"ok\":true")
}

/// Starts one seed.
fn start(case: Case, mutant: Option<u32>, without: &[String]) -> Result<Child, String> {
    let program = std::env::current_exe().map_err(|error| format!("where is this program? {error}"))?;
    let mut command = Command::new(&program);
    command.args(["run", "--json", "--seed", &case.seed.to_string(), "--nodes", case.nodes.name()]);
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
fn finish(case: Case, child: Child) -> Result<(String, bool, String), String> {
    let output = child.wait_with_output().map_err(|error| format!("{case}: {error}"))?;
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
    let sums = run_seeds(options)?;
    tell(&sums, started.elapsed());
    judge(options, &sums)
}

/// Looks for a planted bug in up to `seeds` seeds from `from`: how many were needed, and what was noticed.
///
/// # Errors
/// A process cannot be started.
pub fn hunt(
    mutant: u32,
    from: u64,
    seeds: u64,
    nodes: Nodes,
    jobs: Option<usize>,
) -> Result<Option<(u64, String)>, String> {
    let options = Options {
        from,
        seeds,
        seconds: None,
        floor: 0,
        jobs,
        nodes,
        mutant: Some(mutant),
        before: Vec::new(),
        keep_going: false,
        twice: 0,
        ledger: None,
        commit: None,
        json: false,
        is_quiet: true,
    };
    let sums = run_seeds(&options)?;
    let Some((case, said)) = sums.found.first_key_value() else { return Ok(None) };
    Ok(Some((case.seed + 1 - from, what_of(said))))
}

/// What a seed that failed noticed: its violation, or the last words of a process that did not come to its end.
fn what_of(said: &str) -> String {
    let line = said.lines().next().unwrap_or_default();
    let told = serde_json::from_str::<serde_json::Value>(line).ok();
    let violation = told.and_then(|told| told.get("violation")?.as_str().map(str::to_owned));
    let panicked = || said.lines().skip_while(|line| !line.contains("panicked at")).nth(1).map(str::to_owned);
    violation.or_else(panicked).unwrap_or_else(|| "the process died".to_owned())
}

/// Runs the seeds, and adds up what they told.
fn run_seeds(options: &Options) -> Result<Sums, String> {
    let started = Instant::now();
    let jobs = options.jobs();
    let end = options.from.saturating_add(options.seeds);
    let mut before: Vec<Case> = if options.mutant.is_none() { options.before.clone() } else { Vec::new() };
    let (mut next, mut sums, mut told) = (options.from, Sums::default(), 0);
    let ledger = options
        .ledger
        .clone()
        .map(|path| Ledger::new(path, options.commit.as_deref().unwrap_or_default(), options.nodes.name()));
    let mut known = ledger.as_ref().map(Ledger::results).transpose()?.unwrap_or_default();
    // Whoever is done first makes room for the next.
    let (tell, ended) = mpsc::channel();
    let mut running = 0;
    'seeds: loop {
        let late = options.seconds.is_some_and(|limit| started.elapsed() >= Duration::from_secs(limit));
        let enough = next >= end || (late && next - options.from >= options.floor);
        while running < jobs && (!before.is_empty() || !enough) && (sums.found.is_empty() || options.keep_going) {
            let case = before.pop().unwrap_or_else(|| {
                next += 1;
                Case { seed: next - 1, nodes: options.nodes }
            });
            if let Some(line) = known.remove(&case.seed).filter(|_| case.nodes == options.nodes) {
                sums.known += 1;
                sums.take(case, options, line, "it stands in the ledger");
                continue 'seeds;
            }
            let (child, tell) = (start(case, options.mutant, &[])?, tell.clone());
            std::thread::spawn(move || tell.send((case, finish(case, child))));
            running += 1;
        }
        if running == 0 {
            break;
        }
        let (case, outcome) = ended.recv().map_err(|_| "no seed runs any more")?;
        let (line, held, said) = outcome?;
        running -= 1;
        if let Some(ledger) = ledger.as_ref().filter(|_| case.nodes == options.nodes && line.starts_with('{')) {
            ledger.add(&line)?;
        }
        if !held && options.keep_going {
            highwater_sim::say!("{case}: {said}");
        }
        sums.take(case, options, line, &said);
        let seconds = started.elapsed().as_secs();
        if seconds >= told + PROGRESS && !options.is_quiet {
            told = seconds;
            highwater_sim::say!("{} seeds, {seconds} s, {} failed; at {case}", sums.done, sums.found.len());
        }
    }
    Ok(sums)
}

fn tell(sums: &Sums, took: Duration) {
    let run = sums.done - sums.known;
    let per_hour = run as f64 * 3600.0 / took.as_secs_f64().max(0.001);
    highwater_sim::say!(
        "{} seeds; {run} of them in {} s ({per_hour:.0} per hour), the others stood in the ledger",
        sums.done,
        took.as_secs()
    );
    for (name, (sum, seeds)) in &sums.counters {
        highwater_sim::say!(
            "  {name:<30} {sum:>10} in all, in {seeds} seeds ({:.1} %)",
            *seeds as f64 * 100.0 / sums.done.max(1) as f64
        );
    }
}

fn judge(options: &Options, sums: &Sums) -> Result<(), String> {
    let first = sums.found.first_key_value();
    if let Some(mutant) = options.mutant {
        let Some((Case { seed, .. }, what)) = first else {
            return Err(format!("mutant {mutant} was not found in {} seeds: a defect of the simulator", sums.done));
        };
        let needed = (seed + 1).saturating_sub(options.from);
        highwater_sim::say!("mutant {mutant} found by seed {seed}, after {needed} seed(s):\n{what}");
        return Ok(());
    }
    if let Some((case, what)) = first {
        let count = sums.found.len();
        let program = std::env::current_exe().unwrap_or_default();
        return Err(format!(
            "{count} seed(s) broke a promise; run the first again with: {} replay {case}\n{what}",
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
    let cases: Vec<(Case, String)> = sums.first.iter().map(|(case, line)| (*case, line.clone())).collect();
    for together in cases.chunks(options.jobs()) {
        let children: Vec<Child> =
            together.iter().map(|(case, _)| start(*case, None, &[])).collect::<Result<_, String>>()?;
        for ((case, first), child) in together.iter().zip(children) {
            let (second, ..) = finish(*case, child)?;
            if *first != second {
                return Err(format!("the run is not deterministic: two processes with {case} gave\n{first}\n{second}"));
            }
        }
    }
    highwater_sim::say!("{} seeds run twice: equal to the last bit of the trace hash", cases.len());
    Ok(())
}

/// Leaves parts of a failing seed's plan out, one after the other, for as long as it still fails.
///
/// # Errors
/// The seed does not fail, or a process cannot be started.
pub fn minimize(seed: u64, nodes: Nodes, mutant: u32) -> Result<(), String> {
    let (case, mutant) = (Case { seed, nodes }, (mutant > 0).then_some(mutant));
    let fails = |without: &[String]| -> Result<Option<String>, String> {
        let (line, held, _) = finish(case, start(case, mutant, without)?)?;
        Ok((!held).then_some(line))
    };
    let mut last = fails(&[])?.ok_or_else(|| format!("{case} breaks no promise"))?;
    let plan = Plan::draw(seed, nodes.count());
    let mut without: Vec<String> = Vec::new();
    // Halves first, then ever smaller pieces, as delta debugging does.
    let mut sweep = |parts: &[String], without: &mut Vec<String>| -> Result<(), String> {
        let mut size = parts.len();
        while size > 0 {
            for piece in parts.chunks(size) {
                let fresh: Vec<String> = piece.iter().filter(|part| !without.contains(part)).cloned().collect();
                if fresh.is_empty() {
                    continue;
                }
                let tried: Vec<String> = without.iter().chain(&fresh).cloned().collect();
                if let Some(line) = fails(&tried)? {
                    highwater_sim::say!("not needed: {}", fresh.join(" "));
                    (*without, last) = (tried, line);
                }
            }
            size /= 2;
        }
        Ok(())
    };
    let mut parts = plan.parts();
    sweep(&parts, &mut without)?;
    parts.retain(|part| !without.contains(part));
    // Of the clients that are needed, the operations.
    let operations: Vec<String> = parts.iter().flat_map(|part| plan.operations_of(part)).collect();
    sweep(&operations, &mut without)?;
    parts.retain(|part| plan.operations_of(part).is_empty());
    parts.extend(operations);
    let needed: Vec<String> = parts.into_iter().filter(|part| !without.contains(part)).collect();
    let flags: Vec<String> = without.iter().map(|part| format!("--without {part}")).collect();
    highwater_sim::say!("needed: {}\n{last}", needed.join(" "));
    highwater_sim::say!("replay {case} {}", flags.join(" "));
    Ok(())
}
