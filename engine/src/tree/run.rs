//! Runs of disjoint tables being read in order.

use std::collections::VecDeque;
use std::rc::Rc;

use highwater_runtime::Env;

use super::Entry;
use super::cache::BlockCache;
use super::cursor::{Direction, Span};
use super::table::Table;
use super::table::block::Block;
use crate::error::EngineError;

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
