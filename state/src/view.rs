//! Views: a group's state as it was at one moment, for reads.
//!
//! A view is a handle on a snapshot: cheap to clone, and the same however many entries apply after it was taken. Topics and
//! the outbox add their reads in their own files. Must not be kept for long: its snapshot holds space.

use std::rc::Rc;
use std::sync::Arc;

use highwater_engine::LogIndex;
use highwater_runtime::Env;
use highwater_sql::catalog::Catalog;
use highwater_sql::value::Micros;

use crate::definitions::Identity;
use crate::error::StateError;
use crate::jobs::Job;
use crate::keys::{Keys, Space};
use crate::mark::Mark;
use crate::placement::Layout;
use crate::reader::Reader;
use crate::stored;

/// A group's state at one moment.
#[derive(Debug)]
pub struct GroupView<E: Env> {
    shared: Rc<Moment<E>>,
}

impl<E: Env> Clone for GroupView<E> {
    fn clone(&self) -> Self {
        Self { shared: Rc::clone(&self.shared) }
    }
}

#[derive(Debug)]
struct Moment<E: Env> {
    reader: Reader<E>,
    keys: Keys,
    layout: Layout,
    mark: Mark,
    catalog: Arc<Catalog>,
    identity: Option<Rc<Identity>>,
}

impl<E: Env> GroupView<E> {
    pub(crate) fn new(
        reader: Reader<E>,
        keys: Keys,
        layout: Layout,
        mark: Mark,
        catalog: Arc<Catalog>,
        identity: Option<Rc<Identity>>,
    ) -> Self {
        Self { shared: Rc::new(Moment { reader, keys, layout, mark, catalog, identity }) }
    }

    /// The store at this moment.
    pub(crate) fn reader(&self) -> &Reader<E> {
        &self.shared.reader
    }

    /// Keys of the group.
    #[must_use]
    pub fn keys(&self) -> Keys {
        self.shared.keys
    }

    /// The group's catalog.
    #[must_use]
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.shared.catalog
    }

    /// The last entry applied.
    #[must_use]
    pub fn applied(&self) -> LogIndex {
        LogIndex(self.shared.mark.applied)
    }

    /// The group's log time: the largest stamp applied, microseconds since 1970.
    #[must_use]
    pub fn log_time(&self) -> Micros {
        self.shared.mark.log_time
    }

    /// The hash chain over everything that was applied.
    #[must_use]
    pub fn chain(&self) -> u128 {
        self.shared.mark.chain
    }

    /// The cluster's layout.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.shared.layout
    }

    /// The cluster's identity; `None` before Bootstrap and in data groups.
    #[must_use]
    pub fn cluster_id(&self) -> Option<u128> {
        self.shared.identity.as_ref().map(|identity| identity.cluster_id)
    }

    /// The key that signs tokens; `None` before Bootstrap and in data groups.
    #[must_use]
    pub fn token_key(&self) -> Option<[u8; 32]> {
        self.shared.identity.as_ref().map(|identity| identity.token_key)
    }

    /// All jobs, in order of id.
    ///
    /// # Errors
    /// A failure of the store, or a job that is damaged.
    pub async fn jobs(&self) -> Result<Vec<Job>, StateError> {
        let mut jobs = Vec::new();
        let mut scan = self.reader().scan(&self.keys().space(Space::Job)).await?;
        while let Some((_, value)) = scan.next().await? {
            jobs.push(stored::decode(self.keys().group(), "a stored job", &value)?);
        }
        Ok(jobs)
    }
}
