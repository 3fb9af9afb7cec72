//! Rows of the system tables, in the order of [`highwater_sql::system::columns`].

use highwater_net::api::ClusterHealthAnswer;
use highwater_runtime::Env as _;
use highwater_sql::catalog::{
    AccessLevel, Catalog, Index, IndexState, Operation, PayloadMode, Role, Table, TableKind, Topic,
};
use highwater_sql::diag::Diag;
use highwater_sql::plan::SystemTable;
use highwater_sql::value::{Row, Value};
use highwater_state::jobs::Job;
use highwater_state::topics::GroupOffset;
use serde_json::json;

use super::execute::Run;
use super::figures::stats_row;
use super::mesh::Question;
use super::{Node, ask_port};
use crate::cluster::overview::{self, Seen};
use crate::logging::kept::{self, LogLine};
use highwater_state::placement::META;

impl Node {
    pub(super) async fn system_rows(&self, table: SystemTable, run: &Run) -> Result<Vec<Row>, Diag> {
        let deadline = run.errand.deadline;
        Ok(match table {
            SystemTable::Users => users(&*self.newest_catalog_by(deadline).await?),
            SystemTable::Namespaces => namespaces(&*self.newest_catalog_by(deadline).await?),
            SystemTable::Tables => {
                self.newest_catalog_by(deadline).await?.tables.values().map(|table| table_row(table)).collect()
            }
            SystemTable::Columns => {
                self.newest_catalog_by(deadline).await?.tables.values().flat_map(|table| column_rows(table)).collect()
            }
            SystemTable::Indexes => {
                self.newest_catalog_by(deadline).await?.tables.values().flat_map(|table| index_rows(table)).collect()
            }
            SystemTable::Topics => {
                let catalog = self.newest_catalog_by(deadline).await?;
                catalog.topics.values().map(|topic| topic_row(topic, &catalog)).collect()
            }
            SystemTable::TopicOffsets => {
                let catalog = self.newest_catalog_by(deadline).await?;
                let mut offsets = Vec::new();
                for group in self.layout().shared_groups() {
                    offsets.extend(self.group_offsets(group, deadline).await?);
                }
                offsets.sort_by(|a, b| (a.topic, &a.group, a.partition).cmp(&(b.topic, &b.group, b.partition)));
                offsets.into_iter().filter_map(|offset| offset_row(&catalog, offset)).collect()
            }
            SystemTable::Jobs => {
                self.ask(META, |reply| Question::Jobs(deadline, reply)).await??.into_iter().map(job_row).collect()
            }
            SystemTable::Stats => self.figures().await?.iter().map(stats_row).collect(),
            SystemTable::Settings => self
                .settings()
                .shown
                .iter()
                .map(|setting| setting.iter().map(|part| Value::Text(part.clone())).collect())
                .collect(),
            SystemTable::AuditLog => self.audit_rows().await?,
            SystemTable::ServerLogs => {
                let node = self.links().me().0;
                kept::kept().into_iter().map(|line| log_row(line, node)).collect()
            }
            SystemTable::Sessions => self.session_rows().await?,
            SystemTable::Transactions => self.transaction_rows().await?,
            SystemTable::Cluster => overview::rows(&self.cluster_overview(String::new()).await?),
            SystemTable::ClusterGroups => self.group_rows().await?,
        })
    }

    /// Rows of `system.cluster_groups`, of all cores.
    async fn group_rows(&self) -> Result<Vec<Row>, Diag> {
        let mut rows = Vec::new();
        for port in &self.0.to {
            rows.extend(ask_port(port, Question::GroupStatus).await?);
        }
        Ok(rows)
    }

