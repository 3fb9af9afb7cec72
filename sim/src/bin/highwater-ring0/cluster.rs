//! One group on several machines, and the steps that happen to it. Every step ends with the checks of what it touched.

use std::collections::BTreeMap;

use bytes::Bytes;
use highwater_raft::{
    ConfChange, Config, Entry, EntryKind, GroupId, LogIndex, Membership, MembershipChange, Message, MessageKind,
    NodeId, RawNode, ReadContext, Ready, Role, SnapshotMeta, Transition,
};

use crate::checker::{Check, Checker, hash_of, must};
use crate::dice::{Dice, chained};
use crate::disk::{Disk, State, Write};
use crate::network::{Network, Packet};
use crate::oracle::Members;
use crate::replica::{Reading, Replica, Report, Seen};
use crate::swarm::{Action, Swarm};

/// Whole checks come once in so many steps.
const WHOLE: u64 = 256;
/// Ids of machines that come into one place differ by this.
const GENERATION: u64 = 16;

/// The group, its machines, and everything that happened.
pub struct Cluster {
    /// The seed's sequence.
    pub dice: Dice,
    /// The seed's world.
    pub swarm: Swarm,
    /// How replicas are set up.
    pub config: Config,
    /// The machines.
    pub nodes: Vec<Replica>,
    /// Disks that were lost: what they held when they were counted stays counted.
    lost: Vec<(NodeId, Disk)>,
    /// What is between them.
    pub network: Network,
    /// What must hold.
    pub checker: Checker,
    /// Hash of everything that happened.
    pub hash: u64,
    /// Steps done.
    pub steps: u64,
    /// How often things happened that a campaign must have seen.
    pub marks: BTreeMap<&'static str, u64>,
    /// The planted bug, 0 for none.
    pub mutant: u32,
    /// Whether every step is printed.
    pub trace: bool,
    /// Messages that were sent.
    pub sent: u64,
    next_command: u64,
}

impl Cluster {
    /// The world of `seed`, all machines up.
    pub fn new(seed: u64, mutant: u32, trace: bool) -> Result<Self, String> {
        let mut dice = Dice::new(seed);
        let swarm = Swarm::draw(&mut dice);
        let ids: Vec<NodeId> = (1..=swarm.slots as u64).map(NodeId).collect();
        let (voters, rest) = ids.split_at(swarm.voters);
        let membership = Membership::new(voters, rest.get(..swarm.learners).unwrap_or_default());
        let mut config = Config::member(NodeId(1), GroupId(7), membership.clone());
        Swarm::limit(&mut dice, &mut config);
        #[cfg(feature = "mutants")]
        {
            config.mutant = mutant;
        }
        let nodes = ids.iter().map(|id| {
            let known = if membership.contains(*id) { membership.clone() } else { Membership::default() };
            Replica::new(*id, known)
        });
        let mut cluster = Self {
            nodes: nodes.collect(),
            lost: Vec::new(),
            network: Network::new(swarm.slots),
            checker: Checker::new(Members::of(&membership)),
            dice,
            swarm,
            config,
            hash: 0,
            steps: 0,
            marks: BTreeMap::new(),
            mutant,
            trace,
            sent: 0,
            next_command: 0,
        };
        for slot in 0..cluster.nodes.len() {
            cluster.restart(slot)?;
        }
        Ok(cluster)
    }

    #[expect(clippy::indexing_slicing, reason = "slots are drawn below the number of machines")]
    pub fn node(&self, slot: usize) -> &Replica {
        &self.nodes[slot]
    }

    #[expect(clippy::indexing_slicing, reason = "slots are drawn below the number of machines")]
    pub fn node_mut(&mut self, slot: usize) -> &mut Replica {
        &mut self.nodes[slot]
    }

    fn raft(&mut self, slot: usize) -> Option<&mut RawNode> {
        self.node_mut(slot).raft.as_mut()
    }

    fn slot_of(&self, id: NodeId) -> usize {
        ((id.0 - 1) % GENERATION) as usize % self.nodes.len()
    }

    /// Counts something that a campaign must have seen.
    pub fn mark(&mut self, what: &'static str) {
        *self.marks.entry(what).or_default() += 1;
    }

    /// Prints, when everything is to be printed.
    pub fn say(&self, what: impl FnOnce() -> String) {
        if self.trace {
            println!("{:>7} {}", self.steps, what());
        }
    }

