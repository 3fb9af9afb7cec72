//! # Sorted tables
//!
//! Owns the format of tables, their writing and their reading. A table never changes; its file is removed when the last
//! version that holds it is gone and an installed manifest edit has dropped it.
//!
//! A point read first tries everything in memory, without waiting ([`Table::get_cached`]); only what is not there makes it
//! read ([`Table::get`]).

pub mod block;
pub mod filter;
pub mod format;
pub mod index;
pub(crate) mod prefix;
pub mod properties;
pub(crate) mod read;
mod scrub;
pub(crate) mod walk;
pub(crate) mod writer;

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use bytes::Bytes;
use highwater_runtime::{BLOCK, Env, OpenOptions};

use super::Lookup;
use super::cache::{BlockCache, BlockId, Cached, count};
use super::cursor::{Direction, Span};
use super::graveyard::{Dead, Graveyard};
use super::tombstone::RangeTombstones;
use crate::codec::Malformed;
use crate::damage::{Damage, remember};
use crate::error::EngineError;
use crate::ids::{Expiry, Seq};
use crate::manifest::TableMeta;
use block::{Block, Seek};
use filter::Filter;
use format::{Footer, Pointer};
use index::{Index, Place};
use read::{Memory, failed_read, read};
use scrub::Scrubbed;

/// How much readers want tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Demand {
    /// Data blocks that readers have asked for.
    pub(crate) asked: u64,
    /// Data blocks that there are.
    pub(crate) blocks: u64,
}

impl Demand {
    /// At least an eighth of the blocks were asked for: what is made of them will be asked for too.
    pub(crate) const fn is_hot(self) -> bool {
        self.asked > 0 && self.asked.saturating_mul(8) >= self.blocks
    }
}

impl std::iter::Sum for Demand {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::default(), |sum, part| Self {
            asked: sum.asked.saturating_add(part.asked),
            blocks: sum.blocks.saturating_add(part.blocks),
        })
    }
}

/// An open table. The top of its index and its range deletes are in memory, and so is an index of one partition.
pub(crate) struct Table<E: Env> {
    pub(crate) meta: TableMeta,
    env: E,
    file: E::File,
    path: PathBuf,
    top: Index,
    /// The only partition of the index.
    only: Option<Index>,
    pub(crate) tombstones: RangeTombstones,
    footer: Footer,
    obsolete: Cell<bool>,
    /// Data blocks that readers have asked for.
    asked: Cell<u64>,
    /// Places that were found damaged. Such a table is quarantined.
    damage: RefCell<Vec<Damage>>,
    scrubbed: RefCell<Scrubbed>,
    graveyard: Graveyard,
}

