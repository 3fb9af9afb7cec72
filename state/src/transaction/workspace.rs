//! A workspace: an open transaction at one moment of its group.
//!
//! Statements run here as they will be applied, by the same code, over the transaction's own writes; nothing leaves it but the answers,
//! and at the end the command of its commit. All of them see the group as it was when the workspace was opened. Must not be kept for
//! long: its view holds space.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use highwater_runtime::Env;
use highwater_sql::catalog::{Catalog, ObjectId, Table};
use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::eval::EvalContext;
use highwater_sql::plan::TableAccess;
use highwater_sql::value::{Micros, Value};

use super::reads::Recorder;
use super::{MAX_STEPS, MAX_STEPS_BYTES, Pinned, ReadSet, digest};
use crate::command::{RequestHead, TransactionCommand, TransactionStep, WriteCommand};
use crate::error::{Abort, StateError};
use crate::group::{Entry, FirstEnds};
use crate::mark::Mark;
use crate::outcome::Outcome;
use crate::overlay::Overlay;
use crate::stored;
use crate::txn::{Txn, Used};
use crate::view::{GroupView, RowCursor};
use crate::write;

/// An open transaction.
pub struct Workspace<E: Env> {
    view: GroupView<E>,
    began: Micros,
    /// The newest that a statement was planned with, or the view's.
    catalog: Arc<Catalog>,
    overlay: Rc<Overlay>,
    recorder: Recorder,
    /// As the group's would be after the writes so far.
    mark: Mark,
    used: Used,
    /// Who writes.
    head: Option<RequestHead>,
    steps: Vec<TransactionStep>,
    steps_bytes: usize,
    returned_bytes: usize,
    tables: BTreeMap<ObjectId, u32>,
    /// The client was told more than the answers of `steps`.
    is_observed: bool,
}

impl<E: Env> Workspace<E> {
    /// A transaction that began at `began` (microseconds since 1970) and sees the group as it is in the view.
    #[must_use]
    pub fn new(view: GroupView<E>, began: Micros) -> Self {
        let mut workspace = Self {
            catalog: Arc::clone(view.catalog()),
            mark: Mark::default(),
            view,
            began,
            overlay: Rc::default(),
            recorder: Recorder::default(),
            used: Used::default(),
            head: None,
            steps: Vec::new(),
            steps_bytes: 0,
            returned_bytes: 0,
            tables: BTreeMap::new(),
            is_observed: false,
        };
        workspace.clear();
        workspace
    }

    /// The view that it was opened with: without own writes, and nothing read of it is recorded.
    #[must_use]
    pub const fn view(&self) -> &GroupView<E> {
        &self.view
    }

    /// Writes so far; what [`Self::rewind`] goes back to.
    #[must_use]
    pub const fn steps(&self) -> usize {
        self.steps.len()
    }

