//! The manifest's files: finding the valid one, appending edits, starting a new one.
//!
//! Invariant: an older file is gone, durably, before the first edit is appended to a newer one. So where two exist, both
//! say the same, and where the newest is unreadable, the other is complete.

use std::path::{Path, PathBuf};

use highwater_runtime::{AlignedBuf, Env, File, OpenOptions};

use super::edit::{Edit, ManifestState};
use super::frame::{self, End, HEADER, frame_bytes};
use crate::error::EngineError;
use crate::log::recovery::identity;

fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("MANIFEST-{number:08}"))
}

/// The number of a manifest file, if the name is one.
pub(crate) fn number_of(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_prefix("MANIFEST-")?.parse().ok()
}

/// An open manifest and the state it stands for.
pub(crate) struct Manifest<E: Env> {
    env: E,
    folder: PathBuf,
    path: PathBuf,
    number: u64,
    file: E::File,
    /// Where the next frame goes, and how much is reserved.
    offset: u64,
    reserved: u64,
    limit: u64,
    /// Number and checksum of the last edit.
    sequence: u64,
    previous: u32,
    state: ManifestState,
    /// Synchronous writes and syncs of it and of those that it goes on from.
    syncs: u64,
}

/// A manifest file as read.
struct Found<F> {
    number: u64,
    file: F,
    bytes: u64,
    offset: u64,
    sequence: u64,
    previous: u32,
    state: ManifestState,
}

impl<E: Env> Manifest<E> {
    /// Opens the folder's manifest, or creates one if the folder holds no store.
    pub(crate) async fn open(env: E, folder: &Path, id: (u64, u32), limit: u64) -> Result<Self, EngineError> {
        let names = env.list_dir(folder).await.map_err(|error| EngineError::io("list", folder, &error))?;
        let mut numbers: Vec<u64> = names.iter().filter_map(|name| number_of(name)).collect();
        numbers.sort_unstable();
        let holds_data = names.iter().any(|name| {
            crate::log::segment::slot(name).is_some() || crate::tree::table::writer::table_of(name).is_some()
        });
        let mut found = None;
        let mut unreadable = Vec::new();
        while let Some(number) = numbers.pop() {
            match Self::read(&env, folder, number, id).await? {
                Some(read) => {
                    found = Some(read);
                    break;
                }
                None => unreadable.push(number),
            }
        }
        let Some(found) = found else {
            if holds_data {
                let file = unreadable.first().map_or(folder.to_path_buf(), |number| path(folder, *number));
                return Err(EngineError::corruption(&file, 0, "the folder holds data, but no valid manifest"));
            }
            // The first start was cut short before anything else was made.
            Self::remove(&env, folder, &unreadable).await?;
            let number = unreadable.first().map_or(1, |number| number + 1);
            return Self::create(env, folder, number, ManifestState::new(id.0, id.1), 0, limit).await;
        };
        unreadable.extend(numbers);
        Self::remove(&env, folder, &unreadable).await?;
        Ok(Self {
            env,
            folder: folder.to_path_buf(),
            path: path(folder, found.number),
            number: found.number,
            file: found.file,
            offset: found.offset,
            reserved: found.bytes,
            limit,
            sequence: found.sequence,
            previous: found.previous,
            state: found.state,
            syncs: 0,
        })
    }

    async fn remove(env: &E, folder: &Path, numbers: &[u64]) -> Result<(), EngineError> {
        for number in numbers {
            let path = path(folder, *number);
            env.remove_file(&path).await.map_err(|error| EngineError::io("remove", &path, &error))?;
        }
        if !numbers.is_empty() {
            sync_folder(env, folder).await;
        }
        Ok(())
    }

    /// Reads a manifest file. `None` when not even its first frame is whole.
    async fn read(env: &E, folder: &Path, number: u64, id: (u64, u32)) -> Result<Option<Found<E::File>>, EngineError> {
        let path = path(folder, number);
        let failed = |action, error| EngineError::io(action, &path, &error);
        let file = env.open(&path, durable(env, OpenOptions::WRITE)).await.map_err(|e| failed("open", e))?;
        let bytes = file.len().await.map_err(|e| failed("measure", e))?;
        let bytes = bytes / highwater_runtime::BLOCK as u64 * highwater_runtime::BLOCK as u64;
        if bytes == 0 {
            return Ok(None);
        }
        let content = file.read_at(0, bytes as usize).await.map_err(|e| failed("read", e))?;
        let (frames, end) = frame::scan(content.get(..bytes as usize).unwrap_or_default(), number);
        let Some(last) = frames.last() else {
            return match end {
                End::Clean => Ok(None),
                End::Damaged(at) => {
                    Err(EngineError::corruption(&path, at as u64, "the manifest's beginning is damaged"))
                }
            };
        };
        if let End::Damaged(at) = end {
            let what = "an edit of the manifest does not match its checksum, and later edits exist";
            return Err(EngineError::corruption(&path, at as u64, what));
        }
        let mut state = ManifestState::new(0, 0);
        let mut offset = 0;
        for frame in &frames {
            let base = offset + HEADER as u64;
            let edit = Edit::decode(frame.edit).map_err(|error| EngineError::malformed(&path, base, &error))?;
            if offset == 0 && edit.identity.is_none() {
                return Err(EngineError::corruption(&path, 0, "the manifest does not begin with a snapshot"));
            }
            state.apply(&edit).map_err(|what| EngineError::corruption(&path, base, what))?;
            offset += frame.bytes as u64;
        }
        if state.identity != id {
            let (expected, found) = (identity(id.0, id.1), identity(state.identity.0, state.identity.1));
            return Err(EngineError::Foreign { file: path, expected, found });
        }
        // What was read may not be durable yet, if only the process had died.
        if let Err(error) = file.sync().await {
            stop(env, &path, &error).await;
        }
        sync_folder(env, folder).await;
        Ok(Some(Found { number, file, bytes, offset, sequence: last.sequence, previous: last.checksum, state }))
    }

