//! Writing a table: blocks, filters, index, range deletes and footer, in whole aligned chunks, two of them under way at a time.
//!
//! A table exists for the rest of the world when a manifest edit names it; before that, its file is an orphan. A full disk
//! abandons the file; any other failure of a write or sync stops the node.

use std::collections::VecDeque;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;

use bytes::Bytes;
use futures_lite::future::poll_once;
use highwater_runtime::{AlignedBuf, BLOCK, Env, File, OpenOptions};

use super::block::{Block, BlockBuilder};
use super::filter::{self, Filter};
use super::format::{Codec, Footer, Pointer, encode_tombstones};
use super::index::{Index, IndexBuilder, separator};
use super::properties::Properties;
use crate::codec::Malformed;
use crate::error::EngineError;
use crate::ids::Expiry;
use crate::manifest::TableMeta;
use crate::tree::EntryRef;
use crate::tree::cache::{BlockCache, Cached};
use crate::tree::tombstone::Tombstone;

/// Bytes of the first write; each is twice the one before, up to `CHUNK`. Only the last may be smaller.
const FIRST_CHUNK: usize = 32 << 10;
const CHUNK: usize = 512 << 10;
/// Writes under way at once.
const IN_FLIGHT: usize = 2;
/// A partition of the index has as many bytes, about, as a data block divided by this.
const PARTITION_SHARE: usize = 2;
/// Hashes in the filter of a partition at most: bounds the time that building it takes.
const PARTITION_HASHES: usize = 64 << 10;

/// The file of a table.
pub(crate) fn path(folder: &Path, table: u64) -> PathBuf {
    folder.join(format!("{table:012}.tbl"))
}

/// The table of a file name, if it is one.
pub(crate) fn table_of(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_suffix(".tbl")?.parse().ok()
}

/// A write under way, and its buffer when it is done.
type Write = Pin<Box<dyn Future<Output = std::io::Result<AlignedBuf>>>>;

/// The file of a table, written in order, in whole chunks.
struct Output<E: Env> {
    env: E,
    file: Rc<E::File>,
    path: PathBuf,
    /// The chunk being filled, and the bytes in it.
    chunk: AlignedBuf,
    filled: usize,
    /// Full chunks whose write has not begun.
    full: VecDeque<AlignedBuf>,
    writes: VecDeque<Write>,
    /// Buffers for reuse.
    spare: Vec<AlignedBuf>,
    /// Where in the file the next write begins.
    at: u64,
}

impl<E: Env> Output<E> {
    /// Where in the file the next byte will be.
    fn position(&self) -> u64 {
        self.at + (self.full.iter().map(|chunk| chunk.len()).sum::<usize>() + self.filled) as u64
    }