    /// One step of the safety phase.
    pub fn step(&mut self) -> Check {
        let action = self.swarm.action(&mut self.dice);
        let slot = self.dice.below(self.nodes.len());
        match action {
            Action::Deliver => match self.network.take(&mut self.dice, self.swarm.overtaking) {
                Some(packet) => self.deliver(packet),
                None => self.tick(slot),
            },
            Action::Stale => match self.network.old(&mut self.dice) {
                // It passed the broken link while that still worked.
                Some(packet) => self.arrive_past(packet),
                None => self.tick(slot),
            },
            // A slow clock, or a machine that stands still now and then.
            Action::Tick if self.swarm.slow >> slot & 1 == 1 && self.dice.chance(900) => self.ended(slot, false),
            Action::Tick => self.tick(slot),
            Action::Write => {
                let slot = self.first_from(slot, |node| !node.writes.is_empty());
                self.write(slot)
            }
            Action::Apply => {
                let slot = self.first_from(slot, |node| !node.applies.is_empty());
                let count = self.dice.between(1, self.swarm.apply);
                self.apply(slot, count)
            }
            Action::Drive => self.ended(slot, true),
            Action::Propose => self.propose(slot),
            Action::Read => self.read(slot),
            Action::LogRead => {
                let slot = self.first_from(slot, |node| !node.log_reads.is_empty());
                self.log_read(slot)
            }
            Action::Snapshot => {
                let slot = self.first_from(slot, |node| !node.wanted.is_empty());
                let fails = self.dice.chance(100);
                self.snapshot(slot, fails)
            }
            Action::Report => {
                let slot = self.first_from(slot, |node| !node.reports.is_empty());
                self.report(slot)
            }
            Action::Compact => self.compact(slot),
            Action::Crash => {
                let slot = if self.dice.chance(400) { self.a_leader(slot) } else { slot };
                self.crash(slot)
            }
            Action::Restart => {
                let slot = self.first_from(slot, |node| node.raft.is_none());
                self.restart(slot)
            }
            Action::Partition => {
                self.mark("partitions");
                let leader = self.dice.chance(300).then(|| self.a_leader(slot));
                self.network.partition(&mut self.dice, leader);
                Ok(())
            }
            Action::Heal => {
                self.network.heal();
                Ok(())
            }
            Action::Change => self.change(slot),
            Action::Transfer => self.transfer(slot),
            Action::Hibernate => self.hibernate(slot),
            Action::Alarm => {
                if let Some(raft) = self.raft(slot) {
                    raft.forget_leader();
                }
                self.ended(slot, false)
            }
            Action::Campaign => {
                if let Some(raft) = self.raft(slot) {
                    raft.campaign();
                }
                self.ended(slot, false)
            }
            Action::LoseDisk => self.lose_disk(slot),
        }?;
        self.steps += 1;
        self.hash = chained(self.hash, action as u64);
        if self.steps.is_multiple_of(WHOLE) {
            for node in &self.nodes {
                if let Some(raft) = &node.raft {
                    self.checker.whole(node.id, raft, &node.disk)?;
                }
            }
        }
        Ok(())
    }

    /// The first machine from `slot` on, round and round, that has work; `slot` if none has.
    fn first_from(&self, slot: usize, has_work: impl Fn(&Replica) -> bool) -> usize {
        let count = self.nodes.len();
        (slot..slot + count).map(|slot| slot % count).find(|slot| has_work(self.node(*slot))).unwrap_or(slot)
    }

    /// A leader, or `slot` if there is none.
    pub fn a_leader(&self, slot: usize) -> usize {
        self.first_from(slot, |node| node.raft.as_ref().is_some_and(RawNode::is_leader))
    }

    /// The timer of a machine.
    pub fn tick(&mut self, slot: usize) -> Check {
        if let Some(raft) = self.raft(slot) {
            raft.tick();
        }
        self.ended(slot, false)
    }

