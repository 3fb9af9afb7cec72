//! Any node takes any command: it is proposed where its group's leader is, here or on another node.
//!
//! A command goes to this node's replica when that leads, with no more cost than on a node of its own; else to the leader's node by
//! one call. The node that is asked proposes itself or says who leads; it never hands the command on. The node where the
//! statement arrived tries again, with pauses and hints, until the statement's deadline.
//!
//! What may have happened decides whether a command may go again:
//!
//! | what came back | what is known | then |
//! |---|---|---|
//! | not sent, not the leader, busy, shutting down | it is in no log | it goes again |
//! | refused (overload, disk full) | it is in no log | the client is told |
//! | an outcome, a refusal of `state` included | it is applied | the client is told |
//! | the answer was lost, or leadership was, or the leader was replaced or gone before it answered | nobody can tell | it goes again if its request id (or its nature: exchange) makes it apply once; else 40003 |
//!
//! Once an attempt may have taken effect, only an outcome ends it: later refusals say nothing of the first attempt.

mod catalogs;
mod figures;
mod patience;
mod payload;
mod route;
mod serve;

use std::fmt;
use std::sync::Arc;

use futures_lite::future;
use highwater_net::rpc::{CallError, CallKind, NotSent, RefusalCode};
use highwater_raft::NodeId;
use highwater_runtime::{Env, Monotonic, queue, sometimes};
use highwater_sql::catalog::Catalog;
use highwater_sql::diag::{Diag, SqlState};
use highwater_state::command::{Command, MetaCommand};

pub(crate) use figures::ForwardFigures;
pub use payload::{ForwardedAnswer, ForwardedProposal, Unreadable};

use super::mesh::{Admission, Applied, NotApplied, Proposal};
use super::{Node, Watch as _, outcome_unknown, shutting_down, start};
use crate::cluster::NOT_READY;
use patience::Patience;
use payload::ProposalHead;
use route::{Route, Step};
use serve::HANDED_ON;

/// What the server's nodes ask one another, all in one place. Kinds below 16 are the cluster's own (`cluster/`); a number is never used
/// again for something else.
pub(crate) mod kinds {
    use super::CallKind;

    /// Propose a command: `payload.rs` draws it.
    pub(crate) const PROPOSE: CallKind = CallKind(16);
    // 18: orders to a group's leader, `membership/order.rs`. 19: reads of a group that is elsewhere, `homes/payload.rs`.
    /// Know the catalog at least at a version: `version u8 (1) | u64 LE`; answered empty once every core does.
    pub(crate) const KNOW_CATALOG: CallKind = CallKind(17);
}

/// The payload of a call cannot be read: the nodes' releases differ too much. Nothing was begun.
pub(super) const UNREADABLE: RefusalCode = RefusalCode(RefusalCode::FIRST_OF_SERVER + 16);
/// Time that the system's own commands are given, in microseconds; who proposes them tries again.
const SYSTEM_MICROS: u64 = 10_000_000;

/// What the log lines of one request are found by, on every node: its `X-Request-Id`. 0: no request of a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TraceId(pub u64);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What all parts of a statement have in common on their way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Errand {
    /// When to give up.
    pub(crate) deadline: Monotonic,
    /// What its log lines are found by.
    pub(crate) trace: TraceId,
}

/// What is proposed: a command, to which group, and on whose behalf.
#[derive(Clone)]
pub(super) struct Motion {
    /// When to give up, and what its log lines are found by.
    pub(super) errand: Errand,
    /// The group whose log it is for.
    pub(super) group: u32,
    /// What the group is to do.
    pub(super) command: Command,
    /// The catalog it was planned with, if with one: the group is brought there first.
    pub(super) catalog: Option<Arc<Catalog>>,
    /// Whether it may be refused for overload.
    pub(super) admission: Admission,
}

impl Motion {
    /// What a client wants.
    pub(super) const fn of_client(errand: Errand, group: u32, command: Command, catalog: Option<Arc<Catalog>>) -> Self {
        Self { errand, group, command, catalog, admission: Admission::Client }
    }

    /// What the system does by itself, with the catalog that the group is to have first, if any.
    pub(super) const fn of_system(errand: Errand, group: u32, command: Command, catalog: Option<Arc<Catalog>>) -> Self {
        Self { errand, group, command, catalog, admission: Admission::System }
    }
}

