//! Functions of arrays. Subscripts count from 1; what lies outside is NULL, not an error.

use super::Args;
use crate::diag::{Diag, SqlState};
use crate::eval::like::like;
use crate::eval::operators::{check_length, holds};
use crate::eval::wrong_type;
use crate::expr::BinaryOp;
use crate::value::{Array, DataType, Element, MAX_VALUE_BYTES, Value, sort_compare};

/// The array, refused when it takes more memory than a value may.
pub(in crate::eval) fn made(element: Element, items: Vec<Value>) -> Result<Value, Diag> {
    check_size(items.len(), items.iter().map(Value::size).sum())?;
    Ok(Value::Array(Box::new(Array::new(element, items))))
}

fn check_size(length: usize, bytes: usize) -> Result<(), Diag> {
    if bytes <= MAX_VALUE_BYTES {
        return Ok(());
    }
    Err(Diag::new(
        SqlState::PROGRAM_LIMIT,
        format!("an array of {length} elements is beyond the limit of {MAX_VALUE_BYTES} bytes"),
    )
    .hint("make shorter arrays"))
}

pub(in crate::eval) fn array<'v>(value: &'v Value, place: &str) -> Result<&'v Array, Diag> {
    match value {
        Value::Array(array) => Ok(array),
        other => Err(wrong_type(place, other)),
    }
}

/// The element type of a result that is an array.
fn element_of(data_type: DataType) -> Result<Element, Diag> {
    match data_type {
        DataType::Array(element) => Ok(element),
        other => Err(Diag::new(SqlState::INTERNAL, format!("an array function gives {other}"))),
    }
}

/// `ARRAY[...]`
pub(super) fn build(args: &Args<'_>, data_type: DataType) -> Result<Value, Diag> {
    made(element_of(data_type)?, args.values.iter().map(|value| value.as_ref().clone()).collect())
}

/// The place of a subscript, from 0.
fn place(subscript: i64) -> Option<usize> {
    usize::try_from(subscript.checked_sub(1)?).ok()
}

pub(super) fn subscript(args: &Args<'_>) -> Result<Value, Diag> {
    let items = array(args.get(0)?, "a subscript")?.items();
    Ok(place(args.integer(1)?).and_then(|at| items.get(at)).cloned().unwrap_or(Value::Null))
}

pub(super) fn slice(args: &Args<'_>) -> Result<Value, Diag> {
    let array = array(args.get(0)?, "a subscript")?;
    let (from, to) = (args.integer(1)?.max(1), args.integer(2)?);
    let skip = place(from).unwrap_or(usize::MAX);
    let take = usize::try_from(to.saturating_sub(from).saturating_add(1)).unwrap_or(0);
    made(array.element(), array.items().iter().skip(skip).take(take).cloned().collect())
}

fn count(length: usize) -> Value {
    Value::Int(i32::try_from(length).unwrap_or(i32::MAX))
}

/// The length of the one dimension; NULL for an empty array and for other dimensions.
pub(super) fn length(args: &Args<'_>) -> Result<Value, Diag> {
    let length = array(args.get(0)?, "array_length")?.items().len();
    Ok(if args.integer(1)? == 1 && length > 0 { count(length) } else { Value::Null })
}

/// The first subscript of the one dimension; NULL for an empty array and for other dimensions.
pub(super) fn lower(args: &Args<'_>) -> Result<Value, Diag> {
    Ok(if length(args)?.is_null() { Value::Null } else { Value::Int(1) })
}

/// `[1:3]`; NULL for an empty array, which has no dimension.
pub(super) fn dimensions(value: &Value) -> Result<Value, Diag> {
    let length = array(value, "array_dims")?.items().len();
    Ok(if length == 0 { Value::Null } else { Value::Text(format!("[1:{length}]")) })
}

/// 1; NULL for an empty array, which has no dimension.
pub(super) fn dimension_count(value: &Value) -> Result<Value, Diag> {
    Ok(if array(value, "array_ndims")?.items().is_empty() { Value::Null } else { Value::Int(1) })
}

/// As many times the value as the second argument's one element says.
pub(super) fn fill(args: &Args<'_>, data_type: DataType) -> Result<Value, Diag> {
    let element = element_of(data_type)?;
    let refused = |reason: &str| Diag::new(SqlState::INVALID_PARAMETER, reason);
    let lengths = match args.get(1)? {
        Value::Null => return Err(refused("array_fill takes an array of lengths, not NULL")),
        lengths => array(lengths, "array_fill")?.items(),
    };
    let length = match lengths {
        [] => 0,
        [Value::Null] => return Err(refused("a length of array_fill is NULL")),
        [length] => length.as_i64().unwrap_or(0),
        _ => return Err(Diag::not_supported("an array of arrays")),
    };
    let length = usize::try_from(length).map_err(|_| refused("array_fill takes a length of at least 0"))?;
    let value = args.get(0)?;
    check_size(length, length.saturating_mul(value.size()))?;
    made(element, vec![value.clone(); length])
}

