//! What compaction does to a store: how much it writes, what it removes, and how it slows new writes down.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use highwater_engine::{
    CompactionPolicy, Direction, Expiry, GroupId, KeyRange, LogIndex, Snapshot, Store, StoreOptions, StoreStats,
    WriteBatch,
};
use highwater_runtime::Env;
use highwater_runtime::disk::{CrashKind, Faults};
use highwater_runtime::inproc::Sim;
use quickcheck::{Arbitrary, Gen, QuickCheck};
use support::Driver;

/// The group of the keys that begin with `key-`.
const GROUP: GroupId = GroupId(u32::from_be_bytes(*b"key-"));

fn written(stats: &StoreStats) -> u64 {
    stats.level_written_bytes.iter().sum()
}

/// Overwrites 4000 keys twenty times in random order; tables and levels as in a real store, a thousandth of the size.
fn overwrite(policy: CompactionPolicy) -> (StoreStats, f64) {
    let options = StoreOptions {
        memtable_bytes: 64 << 10,
        table_bytes: 64 << 10,
        level_one_bytes: 256 << 10,
        level_ratio: 8,
        block_bytes: 4 << 10,
        compaction_policy: policy,
        ..StoreOptions::small()
    };
    let mut sim = Sim::new(9, Faults::none());
    sim.run(|env| async move {
        let mut driver = Driver::open_with(env.clone(), options).await.unwrap();
        let mut random = 1u64;
        let mut content = BTreeMap::new();
        for _ in 0..20 * 4000 / 100 {
            let mut batch = WriteBatch::new();
            for _ in 0..100 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let key = format!("key-{:08}", (random >> 33) % 4000);
                let value: Vec<u8> = (0..100u64).map(|at| (random >> (at % 57)) as u8 ^ at as u8).collect();
                batch.put(&key, &value);
                content.insert(key, value);
            }
            driver.write(GROUP, batch).await.unwrap();
        }
        driver.store.flush().await.unwrap();
        let live: usize = content.iter().map(|(key, value)| key.len() + value.len()).sum();
        // What was put off is done once nobody writes.
        env.sleep(5_000_000).await;
        let stats = driver.store.stats();
        assert_eq!(driver.content().await.len(), content.len());
        (stats, live as f64)
    })
    .unwrap()
}

#[test]
fn twenty_overwrites_cost_a_bounded_multiple_of_what_is_written() {
    for (policy, most) in [(CompactionPolicy::Leveled, 7.0), (CompactionPolicy::LazyLeveled, 7.0)] {
        let (stats, live) = overwrite(policy);
        let amplification = written(&stats) as f64 / stats.taken_bytes as f64;
        assert!(amplification < most, "{policy:?}: {amplification} bytes written per byte taken: {stats:?}");
        let space = stats.table_bytes.iter().sum::<u64>() as f64 / live;
        assert!(space < 2.2, "{policy:?}: {space} bytes per live byte: {stats:?}");
        assert_eq!(stats.level_written_bytes.iter().sum::<u64>(), stats.written_bytes);
        assert!(stats.hidden_versions > 20_000, "{stats:?}");
    }
}

#[test]
fn admission_falls_before_writes_are_refused_and_rises_again_and_no_write_waits() {
    let mut sim = Sim::new(3, Faults::none());
    sim.run(|env| async move {
        let driver = Driver::open(env.clone()).await.unwrap();
        let store = &driver.store;
        assert_eq!((store.admission(), store.pressure()), (1000, None));
        let started = env.now();
        let mut seen = Vec::new();
        let mut index = 0;
        // Nothing of the background runs meanwhile: a write is one synchronous step, however full the store is.
        while store.pressure().is_none() || index < 200 {
            index += 1;
            let mut batch = WriteBatch::new();
            batch.put(format!("key-{index:06}"), [5; 100]);
            store.write(GROUP, LogIndex(index), batch);
            seen.push(store.admission());
        }
        assert_eq!(env.now(), started, "no write waited");
        assert!(seen.iter().any(|admission| (1..1000).contains(admission)), "it falls before it is nothing: {seen:?}");
        assert!(seen.is_sorted_by(|a, b| a >= b), "{seen:?}");
        assert_eq!(store.admission(), 0);
        env.sleep(3000).await;
        while store.pressure().is_some() {
            env.sleep(1000).await;
        }
        store.flush().await.unwrap();
        let stats = store.stats();
        assert!(stats.stalls == 1 && stats.stall_micros >= 3000, "{stats:?}");
        assert_eq!(store.admission(), 1000);
    })
    .unwrap();
}

