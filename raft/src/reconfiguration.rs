//! Changes of membership: chapter 4 of the Raft thesis. A change takes effect on a replica when that replica applies its
//! entry; at most one is in the log unapplied, and a replica that may have one to apply does not campaign, so that two
//! replicas never differ by more than one change.

use std::rc::Rc;

use crate::change::{ConfChange, MembershipChange};
use crate::entry::{Entry, EntryKind, Role};
use crate::error::{ProposeError, RaftError};
use crate::ids::LogIndex;
use crate::membership::Membership;
use crate::message::MessageKind;
use crate::node::RawNode;
use crate::progress::Peer;

impl RawNode {
    /// Proposes one step, as [`Self::propose_membership_change`] does.
    ///
    /// # Errors
    /// [`ProposeError`]; nothing was appended then.
    pub fn propose_conf_change(&mut self, change: ConfChange) -> Result<LogIndex, ProposeError> {
        self.propose_membership_change(&change.into())
    }

    /// Proposes a change of membership and gives the index of its entry. It takes effect when it is applied
    /// ([`Self::apply_membership_change`]). A joint membership that was entered with [`crate::Transition::JointUntilLeft`] is
    /// left by [`MembershipChange::leave`]; others the leader leaves by itself.
    ///
    /// # Errors
    /// [`ProposeError`]; nothing was appended then.
    pub fn propose_membership_change(&mut self, change: &MembershipChange) -> Result<LogIndex, ProposeError> {
        if self.role != Role::Leader {
            return Err(ProposeError::NotLeader { leader: self.leader });
        }
        if let Some(transfer) = self.work.transfer {
            return Err(ProposeError::Transferring { to: transfer.to });
        }
        let index = self.pending_change.max(self.term_start);
        if index > self.log.applied() && !self.mutant(37) {
            return Err(ProposeError::ChangePending { index });
        }
        change.apply(&self.membership)?;
        self.check_room(change.encode().len())?;
        self.wake();
        let index = self.append_change(change);
        self.stepped("propose_membership_change");
        Ok(index)
    }

    fn append_change(&mut self, change: &MembershipChange) -> LogIndex {
        self.pending_change = self.log.append(self.term, EntryKind::ConfChange, change.encode());
        self.appends_due = true;
        self.pending_change
    }

    /// A leader leaves a joint membership that leaves by itself.
    pub(crate) fn leave_joint(&mut self) {
        let settled = self.pending_change.max(self.term_start) <= self.log.applied();
        if self.role == Role::Leader && self.membership.leaves_by_itself() && settled && !self.mutant(70) {
            self.append_change(&MembershipChange::leave());
            self.traced("leave_joint");
        }
    }

    /// Applies a committed entry of kind [`EntryKind::ConfChange`], and gives the membership that follows, which the driver
    /// keeps with its applied index. To be called in the order of the log, before [`Self::advance_apply`] reports the entry.
    /// A change that cannot follow the membership changes nothing, on all replicas alike.
    ///
    /// A leader that is no voter any more hands over and steps down.
    ///
    /// # Errors
    /// [`RaftError::NotAChange`] for any other entry.
    pub fn apply_membership_change(&mut self, entry: &Entry) -> Result<Membership, RaftError> {
        let next = self.log.next_change().filter(|change| *change > self.changed_at);
        let in_turn = entry.index > self.log.applied().max(self.changed_at)
            && entry.index <= self.log.handed_over()
            && next.is_none_or(|next| entry.index <= next);
        if entry.kind != EntryKind::ConfChange || !in_turn {
            return Err(RaftError::NotAChange { index: entry.index });
        }
        self.changed_at = entry.index;
        let after = MembershipChange::decode(&entry.data).and_then(|change| change.apply(&self.membership).ok());
        if let Some(after) = after {
            self.membership = Rc::new(after);
            self.take_membership();
        }
        self.trace.membership(self.group, self.id, entry.index, &self.membership);
        self.stepped("membership");
        Ok(Membership::clone(&self.membership))
    }

    fn take_membership(&mut self) {
        let votes = self.membership.is_voter(self.id);
        match self.role {
            Role::Follower => {}
            Role::PreCandidate | Role::Candidate => {
                if !votes {
                    self.become_follower(self.term, None);
                }
            }
            Role::Leader => {
                self.take_peers();
                self.commit_durable();
                self.confirm_reads();
                if !votes {
                    self.leave_to_others();
                }
            }
        }
    }

    fn take_peers(&mut self) {
        let members = self.other_members();
        let next = self.log.last().next();
        let mut known = std::mem::take(&mut self.peers);
        self.peers = members
            .into_iter()
            .enumerate()
            .map(|(at, node)| {
                if self.mutant(12) {
                    // A planted bug: what is known stays at its place in the list while the members move.
                    return known
                        .get(at)
                        .map_or_else(|| Peer::new(node, next), |peer| Peer { id: node, ..peer.clone() });
                }
                let at = known.iter().position(|peer| peer.id == node);
                at.map_or_else(|| Peer::new(node, next), |at| known.swap_remove(at))
            })
            .collect();
        let gone = |node| !self.membership.is_voter(node);
        if self.work.transfer.is_some_and(|transfer| gone(transfer.to)) {
            self.abort_transfer();
        }
        self.appends_due = true;
    }

    /// This leader votes no more: whoever holds everything is told to campaign at once.
    fn leave_to_others(&mut self) {
        self.send_appends();
        let caught_up = |peer: &&Peer| self.membership.is_voter(peer.id) && peer.matched == self.log.last();
        if let Some(heir) = self.peers.iter().find(caught_up).map(|peer| peer.id) {
            self.send(heir, MessageKind::TimeoutNow);
        }
        self.become_follower(self.term, None);
    }
}
