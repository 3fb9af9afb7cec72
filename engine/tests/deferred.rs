//! Deferred entries: a crash takes a tail of them, never a part from the middle, and never what was synced.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;

use bytes::Bytes;
use highwater_engine::{
    Direction, EngineError, GroupId, KeyRange, LogBatch, LogIndex, Store, StoreOptions, Term, WriteBatch,
};
use highwater_runtime::Env;
use highwater_runtime::disk::{CrashKind, Faults, SurvivingSet};
use highwater_runtime::inproc::{InProcEnv, Sim, Stopped};
use support::{Content, FOLDER, LIFE, apply, content};

const GROUP: GroupId = GroupId(1);
const WRITES: u64 = 300;

fn batch(number: u64) -> WriteBatch {
    let mut batch = WriteBatch::new();
    batch.put(b"count", number.to_string());
    batch.put(format!("key-{:03}", number * 7 % 120), vec![number as u8; 90]);
    batch
}

fn expected(count: u64) -> Content {
    let mut content = Content::new();
    (1..=count).for_each(|number| apply(&mut content, &batch(number)));
    content
}

async fn open(env: InProcEnv) -> (Rc<Store<InProcEnv>>, u64) {
    let (store, recovery) = Store::open(env, Path::new(FOLDER), StoreOptions::small()).await.unwrap();
    let Some(found) = recovery.groups.get(&GROUP) else { return (store, 0) };
    if found.last_index > found.applied {
        let entries = store.entries(GROUP, found.applied.next(), found.last_index, usize::MAX).await.unwrap();
        for entry in entries {
            store.write(GROUP, entry.index, WriteBatch::decode(entry.data.to_vec()).unwrap());
        }
    }
    (store, found.last_index.0)
}

/// Defers writes, some appended and some synced in between; `safe` is the last one that was made durable.
fn workload(sim: &mut Sim, safe: &Rc<Cell<u64>>) -> Result<(), Stopped> {
    let safe = Rc::clone(safe);
    sim.run(|env| async move {
        let (store, _) = open(env.clone()).await;
        for number in 1..=WRITES {
            while store.pressure().is_some() {
                env.sleep(1000).await;
            }
            let data = Bytes::from(batch(number).encode());
            let index = LogIndex(number);
            if number % 70 == 0 {
                let mut records = LogBatch::new();
                records.push_entries(GROUP, LIFE, index, std::iter::once((Term(1), data)));
                store.append(records).await.unwrap();
                safe.set(number);
            } else {
                store.append_deferred(GROUP, LIFE, index, Term(1), data).await.unwrap();
            }
            store.write(GROUP, index, batch(number));
            store.release_log(GROUP, index);
            if number % 110 == 0 {
                store.sync_log().await.unwrap();
                safe.set(number);
            }
        }
        store.flush().await.unwrap();
        safe.set(WRITES);
    })
}

#[test]
fn every_crash_leaves_a_prefix_that_covers_what_was_synced() {
    let mut sim = Sim::new(3, Faults::none());
    workload(&mut sim, &Rc::default()).unwrap();
    for point in (0..sim.completions()).step_by(3) {
        let mut sim = Sim::new(3, Faults::none());
        sim.crash_after(point);
        let safe = Rc::default();
        let _ = workload(&mut sim, &safe);
        let mut disk = sim.disk().clone();
        disk.crash_with(CrashKind::Power, &mut SurvivingSet(point.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
        let mut sim = Sim::with_disk(point, disk);
        let safe = safe.get();
        sim.run(|env| async move {
            let (store, last) = open(env).await;
            store.verify().await.unwrap();
            assert!(last >= safe, "point {point}: {last} entries, {safe} were durable");
            let found = content(&store, &store.snapshot(), &KeyRange::all(), Direction::Forward).await;
            assert_eq!(found, expected(last), "point {point}");
        })
        .unwrap();
        sim.crash(CrashKind::Process);
    }
}

#[test]
fn an_idle_log_writes_what_was_deferred_by_itself_and_a_gap_is_refused() {
    let mut sim = Sim::new(1, Faults::none());
    sim.run(|env| async move {
        let (store, _) = open(env.clone()).await;
        let data = || Bytes::from(batch(1).encode());
        store.append_deferred(GROUP, LIFE, LogIndex(1), Term(1), data()).await.unwrap();
        assert_eq!(store.last_index(GROUP), LogIndex(0));
        let gap = store.append_deferred(GROUP, LIFE, LogIndex(3), Term(1), data()).await;
        assert!(matches!(gap, Err(EngineError::Gap { .. })), "{gap:?}");
        env.sleep(2 * StoreOptions::small().seal_after_micros).await;
        assert_eq!(store.last_index(GROUP), LogIndex(1));
    })
    .unwrap();
}

#[test]
fn entries_deferred_while_others_are_written_continue_them() {
    let mut sim = Sim::new(1, Faults::none());
    sim.run(|env| async move {
        let (store, _) = open(env.clone()).await;
        let data = || Bytes::from(batch(1).encode());
        for index in (1..40).step_by(2) {
            store.append_deferred(GROUP, LIFE, LogIndex(index), Term(1), data()).await.unwrap();
            let (first, second) = futures_lite::future::zip(
                store.sync_log(),
                store.append_deferred(GROUP, LIFE, LogIndex(index + 1), Term(1), data()),
            )
            .await;
            first.and(second).unwrap();
        }
        store.sync_log().await.unwrap();
        assert_eq!(store.last_index(GROUP), LogIndex(40));
    })
    .unwrap();
}
