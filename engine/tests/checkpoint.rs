//! Checkpoints: the copy is the store at the call, whatever goes on meanwhile, and nothing half-made passes for whole.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use highwater_engine::{
    Direction, EngineError, GroupId, HardState, KeyRange, LogIndex, Recovery, Store, StoreOptions, WriteBatch,
};
use highwater_runtime::Env;
use highwater_runtime::disk::{CrashKind, Disk, Faults, SurvivingSet};
use highwater_runtime::inproc::{InProcEnv, Sim, Stopped};
use support::{Content, Driver, FOLDER, apply, content};

const GROUPS: [GroupId; 2] = [GroupId(1), GroupId(2)];
const COPY: &str = "/data/copy";

fn batch(group: GroupId, number: u64) -> WriteBatch {
    let mut batch = WriteBatch::new();
    batch.put(format!("{}-{:03}", group.0, number * 7 % 60), vec![number as u8; 150]);
    batch.delete(format!("{}-{:03}", group.0, number * 5 % 60));
    if number % 11 == 10 {
        batch.delete_range(format!("{}-020", group.0), format!("{}-030", group.0));
    }
    batch
}

/// Writes `numbers` to both groups.
async fn write(driver: &mut Driver, model: &mut Content, numbers: std::ops::Range<u64>) {
    for number in numbers {
        for group in GROUPS {
            apply(model, &batch(group, number));
            driver.write(group, batch(group, number)).await.unwrap();
        }
    }
}

async fn open_copy(env: &InProcEnv) -> Result<(Rc<Store<InProcEnv>>, Recovery), EngineError> {
    Store::open(env.clone(), Path::new(COPY), StoreOptions::small()).await
}

async fn whole(store: &Rc<Store<InProcEnv>>) -> Content {
    content(store, &store.snapshot(), &KeyRange::all(), Direction::Forward).await
}

fn files(disk: &Disk, folder: &str) -> Vec<PathBuf> {
    let named = disk.files().into_iter().map(|(path, _)| path);
    named.filter(|path| path.parent() == Some(Path::new(folder))).collect()
}

#[test]
fn the_copy_is_the_store_at_the_call_and_the_two_go_their_own_ways() {
    let mut sim = Sim::new(1, Faults::none());
    let (at_call, later) = sim
        .run(|env| async move {
            let mut driver = Driver::open(env).await.unwrap();
            let mut model = Content::new();
            // Tables on several levels, something frozen or active, and something that is only in the log.
            write(&mut driver, &mut model, 0..120).await;
            let at_call = model.clone();
            let last = driver.last.clone();
            driver.log(GROUPS[0], &batch(GROUPS[0], 999)).await.unwrap();
            let made = driver.store.checkpoint(Path::new(COPY)).await.unwrap();
            assert!(made.linked_tables > 0 && made.written_bytes > 0, "{made:?}");

            let (copy, recovery) = open_copy(&driver.env).await.unwrap();
            assert_eq!(whole(&copy).await, at_call);
            copy.verify().await.unwrap();
            for group in GROUPS {
                let found = &recovery.groups[&group];
                assert_eq!(found.applied, LogIndex(last[&group]), "{group}");
                assert_eq!(found.first_index, found.applied.next(), "{group}");
            }
            let found = &recovery.groups[&GROUPS[0]];
            assert_eq!(found.last_index, found.first_index, "the entry that was not applied came along");
            assert_eq!((found.hard_state.vote, found.hard_state.commit), (1, found.last_index));
            let entries = copy.entries(GROUPS[0], found.first_index, found.last_index, usize::MAX).await.unwrap();
            assert_eq!(entries[0].data, batch(GROUPS[0], 999).encode());

            // Each is written to, and compacts, without the other.
            driver.store.write(GROUPS[0], LogIndex(driver.last[&GROUPS[0]]), batch(GROUPS[0], 999));
            apply(&mut model, &batch(GROUPS[0], 999));
            write(&mut driver, &mut model, 120..300).await;
            driver.store.flush().await.unwrap();
            assert_eq!(whole(&copy).await, at_call);
            copy.verify().await.unwrap();
            let mut emptied = WriteBatch::new();
            emptied.delete_range("", "~");
            copy.write(GROUPS[0], found.last_index, emptied);
            copy.flush().await.unwrap();
            assert_eq!(whole(&copy).await, Content::new());
            copy.close().await.unwrap();
            assert_eq!(driver.content().await, model);
            driver.store.verify().await.unwrap();
            driver.store.close().await.unwrap();
            (at_call, model)
        })
        .unwrap();
    assert_ne!(at_call, later);
}

