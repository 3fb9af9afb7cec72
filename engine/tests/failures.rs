//! What a failing disk makes of a store: a failed write or sync stops the node, a full disk refuses writes and reads go on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use std::path::{Path, PathBuf};

use highwater_engine::{EngineError, GroupId, Pressure, WriteBatch};
use highwater_runtime::Env;
use highwater_runtime::disk::{CrashKind, Faults};
use highwater_runtime::inproc::{Sim, Stopped};
use support::{Content, Driver, FOLDER, apply};

const GROUP: GroupId = GroupId(1);

fn batch(number: u64) -> WriteBatch {
    let mut batch = WriteBatch::new();
    batch.put(format!("key-{:04}", number % 200), vec![number as u8; 200]);
    batch
}

/// Writes `numbers`, one batch each, and returns the content they make.
fn fill(sim: &mut Sim, numbers: std::ops::Range<u64>) -> Content {
    sim.run(|env| async move {
        let mut driver = Driver::open(env).await.unwrap();
        let mut content = Content::new();
        for number in numbers {
            apply(&mut content, &batch(number));
            driver.write(GROUP, batch(number)).await.unwrap();
        }
        driver.store.flush().await.unwrap();
        driver.store.close().await.unwrap();
        content
    })
    .unwrap()
}

fn content(sim: &mut Sim) -> Content {
    sim.run(|env| async move { Driver::open(env).await.unwrap().content().await }).unwrap()
}

#[test]
fn a_failed_write_or_sync_stops_the_node_and_what_was_acknowledged_survives() {
    for (at, faults) in [
        Faults { write_error: 0.02, ..Faults::none() },
        Faults { sync_error: 0.05, ..Faults::none() },
        Faults { write_error: 0.01, sync_error: 0.02, keep_subset: 1.0, lose_unsynced: 0.0, ..Faults::none() },
    ]
    .into_iter()
    .enumerate()
    {
        let mut stopped = 0;
        for seed in 0..20 {
            let mut sim = Sim::new(seed, Faults::none());
            let before = fill(&mut sim, 0..50);
            sim.crash(CrashKind::Power);
            sim.disk().faults = faults.clone();
            let acknowledged = std::rc::Rc::new(std::cell::Cell::new(0));
            let count = acknowledged.clone();
            let outcome = sim.run(|env| async move {
                let mut driver = Driver::open(env).await?;
                for number in 50..200 {
                    driver.write(GROUP, batch(number)).await?;
                    count.set(number - 49);
                }
                Ok::<(), EngineError>(())
            });
            match outcome {
                Ok(Ok(())) => {}
                Ok(Err(error)) => panic!("case {at}: a broken disk must stop the node, not answer {error}"),
                Err(Stopped::FailStop(reason)) => {
                    assert!(reason.contains("/data"), "the reason names the file: {reason}");
                    stopped += 1;
                }
                Err(other) => panic!("{other}"),
            }
            sim.crash(CrashKind::Power);
            sim.disk().faults = Faults::none();
            let found = content(&mut sim);
            let matches = (acknowledged.get()..=acknowledged.get() + 1).any(|count| {
                let mut expected = before.clone();
                (50..50 + count).for_each(|number| apply(&mut expected, &batch(number)));
                expected == found
            });
            assert!(matches, "case {at} seed {seed}: the content is not that of what was acknowledged");
        }
        assert!(stopped > 5, "case {at}: the faults hit");
    }
}

