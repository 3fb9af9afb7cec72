//! Backfill: a table's rows are held to a change that is under way, a bounded number per command.
//!
//! Every group has taken the definition with the change before the first of these commands: what is written from then on follows it,
//! so that one pass over the rows that were there completes it. A command says after which row it goes on; a pass may be begun anew
//! at any time, by another leader of the meta group: entries that are there stay.

use highwater_runtime::Env;
use highwater_sql::cast::{cast, fit};
use highwater_sql::catalog::{Column, ColumnId, PendingRule, Role, Table, TableKind, type_name};
use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::eval::{EvalContext, evaluate};
use highwater_sql::value::{DataType, Row, Value};

use super::indexes::{self, Owner};
use super::{rows, rules};
use crate::command::BackfillCommand;
use crate::error::{Abort, StateError};
use crate::group::Entry;
use crate::keys::KeySpan;
use crate::outcome::Outcome;

/// Most rows that one command looks at.
pub const MAX_BACKFILL_ROWS: u32 = 10_000;

/// Holds the next rows to the table's pending change.
pub(crate) async fn apply<E: Env>(entry: &mut Entry<'_, E>, command: &BackfillCommand) -> Result<Outcome, Abort> {
    let catalog = std::sync::Arc::clone(&entry.catalog);
    let pending = catalog.tables.get(&command.table).filter(|table| table.version == command.table_version);
    let Some((table, rule)) = pending.and_then(|table| Some((table, &table.pending.as_ref()?.rule))) else {
        return Err(Abort::Stale);
    };
    let keys = entry.txn.keys();
    let all = keys.rows_of_table(table.id);
    let start = match &command.after {
        Some(after) => [all.start.as_slice(), after, &[0]].concat(),
        None => all.start.clone(),
    };
    let limit = command.rows.clamp(1, MAX_BACKFILL_ROWS) as usize;
    let prefix = all.start.len();
    let pairs = entry.txn.scan(&KeySpan { start, end: all.end }, limit).await?;
    let is_owned = matches!(table.kind, TableKind::User | TableKind::Stream);
    for (key, value) in &pairs {
        let (row, seq) = rows::decode(entry.txn.group(), table, value)?;
        if rows::end_of(table, seq) <= entry.now() {
            continue;
        }
        let (user, row_key) = keys
            .row_parts(table.id, is_owned, key)
            .ok_or(StateError::Corrupt { group: entry.txn.group(), what: "the key of a stored row" })?;
        let owner = Owner { table, user: user.as_deref() };
        // Who changes the table need not be one who may read the row.
        let place = || match &user {
            Some(user) => format!("It is in a row of user \"{user}\"."),
            None => format!("It is in the row with key ({}).", rules::key_text(table, &row)),
        };
        match rule {
            PendingRule::Index(id) => {
                if let Some(index) = table.index(*id) {
                    indexes::put(&mut entry.txn, owner, index, &row, row_key).await.map_err(|abort| match abort {
                        // The values are the owner's alone.
                        Abort::Refused(diag) if is_owned => Abort::Refused(Box::new(told_of(*diag, None, &place()))),
                        other => other,
                    })?;
                }
            }
            PendingRule::NotNull { .. } | PendingRule::Check(_) | PendingRule::Type { .. } => {
                let context =
                    EvalContext::new(entry.now(), user.as_deref().unwrap_or_default(), Role::System, &[], entry.seed);
                check(table, rule, &row, &context).map_err(|diag| {
                    let why = diag.detail.clone().filter(|_| !is_owned);
                    told_of(diag, why, &place())
                })?;
            }
        }
    }
    let next = if pairs.len() < limit {
        None
    } else {
        pairs.last().and_then(|(key, _)| key.get(prefix..)).map(<[u8]>::to_vec)
    };
    Ok(Outcome::Backfilled { rows: pairs.len() as u64, next })
}

/// An error that also says which row it is about.
fn told_of(diag: Diag, why: Option<String>, place: &str) -> Diag {
    let detail = why.map_or_else(|| place.to_owned(), |why| format!("{why} {place}"));
    diag.detail(detail)
}

/// What a row must be like for the change; writes ask the same of new rows.
pub(crate) fn check(table: &Table, rule: &PendingRule, row: &Row, context: &EvalContext<'_>) -> Result<(), Diag> {
    let name = || format!("{}.{}", table.namespace, table.name);
    match rule {
        PendingRule::Index(_) => Ok(()),
        PendingRule::NotNull { column, .. } => match of(table, *column, row) {
            Some((column, Value::Null)) => Err(Diag::new(
                SqlState::NOT_NULL_VIOLATION,
                format!("column \"{}\" of table {} cannot become NOT NULL: it holds a NULL", column.name, name()),
            )),
            Some(_) | None => Ok(()),
        },
        PendingRule::Check(wanted) => {
            let check = table.checks.iter().find(|check| check.name == *wanted);
            match check.map(|check| evaluate(&check.expr, row, context)).transpose()? {
                Some(Value::Boolean(false)) => Err(Diag::new(
                    SqlState::CHECK_VIOLATION,
                    format!("a row violates check constraint \"{wanted}\" of table {}", name()),
                )),
                Some(_) | None => Ok(()),
            }
        }
        PendingRule::Type { column, data_type, max_chars } => match of(table, *column, row) {
            Some((_, Value::Null)) | None => Ok(()),
            Some((column, value)) => converted(value.clone(), *data_type, *max_chars).map(|_| ()).map_err(|diag| {
                let wanted = type_name(*data_type, *max_chars);
                let message = format!("column \"{}\" of table {} cannot become {wanted}", column.name, name());
                Diag::new(diag.sqlstate, message).detail(format!("One of its values: {}.", diag.message))
            }),
        },
    }
}

fn of<'t>(table: &'t Table, column: ColumnId, row: &'t Row) -> Option<(&'t Column, &'t Value)> {
    let position = table.position(column)?;
    Some((table.columns.get(position)?, row.get(position)?))
}

fn converted(value: Value, data_type: DataType, max_chars: Option<u32>) -> Result<Value, Diag> {
    let value = cast(value, data_type, true)?;
    match max_chars {
        Some(most) => fit(value, most),
        None => Ok(value),
    }
}
