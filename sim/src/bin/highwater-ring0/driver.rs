//! What a machine's driver does with its replica: writes, applies, reads of the log, snapshots, answers to clients. Every call ends
//! with the checks of what it touched.

use highwater_raft::{Entry, EntryKind, LogIndex, Message, NodeId, Ready, Role, SnapshotMeta};

use crate::checker::{Check, hash_of, must};
use crate::cluster::Cluster;
use crate::dice::chained;
use crate::disk::{State, Write};
use crate::network::Packet;
use crate::replica::Seen;

impl Cluster {
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

    /// A write reaches the disk.
    pub fn put(&mut self, slot: usize, write: &Write) -> Check {
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
    pub fn serve(&mut self, slot: usize) -> Check {
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
    pub fn compact(&mut self, slot: usize) -> Check {
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

    /// Sends, after looking whether what is said is on the sender's disk.
    pub fn send(&mut self, slot: usize, message: Message, snapshot: Option<State>) -> Check {
        self.checker.says(&self.node(slot).disk, &message)?;
        self.sent += 1;
        self.put_on_its_way(Packet { message, snapshot });
        Ok(())
    }

    /// Hands a message to the network.
    pub fn put_on_its_way(&mut self, packet: Packet) {
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

    /// The driver takes one ready.
    pub fn take(&mut self, slot: usize, ready: Ready) -> Check {
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
    pub fn check(&mut self, slot: usize) -> Check {
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
