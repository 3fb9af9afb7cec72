//! The second phase: what can work is healed, the rest stays dead for good, and the group must come to rest: one leader,
//! everything committed and applied on every member, reads answered, joint memberships left. Then it must be able to sleep,
//! send nothing while it does, and wake for who comes back.

use bytes::Bytes;
use highwater_raft::{MembershipChange, NodeId, RawNode};

use crate::checker::{Check, must};
use crate::cluster::Cluster;
use crate::oracle::Members;

/// Sweeps in one round, at most.
const SWEEPS: usize = 20_000;

impl Cluster {
    /// Heals a quorum and waits until it has come to rest.
    pub fn settle(&mut self) -> Check {
        self.network.heal();
        for packet in self.network.clear() {
            self.lost(&packet);
        }
        let swarm = &mut self.swarm;
        (swarm.loss, swarm.doubled, swarm.overtaking, swarm.lag) = (0, 0, 0, 0);
        for slot in 0..self.nodes.len() {
            self.drive(slot)?;
        }
        let dead = self.choose_dead()?;
        let election = u64::from(self.config.election_ticks);
        let mut rested = 0;
        let mut term = None;
        for round in 0.. {
            must!(
                round < 120 * election,
                "I35: after {round} rounds without a fault the group is not at rest: {}",
                self.unrest(&dead).unwrap_or_default()
            );
            if round == 2 * election {
                let slot = self.dice.below(self.nodes.len());
                self.propose(slot)?;
                for slot in 0..self.nodes.len() {
                    self.read(slot)?;
                }
            }
            self.round(&dead)?;
            self.leave_joint()?;
            let now = self.unrest(&dead).is_none().then(|| self.leader_term()).flatten();
            let same = now.is_some() && now == term;
            rested = if same { rested + 1 } else { 0 };
            term = now;
            if round > 4 * election && rested > 3 * election {
                break;
            }
        }
        self.mark("groups that came to rest");
        self.sleep(&dead)
    }

    /// Some machines never come back, if a quorum of every membership that may matter is left.
    fn choose_dead(&mut self) -> Result<Vec<NodeId>, String> {
        let mut dead: Vec<NodeId> = Vec::new();
        if self.dice.chance(500) {
            let memberships = self.memberships();
            for slot in 0..self.nodes.len() {
                let mut with: Vec<NodeId> = dead.clone();
                with.push(self.node(slot).id);
                let alive = |node: NodeId| !with.contains(&node) && self.nodes.iter().any(|other| other.id == node);
                let enough = memberships.iter().all(|members| members.new.is_empty() || members.is_quorum(alive));
                if enough && self.dice.chance(500) {
                    dead = with;
                }
            }
        }
        for slot in 0..self.nodes.len() {
            if dead.contains(&self.node(slot).id) {
                self.crash(slot)?;
            } else {
                self.restart(slot)?;
            }
        }
        if !dead.is_empty() {
            self.mark("groups with dead machines");
        }
        Ok(dead)
    }

    /// Every live machine ticks once; then everything that is under way is done.
    fn round(&mut self, dead: &[NodeId]) -> Check {
        self.round_without(None, dead)
    }

    /// The same, while one machine stands still.
    fn round_without(&mut self, still: Option<usize>, dead: &[NodeId]) -> Check {
        let count = self.nodes.len();
        let from = self.dice.below(count);
        for slot in (from..from + count).map(|slot| slot % count).filter(|slot| Some(*slot) != still) {
            self.watch(slot, dead);
            self.tick(slot)?;
            self.steps += 1;
        }
        for _ in 0..SWEEPS {
            if !self.sweep()? {
                return Ok(());
            }
        }
        Err("I39: the group is never done with one tick's work".to_owned())
    }

    /// The node's driver watches the node of its leader.
    fn watch(&mut self, slot: usize, dead: &[NodeId]) {
        if let Some(raft) = &mut self.node_mut(slot).raft {
            let status = raft.status();
            if status.hibernating && status.leader.is_some_and(|leader| dead.contains(&leader)) {
                raft.forget_leader();
            }
        }
    }

