//! The log on the simulated disk: what recovery gives back, what it leaves out and what it refuses.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::path::{Path, PathBuf};

use bytes::Bytes;
use highwater_engine::{
    Direction, EngineError, GroupId, HardState, Incarnation, KeyRange, LogBatch, LogIndex, Store, StoreOptions, Term,
    WriteBatch,
};
use highwater_runtime::disk::{CrashKind, Faults};
use highwater_runtime::inproc::{InProcEnv, Sim};
use highwater_runtime::{AlignedBuf, BLOCK, Env, File, OpenOptions};

const FOLDER: &str = "/data/store-0";
const GROUP: GroupId = GroupId(1);
const LIFE: Incarnation = Incarnation(1);

fn batch(first: u64, terms: &[u64]) -> LogBatch {
    let mut batch = LogBatch::new();
    let entries = terms
        .iter()
        .enumerate()
        .map(|(i, term)| (Term(*term), Bytes::from(format!("entry {} of {term}", first + i as u64))));
    batch.push_entries(GROUP, LIFE, LogIndex(first), entries);
    batch
}

async fn open(env: InProcEnv) -> Result<(std::rc::Rc<Store<InProcEnv>>, highwater_engine::Recovery), EngineError> {
    Store::open(env, Path::new(FOLDER), StoreOptions::small()).await
}

fn log_files(sim: &Sim) -> Vec<PathBuf> {
    let files = sim.disk().files();
    files.into_iter().map(|(path, _)| path).filter(|path| path.extension().is_some_and(|e| e == "log")).collect()
}

/// The file that holds `needle` and the offset of the block that it is in.
fn find(sim: &Sim, needle: &[u8]) -> (PathBuf, usize) {
    for path in log_files(sim) {
        let bytes = sim.disk().contents(&path).unwrap();
        if let Some(at) = bytes.windows(needle.len()).position(|window| window == needle) {
            return (path, at / BLOCK * BLOCK);
        }
    }
    panic!("not on the disk");
}

fn damage(sim: &Sim, path: &Path, at: usize) {
    let mut bytes = sim.disk().contents(path).unwrap();
    bytes[at] ^= 0x40;
    sim.disk().put(path, &bytes);
}

fn write_three(sim: &mut Sim) {
    sim.run(|env| async move {
        let (store, _) = open(env).await.unwrap();
        for i in 1..=3 {
            store.append(batch(i, &[1])).await.unwrap();
        }
    })
    .unwrap();
    sim.crash(CrashKind::Power);
}

#[test]
fn what_was_acknowledged_is_there_after_a_power_cut() {
    let mut sim = Sim::new(1, Faults::none());
    sim.run(|env| async move {
        let (store, recovery) = open(env).await.unwrap();
        assert!(recovery.groups.is_empty());
        let mut batch = batch(1, &[1, 1, 2]);
        batch.push_hard_state(GROUP, HardState { term: Term(2), vote: 7, commit: LogIndex(2) });
        store.append(batch).await.unwrap();
        store.append(self::batch(3, &[3, 3])).await.unwrap();
        assert_eq!(store.last_index(GROUP), LogIndex(4));
    })
    .unwrap();
    sim.crash(CrashKind::Power);
    for _ in 0..2 {
        sim.run(|env| async move {
            let (store, recovery) = open(env).await.unwrap();
            let group = &recovery.groups[&GROUP];
            assert_eq!((group.first_index, group.last_index, group.applied), (LogIndex(1), LogIndex(4), LogIndex(0)));
            assert_eq!(group.hard_state, HardState { term: Term(2), vote: 7, commit: LogIndex(2) });
            let entries = store.entries(GROUP, LogIndex(1), LogIndex(4), usize::MAX).await.unwrap();
            let terms: Vec<u64> = entries.iter().map(|entry| entry.term.0).collect();
            assert_eq!(terms, [1, 1, 3, 3]);
            assert_eq!(entries[2].data, Bytes::from("entry 3 of 3"));
            assert_eq!(store.term_of(GROUP, LogIndex(2)), Some(Term(1)));
        })
        .unwrap();
        sim.crash(CrashKind::Power);
    }
}

