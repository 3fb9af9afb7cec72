//! A piece of a group's snapshot. Chunks of two snapshots are never mixed: each names its snapshot by index and term, and the
//! part of it (a file, a table) with the place in the part.
//!
//! ```text
//! 0..8    call id: a chunk is answered like a call
//! 8..16   time that the sender will wait, microseconds
//! 16..20  group
//! 20..28  index of the snapshot
//! 28..36  term of that entry
//! 36..40  part, from 0
//! 40..48  bytes of this part before the chunk
//! 48..56  bytes of the whole part
//! 56..60  number of parts
//! 60..64  CRC-32 of the data, kept with it when it is staged
//! 64..    the data
//! ```

use bytes::{BufMut as _, Bytes, BytesMut};

use super::fields::{Fields, Malformed};
use super::ids::{CallId, GroupId, LogIndex, Term};

/// Bytes before a chunk's data.
pub const CHUNK_HEADER_BYTES: usize = 64;

/// One chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotChunk {
    /// The group.
    pub group: GroupId,
    /// The last entry that the snapshot covers.
    pub index: LogIndex,
    /// That entry's term.
    pub term: Term,
    /// Which part of the snapshot, from 0.
    pub part: u32,
    /// How many parts it has.
    pub parts: u32,
    /// Where in the part the data begins.
    pub offset: u64,
    /// How long the part is.
    pub part_bytes: u64,
    /// The data; never past the end of the part.
    pub data: Bytes,
}

impl SnapshotChunk {
    /// CRC-32 of the data.
    #[must_use]
    pub fn checksum(&self) -> u32 {
        crc32fast::hash(&self.data)
    }

    /// Whether nothing follows it in its part.
    #[must_use]
    pub fn ends_part(&self) -> bool {
        self.offset.saturating_add(self.data.len() as u64) == self.part_bytes
    }

    /// Appends it as the call `id`, which waits for `timeout_micros`.
    pub fn encode(&self, id: CallId, timeout_micros: u64, out: &mut BytesMut) {
        out.put_u64_le(id.0);
        out.put_u64_le(timeout_micros);
        out.put_u32_le(self.group.0);
        out.put_u64_le(self.index.0);
        out.put_u64_le(self.term.0);
        out.put_u32_le(self.part);
        out.put_u64_le(self.offset);
        out.put_u64_le(self.part_bytes);
        out.put_u32_le(self.parts);
        out.put_u32_le(self.checksum());
        out.put_slice(&self.data);
    }

    /// Reads a payload: the call's id, its time, the chunk.
    ///
    /// # Errors
    /// [`Malformed`], also when the data does not match its checksum or lies outside its part.
    pub fn decode(payload: &Bytes) -> Result<(CallId, u64, Self), Malformed> {
        let mut fields = Fields::of(payload);
        let id = CallId(fields.u64("the call's id")?);
        let timeout_micros = fields.u64("the call's time")?;
        let group = GroupId(fields.u32("the group")?);
        let index = LogIndex(fields.u64("the snapshot's index")?);
        let term = Term(fields.u64("the snapshot's term")?);
        let part = fields.u32("the part")?;
        let offset = fields.u64("the offset")?;
        let part_bytes = fields.u64("the part's length")?;
        let parts = fields.u32("the number of parts")?;
        let checksum = fields.u32("the checksum")?;
        let chunk = Self { group, index, term, part, parts, offset, part_bytes, data: fields.rest() };
        if part >= parts {
            return Err(Malformed::Value("part"));
        }
        if offset.checked_add(chunk.data.len() as u64).is_none_or(|end| end > part_bytes) {
            return Err(Malformed::Value("offset"));
        }
        if chunk.checksum() != checksum {
            return Err(Malformed::Value("checksum of the chunk's data"));
        }
        Ok((id, timeout_micros, chunk))
    }
}
