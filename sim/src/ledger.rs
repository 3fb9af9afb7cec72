//! The ledger of a campaign: a line for each seed that was run, so that a campaign that ended early goes on where it stopped, and later
//! ones can be compared.
//!
//! A line is `COMMIT NODES RESULT`: which state of the code, how many servers (1, 3 or mix), and the line of JSON that the seed's process
//! printed. What another commit did, or another number of servers, is never taken for this one's. Lines that make no sense are passed over: a
//! campaign may have been ended in the middle of one.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;

/// One campaign's place in a ledger.
pub struct Ledger {
    path: PathBuf,
    commit: String,
    nodes: &'static str,
}

impl Ledger {
    /// In this file; it need not be there yet. A commit is one word.
    pub fn new(path: PathBuf, commit: &str, nodes: &'static str) -> Self {
        Self { path, commit: commit.split_whitespace().collect(), nodes }
    }

    /// The results that are there, by seed.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn results(&self) -> Result<BTreeMap<u64, String>, String> {
        if !self.path.exists() {
            return Ok(BTreeMap::new());
        }
        let text = std::fs::read_to_string(&self.path).map_err(|error| format!("{}: {error}", self.path.display()))?;
        Ok(text.lines().filter_map(|line| self.result(line)).collect())
    }

    fn result(&self, line: &str) -> Option<(u64, String)> {
        let (commit, rest) = line.split_once(' ')?;
        let (nodes, result) = rest.split_once(' ')?;
        let value: serde_json::Value = serde_json::from_str(result).ok()?;
        (commit == self.commit && nodes == self.nodes).then_some((value.get("seed")?.as_u64()?, result.to_owned()))
    }

    /// Adds a result.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn add(&self, result: &str) -> Result<(), String> {
        let said = |error| format!("{}: {error}", self.path.display());
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&self.path).map_err(said)?;
        file.write_all(format!("{} {} {result}\n", self.commit, self.nodes).as_bytes()).map_err(said)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_campaign_finds_its_own_results_again_and_no_others() {
        let path = std::env::temp_dir().join(format!("highwater-ledger-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let ledger = |commit: &str, nodes| Ledger::new(path.clone(), commit, nodes);
        assert!(ledger("a1", "3").results().unwrap().is_empty());
        ledger("a1", "3").add("{\"seed\":7,\"ok\":true}").unwrap();
        ledger("a1", "mix").add("{\"seed\":8,\"ok\":true}").unwrap();
        ledger("b2", "3").add("{\"seed\":9,\"ok\":true}").unwrap();
        ledger("a1", "3").add("{\"seed\":").unwrap();
        let found = ledger("a1", "3").results().unwrap();
        assert_eq!(found, BTreeMap::from([(7, "{\"seed\":7,\"ok\":true}".to_owned())]));
        std::fs::remove_file(&path).unwrap();
    }
}
