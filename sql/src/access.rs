//! Who may do what: one pure table of rules over a bound statement.
//!
//! Owns the rules and their refusals (42501). Looks at nothing but the plan, the caller and the catalog. The same rules are
//! in a table in docs/sql.md ("Rights"). Must be asked by every front end before a plan is run or logged.

use crate::catalog::{AccessLevel, Catalog, Role, Table, TableKind};
use crate::diag::{Diag, SqlState};
use crate::plan::{Bound, ClusterPlan, Ddl, From, Plan, QueryPlan, SystemTable, UserChange, UserPlan, WritePlan};
use crate::system;

/// Whether `user` with `role` may run the statement.
///
/// # Errors
/// 42501 that names the missing right, 42704 for a user that does not exist, 55000 for DROP USER of oneself.
pub fn authorize(bound: &Bound, role: Role, user: &str, catalog: &Catalog) -> Result<(), Diag> {
    if let Some(target) = &bound.execute_as {
        may_act_as(target, role, user, catalog)?;
    }
    match &bound.plan {
        Plan::Query(query) => may_read(query, role, catalog),
        Plan::Write(write) => {
            may_write(write, role, catalog)?;
            // What decides about the rows is read, whatever becomes of them.
            write.queries().try_for_each(|query| may_read(query, role, catalog))
        }
        Plan::Ddl(ddl) => may_define(ddl, role),
        Plan::CreateFrom(create) => {
            at_least(Role::Dba, role, || "CREATE TABLE".to_owned())?;
            may_read(&create.query, role, catalog)
        }
        Plan::User(plan) => may_change_user(plan, role, user, catalog),
        Plan::Consume(plan) => {
            at_least(Role::Service, role, || format!("CONSUME of topic {}.{}", plan.topic.namespace, plan.topic.name))
        }
        Plan::Ack(plan) => {
            at_least(Role::Service, role, || format!("ACK of topic {}.{}", plan.topic.namespace, plan.topic.name))
        }
        Plan::Cluster(plan) => at_least(Role::Dba, role, || {
            match plan {
                ClusterPlan::TransferLeader { .. } => "CLUSTER TRANSFER LEADER",
                ClusterPlan::MoveShard { .. } => "CLUSTER MOVE SHARD",
                ClusterPlan::Join { .. } => "CLUSTER JOIN",
                ClusterPlan::Leave { .. } => "CLUSTER LEAVE",
                ClusterPlan::Rebalance => "CLUSTER REBALANCE",
            }
            .to_owned()
        }),
    }
}

/// The word of a role, as SQL writes it.
#[must_use]
pub const fn role_name(role: Role) -> &'static str {
    match role {
        Role::User => "user",
        Role::Service => "service",
        Role::Dba => "dba",
        Role::System => "system",
    }
}

/// The role of this word (in lower case).
#[must_use]
pub fn role_by_name(word: &str) -> Option<Role> {
    ROLES.iter().copied().find(|role| role_name(*role) == word)
}

/// Every role, lowest first.
pub const ROLES: [Role; 4] = [Role::User, Role::Service, Role::Dba, Role::System];

fn denied(what: impl std::fmt::Display, needed: &str, role: Role) -> Diag {
    Diag::new(SqlState::INSUFFICIENT_PRIVILEGE, format!("permission denied: {what} needs {needed}"))
        .detail(format!("The role of this session is {}.", role_name(role)))
}

fn at_least(needed: Role, role: Role, what: impl FnOnce() -> String) -> Result<(), Diag> {
    if role >= needed {
        return Ok(());
    }
    let needed = match needed {
        Role::User => "role user or higher",
        Role::Service => "role service or higher",
        Role::Dba => "role dba or higher",
        Role::System => "role system",
    };
    Err(denied(what(), needed, role))
}

/// EXECUTE AS: whether `user` with `role` may act as `target`: oneself; a user of a lower role; for system, anyone.
///
/// # Errors
/// 42501 that names the missing right, 42704 for a user that does not exist.
pub fn may_act_as(target: &str, role: Role, user: &str, catalog: &Catalog) -> Result<(), Diag> {
    if target == user || role == Role::System {
        return Ok(());
    }
    if role == Role::User {
        return Err(denied("EXECUTE AS another user", "role service or higher", role));
    }
    let Some(known) = catalog.users.get(target) else {
        return Err(Diag::new(SqlState::UNDEFINED_OBJECT, format!("user \"{target}\" does not exist")));
    };
    if known.role < role {
        return Ok(());
    }
    Err(denied(
        format_args!("EXECUTE AS user \"{target}\" of role {}", role_name(known.role)),
        "a role above that of the user acted as",
        role,
    ))
}

/// Who reads a table's rows: one's own always, those of a SHARED table by its access level. Every table that the query names
/// anywhere is asked for.
fn may_read(query: &QueryPlan, role: Role, catalog: &Catalog) -> Result<(), Diag> {
    let mut verdict = Ok(());
    query.each_plan(&mut |part| {
        if verdict.is_ok() {
            verdict = match &part.from {
                From::Nothing | From::Tree(_) => Ok(()),
                From::Explain(explained) => match &explained.plan {
                    // What a query reads is asked for as the walk meets it.
                    Plan::Query(_) => Ok(()),
                    Plan::Write(write) => may_write(write, role, catalog),
                    Plan::Ddl(_)
                    | Plan::CreateFrom(_)
                    | Plan::User(_)
                    | Plan::Consume(_)
                    | Plan::Ack(_)
                    | Plan::Cluster(_) => Err(Diag::not_supported("EXPLAIN of this statement")),
                },
                From::System(table) => read_system(*table, role),
                From::Table { table, .. } => read_table(table, role),
            };
        }
    });
    verdict
}

