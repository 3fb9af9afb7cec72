//! A version: the tables of all levels at one moment, never changed; and runs of tables being read in order.

use std::collections::VecDeque;
use std::rc::Rc;

use bytes::Bytes;
use highwater_runtime::Env;

use super::cache::BlockCache;
use super::cursor::{Direction, Span};
use super::table::block::Block;
use super::table::{Table, filter};
use super::tombstone::RangeTombstones;
use super::{Entry, Lookup};
use crate::error::EngineError;
use crate::ids::Seq;
use crate::manifest::{ManifestState, TableMeta};

/// The tables at one moment.
pub(crate) struct Version<E: Env> {
    /// Level 0 newest first, the others in key order.
    pub(crate) levels: Vec<Vec<Rc<Table<E>>>>,
    cache: Rc<BlockCache>,
}

impl<E: Env> Version<E> {
    /// The version that the manifest describes, made of open tables.
    /// `None` when one of them is not open: a defect of the caller.
    pub(crate) fn of(state: &ManifestState, open: &[Rc<Table<E>>], cache: Rc<BlockCache>) -> Option<Self> {
        let find = |meta: &TableMeta| open.iter().find(|table| table.meta.table == meta.table).cloned();
        let level = |metas: &Vec<TableMeta>| metas.iter().map(find).collect::<Option<Vec<_>>>();
        let levels = state.levels.iter().map(level).collect::<Option<Vec<_>>>()?;
        Some(Self { levels, cache })
    }

    pub(crate) fn tables(&self) -> impl Iterator<Item = &Rc<Table<E>>> {
        self.levels.iter().flatten()
    }

    /// The tables that speak of `key`, newest first.
    fn candidates<'a>(&'a self, key: &'a [u8]) -> impl Iterator<Item = &'a Rc<Table<E>>> + 'a {
        self.levels.iter().enumerate().flat_map(move |(level, tables)| {
            let from = if level == 0 { 0 } else { tables.partition_point(|table| table.meta.end.as_ref() <= key) };
            let upto = if level == 0 { tables.len() } else { tables.len().min(from + 1) };
            let nearby = tables.get(from..upto).unwrap_or_default();
            nearby.iter().filter(move |table| table.meta.start.as_ref() <= key && table.meta.end.as_ref() > key)
        })
    }

    /// The value of `key` at `at`.
    pub(crate) async fn get(&self, key: &[u8], at: Seq) -> Result<Option<Bytes>, EngineError> {
        let hash = filter::hash(key);
        for table in self.candidates(key) {
            match table.get(&self.cache, key, hash, at).await? {
                Lookup::Found(value) => return Ok(Some(value)),
                Lookup::Deleted => return Ok(None),
                Lookup::Unknown => {}
            }
        }
        Ok(None)
    }

    /// The range deletes of every table that speaks of `key`.
    pub(crate) fn tombstoned<'a>(&'a self, key: &'a [u8]) -> impl Iterator<Item = &'a RangeTombstones> + 'a {
        self.candidates(key).map(|table| &table.tombstones).filter(|tombstones| !tombstones.is_empty())
    }

    /// What a cursor over `span` reads: each table of level 0, and each other level.
    pub(crate) fn feeds(&self, span: &Span, direction: Direction) -> Vec<RunFeed<E>> {
        let mut feeds = Vec::new();
        for (level, tables) in self.levels.iter().enumerate() {
            let end = span.end.as_deref();
            let overlapping = tables.iter().filter(|table| table.meta.overlaps(&span.start, end)).cloned();
            if level == 0 {
                feeds.extend(overlapping.map(|table| RunFeed::new(vec![table], direction, Some(&self.cache))));
            } else {
                let mut run: Vec<_> = overlapping.collect();
                if direction == Direction::Reverse {
                    run.reverse();
                }
                if !run.is_empty() {
                    feeds.push(RunFeed::new(run, direction, Some(&self.cache)));
                }
            }
        }
        feeds
    }
}

/// Where a run stands.
enum Position {
    /// At the beginning of the table.
    Outside,
    /// The next interval to give is this one of this block. In reverse, `interval` counts those not yet given.
    Inside { number: usize, block: Rc<Block>, interval: usize },
}

