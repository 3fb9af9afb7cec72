//! What there is: the statements and texts behind the `\d` family.

use serde_json::{Value, json};

use crate::answer::StatementResult;
use crate::args::Start;
use crate::command::literal;
use crate::connection::Connection;
use crate::failure::Failure;
use crate::render;
use crate::terminal::Style;

/// A list of things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listing {
    /// `\d`
    Everything,
    /// `\dt`
    Tables,
    /// `\di`
    Indexes,
    /// `\dn`
    Namespaces,
    /// `\du`
    Users,
    /// `\dT`
    Topics,
    /// `\dgroup`
    Groups,
    /// `\djob`
    Jobs,
    /// `\dset`
    Settings,
    /// `\dshard`
    Shards,
}

/// The statements behind a list, each with its own result.
pub(crate) fn list_sql(listing: Listing, pattern: Option<&str>) -> Vec<String> {
    let simple = |columns: &str, table: &str, filter: String, order: &str| {
        format!("SELECT {columns} FROM system.{table}{filter} ORDER BY {order}")
    };
    let tables = || {
        let filter = matching("namespace_id", "table_name", pattern);
        simple("namespace_id, table_name, table_type", "tables", filter, "namespace_id, table_name")
    };
    let topics = || {
        let columns = "topic_id, partitions, retention_seconds, retention_max_bytes, routes";
        simple(columns, "topics", matching_id("topic_id", pattern), "topic_id")
    };
    match listing {
        Listing::Everything => vec![tables(), topics()],
        Listing::Tables => vec![tables()],
        Listing::Topics => vec![topics()],
        Listing::Indexes => {
            let filter = matching("namespace_id", "index_name", pattern);
            vec![simple("*", "indexes", filter, "namespace_id, table_name, index_name")]
        }
        Listing::Namespaces => {
            vec![simple(
                "namespace_id, table_count, created_at",
                "namespaces",
                only("namespace_id", pattern),
                "namespace_id",
            )]
        }
        Listing::Users => {
            vec![simple("user_id, role, email, created_at", "users", only("user_id", pattern), "user_id")]
        }
        Listing::Groups => {
            let columns = "topic_id, group_id, partition_id, last_acked_offset, updated_at";
            vec![simple(columns, "topic_offsets", matching_id("topic_id", pattern), "topic_id, group_id, partition_id")]
        }
        Listing::Jobs => {
            let columns = "job_id, job_type, status, message, created_at, started_at, finished_at";
            vec![simple(columns, "jobs", only("job_type", pattern), "created_at")]
        }
        Listing::Settings => vec![simple("name, value, description", "settings", only("name", pattern), "name")],
        Listing::Shards => {
            let columns =
                "group_id, group_type, node_id, state, current_leader, committed, last_applied, lag, store, core";
            vec![simple(columns, "cluster_groups", only("group_type", pattern), "group_id, node_id")]
        }
    }
}

/// `WHERE` over one column; nothing without a pattern.
fn only(column: &str, pattern: Option<&str>) -> String {
    pattern.map_or(String::new(), |pattern| format!(" WHERE {}", like(column, pattern)))
}

/// `WHERE` over a namespace and a name, from `namespace.name` or `name`.
fn matching(namespace: &str, name: &str, pattern: Option<&str>) -> String {
    match pattern.map(|pattern| pattern.split_once('.').ok_or(pattern)) {
        None => String::new(),
        Some(Ok((within, named))) => format!(" WHERE {} AND {}", like(namespace, within), like(name, named)),
        Some(Err(named)) => format!(" WHERE {}", like(name, named)),
    }
}

/// `WHERE` over a column of `namespace.name`.
fn matching_id(column: &str, pattern: Option<&str>) -> String {
    match pattern {
        None => String::new(),
        Some(pattern) if pattern.contains('.') => only(column, Some(pattern)),
        Some(pattern) => only(column, Some(&format!("*.{pattern}"))),
    }
}

/// `*` is any text, `?` any character; names fold to lower case unless quoted.
fn like(column: &str, pattern: &str) -> String {
    let pattern = folded(pattern);
    if !pattern.contains(['*', '?']) {
        return format!("{column} = {}", literal(&pattern));
    }
    let like: String = pattern
        .chars()
        .map(|character| match character {
            '*' => "%".to_owned(),
            '?' => "_".to_owned(),
            '%' | '_' | '\\' => format!("\\{character}"),
            other => other.to_string(),
        })
        .collect();
    format!("{column} LIKE {}", literal(&like))
}

