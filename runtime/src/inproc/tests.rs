#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::path::Path;

use super::{Sim, Stopped};
use crate::disk::{CrashKind, Fault, Faults, SurvivingSet};
use crate::{AlignedBuf, BLOCK, Env, File, OpenOptions};

fn block(fill: u8) -> AlignedBuf {
    AlignedBuf::from_slice(&[fill; BLOCK])
}

/// Creates `/f` with its name durable, then writes blocks 1, 2, 3 without a sync.
fn three_unsynced(sim: &mut Sim) {
    sim.run(|env| async move {
        let file = env.open(Path::new("/f"), OpenOptions::CREATE).await.unwrap();
        env.sync_dir(Path::new("/")).await.unwrap();
        for i in 0..3u8 {
            file.write_at(block(i + 1), u64::from(i) * BLOCK as u64).await.unwrap();
        }
    })
    .unwrap();
}

#[test]
fn a_power_crash_loses_what_was_not_synced() {
    let mut sim = Sim::new(1, Faults::none());
    three_unsynced(&mut sim);
    sim.crash(CrashKind::Power);
    assert_eq!(sim.disk().contents(Path::new("/f")), Some(vec![]));
    assert_eq!(sim.disk().counts().of(Fault::LostUnsynced), 1);
}

#[test]
fn a_process_crash_keeps_completed_writes_and_a_later_power_crash_may_lose_them() {
    let mut sim = Sim::new(1, Faults::none());
    three_unsynced(&mut sim);
    sim.crash(CrashKind::Process);
    assert_eq!(sim.disk().contents(Path::new("/f")).unwrap().len(), 3 * BLOCK);
    sim.crash(CrashKind::Power);
    assert_eq!(sim.disk().contents(Path::new("/f")), Some(vec![]));
}

#[test]
fn every_subset_of_unsynced_blocks_can_be_enumerated() {
    let mut sim = Sim::new(1, Faults::none());
    three_unsynced(&mut sim);
    let at_risk = sim.disk().at_risk(CrashKind::Power);
    assert_eq!(at_risk.len(), 3);
    let mut seen = std::collections::BTreeSet::new();
    for set in 0..8u64 {
        let mut disk = sim.disk().clone();
        disk.crash_with(CrashKind::Power, &mut SurvivingSet(set));
        let bytes = disk.contents(Path::new("/f")).unwrap();
        for i in 0..3u64 {
            let first = bytes.get(usize::try_from(i).unwrap() * BLOCK).copied().unwrap_or(0);
            assert_eq!(first != 0, set & (1 << i) != 0, "set {set:03b}, block {i}");
        }
        seen.insert(bytes);
    }
    assert_eq!(seen.len(), 8);
}

#[test]
fn an_unsynced_name_is_lost_although_the_file_was_synced() {
    let mut sim = Sim::new(1, Faults::none());
    sim.run(|env| async move {
        let file = env.open(Path::new("/f"), OpenOptions::CREATE).await.unwrap();
        file.write_at(block(1), 0).await.unwrap();
        file.sync().await.unwrap();
    })
    .unwrap();
    sim.crash(CrashKind::Power);
    assert_eq!(sim.disk().contents(Path::new("/f")), None);
    assert_eq!(sim.disk().counts().of(Fault::LostName), 1);
}

#[test]
fn crash_points_can_be_enumerated_and_a_synchronous_write_is_durable_at_completion() {
    for point in 0..10 {
        let mut sim = Sim::new(3, Faults::none());
        sim.crash_after(point);
        let acknowledged = std::rc::Rc::new(std::cell::Cell::new(0u64));
        let counter = std::rc::Rc::clone(&acknowledged);
        let ended = sim.run(|env| async move {
            let file = env.open(Path::new("/f"), OpenOptions::CREATE.synchronous()).await.unwrap();
            env.sync_dir(Path::new("/")).await.unwrap();
            for i in 0..6u64 {
                file.write_at(block(9), i * BLOCK as u64).await.unwrap();
                counter.set(i + 1);
            }
        });
        assert_eq!(ended.is_err(), point < 8, "point {point}");
        if ended.is_err() {
            assert_eq!(ended, Err(Stopped::CrashPoint));
        }
        sim.crash(CrashKind::Power);
        let kept = sim.disk().contents(Path::new("/f")).map_or(0, |bytes| bytes.len() as u64 / BLOCK as u64);
        assert_eq!(kept, acknowledged.get(), "point {point}");
    }
}

