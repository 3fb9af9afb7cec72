//! What happens to the machines from outside: messages that arrive or do not, crashes, clients and operators.

use bytes::Bytes;
use highwater_raft::{ConfChange, Membership, MembershipChange, MessageKind, NodeId, ReadContext, Transition};

use crate::checker::{Check, must};
use crate::cluster::{Cluster, GENERATION};
use crate::disk::State;
use crate::network::Packet;
use crate::oracle::Members;
use crate::replica::{Reading, Replica, Report};

impl Cluster {
    /// The next message reaches the end of its way, or does not.
    pub fn deliver(&mut self, packet: Packet) -> Check {
        if self.swarm.doubled > 0 && self.dice.chance(self.swarm.doubled) {
            self.put_on_its_way(packet.clone());
            self.mark("messages doubled");
        }
        self.network.remember(&mut self.dice, &packet);
        if self.swarm.loss > 0 && self.dice.chance(self.swarm.loss) {
            self.lost(&packet);
            self.mark("messages lost");
            return Ok(());
        }
        self.arrive(packet)
    }

    /// A snapshot that did not arrive is known to its sender's driver in the end.
    pub fn lost(&mut self, packet: &Packet) {
        let (from, to) = (packet.message.from, packet.message.to);
        let slot = self.slot_of(from);
        let sender = self.node_mut(slot);
        if packet.snapshot.is_some() && sender.id == from && sender.raft.is_some() {
            sender.reports.push_back(Report { to, arrived: None });
        }
    }

    /// A message arrives where its link leads, if it works and somebody is there.
    pub fn arrive(&mut self, packet: Packet) -> Check {
        let (from, to) = (self.slot_of(packet.message.from), self.slot_of(packet.message.to));
        if self.network.is_blocked(from, to) {
            self.lost(&packet);
            return Ok(());
        }
        self.arrive_past(packet)
    }

    /// A message arrives that has passed the links already.
    pub fn arrive_past(&mut self, packet: Packet) -> Check {
        let (from, to) = (self.slot_of(packet.message.from), self.slot_of(packet.message.to));
        let node = self.node(to);
        if node.id != packet.message.to || node.raft.is_none() {
            self.lost(&packet);
            return Ok(());
        }
        let Packet { message, snapshot } = packet;
        if let (MessageKind::Snapshot(meta), Some(state)) = (&message.kind, snapshot) {
            let report = Report { to: message.to, arrived: Some(meta.index) };
            self.node_mut(to).staged.push((meta.clone(), state));
            let sender = self.node_mut(from);
            if sender.id == message.from && sender.raft.is_some() {
                sender.reports.push_back(report);
            }
        }
        self.say(|| format!("{} <- {} term {} {:?}", message.to, message.from, message.term, message.kind));
        if let Some(raft) = self.raft(to) {
            raft.step(message).map_err(|error| error.to_string())?;
        }
        self.ended(to, false)
    }

    /// A machine loses power; of the writes under way some of the oldest survive.
    pub fn crash(&mut self, slot: usize) -> Check {
        if self.node(slot).raft.is_none() {
            return Ok(());
        }
        if self.swarm.crash_keeps {
            let kept = self.dice.below(self.node(slot).writes.len() + 1);
            for _ in 0..kept {
                if let Some(write) = self.node_mut(slot).writes.pop_front() {
                    self.put(slot, &write)?;
                }
            }
        }
        self.say(|| format!("{} crashes", self.node(slot).id));
        if !self.node(slot).writes.is_empty() {
            self.mark("crashes that lost writes");
        }
        self.node_mut(slot).stop();
        self.mark("crashes");
        Ok(())
    }

    /// A machine starts.
    pub fn restart(&mut self, slot: usize) -> Check {
        if self.node(slot).raft.is_some() {
            return Ok(());
        }
        let (seed, config) = (self.dice.bits(), self.config.clone());
        self.node_mut(slot).start(&config, seed)?;
        let node = self.node(slot);
        self.say(|| format!("{} starts at {:?}", node.id, node.disk.hard_state));
        if self.trace
            && std::env::var_os("RING0_RAFT").is_some()
            && let Some(raft) = self.raft(slot)
        {
            raft.set_trace(|line| highwater_sim::say!("        {line}"));
        }
        let node = self.node(slot);
        self.checker.applied(node.id, &node.state)?;
        if let Some(raft) = &node.raft {
            self.checker.membership(node.id, raft.membership(), node.state.index)?;
        }
        self.ended(slot, true)
    }

