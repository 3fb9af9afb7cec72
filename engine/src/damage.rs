//! Damage: bytes on the disk that are not what was written.

use std::path::PathBuf;

use crate::error::EngineError;

/// A place whose bytes do not match their checksum or do not follow their format. It is never served and never compacted into
/// a fresh checksum; it is gone when the file is, for example after the group was rebuilt from its peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The damaged file.
    pub file: PathBuf,
    /// Where in it, in bytes.
    pub offset: u64,
    /// What was expected and what was found.
    pub what: String,
}

impl Damage {
    /// The damage that an error speaks of, if it does.
    pub(crate) fn of(error: &EngineError) -> Option<Self> {
        match error {
            EngineError::Corruption { file, offset, what } => {
                Some(Self { file: file.clone(), offset: *offset, what: what.clone() })
            }
            _ => None,
        }
    }
}

/// Most places that are remembered of one table, or of the log. More are not needed to know that it must be rebuilt.
const REMEMBERED: usize = 64;

/// Adds `damage` unless its place is known or enough are. Returns whether it is new.
pub(crate) fn remember(known: &mut Vec<Damage>, damage: Damage) -> bool {
    let seen = known.iter().any(|held| held.file == damage.file && held.offset == damage.offset);
    if seen || known.len() >= REMEMBERED {
        return false;
    }
    known.push(damage);
    true
}
