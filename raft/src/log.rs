//! A group's log as the state machine sees it: marks, terms, and the tail of entries that are still needed in memory.
//!
//! Invariants: `first <= last + 1`; `applied <= handed_over <= min(commit, persisted)`; `commit <= last`;
//! `persisted <= given <= last`. The tail is contiguous and ends at `last`; an entry leaves it once it is persisted, handed
//! over to apply, and no follower is known to lack it (or too many bytes are kept for followers). While a snapshot is being
//! installed, everything it covers counts as handed over before it is persisted. Must never hold what storage alone has to
//! remember.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::bounds::LogBounds;
use crate::entry::{Entry, EntryKind};
use crate::ids::{LogIndex, Term};
use crate::on_demand::{Empty, OnDemand};
use crate::ready::Committed;
use crate::terms::{TermRun, TermRuns};

/// The part of a log that is in memory.
#[derive(Clone, Debug)]
struct Held {
    tail: VecDeque<Entry>,
    /// Hand-overs that are not wholly applied: their last index and the budget that they hold.
    in_apply: VecDeque<(LogIndex, usize)>,
    /// Changes of membership above the applied index, of this life.
    changes: VecDeque<LogIndex>,
}

impl Held {
    const fn new() -> Self {
        Self { tail: VecDeque::new(), in_apply: VecDeque::new(), changes: VecDeque::new() }
    }
}

impl Empty for Held {
    const EMPTY: &'static Self = &Self::new();

    fn new_empty() -> Self {
        Self::new()
    }

    fn is_empty(&self) -> bool {
        self.tail.is_empty() && self.in_apply.is_empty() && self.changes.is_empty()
    }
}

/// The log in memory.
#[derive(Clone, Debug)]
pub(crate) struct RaftLog {
    first: LogIndex,
    last: LogIndex,
    terms: TermRuns,
    /// What is in memory of it.
    held: OnDemand<Held>,
    /// Last index given to the driver to persist.
    given: LogIndex,
    persisted: LogIndex,
    commit: LogIndex,
    handed_over: LogIndex,
    applied: LogIndex,
    /// Bytes of the tail's entries above `commit`.
    uncommitted_bytes: usize,
    /// Sum of the budgets of what is being applied.
    in_apply_bytes: usize,
    /// A snapshot that is being installed ends here.
    installing: Option<LogIndex>,
    /// Bytes of the whole tail, an empty entry counted as one.
    tail_bytes: usize,
    /// Followers lack entries from here on.
    wanted_from: LogIndex,
    /// Bytes of the tail that may be kept for followers.
    max_retained: usize,
    /// Entries of earlier lives end here: which of them are changes of membership is not known.
    stored_before: LogIndex,
    /// See [`Self::skip_one`].
    skips: bool,
}

impl RaftLog {
    /// A log as storage holds it, everything in it persisted. The marks were checked by the caller.
    pub(crate) fn restored(bounds: LogBounds, commit: LogIndex, applied: LogIndex, max_retained: usize) -> Self {
        Self {
            stored_before: bounds.last,
            first: bounds.first,
            last: bounds.last,
            terms: bounds.terms,
            held: OnDemand::default(),
            given: bounds.last,
            persisted: bounds.last,
            commit,
            handed_over: applied,
            applied,
            uncommitted_bytes: 0,
            in_apply_bytes: 0,
            installing: None,
            tail_bytes: 0,
            wanted_from: LogIndex(u64::MAX),
            max_retained,
            skips: false,
        }
    }

    /// Keeps no more memory than it needs.
    pub(crate) fn shrink(&mut self) {
        self.terms.shrink();
    }

    /// Lets go of memory in which nothing is.
    pub(crate) fn tidy(&mut self) {
        self.held.tidy();
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
        &self.held.tail
    }

    pub(crate) fn terms(&self) -> &TermRuns {
        &self.terms
    }

    /// The term at `index`, if it is known.
    pub(crate) fn term(&self, index: LogIndex) -> Option<Term> {
        (index >= self.first.prev() && index <= self.last).then(|| self.terms.at(index)).flatten()
    }

    /// The end of the snapshot that is being installed.
    pub(crate) fn installing(&self) -> Option<LogIndex> {
        self.installing
    }

    /// Whether a committed entry that is not applied here might change the membership.
    pub(crate) fn change_may_be_unapplied(&self) -> bool {
        self.applied < self.commit.min(self.stored_before)
            || self.held.changes.front().is_some_and(|change| *change <= self.commit)
    }

    /// The first change of membership that is not applied, of this life.
    pub(crate) fn next_change(&self) -> Option<LogIndex> {
        self.held.changes.front().copied()
    }

    /// Whether a log that ends at `last`, of `last_term`, holds at least as much as this one (section 5.4.1).
    pub(crate) fn is_matched_by(&self, last: LogIndex, last_term: Term) -> bool {
        (last_term, last) >= (self.last_term(), self.last)
    }

    /// The largest index up to `index` whose term is at most `term`: where a probe may find agreement.
    pub(crate) fn last_at_most(&self, index: LogIndex, term: Term) -> LogIndex {
        self.terms.last_at_most(index.min(self.last), term)
    }

    /// Appends one entry of `term`, at least the last one's, and gives its index.
    pub(crate) fn append(&mut self, term: Term, kind: EntryKind, data: Bytes) -> LogIndex {
        let index = self.last.next();
        self.push(Entry { index, term, kind, data });
        index
    }

