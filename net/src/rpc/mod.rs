//! # What nodes say to one another
//!
//! Owns the protocol between nodes: [frames](frame), the [handshake], the payloads ([messages](message) of Raft groups,
//! [chunks](chunk) of snapshots, [pings](ping), [calls](call)), and the connections that carry them: [`Peer`] on the side that
//! connects, [`RpcListener`] with the server's [`Handler`] on the other. What decides is pure; what moves bytes is short.
//!
//! ```text
//!  one connection per (node, core here, core there, lane); what answers goes back on it, all else on the other node's own
//!      Peer      ---- pings, messages, chunks, requests --->     RpcListener, Handler
//!                <--- pongs, responses ---------------------
//! ```
//!
//! Must never: know what a message or a call means, lose a call in silence, or hold more than [`Limits`] say, whatever the
//! other side does.

mod answers;
mod backoff;
pub mod call;
pub mod chunk;
mod counters;
mod error;
mod fields;
pub mod frame;
mod framed;
mod greeting;
mod handler;
pub mod handshake;
pub mod hello;
mod ids;
mod limits;
mod listener;
pub mod message;
mod message_codec;
mod outgoing;
mod peer;
pub mod ping;
mod secret;
mod security;
mod serving;
mod signal;

pub use backoff::Backoff;
pub use call::{Answer, Refusal, RefusalCode};
pub use chunk::SnapshotChunk;
pub use counters::{ListenerCounters, PeerCounters};
pub use error::{CallError, Dropped, NotSent, RpcError, Unknown};
pub use fields::Malformed;
pub use handler::{Handler, IncomingCall};
pub use handshake::{HandshakeError, Link, LocalNode, Target};
pub use hello::{Lane, Refused, RefusedReason, Versions};
pub use ids::{CallId, CallKind, ClusterId, GroupId, Incarnation, LogIndex, NodeId, Term};
pub use limits::{
    Limits, MAX_CALL_MICROS, MAX_FRAME_BYTES, MAX_HANDSHAKE_BYTES, MAX_MEMBERSHIP_BYTES, MAX_MESSAGES, MAX_REFUSAL_TEXT,
};
pub use listener::{ListenerConfig, RpcListener};
pub use message::{EntryKind, GroupMessage, MessageBody, WireEntry};
pub use message_codec::{BATCH_HEADER_BYTES, decode_messages, encode_messages};
pub use outgoing::QueueDepth;
pub use peer::{Peer, PeerConfig, PeerStatus};
pub use ping::{Ping, Pong};
pub use secret::{ClusterSecret, MIN_SECRET_BYTES, SecretTooShort};
pub use security::{MutualTls, Security, TlsSettings};