#[test]
fn a_checkpoint_is_durable_when_it_returns_and_holds_nothing_of_writes_that_went_on_meanwhile() {
    for seed in 0..12 {
        let mut sim = Sim::new(seed, Faults::crashes(seed));
        let at_call = sim
            .run(|env| async move {
                let mut driver = Driver::open(env.clone()).await.unwrap();
                let mut model = Content::new();
                write(&mut driver, &mut model, 0..60 + seed * 3).await;
                let store = Rc::clone(&driver.store);
                let done = Rc::new(RefCell::new(None));
                let slot = Rc::clone(&done);
                let at_call = model.clone();
                // Polled for the first time before the next write begins.
                let mut making = Box::pin(async move { store.checkpoint(Path::new(COPY)).await });
                assert!(futures_lite::future::poll_once(&mut making).await.is_none());
                env.spawn("checkpoint", async move {
                    *slot.borrow_mut() = Some(making.await);
                });
                let mut number = 1000;
                while done.borrow().is_none() {
                    write(&mut driver, &mut model, number..number + 1).await;
                    number += 1;
                }
                done.take().unwrap().unwrap();
                assert!(number > 1001, "writes went on");
                at_call
            })
            .unwrap();
        sim.crash(CrashKind::Power);
        let found = sim
            .run(|env| async move {
                let (copy, _) = open_copy(&env).await.unwrap();
                copy.verify().await.unwrap();
                whole(&copy).await
            })
            .unwrap();
        assert_eq!(found, at_call, "seed {seed}");
    }
}

/// A store with tables, memory and log; its content and the completions so far.
fn prepared(seed: u64) -> (Sim, Driver, Content) {
    let mut sim = Sim::new(seed, Faults::none());
    let (driver, model) = sim
        .run(|env| async move {
            let mut driver = Driver::open(env.clone()).await.unwrap();
            let mut model = Content::new();
            write(&mut driver, &mut model, 0..70).await;
            env.sleep(1_000_000).await;
            (driver, model)
        })
        .unwrap();
    (sim, driver, model)
}

#[test]
fn a_crash_at_any_point_leaves_a_whole_copy_or_one_that_is_refused_and_can_be_removed() {
    let seed = 5;
    let (mut sim, driver, _) = prepared(seed);
    let before = sim.completions();
    sim.run(|_| async move { driver.store.checkpoint(Path::new(COPY)).await.map(|_| driver).unwrap() }).unwrap();
    let total = sim.completions() - before;
    let (mut whole_ones, mut refused) = (0, 0);
    for point in 0..=total {
        let (mut sim, driver, model) = prepared(seed);
        sim.crash_after(point);
        let stopped = sim.run(|_| async move { driver.store.checkpoint(Path::new(COPY)).await.map(|_| driver) });
        assert!(matches!(stopped, Ok(Ok(_)) | Err(Stopped::CrashPoint)), "point {point}");
        drop(stopped);
        for set in [0, u64::MAX, 0x5555_5555_5555_5555 << (point % 2), point.wrapping_mul(0x9E37_79B9_7F4A_7C15)] {
            let mut disk = sim.disk().clone();
            disk.crash_with(CrashKind::Power, &mut SurvivingSet(set));
            let mut after = Sim::with_disk(point, disk);
            let begun = !files(&after.disk(), COPY).is_empty();
            let model = model.clone();
            let outcome = after
                .run(|env| async move {
                    let source = Driver::open(env.clone()).await.unwrap();
                    assert_eq!(source.content().await, model, "point {point}: the store itself is unharmed");
                    source.store.verify().await.unwrap();
                    if !begun {
                        return None;
                    }
                    match open_copy(&env).await {
                        Ok((copy, _)) => {
                            assert_eq!(whole(&copy).await, model, "point {point}");
                            copy.verify().await.unwrap();
                            Some(true)
                        }
                        Err(EngineError::Incomplete { folder }) => {
                            assert_eq!(folder, Path::new(COPY));
                            Store::discard_incomplete(&env, &folder).await.unwrap();
                            assert!(env.list_dir(&folder).await.unwrap().is_empty(), "point {point}");
                            // And it can be made again.
                            source.store.checkpoint(&folder).await.unwrap();
                            let (copy, _) = open_copy(&env).await.unwrap();
                            assert_eq!(whole(&copy).await, model, "point {point}");
                            Some(false)
                        }
                        Err(other) => panic!("point {point}: {other}"),
                    }
                })
                .unwrap();
            whole_ones += u32::from(outcome == Some(true));
            refused += u32::from(outcome == Some(false));
        }
    }
    assert!(whole_ones >= 4 && refused > 20, "{whole_ones} whole, {refused} refused");
}