/// A version that was found: its sequence number, its value unless it is a delete, and when that has expired.
type Found = (Seq, Option<Bytes>, Expiry);

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
        use highwater_runtime::File as _;
        let end = match file.read_at(meta.footer_at, BLOCK).await {
            Ok(end) => end,
            Err(error) => return Err(failed_read(&file, &path, meta.footer_at + BLOCK as u64, &error).await),
        };
        let malformed = |base: u64, error: &Malformed| EngineError::malformed(&path, base, error);
        let (footer, checksum) = Footer::decode(&end).map_err(|error| malformed(meta.footer_at, &error))?;
        if checksum != meta.checksum {
            return Err(EngineError::corruption(
                &path,
                meta.footer_at,
                "this is not the table that the manifest names",
            ));
        }
        let index = async |pointer: &Pointer| {
            let data = read(&file, &path, pointer, Memory::Own).await?;
            Index::decode(data).map_err(|error| malformed(pointer.offset, &error))
        };
        let top = index(&footer.top).await?;
        let only = match top.pointer(0, 0).map_err(|error| malformed(footer.top.offset, &error))? {
            Some(pointer) if top.len() == 1 => Some(index(&pointer).await?),
            Some(_) | None => None,
        };
        let deletes = read(&file, &path, &footer.tombstones, Memory::Own).await?;
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
            top,
            only,
            tombstones,
            footer,
            obsolete,
            asked: Cell::new(0),
            damage: RefCell::default(),
            scrubbed: RefCell::default(),
            graveyard,
        }))
    }

    /// Lets the file be removed once nobody reads it.
    pub(crate) fn retire(&self) {
        self.obsolete.set(true);
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
        let of = &self.footer.properties;
        of.deletes == 0 && of.range_deletes == 0 && of.newest == 0
    }

    pub(crate) const fn env(&self) -> &E {
        &self.env
    }

    /// Number of partitions of the index.
    pub(crate) const fn partitions(&self) -> usize {
        self.top.len()
    }

    /// The partition that `key` belongs to; their number when it is behind all.
    pub(crate) fn partition_of(&self, key: &[u8]) -> usize {
        self.top.find(key).at
    }

    fn id(&self, pointer: &Pointer) -> BlockId {
        // Planted bug 107: blocks of different tables are taken for each other.
        if self.env.mutant(107) { (0, pointer.offset) } else { (self.meta.table, pointer.offset) }
    }

    /// A complaint about bytes that start at `base`.
    pub(crate) fn malformed(&self, base: u64, error: &Malformed) -> EngineError {
        EngineError::malformed(&self.path, base, error)
    }

    /// The pointer number `which` of an entry of the top: 0 for the partition, 1 for its filter.
    fn top_pointer(&self, partition: usize, which: usize) -> Result<Option<Pointer>, EngineError> {
        self.top.pointer(partition, which).map_err(|error| self.malformed(self.footer.top.offset, &error))
    }

    /// Where a block is.
    pub(crate) fn block_pointer(&self, index: &Index, number: usize) -> Result<Pointer, EngineError> {
        let pointer = index.pointer(number, 0).map_err(|error| self.malformed(0, &error))?;
        pointer.ok_or_else(|| EngineError::corruption(&self.path, 0, "the index names no block"))
    }

    /// Reads a part, through the cache if there is one.
    async fn part(
        &self,
        cache: Option<&BlockCache>,
        pointer: &Pointer,
        decode: impl Fn(Bytes) -> Result<Cached, Malformed>,
    ) -> Result<Cached, EngineError> {
        let fresh = async || {
            let data = read(&self.file, &self.path, pointer, Memory::Own).await;
            let part = data.and_then(|data| decode(data).map_err(|error| self.malformed(pointer.offset, &error)));
            self.noted(part)
        };
        match cache {
            Some(cache) => cache.get(self.id(pointer), fresh).await,
            None => fresh().await,
        }
    }

    /// A data block.
    pub(crate) async fn block(&self, cache: Option<&BlockCache>, pointer: &Pointer) -> Result<Block, EngineError> {
        let decode = |data| Block::decode(data).map(Cached::Block);
        if cache.is_some() {
            count(&self.asked);
        }
        match self.part(cache, pointer, decode).await? {
            Cached::Block(block) => Ok(block),
            Cached::Index(_) | Cached::Filter(_) => Err(self.mistaken(pointer)),
        }
    }

    /// How often readers have asked for its data blocks, and how many it has.
    pub(crate) fn demand(&self) -> Demand {
        Demand { asked: self.asked.get(), blocks: self.footer.properties.blocks }
    }

    /// Takes its part of the demand for what it was made of: half, so that it fades when nobody reads.
    pub(crate) fn inherit(&self, of: Demand) {
        let part = of.asked.saturating_mul(self.footer.properties.blocks) / of.blocks.max(1);
        self.asked.set(part / 2);
    }

    /// A partition of the index.
    pub(crate) async fn index(&self, cache: Option<&BlockCache>, partition: usize) -> Result<Index, EngineError> {
        if let Some(only) = &self.only {
            return Ok(only.clone());
        }
        let Some(pointer) = self.top_pointer(partition, 0)? else {
            return Err(EngineError::corruption(&self.path, self.footer.top.offset, "the index names no partition"));
        };
        let decode = |data| Index::decode(data).map(Cached::Index);
        match self.part(cache, &pointer, decode).await? {
            Cached::Index(index) => Ok(index),
            Cached::Block(_) | Cached::Filter(_) => Err(self.mistaken(&pointer)),
        }
    }

    /// The filter of a partition, if it has one.
    async fn filter(&self, cache: &BlockCache, partition: usize) -> Result<Option<Filter>, EngineError> {
        let Some(pointer) = self.top_pointer(partition, 1)? else { return Ok(None) };
        let decode = |data| Filter::decode(data).map(Cached::Filter);
        match self.part(Some(cache), &pointer, decode).await? {
            Cached::Filter(filter) => Ok(Some(filter)),
            Cached::Block(_) | Cached::Index(_) => Err(self.mistaken(&pointer)),
        }
    }

    fn mistaken(&self, pointer: &Pointer) -> EngineError {
        EngineError::corruption(&self.path, pointer.offset, "one part of a table was taken for another")
    }

    /// Whether a partition may hold a key or prefix with this hash; `None` when its filter is not in memory.
    fn filter_cached(&self, cache: &BlockCache, partition: usize, hash: u64) -> Result<Option<bool>, EngineError> {
        let Some(pointer) = self.top_pointer(partition, 1)? else { return Ok(Some(true)) };
        let said = cache.with(self.id(&pointer), |part| match part {
            Cached::Filter(filter) => Some(filter.may_contain(hash)),
            Cached::Block(_) | Cached::Index(_) => None,
        });
        Ok(said.flatten())
    }

    /// What the table knows of `key`, whose filter hash is given; `None` when not all that it takes is in memory.
    pub(crate) fn get_cached(
        &self,
        cache: &BlockCache,
        key: &[u8],
        hash: u64,
        at: Seq,
    ) -> Result<Option<Lookup>, EngineError> {
        let tombstone = self.tombstones.covering(key, at);
        let partition = self.top.find(key).at;
        if partition >= self.top.len() {
            return Ok(Some(Lookup::of(None, tombstone)));
        }
        let filters = cache.filters();
        match self.filter_cached(cache, partition, hash)? {
            None => return Ok(None),
            Some(passes) => {
                count(&filters.asked);
                if !passes {
                    count(&filters.spared);
                    return Ok(Some(Lookup::of(None, tombstone)));
                }
            }
        }
        let entry = |index: &Index| {
            let place = index.find(key);
            index.pointer(place.at, 0).map(|pointer| (pointer, place))
        };
        let entry = match &self.only {
            Some(only) => Some(entry(only)),
            None => {
                let Some(pointer) = self.top_pointer(partition, 0)? else { return Ok(None) };
                let seen = cache.with(self.id(&pointer), |part| match part {
                    Cached::Index(index) => Some(entry(index)),
                    Cached::Block(_) | Cached::Filter(_) => None,
                });
                seen.flatten()
            }
        };
        let Some(Ok((Some(pointer), Place { exact, .. }))) = entry else { return Ok(None) };
        count(&self.asked);
        let seek = cache.with(self.id(&pointer), |part| match part {
            Cached::Block(block) => Some(block.get(key, at)),
            Cached::Index(_) | Cached::Filter(_) => None,
        });
        let Some(seek) = seek.flatten() else { return Ok(None) };
        match seek.map_err(|error| self.malformed(pointer.offset, &error))? {
            Seek::Found(seq, value, expires_at) => Ok(Some(Lookup::of(Some((seq, value, expires_at)), tombstone))),
            // Its versions go on in the next block.
            Seek::Beyond if exact => Ok(None),
            Seek::Absent | Seek::Beyond => {
                count(&filters.vain);
                Ok(Some(Lookup::of(None, tombstone)))
            }
        }
    }

    /// What the table knows of `key`, whose filter hash is given.
    pub(crate) async fn get(&self, cache: &BlockCache, key: &[u8], hash: u64, at: Seq) -> Result<Lookup, EngineError> {
        let tombstone = self.tombstones.covering(key, at);
        let partition = self.top.find(key).at;
        if partition >= self.top.len() {
            return Ok(Lookup::of(None, tombstone));
        }
        let filters = cache.filters();
        let filter = self.filter(cache, partition).await?;
        count(&filters.asked);
        if filter.is_some_and(|filter| !filter.may_contain(hash)) {
            count(&filters.spared);
            return Ok(Lookup::of(None, tombstone));
        }
        let version = self.version_of(cache, key, at, partition).await?;
        if version.is_none() {
            count(&filters.vain);
        }
        Ok(Lookup::of(version, tombstone))
    }

    async fn version_of(
        &self,
        cache: &BlockCache,
        key: &[u8],
        at: Seq,
        partition: usize,
    ) -> Result<Option<Found>, EngineError> {
        for partition in partition..self.top.len() {
            let index = self.index(Some(cache), partition).await?;
            let Place { at: first, .. } = index.find(key);
            for number in first..index.len() {
                let pointer = self.block_pointer(&index, number)?;
                let block = self.block(Some(cache), &pointer).await?;
                match block.get(key, at).map_err(|error| self.malformed(pointer.offset, &error))? {
                    Seek::Found(seq, value, expires_at) => return Ok(Some((seq, value, expires_at))),
                    Seek::Absent => return Ok(None),
                    Seek::Beyond if index.separator(number) == key => {}
                    Seek::Beyond => return Ok(None),
                }
            }
        }
        Ok(None)
    }

    /// Whether the table may hold a key of `span`, as far as the filters of prefixes tell. They do when all keys of the span
    /// begin with one prefix of the length that the filters hold.
    pub(crate) async fn may_hold(&self, cache: &BlockCache, span: &Span) -> Result<bool, EngineError> {
        let Some(prefix) = span.common_prefix(self.footer.properties.prefix_length as usize) else { return Ok(true) };
        let (first, upto) = (self.top.find(&span.start).at, span.end.as_ref().map(|end| self.top.find(end).at));
        let hash = filter::hash_prefix(prefix);
        let filters = cache.filters();
        for partition in first..self.top.len().min(upto.unwrap_or(first).saturating_add(1)) {
            if partition > first + 1 {
                // The span holds a whole partition.
                return Ok(true);
            }
            let Some(filter) = self.filter(cache, partition).await? else { return Ok(true) };
            count(&filters.asked);
            if filter.may_contain(hash) {
                return Ok(true);
            }
        }
        count(&filters.spared);
        Ok(false)
    }

    /// Reads the blocks that these pointers name, which follow each other in the file, in one read.
    pub(crate) async fn blocks(&self, pointers: &[Pointer], memory: Memory) -> Result<Vec<Block>, EngineError> {
        let parts = self.noted(read::read_many(&self.file, &self.path, pointers, memory).await)?;
        let decode = |(data, pointer): (Bytes, &Pointer)| {
            Block::decode(data).map_err(|error| self.malformed(pointer.offset, &error))
        };
        self.noted(parts.into_iter().zip(pointers).map(decode).collect())
    }

    /// A block that is being read in order: a miss reads up to `ahead` blocks at once, those that come next in the direction of
    /// reading, and leaves the others in the cache.
    pub(crate) async fn block_ahead(
        &self,
        cache: &BlockCache,
        index: &Index,
        number: usize,
        ahead: usize,
        direction: Direction,
    ) -> Result<(Block, bool), EngineError> {
        let pointer = self.block_pointer(index, number)?;
        loop {
            match cache.ask(self.id(&pointer)) {
                super::cache::Ask::Held(Cached::Block(block)) => return Ok((block, false)),
                super::cache::Ask::Held(_) => return Err(self.mistaken(&pointer)),
                super::cache::Ask::Reading(done) => {
                    let _ = done.await;
                }
                super::cache::Ask::Yours(claim) => {
                    let (mut pointers, mut claims) = (vec![pointer], vec![claim]);
                    for step in 1..ahead {
                        let next = match direction {
                            Direction::Forward => Some(number + step).filter(|next| *next < index.len()),
                            Direction::Reverse => number.checked_sub(step),
                        };
                        let Some(next) = next else { break };
                        let next = self.block_pointer(index, next)?;
                        let Some(claim) = cache.claim(self.id(&next)) else { break };
                        pointers.push(next);
                        claims.push(claim);
                    }
                    if direction == Direction::Reverse {
                        // They are read in the order in which they lie.
                        pointers.reverse();
                        claims.reverse();
                    }
                    let mut asked = if direction == Direction::Reverse { pointers.len() - 1 } else { 0 };
                    let blocks = match self.blocks(&pointers, Memory::Own).await {
                        // Damage of a block that was not asked for is not this reader's.
                        Err(_) if pointers.len() > 1 => {
                            claims = vec![claims.swap_remove(asked)];
                            asked = 0;
                            self.blocks(&[pointer], Memory::Own).await?
                        }
                        outcome => outcome?,
                    };
                    let block = blocks.get(asked).cloned();
                    for (claim, block) in claims.into_iter().zip(blocks) {
                        claim.fill(&Cached::Block(block));
                    }
                    return block.map(|block| (block, true)).ok_or_else(|| self.mistaken(&pointer));
                }
            }
        }
    }
}

impl<E: Env> Drop for Table<E> {
    fn drop(&mut self) {
        if self.obsolete.get() {
            self.graveyard.bury(Dead { path: self.path.clone(), bytes: self.meta.bytes() });
        }
    }
}
