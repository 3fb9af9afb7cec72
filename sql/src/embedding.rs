//! Embeddings: vectors of binary32 numbers, their text `[1,0.5]`, and the distances between them.
//!
//! Distances are sums in DOUBLE in the order of the dimensions, so equal vectors give equal bits on every machine.

use std::fmt;

use crate::diag::{Diag, SqlState};

/// Most dimensions.
pub const MAX_DIMENSIONS: u32 = 16_000;

/// Writes `[1,0.5]`.
///
/// # Errors
/// Only the writer's own.
pub fn write(vector: &[f32], f: &mut impl fmt::Write) -> fmt::Result {
    f.write_str("[")?;
    for (at, number) in vector.iter().enumerate() {
        if at > 0 {
            f.write_str(",")?;
        }
        crate::value::write_float(*number, f)?;
    }
    f.write_str("]")
}

/// Reads `[1, 0.5]` or `{1,0.5}`; `None` for anything else, for numbers that are not finite, and for no dimension or too many.
#[must_use]
pub fn parse(text: &str) -> Option<Vec<f32>> {
    let text = text.trim_ascii();
    let inner = match text.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']')?,
        None => text.strip_prefix('{')?.strip_suffix('}')?,
    };
    let number = |part: &str| part.trim_ascii().parse::<f32>().ok().filter(|number| number.is_finite());
    let vector = inner.split(',').map(number).collect::<Option<Vec<f32>>>()?;
    fits(vector.len()).then_some(vector)
}

/// Refuses a number of dimensions that no embedding has.
///
/// # Errors
/// 22000.
pub fn checked(dimensions: usize) -> Result<(), Diag> {
    if fits(dimensions) {
        return Ok(());
    }
    Err(Diag::new(
        SqlState::DATA_EXCEPTION,
        format!("an embedding has 1 to {MAX_DIMENSIONS} dimensions, not {dimensions}"),
    ))
}

/// Whether an embedding may have so many dimensions.
#[must_use]
pub fn fits(dimensions: usize) -> bool {
    u32::try_from(dimensions).is_ok_and(|dimensions| (1..=MAX_DIMENSIONS).contains(&dimensions))
}

fn pairs<'v>(left: &'v [f32], right: &'v [f32]) -> Result<impl Iterator<Item = (f64, f64)> + 'v, Diag> {
    if left.len() != right.len() {
        return Err(Diag::new(
            SqlState::DATA_EXCEPTION,
            format!("embeddings of {} and {} dimensions cannot be compared", left.len(), right.len()),
        ));
    }
    Ok(left.iter().zip(right).map(|(left, right)| (f64::from(*left), f64::from(*right))))
}

/// The sum of the products of their numbers.
///
/// # Errors
/// 22000 when the dimensions differ.
pub fn inner_product(left: &[f32], right: &[f32]) -> Result<f64, Diag> {
    Ok(pairs(left, right)?.fold(0.0, |sum, (left, right)| sum + left * right))
}

/// The length of the difference.
///
/// # Errors
/// 22000 when the dimensions differ.
pub fn l2_distance(left: &[f32], right: &[f32]) -> Result<f64, Diag> {
    Ok(libm::sqrt(pairs(left, right)?.fold(0.0, |sum, (left, right)| sum + (left - right) * (left - right))))
}

/// One less the cosine of the angle between them, 0 to 2; NaN when one is zero.
///
/// # Errors
/// 22000 when the dimensions differ.
pub fn cosine_distance(left: &[f32], right: &[f32]) -> Result<f64, Diag> {
    let (mut product, mut left_norm, mut right_norm) = (0.0, 0.0, 0.0);
    for (left, right) in pairs(left, right)? {
        product += left * right;
        left_norm += left * left;
        right_norm += right * right;
    }
    let similarity = product / (libm::sqrt(left_norm) * libm::sqrt(right_norm));
    Ok(if similarity.is_nan() { f64::NAN } else { 1.0 - similarity.clamp(-1.0, 1.0) })
}

/// The length.
#[must_use]
pub fn norm(vector: &[f32]) -> f64 {
    libm::sqrt(vector.iter().fold(0.0, |sum, number| sum + f64::from(*number) * f64::from(*number)))
}
