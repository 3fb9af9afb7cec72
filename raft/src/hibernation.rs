//! Sleep of idle groups. A group in which nothing is outstanding need not talk: its leader tells the others, and nobody ticks
//! until something happens.
//!
//! While a group sleeps, who is alive is a matter of nodes, not of groups, and the driver's: it watches its peers' nodes, and
//! when one is gone calls [`RawNode::forget_leader`] for the groups that it led. That a node is alive says nothing about any
//! group's term: no call of this crate takes it for an answer, and what needs a group's quorum (commit, reads, the count of
//! who follows) wakes the group and asks.

use crate::entry::Role;
use crate::ids::{LogIndex, NodeId, ReadRound};
use crate::membership::VoteCount;
use crate::message::MessageKind;
use crate::node::RawNode;
use crate::progress::ProgressState;

/// Whether a replica sleeps.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sleep(bool);

impl Sleep {
    pub(crate) fn is_asleep(self) -> bool {
        self.0
    }
}

impl RawNode {
    /// Lets the group sleep, if this replica leads it and nothing is outstanding: everything in the log is committed, applied
    /// and held by every member, and no read, transfer, change or write is under way. Members on nodes that the driver knows
    /// to be `down` are not waited for, as long as a quorum is there; they wake the group when they come back. Whether it
    /// sleeps now.
    pub fn hibernate(&mut self, down: &[NodeId]) -> bool {
        if self.sleep.is_asleep() || !self.is_idle(down) {
            return self.sleep.is_asleep();
        }
        let index = self.log.last();
        for to in self.other_members() {
            if !down.contains(&to) {
                self.send(to, MessageKind::Hibernate { index });
            }
        }
        self.fall_asleep();
        self.stepped("hibernate");
        true
    }

    /// Sleeps from now on. What it has memory for and does not need goes when the call ends.
    fn fall_asleep(&mut self) {
        self.sleep = Sleep(true);
        self.work.votes.clear();
        self.peers.shrink_to_fit();
        self.peers.iter_mut().for_each(|peer| peer.inflights.shrink());
        self.log.shrink();
    }

    fn is_idle(&self, down: &[NodeId]) -> bool {
        let log = &self.log;
        let last = log.last();
        let at_rest = [log.commit(), log.persisted(), log.applied()].iter().all(|mark| *mark == last);
        let nothing_waits = self.work.in_flight.is_empty()
            && !self.has_ready()
            && self.work.reads.waiting() == 0
            && self.work.transfer.is_none()
            && !self.membership.is_joint();
        let down = if self.mutant(48) { &[] } else { down };
        let holds_all = |node: NodeId| {
            node == self.id
                || self.peer(node).is_some_and(|peer| peer.matched == last && peer.state == ProgressState::Replicate)
        };
        let all = self.peers.iter().all(|peer| holds_all(peer.id) || down.contains(&peer.id));
        let up = |node: NodeId| Some(holds_all(node) && !down.contains(&node));
        self.role == Role::Leader
            && self.committed_in_own_term()
            && at_rest
            && nothing_waits
            && all
            && self.membership.count(up) == VoteCount::Won
    }

    /// Whether this replica sleeps.
    #[must_use]
    pub fn is_hibernating(&self) -> bool {
        self.sleep.is_asleep()
    }

    /// The newest round of reads that this leader has begun in its life; with the log's end it tells a driver whether anything happens in
    /// the group.
    #[must_use]
    pub fn read_round(&self) -> ReadRound {
        self.read_round
    }

    /// The leader sleeps, and had this replica's word that it holds everything up to `index`, all of it committed.
    pub(crate) fn take_hibernate(&mut self, from: NodeId, index: LogIndex) {
        // Who waits for an answer goes on counting, or a lost question would never be given up.
        if self.log.last() == index && !self.work.reads.has_forwarded() {
            self.commit_to(index);
            self.fall_asleep();
        } else {
            // Something came between: the leader is to look again.
            self.wake();
            let kind = MessageKind::AppendResponse { index: self.log.commit(), reject_hint: None };
            self.send_when_held(from, self.log.commit(), kind);
        }
    }

    /// Ends sleep. Every call that brings work does so by itself. A leader shows itself at once, and gives its followers the
    /// time of one count; a follower waits for it at least the shortest election timeout.
    pub fn wake(&mut self) {
        if !self.sleep.is_asleep() {
            return;
        }
        self.sleep = Sleep(false);
        self.election_elapsed = 0;
        self.draw_election_timeout();
        if self.role == Role::Leader {
            self.heartbeat_elapsed = 0;
            for peer in &mut self.peers {
                peer.recent_active = true;
            }
            self.send_heartbeats();
        }
        self.traced("wake");
    }

    /// The node of this follower's leader is not alive, says the driver. The replica wakes, votes for others from now on, and
    /// campaigns after its timeout. No term changes by it: a false alarm costs a round of questions.
    pub fn forget_leader(&mut self) {
        self.wake();
        if self.role == Role::Follower && self.leader.is_some() {
            self.fail_reads();
            self.leader = None;
            self.stepped("forget_leader");
        }
    }
}
