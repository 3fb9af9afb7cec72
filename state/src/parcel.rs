//! Commands and outcomes outside the log: as one node hands them to another.
//!
//! ```text
//! parcel := version u8 (1) | postcard(command)      a command that is not in a log yet: no stamp, no seed
//!         | version u8 (1) | postcard(outcome)      what its application answered
//! ```
//!
//! What decodes says which of the two it expects. Decoding never panics, and refuses unknown versions and bytes that are left
//! over. As for log entries, the nesting of expressions is bounded by the parcel's size alone.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::command::Command;
use crate::error::StateError;
use crate::outcome::Outcome;

/// The version that is written; the only one that is read.
pub const VERSION: u8 = 1;

impl Command {
    /// Appends the parcel.
    #[must_use]
    pub fn encode_after(&self, head: Vec<u8>) -> Vec<u8> {
        encode_after(self, head)
    }

    /// Reads a parcel.
    ///
    /// # Errors
    /// [`StateError::Version`], [`StateError::Parcel`].
    pub fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        decode("a command between nodes", bytes)
    }
}

impl Outcome {
    /// Appends the parcel.
    #[must_use]
    pub fn encode_after(&self, head: Vec<u8>) -> Vec<u8> {
        encode_after(self, head)
    }

    /// Reads a parcel.
    ///
    /// # Errors
    /// [`StateError::Version`], [`StateError::Parcel`].
    pub fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        decode("an outcome between nodes", bytes)
    }
}

fn encode_after<T: Serialize>(value: &T, mut head: Vec<u8>) -> Vec<u8> {
    head.push(VERSION);
    // No type of a command or an outcome can fail to serialise; were it to happen, the empty parcel is refused by who gets it.
    postcard::to_extend(value, head).unwrap_or_default()
}

fn decode<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, StateError> {
    let unreadable = |reason: String| StateError::Parcel { what, bytes: bytes.len(), reason };
    let (version, body) = bytes.split_first().ok_or_else(|| unreadable("it is empty".to_owned()))?;
    if *version != VERSION {
        return Err(StateError::Version { what, found: *version, supported: VERSION });
    }
    match postcard::take_from_bytes(body) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(unreadable(format!("{} bytes follow its end", rest.len()))),
        Err(error) => Err(unreadable(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use highwater_sql::catalog::{CatalogVersion, ObjectId, Operation, Role};
    use highwater_sql::diag::{Diag, Span, SqlState};
    use quickcheck::QuickCheck;

    use super::*;
    use crate::command::{AckCommand, RequestHead, RequestId};
    use crate::outcome::{Consumed, Message};

    fn ack() -> Command {
        Command::Ack(AckCommand {
            head: RequestHead {
                principal: "ann".into(),
                role: Role::User,
                auth_epoch: 3,
                request: Some(RequestId { id: 9, ordinal: 1 }),
                statement_hash: 4,
            },
            topic: ObjectId(5),
            partition: 6,
            group: "g".into(),
            consumer_id: "c".into(),
            upto: 7,
        })
    }

    fn outcomes() -> Vec<Outcome> {
        let diag = Diag::new(SqlState::CHECK_VIOLATION, "no").detail("d").hint("h").at(Span { start: 1, end: 2 });
        let message = Message {
            offset: 1,
            key: None,
            payload: vec![0, 255],
            timestamp: -1,
            user: Some("ü".into()),
            operation: Operation::Delete,
        };
        vec![
            Outcome::Done,
            Outcome::Written(u64::MAX),
            Outcome::Defined { version: CatalogVersion(2), message: "m".into(), job: Some("j".into()) },
            Outcome::Consumed(Consumed { messages: vec![message], next_offset: 2, has_more: true }),
            Outcome::Acked { committed: None },
            Outcome::Inbox { upto: 9 },
            Outcome::StaleCatalog { at: CatalogVersion(4) },
            Outcome::Committed { attempt: u128::MAX, answers: vec![Outcome::Written(1), Outcome::Done] },
            Outcome::Conflict(Box::new(diag.clone())),
            Outcome::Refused(Box::new(Diag { suggestions: vec!["s".into()], ..diag })),
        ]
    }

    #[test]
    fn a_command_has_fixed_bytes_behind_what_was_there() {
        let bytes = ack().encode_after(vec![77]);
        let golden = [77, 1, 3, 3, 97, 110, 110, 0, 3, 1, 9, 1, 4, 5, 6, 1, 103, 1, 99, 7];
        assert_eq!(bytes, golden);
        assert_eq!(Command::decode(&golden[1..]).unwrap(), ack());
    }

    #[test]
    fn every_outcome_comes_back_as_it_was_with_all_facts_of_a_refusal() {
        for outcome in outcomes() {
            assert_eq!(Outcome::decode(&outcome.encode_after(Vec::new())).unwrap(), outcome);
        }
    }

    #[test]
    fn a_parcel_cut_anywhere_or_longer_or_of_another_version_is_refused() {
        let bytes = ack().encode_after(Vec::new());
        for end in 0..bytes.len() {
            assert!(Command::decode(&bytes[..end]).is_err(), "cut at {end}");
        }
        assert!(Command::decode(&[bytes.as_slice(), &[0]].concat()).is_err());
        let other = [&[2], &bytes[1..]].concat();
        let refused = StateError::Version { what: "a command between nodes", found: 2, supported: VERSION };
        assert_eq!(Command::decode(&other), Err(refused));
    }

    #[test]
    fn decoding_never_panics() {
        fn holds(mut bytes: Vec<u8>, flip: usize) -> bool {
            bytes.insert(0, VERSION);
            let _ = (Command::decode(&bytes), Outcome::decode(&bytes));
            let mut near = outcomes().swap_remove(flip % 10).encode_after(Vec::new());
            let at = flip % near.len();
            near[at] = near[at].wrapping_add(bytes[bytes.len() / 2]);
            let _ = (Command::decode(&near), Outcome::decode(&near));
            true
        }
        QuickCheck::new().tests(2000).quickcheck(holds as fn(Vec<u8>, usize) -> bool);
    }
}
