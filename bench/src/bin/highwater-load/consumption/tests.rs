//! A group that did everything right, and every way to spoil it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
use super::*;
use crate::ledger::tests::ledger;
use quickcheck::quickcheck;

const PARTITIONS: u32 = 3;

fn change(id: u32) -> Option<Place> {
    Some(Place { user: id % 2, id: i64::from(id) })
}

/// `rows` acknowledged inserts, spread over partitions, each delivered and committed in order.
fn correct(rows: u32) -> (Ledger, Consumption) {
    let mut consumption = Consumption::default();
    for id in 0..rows {
        let (partition, offset) = (id % PARTITIONS, u64::from(id / PARTITIONS));
        let asked = 1_000_000 + u64::from(id) * 10;
        consumption.deliver(Delivery { partition, offset, change: change(id), asked });
        consumption.commit(Commit { partition, committed: offset, sent: asked + 2, answered: asked + 3 });
    }
    (ledger(&vec![Fate::Acknowledged; rows as usize]), consumption)
}

/// The only sentence of a check.
fn sentence((ledger, consumption): &(Ledger, Consumption)) -> String {
    let verdict = consumption.check(ledger);
    assert_eq!(verdict.violations, 1, "{:?}", verdict.named);
    verdict.named[0].clone()
}

quickcheck! {
    fn a_correct_group_breaks_nothing(rows: u8) -> bool {
        let (ledger, consumption) = correct(u32::from(rows));
        consumption.check(&ledger).violations == 0 && consumption.open(&ledger) == 0
    }

    fn a_message_that_never_came_is_found(rows: u8, which: u8) -> bool {
        let rows = u32::from(rows).max(1);
        let (ledger, mut consumption) = correct(rows);
        let lost = consumption.deliveries.remove(usize::from(which) % rows as usize);
        let verdict = consumption.check(&ledger);
        verdict.named.iter().any(|named| named.contains(&format!("row {} ", lost.change.unwrap().id)))
    }

    fn a_change_with_two_messages_is_found(rows: u8, which: u8) -> bool {
        let rows = u32::from(rows).max(1);
        let (ledger, mut consumption) = correct(rows);
        let end = u64::from(rows.div_ceil(PARTITIONS));
        let again = consumption.deliveries[usize::from(which) % rows as usize].change;
        consumption.deliver(Delivery { partition: 0, offset: end, change: again, asked: 2_000_000 });
        consumption.check(&ledger).violations > 0
    }

    fn swapping_two_changes_of_a_user_within_a_partition_is_found(rows: u8, which: u8) -> bool {
        // Rows that are 2 * PARTITIONS apart have the same user and partition.
        let apart = 2 * PARTITIONS as usize;
        let rows = usize::from(rows).max(apart + 1);
        let (ledger, mut consumption) = correct(rows as u32);
        let first = usize::from(which) % (rows - apart);
        let (a, b) = (consumption.deliveries[first].change, consumption.deliveries[first + apart].change);
        consumption.deliveries[first].change = b;
        consumption.deliveries[first + apart].change = a;
        consumption.check(&ledger).named.iter().any(|named| named.contains("stands after"))
    }
}

#[test]
fn a_delivery_again_before_the_commit_is_allowed() {
    let (ledger, mut consumption) = correct(9);
    let again = Delivery { asked: consumption.deliveries[4].asked + 1, ..consumption.deliveries[4] };
    consumption.deliver(again);
    let verdict = consumption.check(&ledger);
    assert_eq!(verdict.violations, 0, "{:?}", verdict.named);
    assert!(verdict.facts.contains(&("delivered again", 1)));
}

#[test]
fn a_delivery_after_the_commit_is_a_double_one() {
    let mut run = correct(9);
    let again = Delivery { asked: 3_000_000, ..run.1.deliveries[4] };
    run.1.deliver(again);
    assert_eq!(sentence(&run), "1:1 was delivered again after offset 2 was committed");
}

#[test]
fn a_committed_offset_that_falls_is_named() {
    let mut run = correct(9);
    run.1.commit(Commit { partition: 2, committed: 0, sent: 3_000_000, answered: 3_000_001 });
    assert_eq!(sentence(&run), "the committed offset of partition 2 fell from 2 to 0");
}

#[test]
fn commits_under_way_at_once_may_be_answered_in_any_order() {
    let (ledger, mut consumption) = correct(9);
    consumption.commit(Commit { partition: 2, committed: 0, sent: 1, answered: 3_000_001 });
    assert_eq!(consumption.check(&ledger).violations, 0);
}

#[test]
fn a_gap_is_named_even_if_the_message_was_another_runs() {
    let mut run = correct(9);
    run.1.deliveries.push(Delivery { partition: 0, offset: 4, change: None, asked: 3_000_000 });
    assert_eq!(sentence(&run), "partition 0 has a gap: nothing between 2 and 4 was delivered");
}

#[test]
fn a_commit_of_what_nobody_got_is_named() {
    let mut run = correct(9);
    run.1.commit(Commit { partition: 0, committed: 3, sent: 3_000_000, answered: 3_000_001 });
    assert_eq!(sentence(&run), "offset 3 of partition 0 is committed and was never delivered");
}

#[test]
fn a_message_without_a_commit_is_named() {
    let mut run = correct(9);
    run.1.commits.pop();
    assert_eq!(sentence(&run), "the message of row 8 (2:2) was never committed");
}

#[test]
fn a_message_of_a_refused_or_unknown_insert_is_told_apart() {
    let (_, mut consumption) = correct(1);
    assert_eq!(consumption.check(&ledger(&[Fate::Unknown])).violations, 0);
    assert!(consumption.check(&ledger(&[Fate::Refused])).named[0].contains("whose insert was refused"));
    consumption.deliveries[0].change = change(5);
    assert!(consumption.check(&ledger(&[Fate::Unknown])).named[0].contains("nobody inserted"));
}

#[test]
fn an_offset_that_carries_two_messages_is_named() {
    let mut run = correct(9);
    run.1.deliveries.push(Delivery { change: None, asked: 0, ..run.1.deliveries[3] });
    assert_eq!(sentence(&run), "0:1 was delivered with two different messages");
}
