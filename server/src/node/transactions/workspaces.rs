//! Open transactions at the core that hosts their group: each has a workspace there, from its first read or write until its end.
//!
//! A workspace that nobody ends (its node's other core stopped, its request was given up) goes when the transaction's time is over.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;

use highwater_runtime::{Env, Monotonic, Rt};
use highwater_sql::catalog::Catalog;
use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::value::Micros;
use highwater_state::command::{RequestHead, TransactionCommand, WriteCommand};
use highwater_state::outcome::Outcome;
use highwater_state::transaction::Workspace;
use serde::{Deserialize, Serialize};

use super::super::Node;
use super::super::mesh::{ReadRefusal, TableRead, TableRows};
use super::super::reads;
use super::{lost, mixed_up};

/// Workspaces of one core.
const MAX_WORKSPACES: usize = 1_024;

/// Which workspace, and how it is opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WorkspaceKey {
    /// Its transaction.
    pub(crate) id: u128,
    /// The group.
    pub(crate) group: u32,
    /// When the transaction began: NOW().
    pub(crate) began: Micros,
    /// When its time is over.
    pub(crate) until: Monotonic,
    /// Nobody has asked for it before.
    pub(crate) opens: bool,
}

/// What is asked of a workspace.
pub(crate) enum WorkspaceCall {
    /// A write.
    Write {
        /// Where.
        key: WorkspaceKey,
        /// What.
        command: Box<WriteCommand>,
        /// What it was planned with.
        catalog: Arc<Catalog>,
        /// Source of its volatile values.
        seed: u128,
        /// When to give up.
        deadline: Monotonic,
    },
    /// Back to when it had this many writes.
    Rewind {
        /// Where.
        key: WorkspaceKey,
        /// How many.
        steps: usize,
        /// When to give up.
        deadline: Monotonic,
    },
    /// The command that commits it; the workspace is over.
    Commit {
        /// Where.
        key: WorkspaceKey,
        /// The request.
        head: RequestHead,
        /// Which run of it.
        attempt: u128,
        /// When to give up.
        deadline: Monotonic,
    },
    /// It is over.
    End {
        /// Its transaction.
        id: u128,
    },
    /// The answer that the group keeps of a request.
    AnswerOf {
        /// The group.
        group: u32,
        /// The request.
        head: RequestHead,
        /// When to give up.
        deadline: Monotonic,
    },
}

/// What a workspace answers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum WorkspaceAnswer {
    /// To a write.
    Outcome(Box<Outcome>),
    /// To a commit; nothing when it has written nothing.
    Commit(Option<Box<TransactionCommand>>),
    /// What is kept of a request.
    Kept(Option<Box<Outcome>>),
    /// Done.
    Done,
}

impl WorkspaceCall {
    /// When to give up, of what is waited for.
    pub(crate) const fn deadline(&self) -> Option<Monotonic> {
        match self {
            Self::Write { deadline, .. }
            | Self::Rewind { deadline, .. }
            | Self::Commit { deadline, .. }
            | Self::AnswerOf { deadline, .. } => Some(*deadline),
            Self::End { .. } => None,
        }
    }
}

/// The workspaces of one core.
#[derive(Default)]
pub(in super::super) struct Workspaces {
    open: RefCell<BTreeMap<u128, Slot>>,
    is_watched: Cell<bool>,
}

struct Slot {
    until: Monotonic,
    group: u32,
    began: Micros,
    /// Taken while a statement runs.
    workspace: Option<Box<Workspace<Rt>>>,
}

impl Workspaces {
    /// (began, group, writes) of those that are open.
    pub(in super::super) fn shown(&self) -> Vec<(Micros, u32, usize)> {
        let steps = |slot: &Slot| slot.workspace.as_ref().map_or(0, |workspace| workspace.steps());
        self.open.borrow().values().map(|slot| (slot.began, slot.group, steps(slot))).collect()
    }
}

