//! The ways into a catalog that its maps do not have: tables, indexes and topics by name, sources by table. So that what a statement
//! looks up costs the same however many tables and topics there are.
//!
//! Made from the catalog at the first look-up after a change, then shared by all who hold that catalog. Never stored, no part of what
//! a catalog is: two that are equal stay so whether or not anyone has looked.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use super::{Catalog, ObjectId, Operation};

/// A catalog's directory; empty until something is looked up.
#[derive(Debug, Default)]
pub struct Directory(OnceLock<Entries>);

/// Names within a namespace, by namespace.
type Names<T> = BTreeMap<String, BTreeMap<String, T>>;

#[derive(Debug, Default)]
struct Entries {
    tables: Names<ObjectId>,
    /// The table, and which of its indexes.
    indexes: Names<(ObjectId, usize)>,
    topics: Names<ObjectId>,
    /// Topics and which of their sources, in order.
    sources: BTreeMap<(ObjectId, Operation), Vec<(ObjectId, usize)>>,
}

impl Clone for Directory {
    /// Empty: who copies a catalog is about to change it.
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Directory {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Directory {
    pub(super) fn table(&self, catalog: &Catalog, namespace: &str, name: &str) -> Option<ObjectId> {
        self.entries(catalog).tables.get(namespace)?.get(name).copied()
    }

    pub(super) fn index(&self, catalog: &Catalog, namespace: &str, name: &str) -> Option<(ObjectId, usize)> {
        self.entries(catalog).indexes.get(namespace)?.get(name).copied()
    }

    pub(super) fn topic(&self, catalog: &Catalog, namespace: &str, name: &str) -> Option<ObjectId> {
        self.entries(catalog).topics.get(namespace)?.get(name).copied()
    }

    pub(super) fn sources(&self, catalog: &Catalog, table: ObjectId, operation: Operation) -> &[(ObjectId, usize)] {
        self.entries(catalog).sources.get(&(table, operation)).map_or(&[], Vec::as_slice)
    }

    fn entries(&self, catalog: &Catalog) -> &Entries {
        self.0.get_or_init(|| Entries::of(catalog))
    }
}

impl Entries {
    fn of(catalog: &Catalog) -> Self {
        let mut entries = Self::default();
        // Of two that share a name the first counts.
        for table in catalog.tables.values() {
            let names = entries.tables.entry(table.namespace.clone()).or_default();
            names.entry(table.name.clone()).or_insert(table.id);
            for (at, index) in table.indexes.iter().enumerate() {
                let names = entries.indexes.entry(table.namespace.clone()).or_default();
                names.entry(index.name.clone()).or_insert((table.id, at));
            }
        }
        for topic in catalog.topics.values() {
            let names = entries.topics.entry(topic.namespace.clone()).or_default();
            names.entry(topic.name.clone()).or_insert(topic.id);
            for (at, source) in topic.sources.iter().enumerate() {
                entries.sources.entry((source.table, source.operation)).or_default().push((topic.id, at));
            }
        }
        entries
    }
}
