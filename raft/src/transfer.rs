//! Handing leadership over: section 3.10 of the Raft thesis. The leader stops taking proposals, brings the target's log up to
//! its own, and tells it to campaign at once, which a live leader is then no reason to refuse. It gives up after an election
//! timeout, and leads on.

use crate::entry::Role;
use crate::error::RaftError;
use crate::ids::NodeId;
use crate::message::MessageKind;
use crate::node::RawNode;

/// A transfer under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Transfer {
    /// To whom.
    pub(crate) to: NodeId,
    /// It was told to campaign.
    pub(crate) told: bool,
}

impl RawNode {
    /// Hands leadership to another voter. Proposals are refused until it leads or the transfer is given up. To this node
    /// itself, while it leads, is done already, and ends a transfer to another. A second call with another target replaces
    /// the first.
    ///
    /// # Errors
    /// [`RaftError::NotLeader`]; [`RaftError::TransferTarget`] when `to` is no voter.
    pub fn transfer_leader(&mut self, to: NodeId) -> Result<(), RaftError> {
        if self.role != Role::Leader {
            return Err(RaftError::NotLeader { leader: self.leader });
        }
        if to == self.id {
            self.abort_transfer();
            return Ok(());
        }
        if !self.membership.is_voter(to) || self.peer(to).is_none() {
            return Err(RaftError::TransferTarget { to });
        }
        if self.work.transfer.is_some_and(|transfer| transfer.to == to) {
            return Ok(());
        }
        self.wake();
        self.work.transfer = Some(Transfer { to, told: false });
        // One whole election timeout for it.
        self.election_elapsed = 0;
        self.appends_due = true;
        self.transfer_to_who_caught_up(to);
        self.stepped("transfer");
        Ok(())
    }

    /// Gives a transfer up: this leader takes proposals again. A target that was told already may still campaign.
    pub fn abort_transfer(&mut self) {
        if self.work.transfer.take().is_some() {
            self.stepped("transfer_aborted");
        }
    }

    /// Tells the target of the transfer to campaign, once it holds everything.
    pub(crate) fn transfer_to_who_caught_up(&mut self, node: NodeId) {
        let caught_up = self.peer(node).is_some_and(|peer| peer.matched == self.log.last());
        let Some(transfer) = self.work.transfer.as_mut().filter(|transfer| transfer.to == node && !transfer.told)
        else {
            return;
        };
        if caught_up {
            transfer.told = true;
            self.send(node, MessageKind::TimeoutNow);
        }
    }
}
