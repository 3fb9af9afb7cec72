//! Messages between the replicas of one group. Values only: how they look on a wire is `net`'s.

use crate::entry::Entry;
use crate::ids::{GroupId, LogIndex, NodeId, ReadContext, ReadRound, Term};
use crate::membership::Membership;

/// One message of one replica to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The group; checked, so that a message can never reach another group's state.
    pub group: GroupId,
    /// The sender.
    pub from: NodeId,
    /// The addressee.
    pub to: NodeId,
    /// The sender's term. Of a pre-vote, and of one that is granted, the term of the election that it is about.
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
        /// The newest round of reads that this leader has begun in its term; 0 for none.
        round: ReadRound,
    },
    /// Answer to a heartbeat, in the heartbeat's term: this replica, and not only its node, follows the sender in that term.
    HeartbeatResponse {
        /// The round that the heartbeat carried.
        round: ReadRound,
    },
    /// The whole of a snapshot has reached the addressee's driver, which hands this over as its last part.
    Snapshot(SnapshotMeta),
    /// The sender holds nothing, not even a membership: entries do not help it, a snapshot does.
    SnapshotWanted,
    /// A follower asks for a read index.
    ReadIndex {
        /// The asker's life ([`crate::Config::random_seed`]).
        life: u64,
        /// The asker's context, fresh per attempt.
        context: ReadContext,
    },
    /// The leader's answer to it.
    ReadIndexResponse {
        /// The life that asked.
        life: u64,
        /// The context asked with.
        context: ReadContext,
        /// Serve the read once this is applied; `None` when the asked replica does not lead.
        index: Option<LogIndex>,
    },
    /// This entry is committed. Said where a vote was refused: who asked may have to apply a change of membership first, and
    /// who refused may have one to apply. A fact in any term.
    Committed {
        /// The sender's commit index.
        index: LogIndex,
        /// That entry's term.
        index_term: Term,
    },
    /// Campaign at once: the leader hands over.
    TimeoutNow,
    /// The sender knows no leader and may not ask for votes (a learner that started in a sleeping group): whoever leads, show
    /// yourself. It says nothing else; it wakes like any message.
    Wake,
    /// The leader falls asleep, and so does who holds all of its log: everything up to `index` is committed and held by all
    /// who are up.
    Hibernate {
        /// The leader's last index.
        index: LogIndex,
    },
}

impl MessageKind {
    /// Its name in traces and scripts.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::PreVote { .. } => "pre_vote",
            Self::PreVoteResponse { .. } => "pre_vote_response",
            Self::Vote { .. } => "vote",
            Self::VoteResponse { .. } => "vote_response",
            Self::Append { .. } => "append",
            Self::AppendResponse { .. } => "append_response",
            Self::Heartbeat { .. } => "heartbeat",
            Self::HeartbeatResponse { .. } => "heartbeat_response",
            Self::Snapshot(_) => "snapshot",
            Self::SnapshotWanted => "snapshot_wanted",
            Self::ReadIndex { .. } => "read_index",
            Self::ReadIndexResponse { .. } => "read_index_response",
            Self::Committed { .. } => "committed",
            Self::TimeoutNow => "timeout_now",
            Self::Wake => "wake",
            Self::Hibernate { .. } => "hibernate",
        }
    }
}

/// What a snapshot contains, without its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotMeta {
    /// The last entry that it covers.
    pub index: LogIndex,
    /// That entry's term.
    pub term: Term,
    /// The membership at that entry.
    pub membership: Membership,
}
