//! # Bytes on wires
//!
//! Owns the shape of what travels: HTTP/1.1 on both ends of the runtime's streams ([`http`], [`client`]) and the JSON of
//! every request and answer ([`api`]). It turns bytes into values and values into bytes, with limits.
//! Must never: know what a statement does, open a socket (it is given streams), or read a clock other than the runtime's.

pub mod api;
pub mod client;
pub mod http;
