//! The daemon: cores, group drivers, routing, reads, auth and front ends.
pub mod auth;
pub mod config;
pub mod node;
