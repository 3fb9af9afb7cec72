//! The terms of a whole log, kept as runs: one per leader that appended, so the whole log's terms are always in memory
//! and no decision waits for a read. Invariant: first indexes rise strictly, terms rise strictly.

use crate::ids::{LogIndex, Term};

/// From `first` up to the next run's first (or the log's end), every entry is of `term`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TermRun {
    /// First index of the run.
    pub first: LogIndex,
    /// Term of its entries.
    pub term: Term,
}

/// The runs of a log in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TermRuns(Vec<TermRun>);

impl TermRuns {
    /// Runs in order, or the first pair of them that is not.
    pub(crate) fn new(runs: Vec<TermRun>) -> Result<Self, (TermRun, TermRun)> {
        let out_of_order = runs
            .iter()
            .zip(runs.iter().skip(1))
            .find(|(earlier, later)| later.first <= earlier.first || later.term <= earlier.term);
        match out_of_order {
            Some((earlier, later)) => Err((*earlier, *later)),
            None => Ok(Self(runs)),
        }
    }

    /// Keeps no more memory than it needs.
    pub(crate) fn shrink(&mut self) {
        self.0.shrink_to_fit();
    }

    /// The newest run.
    pub(crate) fn last(&self) -> Option<TermRun> {
        self.0.last().copied()
    }

    /// The oldest run.
    pub(crate) fn first(&self) -> Option<TermRun> {
        self.0.first().copied()
    }

    /// Notes that the entry at `index`, the log's next, is of `term`, which is at least the last one's.
    pub(crate) fn push(&mut self, index: LogIndex, term: Term) {
        if self.last().is_none_or(|run| run.term != term) {
            self.0.push(TermRun { first: index, term });
        }
    }

    /// The term at `index`, which is inside the log; `None` below the oldest run.
    pub(crate) fn at(&self, index: LogIndex) -> Option<Term> {
        let after = self.0.partition_point(|run| run.first <= index);
        after.checked_sub(1).and_then(|at| self.0.get(at)).map(|run| run.term)
    }

    /// Forgets what is known above `index`.
    pub(crate) fn truncate_after(&mut self, index: LogIndex) {
        let kept = self.0.partition_point(|run| run.first <= index);
        self.0.truncate(kept);
    }

    /// The largest index up to `index` whose term is known and at most `term`. Below the oldest run nothing is known, and the
    /// index before it is given.
    pub(crate) fn last_at_most(&self, index: LogIndex, term: Term) -> LogIndex {
        let mut last = index;
        for run in self.0.iter().rev().filter(|run| run.first <= index) {
            if run.term <= term {
                return last;
            }
            last = run.first.prev();
        }
        last
    }

    /// Forgets the runs that end before `index`.
    pub(crate) fn forget_before(&mut self, index: LogIndex) {
        let after = self.0.partition_point(|run| run.first <= index);
        self.0.drain(..after.saturating_sub(1).min(self.0.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    quickcheck::quickcheck! {
        fn runs_cut_at_their_end_answer_as_a_list_cut_there_does(steps: Vec<u8>, cut: usize, term: u8) -> bool {
            let mut runs = TermRuns::default();
            let mut terms = Vec::new();
            let mut last = Term(1);
            for (at, step) in steps.iter().enumerate() {
                last = Term(last.0 + u64::from(step % 3));
                runs.push(LogIndex(at as u64 + 1), last);
                terms.push(last);
            }
            let kept = if terms.is_empty() { 0 } else { cut % terms.len() };
            runs.truncate_after(LogIndex(kept as u64));
            terms.truncate(kept);
            let index = LogIndex(kept as u64);
            let slow = terms.iter().rposition(|known| known.0 <= u64::from(term)).map_or(0, |at| at as u64 + 1);
            runs.last() .map(|run| run.term) == terms.last().copied()
                && terms.iter().enumerate().all(|(at, term)| runs.at(LogIndex(at as u64 + 1)) == Some(*term))
                && runs.last_at_most(index, Term(u64::from(term))) == LogIndex(slow)
        }

        fn runs_answer_as_a_list_of_terms_does(steps: Vec<u8>, cut: usize) -> bool {
            let mut runs = TermRuns::default();
            let mut terms = Vec::new();
            let mut term = Term(1);
            for (at, step) in steps.iter().enumerate() {
                term = Term(term.0 + u64::from(step % 3));
                runs.push(LogIndex(at as u64 + 1), term);
                terms.push(term);
            }
            let from = if terms.is_empty() { 0 } else { cut % terms.len() };
            runs.forget_before(LogIndex(from as u64 + 1));
            terms.iter().enumerate().skip(from).all(|(at, term)| runs.at(LogIndex(at as u64 + 1)) == Some(*term))
        }
    }
}
