//! The promises of a group's state, as commands in and outcomes out, on the in-process backend.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod alter;
mod catalog;
mod cluster;
mod conflicts;
mod definitions;
mod indexes;
mod logins;
mod replay;
mod requests;
mod sequences;
mod serializable;
mod streams;
mod transactions;
mod views;
mod writes;
