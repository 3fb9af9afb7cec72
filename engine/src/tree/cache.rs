//! The block cache: S3-FIFO over decoded blocks, index partitions and filters, with one read of each in flight.
//!
//! Three queues (Yang et al., SOSP 2023): what is new enters *small*; what is asked for again moves to *main*; keys that fell
//! out of *small* are remembered in *ghost* and enter *main* directly when they come back. A scan passes through *small*
//! without displacing what is used often.
//!
//! What is held lies in slots; a map of our own (open addressing, a fixed hash) finds the slot of an id, and the queues hold
//! slots. A hit touches one word of the map and one slot, and allocates nothing.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;

use futures_channel::oneshot;

use super::table::block::Block;
use super::table::filter::Filter;
use super::table::index::Index;
use crate::error::EngineError;

/// Table id and offset in it: never reused for other bytes.
pub(crate) type BlockId = (u64, u64);

/// What is asked for this often within a round stays.
const MAX_USES: u8 = 3;

/// A part of a table in memory.
#[derive(Clone, Debug)]
pub(crate) enum Cached {
    Block(Block),
    Index(Index),
    Filter(Filter),
}

impl Cached {
    fn bytes(&self) -> usize {
        match self {
            Self::Block(block) => block.bytes(),
            Self::Index(index) => index.bytes(),
            Self::Filter(filter) => filter.bytes(),
        }
    }
}

struct Held {
    id: BlockId,
    part: Cached,
    bytes: usize,
    uses: u8,
}

/// Spreads ids over the map: the same in every process.
const fn hash(id: BlockId) -> u64 {
    let mixed = (id.0 ^ (id.1 >> 12)).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ id.1.wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
    mixed ^ (mixed >> 29)
}

/// From ids to slots, by open addressing. A word is the lower half of the id's hash, then its slot plus one; 0 is empty.
struct Map {
    words: Vec<u64>,
    len: usize,
}

impl Map {
    fn new() -> Self {
        Self { words: vec![0; 64], len: 0 }
    }

    const fn home(&self, word: u64) -> usize {
        (word >> 32) as usize & (self.words.len() - 1)
    }

    fn word(&self, at: usize) -> u64 {
        self.words.get(at).copied().unwrap_or_default()
    }

    fn set(&mut self, at: usize, word: u64) {
        if let Some(place) = self.words.get_mut(at) {
            *place = word;
        }
    }

    /// The first place that holds a slot of this hash for which `is` holds, or else the empty place behind them.
    fn place(&self, hash: u64, is: impl Fn(usize) -> bool) -> (usize, Option<usize>) {
        let mut at = self.home(hash << 32);
        loop {
            let word = self.word(at);
            if word == 0 {
                return (at, None);
            }
            let slot = (word as u32 - 1) as usize;
            if word >> 32 == hash & 0xffff_ffff && is(slot) {
                return (at, Some(slot));
            }
            at = (at + 1) & (self.words.len() - 1);
        }
    }

    fn insert(&mut self, hash: u64, slot: usize) {
        if (self.len + 1) * 2 > self.words.len() {
            let larger = vec![0; self.words.len() * 2];
            for word in std::mem::replace(&mut self.words, larger) {
                if word != 0 {
                    let (at, _) = self.place(word >> 32, |_| false);
                    self.set(at, word);
                }
            }
        }
        let (at, _) = self.place(hash, |_| false);
        self.set(at, hash << 32 | (slot as u64 + 1));
        self.len += 1;
    }

    /// Empties a place and moves those behind it forward that would not be found any more.
    fn remove(&mut self, at: usize) {
        let mask = self.words.len() - 1;
        let (mut hole, mut next) = (at, (at + 1) & mask);
        while self.word(next) != 0 {
            let word = self.word(next);
            let (from_home, from_hole) = (next.wrapping_sub(self.home(word)) & mask, next.wrapping_sub(hole) & mask);
            if from_home >= from_hole {
                self.set(hole, word);
                hole = next;
            }
            next = (next + 1) & mask;
        }
        self.set(hole, 0);
        self.len -= 1;
    }
}

