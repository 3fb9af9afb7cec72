//! Where snapshots lie: a few folders inside the store's own, so that tables can be linked and nothing is left of a life before.
//!
//! `sent-N` holds what is being sent, `staged-N` what is being received. They are emptied when their work ends and at every start;
//! the folders themselves stay.

use std::path::{Path, PathBuf};

use highwater_runtime::Env;

use super::error::SnapshotError;
use super::pace::SENT_AT_ONCE;

/// Snapshots that a store receives at a time.
pub(crate) const RECEIVED_AT_ONCE: usize = 2;

/// The folder of the `slot`-th snapshot that is being sent.
pub(crate) fn sent(store: &Path, slot: usize) -> PathBuf {
    store.join(format!("sent-{slot}"))
}

/// The folder of the `slot`-th snapshot that is being received.
pub(crate) fn staged(store: &Path, slot: usize) -> PathBuf {
    store.join(format!("staged-{slot}"))
}

/// Removes every file of a folder; one that is not there is empty, and a file that somebody else removes meanwhile is gone as well.
///
/// # Errors
/// [`SnapshotError::File`].
pub(crate) async fn empty<E: Env>(env: &E, folder: &Path) -> Result<(), SnapshotError> {
    let names = match env.list_dir(folder).await {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        names => names.map_err(|error| SnapshotError::file("list", folder, &error))?,
    };
    for name in names {
        let path = folder.join(name);
        match env.remove_file(&path).await {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            removed => removed.map_err(|error| SnapshotError::file("remove", &path, &error))?,
        }
    }
    Ok(())
}

/// Removes what a life before has left. Before the store's groups start.
///
/// # Errors
/// [`SnapshotError::File`].
pub(crate) async fn remove_leftovers<E: Env>(env: &E, store: &Path) -> Result<(), SnapshotError> {
    for slot in 0..SENT_AT_ONCE {
        empty(env, &sent(store, slot)).await?;
    }
    for slot in 0..RECEIVED_AT_ONCE {
        empty(env, &staged(store, slot)).await?;
    }
    Ok(())
}
