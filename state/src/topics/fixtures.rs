//! Definitions that tests of topics and of the exchange share.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use highwater_engine::{GroupId, LogIndex, Store, StoreOptions};
use highwater_runtime::disk::Faults;
use highwater_runtime::inproc::{InProcEnv, Sim};
use highwater_sql::catalog::{AccessLevel, Column, ObjectId, Operation, PayloadMode, Source, Table, TableKind, Topic};
use highwater_sql::plan::TableSpec;
use highwater_sql::value::DataType;

use super::partition::{self, Head, StoredMessage};
use crate::error::Abort;
use crate::keys::Keys;
use crate::reader::Reader;
use crate::txn::Txn;

/// A SHARED table `app.<name>`.
pub(crate) fn table(id: u64, name: &str, columns: &[(&str, DataType)], key: &[u32]) -> Table {
    let column = |(at, (name, data_type)): (usize, &(&str, DataType))| Column {
        nullable: !key.contains(&(at as u32)),
        ..Column::new(at as u32 + 1, (*name).to_owned(), *data_type)
    };
    TableSpec {
        namespace: "app".into(),
        name: name.into(),
        kind: TableKind::Shared,
        access_level: AccessLevel::Private,
        columns: columns.iter().enumerate().map(column).collect(),
        primary_key: key.to_vec(),
        partition_columns: 0,
        checks: Vec::new(),
        ttl_seconds: None,
        indexes: Vec::new(),
    }
    .into_table(ObjectId(id), 0)
}

/// A topic `app.<name>` without retention.
pub(crate) fn topic(id: u64, name: &str, partitions: u32, sources: Vec<Source>) -> Arc<Topic> {
    Arc::new(Topic {
        id: ObjectId(id),
        incarnation: 1,
        namespace: "app".into(),
        name: name.into(),
        partitions,
        retention_seconds: None,
        retention_bytes: None,
        sources,
        clear_count: 0,
        created_at: 0,
        updated_at: 0,
    })
}

/// A source without filter and PARTITION BY.
pub(crate) fn source(table: u64, operation: Operation, payload: PayloadMode) -> Source {
    Source {
        table: ObjectId(table),
        operation,
        filter: None,
        filter_text: None,
        partition_by: None,
        partition_by_text: None,
        payload,
    }
}

/// Runs a test's body on an in-process node.
pub(crate) fn run<F: AsyncFnOnce(InProcEnv)>(body: F) {
    Sim::new(1, Faults::none()).run(|env| body(env)).unwrap();
}

/// A group without commands: each entry is a closure over its change.
pub(crate) struct Bench {
    store: Rc<Store<InProcEnv>>,
    pub keys: Keys,
    index: LogIndex,
}

impl Bench {
    /// An empty group with a store of its own.
    pub async fn new(env: &InProcEnv, group: u32) -> Self {
        Self { store: store(env, group).await, keys: Keys::new(group), index: LogIndex(0) }
    }

    pub fn reader(&self) -> Reader<InProcEnv> {
        Reader::latest(&self.store)
    }

    /// Applies one entry; a refused one leaves nothing but takes its index.
    pub async fn apply<T>(
        &mut self,
        entry: impl AsyncFnOnce(&mut Txn<'_, InProcEnv>) -> Result<T, Abort>,
    ) -> Result<T, Abort> {
        let reader = self.reader();
        self.index = self.index.next();
        let mut txn = Txn::new(&reader, self.keys, self.index);
        let result = entry(&mut txn).await;
        if result.is_err() {
            txn.rollback();
        }
        let batch = txn.finish().batch;
        self.store.write(GroupId(self.keys.group()), self.index, batch);
        result
    }

    pub async fn head(&self, topic: ObjectId, partition: u32) -> Head {
        let value = self.reader().get(&self.keys.head(topic, partition)).await.unwrap();
        partition::decode_head(self.keys.group(), value.as_deref()).unwrap()
    }

    /// Every stored message of a partition with its offset.
    pub async fn messages(&self, topic: ObjectId, partition: u32) -> Vec<(u64, StoredMessage)> {
        let mut found = Vec::new();
        let reader = self.reader();
        let mut scan = reader.scan(&self.keys.messages_from(topic, partition, 0)).await.unwrap();
        while let Some((key, value)) = scan.next().await.unwrap() {
            found.push((Keys::offset_of(&key).unwrap(), partition::decode_message(0, &value).unwrap()));
        }
        found
    }
}

/// An empty store.
pub(crate) async fn store(env: &InProcEnv, group: u32) -> Rc<Store<InProcEnv>> {
    let folder = PathBuf::from(format!("/group-{group}"));
    Store::open(env.clone(), &folder, StoreOptions::small()).await.unwrap().0
}
