//! What readers ask for stays in memory when compaction writes it anew; what nobody asks for does not get there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use highwater_engine::{GroupId, StoreOptions, WriteBatch};
use highwater_runtime::Env;
use highwater_runtime::disk::Faults;
use highwater_runtime::inproc::Sim;
use support::Driver;

const GROUP: GroupId = GroupId(1);
const KEYS: u64 = 400;

/// Overwrites every key a few times and waits until compaction has nothing to do.
async fn overwrite(driver: &mut Driver, rounds: u64) {
    for number in 0..KEYS * rounds {
        let mut batch = WriteBatch::new();
        batch.put(format!("key-{:04}", number * 7 % KEYS), vec![number as u8; 100]);
        driver.write(GROUP, batch).await.unwrap();
    }
    driver.store.flush().await.unwrap();
    driver.env.sleep(10_000_000).await;
}

async fn misses_of_reading_all(driver: &Driver) -> u64 {
    let before = driver.store.stats().cache_misses;
    let at = driver.store.snapshot();
    for number in 0..KEYS {
        assert!(driver.store.get(format!("key-{number:04}").as_bytes(), &at).await.unwrap().is_some());
    }
    driver.store.stats().cache_misses - before
}

#[test]
fn tables_made_of_hot_ones_are_in_memory_at_once() {
    let mut sim = Sim::new(1, Faults::none());
    sim.run(|env| async move {
        let options = StoreOptions { cache_bytes: 1 << 20, ..StoreOptions::small() };
        let mut driver = Driver::open_with(env, options).await.unwrap();
        overwrite(&mut driver, 3).await;
        let cold = misses_of_reading_all(&driver).await;
        assert!(cold > 10, "nobody had asked for these: {cold} misses");
        assert_eq!(misses_of_reading_all(&driver).await, 0, "all of it fits");
        let compactions = driver.store.stats().compactions;
        overwrite(&mut driver, 3).await;
        assert!(driver.store.stats().compactions > compactions + 2);
        assert_eq!(misses_of_reading_all(&driver).await, 0, "compaction has written it anew");
        overwrite(&mut driver, 0).await;
        driver.store.close().await.unwrap();
    })
    .unwrap();
}
