//! Reading in order reads several blocks at once, in either direction.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use std::path::Path;

use highwater_engine::{Direction, GroupId, KeyRange, LogIndex, Store, StoreOptions, WriteBatch};
use highwater_runtime::disk::{CrashKind, Faults};
use highwater_runtime::inproc::Sim;

const GROUP: GroupId = GroupId(1);
const KEYS: u32 = 3000;

/// One table of many small blocks.
fn options() -> StoreOptions {
    StoreOptions { memtable_bytes: 4 << 20, cache_bytes: 4 << 20, scrub_period_micros: 0, ..StoreOptions::small() }
}

/// How many I/O operations a scan of a store takes that has just been opened.
fn operations(direction: Direction, range: &KeyRange) -> (usize, u64) {
    let mut sim = Sim::new(1, Faults::none());
    let open = |env| async move { Store::open(env, Path::new(support::FOLDER), options()).await.unwrap().0 };
    sim.run(|env| async move {
        let store = open(env).await;
        let mut batch = WriteBatch::new();
        (0..KEYS).for_each(|key| batch.put(key.to_be_bytes(), [key as u8; 200]));
        store.write(GROUP, LogIndex(1), batch);
        store.flush().await.unwrap();
        store.close().await.unwrap();
    })
    .unwrap();
    sim.crash(CrashKind::Process);
    let store = sim.run(open).unwrap();
    let before = sim.completions();
    let range = range.clone();
    let found = sim.run(|_| async move { support::content(&store, &store.snapshot(), &range, direction).await.len() });
    (found.unwrap(), sim.completions() - before)
}

#[test]
fn a_long_scan_takes_a_few_large_reads_in_either_direction() {
    for direction in [Direction::Forward, Direction::Reverse] {
        let (found, operations) = operations(direction, &KeyRange::all());
        assert_eq!(found, KEYS as usize);
        // Some 750 blocks, eight at a time.
        assert!((50..150).contains(&operations), "{direction:?}: {operations}");
    }
}

#[test]
fn a_short_scan_reads_no_more_than_it_needs() {
    let range = KeyRange::new(1000u32.to_be_bytes().to_vec(), 1002u32.to_be_bytes().to_vec());
    for direction in [Direction::Forward, Direction::Reverse] {
        let (found, operations) = operations(direction, &range);
        assert!(found == 2 && operations <= 5, "{direction:?}: {found} found, {operations} operations");
    }
}