#[test]
fn a_full_disk_refuses_writes_while_reads_go_on_and_recovers_when_space_returns() {
    let mut sim = Sim::new(5, Faults::none());
    let mut model = fill(&mut sim, 0..100);
    sim.crash(CrashKind::Process);
    let used = sim.disk().used();
    sim.disk().faults.capacity = Some(used + 4096);
    let (store, reached) = sim
        .run(|env| async move {
            let mut driver = Driver::open(env.clone()).await.unwrap();
            let mut number = 100;
            // Writes go on until the store says that it cannot flush any more.
            let pressure = loop {
                if let Some(pressure) = driver.store.pressure() {
                    break pressure;
                }
                match driver.log(GROUP, &batch(number)).await {
                    Ok(()) => {
                        let index = highwater_engine::LogIndex(driver.last[&GROUP]);
                        driver.store.write(GROUP, index, batch(number));
                        driver.store.release_log(GROUP, index);
                        number += 1;
                    }
                    Err(EngineError::NoSpace { .. }) => env.sleep(1000).await,
                    Err(other) => panic!("{other}"),
                }
            };
            assert!(matches!(pressure, Pressure::DiskFull { .. }), "{pressure}");
            assert!(pressure.to_string().contains("disk is full"), "{pressure}");
            assert!(matches!(driver.store.flush().await, Err(EngineError::NoSpace { .. })));
            (driver, number)
        })
        .unwrap();
    (100..reached).for_each(|number| apply(&mut model, &batch(number)));
    let expected = model.clone();
    let driver = sim
        .run(|_| async move {
            assert_eq!(store.content().await, expected, "reads go on");
            store
        })
        .unwrap();
    sim.disk().faults.capacity = None;
    sim.run(|_| async move {
        while driver.store.pressure().is_some() {
            driver.env.sleep(10_000).await;
        }
        driver.store.flush().await.unwrap();
        driver.store.verify().await.unwrap();
    })
    .unwrap();
    sim.crash(CrashKind::Power);
    assert_eq!(content(&mut sim), model);
}

#[test]
fn a_store_opens_on_a_full_disk_again_and_again_and_takes_writes_when_space_returns() {
    let mut sim = Sim::new(5, Faults::none());
    let mut model = fill(&mut sim, 0..100);
    let mut without_a_segment = 0;
    for _ in 0..8 {
        sim.crash(CrashKind::Power);
        let used = sim.disk().used();
        sim.disk().faults.capacity = Some(used);
        let expected = model.clone();
        let refused = sim
            .run(|env| async move {
                let mut driver = Driver::open(env).await.unwrap();
                assert_eq!(driver.content().await, expected, "what is there can be read");
                match driver.log(GROUP, &batch(100)).await {
                    Ok(()) => false,
                    Err(EngineError::NoSpace { .. }) => true,
                    Err(other) => panic!("{other}"),
                }
            })
            .unwrap();
        if refused {
            without_a_segment += 1;
        } else {
            // Logged, and applied by the next start.
            apply(&mut model, &batch(100));
        }
    }
    assert!(without_a_segment > 3, "the spare segments are used up");
    sim.crash(CrashKind::Power);
    sim.disk().faults.capacity = None;
    sim.run(|env| async move {
        let mut driver = Driver::open(env).await.unwrap();
        driver.write(GROUP, batch(200)).await.unwrap();
        driver.store.verify().await.unwrap();
    })
    .unwrap();
    apply(&mut model, &batch(200));
    sim.crash(CrashKind::Power);
    assert_eq!(content(&mut sim), model);
}

#[test]
fn a_store_that_was_opened_on_a_full_disk_goes_on_when_space_returns() {
    let mut sim = Sim::new(6, Faults::none());
    let mut model = fill(&mut sim, 0..100);
    for _ in 0..8 {
        sim.crash(CrashKind::Power);
        let used = sim.disk().used();
        sim.disk().faults.capacity = Some(used);
        sim.run(|env| async move { drop(Driver::open(env).await.unwrap()) }).unwrap();
    }
    sim.crash(CrashKind::Power);
    let (driver, refused) = sim
        .run(|env| async move {
            let mut driver = Driver::open(env).await.unwrap();
            let refused = driver.log(GROUP, &batch(100)).await;
            (driver, refused)
        })
        .unwrap();
    assert!(matches!(refused, Err(EngineError::NoSpace { .. })), "{refused:?}");
    sim.disk().faults.capacity = None;
    sim.run(|_| async move {
        let mut driver = driver;
        driver.write(GROUP, batch(100)).await.unwrap();
    })
    .unwrap();
    apply(&mut model, &batch(100));
    sim.crash(CrashKind::Power);
    assert_eq!(content(&mut sim), model);
}

fn files(sim: &Sim, ending: &str) -> Vec<PathBuf> {
    let all = sim.disk().files();
    all.into_iter().map(|(path, _)| path).filter(|path| path.to_str().unwrap().contains(ending)).collect()
}