/// Takes a workspace for one statement.
async fn take(node: &Node, key: WorkspaceKey, deadline: Monotonic) -> Result<Box<Workspace<Rt>>, Diag> {
    let all = &node.0.workspaces;
    match all.open.borrow_mut().get_mut(&key.id) {
        Some(slot) => {
            return slot.workspace.take().ok_or_else(|| {
                Diag::new(SqlState::OBJECT_STATE, "another statement of the same transaction is still running")
                    .hint("Send the statements of a transaction one after the other.")
            });
        }
        None if !key.opens => return Err(lost("it is not open any more on this node")),
        None => {}
    }
    let (_, view) = reads::view_of(node, key.group, deadline).await?;
    let mut open = all.open.borrow_mut();
    if open.len() >= MAX_WORKSPACES {
        let message = format!("{MAX_WORKSPACES} transactions are open on this core, which is the limit");
        return Err(Diag::new(SqlState::OVERLOADED, message).hint("Retry after a short pause."));
    }
    open.insert(key.id, Slot { until: key.until, group: key.group, began: key.began, workspace: None });
    drop(open);
    watch(node);
    Ok(Box::new(Workspace::new(view, key.began)))
}

fn put_back(node: &Node, key: WorkspaceKey, workspace: Box<Workspace<Rt>>) {
    // It may have been ended meanwhile.
    if let Some(slot) = node.0.workspaces.open.borrow_mut().get_mut(&key.id) {
        slot.workspace = Some(workspace);
    }
}

/// Ends workspaces whose time is over, as long as there are any.
fn watch(node: &Node) {
    if node.0.workspaces.is_watched.replace(true) {
        return;
    }
    let node = node.clone();
    node.env().clone().spawn("workspaces", async move {
        let all = &node.0.workspaces;
        loop {
            let Some(next) = all.open.borrow().values().map(|slot| slot.until).min() else { break };
            node.env().sleep_until(next).await;
            let now = node.env().now();
            all.open.borrow_mut().retain(|_, slot| slot.until > now);
        }
        all.is_watched.set(false);
    });
}

/// Answers on the group's core.
pub(in super::super) async fn answer(node: &Node, call: WorkspaceCall) -> Result<WorkspaceAnswer, Diag> {
    match call {
        WorkspaceCall::Write { key, command, catalog, seed, deadline } => {
            let mut workspace = take(node, key, deadline).await?;
            let outcome = workspace.write(&catalog, &command, seed).await;
            put_back(node, key, workspace);
            let outcome = outcome.map_err(|error| reads::storage(node, &error))?;
            Ok(WorkspaceAnswer::Outcome(Box::new(outcome)))
        }
        WorkspaceCall::Rewind { key, steps, deadline } => {
            let mut workspace = take(node, key, deadline).await?;
            let done = workspace.rewind(steps).await;
            put_back(node, key, workspace);
            done.map_err(|error| reads::storage(node, &error))?;
            Ok(WorkspaceAnswer::Done)
        }
        WorkspaceCall::Commit { key, head, attempt, deadline } => {
            let workspace = take(node, key, deadline).await?;
            node.0.workspaces.open.borrow_mut().remove(&key.id);
            Ok(WorkspaceAnswer::Commit(workspace.commit(head, attempt)?.map(Box::new)))
        }
        WorkspaceCall::End { id } => {
            node.0.workspaces.open.borrow_mut().remove(&id);
            Ok(WorkspaceAnswer::Done)
        }
        WorkspaceCall::AnswerOf { group, head, deadline } => {
            let (_, view) = reads::view_of(node, group, deadline).await?;
            let kept = view.answer_of(&head).await.map_err(|error| reads::storage(node, &error))?;
            Ok(WorkspaceAnswer::Kept(kept.map(Box::new)))
        }
    }
}

/// A read of a table as an open transaction sees it.
pub(in super::super) async fn table_within(
    node: &Node,
    read: &TableRead,
    key: WorkspaceKey,
) -> Result<TableRows, ReadRefusal> {
    let mut workspace = take(node, key, read.deadline).await.map_err(ReadRefusal::Failed)?;
    let found = match &read.plan.from {
        highwater_sql::plan::From::Table { table, access } => {
            let view = workspace.view().clone();
            reads::rows(node, read, table, &view, async |user, context| {
                workspace.rows_of(table, user, access, context).await
            })
            .await
        }
        _ => Err(ReadRefusal::Failed(mixed_up())),
    };
    put_back(node, key, workspace);
    found
}
