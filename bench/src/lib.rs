//! What the programs and criterion suites of this package share: servers that are started for a run, and generated statements.

pub mod daemon;
pub mod generate;
