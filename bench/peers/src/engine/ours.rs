//! Highwater's engine: one store on one executor, written as the server writes it.
//!
//! A put is a batch of one, encoded as a log entry, appended to the log, then written to the tree. Durable puts go through a
//! driver task: what arrives while an append is under way goes out with the next one.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::hint::black_box;
use std::path::Path;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use hdrhistogram::Histogram;
use highwater_engine::{
    Direction, GroupId, Incarnation, KeyRange, LogBatch, LogIndex, Store, StoreOptions, Term, WriteBatch,
};
use highwater_runtime::{Env, Rt};

use super::{Engine, MEMTABLES, Settings, Sync};
use crate::failure::Failure;
use crate::keys::{KEY_BYTES, Key};
use crate::workload::client::{Client, LONGEST_NANOS, Trip, run};

const GROUP: GroupId = GroupId(1);
const LIFE: Incarnation = Incarnation(1);
const TERM: Term = Term(1);
/// Bytes of a segment of the log.
const SEGMENT_BYTES: u64 = 64 << 20;
/// Entries after which the log is told that they are not needed any more.
const RELEASE_EVERY: u64 = 1000;
/// Deferred puts after which the store is asked whether it wants writes to be refused.
const ASK_EVERY: u64 = 16;
/// How long a refused writer waits, in microseconds.
const REFUSED_MICROS: u64 = 1000;
/// Background work is over when no compaction was seen so many times in a row,
const CALM_LOOKS: u32 = 5;
/// this far apart, in microseconds.
const LOOK_MICROS: u64 = 20_000;

/// A handle to the store.
#[derive(Clone)]
pub struct Ours(Rc<Inner>);

struct Inner {
    env: Rt,
    store: Rc<Store<Rt>>,
    next: Cell<u64>,
    pending: RefCell<Vec<Pending>>,
    driver: Bell,
    ended: Bell,
    closing: Cell<bool>,
    refused_micros: Cell<u64>,
    log_times: RefCell<Histogram<u64>>,
}

/// A durable put on its way.
struct Pending {
    batch: WriteBatch,
    done: Rc<Bell>,
}

