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

mod audit;
mod authentication;
mod book;
mod catching_up;
mod changes;
mod cluster;
mod contract;
mod definitions;
mod ended_rights;
mod forwarding;
mod http_edge;
mod http_limits;
mod membership;
mod metrics;
mod placement;
mod ports;
mod pressure;
mod queries;
mod rights;
mod running;
mod start_and_stop;
mod statements;
mod transactions;
mod trio;
