//! The tree against an ordered map: any mixture of writes, range deletes, snapshots, flushes, compactions and restarts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use highwater_engine::{CompactionPolicy, Direction, GroupId, KeyRange, StoreOptions, WriteBatch};
use highwater_runtime::disk::{CrashKind, Faults};
use highwater_runtime::inproc::Sim;
use quickcheck::{Arbitrary, Gen, QuickCheck};
use support::{Content, Driver, apply, content};

const GROUP: GroupId = GroupId(7);

#[derive(Clone, Debug)]
enum Step {
    Write(Vec<(u8, u16, u16)>),
    Snapshot,
    DropSnapshot,
    Flush,
    Check(u16, u16),
    Crash,
}

impl Arbitrary for Step {
    fn arbitrary(g: &mut Gen) -> Self {
        match u8::arbitrary(g) % 16 {
            0..=8 => Self::Write((0..=u8::arbitrary(g) % 40).map(|_| Arbitrary::arbitrary(g)).collect()),
            9 => Self::Snapshot,
            10 => Self::DropSnapshot,
            11 => Self::Flush,
            12 | 13 => Self::Check(Arbitrary::arbitrary(g), Arbitrary::arbitrary(g)),
            _ => Self::Crash,
        }
    }

    fn shrink(&self) -> Box<dyn Iterator<Item = Self>> {
        match self {
            Self::Write(operations) => Box::new(operations.shrink().map(Self::Write)),
            Self::Snapshot | Self::DropSnapshot | Self::Flush | Self::Check(..) | Self::Crash => {
                quickcheck::empty_shrinker()
            }
        }
    }
}

/// Few enough keys that versions meet.
fn key(number: u16) -> Vec<u8> {
    format!("key-{:04}", number % 500).into_bytes()
}

fn batch(operations: &[(u8, u16, u16)]) -> WriteBatch {
    let mut batch = WriteBatch::new();
    for (kind, a, b) in operations {
        match kind % 16 {
            0..=10 => batch.put(key(*a), vec![(*b % 256) as u8; usize::from(*b % 300)]),
            11..=14 => batch.delete(key(*a)),
            _ => batch.delete_range(key(*a), key(a % 500 + b % 60)),
        }
    }
    batch
}

fn within(content: &Content, low: &[u8], high: &[u8]) -> Content {
    content.iter().filter(|(key, _)| low <= &key[..] && &key[..] < high).map(|(k, v)| (k.clone(), v.clone())).collect()
}

fn own((key, value): (&Vec<u8>, &Vec<u8>)) -> (Vec<u8>, Vec<u8>) {
    (key.clone(), value.clone())
}

/// An open cursor goes to any key, forth and back, and on from there.
async fn seeks(driver: &Driver, at: &highwater_engine::Snapshot, model: &Content, low: &[u8], high: &[u8]) {
    let mut forward = driver.store.scan(KeyRange::all(), Direction::Forward, at);
    let mut reverse = driver.store.scan(KeyRange::all(), Direction::Reverse, at);
    for target in [high, low, high] {
        forward.seek(target);
        let mut above = model.range(target.to_vec()..);
        reverse.seek(target);
        let mut below = model.range(..=target.to_vec()).rev();
        for _ in 0..3 {
            let found = forward.advance().await.unwrap().then(|| (forward.key().to_vec(), forward.value().to_vec()));
            assert_eq!(found, above.next().map(own));
            let found = reverse.next().await.unwrap().map(|(key, value)| (key.to_vec(), value.to_vec()));
            assert_eq!(found, below.next().map(own));
        }
    }
}

async fn check(driver: &Driver, at: &highwater_engine::Snapshot, model: &Content, a: u16, b: u16) {
    let (low, high) = (key(a), key(b));
    let range = KeyRange::new(low.clone(), high.clone());
    for direction in [Direction::Forward, Direction::Reverse] {
        assert_eq!(content(&driver.store, at, &range, direction).await, within(model, &low, &high));
    }
    // Within one prefix, where filters may pass tables over.
    let prefix = &low[..low.len() - 1];
    let expected: Content =
        model.range(low.clone()..).take_while(|(key, _)| key.starts_with(prefix)).map(own).collect();
    let tail = KeyRange { start: low.clone().into(), ..KeyRange::prefix(prefix.to_vec()) };
    for direction in [Direction::Forward, Direction::Reverse] {
        assert_eq!(content(&driver.store, at, &tail, direction).await, expected);
    }
    seeks(driver, at, model, &low, &high).await;
    for number in [a, b, a.wrapping_add(1)] {
        let found = driver.store.get(&key(number), at).await.unwrap();
        assert_eq!(found.map(|value| value.to_vec()), model.get(&key(number)).cloned());
    }
}

fn other(policy: CompactionPolicy) -> CompactionPolicy {
    match policy {
        CompactionPolicy::Leveled => CompactionPolicy::LazyLeveled,
        CompactionPolicy::LazyLeveled => CompactionPolicy::Leveled,
    }
}

