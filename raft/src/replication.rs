//! A leader's side of replication: what is sent to whom, and what the answers mean. Sections 5.3 and 10.2 of the thesis:
//! appends are pipelined, and do not wait for the leader's own disk.
//!
//! Appends are put together when the driver takes a ready, not when something is proposed: whatever has gathered by then
//! travels in one message.

use crate::entry::{Entry, Role};
use crate::error::RaftError;
use crate::ids::{LogIndex, NodeId, ReadRound, Term};
use crate::message::MessageKind;
use crate::node::RawNode;
use crate::progress::{Peer, ProgressState, Window};
use crate::ready::LogRead;

/// What is to be done for a member that is due.
enum Next {
    Send(LogIndex, Term, Vec<Entry>),
    Read(LogIndex),
    Snapshot,
}

impl RawNode {
    pub(crate) fn peer(&self, node: NodeId) -> Option<&Peer> {
        self.peers.iter().find(|peer| peer.id == node)
    }

    pub(crate) fn peer_mut(&mut self, node: NodeId) -> Option<&mut Peer> {
        self.peers.iter_mut().find(|peer| peer.id == node)
    }

    pub(crate) fn window(&self) -> Window {
        Window { messages: self.limits.max_inflight_messages, bytes: self.limits.max_inflight_bytes }
    }

    /// Whether a ready would send an append.
    pub(crate) fn has_appends(&self) -> bool {
        let (last, news, limits) = (self.log.last(), self.commit_as_news(), self.window());
        self.appends_due && self.peers.iter().any(|peer| peer.is_due(last, news, limits))
    }

    /// The commit index, if it is worth a message of its own. As long as more is on its way to being committed it is not: it goes with
    /// the next entries, or when those are committed, or with a heartbeat. A change of membership is told at once: who leads by it may be
    /// gone when it is applied here.
    fn commit_as_news(&self) -> Option<LogIndex> {
        let commit = self.log.commit();
        (commit == self.log.last() || self.log.change_may_be_unapplied()).then_some(commit)
    }

    /// Sends to every member what it is due.
    pub(crate) fn send_appends(&mut self) {
        if !std::mem::take(&mut self.appends_due) {
            return;
        }
        let (last, commit, limits) = (self.log.last(), self.log.commit(), self.window());
        let news = self.commit_as_news();
        for at in 0..self.peers.len() {
            while let Some(peer) = self.peers.get(at).filter(|peer| peer.is_due(last, news, limits)) {
                let (to, next) = (peer.id, self.next_for(peer));
                self.send_next(at, to, next, commit);
            }
        }
        // What is on its way may be lost, and wanted again; who is not there wants nothing.
        let there = |peer: &&Peer| peer.recent_active && !matches!(peer.state, ProgressState::Snapshot(_));
        let wanted = self.peers.iter().filter(there).map(|peer| peer.matched.next()).min();
        let wanted = wanted.unwrap_or(LogIndex(u64::MAX));
        self.log.keep_from(wanted);
    }

    fn next_for(&self, peer: &Peer) -> Next {
        let prev = peer.next.prev();
        let Some(prev_term) = self.log.term(prev).or_else(|| (prev == LogIndex(0)).then_some(Term(0))) else {
            return Next::Snapshot;
        };
        if peer.next < self.log.first() {
            return Next::Snapshot;
        }
        let full = peer.state == ProgressState::Replicate && (peer.nudge || peer.inflights.is_full(self.window()));
        if full {
            return Next::Send(prev, prev_term, Vec::new());
        }
        match self.log.entries_from(peer.next, self.limits.max_message_bytes) {
            Some(entries) => Next::Send(prev, prev_term, entries),
            None => Next::Read(peer.next),
        }
    }

    fn send_next(&mut self, at: usize, to: NodeId, next: Next, commit: LogIndex) {
        let max_bytes = self.limits.max_message_bytes;
        let (last, log_reads) = (self.log.persisted(), &mut self.work.log_reads);
        let Some(peer) = self.peers.get_mut(at) else { return };
        match next {
            Next::Send(prev_index, prev_term, entries) => self.send_append(to, prev_index, prev_term, entries, commit),
            Next::Read(first) => {
                peer.reading = Some(first);
                log_reads.push(LogRead { to, term: self.term, first, last, max_bytes });
            }
            Next::Snapshot if peer.recent_active => self.want_snapshot(to),
            // Who is not there needs no snapshot yet; it shows itself by answering a heartbeat.
            Next::Snapshot => {
                peer.become_probe(LogIndex(0));
                peer.probe_sent = true;
            }
        }
    }

