//! What the director and an engine's process say to each other: one JSON object per line.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::engine::{Settings, Sync};
use crate::workload::Mix;

/// From the director.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Open the engine.
    Open {
        /// How.
        settings: Settings,
        /// Remove what is in the folder first.
        fresh: bool,
        /// Do not let the system's page cache serve reads.
        without_page_cache: bool,
    },
    /// Run a workload.
    Run(Task),
    /// Close the engine; the process stays.
    Close,
}

/// One run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Task {
    /// What clients do.
    pub mix: Mix,
    /// When writes count as done.
    pub sync: Sync,
    /// How many clients.
    pub clients: usize,
    /// Keys that exist, or the range that fills draw from.
    pub keys: u64,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// Operations of all clients; else it ends by time.
    pub operations: Option<u64>,
    /// The longest it may take, in seconds.
    pub seconds: f64,
    /// Random numbers.
    pub seed: u64,
}

/// From an engine's process.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// Opened or closed.
    Done,
    /// A run's figures: one part per kind of client.
    Ran(Vec<Part>),
    /// It went wrong.
    Failed(String),
}

/// Figures of one run, or of one kind of client in it. Costs are those of the whole run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Empty, or `reader` and `writer`.
    pub role: String,
    /// Keys that exist afterwards.
    pub keys: u64,
    /// Operations.
    pub operations: u64,
    /// Per second.
    pub rate: f64,
    /// Gets that found something, and rows of scans.
    pub found: u64,
    /// Seconds of the run.
    pub seconds: f64,
    /// Microseconds of processor time per operation, background threads included, up to the end of the run.
    pub cpu_us: f64,
    /// The same up to the end of the background work that the run left behind.
    pub cpu_us_settled: f64,
    /// Seconds that this took.
    pub settle_seconds: f64,
    /// Bytes written per operation, up to the end of the background work.
    pub written: f64,
    /// The same as the device counted it, whoever wrote.
    pub device_written: f64,
    /// Sync calls (ours: durable writes of the log) per operation, during the run.
    pub syncs: f64,
    /// Flushes of the device's cache per operation, during the run, whoever asked for them.
    pub device_flushes: f64,
    /// Microseconds of an operation: 50 %, 99 %, 99.9 % and the longest.
    pub micros: [f64; 4],
    /// Microseconds of the log's own durable writes, the same four.
    pub log_micros: Option<[f64; 4]>,
    /// Bytes on the disk afterwards.
    pub space: u64,
    /// The most during the run.
    pub space_peak: u64,
    /// The most during the run without the log: tables in use, those that are being made, and dead ones.
    #[serde(default)]
    pub tables_peak: u64,
    /// The most memory during the run, in bytes.
    pub memory_peak: u64,
    /// Processors that others kept busy meanwhile.
    pub foreign_cores: f64,
    /// Processors that the hypervisor took meanwhile.
    pub stolen_cores: f64,
    /// The engine's own figures; those that only grow, as their growth.
    pub figures: BTreeMap<String, u64>,
}
