//! # Cluster simulation: what is pure of it
//!
//! Owns the [plan] that a seed generates (client operations and faults), the [models](model) that answers are held against, the
//! search for an [order](linear) that explains a history of one key or of [many](append), and the [page](report) that shows a run to people.
//! What the simulators print goes through [output].
//! The runner, which carries a plan out against the real server code under madsim, is the binary `highwater-sim`.
//! Must never: look at a server from inside. What a client cannot see is not checked here.

pub mod append;
pub mod claims;
pub mod linear;
pub mod model;
pub mod output;
pub mod plan;
pub mod report;
pub mod trouble;
