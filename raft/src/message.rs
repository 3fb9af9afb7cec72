//! Messages between the replicas of one group. Values only: how they look on a wire is `net`'s.

use crate::entry::Entry;
use crate::ids::{GroupId, LogIndex, NodeId, ReadContext, Term};

/// One message of one replica to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The group; checked, so that a message can never reach another group's state.
    pub group: GroupId,
    /// The sender.
    pub from: NodeId,
    /// The addressee.
    pub to: NodeId,
    /// The sender's term. Of a pre-vote, the term that it would campaign in.
    pub term: Term,
    /// What it says.
    pub kind: MessageKind,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// Would you vote for me?
    PreVote {
        /// The asker's last index.
        last_index: LogIndex,
        /// That entry's term.
        last_term: Term,
    },
    /// Answer to a pre-vote.
    PreVoteResponse {
        /// Whether it would.
        granted: bool,
    },
    /// Vote for me.
    Vote {
        /// The asker's last index.
        last_index: LogIndex,
        /// That entry's term.
        last_term: Term,
        /// The old leader asked for this election: a live leader is no reason to refuse.
        transfer: bool,
    },
    /// Answer to a request for a vote; sent only once the vote is durable.
    VoteResponse {
        /// Whether the vote was given.
        granted: bool,
    },
    /// Entries to append after `prev_index`.
    Append {
        /// The index before the first entry.
        prev_index: LogIndex,
        /// That entry's term.
        prev_term: Term,
        /// Consecutive entries; none probes.
        entries: Vec<Entry>,
        /// The leader's commit index.
        commit: LogIndex,
    },
    /// Answer to an append; an acceptance is sent only once the entries are durable.
    AppendResponse {
        /// Accepted: the last index now equal to the leader's. Refused: the `prev_index` that did not match.
        index: LogIndex,
        /// Refused: where the leader should probe next, with the term there.
        reject_hint: Option<(LogIndex, Term)>,
    },
    /// The leader is alive.
    Heartbeat {
        /// The leader's commit index, no higher than what the addressee has acknowledged.
        commit: LogIndex,
        /// The newest read that waits for a quorum.
        read: Option<ReadContext>,
    },
    /// Answer to a heartbeat, in the heartbeat's term.
    HeartbeatResponse {
        /// The read that the heartbeat carried.
        read: Option<ReadContext>,
    },
    /// The leader's log no longer holds what the addressee needs: a snapshot is prepared outside, this announces it.
    Snapshot(SnapshotMeta),
    /// A follower asks for a read index.
    ReadIndex {
        /// The follower's context, fresh per attempt.
        context: ReadContext,
    },
    /// The leader's answer to it.
    ReadIndexResponse {
        /// The context asked with.
        context: ReadContext,
        /// Serve the read once this is applied.
        index: LogIndex,
    },
    /// Campaign at once: the leader hands over.
    TimeoutNow,
}

/// What a snapshot contains, without its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotMeta {
    /// The last entry that it covers.
    pub index: LogIndex,
    /// That entry's term.
    pub term: Term,
    /// Voters at that entry.
    pub voters: Vec<NodeId>,
    /// Learners at that entry.
    pub learners: Vec<NodeId>,
}
