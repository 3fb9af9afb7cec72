//! Every way in which a call is refused. A refused call has changed nothing.

use crate::change::ChangeError;
use crate::ids::{GroupId, LogIndex, NodeId, ReadContext, ReadyNumber, Term};

/// Why a replica could not start, or why a driver's report was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RaftError {
    /// The configuration contradicts itself.
    #[error("group {group}: invalid configuration: {reason}")]
    InvalidConfig {
        /// The group.
        group: GroupId,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Stored state contradicts itself: the log, the hard state and the applied index do not belong together.
    #[error("group {group}: stored state is inconsistent: {reason}; the replica must not start from it")]
    InconsistentStorage {
        /// The group.
        group: GroupId,
        /// Which two facts contradict each other.
        reason: String,
    },
    /// A log's bounds or terms were given out of order.
    #[error("log bounds: entry {index} of term {term} cannot follow entry {last} of term {last_term}")]
    LogOutOfOrder {
        /// The entry given.
        index: LogIndex,
        /// Its term.
        term: Term,
        /// The last entry before it.
        last: LogIndex,
        /// That one's term.
        last_term: Term,
    },
    /// `advance_append` named a [`crate::Ready`] that was never given.
    #[error("ready {number} was reported durable, but the last one given is {last}")]
    UnknownReady {
        /// The number reported.
        number: ReadyNumber,
        /// The newest one given.
        last: ReadyNumber,
    },
    /// `advance_apply` went back, or past what was handed over.
    #[error("index {reported} was reported applied; it must be at least {applied} and at most {handed_over}")]
    AppliedOutOfRange {
        /// The index reported.
        reported: LogIndex,
        /// What was applied before.
        applied: LogIndex,
        /// What was handed over to apply.
        handed_over: LogIndex,
    },
    /// `compact` named an index that is not applied yet.
    #[error("the log cannot start at {first}: only entries up to {applied} are applied")]
    CompactBeyondApplied {
        /// The new first index.
        first: LogIndex,
        /// The applied index.
        applied: LogIndex,
    },
    /// `log_read` was given other entries than were asked for.
    #[error("entry {index} was read where entry {expected} of this log was asked for")]
    WrongLogRead {
        /// The entry given.
        index: LogIndex,
        /// The one that should have been.
        expected: LogIndex,
    },
    /// A snapshot was cut that nobody wants, or that is not of this log's applied state.
    #[error("node {to} does not want the snapshot that ends at {index}")]
    SnapshotNotWanted {
        /// For whom.
        to: NodeId,
        /// Its end.
        index: LogIndex,
    },
    /// `advance_apply` passed a change of membership that was not applied.
    #[error("index {reported} was reported applied, but the change of membership at {change} was not applied")]
    ChangeNotApplied {
        /// The change.
        change: LogIndex,
        /// The index reported.
        reported: LogIndex,
    },
    /// `apply_membership_change` was given an entry that is no change, or is not next.
    #[error("entry {index} is not the next change of membership to apply")]
    NotAChange {
        /// The entry.
        index: LogIndex,
    },
    /// The leader cannot be handed to this node.
    #[error("leadership cannot be given to node {to}: it is no voter of the group")]
    TransferTarget {
        /// The node named.
        to: NodeId,
    },
    /// Only a leader can do this.
    #[error("this replica does not lead its group{}", Leader(*leader))]
    NotLeader {
        /// The leader, if one is known.
        leader: Option<NodeId>,
    },
}

/// Why a proposal was not appended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Only the leader appends.
    #[error("this replica does not lead its group{}", Leader(*leader))]
    NotLeader {
        /// The leader, if one is known.
        leader: Option<NodeId>,
    },
    /// The entry alone is above [`crate::Config::max_uncommitted_bytes`]; it will never fit.
    #[error("an entry of {size} bytes is above the limit of {limit}")]
    EntryTooLarge {
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// Too much waits for commit; it fits later.
    #[error("{uncommitted} bytes of entries wait for commit; {size} more would pass the limit of {limit}")]
    TooManyUncommittedBytes {
        /// Bytes that wait.
        uncommitted: usize,
        /// Size of the entry in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// Leadership is being handed over; where to propose is known soon.
    #[error("this replica is handing its leadership to node {to}")]
    Transferring {
        /// To whom.
        to: NodeId,
    },
    /// A change of membership waits for an entry to be applied: one change at a time, and none before an entry of the
    /// leader's own term is committed.
    #[error("no change of membership is possible before entry {index} is applied")]
    ChangePending {
        /// The entry.
        index: LogIndex,
    },
    /// The change cannot follow the present membership.
    #[error(transparent)]
    InvalidChange(#[from] ChangeError),
}

/// Why a read got no index.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Only the leader gives indexes.
    #[error("this replica does not lead its group{}", Leader(*leader))]
    NotLeader {
        /// The leader, if one is known.
        leader: Option<NodeId>,
    },
    /// The context is not above every earlier one.
    #[error("read context {context} was given after {last}; every attempt takes a higher one")]
    StaleContext {
        /// The context given.
        context: ReadContext,
        /// The highest before it.
        last: ReadContext,
    },
    /// [`crate::Config::max_pending_reads`] reads wait already.
    #[error("{limit} reads wait for their index already")]
    TooManyPending {
        /// The limit.
        limit: usize,
    },
}

/// Why a message was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// It belongs to another group.
    #[error("a message for group {got} reached group {group}")]
    WrongGroup {
        /// This group.
        group: GroupId,
        /// The message's.
        got: GroupId,
    },
    /// It is addressed to another node.
    #[error("a message for node {got} reached node {id}")]
    WrongNode {
        /// This node.
        id: NodeId,
        /// The message's addressee.
        got: NodeId,
    },
    /// Its sender is this node itself, or nobody.
    #[error("a message for group {group} claims to come from node {from}, which cannot be")]
    WrongSender {
        /// The group.
        group: GroupId,
        /// The sender.
        from: NodeId,
    },
    /// Two nodes lead in one term.
    #[error("group {group}: node {from} leads in term {term}, in which another node leads")]
    TwoLeaders {
        /// The group.
        group: GroupId,
        /// The term.
        term: Term,
        /// The second leader.
        from: NodeId,
    },
    /// An append's entries do not follow one another.
    #[error("group {group}: node {from} sent entry {index} out of order")]
    MalformedAppend {
        /// The group.
        group: GroupId,
        /// The sender.
        from: NodeId,
        /// The first entry that does not follow.
        index: LogIndex,
    },
    /// A snapshot's membership contradicts itself.
    #[error("group {group}: the snapshot that ends at {index}, of node {from}, has no valid membership")]
    MalformedSnapshot {
        /// The group.
        group: GroupId,
        /// The sender.
        from: NodeId,
        /// The snapshot's end.
        index: LogIndex,
    },
    /// The leader's log differs from what is committed here.
    #[error("group {group}: node {from} sent another entry {index} than the one that is committed here")]
    CommittedConflict {
        /// The group.
        group: GroupId,
        /// The sender.
        from: NodeId,
        /// The entry.
        index: LogIndex,
    },
}

/// An invariant that does not hold: a defect of this crate or of its driver. The node must stop.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("raft invariant broken: {0}")]
pub struct InvariantViolation(pub String);

/// Shows a leader hint at the end of a sentence, or nothing.
struct Leader(Option<NodeId>);

impl std::fmt::Display for Leader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(leader) => write!(f, "; node {leader} does"),
            None => f.write_str(" and knows no leader"),
        }
    }
}
