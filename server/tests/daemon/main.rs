//! Tests of the real `highwaterd`, each on a folder and a port of its own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "tests of a real process on a real folder"
)]

mod authentication;
mod catching_up;
mod cluster;
mod definitions;
mod forwarding;
mod http_edge;
mod membership;
mod metrics;
mod pressure;
mod running;
mod start_and_stop;
mod statements;
mod trio;
