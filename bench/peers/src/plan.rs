//! What is compared: the command line, and the sizes that follow from it.

use std::path::PathBuf;

use highwater_runtime::CpuSet;

use crate::engine::Name;
use crate::failure::Failure;
use crate::keys::KEY_BYTES;
use crate::workload::{ALL, Workload};

/// Compares Highwater's engine with RocksDB, fjall and redb on this machine.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "highwater-bench-peers")]
pub struct Arguments {
    /// Keys of the data, and operations of the fills that are not durable
    #[arg(long, default_value_t = 5_000_000)]
    pub keys: u64,
    /// How often each workload is run on each engine
    #[arg(long, default_value_t = 3)]
    pub rounds: u64,
    /// Seconds of a run that does not end by its number of operations
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    /// 500,000 keys, 3 seconds and one round, to see that everything works
    #[arg(long)]
    pub quick: bool,
    /// Only these workloads; `list` shows them
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<String>,
    /// These engines, in this order
    #[arg(long, value_delimiter = ',', default_value = "ours,rocksdb,rocksdb-buffered,fjall,redb")]
    pub engines: Vec<Name>,
    /// Bytes of each engine's cache in the workloads whose data fits; by default more than the data
    #[arg(long)]
    pub cache_bytes: Option<usize>,
    /// Bytes of a memtable; every engine may have three
    #[arg(long, default_value_t = 64 << 20)]
    pub memtable_bytes: usize,
    /// Bytes of a block of our tables; RocksDB's has 4 KiB, rocksdb-16k's 16 KiB
    #[arg(long, default_value_t = 16 << 10)]
    pub block_bytes: usize,
    /// Compression of tables
    #[arg(long, value_enum, default_value_t = Compression::None)]
    pub compression: Compression,
    /// The processor that clients are pinned to, and our executor; by default one that takes the disk's interrupts
    #[arg(long)]
    pub cpu: Option<usize>,
    /// Where the engines put their files; each gets a folder in it, removed at the end
    #[arg(long, default_value = "/var/tmp/highwater-bench-peers")]
    pub folder: PathBuf,
    /// One JSON object per run and per comparison, instead of the tables
    #[arg(long)]
    pub json: bool,
    /// Record each engine's first round of each workload with `perf` into this folder
    #[arg(long)]
    pub perf: Option<PathBuf>,
    /// Other things to do
    #[command(subcommand)]
    pub command: Option<Command>,
}

impl Arguments {
    /// The processor that clients are pinned to.
    pub fn processor(&self) -> Result<usize, Failure> {
        if let Some(cpu) = self.cpu {
            return Ok(cpu);
        }
        let nearest = CpuSet::near_disk(1, &self.folder)?;
        nearest.iter().next().ok_or_else(|| Failure::new("there is no processor"))
    }
}

/// Instead of the comparison.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Show the workloads
    List,
    /// Overwrite much over little, durably: memory, latency and space over time
    OverwriteLarge {
        /// Bytes of live data, keys and values
        #[arg(long, default_value_t = 1_000_000_000)]
        live_bytes: u64,
        /// Bytes of overwrites
        #[arg(long, default_value_t = 8_000_000_000)]
        overwrite_bytes: u64,
        /// Bytes of a value
        #[arg(long, default_value_t = 100)]
        value_bytes: usize,
        /// Clients side by side
        #[arg(long, default_value_t = 64)]
        clients: usize,
        /// Bytes of the cache
        #[arg(long, default_value_t = 256 << 20)]
        cache_bytes: usize,
        /// Which engine
        #[arg(long, value_enum, default_value_t = Name::Ours)]
        engine: Name,
    },
    /// Be an engine's process; the comparison starts these itself
    #[command(hide = true)]
    Engine {
        /// Which
        name: Name,
    },
}

/// Whether tables are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Compression {
    /// They are not
    None,
    /// With LZ4
    Lz4,
}

impl Arguments {
    /// The same with what `--quick` stands for.
    pub fn resolved(mut self) -> Self {
        if self.quick {
            (self.keys, self.rounds, self.seconds) = (500_000, 1, 3.0);
        }
        self
    }

    /// The workloads that were asked for, in the order in which they run.
    pub fn workloads(&self) -> Result<Vec<Workload>, Failure> {
        for name in &self.only {
            if !ALL.iter().any(|workload| workload.name == name) {
                return Err(Failure(format!("there is no workload `{name}`; `list` shows them")));
            }
        }
        let wanted = |workload: &Workload| self.only.is_empty() || self.only.iter().any(|name| name == workload.name);
        Ok(ALL.into_iter().filter(wanted).collect())
    }

    /// Bytes of the data as a user counts them.
    pub fn data_bytes(&self, value_bytes: usize) -> u64 {
        self.keys * (KEY_BYTES + value_bytes) as u64
    }

    /// A cache that holds it all: twice the data, for versions that are not yet compacted away and for each engine's overhead.
    pub fn full_cache(&self, value_bytes: usize) -> usize {
        let enough = usize::try_from(2 * self.data_bytes(value_bytes)).unwrap_or(usize::MAX).max(256 << 20);
        self.cache_bytes.unwrap_or(enough)
    }

    /// A cache that holds a quarter.
    pub fn small_cache(&self, value_bytes: usize) -> usize {
        usize::try_from(self.data_bytes(value_bytes) / 4).unwrap_or(usize::MAX)
    }
}
