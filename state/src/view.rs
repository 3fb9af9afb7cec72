//! Views: a group's state as it was at one moment, for reads.
//!
//! A view is a handle on a snapshot: cheap to clone, and the same however many entries apply after it was taken. Topics and
//! the outbox add their reads in their own files. Must not be kept for long: its snapshot holds space.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use highwater_engine::{Direction, LogIndex, Snapshot};
use highwater_runtime::Env;
use highwater_sql::catalog::{Catalog, Table};
use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::eval::EvalContext;
use highwater_sql::key::{KeyRange, resolve_access, resolve_index};
use highwater_sql::plan::TableAccess;
use highwater_sql::row::Columns;
use highwater_sql::value::{Micros, Row};

use crate::command::RequestHead;
use crate::definitions::{Identity, logins};
use crate::error::StateError;
use crate::exchange::positions::Positions;
use crate::jobs::Job;
use crate::keys::{KeySpan, Keys, Space};
use crate::mark::Mark;
use crate::outcome::Outcome;
use crate::overlay::{MergedScan, Overlay};
use crate::placement::Layout;
use crate::reader::Reader;
use crate::roll::Roll;
use crate::sessions;
use crate::stored;
use crate::transaction::reads::Recorder;
use crate::write::rows;

/// A group's state at one moment.
pub struct GroupView<E: Env> {
    shared: Rc<Moment<E>>,
}

impl<E: Env> Clone for GroupView<E> {
    fn clone(&self) -> Self {
        Self { shared: Rc::clone(&self.shared) }
    }
}

/// What a view shows.
pub(crate) struct Moment<E: Env> {
    pub reader: Reader<E>,
    pub facts: Rc<Facts>,
}

/// What is in memory of a group, as of one entry.
#[derive(Clone)]
pub(crate) struct Facts {
    pub keys: Keys,
    pub layout: Layout,
    pub mark: Mark,
    pub membership: Option<Bytes>,
    pub catalog: Arc<Catalog>,
    pub identity: Option<Rc<Identity>>,
    pub roll: Option<Rc<Roll>>,
    /// None as long as nothing was ever exchanged with another group.
    pub positions: Option<Rc<Positions>>,
}

impl<E: Env> GroupView<E> {
    pub(crate) fn new(moment: Moment<E>) -> Self {
        Self { shared: Rc::new(moment) }
    }

    /// Where the inbox and the outbox stand.
    pub(crate) fn positions(&self) -> &Positions {
        self.shared.facts.positions.as_deref().unwrap_or(Positions::NONE)
    }

    /// The store at this moment.
    pub(crate) fn reader(&self) -> &Reader<E> {
        &self.shared.reader
    }

