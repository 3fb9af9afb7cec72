//! The planted bugs of the engine do break what they should: crash points and restarts find each of them.
#![cfg(feature = "mutants")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use std::path::Path;

use highwater_engine::{GroupId, Store, StoreOptions, WriteBatch};
use highwater_runtime::disk::{CrashKind, Faults};
use highwater_runtime::inproc::Sim;
use support::{Driver, FOLDER};

const GROUP: GroupId = GroupId(1);

/// Whether a run with this bug ends with something other than what was acknowledged.
fn is_found(mutant: u32, seed: u64) -> bool {
    let mut sim = Sim::new(seed, Faults { lose_unsynced: 0.5, keep_subset: 1.0, ..Faults::none() });
    sim.set_mutant(Some(mutant));
    sim.run(|env| async move {
        let mut driver = Driver::open(env).await.unwrap();
        for number in 0..120u64 {
            let mut batch = WriteBatch::new();
            batch.put(format!("key-{number:03}"), vec![1; 200]);
            driver.write(GROUP, batch).await.unwrap();
        }
    })
    .unwrap();
    sim.crash(CrashKind::Power);
    sim.run(|env| async move {
        // Without a driver: what is in the tree is what the tables hold.
        let Ok((store, recovery)) = Store::open(env, Path::new(FOLDER), StoreOptions::small()).await else {
            return true;
        };
        let found = &recovery.groups[&GROUP];
        if found.last_index.0 != 120 || store.verify().await.is_err() {
            return true;
        }
        // The entry behind the applied index will be applied: its effect must not be there, and the one before must.
        let (at, next) = (store.snapshot(), found.applied.0);
        let holds = async |number: u64| store.get(format!("key-{number:03}").as_bytes(), &at).await != Ok(None);
        holds(next).await || (next > 0 && !holds(next - 1).await)
    })
    .unwrap()
}

#[test]
fn each_planted_bug_is_found_within_a_few_seeds() {
    for mutant in [4, 13, 42] {
        assert!((0..10).any(|seed| is_found(mutant, seed)), "bug {mutant} was not found");
    }
    assert!(!(0..10).any(|seed| is_found(0, seed)), "without a bug nothing is found");
}
