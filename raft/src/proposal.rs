//! Proposals and commit. A proposal is appended at once or refused at once, never queued and never forwarded.

use bytes::Bytes;

use crate::entry::{ConfChange, EntryKind, Role};
use crate::error::ProposeError;
use crate::ids::LogIndex;
use crate::node::RawNode;
use crate::quorum::committed_index;

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
        let (size, limit) = (data.len(), self.config.max_uncommitted_bytes);
        if size > limit {
            return Err(ProposeError::EntryTooLarge { size, limit });
        }
        let uncommitted = self.log.uncommitted_bytes();
        if size > limit - uncommitted.min(limit) {
            return Err(ProposeError::TooManyUncommittedBytes { uncommitted, size, limit });
        }
        let index = self.log.append(self.term, EntryKind::Normal, data);
        self.stepped("propose");
        Ok(index)
    }

    /// Proposes a change of membership.
    ///
    /// # Errors
    /// [`ProposeError::NotLeader`], else [`ProposeError::UnsupportedMembership`].
    pub fn propose_conf_change(&mut self, change: ConfChange) -> Result<LogIndex, ProposeError> {
        let (ConfChange::AddLearner(_) | ConfChange::AddVoter(_) | ConfChange::Remove(_)) = change;
        if self.role != Role::Leader {
            return Err(ProposeError::NotLeader { leader: self.leader });
        }
        Err(ProposeError::UnsupportedMembership { group: self.config.group })
    }

    /// Commits what a majority holds durably, if it is of this leader's own term. The leader counts itself with what is
    /// durable here, never with what it only appended.
    pub(crate) fn commit_durable(&mut self) {
        if self.role != Role::Leader {
            return;
        }
        let mut durable = [self.log.persisted()];
        let index = committed_index(&mut durable);
        if index >= self.term_start && self.log.commit_to(index) {
            self.release_reads();
        }
    }
}
