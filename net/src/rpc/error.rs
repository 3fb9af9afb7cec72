//! What can go wrong between nodes.

use std::io;
use std::net::SocketAddr;

use super::call::Refusal;
use super::fields::Malformed;
use super::frame::{FrameError, FrameKind};
use super::handshake::HandshakeError;

/// Why a connection could not be made or has ended, or why nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum RpcError {
    /// Plain connections stay on the machine.
    #[error(
        "the RPC address {0} is not a loopback address, and node RPC there needs mutual TLS: give a certificate, its key and the cluster's CA, or use a loopback address"
    )]
    TlsNeeded(SocketAddr),
    /// The certificates cannot be used.
    #[error("the TLS settings of node RPC cannot be used: {0}")]
    TlsSettings(String),
    /// The stream broke.
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    /// The peer has closed the connection, between two frames or within one.
    #[error("the peer closed the connection")]
    Ended,
    /// Something took too long.
    #[error("{0} took too long")]
    Timeout(&'static str),
    /// What came is no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// What came is a frame whose payload makes no sense.
    #[error("a frame of kind {kind:?} was malformed: {cause}")]
    Malformed {
        /// The frame's kind.
        kind: FrameKind,
        /// What is wrong with it.
        cause: Malformed,
    },
    /// A frame that does not belong here.
    #[error("a frame of kind {0:?} came where it does not belong")]
    Unexpected(FrameKind),
    /// The handshake failed.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// The limits contradict one another.
    #[error("the limits of node RPC cannot be used: {0}")]
    Limits(&'static str),
}

impl RpcError {
    /// Whether the other side has spoken against the protocol, as opposed to having gone away.
    #[must_use]
    pub const fn is_violation(&self) -> bool {
        match self {
            Self::Frame(_) | Self::Malformed { .. } | Self::Unexpected(_) | Self::Handshake(_) => true,
            Self::TlsNeeded(_) | Self::TlsSettings(_) | Self::Io(_) | Self::Ended => false,
            Self::Timeout(_) | Self::Limits(_) => false,
        }
    }
}

/// Why a group message was dropped. Raft sends again; the sender may take it as a hint that the peer is not reachable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Dropped {
    /// As many, or as many bytes, wait already as may.
    #[error("the queue to the peer is full")]
    Full,
    /// The last attempt to reach the peer failed.
    #[error("the peer is not reachable")]
    Unreachable,
    /// It does not fit a frame.
    #[error("the message has {bytes} bytes, a frame takes {limit}")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
}

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The peer has certainly not begun it.
    #[error("the call was not sent: {0}")]
    NotSent(NotSent),
    /// It was sent, and whether the peer did it is unknown.
    #[error("whether the peer did what was asked is unknown: {0}")]
    Unknown(Unknown),
    /// The peer's own answer is a refusal.
    #[error("the peer refused the call: {}", .0.text)]
    Refused(Refusal),
}

/// Why a call was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSent {
    /// As many, or as many bytes, wait already as may.
    #[error("too many calls wait for this peer")]
    Full,
    /// The last attempt to reach the peer failed.
    #[error("the peer is not reachable")]
    Unreachable,
    /// The caller's time was over before it could be sent.
    #[error("its time was over")]
    Expired,
    /// It does not fit a frame.
    #[error("it is larger than a frame")]
    TooLarge,
    /// The connection was stopped on this side.
    #[error("this node is leaving the connection")]
    Stopped,
}

/// Why the outcome of a call is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    /// No answer came in time.
    #[error("no answer came in time")]
    Expired,
    /// The connection ended before the answer came.
    #[error("the connection ended before the answer came")]
    Disconnected,
    /// The peer could not send its answer.
    #[error("the peer could not send its answer")]
    AnswerLost,
}