/// A name as the server keeps it.
fn folded(name: &str) -> String {
    match name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => name.to_lowercase(),
    }
}

/// A table's columns, of every namespace if it names none.
pub(crate) fn columns_sql(name: &str) -> String {
    let columns = "namespace_id, column_name, data_type, nullable, primary_key, default_value";
    let filter = is_table(name);
    format!("SELECT {columns} FROM system.columns WHERE {filter} ORDER BY namespace_id, ordinal")
}

/// What to say of a name that no table has: a topic may have it.
pub(crate) fn no_table(connection: &mut Connection, name: &str) -> Failure {
    let sql = format!("SELECT topic_id FROM system.topics{}", matching_id("topic_id", Some(name)));
    let topics = connection.query(&sql).ok().and_then(|result| result.rows).unwrap_or_default();
    Failure::Command(match topics.first().and_then(|row| row.first()).and_then(Value::as_str) {
        Some(topic) => format!("{topic} is a topic and no table; \\dT {topic} shows it"),
        None => format!("there is no table {name}; \\dt shows those that there are"),
    })
}

fn is_table(name: &str) -> String {
    match name.split_once('.') {
        Some((namespace, table)) => {
            format!("namespace_id = {} AND table_name = {}", literal(&folded(namespace)), literal(&folded(table)))
        }
        None => format!("table_name = {}", literal(&folded(name))),
    }
}

/// Everything about the tables of a name.
pub(crate) fn describe(connection: &mut Connection, name: &str, style: Style) -> Result<String, Failure> {
    let filter = is_table(name);
    let columns = connection.query(&columns_sql(name))?;
    let rows = columns.rows.unwrap_or_default();
    if rows.is_empty() {
        return Err(no_table(connection, name));
    }
    let tables = connection.query(&format!(
        "SELECT namespace_id, table_name, table_type, options, comment FROM system.tables WHERE {filter} ORDER BY 1"
    ))?;
    let indexes = connection.query(&format!("SELECT * FROM system.indexes WHERE {filter}")).ok();
    let topics = connection.query("SELECT topic_id, routes FROM system.topics ORDER BY topic_id")?;
    let texts = tables.rows.iter().flatten().map(|table| {
        let [namespace, table, kind, options, comment] = table.as_slice() else { return String::new() };
        let of_table: Vec<&Vec<Value>> = rows.iter().filter(|row| row.first() == Some(namespace)).collect();
        let mut options = options.as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or(json!({}));
        if let (Value::Object(fields), Value::String(_)) = (&mut options, comment) {
            fields.insert("comment".to_owned(), comment.clone());
        }
        one_table(
            &Described { namespace: text(namespace), table: text(table), kind: text(kind), options, columns: of_table },
            indexes.as_ref(),
            &topics,
            style,
        )
    });
    Ok(texts.collect::<Vec<_>>().join("\n"))
}