    fn put(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(self.chunk.len() - self.filled));
            if let Some(room) = self.chunk.get_mut(self.filled..self.filled + now.len()) {
                room.copy_from_slice(now);
            }
            self.filled += now.len();
            bytes = later;
            if self.filled == self.chunk.len() {
                let len = (self.chunk.len() * 2).min(CHUNK);
                let next = self.spare.pop().unwrap_or_else(|| AlignedBuf::zeroed(len));
                self.full.push_back(std::mem::replace(&mut self.chunk, next));
                self.filled = 0;
            }
        }
    }

    /// Begins the writes of full chunks, with few under way at a time.
    async fn write_full(&mut self) -> Result<(), EngineError> {
        while let Some(chunk) = self.full.pop_front() {
            self.write(chunk).await?;
        }
        Ok(())
    }

    async fn write(&mut self, chunk: AlignedBuf) -> Result<(), EngineError> {
        let (at, end) = (self.at, self.at + chunk.len() as u64);
        self.at = end;
        // Space is reserved first: a full disk is met here, where it only costs this file.
        if let Err(error) = self.file.allocate(end).await {
            return self.failed("reserve space for", error).await;
        }
        let file = Rc::clone(&self.file);
        let mut write: Write = Box::pin(async move { file.write_at(chunk, at).await });
        // The first poll hands it to the system; it goes on while the next chunk is filled.
        match poll_once(&mut write).await {
            Some(done) => self.written(done).await?,
            None => self.writes.push_back(write),
        }
        while self.writes.len() >= IN_FLIGHT {
            self.wait().await?;
        }
        Ok(())
    }

    /// Waits for the oldest write under way.
    async fn wait(&mut self) -> Result<(), EngineError> {
        if let Some(write) = self.writes.pop_front() {
            let done = write.await;
            self.written(done).await?;
        }
        Ok(())
    }

    async fn written(&mut self, done: std::io::Result<AlignedBuf>) -> Result<(), EngineError> {
        match done {
            Ok(buffer) if buffer.len() == CHUNK => self.spare.push(buffer),
            Ok(_) => {}
            Err(error) => return self.failed("write to", error).await,
        }
        Ok(())
    }

    /// Ends the file with the block that `last` makes, and waits until all is written. Returns where that block is, and its checksum.
    async fn end(&mut self, last: impl FnOnce(&mut [u8]) -> u32) -> Result<(u64, u32), EngineError> {
        let padding = self.filled.next_multiple_of(BLOCK) - self.filled;
        self.put([0; BLOCK].get(..padding).unwrap_or_default());
        let mut block = AlignedBuf::zeroed(BLOCK);
        let (footer_at, checksum) = (self.position(), last(&mut block));
        self.put(&block);
        self.write_full().await?;
        if self.filled > 0 {
            let rest = AlignedBuf::from_slice(self.chunk.get(..self.filled).unwrap_or_default());
            self.write(rest).await?;
        }
        while !self.writes.is_empty() {
            self.wait().await?;
        }
        // Planted bug 42: the table is installed although its file was never synced.
        let mut synced = if self.env.mutant(42) { Ok(()) } else { self.file.sync().await };
        if synced.is_err() && self.env.mutant(6) {
            // Planted bug 6: a failed sync is tried again, as if the second could make up for the first.
            synced = self.file.sync().await;
        }
        match synced {
            Ok(()) => Ok((footer_at, checksum)),
            Err(error) => self.failed("sync", error).await,
        }
    }

    async fn failed<T>(&self, action: &'static str, error: std::io::Error) -> Result<T, EngineError> {
        let full = EngineError::io(action, &self.path, &error);
        if matches!(full, EngineError::NoSpace { .. }) {
            return Err(full);
        }
        let reason = format!("cannot {action} {}: {error}; this node stops", self.path.display());
        match self.env.fail_stop(&reason).await {}
    }
}

/// A finished partition: its last separator, its index and its filter.
struct Partition {
    separator: Vec<u8>,
    index: Vec<u8>,
    filter: Vec<u8>,
}

/// A table being written.
pub(crate) struct TableWriter<E: Env> {
    env: E,
    out: Output<E>,
    table: u64,
    codec: Codec,
    block_bytes: usize,
    block: BlockBuilder,
    /// The present block's bytes, while they are stored.
    raw: Vec<u8>,
    packed: Vec<u8>,
    /// A block that is not in the index yet: its separator depends on the next key.
    ended: Option<Pointer>,
    index: IndexBuilder,
    hashes: Vec<u64>,
    partitions: Vec<Partition>,
    first_key: Option<Bytes>,
    last_key: Vec<u8>,
    properties: Properties,
    /// Takes what is written, because readers will ask for it.
    cache: Option<Rc<BlockCache>>,
}

impl<E: Env> TableWriter<E> {
    /// Creates the table's file.
    pub(crate) async fn create(
        env: E,
        folder: &Path,
        table: u64,
        codec: Codec,
        block_bytes: usize,
    ) -> Result<Self, EngineError> {
        let path = path(folder, table);
        let file =
            env.open(&path, OpenOptions::CREATE).await.map_err(|error| EngineError::io("create", &path, &error))?;
        let out = Output {
            env: env.clone(),
            file: Rc::new(file),
            path,
            chunk: AlignedBuf::zeroed(FIRST_CHUNK),
            filled: 0,
            full: VecDeque::new(),
            writes: VecDeque::new(),
            spare: Vec::new(),
            at: 0,
        };
        Ok(Self {
            env,
            out,
            table,
            codec,
            block_bytes,
            block: BlockBuilder::default(),
            raw: Vec::new(),
            packed: Vec::new(),
            ended: None,
            index: IndexBuilder::default(),
            hashes: Vec::new(),
            partitions: Vec::new(),
            first_key: None,
            last_key: Vec::new(),
            properties: Properties { oldest: u64::MAX, ..Properties::default() },
            cache: None,
        })
    }

