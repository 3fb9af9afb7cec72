//! The data folder's shape: what is fixed when the folder is made and checked at every start.
//!
//! File `shape`, one 4 KiB block:
//! ```text
//! 0   8  magic "HWSHAPE\0"
//! 8   4  u32 LE format version (1)
//! 12  4  u32 LE user shards
//! 16  4  u32 LE shared shards
//! 20  4  u32 LE stores
//! 24  8  u64 LE database id, random
//! 32  4  u32 LE crc32 of bytes 0..32
//! ```
//! Written to `shape.new`, synced, renamed, folder synced: it is there whole or not at all.

use std::path::Path;

use highwater_runtime::{AlignedBuf, BLOCK, Env, File, OpenOptions};
use highwater_state::placement::Layout;

const MAGIC: &[u8; 8] = b"HWSHAPE\0";
const VERSION: u32 = 1;
const CHECKED: usize = 32;

/// What a data folder was made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Groups and stores.
    pub(crate) layout: Layout,
    /// Identity of the folder; part of every log segment.
    pub(crate) database_id: u64,
}

/// Why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ShapeError {
    /// The file cannot be read or written.
    #[error("the data folder's file '{path}' cannot be used: {source}")]
    Io {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file is damaged or of another version.
    #[error("the data folder's file '{path}' is not readable by this version: {why}")]
    Damaged {
        /// The file.
        path: String,
        /// Why.
        why: String,
    },
}

impl Shape {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for number in [VERSION, self.layout.user_shards, self.layout.shared_shards, self.layout.stores] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&self.database_id.to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        let (checked, rest) = bytes.split_at_checked(CHECKED).ok_or("it is too short")?;
        let stored = rest.first_chunk::<4>().ok_or("it is too short")?;
        if crc32fast::hash(checked) != u32::from_le_bytes(*stored) {
            return Err("its checksum does not match".into());
        }
        if !checked.starts_with(MAGIC) {
            return Err("it is no shape file".into());
        }
        let number = |at: usize| -> u32 {
            checked.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes)
        };
        if number(8) != VERSION {
            return Err(format!("its format version is {}, known is {VERSION}", number(8)));
        }
        let layout = Layout { user_shards: number(12), shared_shards: number(16), stores: number(20) };
        if layout.user_shards == 0 || layout.shared_shards == 0 || layout.stores == 0 {
            return Err("it names zero shards or stores".into());
        }
        let database_id = checked.get(24..32).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes);
        Ok(Self { layout, database_id })
    }
}

/// The shape of the folder, made with `wanted` if the folder has none yet.
///
/// # Errors
/// [`ShapeError`].
pub(crate) async fn read_or_make<E: Env>(env: &E, folder: &Path, wanted: Layout) -> Result<Shape, ShapeError> {
    let path = folder.join("shape");
    let io = |source| ShapeError::Io { path: path.display().to_string(), source };
    match env.open(&path, OpenOptions::READ).await {
        Ok(file) => {
            let bytes = file.read_at(0, BLOCK).await.map_err(io)?;
            Shape::decode(&bytes).map_err(|why| ShapeError::Damaged { path: path.display().to_string(), why })
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let shape = Shape { layout: wanted, database_id: env.random() };
            let new = folder.join("shape.new");
            match env.remove_file(&new).await {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(io(error)),
            }
            let file = env.open(&new, OpenOptions::CREATE).await.map_err(io)?;
            file.write_at(AlignedBuf::from_slice(&shape.encode()), 0).await.map_err(io)?;
            file.sync().await.map_err(io)?;
            env.rename(&new, &path).await.map_err(io)?;
            env.sync_dir(folder).await.map_err(io)?;
            Ok(shape)
        }
        Err(error) => Err(io(error)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    const SHAPE: Shape = Shape { layout: Layout { user_shards: 16, shared_shards: 4, stores: 2 }, database_id: 7 };

    #[test]
    fn the_shape_survives_its_bytes() {
        assert_eq!(Shape::decode(&SHAPE.encode()), Ok(SHAPE));
    }

    #[test]
    fn any_flipped_byte_is_noticed() {
        let bytes = SHAPE.encode();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(Shape::decode(&damaged).is_err(), "byte {at}");
        }
    }
}
