//! A table's index: which block may hold a key. Two levels: the top names partitions, a partition names data blocks.
//!
//! ```text
//! index     = numbers, 8 bytes each | entries' pointers | ends u32 each | rests | common | tail
//! entry     = one separator and its pointers: in a partition that of the data block, in the top those of the partition
//!             and of its filter (stored length 0: no filter)
//! separator = common and the entry's rest: at or above every key of what it points to, below every key of the next, unless
//!             versions of one key lie on both sides: then it is that key
//! number    = the first 8 bytes of the rest, big-endian, padded with zeros
//! end       = where the entry's rest ends among the rests
//! common    = what every separator of this index begins with
//! tail      = bytes of common u32 | pointers of an entry u32 (1 partition, 2 top) | number of entries u32
//! ```
//!
//! A pointer has a fixed size (see `format`), so that all is searched as it lies in the file: numbers first, rests to settle ties.

use bytes::Bytes;

use super::format::{POINTER, Pointer};
use super::prefix::{self, Among};
use crate::codec::{Malformed, Reader};

/// Bytes of the tail.
const TAIL: usize = 12;

/// Builds one index.
#[derive(Debug, Default)]
pub(crate) struct IndexBuilder {
    separators: Vec<u8>,
    ends: Vec<u32>,
    pointers: Vec<u8>,
}

impl IndexBuilder {
    /// Adds the next entry in order. Every entry of an index has as many pointers.
    pub(crate) fn push(&mut self, separator: &[u8], pointers: &[Pointer]) {
        self.separators.extend_from_slice(separator);
        self.ends.push(self.separators.len() as u32);
        for pointer in pointers {
            pointer.put(&mut self.pointers);
        }
    }

    /// Number of entries.
    pub(crate) const fn len(&self) -> usize {
        self.ends.len()
    }

    /// Bytes so far, about.
    pub(crate) fn bytes(&self) -> usize {
        self.separators.len() + self.pointers.len() + self.ends.len() * 12 + TAIL
    }

    /// The index's bytes; the builder starts anew.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        let separator = |at: usize| {
            let start = at.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |end| *end as usize);
            let end = self.ends.get(at).map_or(start, |end| *end as usize);
            self.separators.get(start..end).unwrap_or_default()
        };
        let count = self.ends.len();
        let common = prefix::shared(separator(0), separator(count.saturating_sub(1)));
        let mut out = Vec::with_capacity(self.bytes());
        for at in 0..count {
            out.extend_from_slice(&prefix::number(separator(at).get(common..).unwrap_or_default()).to_be_bytes());
        }
        out.extend_from_slice(&self.pointers);
        for (at, end) in self.ends.iter().enumerate() {
            out.extend_from_slice(&(*end - (common * (at + 1)) as u32).to_le_bytes());
        }
        for at in 0..count {
            out.extend_from_slice(separator(at).get(common..).unwrap_or_default());
        }
        out.extend_from_slice(separator(0).get(..common).unwrap_or_default());
        let width = self.pointers.len() / POINTER / count.max(1);
        for number in [common, width, count] {
            out.extend_from_slice(&(number as u32).to_le_bytes());
        }
        *self = Self::default();
        out
    }
}

/// An index in memory.
#[derive(Clone, Debug)]
pub struct Index {
    data: Bytes,
    count: usize,
    width: usize,
    /// Where the rests begin, and where they end.
    rests: (usize, usize),
    common: usize,
}

/// Where a search in an index ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The first entry whose separator is at or above the key; the number of entries when there is none.
    pub(crate) at: usize,
    /// The separator is the key: its versions may go on behind the entry.
    pub(crate) exact: bool,
}

