//! SHOW and DESCRIBE as queries on system tables.

use super::names::{Relation, missing_namespace, namespace_exists, relation};
use super::params::Params;
use super::{BindContext, bind_stmt};
use crate::access;
use crate::definition::quoted;
use crate::diag::{Diag, SqlState};
use crate::limits;
use crate::parse::parse;
use crate::plan::Bound;
use crate::statement::Show;
use crate::system;

pub(super) fn bind(show: &Show, context: &BindContext<'_>) -> Result<Bound, Diag> {
    let sql = query(show, context)?;
    let [statement] = parse(&sql)
        .and_then(|statements| {
            <[_; 1]>::try_from(statements).map_err(|_| Diag::new(SqlState::INTERNAL, "SHOW is one query"))
        })
        .map_err(|diag| Diag::new(SqlState::INTERNAL, format!("the query behind SHOW is wrong: {diag}")))?;
    let bound = bind_stmt(&statement.stmt, context, &mut Params::allowed())
        .map_err(|diag| Diag::new(diag.sqlstate, diag.message))?;
    match show {
        Show::Tables { namespace: Some(namespace) }
            if namespace.value != system::NAMESPACE && !namespace_exists(&namespace.value, context) =>
        {
            let mut diag = missing_namespace(&namespace.value, namespace.span, context);
            // Who may not read the list learns nothing of what is in it.
            if access::authorize(&bound, context.role, context.user, context.catalog).is_err() {
                return Ok(bound);
            }
            diag.hint = Some("SHOW NAMESPACES lists them.".into());
            Err(diag)
        }
        _ => Ok(bound),
    }
}

/// The query that a SHOW or DESCRIBE stands for.
fn query(show: &Show, context: &BindContext<'_>) -> Result<String, Diag> {
    Ok(match show {
        Show::Namespaces => "SELECT name, table_count, created_at FROM system.namespaces ORDER BY name".to_owned(),
        Show::Tables { namespace: None } => {
            "SELECT namespace_id, table_name, table_type FROM system.tables ORDER BY namespace_id, table_name"
                .to_owned()
        }
        Show::Tables { namespace: Some(namespace) } if namespace.value == system::NAMESPACE => {
            access::may_name_system_table("tables", context.role)?;
            let rows = system::TABLES.iter().map(|(name, _)| format!("('{}', '{name}', 'system')", system::NAMESPACE));
            format!(
                "SELECT namespace_id, table_name, table_type FROM (VALUES {}) AS t (namespace_id, table_name, table_type)",
                rows.collect::<Vec<_>>().join(", ")
            )
        }
        Show::Tables { namespace: Some(namespace) } => format!(
            "SELECT namespace_id, table_name, table_type FROM system.tables WHERE namespace_id = {} ORDER BY table_name",
            quoted(&namespace.value)
        ),
        Show::Columns { table } => {
            let (namespace, name) = match relation(table, context)? {
                Relation::Table(table) => (table.namespace.as_str(), table.name.as_str()),
                Relation::System(table) => (system::NAMESPACE, system::name(table)),
            };
            format!(
                "SELECT column_name, data_type, nullable, primary_key, default_value FROM system.columns \
                 WHERE namespace_id = {} AND table_name = {} ORDER BY ordinal",
                quoted(namespace),
                quoted(name)
            )
        }
        Show::CreateTable { table } => {
            let table = super::names::table(table, context)?;
            format!(
                "SELECT table_name, {} AS create_statement FROM system.tables WHERE namespace_id = {} AND table_name = {}",
                quoted(&crate::definition::create_table(table)),
                quoted(&table.namespace),
                quoted(&table.name)
            )
        }
        Show::Indexes { table: None } => {
            "SELECT namespace_id, table_name, index_name, columns, is_unique, state FROM system.indexes \
             ORDER BY namespace_id, table_name, index_name"
                .to_owned()
        }
        Show::Indexes { table: Some(table) } => {
            let table = super::names::table(table, context)?;
            format!(
                "SELECT index_name, columns, is_unique, is_constraint, state FROM system.indexes \
                 WHERE namespace_id = {} AND table_name = {} ORDER BY index_name",
                quoted(&table.namespace),
                quoted(&table.name)
            )
        }
        Show::Topics => {
            "SELECT topic_id, name, partitions, retention_seconds, retention_max_bytes, routes, created_at \
                         FROM system.topics ORDER BY topic_id"
                .to_owned()
        }
        Show::Users => "SELECT user_id, role, email, created_at FROM system.users ORDER BY user_id".to_owned(),
        Show::Jobs => "SELECT job_id, job_type, status, message, created_at, finished_at FROM system.jobs \
                       ORDER BY created_at DESC, job_id"
            .to_owned(),
        Show::Settings => "SELECT name, value, description FROM system.settings ORDER BY name".to_owned(),
        Show::Setting { name } => format!(
            "SELECT value AS \"{}\" FROM system.settings WHERE name = {}",
            if name.value.chars().count() > limits::MAX_NAME_CHARS {
                "value".to_owned()
            } else {
                name.value.replace('"', "\"\"")
            },
            quoted(&name.value)
        ),
        Show::Nodes => {
            "SELECT node_id, status, role, groups_leading, replication_lag, rpc_addr, api_addr, hostname, version, \
                        uptime_seconds, is_self FROM system.cluster ORDER BY node_id"
                .to_owned()
        }
        Show::Groups => {
            "SELECT group_id, group_type, store, core, current_leader, current_term, state, voters, learners, \
                         committed, last_applied, lag, moving_to FROM system.cluster_groups ORDER BY group_id"
                .to_owned()
        }
    })
}
