//! A run of disjoint tables being read in order, in either direction, a version at a time.
//!
//! Steps within a block are synchronous; the next block is fetched by [`RunFeed::load`], from the cache or by a read. Reads
//! in order grow: a cursor's from one block to [`AHEAD`], a compaction's (which bypasses the cache) are [`BULK`] bytes at once.
//! A table of which a filter says that nothing within the span is in it is passed over.

use std::collections::VecDeque;
use std::rc::Rc;

use bytes::Bytes;
use highwater_runtime::Env;

use super::EntryRef;
use super::cache::BlockCache;
use super::cursor::{Direction, Span};
use super::table::Table;
use super::table::block::Block;
use super::table::format::Pointer;
use super::table::index::Index;
use super::table::read::Memory;
use super::table::walk::Walk;
use crate::error::EngineError;
use crate::ids::Seq;

/// Blocks that a cursor reads at once at most.
const AHEAD: usize = 8;
/// Bytes that a compaction reads at once, about.
const BULK: u64 = 512 << 10;

/// What a step led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A version is there.
    There,
    /// What follows must be loaded first.
    Load,
    /// There are no more.
    End,
}

/// What the next load is to find.
enum Goal {
    /// The first version at or above this key (reverse: the last below it); `None` is the span's beginning.
    Seek(Option<Bytes>),
    /// The version behind the present block (reverse: before it).
    Next,
    /// Nothing: a version is there.
    Nothing,
    End,
}

/// Disjoint tables being read in order.
pub(crate) struct RunFeed<E: Env> {
    /// In key order.
    tables: Vec<Rc<Table<E>>>,
    span: Span,
    direction: Direction,
    cache: Option<Rc<BlockCache>>,
    goal: Goal,
    /// Number of the present table.
    table: usize,
    partition: usize,
    index: Option<Index>,
    /// Number of the present block in the partition.
    number: usize,
    /// Where the present block begins in its file.
    offset: u64,
    walk: Walk,
    /// The present block reaches beyond the span.
    beyond: bool,
    /// Blocks that the next miss reads.
    ahead: usize,
    /// Blocks read in bulk that follow the present one.
    bulk: VecDeque<Block>,
}

impl<E: Env> RunFeed<E> {
    /// Reads these tables, which are in key order, from one end to the other.
    pub(crate) fn new(tables: Vec<Rc<Table<E>>>, direction: Direction, cache: Option<&Rc<BlockCache>>) -> Self {
        Self {
            tables,
            span: Span::all(),
            direction,
            cache: cache.cloned(),
            goal: Goal::Seek(None),
            table: 0,
            partition: 0,
            index: None,
            number: 0,
            offset: 0,
            walk: Walk::default(),
            beyond: false,
            ahead: 1,
            bulk: VecDeque::new(),
        }
    }

    /// Reads only what is within `span`.
    pub(crate) fn within(mut self, span: &Span) -> Self {
        self.span = span.clone();
        self
    }

    /// Makes the next load go to a key: forward to the first version at or above it, in reverse to the last below it.
    pub(crate) fn seek(&mut self, key: Bytes) {
        let outside = match self.direction {
            Direction::Forward => key <= self.span.start,
            Direction::Reverse => self.span.end.as_ref().is_some_and(|end| *end <= key),
        };
        self.goal = Goal::Seek(if outside { None } else { Some(key) });
        self.ahead = 1;
        self.bulk.clear();
    }

    /// The newest sequence number in any of the tables.
    pub(crate) fn newest(&self) -> Seq {
        Seq(self.tables.iter().map(|table| table.meta.newest).max().unwrap_or_default())
    }

