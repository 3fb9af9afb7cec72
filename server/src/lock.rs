//! The exclusive lock on a data folder: one server at a time, known by name.
//!
//! `flock` on `<data-dir>/lock`: the kernel drops it with the process, however that ends. The file's text only says who
//! holds it; it is never believed when the lock is free.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "used by main only, before the first executor starts"
)]

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// A held lock; released when dropped.
#[derive(Debug)]
pub struct DataLock(#[expect(dead_code, reason = "held, never read")] File);

/// Why the folder cannot be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another server uses it.
    #[error("the data folder {} is in use by {holder}; stop that server, or give another --data-dir", folder.display())]
    Held {
        /// The folder.
        folder: PathBuf,
        /// Who, as it wrote itself down.
        holder: String,
    },
    /// The lock file cannot be used.
    #[error("the data folder {} cannot be written: {reason}; check that it belongs to this user and is not read-only", folder.display())]
    Unusable {
        /// The folder.
        folder: PathBuf,
        /// The system's reason.
        reason: std::io::Error,
    },
}

/// Locks a folder; `holder` says who, for the next one that tries ("process 12 (highwaterd 0.1.0, http://...)").
///
/// # Errors
/// [`LockError`].
pub fn acquire(folder: &Path, holder: &str) -> Result<DataLock, LockError> {
    let unusable = |reason| LockError::Unusable { folder: folder.to_owned(), reason };
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(folder.join("lock"))
        .map_err(unusable)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut text = String::new();
            let _ = file.read_to_string(&mut text);
            let holder = if text.trim().is_empty() { "another process".to_owned() } else { text.trim().to_owned() };
            return Err(LockError::Held { folder: folder.to_owned(), holder });
        }
        Err(reason) => return Err(unusable(reason.into())),
    }
    let named = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{holder}"));
    match named {
        // The name is for people; a full disk must not keep a server from starting.
        Err(reason) if reason.kind() == std::io::ErrorKind::StorageFull => Ok(DataLock(file)),
        named => named.map(|()| DataLock(file)).map_err(unusable),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_folder_has_one_holder_and_the_second_learns_who() {
        let folder = tempfile::tempdir().unwrap();
        let first = acquire(folder.path(), "process 1 (a rather long description of it)").unwrap();
        let refused = acquire(folder.path(), "process 2").unwrap_err().to_string();
        assert!(refused.contains("in use by process 1 (a rather long description of it);"), "{refused}");
        drop(first);
        let second = acquire(folder.path(), "process 2").unwrap();
        let refused = acquire(folder.path(), "process 3").unwrap_err().to_string();
        assert!(refused.contains("in use by process 2;"), "{refused}");
        drop(second);
    }

    #[test]
    fn a_folder_that_is_not_there_is_said_so() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing");
        assert!(matches!(acquire(&missing, "x"), Err(LockError::Unusable { .. })));
    }
}
