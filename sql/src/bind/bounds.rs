//! Which part of a table's key space a condition can touch.
//!
//! Looks at the conjuncts that compare a key column with something constant: equality and IN on leading key columns, then a
//! range on the next. The condition itself stays the judge of every row; bounds only leave out keys that it cannot accept.

use std::cmp::Reverse;

use crate::cast::{self, Equal};
use crate::catalog::{Column, IndexState, ObjectId, Table};
use crate::eval;
use crate::expr::{BinaryOp, Expr, Function};
use crate::limits;
use crate::order;
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
    access_for(table, filter, &|_| false)
}

/// The same for who takes the first rows in some order that not every access `serves`. Of two that as much is known of, it is the one that
/// does; of the key and an index only if the conditions look at nothing else than the index's columns: few entries stand for
/// rows in vain then.
pub(super) fn access_for(table: &Table, filter: Option<&Expr>, serves: &dyn Fn(&TableAccess) -> bool) -> TableAccess {
    if let Some(Expr::Literal(Value::Boolean(false) | Value::Null, _)) = filter {
        return TableAccess::Bounds(Vec::new());
    }
    let mut conjuncts = Vec::new();
    filter.into_iter().for_each(|filter| split(filter, &mut conjuncts));
    let key = Found::best(&table.primary_key, true, table, &conjuncts);
    // The place of a partitioned table's rows follows from bounds of the key.
    let is_placed = table.partition_columns > 0 && key.equal >= table.partition_columns;
    let may_use_index = !key.is_whole && !is_placed;
    let by_index =
        table.indexes.iter().filter(|index| may_use_index && index.state == IndexState::Public).filter_map(|index| {
            let positions = order::index_positions(table, index.id)?;
            let found = Found::best(&positions, index.unique, table, &conjuncts);
            let known = found.known(index.unique);
            let access = TableAccess::Index { index: index.id, bounds: found.bounds };
            Some(ByIndex { known, serves: serves(&access), id: Reverse(index.id), positions, access })
        });
    let best = by_index.max_by_key(|found| (found.known, found.serves, found.id));
    let known = key.known(true);
    let by_key = if key.is_nothing() { TableAccess::Full } else { TableAccess::Bounds(key.bounds) };
    match best {
        Some(index) if index.known > known => index.access,
        Some(index) if index.known == known && index.serves && !serves(&by_key) && index.is_all_of(&conjuncts) => {
            index.access
        }
        Some(_) | None => by_key,
    }
}

/// An index by which rows can be read.
struct ByIndex {
    known: (bool, u32, bool),
    serves: bool,
    id: Reverse<ObjectId>,
    positions: Vec<u32>,
    access: TableAccess,
}

impl ByIndex {
    /// Whether the conditions look at nothing else than its columns.
    fn is_all_of(&self, conjuncts: &[&Expr]) -> bool {
        let mut is_all = true;
        for conjunct in conjuncts {
            conjunct.visit(&mut |part| {
                is_all &= !matches!(part, Expr::Column(position, _) if !self.positions.contains(position));
            });
        }
        is_all
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
            if !is_or(conjunct) || !split_or(conjunct, &mut branches) {
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
        best.told_apart(positions, table, conjuncts)
    }

    /// A range whose first value has conditions of its own: `(a, b) > (1, 2)` is `a >= 1 AND (a > 1 OR a = 1 AND b > 2)`, of which
    /// `a >= 1` alone would begin before the row that it is about.
    fn told_apart(mut self, positions: &[u32], table: &Table, conjuncts: &[&Expr]) -> Self {
        let [whole] = self.bounds.as_slice() else { return self };
        if !self.is_ranged {
            return self;
        }
        for (at, conjunct) in conjuncts.iter().enumerate() {
            let mut ways = Vec::new();
            if !is_or(conjunct) || !split_ways(conjunct, &mut ways) {
                continue;
            }
            let others = conjuncts.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, expr)| *expr);
            let mut bounds = Vec::new();
            for mut way in ways {
                way.extend(others.clone());
                bounds.extend(Self::of(positions, table, &way).bounds);
            }
            let is_narrower = bounds.iter().all(|bound| bound != whole && is_within(bound, whole));
            if is_narrower && bounds.len() <= limits::MAX_KEY_BOUNDS {
                self.bounds = bounds;
                break;
            }
        }
        self
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

/// Whether a bound has no key outside of the other one, as far as their expressions tell.
fn is_within(bound: &KeyBounds, whole: &KeyBounds) -> bool {
    let Some(behind) = bound.equal.strip_prefix(whole.equal.as_slice()) else { return false };
    let value = |side: &Option<(Expr, bool)>| side.as_ref().map(|(value, _)| value.clone());
    let (lower, upper) = (value(&whole.lower), value(&whole.upper));
    match behind.first() {
        Some(equal) => lower.as_ref() == Some(equal) || upper.as_ref() == Some(equal),
        None => value(&bound.lower) == lower && value(&bound.upper) == upper,
    }
}

const fn is_or(expr: &Expr) -> bool {
    matches!(expr, Expr::Binary { op: BinaryOp::Or, .. })
}

/// The ways in which an OR can hold, those of an OR inside of each told apart, as far as there may be that many.
fn split_ways<'e>(expr: &'e Expr, ways: &mut Vec<Vec<&'e Expr>>) -> bool {
    let mut branches = Vec::new();
    if !split_or(expr, &mut branches) {
        return false;
    }
    for branch in branches {
        let mut parts = Vec::new();
        split(branch, &mut parts);
        let mut inner = vec![Vec::new()];
        if let Some(at) = parts.iter().position(|part| is_or(part)) {
            inner.clear();
            if !split_ways(parts.remove(at), &mut inner) {
                return false;
            }
        }
        ways.extend(inner.into_iter().map(|way| parts.iter().copied().chain(way).collect()));
        if ways.len() > limits::MAX_KEY_BOUNDS {
            return false;
        }
    }
    true
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
