//! # The Raft state machine: messages in, [`Ready`] out
//!
//! Owns what a replica of one group decides: terms, votes, the log's marks (appended, persisted, committed, applied), who
//! leads, and at which index a read is linearizable. Its shape is etcd's: the driver feeds [`RawNode::tick`],
//! [`RawNode::step`], [`RawNode::propose`] and [`RawNode::read_index`], takes a [`Ready`] whenever [`RawNode::has_ready`]
//! says so, does the I/O that it asks for, and reports with [`RawNode::advance_append`] and [`RawNode::advance_apply`],
//! each when its own work is done and in no fixed order between the two.
//!
//! Must never: wait, do I/O, read a clock, draw randomness, or know what is inside an entry. The same calls give the same
//! answers, always.
//!
//! Groups of one voter are complete. A configuration with more is refused ([`RaftError::UnsupportedMembership`]); the types
//! that such groups need are here, so that drivers are written against the whole interface.
//!
//! A driver's loop turn for one group:
//!
//! ```text
//! while node.has_ready() {
//!     let ready = node.ready();
//!     send ready.messages
//!     write ready.hard_state and ready.entries to the log          sync if ready.must_sync
//!     ... when durable:  node.advance_append(ready.number); send ready.persisted_messages
//!     read ready.committed.stored() from the log, then take ready.committed.entries, and apply them in order
//!     ... when applied:  node.advance_apply(last applied index)
//!     serve each of ready.read_states once its index is applied
//! }
//! ```

mod config;
mod election;
mod entry;
mod error;
mod ids;
mod invariants;
mod log;
mod message;
mod node;
mod proposal;
mod quorum;
mod read;
mod ready;
mod terms;
mod trace;

pub use config::Config;
pub use entry::{ConfChange, Entry, EntryKind, HardState, Role, SoftState};
pub use error::{InvariantViolation, ProposeError, RaftError, ReadError, StepError};
pub use ids::{GroupId, LogIndex, NodeId, ReadContext, ReadyNumber, Term};
pub use log::LogBounds;
pub use message::{Message, MessageKind, SnapshotMeta};
pub use node::{RawNode, Status};
pub use quorum::{committed_index, majority};
pub use ready::{Committed, ReadState, Ready};
pub use terms::TermRun;
