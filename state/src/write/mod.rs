//! Writes: INSERT, UPDATE and DELETE, evaluated at apply, one command at a time.
//!
//! Owns the order of a write's steps: rights, definition, place, values, rules, key, row, change. The rules of a single row
//! are in [`rules`], a stored row and its end in [`rows`]. Invariants: a row is stored only where the layout places it, with
//! a key that no other live row of its table (and user) has, and after every rule held; each changed row gets a `_seq` of its
//! own and is handed to the topics exactly once. Any refusal leaves nothing: the caller rolls back.

mod asked;
pub(crate) mod backfill;
mod conflict;
pub(crate) mod indexes;
mod insert;
mod modify;
pub(crate) mod rows;
mod rules;
mod sequences;

use std::cell::RefCell;
use std::sync::Arc;

use highwater_runtime::Env;
use highwater_sql::catalog::{AccessLevel, Catalog, Operation, Role, Table, TableKind};
use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::eval::{EvalContext, evaluate};
use highwater_sql::expr::Expr;
use highwater_sql::plan::WriteKind;
use highwater_sql::value::{Micros, Row, Value};

use self::indexes::Owner;
use self::sequences::Sequences;
use crate::command::WriteCommand;
use crate::error::Abort;
use crate::exchange::outbox;
use crate::group::Entry;
use crate::outcome::Outcome;
use crate::placement::Layout;
use crate::topics::{Derivation, Outgoing, RowChange};

/// Most bytes of values that one statement returns: its answer is kept with its request id.
pub const MAX_RETURNED_BYTES: usize = 4 << 20;

/// One write statement under way.
pub(crate) struct Statement<'a> {
    catalog: &'a Catalog,
    layout: &'a Layout,
    table: &'a Table,
    /// Whose rows; `None` on SHARED tables.
    user: Option<&'a str>,
    context: EvalContext<'a>,
    group: u32,
    /// The time of its messages.
    log_time: Micros,
    /// In a transaction, the group's last `_seq` before it: a row with a later one is the transaction's own.
    last_seq: Option<u64>,
    /// RETURNING, over a changed row and its `_seq`.
    returning: &'a [Expr],
    /// The sequences of the table's SERIAL columns.
    sequences: RefCell<Sequences>,
}

/// Applies a write.
pub(crate) async fn apply<E: Env>(entry: &mut Entry<'_, E>, command: &WriteCommand) -> Result<Outcome, Abort> {
    let (outcome, outgoing) = change(entry, command).await?;
    if !outgoing.is_empty() {
        let catalog = Arc::clone(&entry.catalog);
        outbox::append(&mut entry.txn, &catalog, outgoing).await?;
    }
    Ok(outcome)
}

