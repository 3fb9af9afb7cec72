//! What can go wrong in a store, for the caller to show or to act on.
//!
//! A failed write or sync of the log, the manifest or a table never becomes an error here: it stops the node
//! ([`highwater_runtime::Env::fail_stop`]), because what is on the disk is then unknown.

use std::io;
use std::path::{Path, PathBuf};

use crate::codec::Malformed;
use crate::ids::{GroupId, LogIndex};

/// Why an operation of a store was refused or failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// Acknowledged data does not have the bytes that were written. Nothing was changed or cut off.
    #[error(
        "{} is damaged at byte {offset}: {what}; nothing was changed; rebuild this replica from its peers or restore a backup",
        file.display()
    )]
    Corruption {
        /// The damaged file.
        file: PathBuf,
        /// Where in it, in bytes.
        offset: u64,
        /// What was expected and what was found.
        what: String,
    },
    /// The folder holds the files of another database or of another store.
    #[error("{} belongs to {found}, but {expected} was opened; check the data folder", file.display())]
    Foreign {
        /// The file that says so.
        file: PathBuf,
        /// The identity asked for.
        expected: String,
        /// The identity found.
        found: String,
    },
    /// The file was written by a newer release.
    #[error("{} has format version {found}, this release reads up to {supported}; start the newer release", file.display())]
    Version {
        /// The file.
        file: PathBuf,
        /// Its version.
        found: u16,
        /// The newest version known here.
        supported: u16,
    },
    /// The disk is full. Nothing of the operation happened; it may be tried again when there is space.
    #[error("the disk is full: cannot {action} {}; free space in its file system", file.display())]
    NoSpace {
        /// What was being done.
        action: &'static str,
        /// To which file.
        file: PathBuf,
    },
    /// A compaction was not begun, as its output would not fit on the disk.
    #[error(
        "the disk is too full for that: at least {needed} bytes must be free in the file system of {}, and {free} are",
        folder.display()
    )]
    NoRoom {
        /// The store's folder.
        folder: PathBuf,
        /// Bytes that must be free.
        needed: u64,
        /// Bytes that are.
        free: u64,
    },
    /// The operating system refused an operation.
    #[error("cannot {action} {}: {message}", file.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file.
        file: PathBuf,
        /// The kind of error.
        kind: io::ErrorKind,
        /// The system's message.
        message: String,
    },
    /// The caller's entries do not continue the group's log.
    #[error("{group}: entries from {first} do not continue a log that holds indexes above {start} up to {last}")]
    Gap {
        /// The group.
        group: GroupId,
        /// The first index given.
        first: LogIndex,
        /// The last index that was released.
        start: LogIndex,
        /// The last index held.
        last: LogIndex,
    },
    /// The asked-for entries are not in the log: released, or not yet written.
    #[error("{group}: {index} is not in the log, which holds indexes from {first} to {last}")]
    NotInLog {
        /// The group.
        group: GroupId,
        /// The index asked for.
        index: LogIndex,
        /// The first index held.
        first: LogIndex,
        /// The last index held.
        last: LogIndex,
    },
    /// One log entry is larger than a block of the log may be.
    #[error("a log entry of {bytes} bytes exceeds the limit of {limit} bytes")]
    TooLarge {
        /// Its size in bytes.
        bytes: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// A folder of a checkpoint or an export that was never finished.
    #[error(
        "{} is an unfinished checkpoint or export: its making was cut short; remove the folder and make it again",
        folder.display()
    )]
    Incomplete {
        /// The folder.
        folder: PathBuf,
    },
    /// A checkpoint or an export cannot be written there.
    #[error("cannot write to {}: {what}; name a folder that is absent or empty", folder.display())]
    Target {
        /// The folder.
        folder: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Prepared tables that cannot be taken in. Nothing was changed.
    #[error("the prepared tables are refused: {}: {what}; nothing was changed; fetch or make them again", file.display())]
    Prepared {
        /// The file or folder.
        file: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Files can be shared only within one file system.
    #[error(
        "cannot link {} to {}: they are in different file systems; name a folder in the one of the store",
        from.display(),
        to.display()
    )]
    OtherFileSystem {
        /// The file.
        from: PathBuf,
        /// Its name to be.
        to: PathBuf,
    },
    /// The options contradict each other.
    #[error("store options: {0}")]
    Options(String),
    /// The store was closed, or an append was abandoned half-way.
    #[error("the store is closed")]
    Closed,
}

impl EngineError {
    /// An I/O error of `action` on `file`; a full disk becomes [`EngineError::NoSpace`].
    pub(crate) fn io(action: &'static str, file: &Path, error: &io::Error) -> Self {
        if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            return Self::NoSpace { action, file: file.to_path_buf() };
        }
        Self::Io { action, file: file.to_path_buf(), kind: error.kind(), message: error.to_string() }
    }

    /// Whether it is only for want of disk space.
    pub(crate) const fn wants_space(&self) -> bool {
        matches!(self, Self::NoSpace { .. } | Self::NoRoom { .. })
    }

    /// Damage at `offset` of `file`.
    pub(crate) fn corruption(file: &Path, offset: u64, what: impl Into<String>) -> Self {
        Self::Corruption { file: file.to_path_buf(), offset, what: what.into() }
    }

    /// A decoder's complaint about bytes that start at `base` of `file`.
    pub(crate) fn malformed(file: &Path, base: u64, error: &Malformed) -> Self {
        Self::corruption(file, base.saturating_add(error.at as u64), error.what)
    }
}
