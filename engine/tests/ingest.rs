//! Export and ingest: a group's range is replaced whole or not at all, by what was visible elsewhere at one snapshot.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use highwater_engine::{
    Direction, EngineError, Expiry, GroupId, HardState, Incarnation, IngestOptions, KeyRange, LogBatch, LogIndex,
    PreparedTables, RecoveredGroup, Snapshot, Store, StoreOptions, Term, WriteBatch,
};
use highwater_runtime::Env;
use highwater_runtime::disk::{CrashKind, Disk, Fault, Faults, SurvivingSet};
use highwater_runtime::inproc::{InProcEnv, Sim, Stopped};
use support::{Content, Driver, LIFE, apply, content};

type TestStore = Rc<Store<InProcEnv>>;

const GROUPS: [GroupId; 3] = [GroupId(1), GroupId(2), GroupId(3)];
const MIDDLE: GroupId = GROUPS[1];
const SOURCE: &str = "/data/source";
const PREPARED: &str = "/data/prepared";
const NEXT_LIFE: Incarnation = Incarnation(8);
const AT: LogIndex = LogIndex(500);

/// The range of a group's keys.
fn range(group: GroupId) -> KeyRange {
    KeyRange::prefix(format!("{}-", group.0))
}

fn batch(group: GroupId, number: u64) -> WriteBatch {
    let mut batch = WriteBatch::new();
    batch.put(format!("{}-{:03}", group.0, number * 7 % 60), vec![number as u8; 150]);
    batch.delete(format!("{}-{:03}", group.0, number * 5 % 60));
    if number % 13 == 12 {
        batch.delete_range(format!("{}-020", group.0), format!("{}-030", group.0));
    }
    batch
}

/// Writes `numbers` to all groups.
async fn write(driver: &mut Driver, model: &mut Content, numbers: std::ops::Range<u64>) {
    for number in numbers {
        for group in GROUPS {
            apply(model, &batch(group, number));
            driver.write(group, batch(group, number)).await.unwrap();
        }
    }
}

fn options() -> IngestOptions {
    IngestOptions { range: range(MIDDLE), incarnation: LIFE, applied: AT, term: Term(7), any_database: false }
}

