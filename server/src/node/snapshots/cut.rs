//! Cutting a snapshot: a group's state at one applied entry, as files that another store can take in.
//!
//! What is cut is decided in one synchronous step of the driver (a [`Cut`]); writing the files takes as long as it takes, while entries
//! are applied. The store keeps what the cut shows until the files are written, not until they are sent.

use std::path::Path;

use highwater_engine::{KeyRange, Store};
use highwater_raft as raft;
use highwater_runtime::{BLOCK, Env, File, OpenOptions};
use highwater_state::keys::Keys;
use highwater_state::view::GroupView;

use super::descriptor::{Described, DescribedFile, MAX_FILES};
use super::error::SnapshotError;
use super::folders;

/// Bytes that are read at one time to check a file's sum.
const READ_BYTES: u64 = 1 << 20;

/// A group's state at one applied entry, and what Raft knows of that entry.
pub(crate) struct Cut<E: Env> {
    /// The state.
    pub(crate) view: GroupView<E>,
    /// The last applied entry's term.
    pub(crate) term: raft::Term,
    /// The leader's term.
    pub(crate) leader_term: raft::Term,
    /// Who belongs to the group at that entry.
    pub(crate) membership: raft::Membership,
}

/// All keys of a group.
pub(crate) fn range_of(group: u32) -> KeyRange {
    let span = Keys::new(group).all();
    KeyRange::new(span.start, span.end)
}

impl<E: Env> Cut<E> {
    /// What Raft is told of it.
    pub(crate) fn meta(&self) -> raft::SnapshotMeta {
        let index = raft::LogIndex(self.view.applied().0);
        raft::SnapshotMeta { index, term: self.term, membership: self.membership.clone() }
    }

    /// Writes the files to `folder`, which is emptied before, and describes them. When this fails, the folder is empty again if the disk
    /// allows.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub(crate) async fn write(self, env: &E, store: &Store<E>, folder: &Path) -> Result<Described, SnapshotError> {
        folders::empty(env, folder).await?;
        let written = self.write_files(env, store, folder).await;
        if written.is_err() {
            // What cannot be removed now is removed before the next use.
            let _ = folders::empty(env, folder).await;
        }
        written
    }

    async fn write_files(self, env: &E, store: &Store<E>, folder: &Path) -> Result<Described, SnapshotError> {
        let raft::SnapshotMeta { index, term, membership } = self.meta();
        let Self { view, leader_term, .. } = self;
        let (group, chain) = (view.keys().group(), view.chain());
        let prepared = store.export(&range_of(group), view.snapshot(), folder).await?;
        // What it shows may go from now on.
        drop(view);
        let names = prepared.files();
        if u32::try_from(names.len()).is_ok_and(|files| files > MAX_FILES) {
            return Err(SnapshotError::TooManyFiles { files: names.len(), limit: MAX_FILES });
        }
        let mut files = Vec::new();
        for name in names {
            let (bytes, checksum) = sum(env, &folder.join(&name)).await?;
            files.push(DescribedFile { name: name.display().to_string(), bytes, checksum });
        }
        Ok(Described { group, index, term, leader_term, chain, membership, files })
    }
}

/// A file's length and the CRC-32 of all of it.
async fn sum<E: Env>(env: &E, path: &Path) -> Result<(u64, u32), SnapshotError> {
    let failed = |action, error: std::io::Error| SnapshotError::file(action, path, &error);
    let file = env.open(path, OpenOptions::READ).await.map_err(|error| failed("open", error))?;
    let bytes = file.len().await.map_err(|error| failed("measure", error))?;
    let bytes = bytes / BLOCK as u64 * BLOCK as u64;
    let mut hasher = crc32fast::Hasher::new();
    let mut at = 0;
    while at < bytes {
        let length = usize::try_from(READ_BYTES.min(bytes - at)).unwrap_or(BLOCK);
        let read = file.read_at(at, length).await.map_err(|error| failed("read", error))?;
        hasher.update(&read);
        at += length as u64;
        env.yield_if_needed().await;
    }
    Ok((bytes, hasher.finalize()))
}