#[test]
fn entries_are_read_from_the_disk_when_memory_does_not_hold_them() {
    let mut sim = Sim::new(1, Faults::none());
    sim.run(|env| async move {
        let options = StoreOptions { tail_cache_bytes: 0, ..StoreOptions::small() };
        let (store, _) = Store::open(env, Path::new(FOLDER), options).await.unwrap();
        for i in 1..=40u64 {
            store.append(batch(i, &[1])).await.unwrap();
        }
        let entries = store.entries(GROUP, LogIndex(1), LogIndex(40), usize::MAX).await.unwrap();
        assert_eq!(entries.len(), 40);
        assert_eq!(entries[39].data, Bytes::from("entry 40 of 1"));
        assert_eq!(store.entries(GROUP, LogIndex(1), LogIndex(40), 30).await.unwrap().len(), 2);
        assert_eq!(store.entries(GROUP, LogIndex(1), LogIndex(40), 1).await.unwrap().len(), 1);
        assert!(matches!(
            store.entries(GROUP, LogIndex(40), LogIndex(41), 1000).await,
            Err(EngineError::NotInLog { index: LogIndex(41), .. })
        ));
    })
    .unwrap();
}

#[test]
fn a_vote_before_the_first_entry_outlives_that_entry() {
    let mut sim = Sim::new(1, Faults::none());
    let voted = HardState { term: Term(3), vote: 2, commit: LogIndex(0) };
    sim.run(|env| async move {
        let (store, _) = open(env).await.unwrap();
        let mut vote = LogBatch::new();
        vote.push_hard_state(GROUP, voted);
        store.append(vote).await.unwrap();
        store.append(batch(1, &[3])).await.unwrap();
        assert_eq!(store.hard_state(GROUP), voted);
    })
    .unwrap();
    sim.crash(CrashKind::Power);
    let found = sim.run(|env| async move { open(env).await.unwrap().1.groups[&GROUP].clone() }).unwrap();
    assert_eq!((found.hard_state, found.last_index), (voted, LogIndex(1)));
}

#[test]
fn entries_that_leave_a_gap_are_refused_and_change_nothing() {
    let mut sim = Sim::new(1, Faults::none());
    sim.run(|env| async move {
        let (store, _) = open(env).await.unwrap();
        store.append(batch(1, &[1])).await.unwrap();
        assert!(matches!(store.append(batch(3, &[1])).await, Err(EngineError::Gap { .. })));
        store.append(batch(2, &[1])).await.unwrap();
        assert_eq!(store.last_index(GROUP), LogIndex(2));
    })
    .unwrap();
}

#[test]
fn a_damaged_acknowledged_block_is_refused_with_its_place_and_nothing_is_cut_off() {
    let mut sim = Sim::new(1, Faults::none());
    write_three(&mut sim);
    let (path, block) = find(&sim, b"entry 2 of 1");
    for at in [0, 20, 44, 60, 4000] {
        damage(&sim, &path, block + at);
        let before = sim.disk().files();
        let bytes = sim.disk().contents(&path).unwrap();
        let error = sim.run(|env| async move { open(env).await.err() }).unwrap().expect("refused");
        match error {
            EngineError::Corruption { file, offset, .. } => assert_eq!((file, offset), (path.clone(), block as u64)),
            other => panic!("{other}"),
        }
        sim.crash(CrashKind::Power);
        assert_eq!(sim.disk().files(), before);
        assert_eq!(sim.disk().contents(&path).unwrap(), bytes);
        damage(&sim, &path, block + at);
    }
    assert!(sim.run(|env| async move { open(env).await.is_ok() }).unwrap());
}