/// Disjoint tables being read in order, an interval at a time.
pub(crate) struct RunFeed<E: Env> {
    /// In the order of reading.
    tables: VecDeque<Rc<Table<E>>>,
    position: Position,
    direction: Direction,
    cache: Option<Rc<BlockCache>>,
}

impl<E: Env> RunFeed<E> {
    pub(crate) fn new(tables: Vec<Rc<Table<E>>>, direction: Direction, cache: Option<&Rc<BlockCache>>) -> Self {
        Self { tables: tables.into(), position: Position::Outside, direction, cache: cache.cloned() }
    }

    /// Appends the next versions within `span`. Returns false at the end.
    pub(crate) async fn fetch(&mut self, span: &Span, out: &mut VecDeque<Entry>) -> Result<bool, EngineError> {
        match self.direction {
            Direction::Forward => self.fetch_forward(span, out).await,
            Direction::Reverse => self.fetch_reverse(span, out).await,
        }
    }

    async fn fetch_forward(&mut self, span: &Span, out: &mut VecDeque<Entry>) -> Result<bool, EngineError> {
        while let Some(table) = self.tables.front().cloned() {
            let malformed = |number, error| table.malformed_block(number, &error);
            let next = match std::mem::replace(&mut self.position, Position::Outside) {
                Position::Outside => Some((table.blocks_below(&span.start), true)),
                Position::Inside { number, block, interval } if interval < block.intervals() => {
                    block.interval(interval, out).map_err(|error| malformed(number, error))?;
                    while out.pop_front_if(|entry| entry.key < span.start).is_some() {}
                    let mut ended = false;
                    if let Some(end) = &span.end {
                        while out.pop_back_if(|entry| entry.key >= *end).is_some() {
                            ended = true;
                        }
                    }
                    if ended {
                        self.tables.clear();
                        return Ok(!out.is_empty());
                    }
                    self.position = Position::Inside { number, block, interval: interval + 1 };
                    None
                }
                Position::Inside { number, .. } => Some((number + 1, false)),
            };
            let Some((number, seek)) = next else {
                if out.is_empty() {
                    continue;
                }
                return Ok(true);
            };
            if number >= table.blocks() {
                self.tables.pop_front();
                continue;
            }
            let block = table.block(self.cache.as_deref(), number).await?;
            table.env().yield_if_needed().await;
            let interval = if seek {
                block.intervals_below(&span.start).map_err(|error| malformed(number, error))?.saturating_sub(1)
            } else {
                0
            };
            self.position = Position::Inside { number, block, interval };
        }
        Ok(false)
    }

    async fn fetch_reverse(&mut self, span: &Span, out: &mut VecDeque<Entry>) -> Result<bool, EngineError> {
        while let Some(table) = self.tables.front().cloned() {
            let malformed = |number, error| table.malformed_block(number, &error);
            let next = match std::mem::replace(&mut self.position, Position::Outside) {
                Position::Outside => {
                    let below = span.end.as_ref().map_or(table.blocks(), |end| table.blocks_below(end) + 1);
                    below.min(table.blocks()).checked_sub(1).map(|number| (number, true))
                }
                Position::Inside { number, block, interval } => match interval.checked_sub(1) {
                    Some(interval) => {
                        let mut versions = VecDeque::new();
                        block.interval(interval, &mut versions).map_err(|error| malformed(number, error))?;
                        let mut ended = false;
                        while versions.pop_front_if(|entry| entry.key < span.start).is_some() {
                            ended = true;
                        }
                        if let Some(end) = &span.end {
                            while versions.pop_back_if(|entry| entry.key >= *end).is_some() {}
                        }
                        out.extend(versions.into_iter().rev());
                        if ended {
                            self.tables.clear();
                            return Ok(!out.is_empty());
                        }
                        self.position = Position::Inside { number, block, interval };
                        if out.is_empty() {
                            continue;
                        }
                        return Ok(true);
                    }
                    None => number.checked_sub(1).map(|number| (number, false)),
                },
            };
            let Some((number, seek)) = next else {
                self.tables.pop_front();
                continue;
            };
            let block = table.block(self.cache.as_deref(), number).await?;
            table.env().yield_if_needed().await;
            let interval = match &span.end {
                Some(end) if seek => block.intervals_below(end).map_err(|error| malformed(number, error))?,
                Some(_) | None => block.intervals(),
            };
            self.position = Position::Inside { number, block, interval };
        }
        Ok(false)
    }
}
