//! A group's store as it was at one moment: the only place where this crate reads the engine.

use std::rc::Rc;

use bytes::Bytes;
use highwater_engine::{Cursor, Direction, KeyRange, Snapshot, Store};
use highwater_runtime::Env;

use crate::error::StateError;
use crate::keys::KeySpan;

/// The store and a snapshot of it.
pub(crate) struct Reader<E: Env> {
    store: Rc<Store<E>>,
    snapshot: Snapshot,
}

impl<E: Env> Reader<E> {
    /// The store as it is now.
    pub fn latest(store: &Rc<Store<E>>) -> Self {
        Self { store: Rc::clone(store), snapshot: store.snapshot() }
    }

    pub const fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    pub async fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StateError> {
        Ok(self.store.get(key, &self.snapshot).await?)
    }

    pub async fn scan(&self, span: &KeySpan) -> Result<Scan<E>, StateError> {
        self.scan_in(span, Direction::Forward).await
    }

    /// The pairs of a range in this direction.
    pub async fn scan_in(&self, span: &KeySpan, direction: Direction) -> Result<Scan<E>, StateError> {
        let range = KeyRange::new(span.start.clone(), span.end.clone());
        Ok(Scan(self.store.scan(range, direction, &self.snapshot)))
    }

    /// Whether the planted bug is switched on for this process; never without the `mutants` feature.
    pub fn mutant(&self, number: u32) -> bool {
        highwater_runtime::mutant(number)
    }
}

/// Pairs of a range in key order, or from its end.
pub(crate) struct Scan<E: Env>(Cursor<E>);

impl<E: Env> Scan<E> {
    pub async fn next(&mut self) -> Result<Option<(Bytes, Bytes)>, StateError> {
        Ok(self.0.next().await?)
    }

    pub async fn next_value(&mut self) -> Result<Option<Bytes>, StateError> {
        Ok(self.0.next_value().await?)
    }
}
