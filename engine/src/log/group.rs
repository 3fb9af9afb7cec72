//! The index of one group's entries: which exist, and where in the log their bytes are.
//!
//! Invariants: indexes are consecutive from `base + 1`; outside recovery `base == start`; segments never fall from front to
//! back, so the front entry names the oldest segment that the group needs.

use bytes::Bytes;

use super::chunked::Chunked;
use super::record::HardState;
use crate::ids::{Incarnation, LogIndex, Term};
use crate::manifest::GroupMark;

/// Where an entry's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Segment id.
    pub(crate) segment: u64,
    /// Offset of the block in the segment, bytes.
    pub(crate) block: u64,
    /// Length of the block, bytes.
    pub(crate) block_bytes: u32,
    /// Offset of the entry's bytes in the block.
    pub(crate) at: u32,
    /// Length of the entry's bytes.
    pub(crate) len: u32,
}

/// One entry of the index.
#[derive(Clone, Debug)]
pub(crate) struct Indexed {
    pub(crate) term: Term,
    pub(crate) place: Place,
    /// The bytes, while they are among the recent ones.
    pub(crate) cached: Option<Bytes>,
}

/// The log of one group.
#[derive(Clone, Debug, Default)]
pub(crate) struct GroupLog {
    pub(crate) incarnation: Incarnation,
    pub(crate) hard_state: HardState,
    /// The last index that is no longer held.
    pub(crate) start: LogIndex,
    /// Its term.
    pub(crate) start_term: Term,
    /// Raft needs nothing at or below this.
    pub(crate) released: LogIndex,
    /// The tables contain the effects up to this.
    pub(crate) flushed: LogIndex,
    /// What blocks of the log up to this say of the group is void.
    pub(crate) since: u64,
    base: LogIndex,
    entries: Chunked<Indexed>,
}

impl GroupLog {
    /// A log that continues after `start`.
    pub(crate) fn starting(incarnation: Incarnation, start: LogIndex, start_term: Term) -> Self {
        Self { incarnation, start, start_term, released: start, base: start, ..Self::default() }
    }

    /// Whether the hard state is one of this life: of the same, or of a group that has voted before it had any.
    pub(crate) fn lives_on_as(&self, incarnation: Incarnation) -> bool {
        self.incarnation == incarnation || self.incarnation == Incarnation::default()
    }

    /// What the manifest records of the group.
    pub(crate) const fn mark(&self) -> GroupMark {
        GroupMark {
            incarnation: self.incarnation,
            flushed: self.flushed,
            start: self.start,
            start_term: self.start_term,
            since: self.since,
        }
    }

    /// Whether this is the group that the mark was taken of, and not what an ingest has put in its place since.
    pub(crate) fn goes_on_from(&self, mark: &GroupMark) -> bool {
        (self.incarnation, self.since) == (mark.incarnation, mark.since) && self.start <= mark.flushed
    }

    /// The last index held, `start` when none is.
    pub(crate) fn last(&self) -> LogIndex {
        LogIndex(self.base.0 + self.entries.len() as u64)
    }

    /// Whether entries between `start` and the first held one are missing.
    pub(crate) fn has_gap(&self) -> bool {
        self.base != self.start
    }

    /// The entry at `index`.
    pub(crate) fn get(&self, index: LogIndex) -> Option<&Indexed> {
        let offset = index.0.checked_sub(self.base.0)?.checked_sub(1)?;
        self.entries.get(usize::try_from(offset).ok()?)
    }

    fn get_mut(&mut self, index: LogIndex) -> Option<&mut Indexed> {
        let offset = index.0.checked_sub(self.base.0)?.checked_sub(1)?;
        self.entries.get_mut(usize::try_from(offset).ok()?)
    }

    /// Term of the entry at `index`; also known for `start`.
    pub(crate) fn term_of(&self, index: LogIndex) -> Option<Term> {
        if index == self.start {
            return Some(self.start_term);
        }
        self.get(index).map(|entry| entry.term)
    }

