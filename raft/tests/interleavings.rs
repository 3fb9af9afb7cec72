//! Random interleavings of propose, write, apply, read, compact, crash and restart against a model of the disk.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use bytes::Bytes;
use highwater_raft::{
    Config, Entry, EntryKind, GroupId, HardState, LogBounds, LogIndex, NodeId, RawNode, ReadContext, Ready,
    ReadyNumber, Term,
};
use quickcheck::{Arbitrary, Gen, QuickCheck};

#[derive(Clone, Copy, Debug)]
enum Step {
    Tick,
    Propose(u8),
    Ready,
    /// This many of the writes in flight complete, oldest first.
    Persist(u8),
    /// This many entries are applied.
    Apply(u8),
    Read,
    Compact,
    /// Power goes; this many of the writes in flight survive, oldest first. The effects of applied entries were flushed up to
    /// a fraction of them.
    Crash(u8, u8),
}

impl Arbitrary for Step {
    fn arbitrary(g: &mut Gen) -> Self {
        match u8::arbitrary(g) % 32 {
            0 => Self::Tick,
            1..=10 => Self::Propose(u8::arbitrary(g)),
            11..=17 => Self::Ready,
            18..=22 => Self::Persist(u8::arbitrary(g) % 4),
            23..=27 => Self::Apply(u8::arbitrary(g) % 6),
            28 => Self::Read,
            29 => Self::Compact,
            _ => Self::Crash(u8::arbitrary(g) % 3, u8::arbitrary(g)),
        }
    }
}

/// What a crash leaves, and what must be true over all lives.
#[derive(Default)]
struct World {
    hard_state: HardState,
    log: BTreeMap<LogIndex, Entry>,
    first: LogIndex,
    before_first: Term,
    /// Canonical history: what was applied at each index, by any life.
    history: BTreeMap<LogIndex, Entry>,
    /// Effects that survive a crash.
    flushed: LogIndex,
    next_read: u64,
}

struct Life {
    node: RawNode,
    writes: VecDeque<Ready>,
    to_apply: VecDeque<Entry>,
    applied: LogIndex,
    /// Highest index that this life or an earlier one has seen applied, at the time a read was asked for.
    asked: BTreeMap<ReadContext, LogIndex>,
}

impl World {
    fn start(&self, max_ready_bytes: usize) -> Life {
        let mut bounds = LogBounds::empty();
        if self.first > LogIndex(1) {
            bounds = LogBounds::starting_after(self.first.prev(), self.before_first);
        }
        for entry in self.log.values() {
            bounds.push(entry.index, entry.term).unwrap();
        }
        let mut config = Config::sole_voter(NodeId(1), GroupId(1));
        let limits = Rc::make_mut(&mut config.limits);
        limits.max_uncommitted_bytes = 600;
        limits.max_ready_bytes = max_ready_bytes;
        let mut node = RawNode::restart(config, self.hard_state, bounds, self.flushed).unwrap();
        node.campaign();
        Life { node, writes: VecDeque::new(), to_apply: VecDeque::new(), applied: self.flushed, asked: BTreeMap::new() }
    }

    fn write(&mut self, ready: &Ready) {
        if let Some(hard_state) = ready.hard_state {
            assert!(hard_state.term >= self.hard_state.term, "a stored term never goes back");
            assert!(
                hard_state.term > self.hard_state.term
                    || self.hard_state.vote.is_none()
                    || hard_state.vote == self.hard_state.vote,
                "a stored vote of a term never changes"
            );
            self.hard_state = hard_state;
        }
        for entry in &ready.entries {
            let last = self.log.keys().next_back().copied().unwrap_or(self.first.prev());
            assert_eq!(entry.index, last.next(), "a sole voter only ever appends");
            self.log.insert(entry.index, entry.clone());
        }
    }

    fn take(&mut self, life: &mut Life) {
        if !life.node.has_ready() {
            return;
        }
        let ready = life.node.ready();
        if let Some(committed) = &ready.committed {
            let mut entries = Vec::new();
            if let Some(stored) = committed.stored() {
                entries.extend(self.log.range(stored).map(|(_, entry)| entry.clone()));
            }
            entries.extend(committed.entries.iter().cloned());
            let indexes: Vec<u64> = entries.iter().map(|entry| entry.index.0).collect();
            assert_eq!(indexes, (committed.first.0..=committed.last.0).collect::<Vec<_>>(), "a run without gaps");
            for entry in entries {
                assert_eq!(self.log.get(&entry.index), Some(&entry), "only durable entries are handed over");
                let canonical = self.history.entry(entry.index).or_insert_with(|| entry.clone());
                assert_eq!(canonical, &entry, "what was committed at an index never changes");
                life.to_apply.push_back(entry);
            }
        }
        for read in &ready.read_states {
            let asked = life.asked.remove(&read.context).expect("every read is answered once");
            assert!(read.index >= asked, "a read never misses what was applied before it was asked for");
        }
        assert!(ready.failed_reads.is_empty(), "a sole voter does not lose leadership");
        if ready.must_sync {
            life.writes.push_back(ready);
        }
    }

    fn persist(&mut self, life: &mut Life, count: u8) {
        let mut newest = ReadyNumber(0);
        for _ in 0..count {
            let Some(ready) = life.writes.pop_front() else { break };
            self.write(&ready);
            newest = ready.number;
        }
        life.node.advance_append(newest).unwrap();
    }