    /// The next message reaches the end of its way, or does not.
    fn deliver(&mut self, packet: Packet) -> Check {
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

    /// The oldest write of a machine becomes durable.
    pub fn write(&mut self, slot: usize) -> Check {
        let Some(write) = self.node_mut(slot).writes.pop_front() else { return Ok(()) };
        self.put(slot, &write)?;
        for message in write.messages {
            self.send(slot, message, None)?;
        }
        let node = self.node_mut(slot);
        let Some(raft) = &mut node.raft else { return Ok(()) };
        raft.advance_append(write.number).map_err(|error| error.to_string())?;
        if let Some((meta, _)) = write.snapshot {
            node.state = node.disk.flushed.clone();
            node.applies.clear();
            let (id, state) = (node.id, node.state.clone());
            self.mark("snapshots installed");
            self.checker.applied(id, &state)?;
            self.checker.membership(id, &state.membership, meta.index)?;
        }
        self.ended(slot, false)
    }

    fn put(&mut self, slot: usize, write: &Write) -> Check {
        let forgets_vote = self.mutant == 3;
        let node = self.node_mut(slot);
        let id = node.id;
        let cut = write.entries.first().is_some_and(|entry| entry.index <= node.disk.last());
        node.disk.put(write).map_err(|what| format!("node {id}: {what}"))?;
        if forgets_vote {
            node.disk.hard_state.vote = None;
        }
        if let Some(vote) = write.hard_state.and_then(|hard_state| hard_state.vote.map(|vote| (hard_state.term, vote)))
        {
            self.checker.voted(vote.0, id, vote.1)?;
        }
        if cut {
            self.mark("logs truncated");
        }
        Ok(())
    }

    /// A machine applies up to `count` entries.
    pub fn apply(&mut self, slot: usize, count: usize) -> Check {
        let mut changed = false;
        for _ in 0..count {
            let Self { nodes, checker, marks, .. } = self;
            let Some(node) = nodes.get_mut(slot) else { return Ok(()) };
            let Some(entry) = node.applies.pop_front() else { break };
            let (id, Some(raft)) = (node.id, &mut node.raft) else { return Ok(()) };
            must!(
                entry.index == node.state.index.next(),
                "I9: node {id} applies {} after {}",
                entry.index,
                node.state.index
            );
            node.state.index = entry.index;
            node.state.chain = chained(node.state.chain, hash_of(&entry));
            if entry.kind == EntryKind::ConfChange {
                node.state.membership = raft.apply_membership_change(&entry).map_err(|error| error.to_string())?;
                changed = true;
                checker.membership(id, raft.membership(), entry.index)?;
                if raft.membership().is_joint() {
                    *marks.entry("joint memberships applied").or_default() += 1;
                }
            }
            checker.applied(id, &node.state)?;
        }
        let node = self.node_mut(slot);
        let index = node.state.index;
        if let Some(raft) = &mut node.raft {
            raft.advance_apply(index).map_err(|error| error.to_string())?;
        }
        if changed {
            self.mark("membership changes applied");
        }
        self.serve(slot)?;
        self.ended(slot, false)
    }

    /// Answers the reads whose index is applied.
    fn serve(&mut self, slot: usize) -> Check {
        let early = self.mutant == 24;
        let node = self.node_mut(slot);
        let (id, applied) = (node.id, node.state.index);
        let before = node.reads.len();
        let mut stale = None;
        node.reads.retain(|read| {
            let served = read.index.is_some_and(|index| index <= applied || early);
            if served && read.floor > applied {
                stale = Some(*read);
            }
            !served
        });
        let served = before - node.reads.len();
        must!(stale.is_none(), "I21: node {id} answers {stale:?} with its state at {applied}");
        if served > 0 {
            *self.marks.entry("reads served").or_default() += served as u64;
        }
        Ok(())
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

    /// The log is read for a follower.
    pub fn log_read(&mut self, slot: usize) -> Check {
        let node = self.node_mut(slot);
        let Some(read) = node.log_reads.pop_front() else { return Ok(()) };
        let mut bytes = 0;
        let mut entries: Vec<Entry> = Vec::new();
        for index in read.first.0..=read.last.0 {
            let Some(entry) = node.disk.entry(LogIndex(index)) else { break };
            bytes += entry.size().max(1);
            if bytes > read.max_bytes && !entries.is_empty() {
                break;
            }
            entries.push(entry.clone());
        }
        if let Some(raft) = &mut node.raft {
            raft.log_read(&read, entries).map_err(|error| error.to_string())?;
        }
        self.mark("log reads for followers");
        self.ended(slot, false)
    }

    /// A snapshot is cut for a member that wants one, and sent.
    pub fn snapshot(&mut self, slot: usize, fails: bool) -> Check {
        let node = self.node_mut(slot);
        let Some(to) = node.wanted.pop_front() else { return Ok(()) };
        let Some(raft) = &mut node.raft else { return Ok(()) };
        let term = raft.term_at(node.state.index).filter(|_| node.state.index > LogIndex(0) && !fails);
        let mut announced = None;
        if let Some(term) = term {
            let meta = SnapshotMeta { index: node.state.index, term, membership: node.state.membership.clone() };
            announced = raft.snapshot_cut(to, meta).ok();
        } else {
            raft.snapshot_failed(to);
        }
        if let Some(message) = announced {
            let state = node.state.clone();
            self.mark("snapshots sent");
            self.send(slot, message, Some(state))?;
        }
        self.ended(slot, false)
    }

    /// A driver learns how a transfer ended.
    pub fn report(&mut self, slot: usize) -> Check {
        let node = self.node_mut(slot);
        let Some(report) = node.reports.pop_front() else { return Ok(()) };
        if let Some(raft) = &mut node.raft {
            match report.arrived {
                Some(index) => raft.snapshot_sent(report.to, index),
                None => raft.snapshot_failed(report.to),
            }
        }
        self.ended(slot, false)
    }

    /// The state is flushed, and the log perhaps cut.
    fn compact(&mut self, slot: usize) -> Check {
        let cut = self.dice.chance(self.swarm.cut);
        let back = self.dice.below(6) as u64;
        let node = self.node_mut(slot);
        let installing = node.writes.iter().any(|write| write.snapshot.is_some());
        if let Some(raft) = &mut node.raft
            && !installing
        {
            node.disk.flushed = node.state.clone();
            let first = LogIndex((node.state.index.0 + 1).saturating_sub(back));
            if cut && first > node.disk.first {
                raft.compact(first).map_err(|error| error.to_string())?;
                node.disk.cut(first);
                self.mark("logs cut");
            }
        }
        self.ended(slot, false)
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
            raft.set_trace(|line| println!("        {line}"));
        }
        let node = self.node(slot);
        self.checker.applied(node.id, &node.state)?;
        if let Some(raft) = &node.raft {
            self.checker.membership(node.id, raft.membership(), node.state.index)?;
        }
        self.ended(slot, true)
    }

    /// A change of membership is proposed.
    fn change(&mut self, slot: usize) -> Check {
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

    fn transfer(&mut self, slot: usize) -> Check {
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

    fn hibernate(&mut self, slot: usize) -> Check {
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

    /// A disk is lost for good, if the group survives that. The machine that comes in its place has another identity.
    fn lose_disk(&mut self, slot: usize) -> Check {
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

    /// Every membership that some node goes by, or could come to go by.
    pub fn memberships(&self) -> Vec<Members> {
        let mut all = self.checker.possible_members();
        for node in &self.nodes {
            all.push(Members::of(&node.disk.flushed.membership));
            all.extend(node.raft.as_ref().map(|raft| Members::of(raft.membership())));
        }
        all
    }

    /// Sends, after looking whether what is said is on the sender's disk.
    fn send(&mut self, slot: usize, message: Message, snapshot: Option<State>) -> Check {
        self.checker.says(&self.node(slot).disk, &message)?;
        self.sent += 1;
        self.put_on_its_way(Packet { message, snapshot });
        Ok(())
    }

    fn put_on_its_way(&mut self, packet: Packet) {
        if let Some(lost) = self.network.send(packet) {
            self.lost(&lost);
        }
    }

    /// Ends a step of one machine: its driver takes what is ready, now or later, and what it touched is checked.
    pub fn ended(&mut self, slot: usize, drive: bool) -> Check {
        if self.node(slot).raft.is_none() {
            return Ok(());
        }
        self.check(slot)?;
        if drive || self.swarm.lag == 0 || !self.dice.chance(self.swarm.lag) {
            self.drive(slot)?;
        }
        Ok(())
    }

    /// The driver takes everything that is ready.
    pub fn drive(&mut self, slot: usize) -> Check {
        let mut turns = 0;
        while let Some(raft) = self.raft(slot).filter(|raft| raft.has_ready()) {
            let ready = raft.ready();
            let before = ready.entries.first().and_then(|entry| raft.term_at(entry.index.prev()));
            self.checker.given(&ready.entries, before)?;
            self.take(slot, ready)?;
            self.check(slot)?;
            turns += 1;
            must!(turns < 10_000, "node {} is never done with its readies", self.node(slot).id);
        }
        Ok(())
    }

    fn take(&mut self, slot: usize, ready: Ready) -> Check {
        let node = self.node_mut(slot);
        let id = node.id;
        let snapshot = match ready.snapshot {
            Some(meta) => {
                let staged = node.staged.drain(..).rev().find(|(staged, _)| *staged == meta);
                node.applies.clear();
                let (_, state) = staged.ok_or_else(|| format!("node {id} installs {meta:?}, which never came"))?;
                Some((meta, state))
            }
            None => None,
        };
        if let Some(committed) = ready.committed {
            must!(snapshot.is_none(), "a ready both installs and applies");
            let mut next = committed.first;
            if let Some(stored) = committed.stored() {
                for index in stored.start().0..=stored.end().0 {
                    let entry = node.disk.entry(LogIndex(index));
                    node.applies
                        .push_back(entry.ok_or_else(|| format!("node {id}: {index} is not on its disk"))?.clone());
                    next = LogIndex(index + 1);
                }
            }
            must!(
                committed.entries.iter().zip(next.0..).all(|(entry, index)| entry.index.0 == index),
                "node {id}: entries are handed over with gaps"
            );
            node.applies.extend(committed.entries);
        }
        if ready.must_sync || !ready.persisted_messages.is_empty() {
            node.writes.push_back(Write {
                number: ready.number,
                snapshot,
                hard_state: ready.hard_state,
                entries: ready.entries,
                messages: ready.persisted_messages,
            });
        }
        node.log_reads.extend(ready.log_reads);
        node.wanted.extend(ready.snapshots_wanted);
        for context in ready.failed_reads {
            node.reads.retain(|read| read.context != context);
        }
        let mut served = false;
        for state in ready.read_states {
            let read = node.reads.iter_mut().find(|read| read.context == state.context && read.index.is_none());
            let Some(read) = read else { return Err(format!("node {id}: {state:?} answers no read")) };
            must!(state.index >= read.floor, "I21: node {id}: {state:?} answers {read:?}: a stale read");
            read.index = Some(state.index);
            served = true;
        }
        if served {
            self.serve(slot)?;
        }
        for message in ready.messages {
            self.send(slot, message, None)?;
        }
        Ok(())
    }

    /// Checks what a step of one machine changed.
    fn check(&mut self, slot: usize) -> Check {
        let Self { nodes, checker, marks, lost, .. } = self;
        let Some(node) = nodes.get(slot) else { return Ok(()) };
        let Some(raft) = &node.raft else { return Ok(()) };
        let (id, seen) = (node.id, node.seen);
        raft.step_invariants().map_err(|error| format!("node {id}: {error}"))?;
        let status = raft.status();
        must!(status.term >= seen.term, "I2: the term of node {id} goes from {} to {}", seen.term, status.term);
        must!(status.commit >= seen.commit, "I2: commit of node {id} goes from {} to {}", seen.commit, status.commit);
        must!(
            status.applied >= seen.applied,
            "I2: applied of node {id} goes from {} to {}",
            seen.applied,
            status.applied
        );
        let new_leader = status.role == Role::Leader && (seen.role != Role::Leader || seen.term != status.term);
        if new_leader {
            checker.leads(id, raft)?;
            *marks.entry("elections").or_default() += 1;
        }
        if matches!(status.role, Role::PreCandidate | Role::Candidate) {
            let unapplied = checker.first_change_after(node.state.index).filter(|change| *change <= status.commit);
            must!(unapplied.is_none(), "I12: node {id} campaigns and has not applied the change at {unapplied:?}");
        }
        if status.commit > seen.commit {
            let led = status.role == Role::Leader || seen.role == Role::Leader;
            let holds = |node: NodeId, index, term| {
                let disks = nodes.iter().map(|other| (other.id, &other.disk));
                let lost = lost.iter().map(|(id, disk)| (*id, disk));
                disks.chain(lost).any(|(id, disk)| id == node && disk.holds(index, term))
            };
            checker.commits(id, raft, seen.commit, led, holds)?;
        }
        let seen = Seen { role: status.role, term: status.term, commit: status.commit, applied: status.applied };
        if let Some(node) = nodes.get_mut(slot) {
            node.seen = seen;
        }
        let digest = (status.term.0 << 48) ^ (status.commit.0 << 32) ^ (status.last.0 << 16) ^ (status.applied.0 << 4);
        self.hash = chained(self.hash, digest ^ (slot as u64) ^ ((status.role as u64) << 60));
        Ok(())
    }
}
