//! A stored log as a starting replica wants to know it: which indexes, and their terms. Entries themselves stay in storage.

use std::ops::RangeInclusive;

use crate::error::RaftError;
use crate::ids::{LogIndex, Term};
use crate::terms::{TermRun, TermRuns};

/// What storage holds of a group's log when its replica starts: which indexes, and their terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogBounds {
    pub(crate) first: LogIndex,
    pub(crate) last: LogIndex,
    pub(crate) terms: TermRuns,
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

    /// A log that holds `indexes`, of which only the last one's term is known. That is enough for a sole voter; followers of
    /// a leader that started so are sent a snapshot instead of the entries before.
    #[must_use]
    pub fn with_last_term(indexes: RangeInclusive<LogIndex>, last_term: Term) -> Self {
        let (first, last) = indexes.into_inner();
        let terms = TermRuns::new(vec![TermRun { first: last, term: last_term }]).unwrap_or_default();
        Self { first, last, terms }
    }

    /// A log that holds `indexes`, with the terms of all of them, and of the entry before the first, as runs in order.
    ///
    /// # Errors
    /// [`RaftError::LogOutOfOrder`] when runs are out of order or beyond the last index.
    pub fn with_terms(indexes: RangeInclusive<LogIndex>, runs: Vec<TermRun>) -> Result<Self, RaftError> {
        let (first, last) = indexes.into_inner();
        let refused = |run: TermRun, before: TermRun| RaftError::LogOutOfOrder {
            index: run.first,
            term: run.term,
            last: before.first,
            last_term: before.term,
        };
        if let Some(beyond) = runs.last().filter(|run| run.first > last) {
            return Err(refused(*beyond, TermRun { first: last, term: beyond.term }));
        }
        let terms = TermRuns::new(runs).map_err(|(before, run)| refused(run, before))?;
        Ok(Self { first, last, terms })
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
