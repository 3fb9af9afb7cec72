//! Exchange: what one group tells another, exactly once and in order.
//!
//! Applying entry *i* on a source appends derived records to the outbox of (destination, *i*); the source's leader ships whole
//! entries as [`crate::command::Deltas`]; the destination's inbox drops what it has and refuses what would leave a gap, in the
//! same batch as the effect; [`crate::command::Command::Trim`] lets the outbox forget. Must not ship anything itself: that is
//! the server's, and any order, repetition or loss of deliveries ends in the same state.

pub(crate) mod inbox;
pub(crate) mod outbox;
pub mod position;
pub(crate) mod positions;

#[cfg(test)]
mod tests;

pub use outbox::{OutboxRange, record_bytes};
pub use position::{ENTRY_LIMIT_BYTES, OUTBOX_LIMIT_BYTES, OutboxPosition};
