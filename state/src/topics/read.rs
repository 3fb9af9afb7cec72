//! Reads of topics and of the exchange, over a view of a group: nothing is claimed, stored or waited for.

use highwater_runtime::Env;
use highwater_sql::catalog::ObjectId;
use highwater_sql::plan::StartPosition;
use highwater_sql::value::Micros;
use serde::{Deserialize, Serialize};

use super::claims::{Log, Progress, start_offset};
use super::consume::{self, MAX_MESSAGES, Taken};
use super::partition::{self, Head};
use crate::command::RequestHead;
use crate::error::StateError;
use crate::exchange::{OutboxRange, outbox};
use crate::keys::{KeySpan, Keys, Space};
use crate::outcome::Consumed;
use crate::view::GroupView;

/// A row of `system.topic_offsets`: a group that has acked in a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupOffset {
    /// The topic.
    pub topic: ObjectId,
    /// The partition.
    pub partition: u32,
    /// The consumer group.
    pub group: String,
    /// The last offset of the longest settled prefix.
    pub last_acked: u64,
    /// Log time of the last ack.
    pub updated_at: Micros,
}

impl<E: Env> GroupView<E> {
    /// Messages of a partition from `start` on, in offset order: at most `limit` (and [`MAX_MESSAGES`]) of them and at most
    /// `max_bytes` payload bytes, but always one when one is there. Stores nothing. An empty partition and one that lives in
    /// another group read alike: ask the group of [`crate::placement::Layout::topic_group`].
    ///
    /// # Errors
    /// A failure of the store, or damage.
    pub async fn messages(
        &self,
        topic: ObjectId,
        partition: u32,
        start: StartPosition,
        limit: u32,
        max_bytes: u32,
    ) -> Result<Consumed, StateError> {
        let log = self.partition_bounds(topic, partition).await?;
        let from = start_offset(start, log);
        let limit = limit.min(MAX_MESSAGES) as usize;
        let mut taken = Taken::new(max_bytes as usize);
        let mut next = from;
        if from < log.to && limit > 0 {
            let keys = self.keys();
            let span =
                KeySpan { start: keys.message(topic, partition, from), end: keys.message(topic, partition, log.to) };
            let mut scan = self.reader().scan(&span).await?;
            while taken.len() < limit
                && let Some((key, value)) = scan.next().await?
                && taken.push(keys.group(), next, &key, &value)?
            {
                next += 1;
            }
        }
        let (messages, _) = taken.into_parts();
        Ok(Consumed { messages, next_offset: next, has_more: next < log.to })
    }

    /// The offsets that a partition holds: from its log's start to its end.
    ///
    /// # Errors
    /// A failure of the store, or damage.
    pub async fn partition_bounds(&self, topic: ObjectId, partition: u32) -> Result<Log, StateError> {
        Ok(self.head(topic, partition).await?.log())
    }

    /// The head of a partition.
    ///
    /// # Errors
    /// A failure of the store, or damage.
    pub async fn head(&self, topic: ObjectId, partition: u32) -> Result<Head, StateError> {
        let value = self.reader().get(&self.keys().head(topic, partition)).await?;
        partition::decode_head(self.keys().group(), value.as_deref())
    }

    /// Whether CONSUME with this group would return something when proposed at `now` (the leader's clock) or would make the
    /// group: only then is it worth a proposal. Whoever waits asks again when the partition gets messages and at
    /// [`Self::next_expiry`].
    ///
    /// # Errors
    /// A failure of the store, or damage.
    pub async fn deliverable(
        &self,
        topic: ObjectId,
        partition: u32,
        group: &str,
        now: Micros,
    ) -> Result<bool, StateError> {
        let head = self.head(topic, partition).await?;
        Ok(consume::would_take(self.progress(topic, partition, group).await?.as_ref(), &head, now.max(self.log_time())))
    }

    /// Whether a consume was answered in a partition before: it is a retry under its request id.
    ///
    /// # Errors
    /// A failure of the store, or an answer that is damaged.
    pub async fn has_answered(&self, head: &RequestHead, topic: ObjectId, partition: u32) -> Result<bool, StateError> {
        Ok(self.answer_of(&consume::head_at(head, topic, partition)).await?.is_some())
    }

