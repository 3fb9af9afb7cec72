//! Changes of definitions as they are logged: fields and variants are only appended.

use serde::{Deserialize, Serialize};

use crate::catalog::{
    AccessLevel, Check, Column, ColumnId, Index, IndexColumn, IndexState, ObjectId, Operation, Source, Table, TableKind,
};
use crate::expr::Expr;
use crate::value::{DataType, Micros};

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
    /// ALTER TABLE, COMMENT ON TABLE: one change.
    AlterTable {
        /// The table.
        table: ObjectId,
        /// Its version when the change was bound.
        table_version: u32,
        /// The change.
        change: TableChange,
    },
    /// CREATE INDEX, or ALTER TABLE ... ADD UNIQUE.
    CreateIndex {
        /// The table.
        table: ObjectId,
        /// Its version when the columns were bound.
        table_version: u32,
        /// What is asked for.
        index: IndexSpec,
        /// An existing one is fine.
        if_not_exists: bool,
    },
    /// DROP INDEX.
    DropIndex {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// A missing one is fine.
        if_exists: bool,
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

/// One change of a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum TableChange {
    /// It is so already (IF EXISTS, IF NOT EXISTS): this is what to say.
    Nothing(String),
    /// ADD COLUMN; its identity is given where it is decided.
    AddColumn(Box<Column>),
    /// DROP COLUMN.
    DropColumn(ColumnId),
    /// RENAME COLUMN.
    RenameColumn {
        /// The column.
        column: ColumnId,
        /// Its new name.
        to: String,
    },
    /// SET and DROP DEFAULT.
    SetDefault {
        /// The column.
        column: ColumnId,
        /// The new default and its text.
        default: Option<(Expr, String)>,
    },
    /// SET NOT NULL.
    SetNotNull(ColumnId),
    /// DROP NOT NULL.
    DropNotNull(ColumnId),
    /// ALTER COLUMN ... TYPE.
    SetType {
        /// The column.
        column: ColumnId,
        /// The new type.
        data_type: DataType,
        /// Longest text in characters.
        max_chars: Option<u32>,
    },
    /// ADD CHECK.
    AddCheck(Check),
    /// DROP CONSTRAINT.
    DropConstraint(String),
    /// RENAME TO.
    Rename(String),
    /// SET (ACCESS_LEVEL = ...).
    SetAccessLevel(AccessLevel),
    /// COMMENT ON TABLE.
    Comment(Option<String>),
    /// Several at once, in order: all of them or none. None of them looks at rows.
    Several(Vec<TableChange>),
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
    /// Indexes: its UNIQUE constraints.
    pub indexes: Vec<IndexSpec>,
}

/// An index as CREATE INDEX or UNIQUE describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexSpec {
    /// Name.
    pub name: String,
    /// What it orders by.
    pub columns: Vec<IndexColumn>,
    /// No two rows have the same values.
    pub unique: bool,
    /// It is a UNIQUE constraint.
    pub constraint: bool,
}

impl IndexSpec {
    /// The index with its identity.
    #[must_use]
    pub fn into_index(self, id: ObjectId, state: IndexState) -> Index {
        let Self { name, columns, unique, constraint } = self;
        Index { id, name, columns, unique, constraint, state }
    }
}

impl TableSpec {
    /// The new table; its indexes get the identities after its own.
    #[must_use]
    pub fn into_table(self, id: ObjectId, now: Micros) -> Table {
        let index = |(spec, after): (IndexSpec, u64)| spec.into_index(ObjectId(id.0 + after), IndexState::Public);
        Table {
            id,
            version: 1,
            namespace: self.namespace,
            name: self.name,
            kind: self.kind,
            access_level: self.access_level,
            next_column: self.columns.iter().map(|column| column.id.0 + 1).max().unwrap_or(1),
            columns: self.columns,
            primary_key: self.primary_key,
            partition_columns: self.partition_columns,
            checks: self.checks,
            ttl_seconds: self.ttl_seconds,
            created_at: now,
            updated_at: now,
            indexes: self.indexes.into_iter().zip(1..).map(index).collect(),
            pending: None,
            comment: None,
        }
    }
}
