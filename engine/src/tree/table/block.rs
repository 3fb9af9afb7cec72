//! A table's data block: versions of keys in order, prefix-compressed, keys and values apart, with restart points.
//!
//! ```text
//! block    = versions | values | restart numbers, 8 bytes each | restarts | common | tail
//! version  = shared varint | unshared varint | value length varint | tag u8 | unshared key bytes | sequence | expiry u64, kind 4 only
//! tag      = kind | bytes of the sequence number << 4; the sequence has so many bytes (0 to 8), little-endian
//!            kind 1 = put, 2 = delete (no value); 3 is reserved for values kept elsewhere,
//!            4 = put of a value that expires, at that log time of its group in microseconds
//! values   = the versions' values, in the same order
//! restart  = offset of its version u32 | offset of its value among the values u32
//! number   = the first 8 bytes of the restart's key behind `common`, big-endian, padded with zeros
//! common   = what every key of the block begins with
//! tail     = bytes of the versions u32 | bytes of common u32 | number of restarts u32
//! ```
//!
//! Every 16th version is a restart: its key is whole. Every other shares as much as it can with the one before. Order: key
//! rising, then sequence falling. A search looks at the numbers, then at the few cache lines of one interval's keys, then
//! at one value. The checksum of a block is kept where the block is pointed to, so that a misdirected or stale read cannot pass.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;

use super::prefix::{self, Among};
use crate::codec::{Malformed, Reader, put_varint};
use crate::ids::{Expiry, Seq};
use crate::tree::{Entry, EntryRef};

/// Versions between restarts.
const RESTART_EVERY: usize = 16;
const PUT: u8 = 1;
const DELETE: u8 = 2;
const PUT_EXPIRING: u8 = 4;
/// Bytes of the tail.
const TAIL: usize = 12;

/// Where a restart's version, its value and its key are.
#[derive(Debug)]
struct Restart {
    version: u32,
    value: u32,
    key: Range<usize>,
}

/// Builds one block.
#[derive(Debug, Default)]
pub(crate) struct BlockBuilder {
    versions: Vec<u8>,
    values: Vec<u8>,
    restarts: Vec<Restart>,
    first_key: Vec<u8>,
    last_key: Vec<u8>,
    count: usize,
}

impl BlockBuilder {
    /// Adds the next version in order.
    pub(crate) fn push(&mut self, entry: EntryRef<'_>) {
        let begins = (self.versions.len() as u32, self.values.len() as u32);
        let is_restart = self.count.is_multiple_of(RESTART_EVERY);
        let shared = if is_restart { 0 } else { prefix::shared(entry.key, &self.last_key) };
        let unshared = entry.key.get(shared..).unwrap_or_default();
        let kind = match entry.value {
            None => DELETE,
            Some(_) if entry.expires_at == Expiry::NEVER => PUT,
            Some(_) => PUT_EXPIRING,
        };
        let value = entry.value.unwrap_or_default();
        let width = 8 - entry.seq.0.leading_zeros() as usize / 8;
        put_varint(&mut self.versions, shared as u64);
        put_varint(&mut self.versions, unshared.len() as u64);
        put_varint(&mut self.versions, value.len() as u64);
        self.versions.push(kind | (width as u8) << 4);
        if is_restart {
            let key = self.versions.len()..self.versions.len() + unshared.len();
            self.restarts.push(Restart { version: begins.0, value: begins.1, key });
            if self.count == 0 {
                self.first_key.extend_from_slice(unshared);
            }
        }
        self.versions.extend_from_slice(unshared);
        self.versions.extend_from_slice(entry.seq.0.to_le_bytes().get(..width).unwrap_or_default());
        if kind == PUT_EXPIRING {
            self.versions.extend_from_slice(&entry.expires_at.0.to_le_bytes());
        }
        self.values.extend_from_slice(value);
        self.last_key.truncate(shared);
        self.last_key.extend_from_slice(unshared);
        self.count += 1;
    }

