//! The campaign: every planted bug, looked for from several disjoint ranges of seeds, and the table of what that took.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;

use crate::{Run, run};

/// Every planted bug of this ring, in the order of the documentation.
pub const PLANTED: &[u32] = &[
    1, 2, 3, 4, 7, 8, 9, 10, 11, 12, 14, 17, 19, 20, 21, 22, 24, 36, 37, 38, 39, 40, 47, 48, 49, 60, 61, 62, 63, 64,
    65, 66, 67, 68, 69, 70, 71, 73, 74, 75,
];
/// The table stands between these lines of the page.
const BEGIN: &str = "<!-- campaign: begin -->";
const END: &str = "<!-- campaign: end -->";

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
    let chosen = PLANTED.iter().copied().filter(|number| options.only.is_empty() || options.only.contains(number));
    for number in chosen {
        let (mut needed, mut noticed) = (Vec::new(), String::new());
        for campaign in 0..options.campaigns {
            // Far apart, and not the seeds that every commit runs.
            let from = 1_000_000 * (campaign + 1);
            let sums = run(&Run {
                from,
                seeds: options.seeds,
                steps: options.steps,
                seconds: None,
                jobs: options.jobs,
                twice: u64::MAX,
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
            noticed.push_str("NOT FOUND");
        }
        let show = |seeds: &u64| if *seeds == u64::MAX { format!("over {}", options.seeds) } else { seeds.to_string() };
        let median = needed.get(needed.len() / 2).map_or_else(String::new, show);
        let all: Vec<String> = needed.iter().map(show).collect();
        let line = format!(
            "| {number} | {found} of {} | {} | {median} | {} |",
            options.campaigns,
            all.join(", "),
            brief(&noticed)
        );
        println!("{line}");
        let _ = writeln!(table, "{line}");
    }
    (table, missed)
}

/// The command. True if every bug was found.
pub fn run_campaign(options: &Campaign) -> bool {
    if !cfg!(feature = "mutants") {
        println!("this build has no planted bugs in it; build it with --features mutants");
        return false;
    }
    let (mut table, missed) = run_all(options);
    let all = PLANTED.iter().filter(|number| options.only.is_empty() || options.only.contains(number)).count();
    let _ = writeln!(table, "\n{} of {all} found.", all - missed.len());
    if let Some(page) = &options.write
        && let Err(error) = write(page, &table)
    {
        println!("{}: {error}", page.display());
        return false;
    }
    if !missed.is_empty() {
        println!("NOT FOUND: {missed:?}");
    }
    missed.is_empty()
}

fn brief(what: &str) -> String {
    let line = what.lines().next().unwrap_or_default().replace('|', "/");
    let line = line.split_once(": ").map_or(line.as_str(), |(_, what)| what).to_owned();
    if line.chars().count() > 110 { format!("{}...", line.chars().take(110).collect::<String>()) } else { line }
}

fn write(page: &PathBuf, table: &str) -> std::io::Result<()> {
    let text = std::fs::read_to_string(page)?;
    let missing = || std::io::Error::other(format!("no line '{BEGIN}' and '{END}' to write between"));
    let (before, rest) = text.split_once(BEGIN).ok_or_else(missing)?;
    let (_, after) = rest.split_once(END).ok_or_else(missing)?;
    std::fs::write(page, format!("{before}{BEGIN}\n\n{table}\n{END}{after}"))
}
