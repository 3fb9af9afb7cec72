//! What a bound statement asks for: the planner's output, and the part of it that is logged.
//!
//! [`WritePlan`], [`TableAccess`] and [`Ddl`] are stored in commands: fields and variants are only appended.

mod access;
mod ddl;
mod depends;
mod query;
mod relation;
mod write;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use access::{KeyBounds, TableAccess};
pub use ddl::{Ddl, IndexSpec, TableChange, TableSpec};
pub(crate) use depends::Dependencies;
pub use query::{Aggregate, Distinct, Explained, From, OutputColumn, QueryPlan, SortKey, SystemTable};
pub use relation::{
    FIRST_SLOT, Frame, FrameBound, FrameUnit, FunctionCall, Join, JoinKind, Lateral, Lookup, Meaning, Often, Once,
    RETURNED_ROWS, Recursive, Relation, SetOperation, SetOperator, Subquery, TableFunction, WindowCall, WindowFunction,
};
pub use write::{ChangedRows, ConflictAction, ConflictTarget, OnConflict, WriteKind, WritePlan};

use crate::catalog::{CatalogVersion, PayloadMode, Role, Topic};
use crate::expr::Expr;
use crate::value::DataType;

/// A bound statement.
#[derive(Clone, Debug)]
pub struct Bound {
    /// The catalog it was bound against.
    pub catalog_version: CatalogVersion,
    /// The user whose rows it means when EXECUTE AS names one.
    pub execute_as: Option<String>,
    /// Types of `$1`, `$2` ... as inferred.
    pub parameters: Vec<DataType>,
    /// Columns of what a write returns, over the row and its `_seq`; empty without RETURNING.
    pub returning: Vec<OutputColumn>,
    /// What to do.
    pub plan: Plan,
}

/// What to do.
#[derive(Clone, Debug)]
pub enum Plan {
    /// A read.
    Query(Arc<QueryPlan>),
    /// INSERT, UPDATE or DELETE.
    Write(WritePlan),
    /// A change of definitions.
    Ddl(Ddl),
    /// CREATE TABLE ... AS.
    CreateFrom(Box<CreateFrom>),
    /// CREATE, ALTER or DROP USER.
    User(UserPlan),
    /// CONSUME.
    Consume(ConsumePlan),
    /// ACK.
    Ack(AckPlan),
    /// CLUSTER, but for its lists, which are queries.
    Cluster(ClusterPlan),
}

/// CREATE TABLE ... AS: a table and its first rows. Nothing of this is logged.
#[derive(Clone, Debug)]
pub struct CreateFrom {
    /// The table.
    pub table: TableSpec,
    /// An existing one is fine, and gets no rows.
    pub if_not_exists: bool,
    /// Gives the rows, of the table's types.
    pub query: Arc<QueryPlan>,
    /// The rows are copied.
    pub with_data: bool,
}

/// CREATE, ALTER or DROP USER. Passwords are plain here: the edge derives the verifier before anything is logged.
#[derive(Clone, Debug)]
pub enum UserPlan {
    /// CREATE USER.
    Create {
        /// Name.
        name: String,
        /// Plain password.
        password: Option<String>,
        /// Role, `User` unless told.
        role: Role,
        /// Address.
        email: Option<String>,
        /// An existing one is fine.
        if_not_exists: bool,
    },
    /// ALTER USER ... SET.
    Alter {
        /// Name.
        name: String,
        /// What changes.
        change: UserChange,
    },
    /// DROP USER.
    Drop {
        /// Name.
        name: String,
        /// A missing one is fine.
        if_exists: bool,
    },
}

/// One change of a user.
#[derive(Clone, Debug)]
pub enum UserChange {
    /// A new plain password.
    Password(String),
    /// A new role.
    Role(Role),
    /// A new address.
    Email(String),
}

/// CONSUME.
#[derive(Clone, Debug)]
pub struct ConsumePlan {
    /// The topic.
    pub topic: Arc<Topic>,
    /// One partition, or all.
    pub partition: Option<u32>,
    /// The group, if any.
    pub group: Option<String>,
    /// Where to start.
    pub start: StartPosition,
    /// At most this many messages in all.
    pub limit: Option<Expr>,
    /// Ack what is returned, in the same command (only with a group).
    pub auto_ack: bool,
    /// How long to wait for a first message, in microseconds.
    pub timeout_micros: u64,
}

/// Where a consume starts: for a group only when the group has no committed offset yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StartPosition {
    /// After the end.
    Latest,
    /// At the oldest message kept.
    Earliest,
    /// At this offset.
    Offset(u64),
}

/// ACK.
#[derive(Clone, Debug)]
pub struct AckPlan {
    /// The topic.
    pub topic: Arc<Topic>,
    /// The group.
    pub group: String,
    /// The partition, 0 unless told.
    pub partition: u32,
    /// Everything at or below this offset.
    pub upto: Expr,
}

/// CLUSTER: what happens to nodes and groups. Groups by their number (`system.cluster_groups`), nodes by their id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterPlan {
    /// TRANSFER LEADER: another node leads the group.
    TransferLeader {
        /// The group.
        group: u32,
        /// Who is to lead.
        node: u64,
    },
    /// MOVE SHARD: a node votes in the group in another's place.
    MoveShard {
        /// The group.
        group: u32,
        /// Who is to vote.
        node: u64,
    },
    /// JOIN: a node that was told to leave stays.
    Join {
        /// The node.
        node: u64,
    },
    /// LEAVE: a node is taken out of the cluster.
    Leave {
        /// The node.
        node: u64,
    },
    /// REBALANCE: votes are spread evenly over the nodes.
    Rebalance,
}

/// Payload mode by its SQL word.
#[must_use]
pub fn payload_mode(word: &str) -> Option<PayloadMode> {
    match word {
        "key" => Some(PayloadMode::Key),
        "full" => Some(PayloadMode::Full),
        "diff" => Some(PayloadMode::Diff),
        _ => None,
    }
}
