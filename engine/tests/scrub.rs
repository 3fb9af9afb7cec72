//! The scrub: damage is found with file and offset, quarantine holds, and sound stores are left alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use std::path::{Path, PathBuf};

use highwater_engine::{Damage, EngineError, GroupId, StoreOptions, WriteBatch};
use highwater_runtime::Env;
use highwater_runtime::disk::{CrashKind, Faults};
use highwater_runtime::inproc::Sim;
use support::{Content, Driver, apply};

const GROUP: GroupId = GroupId(1);
const MINUTE: u64 = 60_000_000;

/// A pass takes a minute.
fn options() -> StoreOptions {
    StoreOptions { scrub_period_micros: MINUTE, ..StoreOptions::small() }
}

fn batch(number: u64) -> WriteBatch {
    let mut batch = WriteBatch::new();
    batch.put(format!("key-{:04}", number % 300), vec![number as u8; 200]);
    batch
}

/// A closed store with several tables and closed segments, and its content.
fn filled(seed: u64) -> (Sim, Content) {
    let mut sim = Sim::new(seed, Faults::none());
    let content = sim
        .run(|env| async move {
            let mut driver = Driver::open_with(env, options()).await.unwrap();
            let mut content = Content::new();
            for number in 0..400 {
                apply(&mut content, &batch(number));
                driver.write(GROUP, batch(number)).await.unwrap();
            }
            driver.store.flush().await.unwrap();
            driver.store.close().await.unwrap();
            content
        })
        .unwrap();
    sim.crash(CrashKind::Process);
    (sim, content)
}

fn files(sim: &Sim, ending: &str) -> Vec<PathBuf> {
    let named = sim.disk().files().into_iter().map(|(path, _)| path);
    named.filter(|path| path.to_str().unwrap().ends_with(ending)).collect()
}

/// The store, open and with nothing left to compact.
fn opened(sim: &mut Sim, options: StoreOptions) -> Driver {
    let open = |env: highwater_runtime::inproc::InProcEnv| async move {
        let driver = Driver::open_with(env.clone(), options).await.unwrap();
        env.sleep(2_000_000).await;
        driver
    };
    sim.run(open).unwrap()
}

async fn passes<E: Env>(env: &E, driver: &Driver, count: u64) {
    let upto = driver.store.stats().scrub_passes + count;
    while driver.store.stats().scrub_passes < upto {
        env.sleep(100_000).await;
    }
}

/// Flips one bit beneath the running store; what is cached stays as it was.
fn flip(sim: &mut Sim, path: &Path, at: usize) {
    let (path, block) = (path.to_path_buf(), at / 4096 * 4096);
    sim.run(|env| async move {
        use highwater_runtime::{File, OpenOptions};
        let file = env.open(&path, OpenOptions::WRITE).await.unwrap();
        let mut bytes = file.read_at(block as u64, 4096).await.unwrap();
        bytes[at - block] ^= 1;
        file.write_at(bytes, block as u64).await.unwrap();
        file.sync().await.unwrap();
    })
    .unwrap();
}

#[test]
fn a_sound_store_is_read_whole_within_the_period_and_nothing_is_found() {
    let (mut sim, content) = filled(1);
    sim.run(|env| async move {
        let driver = Driver::open_with(env.clone(), options()).await.unwrap();
        let started = env.now();
        passes(&env, &driver, 3).await;
        let micros = env.now().micros_since(started);
        // The first pass begins within the pause of one piece.
        assert!((2 * MINUTE..5 * MINUTE).contains(&micros), "three passes took {micros} microseconds");
        let stats = driver.store.stats();
        let tables: u64 = stats.table_bytes.iter().sum();
        assert!(stats.scrubbed_bytes >= tables, "{} of {tables} bytes", stats.scrubbed_bytes);
        assert_eq!((stats.damage.len(), stats.cache_misses), (0, 0), "nothing went through the cache");
        assert_eq!(driver.content().await, content);
        driver.store.close().await.unwrap();
    })
    .unwrap();
}

