//! # The other nodes
//!
//! Owns what one node knows of the cluster that it is part of, and its connections to the others: who the members are, the
//! [`links`] that carry messages, calls and snapshots, and the [conversion](convert) between Raft's messages and `net`'s.
//! Must never: decide for a group (that is Raft's), or let a node in that is not the one that the cluster was formed with.

pub(crate) mod convert;
pub(crate) mod links;

pub(crate) use links::Links;
