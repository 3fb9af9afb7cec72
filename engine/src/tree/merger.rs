//! The merge of sorted sources: a heap of those that stand on a version, the one that comes first on top.
//!
//! Forward, versions come by rising key and falling sequence; in reverse, by falling key, those of one key in any order.
//! Moving on costs two comparisons while one source stays first.

use std::cmp::Ordering;

use bytes::Bytes;
use highwater_runtime::Env;

use super::cursor::Direction;
use super::run::Step;
use super::source::Source;
use crate::error::EngineError;
use crate::ids::Seq;

/// Sources being merged.
pub(crate) struct Merger<E: Env> {
    sources: Vec<Source<E>>,
    /// Numbers of the sources that stand on a version; the parent of the one at `n` is at `(n - 1) / 2`.
    heap: Vec<usize>,
    direction: Direction,
    started: bool,
}

impl<E: Env> Merger<E> {
    pub(crate) const fn new(sources: Vec<Source<E>>, direction: Direction) -> Self {
        Self { sources, heap: Vec::new(), direction, started: false }
    }

    /// Makes every source stand on its first version.
    pub(crate) async fn start(&mut self) -> Result<(), EngineError> {
        if self.started {
            return Ok(());
        }
        self.heap.clear();
        for (number, source) in self.sources.iter_mut().enumerate() {
            if source.load().await? {
                self.heap.push(number);
            }
        }
        self.order();
        self.started = true;
        Ok(())
    }

    /// Lets every source go to a key; [`Self::start`] must follow.
    pub(crate) fn seek(&mut self, key: &Bytes) {
        for source in &mut self.sources {
            source.seek(key.clone());
        }
        self.started = false;
    }

    /// Lets those sources go to a key that have nothing newer than `newest`.
    pub(crate) async fn skip(&mut self, key: &Bytes, newest: Seq) -> Result<(), EngineError> {
        for number in std::mem::take(&mut self.heap) {
            let Some(source) = self.sources.get_mut(number) else { continue };
            let before = match self.direction {
                Direction::Forward => source.key() < &key[..],
                Direction::Reverse => source.key() >= &key[..],
            };
            if before && source.newest() <= newest {
                source.seek(key.clone());
                if !source.load().await? {
                    continue;
                }
            }
            self.heap.push(number);
        }
        self.order();
        Ok(())
    }

    fn order(&mut self) {
        for at in (0..self.heap.len() / 2).rev() {
            self.sift(at);
        }
    }

    /// The source that stands on the first version.
    pub(crate) fn top(&self) -> Option<&Source<E>> {
        self.heap.first().and_then(|number| self.sources.get(*number))
    }

    /// Moves the first source on, as far as that needs no reading. After [`Step::Load`], [`Self::load`] must follow; after
    /// [`Step::End`] another source may be first.
    pub(crate) fn step(&mut self) -> Result<Step, EngineError> {
        let Some(source) = self.heap.first().and_then(|number| self.sources.get_mut(*number)) else {
            return Ok(Step::End);
        };
        let step = source.step()?;
        match step {
            Step::There => self.sift(0),
            Step::End => self.remove_top(),
            Step::Load => {}
        }
        Ok(step)
    }

    /// Lets the first source read what it needs.
    pub(crate) async fn load(&mut self) -> Result<(), EngineError> {
        let Some(source) = self.heap.first().and_then(|number| self.sources.get_mut(*number)) else { return Ok(()) };
        if source.load().await? {
            self.sift(0);
        } else {
            self.remove_top();
        }
        Ok(())
    }

    /// Moves on by one version.
    pub(crate) async fn advance(&mut self) -> Result<(), EngineError> {
        match self.step()? {
            Step::Load => self.load().await,
            Step::There | Step::End => Ok(()),
        }
    }

    fn remove_top(&mut self) {
        if !self.heap.is_empty() {
            self.heap.swap_remove(0);
            self.sift(0);
        }
    }

    /// Whether the source at `a` of the heap comes before that at `b`; one that does not exist comes last.
    fn before(&self, a: usize, b: usize) -> bool {
        let source = |at: usize| self.heap.get(at).and_then(|number| self.sources.get(*number));
        let (Some(a), Some(b)) = (source(a), source(b)) else { return source(a).is_some() };
        let order = a.key().cmp(b.key());
        let order = if self.direction == Direction::Forward { order } else { order.reverse() };
        order.then_with(|| b.seq().cmp(&a.seq())) == Ordering::Less
    }

    /// Moves the source at `at` down to where it belongs.
    fn sift(&mut self, mut at: usize) {
        loop {
            let (left, right) = (2 * at + 1, 2 * at + 2);
            if left >= self.heap.len() {
                return;
            }
            let first = if self.before(right, left) { right } else { left };
            if !self.before(first, at) {
                return;
            }
            self.heap.swap(first, at);
            at = first;
        }
    }
}
