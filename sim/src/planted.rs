//! The campaign of planted bugs: each is looked for from several disjoint ranges of seeds, and the table of what that took.
#![allow(clippy::disallowed_methods, reason = "a launcher: it asks how late it is; nothing simulated runs in it")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::table::{self as page, NOT_FOUND, brief, chosen};
use super::{Nodes, campaign};

/// Every planted bug that this ring is to find. What each is stands in docs/internals/simulation.md, where the table goes too.
const PLANTED: &[u32] = &[
    1, 2, 4, 7, 8, 9, 11, 13, 14, 15, 16, 17, 19, 20, 21, 22, 24, 25, 26, 28, 29, 30, 32, 33, 40, 42, 46, 80, 82, 83,
    84, 85, 86, 88,
];
/// From one campaign's first seed to the next one's; none are those that every commit runs.
const APART: u64 = 1_000_000;

/// What to look for.
#[derive(clap::Args, Clone)]
pub struct Options {
    /// Only these bugs.
    #[arg(long, num_args = 1..)]
    only: Vec<u32>,
    /// Campaigns for each bug, from disjoint seeds.
    #[arg(long, default_value_t = 5)]
    campaigns: u64,
    /// Seeds of one campaign, at most.
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// Servers: 1 or 3, or mix for what each seed draws.
    #[arg(long, default_value = "3")]
    nodes: Nodes,
    /// Processes at once (all CPUs).
    #[arg(long)]
    jobs: Option<usize>,
    /// Begin no campaign after so many seconds; what was not run is not in the table.
    #[arg(long)]
    seconds: Option<u64>,
    /// The page into which the table goes; rows of bugs that were not looked for stay.
    #[arg(long)]
    write: Option<PathBuf>,
}

/// Looks for every bug.
///
/// # Errors
/// One was not found, there are none in this build, or the page has no place for the table.
pub fn run(options: &Options) -> Result<(), String> {
    if !cfg!(feature = "mutants") {
        return Err("this build has no planted bugs in it; build it with --features highwater-sim/mutants".to_owned());
    }
    let started = Instant::now();
    let mut rows = BTreeMap::new();
    if let Some(page) = &options.write {
        rows = rows_of(&page::read(page).ok_or("the table cannot be written")?);
    }
    let mut missed = Vec::new();
    for number in chosen(PLANTED, &options.only) {
        let (mut needed, mut runs, mut noticed) = (Vec::new(), 0, String::new());
        for campaign in 1..=options.campaigns {
            if options.seconds.is_some_and(|limit| started.elapsed() >= Duration::from_secs(limit)) {
                break;
            }
            let found = campaign::hunt(number, APART * campaign, options.seeds, options.nodes, options.jobs)?;
            runs += 1;
            if let Some((seeds, what)) = found {
                needed.push(seeds);
                if noticed.is_empty() {
                    noticed = what;
                }
            }
        }
        if runs == 0 {
            continue;
        }
        if needed.is_empty() {
            missed.push(number);
            noticed = NOT_FOUND.to_owned();
        }
        let row = row(number, runs, options.seeds, &needed, &noticed);
        println!("{row}");
        rows.insert(number, row);
        // After each, as all together take hours.
        if let Some(page) = &options.write
            && !page::write(page, &table(&rows))
        {
            return Err("the table was not written".to_owned());
        }
    }
    if missed.is_empty() { Ok(()) } else { Err(format!("{NOT_FOUND}: {missed:?}")) }
}

fn row(number: u32, runs: u64, cap: u64, needed: &[u64], noticed: &str) -> String {
    let mut sorted = needed.to_vec();
    sorted.sort_unstable();
    let median = sorted.get(sorted.len() / 2).map_or_else(|| format!("> {cap}"), u64::to_string);
    let each: Vec<String> = needed.iter().map(u64::to_string).collect();
    format!("| {number} | {} of {runs} | {} | {median} | {} |", needed.len(), each.join(", "), brief(noticed, 130))
}

fn table(rows: &BTreeMap<u32, String>) -> String {
    let mut table = String::from("| bug | found in | seeds needed | median | noticed as |\n|---|---|---|---|---|\n");
    for row in rows.values() {
        let _ = writeln!(table, "{row}");
    }
    let missed = rows.values().filter(|row| row.contains(NOT_FOUND)).count();
    let _ = writeln!(table, "\n{} of {} found.", rows.len() - missed, rows.len());
    table
}

/// The rows of a table that is there, by number.
fn rows_of(table: &str) -> BTreeMap<u32, String> {
    let number = |row: &str| row.split('|').nth(1)?.trim().parse::<u32>().ok();
    table.lines().filter_map(|row| number(row).map(|number| (number, row.to_owned()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_tells_in_how_many_campaigns_a_bug_was_found_and_after_how_many_seeds() {
        assert_eq!(row(24, 3, 200, &[5, 1, 9], "a | b"), "| 24 | 3 of 3 | 5, 1, 9 | 5 | a / b |");
        assert_eq!(row(24, 2, 200, &[], NOT_FOUND), "| 24 | 0 of 2 |  | > 200 | NOT FOUND |");
    }

    #[test]
    fn rows_of_a_page_are_known_again() {
        let rows = BTreeMap::from([(7, row(7, 1, 9, &[2], "x")), (13, row(13, 1, 9, &[], NOT_FOUND))]);
        let written = table(&rows);
        assert_eq!(rows_of(&written), rows);
        assert!(written.ends_with("1 of 2 found.\n"));
    }
}
