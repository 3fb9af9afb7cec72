//! A group's log as the state machine sees it: marks, terms, and the tail of entries that are still needed in memory.
//!
//! Invariants: `first <= last + 1`; `applied <= handed_over <= min(commit, persisted)`; `commit <= last`;
//! `persisted <= given <= last`. The tail is contiguous and ends at `last`; an entry leaves it once it is both persisted
//! and handed over to apply. Must never hold what storage alone has to remember.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use bytes::Bytes;

use crate::entry::{Entry, EntryKind};
use crate::error::RaftError;
use crate::ids::{LogIndex, Term};
use crate::ready::Committed;
use crate::terms::{TermRun, TermRuns};

/// What storage holds of a group's log when its replica starts: which indexes, and their terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogBounds {
    first: LogIndex,
    last: LogIndex,
    terms: TermRuns,
}

impl LogBounds {
    /// A log that never held an entry.
    #[must_use]
    pub fn empty() -> Self {
        Self { first: LogIndex(1), last: LogIndex(0), terms: TermRuns::default() }
    }

    /// An empty log whose entries up to and including `index`, of `term`, are gone: a snapshot covers them.
    #[must_use]
    pub fn starting_after(index: LogIndex, term: Term) -> Self {
        let terms = TermRuns::new(vec![TermRun { first: index, term }]).unwrap_or_default();
        Self { first: index.next(), last: index, terms }
    }

    /// A log that holds `indexes`, of which only the last one's term is known. That is enough for a sole voter.
    #[must_use]
    pub fn with_last_term(indexes: RangeInclusive<LogIndex>, last_term: Term) -> Self {
        let (first, last) = indexes.into_inner();
        let terms = TermRuns::new(vec![TermRun { first: last, term: last_term }]).unwrap_or_default();
        Self { first, last, terms }
    }

    /// Adds the entry that storage holds next.
    ///
    /// # Errors
    /// [`RaftError::LogOutOfOrder`] when `index` does not follow the last one, or `term` is lower than the last one's.
    pub fn push(&mut self, index: LogIndex, term: Term) -> Result<(), RaftError> {
        let last_term = self.last_term();
        if index != self.last.next() || term < last_term || term == Term(0) {
            return Err(RaftError::LogOutOfOrder { index, term, last: self.last, last_term });
        }
        self.terms.push(index, term);
        self.last = index;
        Ok(())
    }

    /// The first index that storage holds; one above the last of an empty log.
    #[must_use]
    pub fn first_index(&self) -> LogIndex {
        self.first
    }

    /// The last index that storage holds.
    #[must_use]
    pub fn last_index(&self) -> LogIndex {
        self.last
    }

    /// The term of the last index; 0 for a log that never held an entry.
    #[must_use]
    pub fn last_term(&self) -> Term {
        self.terms.last().map_or(Term(0), |run| run.term)
    }

    /// The term at `index`, if the log holds it (or it is the one just before the first) and its term is known.
    #[must_use]
    pub fn term(&self, index: LogIndex) -> Option<Term> {
        (index >= self.first.prev() && index <= self.last).then(|| self.terms.at(index)).flatten()
    }
}

/// The log in memory.
#[derive(Clone, Debug)]
pub(crate) struct RaftLog {
    first: LogIndex,
    last: LogIndex,
    terms: TermRuns,
    tail: VecDeque<Entry>,
    /// Last index given to the driver to persist.
    given: LogIndex,
    persisted: LogIndex,
    commit: LogIndex,
    handed_over: LogIndex,
    applied: LogIndex,
    /// Bytes of the tail's entries above `commit`.
    uncommitted_bytes: usize,
    /// Hand-overs that are not wholly applied: their last index and the budget that they hold.
    in_apply: VecDeque<(LogIndex, usize)>,
    /// Sum of those budgets.
    in_apply_bytes: usize,
}

impl RaftLog {
    /// A log as storage holds it, everything in it persisted. The marks were checked by the caller.
    pub(crate) fn restored(bounds: LogBounds, commit: LogIndex, applied: LogIndex) -> Self {
        Self {
            first: bounds.first,
            last: bounds.last,
            terms: bounds.terms,
            tail: VecDeque::new(),
            given: bounds.last,
            persisted: bounds.last,
            commit,
            handed_over: applied,
            applied,
            uncommitted_bytes: 0,
            in_apply: VecDeque::new(),
            in_apply_bytes: 0,
        }
    }

    pub(crate) fn first(&self) -> LogIndex {
        self.first
    }

    pub(crate) fn last(&self) -> LogIndex {
        self.last
    }

    pub(crate) fn last_term(&self) -> Term {
        self.terms.last().map_or(Term(0), |run| run.term)
    }

    pub(crate) fn given(&self) -> LogIndex {
        self.given
    }

    pub(crate) fn persisted(&self) -> LogIndex {
        self.persisted
    }

    pub(crate) fn commit(&self) -> LogIndex {
        self.commit
    }

