//! Derivation: the messages that a row's change causes.
//!
//! Owns the way from (sources, change) to records for destination groups: filter, partition, key, payload. Pure: nothing is
//! read or written, so a write that is refused later leaves nothing behind. A source whose expression has an error refuses the
//! whole write and names the source: skipping the record would break "a message exists if and only if its change does" without
//! anyone being told.

use std::collections::BTreeMap;
use std::sync::Arc;

use highwater_sql::catalog::{Catalog, Operation, Source, Table, TableKind, Topic};
use highwater_sql::diag::Diag;
use highwater_sql::eval::{self, EvalContext};
use xxhash_rust::xxh3::xxh3_64;

use super::payload::{self, RowChange};
use crate::command::TopicRecord;
use crate::placement::Layout;

/// Records by destination group, each destination's in the order of the changes.
pub type Outgoing = BTreeMap<u32, Vec<TopicRecord>>;

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

    /// Adds the records of one row's change, which must be of the operation. The context is the statement's: its time is the
    /// messages' time, its user is whose row it is (on USER and STREAM tables).
    ///
    /// # Errors
    /// The error of a source's WHERE or PARTITION BY, with the source named; the write must then be refused.
    pub fn derive(&self, context: &EvalContext<'_>, change: &RowChange<'_>, into: &mut Outgoing) -> Result<(), Diag> {
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
                timestamp: context.now,
                user: user.map(str::to_owned),
                operation: source.operation,
            };
            into.entry(self.layout.topic_group(topic.id, partition, topic.incarnation)).or_default().push(record);
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