    /// The answer of a write; its effects are seen by what follows. After a refusal, and only then, the workspace must be rewound before
    /// it takes anything else.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn write(
        &mut self,
        catalog: &Arc<Catalog>,
        command: &WriteCommand,
        seed: u128,
    ) -> Result<Outcome, StateError> {
        self.know(catalog);
        let WriteCommand { head, user, plan, params } = command;
        self.head.get_or_insert_with(|| RequestHead { request: None, ..head.clone() });
        let mut step =
            TransactionStep { user: user.clone(), plan: plan.clone(), params: params.clone(), seed, answered: 0 };
        let bytes = stored::encode(&step).len();
        if self.steps.len() >= MAX_STEPS || self.steps_bytes.saturating_add(bytes) > MAX_STEPS_BYTES {
            self.is_observed = true;
            return Ok(Outcome::Refused(Box::new(too_large())));
        }
        let outcome = self.rehearse(command, seed).await?;
        match &outcome {
            Outcome::StaleCatalog { .. } => {
                self.rewind(self.steps.len()).await?;
                return Ok(outcome);
            }
            Outcome::Returned { rows, .. } => {
                self.returned_bytes += rows.iter().flatten().map(Value::size).sum::<usize>();
                if self.returned_bytes > write::MAX_RETURNED_BYTES {
                    self.is_observed = true;
                    return Ok(Outcome::Refused(Box::new(too_large())));
                }
            }
            Outcome::Written(_) => {}
            _ => {
                self.is_observed = true;
                return Ok(outcome);
            }
        }
        step.answered = digest(&outcome);
        self.tables.insert(plan.table, plan.table_version);
        self.steps.push(step);
        self.steps_bytes += bytes;
        Ok(outcome)
    }

    /// [`GroupView::rows_of`] with the transaction's own writes. The `_seq` of an own row is not known before the commit:
    /// [`RowCursor::is_own`].
    ///
    /// # Errors
    /// What evaluating a bound gives; 54000 when the transaction has written and has read more than its commit could look at again.
    pub async fn rows_of(
        &mut self,
        table: &Arc<Table>,
        user: Option<&str>,
        access: &TableAccess,
        context: &EvalContext<'_>,
    ) -> Result<RowCursor<E>, Diag> {
        self.is_observed = true;
        self.tables.insert(table.id, table.version);
        let cursor = self.view.rows_of(table, user, access, context).await?;
        Ok(cursor.within(Rc::clone(&self.overlay), self.recorder.clone()))
    }

    /// Goes back to when it had only the first `steps` writes. What was read since stays read, as the client knows it.
    ///
    /// # Errors
    /// A failure of the store; [`StateError::Broken`] if the writes do not do again what they did.
    pub async fn rewind(&mut self, steps: usize) -> Result<(), StateError> {
        let mut again = std::mem::take(&mut self.steps);
        if again.len() > steps {
            again.truncate(steps);
            self.is_observed = true;
        }
        self.clear();
        for step in again {
            let Some(head) = self.head.clone() else { break };
            let outcome = self.rehearse(&step.command(&head), step.seed).await?;
            if digest(&outcome) != step.answered {
                let what = "a write of a transaction did not do again what it did".to_owned();
                return Err(StateError::Broken { group: self.view.keys().group(), what });
            }
            self.steps_bytes += stored::encode(&step).len();
            self.steps.push(step);
        }
        Ok(())
    }

    /// The command that commits it; `None` when it has written nothing, so that there is nothing to apply.
    ///
    /// # Errors
    /// 54000 when it has read more than can be looked at again.
    pub fn commit(&self, head: RequestHead, attempt: u128) -> Result<Option<TransactionCommand>, Diag> {
        if self.steps.is_empty() {
            return Ok(None);
        }
        if self.is_observed && self.recorder.is_over() {
            return Err(Diag::new(
                SqlState::PROGRAM_LIMIT,
                "the transaction has read too many rows or separate keys for one that writes; nothing was changed",
            )
            .hint("Read less inside of it, or ranges of keys instead of single keys; a transaction that only reads has no such limit."));
        }
        Ok(Some(TransactionCommand {
            head,
            attempt,
            began: self.began,
            read_at: self.view.applied().0,
            tables: self.tables.clone(),
            reads: if self.is_observed { self.recorder.set() } else { ReadSet::default() },
            steps: self.steps.clone(),
        }))
    }

    fn know(&mut self, catalog: &Arc<Catalog>) {
        if catalog.version > self.catalog.version {
            self.catalog = Arc::clone(catalog);
        }
    }

    /// No writes.
    fn clear(&mut self) {
        let mark = self.view.mark();
        self.mark = Mark { log_time: mark.log_time.max(self.began), applied: mark.applied + 1, ..mark };
        self.overlay = Rc::default();
        self.used = Used::default();
        self.steps.clear();
        (self.steps_bytes, self.returned_bytes) = (0, 0);
    }

    async fn rehearse(&mut self, command: &WriteCommand, seed: u128) -> Result<Outcome, StateError> {
        let view = self.view.clone();
        let overlay = Rc::unwrap_or_clone(std::mem::take(&mut self.overlay));
        let txn = Txn::new(view.reader(), view.keys(), view.applied().next());
        let mut entry = Entry {
            txn: txn.resumed(overlay, self.used, &self.recorder),
            layout: view.layout(),
            catalog: Arc::clone(&self.catalog),
            mark: self.mark,
            seed,
            identity: None,
            roll: None,
            first_ends: FirstEnds { session: Micros::MAX, row: Micros::MAX },
            pinned: Some(Pinned { now: self.began, last_seq: view.mark().last_seq }),
            redefined: None,
        };
        // Its messages are made when it is committed.
        let result = write::change(&mut entry, command).await;
        let Entry { txn, mark, .. } = entry;
        let (overlay, used) = txn.suspend();
        (self.overlay, self.used, self.mark) = (Rc::new(overlay), used, mark);
        match result {
            Ok((outcome, _)) => Ok(outcome),
            Err(Abort::Refused(diag) | Abort::Conflict(diag)) => Ok(Outcome::Refused(diag)),
            Err(Abort::Stale) => Ok(Outcome::StaleCatalog { at: self.catalog.version }),
            Err(Abort::Failed(error)) => Err(error),
        }
    }
}

fn too_large() -> Diag {
    Diag::new(
        SqlState::PROGRAM_LIMIT,
        format!(
            "the transaction is too large: at most {MAX_STEPS} writes of {MAX_STEPS_BYTES} bytes in all, which return {} bytes",
            write::MAX_RETURNED_BYTES
        ),
    )
    .hint("Commit in parts; one INSERT takes many rows.")
}
