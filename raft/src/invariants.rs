//! What must hold between any two calls, said once. Debug builds and simulation check it after every call.

use crate::entry::{Entry, EntryKind, Role};
use crate::error::InvariantViolation;
use crate::ids::LogIndex;
use crate::node::RawNode;

/// Above this many entries in memory a step checks the marks only; [`RawNode::invariants`] always checks everything.
const TAIL_CHECKED_PER_STEP: usize = 16;

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

    /// Checks what a step can break at a cost that does not grow with the log.
    ///
    /// # Errors
    /// As [`Self::invariants`].
    pub fn step_invariants(&self) -> Result<(), InvariantViolation> {
        self.mark_invariants()?;
        self.role_invariants()?;
        if self.log.tail().len() <= TAIL_CHECKED_PER_STEP { self.tail_invariants() } else { Ok(()) }
    }

    fn mark_invariants(&self) -> Result<(), InvariantViolation> {
        let log = &self.log;
        let last = log.last();
        holds(log.first() <= last.next(), || format!("the log starts at {} and ends at {last}", log.first()))?;
        holds(log.first() <= log.applied().next() || log.installing().is_some(), || {
            format!("the log starts at {}, only {} is applied", log.first(), log.applied())
        })?;
        holds(log.applied() <= log.handed_over(), || {
            format!("applied {} is above handed over {}", log.applied(), log.handed_over())
        })?;
        holds(log.handed_over() <= log.commit(), || {
            format!("handed over {} is above commit {}", log.handed_over(), log.commit())
        })?;
        holds(log.handed_over() <= log.persisted() || log.installing().is_some(), || {
            format!("handed over {} is above persisted {}", log.handed_over(), log.persisted())
        })?;
        holds(log.commit() <= last, || format!("commit {} is above last {last}", log.commit()))?;
        let alone = self.role == Role::Leader && self.membership.voters() == [self.id];
        holds(!alone || self.membership.is_joint() || log.commit() <= log.persisted(), || {
            format!("a sole voter's commit {} is above its persisted {}", log.commit(), log.persisted())
        })?;
        holds(log.persisted() <= log.given(), || {
            format!("persisted {} is above given {}", log.persisted(), log.given())
        })?;
        holds(log.given() <= last, || format!("given {} is above last {last}", log.given()))?;
        holds(log.last_term() <= self.term, || {
            format!("the last entry's term {} is above {}", log.last_term(), self.term)
        })?;
        holds(log.terms().first().is_none_or(|run| run.first <= last), || {
            "a run of terms starts beyond the log".to_owned()
        })
    }

    fn role_invariants(&self) -> Result<(), InvariantViolation> {
        let own_vote = self.vote == Some(self.id);
        let may_lead = self.membership.is_voter(self.id);
        holds(self.durable_vote.0 <= self.term, || {
            format!("durable term {} is above {}", self.durable_vote.0, self.term)
        })?;
        match self.role {
            Role::PreCandidate => holds(self.leader.is_none() && may_lead, || {
                "a pre-candidate is a voter and knows no leader".to_owned()
            })?,
            Role::Follower => {
                holds(self.leader != Some(self.id), || "a follower takes itself for the leader".to_owned())?;
            }
            Role::Candidate => {
                holds(own_vote && self.leader.is_none(), || {
                    "a candidate votes for itself and knows no leader".to_owned()
                })?;
            }
            Role::Leader => {
                holds(self.leader == Some(self.id) && own_vote, || "a leader knows and voted for itself".to_owned())?;
                holds(self.durable_vote == (self.term, self.vote), || "a leader's vote is not durable".to_owned())?;
                holds(self.log.last() >= self.term_start && self.term_start > LogIndex(0), || {
                    format!("a leader's term starts at {}, its log ends at {}", self.term_start, self.log.last())
                })?;
                holds(self.log.term(self.term_start).is_none_or(|term| term == self.term), || {
                    format!("entry {} does not open term {}", self.term_start, self.term)
                })?;
            }
        }
        self.read_invariants()?;
        self.peer_invariants()?;
        let in_order = self
            .work
            .in_flight
            .iter()
            .zip(self.work.in_flight.iter().skip(1))
            .all(|(a, b)| a.number < b.number && a.last <= b.last);
        holds(in_order, || "readies in flight are out of order".to_owned())?;
        holds(self.work.in_flight.back().is_none_or(|newest| newest.last <= self.log.given()), || {
            "a ready in flight holds what was not given".to_owned()
        })
    }

    fn read_invariants(&self) -> Result<(), InvariantViolation> {
        let reads = &self.work.reads;
        let leads = self.role == Role::Leader;
        holds(!reads.has_postponed() || (leads && !self.committed_in_own_term()), || {
            "reads are put off although they could be begun".to_owned()
        })?;
        holds(!reads.has_rounds() || leads, || "reads wait for a quorum of who does not lead".to_owned())?;
        holds(!reads.has_forwarded() || (self.role == Role::Follower && self.leader.is_some()), || {
            "reads were forwarded to nobody".to_owned()
        })
    }

    fn peer_invariants(&self) -> Result<(), InvariantViolation> {
        if self.role != Role::Leader {
            return holds(self.peers.is_empty() && self.work.transfer.is_none(), || {
                "who does not lead keeps the progress of others".to_owned()
            });
        }
        let (last, limits) = (self.log.last(), self.window());
        for peer in &self.peers {
            let window = &peer.inflights;
            holds(peer.matched < peer.next && peer.matched <= last && peer.next <= last.next(), || {
                format!("node {} matches {}, gets {} next, the log ends at {last}", peer.id, peer.matched, peer.next)
            })?;
            holds(window.ends().is_none_or(|(first, end)| peer.matched < first && end < peer.next), || {
                format!("what is in flight to node {} is not between what it has and gets next", peer.id)
            })?;
            holds(
                window.len() <= limits.messages
                    && (window.len() <= 1 || window.bytes() < limits.bytes + self.largest_message()),
                || format!("{} messages of {} bytes are in flight to node {}", window.len(), window.bytes(), peer.id),
            )?;
            holds(self.membership.contains(peer.id), || format!("node {} is no member", peer.id))?;
        }
        Ok(())
    }

    /// Bytes of one message at most: an entry that is alone may be larger than the limit.
    fn largest_message(&self) -> usize {
        self.limits.max_message_bytes.max(self.limits.max_uncommitted_bytes).saturating_add(1)
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
        holds(first <= log.persisted().next() || log.installing().is_some(), || {
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
