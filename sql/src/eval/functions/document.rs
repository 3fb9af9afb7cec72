//! Functions that take JSON apart and put it together.

use super::{Args, array};
use crate::cast;
use crate::diag::{Diag, SqlState};
use crate::eval::operators::check_length;
use crate::eval::wrong_type;
use crate::json::tree::{Node, edited, removed};
use crate::json::{self, JsonType};
use crate::value::Value;

pub(in crate::eval) fn document(value: &Value) -> Result<&str, Diag> {
    match value {
        Value::Json(json) => Ok(json),
        other => Err(wrong_type("a function of JSON", other)),
    }
}

/// The tree as a value; deeper than JSON may be, it is refused.
pub(in crate::eval) fn value_of(node: &Node<'_>) -> Result<Value, Diag> {
    if node.depth() > json::MAX_DEPTH {
        return Err(Diag::new(
            SqlState::PROGRAM_LIMIT,
            format!("the JSON nests deeper than {} levels", json::MAX_DEPTH),
        ));
    }
    let mut out = String::new();
    node.write(&mut out);
    check_length(out.len())?;
    Ok(Value::Json(out))
}

fn text_of(json: Option<String>) -> Value {
    json.map_or(Value::Null, Value::Json)
}

pub(super) fn build_array(args: &Args<'_>) -> Result<Value, Diag> {
    let mut out = String::from("[");
    for (at, value) in args.values.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        json::push_value(value, &mut out);
        check_length(out.len())?;
    }
    out.push(']');
    checked(out)
}

/// JSON that was put together from values: it may nest too deep.
pub(in crate::eval) fn checked(json: String) -> Result<Value, Diag> {
    json::checked(json).map(Value::Json)
}

pub(super) fn to_json(value: &Value) -> Result<Value, Diag> {
    let mut out = String::new();
    json::push_value(value, &mut out);
    check_length(out.len())?;
    checked(out)
}

pub(super) fn array_length(value: &Value) -> Result<Value, Diag> {
    let json = document(value)?;
    match json::type_of(json) {
        JsonType::Array => Ok(Value::Int(i32::try_from(json::elements(json).count()).unwrap_or(i32::MAX))),
        other => {
            Err(Diag::new(SqlState::INVALID_PARAMETER, format!("cannot get array length of JSON {}", other.name())))
        }
    }
}

/// The value at a path of keys and indexes; `None` where there is none or a step is NULL.
pub(in crate::eval) fn at_path<'v>(json: &'v str, path: &[Option<&str>]) -> Option<&'v str> {
    let mut json = json;
    for step in path {
        let step = (*step)?;
        json = match json::type_of(json) {
            JsonType::Object => json::member(json, step)?,
            JsonType::Array => json::element(json, step.trim_ascii().parse().ok()?)?,
            JsonType::String | JsonType::Number | JsonType::Boolean | JsonType::Null => return None,
        };
    }
    Some(json)
}

/// `json_extract_path(json, step ...)`, as text or as JSON.
pub(super) fn extract_path(args: &Args<'_>, as_text: bool) -> Result<Value, Diag> {
    let json = document(args.get(0)?)?;
    let path = (1..args.len()).map(|at| args.text(at).map(Some)).collect::<Result<Vec<_>, Diag>>()?;
    let found = at_path(json, &path);
    Ok(if as_text {
        found.and_then(json::text).map_or(Value::Null, Value::Text)
    } else {
        text_of(found.map(str::to_owned))
    })
}

fn flag(args: &Args<'_>, at: usize, otherwise: bool) -> Result<bool, Diag> {
    if at >= args.len() {
        return Ok(otherwise);
    }
    match args.get(at)? {
        Value::Boolean(flag) => Ok(*flag),
        other => Err(args.mismatch(at, other)),
    }
}

fn path(value: &Value) -> Result<Vec<&str>, Diag> {
    let steps = array::texts(value, "a path")?;
    steps
        .into_iter()
        .enumerate()
        .map(|(at, step)| {
            step.ok_or_else(|| {
                Diag::new(SqlState::INVALID_PARAMETER, format!("path element at position {} is null", at + 1))
            })
        })
        .collect()
}

fn node(json: &str) -> Result<Node<'_>, Diag> {
    Node::parse(json).ok_or_else(|| Diag::new(SqlState::INTERNAL, "a JSON value is no JSON"))
}