/// Something that one task waits for.
#[derive(Default)]
struct Bell {
    rung: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Bell {
    fn ring(&self) {
        self.rung.set(true);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    async fn heard(&self) {
        poll_fn(|context| {
            if self.rung.replace(false) {
                return Poll::Ready(());
            }
            *self.waker.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl Ours {
    /// Opens the store and applies again what its tables lack.
    pub async fn open(env: Rt, settings: &Settings) -> Result<Self, Failure> {
        let defaults = StoreOptions::default();
        let options = StoreOptions {
            segment_bytes: SEGMENT_BYTES,
            memtable_bytes: settings.memtable_bytes,
            frozen_memtables: MEMTABLES - 1,
            cache_bytes: settings.cache_bytes,
            compressed_from_level: if settings.compress { defaults.compressed_from_level } else { usize::MAX },
            block_bytes: settings.block_bytes,
            ..defaults
        };
        let (store, recovery) = Store::open(env.clone(), Path::new(&settings.folder), options).await?;
        let found = recovery.groups.get(&GROUP).cloned().unwrap_or_default();
        let mut applied = found.applied;
        while applied < found.last_index {
            for entry in store.entries(GROUP, applied.next(), found.last_index, 1 << 20).await? {
                applied = entry.index;
                let batch = WriteBatch::decode(entry.data.to_vec()).map_err(|error| Failure::new(error.what))?;
                store.write(GROUP, applied, batch);
            }
        }
        let ours = Self(Rc::new(Inner {
            env: env.clone(),
            store,
            next: Cell::new(found.last_index.0 + 1),
            pending: RefCell::default(),
            driver: Bell::default(),
            ended: Bell::default(),
            closing: Cell::new(false),
            refused_micros: Cell::new(0),
            log_times: RefCell::new(Histogram::new_with_bounds(1, LONGEST_NANOS, 3)?),
        }));
        let driver = ours.clone();
        env.spawn("driver", async move {
            if let Err(failure) = driver.serve_durable_puts().await {
                env_abort(&failure);
            }
            driver.0.ended.ring();
        });
        Ok(ours)
    }

    async fn serve_durable_puts(&self) -> Result<(), Failure> {
        let inner = &self.0;
        loop {
            let taken = inner.pending.take();
            if taken.is_empty() {
                if inner.closing.get() {
                    return Ok(());
                }
                inner.driver.heard().await;
                continue;
            }
            self.until_accepted().await;
            let first = inner.next.get();
            inner.next.set(first + taken.len() as u64);
            let mut batch = LogBatch::new();
            let entries = taken.iter().map(|pending| (TERM, Bytes::from(pending.batch.encode())));
            batch.push_entries(GROUP, LIFE, LogIndex(first), entries);
            let started = Instant::now();
            inner.store.append(batch).await?;
            let took = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
            inner.log_times.borrow_mut().saturating_record(took);
            for (index, pending) in (first..).zip(taken) {
                self.apply(index, pending.batch);
                pending.done.ring();
            }
            // Who was answered may have more to write: it goes along with what came meanwhile.
            futures_lite::future::yield_now().await;
        }
    }

    /// Waits while the store asks for writes to be refused, as a client would that tries again.
    async fn until_accepted(&self) {
        let inner = &self.0;
        while inner.store.pressure().is_some() {
            inner.env.sleep(REFUSED_MICROS).await;
            inner.refused_micros.set(inner.refused_micros.get() + REFUSED_MICROS);
        }
    }

    fn apply(&self, index: u64, batch: WriteBatch) {
        self.0.store.write(GROUP, LogIndex(index), batch);
        if index.is_multiple_of(RELEASE_EVERY) {
            self.0.store.release_log(GROUP, LogIndex(index));
        }
    }

    async fn write(&self, batch: WriteBatch, sync: Sync) -> Result<(), Failure> {
        let inner = &self.0;
        match sync {
            Sync::Durable => {
                let done = Rc::new(Bell::default());
                inner.pending.borrow_mut().push(Pending { batch, done: Rc::clone(&done) });
                inner.driver.ring();
                done.heard().await;
            }
            Sync::Deferred => {
                let index = inner.next.get();
                if index.is_multiple_of(ASK_EVERY) {
                    self.until_accepted().await;
                }
                inner.next.set(index + 1);
                let entry = Bytes::from(batch.encode());
                inner.store.append_deferred(GROUP, LIFE, LogIndex(index), TERM, entry).await?;
                self.apply(index, batch);
            }
        }
        Ok(())
    }
}

/// A store that cannot write must not look like a slow one.
fn env_abort(failure: &Failure) {
    eprintln!("ours: {failure}");
    std::process::exit(1);
}

impl Engine for Ours {
    async fn put(&self, key: &Key, value: &[u8], sync: Sync) -> Result<(), Failure> {
        let mut batch = WriteBatch::with_capacity(KEY_BYTES + value.len() + 8);
        batch.put(key, value);
        self.write(batch, sync).await
    }

    async fn delete_range(&self, from: &Key, to: &Key) -> Result<(), Failure> {
        let mut batch = WriteBatch::with_capacity(2 * KEY_BYTES + 8);
        batch.delete_range(from, to);
        self.write(batch, Sync::Deferred).await
    }

    async fn get(&self, key: &Key) -> Result<Option<usize>, Failure> {
        let store = &self.0.store;
        let value = store.get(key, &store.snapshot()).await?;
        Ok(black_box(value).map(|value| value.len()))
    }

    async fn scan(&self, from: &Key, rows: usize) -> Result<usize, Failure> {
        let store = &self.0.store;
        let range = KeyRange { start: Bytes::copy_from_slice(from), end: None };
        let mut cursor = store.scan(range, Direction::Forward, &store.snapshot());
        for count in 0..rows {
            if black_box(cursor.next().await?).is_none() {
                return Ok(count);
            }
        }
        Ok(rows)
    }

    async fn breathe(&self) {
        self.0.env.yield_if_needed().await;
    }

    async fn pause(&self, micros: u64) {
        self.0.env.sleep(micros).await;
    }

    async fn drive(&self, clients: Vec<Client>) -> Result<Vec<Trip>, Failure> {
        let mut waiting = Vec::new();
        for client in clients {
            let (trip, done) = (Rc::new(RefCell::new(None)), Rc::new(Bell::default()));
            waiting.push((Rc::clone(&trip), Rc::clone(&done)));
            let ours = self.clone();
            self.0.env.spawn("client", async move {
                let outcome = run(&ours, client).await;
                *trip.borrow_mut() = Some(outcome);
                done.ring();
            });
        }
        let mut trips = Vec::new();
        for (trip, done) in waiting {
            done.heard().await;
            trips.extend(trip.take().transpose()?);
        }
        Ok(trips)
    }

    async fn flush(&self) -> Result<(), Failure> {
        let inner = &self.0;
        inner.store.sync_log().await?;
        inner.store.release_log(GROUP, LogIndex(inner.next.get() - 1));
        inner.store.flush().await?;
        // A paced compaction pauses between its steps and between two tasks.
        let mut calm = 0;
        while calm < CALM_LOOKS {
            calm = if inner.store.stats().compactions_running == 0 { calm + 1 } else { 0 };
            inner.env.sleep(LOOK_MICROS).await;
        }
        Ok(())
    }

    fn figures(&self) -> BTreeMap<String, u64> {
        let stats = self.0.store.stats();
        let tables =
            stats.table_bytes.iter().enumerate().map(|(level, bytes)| (format!("level_{level}_bytes"), *bytes));
        let mut figures: BTreeMap<String, u64> = tables.collect();
        let counts =
            stats.tables.iter().enumerate().map(|(level, count)| (format!("level_{level}_tables"), *count as u64));
        figures.extend(counts);
        figures.extend(
            [
                ("syncs", stats.log_blocks),
                ("refused_micros", self.0.refused_micros.get()),
                ("flushes", stats.flushes),
                ("compactions", stats.compactions),
                ("largest_compaction_bytes", stats.largest_compaction_bytes),
                ("table_bytes_written", stats.written_bytes),
                ("cache_hits", stats.cache_hits),
                ("cache_misses", stats.cache_misses),
                ("log_bytes_written", stats.log_bytes),
                ("moved_tables", stats.moved_tables),
                ("memtable_bytes", stats.memtable_bytes as u64),
                ("log_bytes", stats.log_segments as u64 * SEGMENT_BYTES),
                ("spare_log_bytes", stats.spare_segments as u64 * SEGMENT_BYTES),
                ("dead_bytes", stats.dead_bytes),
                ("compaction_debt_bytes", stats.compaction_debt_bytes),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        figures
    }

    fn log_times(&self) -> Option<Histogram<u64>> {
        let mut times = self.0.log_times.borrow_mut();
        let taken = times.clone();
        times.reset();
        Some(taken)
    }

    async fn close(self) -> Result<(), Failure> {
        self.0.closing.set(true);
        self.0.driver.ring();
        self.0.ended.heard().await;
        Ok(self.0.store.close().await?)
    }
}
