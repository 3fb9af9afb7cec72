//! A driver as small as can be: entries are encoded batches, committed when durable, applied in order, replayed at open.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, dead_code)]

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use bytes::Bytes;
use highwater_engine::{
    Direction, EngineError, GroupId, HardState, Incarnation, KeyRange, LogBatch, LogIndex, Recovery, Snapshot, Store,
    StoreOptions, Term, WriteBatch,
};
use highwater_runtime::Env;
use highwater_runtime::inproc::InProcEnv;

pub const FOLDER: &str = "/data/store-0";
pub const LIFE: Incarnation = Incarnation(1);

pub type Content = BTreeMap<Vec<u8>, Vec<u8>>;

pub struct Driver {
    pub env: InProcEnv,
    pub store: Rc<Store<InProcEnv>>,
    pub recovery: Recovery,
    /// Last index of each group.
    pub last: BTreeMap<GroupId, u64>,
}

impl Driver {
    pub async fn open(env: InProcEnv) -> Result<Self, EngineError> {
        Self::open_with(env, StoreOptions::small()).await
    }

    /// Opens the store and applies every committed entry behind what the tables contain.
    pub async fn open_with(env: InProcEnv, options: StoreOptions) -> Result<Self, EngineError> {
        let (store, recovery) = Store::open(env.clone(), Path::new(FOLDER), options).await?;
        let mut last = BTreeMap::new();
        for (group, found) in &recovery.groups {
            let committed = found.hard_state.commit.min(found.last_index);
            for entry in store.entries(*group, found.applied.next(), committed, usize::MAX).await? {
                store.write(*group, entry.index, WriteBatch::decode(entry.data.to_vec()).unwrap());
                store.release_log(*group, entry.index);
            }
            last.insert(*group, found.last_index.0);
        }
        Ok(Self { env, store, recovery, last })
    }

    /// Logs a batch when the store takes writes, and applies it once it is durable.
    pub async fn write(&mut self, group: GroupId, batch: WriteBatch) -> Result<(), EngineError> {
        while self.store.pressure().is_some() {
            self.env.sleep(1000).await;
        }
        self.log(group, &batch).await?;
        let index = LogIndex(self.last[&group]);
        self.store.write(group, index, batch);
        self.store.release_log(group, index);
        Ok(())
    }

    /// Logs a batch without applying it.
    pub async fn log(&mut self, group: GroupId, batch: &WriteBatch) -> Result<(), EngineError> {
        let index = self.last.get(&group).copied().unwrap_or(0) + 1;
        let mut records = LogBatch::new();
        let entry = (Term(1), Bytes::from(batch.encode()));
        records.push_entries(group, LIFE, LogIndex(index), std::iter::once(entry));
        records.push_hard_state(group, HardState { term: Term(1), vote: 1, commit: LogIndex(index) });
        self.store.append(records).await?;
        self.last.insert(group, index);
        Ok(())
    }

    pub async fn content(&self) -> Content {
        content(&self.store, &self.store.snapshot(), &KeyRange::all(), Direction::Forward).await
    }
}

pub async fn content(store: &Rc<Store<InProcEnv>>, at: &Snapshot, range: &KeyRange, direction: Direction) -> Content {
    let mut cursor = store.scan(range.clone(), direction, at);
    let mut found = Content::new();
    let mut last: Option<Bytes> = None;
    while let Some((key, value)) = cursor.next().await.unwrap() {
        let ordered = last.as_ref().is_none_or(|last| match direction {
            Direction::Forward => *last < key,
            Direction::Reverse => *last > key,
        });
        assert!(ordered, "keys out of order");
        found.insert(key.to_vec(), value.to_vec());
        last = Some(key);
    }
    found
}

/// What a batch does to a map.
pub fn apply(content: &mut Content, batch: &WriteBatch) {
    for operation in batch.operations() {
        match operation {
            highwater_engine::Operation::Put { key, value, .. } => {
                content.insert(key.to_vec(), value.to_vec());
            }
            highwater_engine::Operation::Delete { key } => {
                content.remove(key);
            }
            highwater_engine::Operation::DeleteRange { start, end } => {
                content.retain(|key, _| !(start <= &key[..] && &key[..] < end));
            }
        }
    }
}
