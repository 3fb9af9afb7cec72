//! A table's data block: versions of keys in order, prefix-compressed, with restart points.
//!
//! ```text
//! version  = shared varint | unshared varint | trailer varint | value length varint | expiry varint, kind 4 only
//!            | unshared key bytes | value
//! block    = versions | restart offsets, u32 each | number of restarts u32
//! trailer  = sequence << 8 | kind      kind 1 = put, 2 = delete (no value); 3 is reserved for values kept elsewhere,
//!            4 = put of a value that expires, at that log time of its group in microseconds
//! ```
//!
//! Every 16th version is a restart: its key is whole. Order: key rising, then sequence falling. The checksum of a block is
//! kept where the block is pointed to, so that a misdirected or stale read cannot pass.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::codec::{Malformed, Reader, put_varint};
use crate::ids::{Expiry, Seq};
use crate::tree::Entry;

/// Versions between restarts.
const RESTART_EVERY: usize = 16;
const PUT: u64 = 1;
const DELETE: u64 = 2;
const PUT_EXPIRING: u64 = 4;

/// Builds one block.
#[derive(Debug, Default)]
pub(crate) struct BlockBuilder {
    out: Vec<u8>,
    restarts: Vec<u32>,
    last_key: Vec<u8>,
    count: usize,
}

impl BlockBuilder {
    /// Adds the next version in order.
    pub(crate) fn push(&mut self, entry: &Entry) {
        let shared = if self.count.is_multiple_of(RESTART_EVERY) {
            self.restarts.push(self.out.len() as u32);
            0
        } else {
            entry.key.iter().zip(&self.last_key).take_while(|(a, b)| a == b).count()
        };
        let unshared = entry.key.get(shared..).unwrap_or_default();
        let kind = match &entry.value {
            None => DELETE,
            Some(_) if entry.expires_at == Expiry::NEVER => PUT,
            Some(_) => PUT_EXPIRING,
        };
        let value = entry.value.as_deref().unwrap_or_default();
        put_varint(&mut self.out, shared as u64);
        put_varint(&mut self.out, unshared.len() as u64);
        put_varint(&mut self.out, entry.seq.0 << 8 | kind);
        put_varint(&mut self.out, value.len() as u64);
        if kind == PUT_EXPIRING {
            put_varint(&mut self.out, entry.expires_at.0);
        }
        self.out.extend_from_slice(unshared);
        self.out.extend_from_slice(value);
        self.last_key.truncate(shared);
        self.last_key.extend_from_slice(unshared);
        self.count += 1;
    }

    /// Bytes so far.
    pub(crate) fn bytes(&self) -> usize {
        self.out.len() + self.restarts.len() * 4 + 4
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The block's bytes; the builder starts anew.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        let mut out = std::mem::take(&mut self.out);
        for restart in &self.restarts {
            out.extend_from_slice(&restart.to_le_bytes());
        }
        out.extend_from_slice(&(self.restarts.len() as u32).to_le_bytes());
        self.restarts.clear();
        self.last_key.clear();
        self.count = 0;
        out
    }
}

/// A block in memory.
#[derive(Clone, Debug)]
pub struct Block {
    data: Bytes,
    /// Where the restart offsets begin.
    restarts_at: usize,
    restarts: usize,
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

struct Header {
    shared: usize,
    unshared: usize,
    seq: Seq,
    is_put: bool,
    value: usize,
    expires_at: Expiry,
}

fn read_header(reader: &mut Reader<'_>) -> Result<Header, Malformed> {
    let shared = reader.length()?;
    let unshared = reader.length()?;
    let kind_error = reader.error("an unknown kind of version");
    let trailer = reader.varint()?;
    let value = reader.length()?;
    let (is_put, expires_at) = match trailer & 0xff {
        PUT => (true, Expiry::NEVER),
        DELETE => (false, Expiry::NEVER),
        PUT_EXPIRING => (true, Expiry(reader.varint()?)),
        _ => return Err(kind_error),
    };
    Ok(Header { shared, unshared, seq: Seq(trailer >> 8), is_put, value, expires_at })
}

impl Block {
    /// Takes a block's bytes.
    ///
    /// # Errors
    /// When the restart points do not fit the block. The versions are checked as they are read.
    pub fn decode(data: Bytes) -> Result<Self, Malformed> {
        let error = |what| Malformed { at: data.len(), what };
        let count_at = data.len().checked_sub(4).ok_or(error("the block is too short"))?;
        let restarts = Reader::starting_at(&data, count_at).u32()? as usize;
        let restarts_at = restarts
            .checked_mul(4)
            .and_then(|bytes| count_at.checked_sub(bytes))
            .ok_or(error("more restarts than bytes"))?;
        if restarts == 0 {
            return Err(error("a block without versions"));
        }
        Ok(Self { data, restarts_at, restarts })
    }

    /// Bytes in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.data.len() + std::mem::size_of::<Self>()
    }

