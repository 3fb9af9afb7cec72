//! One sorted source of versions, as cursors and merges read it: a queue that is filled a handful at a time.

use std::collections::VecDeque;
use std::rc::Rc;

use highwater_runtime::Env;

use super::Entry;
use super::cursor::{Direction, Span};
use super::memtable::{Fetched, Memtable};
use super::run::RunFeed;
use crate::error::EngineError;
use crate::ids::Seq;

/// Versions fetched from a memtable at once.
const MEMTABLE_FETCH: usize = 64;

enum Feed<E: Env> {
    Memtable { table: Rc<Memtable>, after: Option<Fetched> },
    Run(RunFeed<E>),
}

/// A memtable or a run of tables, being read in order.
pub(crate) struct Source<E: Env> {
    pub(crate) queue: VecDeque<Entry>,
    pub(crate) done: bool,
    feed: Feed<E>,
}

impl<E: Env> Source<E> {
    pub(crate) fn memtable(table: Rc<Memtable>) -> Self {
        Self { queue: VecDeque::new(), done: false, feed: Feed::Memtable { table, after: None } }
    }

    pub(crate) fn run(run: RunFeed<E>) -> Self {
        Self { queue: VecDeque::new(), done: false, feed: Feed::Run(run) }
    }

    /// Queues the next versions at or below `at`, unless some are queued or there are none.
    pub(crate) async fn fill(&mut self, span: &Span, direction: Direction, at: Seq) -> Result<(), EngineError> {
        while self.queue.is_empty() && !self.done {
            match &mut self.feed {
                Feed::Memtable { table, after } => {
                    let last = table.fetch(span, direction, after.as_ref(), at, MEMTABLE_FETCH, &mut self.queue);
                    self.done = last.is_none();
                    *after = last;
                }
                Feed::Run(run) => {
                    self.done = !run.fetch(span, &mut self.queue).await?;
                    self.queue.retain(|entry| entry.seq <= at);
                }
            }
        }
        Ok(())
    }
}
