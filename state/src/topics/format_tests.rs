//! Golden bytes of what topics store, and decoders that meet any bytes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use highwater_sql::catalog::Operation;
use quickcheck::quickcheck;

use super::claims::{Claim, Offsets, Progress};
use super::consume::decode_progress;
use super::partition::{Head, StoredMessage, decode_head, decode_message};
use crate::stored;

#[test]
fn a_head_has_fixed_bytes() {
    let head = Head { start: 1, end: 300, bytes: 5 };
    assert_eq!(stored::encode(&head), [1, 1, 0xAC, 2, 5]);
    assert_eq!(decode_head(0, Some(&[1, 1, 0xAC, 2, 5])), Ok(head));
}

#[test]
fn a_message_has_fixed_bytes() {
    let message = StoredMessage {
        key: Some("k".into()),
        payload: b"{}".to_vec(),
        timestamp: 1,
        user: None,
        operation: Operation::Delete,
    };
    let bytes = [1, 1, 1, b'k', 2, b'{', b'}', 2, 0, 2];
    assert_eq!(stored::encode(&message), bytes);
    assert_eq!(decode_message(0, &bytes), Ok(message));
}

#[test]
fn a_progress_has_fixed_bytes() {
    let claim = Claim {
        range: Offsets::new(5, 7),
        owner: "a".into(),
        until: 9,
        former: vec!["b".into()],
        former_forgotten: false,
    };
    let progress = Progress {
        floor: 3,
        committed: Some(2),
        settled: vec![Offsets::new(4, 5)],
        claims: vec![claim],
        updated_at: -1,
    };
    let bytes = [1, 3, 1, 2, 1, 4, 5, 1, 5, 7, 1, b'a', 18, 1, 1, b'b', 0, 1];
    assert_eq!(stored::encode(&progress), bytes);
    assert_eq!(decode_progress(0, Some(&bytes)), Ok(Some(progress)));
}

quickcheck! {
    fn any_bytes_are_a_value_or_an_error(bytes: Vec<u8>) -> bool {
        let mut bytes = bytes;
        bytes.insert(0, 1);
        let _ = decode_head(0, Some(&bytes));
        let _ = decode_message(0, &bytes);
        let _ = decode_progress(0, Some(&bytes));
        true
    }
}
