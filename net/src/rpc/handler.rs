//! What the server does with what comes.

use std::future::Future;

use bytes::Bytes;
use highwater_runtime::Monotonic;

use super::call::{Answer, Refusal, RefusalCode};
use super::chunk::SnapshotChunk;
use super::handshake::Link;
use super::ids::CallKind;
use super::message::GroupMessage;
use super::ping::Ping;

/// A call that has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncomingCall {
    /// What is asked for.
    pub kind: CallKind,
    /// When the caller gives up, on this node's clock.
    pub deadline: Monotonic,
    /// The rest.
    pub payload: Bytes,
}

/// The server's side of incoming connections. Connections land on any core: [`Link::to_core`] says which one is meant.
pub trait Handler: 'static {
    /// Whether this node, which has proven itself, may connect: it is a member, and it has the data folder that it became one with.
    ///
    /// # Errors
    /// Why not, in words that the peer may know.
    fn admit(&self, link: &Link) -> Result<(), String>;

    /// A node is there, in the life that the link names.
    fn opened(&self, link: &Link) {
        let _ = link;
    }

    /// A sign of life.
    fn pinged(&self, link: &Link, ping: &Ping) {
        let _ = (link, ping);
    }

    /// A link has ended.
    fn closed(&self, link: &Link) {
        let _ = link;
    }

    /// Messages, in the order in which they were sent. Nothing more is read from this link until the future ends: who cannot
    /// take more makes the sender wait. Pings are not answered meanwhile either: after the sender's `idle_micros` it takes this node for
    /// dead and connects again.
    fn messages(&self, link: &Link, messages: Vec<GroupMessage>) -> impl Future<Output = ()>;

    /// A call; runs beside the others. The future is dropped when the caller's time is over or the link ends: what must not be torn lives in
    /// a task of its own.
    fn call(&self, link: &Link, call: IncomingCall) -> impl Future<Output = Answer> {
        let _ = link;
        let text = format!("calls of kind {} are not known here", call.kind);
        async move { Err(Refusal::new(RefusalCode::UNKNOWN_KIND, text)) }
    }

    /// A chunk of a snapshot, intact; answered when it is staged.
    fn chunk(&self, link: &Link, chunk: SnapshotChunk) -> impl Future<Output = Answer> {
        let _ = (link, chunk);
        async { Err(Refusal::new(RefusalCode::UNKNOWN_KIND, "this node takes no snapshots")) }
    }
}