/// Whether a command that may have been applied may go again: its request id or its nature makes it apply once.
fn is_repeatable(command: &Command) -> bool {
    if highwater_runtime::mutant(25) {
        return true;
    }
    match command {
        Command::Write(write) => write.head.request.is_some(),
        Command::Consume(consume) => consume.head.request.is_some(),
        Command::Ack(ack) => ack.head.request.is_some(),
        Command::Transaction(transaction) => transaction.head.request.is_some(),
        Command::Settle { head, .. } => head.request.is_some(),
        Command::Meta(
            MetaCommand::Ddl { head, .. }
            | MetaCommand::CreateUser { head, .. }
            | MetaCommand::AlterUser { head, .. }
            | MetaCommand::DropUser { head, .. }
            | MetaCommand::Refuse { head, .. },
        ) => head.request.is_some(),
        Command::Catalog { .. }
        | Command::Deltas(_)
        | Command::Backfill(_)
        | Command::Trim { .. }
        // Each change of the roll changes nothing the second time.
        | Command::Meta(MetaCommand::FinishJob { .. } | MetaCommand::Roll(_) | MetaCommand::EndLogin { .. }) => true,
        Command::Meta(MetaCommand::Bootstrap { .. } | MetaCommand::Setup { .. }) => false,
    }
}

/// Why a command has no outcome.
#[derive(Debug)]
pub(super) enum Unapplied {
    /// It is in no log and never will be, and it is used up: this node lost the lead under it. Who can make it anew may do so.
    Gone(Diag),
    /// Refused, or, by its SQLSTATE, of unknown outcome.
    Refused(Diag),
}

impl From<Diag> for Unapplied {
    fn from(diag: Diag) -> Self {
        Self::Refused(diag)
    }
}

impl From<Unapplied> for Diag {
    fn from(error: Unapplied) -> Self {
        let (Unapplied::Gone(diag) | Unapplied::Refused(diag)) = error;
        diag
    }
}

/// What becomes of a command that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// The refusal is the answer.
    Final,
    /// It is in no log: again.
    Again,
    /// It may be in one, and may go again.
    AgainAfterUnknown,
}

fn fate(state: SqlState, is_here: bool, is_repeatable: bool, may_be_done: bool) -> Fate {
    match state {
        SqlState::OUTCOME_UNKNOWN if is_repeatable => Fate::AgainAfterUnknown,
        SqlState::OUTCOME_UNKNOWN => Fate::Final,
        SqlState::SHUTTING_DOWN if is_here => Fate::Final,
        SqlState::SHUTTING_DOWN => Fate::Again,
        _ if may_be_done => Fate::Again,
        _ => Fate::Final,
    }
}

/// What an attempt ended with.
enum Attempt {
    Applied(Applied),
    NotLeader(Option<NodeId>),
    NotReached,
    Refused(Diag),
}

impl Node {
    /// An errand of the system's own.
    pub(super) fn own_errand(&self) -> Errand {
        Errand { deadline: self.env().now().after_micros(SYSTEM_MICROS), trace: TraceId(0) }
    }

    /// When a statement that came now ends, if its front end does not say.
    pub(crate) fn statement_deadline(&self) -> Monotonic {
        self.env().now().after_micros(self.settings().statement_micros)
    }

    /// Puts a command through its group's log, wherever that is led; the answer comes when it is durable and applied.
    ///
    /// # Errors
    /// 57014 when no leader was found before the errand's deadline; 40003 when nobody can tell whether it was applied; what the
    /// leader's node refuses it with. [`Unapplied::Gone`] when it must be made anew, as this node had the only copy.
    pub(super) async fn propose(&self, motion: Motion) -> Result<Applied, Unapplied> {
        let group = motion.group;
        if self.links().is_alone() {
            return self.propose_here(motion).await.map_err(|error| error.into_diag(group).into());
        }
        let me = self.links().me();
        let first = self.known_leader(group);
        if first == Some(me) && !is_repeatable(&motion.command) {
            // The usual way on the leader's node: nothing is copied, nothing more is allocated.
            return self.propose_here(motion).await.map_err(|error| {
                let is_gone = matches!(error, NotApplied::NotLeader(_));
                if is_gone {
                    self.learn_leader(group, None);
                }
                let diag = error.into_diag(group);
                match diag.sqlstate {
                    _ if is_gone => Unapplied::Gone(diag),
                    SqlState::OUTCOME_UNKNOWN => self.count_unknown(diag).into(),
                    _ => diag.into(),
                }
            });
        }
        let route = match self.links().homes_elsewhere(group) {
            Some(homes) => Route::of_seat(me, first, homes),
            None => Route::new(me, first),
        };
        Ok(Box::pin(self.propose_anywhere(motion, route)).await?)
    }

