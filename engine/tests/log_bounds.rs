//! The log stays bounded, whoever is silent, and nothing that anybody needs is lost by that.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use bytes::Bytes;
use highwater_engine::{
    EngineError, GroupId, HardState, Incarnation, LogBatch, LogIndex, StoreOptions, Term, WriteBatch,
};
use highwater_runtime::disk::{CrashKind, Faults};
use highwater_runtime::inproc::Sim;
use support::{Driver, LIFE};

const BUSY: GroupId = GroupId(1);
const APPLIED_ONLY: GroupId = GroupId(2);
const KEPT_BY_RAFT: GroupId = GroupId(3);
const UNCOMMITTED: GroupId = GroupId(4);

fn batch(number: u64) -> WriteBatch {
    let mut batch = WriteBatch::new();
    batch.put(format!("key-{:03}", number % 100), vec![number as u8; 1000]);
    batch
}

async fn append(driver: &Driver, group: GroupId, life: Incarnation, index: u64, term: u64) {
    let mut records = LogBatch::new();
    let data = Bytes::from(WriteBatch::new().encode());
    records.push_entries(group, life, LogIndex(index), std::iter::once((Term(term), data)));
    records.push_hard_state(group, HardState { term: Term(term), vote: 3, commit: LogIndex(0) });
    driver.store.append(records).await.unwrap();
}

#[test]
fn silent_groups_do_not_hold_the_log_and_lose_nothing() {
    let mut sim = Sim::new(1, Faults::crashes(4));
    for life in 0..4u64 {
        sim.run(|env| async move {
            let mut driver = Driver::open(env).await.unwrap();
            if life == 0 {
                driver.write(APPLIED_ONLY, batch(1)).await.unwrap();
                // Written, applied, but Raft still wants to send it to somebody.
                driver.log(KEPT_BY_RAFT, &batch(2)).await.unwrap();
                driver.store.write(KEPT_BY_RAFT, LogIndex(1), batch(2));
                for index in 1..=3 {
                    append(&driver, UNCOMMITTED, LIFE, index, 5).await;
                }
            }
            for number in 0..800u64 {
                driver.write(BUSY, batch(number)).await.unwrap();
            }
            let stats = driver.store.stats();
            assert!((stats.log_segments as u64) << 16 < StoreOptions::small().log_limit_bytes, "{stats:?}");
            assert_eq!(driver.store.term_of(UNCOMMITTED, LogIndex(3)), Some(Term(5)));
            assert_eq!(driver.store.hard_state(UNCOMMITTED).vote, 3);
            let kept = driver.store.entries(UNCOMMITTED, LogIndex(1), LogIndex(3), usize::MAX).await.unwrap();
            assert_eq!(kept.len(), 3);
            let kept = driver.store.entries(KEPT_BY_RAFT, LogIndex(1), LogIndex(1), usize::MAX).await;
            // A restart's driver has released it.
            assert!(life > 0 || kept.unwrap()[0].data == batch(2).encode());
            driver.store.verify().await.unwrap();
        })
        .unwrap();
        sim.crash(CrashKind::Power);
    }
}

#[test]
fn another_life_of_a_group_begins_with_an_empty_log_behind_its_start() {
    let mut sim = Sim::new(2, Faults::none());
    let second = Incarnation(2);
    sim.run(|env| async move {
        let driver = Driver::open(env).await.unwrap();
        append(&driver, UNCOMMITTED, LIFE, 1, 1).await;
        let mut records = LogBatch::new();
        records.push_start(UNCOMMITTED, second, LogIndex(40), Term(6));
        driver.store.append(records).await.unwrap();
        append(&driver, UNCOMMITTED, second, 41, 7).await;
    })
    .unwrap();
    for _ in 0..2 {
        sim.crash(CrashKind::Power);
        sim.run(|env| async move {
            let (store, recovery) =
                highwater_engine::Store::open(env, std::path::Path::new(support::FOLDER), StoreOptions::small())
                    .await
                    .unwrap();
            let found = &recovery.groups[&UNCOMMITTED];
            assert_eq!((found.incarnation, found.first_index, found.last_index), (second, LogIndex(41), LogIndex(41)));
            assert_eq!(store.term_of(UNCOMMITTED, LogIndex(40)), Some(Term(6)));
            assert_eq!(store.term_of(UNCOMMITTED, LogIndex(41)), Some(Term(7)));
        })
        .unwrap();
    }
}

#[test]
fn a_batch_larger_than_a_block_is_written_whole() {
    let mut sim = Sim::new(3, Faults::none());
    let options = || StoreOptions { segment_bytes: 4 << 20, log_limit_bytes: 64 << 20, ..StoreOptions::small() };
    sim.run(|env| async move {
        let driver = Driver::open_with(env, options()).await.unwrap();
        let mut records = LogBatch::new();
        let entries = (0..300u32).map(|i| (Term(1), Bytes::from(vec![i as u8; 20_000])));
        records.push_entries(BUSY, LIFE, LogIndex(1), entries);
        records.push_entries(UNCOMMITTED, LIFE, LogIndex(1), std::iter::once((Term(1), Bytes::from(vec![9; 2 << 20]))));
        driver.store.append(records).await.unwrap();
    })
    .unwrap();
    sim.crash(CrashKind::Power);
    sim.run(|env| async move {
        let folder = std::path::Path::new(support::FOLDER);
        let (store, _) = highwater_engine::Store::open(env, folder, options()).await.unwrap();
        let entries = store.entries(BUSY, LogIndex(1), LogIndex(300), usize::MAX).await.unwrap();
        assert!(entries.iter().enumerate().all(|(i, entry)| entry.data == vec![i as u8; 20_000]));
        let large = store.entries(UNCOMMITTED, LogIndex(1), LogIndex(1), 1).await.unwrap();
        assert_eq!(large[0].data.len(), 2 << 20);
    })
    .unwrap();
}

