//! Removing dead files: at a pace that a full disk lifts, with nothing left behind by a crash.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use std::path::PathBuf;

use highwater_engine::{GroupId, LogIndex, StoreOptions, WriteBatch};
use highwater_runtime::Env;
use highwater_runtime::disk::{CrashKind, Faults};
use highwater_runtime::inproc::{InProcEnv, Sim};
use support::Driver;

const GROUP: GroupId = GroupId(1);

/// So slow that a file of a few blocks takes seconds.
fn slow() -> StoreOptions {
    StoreOptions { deletion_bytes_per_second: 4096, ..StoreOptions::small() }
}

fn batch(number: u64) -> WriteBatch {
    let mut batch = WriteBatch::new();
    batch.put(format!("key-{:03}", number % 100), vec![number as u8; 200]);
    batch
}

fn tables(sim: &Sim) -> Vec<PathBuf> {
    let named = sim.disk().files().into_iter().map(|(path, _)| path);
    named.filter(|path| path.extension().is_some_and(|ending| ending == "tbl")).collect()
}

/// A store whose compactions have left several dead files.
async fn with_dead_files(env: InProcEnv, options: StoreOptions) -> Driver {
    let mut driver = Driver::open_with(env, options).await.unwrap();
    for number in 0.. {
        driver.write(GROUP, batch(number)).await.unwrap();
        if driver.store.stats().dead_files >= 4 {
            return driver;
        }
    }
    driver
}

#[test]
fn files_go_one_at_a_time_at_the_rate() {
    let mut sim = Sim::new(1, Faults::none());
    sim.run(|env| async move {
        let driver = with_dead_files(env.clone(), slow()).await;
        let before = (driver.store.stats(), env.now());
        while driver.store.stats().dead_files > 0 {
            env.sleep(10_000).await;
        }
        let after = driver.store.stats();
        assert!(after.deleted_files >= before.0.deleted_files + 4);
        // All but the last were followed by their pause, within which the first may have been.
        let least = (before.0.dead_bytes.saturating_sub(2 * 24_000)) * 1_000_000 / 4096;
        assert!(env.now().micros_since(before.1) >= least, "{} bytes went too fast", before.0.dead_bytes);
    })
    .unwrap();
}

#[test]
fn segments_that_the_log_gives_back_go_at_the_rate_too() {
    let mut sim = Sim::new(5, Faults::none());
    let options = StoreOptions { spare_segments: 1, log_limit_bytes: 8 << 20, ..slow() };
    sim.run(|env| async move {
        let mut driver = Driver::open_with(env.clone(), options).await.unwrap();
        let mut batches = Vec::new();
        for number in 0..90u8 {
            let mut batch = WriteBatch::new();
            batch.put([number], vec![number; 8000]);
            driver.log(GROUP, &batch).await.unwrap();
            batches.push(batch);
        }
        let store = &driver.store;
        assert!(store.stats().log_segments >= 10);
        for (index, batch) in (1..).zip(batches) {
            store.write(GROUP, LogIndex(index), batch);
            while store.pressure().is_some() {
                env.sleep(1000).await;
            }
        }
        store.release_log(GROUP, LogIndex(90));
        store.flush().await.unwrap();
        while store.stats().log_segments > 1 {
            env.sleep(1000).await;
        }
        let (before, started) = (store.stats(), env.now());
        assert!(before.dead_bytes >= 5 << 16, "they wait: {before:?}");
        while store.stats().dead_files > 0 {
            env.sleep(10_000).await;
        }
        // All but the last were followed by their pause, within which the first may have been.
        let least = (before.dead_bytes - (2 << 16)) * 1_000_000 / 4096;
        assert!(env.now().micros_since(started) >= least, "{} bytes went too fast", before.dead_bytes);
    })
    .unwrap();
    let left = sim.disk().files().iter().filter(|(path, _)| path.extension().is_some_and(|end| end == "log")).count();
    assert_eq!(left, 2, "the one that is written and a spare");
}

#[test]
fn a_full_disk_lifts_the_pace() {
    let mut sim = Sim::new(2, Faults::none());
    let mut driver = sim.run(|env| with_dead_files(env, slow())).unwrap();
    let used = sim.disk().used();
    // Fuller than that one dead file's space would help.
    sim.disk().faults.capacity = Some(used - (24 << 10));
    sim.run(|env| async move {
        // Something to flush, whatever the compactions left in memory.
        driver.write(GROUP, batch(0)).await.unwrap();
        let store = &driver.store;
        let started = env.now();
        let dead = store.stats().dead_bytes;
        assert!(dead >= 8 * 4096, "{dead}");
        let outcome = store.flush().await;
        while store.stats().dead_files > 0 {
            env.sleep(1000).await;
        }
        assert!(env.now().micros_since(started) < 1_000_000, "{dead} bytes went at once");
        // With the space that came back the store goes on by itself.
        while store.pressure().is_some() {
            env.sleep(10_000).await;
        }
        store.flush().await.unwrap();
        drop(outcome);
    })
    .unwrap();
}

#[test]
fn what_a_crash_leaves_dead_is_removed_after_the_next_start_and_closing_waits_for_no_pace() {
    let mut sim = Sim::new(3, Faults::none());
    sim.run(|env| async move { drop(with_dead_files(env, slow()).await) }).unwrap();
    sim.crash(CrashKind::Process);
    let found = tables(&sim).len();
    let (live, orphans) = sim
        .run(|env| async move {
            let driver = Driver::open_with(env.clone(), slow()).await.unwrap();
            let stats = driver.store.stats();
            assert_eq!(stats.dead_files, driver.recovery.orphans.len(), "orphans wait for the pace too");
            let started = env.now();
            driver.store.close().await.unwrap();
            assert!(env.now().micros_since(started) < 1_000_000);
            assert_eq!(driver.store.stats().dead_files, 0);
            (driver.store.stats().tables.iter().sum::<usize>(), driver.recovery.orphans.len())
        })
        .unwrap();
    assert!(orphans >= 4 && found > live, "{orphans} orphans of {found}");
    assert_eq!(tables(&sim).len(), live, "nothing is left behind");
    sim.crash(CrashKind::Process);
    let orphans = sim.run(|env| async move { Driver::open(env).await.unwrap().recovery.orphans }).unwrap();
    assert!(orphans.is_empty(), "{orphans:?}");
}

#[test]
fn a_file_that_is_still_read_is_not_removed() {
    let mut sim = Sim::new(4, Faults::none());
    sim.run(|env| async move {
        let mut driver = Driver::open(env.clone()).await.unwrap();
        for number in 0..100 {
            driver.write(GROUP, batch(number)).await.unwrap();
        }
        driver.store.flush().await.unwrap();
        let range = highwater_engine::KeyRange::all();
        let mut cursor = driver.store.scan(range, highwater_engine::Direction::Forward, &driver.store.snapshot());
        let mut seen = 1;
        cursor.next().await.unwrap().unwrap();
        let compactions = driver.store.stats().compactions;
        for number in 100..700 {
            driver.write(GROUP, batch(number)).await.unwrap();
        }
        driver.store.flush().await.unwrap();
        assert!(driver.store.stats().compactions > compactions);
        while cursor.next().await.unwrap().is_some() {
            seen += 1;
        }
        assert_eq!(seen, 100, "the cursor reads on in files that no version names");
        drop(cursor);
        driver.store.close().await.unwrap();
    })
    .unwrap();
}