#[test]
fn a_block_at_the_wrong_place_is_not_taken_for_the_one_that_belongs_there() {
    // The last two blocks of a log that was not sealed: with one in the other's place, nothing behind them tells.
    for (from, to) in [(2, 3), (3, 2)] {
        let mut sim = Sim::new(1, Faults::none());
        write_three(&mut sim);
        let place = |number: u64| find(&sim, format!("entry {number} of 1").as_bytes());
        let ((path, from), (_, to)) = (place(from), place(to));
        let mut bytes = sim.disk().contents(&path).unwrap();
        bytes.copy_within(from..from + 4096, to);
        sim.disk().put(&path, &bytes);
        let error = sim.run(|env| async move { open(env).await.err() }).unwrap().expect("refused");
        assert!(matches!(error, EngineError::Corruption { offset, .. } if offset == to as u64), "{error}");
    }
}

#[test]
fn a_read_that_went_astray_is_damage_also_when_it_finds_the_same_entry_of_another_life() {
    let mut sim = Sim::new(1, Faults::none());
    sim.run(|env| async move {
        let options = StoreOptions { tail_cache_bytes: 0, ..StoreOptions::small() };
        let (store, _) = Store::open(env.clone(), Path::new(FOLDER), options).await.unwrap();
        // The same index, term, length and place in the block, in two lives of the group.
        for life in [1, 2] {
            let mut records = LogBatch::new();
            records.push_start(GROUP, Incarnation(life), LogIndex(0), Term(0));
            store.append(records).await.unwrap();
            let mut records = LogBatch::new();
            let data = Bytes::from(format!("entry of life {life}"));
            records.push_entries(GROUP, Incarnation(life), LogIndex(1), std::iter::once((Term(1), data)));
            store.append(records).await.unwrap();
        }
        let read = async || store.entries(GROUP, LogIndex(1), LogIndex(1), usize::MAX).await;
        assert_eq!(read().await.unwrap()[0].data, Bytes::from("entry of life 2"));
        let segment = Path::new(FOLDER).join("00000000.log");
        let file = env.open(&segment, OpenOptions::WRITE).await.unwrap();
        let bytes = file.read_at(0, 64 << 10).await.unwrap();
        let block =
            |needle: &[u8]| bytes.windows(needle.len()).position(|seen| seen == needle).unwrap() / BLOCK * BLOCK;
        let (first, second) = (block(b"entry of life 1"), block(b"entry of life 2"));
        let astray = AlignedBuf::from_slice(&bytes[first..first + BLOCK]);
        file.write_at(astray, second as u64).await.unwrap();
        assert!(matches!(read().await, Err(EngineError::Corruption { offset, .. }) if offset == second as u64));
    })
    .unwrap();
}

#[test]
fn damage_at_the_very_end_is_noticed_once_the_log_was_sealed() {
    let mut sim = Sim::new(1, Faults::none());
    sim.run(|env| async move {
        let (store, _) = open(env).await.unwrap();
        store.append(batch(1, &[1])).await.unwrap();
        store.close().await.unwrap();
        assert_eq!(store.append(batch(2, &[1])).await, Err(EngineError::Closed));
    })
    .unwrap();
    sim.crash(CrashKind::Power);
    let (path, block) = find(&sim, b"entry 1 of 1");
    damage(&sim, &path, block + 100);
    assert!(sim.run(|env| async move { open(env).await.is_err() }).unwrap());
}

#[test]
fn a_damaged_header_or_a_missing_segment_in_the_middle_is_refused() {
    let mut sim = Sim::new(1, Faults::none());
    write_three(&mut sim);
    for _ in 0..2 {
        sim.run(|env| async move { open(env).await.unwrap().0.append(batch(4, &[1])).await.unwrap() }).unwrap();
        sim.crash(CrashKind::Power);
    }
    for path in log_files(&sim) {
        let good = sim.disk().contents(&path).unwrap();
        if good[..4] != *b"HWLS" {
            continue;
        }
        damage(&sim, &path, 10);
        assert!(sim.run(|env| async move { open(env).await.is_err() }).unwrap(), "{}", path.display());
        sim.crash(CrashKind::Power);
        sim.disk().put(&path, &good);
    }
}

