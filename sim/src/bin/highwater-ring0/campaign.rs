//! The campaign: every planted bug, looked for from several disjoint ranges of seeds, and the table of what that took.

use std::fmt::Write as _;

use clap::Args;

use crate::looked_for::{APART, HEAD, LookedFor};
use crate::page::{self, NOT_FOUND, chosen};
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
    #[command(flatten)]
    looked_for: LookedFor,
    /// Steps of the first phase of each seed.
    #[arg(long, default_value_t = 4000)]
    steps: u64,
    /// Threads.
    #[arg(long, default_value_t = 1)]
    jobs: usize,
}

/// Looks for every bug. The table, and the bugs that were not found.
pub fn run_all(options: &Campaign) -> (String, Vec<u32>) {
    let mut table = HEAD.to_owned();
    let mut missed = Vec::new();
    let looked_for = &options.looked_for;
    for number in chosen(PLANTED, &looked_for.only) {
        let (mut needed, mut noticed) = (Vec::new(), String::new());
        for campaign in 0..looked_for.campaigns {
            let from = APART * (campaign + 1);
            let (sums, _) = run(&Run {
                from,
                seeds: looked_for.seeds,
                steps: options.steps,
                seconds: None,
                jobs: options.jobs,
                twice: 0,
                mutant: Some(number),
                json: false,
            });
            match sums.found {
                Some((seed, what)) => {
                    needed.push(Some(seed - from + 1));
                    if noticed.is_empty() {
                        noticed = what;
                    }
                }
                None => needed.push(None),
            }
        }
        if needed.iter().all(Option::is_none) {
            missed.push(number);
            noticed.push_str(NOT_FOUND);
        }
        let line = looked_for.row(number, &needed, noticed.split_once(": ").map_or(&noticed, |(_, what)| what));
        highwater_sim::say!("{line}");
        let _ = writeln!(table, "{line}");
    }
    (table, missed)
}

/// The command. True if every bug was found.
pub fn run_campaign(options: &Campaign) -> bool {
    let LookedFor { only, write, .. } = &options.looked_for;
    if !has_planted_bugs() || write.as_ref().is_some_and(|page| page::read(page).is_none()) {
        return false;
    }
    let (mut table, missed) = run_all(options);
    let all = chosen(PLANTED, only).len();
    let _ = writeln!(table, "\n{} of {all} found.", all - missed.len());
    if write.as_ref().is_some_and(|page| !page::write(page, &table)) {
        return false;
    }
    if !missed.is_empty() {
        highwater_sim::say!("{NOT_FOUND}: {missed:?}");
    }
    missed.is_empty()
}
