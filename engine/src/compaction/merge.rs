//! The merge: sorted sources in, one ordered stream of versions out.

use bytes::Bytes;
use highwater_runtime::Env;

use crate::error::EngineError;
use crate::tree::cursor::Direction;
use crate::tree::merger::Merger;
use crate::tree::source::Source;
use crate::tree::{Entry, EntryRef};

/// All versions of all sources by rising key and falling sequence.
pub(crate) struct Merge<E: Env> {
    merger: Merger<E>,
    started: bool,
}

impl<E: Env> Merge<E> {
    pub(crate) const fn new(sources: Vec<Source<E>>) -> Self {
        Self { merger: Merger::new(sources, Direction::Forward), started: false }
    }

    /// The next version. Only its key is copied.
    pub(crate) async fn next(&mut self) -> Result<Option<Entry>, EngineError> {
        if self.started {
            self.merger.advance().await?;
        } else {
            self.merger.start().await?;
            self.started = true;
        }
        let owned = |source: &Source<E>| {
            let EntryRef { key, seq, expires_at, .. } = source.current();
            Entry { key: Bytes::copy_from_slice(key), seq, value: source.value(), expires_at }
        };
        Ok(self.merger.top().map(owned))
    }
}
