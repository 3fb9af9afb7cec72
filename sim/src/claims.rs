//! What the consumers of one group were given and have acked, as far as they know: which acks must be refused, and which offsets must
//! not be settled.
//!
//! A consumer knows an answer it got, not what became of a request without one. Whatever such a request may have done is not held
//! against the server.

use std::collections::{BTreeMap, BTreeSet};

/// An offset that was given to a consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    /// Whose it is.
    owner: usize,
    /// Who had it before.
    former: BTreeSet<usize>,
    /// The earliest log time, in microseconds, at which the claim can have begun.
    since: i64,
    /// The owner has acked it, or may have.
    is_acked: bool,
    /// Others have acked beyond it, or may have: it is settled if the claim had ended by then.
    is_passed: bool,
}

/// The consumers of a group and the topic's partitions.
#[derive(Clone, Debug, Default)]
pub struct Claims {
    held: BTreeMap<(u32, u64), Held>,
    /// Partition, consumer and offset of each ack that is under way.
    under_way: BTreeMap<(u32, usize), u64>,
    /// Per partition: the highest offset of an ack of which nobody knows whether it was taken.
    open_acks: BTreeMap<u32, u64>,
    /// Partition and consumer of a consume without an answer: it may have taken anything.
    open_consumes: BTreeSet<(u32, usize)>,
}

impl Claims {
    /// A consume was answered; it was sent when the log time of its entry was `since` at the earliest.
    pub fn give(&mut self, consumer: usize, partition: u32, offsets: impl Iterator<Item = u64>, since: i64) {
        for offset in offsets {
            let before = self.held.remove(&(partition, offset));
            let mut former = before.map_or_else(BTreeSet::new, |held| {
                let mut former = held.former;
                former.insert(held.owner);
                former
            });
            former.remove(&consumer);
            self.held.insert(
                (partition, offset),
                Held { owner: consumer, former, since, is_acked: false, is_passed: false },
            );
        }
    }

    /// A consume has no answer.
    pub fn lose_consume(&mut self, consumer: usize, partition: u32) {
        self.open_consumes.insert((partition, consumer));
    }

    /// An ack is about to be sent; whether it must be refused, unless the owner acks meanwhile: another has the offset.
    pub fn ack(&mut self, consumer: usize, partition: u32, upto: u64) -> bool {
        let must_fail = self.is_anothers(consumer, partition, upto)
            && !self.open_consumes.contains(&(partition, consumer))
            && self.held.get(&(partition, upto)).is_some_and(|held| held.former.contains(&consumer));
        self.under_way.insert((partition, consumer), upto);
        must_fail
    }

    /// Whether another consumer has the offset and it is not settled, for certain.
    #[must_use]
    pub fn is_anothers(&self, consumer: usize, partition: u32, offset: u64) -> bool {
        self.open_acks.get(&partition).is_none_or(|open| offset > *open)
            && self.held.get(&(partition, offset)).is_some_and(|held| {
                held.owner != consumer
                    && !held.is_acked
                    && !held.is_passed
                    && !self.may_settle(partition, held.owner, offset)
            })
    }

    /// Whether an ack of a consumer that is under way may settle the offset.
    fn may_settle(&self, partition: u32, consumer: usize, offset: u64) -> bool {
        self.under_way.get(&(partition, consumer)).is_some_and(|upto| offset <= *upto)
    }

    /// An ack was answered; if it was not taken, it has changed nothing.
    pub fn end_ack(&mut self, consumer: usize, partition: u32, is_taken: bool) {
        let Some(upto) = self.under_way.remove(&(partition, consumer)).filter(|_| is_taken) else { return };
        for held in self.held.range_mut((partition, 0)..=(partition, upto)).map(|(_, held)| held) {
            held.is_acked |= held.owner == consumer;
            held.is_passed |= held.owner != consumer;
        }
    }

    /// An ack has no answer.
    pub fn lose_ack(&mut self, consumer: usize, partition: u32) {
        let Some(upto) = self.under_way.remove(&(partition, consumer)) else { return };
        let open = self.open_acks.entry(partition).or_insert(upto);
        *open = upto.max(*open);
    }

    /// The first offset at or below the committed one that its owner has not acked, though its claim, which lasts `visibility`
    /// microseconds, has not ended by log time `latest`.
    #[must_use]
    pub fn jumped_over(&self, partition: u32, committed: u64, latest: i64, visibility: i64) -> Option<u64> {
        let open = self.open_acks.get(&partition).copied();
        self.held
            .range((partition, 0)..=(partition, committed))
            .find(|((_, offset), held)| {
                !held.is_acked
                    && !self.may_settle(partition, held.owner, *offset)
                    && open.is_none_or(|open| *offset > open)
                    && latest < held.since.saturating_add(visibility)
            })
            .map(|((_, offset), _)| *offset)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    const VISIBILITY: i64 = 400;

    /// Whether an ack that is taken should be refused.
    fn taken(claims: &mut Claims, consumer: usize, upto: u64) -> bool {
        let must_fail = claims.ack(consumer, 3, upto);
        claims.end_ack(consumer, 3, !must_fail);
        must_fail
    }

    #[test]
    fn an_ack_of_what_was_handed_on_must_be_refused() {
        let mut claims = Claims::default();
        claims.give(0, 3, 10..20, 0);
        assert!(!claims.ack(1, 3, 15), "it never had it");
        claims.end_ack(1, 3, false);
        claims.give(1, 3, 10..15, 500);
        assert!(taken(&mut claims, 0, 12));
        assert!(!claims.ack(1, 3, 11));
        assert!(!claims.ack(0, 3, 11) && claims.ack(0, 3, 12), "what is under way may settle it");
        claims.end_ack(0, 3, false);
        claims.end_ack(1, 3, true);
        assert!(!taken(&mut claims, 0, 11), "the owner has acked");
        assert!(taken(&mut claims, 0, 14), "not all of it");
        assert!(!taken(&mut claims, 0, 15), "the rest is its own");
        assert!(!taken(&mut claims, 0, 14), "if the claim had ended by then, that has settled it");
    }

    #[test]
    fn what_has_no_answer_may_have_happened() {
        let mut claims = Claims::default();
        claims.give(0, 3, 10..20, 0);
        claims.give(1, 3, 10..20, 500);
        claims.ack(1, 3, 12);
        claims.lose_ack(1, 3);
        assert!(!taken(&mut claims, 0, 12) && taken(&mut claims, 0, 13));
        assert_eq!(claims.jumped_over(3, 15, 600, VISIBILITY), Some(13));
        claims.lose_consume(0, 3);
        assert!(!claims.ack(0, 3, 13), "it may have got it again");
    }

    #[test]
    fn nothing_under_a_live_claim_is_settled_but_by_its_owner() {
        let mut claims = Claims::default();
        claims.give(0, 3, 10..20, 0);
        claims.give(1, 3, 20..30, 100);
        assert_eq!(claims.jumped_over(3, 9, 120, VISIBILITY), None);
        assert_eq!(claims.jumped_over(3, 29, 120, VISIBILITY), Some(10));
        assert_eq!(claims.jumped_over(2, 29, 120, VISIBILITY), None, "another partition");
        claims.ack(0, 3, 19);
        assert_eq!(claims.jumped_over(3, 29, 120, VISIBILITY), Some(20), "what is under way may have settled it");
        claims.end_ack(0, 3, true);
        assert_eq!(claims.jumped_over(3, 29, 120, VISIBILITY), Some(20));
        assert_eq!(claims.jumped_over(3, 29, 500, VISIBILITY), None, "the claim may have ended");
    }
}
