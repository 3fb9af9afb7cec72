//! The second phase: what can work is healed, the rest stays dead for good, and the group must come to rest: one leader,
//! everything committed and applied on every member, reads answered, joint memberships left. Then come the trials.

use highwater_raft::{MembershipChange, NodeId, RawNode};

use crate::checker::{Check, must};
use crate::cluster::Cluster;

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
        let election = u64::from(self.config.limits.election_ticks);
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
    pub fn round(&mut self, dead: &[NodeId]) -> Check {
        self.round_without(None, dead)
    }

    /// The same, while one machine stands still.
    pub fn round_without(&mut self, still: Option<usize>, dead: &[NodeId]) -> Check {
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

    pub fn sweep(&mut self) -> Result<bool, String> {
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

    pub fn leader(&self) -> Option<usize> {
        let leaders = |slot: &usize| self.node(*slot).raft.as_ref().is_some_and(RawNode::is_leader);
        let newest = |slot: &usize| self.node(*slot).raft.as_ref().map(RawNode::term);
        (0..self.nodes.len()).filter(leaders).max_by_key(newest)
    }

    pub fn leader_term(&self) -> Option<u64> {
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
    pub fn unrest(&self, dead: &[NodeId]) -> Option<String> {
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
}
