//! Positions: the arithmetic of how far a source has shipped to a destination, and a destination has taken from a source.
//!
//! Owns both ends' decisions as values in, values out. Invariants: a destination's position per source only rises, and rises
//! only by a range that begins exactly there; an outbox forgets only what its destination has taken.

use serde::{Deserialize, Serialize};

/// Most bytes of records that may wait for one destination. Beyond it, writes whose records would go there are refused
/// (53400): a destination that takes nothing must not fill the source's disk.
pub const OUTBOX_LIMIT_BYTES: u64 = 64 << 20;

/// Most bytes of records that one entry may make for one destination: they travel in one log entry, which the store bounds.
/// A statement that would make more is refused (54000).
pub const ENTRY_LIMIT_BYTES: u64 = 12 << 20;

// A range of one such entry, with its frame, fits into an entry of the destination's log.
const _: () = assert!(ENTRY_LIMIT_BYTES as usize + (1 << 20) <= highwater_engine::MAX_ENTRY_BYTES);

/// What waits for a destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxPosition {
    /// Index of the last entry that had records for the destination; 0 before the first.
    pub head: u64,
    /// The destination has everything at or below this index, and the outbox has forgotten it.
    pub trimmed: u64,
    /// Bytes of all records ever appended.
    pub appended_bytes: u64,
    /// Bytes of those that were forgotten.
    pub trimmed_bytes: u64,
}

impl OutboxPosition {
    /// Bytes that wait.
    #[must_use]
    pub const fn waiting_bytes(&self) -> u64 {
        self.appended_bytes.saturating_sub(self.trimmed_bytes)
    }

    /// Whether records wait.
    #[must_use]
    pub const fn waiting(&self) -> bool {
        self.head > self.trimmed
    }

    /// Whether this many bytes more may wait.
    #[must_use]
    pub const fn has_room(&self, bytes: u64) -> bool {
        self.waiting_bytes().saturating_add(bytes) <= OUTBOX_LIMIT_BYTES
    }

    /// Takes the records of an entry.
    pub const fn append(&mut self, index: u64, bytes: u64) {
        self.head = index;
        self.appended_bytes = self.appended_bytes.saturating_add(bytes);
    }

    /// Forgets everything at or below `upto`, of which `before_rest` bytes were appended before the first record that is left.
    pub const fn trim(&mut self, upto: u64, before_rest: u64) {
        self.trimmed = upto;
        self.trimmed_bytes = before_rest;
    }
}

/// What a destination does with a range of a source's outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It begins where the inbox stands: take it, the inbox then stands at its end.
    Take,
    /// It was taken before: drop it.
    Duplicate,
    /// It begins elsewhere: refuse it, and say where the inbox stands.
    Gap,
}

/// What a destination whose inbox stands at `inbox` does with the range after `from` up to `to`.
#[must_use]
pub const fn judge(inbox: u64, from: u64, to: u64) -> Verdict {
    if to <= inbox {
        Verdict::Duplicate
    } else if from == inbox {
        Verdict::Take
    } else {
        Verdict::Gap
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

    use quickcheck::quickcheck;

    use super::*;
    use crate::stored;

    #[test]
    fn a_range_that_reaches_no_further_is_dropped_and_one_that_starts_elsewhere_refused() {
        assert_eq!(judge(5, 5, 9), Verdict::Take);
        assert_eq!(judge(5, 0, 5), Verdict::Duplicate);
        assert_eq!(judge(5, 6, 9), Verdict::Gap);
        assert_eq!(judge(5, 3, 9), Verdict::Gap, "what overlaps is cut by the source, not here");
        assert_eq!(judge(0, 0, 0), Verdict::Duplicate);
    }

    #[test]
    fn the_position_has_fixed_bytes() {
        let position = OutboxPosition { head: 9, trimmed: 7, appended_bytes: 300, trimmed_bytes: 100 };
        assert_eq!(stored::encode(&position), [1, 9, 7, 0xAC, 2, 100]);
        assert_eq!(stored::decode(0, "a position", &[1, 9, 7, 0xAC, 2, 100]), Ok(position));
    }

    quickcheck! {
        fn taken_ranges_cover_every_index_once(ranges: Vec<(u8, u8)>) -> bool {
            let mut inbox = 0;
            let mut times = vec![0u32; 300];
            for (from, len) in ranges {
                let (from, to) = (u64::from(from), u64::from(from) + u64::from(len % 32));
                if judge(inbox, from, to) == Verdict::Take {
                    (from + 1..=to).for_each(|index| times[index as usize] += 1);
                    inbox = to;
                }
            }
            (1..300).all(|index| times[index as usize] == u32::from(index <= inbox))
        }
    }
}
