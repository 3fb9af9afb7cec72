//! The node RPC over the in-process network, in virtual time: what peers may do to one another, honest or not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod cluster;
mod codecs;
mod handshakes;
mod hostile;
mod links;
