//! Keeping servers and inspection apart.
//!
//! A server holds `<data-dir>/lock` exclusively. Inspection takes the same lock shared, so that several may look and no server starts
//! meanwhile; the file itself is not touched.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::folder::Refusal;

/// How the folder stands.
#[derive(Debug)]
pub(crate) enum Held {
    /// No server may start while this lives.
    Shared(#[expect(dead_code, reason = "held, never read")] File),
    /// There is no lock to take: the files are a copy, or a store of nobody.
    Free,
    /// A server runs, and the user wants to look all the same.
    ByServer(String),
}

/// The lock file that guards a file or folder: its own, or that of a folder above it, two at most (data folder, store, file).
fn lock_of(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    path.ancestors().take(3).map(|folder| folder.join("lock")).find(|lock| lock.is_file())
}

/// Takes the lock shared.
///
/// # Errors
/// [`Refusal::InUse`] when a server holds it, unless `force`.
pub(crate) fn hold(path: &Path, force: bool) -> Result<Held, Refusal> {
    let Some(lock) = lock_of(path) else { return Ok(Held::Free) };
    // A lock that may not be read is a file of another user, whose tables may not be read either: that is said then.
    let Ok(mut file) = File::open(&lock) else { return Ok(Held::Free) };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(Held::Shared(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut text = String::new();
            let _ = file.read_to_string(&mut text);
            let holder = if text.trim().is_empty() { "another process".to_owned() } else { text.trim().to_owned() };
            if force {
                return Ok(Held::ByServer(holder));
            }
            let folder = lock.parent().unwrap_or(path).to_owned();
            Err(Refusal::InUse { folder, holder })
        }
        // A file system without locks: nobody can hold one.
        Err(_) => Ok(Held::Free),
    }
}