impl Index {
    /// Takes an index's bytes.
    ///
    /// # Errors
    /// When its parts do not fit together.
    pub fn decode(data: Bytes) -> Result<Self, Malformed> {
        let error = |what| Malformed { at: data.len(), what };
        let tail_at = data.len().checked_sub(TAIL).ok_or(error("the index is too short"))?;
        let mut tail = Reader::starting_at(&data, tail_at);
        let (common, width, count) = (tail.u32()? as usize, tail.u32()? as usize, tail.u32()? as usize);
        if width > 2 || (width == 0) != (count == 0) {
            return Err(error("an index whose entries have neither one pointer nor two"));
        }
        let fixed = count.checked_mul(12 + width * POINTER).ok_or(error("more entries than bytes"))?;
        let rests_end = tail_at.checked_sub(common).ok_or(error("more common bytes than bytes"))?;
        if fixed > rests_end {
            return Err(error("more entries than bytes"));
        }
        Ok(Self { data, count, width, rests: (fixed, rests_end), common })
    }

    /// Number of entries.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.data.len() + size_of::<Self>()
    }

    fn common(&self) -> &[u8] {
        self.data.get(self.rests.1..self.rests.1 + self.common).unwrap_or_default()
    }

    /// An entry's separator without what is common.
    fn rest(&self, at: usize) -> &[u8] {
        let end = |at: usize| {
            let from = self.count * (8 + self.width * POINTER) + at * 4;
            let bytes = self.data.get(from..from + 4).and_then(|bytes| bytes.first_chunk());
            bytes.map_or(usize::MAX, |bytes| u32::from_le_bytes(*bytes) as usize)
        };
        let start = at.checked_sub(1).map_or(0, end);
        let (from, upto) = (self.rests.0.saturating_add(start), self.rests.0.saturating_add(end(at)));
        if upto > self.rests.1 {
            return &[];
        }
        self.data.get(from..upto).unwrap_or_default()
    }

    /// An entry's separator; empty for one that does not exist.
    #[must_use]
    pub fn separator(&self, at: usize) -> Vec<u8> {
        if at < self.count { [self.common(), self.rest(at)].concat() } else { Vec::new() }
    }

    /// An entry's pointer number `which`, if there is one.
    ///
    /// # Errors
    /// On bytes that are no pointer.
    pub fn pointer(&self, at: usize, which: usize) -> Result<Option<Pointer>, Malformed> {
        if at >= self.count || which >= self.width {
            return Ok(None);
        }
        let from = self.count * 8 + (at * self.width + which) * POINTER;
        let pointer = Pointer::read(&mut Reader::starting_at(&self.data, from))?;
        Ok((pointer.stored > 0).then_some(pointer))
    }

    /// Where `key` belongs.
    pub(crate) fn find(&self, key: &[u8]) -> Place {
        let rest = match prefix::strip(key, self.common()) {
            Among::Before => return Place { at: 0, exact: false },
            Among::Behind => return Place { at: self.count, exact: false },
            Among::Rest(rest) => rest,
        };
        let (numbers, _) = self.data.get(..self.count * 8).unwrap_or_default().as_chunks::<8>();
        let ties = prefix::ties(numbers, rest);
        let (mut low, mut high) = (ties.start, ties.end);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.rest(middle) < rest {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Place { at: low, exact: low < ties.end && self.rest(low) == rest }
    }
}

