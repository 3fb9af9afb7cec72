//! What a query reads when that is more than one table: a tree of relations below the steps of a SELECT.
//!
//! Every relation gives rows of a fixed width. Expressions see the rows of the relation below them by position; what a subquery
//! sees of the rows around it are parameters, counted from [`FIRST_SLOT`], behind those of the statement.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{QueryPlan, SortKey};
use crate::catalog::ObjectId;
use crate::expr::{AggregateCall, BinaryOp, Expr};
use crate::limits;
use crate::value::DataType;

/// The first parameter that is not the statement's own but a value of an enclosing query.
#[expect(clippy::cast_possible_truncation, reason = "a small constant")]
pub const FIRST_SLOT: u16 = limits::MAX_PARAMETERS as u16;

/// The working rows of a query over what a change returns.
pub const RETURNED_ROWS: u32 = u32::MAX;

/// A relation: rows that a SELECT reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Relation {
    /// The rows of a SELECT of its own: a table with what concerns it alone, or a subquery in FROM.
    Block(Arc<QueryPlan>),
    /// A common table expression: run once per statement, however often it is named.
    Shared {
        /// Tells it from others of the statement.
        id: u32,
        /// Its name.
        name: String,
        /// What it reads.
        plan: Arc<QueryPlan>,
    },
    /// Rows whose `keys` equal `probes`, inside a subquery that runs for many outer rows: what does not depend on those is read once
    /// per statement and kept in order.
    Indexed {
        /// Tells it from others of the statement.
        id: u32,
        /// What does not depend on outer rows.
        scan: Arc<QueryPlan>,
        /// Over a row of `scan`.
        keys: Vec<Expr>,
        /// Constant for one run of the subquery.
        probes: Vec<Expr>,
    },
    /// VALUES.
    Values(Vec<Vec<Expr>>),
    /// A join.
    Join(Box<Join>),
    /// The rows for which a condition holds.
    Filter {
        /// What is filtered.
        input: Box<Relation>,
        /// Over its rows.
        condition: Expr,
    },
    /// The rows, each with the values of subqueries behind it.
    Apply {
        /// What the subqueries look at.
        input: Box<Relation>,
        /// One more column each, in order; each sees the columns of those before it.
        subqueries: Vec<Subquery>,
    },
    /// The rows, each with the values of window functions behind it.
    Window {
        /// What the windows look at.
        input: Box<Relation>,
        /// One more column each.
        calls: Vec<WindowCall>,
    },
    /// UNION, INTERSECT or EXCEPT.
    Set(Box<SetOperation>),
    /// The rows of a function.
    Function(Box<FunctionCall>),
    /// WITH RECURSIVE.
    Recursive(Box<Recursive>),
    /// Inside a recursive query: the rows that the round before gave. In RETURNING: the changed rows.
    Working {
        /// The recursive query.
        id: u32,
        /// Its name.
        name: String,
    },
    /// LATERAL: a query that sees the rows on its left.
    Lateral(Box<Lateral>),
    /// Inside a query that runs for many outer rows: rows of a table that are looked up by values of those.
    Often(Box<Often>),
}

/// A SELECT over a table that is looked up by values of outer rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Often {
    /// The look-up.
    pub plan: Arc<QueryPlan>,
    /// The same rows from what is read once, for the case that there turn out to be very many look-ups.
    pub at_once: Arc<QueryPlan>,
}

/// A function in FROM.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FunctionCall {
    /// Which one.
    pub function: TableFunction,
    /// Its arguments: constant for one run of the query.
    pub args: Vec<Expr>,
    /// WITH ORDINALITY: the number of the row, from 1, stands behind its value.
    pub ordinality: bool,
}

/// Functions that give rows, of one column each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TableFunction {
    /// `generate_series(first, last [, step])`: numbers, or points in time by an interval.
    Series,
    /// `unnest(array)`.
    Unnest,
}

/// A query whose rows are found from its own rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recursive {
    /// Tells it from others of the statement.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// The rows of the first round.
    pub first: Arc<QueryPlan>,
    /// The rows of every further round, from those of the round before.
    pub step: Arc<QueryPlan>,
    /// UNION ALL: rows that were there already count again.
    pub all: bool,
}

/// A join with a query that sees the row on the left; its rows are the left's columns followed by the query's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lateral {
    /// Left side.
    pub left: Relation,
    /// The query.
    pub right: Arc<QueryPlan>,
    /// What it sees: a parameter's index and its value over the left row.
    pub outer: Vec<(u16, Expr)>,
    /// Inner or left.
    pub kind: JoinKind,
    /// What else must hold, over both rows.
    pub condition: Option<Expr>,
}

/// A join of two relations; its rows are the left's columns followed by the right's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Join {
    /// Left side.
    pub left: Relation,
    /// Right side.
    pub right: Relation,
    /// Columns of the left side.
    pub left_width: usize,
    /// Columns of the right side.
    pub right_width: usize,
    /// What becomes of rows without a partner.
    pub kind: JoinKind,
    /// Equalities: left over the left's row, right over the right's row, of one type.
    pub keys: Vec<(Expr, Expr)>,
    /// What else must hold, over both rows.
    pub condition: Option<Expr>,
    /// The right side is a table in which few left rows look up theirs, by these of the `keys`.
    pub lookup: Option<Lookup>,
}

/// Equalities that fix leading columns of a table's key or of an index: where few values are on their other side, the table is read by
/// these alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lookup {
    /// Which equalities, by their place, in the order of the columns.
    pub keys: Vec<usize>,
    /// The index; none: the key of the table.
    pub index: Option<ObjectId>,
}

