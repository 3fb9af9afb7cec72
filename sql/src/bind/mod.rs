//! From a parsed statement to a plan: names are resolved, types are known, casts are explicit.
//!
//! Owns the meaning of statements: which object a name is, what type an expression has (PostgreSQL's rules: an untyped
//! literal or parameter takes the type of what stands beside it), and which part of the key space a condition can touch.
//! Pure: a function of the statement and [`BindContext`]. Only this folder and the grammar know sqlparser's types.

mod alter;
mod bounds;
mod cluster;
mod copied;
mod expr;
mod function;
mod index;
mod literal;
mod names;
mod options;
mod params;
mod query;
mod scope;
mod show;
mod table;
mod topic;
mod types;
mod user;
mod write;

use std::sync::Arc;

use crate::catalog::{Catalog, Role};
use crate::diag::{Diag, Span, SqlState};
use crate::parse::Statement;
use crate::plan::{Bound, Plan};
use crate::statement::{Name, Stmt};
use crate::suggest;
use params::Params;
pub use params::{ParamValue, coerce_params};

/// What a statement is bound against.
#[derive(Clone, Copy, Debug)]
pub struct BindContext<'a> {
    /// What exists.
    pub catalog: &'a Catalog,
    /// The namespace of unqualified names.
    pub namespace: &'a str,
    /// Who asks.
    pub user: &'a str,
    /// The role of who asks.
    pub role: Role,
}

/// Resolves names, infers types and plans one statement. Rights are not checked here: [`crate::access::authorize`] does.
///
/// # Errors
/// One diagnostic with the place in the whole text: 42P01, 42703 and their kin for names, 42804, 42883 and 42846 for types,
/// 22P02 for a literal that is no value of its type, 0A000 for what is not supported.
pub fn bind(statement: &Statement, context: &BindContext<'_>) -> Result<Bound, Diag> {
    let mut params = Params::allowed();
    let bound = bind_stmt(&statement.stmt, context, &mut params).map_err(|diag| diag.at(statement.text_span))?;
    // Who else reads a query of WITH is known at the end only.
    Ok(match params.with_queries_in_place() {
        None => bound,
        Some(mut params) => bind_stmt(&statement.stmt, context, &mut params).unwrap_or(bound),
    })
}

fn bind_stmt(stmt: &Stmt, context: &BindContext<'_>, params: &mut Params) -> Result<Bound, Diag> {
    let mut execute_as = None;
    let mut returning = Vec::new();
    let mut written = |write: write::Write| {
        returning = write.returning;
        Plan::Write(write.plan)
    };
    let plan = match stmt {
        Stmt::Query(query) => Plan::Query(Arc::new(query::bind(query, context, params)?)),
        Stmt::Insert(_) | Stmt::Update(_) | Stmt::Delete(_) => written(write::change(stmt, None, context, params)?),
        Stmt::With { with, inner } => written(write::change(inner, Some(with), context, params)?),
        Stmt::Truncate(table) => Plan::Write(write::truncate(table, context)?),
        Stmt::Explain { analyze, json, inner, span } => {
            let inner = bind_stmt(inner, context, params)?;
            Plan::Query(Arc::new(query::explained(inner.plan, *analyze, *json).map_err(|diag| diag.at(*span))?))
        }
        Stmt::ExecuteAs { user, inner } => {
            known_user(user, context)?;
            let inner = bind_stmt(inner, context, params)?;
            owned_rows_only(&inner.plan, context, params)?;
            execute_as = Some(user.value.clone());
            returning = inner.returning;
            inner.plan
        }
        Stmt::Consume(consume) => Plan::Consume(topic::consume(consume, context, params)?),
        Stmt::Ack { topic, group, partition, upto } => {
            Plan::Ack(topic::ack(topic, group, *partition, upto, context, params)?)
        }
        Stmt::CreateNamespace { name, if_not_exists } => Plan::Ddl(names::create_namespace(name, *if_not_exists)?),
        Stmt::DropNamespace { name, if_exists, cascade } => {
            Plan::Ddl(names::drop_namespace(name, *if_exists, *cascade, context)?)
        }
        Stmt::CreateTable(create) => Plan::Ddl(table::create(create, context)?),
        Stmt::CreateTableAs(create) => Plan::CreateFrom(Box::new(copied::create(create, context, params)?)),
        Stmt::DropTable { name, if_exists } => Plan::Ddl(table::drop(name, *if_exists, context)?),
        Stmt::AlterTable(alter) => Plan::Ddl(alter::table(alter, context)?),
        Stmt::CommentOnTable { name, comment } => Plan::Ddl(alter::comment(name, comment.clone(), context)?),
        Stmt::CreateIndex(create) => Plan::Ddl(index::create(create, context)?),
        Stmt::DropIndex { name, if_exists } => Plan::Ddl(index::drop(name, *if_exists, context)?),
        Stmt::CreateTopic { name, if_not_exists, partitions, options } => {
            Plan::Ddl(topic::create(name, *if_not_exists, *partitions, options, context)?)
        }
        Stmt::AddSource(source) => Plan::Ddl(topic::add_source(source, context)?),
        Stmt::DropSource { topic, table, operation } => {
            Plan::Ddl(topic::drop_source(topic, table, *operation, context)?)
        }
        Stmt::ClearTopic { name } => Plan::Ddl(topic::clear(name, context)?),
        Stmt::DropTopic { name, if_exists } => Plan::Ddl(topic::drop(name, *if_exists, context)?),
        Stmt::CreateUser(create) => Plan::User(user::create(create)),
        Stmt::AlterUser { name, change } => Plan::User(user::alter(name, change, context)?),
        Stmt::DropUser { name, if_exists } => Plan::User(user::drop(name, *if_exists, context)?),
        Stmt::Show(show) => return show::bind(show, context),
        Stmt::Cluster(cluster) => Plan::Cluster(cluster::bind(cluster)?),
        Stmt::Session(statement) => return Err(Diag::not_supported(format!("{} here", statement.tag()))),
    };
    Ok(Bound { catalog_version: context.catalog.version, execute_as, parameters: params.types(), returning, plan })
}