/// What the other replica has: a few keys, some of which the store has too.
fn other_state() -> Content {
    // Bytes that do not compress, so that there are several tables.
    let noise = |number: u64, at: u64| ((number << 10 | at).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8;
    let value = |number: u64| (0..100 + number / 2).map(|at| noise(number, at)).collect();
    (0..400).map(|number| (format!("2-{:03}", number * 3).into_bytes(), value(number))).collect()
}

/// Exports the other replica's state from a store of its own.
async fn prepare(env: &InProcEnv) -> PreparedTables {
    let (source, _) = Store::open(env.clone(), Path::new(SOURCE), StoreOptions::small()).await.unwrap();
    let mut batch = WriteBatch::new();
    batch.put("2-old", "deleted before the snapshot");
    batch.put("1-foreign", "outside of the range");
    for (key, value) in other_state() {
        batch.put(key, value);
    }
    batch.delete("2-old");
    source.write(MIDDLE, LogIndex(1), batch);
    source.flush().await.unwrap();
    let at = source.snapshot();
    let mut later = WriteBatch::new();
    later.delete_range("2", "3");
    source.write(MIDDLE, LogIndex(2), later);
    let prepared = source.export(&range(MIDDLE), &at, Path::new(PREPARED)).await.unwrap();
    source.close().await.unwrap();
    prepared
}

/// The model after the ingest.
fn replaced(model: &Content) -> Content {
    let mut model = model.clone();
    model.retain(|key, _| !key.starts_with(b"2-"));
    model.extend(other_state());
    model
}

async fn whole(store: &TestStore, at: &Snapshot) -> Content {
    let forward = content(store, at, &KeyRange::all(), Direction::Forward).await;
    let reverse = content(store, at, &KeyRange::all(), Direction::Reverse).await;
    assert_eq!(forward, reverse);
    for (key, value) in forward.iter().step_by(7) {
        assert_eq!(store.get(key, at).await.unwrap().as_deref(), Some(&value[..]));
    }
    forward
}

fn files(disk: &Disk, folder: &str) -> Vec<PathBuf> {
    let named = disk.files().into_iter().map(|(path, _)| path);
    named.filter(|path| path.parent() == Some(Path::new(folder))).collect()
}

/// A store with tables, memory and log, and prepared tables for its middle group.
fn prepared(seed: u64) -> (Sim, Driver, Content, PreparedTables) {
    let mut sim = Sim::new(seed, Faults::none());
    let (driver, model, prepared) = sim
        .run(|env| async move {
            let prepared = prepare(&env).await;
            let mut driver = Driver::open(env.clone()).await.unwrap();
            let mut model = Content::new();
            write(&mut driver, &mut model, 0..80).await;
            env.sleep(1_000_000).await;
            (driver, model, prepared)
        })
        .unwrap();
    (sim, driver, model, prepared)
}

#[test]
fn an_export_holds_what_was_visible_and_nothing_else() {
    let mut sim = Sim::new(1, Faults::none());
    sim.run(|env| async move {
        let prepared = prepare(&env).await;
        assert!(prepared.tables().len() > 1, "several tables");
        assert_eq!(prepared.keys(), 400);
        assert_eq!(PreparedTables::open(&env, Path::new(PREPARED)).await.unwrap(), prepared);
        let listed = env.list_dir(Path::new(PREPARED)).await.unwrap();
        let mut named = prepared.files();
        named.sort();
        assert_eq!(listed, named, "the marker is gone, and nothing else is there");
        prepared.remove(&env).await.unwrap();
        assert!(env.list_dir(Path::new(PREPARED)).await.unwrap().is_empty());
        assert!(matches!(PreparedTables::open(&env, Path::new(PREPARED)).await, Err(EngineError::Prepared { .. })));
    })
    .unwrap();
}

#[test]
fn the_range_is_replaced_other_groups_are_not_and_older_snapshots_read_what_was() {
    let (mut sim, mut driver, mut model, prepared) = prepared(2);
    sim.run(|env| async move {
        let store = Rc::clone(&driver.store);
        let before = store.snapshot();
        let cursor_before = store.scan(KeyRange::all(), Direction::Forward, &before);
        let old = model.clone();
        let stats = store.stats();
        store.ingest(MIDDLE, &prepared, &options()).await.unwrap();
        model = replaced(&model);
        assert_eq!(whole(&store, &store.snapshot()).await, model);
        assert_eq!(whole(&store, &before).await, old);
        assert_eq!(store.applied(MIDDLE), AT);
        assert_eq!(store.stats().ingests, stats.ingests + 1);
        let bottom = *store.stats().tables.last().unwrap();
        assert!(bottom >= prepared.tables().len(), "the files are at the bottom: {:?}", store.stats().tables);
        driver.last.insert(MIDDLE, AT.0);

        // Everything goes on, and compactions do not mix the two.
        write(&mut driver, &mut model, 100..260).await;
        driver.store.flush().await.unwrap();
        env.sleep(1_000_000).await;
        assert_eq!(whole(&store, &store.snapshot()).await, model);
        assert_eq!(whole(&store, &before).await, old);
        store.verify().await.unwrap();
        let mut cursor = cursor_before;
        let mut seen = 0;
        while cursor.next().await.unwrap().is_some() {
            seen += 1;
        }
        assert_eq!(seen, old.len());
        drop((cursor, before));
        // With the last reader the old files go.
        write(&mut driver, &mut model, 260..280).await;
        driver.store.flush().await.unwrap();
        driver.store.close().await.unwrap();
        let again = Driver::open(env).await.unwrap();
        assert!(again.recovery.orphans.is_empty(), "{:?}", again.recovery.orphans);
        assert_eq!(again.content().await, model);
        again.store.verify().await.unwrap();
    })
    .unwrap();
}

#[test]
fn every_sync_of_an_ingest_is_counted() {
    let (mut sim, driver, _, prepared) = prepared(12);
    let driver = sim
        .run(|env| async move {
            driver.store.flush().await.unwrap();
            env.sleep(1_000_000).await;
            driver
        })
        .unwrap();
    let (stats, syncs) = (driver.store.stats(), sim.disk().occasions(Fault::SyncError));
    let after = sim
        .run(|_| async move {
            driver.store.ingest(MIDDLE, &prepared, &options()).await.unwrap();
            driver.store.stats()
        })
        .unwrap();
    assert!(after.written_bytes > stats.written_bytes, "tables reached over the range's edges");
    assert_eq!(after.log_blocks, stats.log_blocks);
    let synced = sim.disk().occasions(Fault::SyncError) - syncs;
    // And the manifest's edit, which is written synchronously.
    assert_eq!(after.syncs - stats.syncs, synced + 1);
}

#[test]
fn what_only_ended_snapshots_could_read_is_gone_when_the_store_is_closed() {
    let (mut sim, driver, _, prepared) = prepared(4);
    sim.run(|env| async move {
        let before = driver.store.snapshot();
        driver.store.ingest(MIDDLE, &prepared, &options()).await.unwrap();
        drop(before);
        driver.store.close().await.unwrap();
        let again = Driver::open(env).await.unwrap();
        assert!(again.recovery.orphans.is_empty(), "{:?}", again.recovery.orphans);
    })
    .unwrap();
}

#[test]
fn an_ingest_of_nothing_empties_the_range() {
    let (mut sim, driver, mut model, _) = prepared(3);
    sim.run(|env| async move {
        let nothing = KeyRange::new("2-x", "2-y");
        let at = driver.store.snapshot();
        let empty = driver.store.export(&nothing, &at, Path::new("/data/nothing")).await.unwrap();
        assert_eq!((empty.tables().len(), empty.keys()), (0, 0));
        driver.store.ingest(MIDDLE, &empty, &options()).await.unwrap();
        model.retain(|key, _| !key.starts_with(b"2-"));
        assert_eq!(driver.content().await, model);
        driver.store.close().await.unwrap();
        assert_eq!(Driver::open(env).await.unwrap().content().await, model);
    })
    .unwrap();
}

#[test]
fn values_that_expire_keep_their_time() {
    let mut sim = Sim::new(4, Faults::none());
    sim.run(|env| async move {
        let driver = Driver::open(env).await.unwrap();
        let mut batch = WriteBatch::new();
        batch.put_expiring("2-a", "x", Expiry(77));
        batch.put("2-b", "y");
        driver.store.write(MIDDLE, LogIndex(1), batch);
        let at = driver.store.snapshot();
        let prepared = driver.store.export(&range(MIDDLE), &at, Path::new(PREPARED)).await.unwrap();
        driver.store.ingest(MIDDLE, &prepared, &options()).await.unwrap();
        let at = driver.store.snapshot();
        assert_eq!(driver.store.get_expiring(b"2-a", &at).await.unwrap().unwrap().1, Expiry(77));
        assert_eq!(driver.store.get_expiring(b"2-b", &at).await.unwrap().unwrap().1, Expiry::NEVER);
    })
    .unwrap();
}

/// Opens the store and returns what it says of the middle group, and its content.
fn reopened(sim: &mut Sim) -> (RecoveredGroup, Content) {
    sim.run(|env| async move {
        let driver = Driver::open(env).await.unwrap();
        driver.store.verify().await.unwrap();
        (driver.recovery.groups[&MIDDLE].clone(), driver.content().await)
    })
    .unwrap()
}

#[test]
fn the_groups_log_starts_behind_the_snapshot_and_its_vote_survives_a_power_cut() {
    let (mut sim, mut driver, model, prepared) = prepared(5);
    let driver = sim
        .run(|_| async move {
            // Entries beyond what is committed, and far beyond the snapshot: of a leader that has lost.
            for _ in 0..600 {
                let index = driver.last[&MIDDLE] + 1;
                let mut records = LogBatch::new();
                let entry = (Term(1), bytes::Bytes::from(batch(MIDDLE, index).encode()));
                records.push_entries(MIDDLE, LIFE, LogIndex(index), std::iter::once(entry));
                driver.store.append(records).await.unwrap();
                driver.last.insert(MIDDLE, index);
            }
            let mut records = LogBatch::new();
            records.push_hard_state(MIDDLE, HardState { term: Term(9), vote: 3, commit: LogIndex(70) });
            driver.store.append(records).await.unwrap();
            driver.store.ingest(MIDDLE, &prepared, &options()).await.unwrap();
            driver
        })
        .unwrap();
    drop(driver);
    sim.crash(CrashKind::Power);
    let (found, content) = reopened(&mut sim);
    assert_eq!((found.applied, found.first_index, found.last_index), (AT, AT.next(), AT), "nothing of the old log");
    assert_eq!((found.incarnation, found.hard_state.term, found.hard_state.vote), (LIFE, Term(9), 3));
    assert_eq!(content, replaced(&model));

    // What is appended then counts, over further restarts.
    let added = sim
        .run(|env| async move {
            let mut driver = Driver::open(env).await.unwrap();
            driver.write(MIDDLE, batch(MIDDLE, 1)).await.unwrap();
            driver.last[&MIDDLE]
        })
        .unwrap();
    assert_eq!(LogIndex(added), AT.next());
    for _ in 0..3 {
        sim.crash(CrashKind::Power);
        let (found, content) = reopened(&mut sim);
        assert_eq!((found.first_index, found.last_index), (AT.next(), AT.next()));
        let mut model = replaced(&model);
        apply(&mut model, &batch(MIDDLE, 1));
        assert_eq!(content, model);
    }
}

#[test]
fn another_life_has_no_hard_state_of_the_one_before() {
    let (mut sim, driver, _, prepared) = prepared(6);
    let next = NEXT_LIFE;
    let driver = sim
        .run(|_| async move {
            let options = IngestOptions { incarnation: next, ..options() };
            driver.store.ingest(MIDDLE, &prepared, &options).await.unwrap();
            assert_eq!(driver.store.hard_state(MIDDLE), HardState::default());
            driver
        })
        .unwrap();
    drop(driver);
    sim.crash(CrashKind::Power);
    let (found, _) = reopened(&mut sim);
    assert_eq!((found.incarnation, found.hard_state, found.last_index), (next, HardState::default(), AT));
}

#[test]
fn a_restore_may_be_older_than_the_log_that_it_replaces() {
    let (mut sim, driver, model, prepared) = prepared(7);
    let (next, older) = (NEXT_LIFE, LogIndex(5));
    let driver = sim
        .run(|_| async move {
            driver.store.ingest(MIDDLE, &prepared, &options()).await.unwrap();
            let options = IngestOptions { incarnation: next, applied: older, ..options() };
            driver.store.ingest(MIDDLE, &prepared, &options).await.unwrap();
            driver
        })
        .unwrap();
    drop(driver);
    sim.crash(CrashKind::Power);
    let (found, content) = reopened(&mut sim);
    assert_eq!((found.incarnation, found.applied, found.last_index), (next, older, older));
    assert_eq!(content, replaced(&model));
}

#[test]
fn a_crash_at_any_point_leaves_the_old_state_or_the_new() {
    let seed = 7;
    let (mut sim, driver, _, tables) = prepared(seed);
    let before = sim.completions();
    sim.run(|_| async move { driver.store.ingest(MIDDLE, &tables, &options()).await.map(|()| driver).unwrap() })
        .unwrap();
    let total = sim.completions() - before;
    let (mut old_ones, mut new_ones) = (0, 0);
    for point in 0..=total {
        let (mut sim, driver, model, tables) = prepared(seed);
        sim.crash_after(point);
        let stopped =
            sim.run(|_| async move { driver.store.ingest(MIDDLE, &tables, &options()).await.map(|()| driver) });
        assert!(matches!(stopped, Ok(Ok(_)) | Err(Stopped::CrashPoint)), "point {point}");
        let acknowledged = stopped.is_ok();
        drop(stopped);
        for set in [0, u64::MAX, 0x5555_5555_5555_5555 << (point % 2), point.wrapping_mul(0x9E37_79B9_7F4A_7C15)] {
            let mut disk = sim.disk().clone();
            disk.crash_with(CrashKind::Power, &mut SurvivingSet(set));
            let mut after = Sim::with_disk(point, disk);
            let (found, content) = reopened(&mut after);
            let is_new = found.applied == AT;
            assert!(is_new || !acknowledged, "point {point}: an acknowledged ingest is lost");
            let expected = if is_new { replaced(&model) } else { model.clone() };
            assert!(content == expected, "point {point}: neither the old state nor the new");
            let last = if is_new { AT } else { LogIndex(80) };
            assert_eq!((found.last_index, found.hard_state.commit), (last, LogIndex(80)), "point {point}");
            (old_ones, new_ones) = (old_ones + u32::from(!is_new), new_ones + u32::from(is_new));
            after.crash(CrashKind::Process);
            after
                .run(|env| async move {
                    let driver = Driver::open(env).await.unwrap();
                    driver.store.close().await.unwrap();
                })
                .unwrap();
            let tables = files(&after.disk(), support::FOLDER).into_iter();
            let tables = tables.filter(|path| path.extension().is_some_and(|ending| ending == "tbl")).count();
            let live = after.run(|env| async move { Driver::open(env).await.unwrap().recovery.tables }).unwrap();
            assert_eq!(tables, live, "point {point}: files are left behind");
        }
    }
    assert!(old_ones > 20 && new_ones >= 4, "{old_ones} old, {new_ones} new");
}

/// The first attempt after which a start finds the middle group otherwise than an ingest into this life has left it. Each has the log's
/// tail move at another moment of the ingest, so that the manifest hears of every group then, and segments open, each with the state of
/// every group.
fn old_group_comes_back(mutant: Option<u32>, incarnation: Incarnation) -> Option<u64> {
    let (sim, driver, _, tables) = prepared(11);
    drop(driver);
    let disk = sim.disk().clone();
    (0..100).find(|attempt| {
        let mut sim = Sim::with_disk(*attempt, disk.clone());
        sim.set_mutant(mutant);
        sim.crash(CrashKind::Power);
        let (tables, wait) = (tables.clone(), 2_000 + attempt * 37);
        sim.run(|env| async move {
            let mut driver = Driver::open(env.clone()).await.unwrap();
            let store = Rc::clone(&driver.store);
            let done = Rc::new(Cell::new(false));
            let ended = Rc::clone(&done);
            env.spawn("writer", async move {
                while !ended.get() {
                    let mut batch = WriteBatch::new();
                    batch.put(format!("1-{:03}", driver.last[&GROUPS[0]] % 60), vec![7; 1500]);
                    driver.write(GROUPS[0], batch).await.unwrap();
                }
            });
            env.sleep(wait).await;
            store.ingest(MIDDLE, &tables, &IngestOptions { incarnation, ..options() }).await.unwrap();
            done.set(true);
            env.sleep(3_000).await;
        })
        .unwrap();
        sim.crash(CrashKind::Power);
        let found = sim.run(|env| async move {
            let opened = Store::open(env, Path::new(support::FOLDER), StoreOptions::small()).await;
            opened.map(|(_, recovery)| recovery.groups[&MIDDLE].clone())
        });
        let is_right = |found: RecoveredGroup| {
            let log = (found.applied, found.first_index, found.last_index);
            (found.incarnation, log) == (incarnation, (AT, AT.next(), AT))
        };
        !found.unwrap().is_ok_and(is_right)
    })
}

#[test]
fn an_edit_that_was_under_way_does_not_bring_the_old_group_back() {
    assert_eq!(old_group_comes_back(None, LIFE), None);
}

#[test]
fn a_block_that_is_written_meanwhile_does_not_bring_the_old_life_back() {
    assert_eq!(old_group_comes_back(None, NEXT_LIFE), None);
}

#[cfg(feature = "mutants")]
#[test]
fn it_would_without_the_look_at_what_is_installed() {
    assert!(old_group_comes_back(Some(137), LIFE).is_some());
}

#[cfg(feature = "mutants")]
#[test]
fn it_would_if_blocks_were_written_while_the_edit_is() {
    assert!(old_group_comes_back(Some(139), NEXT_LIFE).is_some());
}

#[test]
fn a_full_disk_changes_nothing_and_the_next_attempt_succeeds() {
    const LAST: u64 = 90;
    let mut met = 0;
    for room in 0..60 {
        let (mut sim, mut driver, mut model, prepared) = prepared(8);
        // More in memory than one table takes, so that the disk is full at several moments.
        let (driver, model) = sim
            .run(|_| async move {
                write(&mut driver, &mut model, 80..LAST).await;
                (driver, model)
            })
            .unwrap();
        let used = sim.disk().used();
        sim.disk().faults.capacity = Some(used + room * 4096);
        let tables = prepared.clone();
        let (outcome, driver) =
            sim.run(|_| async move { (driver.store.ingest(MIDDLE, &tables, &options()).await, driver) }).unwrap();
        if outcome.is_ok() {
            break;
        }
        assert!(matches!(outcome, Err(EngineError::NoSpace { .. })), "{outcome:?}");
        met += 1;
        let expected = model.clone();
        let driver = sim
            .run(|_| async move {
                assert_eq!(driver.content().await, expected);
                assert_eq!(driver.store.applied(MIDDLE), LogIndex(LAST));
                driver
            })
            .unwrap();
        sim.disk().faults.capacity = None;
        sim.run(|env| async move {
            while driver.store.pressure().is_some() {
                env.sleep(10_000).await;
            }
            driver.store.ingest(MIDDLE, &prepared, &options()).await.unwrap();
            assert_eq!(driver.content().await, replaced(&model));
            driver.store.close().await.unwrap();
            assert!(Driver::open(env).await.unwrap().recovery.orphans.is_empty());
        })
        .unwrap();
    }
    assert!(met > 3, "{met}");
}

/// Asserts that the ingest is refused for its tables, and that nothing has changed.
fn refused(
    sim: &mut Sim,
    driver: Driver,
    options: IngestOptions,
    tables: Result<PreparedTables, EngineError>,
) -> Driver {
    let before = files(&sim.disk(), support::FOLDER);
    let (error, driver) = sim
        .run(|_| async move {
            let content = driver.content().await;
            let error = match tables {
                Ok(tables) => driver.store.ingest(MIDDLE, &tables, &options).await.unwrap_err(),
                Err(error) => error,
            };
            assert_eq!(driver.content().await, content);
            (error, driver)
        })
        .unwrap();
    assert!(matches!(&error, EngineError::Prepared { .. }), "{error}");
    assert!(error.to_string().contains("nothing was changed"), "{error}");
    assert_eq!(files(&sim.disk(), support::FOLDER), before);
    driver
}

#[test]
fn foreign_damaged_and_misplaced_tables_are_refused_before_anything_changes() {
    let (mut sim, mut driver, _, tables) = prepared(9);
    let narrow = IngestOptions { range: KeyRange::new("2-100", "2-200"), ..options() };
    driver = refused(&mut sim, driver, narrow, Ok(tables.clone()));
    // Any damage to any file.
    for name in tables.files() {
        let path = Path::new(PREPARED).join(&name);
        let sound = sim.disk().contents(&path).unwrap();
        for at in [9, sound.len() / 2, sound.len() - 4096 + 20] {
            let mut bytes = sound.clone();
            bytes[at] ^= 1;
            // Padding is of no consequence.
            if sound[at - 8..(at + 8).min(sound.len())].iter().all(|byte| *byte == 0) {
                continue;
            }
            sim.disk().put(&path, &bytes);
            let read = sim.run(|env| async move { PreparedTables::open(&env, Path::new(PREPARED)).await }).unwrap();
            driver = refused(&mut sim, driver, options(), read);
        }
        sim.disk().put(&path, &sound);
    }
    // A missing file, and an export that was cut short.
    let first = Path::new(PREPARED).join(&tables.files()[0]);
    let kept = sim.disk().contents(&first).unwrap();
    let gone = first.clone();
    sim.run(|env| async move { env.remove_file(&gone).await.unwrap() }).unwrap();
    driver = refused(&mut sim, driver, options(), Ok(tables.clone()));
    sim.disk().put(&first, &kept);
    sim.disk().put(&Path::new(PREPARED).join("INCOMPLETE"), b"");
    let read = sim.run(|env| async move { PreparedTables::open(&env, Path::new(PREPARED)).await }).unwrap();
    assert!(matches!(read, Err(EngineError::Incomplete { .. })), "{read:?}");
    // A table of a store, with deletes and sequence numbers, under the name of a prepared one.
    sim.run(|env| async move {
        env.remove_file(&Path::new(PREPARED).join("INCOMPLETE")).await.unwrap();
        driver.store.ingest(MIDDLE, &tables, &options()).await.unwrap();
    })
    .unwrap();
}

#[test]
fn tables_of_another_database_need_to_be_asked_for() {
    let mut sim = Sim::new(10, Faults::none());
    sim.run(|env| async move {
        let prepared = prepare(&env).await;
        let other = StoreOptions { database_id: 77, ..StoreOptions::small() };
        let (store, _) = Store::open(env.clone(), Path::new("/data/other"), other).await.unwrap();
        let refused = store.ingest(MIDDLE, &prepared, &options()).await;
        assert!(
            matches!(&refused, Err(EngineError::Prepared { what, .. }) if what.contains("database")),
            "{refused:?}"
        );
        let restore = IngestOptions { any_database: true, ..options() };
        store.ingest(MIDDLE, &prepared, &restore).await.unwrap();
        assert_eq!(whole(&store, &store.snapshot()).await, other_state());
    })
    .unwrap();
}

#[test]
fn a_damaged_table_is_repaired_by_replacing_the_ranges_it_speaks_of() {
    let (mut sim, driver, _, prepared) = prepared(11);
    sim.run(|_| async move { driver.store.close().await.unwrap() }).unwrap();
    sim.crash(CrashKind::Process);
    // Every data block of every table, of which each holds keys of the middle group only or is at its edge.
    let tables = files(&sim.disk(), support::FOLDER);
    let largest = tables
        .into_iter()
        .filter(|path| path.extension().is_some_and(|ending| ending == "tbl"))
        .max_by_key(|path| sim.disk().contents(path).unwrap().len())
        .unwrap();
    let mut bytes = sim.disk().contents(&largest).unwrap();
    let inside = bytes.windows(3).position(|window| window == b"2-0").unwrap_or(bytes.len() / 2);
    bytes[inside + 1] ^= 1;
    sim.disk().put(&largest, &bytes);
    sim.run(|env| async move {
        let driver = Driver::open(env).await.unwrap();
        let refused = driver.store.verify().await;
        assert!(matches!(refused, Err(EngineError::Corruption { .. })), "{refused:?}");
        assert_eq!(driver.store.damage().len(), 1);
        match driver.store.ingest(MIDDLE, &prepared, &options()).await {
            Ok(()) => {
                assert_eq!(driver.store.damage(), []);
                driver.store.verify().await.unwrap();
            }
            // The damaged block holds keys of a neighbour too: his replica must be rebuilt as well.
            Err(EngineError::Corruption { .. }) => assert_eq!(driver.store.damage().len(), 1),
            Err(other) => panic!("{other}"),
        }
    })
    .unwrap();
}

#[test]
fn random_histories_of_writes_snapshots_and_ingests_agree_with_a_model() {
    for seed in 0..25u64 {
        let mut sim = Sim::new(seed, Faults::crashes(seed));
        sim.run(|env| async move {
            let mut draw = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
            let mut next = move |below: u64| {
                draw ^= draw << 13;
                draw ^= draw >> 7;
                draw ^= draw << 17;
                draw % below
            };
            let mut driver = Driver::open(env.clone()).await.unwrap();
            let mut model = Content::new();
            let mut held: Vec<(Snapshot, Content)> = Vec::new();
            let mut exports: Vec<(PreparedTables, GroupId, Content)> = Vec::new();
            for step in 0..150 {
                let group = GROUPS[next(3) as usize];
                match next(12) {
                    0 if held.len() < 4 => held.push((driver.store.snapshot(), model.clone())),
                    1 if !held.is_empty() => drop(held.remove(next(held.len() as u64) as usize)),
                    2 => driver.store.flush().await.unwrap(),
                    3 => {
                        let folder = PathBuf::from(format!("/data/export-{step}"));
                        let (at, seen) = held.first().cloned().unwrap_or((driver.store.snapshot(), model.clone()));
                        let made = driver.store.export(&range(group), &at, &folder).await.unwrap();
                        let prefix = format!("{}-", group.0).into_bytes();
                        let inside = seen.into_iter().filter(|(key, _)| key.starts_with(&prefix)).collect();
                        exports.push((made, group, inside));
                    }
                    4 if !exports.is_empty() => {
                        let (made, group, state) = &exports[next(exports.len() as u64) as usize];
                        let index = driver.last.get(group).copied().unwrap_or(0) + 10;
                        let options = IngestOptions { range: range(*group), applied: LogIndex(index), ..options() };
                        driver.store.ingest(*group, made, &options).await.unwrap();
                        driver.last.insert(*group, index);
                        model.retain(|key, _| !key.starts_with(format!("{}-", group.0).as_bytes()));
                        model.extend(state.clone());
                    }
                    5 => {
                        let at = driver.store.snapshot();
                        assert_eq!(whole(&driver.store, &at).await, model, "seed {seed} step {step}");
                        for (at, seen) in &held {
                            assert_eq!(whole(&driver.store, at).await, *seen, "seed {seed} step {step}: a snapshot");
                        }
                    }
                    _ => {
                        for _ in 0..next(6) {
                            let batch = batch(group, next(1000));
                            apply(&mut model, &batch);
                            driver.write(group, batch).await.unwrap();
                        }
                    }
                }
            }
            drop(held);
            driver.store.verify().await.unwrap();
            driver.store.close().await.unwrap();
            let again = Driver::open(env).await.unwrap();
            assert_eq!(again.content().await, model, "seed {seed}");
        })
        .unwrap();
    }
}
