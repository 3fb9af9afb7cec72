//! Which part of a table's key space a condition can touch.
//!
//! Looks at the conjuncts that compare a key column with something constant: equality and IN on leading key columns, then a
//! range on the next. The condition itself stays the judge of every row; bounds only leave out keys that it cannot accept.

use crate::cast::{self, Equal};
use crate::catalog::{Column, IndexState, Table};
use crate::eval;
use crate::expr::{BinaryOp, Expr, Function};
use crate::limits;
use crate::plan::{KeyBounds, TableAccess};
use crate::value::{DataType, Value};

/// What the conjuncts say about one key column.
#[derive(Default)]
struct Known {
    /// One of these values.
    one_of: Option<Vec<Expr>>,
    lower: Option<(Expr, bool)>,
    upper: Option<(Expr, bool)>,
}

/// Which keys or index entries a condition over the table's row can touch: the index of which most is known, unless as much is
/// known of the key.
pub(super) fn access(table: &Table, filter: Option<&Expr>) -> TableAccess {
    let Some(filter) = filter else { return TableAccess::Full };
    if let Expr::Literal(Value::Boolean(false) | Value::Null, _) = filter {
        return TableAccess::Bounds(Vec::new());
    }
    let mut conjuncts = Vec::new();
    split(filter, &mut conjuncts);
    let key = Found::best(&table.primary_key, true, table, &conjuncts);
    // The place of a partitioned table's rows follows from bounds of the key.
    let is_placed = table.partition_columns > 0 && key.equal >= table.partition_columns;
    let may_use_index = !key.is_whole && !is_placed;
    let best =
        table.indexes.iter().filter(|index| may_use_index && index.state == IndexState::Public).filter_map(|index| {
            let positions: Option<Vec<u32>> = index
                .columns
                .iter()
                .map(|part| table.position(part.column).and_then(|position| u32::try_from(position).ok()))
                .collect();
            let found = Found::best(&positions?, index.unique, table, &conjuncts);
            Some((found.known(index.unique), std::cmp::Reverse(index.id), found))
        });
    match best.max_by_key(|(known, id, _)| (*known, *id)) {
        Some((known, std::cmp::Reverse(index), found)) if known > key.known(true) => {
            TableAccess::Index { index, bounds: found.bounds }
        }
        _ if key.is_nothing() => TableAccess::Full,
        _ => TableAccess::Bounds(key.bounds),
    }
}

/// What the conjuncts say about a row of columns, the first ones first.
struct Found {
    bounds: Vec<KeyBounds>,
    /// How many leading columns are equal to something.
    equal: u32,
    /// The next one lies in a range.
    is_ranged: bool,
    /// Every column is equal to something.
    is_whole: bool,
}

impl Found {
    /// What is known by the conjuncts that compare, or by each alternative of one that is an OR: `(a, b) IN ((1, 2), (3, 4))`.
    fn best(positions: &[u32], unique: bool, table: &Table, conjuncts: &[&Expr]) -> Self {
        let mut best = Self::of(positions, table, conjuncts);
        for (at, conjunct) in conjuncts.iter().enumerate() {
            if best.is_whole {
                break;
            }
            let mut branches = Vec::new();
            if !matches!(conjunct, Expr::Binary { op: BinaryOp::Or, .. }) || !split_or(conjunct, &mut branches) {
                continue;
            }
            let others: Vec<&Expr> =
                conjuncts.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, expr)| *expr).collect();
            if let Some(found) = Self::of_each(positions, table, &others, &branches)
                && found.known(unique) > best.known(unique)
            {
                best = found;
            }
        }
        best
    }

    /// What is known whichever of the branches holds; `None` when one of them says nothing.
    fn of_each(positions: &[u32], table: &Table, others: &[&Expr], branches: &[&Expr]) -> Option<Self> {
        let mut all = Self { bounds: Vec::new(), equal: u32::MAX, is_ranged: true, is_whole: true };
        for branch in branches {
            let mut conjuncts = others.to_vec();
            split(branch, &mut conjuncts);
            let found = Self::of(positions, table, &conjuncts);
            if found.is_nothing() || all.bounds.len().saturating_add(found.bounds.len()) > limits::MAX_KEY_BOUNDS {
                return None;
            }
            all.bounds.extend(found.bounds);
            all.equal = all.equal.min(found.equal);
            all.is_ranged &= found.is_ranged;
            all.is_whole &= found.is_whole;
        }
        Some(all)
    }

    fn of(positions: &[u32], table: &Table, conjuncts: &[&Expr]) -> Self {
        let mut prefixes: Vec<Vec<Expr>> = vec![Vec::new()];
        let (mut equal, mut range) = (0, Known::default());
        for position in positions {
            let Some(column) = usize::try_from(*position).ok().and_then(|index| table.columns.get(index)) else {
                break;
            };
            let known = known(*position, column, conjuncts);
            match known.one_of {
                Some(values) if prefixes.len().saturating_mul(values.len()) <= limits::MAX_KEY_BOUNDS => {
                    prefixes = product(&prefixes, &values);
                    equal += 1;
                }
                Some(_) => break,
                None => {
                    range = known;
                    break;
                }
            }
        }
        let is_ranged = range.lower.is_some() || range.upper.is_some();
        let is_whole = usize::try_from(equal) == Ok(positions.len());
        let bound = |equal| KeyBounds { equal, lower: range.lower.clone(), upper: range.upper.clone() };
        Self { bounds: prefixes.into_iter().map(bound).collect(), equal, is_ranged, is_whole }
    }

    fn is_nothing(&self) -> bool {
        self.equal == 0 && !self.is_ranged
    }

    /// How much is known, to be compared: one row at most, else leading columns, else a range.
    fn known(&self, unique: bool) -> (bool, u32, bool) {
        (unique && self.is_whole, self.equal, self.is_ranged)
    }
}

