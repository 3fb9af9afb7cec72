//! Time, in the driver's ticks: when to campaign, when a leader shows itself, and when it counts who follows it.

use crate::entry::Role;
use crate::membership::VoteCount;
use crate::message::MessageKind;
use crate::node::{Campaign, RawNode};

impl RawNode {
    /// One tick of the driver's timer passed. A sole voter that does not lead campaigns; a sleeping replica does nothing.
    pub fn tick(&mut self) {
        if self.sleep.is_asleep() {
            return;
        }
        self.election_elapsed = self.election_elapsed.saturating_add(1);
        match self.role {
            Role::Leader => self.tick_leader(),
            Role::Follower => self.tick_follower(),
            // Until its own vote is durable a candidate has not even asked: a slow disk must not drive terms up.
            Role::Candidate if self.durable_vote != (self.term, self.vote) => {}
            Role::Candidate | Role::PreCandidate => {
                if self.election_elapsed >= self.election_timeout {
                    self.hup(Campaign::Ordinary);
                }
            }
        }
    }

    fn tick_follower(&mut self) {
        self.give_up_forwarded_reads();
        let alone = self.membership.voters() == [self.id] && !self.membership.is_joint();
        if self.may_campaign() && (alone || self.election_elapsed >= self.election_timeout) {
            self.hup(Campaign::Ordinary);
        } else if self.leader.is_none() && self.election_elapsed >= self.election_timeout && !self.mutant(75) {
            self.election_elapsed = 0;
            for to in self.other_members() {
                self.send(to, MessageKind::Wake);
            }
            self.traced("call_leader");
        }
    }

    fn tick_leader(&mut self) {
        if self.election_elapsed >= self.limits.election_ticks {
            self.election_elapsed = 0;
            self.abort_transfer();
            if !self.is_followed_by_a_quorum() && !self.mutant(66) {
                self.become_follower(self.term, None);
                self.stepped("quorum_lost");
                return;
            }
            for peer in &mut self.peers {
                peer.recent_active = false;
            }
        }
        self.heartbeat_elapsed = self.heartbeat_elapsed.saturating_add(1);
        if self.heartbeat_elapsed >= self.limits.heartbeat_ticks {
            self.heartbeat_elapsed = 0;
            self.send_heartbeats();
        }
        self.leave_joint();
    }

    fn is_followed_by_a_quorum(&self) -> bool {
        let id = self.id;
        let active = |node| node == id || self.peer(node).is_some_and(|peer| peer.recent_active);
        self.membership.count(|node| Some(active(node))) == VoteCount::Won
    }

    /// Whether the leader was heard of less than the shortest election timeout ago: then no vote is given to others, so
    /// that who was cut off or removed does not unseat a leader that works (section 4.2.3 of the Raft thesis).
    pub(crate) fn leader_is_alive(&self) -> bool {
        self.leader.is_some() && self.election_elapsed < self.limits.election_ticks
    }

    /// Draws the next timeout: from `election_ticks` to just below twice as many.
    pub(crate) fn draw_election_timeout(&mut self) {
        self.timeouts_drawn = self.timeouts_drawn.wrapping_add(1);
        // SplitMix64: the caller's seed gives the sequence, nothing else does.
        let mut z = self
            .seed
            .wrapping_add(self.id.0.wrapping_mul(0xD134_2543_DE82_EF95))
            .wrapping_add(self.timeouts_drawn.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let extra = (z ^ (z >> 31)) % u64::from(self.limits.election_ticks);
        self.election_timeout = self.limits.election_ticks.saturating_add(u32::try_from(extra).unwrap_or(0));
    }
}
