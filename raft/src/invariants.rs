//! What must hold between any two calls, said once. Debug builds and simulation check it after every call.

use crate::entry::{Entry, EntryKind, Role};
use crate::error::InvariantViolation;
use crate::ids::LogIndex;
use crate::node::RawNode;

/// Above this many entries in memory a step checks the marks only; [`RawNode::invariants`] always checks everything.
#[cfg(debug_assertions)]
const TAIL_CHECKED_PER_STEP: usize = 256;

impl RawNode {
    /// Checks every invariant of this replica.
    ///
    /// # Errors
    /// The first that does not hold. The node must then stop: going on could break a promise.
    pub fn invariants(&self) -> Result<(), InvariantViolation> {
        self.mark_invariants()?;
        self.role_invariants()?;
        self.tail_invariants()
    }

    #[cfg(debug_assertions)]
    pub(crate) fn step_invariants(&self) -> Result<(), InvariantViolation> {
        self.mark_invariants()?;
        self.role_invariants()?;
        if self.log.tail().len() <= TAIL_CHECKED_PER_STEP { self.tail_invariants() } else { Ok(()) }
    }

    fn mark_invariants(&self) -> Result<(), InvariantViolation> {
        let log = &self.log;
        let last = log.last();
        holds(log.first() <= last.next(), || format!("the log starts at {} and ends at {last}", log.first()))?;
        holds(log.first() <= log.applied().next(), || {
            format!("the log starts at {}, only {} is applied", log.first(), log.applied())
        })?;
        holds(log.applied() <= log.handed_over(), || {
            format!("applied {} is above handed over {}", log.applied(), log.handed_over())
        })?;
        holds(log.handed_over() <= log.commit(), || {
            format!("handed over {} is above commit {}", log.handed_over(), log.commit())
        })?;
        holds(log.handed_over() <= log.persisted(), || {
            format!("handed over {} is above persisted {}", log.handed_over(), log.persisted())
        })?;
        holds(log.commit() <= log.persisted(), || {
            format!("a sole voter's commit {} is above its persisted {}", log.commit(), log.persisted())
        })?;
        holds(log.persisted() <= log.given(), || {
            format!("persisted {} is above given {}", log.persisted(), log.given())
        })?;
        holds(log.given() <= last, || format!("given {} is above last {last}", log.given()))?;
        holds(log.last_term() <= self.term, || {
            format!("the last entry's term {} is above {}", log.last_term(), self.term)
        })?;
        holds(log.uncommitted_bytes() <= self.config.max_uncommitted_bytes, || {
            format!("{} uncommitted bytes are above the limit", log.uncommitted_bytes())
        })?;
        holds(log.terms().first().is_none_or(|run| run.first <= last), || {
            "a run of terms starts beyond the log".to_owned()
        })
    }

    fn role_invariants(&self) -> Result<(), InvariantViolation> {
        let own_vote = self.vote == Some(self.config.id);
        holds(self.durable_vote.0 <= self.term, || {
            format!("durable term {} is above {}", self.durable_vote.0, self.term)
        })?;
        match self.role {
            Role::Follower | Role::PreCandidate => {
                holds(self.leader != Some(self.config.id), || "a follower takes itself for the leader".to_owned())?;
            }
            Role::Candidate => {
                holds(own_vote && self.leader.is_none(), || {
                    "a candidate votes for itself and knows no leader".to_owned()
                })?;
            }
            Role::Leader => {
                holds(self.leader == Some(self.config.id) && own_vote, || {
                    "a leader knows and voted for itself".to_owned()
                })?;
                holds(self.durable_vote == (self.term, self.vote), || "a leader's vote is not durable".to_owned())?;
                holds(self.log.last() >= self.term_start && self.term_start > LogIndex(0), || {
                    format!("a leader's term starts at {}, its log ends at {}", self.term_start, self.log.last())
                })?;
                holds(self.log.term(self.term_start).is_none_or(|term| term == self.term), || {
                    format!("entry {} does not open term {}", self.term_start, self.term)
                })?;
            }
        }
        let readable = self.committed_in_own_term();
        holds(self.waiting_reads.is_empty() || (self.role == Role::Leader && !readable), || {
            "reads wait although they could be answered".to_owned()
        })?;
        let in_order = self
            .in_flight
            .iter()
            .zip(self.in_flight.iter().skip(1))
            .all(|(a, b)| a.number < b.number && a.last <= b.last);
        holds(in_order, || "readies in flight are out of order".to_owned())?;
        holds(self.in_flight.back().is_none_or(|newest| newest.last == self.log.given()), || {
            "the newest ready in flight is not the newest given".to_owned()
        })
    }

    fn tail_invariants(&self) -> Result<(), InvariantViolation> {
        let log = &self.log;
        let tail = log.tail();
        let contiguous =
            tail.iter().zip(tail.iter().skip(1)).all(|(a, b)| b.index == a.index.next() && b.term >= a.term);
        holds(contiguous, || "the tail has a gap, or its terms go back".to_owned())?;
        holds(tail.back().is_none_or(|entry| entry.index == log.last()), || {
            "the tail does not end at the last index".to_owned()
        })?;
        let first = tail.front().map_or(log.last().next(), |entry| entry.index);
        holds(first <= log.persisted().next(), || {
            format!("entry {} is neither persisted nor in memory", first.prev())
        })?;
        holds(tail.iter().all(|entry| log.term(entry.index) == Some(entry.term)), || {
            "the runs of terms differ from the tail".to_owned()
        })?;
        holds(tail.iter().all(|entry| entry.kind != EntryKind::Noop || entry.data.is_empty()), || {
            "a no-op holds data".to_owned()
        })?;
        let uncommitted: usize = tail.iter().filter(|entry| entry.index > log.commit()).map(Entry::size).sum();
        holds(uncommitted == log.uncommitted_bytes(), || {
            format!("{uncommitted} bytes are uncommitted, {} are counted", log.uncommitted_bytes())
        })
    }
}

fn holds(condition: bool, otherwise: impl FnOnce() -> String) -> Result<(), InvariantViolation> {
    if condition { Ok(()) } else { Err(InvariantViolation(otherwise())) }
}