    /// Lets the filters hold prefixes of this length in bytes besides whole keys; 0 for none.
    pub(crate) const fn with_prefixes(mut self, length: usize) -> Self {
        self.properties.prefix_length = length as u64;
        self
    }

    /// Puts what is written into a cache too.
    pub(crate) fn with_cache(mut self, cache: Option<Rc<BlockCache>>) -> Self {
        self.cache = cache;
        self
    }

    /// Bytes of the file so far, about.
    pub(crate) fn bytes(&self) -> u64 {
        self.out.position() + self.block.bytes() as u64
    }

    /// The last key added.
    pub(crate) fn last_key(&self) -> Option<&[u8]> {
        self.first_key.as_ref().map(|_| self.last_key.as_slice())
    }

    /// Adds the next version in order.
    pub(crate) async fn push(&mut self, entry: EntryRef<'_>) -> Result<(), EngineError> {
        if self.add(entry) { self.drain().await } else { Ok(()) }
    }

    /// Adds the next version in order. Returns whether a block has ended, and [`Self::drain`] must follow.
    pub(crate) fn add(&mut self, entry: EntryRef<'_>) -> bool {
        let is_first = self.first_key.is_none();
        if is_first {
            self.first_key = Some(Bytes::copy_from_slice(entry.key));
        }
        if let Some(pointer) = self.ended.take() {
            let separator = separator(&self.last_key, entry.key);
            self.index.push(separator, &[pointer]);
            if self.index.bytes() >= self.block_bytes / PARTITION_SHARE || self.hashes.len() >= PARTITION_HASHES {
                let separator = separator.to_vec();
                self.end_partition(separator);
            }
        }
        if is_first || self.last_key != entry.key {
            self.note_key(entry.key);
        }
        self.note(&entry);
        self.block.push(entry);
        let ended = self.block.bytes() >= self.block_bytes;
        if ended {
            self.end_block();
        }
        ended
    }

    /// Gathers the hashes of a key that was not added yet.
    fn note_key(&mut self, key: &[u8]) {
        // Planted bug 118: the first key of each block is missing from the filter.
        if !(self.env.mutant(118) && self.block.is_empty()) {
            self.hashes.push(filter::hash(key));
        }
        let length = self.properties.prefix_length as usize;
        if length > 0
            && let Some(prefix) = key.get(..length)
            // A new partition has a new filter.
            && (self.hashes.len() <= 1 || self.last_key.get(..length) != Some(prefix))
        {
            self.hashes.push(filter::hash_prefix(prefix));
        }
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
    }

    fn note(&mut self, entry: &EntryRef<'_>) {
        let properties = &mut self.properties;
        properties.versions += 1;
        properties.deletes += u64::from(entry.value.is_none());
        properties.key_bytes += entry.key.len() as u64;
        properties.value_bytes += entry.value.map_or(0, <[u8]>::len) as u64;
        properties.oldest = properties.oldest.min(entry.seq.0);
        properties.newest = properties.newest.max(entry.seq.0);
        if entry.expires_at != Expiry::NEVER {
            let is_first = properties.expiring == 0;
            properties.expiring += 1;
            properties.first_expiry = properties.first_expiry.min(entry.expires_at);
            properties.last_expiry =
                if is_first { entry.expires_at } else { properties.last_expiry.max(entry.expires_at) };
        }
    }

    /// Writes what has become a whole chunk, and lets others have the core.
    pub(crate) async fn drain(&mut self) -> Result<(), EngineError> {
        self.out.write_full().await?;
        self.env.yield_if_needed().await;
        Ok(())
    }

    fn end_block(&mut self) {
        let mut raw = std::mem::take(&mut self.raw);
        self.block.finish(&mut raw);
        let pointer = self.store(&raw, self.codec);
        self.warm(&pointer, &raw, |data| Block::decode(data).map(Cached::Block));
        self.ended = Some(pointer);
        self.raw = raw;
        self.properties.blocks += 1;
    }

    fn end_partition(&mut self, separator: Vec<u8>) {
        let filter = filter::build(&self.hashes);
        self.hashes.clear();
        self.partitions.push(Partition { separator, index: self.index.finish(), filter });
    }

    /// Lets the cache have what was stored, if there is one.
    fn warm(&self, pointer: &Pointer, raw: &[u8], decode: impl FnOnce(Bytes) -> Result<Cached, Malformed>) {
        let Some(cache) = &self.cache else { return };
        // What was just encoded can be decoded; if it could not, a reader would say so.
        if let Ok(part) = decode(Bytes::copy_from_slice(raw)) {
            cache.put((self.table, pointer.offset), &part);
        }
    }