    /// Goes from node to node until the command has an answer or the deadline comes.
    async fn propose_anywhere(&self, motion: Motion, mut route: Route) -> Result<Applied, Diag> {
        let me = self.links().me();
        let (group, deadline) = (motion.group, motion.errand.deadline);
        let repeatable = is_repeatable(&motion.command);
        let mut may_be_done = false;
        loop {
            if self.env().now() >= deadline {
                return Err(if may_be_done { self.count_unknown(unknown(group)) } else { no_leader(group) });
            }
            let (node, attempt) = match route.step(self.env().random()) {
                Step::Pause(micros) => {
                    self.0.forward.retried();
                    let until = self.env().now().after_micros(micros).min(deadline);
                    self.env().sleep_until(until).await;
                    continue;
                }
                Step::Here => {
                    let attempt = match self.propose_here(motion.clone()).await {
                        Ok(applied) => Attempt::Applied(applied),
                        Err(NotApplied::NotLeader(leader)) => Attempt::NotLeader(leader),
                        Err(NotApplied::Refused(diag)) => Attempt::Refused(diag),
                    };
                    (me, attempt)
                }
                Step::There(node) => (node, self.propose_there(&motion, node).await),
            };
            match attempt {
                Attempt::Applied(applied) => {
                    if may_be_done {
                        sometimes("unknown_outcomes_learned");
                    }
                    self.learn_leader(group, Some(node));
                    return Ok(applied);
                }
                Attempt::NotLeader(leader) => {
                    if leader.is_some() {
                        sometimes("hints_followed");
                    }
                    self.learn_leader(group, leader);
                    route.not_leader(node, leader);
                }
                Attempt::NotReached => {
                    self.learn_leader(group, None);
                    route.not_reached(node);
                }
                Attempt::Refused(diag) => match fate(diag.sqlstate, node == me, repeatable, may_be_done) {
                    Fate::Final if may_be_done || diag.sqlstate == SqlState::OUTCOME_UNKNOWN => {
                        return Err(self.count_unknown(unknown(group)));
                    }
                    Fate::Final => return Err(diag),
                    Fate::Again => route.later(),
                    Fate::AgainAfterUnknown => {
                        may_be_done = true;
                        route.later();
                    }
                },
            }
        }
    }

    /// Hands a command to this node's replica. A definition is also carried to its end here.
    pub(super) async fn propose_here(&self, motion: Motion) -> Result<Applied, NotApplied> {
        if is_definition(&motion.command) {
            return self.define_here(motion).await;
        }
        self.propose_to_log(motion).await
    }

    /// Puts a command into the queue of the core that hosts its group, and waits for what becomes of it.
    pub(super) async fn propose_to_log(&self, motion: Motion) -> Result<Applied, NotApplied> {
        let Motion { errand, group, command, catalog, admission } = motion;
        let (slot, answer) = queue::reply();
        let proposal = Proposal { group, command, catalog, admission, reply: slot };
        match self.host_of(group).filter(|_| self.is_here(group)) {
            Some(host) => start::put_before(&host, proposal),
            None => self.port_of(group)?.proposals.send(proposal).await.map_err(|_| shutting_down())?,
        }
        if self.links().is_alone() {
            return answer.await.map_err(|_| outcome_unknown())?;
        }
        // Without a majority nothing commits, for as long as that lasts.
        let late = async {
            self.env().sleep_until(errand.deadline).await;
            Ok(Err(unknown(group).into()))
        };
        future::or(answer, late).await.map_err(|_| outcome_unknown())?
    }