/// Makes a write's changes; gives the messages that they cause, which are the caller's to append.
pub(crate) async fn change<E: Env>(
    entry: &mut Entry<'_, E>,
    command: &WriteCommand,
) -> Result<(Outcome, Outgoing), Abort> {
    let (catalog, layout) = (Arc::clone(&entry.catalog), entry.layout);
    let table = match catalog.tables.get(&command.plan.table) {
        Some(table) if table.version == command.plan.table_version => table,
        Some(_) | None => return Err(Abort::Stale),
    };
    may_write(command, table, &catalog)?;
    let user = match table.kind {
        TableKind::User | TableKind::Stream => Some(command.user.as_str()),
        TableKind::Shared => None,
    };
    let now = entry.pinned.map_or(entry.now(), |pinned| pinned.now);
    let context = EvalContext::new(now, &command.user, command.head.role, &command.params, entry.seed);
    let (kind, returned) = (command.plan.change(), command.plan.returned());
    let may_draw = matches!(kind, WriteKind::Insert { .. } | WriteKind::Update { .. } | WriteKind::UpdateFrom { .. });
    let sequences = if may_draw && table.columns.iter().any(|column| column.serial) {
        Sequences::load(&mut entry.txn, &layout, table, user).await?
    } else {
        Sequences::default()
    };
    let statement = Statement {
        catalog: &catalog,
        layout: &layout,
        table,
        user,
        context,
        group: entry.txn.group(),
        log_time: entry.now(),
        last_seq: entry.pinned.map(|pinned| pinned.last_seq),
        returning: &command.plan.returning,
        sequences: RefCell::new(sequences),
    };
    statement.check_group()?;
    let before = returned.map(|_| entry.txn.overlay().clone());
    let changes = match kind {
        WriteKind::Insert { columns, rows, conflict } => {
            insert::apply(entry, &statement, columns, rows, conflict.as_ref()).await?
        }
        WriteKind::Update { assignments, access, filter } => {
            modify::update(entry, &statement, assignments, access, filter.as_ref()).await?
        }
        WriteKind::Delete { access, filter } => modify::delete(entry, &statement, access, filter.as_ref()).await?,
        WriteKind::Truncate => modify::truncate(entry, &statement)?,
        WriteKind::UpdateFrom { assignments, rows } => asked::update(entry, &statement, assignments, rows).await?,
        WriteKind::DeleteFrom { rows } => asked::delete(entry, &statement, rows).await?,
        WriteKind::Answered { .. } => {
            return Err(Diag::new(SqlState::INTERNAL, "a change whose RETURNING is asked for twice").into());
        }
        WriteKind::InsertFrom { .. } => {
            return Err(
                Diag::new(SqlState::INTERNAL, "the rows of an INSERT were to be read before it was logged").into()
            );
        }
    };
    statement.sequences.borrow().store(&mut entry.txn, table, user)?;
    let Changes { changed, returned: rows, outgoing, .. } = changes;
    let outcome = match (returned, before) {
        (Some(query), Some(before)) => {
            Outcome::Returned { changed, rows: asked::returned(entry, &statement, before, rows, query).await? }
        }
        _ if command.plan.returning.is_empty() => Outcome::Written(changed),
        _ => Outcome::Returned { changed, rows },
    };
    Ok((outcome, outgoing))
}

/// The edge has asked the same rules of its own catalog; here they are asked of the one that is in force.
fn may_write(command: &WriteCommand, table: &Table, catalog: &Catalog) -> Result<(), Diag> {
    let role = command.head.role;
    let needed = match (table.kind, table.access_level) {
        (TableKind::User | TableKind::Stream, _) => Role::User,
        (TableKind::Shared, AccessLevel::Public | AccessLevel::Private | AccessLevel::Restricted) => Role::Service,
        (TableKind::Shared, AccessLevel::Dba) => Role::Dba,
    };
    if role < needed {
        let needed = if needed == Role::Dba { "dba" } else { "service" };
        return Err(Diag::new(
            SqlState::INSUFFICIENT_PRIVILEGE,
            format!(
                "permission denied: writing SHARED table {}.{} needs role {needed} or higher",
                table.namespace, table.name
            ),
        ));
    }
    let (actor, target) = (&command.head.principal, &command.user);
    let above = match catalog.users.get(target) {
        Some(known) => known.role < role,
        // Users that are no longer or not yet known here have no role above anyone's.
        None => role > Role::User,
    };
    if actor == target || role == Role::System || above {
        return Ok(());
    }
    Err(Diag::new(
        SqlState::INSUFFICIENT_PRIVILEGE,
        format!("permission denied: user \"{actor}\" cannot act as user \"{target}\""),
    ))
}

impl<'a> Statement<'a> {
    /// What index entries of its rows are made from.
    fn owner(&self) -> Owner<'a> {
        Owner { table: self.table, user: self.user }
    }
}

