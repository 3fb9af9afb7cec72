//! The promises of claims, against a model that keeps one state per offset.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::BTreeSet;

use quickcheck::{Arbitrary, Gen, quickcheck};

use super::*;

const LOG: Log = Offsets::new(0, 20);

fn group() -> Progress {
    Progress::starting(StartPosition::Earliest, LOG, 0)
}

/// Claims up to `limit` offsets as a consume does.
fn take_next(progress: &mut Progress, who: &str, now: Micros, until: Micros, limit: u64) -> Vec<Offsets> {
    let ranges = progress.free(LOG, now, limit);
    progress.claim(who, &ranges, until).unwrap();
    progress.check().unwrap();
    ranges
}

#[test]
fn two_consumers_are_given_different_messages_in_offset_order() {
    let mut progress = group();
    assert_eq!(take_next(&mut progress, "a", 0, 60, 5), [Offsets::new(0, 5)]);
    assert_eq!(take_next(&mut progress, "b", 1, 61, 5), [Offsets::new(5, 10)]);
}

#[test]
fn an_own_live_claim_is_not_delivered_twice() {
    let mut progress = group();
    take_next(&mut progress, "a", 0, 60, 5);
    assert_eq!(take_next(&mut progress, "a", 1, 61, 5), [Offsets::new(5, 10)]);
}

#[test]
fn an_expired_claim_is_delivered_again_also_to_its_owner() {
    let mut progress = group();
    take_next(&mut progress, "a", 0, 60, 5);
    assert_eq!(take_next(&mut progress, "a", 60, 120, 5), [Offsets::new(0, 5)]);
    assert_eq!(progress.ack("a", 4, LOG, 61, None), Ok(Some(4)));
}

#[test]
fn an_ack_skips_what_another_holds_and_the_committed_offset_waits_for_it() {
    let mut progress = group();
    take_next(&mut progress, "a", 0, 60, 5);
    take_next(&mut progress, "b", 0, 60, 5);
    assert_eq!(progress.ack("b", 9, LOG, 1, None), Ok(None));
    assert_eq!(progress.settled, [Offsets::new(5, 10)]);
    assert_eq!(progress.ack("a", 4, LOG, 2, None), Ok(Some(9)));
    assert_eq!((progress.settled.len(), progress.claims.len()), (0, 0));
}

#[test]
fn an_ack_under_an_expired_claim_that_was_handed_on_is_refused() {
    let mut progress = group();
    take_next(&mut progress, "a", 0, 60, 5);
    take_next(&mut progress, "b", 60, 120, 5);
    let refusal = Refusal::HandedOn { owner: "b".into(), range: Offsets::new(0, 5) };
    assert_eq!(progress.ack("a", 4, LOG, 61, None), Err(refusal.clone()));
    assert_eq!(progress.ack("a", 4, LOG, 200, None), Err(refusal), "also when the second claim has expired");
    assert_eq!(progress.ack("b", 4, LOG, 201, None), Ok(Some(4)), "an expired claim that nobody took over still acks");
    assert_eq!(progress.ack("a", 4, LOG, 202, None), Ok(Some(4)), "once settled, a late ack is a lower one");
}

#[test]
fn a_claim_partly_handed_on_still_acks_its_rest() {
    let mut progress = group();
    take_next(&mut progress, "a", 0, 60, 10);
    take_next(&mut progress, "b", 60, 120, 3);
    assert!(progress.ack("a", 2, LOG, 61, None).is_err());
    assert_eq!(progress.ack("a", 9, LOG, 61, None), Ok(None));
    assert_eq!(progress.settled, [Offsets::new(3, 10)]);
    assert_eq!(progress.ack("b", 2, LOG, 62, None), Ok(Some(9)));
}

#[test]
fn a_lower_ack_moves_nothing_and_answers_the_present_offset() {
    let mut progress = group();
    assert_eq!(progress.ack("a", 9, LOG, 1, None), Ok(Some(9)));
    let before = progress.clone();
    assert_eq!(progress.ack("a", 3, LOG, 2, None), Ok(Some(9)));
    assert_eq!(progress, before);
}

#[test]
fn an_ack_beyond_the_end_is_refused_with_the_end() {
    let mut progress = group();
    assert_eq!(progress.ack("a", 20, LOG, 1, None), Err(Refusal::BeyondEnd { end: 20 }));
    assert_eq!(progress.ack("a", u64::MAX, LOG, 1, None), Err(Refusal::BeyondEnd { end: 20 }));
    assert_eq!(progress, group());
}