struct Queues {
    map: Map,
    slots: Vec<Option<Held>>,
    free: Vec<usize>,
    small: VecDeque<usize>,
    main: VecDeque<usize>,
    /// Hashes of ids that fell out of *small*, each at the place that it selects: a later one overwrites.
    ghosts: Vec<u64>,
    small_bytes: usize,
    main_bytes: usize,
}

/// Parts of tables in memory.
pub(crate) struct BlockCache {
    capacity: usize,
    queues: RefCell<Queues>,
    reading: RefCell<BTreeMap<BlockId, Vec<oneshot::Sender<()>>>>,
    hits: Cell<u64>,
    misses: Cell<u64>,
    filters: FilterCounts,
}

/// What the filters of all tables did.
#[derive(Debug, Default)]
pub(crate) struct FilterCounts {
    /// Times that a filter was asked.
    pub(crate) asked: Cell<u64>,
    /// Times that it spared a look into the table.
    pub(crate) spared: Cell<u64>,
    /// Times that it let a look pass that found no version.
    pub(crate) vain: Cell<u64>,
}

/// Adds one.
pub(crate) fn count(counter: &Cell<u64>) {
    counter.set(counter.get() + 1);
}

/// The right and the duty to read one part. Dropping it wakes those who wait for the read, also when it was abandoned.
pub(crate) struct Claim<'a> {
    cache: &'a BlockCache,
    id: BlockId,
}

impl Claim<'_> {
    /// Puts what was read into the cache.
    pub(crate) fn fill(self, part: &Cached) {
        self.cache.queues.borrow_mut().insert(self.id, part, self.cache.capacity);
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let waiting = self.cache.reading.borrow_mut().remove(&self.id);
        for waiter in waiting.into_iter().flatten() {
            let _ = waiter.send(());
        }
    }
}

/// What the cache says of a part.
pub(crate) enum Ask<'a> {
    Held(Cached),
    /// It is being read; ask again when this ends.
    Reading(oneshot::Receiver<()>),
    /// The caller reads it.
    Yours(Claim<'a>),
}

impl BlockCache {
    /// A cache of so many bytes.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            queues: RefCell::new(Queues::new()),
            reading: RefCell::default(),
            hits: Cell::new(0),
            misses: Cell::new(0),
            filters: FilterCounts::default(),
        }
    }

    /// Parts found in memory, and those that were read.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.hits.get(), self.misses.get())
    }

    /// What the filters did.
    pub(crate) const fn filters(&self) -> &FilterCounts {
        &self.filters
    }

    /// Bytes that it holds at most.
    pub(crate) const fn capacity(&self) -> usize {
        self.capacity
    }

    /// Bytes in memory.
    pub(crate) fn bytes(&self) -> usize {
        let queues = self.queues.borrow();
        queues.small_bytes + queues.main_bytes
    }

    /// What `look` sees in a part that is in memory. `look` must not use the cache.
    pub(crate) fn with<T>(&self, id: BlockId, look: impl FnOnce(&Cached) -> T) -> Option<T> {
        let mut queues = self.queues.borrow_mut();
        let part = queues.touch(id)?;
        count(&self.hits);
        Some(look(part))
    }

    /// Takes a part that was made and not read, as one that is new.
    pub(crate) fn put(&self, id: BlockId, part: &Cached) {
        self.queues.borrow_mut().insert(id, part, self.capacity);
    }

    /// The part, or who has to read it.
    pub(crate) fn ask(&self, id: BlockId) -> Ask<'_> {
        if let Some(part) = self.with(id, Cached::clone) {
            return Ask::Held(part);
        }
        let mut reading = self.reading.borrow_mut();
        if let Some(waiting) = reading.get_mut(&id) {
            let (sender, receiver) = oneshot::channel();
            waiting.push(sender);
            return Ask::Reading(receiver);
        }
        count(&self.misses);
        reading.insert(id, Vec::new());
        Ask::Yours(Claim { cache: self, id })
    }

    /// The right to read a part ahead of its use; none if it is here or being read.
    pub(crate) fn claim(&self, id: BlockId) -> Option<Claim<'_>> {
        if self.queues.borrow().find(id).is_some() {
            return None;
        }
        let mut reading = self.reading.borrow_mut();
        if reading.contains_key(&id) {
            return None;
        }
        reading.insert(id, Vec::new());
        Some(Claim { cache: self, id })
    }

    /// The part, read by `read` if it is not here. Who asks for a part that is being read waits for that read.
    pub(crate) async fn get<Fut>(&self, id: BlockId, read: impl Fn() -> Fut) -> Result<Cached, EngineError>
    where
        Fut: Future<Output = Result<Cached, EngineError>>,
    {
        loop {
            match self.ask(id) {
                Ask::Held(part) => return Ok(part),
                Ask::Reading(done) => {
                    let _ = done.await;
                }
                Ask::Yours(claim) => {
                    let part = read().await?;
                    claim.fill(&part);
                    return Ok(part);
                }
            }
        }
    }
}

