//! Simulated seeds: builds the simulator and lets it run its campaigns.

use std::process::Command;

use crate::steps;

/// Seeds that once broke a promise, each with its number of servers; they run before all others.
const REGRESSIONS: [&str; 20] = [
    // A consume under a request id took a partition's unknown outcome for "nothing", and its messages were lost.
    "759@1",
    // The retry of a DROP TABLE whose answer was lost found no table, and was refused although its first try was applied.
    "21@3",
    // Three clocks that all differ: two nodes passed leads to and fro because of their clocks, and the third never caught up.
    "506@3",
    // A core that was asked to stop while it started told the others nothing, of which one served already and waited for it for ever.
    "1019@3",
    // A node that started followed the roll only once it was ready; a voter that had joined meanwhile was a stranger to it, and the two
    // could not elect anybody, so that it was never ready.
    "121@3",
    "330@3",
    // A retried ADD COLUMN found the column of its first try; a unique index was made public without a look at the rows, as a leader
    // took jobs up with a catalog that was older than they; and a leader that had lost the lead took a job's end for a failure.
    "2@3",
    "2049@3",
    "12@3",
    // A COMMIT whose outcome was open was sent again to its session, which said that it had ended.
    "7@3",
    "6@1",
    // A group took the vote of a node that was to leave before the node that had joined in its stead had one, and could lose no other.
    "117@3",
    // A table was redefined after a node had planned an ALTER of it, which was answered with an internal error.
    "55@3",
    // A new password was acknowledged before the groups knew it, and a node that had not heard of it read for a token of before.
    "656@3",
    // A node came back with an old roll, in which the new leader of the meta group was a stranger to it.
    "137@mix",
    // A node that leaves restarted, and waited for groups that it had no part in any more; nobody told the cluster of a lost disk.
    "520@3",
    "597@3",
    "287@3",
    // A failed read of the disk became the answer of a transaction's request id for ever.
    "26@mix",
    // A sync of the file that names the members failed, and the node tried again instead of stopping.
    "1000016@3",
];
/// The page that holds the table of planted bugs.
const PAGE: &str = "docs/internals/simulation.md";

/// `cargo xtask sim`: the options are the campaign's own, of seeds or, behind `--mutants`, of planted bugs.
pub fn command(args: &[String]) -> Result<(), String> {
    let simulator = steps::build_simulator()?;
    let before = REGRESSIONS.join(",");
    let (campaign, args) = match args.split_first() {
        Some((first, rest)) if first == "--mutants" => (["mutants", "--write", PAGE], rest),
        Some(_) | None => (["campaign", "--before", before.as_str()], args),
    };
    // What a ledger says counts for the commit only of which it was said.
    let commit =
        if args.iter().any(|arg| arg == "--ledger") { vec!["--commit".to_owned(), commit()?] } else { Vec::new() };
    let status = Command::new(&simulator)
        .args(campaign)
        .args(args)
        .args(commit)
        .status()
        .map_err(|error| format!("{}: {error}", simulator.display()))?;
    if status.success() { Ok(()) } else { Err("the campaign failed".to_owned()) }
}

/// The commit that is checked out; with a mark if anything differs from it.
fn commit() -> Result<String, String> {
    let output = Command::new("git")
        .args(["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"])
        .output()
        .map_err(|error| format!("git describe: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The seeds of `cargo xtask test`: stopped by time, above a floor.
pub fn slice() -> Result<(), String> {
    command(&["--seeds", "100000", "--seconds", "300", "--floor", "100"].map(str::to_owned))
}