/// Entries of every size that a segment of 64 KiB takes, and so many small ones that a record of all of them would not fit.
fn entry_sizes() -> Vec<usize> {
    let max = StoreOptions::small().max_entry_bytes();
    [vec![max; 9], vec![20_000; 20], vec![1000; 200], vec![1; 20_000], vec![max - 1, 0, max]].concat()
}

#[test]
fn no_block_reaches_beyond_the_smallest_segment_however_large_the_batch() {
    let mut sim = Sim::new(5, Faults::none());
    let sizes = entry_sizes();
    let options = || StoreOptions { log_limit_bytes: 64 << 20, ..StoreOptions::small() };
    let entry = |(at, bytes): (usize, &usize)| (Term(1), Bytes::from(vec![at as u8; *bytes]));
    let given: Vec<_> = sizes.iter().enumerate().map(entry).collect();
    let entries = given.clone();
    sim.run(|env| async move {
        let store = Driver::open_with(env, options()).await.unwrap().store;
        let mut records = LogBatch::new();
        records.push_entries(BUSY, LIFE, LogIndex(1), entries.clone().into_iter());
        store.append(records).await.unwrap();
        for (index, (term, data)) in (1..).zip(entries) {
            store.append_deferred(UNCOMMITTED, LIFE, LogIndex(index), term, data).await.unwrap();
        }
        store.sync_log().await.unwrap();
    })
    .unwrap();
    sim.crash(CrashKind::Power);
    let files = sim.disk().files();
    let segments: Vec<u64> = files
        .iter()
        .filter(|(path, _)| path.extension().is_some_and(|e| e == "log"))
        .map(|(_, bytes)| *bytes)
        .collect();
    assert!(segments.len() > 10 && segments.iter().all(|bytes| *bytes == 64 << 10), "{segments:?}");
    sim.run(|env| async move {
        let folder = std::path::Path::new(support::FOLDER);
        let (store, _) = highwater_engine::Store::open(env, folder, options()).await.unwrap();
        for group in [BUSY, UNCOMMITTED] {
            let found = store.entries(group, LogIndex(1), LogIndex(given.len() as u64), usize::MAX).await.unwrap();
            assert!(found.iter().map(|entry| &entry.data).eq(given.iter().map(|(_, data)| data)), "{group}");
        }
    })
    .unwrap();
}

#[test]
fn what_no_segment_takes_is_refused_whole_and_by_its_size() {
    let mut sim = Sim::new(6, Faults::none());
    sim.run(|env| async move {
        let store = Driver::open(env).await.unwrap().store;
        let before = store.stats().log_bytes;
        let limit = StoreOptions::small().max_entry_bytes();
        let large = || Bytes::from(vec![1; limit + 1]);
        let mut records = LogBatch::new();
        records.push_hard_state(BUSY, HardState { term: Term(7), vote: 1, commit: LogIndex(0) });
        records.push_entries(BUSY, LIFE, LogIndex(1), std::iter::once((Term(1), large())));
        assert_eq!(store.append(records).await, Err(EngineError::TooLarge { bytes: limit + 1, limit }));
        let deferred = store.append_deferred(BUSY, LIFE, LogIndex(1), Term(1), large()).await;
        assert_eq!(deferred, Err(EngineError::TooLarge { bytes: limit + 1, limit }));
        // So many groups that a segment which opens with all of them has no room for a large entry.
        let mut records = LogBatch::new();
        for group in 0..600 {
            records.push_hard_state(GroupId(100 + group), HardState { term: Term(1), vote: 1, commit: LogIndex(0) });
        }
        records.push_entries(BUSY, LIFE, LogIndex(1), std::iter::once((Term(1), Bytes::from(vec![1; limit]))));
        assert!(matches!(store.append(records).await, Err(EngineError::TooLarge { limit: room, .. }) if room < limit));
        assert_eq!(store.stats().log_bytes, before, "nothing of it was written");
        assert_eq!(store.hard_state(BUSY), HardState::default());
    })
    .unwrap();
}

#[test]
fn a_log_filled_by_starts_alone_is_freed_again_and_takes_writes() {
    let mut sim = Sim::new(3, Faults::none());
    let options = StoreOptions { log_limit_bytes: 4 * (64 << 10), ..StoreOptions::small() };
    for start in 0..12u64 {
        let options = options.clone();
        sim.run(|env| async move {
            let mut driver = Driver::open_with(env, options).await.unwrap();
            let mut batch = WriteBatch::new();
            batch.put(format!("key-{start}"), "value");
            driver.write(BUSY, batch).await.unwrap();
        })
        .unwrap();
        // Dead before anything was flushed; each start begins another segment.
        sim.crash(CrashKind::Power);
    }
}
