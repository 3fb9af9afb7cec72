//! Reading what pointers name: one or several neighbours in one read, each checked against its pointer.

use std::path::Path;

use bytes::Bytes;
use highwater_runtime::{AlignedBuf, BLOCK, File};

use super::format::{Codec, Pointer};
use crate::error::EngineError;

/// Where the bytes that were read are to lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Memory {
    /// In an allocation of exactly their size: for what is kept.
    Own,
    /// In the buffer of the read, together with its neighbours: for what is used once.
    Shared,
}

/// A read buffer as shared bytes.
struct Owned(AlignedBuf);

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Why a read up to `end` failed. A short read is damage only if the file really is shorter; else the device did not deliver,
/// and may the next time.
pub(crate) async fn failed_read<F: File>(file: &F, path: &Path, end: u64, error: &std::io::Error) -> EngineError {
    if error.kind() == std::io::ErrorKind::UnexpectedEof
        && let Ok(len) = file.len().await
        && len < end
    {
        return EngineError::corruption(path, len, "the file ends too early");
    }
    EngineError::io("read", path, error)
}

/// Reads what a pointer names and checks it. Nothing is read for a stored length of 0.
pub(crate) async fn read<F: File>(
    file: &F,
    path: &Path,
    pointer: &Pointer,
    memory: Memory,
) -> Result<Bytes, EngineError> {
    let parts = read_many(file, path, std::slice::from_ref(pointer), memory).await?;
    Ok(parts.into_iter().next().unwrap_or_default())
}

/// Reads what these pointers name, from the first to the last in the file, in one read.
pub(crate) async fn read_many<F: File>(
    file: &F,
    path: &Path,
    pointers: &[Pointer],
    memory: Memory,
) -> Result<Vec<Bytes>, EngineError> {
    let (Some(first), Some(last)) = (pointers.first(), pointers.last()) else { return Ok(Vec::new()) };
    let from = first.offset / BLOCK as u64 * BLOCK as u64;
    let end = (last.offset + u64::from(last.stored)).next_multiple_of(BLOCK as u64);
    let len = usize::try_from(end.saturating_sub(from)).unwrap_or(usize::MAX).max(BLOCK);
    let buffer = match file.read_at(from, len).await {
        Ok(buffer) => buffer,
        Err(error) => return Err(failed_read(file, path, from + len as u64, &error).await),
    };
    let whole = Bytes::from_owner(Owned(buffer));
    let mut parts = Vec::with_capacity(pointers.len());
    for pointer in pointers {
        let at = pointer.offset.saturating_sub(from) as usize;
        let stored = whole.get(at..at.saturating_add(pointer.stored as usize));
        // Planted bug 120: nobody compares checksums.
        let sound =
            stored.filter(|stored| crc32fast::hash(stored) == pointer.checksum || highwater_runtime::mutant(120));
        let Some(stored) = sound else {
            return Err(EngineError::corruption(path, pointer.offset, "a block does not match its checksum"));
        };
        let stored = match (memory, pointer.codec) {
            (Memory::Own, Codec::Plain) => Bytes::copy_from_slice(stored),
            (Memory::Own | Memory::Shared, Codec::Plain | Codec::Lz4) => whole.slice_ref(stored),
        };
        parts.push(pointer.unpack(stored).map_err(|error| EngineError::malformed(path, pointer.offset, &error))?);
    }
    Ok(parts)
}
