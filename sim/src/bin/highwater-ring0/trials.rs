//! The trials of a group that is at rest, one after the other: it must be able to sleep, send nothing while it does, and wake for
//! who comes back; its leader is cut off, its heir is lost, its leader leaves. After each it must come to rest again.

use bytes::Bytes;
use highwater_raft::{ConfChange, LogIndex, MembershipChange, NodeId, RawNode};

use crate::checker::{Check, must};
use crate::cluster::Cluster;
use crate::oracle::Members;

impl Cluster {
    /// The group sleeps: nothing is sent. Then one of its members starts again, and is led; and the group works.
    pub fn sleep(&mut self, dead: &[NodeId]) -> Check {
        let election = u64::from(self.config.limits.election_ticks);
        let Some(leader) = self.leader() else { return Err("I35: nobody leads".to_owned()) };
        let Some(membership) = self.node(leader).raft.as_ref().map(|raft| raft.membership().clone()) else {
            return Ok(());
        };
        let mut gone = dead.to_vec();
        gone.extend(membership.members().into_iter().filter(|id| !self.nodes.iter().any(|node| node.id == *id)));
        // Drivers destroy replicas that were removed.
        for slot in 0..self.nodes.len() {
            if !membership.contains(self.node(slot).id) {
                self.node_mut(slot).stop();
            }
        }
        let slept = self.node_mut(leader).raft.as_mut().is_some_and(|raft| raft.hibernate(&gone));
        must!(slept, "I39: an idle group with dead members {gone:?} does not sleep: {:?}", self.node(leader).raft);
        self.round(dead)?;
        let before = self.sent;
        for _ in 0..3 * election {
            self.round(dead)?;
        }
        must!(self.sent == before, "I39: a sleeping group sent {} messages", self.sent - before);
        self.mark("groups that slept");
        self.comes_back(leader, dead)
    }

    fn comes_back(&mut self, leader: usize, dead: &[NodeId]) -> Check {
        let election = u64::from(self.config.limits.election_ticks);
        let up: Vec<usize> =
            (0..self.nodes.len()).filter(|slot| *slot != leader && self.node(*slot).raft.is_some()).collect();
        if up.is_empty() {
            return Ok(());
        }
        let slot = self.dice.pick(&up);
        let term = self.leader_term();
        self.crash(slot)?;
        self.restart(slot)?;
        for _ in 0..4 * election {
            self.round(dead)?;
        }
        let led = self.node(slot).raft.as_ref().and_then(|raft| raft.status().leader);
        must!(led.is_some(), "I38: node {} started again in a sleeping group and is not led", self.node(slot).id);
        must!(self.leader_term() == term, "I38: a member that started again unseated the leader of a sleeping group");
        let committed = self.checker.committed();
        if let Some(raft) = &mut self.node_mut(leader).raft {
            let _ = raft.propose(Bytes::from_static(b"awake"));
        }
        for _ in 0..2 * election {
            self.round(dead)?;
        }
        must!(self.checker.committed() > committed, "I38: a group that slept does not commit");
        must!(self.unrest(dead).is_none(), "I38: after its sleep: {}", self.unrest(dead).unwrap_or_default());
        self.cut_off(dead)
    }

    /// The leader is cut off from everybody: clients must not wait for it for ever.
    fn cut_off(&mut self, dead: &[NodeId]) -> Check {
        let election = u64::from(self.config.limits.election_ticks);
        let Some(leader) = self.leader() else { return Err("I35: nobody leads".to_owned()) };
        let id = self.node(leader).id;
        let members = self.node(leader).raft.as_ref().map(|raft| Members::of(raft.membership())).unwrap_or_default();
        if members.is_quorum(|node| node == id) {
            return Ok(());
        }
        self.read_of_a_cut_off_leader(leader, dead)?;
        for _ in 0..3 * election {
            self.round(dead)?;
        }
        let leads = self.node(leader).raft.as_ref().is_some_and(RawNode::is_leader);
        must!(!leads, "I35: node {id} is cut off from everybody and still leads");
        self.network.heal();
        // Its log is longer than what the others have committed since, and older: nobody may vote for it.
        // The first time it learns the others' term.
        for _ in 0..2 {
            for slot in 0..self.nodes.len() {
                if let Some(raft) = &mut self.node_mut(slot).raft {
                    raft.forget_leader();
                }
            }
            (0..2 * election).try_for_each(|_| self.tick(leader))?;
            while self.sweep()? {}
        }
        for _ in 0..40 * election {
            self.round(dead)?;
            if self.unrest(dead).is_none() {
                return self.heir_lost(dead);
            }
        }
        Err(format!("I35: after the leader came back: {}", self.unrest(dead).unwrap_or_default()))
    }

