//! Prepared tables: a folder with the visible state of a key range at one snapshot, apart from any store, which `EXPORT`
//! describes ([`super::descriptor`]).

use std::path::{Path, PathBuf};

use bytes::Bytes;
use highwater_runtime::{AlignedBuf, BLOCK, Env, File, OpenOptions};

use super::checkpoint::check_complete;
use super::descriptor::{Descriptor, VERSION, version_of};
use crate::error::EngineError;
use crate::manifest::{TableMeta, sync_folder};
use crate::tree::cursor::KeyRange;
use crate::tree::table::writer;

/// Name of the descriptor.
const DESCRIPTOR: &str = "EXPORT";
/// The largest descriptor that is read, in bytes.
const MAX_DESCRIPTOR_BYTES: u64 = 64 << 20;

/// One prepared table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreparedTable {
    pub(super) meta: TableMeta,
}

impl PreparedTable {
    /// Its first key, and the key behind its last.
    #[must_use]
    pub const fn bounds(&self) -> (&Bytes, &Bytes) {
        (&self.meta.start, &self.meta.end)
    }

    /// Number of keys.
    #[must_use]
    pub const fn keys(&self) -> u64 {
        self.meta.entries
    }

    /// Bytes of its file.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.meta.bytes()
    }
}

/// A whole set of prepared tables and where it lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreparedTables {
    pub(super) folder: PathBuf,
    pub(super) database: u64,
    pub(super) range: KeyRange,
    pub(super) tables: Vec<PreparedTable>,
}

impl PreparedTables {
    /// Reads the descriptor of a folder that [`crate::Store::export`] has made, or that was filled with copies of its files.
    ///
    /// # Errors
    /// [`EngineError::Incomplete`] when the folder is not whole; [`EngineError::Prepared`] when the descriptor is missing, damaged
    /// or contradicts itself; [`EngineError::Version`]; I/O errors. The tables themselves are checked when they are ingested.
    pub async fn open<E: Env>(env: &E, folder: &Path) -> Result<Self, EngineError> {
        check_complete(env, folder).await?;
        let path = folder.join(DESCRIPTOR);
        let refuse = |what: &str| EngineError::Prepared { file: path.clone(), what: what.to_owned() };
        let failed = |action, error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => refuse("the descriptor is missing"),
            _ => EngineError::io(action, &path, &error),
        };
        let file = env.open(&path, OpenOptions::READ).await.map_err(|error| failed("open", error))?;
        let len = file.len().await.map_err(|error| failed("measure", error))?;
        let len = len / BLOCK as u64 * BLOCK as u64;
        if len == 0 || len > MAX_DESCRIPTOR_BYTES {
            return Err(refuse("the descriptor has no possible length"));
        }
        let bytes = file.read_at(0, len as usize).await.map_err(|error| failed("read", error))?;
        if let Some(found) = version_of(&bytes).filter(|found| *found > VERSION) {
            return Err(EngineError::Version { file: path, found, supported: VERSION });
        }
        let described = Descriptor::decode(&bytes).map_err(|error| refuse(error.what))?;
        let Descriptor { database, range, tables } = described;
        let tables = tables.into_iter().map(|meta| PreparedTable { meta }).collect();
        Ok(Self { folder: folder.to_path_buf(), database, range, tables })
    }

    /// Where the files are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The range of keys whose state this is.
    #[must_use]
    pub const fn range(&self) -> &KeyRange {
        &self.range
    }

    /// The tables in key order.
    #[must_use]
    pub fn tables(&self) -> &[PreparedTable] {
        &self.tables
    }

    /// Number of keys.
    #[must_use]
    pub fn keys(&self) -> u64 {
        self.tables.iter().map(PreparedTable::keys).sum()
    }

    /// The names of all files in the folder, the descriptor last: what a copy elsewhere needs, in this order.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let tables = self.tables.iter().map(|table| writer::path(Path::new(""), table.meta.table));
        tables.chain([PathBuf::from(DESCRIPTOR)]).collect()
    }

    /// Removes the files; the descriptor goes first, so that what a crash leaves is refused.
    ///
    /// # Errors
    /// I/O errors; it may be called again.
    pub async fn remove<E: Env>(&self, env: &E) -> Result<(), EngineError> {
        for name in self.files().into_iter().rev() {
            let path = self.folder.join(name);
            match env.remove_file(&path).await {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(EngineError::io("remove", &path, &error));
                }
                Ok(()) | Err(_) => {}
            }
        }
        sync_folder(env, &self.folder).await;
        Ok(())
    }

    /// Writes the descriptor durably, except for its name.
    pub(super) async fn write_descriptor<E: Env>(&self, env: &E) -> Result<(), EngineError> {
        let path = self.folder.join(DESCRIPTOR);
        let failed = |action, error| EngineError::io(action, &path, &error);
        let file = env.open(&path, OpenOptions::CREATE).await.map_err(|error| failed("create", error))?;
        let tables = self.tables.iter().map(|table| table.meta.clone()).collect();
        let described = Descriptor { database: self.database, range: self.range.clone(), tables };
        let bytes = AlignedBuf::from_slice(&described.encode());
        file.allocate(bytes.len() as u64).await.map_err(|error| failed("reserve space for", error))?;
        file.write_at(bytes, 0).await.map_err(|error| failed("write to", error))?;
        if let Err(error) = file.sync().await {
            let reason = format!("cannot sync {}: {error}; this node stops", path.display());
            match env.fail_stop(&reason).await {}
        }
        Ok(())
    }
}
