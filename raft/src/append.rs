//! A follower's log: section 5.3 of the Raft paper. It agrees with the leader's up to the index of an accepted append; what
//! differs above is replaced, what is committed never is.

use crate::entry::Entry;
use crate::error::StepError;
use crate::ids::{LogIndex, NodeId, ReadRound, Term};
use crate::message::MessageKind;
use crate::node::RawNode;

impl RawNode {
    pub(crate) fn take_append(
        &mut self,
        from: NodeId,
        prev_index: LogIndex,
        prev_term: Term,
        mut entries: Vec<Entry>,
        commit: LogIndex,
    ) -> Result<(), StepError> {
        if self.membership.is_empty() && self.log.installing().is_none() && !self.mutant(63) {
            // The first membership is in no entry: entries alone would make a replica that knows no group.
            self.send(from, MessageKind::SnapshotWanted);
            return Ok(());
        }
        let malformed = |index| Err(StepError::MalformedAppend { group: self.group, from, index });
        let mut before = (prev_index, prev_term);
        for entry in &entries {
            if entry.index != before.0.next() || entry.term < before.1 || entry.term > self.term {
                return malformed(entry.index);
            }
            before = (entry.index, entry.term);
        }
        let (known, last_new) = (self.log.commit(), before.0);
        let mut prev = (prev_index, prev_term);
        if prev_index < known && self.mutant(8) {
            self.truncate_after(last_new.min(self.log.last()));
        } else if prev_index < known {
            // The leader holds everything that is committed, and so nothing up to there can differ.
            let skipped = entries.partition_point(|entry| entry.index <= known);
            if let Some(entry) = entries.drain(..skipped).next_back() {
                prev = (entry.index, entry.term);
            }
            if last_new <= known {
                self.send_when_held(from, known, MessageKind::AppendResponse { index: known, reject_hint: None });
                return Ok(());
            }
        }
        let agrees = prev.0 == known || self.log.term(prev.0) == Some(prev.1);
        if !agrees {
            let hint = self.log.last_at_most(prev_index.min(self.log.last()), prev_term).max(known);
            let hint_term = self.log.term(hint).unwrap_or_default();
            let kind = MessageKind::AppendResponse { index: prev_index, reject_hint: Some((hint, hint_term)) };
            self.send(from, kind);
            return Ok(());
        }
        let new = entries.iter().position(|entry| self.log.term(entry.index) != Some(entry.term));
        if self.mutant(7) && self.log.last() > last_new {
            self.truncate_after(last_new);
        }
        if let Some(new) = new.and_then(|new| entries.get(new).map(|entry| (new, entry.index))) {
            let (at, first) = new;
            if first <= self.log.last() {
                if first <= known {
                    return Err(StepError::CommittedConflict { group: self.group, from, index: first });
                }
                self.truncate_after(first.prev());
            }
            for entry in entries.drain(at..) {
                self.log.push(entry);
            }
        }
        let commit = if self.mutant(64) { commit.min(self.log.last()) } else { commit.min(last_new) };
        self.commit_to(commit);
        self.send_when_held(from, last_new, MessageKind::AppendResponse { index: last_new, reject_hint: None });
        Ok(())
    }

    pub(crate) fn take_heartbeat(&mut self, from: NodeId, commit: LogIndex, round: ReadRound) {
        self.commit_to(commit.min(self.log.last()));
        self.send(from, MessageKind::HeartbeatResponse { round });
    }

    /// Drops the entries above `index`. Writes of them that are under way make nothing durable that is still wanted, and
    /// nobody may claim those that were never given.
    pub(crate) fn truncate_after(&mut self, index: LogIndex) {
        self.log.truncate_after(index);
        self.work.outbox.forget_claims_above(index);
        if !self.mutant(65) {
            for write in &mut self.work.in_flight {
                write.last = write.last.min(index);
            }
        }
        self.traced("truncate");
    }
}
