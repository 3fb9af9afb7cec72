//! Partitions: numbered messages of a topic that live on this group, oldest first.
//!
//! Owns the head of a partition (where its log starts and ends, how many bytes it holds) and its messages: append at the end,
//! read a range, forget from the front. The stored forms are the frame of [`crate::stored`] around:
//!
//! ```text
//! head    := start varint | end varint | bytes varint
//! message := key option text | payload bytes | timestamp zigzag | user option text | operation u8
//! ```
//!
//! Invariants: messages `start..end` are stored and no others; `end` never falls, also when the partition is cleared;
//! `bytes` is the sum of the stored messages' value sizes. Must not know who reads.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use highwater_runtime::Env;
use highwater_sql::catalog::{Catalog, CatalogDelta, ObjectId, Operation, Topic};
use highwater_sql::value::Micros;
use serde::{Deserialize, Serialize};

use super::claims::{Log, Offsets};
use crate::command::TopicRecord;
use crate::error::{Abort, StateError};
use crate::outcome::Message;
use crate::placement::Layout;
use crate::stored;
use crate::txn::Txn;

/// Most messages that retention removes for each appended one: the work of an append stays bounded, and a backlog still
/// shrinks.
pub const RETENTION_STEPS: usize = 4;

/// Where a partition's log starts and ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Offset of the oldest message kept.
    pub start: u64,
    /// Offset of the next message.
    pub end: u64,
    /// Bytes of the messages kept, as stored.
    pub bytes: u64,
}

impl Head {
    /// The offsets kept.
    #[must_use]
    pub const fn log(&self) -> Log {
        Offsets::new(self.start, self.end)
    }

    /// Takes a message of this many bytes at the end and answers its offset.
    pub const fn append(&mut self, bytes: u64) -> u64 {
        let offset = self.end;
        self.end += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        offset
    }

    /// Forgets the oldest message, of this many bytes.
    pub const fn drop_first(&mut self, bytes: u64) {
        if self.start < self.end {
            self.start += 1;
            self.bytes = self.bytes.saturating_sub(bytes);
        }
    }

    /// Forgets all messages; numbering goes on.
    pub const fn clear(&mut self) {
        self.start = self.end;
        self.bytes = 0;
    }
}

/// Whether retention drops the oldest message of a partition: one older than the topic's age, or one without which the
/// partition still holds as many bytes as the topic allows or more.
#[must_use]
pub fn outlived(topic: &Topic, head: &Head, oldest: Micros, oldest_bytes: u64, now: Micros) -> bool {
    let age = topic
        .retention_seconds
        .map(|seconds| Micros::try_from(seconds).unwrap_or(Micros::MAX).saturating_mul(1_000_000));
    let too_old = age.is_some_and(|age| oldest.saturating_add(age) < now);
    let too_many = topic.retention_bytes.is_some_and(|limit| head.bytes.saturating_sub(oldest_bytes) >= limit);
    head.start < head.end && (too_old || too_many)
}

/// A message as it is stored: its offset is in its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredMessage {
    pub key: Option<String>,
    pub payload: Vec<u8>,
    pub timestamp: Micros,
    pub user: Option<String>,
    pub operation: Operation,
}

impl StoredMessage {
    /// What a consumer gets.
    pub fn at(self, offset: u64) -> Message {
        Message {
            offset,
            key: self.key,
            payload: self.payload,
            timestamp: self.timestamp,
            user: self.user,
            operation: self.operation,
        }
    }
}

impl From<TopicRecord> for StoredMessage {
    fn from(record: TopicRecord) -> Self {
        Self {
            key: record.key,
            payload: record.payload,
            timestamp: record.timestamp,
            user: record.user,
            operation: record.operation,
        }
    }
}

/// The head of a partition; that of one which never had a message is empty.
pub(crate) async fn head<E: Env>(txn: &mut Txn<'_, E>, topic: ObjectId, partition: u32) -> Result<Head, Abort> {
    let key = txn.keys().head(topic, partition);
    let value = txn.get(&key).await?;
    Ok(decode_head(txn.group(), value.as_deref())?)
}

/// A head as it is stored, or the empty one.
pub(crate) fn decode_head(group: u32, value: Option<&[u8]>) -> Result<Head, StateError> {
    value.map_or_else(|| Ok(Head::default()), |bytes| stored::decode(group, "the head of a partition", bytes))
}

/// A message as it is stored.
pub(crate) fn decode_message(group: u32, value: &[u8]) -> Result<StoredMessage, StateError> {
    stored::decode(group, "a message", value)
}