fn holds(seed: u64, steps: &[Step], options: &StoreOptions) {
    let mut sim = Sim::new(seed, Faults::crashes(seed));
    let mut model = Content::new();
    let mut options = options.clone();
    for life in steps.split(|step| matches!(step, Step::Crash)) {
        let model = &mut model;
        if seed % 3 == 2 {
            options.compaction_policy = other(options.compaction_policy);
        }
        // Tables keep the length that they were written with.
        options.filter_prefix_bytes = (options.filter_prefix_bytes + 3) % 9;
        let options = &options;
        sim.run(|env| async move {
            let mut driver = Driver::open_with(env, options.clone()).await.unwrap();
            assert_eq!(driver.content().await, *model, "after a restart");
            let mut snapshots = Vec::new();
            for step in life {
                match step {
                    Step::Write(operations) => {
                        let batch = batch(operations);
                        apply(model, &batch);
                        driver.write(GROUP, batch).await.unwrap();
                    }
                    Step::Snapshot => snapshots.push((driver.store.snapshot(), model.clone())),
                    Step::DropSnapshot => drop(snapshots.pop()),
                    Step::Flush => driver.store.flush().await.unwrap(),
                    Step::Check(a, b) => {
                        check(&driver, &driver.store.snapshot(), model, *a, *b).await;
                        for (snapshot, model) in &snapshots {
                            check(&driver, snapshot, model, *a, *b).await;
                        }
                    }
                    Step::Crash => {}
                }
            }
            for (snapshot, model) in &snapshots {
                assert_eq!(content(&driver.store, snapshot, &KeyRange::all(), Direction::Reverse).await, *model);
            }
            assert_eq!(driver.content().await, *model);
            driver.store.verify().await.unwrap();
        })
        .unwrap();
        sim.crash(CrashKind::Power);
    }
}

#[test]
fn the_tree_behaves_like_an_ordered_map() {
    fn property(seed: u64, steps: Vec<Step>) -> bool {
        // One policy, the other, or both in turns.
        let lazy = seed % 3 == 1;
        let compaction_policy = if lazy { CompactionPolicy::LazyLeveled } else { CompactionPolicy::Leveled };
        let filter_prefix_bytes = (seed / 3 % 9) as usize;
        let options =
            StoreOptions { cache_bytes: 8 << 10, compaction_policy, filter_prefix_bytes, ..StoreOptions::small() };
        holds(seed, &steps, &options);
        true
    }
    QuickCheck::new().rng(Gen::new(80)).tests(90).quickcheck(property as fn(u64, Vec<Step>) -> bool);
}

#[test]
fn a_scan_within_a_prefix_passes_over_tables_that_do_not_have_it() {
    let options = StoreOptions { filter_prefix_bytes: 6, cache_bytes: 1 << 20, ..StoreOptions::small() };
    let mut sim = Sim::new(4, Faults::none());
    sim.run(|env| async move {
        let mut driver = Driver::open_with(env, options).await.unwrap();
        for number in 0..200u16 {
            let mut batch = WriteBatch::new();
            // Every other prefix is there.
            batch.put(format!("key-{:02}-{number}", number % 50 * 2), vec![number as u8; 100]);
            driver.write(GROUP, batch).await.unwrap();
        }
        driver.store.flush().await.unwrap();
        let at = driver.store.snapshot();
        let count = async |number: u16, direction| {
            content(&driver.store, &at, &KeyRange::prefix(format!("key-{number:02}")), direction).await.len()
        };
        // The filters get into memory.
        for number in 0..100 {
            count(number, Direction::Forward).await;
        }
        let before = driver.store.stats();
        for direction in [Direction::Forward, Direction::Reverse] {
            for number in 0..100 {
                assert_eq!(count(number, direction).await, if number % 2 == 0 { 4 } else { 0 });
            }
        }
        let after = driver.store.stats();
        let (asked, spared) =
            (after.filters_asked - before.filters_asked, after.filters_spared - before.filters_spared);
        assert!(spared * 3 > asked && spared >= 90, "{spared} of {asked}");
    })
    .unwrap();
}

#[test]
fn a_long_life_reaches_the_lower_levels_and_stays_bounded() {
    let mut sim = Sim::new(3, Faults::none());
    sim.run(|env| async move {
        let mut driver = Driver::open(env).await.unwrap();
        let mut model = Content::new();
        for round in 0..1500u32 {
            let mut batch = WriteBatch::new();
            for i in 0..8u32 {
                let number = (round.wrapping_mul(2_654_435_761).wrapping_add(i * 977)) % 3000;
                batch.put(format!("key-{number:05}"), format!("value {round} of {number}").repeat(4));
            }
            apply(&mut model, &batch);
            driver.write(GROUP, batch).await.unwrap();
        }
        driver.store.flush().await.unwrap();
        assert_eq!(driver.content().await, model);
        let stats = driver.store.stats();
        assert!(stats.tables[6] > 0, "{stats:?}");
        assert!(stats.compactions > 10, "{stats:?}");
        assert!(stats.log_segments < 16, "{stats:?}");
        let bytes: u64 = stats.table_bytes.iter().sum();
        let content: usize = model.iter().map(|(k, v)| k.len() + v.len()).sum();
        // Tables this small are half overhead.
        assert!(bytes < 4 * content as u64, "{bytes} bytes for {content}");
        assert_eq!(driver.store.pressure(), None);
    })
    .unwrap();
}

#[test]
fn trimmed_ranges_give_their_space_back() {
    let mut sim = Sim::new(4, Faults::none());
    sim.run(|env| async move {
        let mut driver = Driver::open(env).await.unwrap();
        for i in 0..2000u32 {
            let mut batch = WriteBatch::new();
            batch.put(format!("queue-{i:06}"), [7; 100]);
            if i >= 50 {
                batch.delete_range("queue-", format!("queue-{:06}", i - 50));
            }
            driver.write(GROUP, batch).await.unwrap();
        }
        driver.store.flush().await.unwrap();
        assert_eq!(driver.content().await.len(), 51);
        let bytes: u64 = driver.store.stats().table_bytes.iter().sum();
        assert!(bytes < 100_000, "{bytes}");
    })
    .unwrap();
}
