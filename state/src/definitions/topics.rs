//! CREATE, ALTER, CLEAR and DROP TOPIC.

use std::sync::Arc;

use highwater_sql::catalog::{CatalogDelta, ObjectId, Operation, Source, TableKind, Topic};
use highwater_sql::diag::{Diag, SqlState};

use super::{Deciding, Decision, names};
use crate::error::Abort;
use crate::jobs::JobKind;

/// Most partitions of a topic.
pub const MAX_PARTITIONS: u32 = 1024;
/// Most sources of a topic.
pub const MAX_SOURCES: usize = 256;

/// A topic as CREATE TOPIC describes it.
pub(super) struct Spec<'a> {
    pub namespace: &'a str,
    pub name: &'a str,
    pub partitions: u32,
    pub retention_seconds: Option<u64>,
    pub retention_bytes: Option<u64>,
}

pub(super) fn create(deciding: &Deciding<'_>, spec: &Spec<'_>, if_not_exists: bool) -> Result<Decision, Diag> {
    let (namespace, name, partitions) = (spec.namespace, spec.name, spec.partitions);
    names::check_namespace(deciding.catalog, namespace)?;
    if deciding.catalog.topic(namespace, name).is_some() {
        return if if_not_exists {
            Ok(Decision::nothing(format!("Topic '{namespace}.{name}' already exists")))
        } else {
            Err(Diag::new(SqlState::DUPLICATE_OBJECT, format!("topic \"{namespace}.{name}\" already exists")))
        };
    }
    names::check("a topic's name", name)?;
    if partitions == 0 || partitions > MAX_PARTITIONS {
        return Err(Diag::new(
            SqlState::INVALID_PARAMETER,
            format!(
                "topic \"{namespace}.{name}\" cannot have {partitions} partitions; from 1 to {MAX_PARTITIONS} are allowed"
            ),
        ));
    }
    if spec.retention_seconds == Some(0) || spec.retention_bytes == Some(0) {
        return Err(Diag::new(
            SqlState::INVALID_PARAMETER,
            format!("topic \"{namespace}.{name}\" cannot have a retention of nothing"),
        )
        .hint("Leave the option out to keep every message."));
    }
    let topic = Topic {
        id: deciding.next_id,
        incarnation: deciding.to.0,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        partitions,
        retention_seconds: spec.retention_seconds,
        retention_bytes: spec.retention_bytes,
        sources: Vec::new(),
        clear_count: 0,
        created_at: deciding.now,
        updated_at: deciding.now,
    };
    let message = format!("Created topic '{namespace}.{name}' with {partitions} partition(s)");
    Ok(Decision::change(CatalogDelta::PutTopic(Arc::new(topic)), message))
}

/// The topic; one that is gone means that the statement was planned against an older catalog.
fn existing<'a>(deciding: &Deciding<'a>, id: ObjectId) -> Result<&'a Arc<Topic>, Abort> {
    deciding.catalog.topics.get(&id).ok_or(Abort::Stale)
}

fn word(operation: Operation) -> &'static str {
    match operation {
        Operation::Insert => "INSERT",
        Operation::Update => "UPDATE",
        Operation::Delete => "DELETE",
    }
}