    /// Bytes so far.
    pub(crate) fn bytes(&self) -> usize {
        self.versions.len() + self.values.len() + self.restarts.len() * 16 + TAIL
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Writes the block's bytes into `out`, in place of what was there; the builder starts anew.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        let common = prefix::shared(&self.first_key, &self.last_key);
        out.clear();
        out.extend_from_slice(&self.versions);
        out.extend_from_slice(&self.values);
        for restart in &self.restarts {
            let key = self.versions.get(restart.key.clone()).unwrap_or_default();
            out.extend_from_slice(&prefix::number(key.get(common..).unwrap_or_default()).to_be_bytes());
        }
        for restart in &self.restarts {
            out.extend_from_slice(&restart.version.to_le_bytes());
            out.extend_from_slice(&restart.value.to_le_bytes());
        }
        out.extend_from_slice(self.first_key.get(..common).unwrap_or_default());
        for number in [self.versions.len(), common, self.restarts.len()] {
            out.extend_from_slice(&(number as u32).to_le_bytes());
        }
        self.versions.clear();
        self.values.clear();
        self.restarts.clear();
        self.first_key.clear();
        self.last_key.clear();
        self.count = 0;
    }
}

/// A block in memory.
#[derive(Clone, Debug)]
pub struct Block {
    data: Bytes,
    /// Where the values begin.
    values_at: usize,
    /// Where the restart numbers begin.
    numbers_at: usize,
    restarts: usize,
    /// Bytes of `common`.
    common: usize,
}

/// What a block knows of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seek {
    /// The newest version at or below the asked-for sequence.
    Found(Seq, Option<Bytes>, Expiry),
    /// The table has no such version.
    Absent,
    /// The block ends with the key or before it; the next one may go on.
    Beyond,
}

/// The fixed part of a version.
struct Header {
    shared: usize,
    unshared: usize,
    value: usize,
    tag: u8,
}

impl Header {
    fn slowly(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (shared, unshared, value) = (reader.length()?, reader.length()?, reader.length()?);
        Ok(Self { shared, unshared, value, tag: reader.u8()? })
    }
}

/// A version as it lies in a block.
pub(super) struct Lying {
    pub(super) shared: usize,
    /// Where the unshared bytes of its key are.
    pub(super) key: Range<usize>,
    tag: u8,
    /// Where its value is.
    pub(super) value: Range<usize>,
    /// Where the next version is.
    pub(super) next: usize,
}

impl Lying {
    const fn is_put(&self) -> bool {
        self.tag & 15 != DELETE
    }
}

impl Block {
    /// Takes a block's bytes.
    ///
    /// # Errors
    /// When its parts do not fit together. The versions are checked as they are read.
    pub fn decode(data: Bytes) -> Result<Self, Malformed> {
        let error = |what| Malformed { at: data.len(), what };
        let tail_at = data.len().checked_sub(TAIL).ok_or(error("the block is too short"))?;
        let mut tail = Reader::starting_at(&data, tail_at);
        let (values_at, common, restarts) = (tail.u32()? as usize, tail.u32()? as usize, tail.u32()? as usize);
        let numbers_at = restarts
            .checked_mul(16)
            .and_then(|bytes| bytes.checked_add(common))
            .and_then(|bytes| tail_at.checked_sub(bytes))
            .ok_or(error("more restarts than bytes"))?;
        if restarts == 0 {
            return Err(error("a block without versions"));
        }
        if values_at > numbers_at {
            return Err(error("the versions end outside the block"));
        }
        Ok(Self { data, values_at, numbers_at, restarts, common })
    }

