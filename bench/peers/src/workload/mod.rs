//! The workloads: what each does, on which data, and what our engine is expected to reach.

pub mod client;

use serde::{Deserialize, Serialize};

use crate::engine::{Name, Sync};

/// What clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mix {
    /// Puts of rising keys.
    FillSeq,
    /// Puts of random keys.
    FillRandom,
    /// Puts of every key once, in a scattered order. Not measured: it makes the data for the others.
    Load,
    /// Gets of every key once, in order. Not measured: it fills caches.
    Warm,
    /// Puts of random keys that exist.
    Overwrite,
    /// Gets of random keys that exist.
    ReadRandom,
    /// Gets of random keys that do not exist, between those that do.
    ReadMissing,
    /// Scans of 11 rows from a random key on: a seek and ten nexts.
    SeekRandom,
    /// A reader beside a writer, both as fast as they can.
    ReadWhileWriting,
    /// Of 100 operations one deletes 100 consecutive keys, 90 put, 9 get.
    DeleteRange,
    /// Half gets, half puts, zipfian.
    YcsbA,
    /// 95 of 100 get, 5 put, zipfian.
    YcsbB,
    /// Gets only, zipfian.
    YcsbC,
    /// 95 of 100 get one of the latest keys, 5 insert.
    YcsbD,
    /// 95 of 100 scan 1 to 100 rows, zipfian; 5 insert.
    YcsbE,
    /// Half gets, half reads with a write of the same key, zipfian.
    YcsbF,
}

impl Mix {
    /// Whether it changes data.
    pub const fn writes(self) -> bool {
        !matches!(self, Self::Warm | Self::ReadRandom | Self::ReadMissing | Self::SeekRandom | Self::YcsbC)
    }
}

/// On which data a workload runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// An empty folder each time.
    None,
    /// All keys loaded, and a cache that holds them.
    Cached,
    /// All keys loaded, and a cache for a quarter of them.
    FourCaches,
}

/// A measured workload.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// Its name on the command line and in reports.
    pub name: &'static str,
    /// What clients do.
    pub mix: Mix,
    /// On what.
    pub data: Data,
    /// When writes count as done.
    pub sync: Sync,
    /// Clients side by side.
    pub clients: usize,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// Our operations per second over those of the better rival: at least this.
    pub target: f64,
}

const fn workload(name: &'static str, mix: Mix, data: Data) -> Workload {
    Workload { name, mix, data, sync: Sync::Deferred, clients: 1, value_bytes: 100, target: 1.0 }
}

impl Workload {
    const fn target(self, target: f64) -> Self {
        Self { target, ..self }
    }

    /// 64 clients, durable.
    const fn group(self) -> Self {
        Self { sync: Sync::Durable, clients: 64, target: 1.5, ..self }
    }

    /// One client, each write durable.
    const fn each(self) -> Self {
        Self { sync: Sync::Durable, ..self }
    }

    const fn values_of(self, value_bytes: usize) -> Self {
        Self { value_bytes, ..self }
    }

    /// Whether an engine takes part.
    pub fn concerns(&self, engine: Name) -> bool {
        engine != Name::RocksdbBuffered || (self.mix.writes() && self.sync == Sync::Deferred)
    }

    /// Whether redb's read ratio has a target here: cached reads.
    pub fn compares_with_redb(&self) -> bool {
        self.data == Data::Cached && matches!(self.mix, Mix::ReadRandom | Mix::YcsbC)
    }
}

/// All of them, in the order in which they run: reads of freshly loaded data before what changes it.
pub const ALL: [Workload; 23] = [
    workload("fillseq", Mix::FillSeq, Data::None),
    workload("fillrandom", Mix::FillRandom, Data::None).target(1.5),
    workload("fillrandom-400", Mix::FillRandom, Data::None).values_of(400).target(1.5),
    workload("fillrandom-group", Mix::FillRandom, Data::None).group(),
    workload("fillrandom-each", Mix::FillRandom, Data::None).each(),
    workload("readrandom", Mix::ReadRandom, Data::Cached).target(1.5),
    workload("readmissing", Mix::ReadMissing, Data::Cached),
    workload("seekrandom", Mix::SeekRandom, Data::Cached),
    workload("ycsb-c", Mix::YcsbC, Data::Cached),
    workload("readrandom-4x", Mix::ReadRandom, Data::FourCaches),
    workload("ycsb-b", Mix::YcsbB, Data::Cached),
    workload("ycsb-d", Mix::YcsbD, Data::Cached),
    workload("ycsb-e", Mix::YcsbE, Data::Cached),
    workload("ycsb-a", Mix::YcsbA, Data::Cached),
    workload("ycsb-f", Mix::YcsbF, Data::Cached),
    workload("overwrite", Mix::Overwrite, Data::Cached).target(1.5),
    workload("readwhilewriting", Mix::ReadWhileWriting, Data::Cached),
    workload("overwrite-group", Mix::Overwrite, Data::Cached).group(),
    workload("ycsb-a-group", Mix::YcsbA, Data::Cached).group(),
    workload("overwrite-each", Mix::Overwrite, Data::Cached).each(),
    workload("ycsb-a-each", Mix::YcsbA, Data::Cached).each(),
    workload("deleterange", Mix::DeleteRange, Data::Cached),
    workload("readrandom-400", Mix::ReadRandom, Data::Cached).values_of(400).target(1.5),
];
