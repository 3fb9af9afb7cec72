//! Topics: definitions, sources, CONSUME and ACK.

use std::sync::Arc;

use super::BindContext;
use super::expr::{Binder, Clause};
use super::names::{self, namespace_for_new};
use super::options::Options;
use super::params::Params;
use super::query;
use super::scope::Scope;
use super::write::not_volatile;
use crate::cast::Coercion;
use crate::catalog::{Operation, PayloadMode, Source, Topic};
use crate::diag::{Diag, Span, SqlState};
use crate::eval;
use crate::limits;
use crate::plan::{AckPlan, ConsumePlan, Ddl, StartPosition};
use crate::statement::{AddSource, Consume, Fragment, Name, ObjectName, Start, WithOption};
use crate::value::DataType;

const PAYLOADS: &[(&str, PayloadMode)] =
    &[("key", PayloadMode::Key), ("full", PayloadMode::Full), ("diff", PayloadMode::Diff)];

const ACKS: &[(&str, bool)] = &[("auto", true), ("manual", false)];

/// CREATE TOPIC.
pub(super) fn create(
    name: &ObjectName,
    if_not_exists: bool,
    partitions: Option<(u64, Span)>,
    options: &[WithOption],
    context: &BindContext<'_>,
) -> Result<Ddl, Diag> {
    let namespace = namespace_for_new(name, context)?;
    let options = Options::checked(options, &["retention", "retention_bytes"], "CREATE TOPIC")?;
    let partitions = match partitions {
        None => 1,
        Some((number, span)) => match u32::try_from(number) {
            Ok(number @ 1..=limits::MAX_PARTITIONS) => number,
            _ => {
                return Err(Diag::new(
                    SqlState::INVALID_PARAMETER,
                    format!("a topic has 1 to {} partitions, not {number}", limits::MAX_PARTITIONS),
                )
                .at(span));
            }
        },
    };
    let retention_seconds = match (options.duration("retention")?, options.get("retention")) {
        (Some(micros), Some(option)) if micros < 1_000_000 => {
            return Err(
                Diag::new(SqlState::INVALID_PARAMETER, "the retention is shorter than a second").at(option.span)
            );
        }
        (micros, _) => micros.map(|micros| micros / 1_000_000),
    };
    Ok(Ddl::CreateTopic {
        namespace: namespace.to_owned(),
        name: name.name.value.clone(),
        if_not_exists,
        partitions,
        retention_seconds,
        retention_bytes: options.count("retention_bytes")?,
    })
}

/// A source's table: an unqualified one stands in the topic's namespace.
fn source_table(topic: &Topic, table: &ObjectName) -> ObjectName {
    match &table.namespace {
        Some(_) => table.clone(),
        None => ObjectName {
            namespace: Some(Name { value: topic.namespace.clone(), span: table.name.span }),
            name: table.name.clone(),
        },
    }
}

/// ALTER TOPIC ... ADD SOURCE.
pub(super) fn add_source(add: &AddSource, context: &BindContext<'_>) -> Result<Ddl, Diag> {
    let topic = names::topic(&add.topic, context)?;
    let table = names::table(&source_table(topic, &add.table), context)?;
    if topic.sources.iter().any(|source| source.table == table.id && source.operation == add.operation) {
        return Err(Diag::new(
            SqlState::DUPLICATE_OBJECT,
            format!("topic \"{}.{}\" has this source already", topic.namespace, topic.name),
        )
        .hint("ALTER TOPIC ... DROP SOURCE removes it.")
        .at(add.table.span()));
    }
    let options = Options::checked(&add.options, &["payload"], "ADD SOURCE")?;
    let payload = options.word("payload", PAYLOADS)?.map_or(PayloadMode::Key, |(payload, _)| payload);
    let scope = Scope::table(table, None, false);
    let mut none = Vec::new();
    let filter = match &add.filter {
        None => None,
        Some(fragment) => {
            let mut params = Params::forbidden();
            let condition = Binder::new(&scope, &mut params, Clause::SourceFilter, &mut none)
                .condition(&fragment.expr)
                .map_err(|diag| diag.at(fragment.span))?;
            not_volatile(&condition, "a source's WHERE", fragment.span)?;
            Some(eval::fold(condition))
        }
    };
    let partition_by = match &add.partition_by {
        None => None,
        Some(fragment) => {
            let mut params = Params::forbidden();
            let value = Binder::new(&scope, &mut params, Clause::SourcePartition, &mut none)
                .typed(&fragment.expr)
                .map_err(|diag| diag.at(fragment.span))?;
            not_volatile(&value.expr, "a source's PARTITION BY", fragment.span)?;
            Some(eval::fold(value.expr))
        }
    };
    Ok(Ddl::AddSource {
        topic: topic.id,
        table_version: table.version,
        source: Source {
            table: table.id,
            operation: add.operation,
            filter,
            filter_text: add.filter.as_ref().map(|fragment| fragment.text.clone()),
            partition_by,
            partition_by_text: add.partition_by.as_ref().map(|fragment| fragment.text.clone()),
            payload,
        },
    })
}

