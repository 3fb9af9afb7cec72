//! Compactions on a disk that is nearly full: none is begun that cannot fit, what fits is done, and writes go on by themselves once there
//! is room.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use std::path::PathBuf;

use highwater_engine::{GroupId, Pressure, StoreOptions, WriteBatch};
use highwater_runtime::Env;
use highwater_runtime::disk::{CrashKind, Fault, Faults};
use highwater_runtime::inproc::Sim;
use support::{Content, Driver, apply};

const GROUP: GroupId = GroupId(u32::from_be_bytes(*b"key-"));
/// Keys of the base.
const KEYS: u64 = 300;

/// Writes are refused at six runs of level 0. Log and manifest need no more space than they have.
fn options() -> StoreOptions {
    StoreOptions {
        level_zero_stop: 6,
        level_one_bytes: 4 << 20,
        segment_bytes: 1 << 20,
        log_limit_bytes: 4 << 20,
        manifest_bytes: 1 << 20,
        ..StoreOptions::small()
    }
}

/// Bytes that do not become smaller by compression.
fn noise(number: u64, len: usize) -> Vec<u8> {
    let mut random = number + 1;
    let mut next = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// Four keys from all over the base, so that the run they make overlaps all of it.
fn spread(number: u64) -> WriteBatch {
    let mut batch = WriteBatch::new();
    for part in [0, 100, 200, 299] {
        batch.put(format!("key-{part:04}-{number:04}"), noise(number + part, 1500));
    }
    batch
}

/// A store with 300 KB at the deepest level and little above that moves there as it is, on a disk with `room` bytes more.
fn with_base(sim: &mut Sim, room: u64) -> (Driver, Content) {
    let (driver, content) = sim
        .run(|env| async move {
            let mut driver = Driver::open_with(env.clone(), options()).await.unwrap();
            let mut content = Content::new();
            for number in 0..KEYS {
                let mut batch = WriteBatch::new();
                batch.put(format!("key-{number:04}"), noise(number, 1000));
                apply(&mut content, &batch);
                driver.write(GROUP, batch).await.unwrap();
            }
            driver.store.flush().await.unwrap();
            // What was put off is done once nobody writes, and what is dead goes.
            env.sleep(10_000_000).await;
            let stats = driver.store.stats();
            assert!(stats.table_bytes[6] > 300_000 && stats.dead_files == 0, "{stats:?}");
            (driver, content)
        })
        .unwrap();
    let used = sim.disk().used();
    sim.disk().faults.capacity = Some(used + room);
    (driver, content)
}

/// One run of level 0 after the other until the store refuses writes.
async fn write_until_refused(driver: &mut Driver, content: &mut Content, numbers: std::ops::Range<u64>) -> Pressure {
    for number in numbers {
        if let Some(pressure) = driver.store.pressure() {
            return pressure;
        }
        apply(content, &spread(number));
        driver.write(GROUP, spread(number)).await.unwrap();
        driver.store.flush().await.unwrap();
        driver.env.sleep(500_000).await;
    }
    panic!("writes were never refused: {:?}", driver.store.stats())
}

fn tables(sim: &Sim) -> Vec<PathBuf> {
    let files = sim.disk().files().into_iter().map(|(path, _)| path);
    files.filter(|path| path.extension().is_some_and(|end| end == "tbl")).collect()
}

/// The figures of a refusal: bytes that must be free, and bytes that are.
fn figures(pressure: &Pressure) -> (u64, u64) {
    let Pressure::DiskFull { what } = pressure else { panic!("{pressure}") };
    let numbers: Vec<u64> = what.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [_, needed, free] = numbers[..] else { panic!("{what}") };
    (needed, free)
}

#[test]
fn writes_that_wait_for_compactions_without_room_say_how_much_is_missing_and_go_on_with_just_that() {
    let mut sim = Sim::new(1, Faults::none());
    // Six runs of 12 KB fit, and then no two of them once more.
    let (mut driver, mut content) = with_base(&mut sim, 6 * (12 << 10));
    let (driver, content, pressure) = sim
        .run(|_| async move {
            let pressure = write_until_refused(&mut driver, &mut content, 0..50).await;
            (driver, content, pressure)
        })
        .unwrap();
    let (needed, free) = figures(&pressure);
    assert!(
        pressure.to_string().starts_with("6 runs of tables wait to be compacted: the disk is too full"),
        "{pressure}"
    );
    let full = sim.disk().faults.capacity.unwrap();
    assert_eq!(free, full - sim.disk().used());
    let stats = driver.store.stats();
    assert_eq!(stats.compaction_missing_bytes, needed - free);
    let found = (tables(&sim), sim.disk().counts().of(Fault::NoSpace));

    // A block less than what is needed changes nothing, for as long as it takes, and nothing is tried.
    sim.disk().faults.capacity = Some(full + (needed - free) - 4096);
    let driver = sim
        .run(|env| async move {
            env.sleep(60_000_000).await;
            assert_eq!(figures(&driver.store.pressure().unwrap()), (needed, needed - 4096));
            assert!(matches!(driver.content().await, found if found == content), "reads go on");
            driver
        })
        .unwrap();
    assert_eq!(found, (tables(&sim), sim.disk().counts().of(Fault::NoSpace)));

    sim.disk().faults.capacity = Some(full + (needed - free));
    sim.run(|env| async move {
        let mut driver = driver;
        env.sleep(1_000_000).await;
        assert_eq!(driver.store.pressure(), None, "writes go on by themselves");
        assert_eq!(driver.store.stats().compaction_missing_bytes, 0);
        driver.write(GROUP, spread(60)).await.unwrap();
        driver.store.verify().await.unwrap();
    })
    .unwrap();
}

#[test]
fn with_room_for_parts_of_level_zero_only_writes_go_on_and_with_more_all_of_it_goes_down() {
    let mut sim = Sim::new(2, Faults::none());
    // Less than a copy of the base.
    let (driver, content) = with_base(&mut sim, 220 << 10);
    let (driver, content) = sim
        .run(|env| async move {
            let (mut driver, mut content) = (driver, content);
            for number in 0..15 {
                assert_eq!(driver.store.pressure(), None);
                apply(&mut content, &spread(number));
                driver.write(GROUP, spread(number)).await.unwrap();
                driver.store.flush().await.unwrap();
                env.sleep(500_000).await;
            }
            let stats = driver.store.stats();
            assert!(stats.runs[0] < 6 && stats.tables[0] > 1, "{stats:?}");
            assert_eq!(driver.content().await, content);
            (driver, content)
        })
        .unwrap();
    assert_eq!(sim.disk().counts().of(Fault::NoSpace), 0, "nothing was begun that did not fit");
    sim.disk().faults.capacity = None;
    sim.run(|env| async move {
        let (mut driver, mut content) = (driver, content);
        for number in 20..24 {
            apply(&mut content, &spread(number));
            driver.write(GROUP, spread(number)).await.unwrap();
            driver.store.flush().await.unwrap();
        }
        env.sleep(10_000_000).await;
        let stats = driver.store.stats();
        assert!(stats.runs[0] < 4, "{stats:?}");
        driver.store.verify().await.unwrap();
        assert_eq!(driver.content().await, content);
    })
    .unwrap();
    sim.crash(CrashKind::Power);
    sim.run(|env| async move { Driver::open_with(env, options()).await.unwrap().store.verify().await.unwrap() })
        .unwrap();
}

#[test]
fn what_a_compaction_wrote_before_it_found_no_space_goes_at_once() {
    let mut sim = Sim::new(3, Faults::none());
    let (driver, content) = with_base(&mut sim, 64 << 20);
    let driver = sim
        .run(|env| async move {
            let mut driver = driver;
            for number in 0..4 {
                driver.write(GROUP, spread(number)).await.unwrap();
                driver.store.flush().await.unwrap();
            }
            while driver.store.stats().compactions_running == 0 {
                env.sleep(10).await;
            }
            env.sleep(2000).await;
            driver
        })
        .unwrap();
    let at_work = tables(&sim).len();
    // The file system says that there is room, and there is none: as with a quota.
    sim.disk().faults.no_space = 1.0;
    let driver = sim
        .run(|env| async move {
            env.sleep(150_000).await;
            driver
        })
        .unwrap();
    assert_eq!(sim.disk().counts().of(Fault::NoSpace), 1, "it found no space");
    sim.disk().faults.no_space = 0.0;
    let stats = driver.store.stats();
    let live: usize = stats.tables.iter().sum();
    assert!(at_work > live && stats.compactions_running == 0, "{at_work} tables, {stats:?}");
    assert_eq!(tables(&sim).len(), live);
    assert_eq!(driver.store.pressure(), None, "flushes have space, and level 0 is not crowded");
    sim.run(|env| async move {
        env.sleep(10_000_000).await;
        let stats = driver.store.stats();
        assert!(stats.runs[0] < 4, "tried again: {stats:?}");
        assert!(driver.content().await.len() > content.len());
    })
    .unwrap();
}
