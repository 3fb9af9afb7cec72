//! Consuming with a group: claim, settle and answer in one step, and ACK.
//!
//! Owns the order of the steps and the words of the refusals; the arithmetic is [`super::claims`]'. A group's progress in a
//! partition is one value ([`crate::keys::Space::Consumers`]: `frame(progress)`), so that a claim, the ack of it and the
//! answer are there together or not at all.

use std::borrow::Cow;

use bytes::Bytes;
use highwater_runtime::Env;
use highwater_sql::catalog::{Catalog, ObjectId, Role, Topic};
use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::limits::MAX_GROUP_NAME_BYTES;
use highwater_sql::plan::StartPosition;
use highwater_sql::value::Micros;
use xxhash_rust::xxh3::xxh3_128;

use super::claims::{MAX_CLAIMS, MAX_SETTLED, Offsets, PlantedAck, Progress, Refusal};
use super::partition::{self, Head};
use crate::command::{AckCommand, ConsumeCommand, RequestHead, RequestId};
use crate::error::{Abort, StateError};
use crate::keys::{KeySpan, Keys};
use crate::outcome::{Consumed, Message};
use crate::stored;
use crate::txn::Txn;

/// Most messages that one consume of a group returns, whatever its LIMIT says; `has_more` then says that there are more.
pub const MAX_MESSAGES: u32 = 10_000;

/// Fewest and most messages read at once: in between, as many as fit the rest of the byte budget by the average so far, so
/// that little is read in vain.
const CHUNK: (usize, usize) = (16, 1024);

/// The head of a consume command: that of the consume, [at its partition](head_at).
pub(crate) fn head_of(command: &ConsumeCommand) -> Cow<'_, RequestHead> {
    head_at(&command.head, command.topic, command.partition)
}

/// The head of a consume under an id of its own per partition. One statement over several partitions is one request but one
/// command per partition, and several partitions may live in one group: each keeps its own answer. The id's time, its
/// upper 48 bits, stays; the rest is mixed with XXH3-128 of topic and partition.
pub(crate) fn head_at(head: &RequestHead, topic: ObjectId, partition: u32) -> Cow<'_, RequestHead> {
    let Some(request) = head.request else { return Cow::Borrowed(head) };
    let mut place = topic.0.to_be_bytes().to_vec();
    place.extend_from_slice(&partition.to_be_bytes());
    let id = request.id ^ (xxh3_128(&place) >> 48);
    Cow::Owned(RequestHead { request: Some(RequestId { id, ..request }), ..head.clone() })
}

/// CONSUME ... GROUP of one partition. A group that is new starts where the command says, and its start is stored even when
/// nothing is returned; a known one goes on where it is.
///
/// # Errors
/// 42501 below the service role, 42704 for a topic or partition that does not exist, 22023 for a name that is empty or too
/// long, 53400 with too many open claims; a failure of the store.
pub(crate) async fn consume<E: Env>(
    txn: &mut Txn<'_, E>,
    catalog: &Catalog,
    now: Micros,
    command: &ConsumeCommand,
) -> Result<Consumed, Abort> {
    // A message may be larger than what a command may read; the answer has its own bounds.
    txn.lift_limits();
    let place =
        Place::of(catalog, command.head.role, command.topic, command.partition, &command.group, &command.consumer_id)?;
    let head = partition::head(txn, command.topic, command.partition).await?;
    let log = head.log();
    let key = place.key(txn.keys());
    let known = read(txn, &key).await?;
    let is_new = known.is_none();
    let mut progress = known.unwrap_or_else(|| Progress::starting(command.start, log, now));

    let free = progress.free(log, now, u64::from(command.limit.min(MAX_MESSAGES)));
    let (messages, given) = read_messages(txn, &place, &free, command.max_bytes as usize).await?;
    let refused = |refusal| place.refuse(refusal, &command.consumer_id);
    if given.is_empty() {
        if is_new {
            txn.put(key, stored::encode(&progress))?;
        }
    } else {
        if command.auto_ack {
            progress.settle(&given, log, now).map_err(refused)?;
        } else {
            let visibility = Micros::try_from(command.visibility_micros).unwrap_or(Micros::MAX);
            progress.claim(&command.consumer_id, &given, now.saturating_add(visibility)).map_err(refused)?;
        }
        txn.put(key, stored::encode(&progress))?;
    }
    let next_offset = messages.last().map_or_else(|| progress.next_offset(log, now), |message| message.offset + 1);
    let has_more = !progress.free(log, now, 1).is_empty();
    Ok(Consumed { messages, next_offset, has_more })
}