    /// Appends the entry that follows the last one.
    pub(crate) fn push(&mut self, entry: Entry) {
        self.terms.push(entry.index, entry.term);
        self.uncommitted_bytes = self.uncommitted_bytes.saturating_add(entry.size());
        self.tail_bytes = self.tail_bytes.saturating_add(entry.size().max(1));
        if entry.kind == EntryKind::ConfChange {
            self.held.changes.push_back(entry.index);
        }
        self.last = entry.index;
        self.held.tail.push_back(entry);
    }

    /// Drops the entries above `index`, which is not below the commit index. What was given of them to persist counts as
    /// not given: the same indexes come again.
    pub(crate) fn truncate_after(&mut self, index: LogIndex) {
        while let Some(entry) = self.held.tail.pop_back_if(|entry| entry.index > index) {
            self.tail_bytes = self.tail_bytes.saturating_sub(entry.size().max(1));
            if entry.index > self.commit {
                self.uncommitted_bytes = self.uncommitted_bytes.saturating_sub(entry.size());
            }
        }
        while self.held.changes.pop_back_if(|change| *change > index).is_some() {}
        self.terms.truncate_after(index);
        self.last = index;
        self.given = self.given.min(index);
        self.persisted = self.persisted.min(index);
        self.stored_before = self.stored_before.min(index);
    }

    /// Replaces everything by a snapshot that ends at `index`, of `term`, above the commit index. It counts as persisted and
    /// applied when it is [installed](Self::installed).
    pub(crate) fn replace_by_snapshot(&mut self, index: LogIndex, term: Term) {
        self.held.tail.clear();
        self.held.changes.clear();
        self.held.in_apply.clear();
        self.terms = TermRuns::new(vec![TermRun { first: index, term }]).unwrap_or_default();
        (self.tail_bytes, self.uncommitted_bytes, self.in_apply_bytes) = (0, 0, 0);
        self.first = index.next();
        self.persisted = self.persisted.min(self.commit);
        (self.last, self.given, self.commit, self.handed_over) = (index, index, index, index);
        self.installing = Some(index);
    }

    /// A planted bug: the entry after a snapshot is taken for handed over.
    pub(crate) fn skip_one(&mut self) {
        self.skips = true;
    }

    /// The snapshot that ends at `index` is in place and durable.
    pub(crate) fn installed(&mut self, index: LogIndex) {
        if self.installing == Some(index) {
            self.installing = None;
            self.persisted = self.persisted.max(index);
        }
        self.applied = self.applied.max(index);
    }

    /// Up to `max_bytes` of entries from `next` on, at least one; `None` when they have left memory.
    pub(crate) fn entries_from(&self, next: LogIndex, max_bytes: usize) -> Option<Vec<Entry>> {
        if next > self.last {
            return Some(Vec::new());
        }
        if self.held.tail.front().is_none_or(|entry| entry.index > next) {
            return None;
        }
        let mut bytes = 0_usize;
        let within = self.tail_after(next.prev()).take_while(|entry| {
            let one = bytes == 0;
            bytes = bytes.saturating_add(entry.size().max(1));
            one || bytes <= max_bytes
        });
        Some(within.cloned().collect())
    }

    /// Followers lack entries from `index` on: they stay in memory while there is room.
    pub(crate) fn keep_from(&mut self, index: LogIndex) {
        self.wanted_from = index;
        self.trim();
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
        self.installing.is_none()
            && self.handed_over < self.commit.min(self.persisted)
            && self.in_apply_bytes < max_bytes
    }

    /// The next committed and persisted entries to apply. What must be read from storage holds the whole budget of
    /// `max_bytes`, so nothing follows it before it is applied.
    pub(crate) fn hand_over(&mut self, max_bytes: usize) -> Option<Committed> {
        if !self.can_hand_over(max_bytes) {
            return None;
        }
        if std::mem::take(&mut self.skips) {
            self.handed_over = self.handed_over.next();
        }
        let first = self.handed_over.next();
        let end = self.commit.min(self.persisted);
        let in_memory = self.held.tail.front().map_or(end.next(), |entry| entry.index);
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
        self.held.in_apply.push_back((last, budget));
        self.in_apply_bytes = self.in_apply_bytes.saturating_add(budget);
        self.handed_over = last;
        self.trim();
        Some(Committed { first, last, entries })
    }

    /// Everything up to `index` is applied; it was handed over.
    pub(crate) fn applied_up_to(&mut self, index: LogIndex) {
        self.applied = index;
        while self.held.changes.pop_front_if(|change| *change <= index).is_some() {}
        while let Some((_, budget)) = self.held.in_apply.pop_front_if(|(last, _)| *last <= index) {
            self.in_apply_bytes = self.in_apply_bytes.saturating_sub(budget);
        }
    }

    /// The log now starts at `first`, which is at most one above the applied index.
    pub(crate) fn start_at(&mut self, first: LogIndex) {
        if first > self.first {
            self.first = first;
            self.terms.forget_before(first.prev());
            while let Some(entry) = self.held.tail.pop_front_if(|entry| entry.index < first) {
                self.tail_bytes = self.tail_bytes.saturating_sub(entry.size().max(1));
            }
        }
    }

    /// The entries in memory above `index`.
    fn tail_after(&self, index: LogIndex) -> impl Iterator<Item = &Entry> {
        let skipped = self.held.tail.front().map_or(0, |entry| index.next().0.saturating_sub(entry.index.0));
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX).min(self.held.tail.len());
        self.held.tail.range(skipped..)
    }

    fn trim(&mut self) {
        let done = self.persisted.min(self.handed_over);
        while let Some(entry) = self.held.tail.front() {
            let wanted = entry.index >= self.wanted_from && self.tail_bytes <= self.max_retained;
            if entry.index > done || wanted {
                return;
            }
            self.tail_bytes = self.tail_bytes.saturating_sub(entry.size().max(1));
            self.held.tail.pop_front();
        }
    }
}
