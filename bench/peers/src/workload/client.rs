//! A client: one closed loop of operations, timed one by one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::Mix;
use crate::engine::{Engine, Sync};
use crate::failure::Failure;
use crate::keys::{Rng, Values, Zipf, key, missing_key, scattered};

/// Rows that a seek and ten nexts read.
const SEEK_ROWS: usize = 11;
/// The longest scan of YCSB E, in rows.
const LONGEST_SCAN: u64 = 100;
/// Consecutive keys that one range delete covers.
const DELETED_KEYS: u64 = 100;
/// Latencies are kept up to this, in nanoseconds.
pub const LONGEST_NANOS: u64 = 600_000_000_000;

/// When a client ends.
#[derive(Clone, Copy, Debug)]
pub enum Limit {
    /// After so many operations.
    Operations(u64),
    /// After so long.
    Time(Duration),
}

/// What clients of one run share.
#[derive(Debug)]
pub struct Shared {
    /// Keys that exist; inserts raise it.
    pub keys: AtomicU64,
    /// Popularity, for the mixes that need it.
    pub zipf: Option<Arc<Zipf>>,
}

/// What one client is to do.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its operations. A reader beside a writer has [`Mix::ReadRandom`], the writer [`Mix::Overwrite`].
    pub mix: Mix,
    /// Until when.
    pub limit: Limit,
    /// When its writes count as done.
    pub sync: Sync,
    /// Its random numbers.
    pub seed: u64,
    /// What it writes.
    pub values: Values,
    /// What it shares.
    pub shared: Arc<Shared>,
}

/// What one client did.
#[derive(Clone, Debug)]
pub struct Trip {
    /// Its operations' kind.
    pub mix: Mix,
    /// Operations.
    pub operations: u64,
    /// Gets that found something, and rows of scans.
    pub found: u64,
    /// Seconds from its start to its end.
    pub seconds: f64,
    /// Nanoseconds of each operation.
    pub nanos: Histogram<u64>,
}

/// Runs a client to its end.
pub async fn run<E: Engine>(engine: &E, client: Client) -> Result<Trip, Failure> {
    let mut trip = Trip {
        mix: client.mix,
        operations: 0,
        found: 0,
        seconds: 0.0,
        nanos: Histogram::new_with_bounds(1, LONGEST_NANOS, 3)?,
    };
    let mut walk = Walk {
        rng: Rng::new(client.seed),
        values: client.values.starting_at(client.seed),
        shared: client.shared,
        sync: client.sync,
        mix: client.mix,
        step: 0,
    };
    let (operations, time) = match client.limit {
        Limit::Operations(operations) => (operations, Duration::MAX),
        Limit::Time(time) => (u64::MAX, time),
    };
    let started = Instant::now();
    let mut before = started;
    while trip.operations < operations && before - started < time {
        trip.found += walk.step(engine).await?;
        trip.operations += 1;
        let now = Instant::now();
        trip.nanos.saturating_record(u64::try_from((now - before).as_nanos()).unwrap_or(u64::MAX));
        before = now;
        engine.breathe().await;
    }
    trip.seconds = started.elapsed().as_secs_f64();
    Ok(trip)
}

struct Walk {
    rng: Rng,
    values: Values,
    shared: Arc<Shared>,
    sync: Sync,
    mix: Mix,
    step: u64,
}

