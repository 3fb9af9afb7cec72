//! # The daemon
//!
//! Owns a node from its command line to its sockets: configuration, cores, group drivers, routing, reads, logins and front
//! ends. Everything below `core_part` runs unchanged in simulation; only `daemon`, `dev_cluster`, `lock`, `first_start`, `process` and the
//! loading of the configuration touch the machine directly.
//! Must never: decide what a committed command does (`state`), or answer a write before its log entry is durable.

pub mod audit;
pub mod auth;
pub mod banner;
#[allow(dead_code, unused_imports, reason = "what the group drivers have not taken up yet")]
pub mod cluster;
pub mod config;
pub mod core_part;
pub mod daemon;
pub mod dev_cluster;
pub mod first_start;
pub mod http;
mod huge_pages;
pub mod lock;
pub mod logging;
mod metrics;
#[allow(dead_code, reason = "what the other parts of a cluster have not taken up yet")]
pub mod node;
pub mod process;
pub mod release;
mod signal;
pub mod stop;