    fn apply(&mut self, life: &mut Life, count: u8) {
        for _ in 0..count {
            let Some(entry) = life.to_apply.pop_front() else { break };
            assert_eq!(entry.index, life.applied.next(), "applied in order, once per life");
            life.applied = entry.index;
        }
        life.node.advance_apply(life.applied).unwrap();
    }

    fn run(&mut self, life: &mut Life, step: Step) {
        match step {
            Step::Tick => life.node.tick(),
            Step::Propose(size) => {
                let before = life.node.status();
                match life.node.propose(Bytes::from(vec![size; usize::from(size)])) {
                    Ok(index) => assert_eq!(index, before.last.next()),
                    Err(_) => assert_eq!(life.node.status(), before, "a refused proposal changes nothing"),
                }
            }
            Step::Ready => self.take(life),
            Step::Persist(count) => self.persist(life, count),
            Step::Apply(count) => self.apply(life, count),
            Step::Read => {
                self.next_read += 1;
                let context = ReadContext(self.next_read);
                if life.node.read_index(context).is_ok() {
                    life.asked.insert(context, self.history.keys().next_back().copied().unwrap_or_default());
                }
            }
            Step::Compact => {
                self.flushed = self.flushed.max(life.applied);
                let first = self.flushed.next();
                life.node.compact(first).unwrap();
                self.before_first = life.node.term_at(first.prev()).unwrap_or(self.before_first);
                self.first = first;
                self.log = self.log.split_off(&first);
            }
            Step::Crash(surviving, flushed) => {
                for _ in 0..surviving {
                    if let Some(ready) = life.writes.pop_front() {
                        self.write(&ready);
                    }
                }
                let unflushed = life.applied.0 - self.flushed.0;
                self.flushed = LogIndex(self.flushed.0 + unflushed * u64::from(flushed) / 255);
                *life = self.start(1 + usize::from(flushed) * 3);
            }
        }
        life.node.invariants().unwrap();
    }

    /// Everything that was appended becomes applied when the disk keeps up.
    fn settle(&mut self, life: &mut Life) {
        let mut turns = 0;
        while life.node.has_ready() || !life.writes.is_empty() || !life.to_apply.is_empty() {
            self.take(life);
            self.persist(life, u8::MAX);
            self.apply(life, u8::MAX);
            turns += 1;
            assert!(turns < 100_000, "the replica never comes to rest");
        }
        let status = life.node.status();
        assert!(life.node.is_leader());
        assert_eq!(
            (status.applied, status.commit, status.uncommitted_bytes, status.waiting_reads),
            (status.last, status.last, 0, 0)
        );
        assert!(life.asked.is_empty(), "every read is answered");
    }
}

#[test]
fn no_interleaving_of_writes_applies_and_crashes_loses_or_changes_a_committed_entry() {
    fn property(steps: Vec<Step>) -> bool {
        let mut world = World { first: LogIndex(1), ..World::default() };
        let mut life = world.start(64);
        for step in steps {
            world.run(&mut life, step);
        }
        world.settle(&mut life);
        let committed = world.history.len() as u64;
        life = world.start(64);
        world.settle(&mut life);
        // One no-op per life, and nothing else new.
        world.history.len() as u64 == committed + 1
            && world.history.values().last().is_some_and(|entry| entry.kind == EntryKind::Noop)
    }
    QuickCheck::new().tests(3_000).rng(Gen::new(300)).quickcheck(property as fn(Vec<Step>) -> bool);
}

#[test]
fn the_same_calls_leave_the_same_trace() {
    fn property(steps: Vec<Step>) -> bool {
        let trace = || {
            let lines = Rc::new(RefCell::new(Vec::new()));
            let mut world = World { first: LogIndex(1), ..World::default() };
            let mut life = world.start(64);
            let sink = Rc::clone(&lines);
            life.node.set_trace(move |line| sink.borrow_mut().push(line.to_owned()));
            for step in steps.iter().filter(|step| !matches!(step, Step::Crash(..))) {
                world.run(&mut life, *step);
            }
            lines.take()
        };
        let first: Vec<String> = trace();
        first == trace()
    }
    QuickCheck::new().tests(200).quickcheck(property as fn(Vec<Step>) -> bool);
}

#[test]
fn a_transition_is_one_line_of_json() {
    let lines = Rc::new(RefCell::new(Vec::new()));
    let sink = Rc::clone(&lines);
    let mut node = RawNode::restart(
        Config::sole_voter(NodeId(4), GroupId(2)),
        HardState::default(),
        LogBounds::empty(),
        LogIndex(0),
    )
    .unwrap();
    node.set_trace(move |line| sink.borrow_mut().push(line.to_owned()));
    node.campaign();
    assert_eq!(
        lines.borrow().as_slice(),
        [
            r#"{"event":"campaign","group":2,"node":4,"role":"candidate","term":1,"last":0,"persisted":0,"commit":0,"handed_over":0,"applied":0}"#
        ]
    );
}

#[test]
fn entries_out_of_order_make_no_log() {
    let mut bounds = LogBounds::starting_after(LogIndex(5), Term(3));
    assert!(bounds.push(LogIndex(7), Term(3)).is_err(), "a gap");
    assert!(bounds.push(LogIndex(6), Term(2)).is_err(), "a lower term");
    bounds.push(LogIndex(6), Term(4)).unwrap();
    assert_eq!([4, 5, 6, 7].map(|index| bounds.term(LogIndex(index))), [None, Some(Term(3)), Some(Term(4)), None]);
}
