//! What a front end asks of the node and what it gets back, whatever the protocol.

use std::sync::Arc;

use highwater_runtime::Monotonic;
use highwater_sql::bind::ParamValue;
use highwater_sql::catalog::Role;
use highwater_sql::diag::Diag;
use highwater_sql::memory::Share;
use highwater_sql::value::{DataType, Micros, Row};
use highwater_state::outcome::Message;

use super::forward::TraceId;
use super::phases::Phases;
use super::streaming::RowStream;

/// Who is asking, as the front end authenticated it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// User name.
    pub user: String,
    /// Role.
    pub role: Role,
    /// Epoch of the user's rights when it was authenticated.
    pub auth_epoch: u64,
    /// Identity of the login, the default consumer id.
    pub token_id: String,
}

/// A text of one or more statements to run.
#[derive(Clone, Debug)]
pub struct ExecuteRequest {
    /// Who asks.
    pub identity: Identity,
    /// The text.
    pub sql: String,
    /// Values of `$1` ..., as the protocol gave them; cast to the inferred types.
    pub params: Vec<ParamValue>,
    /// For unqualified names; `default` unless told.
    pub namespace: Option<String>,
    /// Makes a retry apply once.
    pub request_id: Option<u128>,
    /// Read-your-writes token of an earlier answer.
    pub token: Option<String>,
    /// When to give up.
    pub deadline: Option<Monotonic>,
    /// The front end takes the rows of a lone query as they are read.
    pub streams: bool,
    /// What its log lines are found by.
    pub trace: TraceId,
    /// The session that it is part of.
    pub session: Option<String>,
    /// Where it is noted how long its parts take.
    pub timed: Option<Arc<Phases>>,
}

/// The answer to a whole text.
#[derive(Clone, Debug)]
pub struct Answer {
    /// One per statement, in order; the DML of a batch is summed into closing messages.
    pub results: Vec<StatementResult>,
    /// Position after these statements, opaque.
    pub token: String,
    /// Where something was read stale: everything that was committed before is in it, in microseconds since 1970.
    pub as_of: Option<Micros>,
    /// The session that goes on, to be sent with the next request.
    pub session: Option<String>,
}

/// The answer to one statement.
#[derive(Clone, Debug)]
pub enum StatementResult {
    /// Rows of a query.
    Rows {
        /// Columns, in the order of the rows' values.
        schema: Vec<ResultColumn>,
        /// Rows.
        rows: Vec<Row>,
        /// Whose rows they are.
        as_user: String,
        /// Their memory, until they are sent; none for few.
        held: Option<Arc<Share>>,
    },
    /// Rows of a query that are read while they are answered.
    Stream {
        /// Columns, in the order of the rows' values.
        schema: Vec<ResultColumn>,
        /// The first rows.
        first: Vec<Row>,
        /// The others.
        rest: RowStream,
        /// Whose rows they are.
        as_user: String,
    },
    /// What a statement without rows did.
    Message {
        /// For people.
        message: String,
        /// Rows touched.
        row_count: u64,
        /// Whose rows.
        as_user: String,
    },
}

/// A column of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultColumn {
    /// Name.
    pub name: String,
    /// Type.
    pub data_type: DataType,
    /// Part of the table's key.
    pub primary_key: bool,
    /// Never NULL.
    pub not_null: bool,
    /// Unique by itself.
    pub unique: bool,
}

/// Why a text failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{diag}")]
pub struct ExecuteError {
    /// What and where; the span is in the whole text.
    pub diag: Diag,
    /// The statement, from 1, when the text holds several. What was committed before it stays.
    pub statement: Option<usize>,
    /// The class of failure where SQLSTATE does not tell it.
    pub kind: ErrorKind,
    /// The session that goes on all the same.
    pub session: Option<String>,
}

/// Classes of failure that front ends answer differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// SQLSTATE tells all.
    Statement,
    /// No statement in the text.
    Empty,
    /// The text does not parse.
    Parse,
    /// Parameters with more than one statement.
    ParamsWithBatch,
}

impl From<Diag> for ExecuteError {
    fn from(diag: Diag) -> Self {
        Self { diag, statement: None, kind: ErrorKind::Statement, session: None }
    }
}

/// A consume over HTTP: one partition.
#[derive(Clone, Debug)]
pub struct ConsumeRequest {
    /// Who asks.
    pub identity: Identity,
    /// `namespace.name`, or a name in `default`.
    pub topic: String,
    /// Consumer group.
    pub group: Option<String>,
    /// Where a consume without a committed offset starts.
    pub start: highwater_sql::plan::StartPosition,
    /// At most this many messages.
    pub limit: u32,
    /// The partition.
    pub partition: u32,
    /// How long to wait for a first message, in microseconds.
    pub timeout_micros: u64,
    /// Owner of the claim; the identity's token id unless told.
    pub consumer_id: Option<String>,
    /// Makes a group's answer one that can be had again.
    pub request_id: Option<u128>,
    /// What its log lines are found by.
    pub trace: TraceId,
}

/// The answer to a [`ConsumeRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumeAnswer {
    /// The topic's full name.
    pub topic: String,
    /// Messages in offset order.
    pub messages: Vec<Message>,
    /// Where the next consume goes on.
    pub next_offset: u64,
    /// Whether more could be returned now.
    pub has_more: bool,
}

/// An ack over HTTP.
#[derive(Clone, Debug)]
pub struct AckRequest {
    /// Who asks.
    pub identity: Identity,
    /// `namespace.name`, or a name in `default`.
    pub topic: String,
    /// Consumer group.
    pub group: String,
    /// The partition.
    pub partition: u32,
    /// Everything at or below this offset.
    pub upto_offset: u64,
    /// Who acks; the identity's token id unless told.
    pub consumer_id: Option<String>,
    /// What its log lines are found by.
    pub trace: TraceId,
}