/// The user of EXECUTE AS exists; who may not act for others learns nothing about who does.
fn known_user(user: &Name, context: &BindContext<'_>) -> Result<(), Diag> {
    if user.value == context.user || context.catalog.users.contains_key(&user.value) {
        return Ok(());
    }
    if context.role == Role::User {
        return Err(Diag::new(
            SqlState::INSUFFICIENT_PRIVILEGE,
            "permission denied: EXECUTE AS another user needs role service or higher",
        )
        .at(user.span));
    }
    Err(user::unknown(user, context))
}

fn owned_rows_only(plan: &Plan, context: &BindContext<'_>, params: &Params) -> Result<(), Diag> {
    use crate::catalog::TableKind;
    use crate::plan::{From, QueryPlan};
    let placed = |diag: Diag, is_system: bool| match params.not_owned(is_system) {
        Some(span) => diag.at(span),
        None => diag,
    };
    let shared = || {
        let diag = Diag::not_supported("EXECUTE AS on a SHARED table");
        placed(diag.hint("A SHARED table has the same rows for everyone: leave EXECUTE AS away."), false)
    };
    let query_is_owned = |query: &QueryPlan| {
        let mut refusal = None;
        query.each_plan(&mut |part| {
            let found = match &part.from {
                From::Table { table, .. } if table.kind == TableKind::Shared => Some(shared()),
                From::System(_) => Some(placed(Diag::not_supported("EXECUTE AS on a system table"), true)),
                From::Nothing | From::Table { .. } | From::Tree(_) | From::Explain(_) => None,
            };
            refusal = refusal.take().or(found);
        });
        refusal.map_or(Ok(()), Err)
    };
    match plan {
        Plan::Query(query) => query_is_owned(query),
        Plan::Write(write) => match context.catalog.tables.get(&write.table).map(|table| table.kind) {
            Some(TableKind::Shared) => Err(shared()),
            None | Some(TableKind::User | TableKind::Stream) => {
                write.queries().try_for_each(|query| query_is_owned(query))
            }
        },
        Plan::Ddl(_) | Plan::CreateFrom(_) | Plan::User(_) | Plan::Consume(_) | Plan::Ack(_) | Plan::Cluster(_) => {
            Ok(())
        }
    }
}

/// `what "name" does not exist`, with the nearest of the candidates.
fn missing<'a>(
    state: SqlState,
    what: &str,
    shown: &str,
    name: &str,
    span: Span,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Diag {
    suggest::with_nearest(Diag::new(state, format!("{what} \"{shown}\" does not exist")).at(span), name, candidates)
}