fn product(prefixes: &[Vec<Expr>], values: &[Expr]) -> Vec<Vec<Expr>> {
    prefixes
        .iter()
        .flat_map(|prefix| {
            values.iter().map(|value| {
                let mut longer = prefix.clone();
                longer.push(value.clone());
                longer
            })
        })
        .collect()
}

fn split<'e>(expr: &'e Expr, conjuncts: &mut Vec<&'e Expr>) {
    match expr {
        Expr::Binary { op: BinaryOp::And, left, right, .. } => {
            split(left, conjuncts);
            split(right, conjuncts);
        }
        other => conjuncts.push(other),
    }
}

/// The branches of an OR, as far as there may be that many.
fn split_or<'e>(expr: &'e Expr, branches: &mut Vec<&'e Expr>) -> bool {
    match expr {
        Expr::Binary { op: BinaryOp::Or, left, right, .. } => split_or(left, branches) && split_or(right, branches),
        other => {
            branches.push(other);
            branches.len() <= limits::MAX_KEY_BOUNDS
        }
    }
}

fn known(key: u32, column: &Column, conjuncts: &[&Expr]) -> Known {
    let mut known = Known::default();
    for conjunct in conjuncts {
        match conjunct {
            Expr::Binary { op: BinaryOp::Or, .. } if known.one_of.is_none() => {
                known.one_of = alternatives(conjunct, key, column);
            }
            Expr::Binary { op, left, right, .. } => {
                let (op, constant) = match (left.as_ref(), right.as_ref()) {
                    (Expr::Column(index, _), constant) if *index == key => (*op, constant),
                    (constant, Expr::Column(index, _)) if *index == key => match mirrored(*op) {
                        Some(op) => (op, constant),
                        None => continue,
                    },
                    _ => continue,
                };
                compare(&mut known, op, constant, column);
            }
            Expr::InList { expr, list, negated: false }
                if known.one_of.is_none() && matches!(**expr, Expr::Column(index, _) if index == key) =>
            {
                known.one_of = candidates(list, column);
            }
            Expr::Function { function: Function::Any(BinaryOp::Equal), args, .. } if known.one_of.is_none() => {
                if let [Expr::Column(index, _), elements] = args.as_slice()
                    && *index == key
                {
                    known.one_of = array_of_keys(elements, column).map(|elements| vec![elements]);
                }
            }
            _ => {}
        }
    }
    known
}

/// A constant array whose elements are values of the column, or are as they are widened.
fn array_of_keys(elements: &Expr, column: &Column) -> Option<Expr> {
    if !eval::is_constant(elements) || eval::is_volatile(elements) {
        return None;
    }
    match (eval::data_type(elements).element()?, column.data_type) {
        (from, to) if from.same_kind(&to) => Some(elements.clone()),
        (DataType::SmallInt, to @ (DataType::Int | DataType::BigInt)) | (DataType::Int, to @ DataType::BigInt) => {
            Some(Expr::Cast { expr: Box::new(elements.clone()), to: to.array()?, assignment: false })
        }
        _ => None,
    }
}

