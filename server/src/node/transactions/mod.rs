//! Transactions as their client sees them: BEGIN to COMMIT in one text, or over several requests in a session.
//!
//! | file | owns |
//! |---|---|
//! | `mod.rs` | an open transaction at the core of its front end: its one group, savepoints, whether it has failed, its commit |
//! | `workspaces.rs` | the same at the core of the group: the workspace in which its statements run |
//! | `conversation.rs` | a text of statements, some of which may be BEGIN, SAVEPOINT, SET ... |
//! | `sessions.rs` | conversations that go on in later requests |
//!
//! Nothing of an open transaction is in any log; who loses it (the node, its session, its workspace) has rolled it back. What it reads and
//! writes is of one group; COMMIT is one command of that group, forwarded as any other.

mod conversation;
mod sessions;
mod workspaces;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};

use highwater_raft::NodeId;
use highwater_runtime::{Env, Monotonic, sometimes};
use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::value::Micros;
use highwater_state::command::{Command, RequestHead, WriteCommand};
use highwater_state::outcome::Outcome;
use highwater_state::placement::GroupRole;
use highwater_state::transaction::conflict_diag;
use serde::{Deserialize, Serialize};

pub(super) use conversation::{Around, Conversation};
pub(crate) use sessions::{Conversations, SentAnswer, Sessions};
pub(crate) use workspaces::{WorkspaceAnswer, WorkspaceCall, WorkspaceKey};
pub(super) use workspaces::{Workspaces, answer, table_within};

use super::Node;
use super::execute::{Failure, Run};
use super::forward::{Errand, Motion, Unapplied};
use super::mesh::Applied;
use super::token::ReadToken;

/// Savepoints of a transaction.
const MAX_SAVEPOINTS: usize = 1_000;

/// How new what a read shows must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Consistency {
    /// Everything that was acknowledged before the read, anywhere.
    #[default]
    Linearizable,
    /// Everything that the session has seen, by its token.
    Session,
    /// What a node that is asked has, whoever else is up; the answer says how old it may be.
    Stale,
}

/// An open transaction.
pub(super) struct Transaction {
    node: Node,
    id: u128,
    began: Micros,
    until: Monotonic,
    read_only: bool,
    /// The request of its COMMIT, where it is known from the start: an earlier try may have committed it.
    request: Option<RequestHead>,
    group: Cell<Option<u32>>,
    /// The node that has its workspace, if it is another one: the group is not here.
    home: Cell<Option<NodeId>>,
    is_open: Cell<bool>,
    has_failed: Cell<bool>,
    steps: Cell<usize>,
    savepoints: RefCell<Vec<(String, usize)>>,
    /// What an earlier try of the same text answered to its writes: it is committed.
    earlier: RefCell<Option<VecDeque<Outcome>>>,
    /// Statements of the text that are rolled back to a savepoint later in it.
    undone: BTreeSet<usize>,
    /// The statement of the text that is under way.
    at: Cell<usize>,
}

/// What became of a COMMIT.
pub(super) enum Ended {
    /// It is committed, or had nothing to commit.
    Committed,
    /// Another try of the same request was committed.
    Earlier,
}

impl Transaction {
    fn begin(node: &Node, read_only: bool, request: Option<RequestHead>, undone: BTreeSet<usize>) -> Self {
        let env = node.env();
        Self {
            node: node.clone(),
            id: wide(env),
            began: env.wall().0,
            until: env.now().after_micros(node.settings().transaction_micros),
            read_only,
            request,
            group: Cell::new(None),
            home: Cell::new(None),
            is_open: Cell::new(false),
            has_failed: Cell::new(false),
            steps: Cell::new(0),
            savepoints: RefCell::default(),
            earlier: RefCell::new(None),
            undone,
            at: Cell::new(0),
        }
    }

    /// NOW() of all its statements.
    pub(super) const fn began(&self) -> Micros {
        self.began
    }

    /// The node that has its workspace, if it is another one.
    pub(super) fn home(&self) -> Option<NodeId> {
        self.home.get()
    }

    /// Whether an earlier try of the same request has committed it: what is read is read outside of it.
    pub(super) fn is_earlier(&self) -> bool {
        self.earlier.borrow().is_some()
    }