#[test]
fn a_failed_sync_forgets_writes_and_the_next_sync_succeeds_without_them() {
    let mut lost = 0;
    for seed in 0..20 {
        let mut sim = Sim::new(seed, Faults::none());
        three_unsynced(&mut sim);
        sim.disk().faults.sync_error = 1.0;
        sim.run(|env| async move {
            let file = env.open(Path::new("/f"), OpenOptions::WRITE).await.unwrap();
            file.sync().await.unwrap_err();
        })
        .unwrap();
        sim.disk().faults.sync_error = 0.0;
        sim.run(|env| async move {
            let file = env.open(Path::new("/f"), OpenOptions::WRITE).await.unwrap();
            file.sync().await.unwrap();
            assert_eq!(file.len().await.unwrap(), 3 * BLOCK as u64);
        })
        .unwrap();
        sim.crash(CrashKind::Power);
        let bytes = sim.disk().contents(Path::new("/f")).unwrap();
        lost += usize::from(bytes.len() < 3 * BLOCK || bytes.chunks(BLOCK).any(|chunk| chunk[0] == 0));
    }
    assert!(lost > 10, "only {lost} of 20 runs lost a write");
}

#[test]
fn equal_seeds_give_equal_traces_and_other_seeds_others() {
    let run = |seed| {
        let mut sim = Sim::new(seed, Faults { reorder: 0.5, ..Faults::none() });
        sim.run(|env| async move {
            let file = std::rc::Rc::new(env.open(Path::new("/f"), OpenOptions::CREATE).await.unwrap());
            for i in 0..20u64 {
                let file = std::rc::Rc::clone(&file);
                env.spawn("writer", async move {
                    file.write_at(block(1), i * BLOCK as u64).await.unwrap();
                });
            }
            env.sleep(10_000).await;
        })
        .unwrap();
        (sim.trace_hash(), sim.disk().counts().of(Fault::OutOfOrder) > 0)
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5).0, run(6).0);
    assert!(run(5).1, "no write overtook another");
}

#[test]
fn a_full_disk_refuses_growth_and_serves_reads() {
    let mut sim = Sim::new(1, Faults { capacity: Some(2 * BLOCK as u64), ..Faults::none() });
    sim.run(|env| async move {
        let file = env.open(Path::new("/f"), OpenOptions::CREATE).await.unwrap();
        file.allocate(2 * BLOCK as u64).await.unwrap();
        file.write_at(block(1), BLOCK as u64).await.unwrap();
        let error = file.write_at(block(1), 2 * BLOCK as u64).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
        assert_eq!(file.read_at(0, BLOCK).await.unwrap()[0], 0);
    })
    .unwrap();
}

#[test]
fn a_torn_block_mixes_old_and_new_sectors() {
    let mut sim = Sim::new(4, Faults { torn_block: 1.0, ..Faults::none() });
    sim.run(|env| async move {
        let file = env.open(Path::new("/f"), OpenOptions::CREATE).await.unwrap();
        env.sync_dir(Path::new("/")).await.unwrap();
        file.write_at(block(1), 0).await.unwrap();
        file.sync().await.unwrap();
        file.write_at(block(2), 0).await.unwrap();
    })
    .unwrap();
    sim.crash(CrashKind::Power);
    let bytes = sim.disk().contents(Path::new("/f")).unwrap();
    let sectors: std::collections::BTreeSet<u8> = bytes.chunks(512).map(|sector| sector[0]).collect();
    assert_eq!(sectors.into_iter().collect::<Vec<_>>(), [1, 2]);
    assert_eq!(sim.disk().counts().of(Fault::TornBlock), 1);
}

#[test]
fn a_fail_stop_ends_the_run_and_a_crash_starts_anew() {
    let mut sim = Sim::new(1, Faults::none());
    let ended: Result<(), _> = sim.run(|env| async move {
        env.spawn("doomed", {
            let env = env.clone();
            async move {
                env.fail_stop("sync failed").await;
            }
        });
        std::future::pending().await
    });
    assert_eq!(ended, Err(Stopped::FailStop("sync failed".into())));
    sim.crash(CrashKind::Power);
    assert_eq!(sim.run(|_| async { 7 }), Ok(7));
}

#[test]
fn waiting_for_nothing_is_reported() {
    let mut sim = Sim::new(1, Faults::none());
    assert_eq!(sim.run(|_| std::future::pending::<()>()), Err(Stopped::Stalled));
}

#[test]
fn the_in_process_backend_keeps_the_contract() {
    for seed in 0..20 {
        let mut sim = Sim::new(seed, Faults { reorder: 0.3, ..Faults::none() });
        sim.run(|env| async move {
            env.create_dir_all(Path::new("/data")).await.unwrap();
            crate::conformance::all(env, Path::new("/data")).await;
        })
        .unwrap();
    }
}