/// `jsonb_set(json, path, value, create)` and `jsonb_insert(json, path, value, after)`.
pub(super) fn set(args: &Args<'_>, insert: bool) -> Result<Value, Diag> {
    let target = document(args.get(0)?)?;
    let steps = path(args.get(1)?)?;
    let new = node(document(args.get(2)?)?)?;
    let option = flag(args, 3, !insert)?;
    match json::type_of(target) {
        JsonType::Object | JsonType::Array => {}
        JsonType::String | JsonType::Number | JsonType::Boolean | JsonType::Null => {
            return Err(Diag::new(SqlState::INVALID_PARAMETER, "cannot set path in scalar"));
        }
    }
    value_of(&edited(node(target)?, &steps, &new, insert, option)?)
}

/// `json #- path`
pub(in crate::eval) fn delete_path(json: &Value, steps: &Value) -> Result<Value, Diag> {
    value_of(&removed(node(document(json)?)?, &path(steps)?)?)
}

/// `json - key`, `json - index`, `json - keys`
pub(in crate::eval) fn delete(json: &Value, what: &Value) -> Result<Value, Diag> {
    let mut tree = node(document(json)?)?;
    let scalar = |what: &str| Diag::new(SqlState::INVALID_PARAMETER, format!("cannot delete from {what}"));
    match (&mut tree, what) {
        (Node::Scalar(_), _) => return Err(scalar("scalar")),
        (Node::Object(members), Value::Text(key)) => members.retain(|(name, _)| name != key),
        (Node::Array(items), Value::Text(key)) => items.retain(|item| !item.is_string(key)),
        (Node::Object(members), Value::Array(_)) => {
            let keys = array::texts(what, "-")?;
            members.retain(|(name, _)| !keys.contains(&Some(name.as_str())));
        }
        (Node::Array(items), Value::Array(_)) => {
            let keys = array::texts(what, "-")?;
            items.retain(|item| !keys.iter().flatten().any(|key| item.is_string(key)));
        }
        (Node::Object(_), _) => return Err(scalar("object using integer index")),
        (Node::Array(items), index) => {
            let index = index.as_i64().ok_or_else(|| wrong_type("-", index))?;
            if let Some(at) = json::tree::place(index, items.len()) {
                items.remove(at);
            }
        }
    }
    value_of(&tree)
}

/// `left || right`: members of the right object win; anything else is joined as arrays.
pub(in crate::eval) fn concat(left: &Value, right: &Value) -> Result<Value, Diag> {
    let (left, right) = (node(document(left)?)?, node(document(right)?)?);
    value_of(&match (left, right) {
        (Node::Object(mut members), Node::Object(more)) => {
            for (name, value) in more {
                json::tree::put(&mut members, name, value);
            }
            Node::Object(members)
        }
        (left, right) => {
            let items = |node: Node<'_>| match node {
                Node::Array(items) => items.into_iter().map(Node::into_owned).collect(),
                other => vec![other.into_owned()],
            };
            let mut all: Vec<Node<'static>> = items(left);
            all.extend(items(right));
            Node::Array(all)
        }
    })
}

/// `json ? key`: a member's name, an element that is this string, or this string itself.
pub(in crate::eval) fn has_key(json: &str, key: &str) -> bool {
    match json::type_of(json) {
        JsonType::Object => json::member(json, key).is_some(),
        JsonType::Array => json::elements(json)
            .any(|item| json::type_of(item) == JsonType::String && json::text(item).as_deref() == Some(key)),
        JsonType::String => json::text(json).as_deref() == Some(key),
        JsonType::Number | JsonType::Boolean | JsonType::Null => false,
    }
}

/// `left @> right`
pub(in crate::eval) fn contains(left: &str, right: &str) -> Result<bool, Diag> {
    Ok(node(left)?.contains(&node(right)?))
}

pub(super) fn strip_nulls(value: &Value) -> Result<Value, Diag> {
    let mut tree = node(document(value)?)?;
    tree.strip_nulls();
    value_of(&tree)
}

pub(super) fn pretty(value: &Value) -> Result<Value, Diag> {
    let mut out = String::new();
    node(document(value)?)?.write_pretty(0, &mut out);
    check_length(out.len())?;
    Ok(Value::Text(out))
}

/// `text IS JSON [VALUE|SCALAR|ARRAY|OBJECT]`
pub(super) fn is_json(args: &Args<'_>) -> Result<Value, Diag> {
    let kind = args.text(1)?;
    let text = match args.get(0)? {
        Value::Json(json) => json.clone(),
        other => cast::to_text(other),
    };
    let Ok(compact) = json::compact(&text) else { return Ok(Value::Boolean(false)) };
    let found = json::type_of(&compact);
    Ok(Value::Boolean(match kind {
        "object" => found == JsonType::Object,
        "array" => found == JsonType::Array,
        "scalar" => !matches!(found, JsonType::Object | JsonType::Array),
        _ => true,
    }))
}
