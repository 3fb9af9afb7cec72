//! # Bytes on wires
//!
//! Owns the shape of what travels: HTTP/1.1 on both ends of the runtime's streams ([`http`], [`client`]), the JSON of
//! every request and answer ([`api`]), and what nodes say to one another ([`rpc`]). It turns bytes into values and values into
//! bytes, with limits. Must never: know what a statement or a group does, or reach the outside otherwise than by the runtime.

pub mod api;
pub mod client;
pub mod http;
pub mod rpc;