/// ACK of one partition; answers the committed offset after it. A group that never consumed is made, at the log's start.
///
/// # Errors
/// As [`consume`]; 22003 beyond the end; 55000 when the consumer's claim expired and was handed on.
pub(crate) async fn ack<E: Env>(
    txn: &mut Txn<'_, E>,
    catalog: &Catalog,
    now: Micros,
    command: &AckCommand,
) -> Result<Option<u64>, Abort> {
    let place =
        Place::of(catalog, command.head.role, command.topic, command.partition, &command.group, &command.consumer_id)?;
    let head = partition::head(txn, command.topic, command.partition).await?;
    let log = head.log();
    let key = place.key(txn.keys());
    let before = read(txn, &key).await?;
    let mut progress = before.clone().unwrap_or_else(|| Progress::starting(StartPosition::Earliest, log, now));
    let planted = PlantedAck::ALL.into_iter().find_map(|(number, planted)| txn.mutant(number).then_some(planted));
    let committed = progress
        .ack(&command.consumer_id, command.upto, log, now, planted)
        .map_err(|refusal| place.refuse(refusal, &command.consumer_id))?;
    let moved = before.as_ref().map_or(progress.committed.is_some(), |before| *before != progress);
    if moved {
        txn.put(key, stored::encode(&progress))?;
    }
    Ok(committed)
}

/// One (topic, partition, group) that a command is about.
struct Place<'a> {
    topic: &'a Topic,
    partition: u32,
    group: &'a str,
}

impl<'a> Place<'a> {
    fn of(
        catalog: &'a Catalog,
        role: Role,
        topic: ObjectId,
        partition: u32,
        group: &'a str,
        consumer: &str,
    ) -> Result<Self, Diag> {
        if role < Role::Service {
            return Err(Diag::new(
                SqlState::INSUFFICIENT_PRIVILEGE,
                "CONSUME and ACK need the role service, dba or system",
            ));
        }
        let topic = existing(catalog, topic, partition)?;
        check_name("a consumer group's name", group)?;
        check_name("a consumer id", consumer)?;
        Ok(Self { topic, partition, group })
    }

    fn key(&self, keys: Keys) -> Vec<u8> {
        keys.consumers(self.topic.id, self.partition, self.group)
    }

    fn refuse(&self, refusal: Refusal, consumer: &str) -> Diag {
        let name = format!("{}.{}", self.topic.namespace, self.topic.name);
        let (partition, group) = (self.partition, self.group);
        match refusal {
            Refusal::BeyondEnd { end: 0 } => {
                Diag::new(SqlState::OUT_OF_RANGE, format!("topic {name} partition {partition} is empty: there is nothing to ack"))
            }
            Refusal::BeyondEnd { end } => Diag::new(
                SqlState::OUT_OF_RANGE,
                format!("the ack is beyond the end of topic {name} partition {partition}: its last offset is {}", end - 1),
            )
            .hint("Ack the offset of the last message that was processed."),
            Refusal::HandedOn { owner, range } => Diag::new(
                SqlState::OBJECT_STATE,
                format!(
                    "the claim of consumer \"{consumer}\" in group \"{group}\" expired, and offsets {} to {} of topic {name} partition \
                     {partition} were given to consumer \"{owner}\"",
                    range.from,
                    range.to - 1
                ),
            )
            .hint("Consume again. A longer visibility timeout leaves more time for an ack."),
            Refusal::TooManyClaims => Diag::new(
                SqlState::OVERLOADED,
                format!("group \"{group}\" has more than {MAX_CLAIMS} open claims in topic {name} partition {partition}"),
            )
            .hint("Ack what was consumed, or wait until claims expire."),
            Refusal::TooManySettled => Diag::new(
                SqlState::OVERLOADED,
                format!(
                    "group \"{group}\" has acked more than {MAX_SETTLED} separate ranges above unacked messages of topic {name} partition \
                     {partition}"
                ),
            )
            .hint("Let the consumers of the oldest messages ack them, or wait until their claims expire and consume those again."),
        }
    }
}