impl Queues {
    fn new() -> Self {
        Self {
            map: Map::new(),
            slots: Vec::new(),
            free: Vec::new(),
            small: VecDeque::new(),
            main: VecDeque::new(),
            ghosts: vec![0; 64],
            small_bytes: 0,
            main_bytes: 0,
        }
    }

    /// Where the map has an id, and its slot.
    fn find(&self, id: BlockId) -> Option<(usize, usize)> {
        let is = |slot: usize| self.slots.get(slot).is_some_and(|held| held.as_ref().is_some_and(|held| held.id == id));
        let (at, slot) = self.map.place(hash(id), is);
        slot.map(|slot| (at, slot))
    }

    fn held(&mut self, slot: usize) -> Option<&mut Held> {
        self.slots.get_mut(slot)?.as_mut()
    }

    fn touch(&mut self, id: BlockId) -> Option<&Cached> {
        let (_, slot) = self.find(id)?;
        let held = self.held(slot)?;
        held.uses = (held.uses + 1).min(MAX_USES);
        Some(&held.part)
    }

    /// Forgets that an id fell out, and says whether it had.
    fn take_ghost(&mut self, hash: u64) -> bool {
        let at = hash as usize & (self.ghosts.len() - 1);
        self.ghosts.get_mut(at).is_some_and(|ghost| *ghost == hash && std::mem::take(ghost) != 0)
    }

    fn insert(&mut self, id: BlockId, part: &Cached, capacity: usize) {
        let bytes = part.bytes();
        if bytes > capacity / 2 || self.find(id).is_some() {
            return;
        }
        let slot = self.free.pop().unwrap_or(self.slots.len());
        if slot == self.slots.len() {
            self.slots.push(None);
        }
        if let Some(place) = self.slots.get_mut(slot) {
            *place = Some(Held { id, part: part.clone(), bytes, uses: 0 });
        }
        self.map.insert(hash(id), slot);
        if self.take_ghost(hash(id)) {
            self.main.push_back(slot);
            self.main_bytes += bytes;
        } else {
            self.small.push_back(slot);
            self.small_bytes += bytes;
        }
        while self.small_bytes + self.main_bytes > capacity {
            if self.small_bytes > capacity / 10 || self.main.is_empty() {
                self.evict_small();
            } else {
                self.evict_main();
            }
        }
        // As many ghosts as there are parts; growing forgets them, which costs a few reads once.
        if self.ghosts.len() < self.map.len {
            self.ghosts = vec![0; self.ghosts.len() * 2];
        }
    }

    fn evict_small(&mut self) {
        let Some(slot) = self.small.pop_front() else { return };
        let Some(held) = self.held(slot) else { return };
        let (id, bytes, used) = (held.id, held.bytes, held.uses > 0);
        held.uses = 0;
        self.small_bytes -= bytes;
        if used {
            self.main_bytes += bytes;
            self.main.push_back(slot);
            return;
        }
        self.forget(slot, id);
        let hash = hash(id);
        let at = hash as usize & (self.ghosts.len() - 1);
        if let Some(ghost) = self.ghosts.get_mut(at) {
            *ghost = hash;
        }
    }

