//! From the planner's bounds to ranges of key bytes.

use std::borrow::Cow;

use super::{KeyError, encode_value};
use crate::cast;
use crate::catalog::Table;
use crate::diag::{Diag, SqlState};
use crate::eval::{self, EvalContext, evaluate};
use crate::expr::Expr;
use crate::limits;
use crate::plan::{KeyBounds, TableAccess};
use crate::value::{DataType, Value};

/// Keys from `start` (inclusive) to `end` (exclusive; `None`: to the end of the table).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyRange {
    /// First key that may match.
    pub start: Vec<u8>,
    /// First key that is beyond.
    pub end: Option<Vec<u8>>,
}

impl KeyRange {
    /// Every key.
    #[must_use]
    pub fn full() -> Self {
        Self { start: Vec::new(), end: None }
    }

    /// Exactly this key.
    #[must_use]
    pub fn point(key: Vec<u8>) -> Self {
        let mut end = key.clone();
        end.push(0);
        Self { start: key, end: Some(end) }
    }

    /// Every key that begins with these bytes.
    #[must_use]
    pub fn prefix(prefix: Vec<u8>) -> Self {
        let end = successor(&prefix);
        Self { start: prefix, end }
    }

    /// Whether it holds one key only, `start`.
    #[must_use]
    pub fn is_point(&self) -> bool {
        self.end.as_ref().is_some_and(|end| end.split_last() == Some((&0, self.start.as_slice())))
    }

    /// Whether the key is in it.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        self.start.as_slice() <= key && self.end.as_ref().is_none_or(|end| key < end.as_slice())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.end.as_ref().is_some_and(|end| *end <= self.start)
    }
}

/// The first bytes after everything that begins with `prefix`; `None` when nothing is.
pub(super) fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = prefix.to_vec();
    while let Some(last) = bytes.pop() {
        if last < 0xff {
            bytes.push(last + 1);
            return Some(bytes);
        }
    }
    None
}

/// The key ranges that `access` means with these parameters: sorted and disjoint. A bound that is NULL, or bounds that
/// contradict each other, give none.
///
/// # Errors
/// What evaluating a bound gives.
pub fn resolve_access(access: &TableAccess, table: &Table, context: &EvalContext<'_>) -> Result<Vec<KeyRange>, Diag> {
    let bounds = match access {
        TableAccess::Full => return Ok(vec![KeyRange::full()]),
        TableAccess::Bounds(bounds) => bounds,
        TableAccess::Index { .. } => {
            return Err(Diag::new(SqlState::INTERNAL, "bounds of an index were taken for bounds of the key"));
        }
    };
    let types = key_types(table)?;
    let Some(bounds) = each_alternative(bounds, &types, context)? else { return Ok(vec![KeyRange::full()]) };
    let mut ranges = Vec::with_capacity(bounds.len());
    for bound in bounds.iter() {
        ranges.extend(resolve_bounds(bound, &types, context)?.filter(|range| !range.is_empty()));
    }
    ranges.sort_unstable();
    Ok(merge(ranges))
}

/// The bounds with arrays of alternatives replaced by their elements; `types` are those of the columns that are bounded. `None` when these
/// are too many to be told apart: then anything may match.
///
/// # Errors
/// What evaluating an array gives.
pub fn each_alternative<'b>(
    bounds: &'b [KeyBounds],
    types: &[DataType],
    context: &EvalContext<'_>,
) -> Result<Option<Cow<'b, [KeyBounds]>>, Diag> {
    let is_array = |(expr, wanted): (&Expr, &DataType)| {
        eval::data_type(expr).element().is_some_and(|element| element.same_kind(wanted))
    };
    if !bounds.iter().any(|bound| bound.equal.iter().zip(types).any(is_array)) {
        return Ok(Some(Cow::Borrowed(bounds)));
    }
    let mut all = Vec::new();
    for bound in bounds {
        let mut prefixes = vec![Vec::new()];
        for part in bound.equal.iter().zip(types) {
            let (expr, wanted) = part;
            let mut values = vec![expr.clone()];
            if is_array(part) {
                let Value::Array(elements) = evaluate(expr, &[], context)? else {
                    prefixes.clear();
                    break;
                };
                let elements: Vec<Value> = elements.into_items().into_iter().filter(|value| !value.is_null()).collect();
                values = elements.into_iter().map(|value| Expr::Literal(value, *wanted)).collect();
            }
            if prefixes.len().saturating_mul(values.len()) > limits::MAX_ALTERNATIVES {
                return Ok(None);
            }
            let longer = |prefix: &Vec<Expr>, value: &Expr| prefix.iter().chain([value]).cloned().collect();
            prefixes =
                prefixes.iter().flat_map(|prefix| values.iter().map(move |value| longer(prefix, value))).collect();
        }
        if all.len() + prefixes.len() > limits::MAX_ALTERNATIVES {
            return Ok(None);
        }
        let bound_of = |equal| KeyBounds { equal, lower: bound.lower.clone(), upper: bound.upper.clone() };
        all.extend(prefixes.into_iter().map(bound_of));
    }
    Ok(Some(Cow::Owned(all)))
}