    /// The first index and the term of every run of entries of one term, from the entry before the first held on, if there was one.
    pub(crate) fn term_runs(&self) -> Vec<(LogIndex, Term)> {
        let mut runs = Vec::new();
        if self.start > LogIndex(0) {
            runs.push((self.start, self.start_term));
        }
        let mut index = self.base;
        for entry in self.entries.iter() {
            index = index.next();
            if runs.last().is_none_or(|(_, term)| *term != entry.term) {
                runs.push((index, entry.term));
            }
        }
        runs
    }

    /// Drops everything at or above `index`.
    fn truncate(&mut self, index: LogIndex) {
        let kept = index.0.saturating_sub(self.base.0).saturating_sub(1);
        self.entries.truncate(usize::try_from(kept).unwrap_or(usize::MAX));
        if self.entries.is_empty() {
            self.base = self.start;
        }
    }

    /// Puts entries at `first` and above in place of what was there. Entries at or below `start` are passed over. Entries
    /// that do not continue the log, which happens in recovery only, start it anew and leave a gap.
    pub(crate) fn replace(&mut self, first: LogIndex, entries: impl IntoIterator<Item = Indexed>) {
        self.truncate(LogIndex(first.0.max(self.start.0 + 1)));
        let skipped = (self.start.0 + 1).saturating_sub(first.0);
        let mut entries = entries.into_iter().skip(usize::try_from(skipped).unwrap_or(usize::MAX)).peekable();
        if entries.peek().is_none() {
            return;
        }
        let first = LogIndex(first.0.max(self.start.0 + 1));
        if first <= self.base || first > self.last().next() {
            self.entries = Chunked::default();
            self.base = first.previous();
        }
        self.entries.extend(entries);
    }

    /// Takes new places for all entries from `first`. Entries before that stay: the log was released up to them when it was moved, but
    /// as long as no edit of the manifest says so they belong to it, and recovery finds them where they were.
    pub(crate) fn relocate(&mut self, first: LogIndex, entries: impl IntoIterator<Item = Indexed>) {
        if highwater_runtime::mutant(135) {
            // Planted bug 135: a log that was moved forward begins where it began then, whatever the manifest knows.
            self.entries = Chunked::default();
            self.base = LogIndex(first.previous().0.max(self.start.0));
        }
        self.replace(first, entries);
    }

    /// Forgets what neither Raft nor recovery needs.
    pub(crate) fn drop_unneeded(&mut self) {
        let needless = self.released.min(self.flushed);
        while self.start < needless {
            let Some(entry) = self.entries.pop_front() else { break };
            self.base = self.base.next();
            self.start = self.base;
            self.start_term = entry.term;
        }
        if self.entries.is_empty() {
            // Of thousands of idle groups each would keep room for a few entries.
            self.entries = Chunked::default();
        }
    }

    /// The oldest segment that holds an entry of the group that is still needed.
    pub(crate) fn oldest_segment(&self) -> Option<u64> {
        self.entries.front().map(|entry| entry.place.segment)
    }

    /// Bytes of the entries held.
    pub(crate) fn entry_bytes(&self) -> u64 {
        self.entries.iter().map(|entry| u64::from(entry.place.len)).sum()
    }

    /// Number of entries held.
    pub(crate) fn entry_count(&self) -> usize {
        self.entries.len()
    }