    /// Bytes in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.data.len() + size_of::<Self>()
    }

    /// Number of restart intervals, at least one.
    pub fn intervals(&self) -> usize {
        self.restarts
    }

    /// These bytes of the block, sharing its memory; nothing for a range outside.
    pub(super) fn shared_bytes(&self, range: &Range<usize>) -> Bytes {
        if range.end <= self.data.len() && range.start <= range.end {
            self.data.slice(range.clone())
        } else {
            Bytes::new()
        }
    }

    /// These bytes of the block; nothing for a range outside.
    pub(super) fn slice(&self, range: &Range<usize>) -> &[u8] {
        self.data.get(range.clone()).unwrap_or_default()
    }

    /// Where the versions end.
    pub(super) const fn end(&self) -> usize {
        self.values_at
    }

    /// Where an interval's first version and its value are; behind the last interval, where all end.
    pub(super) fn restart(&self, interval: usize) -> Result<(usize, usize), Malformed> {
        if interval >= self.restarts {
            return Ok((self.values_at, self.numbers_at));
        }
        let at = self.numbers_at + (self.restarts + interval) * 8;
        let mut reader = Reader::starting_at(&self.data, at);
        let (version, value) = (reader.u32()? as usize, reader.u32()? as usize + self.values_at);
        if version >= self.values_at || value > self.numbers_at {
            return Err(Malformed { at, what: "a restart outside the block" });
        }
        Ok((version, value))
    }

    /// The version at `at`, whose value is at `value_at`.
    pub(super) fn version(&self, at: usize, value_at: usize) -> Result<Lying, Malformed> {
        let mut key_at = at + 4;
        let header = match self.data.get(at..at + 4) {
            Some(&[shared, unshared, value, tag]) if (shared | unshared | value) < 0x80 => {
                Header { shared: usize::from(shared), unshared: usize::from(unshared), value: usize::from(value), tag }
            }
            Some(_) | None => {
                let mut reader = Reader::starting_at(&self.data, at);
                let header = Header::slowly(&mut reader)?;
                key_at = reader.position();
                header
            }
        };
        let width = usize::from(header.tag >> 4);
        let expiry = match header.tag & 15 {
            PUT | DELETE => 0,
            PUT_EXPIRING => 8,
            _ => return Err(Malformed { at, what: "an unknown kind of version" }),
        };
        let key = key_at..key_at + header.unshared;
        let value = value_at..value_at + header.value;
        let next = key.end + width + expiry;
        if next > self.values_at || value.end > self.numbers_at || width > 8 {
            return Err(Malformed { at, what: "a version ends outside the block" });
        }
        Ok(Lying { shared: header.shared, key, tag: header.tag, value, next })
    }

    /// A number of eight bytes; behind the versions are always more than that, so one is there at each of their bytes.
    fn number_at(&self, at: usize) -> u64 {
        self.data.get(at..at + 8).and_then(|bytes| bytes.first_chunk()).map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }

    /// The sequence number of a version.
    pub(super) fn seq(&self, version: &Lying) -> Seq {
        let bits = u32::from(version.tag >> 4) * 8;
        let mask = u64::MAX.checked_shr(64 - bits).unwrap_or(0);
        Seq(self.number_at(version.key.end) & mask)
    }

    /// Whether a version is a put, and when its value has expired.
    pub(super) fn kind(&self, version: &Lying) -> (bool, Expiry) {
        let expires_at = if version.tag & 15 == PUT_EXPIRING {
            Expiry(self.number_at(version.key.end + usize::from(version.tag >> 4)))
        } else {
            Expiry::NEVER
        };
        (version.is_put(), expires_at)
    }

    /// The first key of an interval.
    fn first_key(&self, interval: usize) -> Result<&[u8], Malformed> {
        let (at, value_at) = self.restart(interval)?;
        let version = self.version(at, value_at)?;
        Ok(self.slice(&version.key))
    }

    /// Number of intervals whose first key is below `key`.
    pub(crate) fn intervals_below(&self, key: &[u8]) -> Result<usize, Malformed> {
        let common_at = self.numbers_at + self.restarts * 16;
        let rest = match prefix::strip(key, self.slice(&(common_at..common_at + self.common))) {
            Among::Before => return Ok(0),
            Among::Behind => return Ok(self.restarts),
            Among::Rest(rest) => rest,
        };
        let (numbers, _) = self.slice(&(self.numbers_at..self.numbers_at + self.restarts * 8)).as_chunks::<8>();
        let ties = prefix::ties(numbers, rest);
        let (mut low, mut high) = (ties.start, ties.end);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.first_key(middle)? < key {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// The newest version of `key` at or below `at`.
    ///
    /// Keys are not put together: what a version shares with its predecessor, against what the predecessor shared with `key`,
    /// decides most comparisons.
    pub(crate) fn get(&self, key: &[u8], at: Seq) -> Result<Seek, Malformed> {
        let mut interval = self.intervals_below(key)?.saturating_sub(1);
        let (mut version_at, mut value_at) = self.restart(interval)?;
        let (mut end, _) = self.restart(interval + 1)?;
        // The present key begins as `key` for so many bytes, is below `key` or, with `equal`, is it.
        let (mut matched, mut equal) = (0, false);
        while version_at < self.values_at {
            if version_at >= end {
                interval += 1;
                (end, _) = self.restart(interval + 1)?;
                (matched, equal) = (0, false);
            }
            let version = self.version(version_at, value_at)?;
            let order = match version.shared.cmp(&matched) {
                _ if equal => match version.shared == key.len() && version.key.is_empty() {
                    true => Ordering::Equal,
                    false => Ordering::Greater,
                },
                Ordering::Greater => Ordering::Less,
                Ordering::Less => Ordering::Greater,
                Ordering::Equal => {
                    let (held, wanted) = (self.slice(&version.key), key.get(matched..).unwrap_or_default());
                    let common = prefix::shared(held, wanted);
                    matched += common;
                    held.get(common).cmp(&wanted.get(common))
                }
            };
            match order {
                Ordering::Less => {}
                Ordering::Equal => {
                    equal = true;
                    let seq = self.seq(&version);
                    if seq <= at {
                        let (is_put, expires_at) = self.kind(&version);
                        let value = is_put.then(|| self.shared_bytes(&version.value));
                        return Ok(Seek::Found(seq, value, expires_at));
                    }
                }
                Ordering::Greater => return Ok(Seek::Absent),
            }
            version_at = version.next;
            value_at = version.value.end;
        }
        Ok(Seek::Beyond)
    }

    /// Appends the versions of an interval, in order. Their keys share one allocation, their values the block's memory.
    ///
    /// # Errors
    /// On bytes that are no versions.
    pub fn interval(&self, interval: usize, out: &mut VecDeque<Entry>) -> Result<(), Malformed> {
        let (end, _) = self.restart(interval + 1)?;
        let (mut at, mut value_at) = self.restart(interval)?;
        let mut keys: Vec<u8> = Vec::with_capacity(RESTART_EVERY * 32);
        let mut versions = Vec::with_capacity(RESTART_EVERY);
        let mut last = 0..0;
        while at < end {
            let version = self.version(at, value_at)?;
            if version.shared > last.len() {
                return Err(Malformed { at, what: "a key shares more than its predecessor has" });
            }
            let start = keys.len();
            keys.extend_from_within(last.start..last.start + version.shared);
            keys.extend_from_slice(self.slice(&version.key));
            last = start..keys.len();
            let (is_put, expires_at) = self.kind(&version);
            let value = is_put.then(|| self.shared_bytes(&version.value));
            versions.push((last.clone(), self.seq(&version), value, expires_at));
            at = version.next;
            value_at = version.value.end;
        }
        let keys = Bytes::from(keys);
        for (key, seq, value, expires_at) in versions {
            out.push_back(Entry { key: keys.slice(key), seq, value, expires_at });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    fn entry(key: &str, seq: u64, value: Option<&str>) -> Entry {
        let value = value.map(|value| Bytes::copy_from_slice(value.as_bytes()));
        Entry { key: Bytes::copy_from_slice(key.as_bytes()), seq: Seq(seq), value, expires_at: Expiry::NEVER }
    }

    fn build(entries: &[Entry]) -> Block {
        let mut builder = BlockBuilder::default();
        entries.iter().for_each(|entry| builder.push(entry.into()));
        let mut out = Vec::new();
        builder.finish(&mut out);
        Block::decode(Bytes::from(out)).unwrap()
    }

    #[test]
    fn a_block_has_fixed_bytes() {
        let block = build(&[
            entry("abc", 258, Some("v")),
            entry("abd", 1, None),
            Entry { expires_at: Expiry(300), ..entry("abe", 0, Some("w")) },
        ]);
        let versions = b"\x00\x03\x01\x21abc\x02\x01\x02\x01\x00\x12d\x01\x02\x01\x01\x04e\x2c\x01\0\0\0\0\0\0";
        let rest = b"vwc\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0ab\x1c\0\0\0\x02\0\0\0\x01\0\0\0";
        assert_eq!(block.data, [&versions[..], rest].concat());
        let found = block.get(b"abe", Seq(9)).unwrap();
        assert_eq!(found, Seek::Found(Seq(0), Some(Bytes::from_static(b"w")), Expiry(300)));
    }

    #[test]
    fn every_version_is_found_and_comes_back_in_order() {
        let mut entries = Vec::new();
        for i in 0..50 {
            for seq in (1..=3).rev() {
                let expires_at = if i % 3 == 0 && seq != 2 { Expiry(i) } else { Expiry::NEVER };
                let value = (seq != 2).then_some("value");
                entries.push(Entry { expires_at, ..entry(&format!("key{i:03}"), seq, value) });
            }
        }
        let block = build(&entries);
        assert!(block.intervals() > 5);
        let mut all = VecDeque::new();
        for interval in 0..block.intervals() {
            block.interval(interval, &mut all).unwrap();
        }
        assert_eq!(all, entries);
        for entry in &entries {
            assert_eq!(
                block.get(&entry.key, entry.seq).unwrap(),
                Seek::Found(entry.seq, entry.value.clone(), entry.expires_at)
            );
        }
        assert_eq!(block.get(b"key010", Seq(0)).unwrap(), Seek::Absent);
        assert_eq!(block.get(b"key0105", Seq(9)).unwrap(), Seek::Absent);
        assert_eq!(block.get(b"a", Seq(9)).unwrap(), Seek::Absent);
        assert_eq!(block.get(b"z", Seq(9)).unwrap(), Seek::Beyond);
    }

    #[test]
    fn a_get_finds_what_a_walk_over_the_block_would() {
        fn property(keys: Vec<(Vec<u8>, u8)>, long: bool, wanted: Vec<u8>, at: u8) -> bool {
            let head: &[u8] = if long { &[7; 150] } else { b"g" };
            // Few letters, so that keys are beginnings of each other and share much.
            let key = |bytes: &[u8]| [head, &bytes.iter().map(|byte| byte % 3).collect::<Vec<_>>()].concat();
            let mut versions: Vec<(Vec<u8>, u8)> = keys.iter().map(|(bytes, seq)| (key(bytes), *seq)).collect();
            versions.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
            versions.dedup();
            if versions.is_empty() {
                return true;
            }
            let entries: Vec<Entry> = versions
                .iter()
                .map(|(key, seq)| Entry {
                    key: Bytes::from(key.clone()),
                    seq: Seq(u64::from(*seq)),
                    value: Some(Bytes::from(vec![*seq; usize::from(*seq) * 9])),
                    expires_at: Expiry::NEVER,
                })
                .collect();
            let block = build(&entries);
            let probes = entries.iter().map(|entry| entry.key.to_vec()).chain([key(&wanted), wanted, head.to_vec()]);
            probes.into_iter().all(|probe| {
                let position = entries.iter().position(|entry| {
                    entry.key[..] > probe[..] || (entry.key == probe && entry.seq.0 <= u64::from(at))
                });
                let expected = match position.map(|position| &entries[position]) {
                    Some(entry) if entry.key == probe => Seek::Found(entry.seq, entry.value.clone(), Expiry::NEVER),
                    Some(_) => Seek::Absent,
                    None => Seek::Beyond,
                };
                block.get(&probe, Seq(u64::from(at))).unwrap() == expected
            })
        }
        quickcheck::quickcheck(property as fn(Vec<(Vec<u8>, u8)>, bool, Vec<u8>, u8) -> bool);
    }

    #[test]
    fn no_bytes_make_the_decoder_panic() {
        fn property(bytes: Vec<u8>, flips: Vec<(u16, u8)>, key: Vec<u8>) -> bool {
            let good = build(&[entry("abc", 2, Some("v")), entry("abd", 1, None), entry("b", 900, Some("w"))]);
            let mut damaged = good.data.to_vec();
            for (at, to) in flips {
                let at = usize::from(at) % damaged.len();
                damaged[at] = to;
            }
            for bytes in [bytes, damaged] {
                if let Ok(block) = Block::decode(Bytes::from(bytes)) {
                    let _ = block.get(&key, Seq(5));
                    let _ = block.get(b"abd", Seq(5));
                    for interval in 0..block.intervals().min(10) {
                        let _ = block.interval(interval, &mut VecDeque::new());
                    }
                }
            }
            true
        }
        quickcheck::quickcheck(property as fn(Vec<u8>, Vec<(u16, u8)>, Vec<u8>) -> bool);
    }
}