    /// The cluster as this node sees it. `api_addr` is where HTTP listens, for a cluster of one.
    ///
    /// # Errors
    /// 57P01 while the node shuts down.
    pub(crate) async fn cluster_overview(&self, api_addr: String) -> Result<ClusterHealthAnswer, Diag> {
        let groups = self.group_rows().await?.iter().filter_map(overview::standing).collect();
        let seen = Seen {
            cluster: self.cluster_id(),
            total_groups: self.layout().groups().count() as u64,
            groups,
            waits: None,
            uptime_micros: self.env().now().micros_since(self.0.started),
            process: self.0.settings.process.map(|figures| figures()),
            api_addr,
            leaving: self.links().leaving(),
        };
        Ok(overview::overview(self.env(), self.links(), &seen))
    }
}

fn text(value: impl Into<String>) -> Value {
    Value::Text(value.into())
}

fn optional(value: Option<impl Into<String>>) -> Value {
    value.map_or(Value::Null, |value| Value::Text(value.into()))
}

fn big(value: Option<u64>) -> Value {
    value.map_or(Value::Null, |value| Value::BigInt(i64::try_from(value).unwrap_or(i64::MAX)))
}

fn int(value: usize) -> Value {
    Value::Int(i32::try_from(value).unwrap_or(i32::MAX))
}

fn log_row(line: LogLine, node: u64) -> Row {
    vec![
        Value::Timestamp(line.at),
        text(line.level),
        optional(line.thread),
        text(line.target),
        line.line.and_then(|line| i32::try_from(line).ok()).map_or(Value::Null, Value::Int),
        text(line.message),
        optional(line.request_id),
        big(Some(node)),
    ]
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::User => "user",
        Role::Service => "service",
        Role::Dba => "dba",
        Role::System => "system",
    }
}

fn users(catalog: &Catalog) -> Vec<Row> {
    catalog
        .users
        .values()
        .map(|user| {
            vec![
                text(&user.name),
                text(role_name(user.role)),
                optional(user.email.clone()),
                Value::Timestamp(user.created_at),
                Value::Timestamp(user.updated_at),
            ]
        })
        .collect()
}

fn namespaces(catalog: &Catalog) -> Vec<Row> {
    catalog
        .namespaces
        .values()
        .map(|namespace| {
            let tables = catalog.tables.values().filter(|table| table.namespace == namespace.name).count();
            vec![
                text(&namespace.name),
                text(&namespace.name),
                Value::Timestamp(namespace.created_at),
                Value::Null,
                big(Some(tables as u64)),
            ]
        })
        .collect()
}

fn table_row(table: &Table) -> Row {
    let kind = match table.kind {
        TableKind::User => "user",
        TableKind::Shared => "shared",
        TableKind::Stream => "stream",
    };
    let access = match table.access_level {
        AccessLevel::Public => "public",
        AccessLevel::Private => "private",
        AccessLevel::Restricted => "restricted",
        AccessLevel::Dba => "dba",
    };
    let mut options = serde_json::Map::new();
    if table.kind == TableKind::Shared {
        options.insert("access_level".into(), json!(access));
        if table.partition_columns > 0 {
            options.insert(
                "partition_by".into(),
                json!(key_names(table).take(table.partition_columns as usize).collect::<Vec<_>>()),
            );
        }
    }
    if let Some(ttl) = table.ttl_seconds {
        options.insert("ttl_seconds".into(), json!(ttl));
    }
    options.insert("primary_key".into(), json!(key_names(table).collect::<Vec<_>>()));
    if !table.checks.is_empty() {
        let checks = table.checks.iter().map(|check| json!({"name": check.name, "expression": check.text}));
        options.insert("checks".into(), checks.collect());
    }
    vec![
        text(&table.namespace),
        text(&table.name),
        text(kind),
        text("local"),
        Value::Int(i32::try_from(table.version).unwrap_or(i32::MAX)),
        Value::Json(serde_json::Value::Object(options).to_string()),
        optional(table.comment.clone()),
        Value::Timestamp(table.updated_at),
        Value::Timestamp(table.created_at),
    ]
}