fn read_system(table: SystemTable, role: Role) -> Result<(), Diag> {
    at_least(Role::Dba, role, || format!("reading {}.{}", system::NAMESPACE, system::name(table)))
}

fn read_table(table: &Table, role: Role) -> Result<(), Diag> {
    at_least(reader_of(table), role, || format!("reading SHARED table {}.{}", table.namespace, table.name))
}

/// The lowest role that reads a table: its own rows, or those of all.
const fn reader_of(table: &Table) -> Role {
    match (table.kind, table.access_level) {
        (TableKind::User | TableKind::Stream, _) | (TableKind::Shared, AccessLevel::Public) => Role::User,
        (TableKind::Shared, AccessLevel::Private | AccessLevel::Restricted) => Role::Service,
        (TableKind::Shared, AccessLevel::Dba) => Role::Dba,
    }
}

/// Whether a role may know of a table: errors tell names and types of its columns, and its own name to who has mistyped it.
#[must_use]
pub fn knows_table(table: &Table, role: Role) -> bool {
    role >= reader_of(table)
}

/// Who names a table must be one that may know of it.
///
/// # Errors
/// 42501 that names the missing right.
pub fn may_name_table(table: &Table, role: Role) -> Result<(), Diag> {
    at_least(reader_of(table), role, || format!("using SHARED table {}.{}", table.namespace, table.name))
}

/// Who names a system table, whether there is one or not.
///
/// # Errors
/// 42501 that names the missing right.
pub fn may_name_system_table(name: &str, role: Role) -> Result<(), Diag> {
    at_least(Role::Dba, role, || format!("reading {}.{name}", system::NAMESPACE))
}

/// Who names a topic, whether there is one or not.
///
/// # Errors
/// 42501 that names the missing right.
pub fn may_name_topic(name: &str, role: Role) -> Result<(), Diag> {
    at_least(Role::Service, role, || format!("using topic {name}"))
}

/// Who writes: one's own rows always, a SHARED table's with service and up, one of level DBA with dba and up.
fn may_write(write: &WritePlan, role: Role, catalog: &Catalog) -> Result<(), Diag> {
    let Some(table) = catalog.tables.get(&write.table) else {
        return Err(Diag::new(SqlState::UNDEFINED_TABLE, "the table of this statement no longer exists"));
    };
    let needed = match (table.kind, table.access_level) {
        (TableKind::User | TableKind::Stream, _) => Role::User,
        (TableKind::Shared, AccessLevel::Public | AccessLevel::Private | AccessLevel::Restricted) => Role::Service,
        (TableKind::Shared, AccessLevel::Dba) => Role::Dba,
    };
    at_least(needed, role, || format!("writing SHARED table {}.{}", table.namespace, table.name))
}

fn may_define(ddl: &Ddl, role: Role) -> Result<(), Diag> {
    at_least(Role::Dba, role, || {
        match ddl {
            Ddl::CreateNamespace { .. } => "CREATE NAMESPACE",
            Ddl::DropNamespace { .. } => "DROP NAMESPACE",
            Ddl::CreateTable { .. } => "CREATE TABLE",
            Ddl::AlterTable { .. } => "ALTER TABLE",
            Ddl::CreateIndex { .. } => "CREATE INDEX",
            Ddl::DropIndex { .. } => "DROP INDEX",
            Ddl::DropTable { .. } => "DROP TABLE",
            Ddl::CreateTopic { .. } => "CREATE TOPIC",
            Ddl::AddSource { .. } | Ddl::DropSource { .. } => "ALTER TOPIC",
            Ddl::ClearTopic { .. } => "CLEAR TOPIC",
            Ddl::DropTopic { .. } => "DROP TOPIC",
        }
        .to_owned()
    })
}

/// Users: dba and up, never above one's own role; everyone sets the own password and address.
fn may_change_user(plan: &UserPlan, role: Role, user: &str, catalog: &Catalog) -> Result<(), Diag> {
    match plan {
        UserPlan::Create { role: wanted, .. } => {
            at_least(Role::Dba, role, || "CREATE USER".to_owned())?;
            not_above(*wanted, role, "CREATE USER")
        }
        UserPlan::Alter { name, change } => {
            let own = name == user;
            match change {
                UserChange::Password(_) | UserChange::Email(_) if own => return Ok(()),
                UserChange::Password(_) | UserChange::Email(_) | UserChange::Role(_) => {}
            }
            at_least(Role::Dba, role, || format!("ALTER USER \"{name}\""))?;
            target_not_above(name, role, catalog, "ALTER USER")?;
            match change {
                UserChange::Role(wanted) => not_above(*wanted, role, "ALTER USER"),
                UserChange::Password(_) | UserChange::Email(_) => Ok(()),
            }
        }
        UserPlan::Drop { name, .. } => {
            at_least(Role::Dba, role, || format!("DROP USER \"{name}\""))?;
            if name == user {
                return Err(Diag::new(SqlState::OBJECT_STATE, "a user cannot drop itself")
                    .hint("Log in as another user of role dba or system."));
            }
            target_not_above(name, role, catalog, "DROP USER")
        }
    }
}

fn not_above(wanted: Role, role: Role, what: &str) -> Result<(), Diag> {
    if wanted <= role {
        return Ok(());
    }
    Err(denied(format_args!("{what} with role {}", role_name(wanted)), "a role at least as high", role))
}

fn target_not_above(name: &str, role: Role, catalog: &Catalog, what: &str) -> Result<(), Diag> {
    match catalog.users.get(name) {
        Some(known) if known.role > role => Err(denied(
            format_args!("{what} of user \"{name}\" of role {}", role_name(known.role)),
            "a role at least as high",
            role,
        )),
        Some(_) | None => Ok(()),
    }
}