    /// The transaction reads or writes this group, now and from now on no other.
    ///
    /// # Errors
    /// 0A000 for a second group; 57014 when its time is over; what an earlier try of the same request was refused with.
    pub(super) async fn enter(&self, group: u32, deadline: Monotonic) -> Result<(), Diag> {
        if self.node.env().now() >= self.until {
            return Err(Diag::new(
                SqlState::TIMEOUT,
                "the transaction was open for longer than sql.transaction_timeout and was rolled back",
            )
            .hint("Run it again from BEGIN on, in less time."));
        }
        match self.group.get() {
            Some(known) if known == group => return Ok(()),
            Some(known) => {
                let (known, other) = (self.shard(known), self.shard(group));
                return Err(Diag::not_supported("a transaction over several shards")
                    .detail(format!("It has read or written {known}; this statement needs {other}."))
                    .hint("One user's tables are on one shard; a SHARED table is on a shard of its own. Commit what belongs to one shard by itself."));
            }
            None => {
                self.group.set(Some(group));
                self.home.set(self.node.likely_home(group));
            }
        }
        let Some(head) = self.request.clone() else { return Ok(()) };
        let call = WorkspaceCall::AnswerOf { group, head, deadline };
        match self.node.ask_workspace(self.home.get(), group, call).await? {
            WorkspaceAnswer::Kept(Some(outcome)) => match *outcome {
                Outcome::Committed { answers, .. } => {
                    sometimes("transactions_answered_again");
                    self.earlier.replace(Some(answers.into()));
                    Ok(())
                }
                Outcome::Refused(diag) => Err(*diag),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn shard(&self, group: u32) -> String {
        let what = match self.node.layout().role(group) {
            Some(GroupRole::User(shard)) => format!("user shard {shard}"),
            Some(GroupRole::Shared(shard)) => format!("shared shard {shard}"),
            Some(GroupRole::Meta) | None => "the definitions".to_owned(),
        };
        format!("{what} (group {group})")
    }

    /// The workspace at the group's core; opened by the first who asks for it.
    pub(super) fn key(&self, group: u32) -> WorkspaceKey {
        let opens = !self.is_open.replace(true);
        WorkspaceKey { id: self.id, group, began: self.began, until: self.until, opens }
    }

    /// A write as it will be applied, seen by this transaction alone.
    pub(super) async fn write(&self, run: &Run, group: u32, command: WriteCommand) -> Result<Applied, Failure> {
        if self.read_only {
            return Err(
                Diag::new(SqlState::READ_ONLY_TRANSACTION, "the transaction began READ ONLY: it cannot write").into()
            );
        }
        self.enter(group, run.errand.deadline).await?;
        if let Some(answers) = &mut *self.earlier.borrow_mut() {
            let undone = self.undone.contains(&self.at.get());
            let answer = if undone { None } else { answers.pop_front() };
            return Ok(Applied { index: 0, outcome: answer.unwrap_or(Outcome::Written(0)) });
        }
        let call = WorkspaceCall::Write {
            key: self.key(group),
            command: Box::new(command),
            catalog: run.catalog.clone(),
            seed: wide(self.node.env()),
            deadline: run.errand.deadline,
        };
        let answer = self.node.ask_workspace(self.home.get(), group, call).await?;
        let WorkspaceAnswer::Outcome(outcome) = answer else { return Err(mixed_up().into()) };
        if matches!(*outcome, Outcome::Written(_) | Outcome::Returned { .. }) {
            self.steps.set(self.steps.get() + 1);
        }
        Ok(Applied { index: 0, outcome: *outcome })
    }

    fn savepoint(&self, name: &str) -> Result<(), Diag> {
        let mut savepoints = self.savepoints.borrow_mut();
        if savepoints.len() >= MAX_SAVEPOINTS {
            let message = format!("the transaction has {MAX_SAVEPOINTS} savepoints, which is the limit");
            return Err(Diag::new(SqlState::PROGRAM_LIMIT, message).hint("RELEASE those that are no longer needed."));
        }
        savepoints.push((name.to_owned(), self.steps.get()));
        Ok(())
    }

    /// Where a savepoint stands among all, and how many writes came before it.
    fn find(&self, name: &str) -> Result<(usize, usize), Diag> {
        let savepoints = self.savepoints.borrow();
        let found = savepoints.iter().enumerate().rev().find(|(_, (known, _))| known == name);
        found.map(|(at, (_, steps))| (at, *steps)).ok_or_else(|| {
            Diag::new(SqlState::UNDEFINED_SAVEPOINT, format!("savepoint \"{name}\" does not exist in this transaction"))
        })
    }

    fn release(&self, name: &str) -> Result<(), Diag> {
        let (at, _) = self.find(name)?;
        self.savepoints.borrow_mut().truncate(at);
        Ok(())
    }

    async fn roll_back_to(&self, name: &str, deadline: Monotonic) -> Result<(), Diag> {
        let (at, steps) = self.find(name)?;
        if let Some(group) = self.group.get().filter(|_| self.is_open.get()) {
            let call = WorkspaceCall::Rewind { key: self.key(group), steps, deadline };
            self.node.ask_workspace(self.home.get(), group, call).await?;
        }
        self.savepoints.borrow_mut().truncate(at + 1);
        self.steps.set(steps);
        self.has_failed.set(false);
        Ok(())
    }

    /// Commits it, under the request that `head` tells.
    async fn commit(&self, head: RequestHead, errand: Errand, token: &mut ReadToken) -> Result<Ended, Diag> {
        let Some(group) = self.group.get().filter(|_| self.is_open.get() && !self.is_earlier()) else {
            return Ok(Ended::Committed);
        };
        let call = WorkspaceCall::Commit { key: self.key(group), head, attempt: self.id, deadline: errand.deadline };
        let answer = self.node.ask_workspace(self.home.get(), group, call).await?;
        let command = match answer {
            WorkspaceAnswer::Commit(Some(command)) => command,
            // It only read, at one moment.
            WorkspaceAnswer::Commit(None) => return Ok(Ended::Committed),
            _ => return Err(mixed_up()),
        };
        self.is_open.set(false);
        let motion = Motion::of_client(errand, group, Command::Transaction(command), Some(self.node.catalog()));
        let applied = match self.node.propose(motion).await {
            Ok(applied) => applied,
            Err(Unapplied::Gone(_)) => return Err(conflict_diag("its group changed leaders before it was logged")),
            Err(Unapplied::Refused(diag)) => return Err(diag),
        };
        match applied.outcome {
            Outcome::Committed { attempt, .. } => {
                token.saw(group, applied.index);
                Ok(if attempt == self.id { Ended::Committed } else { Ended::Earlier })
            }
            Outcome::Conflict(diag) | Outcome::Refused(diag) => Err(*diag),
            Outcome::StaleCatalog { .. } => Err(conflict_diag("a definition changed while it was committed")),
            _ => Err(mixed_up()),
        }
    }

    /// After a statement of a text under a request id has failed: an earlier try of the text may be on its way still. True if it is
    /// committed; else it never will be, unless the failure is of the moment.
    async fn is_committed_by_another(&self, why: &Diag, errand: Errand) -> Result<bool, Diag> {
        let (Some(group), Some(head)) = (self.group.get(), self.request.clone()) else { return Ok(false) };
        // What fails for a reason of the moment may succeed when it is sent again: that must not be the request's answer for ever.
        if is_of_the_moment(why.sqlstate) {
            return Ok(false);
        }
        if self.is_earlier() {
            return Ok(true);
        }
        settle(&self.node, group, head, why, errand).await
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        let Some(group) = self.group.get().filter(|_| self.is_open.get()) else { return };
        let (node, id, home) = (self.node.clone(), self.id, self.home.get());
        self.node.env().spawn("the end of a transaction", async move {
            let call = WorkspaceCall::End { id };
            let _ = node.ask_workspace(home, group, call).await;
        });
    }
}

/// Ends a request in a group: true if it is committed there; else it never will be.
async fn settle(node: &Node, group: u32, head: RequestHead, why: &Diag, errand: Errand) -> Result<bool, Diag> {
    let command = Command::Settle { head, why: Box::new(why.clone()) };
    match node.propose(Motion::of_client(errand, group, command, None)).await {
        Ok(applied) => Ok(matches!(applied.outcome, Outcome::Committed { .. })),
        Err(error) => Err(error.into()),
    }
}

/// Whether a failure says nothing of the statement: an open outcome (40003), resources (class 53), an operator or a deadline (57), a disk or
/// a defect (58, XX).
fn is_of_the_moment(state: SqlState) -> bool {
    state == SqlState::OUTCOME_UNKNOWN || matches!(state.as_str().get(..2), Some("53" | "57" | "58" | "XX"))
}

fn wide(env: &highwater_runtime::Rt) -> u128 {
    (u128::from(env.random()) << 64) | u128::from(env.random())
}

fn mixed_up() -> Diag {
    Diag::new(SqlState::INTERNAL, "a statement of a transaction was answered with another kind of answer")
}

/// The transaction is not here, or not any more.
pub(super) fn lost(what: &str) -> Diag {
    conflict_diag(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_statement_itself_is_wrong_about_is_not_of_the_moment_and_a_disk_is() {
        let lasting = [
            SqlState::UNIQUE_VIOLATION,
            SqlState::DIVISION_BY_ZERO,
            SqlState::UNDEFINED_TABLE,
            SqlState::INSUFFICIENT_PRIVILEGE,
            SqlState::SERIALIZATION_FAILURE,
            SqlState::PROGRAM_LIMIT,
            SqlState::OBJECT_STATE,
        ];
        assert!(!lasting.into_iter().any(is_of_the_moment));
        let passing = [
            SqlState::DATA_CORRUPTED,
            SqlState::INTERNAL,
            SqlState::TIMEOUT,
            SqlState::SHUTTING_DOWN,
            SqlState::OVERLOADED,
            SqlState::DISK_FULL,
            SqlState::OUTCOME_UNKNOWN,
        ];
        assert!(passing.into_iter().all(is_of_the_moment));
    }
}