    fn evict_main(&mut self) {
        while let Some(slot) = self.main.pop_front() {
            let Some(held) = self.held(slot) else { continue };
            if held.uses > 0 {
                held.uses -= 1;
                self.main.push_back(slot);
                continue;
            }
            let (id, bytes) = (held.id, held.bytes);
            self.main_bytes -= bytes;
            self.forget(slot, id);
            return;
        }
    }

    fn forget(&mut self, slot: usize, id: BlockId) {
        if let Some((at, _)) = self.find(id) {
            self.map.remove(at);
        }
        if let Some(place) = self.slots.get_mut(slot) {
            *place = None;
        }
        self.free.push(slot);
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::disallowed_methods
    )]
    use super::super::table::block::BlockBuilder;
    use super::*;
    use crate::ids::{Expiry, Seq};
    use crate::tree::EntryRef;
    use bytes::Bytes;
    use futures_lite::future::{block_on, poll_once, yield_now};

    fn block() -> Cached {
        let mut builder = BlockBuilder::default();
        builder.push(EntryRef { key: b"k", seq: Seq(1), value: Some(&[0; 800]), expires_at: Expiry::NEVER });
        let mut out = Vec::new();
        builder.finish(&mut out);
        Cached::Block(Block::decode(Bytes::from(out)).unwrap())
    }

    async fn ask(cache: &BlockCache, table: u64) -> bool {
        let before = cache.counts().1;
        cache.get((table, 0), || async { Ok(block()) }).await.unwrap();
        cache.counts().1 == before
    }

    #[test]
    fn a_scan_does_not_displace_what_is_used_often() {
        block_on(async {
            let cache = BlockCache::new(20_000);
            for _ in 0..3 {
                for table in 0..8 {
                    ask(&cache, table).await;
                }
            }
            for table in 100..200 {
                ask(&cache, table).await;
            }
            for table in 0..8 {
                assert!(ask(&cache, table).await, "{table}");
            }
        });
    }

    #[test]
    fn two_readers_of_a_block_read_it_once_and_an_abandoned_read_is_taken_over() {
        block_on(async {
            let cache = BlockCache::new(20_000);
            let slow = || async {
                yield_now().await;
                Ok(block())
            };
            let mut first = Box::pin(cache.get((1, 0), slow));
            let mut second = Box::pin(cache.get((1, 0), slow));
            assert!(poll_once(&mut first).await.is_none());
            assert!(poll_once(&mut second).await.is_none());
            assert_eq!(cache.counts().1, 1);
            drop(first);
            assert!(second.await.is_ok());
            assert_eq!(cache.counts().1, 2);
        });
    }

    #[test]
    fn the_map_finds_what_it_holds_and_nothing_else() {
        fn property(steps: Vec<(bool, u8)>) -> bool {
            // Few hashes, so that places are shared; the slot is the id.
            let hash_of = |id: u8| u64::from(id % 7) * 13;
            let (mut map, mut model) = (Map::new(), std::collections::BTreeSet::new());
            for (insert, id) in steps {
                let found = map.place(hash_of(id), |slot| slot == usize::from(id));
                if found.1.is_some() != model.contains(&id) {
                    return false;
                }
                match (insert, found.1) {
                    (true, None) => {
                        map.insert(hash_of(id), usize::from(id));
                        model.insert(id);
                    }
                    (false, Some(_)) => {
                        map.remove(found.0);
                        model.remove(&id);
                    }
                    (true, Some(_)) | (false, None) => {}
                }
            }
            map.len == model.len()
                && (0..=255)
                    .all(|id| map.place(hash_of(id), |slot| slot == usize::from(id)).1.is_some() == model.contains(&id))
        }
        quickcheck::quickcheck(property as fn(Vec<(bool, u8)>) -> bool);
    }

    #[test]
    fn the_cache_stays_within_its_bytes_and_remembers_what_fell_out_too_early() {
        block_on(async {
            let cache = BlockCache::new(20_000);
            for table in 0..500 {
                ask(&cache, table).await;
                assert!(cache.bytes() <= 20_000);
            }
            assert!(!ask(&cache, 470).await, "a stranger of one visit has gone");
            for table in 600..620 {
                ask(&cache, table).await;
            }
            assert!(ask(&cache, 470).await, "one that came back has not");
        });
    }
}