fn flip(sim: &Sim, path: &Path, at: usize) {
    let mut bytes = sim.disk().contents(path).unwrap();
    bytes[at] ^= 1;
    sim.disk().put(path, &bytes);
}

#[test]
fn any_damage_to_a_table_is_reported_with_its_file_and_never_served() {
    let mut sim = Sim::new(6, Faults::none());
    let model = fill(&mut sim, 0..150);
    sim.crash(CrashKind::Power);
    for path in files(&sim, ".tbl") {
        let len = sim.disk().contents(&path).map_or(4096, |bytes| bytes.len());
        for at in [10, len / 3, len - 4096 + 20, len - 2] {
            // A compaction that does not need the damaged part, a filter, may have replaced the table.
            if sim.disk().contents(&path).is_none() {
                break;
            }
            flip(&sim, &path, at);
            let (damaged, model) = (path.clone(), &model);
            let error = sim
                .run(|env| async move {
                    let driver = match Driver::open(env).await {
                        Ok(driver) => driver,
                        Err(error) => return Some(error),
                    };
                    for (key, value) in model {
                        let found = driver.store.get(key, &driver.store.snapshot()).await;
                        assert!(found.is_err() || found == Ok(Some(value.clone().into())), "never a wrong answer");
                    }
                    driver.store.verify().await.err()
                })
                .unwrap();
            // A flip in the padding between the index and the footer is of no consequence.
            if let Some(error) = error {
                assert!(matches!(&error, EngineError::Corruption { file, .. } if *file == damaged), "{error}");
                assert!(files(&sim, ".tbl").contains(&path), "what is damaged is kept");
            }
            sim.crash(CrashKind::Power);
            if sim.disk().contents(&path).is_some() {
                flip(&sim, &path, at);
            }
        }
    }
    assert_eq!(content(&mut sim), model);
}

#[test]
fn a_missing_table_or_manifest_and_a_damaged_edit_are_refused() {
    // So many edits that the manifest holds several when it is damaged.
    let (mut sim, model) = (0..)
        .map(|extra| {
            let mut sim = Sim::new(7, Faults::none());
            let model = fill(&mut sim, 0..150 + extra);
            sim.crash(CrashKind::Power);
            (sim, model)
        })
        .find(|(sim, _)| {
            let manifest = files(sim, "MANIFEST").remove(0);
            let bytes = sim.disk().contents(&manifest).unwrap();
            bytes.chunks(4096).filter(|block| block.starts_with(b"HWMF")).count() > 3
        })
        .unwrap();
    let refused = |sim: &mut Sim, what: &str| {
        let error = sim.run(|env| async move { Driver::open(env).await.err() }).unwrap();
        assert!(matches!(error, Some(EngineError::Corruption { .. })), "{what}: {error:?}");
        sim.crash(CrashKind::Power);
    };
    let manifest = files(&sim, "MANIFEST").pop().unwrap();
    let bytes = sim.disk().contents(&manifest).unwrap();
    let second = 4096 * (1 + bytes[4096..].chunks(4096).position(|block| block.starts_with(b"HWMF")).unwrap());
    flip(&sim, &manifest, second + 50);
    refused(&mut sim, "a damaged edit");
    flip(&sim, &manifest, second + 50);
    flip(&sim, &manifest, 40);
    refused(&mut sim, "a damaged snapshot");
    flip(&sim, &manifest, 40);
    let segment = |path: &PathBuf| {
        let head = sim.disk().contents(path).unwrap();
        head.starts_with(b"HWLS").then(|| u64::from_le_bytes(head[24..32].try_into().unwrap()))
    };
    let newest = files(&sim, ".log").into_iter().max_by_key(segment).unwrap();
    for path in [manifest, files(&sim, ".tbl").pop().unwrap(), newest] {
        let kept = sim.disk().contents(&path).unwrap();
        let remove = path.clone();
        sim.run(|env| async move {
            env.remove_file(&remove).await.unwrap();
            env.sync_dir(Path::new(FOLDER)).await.unwrap();
        })
        .unwrap();
        refused(&mut sim, path.to_str().unwrap());
        sim.disk().put(&path, &kept);
    }
    assert_eq!(content(&mut sim), model);
}
