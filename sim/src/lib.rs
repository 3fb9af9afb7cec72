//! # Cluster simulation: what is pure of it
//!
//! Owns the [plan] that a seed generates (client operations and faults) and the [models](model) that answers are held against.
//! The runner, which carries a plan out against the real server code under madsim, is the binary `highwater-sim`.
//! Must never: look at a server from inside. What a client cannot see is not checked here.

pub mod model;
pub mod plan;