    /// The store's history at this moment, for a cut of the group's whole range: the mark in it says [`Self::applied`].
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        self.reader().snapshot()
    }

    /// How far the group is.
    pub(crate) fn mark(&self) -> Mark {
        self.shared.facts.mark
    }

    /// Keys of the group.
    #[must_use]
    pub fn keys(&self) -> Keys {
        self.shared.facts.keys
    }

    /// The group's catalog.
    #[must_use]
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.shared.facts.catalog
    }

    /// The last entry applied.
    #[must_use]
    pub fn applied(&self) -> LogIndex {
        LogIndex(self.shared.facts.mark.applied)
    }

    /// Who belongs to the group at this moment, in the Raft crate's encoding; `None` as long as these are its first members.
    #[must_use]
    pub fn membership(&self) -> Option<&Bytes> {
        self.shared.facts.membership.as_ref()
    }

    /// The group's log time: the largest stamp applied, microseconds since 1970.
    #[must_use]
    pub fn log_time(&self) -> Micros {
        self.shared.facts.mark.log_time
    }

    /// The hash chain over everything that was applied.
    #[must_use]
    pub fn chain(&self) -> u128 {
        self.shared.facts.mark.chain
    }

    /// The cluster's layout.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.shared.facts.layout
    }

    /// The cluster's identity; `None` before Bootstrap and in data groups.
    #[must_use]
    pub fn cluster_id(&self) -> Option<u128> {
        self.shared.facts.identity.as_ref().map(|identity| identity.cluster_id)
    }

    /// The key that signs tokens; `None` before Bootstrap and in data groups.
    #[must_use]
    pub fn token_key(&self) -> Option<[u8; 32]> {
        self.shared.facts.identity.as_ref().map(|identity| identity.token_key)
    }

    /// The roll of the cluster's members; `None` before it was made and in data groups.
    #[must_use]
    pub fn roll(&self) -> Option<&Rc<Roll>> {
        self.shared.facts.roll.as_ref()
    }

    /// Rows of a table (of one user on USER and STREAM tables) whose keys lie in the ranges, in the order of the ranges, which
    /// must be disjoint, and of keys within each. STREAM rows that have ended at the view's log time are not among them.
    pub async fn rows(&self, table: &Arc<Table>, user: Option<&str>, ranges: &[KeyRange]) -> RowCursor<E> {
        RowCursor::new(self.clone(), Arc::clone(table), user, ranges)
    }

    /// Whether a login was ended before its tokens expire. Of the meta group.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn login_is_ended(&self, login: u128) -> Result<bool, StateError> {
        logins::is_ended(self.reader(), self.keys(), login).await
    }

    /// The answer that is kept of a request, if it was applied and asked for the same.
    ///
    /// # Errors
    /// A failure of the store, or an answer that is damaged.
    pub async fn answer_of(&self, head: &RequestHead) -> Result<Option<Outcome>, StateError> {
        sessions::find(self.reader(), self.keys(), head).await
    }

    /// The rows that a statement's access means: by ranges of the key as [`Self::rows`], or by those of an index, in the index's
    /// order.
    ///
    /// # Errors
    /// What evaluating a bound gives; XX000 for an index that the table does not have.
    pub async fn rows_of(
        &self,
        table: &Arc<Table>,
        user: Option<&str>,
        access: &TableAccess,
        context: &EvalContext<'_>,
    ) -> Result<RowCursor<E>, Diag> {
        let TableAccess::Index { index, bounds } = access else {
            return Ok(self.rows(table, user, &resolve_access(access, table, context)?).await);
        };
        let index = table.index(*index).ok_or_else(|| Diag::new(SqlState::INTERNAL, "a read by an unknown index"))?;
        let ranges = resolve_index(bounds, table, index, context)?;
        let entries = |range: &KeyRange| {
            let span = self.keys().index_entries(table.id, index.id, user, &range.start, range.end.as_deref());
            (span, false)
        };
        Ok(RowCursor {
            spans: ranges.iter().map(entries).collect(),
            by_index: Some(user.map(str::to_owned)),
            ..RowCursor::new(self.clone(), Arc::clone(table), user, &[])
        })
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

/// Rows of a view, one after the other. Keeps the view's snapshot until it is dropped.
pub struct RowCursor<E: Env> {
    view: GroupView<E>,
    table: Arc<Table>,
    /// What is left to read; true: one key only.
    spans: VecDeque<(KeySpan, bool)>,
    open: Option<MergedScan<E>>,
    direction: Direction,
    /// Writes of an open transaction.
    overlay: Rc<Overlay>,
    /// Who notes what an open transaction reads.
    recorder: Option<Recorder>,
    /// The spans are of an index, whose entries stand for rows of this user (of nobody on SHARED tables).
    by_index: Option<Option<String>>,
    /// Of the rows these columns are looked at.
    columns: Columns,
}

impl<E: Env> RowCursor<E> {
    fn new(view: GroupView<E>, table: Arc<Table>, user: Option<&str>, ranges: &[KeyRange]) -> Self {
        let spans =
            ranges.iter().map(|range| (rows::span(view.keys(), &table, user, range), range.is_point())).collect();
        let direction = Direction::Forward;
        let (overlay, columns) = (Rc::default(), Columns::All);
        Self { view, table, spans, open: None, direction, overlay, recorder: None, by_index: None, columns }
    }

    /// The same rows, in which all columns but these are NULL.
    #[must_use]
    pub fn with_columns(self, columns: Columns) -> Self {
        Self { columns, ..self }
    }

    /// The same rows, the last one first. None may have been read yet.
    #[must_use]
    pub fn backwards(self) -> Self {
        Self { direction: Direction::Reverse, ..self }
    }

    /// The next row with its `_seq`; `None` after the last.
    ///
    /// # Errors
    /// A failure of the store, or a row that is damaged.
    pub async fn next(&mut self) -> Result<Option<(Row, u64)>, StateError> {
        let mut row = Row::new();
        Ok(self.next_into(&mut row).await?.map(|seq| (row, seq)))
    }

    /// [`Self::next`] into a row whose memory is used again; gives its `_seq`.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub async fn next_into(&mut self, row: &mut Row) -> Result<Option<u64>, StateError> {
        while let Some(value) = self.next_value().await? {
            let seq = rows::decode_part(self.view.keys().group(), &self.table, &value, &self.columns, row)?;
            if rows::end_of(&self.table, seq) > self.view.log_time() {
                return Ok(Some(seq));
            }
        }
        Ok(None)
    }

    /// The same rows as an open transaction sees them.
    pub(crate) fn within(self, overlay: Rc<Overlay>, recorder: Recorder) -> Self {
        Self { overlay, recorder: Some(recorder), ..self }
    }

    /// Whether a row of this `_seq` is the open transaction's own, so that the `_seq` will be another one.
    #[must_use]
    pub fn is_own(&self, seq: u64) -> bool {
        self.recorder.is_some() && seq > self.view.mark().last_seq
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StateError> {
        if let Some(own) = self.overlay.get(key) {
            return Ok(own);
        }
        let value = self.view.reader().get(key).await?;
        if let Some(recorder) = &self.recorder {
            recorder.key(key, value.as_deref());
        }
        Ok(value)
    }

    async fn next_value(&mut self) -> Result<Option<Bytes>, StateError> {
        let own = Rc::clone(&self.overlay);
        loop {
            if let Some(scan) = &mut self.open {
                if let Some(value) = scan.next_value(&own).await? {
                    let Some(user) = &self.by_index else { return Ok(Some(value)) };
                    let keys = self.view.keys();
                    let row = self.get(&keys.row(self.table.id, user.as_deref(), &value)).await?;
                    let lost = StateError::Corrupt { group: keys.group(), what: "an index entry without a row" };
                    return row.map(Some).ok_or(lost);
                }
                self.open = None;
            }
            let next = match self.direction {
                Direction::Forward => self.spans.pop_front(),
                Direction::Reverse => self.spans.pop_back(),
            };
            let Some((span, is_point)) = next else { return Ok(None) };
            if !is_point {
                let (reader, recorder) = (self.view.reader(), self.recorder.as_ref());
                self.open = Some(MergedScan::open(reader, &span, self.direction, recorder).await?);
            } else if let Some(value) = self.get(&span.start).await? {
                return Ok(Some(value));
            }
        }
    }
}