#[test]
fn tables_under_a_range_delete_go_without_being_read() {
    let mut sim = Sim::new(5, Faults::none());
    sim.run(|env| async move {
        let mut driver = Driver::open(env.clone()).await.unwrap();
        for round in 0..100u32 {
            let mut batch = WriteBatch::new();
            (0..20u32).for_each(|i| batch.put(format!("key-{:06}", round * 20 + i), [7; 100]));
            driver.write(GROUP, batch).await.unwrap();
        }
        driver.store.flush().await.unwrap();
        env.sleep(5_000_000).await;
        let before = driver.store.stats();
        let mut batch = WriteBatch::new();
        batch.delete_range("key-", "key.");
        driver.write(GROUP, batch).await.unwrap();
        driver.store.flush().await.unwrap();
        env.sleep(5_000_000).await;
        let after = driver.store.stats();
        let tables: usize = before.tables.iter().sum();
        assert!(after.covered_tables as usize >= tables, "{after:?}");
        assert_eq!(after.level_read_bytes, before.level_read_bytes, "none was read");
        assert!(after.tables.iter().sum::<usize>() <= 1, "{after:?}");
        assert_eq!(driver.content().await.len(), 0);
    })
    .unwrap();
}

#[test]
fn windows_of_expired_values_go_as_whole_tables() {
    let options = StoreOptions { time_window_micros: 1000, ..StoreOptions::small() };
    let mut sim = Sim::new(6, Faults::none());
    sim.run(|env| async move {
        let mut driver = Driver::open_with(env.clone(), options).await.unwrap();
        for number in 0..4000u64 {
            let mut batch = WriteBatch::new();
            batch.put_expiring(format!("key-{number:08}"), [3; 60], Expiry(number));
            driver.write(GROUP, batch).await.unwrap();
        }
        driver.store.flush().await.unwrap();
        env.sleep(5_000_000).await;
        let read = driver.store.stats().level_read_bytes;
        driver.store.advance_clock(GROUP, 3000);
        env.sleep(5_000_000).await;
        let stats = driver.store.stats();
        assert!(stats.expired_tables > 0, "{stats:?}");
        assert_eq!(stats.level_read_bytes, read, "none was read");
        let left = driver.content().await.len();
        assert!((1000..2000).contains(&left), "{left}");
        driver.store.advance_clock(GROUP, 10_000);
        env.sleep(5_000_000).await;
        assert_eq!(driver.content().await.len(), 0);
        assert_eq!(driver.store.stats().tables.iter().sum::<usize>(), 0);
    })
    .unwrap();
}

/// Up to which entry the tables are after a power cut, and whether they hold `key-a`.
fn left_by_a_power_cut(sim: &Sim) -> (LogIndex, bool) {
    let mut disk = sim.disk().clone();
    disk.crash(CrashKind::Power);
    let mut sim = Sim::with_disk(1, disk);
    sim.run(|env| async move {
        let (store, recovery) = Store::open(env, Path::new(support::FOLDER), StoreOptions::small()).await.unwrap();
        let found = store.get(b"key-a", &store.snapshot()).await.unwrap();
        (recovery.groups[&GROUP].applied, found.is_some())
    })
    .unwrap()
}

#[test]
fn what_expires_stays_while_an_entry_that_has_read_it_may_be_applied_again() {
    let batch = |key: &str, value: usize, expiry| {
        let mut batch = WriteBatch::new();
        batch.put_expiring(key, vec![1; value], expiry);
        batch
    };
    // The first fills a memtable; the second is of a log time at which it has not expired.
    let (first, second) = (batch("key-a", 20_000, Expiry(10)), batch("key-b", 10, Expiry::NEVER));
    let mut sim = Sim::new(8, Faults::none());
    let driver = sim
        .run(|env| async move {
            let mut driver = Driver::open(env.clone()).await.unwrap();
            driver.log(GROUP, &first).await.unwrap();
            driver.log(GROUP, &second).await.unwrap();
            driver.store.advance_clock(GROUP, 5);
            driver.store.write(GROUP, LogIndex(1), first);
            driver.store.write(GROUP, LogIndex(2), second);
            assert_eq!(driver.store.stats().frozen_memtables, 1);
            driver.store.advance_clock(GROUP, 20);
            env.sleep(5_000_000).await;
            let stats = driver.store.stats();
            assert_eq!((stats.flushes, stats.expired_versions, stats.expired_tables), (1, 0, 0), "{stats:?}");
            driver
        })
        .unwrap();
    assert_eq!(left_by_a_power_cut(&sim), (LogIndex(1), true));
    sim.run(|env| async move {
        driver.store.flush().await.unwrap();
        env.sleep(5_000_000).await;
        let stats = driver.store.stats();
        assert_eq!((stats.flushes, stats.expired_tables), (2, 1), "{stats:?}");
    })
    .unwrap();
    assert_eq!(left_by_a_power_cut(&sim), (LogIndex(2), false));
}

