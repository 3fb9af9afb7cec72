//! Every bound of the node RPC in one place: sizes, counts, deadlines.

use super::error::RpcError;

/// Payload of a frame of the handshake, in bytes. Nothing larger is read from a peer that has not proven itself.
pub const MAX_HANDSHAKE_BYTES: u32 = 1024;
/// Payload of any frame, in bytes, whatever the sides agree on.
pub const MAX_FRAME_BYTES: u32 = 64 << 20;
/// Group messages in one frame.
pub const MAX_MESSAGES: usize = 4096;
/// Text of a refusal, in bytes; longer ones are cut.
pub const MAX_REFUSAL_TEXT: usize = 512;
/// Longest time that a call may ask for, in microseconds; longer ones are shortened to it.
pub const MAX_CALL_MICROS: u64 = 600_000_000;
/// Encoded membership in a snapshot's announcement, in bytes.
pub const MAX_MEMBERSHIP_BYTES: usize = 64 << 10;

/// What one side of a connection allows itself and the other. Times are in microseconds.
///
/// Memory of one connection is at most about `2 * frame_bytes + queue_bytes + call_bytes + answer_bytes`, and `MAX_HANDSHAKE_BYTES`
/// (with TLS: and its buffers of some tens of KiB) until its peer has proven itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest payload of a frame that is accepted; told to the peer in the handshake.
    pub frame_bytes: u32,
    /// Group messages that wait to be sent.
    pub queue_messages: usize,
    /// Bytes of them, encoded.
    pub queue_bytes: usize,
    /// Caller's side: calls that wait to be sent. Callee's side, told to the peer in the handshake: calls at work at a time.
    pub calls: u16,
    /// Bytes of the payloads of these calls.
    pub call_bytes: usize,
    /// Bytes of answers that wait to be sent; one answer alone may be as large as a frame.
    pub answer_bytes: usize,
    /// A write is begun with what waits, up to about this many bytes.
    pub burst_bytes: usize,
    /// From the first byte of a connection (or the start of a connect) to the end of the handshake.
    pub handshake_micros: u64,
    /// From the first byte of a frame to its last.
    pub frame_micros: u64,
    /// One write, until the stream has taken all of it.
    pub write_micros: u64,
    /// A connection on which nothing comes for so long is closed. Pings keep it open.
    pub idle_micros: u64,
    /// Time between pings; below a third of `idle_micros`.
    pub ping_micros: u64,
    /// First wait before a reconnect.
    pub backoff_micros: u64,
    /// Longest wait before a reconnect.
    pub backoff_limit_micros: u64,
    /// Per listener: connections whose handshake is under way.
    pub half_open: usize,
    /// Per listener: connections.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame_bytes: 8 << 20,
            queue_messages: 16_384,
            queue_bytes: 16 << 20,
            calls: 1024,
            call_bytes: 16 << 20,
            answer_bytes: 16 << 20,
            burst_bytes: 256 << 10,
            handshake_micros: 3_000_000,
            frame_micros: 10_000_000,
            write_micros: 10_000_000,
            idle_micros: 3_000_000,
            ping_micros: 500_000,
            backoff_micros: 20_000,
            backoff_limit_micros: 1_000_000,
            half_open: 64,
            connections: 1024,
        }
    }
}

impl Limits {
    /// Whether the limits fit together.
    ///
    /// # Errors
    /// [`RpcError::Limits`] names the contradiction.
    pub fn check(&self) -> Result<(), RpcError> {
        let wrong = if self.frame_bytes < MAX_HANDSHAKE_BYTES || self.frame_bytes > MAX_FRAME_BYTES {
            "frame_bytes lies outside 1 KiB..=64 MiB"
        } else if self.ping_micros.saturating_mul(3) > self.idle_micros {
            "ping_micros is more than a third of idle_micros, so that a quiet link would be taken for a dead one"
        } else if self.calls == 0 || self.half_open == 0 || self.connections == 0 {
            "calls, half_open and connections are at least 1"
        } else {
            return Ok(());
        };
        Err(RpcError::Limits(wrong))
    }
}
