//! INSERT, UPDATE and DELETE as they are logged: fields and variants are only appended.

use serde::{Deserialize, Serialize};

use super::access::TableAccess;
use crate::catalog::{ColumnId, ObjectId};
use crate::expr::Expr;

/// INSERT, UPDATE or DELETE of one table, evaluated at apply.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WritePlan {
    /// The table.
    pub table: ObjectId,
    /// Its version when this was bound; another at apply refuses the command.
    pub table_version: u32,
    /// What to do.
    pub kind: WriteKind,
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
}
