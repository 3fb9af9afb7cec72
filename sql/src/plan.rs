//! What a bound statement asks for: the planner's output, and the part of it that is logged.
//!
//! [`WritePlan`], [`TableAccess`] and [`Ddl`] are stored in commands: fields and variants are only appended.

mod access;
mod ddl;
mod write;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use access::{KeyBounds, TableAccess};
pub use ddl::{Ddl, TableSpec};
pub use write::{WriteKind, WritePlan};

use crate::catalog::{CatalogVersion, PayloadMode, Role, Table, Topic};
use crate::expr::{AggregateCall, Expr};
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
    /// What to do.
    pub plan: Plan,
}

/// What to do.
#[derive(Clone, Debug)]
pub enum Plan {
    /// A read.
    Query(QueryPlan),
    /// INSERT, UPDATE or DELETE.
    Write(WritePlan),
    /// A change of definitions.
    Ddl(Ddl),
    /// CREATE, ALTER or DROP USER.
    User(UserPlan),
    /// CONSUME.
    Consume(ConsumePlan),
    /// ACK.
    Ack(AckPlan),
    /// CLUSTER, but for its lists, which are queries.
    Cluster(ClusterPlan),
}

/// A SELECT over at most one table.
#[derive(Clone, Debug)]
pub struct QueryPlan {
    /// Where rows come from.
    pub from: From,
    /// WHERE, over the source row.
    pub filter: Option<Expr>,
    /// GROUP BY and aggregates; the row of later steps is then the group's keys followed by the calls' results.
    pub aggregate: Option<Aggregate>,
    /// The result's columns, over the row of the step before.
    pub projection: Vec<OutputColumn>,
    /// ORDER BY, over the row of the step before the projection.
    pub order_by: Vec<SortKey>,
    /// LIMIT: a constant expression (literal or parameter) of type BIGINT.
    pub limit: Option<Expr>,
    /// OFFSET, likewise.
    pub offset: Option<Expr>,
}

/// Where a query's rows come from.
#[derive(Clone, Debug)]
pub enum From {
    /// One empty row (SELECT without FROM).
    Nothing,
    /// A table; the source row is its columns in order, followed by `_seq` (BIGINT).
    Table {
        /// The table.
        table: Arc<Table>,
        /// The part of the key space that can match.
        access: TableAccess,
    },
    /// A system table; the source row is its columns in order.
    System(SystemTable),
}

/// GROUP BY and its aggregates.
#[derive(Clone, Debug)]
pub struct Aggregate {
    /// Group keys over the source row; empty: one group, present even without rows.
    pub keys: Vec<Expr>,
    /// Aggregates over the source row.
    pub calls: Vec<AggregateCall>,
}

/// A column of a result.
#[derive(Clone, Debug)]
pub struct OutputColumn {
    /// Name shown.
    pub name: String,
    /// Its value.
    pub expr: Expr,
    /// Its type.
    pub data_type: DataType,
    /// It is a key column of the table.
    pub primary_key: bool,
    /// It cannot be NULL.
    pub not_null: bool,
    /// It is unique by itself.
    pub unique: bool,
}

/// One ORDER BY item.
#[derive(Clone, Debug)]
pub struct SortKey {
    /// What to sort by.
    pub expr: Expr,
    /// DESC.
    pub descending: bool,
    /// NULLs first (the default for DESC, as PostgreSQL).
    pub nulls_first: bool,
}

/// The system tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each variant is the system table of that name")]
pub enum SystemTable {
    Users,
    Namespaces,
    Tables,
    Columns,
    Topics,
    TopicOffsets,
    Jobs,
    Settings,
    Cluster,
    ClusterGroups,
    Stats,
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