#[derive(Clone, Debug)]
enum Step {
    Write(Vec<(u8, u8, u8)>),
    Time(u8),
    Snapshot,
    DropSnapshot,
    Flush,
    Check,
}

impl Arbitrary for Step {
    fn arbitrary(g: &mut Gen) -> Self {
        match u8::arbitrary(g) % 12 {
            0..=5 => Self::Write((0..=u8::arbitrary(g) % 40).map(|_| Arbitrary::arbitrary(g)).collect()),
            6 | 7 => Self::Time(u8::arbitrary(g) % 20),
            8 => Self::Snapshot,
            9 => Self::DropSnapshot,
            10 => Self::Flush,
            _ => Self::Check,
        }
    }
}

type Content = BTreeMap<Vec<u8>, (Vec<u8>, Expiry)>;

/// What a reader at log time `now` sees.
fn seen(content: &Content, now: u64) -> Content {
    content.iter().filter(|(_, (_, expiry))| expiry.0 > now).map(|(key, value)| (key.clone(), value.clone())).collect()
}

async fn read(driver: &Driver, at: &Snapshot, now: u64) -> Content {
    let mut cursor = driver.store.scan(KeyRange::all(), Direction::Forward, at);
    let mut content = Content::new();
    while let Some((key, value, expires_at)) = cursor.next_expiring().await.unwrap() {
        content.insert(key.to_vec(), (value.to_vec(), expires_at));
    }
    // What has expired may go at any moment.
    let content = seen(&content, now);
    for (key, value) in &content {
        let got = driver.store.get_expiring(key, at).await.unwrap().unwrap();
        assert_eq!((got.0.to_vec(), got.1), *value);
    }
    content
}

fn holds(seed: u64, steps: &[Step]) {
    let compaction_policy =
        if seed.is_multiple_of(2) { CompactionPolicy::Leveled } else { CompactionPolicy::LazyLeveled };
    let options =
        StoreOptions { memtable_bytes: 2 << 10, level_one_bytes: 8 << 10, compaction_policy, ..StoreOptions::small() };
    let mut sim = Sim::new(seed, Faults::none());
    sim.run(|env| async move {
        let mut driver = Driver::open_with(env.clone(), options).await.unwrap();
        let (mut content, mut now, mut snapshots) = (Content::new(), 0, Vec::new());
        for step in steps {
            match step {
                Step::Write(operations) => {
                    let mut batch = WriteBatch::new();
                    for (kind, a, b) in operations {
                        let key = |number: u8| format!("key-{:03}", number % 60).into_bytes();
                        let value = vec![*b; usize::from(*b % 80)];
                        match kind % 16 {
                            0..=4 => {
                                batch.put(key(*a), &value);
                                content.insert(key(*a), (value, Expiry::NEVER));
                            }
                            5..=10 => {
                                let expiry = Expiry(now + u64::from(*b % 30));
                                batch.put_expiring(key(*a), &value, expiry);
                                content.insert(key(*a), (value, expiry));
                            }
                            11..=14 => {
                                batch.delete(key(*a));
                                content.remove(&key(*a));
                            }
                            _ => {
                                let (low, high) = (key(*a), key((*a % 60).saturating_add(*b % 20)));
                                batch.delete_range(&low, &high);
                                content.retain(|key, _| !(low <= *key && *key < high));
                            }
                        }
                    }
                    driver.write(GROUP, batch).await.unwrap();
                }
                Step::Time(by) => {
                    now += u64::from(*by);
                    driver.store.advance_clock(GROUP, now);
                    env.sleep(1000).await;
                }
                Step::Snapshot => snapshots.push((driver.store.snapshot(), content.clone(), now)),
                Step::DropSnapshot => drop(snapshots.pop()),
                Step::Flush => driver.store.flush().await.unwrap(),
                Step::Check => {
                    assert_eq!(read(&driver, &driver.store.snapshot(), now).await, seen(&content, now));
                    for (snapshot, content, then) in &snapshots {
                        assert_eq!(read(&driver, snapshot, *then).await, seen(content, *then));
                    }
                }
            }
        }
        driver.store.flush().await.unwrap();
        env.sleep(3_000_000).await;
        for (snapshot, content, then) in &snapshots {
            assert_eq!(read(&driver, snapshot, *then).await, seen(content, *then), "a snapshot at log time {then}");
        }
        snapshots.clear();
        assert_eq!(read(&driver, &driver.store.snapshot(), now).await, seen(&content, now));
        driver.store.verify().await.unwrap();
    })
    .unwrap();
}

#[test]
fn expiry_never_shows_what_is_older_and_never_hides_what_a_snapshot_needs() {
    fn property(seed: u64, steps: Vec<Step>) -> bool {
        holds(seed, &steps);
        true
    }
    QuickCheck::new().rng(Gen::new(60)).tests(60).quickcheck(property as fn(u64, Vec<Step>) -> bool);
}
