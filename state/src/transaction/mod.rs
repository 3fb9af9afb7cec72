//! Transactions of one group: statements that are run one by one at an open workspace, and take effect as one entry.
//!
//! Owns the workspace ([`workspace`]), what is recorded of its reads ([`reads`]), and the commit. Until the commit nothing of a
//! transaction is in any log: whoever holds the workspace may forget it. The commit carries the writes as statements and the reads with
//! what they found; applying it looks whether the reads would find the same, then carries out the writes in order in one batch.
//!
//! Invariants: a transaction that is applied gives every answer that its client was given, as if all of it had happened at its entry
//! (serializable); one that is not applied changes nothing, and its answer is not kept under its request id.
//!
//! Two ways to see that the answers still hold. A transaction whose client saw nothing but the answers of writes that are part of the
//! commit sends no reads: each write is carried out on the state that the entry meets, and its answer compared. Any other one (a query,
//! a refusal, a write that was rolled back to a savepoint) sends all that it read of the store.

pub(crate) mod reads;
pub mod workspace;

use std::sync::Arc;

use highwater_runtime::{Env, sometimes};
use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::value::Micros;
use xxhash_rust::xxh3::xxh3_64;

pub use reads::{MAX_READ_SET_BYTES, ReadSet};
pub use workspace::Workspace;

use crate::command::{RequestHead, TransactionCommand, TransactionStep, WriteCommand};
use crate::error::Abort;
use crate::exchange::outbox;
use crate::group::Entry;
use crate::outcome::Outcome;
use crate::stored;
use crate::topics::Outgoing;
use crate::write;

/// Most writes of one transaction.
pub const MAX_STEPS: usize = 10_000;

/// Most bytes that the writes of one transaction take in its commit.
pub const MAX_STEPS_BYTES: usize = 8 << 20;

// A commit, with its reads and its frame, fits into an entry of the log.
const _: () = assert!(MAX_STEPS_BYTES + MAX_READ_SET_BYTES + (1 << 20) <= highwater_engine::MAX_ENTRY_BYTES);

/// What the statements of a transaction share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pinned {
    /// NOW().
    pub now: Micros,
    /// The group's last `_seq` before the transaction: later ones are its own.
    pub last_seq: u64,
}

/// Applies a transaction, or nothing of it.
pub(crate) async fn apply<E: Env>(entry: &mut Entry<'_, E>, command: &TransactionCommand) -> Result<Outcome, Abort> {
    let catalog = Arc::clone(&entry.catalog);
    for (id, version) in &command.tables {
        if catalog.tables.get(id).is_none_or(|table| table.version != *version) {
            return Err(conflict("a table of the transaction was redefined or dropped"));
        }
    }
    // Nothing was applied since it read: its reads are as they were.
    let is_fresh = command.read_at.checked_add(1) == Some(entry.mark.applied);
    if !is_fresh && !command.reads.holds(entry.txn.reader()).await? {
        sometimes("transactions_that_met_a_change");
        return Err(conflict("rows that the transaction read were changed by others before it was committed"));
    }
    entry.pinned = Some(Pinned { now: command.began, last_seq: entry.mark.last_seq });
    let mut outgoing = Outgoing::new();
    let mut answers = Vec::new();
    for step in &command.steps {
        entry.seed = step.seed;
        let (answer, messages) = match write::change(entry, &step.command(&command.head)).await {
            Ok(done) => done,
            Err(abort) => return Err(failed_again(abort)),
        };
        if digest(&answer) != step.answered {
            return Err(conflict("a write of the transaction would have another answer than it was given before"));
        }
        outgoing.extend(messages)?;
        if command.head.request.is_some() {
            answers.push(answer);
        }
    }
    entry.pinned = None;
    if !outgoing.is_empty() {
        outbox::append(&mut entry.txn, &catalog, outgoing).await?;
    }
    sometimes("transactions_committed");
    Ok(Outcome::Committed { attempt: command.attempt, answers })
}

impl TransactionStep {
    fn command(&self, head: &RequestHead) -> WriteCommand {
        let Self { user, plan, params, seed: _, answered: _ } = self;
        WriteCommand { head: head.clone(), user: user.clone(), plan: plan.clone(), params: params.clone() }
    }
}

/// What becomes of a transaction with a write that was fine when its client was answered.
fn failed_again(abort: Abort) -> Abort {
    match abort {
        Abort::Refused(diag) if matches!(diag.sqlstate.0, [b'5', b'3' | b'4', ..] | [b'X', ..]) => Abort::Refused(diag),
        Abort::Refused(diag) => {
            let mut abort = conflict("a write of the transaction fails since others have changed what it depends on");
            if let Abort::Conflict(conflict) = &mut abort {
                conflict.detail = Some(format!("{}: {}", diag.sqlstate, diag.message));
            }
            abort
        }
        Abort::Stale => conflict("a table of the transaction was redefined or dropped"),
        Abort::Conflict(diag) => Abort::Conflict(diag),
        Abort::Failed(error) => Abort::Failed(error),
    }
}

fn conflict(what: &str) -> Abort {
    Abort::Conflict(Box::new(conflict_diag(what)))
}

/// The refusal (40001) of a transaction that met a change by somebody else, or was lost.
#[must_use]
pub fn conflict_diag(what: &str) -> Diag {
    Diag::new(SqlState::SERIALIZATION_FAILURE, format!("could not serialize the transaction: {what}"))
        .hint("Nothing of it was applied: run the whole transaction again, from BEGIN on, reading anew.")
}

/// What tells one answer from another.
fn digest(outcome: &Outcome) -> u64 {
    xxh3_64(&stored::encode(outcome))
}
