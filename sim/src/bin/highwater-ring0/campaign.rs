//! The campaign: every planted bug, looked for from several disjoint ranges of seeds, and the table of what that took.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;

use crate::page::{self, NOT_FOUND, brief, chosen};
use crate::seeds::has_planted_bugs;
use crate::{Run, run};

/// Every planted bug of this ring, in the order of the documentation.
pub const PLANTED: &[u32] = &[
    1, 2, 3, 4, 7, 8, 9, 10, 11, 12, 14, 17, 19, 20, 21, 22, 24, 36, 37, 38, 39, 40, 47, 48, 49, 60, 61, 62, 63, 64,
    65, 66, 67, 68, 69, 70, 71, 73, 74, 75,
];

/// Options of `mutants`.
#[derive(Args, Clone)]
pub struct Campaign {
    /// Only these bugs.
    #[arg(long, num_args = 1..)]
    only: Vec<u32>,
    /// Campaigns for each bug, from disjoint seeds.
    #[arg(long, default_value_t = 5)]
    campaigns: u64,
    /// Seeds of one campaign, at most.
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// Steps of the first phase of each seed.
    #[arg(long, default_value_t = 4000)]
    steps: u64,
    /// Threads.
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// The page into which the table goes.
    #[arg(long)]
    write: Option<PathBuf>,
}

/// Looks for every bug. The table, and the bugs that were not found.
pub fn run_all(options: &Campaign) -> (String, Vec<u32>) {
    let mut table = String::from("| bug | found in | seeds needed | median | noticed as |\n|---|---|---|---|---|\n");
    let mut missed = Vec::new();
    for number in chosen(PLANTED, &options.only) {
        let (mut needed, mut noticed) = (Vec::new(), String::new());
        for campaign in 0..options.campaigns {
            // Far apart, and not the seeds that every commit runs.
            let from = 1_000_000 * (campaign + 1);
            let (sums, _) = run(&Run {
                from,
                seeds: options.seeds,
                steps: options.steps,
                seconds: None,
                jobs: options.jobs,
                twice: 0,
                mutant: Some(number),
                json: false,
            });
            match sums.found {
                Some((seed, what)) => {
                    needed.push(seed - from + 1);
                    if noticed.is_empty() {
                        noticed = what;
                    }
                }
                None => needed.push(u64::MAX),
            }
        }
        needed.sort_unstable();
        let found = needed.iter().filter(|seeds| **seeds != u64::MAX).count();
        if found == 0 {
            missed.push(number);
            noticed.push_str(NOT_FOUND);
        }
        let show = |seeds: &u64| if *seeds == u64::MAX { format!("over {}", options.seeds) } else { seeds.to_string() };
        let median = needed.get(needed.len() / 2).map_or_else(String::new, show);
        let all: Vec<String> = needed.iter().map(show).collect();
        let line = format!(
            "| {number} | {found} of {} | {} | {median} | {} |",
            options.campaigns,
            all.join(", "),
            brief(noticed.split_once(": ").map_or(&noticed, |(_, what)| what), 110)
        );
        println!("{line}");
        let _ = writeln!(table, "{line}");
    }
    (table, missed)
}

/// The command. True if every bug was found.
pub fn run_campaign(options: &Campaign) -> bool {
    if !has_planted_bugs() || options.write.as_ref().is_some_and(|page| page::read(page).is_none()) {
        return false;
    }
    let (mut table, missed) = run_all(options);
    let all = chosen(PLANTED, &options.only).len();
    let _ = writeln!(table, "\n{} of {all} found.", all - missed.len());
    if options.write.as_ref().is_some_and(|page| !page::write(page, &table)) {
        return false;
    }
    if !missed.is_empty() {
        println!("{NOT_FOUND}: {missed:?}");
    }
    missed.is_empty()
}