    /// Number of restart intervals, at least one.
    pub fn intervals(&self) -> usize {
        self.restarts
    }

    fn restart(&self, interval: usize) -> Result<usize, Malformed> {
        if interval >= self.restarts {
            return Ok(self.restarts_at);
        }
        let at = self.restarts_at + interval * 4;
        let offset = Reader::starting_at(&self.data, at).u32()? as usize;
        if offset < self.restarts_at { Ok(offset) } else { Err(Malformed { at, what: "a restart outside the block" }) }
    }

    /// The first key of an interval.
    fn first_key(&self, interval: usize) -> Result<&[u8], Malformed> {
        let mut reader = Reader::starting_at(&self.data, self.restart(interval)?);
        let header = read_header(&mut reader)?;
        reader.take(header.unshared)
    }

    /// Number of intervals whose first key is below `key`.
    pub(crate) fn intervals_below(&self, key: &[u8]) -> Result<usize, Malformed> {
        let (mut low, mut high) = (0, self.restarts);
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
    pub(crate) fn get(&self, key: &[u8], at: Seq) -> Result<Seek, Malformed> {
        let interval = self.intervals_below(key)?.saturating_sub(1);
        let mut reader = Reader::starting_at(&self.data, self.restart(interval)?);
        // How much of the present key is known to equal `key`'s start, and how the rest compares.
        let mut held: Vec<u8> = Vec::with_capacity(key.len() + 16);
        while reader.position() < self.restarts_at {
            let header = read_header(&mut reader)?;
            if header.shared > held.len() {
                return Err(reader.error("a key shares more than its predecessor has"));
            }
            held.truncate(header.shared);
            held.extend_from_slice(reader.take(header.unshared)?);
            let value_at = reader.position();
            reader.take(header.value)?;
            match held.as_slice().cmp(key) {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Equal if header.seq > at => {}
                std::cmp::Ordering::Equal => {
                    let value = header.is_put.then(|| self.data.slice(value_at..value_at + header.value));
                    return Ok(Seek::Found(header.seq, value, header.expires_at));
                }
                std::cmp::Ordering::Greater => return Ok(Seek::Absent),
            }
        }
        Ok(Seek::Beyond)
    }

    /// Appends the versions of an interval, in order. Their keys share one allocation, their values the block's memory.
    ///
    /// # Errors
    /// On bytes that are no versions.
    pub fn interval(&self, interval: usize, out: &mut VecDeque<Entry>) -> Result<(), Malformed> {
        let end = self.restart(interval + 1)?;
        let mut reader = Reader::starting_at(&self.data, self.restart(interval)?);
        let mut keys: Vec<u8> = Vec::with_capacity(RESTART_EVERY * 32);
        let mut versions = Vec::with_capacity(RESTART_EVERY);
        let mut last = 0..0;
        while reader.position() < end {
            let header = read_header(&mut reader)?;
            if header.shared > last.len() {
                return Err(reader.error("a key shares more than its predecessor has"));
            }
            let start = keys.len();
            keys.extend_from_within(last.start..last.start + header.shared);
            keys.extend_from_slice(reader.take(header.unshared)?);
            last = start..keys.len();
            let value_at = reader.position();
            reader.take(header.value)?;
            let value = header.is_put.then(|| self.data.slice(value_at..value_at + header.value));
            versions.push((last.clone(), header.seq, value, header.expires_at));
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
        entries.iter().for_each(|entry| builder.push(entry));
        Block::decode(Bytes::from(builder.finish())).unwrap()
    }

    #[test]
    fn a_block_has_fixed_bytes() {
        let mut builder = BlockBuilder::default();
        builder.push(&entry("abc", 2, Some("v")));
        builder.push(&entry("abd", 1, None));
        builder.push(&Entry { expires_at: Expiry(300), ..entry("abe", 1, Some("w")) });
        let bytes = builder.finish();
        let versions = b"\x00\x03\x81\x04\x01abcv\x02\x01\x82\x02\x00d\x02\x01\x84\x02\x01\xac\x02ew";
        assert_eq!(bytes, [&versions[..], b"\0\0\0\0\x01\0\0\0"].concat());
        let found = Block::decode(Bytes::from(bytes)).unwrap().get(b"abe", Seq(9)).unwrap();
        assert_eq!(found, Seek::Found(Seq(1), Some(Bytes::from_static(b"w")), Expiry(300)));
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
    fn no_bytes_make_the_decoder_panic() {
        fn property(bytes: Vec<u8>, key: Vec<u8>) -> bool {
            if let Ok(block) = Block::decode(Bytes::from(bytes)) {
                let _ = block.get(&key, Seq(5));
                for interval in 0..block.intervals().min(10) {
                    let _ = block.interval(interval, &mut VecDeque::new());
                }
            }
            true
        }
        quickcheck::quickcheck(property as fn(Vec<u8>, Vec<u8>) -> bool);
    }
}
