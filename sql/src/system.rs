//! The system tables: their names and columns.
//!
//! Owns only the shape; the rows come from the server. Names are those that clients already know, new columns are appended.
//! A row given for a [`From::System`](crate::plan::From::System) source holds its values in the order of [`columns`].

use crate::plan::SystemTable;
use crate::value::DataType;

/// The namespace of the system tables.
pub const NAMESPACE: &str = "system";

/// A column of a system table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SystemColumn {
    /// Name.
    pub name: &'static str,
    /// Type.
    pub data_type: DataType,
    /// NULL is possible.
    pub nullable: bool,
    /// Part of what tells rows apart.
    pub primary_key: bool,
}

const fn key(name: &'static str, data_type: DataType) -> SystemColumn {
    SystemColumn { name, data_type, nullable: false, primary_key: true }
}

const fn given(name: &'static str, data_type: DataType) -> SystemColumn {
    SystemColumn { name, data_type, nullable: false, primary_key: false }
}

const fn maybe(name: &'static str, data_type: DataType) -> SystemColumn {
    SystemColumn { name, data_type, nullable: true, primary_key: false }
}

/// Every system table with its name, in order of name.
pub const TABLES: &[(&str, SystemTable)] = &[
    ("audit_log", SystemTable::AuditLog),
    ("cluster", SystemTable::Cluster),
    ("cluster_groups", SystemTable::ClusterGroups),
    ("columns", SystemTable::Columns),
    ("indexes", SystemTable::Indexes),
    ("jobs", SystemTable::Jobs),
    ("namespaces", SystemTable::Namespaces),
    ("server_logs", SystemTable::ServerLogs),
    ("sessions", SystemTable::Sessions),
    ("settings", SystemTable::Settings),
    ("stats", SystemTable::Stats),
    ("tables", SystemTable::Tables),
    ("topic_offsets", SystemTable::TopicOffsets),
    ("topics", SystemTable::Topics),
    ("transactions", SystemTable::Transactions),
    ("users", SystemTable::Users),
];

/// System tables of the dialect that this release does not have: refused by name rather than unknown.
pub const PLANNED: &[&str] = &["live", "view_errors", "view_progress", "views"];

const USERS: &[SystemColumn] = &[
    key("user_id", DataType::Text),
    given("role", DataType::Text),
    maybe("email", DataType::Text),
    given("created_at", DataType::Timestamp),
    given("updated_at", DataType::Timestamp),
];

const SESSIONS: &[SystemColumn] = &[
    key("session_id", DataType::Text),
    given("user_id", DataType::Text),
    given("node_id", DataType::BigInt),
    given("started_at", DataType::Timestamp),
    given("idle_ms", DataType::BigInt),
    given("in_transaction", DataType::Boolean),
];

const TRANSACTIONS: &[SystemColumn] = &[
    given("node_id", DataType::BigInt),
    given("group_id", DataType::BigInt),
    given("started_at", DataType::Timestamp),
    given("writes", DataType::BigInt),
];

const NAMESPACES: &[SystemColumn] = &[
    key("namespace_id", DataType::Text),
    given("name", DataType::Text),
    given("created_at", DataType::Timestamp),
    maybe("options", DataType::Json),
    given("table_count", DataType::BigInt),
];

const TABLE_ROWS: &[SystemColumn] = &[
    key("namespace_id", DataType::Text),
    key("table_name", DataType::Text),
    given("table_type", DataType::Text),
    maybe("storage_id", DataType::Text),
    given("version", DataType::Int),
    maybe("options", DataType::Json),
    maybe("comment", DataType::Text),
    given("updated_at", DataType::Timestamp),
    given("created_at", DataType::Timestamp),
];

const COLUMNS: &[SystemColumn] = &[
    key("namespace_id", DataType::Text),
    key("table_name", DataType::Text),
    given("version", DataType::Int),
    key("column_id", DataType::Int),
    given("column_name", DataType::Text),
    given("data_type", DataType::Text),
    maybe("default_value", DataType::Text),
    given("ordinal", DataType::Int),
    given("nullable", DataType::Boolean),
    given("primary_key", DataType::Boolean),
];

const INDEXES: &[SystemColumn] = &[
    key("namespace_id", DataType::Text),
    given("table_name", DataType::Text),
    key("index_name", DataType::Text),
    given("index_id", DataType::BigInt),
    given("columns", DataType::Json),
    given("is_unique", DataType::Boolean),
    given("is_constraint", DataType::Boolean),
    given("state", DataType::Text),
    maybe("job_id", DataType::Text),
];

const TOPICS: &[SystemColumn] = &[
    key("topic_id", DataType::Text),
    given("name", DataType::Text),
    given("partitions", DataType::Int),
    maybe("retention_seconds", DataType::BigInt),
    maybe("retention_max_bytes", DataType::BigInt),
    given("routes", DataType::Json),
    given("created_at", DataType::Timestamp),
    given("updated_at", DataType::Timestamp),
];

const TOPIC_OFFSETS: &[SystemColumn] = &[
    key("topic_id", DataType::Text),
    key("group_id", DataType::Text),
    key("partition_id", DataType::Int),
    given("last_acked_offset", DataType::BigInt),
    given("updated_at", DataType::Timestamp),
];

