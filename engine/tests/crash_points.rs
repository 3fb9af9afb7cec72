//! Every crash point of short workloads, each with several surviving sets of what was not durable.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use std::cell::RefCell;
use std::rc::Rc;

use highwater_engine::{GroupId, WriteBatch};
use highwater_runtime::disk::{CrashKind, Disk, Faults, SurvivingSet};
use highwater_runtime::inproc::{Sim, Stopped};
use support::{Content, Driver, apply};

const GROUPS: [GroupId; 2] = [GroupId(1), GroupId(2)];
const WRITES: u64 = 60;

/// The `number`-th write of a group; it counts up a counter, so that an entry applied twice or left out is seen.
fn batch(group: GroupId, number: u64) -> WriteBatch {
    let mut batch = WriteBatch::new();
    let key = |n: u64| format!("{}-{:03}", group.0, n * 7 % 50);
    batch.put(format!("{}-count", group.0), number.to_string());
    batch.put(key(number), vec![number as u8; 150]);
    batch.delete(key(number + 3));
    if number % 9 == 8 {
        batch.delete_range(format!("{}-010", group.0), format!("{}-020", group.0));
    }
    batch
}

/// The group's content after its first `count` writes.
fn expected(group: GroupId, count: u64) -> Content {
    let mut content = Content::new();
    (1..=count).for_each(|number| apply(&mut content, &batch(group, number)));
    content
}

#[derive(Default)]
struct Progress {
    started: [u64; 2],
    acknowledged: [u64; 2],
}

/// Runs the workload on a fresh disk until the crash point, if any is set.
fn workload(sim: &mut Sim, progress: &Rc<RefCell<Progress>>) -> Result<(), Stopped> {
    let progress = Rc::clone(progress);
    sim.run(|env| async move {
        let mut driver = Driver::open(env).await.unwrap();
        for number in 1..=WRITES {
            for (at, group) in GROUPS.into_iter().enumerate() {
                // The second group falls silent early and holds old segments.
                if at == 1 && number > WRITES / 4 {
                    continue;
                }
                progress.borrow_mut().started[at] = number;
                driver.write(group, batch(group, number)).await.unwrap();
                progress.borrow_mut().acknowledged[at] = number;
            }
            if number % 20 == 0 {
                driver.store.flush().await.unwrap();
            }
        }
    })
}

/// Opens what a crash has left and checks it; returns the content.
fn check(disk: Disk, seed: u64, progress: &Progress, point: u64) -> Disk {
    let mut sim = Sim::with_disk(seed, disk);
    let mut first: Option<Content> = None;
    for round in 0..2 {
        let (content, recovery) = sim
            .run(|env| async move {
                let driver = Driver::open(env).await.unwrap_or_else(|error| panic!("point {point}: {error}"));
                driver.store.verify().await.unwrap_or_else(|error| panic!("point {point}: {error}"));
                let content = driver.content().await;
                driver.store.close().await.unwrap();
                (content, driver.recovery)
            })
            .unwrap();
        let mut whole = Content::new();
        for (at, group) in GROUPS.into_iter().enumerate() {
            let count = recovery.groups.get(&group).map_or(0, |found| found.last_index.0);
            assert!(count >= progress.acknowledged[at], "point {point}: {group} lost acknowledged writes");
            assert!(count <= progress.started[at], "point {point}: {group} holds what was never written");
            whole.extend(expected(group, count));
        }
        assert_eq!(content, whole, "point {point}: the content is not that of a prefix");
        assert!(round == 0 || recovery.orphans.is_empty(), "point {point}: orphans are left");
        if let Some(first) = &first {
            assert_eq!(content, *first, "point {point}: opening twice differs");
        }
        first = Some(content);
        sim.crash(CrashKind::Process);
    }
    sim.disk().clone()
}

fn total(seed: u64) -> u64 {
    let mut sim = Sim::new(seed, Faults::none());
    let progress = Rc::default();
    workload(&mut sim, &progress).unwrap();
    sim.completions()
}

/// The disk and the progress at a crash point.
fn crashed_at(seed: u64, point: u64, mutant: Option<u32>) -> (Sim, Progress) {
    let mut sim = Sim::new(seed, Faults::none());
    sim.set_mutant(mutant);
    sim.crash_after(point);
    let progress = Rc::default();
    let stopped = workload(&mut sim, &progress);
    assert!(matches!(stopped, Ok(()) | Err(Stopped::CrashPoint)), "{stopped:?}");
    (sim, progress.take())
}

fn survivors(seed: u64, point: u64) -> [u64; 4] {
    let mut mixed = (seed << 32 | point).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed ^= mixed >> 29;
    [0, u64::MAX, mixed, mixed.wrapping_mul(0xBF58_476D_1CE4_E5B9)]
}

#[test]
fn every_crash_point_recovers_a_prefix_that_covers_what_was_acknowledged() {
    let seed = 11;
    for point in 0..total(seed) {
        let (sim, progress) = crashed_at(seed, point, None);
        for set in survivors(seed, point) {
            let mut disk = sim.disk().clone();
            disk.crash_with(CrashKind::Power, &mut SurvivingSet(set));
            check(disk, point, &progress, point);
        }
    }
}

#[test]
fn torn_blocks_and_lost_names_change_nothing() {
    for seed in 20..40 {
        let total = total(seed);
        for point in (seed % 7..total).step_by(41) {
            let (sim, progress) = crashed_at(seed, point, None);
            let mut disk = sim.disk().clone();
            disk.faults = Faults { torn_block: 1.0, ..Faults::crashes(seed + point) };
            disk.crash(CrashKind::Power);
            check(disk, point, &progress, point);
        }
    }
}

#[test]
fn a_crash_during_recovery_is_as_harmless() {
    let seed = 12;
    let total = total(seed);
    for point in (0..total).step_by(53) {
        let (sim, progress) = crashed_at(seed, point, None);
        for again in (3..60).step_by(6) {
            let mut disk = sim.disk().clone();
            disk.crash_with(CrashKind::Power, &mut SurvivingSet(survivors(seed, point)[2]));
            let mut second = Sim::with_disk(again, disk);
            second.crash_after(second.completions() + again);
            let _ = second.run(|env| async move { Driver::open(env).await.is_ok() });
            let mut disk = second.disk().clone();
            disk.crash_with(CrashKind::Power, &mut SurvivingSet(survivors(again, point)[3]));
            check(disk, point, &progress, point);
        }
    }
}