    /// Whether a group has consumed or acked in a partition. A first consume over several partitions must reach all of them,
    /// with limit 0 where nothing more is wanted: a partition where the group's start was not stored would begin wherever a
    /// later consume says.
    ///
    /// # Errors
    /// A failure of the store, or damage.
    pub async fn knows_group(&self, topic: ObjectId, partition: u32, group: &str) -> Result<bool, StateError> {
        Ok(self.reader().get(&self.keys().consumers(topic, partition, group)).await?.is_some())
    }

    /// When the next live claim of a group in a partition expires, in log time; `None` when none is live at `now`.
    ///
    /// # Errors
    /// A failure of the store, or damage.
    pub async fn next_expiry(
        &self,
        topic: ObjectId,
        partition: u32,
        group: &str,
        now: Micros,
    ) -> Result<Option<Micros>, StateError> {
        Ok(self
            .progress(topic, partition, group)
            .await?
            .and_then(|progress| progress.next_expiry(now.max(self.log_time()))))
    }

    /// How far a group has come in a partition; `None` before its first consume or ack.
    ///
    /// # Errors
    /// A failure of the store, or damage.
    pub async fn progress(&self, topic: ObjectId, partition: u32, group: &str) -> Result<Option<Progress>, StateError> {
        let value = self.reader().get(&self.keys().consumers(topic, partition, group)).await?;
        consume::decode_progress(self.keys().group(), value.as_deref())
    }

    /// Every consumer group that has acked in a partition of this group, in order of topic, partition and name.
    ///
    /// # Errors
    /// A failure of the store, or damage.
    pub async fn group_offsets(&self) -> Result<Vec<GroupOffset>, StateError> {
        let mut offsets = Vec::new();
        let raft_group = self.keys().group();
        let mut scan = self.reader().scan(&self.keys().space(Space::Consumers)).await?;
        while let Some((key, value)) = scan.next().await? {
            let damaged = StateError::Corrupt { group: raft_group, what: "a consumer group's key" };
            let (topic, partition, group) = Keys::consumers_parts(&key).ok_or(damaged)?;
            let progress = consume::decode_progress(raft_group, Some(&value))?;
            if let Some(Progress { committed: Some(last_acked), updated_at, .. }) = progress {
                offsets.push(GroupOffset { topic, partition, group: group.to_owned(), last_acked, updated_at });
            }
        }
        Ok(offsets)
    }

    /// Where the inbox stands for a source group: everything that the source derived for this group at or below this index
    /// of its log has taken effect here.
    #[must_use]
    pub fn inbox(&self, source: u32) -> u64 {
        self.positions().inbox(source)
    }

    /// Index of the last entry of this group that had records for the destination; 0 when none ever had.
    #[must_use]
    pub fn outbox_head(&self, destination: u32) -> u64 {
        self.positions().outbox(destination).head
    }

    /// What the outbox has forgotten because the destination has it: everything at or below this index.
    #[must_use]
    pub fn outbox_trimmed(&self, destination: u32) -> u64 {
        self.positions().outbox(destination).trimmed
    }

    /// Every destination that ever had records with the index of the last entry that had some, in order of destination.
    pub fn outbox_heads(&self) -> impl Iterator<Item = (u32, u64)> + '_ {
        self.positions().outboxes().map(|(destination, position)| (destination, position.head))
    }

    /// What to ship to `destination` when its inbox stands at `after`: whole entries of at most `max_bytes` in all (by
    /// [`crate::exchange::record_bytes`]), but always one entry when one waits. Nothing waits when `to == from`. `from` is above
    /// `after` only when the outbox has forgotten what lies between; a destination that really lacks it refuses the gap.
    ///
    /// # Errors
    /// A failure of the store, or damage.
    pub async fn outbox_range(
        &self,
        destination: u32,
        after: u64,
        max_bytes: usize,
    ) -> Result<OutboxRange, StateError> {
        outbox::range(self.reader(), self.keys(), destination, after, max_bytes).await
    }
}
