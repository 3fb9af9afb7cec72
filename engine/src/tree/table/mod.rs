//! # Sorted tables
//!
//! Owns the format of tables, their writing and their reading. A table never changes; its file is removed when the last
//! version that holds it is gone and an installed manifest edit has dropped it.

pub mod block;
pub mod filter;
pub mod format;
pub(crate) mod writer;

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use bytes::Bytes;
use highwater_runtime::{AlignedBuf, BLOCK, Env, File, OpenOptions};

use super::Lookup;
use super::cache::BlockCache;
use super::graveyard::{Dead, Graveyard};
use super::tombstone::RangeTombstones;
use crate::damage::{Damage, remember};
use crate::error::EngineError;
use crate::ids::{Expiry, Seq};
use crate::manifest::TableMeta;
use block::{Block, Seek};
use filter::Filter;
use format::{Footer, IndexEntry, Pointer};

/// An open table. Its index, filter and range deletes are in memory.
pub(crate) struct Table<E: Env> {
    pub(crate) meta: TableMeta,
    env: E,
    file: E::File,
    path: PathBuf,
    index: Vec<IndexEntry>,
    filter: Filter,
    pub(crate) tombstones: RangeTombstones,
    footer: Footer,
    obsolete: Cell<bool>,
    /// Places that were found damaged. Such a table is quarantined.
    damage: RefCell<Vec<Damage>>,
    graveyard: Graveyard,
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
async fn failed_read<F: File>(file: &F, path: &Path, end: u64, error: &std::io::Error) -> EngineError {
    if error.kind() == std::io::ErrorKind::UnexpectedEof
        && let Ok(len) = file.len().await
        && len < end
    {
        return EngineError::corruption(path, len, "the file ends too early");
    }
    EngineError::io("read", path, error)
}

/// Reads what a pointer names and checks it.
async fn read<F: File>(file: &F, path: &Path, pointer: &Pointer) -> Result<Bytes, EngineError> {
    let from = pointer.offset / BLOCK as u64 * BLOCK as u64;
    let inside = (pointer.offset - from) as usize;
    let len = (inside + pointer.stored as usize).next_multiple_of(BLOCK);
    let len = len.max(BLOCK);
    let buffer = match file.read_at(from, len).await {
        Ok(buffer) => buffer,
        Err(error) => return Err(failed_read(file, path, from + len as u64, &error).await),
    };
    let stored = Bytes::from_owner(Owned(buffer)).slice(inside..inside + pointer.stored as usize);
    // Planted bug 120: nobody compares checksums.
    if crc32fast::hash(&stored) != pointer.checksum && !highwater_runtime::mutant(120) {
        return Err(EngineError::corruption(path, pointer.offset, "a block does not match its checksum"));
    }
    pointer.unpack(stored).map_err(|error| EngineError::malformed(path, pointer.offset, &error))
}

impl<E: Env> Table<E> {
    /// Opens a table that the manifest names, and verifies what is read.
    pub(crate) async fn open(
        env: E,
        folder: &Path,
        meta: TableMeta,
        graveyard: Graveyard,
    ) -> Result<Rc<Self>, EngineError> {
        let path = writer::path(folder, meta.table);
        let failed = |action, error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                EngineError::corruption(&path, 0, "the manifest names this table, but it is missing")
            }
            _ => EngineError::io(action, &path, &error),
        };
        let file = env.open(&path, OpenOptions::READ).await.map_err(|error| failed("open", error))?;
        let end = match file.read_at(meta.footer_at, BLOCK).await {
            Ok(end) => end,
            Err(error) => return Err(failed_read(&file, &path, meta.footer_at + BLOCK as u64, &error).await),
        };
        let malformed = |base: u64, error: &crate::codec::Malformed| EngineError::malformed(&path, base, error);
        let (footer, checksum) = Footer::decode(&end).map_err(|error| malformed(meta.footer_at, &error))?;
        if checksum != meta.checksum {
            return Err(EngineError::corruption(
                &path,
                meta.footer_at,
                "this is not the table that the manifest names",
            ));
        }
        let index = read(&file, &path, &footer.index).await?;
        let index = format::decode_index(&index).map_err(|error| malformed(footer.index.offset, &error))?;
        let filter = read(&file, &path, &footer.filter).await?;
        let filter = Filter::decode(filter).map_err(|error| malformed(footer.filter.offset, &error))?;
        let deletes = read(&file, &path, &footer.tombstones).await?;
        let deletes =
            format::decode_tombstones(&deletes).map_err(|error| malformed(footer.tombstones.offset, &error))?;
        let mut tombstones = RangeTombstones::default();
        for tombstone in &deletes {
            tombstones.add(tombstone, &|_, _| true);
        }
        let obsolete = Cell::new(false);
        Ok(Rc::new(Self {
            meta,
            env,
            file,
            path,
            index,
            filter,
            tombstones,
            footer,
            obsolete,
            damage: RefCell::default(),
            graveyard,
        }))
    }

    /// Lets the file be removed once nobody reads it.
    pub(crate) fn retire(&self) {
        self.obsolete.set(true);
    }

    /// Number of data blocks.
    pub(crate) fn blocks(&self) -> usize {
        self.index.len()
    }

    /// Number of data blocks that end below `key`.
    pub(crate) fn blocks_below(&self, key: &[u8]) -> usize {
        self.index.partition_point(|entry| entry.last_key.as_ref() < key)
    }

    /// A data block, from the cache if there is one and it has it.
    pub(crate) async fn block(&self, cache: Option<&BlockCache>, number: usize) -> Result<Rc<Block>, EngineError> {
        let Some(IndexEntry { pointer, .. }) = self.index.get(number) else {
            return Err(EngineError::corruption(&self.path, 0, "a block beyond the index was asked for"));
        };
        match cache {
            // Planted bug 107: blocks of different tables are taken for each other.
            Some(cache) if self.env.mutant(107) => cache.get((0, pointer.offset), || self.read_block(pointer)).await,
            Some(cache) => cache.get((self.meta.table, pointer.offset), || self.read_block(pointer)).await,
            None => self.read_block(pointer).await.map(Rc::new),
        }
    }

    async fn read_block(&self, pointer: &Pointer) -> Result<Block, EngineError> {
        let read = read(&self.file, &self.path, pointer).await;
        let block = read.and_then(|data| Block::decode(data).map_err(|error| self.malformed(pointer.offset, &error)));
        self.noted(block)
    }

    /// Remembers the damage that an outcome speaks of.
    fn noted<T>(&self, outcome: Result<T, EngineError>) -> Result<T, EngineError> {
        if let Some(damage) = outcome.as_ref().err().and_then(Damage::of) {
            remember(&mut self.damage.borrow_mut(), damage);
        }
        outcome
    }

    /// Places that were found damaged since the table was opened.
    pub(crate) fn damage(&self) -> Vec<Damage> {
        self.damage.borrow().clone()
    }

    /// Whether damage was found: then the table is quarantined.
    pub(crate) fn is_damaged(&self) -> bool {
        !self.damage.borrow().is_empty()
    }

    /// Whether every version is a put with sequence 0.
    pub(crate) const fn is_plain(&self) -> bool {
        self.footer.deletes == 0 && self.footer.range_deletes == 0 && self.footer.newest == 0
    }

    /// Number of pieces that a scrub reads: the data blocks, what lies behind them, and the footer.
    pub(crate) fn scrub_pieces(&self) -> usize {
        self.blocks() + 4
    }

    /// Reads piece `number` past the cache and checks it. Returns its bytes in the file.
    pub(crate) async fn scrub_piece(&self, number: usize) -> Result<u64, EngineError> {
        if let Some(entry) = self.index.get(number) {
            return self.read_block(&entry.pointer).await.map(|_| u64::from(entry.pointer.stored));
        }
        let around = [&self.footer.filter, &self.footer.tombstones, &self.footer.index];
        if let Some(pointer) = around.get(number - self.index.len()) {
            let outcome = read(&self.file, &self.path, pointer).await;
            return self.noted(outcome).map(|_| u64::from(pointer.stored));
        }
        let at = self.meta.footer_at;
        let end = match self.file.read_at(at, BLOCK).await {
            Ok(end) => end,
            Err(error) => return self.noted(Err(failed_read(&self.file, &self.path, at + BLOCK as u64, &error).await)),
        };
        let whole = Footer::decode(&end).is_ok_and(|(_, checksum)| checksum == self.meta.checksum);
        let damaged = || EngineError::corruption(&self.path, at, "the footer is not the one that the manifest names");
        self.noted(if whole { Ok(BLOCK as u64) } else { Err(damaged()) })
    }

    fn malformed(&self, base: u64, error: &crate::codec::Malformed) -> EngineError {
        EngineError::malformed(&self.path, base, error)
    }

    /// A complaint about block `number`.
    pub(crate) fn malformed_block(&self, number: usize, error: &crate::codec::Malformed) -> EngineError {
        let base = self.index.get(number).map_or(0, |entry| entry.pointer.offset);
        self.malformed(base, error)
    }

    /// What the table knows of `key`, whose filter hash is given.
    pub(crate) async fn get(&self, cache: &BlockCache, key: &[u8], hash: u64, at: Seq) -> Result<Lookup, EngineError> {
        let tombstone = self.tombstones.covering(key, at);
        let version = if self.filter.may_contain(hash) { self.version_of(cache, key, at).await? } else { None };
        Ok(Lookup::of(version, tombstone))
    }

    async fn version_of(
        &self,
        cache: &BlockCache,
        key: &[u8],
        at: Seq,
    ) -> Result<Option<(Seq, Option<Bytes>, Expiry)>, EngineError> {
        for number in self.blocks_below(key)..self.blocks() {
            let block = self.block(Some(cache), number).await?;
            match block.get(key, at).map_err(|error| self.malformed_block(number, &error))? {
                Seek::Found(seq, value, expires_at) => return Ok(Some((seq, value, expires_at))),
                Seek::Absent => return Ok(None),
                Seek::Beyond => {}
            }
        }
        Ok(None)
    }

    /// Reads every block and checks it and the order of what is in it. Returns blocks and versions read.
    pub(crate) async fn verify(&self) -> Result<(u64, u64), EngineError> {
        let mut entries = 0;
        let mut last: Option<(Bytes, Seq)> = None;
        for number in 0..self.blocks() {
            let block = self.block(None, number).await?;
            let mut versions = std::collections::VecDeque::new();
            for interval in 0..block.intervals() {
                block.interval(interval, &mut versions).map_err(|error| self.malformed_block(number, &error))?;
            }
            for entry in versions {
                let ordered =
                    last.as_ref().is_none_or(|(key, seq)| *key < entry.key || (*key == entry.key && *seq > entry.seq));
                let inside = entry.key >= self.meta.start && entry.key < self.meta.end;
                if !ordered || !inside {
                    let offset = self.index.get(number).map_or(0, |entry| entry.pointer.offset);
                    return Err(EngineError::corruption(&self.path, offset, "keys are out of order"));
                }
                last = Some((entry.key, entry.seq));
                entries += 1;
            }
            self.env.yield_if_needed().await;
        }
        for pointer in [&self.footer.filter, &self.footer.tombstones, &self.footer.index] {
            read(&self.file, &self.path, pointer).await?;
        }
        if entries != self.footer.entries {
            let what = format!("the table holds {entries} versions and claims {}", self.footer.entries);
            return Err(EngineError::corruption(&self.path, self.meta.footer_at, what));
        }
        Ok((self.blocks() as u64, entries))
    }

    pub(crate) const fn env(&self) -> &E {
        &self.env
    }
}

impl<E: Env> Drop for Table<E> {
    fn drop(&mut self) {
        if self.obsolete.get() {
            self.graveyard.bury(Dead { path: self.path.clone(), bytes: self.meta.bytes() });
        }
    }
}
