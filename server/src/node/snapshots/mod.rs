//! Snapshots of groups: a replica that lacks what the leader's log no longer holds is given tables.
//!
//! ```text
//!  leader's node                                              follower's node
//!  Raft wants one -> cut (cut) -> files, described -> chunks -> files (staging) -> read back -> announcement stepped
//!  Raft is told   <- sent or failed (transfers, send)           Ready names it -> in place (install) -> group opened anew
//! ```
//!
//! Raft decides who needs one and whether it is taken (`raft/src/snapshot.rs` is the contract); the engine writes and takes in
//! tables; this is what lies between. [`retention`] says how long the log is kept so that few are needed. Must never: put anything in
//! place that Raft has not named, mix two snapshots, or leave files behind for ever.

pub(super) mod cut;
pub(super) mod descriptor;
pub(super) mod error;
pub(super) mod folders;
pub(super) mod install;
pub(super) mod of_store;
pub(super) mod pace;
pub(super) mod retention;
pub(super) mod send;
pub(super) mod staging;
pub(super) mod standing;
#[cfg(test)]
mod tests;
pub(super) mod transfers;
