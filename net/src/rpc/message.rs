//! Messages of Raft groups as they travel: many in one frame, for all groups of one core pair.
//!
//! Sender and addressee are those of the connection and are not repeated, so that nobody can speak in another's name; the
//! entries' indexes follow from `prev_index`. The server converts from and to the Raft crate's messages, which this crate does not know.
//! The layout is in `message_codec`.

use bytes::Bytes;

use super::ids::{GroupId, LogIndex, Term};

/// One message of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMessage {
    /// The group.
    pub group: GroupId,
    /// The message's term.
    pub term: Term,
    /// What it says.
    pub body: MessageBody,
}

/// What an entry is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum EntryKind {
    /// A command.
    Normal = 0,
    /// A change of membership.
    ConfChange = 1,
    /// The empty entry that opens a term.
    Noop = 2,
}

/// One entry; its index is one above that of the entry before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireEntry {
    /// Its term.
    pub term: Term,
    /// What it is for.
    pub kind: EntryKind,
    /// Its content. After decoding a slice of the frame that it came in: who keeps a small entry for long copies it.
    pub data: Bytes,
}

/// What a message says; the fields mean what they mean in the Raft crate.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "field by field the Raft crate's messages, where each is explained")]
pub enum MessageBody {
    /// Would you vote for me?
    PreVote { last_index: LogIndex, last_term: Term },
    /// Answer to a pre-vote.
    PreVoteResponse { granted: bool },
    /// Vote for me.
    Vote { last_index: LogIndex, last_term: Term, transfer: bool },
    /// Answer to a request for a vote.
    VoteResponse { granted: bool },
    /// Entries to append after `prev_index`.
    Append { prev_index: LogIndex, prev_term: Term, commit: LogIndex, entries: Vec<WireEntry> },
    /// Answer to an append.
    AppendResponse { index: LogIndex, reject_hint: Option<(LogIndex, Term)> },
    /// The leader is alive.
    Heartbeat { commit: LogIndex, round: u64 },
    /// Answer to a heartbeat.
    HeartbeatResponse { round: u64 },
    /// A snapshot's announcement, behind its last chunk; the membership is encoded by the Raft crate.
    Snapshot { index: LogIndex, term: Term, membership: Bytes },
    /// Only a snapshot helps.
    SnapshotWanted,
    /// A follower asks for a read index.
    ReadIndex { life: u64, context: u64 },
    /// The leader's answer to it.
    ReadIndexResponse { life: u64, context: u64, index: Option<LogIndex> },
    /// This entry is committed.
    Committed { index: LogIndex, index_term: Term },
    /// Campaign at once.
    TimeoutNow,
    /// Whoever leads, show yourself.
    Wake,
    /// The leader falls asleep.
    Hibernate { index: LogIndex },
}
