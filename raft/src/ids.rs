//! Names and numbers of the protocol, each a type of its own. Nothing else lives here.

use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A node of the cluster; never reused for another machine or another disk.
    NodeId(u64)
}
number! {
    /// A Raft term; 0 before the first election. At most one node leads in a term.
    Term(u64)
}
number! {
    /// Position of an entry in a group's log, from 1; 0 stands for "before the first entry".
    LogIndex(u64)
}
number! {
    /// A Raft group. Meta, user shards and shared shards are numbered by the server.
    GroupId(u32)
}
number! {
    /// Names one attempt of a linearizable read; every attempt takes a higher one (an answer to an older attempt can
    /// then never be taken for this one's).
    ReadContext(u64)
}
number! {
    /// Number of a round of heartbeats by which a leader confirms reads, from 1 in each of its terms.
    ReadRound(u64)
}
number! {
    /// Number of a [`crate::Ready`] in this node's life, from 1.
    ReadyNumber(u64)
}

impl Term {
    /// The term after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl LogIndex {
    /// The index after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The index before this one; 0 stays 0.
    #[must_use]
    pub const fn prev(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}