#[test]
fn a_latest_group_sees_only_what_comes_after_its_creation() {
    let progress = Progress::starting(StartPosition::Latest, LOG, 0);
    assert!(progress.free(LOG, 0, 10).is_empty());
    assert_eq!(progress.free(Offsets::new(0, 22), 0, 10), [Offsets::new(20, 22)]);
    assert_eq!(progress.committed, None);
}

#[test]
fn a_start_beyond_the_end_waits_for_that_offset() {
    let progress = Progress::starting(StartPosition::Offset(25), LOG, 0);
    assert!(progress.free(Offsets::new(0, 25), 0, 10).is_empty());
    assert_eq!(progress.free(Offsets::new(0, 27), 0, 10), [Offsets::new(25, 27)]);
}

#[test]
fn an_automatic_ack_settles_what_was_returned_and_no_more() {
    let mut progress = group();
    take_next(&mut progress, "a", 0, 60, 5);
    let ranges = progress.free(LOG, 1, 5);
    progress.settle(&ranges, LOG, 1).unwrap();
    assert_eq!(progress.committed, None, "the claim below is still open");
    assert_eq!(progress.ack("a", 4, LOG, 2, None), Ok(Some(9)));
}

#[test]
fn messages_that_left_the_log_count_as_settled_at_the_next_ack() {
    let mut progress = group();
    take_next(&mut progress, "a", 0, 60, 5);
    let log = Offsets::new(8, 20);
    assert_eq!(progress.free(log, 1, 3), [Offsets::new(8, 11)]);
    assert_eq!(progress.ack("b", 8, log, 1, None), Ok(Some(8)));
    assert!(progress.claims.is_empty());
    progress.check().unwrap();
}

#[test]
fn more_open_claims_than_the_limit_are_refused_and_change_nothing() {
    let log = Offsets::new(0, 10_000);
    let mut progress = Progress::starting(StartPosition::Earliest, log, 0);
    for number in 0..MAX_CLAIMS {
        let ranges = progress.free(log, 0, 1);
        progress.claim(&format!("c{number}"), &ranges, 60).unwrap();
    }
    let before = progress.clone();
    let ranges = progress.free(log, 0, 1);
    assert_eq!(progress.claim("one more", &ranges, 60), Err(Refusal::TooManyClaims));
    assert_eq!(progress, before);
    assert!(progress.claim("c511", &progress.free(log, 0, 1), 60).is_ok(), "a claim that joins the last one fits");
}

#[test]
fn a_claim_that_forgot_names_refuses_everyone_but_its_owner() {
    let mut progress = group();
    for number in 0..12 {
        let now = number * 10;
        take_next(&mut progress, &format!("c{number}"), now, now + 10, 5);
    }
    assert!(progress.claims[0].former_forgotten);
    assert!(progress.ack("c9", 4, LOG, 112, None).is_err());
    assert!(progress.ack("c0", 4, LOG, 112, None).is_err());
    assert_eq!(progress.ack("c11", 4, LOG, 112, None), Ok(Some(4)));
}

#[test]
fn planted_bug_32_moves_the_offset_back() {
    let mut progress = group();
    progress.ack("a", 9, LOG, 1, Some(PlantedAck::LastWriteWins)).unwrap();
    assert_eq!(progress.ack("a", 3, LOG, 2, Some(PlantedAck::LastWriteWins)), Ok(Some(3)));
}

/// One state per offset: the slow way to say the same thing.
#[derive(Clone, Debug, PartialEq)]
enum Cell {
    Free,
    Settled,
    Held { owner: u8, until: Micros, former: BTreeSet<u8> },
}

#[derive(Clone, Debug)]
enum Step {
    Consume { who: u8, limit: u64, visibility: Micros },
    AutoAck { limit: u64 },
    Ack { who: u8, upto: u64 },
    Pass(Micros),
    Append(u64),
    Drop(u64),
}

impl Arbitrary for Step {
    fn arbitrary(g: &mut Gen) -> Self {
        let who = u8::arbitrary(g) % 4;
        let small = u64::from(u8::arbitrary(g) % 7);
        match u8::arbitrary(g) % 12 {
            0..=3 => Self::Consume { who, limit: small, visibility: Micros::from(u8::arbitrary(g) % 20) },
            4 => Self::AutoAck { limit: small },
            5..=7 => Self::Ack { who, upto: u64::from(u8::arbitrary(g) % 48) },
            8 | 9 => Self::Pass(Micros::from(u8::arbitrary(g) % 12)),
            10 => Self::Append(small),
            _ => Self::Drop(u64::from(u8::arbitrary(g) % 4)),
        }
    }
}

fn flatten(ranges: &[Offsets]) -> Vec<u64> {
    ranges.iter().flat_map(|range| range.from..range.to).collect()
}

struct Model {
    cells: Vec<Cell>,
    start: usize,
    committed: Option<u64>,
    prefix: usize,
    now: Micros,
}

