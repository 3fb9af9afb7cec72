//! The bytes of a memtable's keys and values: appended to chunks, shared without a copy once a chunk is full.
//!
//! Nothing is freed before the arena is. Bytes of the chunk that is still growing are copied when they are shared.

use bytes::Bytes;

/// Bytes of a full chunk; what is larger gets a chunk of its own.
const CHUNK: usize = 256 << 10;
/// Bytes reserved for the first chunk, so that a small memtable stays small.
const FIRST: usize = 4 << 10;

/// Where bytes begin in the arena.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spot {
    chunk: u32,
    offset: u32,
}

impl Spot {
    /// The spot so many bytes further on in the same push.
    pub(crate) const fn after(self, bytes: usize) -> Self {
        Self { chunk: self.chunk, offset: self.offset + bytes as u32 }
    }
}

/// Chunks of bytes.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    full: Vec<Bytes>,
    open: Vec<u8>,
    bytes: usize,
}

impl Arena {
    /// Appends `parts` one behind the other; says where the first begins.
    pub(crate) fn push(&mut self, parts: [&[u8]; 3]) -> Spot {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        if self.open.len() + len > self.open.capacity() {
            self.make_room(len);
        }
        let spot = Spot { chunk: self.full.len() as u32, offset: self.open.len() as u32 };
        for part in parts {
            self.open.extend_from_slice(part);
        }
        self.bytes += len;
        spot
    }

    fn make_room(&mut self, len: usize) {
        let small = self.full.is_empty() && self.open.len() + len <= CHUNK;
        if small {
            // The first chunk grows as a vector does.
            self.open.reserve(len.max(FIRST));
            return;
        }
        self.close();
        self.open.reserve_exact(len.max(CHUNK));
    }

    /// Ends the growing chunk: what is in it can be shared from now on.
    pub(crate) fn close(&mut self) {
        if !self.open.is_empty() {
            self.full.push(Bytes::from(std::mem::take(&mut self.open)));
        }
    }

    /// The bytes at a spot.
    pub(crate) fn get(&self, spot: Spot, len: usize) -> &[u8] {
        let start = spot.offset as usize;
        let chunk = self.full.get(spot.chunk as usize).map_or(self.open.as_slice(), |chunk| chunk);
        chunk.get(start..start + len).unwrap_or_default()
    }

    /// The bytes at a spot, to be kept.
    pub(crate) fn share(&self, spot: Spot, len: usize) -> Bytes {
        let start = spot.offset as usize;
        match self.full.get(spot.chunk as usize) {
            Some(chunk) => chunk.slice(start..start + len),
            None => Bytes::copy_from_slice(self.get(spot, len)),
        }
    }

    /// Bytes pushed.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    #[test]
    fn what_was_pushed_stays_where_it_is() {
        let mut arena = Arena::default();
        let mut spots = Vec::new();
        let values: Vec<Vec<u8>> = (0..3000usize).map(|i| vec![i as u8; (i * 37) % 900]).collect();
        for (i, value) in values.iter().enumerate() {
            spots.push(arena.push([&(i as u32).to_le_bytes(), b"", value]));
        }
        let large = arena.push([b"", &vec![7; CHUNK * 3], b""]);
        for round in 0..2 {
            for (i, (spot, value)) in spots.iter().zip(&values).enumerate() {
                assert_eq!(arena.get(*spot, 4), (i as u32).to_le_bytes(), "round {round}");
                assert_eq!(arena.share(spot.after(4), value.len()), *value);
            }
            assert_eq!(arena.share(large, CHUNK * 3), vec![7; CHUNK * 3]);
            arena.close();
        }
        assert!(arena.full.len() > 3);
    }
}
