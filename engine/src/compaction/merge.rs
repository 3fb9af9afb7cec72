//! The merge: sorted sources in, one ordered stream of versions out.

use highwater_runtime::Env;

use crate::error::EngineError;
use crate::tree::EntryRef;
use crate::tree::cursor::Direction;
use crate::tree::merger::Merger;
use crate::tree::source::Source;

/// All versions of all sources by rising key and falling sequence.
pub(crate) struct Merge<E: Env> {
    merger: Merger<E>,
    started: bool,
}

impl<E: Env> Merge<E> {
    pub(crate) const fn new(sources: Vec<Source<E>>) -> Self {
        Self { merger: Merger::new(sources, Direction::Forward), started: false }
    }

    /// The next version, where it lies.
    pub(crate) async fn next(&mut self) -> Result<Option<EntryRef<'_>>, EngineError> {
        if self.started {
            self.merger.advance().await?;
        } else {
            self.merger.start().await?;
            self.started = true;
        }
        Ok(self.merger.top().map(Source::current))
    }
}