/// A table as the system tables tell it.
struct Described<'a> {
    namespace: &'a str,
    table: &'a str,
    kind: &'a str,
    options: Value,
    columns: Vec<&'a Vec<Value>>,
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn one_table(
    described: &Described<'_>,
    indexes: Option<&StatementResult>,
    topics: &StatementResult,
    style: Style,
) -> String {
    let name = format!("{}.{}", described.namespace, described.table);
    let mut key = Vec::new();
    let rows = described.columns.iter().filter_map(|row| {
        let [_, column, data_type, nullable, is_key, default] = row.as_slice() else { return None };
        if *is_key == Value::Bool(true) {
            key.push(text(column));
        }
        let not_null = if *nullable == Value::Bool(false) { "not null" } else { "" };
        Some(vec![
            column.clone(),
            data_type.clone(),
            json!(not_null),
            default.as_str().map_or(json!(""), |text| json!(text)),
        ])
    });
    let rows: Vec<_> = rows.collect();
    let schema = ["column", "type", "null", "default"].map(|name| json!({"name": name, "data_type": "Text"}));
    let grid: StatementResult = serde_json::from_value(json!({"schema": schema, "rows": rows})).unwrap_or_default();
    let mut out = format!("{}\n", style.paint("1", &format!("{} table {name}", described.kind)));
    out.push_str(&render::table_body(&grid, style));
    let list =
        |value: &Value| value.as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join(", ");
    let ordered = described.options.get("primary_key").map(list).filter(|key| !key.is_empty());
    out.push_str(&format!("primary key: {}\n", ordered.unwrap_or_else(|| key.join(", "))));
    for (option, value) in described.options.as_object().into_iter().flatten() {
        let line = match (option.as_str(), value) {
            ("primary_key", _) | (_, Value::Null) => continue,
            ("access_level", value) => format!("access level: {}", text(value)),
            ("partition_by", value) => format!("partitioned by: {}", list(value)),
            ("ttl_seconds", value) => format!("rows live {value} s"),
            ("checks", Value::Array(checks)) => {
                let lines = checks.iter().map(|check| match check.get("name").and_then(Value::as_str) {
                    Some(name) => format!("\n  {name}: {}", check.get("expression").map_or("", text)),
                    None => format!("\n  {}", check.get("expression").map_or("", text)),
                });
                if checks.is_empty() {
                    continue;
                }
                format!("checks:{}", lines.collect::<String>())
            }
            (option, Value::String(value)) => format!("{}: {value}", option.replace('_', " ")),
            (option, value) => format!("{}: {value}", option.replace('_', " ")),
        };
        out.push_str(&line);
        out.push('\n');
    }
    out.push_str(&index_lines(described, indexes));
    let mut fed = Vec::new();
    for topic in topics.rows.iter().flatten() {
        let [topic, routes] = topic.as_slice() else { continue };
        let routes: Value = routes.as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        for route in routes.as_array().into_iter().flatten() {
            if route.get("table").and_then(Value::as_str) == Some(&name) {
                let filter = route
                    .get("where")
                    .and_then(Value::as_str)
                    .map_or(String::new(), |filter| format!(" where {filter}"));
                fed.push(format!("  {} on {}{filter}\n", text(topic), route.get("op").map_or("", text)));
            }
        }
    }
    if !fed.is_empty() {
        out.push_str(&format!("feeds topics:\n{}", fed.concat()));
    }
    out
}

