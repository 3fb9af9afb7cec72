//! The tool on folders that the engine made: sound ones, damaged copies, and ones in use.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "tests on real folders"
)]

mod damaged;
mod sound;
mod store;
