//! Topics: messages that changes cause, and how far consumer groups have come with them.
//!
//! Owns the way of a message on its group: [`derive`] makes records from a row's change on the group of the row;
//! [`crate::exchange`] carries them to the group of their partition; [`partition`] numbers and keeps them; [`consume`] hands
//! them to consumer groups by the arithmetic of [`claims`]. Must not give out an offset twice or move one back.

pub mod claims;
pub mod consume;
#[cfg(test)]
mod consume_tests;
pub mod derive;
#[cfg(test)]
mod derive_tests;
#[cfg(test)]
pub(crate) mod fixtures;
#[cfg(test)]
mod flow_tests;
#[cfg(test)]
mod format_tests;
pub mod partition;
pub mod payload;
mod read;

pub use claims::{Claim, Log, Offsets, Progress};
pub use derive::{Derivation, Outgoing};
pub use payload::RowChange;
pub use read::GroupOffset;

pub(crate) use partition::redefine;
