//! Who waits for which entry of a group's log.
//!
//! A proposal is known by the index and term of its entry. When that index is applied, it is decided: an entry of the same term is the
//! proposal's, whoever leads by then; an entry of another term means that the proposal is in no log that counts and never will
//! be. Only a snapshot that covers the index leaves it open. Losing leadership decides nothing.

use std::collections::BTreeMap;

use highwater_raft as raft;
use highwater_runtime::queue::ReplySlot;
use highwater_runtime::sometimes;
use highwater_sql::diag::{Diag, SqlState};
use highwater_state::outcome::Outcome;

use super::mesh::{Applied, NotApplied};

/// Where the answer to a proposal goes.
pub(super) type AnswerSlot = ReplySlot<Result<Applied, NotApplied>>;

/// The proposals of one group that have no answer.
#[derive(Default)]
pub(super) struct Waiting(BTreeMap<u64, (raft::Term, AnswerSlot)>);

impl Waiting {
    /// Whether every proposal has its answer.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Waits for the entry at `index`, of `term`. Who waited for an earlier term's entry there is told that it is gone: this leader has
    /// everything that was committed before, and it was not among that.
    pub(super) fn insert(&mut self, index: raft::LogIndex, term: raft::Term, slot: AnswerSlot) {
        if let Some((_, gone)) = self.0.insert(index.0, (term, slot)) {
            sometimes("proposals_displaced");
            gone.fill(Err(NotApplied::NotLeader(None)));
        }
    }

    /// The entry at `index`, of `term`, was applied. Who waited for it, with its answer; `None` gives the outcome back.
    pub(super) fn settle(
        &mut self,
        index: raft::LogIndex,
        term: raft::Term,
        outcome: Outcome,
    ) -> Result<(AnswerSlot, Applied), Outcome> {
        match self.0.remove(&index.0) {
            Some((waited, slot)) if waited == term || highwater_runtime::mutant(85) => {
                Ok((slot, Applied { index: index.0, outcome }))
            }
            Some((_, slot)) => {
                sometimes("proposals_displaced");
                slot.fill(Err(NotApplied::NotLeader(None)));
                Err(outcome)
            }
            None => Err(outcome),
        }
    }

    /// A snapshot took the place of everything up to `index`: nobody here can tell what became of what waits there.
    pub(super) fn covered(&mut self, index: raft::LogIndex) {
        let later = self.0.split_off(&index.0.saturating_add(1));
        for (_, slot) in std::mem::replace(&mut self.0, later).into_values() {
            sometimes("proposals_covered_by_a_snapshot");
            let planted = highwater_runtime::mutant(86);
            slot.fill(Err(if planted { NotApplied::NotLeader(None) } else { outcome_unknown().into() }));
        }
    }
}

fn outcome_unknown() -> Diag {
    Diag::new(
        SqlState::OUTCOME_UNKNOWN,
        "this node lost touch with the statement's group while it was under way; it may or may not have been applied",
    )
    .hint("Send it again with the same request_id to learn its outcome without applying it twice.")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use futures_lite::FutureExt;
    use futures_lite::future::{block_on, poll_once};
    use highwater_raft::{LogIndex, Term};
    use highwater_runtime::queue::{self, Reply};

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "what is polled once never blocks")]
    fn answer(reply: Reply<Result<Applied, NotApplied>>) -> Option<Result<Applied, NotApplied>> {
        block_on(poll_once(reply.boxed_local())).map(|answer| answer.unwrap())
    }

    #[test]
    fn an_entry_of_the_same_term_is_the_proposals_and_one_of_another_means_that_it_is_gone() {
        let mut waiting = Waiting::default();
        let ((a, for_a), (b, for_b)) = (queue::reply(), queue::reply());
        waiting.insert(LogIndex(4), Term(2), a);
        waiting.insert(LogIndex(5), Term(2), b);
        let (slot, applied) = waiting.settle(LogIndex(4), Term(2), Outcome::Done).unwrap();
        slot.fill(Ok(applied));
        assert!(matches!(answer(for_a), Some(Ok(Applied { index: 4, outcome: Outcome::Done }))));
        assert!(waiting.settle(LogIndex(5), Term(3), Outcome::Done).is_err());
        assert!(matches!(answer(for_b), Some(Err(NotApplied::NotLeader(None)))));
    }

    #[test]
    fn who_waited_for_an_entry_that_a_later_term_of_this_leader_replaces_is_told_that_it_is_gone() {
        let mut waiting = Waiting::default();
        let ((a, for_a), (b, for_b)) = (queue::reply(), queue::reply());
        waiting.insert(LogIndex(4), Term(2), a);
        waiting.insert(LogIndex(4), Term(5), b);
        assert!(matches!(answer(for_a), Some(Err(NotApplied::NotLeader(None)))));
        assert!(answer(for_b).is_none());
    }

    #[test]
    fn a_snapshot_leaves_open_what_became_of_what_it_covers() {
        let mut waiting = Waiting::default();
        let ((a, for_a), (b, for_b)) = (queue::reply(), queue::reply());
        waiting.insert(LogIndex(4), Term(2), a);
        waiting.insert(LogIndex(5), Term(2), b);
        waiting.covered(LogIndex(4));
        let Some(Err(NotApplied::Refused(diag))) = answer(for_a) else { panic!("it is answered") };
        assert_eq!(diag.sqlstate, SqlState::OUTCOME_UNKNOWN);
        assert!(answer(for_b).is_none());
    }
}