impl Statement<'_> {
    /// The whole statement is here only if this group holds the user's or the table's rows.
    fn check_group(&self) -> Result<(), Diag> {
        let home = match self.user {
            Some(user) => self.layout.user_group(user),
            None if self.table.partition_columns == 0 => self.layout.table_group(self.table.id),
            None => return Ok(()),
        };
        if home == self.group {
            return Ok(());
        }
        let (namespace, name, group) = (&self.table.namespace, &self.table.name, self.group);
        Err(Diag::new(
            SqlState::INTERNAL,
            format!(
                "a write of table {namespace}.{name} came to group {group}, but its rows live in group {home}; nothing was changed"
            ),
        ))
    }

    /// A row of a partitioned table is written only in its own group.
    fn check_row_group(&self, row: &Row) -> Result<(), Diag> {
        let leading = self.table.partition_columns as usize;
        if self.user.is_some() || leading == 0 {
            return Ok(());
        }
        let values: Vec<Value> = rules::key_values(self.table, row).take(leading).cloned().collect();
        let encoded =
            highwater_sql::key::encode_key(&values).map_err(|error| rules::key_refusal(self.table, row, &error))?;
        if self.layout.partitioned_group(self.table.id, &encoded) == self.group {
            return Ok(());
        }
        Err(Diag::not_supported(format!(
            "writing rows of several partitions of table {}.{} in one statement",
            self.table.namespace, self.table.name
        ))
        .hint("Send one statement per value of the partition columns."))
    }
}

fn too_much_returned() -> Diag {
    Diag::new(
        SqlState::PROGRAM_LIMIT,
        format!("the statement returns more than {MAX_RETURNED_BYTES} bytes; nothing was changed"),
    )
    .hint("Change fewer rows at once, or return only their keys.")
}

/// What a statement's changes cause: messages, and the rows that it returns.
struct Changes<'a> {
    inserts: Option<Derivation<'a>>,
    updates: Option<Derivation<'a>>,
    deletes: Option<Derivation<'a>>,
    outgoing: Outgoing,
    returned: Vec<Row>,
    returned_bytes: usize,
    /// Rows changed so far.
    changed: u64,
}

impl<'a> Statement<'a> {
    fn changes(&self) -> Changes<'a> {
        Changes {
            inserts: None,
            updates: None,
            deletes: None,
            outgoing: Outgoing::new(),
            returned: Vec::new(),
            returned_bytes: 0,
            changed: 0,
        }
    }

    fn derivation(&self, operation: Operation) -> Derivation<'a> {
        Derivation::of(self.catalog, self.layout, self.table, operation)
    }
}

impl<'a> Changes<'a> {
    /// Counts one row's change and derives its messages and what is returned of it. `seq` is that of the row which is returned: the
    /// new one, of a DELETE the old one.
    fn note(&mut self, statement: &Statement<'a>, change: &RowChange<'_>, seq: u64) -> Result<(), Diag> {
        self.changed += 1;
        let (slot, operation) = match change {
            RowChange::Insert { .. } => (&mut self.inserts, Operation::Insert),
            RowChange::Update { .. } => (&mut self.updates, Operation::Update),
            RowChange::Delete { .. } => (&mut self.deletes, Operation::Delete),
        };
        let derivation = slot.get_or_insert_with(|| statement.derivation(operation));
        if !derivation.is_empty() {
            derivation.derive(&statement.context, statement.log_time, change, &mut self.outgoing)?;
        }
        if statement.returning.is_empty() {
            return Ok(());
        }
        let mut row = change.row().clone();
        row.push(match statement.last_seq {
            // The client is answered before the commit gives one.
            Some(last) if seq > last => Value::Null,
            Some(_) | None => Value::BigInt(i64::try_from(seq).unwrap_or(i64::MAX)),
        });
        let values = statement.returning.iter().map(|expr| evaluate(expr, &row, &statement.context));
        let values: Row = values.collect::<Result<_, _>>()?;
        self.returned_bytes += values.iter().map(Value::size).sum::<usize>();
        if self.returned_bytes > MAX_RETURNED_BYTES {
            return Err(too_much_returned());
        }
        self.returned.push(values);
        Ok(())
    }
}