    /// One call to the node that should lead.
    async fn propose_there(&self, motion: &Motion, node: NodeId) -> Attempt {
        let (group, request_id) = (motion.group, motion.errand.trace);
        tracing::debug!(%request_id, group, to = node.0, "a command goes to its group's leader");
        self.0.forward.sent();
        let began = self.env().now();
        let head = ProposalHead {
            group,
            catalog: motion.catalog.as_ref().map(|catalog| catalog.version),
            admission: motion.admission,
            origin: self.links().me(),
            trace: request_id,
        };
        let payload = head.encode(&motion.command);
        let answer =
            async { Some(self.links().call(node, group, kinds::PROPOSE, payload, motion.errand.deadline).await) };
        let left = async {
            self.loses_patience(group, node).await;
            None
        };
        let answer = future::or(answer, left).await;
        let micros = self.env().now().micros_since(began);
        let Some(answer) = answer else {
            sometimes("silent_leaders_left");
            self.0.forward.left();
            tracing::debug!(%request_id, group, to = node.0, micros, "a command waits no longer for a leader that was replaced or is gone");
            return Attempt::Refused(unknown(group));
        };
        let answer = match answer {
            Ok(payload) => ForwardedAnswer::decode(&payload).map_err(|error| {
                tracing::warn!(%request_id, group, from = node.0, %error, "the answer to a command cannot be read");
                unknown(group)
            }),
            Err(error) => {
                tracing::debug!(%request_id, group, to = node.0, micros, %error, "a command was not answered");
                match not_answered(&error) {
                    NotAnswered::Unknown => Err(unknown(group)),
                    NotAnswered::NotBegun => return Attempt::NotReached,
                    NotAnswered::Never(diag) => Err(diag),
                }
            }
        };
        match answer {
            Ok(ForwardedAnswer::Applied { index, outcome }) => {
                self.0.forward.answered(micros);
                tracing::debug!(%request_id, group, from = node.0, index, micros, "a command was applied by its group's leader");
                Attempt::Applied(Applied { index, outcome })
            }
            Ok(ForwardedAnswer::NotLeader { leader }) => {
                let leader_is = leader.map(|leader| leader.0);
                tracing::debug!(%request_id, group, from = node.0, leader_is, micros, "a command found no leader there");
                Attempt::NotLeader(leader)
            }
            Ok(ForwardedAnswer::Refused(diag)) => {
                tracing::debug!(%request_id, group, from = node.0, micros, sqlstate = %diag.sqlstate, %diag, "a command was refused there");
                Attempt::Refused(diag)
            }
            Err(diag) => Attempt::Refused(diag),
        }
    }

    /// Ends when no answer is to be had any more from a node that leads a group, or led it.
    async fn loses_patience(&self, group: u32, asked: NodeId) {
        let mut patience = Patience::new(asked);
        self.env().sleep(patience::FIRST_LOOK_MICROS).await;
        loop {
            let named = self.leader_of(group).await;
            if patience.is_over(named, self.links().sign(asked)) {
                return;
            }
            self.env().sleep(patience::LOOK_MICROS).await;
        }
    }

    /// Counts an outcome that nobody can tell.
    fn count_unknown(&self, diag: Diag) -> Diag {
        self.0.forward.unknown();
        diag
    }

    /// Who leads a group as far as this core can tell without asking anybody; a guess. `None`: try here.
    pub(super) fn known_leader(&self, group: u32) -> Option<NodeId> {
        match self.host_of(group).filter(|_| !self.is_elsewhere(group)) {
            Some(host) => host.leader_of(group),
            None => self.0.leaders.borrow().get(&group).copied(),
        }
    }

    /// Remembers who leads a group that another core hosts, or another node.
    pub(super) fn learn_leader(&self, group: u32, leader: Option<NodeId>) {
        let mut leaders = self.0.leaders.borrow_mut();
        match leader {
            Some(leader) => leaders.insert(group, leader),
            None => leaders.remove(&group),
        };
    }
}

/// What is known of a command whose call has no answer.
enum NotAnswered {
    /// It is in no log.
    NotBegun,
    /// Nobody can tell.
    Unknown,
    /// It will fare no better elsewhere.
    Never(Diag),
}

fn not_answered(error: &CallError) -> NotAnswered {
    match error {
        CallError::NotSent(NotSent::TooLarge) => NotAnswered::Never(
            Diag::new(SqlState::PROGRAM_LIMIT, "the statement is larger than what nodes hand to one another")
                .hint("Split the statement into smaller ones."),
        ),
        CallError::NotSent(NotSent::Stopped) => NotAnswered::Never(shutting_down()),
        CallError::NotSent(NotSent::Full | NotSent::Unreachable | NotSent::Expired) => NotAnswered::NotBegun,
        CallError::Unknown(_) if highwater_runtime::mutant(84) => NotAnswered::NotBegun,
        CallError::Unknown(_) => NotAnswered::Unknown,
        CallError::Refused(refusal) => match refusal.code {
            RefusalCode::BUSY | RefusalCode::EXPIRED | RefusalCode::UNKNOWN_KIND | NOT_READY => NotAnswered::NotBegun,
            UNREADABLE => NotAnswered::Never(
                Diag::new(SqlState::INTERNAL, format!("the leader's node refused the statement: {}", refusal.text))
                    .hint("The nodes run releases that differ by more than one; finish the upgrade."),
            ),
            HANDED_ON => NotAnswered::Never(Diag::new(
                SqlState::INTERNAL,
                format!("the leader's node refused the statement: {}", refusal.text),
            )),
            _ => NotAnswered::Unknown,
        },
    }
}

