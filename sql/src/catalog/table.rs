//! Tables: columns, constraints, indexes, and the change that is under way.
//!
//! A change that must look at every row (a new index, a new constraint, a new type) goes through three definitions: the first
//! holds it for every write, then the rows that were there are looked at, and the last one makes it public or takes it back
//! ([`Pending`]). Every definition of a table has a version of its own.

use serde::{Deserialize, Serialize};

use super::{ColumnId, ObjectId};
use crate::expr::Expr;
use crate::value::{DataType, Micros, Value};

/// Whose rows a table holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TableKind {
    /// Rows of each user, seen by that user only.
    User,
    /// Rows of everyone, under access rules.
    Shared,
    /// Events of each user, append-only.
    Stream,
}

/// Who reads a SHARED table (writes need service and up everywhere).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AccessLevel {
    /// Every user reads.
    Public,
    /// Service and up.
    Private,
    /// Service and up.
    Restricted,
    /// Dba and up.
    Dba,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Column {
    /// Identity; a change of type gives a new one.
    pub id: ColumnId,
    /// Name.
    pub name: String,
    /// Type.
    pub data_type: DataType,
    /// Longest text in characters, for VARCHAR(n) and each element of VARCHAR(n)[].
    pub max_chars: Option<u32>,
    /// NULL is allowed.
    pub nullable: bool,
    /// DEFAULT, over no input row.
    pub default: Option<Expr>,
    /// The text of the default, for `system.columns`.
    pub default_text: Option<String>,
    /// What rows that were stored before the column was added show; NULL without.
    pub missing: Option<Value>,
    /// What the column was before its type changed, oldest first: rows stored then are converted, step by step, when they are
    /// read.
    pub formerly: Vec<Former>,
    /// Its default is the next number of a sequence of its own.
    pub serial: bool,
}

/// A column's identity and type before a change of type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Former {
    /// The identity under which rows of that time hold it.
    pub id: ColumnId,
    /// The type that their values have.
    pub data_type: DataType,
}

/// A column's type in SQL: VARCHAR(n) where its texts have a limit.
#[must_use]
pub fn type_name(data_type: DataType, max_chars: Option<u32>) -> String {
    match (data_type, max_chars) {
        (DataType::Array(_), Some(most)) => format!("VARCHAR({most})[]"),
        (_, Some(most)) => format!("VARCHAR({most})"),
        (other, None) => other.to_string(),
    }
}

impl Column {
    /// Its type in SQL, with the limit of VARCHAR(n).
    #[must_use]
    pub fn type_name(&self) -> String {
        type_name(self.data_type, self.max_chars)
    }

    /// A column that may be NULL and has no default.
    #[must_use]
    pub fn new(id: u32, name: impl Into<String>, data_type: DataType) -> Self {
        Self {
            id: ColumnId(id),
            name: name.into(),
            data_type,
            max_chars: None,
            nullable: true,
            default: None,
            default_text: None,
            missing: None,
            formerly: Vec::new(),
            serial: false,
        }
    }
}

/// A CHECK constraint: refused when false (NULL passes).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Name, given or made (`<table>_check`, `<table>_check1` ...).
    pub name: String,
    /// Condition over the table's row (all columns in order).
    pub expr: Expr,
    /// Its text.
    pub text: String,
}

/// A column of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexColumn {
    /// The column.
    pub column: ColumnId,
    /// DESC, as it was written: entries are ordered ascending, and are read in either direction.
    pub descending: bool,
}

/// Whether reads may use an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IndexState {
    /// Every write maintains it; the rows that were there before are still being added.
    Building,
    /// It holds every row.
    Public,
}

/// An index of a table: one entry per row, in the same group as the row (on USER tables per user).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// Identity.
    pub id: ObjectId,
    /// Name, unique among the indexes of the namespace.
    pub name: String,
    /// What it orders by.
    pub columns: Vec<IndexColumn>,
    /// No two rows (of a user) have the same values, unless one of them is NULL.
    pub unique: bool,
    /// It is a UNIQUE constraint: dropped as one.
    pub constraint: bool,
    /// Whether reads may use it.
    pub state: IndexState,
}

/// A change that looks at every row, between its first and its last definition. A table has one at a time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pending {
    /// The job that looks at the rows.
    pub job: String,
    /// What they are held to.
    pub rule: PendingRule,
}

/// What a pending change holds rows to. Every write is held to it already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PendingRule {
    /// Each row has its entry in this index, which is one of the table's.
    Index(ObjectId),
    /// The column is not NULL.
    NotNull {
        /// The column.
        column: ColumnId,
        /// The column itself is new, and goes when a row fails.
        added: bool,
    },
    /// The CHECK of this name holds; it is one of the table's.
    Check(String),
    /// The column's value converts to another type.
    Type {
        /// The column.
        column: ColumnId,
        /// The new type.
        data_type: DataType,
        /// Longest text in characters.
        max_chars: Option<u32>,
    },
}

/// A table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// Identity.
    pub id: ObjectId,
    /// Raised by every change of this definition.
    pub version: u32,
    /// Its namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Whose rows.
    pub kind: TableKind,
    /// Who reads (SHARED only).
    pub access_level: AccessLevel,
    /// Columns in order. A row's values stand in this order.
    pub columns: Vec<Column>,
    /// Key columns: positions in `columns`, in key order; never empty.
    pub primary_key: Vec<u32>,
    /// SHARED: number of leading key columns whose hash spreads the rows over the shared shards; 0: whole on one shard.
    pub partition_columns: u32,
    /// CHECK constraints.
    pub checks: Vec<Check>,
    /// STREAM: seconds until a row is dropped.
    pub ttl_seconds: Option<u64>,
    /// When it was made.
    pub created_at: Micros,
    /// When it was last changed.
    pub updated_at: Micros,
    /// The identity that the next new column gets.
    pub next_column: u32,
    /// Indexes, oldest first.
    pub indexes: Vec<Index>,
    /// The change that is under way.
    pub pending: Option<Pending>,
    /// COMMENT ON TABLE.
    pub comment: Option<String>,
}

impl Table {
    /// The position of a column.
    #[must_use]
    pub fn position(&self, id: ColumnId) -> Option<usize> {
        self.columns.iter().position(|column| column.id == id)
    }

    /// The column of this identity.
    #[must_use]
    pub fn column(&self, id: ColumnId) -> Option<&Column> {
        self.columns.iter().find(|column| column.id == id)
    }

    /// The index of this identity.
    #[must_use]
    pub fn index(&self, id: ObjectId) -> Option<&Index> {
        self.indexes.iter().find(|index| index.id == id)
    }

    /// Key columns in key order.
    pub fn key_columns(&self) -> impl Iterator<Item = &Column> {
        self.primary_key.iter().filter_map(|at| usize::try_from(*at).ok().and_then(|at| self.columns.get(at)))
    }

    /// The columns of one of its indexes, in the index's order.
    pub fn index_columns<'t>(&'t self, index: &'t Index) -> impl Iterator<Item = &'t Column> {
        index.columns.iter().filter_map(|part| self.column(part.column))
    }
}
