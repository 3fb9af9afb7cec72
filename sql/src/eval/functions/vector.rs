//! Functions of embeddings.

use super::Args;
use crate::diag::Diag;
use crate::embedding;
use crate::eval::wrong_type;
use crate::value::Value;

fn vector(value: &Value) -> Result<&[f32], Diag> {
    match value {
        Value::Embedding(vector) => Ok(vector),
        other => Err(wrong_type("a function of embeddings", other)),
    }
}

/// A measure of two embeddings.
pub(super) fn of_two(args: &Args<'_>, measure: fn(&[f32], &[f32]) -> Result<f64, Diag>) -> Result<Value, Diag> {
    measure(vector(args.get(0)?)?, vector(args.get(1)?)?).map(Value::Double)
}

pub(super) fn dimensions(value: &Value) -> Result<Value, Diag> {
    Ok(Value::Int(i32::try_from(vector(value)?.len()).unwrap_or(i32::MAX)))
}

pub(super) fn norm(value: &Value) -> Result<Value, Diag> {
    Ok(Value::Double(embedding::norm(vector(value)?)))
}
