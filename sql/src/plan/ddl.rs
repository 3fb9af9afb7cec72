//! Changes of definitions as they are logged: fields and variants are only appended.

use serde::{Deserialize, Serialize};

use crate::catalog::{AccessLevel, Check, Column, ObjectId, Operation, Source, TableKind};

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
