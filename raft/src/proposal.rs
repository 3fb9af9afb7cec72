//! Proposals and commit. A proposal is appended at once or refused at once, never queued and never forwarded.

use bytes::Bytes;

use crate::entry::{EntryKind, Role};
use crate::error::ProposeError;
use crate::ids::{LogIndex, NodeId};
use crate::node::RawNode;

impl RawNode {
    /// Appends a command and gives the index it will have if it is committed. It is committed exactly when an entry of
    /// this index and of [`Self::term`] at this moment is handed over to apply.
    ///
    /// # Errors
    /// [`ProposeError`]; nothing was appended then.
    pub fn propose(&mut self, data: Bytes) -> Result<LogIndex, ProposeError> {
        if self.role != Role::Leader {
            return Err(ProposeError::NotLeader { leader: self.leader });
        }
        if let Some(transfer) = self.work.transfer {
            return Err(ProposeError::Transferring { to: transfer.to });
        }
        self.check_room(data.len())?;
        self.wake();
        let index = self.log.append(self.term, EntryKind::Normal, data);
        self.appends_due = true;
        self.stepped("propose");
        Ok(index)
    }

    pub(crate) fn check_room(&self, size: usize) -> Result<(), ProposeError> {
        let limit = self.limits.max_uncommitted_bytes;
        if size > limit {
            return Err(ProposeError::EntryTooLarge { size, limit });
        }
        let uncommitted = self.log.uncommitted_bytes();
        if size > limit - uncommitted.min(limit) {
            return Err(ProposeError::TooManyUncommittedBytes { uncommitted, size, limit });
        }
        Ok(())
    }

    /// Commits what a quorum holds durably, if it is of this leader's own term. The leader counts itself with what is
    /// durable here, never with what it only appended.
    pub(crate) fn commit_durable(&mut self) {
        if self.role != Role::Leader {
            return;
        }
        let id = self.id;
        let own = if self.mutant(11) { self.log.last() } else { self.log.persisted() };
        let held = |node: NodeId| {
            if node == id { own } else { self.peer(node).map_or(LogIndex(0), |peer| peer.matched) }
        };
        let index = self.quorum_index(held);
        if (index >= self.term_start || self.mutant(1)) && self.commit_to(index) {
            self.appends_due = true;
            self.release_reads();
        }
    }

    fn quorum_index(&self, held: impl Fn(NodeId) -> LogIndex) -> LogIndex {
        let planted = self.mutant(10) || self.mutant(36) || self.mutant(60);
        let mut membership = planted.then(|| crate::membership::Membership::clone(&self.membership));
        let Some(changed) = &mut membership else { return self.membership.reached(held) };
        if self.mutant(36) {
            changed.outgoing.clear();
        } else if self.mutant(60) {
            changed.voters.append(&mut changed.learners);
        } else if changed.voters.len() % 2 == 0 {
            let mut indexes: Vec<LogIndex> = changed.voters.iter().map(|node| held(*node)).collect();
            indexes.sort_unstable_by(|a, b| b.cmp(a));
            return indexes.get((indexes.len() / 2).saturating_sub(1)).copied().unwrap_or_default();
        }
        changed.reached(held)
    }

    /// Raises the commit index. Whether it moved.
    pub(crate) fn commit_to(&mut self, index: LogIndex) -> bool {
        let moved = self.log.commit_to(index);
        if moved {
            self.traced("commit");
        }
        moved
    }
}