fn key_names(table: &Table) -> impl Iterator<Item = &str> {
    table.primary_key.iter().filter_map(|at| table.columns.get(*at as usize)).map(|column| column.name.as_str())
}

fn column_rows(table: &Table) -> Vec<Row> {
    table
        .columns
        .iter()
        .enumerate()
        .map(|(at, column)| {
            let is_key = table.primary_key.iter().any(|key| *key as usize == at);
            vec![
                text(&table.namespace),
                text(&table.name),
                Value::Int(i32::try_from(table.version).unwrap_or(i32::MAX)),
                Value::Int(i32::try_from(column.id.0).unwrap_or(i32::MAX)),
                text(&column.name),
                text(column.type_name()),
                optional(column.default_text.clone()),
                int(at + 1),
                Value::Boolean(column.nullable && !is_key),
                Value::Boolean(is_key),
            ]
        })
        .collect()
}

fn index_rows(table: &Table) -> Vec<Row> {
    let row = |index: &Index| {
        let columns: Vec<String> = index
            .columns
            .iter()
            .filter_map(|part| {
                let name = &table.column(part.column)?.name;
                Some(if part.descending { format!("{name} DESC") } else { name.clone() })
            })
            .collect();
        let (state, job) = match (index.state, &table.pending) {
            (IndexState::Public, _) => ("public", None),
            (IndexState::Building, pending) => ("building", pending.as_ref().map(|pending| pending.job.clone())),
        };
        vec![
            text(&table.namespace),
            text(&table.name),
            text(&index.name),
            big(Some(index.id.0)),
            Value::Json(json!(columns).to_string()),
            Value::Boolean(index.unique),
            Value::Boolean(index.constraint),
            text(state),
            optional(job),
        ]
    };
    table.indexes.iter().map(row).collect()
}

/// `None` for a topic that was dropped meanwhile.
fn offset_row(catalog: &Catalog, offset: GroupOffset) -> Option<Row> {
    let topic = catalog.topics.get(&offset.topic)?;
    Some(vec![
        text(format!("{}.{}", topic.namespace, topic.name)),
        text(offset.group),
        Value::Int(i32::try_from(offset.partition).unwrap_or(i32::MAX)),
        big(Some(offset.last_acked)),
        Value::Timestamp(offset.updated_at),
    ])
}

fn job_row(job: Job) -> Row {
    let time = |time: Option<i64>| time.map_or(Value::Null, Value::Timestamp);
    vec![
        text(job.id),
        text(job.kind.name()),
        text(job.status.name()),
        Value::Json(job.parameters),
        optional(job.message),
        Value::Timestamp(job.created_at),
        Value::Timestamp(job.updated_at),
        time(job.started_at),
        time(job.finished_at),
        Value::BigInt(1),
    ]
}

fn topic_row(topic: &Topic, catalog: &Catalog) -> Row {
    let routes: Vec<serde_json::Value> = topic
        .sources
        .iter()
        .map(|source| {
            let table = catalog.tables.get(&source.table).map(|table| format!("{}.{}", table.namespace, table.name));
            json!({
                "table": table,
                "op": match source.operation {
                    Operation::Insert => "insert",
                    Operation::Update => "update",
                    Operation::Delete => "delete",
                },
                "where": source.filter_text,
                "partition_by": source.partition_by_text,
                "payload": match source.payload {
                    PayloadMode::Key => "key",
                    PayloadMode::Full => "full",
                    PayloadMode::Diff => "diff",
                },
            })
        })
        .collect();
    let name = format!("{}.{}", topic.namespace, topic.name);
    vec![
        text(name.clone()),
        text(name),
        Value::Int(i32::try_from(topic.partitions).unwrap_or(i32::MAX)),
        big(topic.retention_seconds),
        big(topic.retention_bytes),
        Value::Json(serde_json::Value::Array(routes).to_string()),
        Value::Timestamp(topic.created_at),
        Value::Timestamp(topic.updated_at),
    ]
}
