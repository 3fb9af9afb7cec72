//! What a machine must offer before the server starts: io_uring with its operations, limits, and direct I/O on the data folder.
//!
//! Owns the problems and their wording: each names what is missing and the cure, in one sentence. The probing is the backend's.

use std::path::{Path, PathBuf};

/// Locked memory that each executor needs, in bytes.
pub const MEMLOCK_PER_CORE: u64 = 512 * 1024;
/// Open files that a server needs at least.
pub const OPEN_FILES: u64 = 1024;

/// One thing that is missing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The kernel has no io_uring.
    #[error("this kernel has no io_uring; run Linux 5.8 or newer (6.1 or newer is recommended)")]
    NoUring,
    /// Switched off by a sysctl.
    #[error(
        "io_uring is switched off (kernel.io_uring_disabled = {level}); set it to 0: sysctl -w kernel.io_uring_disabled=0"
    )]
    UringDisabled {
        /// The sysctl's value: 1 for unprivileged processes, 2 for all.
        level: i64,
    },
    /// Refused although the sysctl allows it.
    #[error(
        "io_uring is refused with EPERM although kernel.io_uring_disabled allows it, which is how container seccomp profiles do it; \
         allow io_uring_setup, io_uring_enter and io_uring_register in the profile (Docker: --security-opt seccomp=unconfined)"
    )]
    UringForbidden,
    /// Another failure of its set-up.
    #[error("setting up an io_uring failed: {0}; check the kernel log and the process's memory limits")]
    UringFailed(String),
    /// Operations that the server uses are missing.
    #[error("this kernel's io_uring lacks {}; run Linux 5.8 or newer", .0.join(", "))]
    MissingOperations(Vec<&'static str>),
    /// RLIMIT_MEMLOCK is too low.
    #[error(
        "RLIMIT_MEMLOCK is {has} bytes, but {needs} are needed ({MEMLOCK_PER_CORE} per core); \
         raise it: ulimit -l unlimited, or LimitMEMLOCK=infinity in the systemd unit"
    )]
    Memlock {
        /// The limit in bytes.
        has: u64,
        /// What is needed, in bytes.
        needs: u64,
    },
    /// RLIMIT_NOFILE is too low, even after raising it to the hard limit.
    #[error(
        "at most {has} open files are allowed, but {needs} are needed; raise it: ulimit -n {needs}, or LimitNOFILE={needs} in the systemd unit"
    )]
    OpenFiles {
        /// The hard limit.
        has: u64,
        /// What is needed.
        needs: u64,
    },
    /// The data folder can't be written.
    #[error("the data folder {} can't be written: {reason}; check that it exists and belongs to this user", folder.display())]
    Folder {
        /// The data folder.
        folder: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The data folder's file system refuses direct I/O.
    #[error(
        "the file system of the data folder {} refuses direct I/O ({reason}); use a data folder on ext4 or XFS",
        folder.display()
    )]
    DirectIo {
        /// The data folder.
        folder: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The data folder's file system can't reserve space.
    #[error(
        "the file system of the data folder {} can't reserve space (fallocate: {reason}); use a data folder on ext4 or XFS",
        folder.display()
    )]
    Allocate {
        /// The data folder.
        folder: PathBuf,
        /// What the system said.
        reason: String,
    },
}

/// Everything that is missing, one line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit(pub Vec<Problem>);

impl std::fmt::Display for Unfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut separator = "";
        for problem in &self.0 {
            write!(f, "{separator}{problem}")?;
            separator = "\n";
        }
        Ok(())
    }
}

impl std::error::Error for Unfit {}

/// Looks whether this machine can run a server of so many cores with its data in this (existing) folder. The soft limit of open
/// files is raised to the hard one on the way. Blocks; called before any executor starts.
///
/// # Errors
/// [`Unfit`] with every problem found.
pub fn check(data_folder: &Path, cores: usize) -> Result<(), Unfit> {
    let problems = crate::backend::probe(data_folder, cores);
    if problems.is_empty() { Ok(()) } else { Err(Unfit(problems)) }
}