#[test]
fn a_segment_whose_opening_never_landed_is_missed_once_a_block_is_behind_it() {
    let mut sim = Sim::new(1, Faults::none());
    sim.run(|env| async move {
        let (store, _) = open(env).await.unwrap();
        let mut next = 1;
        while store.stats().log_segments < 2 {
            store.append(batch(next, &[1])).await.unwrap();
            next += 1;
        }
    })
    .unwrap();
    sim.crash(CrashKind::Power);
    let segment = |bytes: &[u8]| u64::from_le_bytes(bytes[24..32].try_into().unwrap());
    let is_live = |bytes: &[u8]| bytes[..4] == *b"HWLS";
    let all: Vec<(PathBuf, Vec<u8>)> =
        log_files(&sim).into_iter().map(|path| (path.clone(), sim.disk().contents(&path).unwrap())).collect();
    let (path, good) =
        all.into_iter().filter(|(_, bytes)| is_live(bytes)).max_by_key(|(_, bytes)| segment(bytes)).unwrap();
    assert_eq!(segment(&good), 2);
    assert_ne!(good[2 * BLOCK..3 * BLOCK], [0; BLOCK], "a block is behind the opening");
    for instead in [0, 0xEE] {
        let mut bytes = good.clone();
        bytes[..2 * BLOCK].fill(instead);
        sim.disk().put(&path, &bytes);
        match sim.run(|env| async move { open(env).await.err() }).unwrap() {
            Some(EngineError::Corruption { file, what, .. }) => {
                assert_eq!(file, path);
                assert!(what.contains("opening of segment 2"), "{what}");
            }
            other => panic!("{other:?}"),
        }
        sim.crash(CrashKind::Power);
    }
    sim.disk().put(&path, &good);
    assert!(sim.run(|env| async move { open(env).await.is_ok() }).unwrap());
}

#[test]
fn another_stores_files_are_refused() {
    let mut sim = Sim::new(1, Faults::none());
    write_three(&mut sim);
    sim.run(|env| async move {
        let options = StoreOptions { database_id: 9, ..StoreOptions::small() };
        let error = Store::open(env, Path::new(FOLDER), options).await.err().unwrap();
        assert!(matches!(error, EngineError::Foreign { .. }), "{error}");
    })
    .unwrap();
}

#[test]
fn the_memtable_answers_gets_and_scans_at_snapshots() {
    let mut sim = Sim::new(1, Faults::none());
    sim.run(|env| async move {
        let (store, _) = open(env).await.unwrap();
        let mut batch = WriteBatch::new();
        for i in 0..10u8 {
            batch.put([i], [i, i]);
        }
        store.write(GROUP, LogIndex(1), batch);
        let before = store.snapshot();
        let mut batch = WriteBatch::new();
        batch.delete([3]);
        batch.delete_range([5], [8]);
        batch.put([6], [66]);
        store.write(GROUP, LogIndex(2), batch);
        let after = store.snapshot();
        assert_eq!(store.get(&[3], &before).await.unwrap(), Some(Bytes::from_static(&[3, 3])));
        assert_eq!(store.get(&[3], &after).await.unwrap(), None);
        for direction in [Direction::Forward, Direction::Reverse] {
            let mut cursor = store.scan(KeyRange::new(vec![2], vec![9]), direction, &after);
            let mut keys = Vec::new();
            while let Some((key, _)) = cursor.next().await.unwrap() {
                keys.push(key[0]);
            }
            if direction == Direction::Reverse {
                keys.reverse();
            }
            assert_eq!(keys, [2, 4, 6, 8]);
        }
    })
    .unwrap();
}
