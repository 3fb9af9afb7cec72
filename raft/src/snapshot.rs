//! Snapshots: section 7 of the Raft paper, as far as this crate decides it. Their data never passes through here.
//!
//! The contract with the drivers, from the leader's to the follower's:
//!
//! 1. [`crate::Ready::snapshots_wanted`] names members that need what this leader's log no longer holds. Its driver cuts a
//!    snapshot of the applied state with the membership at that index, and says so with [`RawNode::snapshot_cut`], which gives
//!    the announcing message. If none can be made now, it says [`RawNode::snapshot_failed`].
//! 2. The driver streams the chunks by its own means, each named by (index, term) of the snapshot so that chunks of two are
//!    never mixed, and the announcing message behind the last one.
//! 3. The receiving driver stages the chunks. Only when all of them are there and intact does it hand the message to
//!    [`RawNode::step`].
//! 4. If the replica wants it, the next [`crate::Ready::snapshot`] names it: the driver puts it in the place of the group's
//!    state and log, in one atomic durable step with the ready's hard state. Otherwise nothing names it, and the staged
//!    chunks are dropped, as they are after a restart.
//! 5. The follower's acceptance, sent when the installation is durable, ends the leader's `Snapshot` state. The leader's driver
//!    reports [`RawNode::snapshot_sent`] when the last chunk was accepted, [`RawNode::snapshot_failed`] when it gave up.

use std::rc::Rc;

use crate::entry::Role;
use crate::error::{RaftError, StepError};
use crate::ids::{LogIndex, NodeId};
use crate::message::{Message, MessageKind, SnapshotMeta};
use crate::node::RawNode;
use crate::progress::ProgressState;

impl RawNode {
    /// Puts a member into the state in which only a snapshot helps, and asks the driver for one.
    pub(crate) fn want_snapshot(&mut self, to: NodeId) {
        let Some(peer) = self.peer_mut(to) else { return };
        peer.become_snapshot();
        self.work.snapshots_wanted.push(to);
    }

    pub(crate) fn take_snapshot_wanted(&mut self, from: NodeId) {
        let Some(peer) = self.peer_mut(from) else { return };
        peer.recent_active = true;
        if !matches!(peer.state, ProgressState::Snapshot(_)) {
            self.want_snapshot(from);
        }
    }

    /// The driver has cut a snapshot for `to`. Gives the message that follows its last chunk.
    ///
    /// # Errors
    /// [`RaftError::NotLeader`]; [`RaftError::SnapshotNotWanted`] when `to` wants none by now, the snapshot is above what is
    /// applied here, or its entry's term is another: it is thrown away then.
    pub fn snapshot_cut(&mut self, to: NodeId, meta: SnapshotMeta) -> Result<Message, RaftError> {
        if self.role != Role::Leader {
            return Err(RaftError::NotLeader { leader: self.leader });
        }
        let fits = meta.index <= self.log.applied()
            && self.log.term(meta.index).is_none_or(|term| term == meta.term)
            && meta.index.next() >= self.log.first()
            && !meta.membership.is_empty();
        let (group, from, term) = (self.group, self.id, self.term);
        let wanted = self.peer_mut(to).filter(|peer| peer.state == ProgressState::Snapshot(None) && fits);
        let Some(peer) = wanted else { return Err(RaftError::SnapshotNotWanted { to, index: meta.index }) };
        peer.state = ProgressState::Snapshot(Some(meta.index));
        let message = Message { group, from, to, term, kind: MessageKind::Snapshot(meta) };
        self.trace.message("send", &message);
        self.stepped("snapshot_cut");
        Ok(message)
    }

    /// The snapshot for `to` that ends at `index` has arrived there whole. Its acceptance may still be lost.
    pub fn snapshot_sent(&mut self, to: NodeId, index: LogIndex) {
        let Some(peer) = self.peer_mut(to).filter(|peer| peer.state == ProgressState::Snapshot(Some(index))) else {
            return;
        };
        peer.become_probe(index.next());
        peer.probe_sent = true;
        self.stepped("snapshot_sent");
    }

    /// No snapshot could be made for `to`, or it did not arrive. It is wanted again when `to` is next heard of.
    pub fn snapshot_failed(&mut self, to: NodeId) {
        let Some(peer) = self.peer_mut(to).filter(|peer| matches!(peer.state, ProgressState::Snapshot(_))) else {
            return;
        };
        peer.become_probe(LogIndex(0));
        peer.probe_sent = true;
        self.stepped("snapshot_failed");
    }

    /// A whole snapshot of the leader's is staged here.
    pub(crate) fn take_snapshot(&mut self, from: NodeId, meta: SnapshotMeta) -> Result<(), StepError> {
        if meta.membership.check().is_err() || meta.membership.is_empty() {
            return Err(StepError::MalformedSnapshot { group: self.group, from, index: meta.index });
        }
        let commit = self.log.commit();
        if meta.index <= commit && !self.mutant(17) {
            self.send_when_held(from, commit, MessageKind::AppendResponse { index: commit, reject_hint: None });
            return Ok(());
        }
        if self.log.term(meta.index) == Some(meta.term) && !self.membership.is_empty() && !self.mutant(17) {
            // All of it is in the log already, and therefore committed.
            self.commit_to(meta.index);
            self.send_when_held(from, meta.index, MessageKind::AppendResponse { index: meta.index, reject_hint: None });
            return Ok(());
        }
        let index = meta.index;
        self.log.replace_by_snapshot(index, meta.term);
        if self.mutant(14) {
            self.log.skip_one();
        }
        for write in &mut self.work.in_flight {
            write.last = LogIndex(0);
        }
        self.work.outbox.forget_claims_above(LogIndex(0));
        self.work.snapshot = Some(meta);
        self.send_when_held(from, index, MessageKind::AppendResponse { index, reject_hint: None });
        self.traced("snapshot");
        Ok(())
    }

    /// A snapshot is in place and durable: it counts as applied, its membership too.
    pub(crate) fn installed(&mut self, meta: &SnapshotMeta) {
        self.log.installed(meta.index);
        if meta.index > self.changed_at && !self.mutant(69) {
            self.changed_at = meta.index;
            self.membership = Rc::new(meta.membership.clone());
            self.trace.membership(self.group, self.id, meta.index, &self.membership);
        }
    }
}