    pub(crate) fn handed_over(&self) -> LogIndex {
        self.handed_over
    }

    pub(crate) fn applied(&self) -> LogIndex {
        self.applied
    }

    pub(crate) fn uncommitted_bytes(&self) -> usize {
        self.uncommitted_bytes
    }

    pub(crate) fn tail(&self) -> &VecDeque<Entry> {
        &self.tail
    }

    pub(crate) fn terms(&self) -> &TermRuns {
        &self.terms
    }

    /// The term at `index`, if it is known.
    pub(crate) fn term(&self, index: LogIndex) -> Option<Term> {
        (index >= self.first.prev() && index <= self.last).then(|| self.terms.at(index)).flatten()
    }

    /// Appends one entry of `term`, at least the last one's, and gives its index.
    pub(crate) fn append(&mut self, term: Term, kind: EntryKind, data: Bytes) -> LogIndex {
        let index = self.last.next();
        self.terms.push(index, term);
        self.uncommitted_bytes = self.uncommitted_bytes.saturating_add(data.len());
        self.tail.push_back(Entry { index, term, kind, data });
        self.last = index;
        index
    }

    /// Entries that no ready has given yet, at most `max_bytes` of them but at least one if there is one; they count as given.
    pub(crate) fn give_entries(&mut self, max_bytes: usize) -> Vec<Entry> {
        let mut bytes = 0_usize;
        let entries: Vec<Entry> = self
            .tail_after(self.given)
            .take_while(|entry| {
                let first = bytes == 0;
                bytes = bytes.saturating_add(entry.size().max(1));
                first || bytes <= max_bytes
            })
            .cloned()
            .collect();
        if let Some(entry) = entries.last() {
            self.given = entry.index;
        }
        entries
    }

    /// Everything up to `index` is durable.
    pub(crate) fn persisted_up_to(&mut self, index: LogIndex) {
        self.persisted = self.persisted.max(index);
        self.trim();
    }

    /// Raises the commit index. Whether it moved.
    pub(crate) fn commit_to(&mut self, index: LogIndex) -> bool {
        if index <= self.commit {
            return false;
        }
        let bytes: usize = self.tail_after(self.commit).take_while(|entry| entry.index <= index).map(Entry::size).sum();
        self.uncommitted_bytes = self.uncommitted_bytes.saturating_sub(bytes);
        self.commit = index;
        true
    }

    /// Whether [`Self::hand_over`] would give something.
    pub(crate) fn can_hand_over(&self, max_bytes: usize) -> bool {
        self.handed_over < self.commit.min(self.persisted) && self.in_apply_bytes < max_bytes
    }

    /// The next committed and persisted entries to apply. What must be read from storage holds the whole budget of
    /// `max_bytes`, so nothing follows it before it is applied.
    pub(crate) fn hand_over(&mut self, max_bytes: usize) -> Option<Committed> {
        if !self.can_hand_over(max_bytes) {
            return None;
        }
        let first = self.handed_over.next();
        let end = self.commit.min(self.persisted);
        let in_memory = self.tail.front().map_or(end.next(), |entry| entry.index);
        let stored = first < in_memory;
        let mut bytes = 0_usize;
        let entries: Vec<Entry> = self
            .tail_after(self.handed_over)
            .take_while(|entry| {
                let one = bytes == 0 && !stored;
                bytes = bytes.saturating_add(entry.size().max(1));
                entry.index <= end && (one || bytes <= max_bytes)
            })
            .cloned()
            .collect();
        let last = entries.last().map_or(end.min(in_memory.prev()), |entry| entry.index);
        let budget = if stored { max_bytes } else { entries.iter().map(|entry| entry.size().max(1)).sum() };
        self.in_apply.push_back((last, budget));
        self.in_apply_bytes = self.in_apply_bytes.saturating_add(budget);
        self.handed_over = last;
        self.trim();
        Some(Committed { first, last, entries })
    }

    /// Everything up to `index` is applied; it was handed over.
    pub(crate) fn applied_up_to(&mut self, index: LogIndex) {
        self.applied = index;
        while let Some((_, budget)) = self.in_apply.pop_front_if(|(last, _)| *last <= index) {
            self.in_apply_bytes = self.in_apply_bytes.saturating_sub(budget);
        }
    }

    /// The log now starts at `first`, which is at most one above the applied index.
    pub(crate) fn start_at(&mut self, first: LogIndex) {
        if first > self.first {
            self.first = first;
            self.terms.forget_before(first.prev());
        }
    }

    /// The entries in memory above `index`.
    fn tail_after(&self, index: LogIndex) -> impl Iterator<Item = &Entry> {
        let skipped = self.tail.front().map_or(0, |entry| index.next().0.saturating_sub(entry.index.0));
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX).min(self.tail.len());
        self.tail.range(skipped..)
    }

    fn trim(&mut self) {
        let done = self.persisted.min(self.handed_over);
        while self.tail.front().is_some_and(|entry| entry.index <= done) {
            self.tail.pop_front();
        }
    }
}
