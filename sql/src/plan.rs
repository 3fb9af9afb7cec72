//! What a bound statement asks for: the planner's output, and the part of it that is logged.
//!
//! [`WritePlan`], [`TableAccess`] and [`Ddl`] are stored in commands: fields and variants are only appended.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::catalog::{
    AccessLevel, CatalogVersion, Check, Column, ColumnId, ObjectId, Operation, PayloadMode, Role, Source, Table,
    TableKind, Topic,
};
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

/// The part of a table's key space that a statement can touch. The filter still decides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum TableAccess {
    /// All keys.
    Full,
    /// These bounds, each a bounded scan (a full key is a lookup).
    Bounds(Vec<KeyBounds>),
}

/// Leading key columns equal to constants, then perhaps a range on the next one. Expressions are constant (literals,
/// parameters, NOW(), CURRENT_USER), already cast to the key columns' types.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeyBounds {
    /// Values of the leading key columns.
    pub equal: Vec<Expr>,
    /// Lower bound of the next key column; true: inclusive.
    pub lower: Option<(Expr, bool)>,
    /// Upper bound of the next key column; true: inclusive.
    pub upper: Option<(Expr, bool)>,
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

/// INSERT, UPDATE or DELETE of one table, evaluated at apply.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WritePlan {
    /// The table.
    pub table: ObjectId,
    /// Its version when this was bound; another at apply refuses the command.
    pub table_version: u32,
    /// What to do.
    pub kind: WriteKind,
}

/// What a [`WritePlan`] does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum WriteKind {
    /// New rows. A missing column takes its default, else NULL. `None` in a row is the word DEFAULT.
    Insert {
        /// Columns given.
        columns: Vec<ColumnId>,
        /// Their values per row, over no input row, cast for assignment.
        rows: Vec<Vec<Option<Expr>>>,
    },
    /// Changed rows.
    Update {
        /// New values over the old row, cast for assignment; `None` is the word DEFAULT.
        assignments: Vec<(ColumnId, Option<Expr>)>,
        /// Which keys.
        access: TableAccess,
        /// WHERE, over the table's row.
        filter: Option<Expr>,
    },
    /// Removed rows.
    Delete {
        /// Which keys.
        access: TableAccess,
        /// WHERE, over the table's row.
        filter: Option<Expr>,
    },
}

/// A change of definitions, decided in the meta group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Ddl {
    /// CREATE NAMESPACE.
    CreateNamespace {
        /// Name.
        name: String,
        /// An existing one is fine.
        if_not_exists: bool,
    },
    /// DROP NAMESPACE: refused while it holds anything, unless CASCADE.
    DropNamespace {
        /// Name.
        name: String,
        /// A missing one is fine.
        if_exists: bool,
        /// Drop what it holds.
        cascade: bool,
    },
    /// CREATE TABLE.
    CreateTable {
        /// What is asked for.
        table: TableSpec,
        /// An existing one is fine.
        if_not_exists: bool,
    },
    /// DROP TABLE: refused while a topic has it as a source.
    DropTable {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// A missing one is fine.
        if_exists: bool,
    },
    /// CREATE TOPIC.
    CreateTopic {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// An existing one is fine.
        if_not_exists: bool,
        /// Number of partitions.
        partitions: u32,
        /// Retention by age.
        retention_seconds: Option<u64>,
        /// Retention by size of a partition.
        retention_bytes: Option<u64>,
    },
    /// ALTER TOPIC ... ADD SOURCE.
    AddSource {
        /// The topic.
        topic: ObjectId,
        /// The table's version when the source's expressions were bound.
        table_version: u32,
        /// The source.
        source: Source,
    },
    /// ALTER TOPIC ... DROP SOURCE table [ON operation].
    DropSource {
        /// The topic.
        topic: ObjectId,
        /// The table.
        table: ObjectId,
        /// Only this operation's; all when absent.
        operation: Option<Operation>,
    },
    /// CLEAR TOPIC.
    ClearTopic {
        /// The topic.
        topic: ObjectId,
    },
    /// DROP TOPIC.
    DropTopic {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// A missing one is fine.
        if_exists: bool,
    },
}

/// A table as CREATE TABLE describes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TableSpec {
    /// Its namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Whose rows.
    pub kind: TableKind,
    /// Who reads.
    pub access_level: AccessLevel,
    /// Columns, ids counted from 1.
    pub columns: Vec<Column>,
    /// Key columns.
    pub primary_key: Vec<u32>,
    /// Leading key columns that spread the rows.
    pub partition_columns: u32,
    /// CHECK constraints.
    pub checks: Vec<Check>,
    /// STREAM: time to live.
    pub ttl_seconds: Option<u64>,
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
