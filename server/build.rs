//! Gives the daemon its date: that of SOURCE_DATE_EPOCH, else of the last commit of this source tree, else of the build.
//!
//! It runs again only when the daemon is compiled anew in any case.
#![allow(
    clippy::disallowed_methods,
    reason = "a build script: it reads the clock of the machine that builds when nothing else has a date"
)]

use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// What the daemon is made of, from this folder.
const MADE_OF: [&str; 9] = [
    "build.rs",
    "src",
    "../Cargo.lock",
    "../engine/src",
    "../net/src",
    "../raft/src",
    "../runtime/src",
    "../sql/src",
    "../state/src",
];

fn main() {
    for source in MADE_OF {
        println!("cargo::rerun-if-changed={source}");
    }
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
    // `cargo run` hands this to the daemon, which takes whatever begins with HIGHWATER_ for a setting.
    println!("cargo::rustc-env=BUILD_SECONDS={}", asked_for().or_else(committed).unwrap_or_else(now));
}

/// What whoever builds asks for: <https://reproducible-builds.org/specs/source-date-epoch/>.
fn asked_for() -> Option<u64> {
    std::env::var("SOURCE_DATE_EPOCH").ok()?.trim().parse().ok()
}

/// The date of the last commit to the workspace; none where git is missing or knows nothing of it.
fn committed() -> Option<u64> {
    let git = Command::new("git").args(["log", "-1", "--format=%ct", "--", ".."]).output().ok()?;
    String::from_utf8(git.stdout).ok()?.trim().parse().ok()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
