//! The block cache: S3-FIFO over decoded blocks, with one read per block in flight.
//!
//! Three queues (Yang et al., SOSP 2023): new blocks enter *small*; those asked for again move to *main*; keys that fell
//! out of *small* are remembered in *ghost* and enter *main* directly when they come back. A scan passes through *small*
//! without displacing what is used often.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::rc::Rc;

use futures_channel::oneshot;

use super::table::block::Block;
use crate::error::EngineError;

/// Table id and offset in it: never reused for other bytes.
pub(crate) type BlockId = (u64, u64);

/// A block asked for this often within a round stays.
const MAX_USES: u8 = 3;

struct Held {
    block: Rc<Block>,
    bytes: usize,
    uses: u8,
    in_main: bool,
}

#[derive(Default)]
struct Queues {
    held: BTreeMap<BlockId, Held>,
    small: VecDeque<BlockId>,
    main: VecDeque<BlockId>,
    ghost: VecDeque<BlockId>,
    ghosts: BTreeSet<BlockId>,
    small_bytes: usize,
    main_bytes: usize,
}

/// Blocks of tables in memory.
pub(crate) struct BlockCache {
    capacity: usize,
    queues: RefCell<Queues>,
    reading: RefCell<BTreeMap<BlockId, Vec<oneshot::Sender<()>>>>,
    hits: Cell<u64>,
    misses: Cell<u64>,
}

/// Ends a read in flight, also when it is abandoned.
struct Reading<'a> {
    cache: &'a BlockCache,
    id: BlockId,
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        let waiting = self.cache.reading.borrow_mut().remove(&self.id);
        for waiter in waiting.into_iter().flatten() {
            let _ = waiter.send(());
        }
    }
}

impl BlockCache {
    /// A cache of so many bytes.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            queues: RefCell::default(),
            reading: RefCell::default(),
            hits: Cell::new(0),
            misses: Cell::new(0),
        }
    }

    /// Blocks found in memory, and those that were read.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.hits.get(), self.misses.get())
    }

    /// The block, read by `read` if it is not here. Who asks for a block that is being read waits for that read.
    pub(crate) async fn get<Fut>(&self, id: BlockId, read: impl Fn() -> Fut) -> Result<Rc<Block>, EngineError>
    where
        Fut: Future<Output = Result<Block, EngineError>>,
    {
        loop {
            if let Some(block) = self.queues.borrow_mut().touch(id) {
                self.hits.set(self.hits.get() + 1);
                return Ok(block);
            }
            if let Some(done) = self.join_read(id) {
                let _ = done.await;
                continue;
            }
            let _reading = Reading { cache: self, id };
            self.misses.set(self.misses.get() + 1);
            let block = Rc::new(read().await?);
            self.queues.borrow_mut().insert(id, &block, self.capacity);
            return Ok(block);
        }
    }

    /// The end of the read of this block that is in flight; without one, the caller's read is it.
    fn join_read(&self, id: BlockId) -> Option<oneshot::Receiver<()>> {
        let mut reading = self.reading.borrow_mut();
        if let Some(waiting) = reading.get_mut(&id) {
            let (sender, receiver) = oneshot::channel();
            waiting.push(sender);
            return Some(receiver);
        }
        reading.insert(id, Vec::new());
        None
    }
}

impl Queues {
    fn touch(&mut self, id: BlockId) -> Option<Rc<Block>> {
        let held = self.held.get_mut(&id)?;
        held.uses = (held.uses + 1).min(MAX_USES);
        Some(Rc::clone(&held.block))
    }

    fn insert(&mut self, id: BlockId, block: &Rc<Block>, capacity: usize) {
        let bytes = block.bytes();
        if bytes > capacity / 2 || self.held.contains_key(&id) {
            return;
        }
        let in_main = self.ghosts.remove(&id);
        if in_main {
            self.main.push_back(id);
            self.main_bytes += bytes;
        } else {
            self.small.push_back(id);
            self.small_bytes += bytes;
        }
        self.held.insert(id, Held { block: Rc::clone(block), bytes, uses: 0, in_main });
        while self.small_bytes + self.main_bytes > capacity {
            if self.small_bytes > capacity / 10 || self.main.is_empty() {
                self.evict_small();
            } else {
                self.evict_main();
            }
        }
        while self.ghost.len() > self.held.len() {
            if let Some(id) = self.ghost.pop_front() {
                self.ghosts.remove(&id);
            }
        }
    }

    fn evict_small(&mut self) {
        let Some(id) = self.small.pop_front() else { return };
        let Some(held) = self.held.get_mut(&id) else { return };
        self.small_bytes -= held.bytes;
        if held.uses > 0 {
            held.uses = 0;
            held.in_main = true;
            self.main_bytes += held.bytes;
            self.main.push_back(id);
        } else {
            self.held.remove(&id);
            if self.ghosts.insert(id) {
                self.ghost.push_back(id);
            }
        }
    }

    fn evict_main(&mut self) {
        while let Some(id) = self.main.pop_front() {
            let Some(held) = self.held.get_mut(&id) else { continue };
            debug_assert!(held.in_main);
            if held.uses > 0 {
                held.uses -= 1;
                self.main.push_back(id);
                continue;
            }
            self.main_bytes -= held.bytes;
            self.held.remove(&id);
            return;
        }
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
    use crate::ids::Seq;
    use crate::tree::Entry;
    use bytes::Bytes;
    use futures_lite::future::{block_on, poll_once, yield_now};

    fn block() -> Block {
        let mut builder = BlockBuilder::default();
        builder.push(&Entry {
            key: Bytes::from_static(b"k"),
            seq: Seq(1),
            value: Some(Bytes::from(vec![0; 900])),
            expires_at: crate::ids::Expiry::NEVER,
        });
        Block::decode(Bytes::from(builder.finish())).unwrap()
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
}