    fn send_append(
        &mut self,
        to: NodeId,
        prev_index: LogIndex,
        prev_term: Term,
        entries: Vec<Entry>,
        commit: LogIndex,
    ) {
        let Some(peer) = self.peer_mut(to) else { return };
        let bytes = entries.iter().map(|entry| entry.size().max(1)).sum();
        let last = entries.last().map(|entry| entry.index);
        peer.nudge = false;
        peer.commit_sent = commit;
        match peer.state {
            ProgressState::Replicate => {
                if let Some(last) = last {
                    peer.next = last.next();
                    peer.inflights.add(last, bytes);
                }
            }
            ProgressState::Probe | ProgressState::Snapshot(_) => peer.probe_sent = true,
        }
        self.send(to, MessageKind::Append { prev_index, prev_term, entries, commit });
    }

    /// The answer to one of [`crate::Ready::log_reads`]: entries from its first index on, in order, at least one; or none, when
    /// they could not be read (then it is asked for again, later).
    ///
    /// # Errors
    /// [`RaftError::WrongLogRead`] when the entries are not those that were asked for.
    pub fn log_read(&mut self, read: &LogRead, entries: Vec<Entry>) -> Result<(), RaftError> {
        if self.role != Role::Leader || self.term != read.term {
            // Whatever was read then may be another log's by now.
            return Ok(());
        }
        let mut expected = read.first;
        for entry in &entries {
            if entry.index != expected || self.log.term(entry.index).is_some_and(|term| term != entry.term) {
                return Err(RaftError::WrongLogRead { index: entry.index, expected });
            }
            expected = expected.next();
        }
        let commit = self.log.commit();
        let Some(peer) = self.peer_mut(read.to).filter(|peer| peer.reading == Some(read.first)) else { return Ok(()) };
        peer.reading = None;
        let prev = read.first.prev();
        if peer.next != read.first {
            // Answers of the meantime have shown that it lacks less, or more.
        } else if entries.is_empty() {
            // Heard of again, it is tried again.
            let next = peer.next;
            peer.become_probe(next);
            peer.probe_sent = true;
        } else if let Some(prev_term) = self.log.term(prev).or_else(|| (prev == LogIndex(0)).then_some(Term(0))) {
            self.send_append(read.to, prev, prev_term, entries, commit);
        }
        self.appends_due = true;
        self.stepped("log_read");
        Ok(())
    }

    /// Shows every member that the leader is there, and with it the newest round of reads.
    pub(crate) fn send_heartbeats(&mut self) {
        let (commit, round) = (self.log.commit(), self.read_round);
        for at in 0..self.peers.len() {
            let Some(peer) = self.peers.get(at) else { return };
            let (to, told) = (peer.id, if self.mutant(68) { commit } else { commit.min(peer.matched) });
            self.send(to, MessageKind::Heartbeat { commit: told, round });
        }
    }

    pub(crate) fn take_heartbeat_response(&mut self, from: NodeId, round: ReadRound) {
        let (last, stuck) = (self.log.last(), self.mutant(49));
        let newest = if self.mutant(22) { self.read_round } else { round };
        let limits = self.window();
        let Some(peer) = self.peer_mut(from) else { return };
        peer.recent_active = true;
        peer.probe_sent = false;
        peer.round = peer.round.max(newest);
        // An append or its answer may have been lost: one more shows it, by its refusal.
        peer.nudge =
            peer.state == ProgressState::Replicate && peer.matched < last && !(stuck && peer.inflights.is_full(limits));
        self.appends_due = true;
        self.confirm_reads();
    }

    pub(crate) fn take_append_response(&mut self, from: NodeId, index: LogIndex, reject: Option<(LogIndex, Term)>) {
        let (first, last) = (self.log.first(), self.log.last());
        let hint = reject.map(|(hint, term)| self.log.last_at_most(hint.min(index), term));
        self.appends_due = true;
        let Some(peer) = self.peer_mut(from) else { return };
        peer.recent_active = true;
        if let Some(hint) = hint {
            peer.refused(index, hint);
            return;
        }
        if index > last {
            return;
        }
        let new = peer.agrees_up_to(index);
        match peer.state {
            ProgressState::Probe if new || index == peer.matched => peer.become_replicate(),
            ProgressState::Probe => {}
            ProgressState::Replicate => peer.inflights.free_up_to(index),
            ProgressState::Snapshot(pending) => {
                let installed = pending.is_some_and(|pending| peer.matched >= pending);
                if installed || peer.matched.next() >= first {
                    peer.become_probe(LogIndex(0));
                }
            }
        }
        if new {
            self.commit_durable();
        }
        self.transfer_to_who_caught_up(from);
    }
}

impl Peer {
    /// It refused an append after `index`; agreement is possible up to `hint`.
    fn refused(&mut self, index: LogIndex, hint: LogIndex) {
        match self.state {
            // An answer older than what is known by now.
            ProgressState::Replicate if index <= self.matched => {}
            ProgressState::Replicate => self.become_probe(self.matched.next()),
            ProgressState::Probe if index != self.next.prev() => {}
            ProgressState::Probe => self.become_probe(index.min(hint.next())),
            ProgressState::Snapshot(_) => {}
        }
    }
}