    /// Creates a manifest that begins with a snapshot of `state`.
    pub(crate) async fn create(
        env: E,
        folder: &Path,
        number: u64,
        state: ManifestState,
        sequence: u64,
        limit: u64,
    ) -> Result<Self, EngineError> {
        let path = path(folder, number);
        let edit = state.snapshot().encode();
        let bytes = frame_bytes(edit.len()) as u64;
        let reserved = limit.max(bytes);
        let failed = |action, error| EngineError::io(action, &path, &error);
        let file = env.open(&path, durable(&env, OpenOptions::CREATE)).await.map_err(|e| failed("create", e))?;
        let mut manifest = Self {
            env,
            folder: folder.to_path_buf(),
            path: path.clone(),
            number,
            file,
            offset: 0,
            reserved,
            limit,
            sequence,
            previous: 0,
            state,
            syncs: 2,
        };
        if let Err(error) = manifest.file.allocate(reserved).await {
            let error = failed("reserve space for", error);
            let _ = manifest.env.remove_file(&path).await;
            return Err(error);
        }
        manifest.write_frame(&edit).await;
        if let Err(error) = manifest.file.sync().await {
            stop(&manifest.env, &path, &error).await;
        }
        // Planted bug 116: the manifest before is removed although the name of the new one may be lost.
        if !manifest.env.mutant(116) {
            sync_folder(&manifest.env, folder).await;
        }
        Ok(manifest)
    }

    /// Writes one frame behind the last; durable when this returns.
    async fn write_frame(&mut self, edit: &[u8]) {
        let bytes = frame_bytes(edit.len());
        let mut frame = AlignedBuf::zeroed(bytes);
        crate::codec::patch(&mut frame, HEADER, edit);
        let checksum = frame::seal(&mut frame, edit.len(), self.previous, self.sequence + 1, self.number);
        if let Err(error) = self.file.write_at(frame, self.offset).await {
            stop(&self.env, &self.path, &error).await;
        }
        self.syncs += 1;
        self.offset += bytes as u64;
        self.sequence += 1;
        self.previous = checksum;
    }

    /// Makes an edit durable. The state changes when this returns.
    pub(crate) async fn append(&mut self, edit: &Edit) -> Result<(), EngineError> {
        let mut next = self.state.clone();
        if let Err(what) = next.apply(edit) {
            // An edit of our own that does not fit is a broken invariant.
            let reason = format!("{}: {what}; this node stops", self.path.display());
            match self.env.fail_stop(&reason).await {}
        }
        let encoded = edit.encode();
        if self.offset + frame_bytes(encoded.len()) as u64 > self.reserved {
            self.roll().await?;
        }
        if self.offset + frame_bytes(encoded.len()) as u64 > self.reserved {
            let reserved = self.offset + frame_bytes(encoded.len()) as u64;
            let failed = |error| EngineError::io("reserve space for", &self.path, &error);
            self.file.allocate(reserved).await.map_err(failed)?;
            self.reserved = reserved;
        }
        self.write_frame(&encoded).await;
        self.state = next;
        Ok(())
    }

    /// Goes on in a new file.
    async fn roll(&mut self) -> Result<(), EngineError> {
        let (env, state) = (self.env.clone(), self.state.clone());
        let next = Self::create(env, &self.folder, self.number + 1, state, self.sequence, self.limit).await?;
        let old = std::mem::replace(self, next);
        // And the folder's, once the old file is gone.
        self.syncs += old.syncs + 1;
        Self::remove(&self.env, &self.folder, &[old.number]).await
    }

    pub(crate) const fn state(&self) -> &ManifestState {
        &self.state
    }

    /// Synchronous writes and syncs since it was opened.
    pub(crate) const fn syncs(&self) -> u64 {
        self.syncs
    }

    /// Number of the newest edit.
    pub(crate) const fn sequence(&self) -> u64 {
        self.sequence
    }
}

/// How manifests are opened: every completed write is durable.
fn durable<E: Env>(env: &E, options: OpenOptions) -> OpenOptions {
    // Planted bug 103: an edit takes effect before it is durable.
    if env.mutant(103) { options } else { options.synchronous() }
}

async fn stop<E: Env>(env: &E, path: &Path, error: &std::io::Error) {
    let reason = format!(
        "cannot write or sync {}: {error}; what is on the disk is unknown, so this node stops; \
         it recovers from the disk's real state when it is started again",
        path.display()
    );
    match env.fail_stop(&reason).await {}
}

/// Makes the names in a folder durable, or stops the node.
pub(crate) async fn sync_folder<E: Env>(env: &E, folder: &Path) {
    if let Err(error) = env.sync_dir(folder).await {
        stop(env, folder, &error).await;
    }
}