impl Walk {
    /// One operation. Returns how much it found.
    async fn step<E: Engine>(&mut self, engine: &E) -> Result<u64, Failure> {
        let step = self.step;
        self.step += 1;
        match self.mix {
            Mix::FillSeq => self.put(engine, step).await,
            Mix::Load => self.put(engine, scattered(step, self.keys())).await,
            Mix::FillRandom | Mix::Overwrite => {
                let index = self.uniform();
                self.put(engine, index).await
            }
            Mix::Warm => self.get(engine, step % self.keys().max(1)).await,
            Mix::ReadRandom | Mix::ReadWhileWriting => {
                let index = self.uniform();
                self.get(engine, index).await
            }
            Mix::ReadMissing => Ok(u64::from(engine.get(&missing_key(self.uniform())).await?.is_some())),
            Mix::SeekRandom => Ok(engine.scan(&key(self.uniform()), SEEK_ROWS).await? as u64),
            Mix::DeleteRange => self.delete_range_or_other(engine).await,
            Mix::YcsbA => self.get_or_put(engine, 50).await,
            Mix::YcsbB => self.get_or_put(engine, 95).await,
            Mix::YcsbC => self.get_or_put(engine, 100).await,
            Mix::YcsbD => self.get_latest_or_insert(engine).await,
            Mix::YcsbE => self.scan_or_insert(engine).await,
            Mix::YcsbF => self.get_or_modify(engine).await,
        }
    }

    fn keys(&self) -> u64 {
        self.shared.keys.load(Ordering::Relaxed)
    }

    fn uniform(&mut self) -> u64 {
        let keys = self.keys();
        self.rng.below(keys.max(1))
    }

    fn popular(&mut self) -> u64 {
        let keys = self.keys();
        match &self.shared.zipf {
            Some(zipf) => zipf.scrambled(&mut self.rng, keys),
            None => self.rng.below(keys.max(1)),
        }
    }

    fn latest(&mut self) -> u64 {
        let keys = self.keys();
        let age = self.shared.zipf.as_ref().map_or(0, |zipf| zipf.rank(&mut self.rng));
        keys.saturating_sub(1 + age)
    }

    async fn put<E: Engine>(&mut self, engine: &E, index: u64) -> Result<u64, Failure> {
        engine.put(&key(index), self.values.next(), self.sync).await?;
        Ok(0)
    }

    async fn get<E: Engine>(&self, engine: &E, index: u64) -> Result<u64, Failure> {
        Ok(u64::from(engine.get(&key(index)).await?.is_some()))
    }

    async fn insert<E: Engine>(&mut self, engine: &E) -> Result<u64, Failure> {
        let index = self.keys();
        self.put(engine, index).await?;
        self.shared.keys.fetch_max(index + 1, Ordering::Relaxed);
        Ok(0)
    }

    async fn get_or_put<E: Engine>(&mut self, engine: &E, gets: u64) -> Result<u64, Failure> {
        let index = self.popular();
        if self.rng.below(100) < gets { self.get(engine, index).await } else { self.put(engine, index).await }
    }

    async fn get_or_modify<E: Engine>(&mut self, engine: &E) -> Result<u64, Failure> {
        let index = self.popular();
        if self.rng.below(100) < 50 {
            return self.get(engine, index).await;
        }
        Ok(u64::from(engine.modify(&key(index), self.values.next(), self.sync).await?))
    }

    async fn get_latest_or_insert<E: Engine>(&mut self, engine: &E) -> Result<u64, Failure> {
        if self.rng.below(100) < 95 {
            let index = self.latest();
            return self.get(engine, index).await;
        }
        self.insert(engine).await
    }

    async fn scan_or_insert<E: Engine>(&mut self, engine: &E) -> Result<u64, Failure> {
        if self.rng.below(100) < 95 {
            let index = self.popular();
            let rows = usize::try_from(1 + self.rng.below(LONGEST_SCAN)).unwrap_or(1);
            return Ok(engine.scan(&key(index), rows).await? as u64);
        }
        self.insert(engine).await
    }

    async fn delete_range_or_other<E: Engine>(&mut self, engine: &E) -> Result<u64, Failure> {
        let index = self.uniform();
        match self.rng.below(100) {
            0 => {
                engine.delete_range(&key(index), &key(index + DELETED_KEYS)).await?;
                Ok(0)
            }
            1..=90 => self.put(engine, index).await,
            _ => self.get(engine, index).await,
        }
    }
}