#[test]
fn every_damaged_block_of_a_table_is_found_with_file_and_offset() {
    let (mut sim, content) = filled(2);
    let driver = opened(&mut sim, options());
    let tables = files(&sim, ".tbl");
    // In a data block, in the footer.
    let mut expected = Vec::new();
    for path in &tables {
        let len = sim.disk().contents(path).unwrap().len();
        for at in [30, len - 4096 + 20] {
            flip(&mut sim, path, at);
            expected.push((path.clone(), at as u64));
        }
    }
    sim.run(|env| async move {
        while driver.store.damage().is_empty() {
            env.sleep(1000).await;
        }
        let hit = env.now();
        passes(&env, &driver, 2).await;
        // Sixteen times as fast; besides, what the reads take and how often we look.
        let micros = env.now().micros_since(hit);
        assert!(micros < 2 * MINUTE / 16 + 500_000, "after a hit the rest of the pass and the next took {micros}");
        let found = driver.store.damage();
        for (file, at) in &expected {
            let near = |damage: &&Damage| damage.file == *file && damage.offset <= *at && *at < damage.offset + 4096;
            assert_eq!(found.iter().filter(near).count(), 1, "{} at {at}: {found:?}", file.display());
        }
        assert_eq!(driver.store.stats().damage, found);
        passes(&env, &driver, 1).await;
        assert_eq!(driver.store.damage(), found, "each place is reported once");
        let (mut served, mut refused) = (0, 0);
        for (key, value) in &content {
            match driver.store.get(key, &driver.store.snapshot()).await {
                Ok(found) => {
                    assert_eq!(found.as_deref(), Some(&value[..]));
                    served += 1;
                }
                Err(EngineError::Corruption { .. }) => refused += 1,
                Err(other) => panic!("{other}"),
            }
        }
        assert!(served > 0 && refused > 0, "{served} served, {refused} refused");
    })
    .unwrap();
}

#[test]
fn a_quarantined_table_is_not_compacted_and_its_damage_never_gets_a_fresh_checksum() {
    let (mut sim, _) = filled(3);
    let mut driver = opened(&mut sim, options());
    let tables = files(&sim, ".tbl");
    let path = tables[0].clone();
    flip(&mut sim, &path, 30);
    let before = sim.disk().contents(&path).unwrap();
    sim.run(|env| async move {
        passes(&env, &driver, 2).await;
        assert_eq!(driver.store.damage().len(), 1);
        // Overwriting everything makes the tree want to compact it.
        for number in 0..600 {
            if matches!(driver.store.pressure(), Some(highwater_engine::Pressure::LevelZero { .. })) {
                break;
            }
            driver.write(GROUP, batch(number)).await.unwrap();
        }
        driver.store.flush().await.unwrap();
        env.sleep(1_000_000).await;
        assert_eq!(driver.store.damage().len(), 1, "the damage is still known");
        let pressure = driver.store.pressure();
        assert!(!matches!(pressure, Some(highwater_engine::Pressure::Failed { .. })), "{pressure:?}");
        let refused = driver.store.verify().await;
        assert!(matches!(refused, Err(EngineError::Corruption { .. })), "{refused:?}");
        driver.store.close().await.unwrap();
    })
    .unwrap();
    assert!(files(&sim, ".tbl").contains(&path), "the damaged table is still there");
    assert_eq!(sim.disk().contents(&path).unwrap(), before, "and nobody has touched it");
}

#[test]
fn a_compaction_that_meets_damage_quarantines_the_table() {
    let (mut sim, _) = filled(4);
    let options = || StoreOptions { scrub_period_micros: 0, ..StoreOptions::small() };
    let mut driver = opened(&mut sim, options());
    for path in files(&sim, ".tbl") {
        flip(&mut sim, &path, 30);
    }
    sim.run(|env| async move {
        for number in 0..600 {
            if driver.store.pressure().is_some() {
                break;
            }
            driver.log(GROUP, &batch(number)).await.unwrap();
            driver.store.write(GROUP, highwater_engine::LogIndex(driver.last[&GROUP]), batch(number));
            env.sleep(1000).await;
        }
        env.sleep(2_000_000).await;
        assert!(!driver.store.damage().is_empty());
        assert_eq!(driver.store.stats().scrub_passes, 0);
    })
    .unwrap();
}

#[test]
fn damage_in_a_closed_segment_of_the_log_is_found() {
    let mut sim = Sim::new(5, Faults::none());
    let mut driver = opened(&mut sim, options());
    let driver = sim
        .run(|_| async move {
            // Nothing is applied or released, so every segment stays.
            for number in 0..150 {
                driver.log(GROUP, &batch(number)).await.unwrap();
            }
            driver
        })
        .unwrap();
    let segment = |path: &PathBuf| {
        let head = sim.disk().contents(path).unwrap();
        let id = u64::from_le_bytes(head[24..32].try_into().unwrap());
        head.starts_with(b"HWLS").then_some(id)
    };
    let oldest = files(&sim, ".log").into_iter().filter(|path| segment(path).is_some()).min_by_key(segment).unwrap();
    for at in [40, 4096 * 5 + 100] {
        flip(&mut sim, &oldest, at);
    }
    sim.run(|env| async move {
        passes(&env, &driver, 2).await;
        let found: Vec<_> = driver.store.damage().into_iter().map(|damage| (damage.file, damage.offset)).collect();
        assert_eq!(found, [(oldest.clone(), 0), (oldest, 4096 * 5)]);
    })
    .unwrap();
}
