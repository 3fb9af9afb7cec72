//! What an idle replica costs: ten thousand of them sleep on one node.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use highwater_raft::{EntryKind, RawNode};

#[test]
fn an_idle_replica_fits_into_a_kibibyte_and_a_half() {
    let size = std::mem::size_of::<RawNode>();
    assert!(size <= 1536, "{size} bytes");
}

#[test]
fn kinds_of_entries_keep_their_codes() {
    let codes: Vec<u8> = [EntryKind::Normal, EntryKind::ConfChange, EntryKind::Noop].map(EntryKind::code).to_vec();
    assert_eq!(codes, [0, 1, 2]);
    assert!((0..=255).all(|code| EntryKind::from_code(code).is_none_or(|kind| kind.code() == code)));
    assert_eq!(EntryKind::from_code(3), None);
}
