//! Keys of partitions, messages, consumer groups and claims.

use highwater_sql::catalog::ObjectId;

use super::builder::PREFIX;
use super::{KeySpan, Keys, Space};

impl Keys {
    /// State of a partition.
    #[must_use]
    pub fn head(self, topic: ObjectId, partition: u32) -> Vec<u8> {
        self.key(Space::Head).u64(topic.0).u32(partition).0
    }

    /// States of all partitions of a topic in this group.
    #[must_use]
    pub fn heads_of_topic(self, topic: ObjectId) -> KeySpan {
        self.key(Space::Head).u64(topic.0).span()
    }

    /// A message.
    #[must_use]
    pub fn message(self, topic: ObjectId, partition: u32, offset: u64) -> Vec<u8> {
        self.key(Space::Message).u64(topic.0).u32(partition).u64(offset).0
    }

    /// Messages of a partition from offset `from` on.
    #[must_use]
    pub fn messages_from(self, topic: ObjectId, partition: u32, from: u64) -> KeySpan {
        let end = self.key(Space::Message).u64(topic.0).u32(partition).span().end;
        KeySpan { start: self.message(topic, partition, from), end }
    }

    /// Messages of a partition below offset `below`.
    #[must_use]
    pub fn messages_below(self, topic: ObjectId, partition: u32, below: u64) -> KeySpan {
        KeySpan { start: self.message(topic, partition, 0), end: self.message(topic, partition, below) }
    }

    /// Messages of all partitions of a topic in this group.
    #[must_use]
    pub fn messages_of_topic(self, topic: ObjectId) -> KeySpan {
        self.key(Space::Message).u64(topic.0).span()
    }

    /// A message's offset, from its key.
    #[must_use]
    pub fn offset_of(key: &[u8]) -> Option<u64> {
        let bytes: [u8; 8] = key.get(PREFIX + 12..)?.try_into().ok()?;
        Some(u64::from_be_bytes(bytes))
    }

    /// A consumer group of a partition.
    #[must_use]
    pub fn consumers(self, topic: ObjectId, partition: u32, group: &str) -> Vec<u8> {
        self.key(Space::Consumers).u64(topic.0).u32(partition).raw(group.as_bytes()).0
    }

    /// All consumer groups of a partition.
    #[must_use]
    pub fn consumers_of_partition(self, topic: ObjectId, partition: u32) -> KeySpan {
        self.key(Space::Consumers).u64(topic.0).u32(partition).span()
    }

    /// All consumer groups of a topic in this group.
    #[must_use]
    pub fn consumers_of_topic(self, topic: ObjectId) -> KeySpan {
        self.key(Space::Consumers).u64(topic.0).span()
    }

    /// Topic, partition and name of a consumer group, from a [`Keys::consumers`] key.
    #[must_use]
    pub fn consumers_parts(key: &[u8]) -> Option<(ObjectId, u32, &str)> {
        let topic: [u8; 8] = key.get(PREFIX..PREFIX + 8)?.try_into().ok()?;
        let partition: [u8; 4] = key.get(PREFIX + 8..PREFIX + 12)?.try_into().ok()?;
        let name = std::str::from_utf8(key.get(PREFIX + 12..)?).ok()?;
        Some((ObjectId(u64::from_be_bytes(topic)), u32::from_be_bytes(partition), name))
    }

    /// A claim that begins at offset `first`.
    #[must_use]
    pub fn claim(self, topic: ObjectId, partition: u32, group: &str, first: u64) -> Vec<u8> {
        self.key(Space::Claim).u64(topic.0).u32(partition).text(group).u64(first).0
    }

    /// All claims of a consumer group in a partition.
    #[must_use]
    pub fn claims_of_group(self, topic: ObjectId, partition: u32, group: &str) -> KeySpan {
        self.key(Space::Claim).u64(topic.0).u32(partition).text(group).span()
    }

    /// All claims of a partition.
    #[must_use]
    pub fn claims_of_partition(self, topic: ObjectId, partition: u32) -> KeySpan {
        self.key(Space::Claim).u64(topic.0).u32(partition).span()
    }

    /// All claims of a topic in this group.
    #[must_use]
    pub fn claims_of_topic(self, topic: ObjectId) -> KeySpan {
        self.key(Space::Claim).u64(topic.0).span()
    }
}
