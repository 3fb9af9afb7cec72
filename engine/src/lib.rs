//! # The engine: a store of one core's groups
//!
//! Owns one segmented log (Raft log and write-ahead log in one) and one LSM tree, shared by many groups; single-threaded,
//! generic over the runtime's [`highwater_runtime::Env`].
//!
//! How data passes through: [`Store::append`] makes log entries durable in one synchronous write; [`Store::write`] lets a committed
//! entry's batch take effect in the memtable, atomically with the group's applied index; a background flush turns a full
//! memtable into a table and records, in the same manifest edit, up to which entry each group's effects are in tables; after a
//! restart, the caller applies the entries behind that again.
//!
//! Must never: acknowledge what is not durable, cut off or overwrite acknowledged data, serve bytes that fail their checksum, or go
//! on after a failed write or sync of the log, the manifest or a table (the node stops). A full disk refuses writes; reads go on.

mod batch;
pub mod codec;
mod compaction;
mod damage;
mod error;
mod figures;
mod gate;
mod ids;
pub mod log;
pub mod manifest;
pub mod offline;
mod options;
mod pressure;
mod store;
pub mod tree;

pub use batch::{Operation, WriteBatch};
pub use damage::Damage;
pub use error::EngineError;
pub use figures::{Figure, FigureKind};
pub use ids::{Expiry, GroupId, Incarnation, LogIndex, Term};
pub use log::LogEntry;
pub use log::batch::LogBatch;
pub use log::record::HardState;
pub use log::recovery::LogReport;
pub use log::scan::scan_segment_bytes;
pub use options::{CompactionPolicy, MAX_ENTRY_BYTES, StoreOptions};
pub use pressure::{Intake, Pressure, StoreStats, VerifyReport};
pub use store::{Checkpoint, IngestOptions, PreparedTable, PreparedTables, RecoveredGroup, Recovery, Store};
pub use tree::cursor::{Cursor, Direction, KeyRange, prefix_end};
pub use tree::snapshot::Snapshot;