const JOBS: &[SystemColumn] = &[
    key("job_id", DataType::Text),
    given("job_type", DataType::Text),
    given("status", DataType::Text),
    maybe("parameters", DataType::Json),
    maybe("message", DataType::Text),
    given("created_at", DataType::Timestamp),
    given("updated_at", DataType::Timestamp),
    maybe("started_at", DataType::Timestamp),
    maybe("finished_at", DataType::Timestamp),
    maybe("node_id", DataType::BigInt),
];

const SETTINGS: &[SystemColumn] = &[
    key("name", DataType::Text),
    maybe("value", DataType::Text),
    given("description", DataType::Text),
    given("category", DataType::Text),
];

const AUDIT_LOG: &[SystemColumn] = &[
    given("event_time", DataType::Timestamp),
    given("node_id", DataType::BigInt),
    given("event", DataType::Text),
    given("outcome", DataType::Text),
    given("user_id", DataType::Text),
    maybe("address", DataType::Text),
    maybe("login_id", DataType::Text),
    maybe("statement", DataType::Text),
    maybe("target", DataType::Text),
    maybe("error", DataType::Text),
    maybe("request_id", DataType::Text),
    given("count", DataType::BigInt),
];

const SERVER_LOGS: &[SystemColumn] = &[
    given("timestamp", DataType::Timestamp),
    given("level", DataType::Text),
    maybe("thread", DataType::Text),
    given("target", DataType::Text),
    maybe("line", DataType::Int),
    given("message", DataType::Text),
    maybe("request_id", DataType::Text),
    given("node_id", DataType::BigInt),
];

const CLUSTER: &[SystemColumn] = &[
    given("cluster_id", DataType::Text),
    key("node_id", DataType::BigInt),
    given("role", DataType::Text),
    given("status", DataType::Text),
    maybe("rpc_addr", DataType::Text),
    maybe("api_addr", DataType::Text),
    given("is_self", DataType::Boolean),
    given("is_leader", DataType::Boolean),
    given("groups_leading", DataType::BigInt),
    given("total_groups", DataType::BigInt),
    maybe("current_term", DataType::BigInt),
    maybe("last_applied_log", DataType::BigInt),
    maybe("replication_lag", DataType::BigInt),
    maybe("hostname", DataType::Text),
    maybe("version", DataType::Text),
    maybe("uptime_seconds", DataType::BigInt),
    maybe("heard_ms", DataType::BigInt),
    maybe("round_trip_us", DataType::BigInt),
    maybe("clock_ahead_ms", DataType::BigInt),
    maybe("waits_for", DataType::Text),
];

const CLUSTER_GROUPS: &[SystemColumn] = &[
    key("group_id", DataType::BigInt),
    key("node_id", DataType::BigInt),
    given("group_type", DataType::Text),
    given("current_term", DataType::BigInt),
    given("last_log_index", DataType::BigInt),
    given("last_applied", DataType::BigInt),
    given("committed", DataType::BigInt),
    given("state", DataType::Text),
    maybe("current_leader", DataType::BigInt),
    given("state_hash", DataType::Text),
    given("peers", DataType::Json),
    given("store", DataType::Int),
    given("core", DataType::Int),
    given("voters", DataType::Json),
    given("learners", DataType::Json),
    given("lag", DataType::BigInt),
    maybe("moving_to", DataType::Json),
];

const STATS: &[SystemColumn] = &[
    key("metric_name", DataType::Text),
    given("metric_value", DataType::Double),
    maybe("store", DataType::Int),
    key("labels", DataType::Json),
    given("kind", DataType::Text),
    given("unit", DataType::Text),
    given("help", DataType::Text),
];

/// The columns of a system table, in the order of its rows' values.
#[must_use]
pub const fn columns(table: SystemTable) -> &'static [SystemColumn] {
    match table {
        SystemTable::Users => USERS,
        SystemTable::Namespaces => NAMESPACES,
        SystemTable::Tables => TABLE_ROWS,
        SystemTable::Columns => COLUMNS,
        SystemTable::Indexes => INDEXES,
        SystemTable::Topics => TOPICS,
        SystemTable::TopicOffsets => TOPIC_OFFSETS,
        SystemTable::Jobs => JOBS,
        SystemTable::Settings => SETTINGS,
        SystemTable::AuditLog => AUDIT_LOG,
        SystemTable::ServerLogs => SERVER_LOGS,
        SystemTable::Sessions => SESSIONS,
        SystemTable::Transactions => TRANSACTIONS,
        SystemTable::Cluster => CLUSTER,
        SystemTable::ClusterGroups => CLUSTER_GROUPS,
        SystemTable::Stats => STATS,
    }
}

/// The system table of this name (without `system.`, in lower case).
#[must_use]
pub fn by_name(name: &str) -> Option<SystemTable> {
    TABLES.iter().find(|(known, _)| *known == name).map(|(_, table)| *table)
}

/// The name of a system table, without `system.`.
#[must_use]
pub fn name(table: SystemTable) -> &'static str {
    TABLES.iter().find(|(_, known)| *known == table).map_or("", |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_has_a_name_and_columns_of_distinct_names() {
        for (known, table) in TABLES {
            assert_eq!(name(*table), *known);
            assert_eq!(by_name(known), Some(*table));
            let mut names: Vec<_> = columns(*table).iter().map(|column| column.name).collect();
            names.sort_unstable();
            let before = names.len();
            names.dedup();
            assert_eq!(names.len(), before, "{known} repeats a column name");
        }
    }
}
