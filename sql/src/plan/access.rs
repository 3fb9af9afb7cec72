//! Which part of a table a statement can touch. Logged in commands: fields and variants are only appended.

use serde::{Deserialize, Serialize};

use crate::catalog::ObjectId;
use crate::expr::Expr;

/// The part of a table's key space that a statement can touch. The filter still decides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum TableAccess {
    /// All keys.
    Full,
    /// These bounds, each a bounded scan (a full key is a lookup).
    Bounds(Vec<KeyBounds>),
    /// Bounded scans of an index, each followed by lookups of the rows that its entries stand for. Rows come in the index's order.
    Index {
        /// The index.
        index: ObjectId,
        /// Bounds over the index's columns instead of the key's.
        bounds: Vec<KeyBounds>,
    },
}

/// Leading key columns equal to constants, then perhaps a range on the next one. Expressions are constant (literals,
/// parameters, NOW(), CURRENT_USER), already cast to the key columns' types; an array of a column's type stands for each of its elements
/// (`= ANY ($1)`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeyBounds {
    /// Values of the leading key columns.
    pub equal: Vec<Expr>,
    /// Lower bound of the next key column; true: inclusive.
    pub lower: Option<(Expr, bool)>,
    /// Upper bound of the next key column; true: inclusive.
    pub upper: Option<(Expr, bool)>,
}
