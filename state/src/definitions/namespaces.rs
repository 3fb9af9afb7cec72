//! CREATE and DROP NAMESPACE.

use std::sync::Arc;

use highwater_sql::catalog::{CatalogDelta, Namespace, Topic};
use highwater_sql::diag::{Diag, SqlState};

use super::{DEFAULT_NAMESPACE, Deciding, Decision, SYSTEM_NAMESPACE, names};

pub(super) fn create(deciding: &Deciding<'_>, name: &str, if_not_exists: bool) -> Result<Decision, Diag> {
    if deciding.catalog.namespaces.contains_key(name) {
        let message = format!("Namespace '{name}' already exists");
        return if if_not_exists {
            Ok(Decision::nothing(message))
        } else {
            Err(Diag::new(SqlState::DUPLICATE_NAMESPACE, format!("namespace \"{name}\" already exists")))
        };
    }
    names::check("a namespace's name", name)?;
    let namespace = Namespace { name: name.to_owned(), created_at: deciding.now };
    Ok(Decision::change(CatalogDelta::PutNamespace(namespace), format!("Namespace '{name}' created successfully")))
}

/// With CASCADE everything in it goes, and its tables cease to be sources of topics elsewhere.
pub(super) fn drop(deciding: &Deciding<'_>, name: &str, if_exists: bool, cascade: bool) -> Result<Decision, Diag> {
    let catalog = deciding.catalog;
    if [DEFAULT_NAMESPACE, SYSTEM_NAMESPACE].contains(&name) {
        return Err(Diag::new(SqlState::INSUFFICIENT_PRIVILEGE, format!("namespace \"{name}\" cannot be dropped")));
    }
    if !catalog.namespaces.contains_key(name) {
        return if if_exists {
            Ok(Decision::nothing(format!("Namespace '{name}' does not exist")))
        } else {
            Err(Diag::new(SqlState::UNDEFINED_NAMESPACE, format!("namespace \"{name}\" does not exist")))
        };
    }
    let tables: Vec<_> = catalog.tables.values().filter(|table| table.namespace == name).collect();
    let topics: Vec<_> = catalog.topics.values().filter(|topic| topic.namespace == name).collect();
    let empty = tables.is_empty() && topics.is_empty();
    if !cascade && !empty {
        let mut held: Vec<String> = tables.iter().map(|table| format!("table {name}.{}", table.name)).collect();
        held.extend(topics.iter().map(|topic| format!("topic {name}.{}", topic.name)));
        let more = held.len().saturating_sub(5);
        held.truncate(5);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        return Err(Diag::new(
            SqlState::DEPENDENT_OBJECTS,
            format!("namespace \"{name}\" cannot be dropped: it is not empty"),
        )
        .detail(format!("It holds {}{more}.", held.join(", ")))
        .hint("Drop them first, or everything at once: DROP NAMESPACE ... CASCADE."));
    }
    let mut deltas: Vec<CatalogDelta> = topics.iter().map(|topic| CatalogDelta::DropTopic(topic.id)).collect();
    for topic in catalog.topics.values().filter(|topic| topic.namespace != name) {
        let stays = |table| tables.iter().all(|dropped| dropped.id != table);
        if topic.sources.iter().all(|source| stays(source.table)) {
            continue;
        }
        let sources = topic.sources.iter().filter(|source| stays(source.table)).cloned().collect();
        let changed = Topic { sources, updated_at: deciding.now, ..Topic::clone(topic) };
        deltas.push(CatalogDelta::PutTopic(Arc::new(changed)));
    }
    deltas.extend(tables.iter().map(|table| CatalogDelta::DropTable(table.id)));
    deltas.push(CatalogDelta::DropNamespace(name.to_owned()));
    Ok(Decision { deltas, message: format!("Namespace '{name}' dropped successfully"), job: None })
}