    /// The leader's machine stands still and is cut off, while answers of its followers are still on their way to it. The
    /// others go on without it. When it moves again, it is asked for a read before it has ticked once, and then gets the old
    /// answers: they confirm nothing.
    fn read_of_a_cut_off_leader(&mut self, leader: usize, dead: &[NodeId]) -> Check {
        let election = u64::from(self.config.limits.election_ticks);
        let id = self.node(leader).id;
        let long = LogIndex(self.checker.committed().0 + 12);
        self.read(leader)?;
        self.drive(leader)?;
        for _ in 0..self.network.len() {
            if let Some(packet) = self.network.take(&mut self.dice, 0) {
                self.arrive(packet)?;
            }
        }
        let mut late = self.network.clear();
        late.retain(|packet| packet.message.to == id);
        self.network.isolate(leader);
        // Its log grows long in its old term, and nobody else has that.
        if let Some(raft) = &mut self.node_mut(leader).raft {
            while raft.status().last < long && raft.propose(Bytes::new()).is_ok() {}
        }
        self.hurry(leader)?;
        for _ in 0..3 * election {
            self.round_without(Some(leader), dead)?;
        }
        if let Some(slot) = self.leader().filter(|slot| *slot != leader) {
            self.propose(slot)?;
            self.round_without(Some(leader), dead)?;
            self.mark("reads of leaders cut off");
        }
        self.read(leader)?;
        self.drive(leader)?;
        for packet in late {
            self.arrive_past(packet)?;
        }
        self.drive(leader)
    }

    /// Leadership goes to a member that is cut off when it has begun its election, and comes back with a higher term.
    fn heir_lost(&mut self, dead: &[NodeId]) -> Check {
        let election = u64::from(self.config.limits.election_ticks);
        let Some(leader) = self.leader() else { return Err("I35: nobody leads".to_owned()) };
        let leads = |slot: &usize| *slot == leader;
        let up: Vec<usize> =
            (0..self.nodes.len()).filter(|slot| !leads(slot) && self.node(*slot).raft.is_some()).collect();
        if up.is_empty() {
            return Ok(());
        }
        let heir = self.dice.pick(&up);
        let id = self.node(heir).id;
        if let Some(raft) = &mut self.node_mut(leader).raft {
            let _ = raft.transfer_leader(id);
        }
        self.drive(leader)?;
        for _ in 0..self.network.len() {
            if let Some(packet) = self.network.take(&mut self.dice, 0) {
                self.arrive(packet)?;
            }
        }
        self.network.isolate(heir);
        for _ in 0..3 * election {
            self.round(dead)?;
        }
        self.network.heal();
        for _ in 0..40 * election {
            self.round(dead)?;
            if self.unrest(dead).is_none() {
                return self.leader_leaves(dead);
            }
        }
        Err(format!("I35: after the heir came back: {}", self.unrest(dead).unwrap_or_default()))
    }

    /// The leader leaves by a change of membership, applies that, and crashes, before anybody else knows that it is committed
    /// and with an entry that nobody else has. Who is left must elect a leader.
    fn leader_leaves(&mut self, dead: &[NodeId]) -> Check {
        let election = u64::from(self.config.limits.election_ticks);
        let Some(leader) = self.leader() else { return Err("I35: nobody leads".to_owned()) };
        let change = MembershipChange::from(ConfChange::Remove(self.node(leader).id));
        let id = self.node(leader).id;
        let Some(raft) = &mut self.node_mut(leader).raft else { return Ok(()) };
        let after = Members::of(raft.membership()).after(&change);
        let proposed = raft.propose_membership_change(&change).is_ok();
        let up = |node: NodeId| node != id && self.nodes.iter().any(|other| other.id == node && other.raft.is_some());
        if !proposed || after.new.contains(&id) || !after.is_quorum(up) {
            return Ok(());
        }
        // The others hold the change and say so; what the leader says after that is lost.
        self.hurry(leader)?;
        for packet in self.network.clear() {
            let to = packet.message.to;
            self.arrive(packet)?;
            if let Some(slot) = (0..self.nodes.len()).find(|slot| self.node(*slot).id == to) {
                self.hurry(slot)?;
            }
        }
        let mut answers = self.network.clear();
        answers.retain(|packet| packet.message.to == id);
        if let Some(raft) = &mut self.node_mut(leader).raft {
            let _ = raft.propose(Bytes::from_static(b"nobody else has this"));
        }
        self.hurry(leader)?;
        for packet in answers {
            self.arrive(packet)?;
        }
        self.hurry(leader)?;
        self.network.clear();
        let left = self.node(leader).raft.as_ref().is_some_and(|raft| !raft.is_leader());
        // Its flushed state says that it votes no more.
        let node = self.node_mut(leader);
        node.disk.flushed = node.state.clone();
        self.crash(leader)?;
        self.restart(leader)?;
        if left {
            self.mark("leaders that left and were lost");
        }
        for _ in 0..60 * election {
            self.round(dead)?;
            if self.unrest(dead).is_none() {
                return Ok(());
            }
        }
        Err(format!("I35: after the leader left: {}", self.unrest(dead).unwrap_or_default()))
    }

    /// A machine does everything that it has in hand.
    fn hurry(&mut self, slot: usize) -> Check {
        loop {
            self.drive(slot)?;
            let (writes, applies) = (self.node(slot).writes.len(), self.node(slot).applies.len());
            if writes + applies == 0 {
                return Ok(());
            }
            (0..writes).try_for_each(|_| self.write(slot))?;
            self.apply(slot, applies)?;
        }
    }
}