#[test]
fn a_full_disk_leaves_nothing_behind_and_the_next_attempt_succeeds() {
    let mut met = 0;
    for room in (0..80).step_by(2) {
        let (mut sim, driver, model) = prepared(6);
        let used = sim.disk().used();
        sim.disk().faults.capacity = Some(used + room * 4096);
        let outcome = sim.run(|_| async move { (driver.store.checkpoint(Path::new(COPY)).await, driver) }).unwrap();
        let (made, driver) = outcome;
        if made.is_ok() {
            break;
        }
        assert!(matches!(made, Err(EngineError::NoSpace { .. })), "{made:?}");
        assert_eq!(files(&sim.disk(), COPY), Vec::<PathBuf>::new(), "room for {room} blocks");
        assert!(sim.disk().used() <= used, "room for {room} blocks: no space is lost");
        met += 1;
        sim.disk().faults.capacity = None;
        sim.run(|env| async move {
            assert_eq!(driver.content().await, model);
            driver.store.checkpoint(Path::new(COPY)).await.unwrap();
            let (copy, _) = open_copy(&env).await.unwrap();
            assert_eq!(whole(&copy).await, model);
        })
        .unwrap();
    }
    assert!(met > 5, "{met}");
}

#[test]
fn a_folder_that_holds_something_is_refused_and_left_alone() {
    let (mut sim, driver, _) = prepared(7);
    sim.disk().put(&Path::new(COPY).join("mine"), b"precious");
    let driver = sim
        .run(|_| async move {
            let refused = driver.store.checkpoint(Path::new(COPY)).await;
            assert!(matches!(&refused, Err(EngineError::Target { .. })), "{refused:?}");
            let refused = driver.store.checkpoint(Path::new(FOLDER)).await;
            assert!(matches!(&refused, Err(EngineError::Target { .. })), "{refused:?}");
            driver
        })
        .unwrap();
    assert_eq!(files(&sim.disk(), COPY), [Path::new(COPY).join("mine")]);
    sim.run(|env| async move {
        Store::discard_incomplete(&env, Path::new(COPY)).await.unwrap();
        assert_eq!(env.list_dir(Path::new(COPY)).await.unwrap().len(), 1, "what is no checkpoint is not removed");
        driver.store.close().await.unwrap();
        assert_eq!(driver.store.checkpoint(Path::new("/data/other")).await, Err(EngineError::Closed));
    })
    .unwrap();
}

#[test]
fn an_empty_store_and_one_of_hard_states_only_are_copied_too() {
    let mut sim = Sim::new(8, Faults::none());
    sim.run(|env| async move {
        let driver = Driver::open(env.clone()).await.unwrap();
        driver.store.checkpoint(Path::new("/data/empty")).await.unwrap();
        let (copy, recovery) = Store::open(env.clone(), Path::new("/data/empty"), StoreOptions::small()).await.unwrap();
        assert!(recovery.groups.is_empty() && whole(&copy).await.is_empty());
        let mut records = highwater_engine::LogBatch::new();
        let state = HardState { term: highwater_engine::Term(4), vote: 3, commit: LogIndex(0) };
        records.push_hard_state(GROUPS[1], state);
        driver.store.append(records).await.unwrap();
        driver.store.checkpoint(Path::new(COPY)).await.unwrap();
        let (_, recovery) = open_copy(&env).await.unwrap();
        assert_eq!(recovery.groups[&GROUPS[1]].hard_state, state, "a vote is never forgotten");
    })
    .unwrap();
}

#[test]
fn entries_that_were_deferred_are_copied_with_their_effects() {
    let (mut sim, driver, mut model) = prepared(9);
    sim.run(|env| async move {
        let fresh = GroupId(7);
        for (group, numbers) in [(GROUPS[0], 71..75u64), (fresh, 1..6)] {
            for number in numbers {
                let batch = batch(group, number);
                let (index, data) = (LogIndex(number), bytes::Bytes::from(batch.encode()));
                driver
                    .store
                    .append_deferred(group, support::LIFE, index, highwater_engine::Term(1), data)
                    .await
                    .unwrap();
                // The last is not applied.
                if number != 74 && number != 5 {
                    apply(&mut model, &batch);
                    driver.store.write(group, index, batch);
                }
            }
        }
        driver.store.checkpoint(Path::new(COPY)).await.unwrap();
        let (copy, recovery) = open_copy(&env).await.unwrap();
        assert_eq!(whole(&copy).await, model);
        for (group, applied) in [(GROUPS[0], 73), (fresh, 4)] {
            let found = &recovery.groups[&group];
            assert_eq!((found.applied, found.last_index), (LogIndex(applied), LogIndex(applied + 1)), "{group}");
        }
    })
    .unwrap();
}
