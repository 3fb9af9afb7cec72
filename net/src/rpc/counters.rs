//! What is counted, for metrics. All of them only rise.

/// Of one [`super::Peer`], over all its connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerCounters {
    /// Attempts to connect.
    pub attempts: u64,
    /// Attempts that ended in a link; all but the first are reconnects.
    pub links: u64,
    /// Attempts or links that ended because the peer spoke against the protocol or could not prove itself.
    pub violations: u64,
    /// Bytes written.
    pub bytes_sent: u64,
    /// Bytes read.
    pub bytes_received: u64,
    /// Frames written.
    pub frames_sent: u64,
    /// Frames read.
    pub frames_received: u64,
    /// Writes to the stream; messages per write show how well they are coalesced.
    pub writes: u64,
    /// Group messages sent.
    pub messages_sent: u64,
    /// Group messages dropped because as many, or as many bytes, waited as may.
    pub dropped_full: u64,
    /// Group messages dropped because the peer is not reachable.
    pub dropped_unreachable: u64,
    /// Group messages dropped because they do not fit a frame of the peer's.
    pub dropped_too_large: u64,
    /// Calls begun, chunks included.
    pub calls: u64,
    /// Calls that were certainly not begun by the peer.
    pub calls_not_sent: u64,
    /// Calls of which it is unknown whether the peer did them.
    pub calls_unknown: u64,
    /// Answers that nobody waited for any more.
    pub late_answers: u64,
}

/// Of one listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListenerCounters {
    /// Connections taken from the system.
    pub accepted: u64,
    /// Of them: closed during their handshake, the oldest first, because too many were under way.
    pub evicted_half_open: u64,
    /// Of them: closed at once because there were too many connections.
    pub refused_connections: u64,
    /// Of them: closed because the handshake failed or took too long.
    pub failed_handshakes: u64,
    /// Links.
    pub links: u64,
    /// Links that a newer one of the same node, cores and lane has replaced.
    pub replaced: u64,
    /// Links that ended because the peer spoke against the protocol.
    pub violations: u64,
    /// Links that ended because the peer was silent, or did not read.
    pub timeouts: u64,
    /// Frames read.
    pub frames_received: u64,
    /// Bytes read.
    pub bytes_received: u64,
    /// Bytes written.
    pub bytes_sent: u64,
    /// Group messages handed over.
    pub messages_received: u64,
    /// Calls handed over, chunks included.
    pub calls: u64,
    /// Calls refused because as many as may were at work.
    pub calls_busy: u64,
    /// Answers that were replaced by a refusal, as they did not fit.
    pub answers_lost: u64,
}