    /// Queues bytes for the file and says where they will be.
    fn store(&mut self, raw: &[u8], codec: Codec) -> Pointer {
        let packed = match codec {
            Codec::Plain => None,
            Codec::Lz4 => {
                self.packed.resize(lz4_flex::block::get_maximum_output_size(raw.len()), 0);
                let len = lz4_flex::block::compress_into(raw, &mut self.packed).unwrap_or(usize::MAX);
                // Less than an eighth saved is not worth the work of unpacking.
                self.packed.get(..len).filter(|packed| packed.len() <= raw.len() / 8 * 7)
            }
        };
        let (stored, codec) = packed.map_or((raw, Codec::Plain), |packed| (packed, Codec::Lz4));
        let offset = self.out.position();
        self.out.put(stored);
        Pointer { offset, stored: stored.len() as u32, raw: raw.len() as u32, codec, checksum: crc32fast::hash(stored) }
    }

    /// Writes what is left and makes the file durable. Its name is durable after the folder is synced.
    pub(crate) async fn finish(mut self, tombstones: &[Tombstone]) -> Result<TableMeta, EngineError> {
        if !self.block.is_empty() {
            self.end_block();
        }
        if let Some(pointer) = self.ended.take() {
            self.index.push(&self.last_key, &[pointer]);
        }
        if self.index.len() > 0 {
            self.end_partition(self.last_key.clone());
        }
        let partitions = std::mem::take(&mut self.partitions);
        let mut filters = Vec::with_capacity(partitions.len());
        for partition in &partitions {
            let pointer = self.store(&partition.filter, Codec::Plain);
            self.warm(&pointer, &partition.filter, |data| Filter::decode(data).map(Cached::Filter));
            filters.push(pointer);
            self.drain().await?;
        }
        let mut top = IndexBuilder::default();
        for (partition, filter) in partitions.iter().zip(filters) {
            let index = self.store(&partition.index, Codec::Plain);
            self.warm(&index, &partition.index, |data| Index::decode(data).map(Cached::Index));
            top.push(&partition.separator, &[index, filter]);
        }
        let deletes = self.store(&encode_tombstones(tombstones), Codec::Plain);
        let top = self.store(&top.finish(), Codec::Plain);
        let properties = &mut self.properties;
        properties.partitions = partitions.len() as u64;
        properties.range_deletes = tombstones.len() as u64;
        let seqs = || tombstones.iter().map(|tombstone| tombstone.seq.0);
        properties.newest = seqs().fold(properties.newest, u64::max);
        properties.oldest = seqs().fold(properties.oldest, u64::min).min(properties.newest);
        let properties = *properties;
        let footer = Footer { table: self.table, top, tombstones: deletes, properties };
        let (footer_at, checksum) = self.out.end(|block| footer.encode(block)).await?;
        let last_key = self.first_key.as_ref().map(|_| self.last_key.as_slice());
        let (start, end) = bounds(self.first_key.as_ref(), last_key, tombstones);
        Ok(TableMeta {
            table: self.table,
            start,
            end,
            footer_at,
            checksum,
            entries: properties.versions,
            deletes: properties.deletes + properties.range_deletes,
            range_deletes: properties.range_deletes,
            oldest: properties.oldest,
            newest: properties.newest,
            expiring: properties.expiring,
            first_expiry: properties.first_expiry,
            last_expiry: properties.last_expiry,
        })
    }
}

/// The range of keys that a table speaks of: from the first key or delete to behind the last.
fn bounds(first: Option<&Bytes>, last: Option<&[u8]>, tombstones: &[Tombstone]) -> (Bytes, Bytes) {
    let starts = tombstones.iter().map(|tombstone| &tombstone.start);
    let start = first.into_iter().chain(starts).min().cloned().unwrap_or_default();
    let behind_last = last.map(|key| {
        let mut behind = key.to_vec();
        behind.push(0);
        Bytes::from(behind)
    });
    let ends = tombstones.iter().map(|tombstone| &tombstone.end);
    let end = behind_last.iter().chain(ends).max().cloned().unwrap_or_default();
    (Bytes::copy_from_slice(&start), end)
}
