//! The campaign of planted bugs: each is looked for from several disjoint ranges of seeds, and the table of what that took.
#![allow(clippy::disallowed_methods, reason = "a launcher: it asks how late it is; nothing simulated runs in it")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::looked_for::{APART, HEAD, LookedFor};
use super::page::{self, NOT_FOUND, chosen};
use super::{Nodes, campaign};

/// Every planted bug that this ring is to find. What each is stands in docs/internals/simulation.md, where the table goes too.
const PLANTED: &[u32] = &[
    1, 2, 4, 7, 8, 9, 11, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 40,
    42, 46, 50, 80, 82, 83, 84, 85, 86, 88, 89, 90,
];

/// What to look for.
#[derive(clap::Args, Clone)]
pub struct Options {
    /// Rows of bugs that are not looked for stay in the table.
    #[command(flatten)]
    looked_for: LookedFor,
    /// Servers: 1, 3 or 5, or mix for what each seed draws.
    #[arg(long, default_value = "3")]
    nodes: Nodes,
    /// Processes at once (all CPUs).
    #[arg(long)]
    jobs: Option<usize>,
    /// Begin no campaign after so many seconds; what was not run is not in the table.
    #[arg(long)]
    seconds: Option<u64>,
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
    let looked_for = &options.looked_for;
    let mut rows = BTreeMap::new();
    if let Some(page) = &looked_for.write {
        rows = rows_of(&page::read(page).ok_or("the table cannot be written")?);
    }
    let mut missed = Vec::new();
    for number in chosen(PLANTED, &looked_for.only) {
        let (mut needed, mut noticed) = (Vec::new(), String::new());
        for campaign in 1..=looked_for.campaigns {
            if options.seconds.is_some_and(|limit| started.elapsed() >= Duration::from_secs(limit)) {
                break;
            }
            let found = campaign::hunt(number, APART * campaign, looked_for.seeds, options.nodes, options.jobs)?;
            needed.push(found.as_ref().map(|(seeds, _)| *seeds));
            if let Some((_, what)) = found.filter(|_| noticed.is_empty()) {
                noticed = what;
            }
        }
        if needed.is_empty() {
            continue;
        }
        if needed.iter().all(Option::is_none) {
            missed.push(number);
            noticed = NOT_FOUND.to_owned();
        }
        let row = looked_for.row(number, &needed, &noticed);
        highwater_sim::say!("{row}");
        rows.insert(number, row);
        // After each, as all together take hours.
        if let Some(page) = &looked_for.write
            && !page::write(page, &table(&rows))
        {
            return Err("the table was not written".to_owned());
        }
    }
    if missed.is_empty() { Ok(()) } else { Err(format!("{NOT_FOUND}: {missed:?}")) }
}

fn table(rows: &BTreeMap<u32, String>) -> String {
    let mut table = HEAD.to_owned();
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
    fn rows_of_a_page_are_known_again() {
        let rows = BTreeMap::from([
            (7, "| 7 | 1 of 1 | 2 | 2 | x |".to_owned()),
            (13, format!("| 13 | 0 of 1 | over 9 | over 9 | {NOT_FOUND} |")),
        ]);
        let written = table(&rows);
        assert_eq!(rows_of(&written), rows);
        assert!(written.ends_with("1 of 2 found.\n"));
    }
}
