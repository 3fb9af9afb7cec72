//! The engine's hot paths in memory: encoding an append, the memtable, blocks, and a store on the simulated disk.

use std::hint::black_box;
use std::path::Path;
use std::rc::Rc;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use highwater_engine::{
    Direction, GroupId, Incarnation, KeyRange, LogBatch, LogIndex, Store, StoreOptions, Term, WriteBatch,
};
use highwater_runtime::disk::Faults;
use highwater_runtime::inproc::{InProcEnv, Sim};

const GROUP: GroupId = GroupId(1);
const KEYS: u64 = 1_000_000;

fn key(number: u64) -> [u8; 20] {
    let mut key = [7; 20];
    let scattered = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    for (to, from) in key.iter_mut().skip(8).zip(scattered.to_be_bytes()) {
        *to = from;
    }
    key
}

/// A store with `KEYS` keys, in the memtable or in tables. The simulation must outlive it.
fn filled(flush: bool) -> Option<(Sim, Rc<Store<InProcEnv>>)> {
    let mut sim = Sim::new(1, Faults::none());
    let (memtable_bytes, segment_bytes, cache_bytes) = (1 << 30, 1 << 20, 1 << 30);
    let options = StoreOptions { memtable_bytes, segment_bytes, cache_bytes, ..StoreOptions::default() };
    let store = sim
        .run(|env| async move {
            let (store, _) = Store::open(env, Path::new("/store"), options).await.ok()?;
            for number in 0..KEYS {
                let mut batch = WriteBatch::new();
                batch.put(key(number), [1; 100]);
                store.write(GROUP, LogIndex(number + 1), batch);
            }
            if flush {
                store.flush().await.ok()?;
            }
            Some(store)
        })
        .ok()??;
    Some((sim, store))
}

fn log_batch(c: &mut Criterion) {
    let data = Bytes::from(vec![1; 200]);
    c.bench_function("log/encode 64 entries of 200 bytes", |b| {
        b.iter(|| {
            let mut batch = LogBatch::new();
            let entries = (0..64).map(|_| (Term(1), data.clone()));
            batch.push_entries(GROUP, Incarnation(1), LogIndex(1), entries);
            black_box(batch.byte_size())
        });
    });
}

fn memtable_write(c: &mut Criterion) {
    let Some((_sim, store)) = filled(false) else { return };
    let mut number = KEYS;
    c.bench_function("memtable/write 20+100 bytes", |b| {
        b.iter(|| {
            number += 1;
            let mut batch = WriteBatch::with_capacity(128);
            batch.put(key(number % (2 * KEYS)), [1; 100]);
            store.write(GROUP, LogIndex(number), batch);
        });
    });
}

/// Polls a read that needs no I/O to its end.
fn now<T>(read: impl Future<Output = T>) -> Option<T> {
    let mut read = std::pin::pin!(read);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    for _ in 0..10_000 {
        if let std::task::Poll::Ready(value) = read.as_mut().poll(&mut context) {
            return Some(value);
        }
    }
    None
}

fn reads(c: &mut Criterion) {
    for (place, flush) in [("memtable", false), ("cached table", true)] {
        let Some((mut sim, store)) = filled(flush) else { return };
        let at = store.snapshot();
        // Once through everything, so that every block is in memory.
        let warm = (Rc::clone(&store), at.clone());
        let _ = sim.run(|_| async move {
            for number in 0..KEYS {
                let _ = warm.0.get(&key(number), &warm.1).await;
            }
        });
        let mut number = 0;
        c.bench_function(&format!("{place}/get"), |b| {
            b.iter(|| {
                number = (number + 7919) % KEYS;
                black_box(now(store.get(&key(number), &at)))
            });
        });
        c.bench_function(&format!("{place}/get of an absent key"), |b| {
            b.iter(|| {
                number = (number + 7919) % KEYS;
                black_box(now(store.get(&key(number + KEYS), &at)))
            });
        });
        c.bench_function(&format!("{place}/seek and 10 rows"), |b| {
            b.iter(|| {
                number = (number + 7919) % KEYS;
                let range = KeyRange { start: Bytes::copy_from_slice(&key(number)), end: None };
                let mut cursor = store.scan(range, Direction::Forward, &at);
                for _ in 0..10 {
                    let _ = black_box(now(cursor.next()));
                }
            });
        });
        c.bench_function(&format!("{place}/scan 100 rows"), |b| {
            b.iter(|| {
                number = (number + 7919) % KEYS;
                let range = KeyRange { start: Bytes::copy_from_slice(&key(number)), end: None };
                let mut cursor = store.scan(range, Direction::Forward, &at);
                for _ in 0..100 {
                    let _ = black_box(now(cursor.next()));
                }
            });
        });
    }
}

criterion_group!(benches, log_batch, memtable_write, reads);
criterion_main!(benches);