/// The topic, if it exists and has the partition.
///
/// # Errors
/// 42704 that says which does not exist.
pub(crate) fn existing(catalog: &Catalog, topic: ObjectId, partition: u32) -> Result<&Topic, Diag> {
    let Some(topic) = catalog.topics.get(&topic) else {
        return Err(Diag::new(SqlState::UNDEFINED_OBJECT, "the topic does not exist (any more)"));
    };
    if partition >= topic.partitions {
        let (namespace, name, last) = (&topic.namespace, &topic.name, topic.partitions.saturating_sub(1));
        return Err(Diag::new(
            SqlState::UNDEFINED_OBJECT,
            format!("topic {namespace}.{name} has no partition {partition}; its partitions are 0 to {last}"),
        ));
    }
    Ok(topic)
}

fn check_name(what: &str, name: &str) -> Result<(), Diag> {
    if name.is_empty() || name.len() > MAX_GROUP_NAME_BYTES {
        let message = format!("{what} must have 1 to {MAX_GROUP_NAME_BYTES} bytes, this one has {}", name.len());
        return Err(Diag::new(SqlState::INVALID_PARAMETER, message));
    }
    Ok(())
}

async fn read<E: Env>(txn: &mut Txn<'_, E>, key: &[u8]) -> Result<Option<Progress>, Abort> {
    let value = txn.get(key).await?;
    Ok(decode_progress(txn.group(), value.as_deref())?)
}

/// A group's progress as it is stored.
pub(crate) fn decode_progress(group: u32, value: Option<&[u8]>) -> Result<Option<Progress>, StateError> {
    value.map(|bytes| stored::decode(group, "a consumer group's progress", bytes)).transpose()
}

/// The messages of sorted ranges of offsets, up to a number of payload bytes but always one, and the ranges they cover.
async fn read_messages<E: Env>(
    txn: &mut Txn<'_, E>,
    place: &Place<'_>,
    ranges: &[Offsets],
    max_bytes: usize,
) -> Result<(Vec<Message>, Vec<Offsets>), Abort> {
    let (keys, topic, partition) = (txn.keys(), place.topic.id, place.partition);
    let mut taken = Taken::new(max_bytes);
    for range in ranges {
        let mut next = range.from;
        while next < range.to {
            let span =
                KeySpan { start: keys.message(topic, partition, next), end: keys.message(topic, partition, range.to) };
            let chunk = usize::try_from(range.to - next).unwrap_or(usize::MAX).min(taken.expected());
            let pairs = txn.scan(&span, chunk).await?;
            if pairs.len() != chunk {
                return Err(lost(keys.group()).into());
            }
            for (key, value) in pairs {
                if !taken.push(keys.group(), next, &key, &value)? {
                    return Ok(taken.into_parts());
                }
                next += 1;
            }
        }
    }
    Ok(taken.into_parts())
}

fn lost(group: u32) -> StateError {
    StateError::Corrupt { group, what: "a partition (a message between its start and its end is missing)" }
}

/// Messages gathered within a byte budget.
pub(crate) struct Taken {
    messages: Vec<Message>,
    ranges: Vec<Offsets>,
    bytes: usize,
    max_bytes: usize,
}

impl Taken {
    pub fn new(max_bytes: usize) -> Self {
        Self { messages: Vec::new(), ranges: Vec::new(), bytes: 0, max_bytes }
    }

    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// How many more messages probably fit.
    fn expected(&self) -> usize {
        let average = self.bytes.checked_div(self.messages.len()).unwrap_or(usize::MAX).max(1);
        (self.max_bytes.saturating_sub(self.bytes) / average).clamp(CHUNK.0, CHUNK.1)
    }

    /// Takes the message at `offset`, unless it is not the first and goes beyond the budget.
    pub fn push(&mut self, group: u32, offset: u64, key: &Bytes, value: &Bytes) -> Result<bool, StateError> {
        if Keys::offset_of(key) != Some(offset) {
            return Err(lost(group));
        }
        let message = partition::decode_message(group, value)?.at(offset);
        self.bytes = self.bytes.saturating_add(message.payload.len());
        if self.bytes > self.max_bytes && !self.messages.is_empty() {
            return Ok(false);
        }
        match self.ranges.last_mut() {
            Some(last) if last.to == offset => last.to += 1,
            Some(_) | None => self.ranges.push(Offsets::new(offset, offset + 1)),
        }
        self.messages.push(message);
        Ok(true)
    }

    pub fn into_parts(self) -> (Vec<Message>, Vec<Offsets>) {
        (self.messages, self.ranges)
    }
}

/// Whether a group has something to take, or is not known yet.
pub(crate) fn would_take(progress: Option<&Progress>, head: &Head, now: Micros) -> bool {
    progress.is_none_or(|progress| !progress.free(head.log(), now, 1).is_empty())
}
