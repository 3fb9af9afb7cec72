//! Outcomes: what applying a command answers. Kept in the session table, so that a retried request gets the first answer.

use highwater_sql::catalog::{CatalogVersion, Operation};
use highwater_sql::diag::Diag;
use highwater_sql::value::{Micros, Row};
use serde::{Deserialize, Serialize};

/// The answer to a command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// A no-op, a Trim, a catalog change.
    Done,
    /// Rows that a write inserted, updated or deleted.
    Written(u64),
    /// Definitions changed (or were already so).
    Defined {
        /// The catalog version to wait for.
        version: CatalogVersion,
        /// What happened, for the user ("Namespace 'n' created successfully").
        message: String,
        /// A job that the server must carry out now (CLEAR TOPIC).
        job: Option<String>,
    },
    /// Messages of one partition, claimed.
    Consumed(Consumed),
    /// The committed offset after an ack: the longest settled prefix, inclusive; `None` before the first.
    Acked {
        /// The last settled offset.
        committed: Option<u64>,
    },
    /// Where the inbox of this group stands for the source of the [`crate::command::Deltas`] that was applied, dropped or
    /// refused for a gap.
    Inbox {
        /// Log index of the source.
        upto: u64,
    },
    /// Planned against another catalog: refresh, bind again, retry.
    StaleCatalog {
        /// The group's version.
        at: CatalogVersion,
    },
    /// Refused; nothing changed.
    Refused(Box<Diag>),
    /// Rows that a write with RETURNING inserted, updated or deleted, and what it returns of them.
    Returned {
        /// How many.
        changed: u64,
        /// One per changed row, in the order of the changes.
        rows: Vec<Row>,
    },
    /// A step of a pending change.
    Backfilled {
        /// Rows that were looked at.
        rows: u64,
        /// The last of them, to go on after; `None`: there are no more.
        next: Option<Vec<u8>>,
    },
    /// A transaction was applied, whole.
    Committed {
        /// Which run of it.
        attempt: u128,
        /// The answers of its writes, in order; none are kept of a COMMIT without a request id.
        answers: Vec<Outcome>,
    },
    /// A transaction met a change by somebody else; nothing of it was applied, and nothing is kept of this answer.
    Conflict(Box<Diag>),
}

/// What a consume found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consumed {
    /// In offset order.
    pub messages: Vec<Message>,
    /// Where the next consume goes on.
    pub next_offset: u64,
    /// Whether more could be returned now.
    pub has_more: bool,
}

/// A message of a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Its number in the partition, from 0.
    pub offset: u64,
    /// The change's key as text.
    pub key: Option<String>,
    /// JSON text.
    pub payload: Vec<u8>,
    /// Log time of the change.
    pub timestamp: Micros,
    /// Whose row it was.
    pub user: Option<String>,
    /// What happened.
    pub operation: Operation,
}