    pub(crate) fn current(&self) -> EntryRef<'_> {
        self.walk.current()
    }

    pub(crate) fn key(&self) -> &[u8] {
        self.walk.key()
    }

    pub(crate) const fn seq(&self) -> Seq {
        self.walk.seq()
    }

    pub(crate) fn value(&self) -> Option<Bytes> {
        self.walk.value()
    }

    /// Moves on within the present block.
    pub(crate) fn step(&mut self) -> Result<Step, EngineError> {
        let moved = match self.direction {
            Direction::Forward => self.walk.forward(),
            Direction::Reverse => self.walk.backward(),
        };
        let moved = moved.map_err(|error| self.malformed(&error))?;
        Ok(if !moved {
            self.goal = Goal::Next;
            Step::Load
        } else if self.beyond && self.is_outside() {
            self.end();
            Step::End
        } else {
            Step::There
        })
    }

    fn malformed(&self, error: &crate::codec::Malformed) -> EngineError {
        match self.tables.get(self.table) {
            Some(table) => table.malformed(self.offset, error),
            None => EngineError::Closed,
        }
    }

    fn end(&mut self) {
        self.goal = Goal::End;
        self.walk.leave();
        self.index = None;
        self.bulk.clear();
    }

    /// Whether the present version is behind the span, in the direction of reading.
    fn is_outside(&self) -> bool {
        match self.direction {
            Direction::Forward => self.span.end.as_ref().is_some_and(|end| self.walk.key() >= &end[..]),
            Direction::Reverse => self.walk.key() < &self.span.start[..],
        }
    }

    /// Fetches until a version is there, which it tells, or the run is at its end.
    pub(crate) async fn load(&mut self) -> Result<bool, EngineError> {
        loop {
            let found = match std::mem::replace(&mut self.goal, Goal::End) {
                Goal::Nothing => true,
                Goal::End => return Ok(false),
                Goal::Seek(key) => {
                    let key = key.or_else(|| match self.direction {
                        Direction::Forward => Some(self.span.start.clone()).filter(|start| !start.is_empty()),
                        Direction::Reverse => self.span.end.clone(),
                    });
                    match self.table_for(key.as_ref()) {
                        Some(table) => self.enter(table, key).await?,
                        None => return Ok(false),
                    }
                }
                Goal::Next => self.follow().await?,
            };
            if found {
                if self.beyond && self.is_outside() {
                    self.end();
                    return Ok(false);
                }
                self.goal = Goal::Nothing;
                return Ok(true);
            }
        }
    }

    /// The table in which reading from `key` begins.
    fn table_for(&self, key: Option<&Bytes>) -> Option<usize> {
        match (self.direction, key) {
            (Direction::Forward, None) => (!self.tables.is_empty()).then_some(0),
            (Direction::Forward, Some(key)) => {
                Some(self.tables.partition_point(|table| table.meta.end <= *key)).filter(|at| *at < self.tables.len())
            }
            (Direction::Reverse, None) => self.tables.len().checked_sub(1),
            (Direction::Reverse, Some(key)) => {
                self.tables.partition_point(|table| table.meta.start < *key).checked_sub(1)
            }
        }
    }

    /// Goes to `key`, or to the beginning, of a table. Returns whether a version is there; else the goal says how to go on.
    async fn enter(&mut self, at: usize, key: Option<Bytes>) -> Result<bool, EngineError> {
        let Some(table) = self.tables.get(at).cloned() else { return Ok(false) };
        let outside = match self.direction {
            Direction::Forward => self.span.end.as_ref().is_some_and(|end| table.meta.start >= *end),
            Direction::Reverse => table.meta.end <= self.span.start,
        };
        if outside {
            return Ok(false);
        }
        self.table = at;
        self.index = None;
        self.goal = Goal::Next;
        // Where `follow` goes on from, should there be nothing for us here.
        let behind = match self.direction {
            Direction::Forward => table.partitions(),
            Direction::Reverse => 0,
        };
        self.partition = behind;
        if table.partitions() == 0 {
            return Ok(false);
        }
        if let Some(cache) = &self.cache
            && !table.may_hold(cache, &self.span).await?
        {
            return Ok(false);
        }
        let last = table.partitions() - 1;
        self.partition = match (self.direction, &key) {
            (Direction::Forward, None) => 0,
            (Direction::Forward, Some(key)) => table.partition_of(key),
            (Direction::Reverse, None) => last,
            (Direction::Reverse, Some(key)) => table.partition_of(key).min(last),
        };
        if self.partition > last {
            return Ok(false);
        }
        let index = table.index(self.cache.as_deref(), self.partition).await?;
        let number = match (self.direction, &key) {
            (Direction::Forward, None) => 0,
            (Direction::Forward, Some(key)) => index.find(key).at,
            (Direction::Reverse, None) => index.len().saturating_sub(1),
            (Direction::Reverse, Some(key)) => index.find(key).at.min(index.len().saturating_sub(1)),
        };
        if number >= index.len() {
            return Ok(false);
        }
        self.open_block(&table, index, number, true).await?;
        let found = match (self.direction, &key) {
            (Direction::Forward, None) => self.walk.forward(),
            (Direction::Forward, Some(key)) => self.walk.seek(key),
            (Direction::Reverse, key) => self.walk.seek_back(key.as_deref()),
        };
        found.map_err(|error| self.malformed(&error))
    }

    /// Goes to the block that follows in the direction of reading.
    async fn follow(&mut self) -> Result<bool, EngineError> {
        let Some(table) = self.tables.get(self.table).cloned() else { return Ok(false) };
        let (index, number) = match (self.index.take(), self.direction) {
            (Some(index), Direction::Forward) if self.number + 1 < index.len() => (index, self.number + 1),
            (Some(index), Direction::Reverse) if self.number > 0 => (index, self.number - 1),
            (_, Direction::Forward) => {
                self.partition += 1;
                if self.partition >= table.partitions() {
                    return self.enter(self.table + 1, None).await;
                }
                (table.index(self.cache.as_deref(), self.partition).await?, 0)
            }
            (_, Direction::Reverse) => {
                let Some(partition) = self.partition.checked_sub(1) else {
                    let Some(before) = self.table.checked_sub(1) else { return Ok(false) };
                    return self.enter(before, None).await;
                };
                self.partition = partition;
                let index = table.index(self.cache.as_deref(), partition).await?;
                let last = index.len().saturating_sub(1);
                (index, last)
            }
        };
        self.goal = Goal::Next;
        self.open_block(&table, index, number, false).await?;
        let found = match self.direction {
            Direction::Forward => self.walk.forward(),
            Direction::Reverse => self.walk.seek_back(None),
        };
        found.map_err(|error| self.malformed(&error))
    }

    /// Makes block `number` the present one, without standing on one of its versions yet.
    async fn open_block(
        &mut self,
        table: &Rc<Table<E>>,
        index: Index,
        number: usize,
        seek: bool,
    ) -> Result<(), EngineError> {
        self.offset = table.block_pointer(&index, number)?.offset;
        let block = match &self.cache {
            Some(cache) => {
                let (block, read) = table.block_ahead(cache, &index, number, self.ahead, self.direction).await?;
                // Only reading in order earns reading ahead.
                self.ahead = match (read, seek) {
                    (_, true) => 1,
                    (true, false) => (self.ahead * 2).min(AHEAD),
                    (false, false) => self.ahead,
                };
                block
            }
            None => self.bulk_block(table, &index, number).await?,
        };
        table.env().yield_if_needed().await;
        self.beyond = match self.direction {
            Direction::Forward => self.span.end.as_ref().is_some_and(|end| index.find(end).at <= number),
            Direction::Reverse => !self.span.start.is_empty() && number <= index.find(&self.span.start).at,
        };
        self.walk.enter(block);
        self.number = number;
        self.index = Some(index);
        Ok(())
    }

    /// A block without the cache: the first of those read ahead, which are read when there are none.
    async fn bulk_block(&mut self, table: &Rc<Table<E>>, index: &Index, number: usize) -> Result<Block, EngineError> {
        if self.direction == Direction::Reverse {
            return table.block(None, &table.block_pointer(index, number)?).await;
        }
        if self.bulk.is_empty() {
            let mut pointers: Vec<Pointer> = Vec::new();
            for next in number..index.len() {
                let pointer = table.block_pointer(index, next)?;
                let end = pointer.offset + u64::from(pointer.stored);
                if pointers.first().is_some_and(|first| end - first.offset.min(end) > BULK) {
                    break;
                }
                pointers.push(pointer);
            }
            self.bulk = table.blocks(&pointers, Memory::Shared).await?.into();
        }
        match self.bulk.pop_front() {
            Some(block) => Ok(block),
            None => table.block(None, &table.block_pointer(index, number)?).await,
        }
    }
}
