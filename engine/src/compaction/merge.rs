//! The merge: sorted sources in, one ordered stream of versions out.

use highwater_runtime::Env;

use crate::error::EngineError;
use crate::ids::Seq;
use crate::tree::Entry;
use crate::tree::cursor::{Direction, KeyRange};
use crate::tree::source::Source;

/// All versions of all sources by rising key and falling sequence.
pub(crate) struct Merge<E: Env> {
    sources: Vec<Source<E>>,
    span: KeyRange,
}

impl<E: Env> Merge<E> {
    pub(crate) const fn new(sources: Vec<Source<E>>) -> Self {
        Self { sources, span: KeyRange::all() }
    }

    /// The next version.
    pub(crate) async fn next(&mut self) -> Result<Option<Entry>, EngineError> {
        for source in &mut self.sources {
            source.fill(&self.span, Direction::Forward, Seq(u64::MAX)).await?;
        }
        let before = |a: &Entry, b: &Entry| a.key.cmp(&b.key).then(b.seq.cmp(&a.seq));
        let fronts = self.sources.iter().enumerate();
        let fronts = fronts.filter_map(|(at, source)| source.queue.front().map(|entry| (at, entry)));
        let first = fronts.min_by(|(_, a), (_, b)| before(a, b)).map(|(at, _)| at);
        Ok(first.and_then(|at| self.sources.get_mut(at)).and_then(|source| source.queue.pop_front()))
    }
}
