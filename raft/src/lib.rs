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
//! A driver's loop turn for one group:
//!
//! ```text
//! while node.has_ready() {
//!     let ready = node.ready();
//!     send ready.messages
//!     install ready.snapshot, write ready.hard_state and ready.entries to the log          sync if ready.must_sync
//!     ... when durable:  send ready.persisted_messages; node.advance_append(ready.number)
//!     ... when read:     node.log_read(each of ready.log_reads, entries)
//!     ... when cut:      node.snapshot_cut(each of ready.snapshots_wanted, meta), and stream it
//!     read ready.committed.stored() from the log, then take ready.committed.entries, and apply them in order
//!     ... a change of membership:  node.apply_membership_change(entry), and keep what it gives with the applied index
//!     ... when applied:  node.advance_apply(last applied index)
//!     serve each of ready.read_states once its index is applied
//! }
//! ```

mod append;
mod bounds;
mod change;
mod clock;
mod config;
mod election;
mod entry;
mod error;
mod hibernation;
mod ids;
mod invariants;
mod log;
mod membership;
mod message;
mod node;
mod on_demand;
mod outbox;
mod progress;
mod proposal;
mod read;
mod ready;
mod reconfiguration;
mod replication;
mod snapshot;
mod step;
mod terms;
mod trace;
mod transfer;
mod work;

pub use bounds::LogBounds;
pub use change::{ChangeError, ConfChange, MembershipChange, Transition};
pub use config::{Config, Limits};
pub use entry::{Entry, EntryKind, HardState, Role, SoftState};
pub use error::{InvariantViolation, ProposeError, RaftError, ReadError, StepError};
pub use ids::{GroupId, LogIndex, NodeId, ReadContext, ReadRound, ReadyNumber, Term};
pub use membership::{Membership, VoteCount, committed_index, majority};
pub use message::{Message, MessageKind, SnapshotMeta};
pub use node::{RawNode, Status};
pub use progress::{PeerStatus, ProgressState};
pub use ready::{Committed, LogRead, ReadState, Ready};
pub use terms::TermRun;
