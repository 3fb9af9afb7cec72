//! # The other nodes
//!
//! Owns what one node knows of the cluster that it is part of, and its connections to the others: its [place](setup) as the settings
//! have it, the [roll] of members that its folder keeps, how a cluster is [formed](formation) and [joined](join), the [links] that carry messages, calls and
//! snapshots, what [comes in](incoming) on the others' links, the [overview] for people, and the [conversion](convert) between Raft's messages and `net`'s.
//! Must never: decide for a group (that is Raft's), or let a node in that is not the one that the cluster was formed with.

mod clock;
pub(crate) mod convert;
mod error;
mod figures;
mod formation;
mod incoming;
mod introduction;
mod join;
pub(crate) mod links;
mod news;
pub(crate) mod overview;
pub(crate) mod roll;
mod setup;
mod signs;
mod watch;
mod way;

pub use error::{ClusterError, SetupError};
pub(crate) use formation::{Formed, Forming};
pub(crate) use introduction::NOT_READY;
pub(crate) use links::Links;
pub use setup::{ClusterSetup, Lookup, PeerAddress, Resolve};

/// Decodes the bytes of a node's file `cluster` and encodes them again, for tests of the decoder.
///
/// # Errors
/// Why they are no such file.
pub fn reread_roll(bytes: &[u8]) -> Result<Vec<u8>, String> {
    roll::Roll::decode(bytes).map(|roll| roll.encode())
}
