//! What a node finds again after a crash: hard state, log, and the state that was flushed last. Writes complete in order; a
//! crash loses those that did not.

use std::collections::VecDeque;

use highwater_raft::{
    Entry, HardState, LogBounds, LogIndex, Membership, Message, ReadyNumber, SnapshotMeta, Term, TermRun,
};

/// The state machine: how far it is, a chain of hashes of everything that it applied, and who belongs to the group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Last entry applied.
    pub index: LogIndex,
    /// Hash of all of them.
    pub chain: u64,
    /// Membership as of that entry.
    pub membership: Membership,
}

/// A ready's write, on its way to the disk.
#[derive(Clone, Debug)]
pub struct Write {
    /// What is reported when it is durable.
    pub number: ReadyNumber,
    /// A snapshot to install, with its content.
    pub snapshot: Option<(SnapshotMeta, State)>,
    /// Term, vote and commit.
    pub hard_state: Option<HardState>,
    /// Entries to put in place.
    pub entries: Vec<Entry>,
    /// What may be said then.
    pub messages: Vec<Message>,
}

/// One node's disk.
#[derive(Clone, Debug)]
pub struct Disk {
    /// As last written.
    pub hard_state: HardState,
    /// Index of the first entry held.
    pub first: LogIndex,
    /// Term of the entry before it.
    pub term_before: Term,
    /// The entries.
    pub log: VecDeque<Entry>,
    /// The state that a restart finds.
    pub flushed: State,
}

impl Disk {
    /// An empty disk of a node that knows of `membership`.
    pub fn new(membership: Membership) -> Self {
        Self {
            hard_state: HardState::default(),
            first: LogIndex(1),
            term_before: Term(0),
            log: VecDeque::new(),
            flushed: State { membership, ..State::default() },
        }
    }

    /// Last index held.
    pub fn last(&self) -> LogIndex {
        LogIndex(self.first.0 + self.log.len() as u64 - 1)
    }

    /// The entry at `index`.
    pub fn entry(&self, index: LogIndex) -> Option<&Entry> {
        self.log.get(usize::try_from(index.0.checked_sub(self.first.0)?).ok()?)
    }

    /// Whether it holds the entry at `index` of `term`, or effects of it.
    pub fn holds(&self, index: LogIndex, term: Term) -> bool {
        index < self.first || self.entry(index).is_some_and(|entry| entry.term == term)
    }

    /// The log as a starting replica wants to know it.
    pub fn bounds(&self) -> Result<LogBounds, String> {
        let mut runs: Vec<TermRun> = Vec::new();
        if self.first > LogIndex(1) {
            runs.push(TermRun { first: LogIndex(self.first.0 - 1), term: self.term_before });
        }
        for entry in &self.log {
            if runs.last().is_none_or(|run| run.term != entry.term) {
                runs.push(TermRun { first: entry.index, term: entry.term });
            }
        }
        LogBounds::with_terms(self.first..=self.last(), runs).map_err(|error| error.to_string())
    }

    /// A write becomes durable.
    pub fn put(&mut self, write: &Write) -> Result<(), String> {
        if let Some((meta, state)) = &write.snapshot {
            if meta.index < self.flushed.index {
                return Err(format!("a snapshot at {} replaces state at {}", meta.index, self.flushed.index));
            }
            self.flushed = state.clone();
            self.flushed.membership.clone_from(&meta.membership);
            (self.first, self.term_before) = (meta.index.next(), meta.term);
            self.log.clear();
        }
        if let Some(hard_state) = write.hard_state {
            let before = self.hard_state;
            if hard_state.term < before.term || hard_state.commit < before.commit {
                return Err(format!("{hard_state:?} is written over {before:?}"));
            }
            if hard_state.term == before.term && before.vote.is_some() && hard_state.vote != before.vote {
                return Err(format!("a vote changes within its term: {before:?}, then {hard_state:?}"));
            }
            self.hard_state = hard_state;
        }
        if let Some(entry) = write.entries.first() {
            if entry.index > self.last().next() || entry.index < self.first {
                return Err(format!("entry {} is written to a log of {} to {}", entry.index, self.first, self.last()));
            }
            self.log.truncate(usize::try_from(entry.index.0 - self.first.0).unwrap_or(0));
        }
        self.log.extend(write.entries.iter().cloned());
        if self.hard_state.commit > self.last() {
            return Err(format!("{:?} is stored with a log that ends at {}", self.hard_state, self.last()));
        }
        Ok(())
    }

    /// Gives up the entries below `first`.
    pub fn cut(&mut self, first: LogIndex) {
        while self.first < first {
            let Some(entry) = self.log.pop_front() else { return };
            (self.first, self.term_before) = (entry.index.next(), entry.term);
        }
    }
}
