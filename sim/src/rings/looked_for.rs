//! What campaigns of planted bugs have in common: which bugs are looked for and how often, and how the table tells what that took.
//! Part of each binary that looks for bugs from disjoint ranges of seeds.

use std::path::PathBuf;

use clap::Args;

use super::page::brief;

/// From one campaign's first seed to the next one's. None are those that every commit runs.
pub const APART: u64 = 1_000_000;
/// The head of the table.
pub const HEAD: &str = "| bug | found in | seeds needed | median | noticed as |\n|---|---|---|---|---|\n";

/// Which bugs, and how often.
#[derive(Args, Clone)]
pub struct LookedFor {
    /// Only these bugs.
    #[arg(long, num_args = 1..)]
    pub only: Vec<u32>,
    /// Campaigns for each bug, from disjoint seeds.
    #[arg(long, default_value_t = 5)]
    pub campaigns: u64,
    /// Seeds of one campaign, at most.
    #[arg(long, default_value_t = 200)]
    pub seeds: u64,
    /// The page into which the table goes.
    #[arg(long)]
    pub write: Option<PathBuf>,
}

impl LookedFor {
    /// A bug's row: how many seeds each campaign needed, if it found it, and what was noticed. A campaign that did not counts in the
    /// median as the longest.
    pub fn row(&self, number: u32, needed: &[Option<u64>], noticed: &str) -> String {
        let mut sorted: Vec<u64> = needed.iter().map(|needed| needed.unwrap_or(u64::MAX)).collect();
        sorted.sort_unstable();
        let show = |seeds: &u64| if *seeds == u64::MAX { format!("over {}", self.seeds) } else { seeds.to_string() };
        let found = needed.iter().flatten().count();
        let each: Vec<String> = sorted.iter().map(show).collect();
        let median = sorted.get(sorted.len().saturating_sub(1) / 2).map_or_else(String::new, show);
        let (all, each, noticed) = (needed.len(), each.join(", "), brief(noticed, 120));
        format!("| {number} | {found} of {all} | {each} | {median} | {noticed} |")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_tells_in_how_many_campaigns_a_bug_was_found_and_after_how_many_seeds() {
        let looked_for = LookedFor { only: Vec::new(), campaigns: 3, seeds: 200, write: None };
        let row = |needed: &[Option<u64>], noticed| looked_for.row(24, needed, noticed);
        assert_eq!(row(&[Some(5), Some(1), Some(9)], "a | b"), "| 24 | 3 of 3 | 1, 5, 9 | 5 | a / b |");
        assert_eq!(row(&[None, Some(4), None], "a"), "| 24 | 1 of 3 | 4, over 200, over 200 | over 200 | a |");
        assert_eq!(row(&[None], "NOT FOUND"), "| 24 | 0 of 1 | over 200 | over 200 | NOT FOUND |");
    }
}