/// How many of the thresholds, which rise, are at or below the operand.
pub(super) fn bucket(args: &Args<'_>) -> Result<Value, Diag> {
    let operand = args.get(0)?;
    let thresholds = array(args.get(1)?, "width_bucket")?.items();
    if thresholds.iter().any(Value::is_null) {
        return Err(Diag::new(SqlState::INVALID_PARAMETER, "the thresholds of width_bucket must not be NULL"));
    }
    Ok(count(thresholds.partition_point(|threshold| sort_compare(threshold, operand).is_le())))
}

/// The elements of an array in order, as `unnest` gives them: none for NULL.
///
/// # Errors
/// 42804 for what is no array.
pub fn unnest(value: &Value) -> Result<Vec<Value>, Diag> {
    elements(value)
}

pub(super) fn cardinality(value: &Value) -> Result<Value, Diag> {
    Ok(count(array(value, "cardinality")?.items().len()))
}

/// The elements of an array; a NULL array has none.
fn elements(value: &Value) -> Result<Vec<Value>, Diag> {
    match value {
        Value::Null => Ok(Vec::new()),
        other => Ok(array(other, "an array function")?.items().to_vec()),
    }
}

pub(super) fn append(args: &Args<'_>, data_type: DataType) -> Result<Value, Diag> {
    let mut items = elements(args.get(0)?)?;
    items.push(args.get(1)?.clone());
    made(element_of(data_type)?, items)
}

pub(super) fn prepend(args: &Args<'_>, data_type: DataType) -> Result<Value, Diag> {
    let mut items = vec![args.get(0)?.clone()];
    items.extend(elements(args.get(1)?)?);
    made(element_of(data_type)?, items)
}

/// Both arrays; NULL when both are.
pub(super) fn cat(args: &Args<'_>, data_type: DataType) -> Result<Value, Diag> {
    let (left, right) = (args.get(0)?, args.get(1)?);
    if left.is_null() && right.is_null() {
        return Ok(Value::Null);
    }
    let mut items = elements(left)?;
    items.extend(elements(right)?);
    made(element_of(data_type)?, items)
}

/// Whether two elements are equal, NULL to NULL.
fn same(left: &Value, right: &Value) -> bool {
    sort_compare(left, right).is_eq()
}

/// The first subscript of the element, from the start given; NULL when there is none.
pub(super) fn position(args: &Args<'_>) -> Result<Value, Diag> {
    if args.get(0)?.is_null() {
        return Ok(Value::Null);
    }
    let items = array(args.get(0)?, "array_position")?.items();
    let wanted = args.get(1)?;
    let start = if args.len() > 2 { args.integer(2)?.max(1) } else { 1 };
    let skip = place(start).unwrap_or(usize::MAX);
    let found = items.iter().enumerate().skip(skip).find(|(_, item)| same(item, wanted));
    Ok(found.map_or(Value::Null, |(at, _)| count(at + 1)))
}

pub(super) fn positions(args: &Args<'_>) -> Result<Value, Diag> {
    if args.get(0)?.is_null() {
        return Ok(Value::Null);
    }
    let wanted = args.get(1)?;
    let items = array(args.get(0)?, "array_positions")?.items().iter().enumerate();
    made(Element::Int, items.filter(|(_, item)| same(item, wanted)).map(|(at, _)| count(at + 1)).collect())
}

pub(super) fn remove(args: &Args<'_>) -> Result<Value, Diag> {
    if args.get(0)?.is_null() {
        return Ok(Value::Null);
    }
    let wanted = args.get(1)?;
    let array = array(args.get(0)?, "array_remove")?;
    made(array.element(), array.items().iter().filter(|item| !same(item, wanted)).cloned().collect())
}

pub(super) fn replace(args: &Args<'_>) -> Result<Value, Diag> {
    if args.get(0)?.is_null() {
        return Ok(Value::Null);
    }
    let (from, to) = (args.get(1)?, args.get(2)?);
    let array = array(args.get(0)?, "array_replace")?;
    let items = array.items().iter().map(|item| if same(item, from) { to.clone() } else { item.clone() });
    made(array.element(), items.collect())
}

/// The array without its last elements.
pub(super) fn trim(args: &Args<'_>) -> Result<Value, Diag> {
    let array = array(args.get(0)?, "trim_array")?;
    let length = array.items().len();
    let cut = usize::try_from(args.integer(1)?).ok().filter(|cut| *cut <= length).ok_or_else(|| {
        Diag::new(SqlState::INVALID_PARAMETER, format!("number of elements to trim must be between 0 and {length}"))
    })?;
    made(array.element(), array.items().iter().take(length - cut).cloned().collect())
}