/// Appends records to their partitions in the given order, and lets retention drop a bounded number of old messages of each.
/// Records of topics or partitions that the catalog does not have are dropped.
pub(crate) async fn append<E: Env>(
    txn: &mut Txn<'_, E>,
    catalog: &Catalog,
    now: Micros,
    records: &[TopicRecord],
) -> Result<(), Abort> {
    let mut heads: BTreeMap<(ObjectId, u32), (Head, usize)> = BTreeMap::new();
    for record in records {
        let place = (record.topic, record.partition);
        if catalog.topics.get(&record.topic).is_none_or(|topic| record.partition >= topic.partitions) {
            continue;
        }
        let (head, appended) = match heads.entry(place) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert((head(txn, place.0, place.1).await?, 0)),
        };
        let value = stored::encode(&StoredMessage::from(record.clone()));
        let offset = head.append(value.len() as u64);
        *appended += 1;
        txn.put(txn.keys().message(place.0, place.1, offset), value)?;
    }
    for ((topic, partition), (mut head, appended)) in heads {
        if let Some(definition) = catalog.topics.get(&topic) {
            retain(txn, definition, partition, &mut head, now, appended * RETENTION_STEPS).await?;
        }
        txn.put(txn.keys().head(topic, partition), stored::encode(&head))?;
        txn.note_appended(topic, partition);
    }
    Ok(())
}

/// Drops at most `steps` outlived messages from the front.
async fn retain<E: Env>(
    txn: &mut Txn<'_, E>,
    topic: &Topic,
    partition: u32,
    head: &mut Head,
    now: Micros,
    steps: usize,
) -> Result<(), Abort> {
    if topic.retention_seconds.is_none() && topic.retention_bytes.is_none() {
        return Ok(());
    }
    for _ in 0..steps {
        let key = txn.keys().message(topic.id, partition, head.start);
        let Some(value) = txn.get(&key).await? else { return Ok(()) };
        let bytes = value.len() as u64;
        if !outlived(topic, head, decode_message(txn.group(), &value)?.timestamp, bytes, now) {
            return Ok(());
        }
        txn.delete(key)?;
        head.drop_first(bytes);
    }
    Ok(())
}

/// Whether this group holds the partition.
fn lives_here<E: Env>(txn: &Txn<'_, E>, layout: &Layout, topic: &Topic, partition: u32) -> bool {
    layout.topic_group(topic.id, partition, topic.incarnation) == txn.group()
}

/// What a change of the catalog does to partitions: a dropped topic takes its messages and groups with it, a topic that was
/// cleared once more loses them and goes on numbering. `catalog` is the one before the change.
pub(crate) async fn redefine<E: Env>(
    txn: &mut Txn<'_, E>,
    layout: &Layout,
    catalog: &Catalog,
    delta: &CatalogDelta,
) -> Result<(), Abort> {
    match delta {
        CatalogDelta::PutTopic(topic) => match catalog.topics.get(&topic.id) {
            Some(known) if known.clear_count < topic.clear_count => clear_topic(txn, layout, topic).await,
            Some(_) | None => Ok(()),
        },
        CatalogDelta::DropTopic(id) => catalog.topics.get(id).map_or(Ok(()), |topic| drop_topic(txn, layout, topic)),
        CatalogDelta::PutNamespace(_)
        | CatalogDelta::DropNamespace(_)
        | CatalogDelta::PutTable(_)
        | CatalogDelta::DropTable(_)
        | CatalogDelta::PutUser(_)
        | CatalogDelta::DropUser(_) => Ok(()),
    }
}

/// Forgets the messages and the consumer groups of the topic's partitions that live here; numbering goes on.
async fn clear_topic<E: Env>(txn: &mut Txn<'_, E>, layout: &Layout, topic: &Topic) -> Result<(), Abort> {
    txn.lift_limits();
    let keys = txn.keys();
    for partition in
        (0..topic.partitions).filter(|partition| lives_here(txn, layout, topic, *partition)).collect::<Vec<_>>()
    {
        let mut head = head(txn, topic.id, partition).await?;
        txn.delete_range(keys.messages_below(topic.id, partition, head.end))?;
        txn.delete_range(keys.consumers_of_partition(topic.id, partition))?;
        head.clear();
        txn.put(keys.head(topic.id, partition), stored::encode(&head))?;
    }
    Ok(())
}

/// Forgets everything of a dropped topic that lives here.
fn drop_topic<E: Env>(txn: &mut Txn<'_, E>, layout: &Layout, topic: &Topic) -> Result<(), Abort> {
    txn.lift_limits();
    let keys = txn.keys();
    if (0..topic.partitions).any(|partition| lives_here(txn, layout, topic, partition)) {
        txn.delete_range(keys.heads_of_topic(topic.id))?;
        txn.delete_range(keys.messages_of_topic(topic.id))?;
        txn.delete_range(keys.consumers_of_topic(topic.id))?;
    }
    Ok(())
}