    /// A disk is lost for good, if the group survives that. The machine that comes in its place has another identity.
    pub fn lose_disk(&mut self, slot: usize) -> Check {
        let lost = self.node(slot).id;
        for slot in 0..self.nodes.len() {
            self.drive(slot)?;
        }
        let kept: Vec<NodeId> = self.nodes.iter().map(|node| node.id).filter(|id| *id != lost).collect();
        let memberships = self.memberships();
        if !memberships.iter().all(|members| members.new.is_empty() || members.is_quorum(|node| kept.contains(&node))) {
            return Ok(());
        }
        let same = self.mutant == 40;
        let id = if same { lost } else { NodeId(lost.0 + GENERATION) };
        if !same {
            let disk = self.node(slot).disk.clone();
            self.lost.push((lost, disk));
        }
        let known = if same { self.node(slot).disk.flushed.membership.clone() } else { Membership::default() };
        *self.node_mut(slot) = Replica::new(id, known);
        if same {
            self.node_mut(slot).disk.flushed = State { membership: Membership::default(), ..State::default() };
        }
        self.mark("disks lost");
        self.say(|| format!("{lost} loses its disk, {id} comes"));
        self.restart(slot)
    }

    /// A client's command.
    pub fn propose(&mut self, slot: usize) -> Check {
        let slot = self.a_leader(slot);
        self.next_command += 1;
        let (command, length) = (self.next_command, self.dice.between(0, self.swarm.command));
        let mut data = command.to_le_bytes().to_vec();
        data.resize(8 + length, 0);
        if let Some(raft) = self.raft(slot) {
            let before = raft.status();
            match raft.propose(Bytes::from(data)) {
                Ok(index) => must!(index == before.last.next(), "a proposal after {} got {index}", before.last),
                Err(_) => must!(raft.status() == before, "a refused proposal changed something"),
            }
        }
        self.ended(slot, false)
    }

    /// A client's read.
    pub fn read(&mut self, slot: usize) -> Check {
        let floor = self.checker.committed();
        let node = self.node_mut(slot);
        node.last_context += 1;
        let context = ReadContext(node.last_context);
        if let Some(raft) = &mut node.raft
            && raft.read_index(context).is_ok()
        {
            node.reads.push(Reading { context, floor, index: None });
        }
        self.ended(slot, false)
    }

    /// A change of membership is proposed.
    pub fn change(&mut self, slot: usize) -> Check {
        let slot = self.a_leader(slot);
        let ids: Vec<NodeId> = self.nodes.iter().map(|node| node.id).collect();
        let count = self.dice.pick(&[0, 1, 1, 1, 2, 3]);
        let steps = (0..count).map(|_| {
            let node = self.dice.pick(&ids);
            match self.dice.below(5) {
                0 => ConfChange::AddLearner(node),
                1 => ConfChange::Remove(node),
                _ => ConfChange::AddVoter(node),
            }
        });
        let steps = steps.collect();
        let transition = match self.dice.below(4) {
            0 => Transition::Joint,
            1 => Transition::JointUntilLeft,
            _ => Transition::Auto,
        };
        let change = MembershipChange { transition, steps, context: Bytes::new() };
        let node = self.node_mut(slot);
        let Some(raft) = &mut node.raft else { return Ok(()) };
        // Operators do not count on disks that are gone for good.
        let after = Members::of(raft.membership()).after(&change);
        if !after.is_quorum(|node| ids.contains(&node)) {
            return Ok(());
        }
        if let Ok(index) = raft.propose_membership_change(&change) {
            let (term, before) = node.proposed_change;
            let id = node.id;
            must!(
                term != raft.term() || before <= node.state.index,
                "I12: node {id} proposes a change at {index} while the one at {before} is not applied"
            );
            node.proposed_change = (raft.term(), index);
            self.mark("membership changes proposed");
        }
        self.ended(slot, false)
    }

    /// Leadership is handed over, or that is given up.
    pub fn transfer(&mut self, slot: usize) -> Check {
        let slot = self.a_leader(slot);
        let at = self.dice.below(self.nodes.len());
        let (to, abort) = (self.node(at).id, self.dice.chance(100));
        if let Some(raft) = self.raft(slot) {
            if abort {
                raft.abort_transfer();
            } else if raft.transfer_leader(to).is_ok() && raft.transferring_to().is_some() {
                self.mark("transfers begun");
            }
        }
        self.ended(slot, false)
    }

    /// A leader may let its group sleep.
    pub fn hibernate(&mut self, slot: usize) -> Check {
        let slot = self.a_leader(slot);
        let down: Vec<NodeId> = self.nodes.iter().filter(|node| node.raft.is_none()).map(|node| node.id).collect();
        if let Some(raft) = self.raft(slot)
            && !raft.status().hibernating
            && raft.hibernate(&down)
        {
            self.mark("groups put to sleep");
        }
        self.ended(slot, false)
    }
}
