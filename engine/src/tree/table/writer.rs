//! Writing a table: blocks, filter, range deletes, index and footer, in whole aligned chunks.
//!
//! A table exists for the rest of the world when a manifest edit names it; before that, its file is an orphan. A full disk
//! abandons the file; any other failure of a write or sync stops the node.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use highwater_runtime::{AlignedBuf, BLOCK, Env, File, OpenOptions};

use super::block::BlockBuilder;
use super::filter;
use super::format::{Codec, Footer, IndexEntry, Pointer, encode_index, encode_tombstones};
use crate::error::EngineError;
use crate::ids::Expiry;
use crate::manifest::TableMeta;
use crate::tree::Entry;
use crate::tree::tombstone::Tombstone;

/// Bytes gathered before they are written.
const CHUNK: usize = 256 << 10;

/// The file of a table.
pub(crate) fn path(folder: &Path, table: u64) -> PathBuf {
    folder.join(format!("{table:012}.tbl"))
}

/// The table of a file name, if it is one.
pub(crate) fn table_of(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_suffix(".tbl")?.parse().ok()
}

/// A table being written.
pub(crate) struct TableWriter<E: Env> {
    env: E,
    file: E::File,
    path: PathBuf,
    table: u64,
    codec: Codec,
    block_bytes: usize,
    block: BlockBuilder,
    /// Bytes not yet written; the first is at `written` in the file.
    pending: Vec<u8>,
    written: u64,
    index: Vec<IndexEntry>,
    hashes: Vec<u64>,
    first_key: Option<Bytes>,
    last_key: Option<Bytes>,
    entries: u64,
    deletes: u64,
    oldest: u64,
    newest: u64,
    expiring: u64,
    /// First and last.
    expiries: Option<(Expiry, Expiry)>,
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
        Ok(Self {
            env,
            file,
            path,
            table,
            codec,
            block_bytes,
            block: BlockBuilder::default(),
            pending: Vec::with_capacity(CHUNK + block_bytes),
            written: 0,
            index: Vec::new(),
            hashes: Vec::new(),
            first_key: None,
            last_key: None,
            entries: 0,
            deletes: 0,
            oldest: u64::MAX,
            newest: 0,
            expiring: 0,
            expiries: None,
        })
    }

    /// Bytes of the file so far, about.
    pub(crate) fn bytes(&self) -> u64 {
        self.written + (self.pending.len() + self.block.bytes()) as u64
    }

    /// The last key added.
    pub(crate) const fn last_key(&self) -> Option<&Bytes> {
        self.last_key.as_ref()
    }

    /// Adds the next version in order.
    pub(crate) async fn push(&mut self, entry: &Entry) -> Result<(), EngineError> {
        // Planted bug 118: the first key of each block is missing from the filter.
        if self.last_key.as_ref() != Some(&entry.key) && !(self.env.mutant(118) && self.block.is_empty()) {
            self.hashes.push(filter::hash(&entry.key));
        }
        if self.first_key.is_none() {
            self.first_key = Some(entry.key.clone());
        }
        self.last_key = Some(entry.key.clone());
        self.entries += 1;
        self.deletes += u64::from(entry.value.is_none());
        self.oldest = self.oldest.min(entry.seq.0);
        self.newest = self.newest.max(entry.seq.0);
        if entry.expires_at != Expiry::NEVER {
            self.expiring += 1;
            let (first, last) = self.expiries.unwrap_or((entry.expires_at, entry.expires_at));
            self.expiries = Some((first.min(entry.expires_at), last.max(entry.expires_at)));
        }
        self.block.push(entry);
        if self.block.bytes() >= self.block_bytes {
            self.end_block();
            if self.pending.len() >= CHUNK {
                self.write_chunk().await?;
            }
            self.env.yield_if_needed().await;
        }
        Ok(())
    }

    fn end_block(&mut self) {
        if self.block.is_empty() {
            return;
        }
        let raw = self.block.finish();
        let pointer = self.store(&raw, self.codec);
        // The key may be a slice of a large buffer; the index outlives it.
        let last_key = self.last_key.as_deref().map(Bytes::copy_from_slice).unwrap_or_default();
        self.index.push(IndexEntry { last_key, pointer });
    }

    /// Queues bytes for the file and says where they will be.
    fn store(&mut self, raw: &[u8], codec: Codec) -> Pointer {
        let offset = self.written + self.pending.len() as u64;
        let packed = match codec {
            Codec::Plain => None,
            // Less than an eighth saved is not worth the work of unpacking.
            Codec::Lz4 => Some(lz4_flex::block::compress(raw)).filter(|packed| packed.len() <= raw.len() / 8 * 7),
        };
        let (stored, codec) = packed.as_deref().map_or((raw, Codec::Plain), |packed| (packed, Codec::Lz4));
        self.pending.extend_from_slice(stored);
        Pointer { offset, stored: stored.len() as u32, raw: raw.len() as u32, codec, checksum: crc32fast::hash(stored) }
    }

    /// Writes the whole blocks of what is pending.
    async fn write_chunk(&mut self) -> Result<(), EngineError> {
        let len = self.pending.len() / BLOCK * BLOCK;
        if len == 0 {
            return Ok(());
        }
        let buffer = AlignedBuf::from_slice(self.pending.get(..len).unwrap_or_default());
        self.pending.drain(..len);
        let end = self.written + len as u64;
        // Space is reserved first: a full disk is met here, where it only costs this file.
        if let Err(error) = self.file.allocate(end).await {
            return self.failed("reserve space for", error).await;
        }
        if let Err(error) = self.file.write_at(buffer, self.written).await {
            return self.failed("write to", error).await;
        }
        self.written = end;
        Ok(())
    }

    async fn failed<T>(&self, action: &'static str, error: std::io::Error) -> Result<T, EngineError> {
        let full = EngineError::io(action, &self.path, &error);
        if matches!(full, EngineError::NoSpace { .. }) {
            return Err(full);
        }
        let reason = format!("cannot {action} {}: {error}; this node stops", self.path.display());
        match self.env.fail_stop(&reason).await {}
    }

    /// Writes what is left and makes the file durable. Its name is durable after the folder is synced.
    pub(crate) async fn finish(mut self, tombstones: &[Tombstone]) -> Result<TableMeta, EngineError> {
        self.end_block();
        let filter = filter::build(&self.hashes);
        let filter = self.store(&filter, Codec::Plain);
        let deletes = self.store(&encode_tombstones(tombstones), Codec::Plain);
        let index = encode_index(&self.index);
        let index = self.store(&index, self.codec);
        let padded = self.pending.len().next_multiple_of(BLOCK);
        self.pending.resize(padded + BLOCK, 0);
        let newest = tombstones.iter().map(|tombstone| tombstone.seq.0).fold(self.newest, u64::max);
        let oldest = tombstones.iter().map(|tombstone| tombstone.seq.0).fold(self.oldest, u64::min).min(newest);
        let (first_expiry, last_expiry) = self.expiries.unwrap_or((Expiry::NEVER, Expiry::NEVER));
        let footer = Footer {
            table: self.table,
            index,
            filter,
            tombstones: deletes,
            entries: self.entries,
            deletes: self.deletes,
            range_deletes: tombstones.len() as u64,
            oldest,
            newest,
            expiring: self.expiring,
            first_expiry,
            last_expiry,
        };
        let footer_at = self.written + padded as u64;
        let checksum = self.pending.get_mut(padded..).map_or(0, |block| footer.encode(block));
        self.write_chunk().await?;
        // Planted bug 42: the table is installed although its file was never synced.
        let mut synced = if self.env.mutant(42) { Ok(()) } else { self.file.sync().await };
        if synced.is_err() && self.env.mutant(6) {
            // Planted bug 6: a failed sync is tried again, as if the second could make up for the first.
            synced = self.file.sync().await;
        }
        if let Err(error) = synced {
            return self.failed("sync", error).await;
        }
        let (start, end) = bounds(self.first_key.as_ref(), self.last_key.as_ref(), tombstones);
        Ok(TableMeta {
            table: self.table,
            start,
            end,
            footer_at,
            checksum,
            entries: self.entries,
            deletes: self.deletes + tombstones.len() as u64,
            range_deletes: tombstones.len() as u64,
            oldest,
            newest,
            expiring: self.expiring,
            first_expiry,
            last_expiry,
        })
    }
}

/// The range of keys that a table speaks of: from the first key or delete to behind the last.
fn bounds(first: Option<&Bytes>, last: Option<&Bytes>, tombstones: &[Tombstone]) -> (Bytes, Bytes) {
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