/// Whether a command is a definition of a client, which is carried to its end where it is proposed.
fn is_definition(command: &Command) -> bool {
    matches!(
        command,
        Command::Meta(
            MetaCommand::Ddl { .. }
                | MetaCommand::CreateUser { .. }
                | MetaCommand::AlterUser { .. }
                | MetaCommand::DropUser { .. }
                | MetaCommand::Refuse { .. }
                | MetaCommand::Setup { .. }
        )
    )
}

fn unknown(group: u32) -> Diag {
    Diag::new(
        SqlState::OUTCOME_UNKNOWN,
        format!("group {group} lost its leader while the statement was under way; it may or may not have been applied"),
    )
    .hint("Send it again with the same request_id to learn its outcome without applying it twice.")
}

fn no_leader(group: u32) -> Diag {
    Diag::new(
        SqlState::TIMEOUT,
        format!("group {group} had no leader that could be reached for as long as the statement may take; it was not applied"),
    )
    .hint("A majority of the nodes must be up and reach one another: system.cluster shows which are up, system.cluster_groups who leads each group, as far as this node knows.")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use highwater_net::rpc::{Refusal, Unknown};
    use highwater_sql::catalog::{ObjectId, Role};
    use highwater_state::command::{AckCommand, RequestHead, RequestId};

    use super::*;

    #[test]
    fn who_finds_no_leader_is_told_where_nodes_and_leaders_are_shown() {
        let hint = no_leader(3).hint.unwrap().to_string();
        assert!(hint.contains("system.cluster shows") && hint.contains("system.cluster_groups who leads"), "{hint}");
    }

    fn ack(request: Option<RequestId>) -> Command {
        let head = RequestHead { principal: "a".into(), role: Role::User, auth_epoch: 0, request, statement_hash: 0 };
        Command::Ack(AckCommand {
            head,
            topic: ObjectId(1),
            partition: 0,
            group: "g".into(),
            consumer_id: "c".into(),
            upto: 1,
        })
    }

    #[test]
    fn a_clients_command_may_go_again_only_under_a_request_id() {
        assert!(!is_repeatable(&ack(None)));
        assert!(is_repeatable(&ack(Some(RequestId { id: 1, ordinal: 0 }))));
        assert!(is_repeatable(&Command::Trim { destination: 1, upto: 1 }));
    }

    #[test]
    fn only_an_outcome_ends_what_may_have_been_done() {
        let (here, there) = (true, false);
        assert_eq!(fate(SqlState::OVERLOADED, there, true, false), Fate::Final);
        assert_eq!(fate(SqlState::OVERLOADED, there, true, true), Fate::Again);
        assert_eq!(fate(SqlState::OUTCOME_UNKNOWN, there, false, false), Fate::Final);
        assert_eq!(fate(SqlState::OUTCOME_UNKNOWN, here, true, false), Fate::AgainAfterUnknown);
        assert_eq!(fate(SqlState::SHUTTING_DOWN, there, false, false), Fate::Again, "the leader's node stops");
        assert_eq!(fate(SqlState::SHUTTING_DOWN, here, false, false), Fate::Final, "the client's node stops");
    }

    #[test]
    fn a_call_without_an_answer_says_whether_the_command_may_be_in_a_log() {
        let is_not_begun = |error| matches!(not_answered(&error), NotAnswered::NotBegun);
        assert!(is_not_begun(CallError::NotSent(NotSent::Unreachable)));
        assert!(is_not_begun(CallError::Refused(Refusal::new(RefusalCode::BUSY, ""))));
        let is_unknown = |error| matches!(not_answered(&error), NotAnswered::Unknown);
        assert!(is_unknown(CallError::Unknown(Unknown::Disconnected)));
        assert!(is_unknown(CallError::Refused(Refusal::new(RefusalCode::ANSWER_LOST, ""))));
        assert!(matches!(not_answered(&CallError::NotSent(NotSent::TooLarge)), NotAnswered::Never(_)));
    }
}