    /// Forgets the cached bytes of an entry.
    pub(crate) fn uncache(&mut self, index: LogIndex, term: Term) {
        if let Some(entry) = self.get_mut(index)
            && entry.term == term
        {
            entry.cached = None;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    fn at(segment: u64, term: u64) -> Indexed {
        Indexed { term: Term(term), place: Place { segment, block: 0, block_bytes: 4096, at: 0, len: 1 }, cached: None }
    }

    fn terms(log: &GroupLog) -> Vec<(u64, u64)> {
        (1..=log.last().0).filter_map(|i| log.get(LogIndex(i)).map(|e| (i, e.term.0))).collect()
    }

    #[test]
    fn entries_replace_what_is_at_or_above_their_index() {
        let mut log = GroupLog::default();
        log.replace(LogIndex(1), [at(1, 1), at(1, 1), at(1, 1)]);
        log.replace(LogIndex(2), [at(1, 2)]);
        assert_eq!(terms(&log), [(1, 1), (2, 2)]);
    }

    #[test]
    fn only_what_is_released_and_flushed_is_forgotten() {
        let mut log = GroupLog::default();
        log.replace(LogIndex(1), [at(1, 1), at(2, 1), at(3, 2)]);
        log.released = LogIndex(3);
        log.flushed = LogIndex(2);
        log.drop_unneeded();
        assert_eq!((log.start, log.start_term, log.oldest_segment()), (LogIndex(2), Term(1), Some(3)));
        assert_eq!(log.term_of(LogIndex(2)), Some(Term(1)));
        assert_eq!(log.term_of(LogIndex(1)), None);
    }

    #[test]
    fn the_terms_of_a_log_are_runs_from_the_entry_before_its_first_on() {
        let mut log = GroupLog::default();
        log.replace(LogIndex(1), [at(1, 1), at(1, 1), at(1, 3), at(1, 3)]);
        assert_eq!(log.term_runs(), [(LogIndex(1), Term(1)), (LogIndex(3), Term(3))]);
        let mut log = GroupLog::starting(Incarnation(1), LogIndex(4), Term(2));
        assert_eq!(log.term_runs(), [(LogIndex(4), Term(2))]);
        log.replace(LogIndex(5), [at(1, 2), at(1, 5)]);
        assert_eq!(log.term_runs(), [(LogIndex(4), Term(2)), (LogIndex(6), Term(5))]);
    }

    #[test]
    fn replay_passes_over_entries_that_the_manifest_says_are_gone() {
        let mut log = GroupLog::starting(Incarnation(1), LogIndex(10), Term(3));
        log.replace(LogIndex(8), [at(1, 1), at(1, 1), at(1, 1), at(1, 2)]);
        assert_eq!(terms(&log), [(11, 2)]);
        log.replace(LogIndex(6), [at(1, 3), at(1, 3)]);
        assert_eq!((log.last(), log.has_gap()), (LogIndex(10), false), "a truncation below the start empties the log");
    }

    #[test]
    fn a_mark_from_before_an_ingest_is_not_one_of_the_group_that_came() {
        let mut log = GroupLog::starting(Incarnation(2), LogIndex(5), Term(3));
        (log.flushed, log.since) = (LogIndex(5), 70);
        let mark = log.mark();
        (log.flushed, log.start) = (LogIndex(9), LogIndex(5));
        assert!(log.goes_on_from(&mark), "it was flushed since");
        assert!(!log.goes_on_from(&GroupMark { since: 60, ..mark }));
        assert!(!log.goes_on_from(&GroupMark { incarnation: Incarnation(1), flushed: LogIndex(50), ..mark }));
        assert!(!log.goes_on_from(&GroupMark { flushed: LogIndex(4), ..mark }));
    }

    #[test]
    fn a_gap_left_by_a_freed_segment_is_closed_by_the_relocated_log() {
        let mut log = GroupLog::starting(Incarnation(1), LogIndex(4), Term(1));
        log.replace(LogIndex(9), [at(2, 1), at(2, 1)]);
        assert!(log.has_gap());
        log.relocate(LogIndex(5), (5..=10).map(|_| at(3, 1)));
        assert!(!log.has_gap());
        assert_eq!((log.last(), log.oldest_segment()), (LogIndex(10), Some(3)));
    }

    #[test]
    fn a_log_that_was_moved_before_the_manifest_knew_its_start_has_no_gap() {
        let mut log = GroupLog::starting(Incarnation(1), LogIndex(4), Term(1));
        log.replace(LogIndex(5), (5..=9).map(|_| at(2, 1)));
        // In the life before, the log had been let go up to 6 when it was moved.
        log.relocate(LogIndex(7), (7..=9).map(|_| at(3, 1)));
        assert!(!log.has_gap());
        assert_eq!((log.last(), log.oldest_segment()), (LogIndex(9), Some(2)));
        let places = (5..=9).filter_map(|i| log.get(LogIndex(i)).map(|entry| entry.place.segment));
        assert!(places.eq([2, 2, 3, 3, 3]));
    }
}
