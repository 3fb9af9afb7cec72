//! Positions in memory: what [`super::inbox`] and [`super::outbox`] have stored, for questions that must not cost a read.
//!
//! Invariant: equal to the stored positions after every applied entry, because it takes them out of the entry's own batch.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use highwater_runtime::Env;

use super::position::OutboxPosition;
use super::{inbox, outbox};
use crate::error::StateError;
use crate::keys::{Keys, Space};
use crate::reader::Reader;

/// Where a group's inbox stands per source, and its outbox per destination.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Positions {
    inbox: BTreeMap<u32, u64>,
    outbox: BTreeMap<u32, OutboxPosition>,
}

impl Positions {
    /// Those of a group that never exchanged anything.
    pub const NONE: &'static Self = &Self { inbox: BTreeMap::new(), outbox: BTreeMap::new() };

    /// The stored ones.
    pub async fn load<E: Env>(reader: &Reader<E>, keys: Keys) -> Result<Self, StateError> {
        let mut positions = Self::default();
        for space in [Space::Inbox, Space::OutboxPosition] {
            let mut scan = reader.scan(&keys.space(space)).await?;
            while let Some((key, value)) = scan.next().await? {
                positions.set(keys, space, &key, &value)?;
            }
        }
        Ok(positions)
    }

    /// Takes the positions among an entry's writes; `None` when there are none. Positions are never removed.
    pub fn after(&self, keys: Keys, writes: &BTreeMap<Vec<u8>, Option<Bytes>>) -> Result<Option<Self>, StateError> {
        let mut next = None;
        for space in [Space::Inbox, Space::OutboxPosition] {
            let span = keys.space(space);
            let bounds = (Bound::Included(span.start.as_slice()), Bound::Excluded(span.end.as_slice()));
            for (key, value) in writes.range::<[u8], _>(bounds) {
                if let Some(value) = value {
                    next.get_or_insert_with(|| self.clone()).set(keys, space, key, value)?;
                }
            }
        }
        Ok(next)
    }

    fn set(&mut self, keys: Keys, space: Space, key: &[u8], value: &[u8]) -> Result<(), StateError> {
        let damaged = StateError::Corrupt { group: keys.group(), what: "the key of an inbox or outbox position" };
        let peer = Keys::peer_of(key).ok_or(damaged)?;
        if space == Space::Inbox {
            self.inbox.insert(peer, inbox::decode(keys.group(), Some(value))?);
        } else {
            self.outbox.insert(peer, outbox::decode_position(keys.group(), Some(value))?);
        }
        Ok(())
    }

    /// Where the inbox stands for a source; 0 before its first range.
    pub fn inbox(&self, source: u32) -> u64 {
        self.inbox.get(&source).copied().unwrap_or(0)
    }

    /// How the outbox stands for a destination.
    pub fn outbox(&self, destination: u32) -> OutboxPosition {
        self.outbox.get(&destination).copied().unwrap_or_default()
    }

    /// Every destination that ever had records, in order.
    pub fn outboxes(&self) -> impl Iterator<Item = (u32, OutboxPosition)> {
        self.outbox.iter().map(|(destination, position)| (*destination, *position))
    }
}
