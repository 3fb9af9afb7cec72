//! The frame of every stored value of this crate that is not a row: `version u8 (1) | postcard`.
//!
//! Fields and variants are only appended within a version. Decoding never panics, and refuses unknown versions and bytes
//! that are left over.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::StateError;

/// The one version there is.
pub const VERSION: u8 = 1;

/// Bytes that most values fit into.
const USUAL_BYTES: usize = 64;

/// The stored form of a value.
#[must_use]
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    // Only a sequence of unknown length or a custom serialiser can fail, and none of our types has one; were it to happen,
    // the empty value fails to decode, with the group's number.
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    bytes.push(VERSION);
    postcard::to_extend(value, bytes).unwrap_or_default()
}

/// Reads the stored form of a value.
///
/// # Errors
/// [`StateError::Version`], [`StateError::Corrupt`]; both name `what`.
pub fn decode<T: DeserializeOwned>(group: u32, what: &'static str, bytes: &[u8]) -> Result<T, StateError> {
    let corrupt = StateError::Corrupt { group, what };
    let (version, body) = bytes.split_first().ok_or(corrupt.clone())?;
    if *version != VERSION {
        return Err(StateError::Version { what, found: *version, supported: VERSION });
    }
    match postcard::take_from_bytes(body) {
        Ok((value, [])) => Ok(value),
        Ok(_) | Err(_) => Err(corrupt),
    }
}
