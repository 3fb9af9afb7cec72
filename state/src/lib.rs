//! # State: what a committed command does
//!
//! Owns the meaning of commands: catalog, rows, topics, consumer groups, sessions and the exchange between groups, each
//! change in one atomic batch with the applied index. Deterministic: no clock, randomness, thread order or hash-map order;
//! time is the entry's stamp, volatile values are a function of the entry's seed. Must never wait for another group, read
//! another group's keys, or answer differently on two replicas.

pub mod command;
pub mod outcome;
pub mod placement;
