//! What exists: namespaces, tables, topics and users, as the binder sees them and as every group stores them.
//!
//! A catalog is a value: deltas are decided in the meta group, numbered, and applied in order by everyone
//! ([`Catalog::apply`]). The serialised forms are part of stored formats: fields and variants are only appended.

mod directory;
mod table;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use self::directory::Directory;
pub use self::table::{
    AccessLevel, Check, Column, Former, Index, IndexColumn, IndexState, Pending, PendingRule, Table, TableKind,
    type_name,
};
use crate::expr::Expr;
use crate::value::Micros;

/// Identity of a table, topic or other object: never reused, the same on all nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectId(pub u64);

/// Identity of a column within its table: never reused, so that RENAME keeps values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ColumnId(pub u32);

/// Number of a catalog version; 0 is the empty catalog.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CatalogVersion(pub u64);

/// Who may do what; ordered, `System` is the highest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// Own rows, PUBLIC shared tables.
    User,
    /// Every shared table but DBA ones, topics.
    Service,
    /// Definitions, users up to dba.
    Dba,
    /// Everything.
    System,
}

/// A user. The verifier is PostgreSQL's `SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Name, as given (case kept, at most 128 bytes).
    pub name: String,
    /// The one role.
    pub role: Role,
    /// Address, if known.
    pub email: Option<String>,
    /// SCRAM verifier; `None`: no login.
    pub verifier: Option<String>,
    /// Raised by a new password, role or DROP: ends older tokens.
    pub auth_epoch: u64,
    /// When it was made.
    pub created_at: Micros,
    /// When it was last changed.
    pub updated_at: Micros,
}

/// A namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespace {
    /// Name.
    pub name: String,
    /// When it was made.
    pub created_at: Micros,
}

/// Which changes a source carries into its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Operation {
    /// A new row.
    Insert,
    /// A changed row.
    Update,
    /// A removed row.
    Delete,
}

/// What a message's payload holds (JSON text).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PayloadMode {
    /// The key columns.
    Key,
    /// The row and `_table`.
    Full,
    /// The changed columns, old and new.
    Diff,
}

/// A route of changes into a topic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// The table.
    pub table: ObjectId,
    /// Which changes.
    pub operation: Operation,
    /// Only rows for which this is true, over the table's row (the new one; the old one for DELETE).
    pub filter: Option<Expr>,
    /// Its text.
    pub filter_text: Option<String>,
    /// What chooses the partition, over the same row; the row's key when absent.
    pub partition_by: Option<Expr>,
    /// Its text.
    pub partition_by_text: Option<String>,
    /// What is sent.
    pub payload: PayloadMode,
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Topic {
    /// Identity.
    pub id: ObjectId,
    /// Part of its partitions' placement: `hash(topic id, partition, incarnation)`.
    pub incarnation: u64,
    /// Its namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Number of partitions, at least 1.
    pub partitions: u32,
    /// Messages older than this may be dropped.
    pub retention_seconds: Option<u64>,
    /// Messages beyond this many bytes per partition may be dropped.
    pub retention_bytes: Option<u64>,
    /// Its sources.
    pub sources: Vec<Source>,
    /// How often it was cleared. A group that takes a definition with a higher count clears its partitions: their log
    /// starts rise to their ends and consumer groups are forgotten.
    pub clear_count: u64,
    /// When it was made.
    pub created_at: Micros,
    /// When it was last changed.
    pub updated_at: Micros,
}

/// One change between two catalog versions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum CatalogDelta {
    /// A namespace is new or changed.
    PutNamespace(Namespace),
    /// A namespace is gone.
    DropNamespace(String),
    /// A table is new or changed.
    PutTable(Arc<Table>),
    /// A table is gone, its rows with it.
    DropTable(ObjectId),
    /// A topic is new or changed.
    PutTopic(Arc<Topic>),
    /// A topic is gone, its messages and groups with it.
    DropTopic(ObjectId),
    /// A user is new or changed.
    PutUser(Arc<User>),
    /// A user is gone.
    DropUser(String),
}

/// Everything that exists at one version.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Catalog {
    /// Raised by every change of definitions.
    pub version: CatalogVersion,
    /// By name.
    pub namespaces: BTreeMap<String, Namespace>,
    /// By identity.
    pub tables: BTreeMap<ObjectId, Arc<Table>>,
    /// By identity.
    pub topics: BTreeMap<ObjectId, Arc<Topic>>,
    /// By name.
    pub users: BTreeMap<String, Arc<User>>,
    /// Other ways to the same: follows from the rest. Who changes a map after something was looked up empties it.
    #[serde(skip)]
    pub directory: Directory,
}