fn key_types(table: &Table) -> Result<Vec<DataType>, Diag> {
    let column =
        |at: &u32| usize::try_from(*at).ok().and_then(|at| table.columns.get(at)).map(|column| column.data_type);
    table.primary_key.iter().map(column).collect::<Option<_>>().ok_or_else(|| {
        Diag::new(
            SqlState::INTERNAL,
            format!("the key of table {}.{} names a column that it lacks", table.namespace, table.name),
        )
    })
}

fn resolve_bounds(bounds: &KeyBounds, types: &[DataType], context: &EvalContext<'_>) -> Result<Option<KeyRange>, Diag> {
    let beyond = || Diag::new(SqlState::INTERNAL, "key bounds name more columns than the key has");
    let mut prefix = Vec::new();
    for (at, expr) in bounds.equal.iter().enumerate() {
        let data_type = *types.get(at).ok_or_else(beyond)?;
        if !append(expr, data_type, context, &mut prefix)? {
            return Ok(None);
        }
    }
    let bound = |bound: &Option<(Expr, bool)>| -> Result<Bound, Diag> {
        let Some((expr, inclusive)) = bound else { return Ok(Bound::Open) };
        let data_type = *types.get(bounds.equal.len()).ok_or_else(beyond)?;
        let mut bytes = prefix.clone();
        Ok(if append(expr, data_type, context, &mut bytes)? { Bound::At(bytes, *inclusive) } else { Bound::Nothing })
    };
    let (lower, upper) = (bound(&bounds.lower)?, bound(&bounds.upper)?);
    if let (Bound::At(low, true), Bound::At(high, true)) = (&lower, &upper)
        && low == high
    {
        let complete = bounds.equal.len() + 1 == types.len();
        return Ok(Some(whole(low.clone(), complete)));
    }
    let start = match lower {
        Bound::Nothing => return Ok(None),
        Bound::Open => prefix.clone(),
        Bound::At(bytes, true) => bytes,
        // Without a successor no key is greater.
        Bound::At(bytes, false) => match successor(&bytes) {
            Some(bytes) => bytes,
            None => return Ok(None),
        },
    };
    let end = match upper {
        Bound::Nothing => return Ok(None),
        Bound::Open if bounds.lower.is_none() => return Ok(Some(whole(prefix, bounds.equal.len() == types.len()))),
        Bound::Open => successor(&prefix),
        Bound::At(bytes, true) => successor(&bytes),
        Bound::At(bytes, false) => Some(bytes),
    };
    Ok(Some(KeyRange { start, end }))
}

/// One side of a range.
enum Bound {
    /// None given.
    Open,
    /// These bytes; true: inclusive.
    At(Vec<u8>, bool),
    /// NULL: nothing matches.
    Nothing,
}

fn whole(bytes: Vec<u8>, complete: bool) -> KeyRange {
    if complete { KeyRange::point(bytes) } else { KeyRange::prefix(bytes) }
}

/// Appends a bound's value; false when it is NULL.
pub(super) fn append(
    expr: &Expr,
    data_type: DataType,
    context: &EvalContext<'_>,
    out: &mut Vec<u8>,
) -> Result<bool, Diag> {
    let mut value = evaluate(expr, &[], context)?;
    if value.data_type().is_some_and(|found| !found.same_kind(&data_type)) {
        value = cast::cast(value, data_type, false)?;
    }
    if value == Value::Null {
        return Ok(false);
    }
    encode_value(&value, out).map_err(Diag::from)?;
    Ok(true)
}

impl From<KeyError> for Diag {
    fn from(error: KeyError) -> Self {
        let message = error.to_string();
        match error {
            KeyError::Null => Self::new(SqlState::NOT_NULL_VIOLATION, message)
                .hint("give a value, or a DEFAULT, for every key column"),
            KeyError::Unordered(_) => Self::new(SqlState::INVALID_TABLE_DEFINITION, message),
            KeyError::TooLong { .. } => {
                Self::new(SqlState::PROGRAM_LIMIT, message).hint("use a shorter value, or a digest of it, as the key")
            }
            KeyError::Truncated(_) | KeyError::Invalid(_) | KeyError::TrailingBytes(_) => {
                Self::new(SqlState::DATA_CORRUPTED, message)
            }
        }
    }
}

/// Sorted ranges without overlap. Ranges that only touch stay apart, so that points stay points.
pub(super) fn merge(ranges: Vec<KeyRange>) -> Vec<KeyRange> {
    let mut merged: Vec<KeyRange> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(last) if last.end.as_ref().is_none_or(|end| range.start < *end) => {
                let further = match (&last.end, &range.end) {
                    (Some(last), Some(end)) => end > last,
                    (Some(_), None) => true,
                    (None, _) => false,
                };
                if further {
                    last.end = range.end;
                }
            }
            _ => merged.push(range),
        }
    }
    merged
}
