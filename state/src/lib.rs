//! # State: what a committed command does
//!
//! Owns the meaning of commands: catalog, rows, topics, consumer groups, sessions and the exchange between groups, each
//! change in one atomic batch with the applied index. Deterministic: no clock, randomness, thread order or hash-map order;
//! time is the entry's stamp, volatile values are a function of the entry's seed. Must never wait for another group, read
//! another group's keys, or answer differently on two replicas.

mod catalog_objects;
pub mod command;
pub mod definitions;
mod envelope;
mod error;
pub mod exchange;
pub mod group;
pub mod jobs;
pub mod keys;
mod mark;
pub mod outcome;
mod overlay;
mod parcel;
pub mod placement;
mod reader;
pub mod rights;
pub mod roll;
mod sessions;
mod stored;
#[cfg(test)]
mod tests;
pub mod topics;
pub mod transaction;
pub mod txn;
pub mod view;
mod write;

pub use envelope::VERSION as ENTRY_VERSION;
pub use error::{Abort, StateError};
pub use highwater_engine::LogIndex;
pub use mark::time_of_seq;
pub use parcel::VERSION as PARCEL_VERSION;
