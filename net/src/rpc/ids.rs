//! Names and numbers that the node RPC carries, each a type of its own. The crates above have theirs of the same meaning; who
//! joins them (the server) converts.

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
    /// A cluster; see [`crate::rpc::ClusterSecret::cluster_of`].
    ClusterId(u128)
}
number! {
    /// A node of the cluster; 0 is reserved.
    NodeId(u64)
}
number! {
    /// What a node remembers with: the identity of its data folder, drawn when the folder is made. The same after every restart, and
    /// another one once the folder was lost.
    Incarnation(u64)
}
number! {
    /// A Raft group.
    GroupId(u32)
}
number! {
    /// A Raft term.
    Term(u64)
}
number! {
    /// Position of an entry in a group's log, from 1.
    LogIndex(u64)
}
number! {
    /// Names a call on its connection, and in all the life of its [`crate::rpc::Peer`].
    CallId(u64)
}
number! {
    /// What a call asks for; its meaning is the server's.
    CallKind(u16)
}