pub(super) fn add_source(
    deciding: &Deciding<'_>,
    topic: ObjectId,
    table_version: u32,
    source: &Source,
) -> Result<Decision, Abort> {
    let topic = existing(deciding, topic)?;
    let table = match deciding.catalog.tables.get(&source.table) {
        Some(table) if table.version == table_version => table,
        // The source's expressions were bound to another definition of the table.
        Some(_) | None => return Err(Abort::Stale),
    };
    let (topic_name, table_name) =
        (format!("{}.{}", topic.namespace, topic.name), format!("{}.{}", table.namespace, table.name));
    if table.kind == TableKind::Stream && source.operation != Operation::Insert {
        return Err(Diag::not_supported(format!(
            "a source ON {} of STREAM table {table_name}",
            word(source.operation)
        ))
        .hint("A STREAM table is append-only: use ON INSERT.")
        .into());
    }
    if topic.sources.iter().any(|known| known.table == source.table && known.operation == source.operation) {
        let operation = word(source.operation);
        return Err(Diag::new(
            SqlState::DUPLICATE_OBJECT,
            format!("topic \"{topic_name}\" has a source {table_name} ON {operation} already"),
        )
        .hint(format!("Drop it first: ALTER TOPIC {topic_name} DROP SOURCE {table_name} ON {operation}."))
        .into());
    }
    if topic.sources.len() >= MAX_SOURCES {
        return Err(Diag::new(
            SqlState::PROGRAM_LIMIT,
            format!("topic \"{topic_name}\" has {MAX_SOURCES} sources; more are not allowed"),
        )
        .into());
    }
    let mut changed = Topic { updated_at: deciding.now, ..Topic::clone(topic) };
    changed.sources.push(source.clone());
    Ok(Decision::change(
        CatalogDelta::PutTopic(Arc::new(changed)),
        format!("Added source '{table_name}' ON {} to topic '{topic_name}'", word(source.operation)),
    ))
}

pub(super) fn drop_source(
    deciding: &Deciding<'_>,
    topic: ObjectId,
    table: ObjectId,
    operation: Option<Operation>,
) -> Result<Decision, Abort> {
    let topic = existing(deciding, topic)?;
    let topic_name = format!("{}.{}", topic.namespace, topic.name);
    let table_name = deciding
        .catalog
        .tables
        .get(&table)
        .map_or_else(|| "(dropped)".to_owned(), |table| format!("{}.{}", table.namespace, table.name));
    let stays =
        |source: &Source| source.table != table || operation.is_some_and(|operation| operation != source.operation);
    let sources: Vec<Source> = topic.sources.iter().filter(|source| stays(source)).cloned().collect();
    if sources.len() == topic.sources.len() {
        let which = operation.map(|operation| format!(" ON {}", word(operation))).unwrap_or_default();
        return Err(Diag::new(
            SqlState::UNDEFINED_OBJECT,
            format!("topic \"{topic_name}\" has no source {table_name}{which}"),
        )
        .into());
    }
    let changed = Topic { sources, updated_at: deciding.now, ..Topic::clone(topic) };
    Ok(Decision::change(
        CatalogDelta::PutTopic(Arc::new(changed)),
        format!("Dropped source '{table_name}' from topic '{topic_name}'"),
    ))
}

/// Raises the count that makes every group clear its partitions, and starts the job that sees to it.
pub(super) fn clear(deciding: &Deciding<'_>, topic: ObjectId) -> Result<Decision, Abort> {
    let topic = existing(deciding, topic)?;
    let name = format!("{}.{}", topic.namespace, topic.name);
    let changed = Topic { clear_count: topic.clear_count + 1, updated_at: deciding.now, ..Topic::clone(topic) };
    let parameters = serde_json::json!({ "topic_id": name }).to_string();
    Ok(Decision {
        deltas: vec![CatalogDelta::PutTopic(Arc::new(changed))],
        message: format!("Clearing topic '{name}'"),
        job: Some((JobKind::TopicCleanup, parameters)),
    })
}

pub(super) fn drop(deciding: &Deciding<'_>, namespace: &str, name: &str, if_exists: bool) -> Result<Decision, Diag> {
    match deciding.catalog.topic(namespace, name) {
        Some(topic) => Ok(Decision::change(
            CatalogDelta::DropTopic(topic.id),
            format!("Topic '{namespace}.{name}' dropped successfully"),
        )),
        None if if_exists => Ok(Decision::nothing(format!("Topic '{namespace}.{name}' does not exist"))),
        None => Err(Diag::new(SqlState::UNDEFINED_OBJECT, format!("topic \"{namespace}.{name}\" does not exist"))),
    }
}
