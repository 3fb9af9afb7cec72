//! INSERT, UPDATE and DELETE as they are logged: fields and variants are only appended.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::access::TableAccess;
use super::query::QueryPlan;
use crate::catalog::{ColumnId, ObjectId};
use crate::expr::Expr;
use crate::value::{DataType, Row};

/// INSERT, UPDATE or DELETE of one table, evaluated at apply.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WritePlan {
    /// The table.
    pub table: ObjectId,
    /// Its version when this was bound; another at apply refuses the command.
    pub table_version: u32,
    /// What to do.
    pub kind: WriteKind,
    /// RETURNING: values per changed row, over the row as it is after the change (as it was before a DELETE) and its `_seq`.
    pub returning: Vec<Expr>,
}

/// What a [`WritePlan`] does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum WriteKind {
    /// New rows. A missing column takes its default, else NULL. `None` in a row is the word DEFAULT.
    Insert {
        /// Columns given.
        columns: Vec<ColumnId>,
        /// Their values per row, over no input row, cast for assignment.
        rows: Vec<Vec<Option<Expr>>>,
        /// What becomes of a row whose key or unique values another row has; refused when absent.
        conflict: Option<OnConflict>,
    },
    /// Changed rows.
    Update {
        /// New values over the old row, cast for assignment; `None` is the word DEFAULT.
        assignments: Vec<(ColumnId, Option<Expr>)>,
        /// Which keys.
        access: TableAccess,
        /// WHERE, over the table's row.
        filter: Option<Expr>,
    },
    /// Removed rows.
    Delete {
        /// Which keys.
        access: TableAccess,
        /// WHERE, over the table's row.
        filter: Option<Expr>,
    },
    /// Every row, at once and uncounted (on USER tables every row of the user).
    Truncate,
    /// New rows that a query gives. For the edge alone: it reads the rows first and logs them as [`Self::Insert`].
    InsertFrom {
        /// Columns given.
        columns: Vec<ColumnId>,
        /// Their types: values of other types are cast for assignment.
        types: Vec<DataType>,
        /// What gives the rows.
        query: Arc<QueryPlan>,
        /// As of an INSERT of values.
        conflict: Option<OnConflict>,
    },
    /// Changed rows that a query names.
    UpdateFrom {
        /// Each column with the place of its new value in a row of the query; `None` is the word DEFAULT.
        assignments: Vec<(ColumnId, Option<u32>)>,
        /// Which rows.
        rows: ChangedRows,
    },
    /// Removed rows that a query names.
    DeleteFrom {
        /// Which rows.
        rows: ChangedRows,
    },
    /// A change whose RETURNING holds subqueries.
    Answered {
        /// What changes: any other variant. Its `returning` gives the changed rows as they are, with their `_seq`.
        change: Box<WriteKind>,
        /// The answer, over those rows: in it they are the [`super::Relation::Working`] of [`super::RETURNED_ROWS`]. It sees tables as they
        /// were before the change.
        query: Arc<QueryPlan>,
    },
}

/// The rows that a change is of, where other rows decide about them: each row has the values of the table's key columns, the `_seq` of the
/// changed row, then new values. One that comes again counts once, as it came first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ChangedRows {
    /// A query over tables of the group alone, asked at the state that the command meets.
    Asked {
        /// The query.
        query: Arc<QueryPlan>,
        /// The part of the changed table's keys that its conditions leave.
        access: TableAccess,
    },
    /// What was read before, because the query reads other groups. Unless every changed row still has its `_seq`, the command is refused as
    /// stale: the statement is planned and read again.
    Read(Vec<Row>),
}

impl WritePlan {
    /// What changes, without the query of RETURNING.
    #[must_use]
    pub fn change(&self) -> &WriteKind {
        match &self.kind {
            WriteKind::Answered { change, .. } => change,
            other => other,
        }
    }

    /// The query of RETURNING, if that has subqueries.
    #[must_use]
    pub fn returned(&self) -> Option<&Arc<QueryPlan>> {
        match &self.kind {
            WriteKind::Answered { query, .. } => Some(query),
            _ => None,
        }
    }

    /// Every query of the statement: the one that decides what is written, and that of RETURNING.
    pub fn queries(&self) -> impl Iterator<Item = &Arc<QueryPlan>> {
        self.query().into_iter().chain(self.returned())
    }

    /// The query that decides what is written, if one does.
    #[must_use]
    pub fn query(&self) -> Option<&Arc<QueryPlan>> {
        match self.change() {
            WriteKind::InsertFrom { query, .. }
            | WriteKind::UpdateFrom { rows: ChangedRows::Asked { query, .. }, .. }
            | WriteKind::DeleteFrom { rows: ChangedRows::Asked { query, .. } } => Some(query),
            WriteKind::Insert { .. }
            | WriteKind::Update { .. }
            | WriteKind::Delete { .. }
            | WriteKind::Truncate
            | WriteKind::UpdateFrom { rows: ChangedRows::Read(_), .. }
            | WriteKind::DeleteFrom { rows: ChangedRows::Read(_) }
            | WriteKind::Answered { .. } => None,
        }
    }
}

/// ON CONFLICT.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OnConflict {
    /// Which conflict; others stay refused.
    pub target: ConflictTarget,
    /// What then.
    pub action: ConflictAction,
}

/// Which rows are in each other's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConflictTarget {
    /// Those of the same key, or of the same values of any unique index.
    Any,
    /// Those of the same key.
    Key,
    /// Those of the same values of this unique index.
    Index(ObjectId),
}

/// What happens to a row that meets another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ConflictAction {
    /// It is left out.
    Nothing,
    /// The row that is there changes instead. Expressions are over its values followed by those of the row that was to be
    /// inserted (`excluded`).
    Update {
        /// New values, cast for assignment; `None` is the word DEFAULT.
        assignments: Vec<(ColumnId, Option<Expr>)>,
        /// WHERE; a row for which it is not true stays as it is.
        filter: Option<Expr>,
    },
}
