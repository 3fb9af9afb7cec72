//! The command line.

use std::path::{Path, PathBuf};

/// Shows and verifies the files of a stopped Highwater server. Never writes.
///
/// FOLDER is a data folder (all its stores are shown) or the folder of one store.
/// Exit codes: 0 nothing is damaged, 1 damage was found, 2 nothing could be inspected.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "highwater-inspect", version, max_term_width = 110)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// One JSON document instead of tables.
    #[arg(long, global = true)]
    pub json: bool,
    /// Inspect although a server uses the folder. Its files change meanwhile: what is shown may be torn.
    #[arg(long, global = true)]
    pub force_read_only_while_running: bool,
}

/// What to show.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// The log: segments, blocks, what they hold of each group, and where and why the log ends.
    Log(LogOptions),
    /// A table: footer, properties, index, filter, range deletes.
    Table(TableOptions),
    /// The manifest: its edits one by one, and the state that they add up to.
    Manifest {
        /// A data folder or a store's folder.
        folder: PathBuf,
    },
    /// Reads everything, checks every checksum, and compares manifest, tables and log as recovery does.
    Verify {
        /// A data folder or a store's folder.
        folder: PathBuf,
    },
    /// Levels, runs, sizes, amplification, and what each group keeps in the log.
    Stats {
        /// A data folder or a store's folder.
        folder: PathBuf,
    },
}

/// Options of `log`.
#[derive(Clone, Debug, clap::Args)]
pub struct LogOptions {
    /// A data folder, a store's folder, or one segment file.
    #[arg(value_name = "FOLDER|SEGMENT")]
    pub path: PathBuf,
    /// Only what belongs to this group.
    #[arg(long, value_name = "N")]
    pub group: Option<u32>,
    /// Every entry.
    #[arg(long)]
    pub entries: bool,
    /// The bytes of every entry; implies --entries.
    #[arg(long)]
    pub hex: bool,
    /// Leave out the list of blocks.
    #[arg(long)]
    pub summary: bool,
}

/// Options of `table`.
#[derive(Clone, Debug, clap::Args)]
pub struct TableOptions {
    /// A table's file.
    #[arg(value_name = "FILE")]
    pub path: PathBuf,
    /// Every version of every key.
    #[arg(long)]
    pub keys: bool,
    /// Every block with its pointer.
    #[arg(long)]
    pub blocks: bool,
    /// Keys and values in hexadecimal.
    #[arg(long)]
    pub hex: bool,
}

impl Command {
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Log(LogOptions { path, .. }) | Self::Table(TableOptions { path, .. }) => path,
            Self::Manifest { folder } | Self::Verify { folder } | Self::Stats { folder } => folder,
        }
    }

    pub(crate) const fn word(&self) -> &'static str {
        match self {
            Self::Log(_) => "log",
            Self::Table(_) => "table",
            Self::Manifest { .. } => "manifest",
            Self::Verify { .. } => "verify",
            Self::Stats { .. } => "stats",
        }
    }
}
