//! Derivation: the messages that a row's change causes.
//!
//! Owns the way from (sources, change) to records for destination groups: filter, partition, key, payload. Pure: nothing is
//! read or written, so a write that is refused later leaves nothing behind. A source whose expression has an error refuses the
//! whole write and names the source: skipping the record would break "a message exists if and only if its change does" without
//! anyone being told.

use std::collections::BTreeMap;
use std::sync::Arc;

use highwater_sql::catalog::{Catalog, Operation, Source, Table, TableKind, Topic};
use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::eval::{self, EvalContext};
use highwater_sql::value::Micros;
use xxhash_rust::xxh3::xxh3_64;

use super::payload::{self, RowChange};
use crate::command::TopicRecord;
use crate::exchange::{ENTRY_LIMIT_BYTES, record_bytes};
use crate::placement::Layout;

/// The records that one entry has derived so far, by destination group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outgoing {
    destinations: BTreeMap<u32, Derived>,
}

/// The records for one destination.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Derived {
    /// In the order of the changes.
    pub records: Vec<TopicRecord>,
    /// What they count, by [`record_bytes`].
    pub bytes: u64,
}

impl Outgoing {
    /// No records.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.destinations.is_empty()
    }

    /// Adds a record; answers what the destination's records now count.
    pub fn push(&mut self, destination: u32, record: TopicRecord) -> u64 {
        let derived = self.destinations.entry(destination).or_default();
        derived.bytes += record_bytes(&record);
        derived.records.push(record);
        derived.bytes
    }

    /// Takes the records of a later statement of the same entry.
    ///
    /// # Errors
    /// 54000 when one destination gets more than [`ENTRY_LIMIT_BYTES`].
    pub fn extend(&mut self, later: Self) -> Result<(), Diag> {
        for (destination, Derived { records, bytes }) in later.destinations {
            let derived = self.destinations.entry(destination).or_default();
            derived.bytes += bytes;
            derived.records.extend(records);
            if derived.bytes > ENTRY_LIMIT_BYTES {
                return Err(Diag::new(
                    SqlState::PROGRAM_LIMIT,
                    format!("the transaction makes more than {ENTRY_LIMIT_BYTES} bytes of messages for one group"),
                )
                .hint("Change fewer rows in one transaction."));
            }
        }
        Ok(())
    }

    /// What each destination gets, in order of destination.
    pub fn into_destinations(self) -> impl Iterator<Item = (u32, Derived)> {
        self.destinations.into_iter()
    }
}

/// What one operation on one table sends where; made once per statement.
#[derive(Debug)]
pub struct Derivation<'a> {
    layout: &'a Layout,
    table: &'a Table,
    sources: Vec<(&'a Arc<Topic>, &'a Source)>,
}

impl<'a> Derivation<'a> {
    /// The sources of this operation of this table, in order of topic and source.
    #[must_use]
    pub fn of(catalog: &'a Catalog, layout: &'a Layout, table: &'a Table, operation: Operation) -> Self {
        Self { layout, table, sources: catalog.sources_of(table.id, operation).collect() }
    }

    /// Whether no topic wants these changes, so that [`Self::derive`] need not be called.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// Adds the records of one row's change, which must be of the operation. The context is the statement's: its user is whose row it
    /// is (on USER and STREAM tables). `log_time` is the messages' time.
    ///
    /// # Errors
    /// The error of a source's WHERE or PARTITION BY, with the source named; 54000 when one destination gets more than
    /// [`ENTRY_LIMIT_BYTES`]. The write must then be refused.
    pub fn derive(
        &self,
        context: &EvalContext<'_>,
        log_time: Micros,
        change: &RowChange<'_>,
        into: &mut Outgoing,
    ) -> Result<(), Diag> {
        for (topic, source) in &self.sources {
            let named = |part: &str, diag: Diag| name_source(topic, source, self.table, part, diag);
            let row = change.row();
            if let Some(filter) = &source.filter
                && !eval::is_true(filter, row, context).map_err(|diag| named("WHERE", diag))?
            {
                continue;
            }
            let user = match self.table.kind {
                TableKind::User | TableKind::Stream => Some(context.user),
                TableKind::Shared => None,
            };
            let key = payload::key_text(self.table, row);
            let partition = match &source.partition_by {
                Some(expr) => {
                    let value = eval::evaluate(expr, row, context).map_err(|diag| named("PARTITION BY", diag))?;
                    partition_of(payload::cell_text(&value).as_bytes(), topic.partitions)
                }
                None => key_partition(user, &key, topic.partitions),
            };
            let record = TopicRecord {
                topic: topic.id,
                partition,
                key: Some(key),
                payload: payload::payload(source.payload, self.table, change),
                timestamp: log_time,
                user: user.map(str::to_owned),
                operation: source.operation,
            };
            let destination = self.layout.topic_group(topic.id, partition, topic.incarnation);
            if into.push(destination, record) > ENTRY_LIMIT_BYTES {
                return Err(too_large(topic));
            }
        }
        Ok(())
    }
}

/// The partition of a row without PARTITION BY: XXH3-64, seed 0, of the key's text, on USER and STREAM tables of the user's
/// name, a zero byte and the key's text; modulo the number of partitions.
#[must_use]
pub fn key_partition(user: Option<&str>, key: &str, partitions: u32) -> u32 {
    match user {
        Some(user) => partition_of([user.as_bytes(), &[0], key.as_bytes()].concat().as_slice(), partitions),
        None => partition_of(key.as_bytes(), partitions),
    }
}

/// XXH3-64, seed 0, modulo the number of partitions.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "the remainder is below a u32")]
pub fn partition_of(bytes: &[u8], partitions: u32) -> u32 {
    (xxh3_64(bytes) % u64::from(partitions.max(1))) as u32
}

fn too_large(topic: &Topic) -> Diag {
    let name = format!("{}.{}", topic.namespace, topic.name);
    let message = format!("the statement's messages for topic {name} are too large; nothing was changed");
    Diag::new(SqlState::PROGRAM_LIMIT, message)
        .detail(format!("One statement may send at most {ENTRY_LIMIT_BYTES} bytes to the partitions of one group."))
        .hint("Change fewer rows at once, or give the topic's source the payload 'key'.")
}

fn name_source(topic: &Topic, source: &Source, table: &Table, part: &str, diag: Diag) -> Diag {
    let word = match source.operation {
        Operation::Insert => "INSERT",
        Operation::Update => "UPDATE",
        Operation::Delete => "DELETE",
    };
    let (topic, table) = (format!("{}.{}", topic.namespace, topic.name), format!("{}.{}", table.namespace, table.name));
    let message = format!("the {part} of topic {topic}'s source {table} ON {word} failed: {}", diag.message);
    Diag::new(diag.sqlstate, message)
        .detail("A change and its messages are one: without the message the change cannot be made.")
        .hint(format!("Write a row for which the {part} has a value, or change the source: ALTER TOPIC {topic} DROP SOURCE {table}."))
}
