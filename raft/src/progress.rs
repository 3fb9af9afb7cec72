//! What a leader knows of one other member: how far its log agrees, and what is on its way.
//!
//! Invariants: `matched < next`; what is in flight lies in `(matched, next)` and within the window's limits, one message
//! always allowed. A member in `Probe` is sent one append at a time, until an answer shows where the logs agree; in
//! `Replicate` as many as the window takes, without waiting for answers; in `Snapshot` none.

use std::collections::VecDeque;

use crate::ids::{LogIndex, NodeId, ReadRound};

/// How entries are sent to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgressState {
    /// One at a time: where the logs agree is not known.
    Probe,
    /// Pipelined.
    Replicate,
    /// A snapshot is being made or is on its way; its last index, once it is known.
    Snapshot(Option<LogIndex>),
}

impl ProgressState {
    /// Its name in traces and scripts.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Probe => "probe",
            Self::Replicate => "replicate",
            Self::Snapshot(_) => "snapshot",
        }
    }
}

/// What a status page shows of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// The member.
    pub id: NodeId,
    /// How entries are sent to it.
    pub state: ProgressState,
    /// It holds the leader's log durably up to here.
    pub matched: LogIndex,
    /// What is sent to it next.
    pub next: LogIndex,
    /// Appends on their way.
    pub inflight: usize,
    /// Whether it was heard of since the leader last counted.
    pub recently_active: bool,
}

/// One other member, as the leader sees it.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) id: NodeId,
    pub(crate) matched: LogIndex,
    pub(crate) next: LogIndex,
    pub(crate) state: ProgressState,
    /// Probe: one is on its way and nothing was heard since.
    pub(crate) probe_sent: bool,
    /// An empty append is to be sent although the window may be full: its refusal shows that messages were lost.
    pub(crate) nudge: bool,
    pub(crate) recent_active: bool,
    pub(crate) inflights: Inflights,
    /// Highest commit index told.
    pub(crate) commit_sent: LogIndex,
    /// Entries from here on are being read from storage.
    pub(crate) reading: Option<LogIndex>,
    /// Highest round of reads that it confirmed.
    pub(crate) round: ReadRound,
}

impl Peer {
    pub(crate) fn new(id: NodeId, next: LogIndex) -> Self {
        Self {
            id,
            matched: LogIndex(0),
            next,
            state: ProgressState::Probe,
            probe_sent: false,
            nudge: false,
            // A new member is given the time of one count to show itself.
            recent_active: true,
            inflights: Inflights::default(),
            commit_sent: LogIndex(0),
            reading: None,
            round: ReadRound(0),
        }
    }

    pub(crate) fn become_probe(&mut self, next: LogIndex) {
        self.enter(ProgressState::Probe, next.max(self.matched.next()));
    }

    pub(crate) fn become_replicate(&mut self) {
        self.enter(ProgressState::Replicate, self.matched.next());
    }

    pub(crate) fn become_snapshot(&mut self) {
        self.enter(ProgressState::Snapshot(None), self.matched.next());
    }

    fn enter(&mut self, state: ProgressState, next: LogIndex) {
        self.state = state;
        self.next = next;
        self.probe_sent = false;
        self.nudge = false;
        self.reading = None;
        self.inflights = Inflights::default();
    }

    /// Whether a leader whose log ends at `last` has something for it now: entries, or that everything up to `commit` is committed, if that
    /// alone is worth a message.
    pub(crate) fn is_due(&self, last: LogIndex, commit: Option<LogIndex>, limits: Window) -> bool {
        match self.state {
            ProgressState::Probe => !self.probe_sent && self.reading.is_none(),
            ProgressState::Snapshot(_) => false,
            ProgressState::Replicate => {
                self.nudge
                    || (!self.inflights.is_full(limits)
                        && self.reading.is_none()
                        && (self.next <= last || commit.is_some_and(|commit| self.commit_sent < commit)))
            }
        }
    }

    /// Its log agrees up to `index`. Whether that is new.
    pub(crate) fn agrees_up_to(&mut self, index: LogIndex) -> bool {
        self.next = self.next.max(index.next());
        if index <= self.matched {
            return false;
        }
        self.matched = index;
        true
    }
}

/// The limits of a window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

/// Appends on their way to one member, oldest first: the last index of each, and its bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inflights {
    sent: VecDeque<(LogIndex, usize)>,
    bytes: usize,
}

impl Inflights {
    pub(crate) fn is_full(&self, limits: Window) -> bool {
        self.sent.len() >= limits.messages || self.bytes >= limits.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.sent.len()
    }

    /// Keeps no more memory than it needs.
    pub(crate) fn shrink(&mut self) {
        self.sent.shrink_to_fit();
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn add(&mut self, last: LogIndex, bytes: usize) {
        self.sent.push_back((last, bytes));
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Everything up to `index` has arrived.
    pub(crate) fn free_up_to(&mut self, index: LogIndex) {
        while let Some((_, bytes)) = self.sent.pop_front_if(|(last, _)| *last <= index) {
            self.bytes = self.bytes.saturating_sub(bytes);
        }
    }

    /// First and last index on the way, if any.
    pub(crate) fn ends(&self) -> Option<(LogIndex, LogIndex)> {
        Some((self.sent.front()?.0, self.sent.back()?.0))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    #[test]
    fn a_window_is_full_by_messages_or_by_bytes_and_takes_one_message_always() {
        let limits = Window { messages: 2, bytes: 10 };
        let mut window = Inflights::default();
        assert!(!window.is_full(limits));
        window.add(LogIndex(3), 100);
        assert!(window.is_full(limits), "by bytes");
        window.free_up_to(LogIndex(2));
        assert!(window.is_full(limits));
        window.free_up_to(LogIndex(3));
        assert_eq!((window.len(), window.bytes()), (0, 0));
        window.add(LogIndex(4), 1);
        window.add(LogIndex(5), 1);
        assert!(window.is_full(limits), "by messages");
        assert_eq!(window.ends(), Some((LogIndex(4), LogIndex(5))));
        window.free_up_to(LogIndex(9));
        assert!(!window.is_full(limits));
    }

    #[test]
    fn a_member_that_changes_state_starts_with_an_empty_window_after_what_is_known() {
        let mut peer = Peer::new(NodeId(2), LogIndex(9));
        assert!(peer.agrees_up_to(LogIndex(5)));
        assert!(!peer.agrees_up_to(LogIndex(4)));
        peer.become_replicate();
        assert_eq!(peer.next, LogIndex(6));
        peer.inflights.add(LogIndex(8), 3);
        peer.next = LogIndex(9);
        peer.become_probe(LogIndex(2));
        assert_eq!((peer.next, peer.inflights.len()), (LogIndex(6), 0), "never below what agrees");
    }
}