/// The shortest key at or above `last` and below `next`; `last` itself when they are versions of one key.
pub(crate) fn separator<'a>(last: &'a [u8], next: &'a [u8]) -> &'a [u8] {
    let shared = prefix::shared(last, next);
    match next.get(..=shared) {
        Some(short) if short.len() < next.len() && short.len() < last.len() => short,
        Some(_) | None => last,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::super::format::Codec;
    use super::*;

    const POINTER_A: Pointer = Pointer { offset: 300, stored: 5, raw: 9, codec: Codec::Lz4, checksum: 0x0403_0201 };

    #[test]
    fn an_index_has_fixed_bytes() {
        let mut builder = IndexBuilder::default();
        builder.push(b"gab", &[POINTER_A]);
        builder.push(b"gb", &[POINTER_A]);
        let bytes = builder.finish();
        let pointer = b"\x2c\x01\0\0\0\0\0\0\x05\0\0\0\x09\0\0\0\x01\x01\x02\x03\x04";
        let expected = [
            &b"ab\0\0\0\0\0\0b\0\0\0\0\0\0\0"[..],
            pointer,
            pointer,
            b"\x02\0\0\0\x03\0\0\0abbg\x01\0\0\0\x01\0\0\0\x02\0\0\0",
        ];
        assert_eq!(bytes, expected.concat());
        let index = Index::decode(Bytes::from(bytes)).unwrap();
        assert_eq!((index.separator(0), index.separator(1)), (b"gab".to_vec(), b"gb".to_vec()));
        assert_eq!(index.pointer(1, 0).unwrap(), Some(POINTER_A));
        assert_eq!(index.pointer(1, 1).unwrap(), None);
        assert_eq!(index.find(b"gab"), Place { at: 0, exact: true });
        assert_eq!(index.find(b"gaba"), Place { at: 1, exact: false });
        assert_eq!((index.find(b"f").at, index.find(b"g").at, index.find(b"h").at), (0, 0, 2));
    }

    #[test]
    fn a_search_finds_the_first_separator_at_or_above_the_key() {
        fn property(keys: Vec<Vec<u8>>, head: Vec<u8>, probes: Vec<Vec<u8>>) -> bool {
            let key = |bytes: &[u8]| [&head[..], &bytes.iter().map(|byte| byte % 3).collect::<Vec<_>>()].concat();
            let mut keys: Vec<Vec<u8>> = keys.iter().map(|bytes| key(bytes)).collect();
            keys.sort();
            keys.dedup();
            let mut builder = IndexBuilder::default();
            keys.iter().for_each(|key| builder.push(key, &[POINTER_A, POINTER_A]));
            let index = Index::decode(Bytes::from(builder.finish())).unwrap();
            let probes = probes.iter().map(|probe| key(probe)).chain(probes.clone()).chain(keys.clone());
            probes.into_iter().all(|probe| {
                let at = keys.partition_point(|key| *key < probe);
                index.find(&probe) == Place { at, exact: keys.get(at) == Some(&probe) }
            })
        }
        quickcheck::quickcheck(property as fn(Vec<Vec<u8>>, Vec<u8>, Vec<Vec<u8>>) -> bool);
    }

    #[test]
    fn a_separator_lies_between_its_neighbours_and_is_no_longer_than_the_first() {
        fn property(head: Vec<u8>, a: Vec<u8>, b: Vec<u8>) -> bool {
            let (a, b) = ([head.clone(), a].concat(), [head, b].concat());
            let (last, next) = if a <= b { (a, b) } else { (b, a) };
            let between = separator(&last, &next);
            last[..] <= *between && (*between < next[..] || last == next) && between.len() <= last.len()
        }
        quickcheck::quickcheck(property as fn(Vec<u8>, Vec<u8>, Vec<u8>) -> bool);
        assert_eq!(separator(b"group-1-apple", b"group-1-banana"), b"group-1-b");
    }

    #[test]
    fn no_bytes_make_the_decoder_panic() {
        fn property(bytes: Vec<u8>, flips: Vec<(u16, u8)>, key: Vec<u8>) -> bool {
            let mut builder = IndexBuilder::default();
            builder.push(b"gab", &[POINTER_A]);
            builder.push(b"gb", &[POINTER_A]);
            let mut damaged = builder.finish();
            for (at, to) in flips {
                let at = usize::from(at) % damaged.len();
                damaged[at] = to;
            }
            for bytes in [bytes, damaged] {
                if let Ok(index) = Index::decode(Bytes::from(bytes)) {
                    let _ = (index.find(&key), index.find(b"gb"));
                    for at in 0..index.len().min(5) {
                        let _ = (index.separator(at), index.pointer(at, 0));
                    }
                }
            }
            true
        }
        quickcheck::quickcheck(property as fn(Vec<u8>, Vec<(u16, u8)>, Vec<u8>) -> bool);
    }
}
