//! What is logged and remembered: entries, the hard state, and the role that is only shown.

use bytes::Bytes;

use crate::ids::{LogIndex, NodeId, Term};

/// What an entry is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A command of the state machine above; `data` is its encoding, which this crate does not look into.
    Normal,
    /// A change of membership; `data` is a [`crate::MembershipChange`], encoded.
    ConfChange,
    /// The empty entry that opens a leader's term. It has no data and no effect, but is applied (as nothing) like any other.
    Noop,
}

impl EntryKind {
    /// A byte for storage and wires: 0 normal, 1 change of membership, 2 no-op. Never changes.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Normal => 0,
            Self::ConfChange => 1,
            Self::Noop => 2,
        }
    }

    /// The kind of a byte; `None` for any other byte.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Normal),
            1 => Some(Self::ConfChange),
            2 => Some(Self::Noop),
            _ => None,
        }
    }
}

/// One entry of a group's log. Equal index and term mean equal content, on every replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its position.
    pub index: LogIndex,
    /// The term of the leader that appended it.
    pub term: Term,
    /// What it is for.
    pub kind: EntryKind,
    /// Its content; empty for [`EntryKind::Noop`].
    pub data: Bytes,
}

impl Entry {
    /// Bytes of content, the unit of every byte limit of this crate.
    #[must_use]
    pub fn size(&self) -> usize {
        self.data.len()
    }
}

/// What a replica must find again after a restart, beside its log.
///
/// Term and vote are durable before anything that depends on them leaves the node. The commit index is a hint that saves
/// work on restart: it may lag behind what was committed, never run ahead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    /// The newest term that this replica has seen.
    pub term: Term,
    /// Whom it voted for in that term.
    pub vote: Option<NodeId>,
    /// Everything up to here is committed.
    pub commit: LogIndex,
}

/// A replica's part in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Follows a leader, or waits for one.
    Follower,
    /// Asks whether an election would be won; its term has not changed yet.
    PreCandidate,
    /// Asks for votes. A sole voter is one until its own vote is durable.
    Candidate,
    /// Leads its term.
    Leader,
}

impl Role {
    /// Its name in traces, status pages and scripts.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Follower => "follower",
            Self::PreCandidate => "pre-candidate",
            Self::Candidate => "candidate",
            Self::Leader => "leader",
        }
    }
}

/// What is worth telling the driver when it changes, and need not be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SoftState {
    /// This replica's part.
    pub role: Role,
    /// The leader of its term, if it knows one.
    pub leader: Option<NodeId>,
}