fn compare(known: &mut Known, op: BinaryOp, constant: &Expr, column: &Column) {
    match op {
        BinaryOp::Equal => {
            let single = candidates(std::slice::from_ref(constant), column);
            let shorter = match (&known.one_of, &single) {
                (_, None) => false,
                (None, Some(_)) => true,
                (Some(many), Some(one)) => {
                    one.len() < many.len() || many.iter().any(|values| array_of_keys(values, column).is_some())
                }
            };
            if shorter {
                known.one_of = single;
            }
        }
        BinaryOp::Greater | BinaryOp::GreaterOrEqual if known.lower.is_none() => {
            known.lower = as_key(constant, column).exact().map(|expr| (expr, op == BinaryOp::GreaterOrEqual));
        }
        BinaryOp::Less | BinaryOp::LessOrEqual if known.upper.is_none() => {
            known.upper = as_key(constant, column).exact().map(|expr| (expr, op == BinaryOp::LessOrEqual));
        }
        _ => {}
    }
}

/// The values of `key = a OR key = b OR key IN (c, d)`.
fn alternatives(expr: &Expr, key: u32, column: &Column) -> Option<Vec<Expr>> {
    match expr {
        Expr::Binary { op: BinaryOp::Or, left, right, .. } => {
            let mut values = alternatives(left, key, column)?;
            for value in alternatives(right, key, column)? {
                if !values.contains(&value) {
                    values.push(value);
                }
            }
            (values.len() <= limits::MAX_KEY_BOUNDS).then_some(values)
        }
        Expr::Binary { op: BinaryOp::Equal, left, right, .. } => match (left.as_ref(), right.as_ref()) {
            (Expr::Column(index, _), constant) | (constant, Expr::Column(index, _)) if *index == key => {
                candidates(std::slice::from_ref(constant), column)
            }
            _ => None,
        },
        Expr::InList { expr, list, negated: false } if matches!(**expr, Expr::Column(index, _) if index == key) => {
            candidates(list, column)
        }
        _ => None,
    }
}

/// The operator with its sides exchanged.
fn mirrored(op: BinaryOp) -> Option<BinaryOp> {
    Some(match op {
        BinaryOp::Equal => BinaryOp::Equal,
        BinaryOp::Less => BinaryOp::Greater,
        BinaryOp::LessOrEqual => BinaryOp::GreaterOrEqual,
        BinaryOp::Greater => BinaryOp::Less,
        BinaryOp::GreaterOrEqual => BinaryOp::LessOrEqual,
        _ => return None,
    })
}

/// The values of an equality or IN list; `None` when one of them is no usable constant.
fn candidates(list: &[Expr], column: &Column) -> Option<Vec<Expr>> {
    let mut values: Vec<Expr> = Vec::with_capacity(list.len());
    let mut literals = std::collections::BTreeSet::new();
    for candidate in list {
        match as_key(candidate, column) {
            AsKey::Exact(expr) => {
                let repeated = match &expr {
                    Expr::Literal(value, _) => !literals.insert(format!("{value:?}")),
                    _ => false,
                };
                if !repeated {
                    values.push(expr);
                }
            }
            AsKey::Never => {}
            AsKey::Unknown => return None,
        }
    }
    Some(values)
}

/// A constant as a value of a key column's type.
enum AsKey {
    /// The same value in the column's type.
    Exact(Expr),
    /// No value of the column equals it.
    Never,
    /// It cannot be told.
    Unknown,
}

impl AsKey {
    fn exact(self) -> Option<Expr> {
        match self {
            Self::Exact(expr) => Some(expr),
            Self::Never | Self::Unknown => None,
        }
    }
}

fn as_key(constant: &Expr, column: &Column) -> AsKey {
    if !eval::is_constant(constant) || eval::is_volatile(constant) {
        return AsKey::Unknown;
    }
    if let Expr::Literal(value, _) = constant {
        return literal_as_key(value, column.data_type);
    }
    match (eval::data_type(constant), column.data_type) {
        (from, to) if from.same_kind(&to) => AsKey::Exact(constant.clone()),
        // The same microseconds, so that `created_at > NOW()` is a range on a key of either type.
        (DataType::Timestamp | DataType::DateTime, to @ (DataType::Timestamp | DataType::DateTime)) => {
            AsKey::Exact(Expr::Cast { expr: Box::new(constant.clone()), to, assignment: false })
        }
        // A narrower integer has its value in every wider type.
        (DataType::SmallInt, to @ (DataType::Int | DataType::BigInt)) | (DataType::Int, to @ DataType::BigInt) => {
            AsKey::Exact(Expr::Cast { expr: Box::new(constant.clone()), to, assignment: false })
        }
        _ => AsKey::Unknown,
    }
}

fn literal_as_key(value: &Value, wanted: DataType) -> AsKey {
    match cast::equal_in(value, wanted) {
        Equal::Value(value) => AsKey::Exact(Expr::Literal(value, wanted)),
        Equal::Never => AsKey::Never,
        Equal::Unknown => AsKey::Unknown,
    }
}
