//! The outbox: what this group has derived for other groups (and for itself), until they have it.
//!
//! Owns the records of [`crate::keys::Space::Outbox`] and the position of each destination. Records of an entry are written in
//! the batch of the entry; a range that is shipped holds whole entries only, so that a destination's inbox is always at an
//! entry's end. The own group is a destination like any other: one path, one order.
//!
//! ```text
//! record   := frame(bytes before varint | topic record)      bytes before: appended for this destination before this record
//! position := frame(head | trimmed | appended bytes | trimmed bytes)        crate::exchange::position
//! ```

use highwater_runtime::Env;
use highwater_sql::catalog::Catalog;
use highwater_sql::diag::{Diag, SqlState};
use serde::{Deserialize, Serialize};

use super::position::{OUTBOX_LIMIT_BYTES, OutboxPosition};
use crate::command::TopicRecord;
use crate::error::{Abort, StateError};
use crate::keys::Keys;
use crate::reader::Reader;
use crate::stored;
use crate::topics::Outgoing;
use crate::topics::derive::Derived;
use crate::txn::Txn;

/// A record as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct StoredRecord {
    before: u64,
    record: TopicRecord,
}

/// Whole entries of an outbox, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutboxRange {
    /// The range begins after this index.
    pub from: u64,
    /// It ends with this index; equal to `from` when nothing waits.
    pub to: u64,
    /// The records in order.
    pub records: Vec<TopicRecord>,
}

/// What a record counts against the limits: never less than its encoded form has.
#[must_use]
pub fn record_bytes(record: &TopicRecord) -> u64 {
    let texts = record.key.as_ref().map_or(0, String::len) + record.user.as_ref().map_or(0, String::len);
    (record.payload.len() + texts + 48) as u64
}

/// Appends the records that the entry derived.
///
/// # Errors
/// 53400 that names a topic and its destination when more than [`OUTBOX_LIMIT_BYTES`] would wait there; the refusals of the
/// change's limits; a failure of the store. On an error the caller rolls the whole change back.
pub(crate) async fn append<E: Env>(txn: &mut Txn<'_, E>, catalog: &Catalog, outgoing: Outgoing) -> Result<(), Abort> {
    let (keys, index) = (txn.keys(), txn.index().0);
    for (destination, Derived { records, bytes }) in outgoing.into_destinations() {
        let mut position = read_position(txn, destination).await?;
        if !position.has_room(bytes) {
            return Err(full(&topic_name(catalog, &records), destination, position.waiting_bytes()).into());
        }
        let mut before = position.appended_bytes;
        for (ordinal, record) in (0..).zip(records) {
            let size = record_bytes(&record);
            txn.put(keys.outbox(destination, index, ordinal), stored::encode(&StoredRecord { before, record }))?;
            before += size;
        }
        position.append(index, bytes);
        txn.put(keys.outbox_position(destination), stored::encode(&position))?;
        txn.note_outbox();
    }
    Ok(())
}

fn topic_name(catalog: &Catalog, records: &[TopicRecord]) -> String {
    let topic = records.first().and_then(|record| catalog.topics.get(&record.topic));
    topic.map_or_else(|| "of this change".to_owned(), |topic| format!("{}.{}", topic.namespace, topic.name))
}

fn full(topic: &str, destination: u32, waiting: u64) -> Diag {
    let message = format!(
        "topic {topic} takes no more changes for now: {waiting} bytes of its messages wait for group {destination}"
    );
    Diag::new(SqlState::OVERLOADED, message)
        .detail(format!("At most {OUTBOX_LIMIT_BYTES} bytes may wait for a group that holds topic partitions."))
        .hint("Retry when that group has a leader again: system.cluster_groups shows it, system.cluster which nodes are up.")
}

/// Forgets what `destination` has: everything at or below `upto`. A lower `upto` than before changes nothing.
///
/// # Errors
/// XX000 for an index beyond the last one with records: no destination can have that; a failure of the store.
pub(crate) async fn trim<E: Env>(txn: &mut Txn<'_, E>, destination: u32, upto: u64) -> Result<(), Abort> {
    txn.lift_limits();
    let keys = txn.keys();
    let mut position = read_position(txn, destination).await?;
    if upto <= position.trimmed {
        return Ok(());
    }
    if upto > position.head {
        let head = position.head;
        return Err(Diag::new(
            SqlState::INTERNAL,
            format!("group {destination} claims to have records up to {upto}, but the last one made for it is {head}"),
        )
        .into());
    }
    let rest = txn.scan(&keys.outbox_after(destination, upto), 1).await?;
    let before_rest = match rest.first() {
        Some((_, value)) => stored::decode::<StoredRecord>(keys.group(), "an outbox record", value)?.before,
        None => position.appended_bytes,
    };
    txn.delete_range(keys.outbox_upto(destination, upto))?;
    position.trim(upto, before_rest);
    txn.put(keys.outbox_position(destination), stored::encode(&position))
}

async fn read_position<E: Env>(txn: &mut Txn<'_, E>, destination: u32) -> Result<OutboxPosition, Abort> {
    let key = txn.keys().outbox_position(destination);
    let value = txn.get(&key).await?;
    Ok(decode_position(txn.group(), value.as_deref())?)
}

pub(crate) fn decode_position(group: u32, value: Option<&[u8]>) -> Result<OutboxPosition, StateError> {
    value.map_or_else(|| Ok(OutboxPosition::default()), |bytes| stored::decode(group, "an outbox position", bytes))
}

/// The records for `destination` after entry `after`: whole entries, at most `max_bytes` (by [`record_bytes`]) of them but
/// always one entry when one waits. `from` is higher than `after` only when the outbox has forgotten what lies between; a
/// destination that lacks that will refuse the gap.
pub(crate) async fn range<E: Env>(
    reader: &Reader<E>,
    keys: Keys,
    destination: u32,
    after: u64,
    max_bytes: usize,
) -> Result<OutboxRange, StateError> {
    let position = decode_position(keys.group(), reader.get(&keys.outbox_position(destination)).await?.as_deref())?;
    let from = after.max(position.trimmed);
    let mut range = OutboxRange { from, to: from, records: Vec::new() };
    let max_bytes = max_bytes as u64;
    let (mut entry, mut entry_bytes, mut bytes) = (Vec::new(), 0, 0);
    let mut open = from;
    let mut scan = reader.scan(&keys.outbox_after(destination, from)).await?;
    while let Some((key, value)) = scan.next().await? {
        let corrupt = || StateError::Corrupt { group: keys.group(), what: "an outbox record's key" };
        let (_, index, _) = Keys::outbox_parts(&key).ok_or_else(corrupt)?;
        if index != open {
            range.records.append(&mut entry);
            range.to = open;
            bytes += std::mem::take(&mut entry_bytes);
            open = index;
            if bytes >= max_bytes {
                return Ok(range);
            }
        }
        let record = stored::decode::<StoredRecord>(keys.group(), "an outbox record", &value)?.record;
        entry_bytes += record_bytes(&record);
        entry.push(record);
        if bytes + entry_bytes > max_bytes && !range.records.is_empty() {
            return Ok(range);
        }
    }
    range.records.append(&mut entry);
    range.to = open;
    Ok(range)
}
