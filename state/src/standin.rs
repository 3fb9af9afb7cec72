//! A store in memory with the engine's face.
#![allow(missing_docs, clippy::unused_async, clippy::missing_errors_doc, reason = "goes when the engine lands")]
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::rc::Rc;

use bytes::Bytes;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u32);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogIndex(pub u64);

impl LogIndex {
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}
impl std::fmt::Display for LogIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "index {}", self.0)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    #[error("the store is closed")]
    Closed,
}

type Change = (Vec<u8>, Option<Vec<u8>>, u8);

#[derive(Clone, Debug, Default)]
pub struct WriteBatch {
    ops: Vec<Change>,
    encoded: Vec<u8>,
}
impl WriteBatch {
    #[must_use]
    pub fn with_capacity(_: usize) -> Self {
        Self::default()
    }
    fn push(&mut self, kind: u8, a: &[u8], b: Option<&[u8]>) {
        self.encoded.push(kind);
        self.encoded.extend_from_slice(a);
        self.encoded.extend_from_slice(b.unwrap_or_default());
        self.ops.push((a.to_vec(), b.map(<[u8]>::to_vec), kind));
    }
    pub fn put(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.push(1, key.as_ref(), Some(value.as_ref()));
    }
    pub fn delete(&mut self, key: impl AsRef<[u8]>) {
        self.push(2, key.as_ref(), None);
    }
    pub fn delete_range(&mut self, start: impl AsRef<[u8]>, end: impl AsRef<[u8]>) {
        self.push(3, start.as_ref(), Some(end.as_ref()));
    }
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.encoded
    }
}

pub type Snapshot = Rc<BTreeMap<Vec<u8>, Bytes>>;

#[derive(Debug)]
pub struct Store<E> {
    data: RefCell<Snapshot>,
    env: PhantomData<E>,
}
impl<E> Default for Store<E> {
    fn default() -> Self {
        Self { data: RefCell::default(), env: PhantomData }
    }
}
impl<E> Store<E> {
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.data.borrow().clone()
    }
    pub async fn get(&self, key: &[u8], snapshot: &Snapshot) -> Result<Option<Bytes>, EngineError> {
        Ok(snapshot.get(key).cloned())
    }
    pub fn scan(&self, start: &[u8], end: &[u8], snapshot: &Snapshot) -> Cursor {
        let pairs: Vec<_> = snapshot
            .range::<[u8], _>((std::ops::Bound::Included(start), std::ops::Bound::Excluded(end)))
            .map(|(key, value)| (Bytes::copy_from_slice(key), value.clone()))
            .collect();
        Cursor(pairs.into_iter())
    }
    pub fn write(&self, _: GroupId, _: LogIndex, batch: WriteBatch) -> Result<(), EngineError> {
        let mut data = self.data.borrow_mut();
        let data = Rc::make_mut(&mut data);
        for (key, value, kind) in batch.ops {
            match (kind, value) {
                (1, Some(value)) => {
                    data.insert(key, Bytes::from(value));
                }
                (3, Some(end)) => data.retain(|k, _| !(key <= *k && *k < end)),
                _ => {
                    data.remove(&key);
                }
            }
        }
        Ok(())
    }
}

#[derive(Debug)]
pub struct Cursor(std::vec::IntoIter<(Bytes, Bytes)>);
impl Cursor {
    pub async fn next(&mut self) -> Result<Option<(Bytes, Bytes)>, EngineError> {
        Ok(self.0.next())
    }
}
