//! The campaign: every planted bug, looked for by exhaustion and by sampling, and the table of what each took.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;

use crate::page::{self, NOT_FOUND, brief, chosen};
use crate::seeds::has_planted_bugs;
use crate::workload::Workload;
use crate::{Sample, choose, exhaust, sample_seeds};

/// Every planted bug that lies in the engine, in the order of the documentation.
const PLANTED: &[u32] = &[
    4, 5, 6, 13, 41, 42, 43, 44, 45, 46, 101, 102, 103, 104, 105, 106, 107, 108, 109, 110, 111, 112, 113, 114, 115,
    116, 117, 118, 119, 120, 121, 122, 123, 124, 125, 126, 127, 128, 129, 130, 131, 132, 133, 134, 135, 136, 137, 138,
    139, 140,
];

/// Options of `mutants`.
#[derive(Args, Clone)]
pub struct Campaign {
    /// Only these bugs.
    #[arg(long, num_args = 1..)]
    only: Vec<u32>,
    /// Seeds to try for each, at most.
    #[arg(long, default_value_t = 3000)]
    seeds: u64,
    /// In the exhaustive search, try only every n-th crash point and failing operation.
    #[arg(long, default_value_t = 3)]
    every: usize,
    /// Threads.
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// The page into which the table goes.
    #[arg(long)]
    write: Option<PathBuf>,
}

/// Looks for every bug. True if each was found in one way or the other.
pub fn run(options: &Campaign) -> bool {
    if !has_planted_bugs() {
        return false;
    }
    let mut missed = Vec::new();
    let mut rows = BTreeMap::new();
    if let Some(page) = &options.write {
        let Some(table) = page::read(page) else { return false };
        if !options.only.is_empty() {
            rows = rows_of(&table);
        }
    }
    for number in chosen(PLANTED, &options.only) {
        let (states, seconds, exhausted) = by_exhaustion(number, options);
        let sums = sample_seeds(&Sample::looking_for(number, options.seeds, options.jobs));
        let sampled = sums.found.as_ref();
        let noticed = exhausted.as_deref().or(sampled.map(|(_, what)| what.as_str())).unwrap_or(NOT_FOUND);
        let one = exhausted
            .as_ref()
            .map_or(format!("not in {states}, {seconds:.1} s"), |_| format!("{states}, {seconds:.1} s"));
        let other = sampled.map_or(format!("not in {} seeds", sums.seeds), |(seed, _)| {
            format!("{seed}, {:.1} s", sums.took.as_secs_f64())
        });
        let noticed = brief(&without_fates(noticed), 150);
        rows.insert(number, format!("| {number} | {one} | {other} | {noticed} |"));
        highwater_sim::say!("{number}: exhaustion {one}; sampling {other}; {noticed}");
        if exhausted.is_none() && sampled.is_none() {
            missed.push(number);
        }
    }
    let table = table(&rows, options.every);
    highwater_sim::say!("\n{table}");
    choose(None);
    if options.write.as_ref().is_some_and(|page| !page::write(page, &table)) {
        return false;
    }
    if !missed.is_empty() {
        highwater_sim::say!("{NOT_FOUND}: {missed:?}");
    }
    missed.is_empty()
}

/// The rows that a page has already: those of bugs that are not looked for now stay.
fn rows_of(table: &str) -> BTreeMap<u32, String> {
    let numbered = |row: &str| Some((row.strip_prefix("| ")?.split(' ').next()?.parse().ok()?, row.to_owned()));
    table.lines().filter_map(numbered).collect()
}

/// All rows, with what they add up to.
fn table(rows: &BTreeMap<u32, String>, every: usize) -> String {
    let mut table = String::from(
        "| bug | by exhaustion: states opened, seconds | by sampling: seed, seconds | noticed as |\n|---|---|---|---|\n",
    );
    for row in rows.values() {
        let _ = writeln!(table, "{row}");
    }
    let missed = rows.values().filter(|row| row.contains(NOT_FOUND)).count();
    let seed_of = |row: &String| row.split(" | ").nth(2)?.split(',').next()?.parse::<u64>().ok();
    let mut seeds: Vec<u64> = rows.values().filter_map(seed_of).collect();
    seeds.sort_unstable();
    let median = seeds.get(seeds.len() / 2).copied().unwrap_or(0);
    let _ = writeln!(
        table,
        "\n{} of {} found; by sampling {}, the median at seed {median}. Exhaustion tried every {every}th crash point.",
        rows.len() - missed,
        rows.len(),
        seeds.len(),
    );
    table
}

fn by_exhaustion(number: u32, options: &Campaign) -> (u64, f64, Option<String>) {
    choose(Some(number));
    let began = Instant::now();
    let plan = exhaust::Plan { jobs: options.jobs, mutant: Some(number), every: options.every, only: None };
    let mut states = 0;
    for (position, workload) in (1..).zip(Workload::all()) {
        let (effort, outcome) = exhaust::run(workload, position, &plan);
        states += effort.opened();
        if let Err(what) = outcome {
            return (states, began.elapsed().as_secs_f64(), Some(what));
        }
    }
    (states, began.elapsed().as_secs_f64(), None)
}

/// The first line of what was found, without the drawn fates.
fn without_fates(what: &str) -> String {
    let line = what.lines().next().unwrap_or_default();
    match (line.find('['), line.find("]: ")) {
        (Some(from), Some(to)) if from < to => {
            format!("{}{}", line.get(..from).unwrap_or_default(), line.get(to + 3..).unwrap_or_default())
        }
        _ => line.to_owned(),
    }
}