/// ALTER TOPIC ... DROP SOURCE.
pub(super) fn drop_source(
    topic: &ObjectName,
    table: &ObjectName,
    operation: Option<Operation>,
    context: &BindContext<'_>,
) -> Result<Ddl, Diag> {
    let topic = names::topic(topic, context)?;
    let found = names::table(&source_table(topic, table), context)?;
    let has = topic
        .sources
        .iter()
        .any(|source| source.table == found.id && operation.is_none_or(|operation| operation == source.operation));
    if !has {
        return Err(Diag::new(
            SqlState::UNDEFINED_OBJECT,
            format!("topic \"{}.{}\" has no such source", topic.namespace, topic.name),
        )
        .at(table.span()));
    }
    Ok(Ddl::DropSource { topic: topic.id, table: found.id, operation })
}

/// CLEAR TOPIC.
pub(super) fn clear(name: &ObjectName, context: &BindContext<'_>) -> Result<Ddl, Diag> {
    Ok(Ddl::ClearTopic { topic: names::topic(name, context)?.id })
}

/// DROP TOPIC.
pub(super) fn drop(name: &ObjectName, if_exists: bool, context: &BindContext<'_>) -> Result<Ddl, Diag> {
    if !if_exists {
        names::topic(name, context)?;
    }
    Ok(Ddl::DropTopic { namespace: name.namespace(context).to_owned(), name: name.name.value.clone(), if_exists })
}

fn partition(topic: &Topic, number: u64, span: Span) -> Result<u32, Diag> {
    match u32::try_from(number) {
        Ok(partition) if partition < topic.partitions => Ok(partition),
        _ => Err(Diag::new(
            SqlState::INVALID_PARAMETER,
            format!("topic \"{}.{}\" has no partition {number}", topic.namespace, topic.name),
        )
        .detail(format!("Its partitions are 0 to {}.", topic.partitions.saturating_sub(1)))
        .at(span)),
    }
}

/// CONSUME.
pub(super) fn consume(consume: &Consume, context: &BindContext<'_>, params: &mut Params) -> Result<ConsumePlan, Diag> {
    let topic = names::topic(&consume.topic, context)?;
    let options = Options::checked(&consume.options, &["ack", "timeout"], "CONSUME")?;
    let ack = options.word("ack", ACKS)?;
    if let (Some((_, span)), None) = (ack, &consume.group) {
        return Err(Diag::new(SqlState::INVALID_PARAMETER, "ack is for a CONSUME with a group")
            .hint("Add GROUP 'name'.")
            .at(span));
    }
    let timeout_micros = match (options.duration("timeout")?, options.get("timeout")) {
        (Some(micros), Some(option)) if micros > limits::MAX_CONSUME_WAIT_MICROS => {
            return Err(Diag::new(
                SqlState::INVALID_PARAMETER,
                format!("a CONSUME waits at most {} seconds", limits::MAX_CONSUME_WAIT_MICROS / 1_000_000),
            )
            .at(option.span));
        }
        (micros, _) => micros.unwrap_or(0),
    };
    Ok(ConsumePlan {
        topic: Arc::clone(topic),
        partition: consume.partition.map(|(number, span)| partition(topic, number, span)).transpose()?,
        group: consume.group.as_ref().map(|group| group.value.clone()),
        start: match consume.start {
            Some(Start::Earliest) => StartPosition::Earliest,
            Some(Start::Latest) | None => StartPosition::Latest,
            Some(Start::Offset(offset)) => StartPosition::Offset(offset),
        },
        limit: match &consume.limit {
            None => None,
            Some(limit) => query::count(&limit.expr, params, "LIMIT")?,
        },
        auto_ack: consume.group.is_some() && ack.is_none_or(|(auto, _)| auto),
        timeout_micros,
    })
}

/// ACK.
pub(super) fn ack(
    topic: &ObjectName,
    group: &Name,
    number: Option<(u64, Span)>,
    upto: &Fragment,
    context: &BindContext<'_>,
    params: &mut Params,
) -> Result<AckPlan, Diag> {
    let topic = names::topic(topic, context)?;
    let nothing = Scope::nothing();
    let mut none = Vec::new();
    let mut binder = Binder::new(&nothing, params, Clause::Offset, &mut none);
    let open = binder.open(&upto.expr)?;
    let offset = binder.coerced(open, DataType::BigInt, Coercion::Implicit, |from| {
        format!("an offset is a BIGINT, not a value of type {from}")
    })?;
    let offset = eval::fold(offset.expr);
    if let crate::expr::Expr::Literal(value, _) = &offset
        && value.as_i64().is_none_or(|offset| offset < 0)
    {
        return Err(Diag::new(SqlState::INVALID_PARAMETER, "an offset is a number from 0").at(upto.span));
    }
    Ok(AckPlan {
        topic: Arc::clone(topic),
        group: group.value.clone(),
        partition: match number {
            Some((number, span)) => partition(topic, number, span)?,
            None => partition(topic, 0, upto.span)?,
        },
        upto: offset,
    })
}
