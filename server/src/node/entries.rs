//! Entries as the store's log keeps them, which knows bytes only: what an entry is for is in its first byte.
//!
//! ```text
//! empty                    the no-op that opens a leader's term
//! 0xFF | change            a change of membership, in the Raft crate's encoding
//! version | ...            a command: crate state's envelope, whose version is never 0xFF
//! ```

use bytes::{BufMut as _, Bytes, BytesMut};
use highwater_engine::LogEntry;
use highwater_raft as raft;

/// First byte of a change of membership.
const CHANGE: u8 = 0xFF;
const _: () = assert!(highwater_state::ENTRY_VERSION != CHANGE, "a command would be taken for a change of membership");

/// What the log keeps of an entry, beside its index and term.
pub(super) fn to_log(entry: &raft::Entry) -> Bytes {
    match entry.kind {
        raft::EntryKind::Normal => entry.data.clone(),
        raft::EntryKind::Noop => Bytes::new(),
        raft::EntryKind::ConfChange => {
            let mut data = BytesMut::with_capacity(1 + entry.data.len());
            data.put_u8(CHANGE);
            data.put_slice(&entry.data);
            data.freeze()
        }
    }
}

/// The entry that the log keeps so.
pub(super) fn from_log(entry: LogEntry) -> raft::Entry {
    let (kind, data) = match entry.data.first() {
        None => (raft::EntryKind::Noop, Bytes::new()),
        Some(&CHANGE) => (raft::EntryKind::ConfChange, entry.data.slice(1..)),
        Some(_) => (raft::EntryKind::Normal, entry.data),
    };
    raft::Entry { index: raft::LogIndex(entry.index.0), term: raft::Term(entry.term.0), kind, data }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use highwater_engine as engine;

    use super::*;

    #[test]
    fn every_kind_of_entry_comes_back_from_the_log_as_it_was() {
        let change = raft::MembershipChange::leave().encode();
        let command = Bytes::from_static(&[highwater_state::ENTRY_VERSION, 7]);
        let kinds = [
            (raft::EntryKind::Noop, Bytes::new(), vec![]),
            (raft::EntryKind::Normal, command.clone(), command.to_vec()),
            (raft::EntryKind::ConfChange, change.clone(), [&[0xFF], &change[..]].concat()),
        ];
        for (kind, data, kept) in kinds {
            let entry = raft::Entry { index: raft::LogIndex(3), term: raft::Term(2), kind, data };
            assert_eq!(to_log(&entry), kept);
            let (index, term) = (engine::LogIndex(3), engine::Term(2));
            assert_eq!(from_log(LogEntry { index, term, data: to_log(&entry) }), entry);
        }
    }
}
