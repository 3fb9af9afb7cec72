//! Time and elections. A replica's own vote counts only once it is durable: a vote that a crash could take back could be
//! given twice.

use bytes::Bytes;

use crate::entry::{EntryKind, Role};
use crate::error::RaftError;
use crate::ids::{LogIndex, NodeId};
use crate::node::RawNode;
use crate::quorum::majority;

impl RawNode {
    /// One tick of the driver's timer passed. A sole voter that does not lead campaigns.
    pub fn tick(&mut self) {
        self.ticks = self.ticks.saturating_add(1);
        if self.role == Role::Follower {
            self.start_election();
        }
    }

    /// Campaigns now instead of waiting for a tick. Does nothing while this replica leads, or waits for its own vote to
    /// become durable.
    pub fn campaign(&mut self) {
        if self.role == Role::Follower {
            self.start_election();
        }
    }

    /// Hands leadership to another voter. To this node itself, while it leads, is done already.
    ///
    /// # Errors
    /// [`RaftError::NotLeader`]; [`RaftError::TransferTarget`] when `to` is no voter, as every other node is in a group of
    /// one.
    pub fn transfer_leader(&mut self, to: NodeId) -> Result<(), RaftError> {
        if self.role != Role::Leader {
            return Err(RaftError::NotLeader { leader: self.leader });
        }
        if to != self.config.id {
            return Err(RaftError::TransferTarget { to });
        }
        Ok(())
    }

    fn start_election(&mut self) {
        self.term = self.term.next();
        self.vote = Some(self.config.id);
        self.role = Role::Candidate;
        self.leader = None;
        self.ticks = 0;
        self.stepped("campaign");
    }

    /// Term and vote became durable: counts the own vote, if it is for this very candidacy.
    pub(crate) fn count_own_vote(&mut self) {
        let own_vote = self.durable_vote == (self.term, Some(self.config.id));
        let granted = usize::from(own_vote);
        if self.role == Role::Candidate && granted >= majority(self.config.voters.len()) {
            self.become_leader();
        }
    }

    fn become_leader(&mut self) {
        self.role = Role::Leader;
        self.leader = Some(self.config.id);
        self.ticks = 0;
        // Earlier terms' entries are committed only through one of this term (section 5.4.2 of the Raft paper).
        self.term_start = self.log.append(self.term, EntryKind::Noop, Bytes::new());
        self.stepped("lead");
    }

    /// Whether an entry of this leader's own term is committed: only then does it know every entry that was committed before.
    pub(crate) fn committed_in_own_term(&self) -> bool {
        self.role == Role::Leader && self.term_start > LogIndex(0) && self.log.commit() >= self.term_start
    }
}