impl Lookup {
    /// The column, and its own type, that the table's side of an equality is: by itself or as it is widened to be compared.
    pub(crate) fn column(side: &Expr) -> Option<(u32, DataType)> {
        match side {
            Expr::Column(at, data_type) => Some((*at, *data_type)),
            Expr::Cast { expr, assignment: false, .. } => match **expr {
                Expr::Column(at, data_type) => Some((at, data_type)),
                _ => None,
            },
            _ => None,
        }
    }
}

/// What becomes of rows without a partner. RIGHT is a LEFT with its sides exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JoinKind {
    /// They are left out.
    Inner,
    /// Those of the left side come with NULLs.
    Left,
    /// Those of both sides come with NULLs.
    Full,
}

/// A subquery in an expression.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Subquery {
    /// What it reads.
    pub plan: Arc<QueryPlan>,
    /// What it sees of the outer row: a parameter's index and its value over the outer row.
    pub outer: Vec<(u16, Expr)>,
    /// What its rows mean.
    pub meaning: Meaning,
    /// The rows that it looks at are a table's, and only those count that equal one of its own in these of its pairs: it is read first, and few
    /// rows of it say which are read of the table.
    pub lookup: Option<Lookup>,
    /// `plan` for very many outer rows: what it looks up in a table for each is read once instead. Never part of a change.
    #[serde(skip)]
    pub at_once: Option<Arc<QueryPlan>>,
}

/// What the rows of a subquery mean as a value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Meaning {
    /// The one value of its one row; NULL without a row.
    Scalar,
    /// Whether there is a row.
    Exists,
    /// `left op ANY (subquery)` or `left op ALL (subquery)`; IN is `= ANY`.
    Compare {
        /// Left sides over the outer row, right sides over the subquery's row, of one type. Several only with `=`.
        pairs: Vec<(Expr, Expr)>,
        /// The comparison.
        op: BinaryOp,
        /// ALL.
        all: bool,
    },
}

/// A subquery that does not look at the rows of its query: it runs once before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Once {
    /// The parameter that takes its value.
    pub slot: u16,
    /// What it reads.
    pub plan: Arc<QueryPlan>,
    /// Whether the value is that there is a row.
    pub exists: bool,
}

/// A window function with its window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WindowCall {
    /// What is computed.
    pub function: WindowFunction,
    /// Its arguments over the input row; those of an aggregate are in its call.
    pub args: Vec<Expr>,
    /// PARTITION BY.
    pub partition_by: Vec<Expr>,
    /// ORDER BY.
    pub order_by: Vec<SortKey>,
    /// Which rows of the partition count.
    pub frame: Frame,
    /// Type of the result.
    pub data_type: DataType,
}

/// Window functions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each variant is the SQL function of that name")]
pub enum WindowFunction {
    RowNumber,
    Rank,
    DenseRank,
    PercentRank,
    CumeDist,
    Ntile,
    Lag,
    Lead,
    FirstValue,
    LastValue,
    NthValue,
    /// An aggregate over the frame.
    Aggregate(AggregateCall),
}

/// Which rows of a partition a window function sees.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Frame {
    /// How bounds are counted.
    pub unit: FrameUnit,
    /// First row.
    pub start: FrameBound,
    /// Last row.
    pub end: FrameBound,
}

/// How the bounds of a frame are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FrameUnit {
    /// In rows.
    Rows,
    /// In values of the one ORDER BY column.
    Range,
    /// In groups of rows that ORDER BY does not tell apart.
    Groups,
}

/// A bound of a frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum FrameBound {
    /// The partition's end on this side.
    Unbounded,
    /// The current row, or its peers.
    Current,
    /// So far before. For RANGE the expression is the value, over the current row, that the bound has.
    Preceding(Expr),
    /// So far behind, likewise.
    Following(Expr),
}

/// UNION, INTERSECT or EXCEPT of rows with as many columns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SetOperation {
    /// Which one.
    pub operator: SetOperator,
    /// ALL: rows count as often as they come.
    pub all: bool,
    /// Left side.
    pub left: Relation,
    /// Right side.
    pub right: Relation,
    /// Types of the result's columns; values of other types are cast.
    pub types: Vec<DataType>,
}

/// Set operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SetOperator {
    /// Rows of either side.
    Union,
    /// Rows of both sides.
    Intersect,
    /// Rows of the left side that are not of the right.
    Except,
}

impl Relation {
    /// Shows every SELECT directly below, through joins and the like.
    pub fn each_plan<'r>(&'r self, see: &mut dyn FnMut(&'r QueryPlan)) {
        match self {
            Self::Block(plan) | Self::Shared { plan, .. } | Self::Indexed { scan: plan, .. } => see(plan),
            Self::Often(often) => see(&often.plan),
            Self::Values(_) | Self::Function(_) | Self::Working { .. } => {}
            Self::Recursive(recursive) => {
                see(&recursive.first);
                see(&recursive.step);
            }
            Self::Lateral(lateral) => {
                lateral.left.each_plan(see);
                see(&lateral.right);
            }
            Self::Join(join) => {
                join.left.each_plan(see);
                join.right.each_plan(see);
            }
            Self::Filter { input, .. } | Self::Window { input, .. } => input.each_plan(see),
            Self::Apply { input, subqueries } => {
                input.each_plan(see);
                subqueries.iter().for_each(|subquery| see(&subquery.plan));
            }
            Self::Set(set) => {
                set.left.each_plan(see);
                set.right.each_plan(see);
            }
        }
    }
}
