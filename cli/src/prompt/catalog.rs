//! What there is to be named, as far as this user may know.

use serde_json::Value;

use crate::answer::StatementResult;
use crate::connection::Connection;

/// A table with its columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) namespace: String,
    pub(super) name: String,
    /// `user`, `shared`, `stream`, `system`.
    pub(super) kind: String,
    /// Names and types, in order.
    pub(super) columns: Vec<(String, String)>,
}

/// Everything that can be named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Catalog {
    pub(super) namespaces: Vec<String>,
    pub(super) tables: Vec<Table>,
    /// `namespace.name`.
    pub(super) topics: Vec<String>,
    pub(super) users: Vec<String>,
    /// Consumer groups.
    pub(super) groups: Vec<String>,
    pub(super) settings: Vec<String>,
}

impl Catalog {
    /// Asks the server. What this user may not see stays empty.
    pub(super) fn load(connection: &mut Connection) -> Self {
        let mut rows = |sql: &str| texts(connection.query(sql).unwrap_or_default());
        let mut catalog = Self {
            namespaces: firsts(rows("SELECT namespace_id FROM system.namespaces ORDER BY 1")),
            topics: firsts(rows("SELECT topic_id FROM system.topics ORDER BY 1")),
            users: firsts(rows("SELECT user_id FROM system.users ORDER BY 1")),
            groups: firsts(rows("SELECT group_id FROM system.topic_offsets GROUP BY group_id ORDER BY 1")),
            settings: firsts(rows("SELECT name FROM system.settings ORDER BY 1")),
            tables: system_tables(),
        };
        for row in rows("SELECT namespace_id, table_name, table_type FROM system.tables ORDER BY 1, 2") {
            if let [namespace, name, kind] = row.as_slice() {
                let (namespace, name, kind) = (namespace.clone(), name.clone(), kind.clone());
                catalog.tables.push(Table { namespace, name, kind, columns: Vec::new() });
            }
        }
        for row in
            rows("SELECT namespace_id, table_name, column_name, data_type FROM system.columns ORDER BY 1, 2, ordinal")
        {
            let [namespace, name, column, data_type] = row.as_slice() else { continue };
            let table = catalog.tables.iter_mut().find(|table| table.namespace == *namespace && table.name == *name);
            if let Some(table) = table {
                table.columns.push((column.clone(), data_type.clone()));
            }
        }
        catalog
    }
}

/// The system tables of this release.
pub(super) fn system_tables() -> Vec<Table> {
    let tables = highwater_sql::system::TABLES.iter().map(|(name, table)| {
        let columns = highwater_sql::system::columns(*table);
        Table {
            namespace: highwater_sql::system::NAMESPACE.to_owned(),
            name: (*name).to_owned(),
            kind: "system".to_owned(),
            columns: columns.iter().map(|column| (column.name.to_owned(), column.data_type.to_string())).collect(),
        }
    });
    tables.collect()
}

fn texts(result: StatementResult) -> Vec<Vec<String>> {
    let text = |value: Value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    result.rows.unwrap_or_default().into_iter().map(|row| row.into_iter().map(text).collect()).collect()
}

fn firsts(rows: Vec<Vec<String>>) -> Vec<String> {
    rows.into_iter().filter_map(|row| row.into_iter().next()).collect()
}
