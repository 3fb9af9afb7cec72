//! One sorted source of versions, as cursors and merges read it: a memtable or a run of tables.
//!
//! A memtable's versions are fetched a few at a time, so that no position is kept in anything that changes.

use std::collections::VecDeque;
use std::rc::Rc;

use bytes::Bytes;
use highwater_runtime::Env;

use super::cursor::{Direction, Span};
use super::memtable::{Fetched, Memtable};
use super::run::{RunFeed, Step};
use super::{Entry, EntryRef};
use crate::error::EngineError;
use crate::ids::{Expiry, Seq};

/// Versions fetched from a memtable at once: a few at first, more when reading goes on.
const FIRST_FETCH: usize = 8;
const MAX_FETCH: usize = 128;

/// A memtable being read.
pub(crate) struct MemtableFeed {
    table: Rc<Memtable>,
    span: Span,
    direction: Direction,
    at: Seq,
    after: Option<Fetched>,
    /// The first is the present one.
    queue: VecDeque<Entry>,
    fetch: usize,
    /// The span before a seek narrowed it.
    whole: Span,
}

impl MemtableFeed {
    /// Stands on the next version; false when there is none.
    fn fill(&mut self) -> bool {
        while self.queue.is_empty() {
            let (table, after) = (&self.table, self.after.take());
            self.after = table.fetch(&self.span, self.direction, after.as_ref(), self.at, self.fetch, &mut self.queue);
            self.fetch = (self.fetch * 2).min(MAX_FETCH);
            if self.after.is_none() {
                break;
            }
            self.touch();
        }
        !self.queue.is_empty()
    }

    /// Has the processor fetch the keys of the queue, which lie all over the arena: asked for together, they arrive together; one by
    /// one, as the versions are used, each costs a wait for memory (a tenth of a flush).
    fn touch(&self) {
        let firsts = self.queue.iter().filter_map(|entry| entry.key.first());
        std::hint::black_box(firsts.fold(0_u8, |sum, byte| sum ^ byte));
    }

    fn seek(&mut self, key: Bytes) {
        self.span = self.whole.clone();
        match self.direction {
            Direction::Forward if key > self.span.start => self.span.start = key,
            Direction::Reverse if self.span.end.as_ref().is_none_or(|end| *end > key) => self.span.end = Some(key),
            Direction::Forward | Direction::Reverse => {}
        }
        self.after = None;
        self.queue.clear();
        self.fetch = FIRST_FETCH;
    }
}

/// A memtable or a run of tables, being read in order.
pub(crate) enum Source<E: Env> {
    Memtable(Box<MemtableFeed>),
    Run(Box<RunFeed<E>>),
}

const NOTHING: EntryRef<'static> = EntryRef { key: &[], seq: Seq(0), value: None, expires_at: Expiry::NEVER };

impl<E: Env> Source<E> {
    /// All of a memtable, from the first key on.
    pub(crate) fn memtable(table: Rc<Memtable>) -> Self {
        Self::memtable_within(table, &Span::all(), Direction::Forward, Seq(u64::MAX))
    }

    /// What of a memtable is within `span` and visible at `at`.
    pub(crate) fn memtable_within(table: Rc<Memtable>, span: &Span, direction: Direction, at: Seq) -> Self {
        let (span, whole) = (span.clone(), span.clone());
        let (after, queue, fetch) = (None, VecDeque::new(), FIRST_FETCH);
        Self::Memtable(Box::new(MemtableFeed { table, span, direction, at, after, queue, fetch, whole }))
    }

    /// A run of tables.
    pub(crate) fn run(run: RunFeed<E>) -> Self {
        Self::Run(Box::new(run))
    }

    /// The present version.
    pub(crate) fn current(&self) -> EntryRef<'_> {
        match self {
            Self::Memtable(feed) => feed.queue.front().map_or(NOTHING, EntryRef::from),
            Self::Run(run) => run.current(),
        }
    }

    /// The present version's key.
    pub(crate) fn key(&self) -> &[u8] {
        match self {
            Self::Memtable(feed) => feed.queue.front().map_or(&[], |entry| &entry.key),
            Self::Run(run) => run.key(),
        }
    }

    /// The present version's sequence number.
    pub(crate) fn seq(&self) -> Seq {
        match self {
            Self::Memtable(feed) => feed.queue.front().map_or(Seq(0), |entry| entry.seq),
            Self::Run(run) => run.seq(),
        }
    }

    /// The present version's value, sharing its memory; `None` for a delete.
    pub(crate) fn value(&self) -> Option<Bytes> {
        match self {
            Self::Memtable(feed) => feed.queue.front().and_then(|entry| entry.value.clone()),
            Self::Run(run) => run.value(),
        }
    }

    /// The newest sequence number that may be in here.
    pub(crate) fn newest(&self) -> Seq {
        match self {
            Self::Memtable(feed) => feed.table.last_seq(),
            Self::Run(run) => run.newest(),
        }
    }

    /// Makes the next load go to a key: forward to the first version at or above it, in reverse to the last below it.
    pub(crate) fn seek(&mut self, key: Bytes) {
        match self {
            Self::Memtable(feed) => feed.seek(key),
            Self::Run(run) => run.seek(key),
        }
    }

    /// Moves to the next version, as far as that needs no reading.
    pub(crate) fn step(&mut self) -> Result<Step, EngineError> {
        match self {
            Self::Memtable(feed) => {
                feed.queue.pop_front();
                Ok(if feed.fill() { Step::There } else { Step::End })
            }
            Self::Run(run) => run.step(),
        }
    }

    /// Stands on a version, which it tells, or is at the end.
    pub(crate) async fn load(&mut self) -> Result<bool, EngineError> {
        match self {
            Self::Memtable(feed) => Ok(feed.fill()),
            Self::Run(run) => run.load().await,
        }
    }
}