impl Catalog {
    /// Takes the changes that lead to version `to`.
    pub fn advance(&mut self, to: CatalogVersion, deltas: &[CatalogDelta]) {
        self.directory = Directory::default();
        for delta in deltas {
            self.apply(delta);
        }
        self.version = to;
    }

    /// The changes that lead from `self` to `newer`, so that `self.advance(newer.version, &self.changes_to(newer))` equals
    /// `newer`. A group that lags takes them in one log entry, however many versions it missed.
    #[must_use]
    pub fn changes_to(&self, newer: &Self) -> Vec<CatalogDelta> {
        let mut deltas = Vec::new();
        for id in self.topics.keys().filter(|id| !newer.topics.contains_key(id)) {
            deltas.push(CatalogDelta::DropTopic(*id));
        }
        for id in self.tables.keys().filter(|id| !newer.tables.contains_key(id)) {
            deltas.push(CatalogDelta::DropTable(*id));
        }
        for name in self.namespaces.keys().filter(|name| !newer.namespaces.contains_key(*name)) {
            deltas.push(CatalogDelta::DropNamespace(name.clone()));
        }
        for name in self.users.keys().filter(|name| !newer.users.contains_key(*name)) {
            deltas.push(CatalogDelta::DropUser(name.clone()));
        }
        for (name, namespace) in &newer.namespaces {
            if self.namespaces.get(name) != Some(namespace) {
                deltas.push(CatalogDelta::PutNamespace(namespace.clone()));
            }
        }
        for (id, table) in &newer.tables {
            if self.tables.get(id).is_none_or(|old| !Arc::ptr_eq(old, table) && old != table) {
                deltas.push(CatalogDelta::PutTable(Arc::clone(table)));
            }
        }
        for (id, topic) in &newer.topics {
            if self.topics.get(id).is_none_or(|old| !Arc::ptr_eq(old, topic) && old != topic) {
                deltas.push(CatalogDelta::PutTopic(Arc::clone(topic)));
            }
        }
        for (name, user) in &newer.users {
            if self.users.get(name).is_none_or(|old| !Arc::ptr_eq(old, user) && old != user) {
                deltas.push(CatalogDelta::PutUser(Arc::clone(user)));
            }
        }
        deltas
    }

    fn apply(&mut self, delta: &CatalogDelta) {
        match delta {
            CatalogDelta::PutNamespace(namespace) => {
                self.namespaces.insert(namespace.name.clone(), namespace.clone());
            }
            CatalogDelta::DropNamespace(name) => {
                self.namespaces.remove(name);
            }
            CatalogDelta::PutTable(table) => {
                self.tables.insert(table.id, Arc::clone(table));
            }
            CatalogDelta::DropTable(id) => {
                self.tables.remove(id);
            }
            CatalogDelta::PutTopic(topic) => {
                self.topics.insert(topic.id, Arc::clone(topic));
            }
            CatalogDelta::DropTopic(id) => {
                self.topics.remove(id);
            }
            CatalogDelta::PutUser(user) => {
                self.users.insert(user.name.clone(), Arc::clone(user));
            }
            CatalogDelta::DropUser(name) => {
                self.users.remove(name);
            }
        }
    }

    /// The table of this name.
    #[must_use]
    pub fn table(&self, namespace: &str, name: &str) -> Option<&Arc<Table>> {
        self.tables.get(&self.directory.table(self, namespace, name)?)
    }

    /// The index of this name, with its table.
    #[must_use]
    pub fn index(&self, namespace: &str, name: &str) -> Option<(&Arc<Table>, &Index)> {
        let (table, at) = self.directory.index(self, namespace, name)?;
        let table = self.tables.get(&table)?;
        Some((table, table.indexes.get(at)?))
    }

    /// The topic of this name.
    #[must_use]
    pub fn topic(&self, namespace: &str, name: &str) -> Option<&Arc<Topic>> {
        self.topics.get(&self.directory.topic(self, namespace, name)?)
    }

    /// Topics and their sources that carry this operation of this table, in order of topic and source.
    pub fn sources_of(&self, table: ObjectId, operation: Operation) -> impl Iterator<Item = (&Arc<Topic>, &Source)> {
        self.directory.sources(self, table, operation).iter().filter_map(|(topic, at)| {
            let topic = self.topics.get(topic)?;
            Some((topic, topic.sources.get(*at)?))
        })
    }
}

#[cfg(test)]
#[path = "catalog/tests.rs"]
mod tests;