impl Model {
    fn free(&self, limit: u64) -> Vec<u64> {
        let open = |offset: &usize| match &self.cells[*offset] {
            Cell::Free => true,
            Cell::Settled => false,
            Cell::Held { until, .. } => *until <= self.now,
        };
        (self.start..self.cells.len()).filter(open).take(limit as usize).map(|offset| offset as u64).collect()
    }

    fn hold(&mut self, who: u8, offsets: &[u64], until: Micros) {
        for offset in offsets {
            let cell = &mut self.cells[*offset as usize];
            let mut former = BTreeSet::new();
            if let Cell::Held { owner, former: older, .. } = cell {
                former = older.clone();
                former.insert(*owner);
                former.remove(&who);
            }
            *cell = Cell::Held { owner: who, until, former };
        }
    }

    fn settle(&mut self, offsets: &[u64]) {
        for offset in offsets {
            self.cells[*offset as usize] = Cell::Settled;
        }
        let done = |cell: &(usize, &Cell)| cell.0 < self.start || *cell.1 == Cell::Settled;
        let prefix = self.cells.iter().enumerate().take_while(done).count();
        if prefix > self.prefix {
            self.prefix = prefix;
            self.committed = Some(prefix as u64 - 1);
        }
    }

    fn ack(&mut self, who: u8, upto: u64) -> Result<Option<u64>, ()> {
        if upto >= self.cells.len() as u64 {
            return Err(());
        }
        if (upto as usize) < self.prefix {
            return Ok(self.committed);
        }
        if let Cell::Held { owner, former, .. } = &self.cells[upto as usize]
            && *owner != who
            && former.contains(&who)
        {
            return Err(());
        }
        let taken = |cell: &Cell| matches!(cell, Cell::Held { owner, until, .. } if *owner != who && *until > self.now);
        let offsets: Vec<u64> = (0..=upto).filter(|offset| !taken(&self.cells[*offset as usize])).collect();
        self.settle(&offsets);
        Ok(self.committed)
    }
}

quickcheck! {
    fn claims_agree_with_one_state_per_offset(steps: Vec<Step>) -> bool {
        let mut model = Model { cells: vec![Cell::Free; 10], start: 0, committed: None, prefix: 0, now: 0 };
        let mut log = Offsets::new(0, 10);
        let mut progress = Progress::starting(StartPosition::Earliest, log, 0);
        let mut floor = 0;
        for step in steps {
            match step {
                Step::Consume { who, limit, visibility } => {
                    let ranges = progress.free(log, model.now, limit);
                    let expected = model.free(limit);
                    assert_eq!(flatten(&ranges), expected);
                    progress.claim(&who.to_string(), &ranges, model.now + visibility).unwrap();
                    model.hold(who, &expected, model.now + visibility);
                }
                Step::AutoAck { limit } => {
                    let ranges = progress.free(log, model.now, limit);
                    let expected = model.free(limit);
                    assert_eq!(flatten(&ranges), expected);
                    if !expected.is_empty() {
                        progress.settle(&ranges, log, model.now).unwrap();
                        model.settle(&expected);
                    }
                }
                Step::Ack { who, upto } => {
                    let got = progress.ack(&who.to_string(), upto, log, model.now, None);
                    assert_eq!(got.map_err(|_| ()), model.ack(who, upto));
                    assert_eq!(progress.committed, model.committed);
                }
                Step::Pass(time) => model.now += time,
                Step::Append(count) => {
                    log.to += count;
                    model.cells.resize(log.to as usize, Cell::Free);
                }
                Step::Drop(count) => {
                    log.from = (log.from + count).min(log.to);
                    model.start = log.from as usize;
                }
            }
            progress.check().unwrap();
            assert!(progress.floor >= floor, "the floor fell");
            floor = progress.floor;
        }
        true
    }
}

#[test]
fn planted_bugs_34_and_35_take_what_is_anothers() {
    let mut progress = group();
    progress.claim("a", &[Offsets::new(0, 5)], 60).unwrap();
    progress.claim("b", &[Offsets::new(0, 5)], 120).unwrap();
    assert!(progress.clone().ack("a", 4, LOG, 61, None).is_err());
    assert_eq!(progress.ack("a", 4, LOG, 121, Some(PlantedAck::OfLostClaim)), Ok(Some(4)));
    progress.claim("a", &[Offsets::new(5, 7)], 200).unwrap();
    assert_eq!(progress.clone().ack("b", 9, LOG, 130, None), Ok(Some(4)));
    assert_eq!(progress.ack("b", 9, LOG, 130, Some(PlantedAck::OverClaims)), Ok(Some(9)));
}