/// The elements' texts with the delimiter between them; NULLs are left out, or read as the third argument.
pub(super) fn to_string(args: &Args<'_>) -> Result<Value, Diag> {
    if args.get(0)?.is_null() || args.get(1)?.is_null() {
        return Ok(Value::Null);
    }
    let items = array(args.get(0)?, "array_to_string")?.items();
    let delimiter = args.text(1)?;
    let null = if args.len() > 2 && !args.get(2)?.is_null() { Some(args.text(2)?) } else { None };
    let mut out = String::new();
    let mut first = true;
    for item in items {
        let text = match (item, null) {
            (Value::Null, None) => continue,
            (Value::Null, Some(null)) => null.to_owned(),
            (item, _) => item.to_string(),
        };
        check_length(out.len().saturating_add(text.len()).saturating_add(delimiter.len()))?;
        if !first {
            out.push_str(delimiter);
        }
        first = false;
        out.push_str(&text);
    }
    Ok(Value::Text(out))
}

/// The parts of a text between delimiters; its characters when the delimiter is NULL.
pub(super) fn from_string(args: &Args<'_>) -> Result<Value, Diag> {
    if args.get(0)?.is_null() {
        return Ok(Value::Null);
    }
    let text = args.text(0)?;
    let null = if args.len() > 2 && !args.get(2)?.is_null() { Some(args.text(2)?) } else { None };
    let parts: Vec<String> = if text.is_empty() {
        Vec::new()
    } else if args.get(1)?.is_null() {
        text.chars().map(String::from).collect()
    } else if args.text(1)?.is_empty() {
        vec![text.to_owned()]
    } else {
        text.split(args.text(1)?).map(str::to_owned).collect()
    };
    let item = |part: String| if null == Some(part.as_str()) { Value::Null } else { Value::Text(part) };
    made(Element::Text, parts.into_iter().map(item).collect())
}

/// `operand op ANY (array)` (`all` false) and ALL: one decisive element decides, else NULL beats the other answer.
pub(super) fn quantified(op: BinaryOp, all: bool, args: &Args<'_>) -> Result<Value, Diag> {
    each(all, args, |operand, item| holds(op, operand, item))
}

/// `operand [NOT] LIKE ANY (array of patterns)` (`all` false) and ALL.
pub(super) fn like_each(case_insensitive: bool, negated: bool, all: bool, args: &Args<'_>) -> Result<Value, Diag> {
    each(all, args, |operand, pattern| match like(operand, pattern, '\\', case_insensitive, negated)? {
        Value::Boolean(truth) => Ok(Some(truth)),
        _ => Ok(None),
    })
}

fn each(
    all: bool,
    args: &Args<'_>,
    holds: impl Fn(&Value, &Value) -> Result<Option<bool>, Diag>,
) -> Result<Value, Diag> {
    let operand = args.get(0)?;
    if args.get(1)?.is_null() {
        return Ok(Value::Null);
    }
    let mut unknown = false;
    for item in array(args.get(1)?, "ANY and ALL")?.items() {
        match holds(operand, item)? {
            Some(truth) if truth != all => return Ok(Value::Boolean(truth)),
            Some(_) => {}
            None => unknown = true,
        }
    }
    Ok(if unknown { Value::Null } else { Value::Boolean(all) })
}

/// `left || right` where a side is an array by its type: arrays are joined, a value is put at its end of the array. A NULL array
/// is as an empty one, but for two of them; a NULL value is an element. `None` where neither side is an array.
pub(in crate::eval) fn concat(left: (&Value, DataType), right: (&Value, DataType)) -> Option<Result<Value, Diag>> {
    let joined = |element: Element, left: Result<Vec<Value>, Diag>, right: Result<Vec<Value>, Diag>| {
        let (mut items, right) = (left?, right?);
        items.extend(right);
        made(element, items)
    };
    let item = |value: &Value| Ok(vec![value.clone()]);
    match (left, right) {
        ((Value::Null, DataType::Array(_)), (Value::Null, DataType::Array(_))) => Some(Ok(Value::Null)),
        ((left, DataType::Array(element)), (right, DataType::Array(_))) => {
            Some(joined(element, elements(left), elements(right)))
        }
        ((left, DataType::Array(element)), (right, _)) => Some(joined(element, elements(left), item(right))),
        ((left, _), (right, DataType::Array(element))) => Some(joined(element, item(left), elements(right))),
        _ => None,
    }
}

/// `left @> right`: every element of the right array is in the left one. NULL elements equal nothing.
pub(in crate::eval) fn contains(left: &Array, right: &Array) -> bool {
    right
        .items()
        .iter()
        .all(|wanted| !wanted.is_null() && left.items().iter().any(|item| !item.is_null() && same(item, wanted)))
}

/// `left && right`: an element in common.
pub(in crate::eval) fn overlaps(left: &Array, right: &Array) -> bool {
    left.items().iter().any(|item| !item.is_null() && right.items().iter().any(|other| same(item, other)))
}

/// The texts of an array of keys; `None` for a NULL key.
pub(in crate::eval) fn texts<'v>(value: &'v Value, place: &str) -> Result<Vec<Option<&'v str>>, Diag> {
    let text = |item: &'v Value| match item {
        Value::Null => Ok(None),
        Value::Text(text) => Ok(Some(text.as_str())),
        other => Err(wrong_type(place, other)),
    };
    array(value, place)?.items().iter().map(text).collect()
}