fn index_lines(described: &Described<'_>, indexes: Option<&StatementResult>) -> String {
    let Some(indexes) = indexes else { return String::new() };
    let at = |name: &str| indexes.schema.iter().position(|column| column.name == name);
    let cell = |row: &[Value], name: &str| {
        at(name).and_then(|at| row.get(at)).map_or(String::new(), |value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
    };
    let lines: Vec<String> = indexes
        .rows
        .iter()
        .flatten()
        .filter(|row| cell(row, "namespace_id") == described.namespace && cell(row, "table_name") == described.table)
        .map(|row| {
            let unique = ["is_unique", "unique"].iter().any(|name| cell(row, name) == "true");
            let columns = cell(row, "columns");
            let columns = serde_json::from_str::<Vec<String>>(&columns).map_or(columns, |names| names.join(", "));
            let state = ["state", "status"].iter().map(|name| cell(row, name)).find(|state| !state.is_empty());
            let state = state.filter(|state| state != "public").map_or(String::new(), |state| format!(", {state}"));
            format!("  {} ({columns}){}{state}\n", cell(row, "index_name"), if unique { " unique" } else { "" })
        })
        .collect();
    if lines.is_empty() { String::new() } else { format!("indexes:\n{}", lines.concat()) }
}

/// Consumer groups with what they have not acknowledged yet.
pub(crate) fn groups(connection: &mut Connection, pattern: Option<&str>) -> Result<StatementResult, Failure> {
    let sql = list_sql(Listing::Groups, pattern).pop().unwrap_or_default();
    let offsets = connection.query(&sql)?;
    let mut rows = Vec::new();
    for row in offsets.rows.unwrap_or_default() {
        let [topic, group, partition, acked, updated] = row.as_slice() else { continue };
        let number = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok());
        let at = number(partition).and_then(|partition| u32::try_from(partition).ok());
        let end = match at {
            Some(at) => {
                connection.consume(text(topic), at, None, Start::Latest, 1, 0)?.ok().map(|answer| answer.next_offset)
            }
            None => None,
        };
        let lag = end.zip(number(acked)).map(|(end, acked)| end.saturating_sub(acked + 1));
        rows.push(json!([topic, group, partition, acked, end, lag, updated]));
    }
    let names = [
        ("topic", "Text"),
        ("group", "Text"),
        ("partition", "Int"),
        ("acked", "BigInt"),
        ("end", "BigInt"),
        ("lag", "BigInt"),
        ("acked_at", "Timestamp"),
    ];
    let schema = names.map(|(name, data_type)| json!({"name": name, "data_type": data_type}));
    let count = rows.len();
    Ok(serde_json::from_value(json!({"schema": schema, "rows": rows, "row_count": count})).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    #[test]
    fn patterns_become_conditions() {
        assert_eq!(
            list_sql(Listing::Tables, None),
            ["SELECT namespace_id, table_name, table_type FROM system.tables ORDER BY namespace_id, table_name"]
        );
        let filter = |listing, pattern| {
            let sql = list_sql(listing, Some(pattern)).pop().unwrap();
            sql[sql.find("WHERE").unwrap()..sql.find(" ORDER").unwrap()].to_owned()
        };
        assert_eq!(filter(Listing::Tables, "App.m_*"), "WHERE namespace_id = 'app' AND table_name LIKE 'm\\_%'");
        assert_eq!(filter(Listing::Tables, "?og"), "WHERE table_name LIKE '_og'");
        assert_eq!(filter(Listing::Topics, "ev*"), "WHERE topic_id LIKE '%.ev%'");
        assert_eq!(filter(Listing::Users, "\"O'Neil\""), "WHERE user_id = 'O''Neil'");
        assert!(columns_sql("a'b.t").contains("namespace_id = 'a''b' AND table_name = 't'"));
    }

    #[test]
    fn a_table_is_described_with_what_hangs_on_it() {
        let columns = [
            json!(["app", "region", "TEXT", false, true, null]),
            json!(["app", "sku", "INT", false, true, null]),
            json!(["app", "price", "DECIMAL(10, 2)", false, false, "1.00"]),
            json!(["app", "extra", "JSON", true, false, null]),
        ];
        let columns: Vec<Vec<Value>> = columns.into_iter().map(|row| row.as_array().unwrap().clone()).collect();
        let options = json!({"access_level": "public", "partition_by": ["region"], "primary_key": ["region", "sku"],
            "checks": [{"name": "not_free", "expression": "price > 0"}]});
        let indexes: StatementResult = serde_json::from_value(json!({
            "schema": (["namespace_id", "table_name", "index_name", "columns", "is_unique", "state"])
                .map(|name| json!({"name": name, "data_type": "Text"})),
            "rows": [["app", "prices", "by_price", "[\"price\"]", true, "public"], ["app", "other", "x", "[]", false, "public"],
                ["app", "prices", "by_extra", "[\"extra\",\"sku\"]", false, "backfilling"]],
        }))
        .unwrap();
        let topics: StatementResult = serde_json::from_value(json!({"rows": [
            ["app.events", "[{\"table\":\"app.prices\",\"op\":\"insert\",\"where\":\"price > 5\"},{\"table\":\"app.x\",\"op\":\"delete\"}]"],
        ]}))
        .unwrap();
        let described =
            Described { namespace: "app", table: "prices", kind: "shared", options, columns: columns.iter().collect() };
        let drawn = one_table(&described, Some(&indexes), &topics, Style::default());
        assert_eq!(
            drawn,
            "shared table app.prices\n\
            \x20column │ type           │ null     │ default\n\
            ────────┼────────────────┼──────────┼─────────\n\
            \x20region │ TEXT           │ not null │\n\
            \x20sku    │ INT            │ not null │\n\
            \x20price  │ DECIMAL(10, 2) │ not null │ 1.00\n\
            \x20extra  │ JSON           │          │\n\
            primary key: region, sku\n\
            access level: public\n\
            partitioned by: region\n\
            checks:\n  not_free: price > 0\n\
            indexes:\n  by_price (price) unique\n  by_extra (extra, sku), backfilling\n\
            feeds topics:\n  app.events on insert where price > 5\n"
        );
    }
}