    fn sweep(&mut self) -> Result<bool, String> {
        let mut busy = false;
        for slot in 0..self.nodes.len() {
            if self.node(slot).raft.is_none() {
                continue;
            }
            self.drive(slot)?;
            let node = self.node(slot);
            let work = [node.writes.len(), node.log_reads.len(), node.wanted.len(), node.reports.len()];
            let applies = node.applies.len();
            busy |= work.iter().sum::<usize>() + applies > 0;
            let [writes, log_reads, wanted, reports] = work;
            (0..writes).try_for_each(|_| self.write(slot))?;
            self.apply(slot, applies)?;
            (0..log_reads).try_for_each(|_| self.log_read(slot))?;
            (0..wanted).try_for_each(|_| self.snapshot(slot, false))?;
            (0..reports).try_for_each(|_| self.report(slot))?;
            self.steps += (work.iter().sum::<usize>() + applies) as u64;
        }
        for _ in 0..self.network.len() {
            let Some(packet) = self.network.take(&mut self.dice, 0) else { break };
            busy = true;
            self.steps += 1;
            self.arrive(packet)?;
        }
        Ok(busy)
    }

    fn leader(&self) -> Option<usize> {
        let leaders = |slot: &usize| self.node(*slot).raft.as_ref().is_some_and(RawNode::is_leader);
        let newest = |slot: &usize| self.node(*slot).raft.as_ref().map(RawNode::term);
        (0..self.nodes.len()).filter(leaders).max_by_key(newest)
    }

    fn leader_term(&self) -> Option<u64> {
        self.leader().and_then(|slot| self.node(slot).raft.as_ref()).map(|raft| raft.term().0)
    }

    /// Somebody leaves a joint membership that is not left by itself.
    fn leave_joint(&mut self) -> Check {
        let Some(slot) = self.leader() else { return Ok(()) };
        if let Some(raft) = &mut self.node_mut(slot).raft
            && raft.membership().is_joint()
            && !raft.membership().leaves_by_itself()
        {
            let left = raft.propose_membership_change(&MembershipChange::leave());
            self.say(|| format!("leaves the joint membership: {left:?}"));
        }
        Ok(())
    }

    /// What is not at rest, if anything.
    fn unrest(&self, dead: &[NodeId]) -> Option<String> {
        let nobody = || {
            let nodes = self
                .nodes
                .iter()
                .map(|node| (node.id, node.raft.as_ref().map(|raft| (raft.status(), raft.membership()))));
            format!("nobody leads: {:?}", nodes.collect::<Vec<_>>())
        };
        let Some(leader) = self.leader() else { return Some(nobody()) };
        let Some(raft) = &self.node(leader).raft else { return Some(nobody()) };
        let (status, membership) = (raft.status(), raft.membership());
        if membership.is_joint() {
            return Some(format!("the joint membership {membership:?} is not left"));
        }
        for node in self.nodes.iter().filter(|node| membership.contains(node.id) && !dead.contains(&node.id)) {
            let id = node.id;
            let Some(member) = &node.raft else { return Some(format!("node {id} is down")) };
            let its = member.status();
            if its.leader != status.leader || its.term != status.term {
                return Some(format!("node {id} does not follow node {} in term {}: {its:?}", status.id, status.term));
            }
            if its.applied != status.last || its.last != status.last {
                return Some(format!("node {id} has applied {} of {}: {its:?}", its.applied, status.last));
            }
            if !node.reads.is_empty() || its.waiting_reads > 0 {
                return Some(format!("I36: node {id} waits for {} reads", node.reads.len()));
            }
        }
        None
    }

    /// The group sleeps: nothing is sent. Then one of its members starts again, and is led; and the group works.
    fn sleep(&mut self, dead: &[NodeId]) -> Check {
        let election = u64::from(self.config.election_ticks);
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
        let election = u64::from(self.config.election_ticks);
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
        let election = u64::from(self.config.election_ticks);
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
        let election = u64::from(self.config.election_ticks);
        let id = self.node(leader).id;
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
        let election = u64::from(self.config.election_ticks);
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
                return Ok(());
            }
        }
        Err(format!("I35: after the heir came back: {}", self.unrest(dead).unwrap_or_default()))
    }
}
