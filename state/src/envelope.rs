//! The bytes of a log entry.
//!
//! ```text
//! entry := empty                                   a Raft no-op
//!        | version u8 (1) | postcard(Envelope)     stamp, seed, command; see crate::command
//! ```
//!
//! Decoding never panics, and refuses unknown versions and bytes that are left over. The nesting of expressions is bounded by
//! the entry's size alone: who proposes takes statements only from the binder, which bounds it.

use crate::command::Envelope;
use crate::error::StateError;

/// The version that is written; the only one that is read.
pub const VERSION: u8 = 1;

/// Bytes that most entries fit into.
const USUAL_BYTES: usize = 1024;

impl Envelope {
    /// The entry's data.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // No type of a command can fail to serialise; were it to happen, the bytes would be refused by every replica alike.
        let mut bytes = Vec::with_capacity(USUAL_BYTES);
        bytes.push(VERSION);
        postcard::to_extend(self, bytes).unwrap_or_else(|_| vec![0])
    }

    /// Reads an entry's data (not the empty no-op).
    ///
    /// # Errors
    /// [`StateError::Version`], [`StateError::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        let malformed = |reason: String| StateError::Malformed { bytes: bytes.len(), reason };
        let (version, body) = bytes.split_first().ok_or_else(|| malformed("it is empty".to_owned()))?;
        if *version != VERSION {
            return Err(StateError::Version { what: "a log entry", found: *version, supported: VERSION });
        }
        let (envelope, rest) = postcard::take_from_bytes(body).map_err(|error| malformed(error.to_string()))?;
        if !rest.is_empty() {
            return Err(malformed(format!("{} bytes follow its end", rest.len())));
        }
        Ok(envelope)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

    use highwater_sql::catalog::{CatalogVersion, ObjectId, Role};
    use highwater_sql::expr::Expr;
    use highwater_sql::plan::{WriteKind, WritePlan};
    use highwater_sql::value::{DataType, Value};
    use quickcheck::QuickCheck;

    use super::*;
    use crate::command::{Command, RequestHead, RequestId, TransactionCommand, TransactionStep, WriteCommand};

    fn sample() -> Envelope {
        let row =
            vec![Some(Expr::Literal(Value::BigInt(7), DataType::BigInt)), None, Some(Expr::Param(0, DataType::Text))];
        Envelope {
            stamp: 1_767_225_600_000_000,
            seed: 5,
            command: Command::Write(WriteCommand {
                head: RequestHead {
                    principal: "ann".into(),
                    role: Role::User,
                    auth_epoch: 3,
                    request: Some(RequestId { id: 9, ordinal: 1 }),
                    statement_hash: 4,
                },
                user: "ann".into(),
                plan: WritePlan {
                    table: ObjectId(16_384),
                    table_version: 1,
                    kind: WriteKind::Insert { columns: vec![], rows: vec![row], conflict: None },
                    returning: vec![],
                },
                params: vec![Value::Text("x".into())],
            }),
        }
    }

    #[test]
    fn an_entry_has_fixed_bytes() {
        let bytes = sample().encode();
        let golden = [
            1, 128, 128, 130, 226, 136, 210, 163, 6, 5, 1, 3, 97, 110, 110, 0, 3, 1, 9, 1, 4, 3, 97, 110, 110, 128,
            128, 1, 1, 0, 0, 1, 3, 1, 0, 4, 14, 3, 0, 1, 2, 0, 6, 0, 0, 1, 7, 1, 120,
        ];
        assert_eq!(bytes, golden);
        assert_eq!(Envelope::decode(&bytes).unwrap(), sample());
    }

    #[test]
    fn a_transaction_has_fixed_bytes() {
        let Command::Write(WriteCommand { head, user, plan, params }) = sample().command else {
            unreachable!("the sample is a write")
        };
        // One key with a value, one range of three pairs.
        let reads = [1, 1, 107, 1, 2, 1, 1, 1, 1, 2, 3, 4];
        let known = [postcard::to_allocvec(&plan).unwrap(), postcard::to_allocvec(&params).unwrap()].concat();
        let command = Command::Transaction(Box::new(TransactionCommand {
            head,
            attempt: 7,
            began: 10,
            read_at: 6,
            tables: [(ObjectId(3), 1)].into(),
            reads: postcard::from_bytes(&reads).unwrap(),
            steps: vec![TransactionStep { user, plan, params, seed: 8, answered: 9 }],
        }));
        let envelope = Envelope { stamp: 1, seed: 5, command };
        let head = [1, 2, 5, 8, 3, 97, 110, 110, 0, 3, 1, 9, 1, 4, 7, 20, 6, 1, 3, 1];
        let golden = [&head[..], &reads, &[1, 3, 97, 110, 110], &known, &[8, 9]].concat();
        assert_eq!(envelope.encode(), golden);
        assert_eq!(Envelope::decode(&golden).unwrap(), envelope);
        for end in 0..golden.len() {
            assert!(Envelope::decode(&golden[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn every_kind_of_value_and_type_can_be_read_back() {
        use highwater_sql::catalog::ColumnId;
        use highwater_sql::expr::Expr;
        use highwater_sql::interval::Interval;
        use highwater_sql::value::{Array, DataType, Element};
        let decimal: Value = Value::Decimal("-1234567890.0123456789".parse().unwrap());
        let values = [
            (Value::Null, DataType::Text),
            (Value::Boolean(true), DataType::Boolean),
            (Value::SmallInt(i16::MIN), DataType::SmallInt),
            (Value::Int(i32::MAX), DataType::Int),
            (Value::BigInt(i64::MIN), DataType::BigInt),
            (Value::Double(-0.1), DataType::Double),
            (decimal, DataType::Decimal { precision: 20, scale: 10 }),
            (Value::Text("ü".into()), DataType::Text),
            (Value::Bytes(vec![0, 255]), DataType::Bytes),
            (Value::Json("{\"a\":1.50}".into()), DataType::Json),
            (Value::Timestamp(-1), DataType::Timestamp),
            (Value::Float(-0.1), DataType::Float),
            (Value::Date(-1), DataType::Date),
            (Value::Time(1), DataType::Time),
            (Value::DateTime(-1), DataType::DateTime),
            (Value::Interval(Interval { months: -1, days: 2, micros: 3 }), DataType::Interval),
            (Value::Uuid(u128::MAX), DataType::Uuid),
            (Value::Embedding(vec![1.0, 0.5]), DataType::Embedding(2)),
            (
                Value::Array(Box::new(Array::new(Element::Int, vec![Value::Int(1), Value::Null]))),
                DataType::Array(Element::Int),
            ),
        ];
        for (value, data_type) in values {
            let mut envelope = sample();
            let Command::Write(write) = &mut envelope.command else { unreachable!("the sample is a write") };
            write.params = vec![value.clone()];
            write.plan.kind = WriteKind::Insert {
                columns: vec![ColumnId(1)],
                rows: vec![vec![Some(Expr::Literal(value.clone(), data_type))]],
                conflict: None,
            };
            assert_eq!(Envelope::decode(&envelope.encode()), Ok(envelope), "{value:?}");
        }
    }

    #[test]
    fn an_unknown_version_is_refused() {
        let mut bytes = sample().encode();
        bytes[0] = 2;
        assert_eq!(
            Envelope::decode(&bytes),
            Err(StateError::Version { what: "a log entry", found: 2, supported: VERSION })
        );
    }

    #[test]
    fn an_entry_cut_anywhere_or_with_bytes_after_its_end_is_refused() {
        let bytes = sample().encode();
        for end in 0..bytes.len() {
            assert!(Envelope::decode(&bytes[..end]).is_err(), "cut at {end}");
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert!(Envelope::decode(&longer).is_err());
    }

    #[test]
    fn decoding_never_panics() {
        fn holds(mut bytes: Vec<u8>, flip: usize) -> bool {
            let _ = Envelope::decode(&bytes);
            bytes.insert(0, VERSION);
            let _ = Envelope::decode(&bytes);
            let mut near = sample().encode();
            let at = flip % near.len();
            near[at] = near[at].wrapping_add(bytes[bytes.len() / 2]);
            let _ = Envelope::decode(&near);
            true
        }
        QuickCheck::new().tests(2000).quickcheck(holds as fn(Vec<u8>, usize) -> bool);
    }

    #[test]
    fn a_catalog_entry_comes_back_as_it_was() {
        let entry = Envelope {
            stamp: -1,
            seed: u128::MAX,
            command: Command::Catalog { to: CatalogVersion(2), from: CatalogVersion(1), deltas: vec![] },
        };
        assert_eq!(Envelope::decode(&entry.encode()).unwrap(), entry);
    }
}
