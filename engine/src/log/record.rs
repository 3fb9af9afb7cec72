//! The records inside commit blocks.
//!
//! ```text
//! 1 entries      group varint | incarnation u64 | first varint | count u32 | count x { term varint | length varint | bytes }
//! 2 hard state   group varint | term varint | vote varint | commit varint
//! 3 start        group varint | incarnation u64 | start varint | start term varint
//! 4 relocated    as entries
//! 5 checkpoint   group varint | incarnation u64 | term varint | vote varint | commit varint | start varint | start term varint
//! ```
//!
//! *Entries* at index i replace whatever the group held at or above i. *Relocated* entries are the log of their group from the first of them on,
//! repeated so that old segments can be freed; what the group holds before them stays. *Start* begins another life of a group whose log continues after `start`.
//! *Checkpoint* repeats a group's state at the head of each segment, so that no other record has to outlive its segment.

use bytes::Bytes;

use crate::codec::{Malformed, Reader, put_prefixed, put_varint};
use crate::ids::{GroupId, Incarnation, LogIndex, Term};

const ENTRIES: u8 = 1;
const HARD_STATE: u8 = 2;
const START: u8 = 3;
const RELOCATED: u8 = 4;
const CHECKPOINT: u8 = 5;

/// What a Raft group must remember before it answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    /// The newest term seen.
    pub term: Term,
    /// The node voted for in that term; 0 is none.
    pub vote: u64,
    /// A lower bound of the committed index.
    pub commit: LogIndex,
}

/// One entry inside a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// The entry's term.
    pub term: Term,
    /// Offset of its bytes in the payload.
    pub at: usize,
    /// Its bytes.
    pub data: Bytes,
}

/// A record, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// Entries that replace everything at or above `first`.
    Entries {
        /// The group.
        group: GroupId,
        /// The replica's life.
        incarnation: Incarnation,
        /// Index of the first entry.
        first: LogIndex,
        /// The entries.
        entries: Vec<Located>,
    },
    /// The group's hard state from now on.
    HardState {
        /// The group.
        group: GroupId,
        /// The state.
        state: HardState,
    },
    /// Another life of the group.
    Start {
        /// The group.
        group: GroupId,
        /// Its new life.
        incarnation: Incarnation,
        /// The log continues after this index.
        start: LogIndex,
        /// Term of the entry at `start`.
        start_term: Term,
    },
    /// The group's whole log, again.
    Relocated {
        /// The group.
        group: GroupId,
        /// The replica's life.
        incarnation: Incarnation,
        /// Index of the first entry.
        first: LogIndex,
        /// The entries.
        entries: Vec<Located>,
    },
    /// The group's state when the segment was started.
    Checkpoint {
        /// The group.
        group: GroupId,
        /// The replica's life.
        incarnation: Incarnation,
        /// The hard state.
        state: HardState,
        /// The last index that is no longer held.
        start: LogIndex,
        /// Its term.
        start_term: Term,
    },
}

impl Record {
    /// The group that it speaks of.
    #[must_use]
    pub const fn group(&self) -> GroupId {
        match self {
            Self::Entries { group, .. }
            | Self::Relocated { group, .. }
            | Self::HardState { group, .. }
            | Self::Start { group, .. }
            | Self::Checkpoint { group, .. } => *group,
        }
    }
}

/// Bytes of a checkpoint record at most.
pub(crate) const CHECKPOINT_MOST: usize = 1 + 5 + 8 + 5 * 10;

/// Where the count of an open entries record is, to be patched when it closes.
#[derive(Debug)]
pub(crate) struct OpenEntries {
    count_at: usize,
    count: u32,
}

/// Begins an entries record.
pub(crate) fn open_entries(
    out: &mut Vec<u8>,
    relocated: bool,
    group: GroupId,
    incarnation: Incarnation,
    first: LogIndex,
) -> OpenEntries {
    out.push(if relocated { RELOCATED } else { ENTRIES });
    put_varint(out, u64::from(group.0));
    out.extend_from_slice(&incarnation.0.to_le_bytes());
    put_varint(out, first.0);
    let count_at = out.len();
    out.extend_from_slice(&[0; 4]);
    OpenEntries { count_at, count: 0 }
}

impl OpenEntries {
    /// Adds an entry and returns the offset of its bytes.
    pub(crate) fn push(&mut self, out: &mut Vec<u8>, term: Term, data: &[u8]) -> usize {
        put_varint(out, term.0);
        put_prefixed(out, data);
        self.count += 1;
        out.len() - data.len()
    }

    /// Writes the present count, so that the record is whole as it stands.
    pub(crate) fn patch_count(&self, out: &mut [u8]) {
        crate::codec::patch(out, self.count_at, &self.count.to_le_bytes());
    }

    /// Bytes of a record that ends at `end`, about.
    pub(crate) const fn bytes(&self, end: usize) -> usize {
        end.saturating_sub(self.count_at)
    }

    /// Ends the record.
    pub(crate) fn close(self, out: &mut [u8]) {
        self.patch_count(out);
    }
}

/// Appends a hard-state record.
pub(crate) fn put_hard_state(out: &mut Vec<u8>, group: GroupId, state: &HardState) {
    out.push(HARD_STATE);
    put_varint(out, u64::from(group.0));
    put_varint(out, state.term.0);
    put_varint(out, state.vote);
    put_varint(out, state.commit.0);
}

/// Appends a start record.
pub(crate) fn put_start(
    out: &mut Vec<u8>,
    group: GroupId,
    incarnation: Incarnation,
    start: LogIndex,
    start_term: Term,
) {
    out.push(START);
    put_varint(out, u64::from(group.0));
    out.extend_from_slice(&incarnation.0.to_le_bytes());
    put_varint(out, start.0);
    put_varint(out, start_term.0);
}

/// Appends a checkpoint record.
pub(crate) fn put_checkpoint(
    out: &mut Vec<u8>,
    group: GroupId,
    incarnation: Incarnation,
    state: &HardState,
    start: LogIndex,
    start_term: Term,
) {
    out.push(CHECKPOINT);
    put_varint(out, u64::from(group.0));
    out.extend_from_slice(&incarnation.0.to_le_bytes());
    put_varint(out, state.term.0);
    put_varint(out, state.vote);
    put_varint(out, state.commit.0);
    put_varint(out, start.0);
    put_varint(out, start_term.0);
}

/// Reads the `count` records of a payload, which must fill it.
///
/// # Errors
/// On bytes that are no records.
pub fn decode(payload: &Bytes, count: u32) -> Result<Vec<Record>, Malformed> {
    let mut reader = Reader::new(payload);
    let mut records = Vec::new();
    for _ in 0..count {
        records.push(read(&mut reader, payload)?);
    }
    if !reader.is_empty() {
        return Err(reader.error("bytes after the last record"));
    }
    Ok(records)
}

fn read_group(reader: &mut Reader<'_>) -> Result<GroupId, Malformed> {
    let error = reader.error("a group id exceeds 32 bits");
    reader.varint().and_then(|id| u32::try_from(id).map_err(|_| error)).map(GroupId)
}

fn read_hard_state(reader: &mut Reader<'_>) -> Result<HardState, Malformed> {
    Ok(HardState { term: Term(reader.varint()?), vote: reader.varint()?, commit: LogIndex(reader.varint()?) })
}

fn read(reader: &mut Reader<'_>, payload: &Bytes) -> Result<Record, Malformed> {
    let unknown = reader.error("an unknown kind of record");
    let kind = reader.u8()?;
    let group = read_group(reader)?;
    match kind {
        ENTRIES | RELOCATED => {
            let incarnation = Incarnation(reader.u64()?);
            let first = LogIndex(reader.varint()?);
            let count = reader.u32()?;
            if first.0 == 0 || first.0.checked_add(u64::from(count)).is_none() {
                return Err(reader.error("entries outside the range of indexes"));
            }
            let mut entries = Vec::new();
            for _ in 0..count {
                let term = Term(reader.varint()?);
                let data = reader.prefixed()?;
                let at = reader.position() - data.len();
                entries.push(Located { term, at, data: payload.slice(at..reader.position()) });
            }
            Ok(if kind == ENTRIES {
                Record::Entries { group, incarnation, first, entries }
            } else {
                Record::Relocated { group, incarnation, first, entries }
            })
        }
        HARD_STATE => Ok(Record::HardState { group, state: read_hard_state(reader)? }),
        START => Ok(Record::Start {
            group,
            incarnation: Incarnation(reader.u64()?),
            start: LogIndex(reader.varint()?),
            start_term: Term(reader.varint()?),
        }),
        CHECKPOINT => Ok(Record::Checkpoint {
            group,
            incarnation: Incarnation(reader.u64()?),
            state: read_hard_state(reader)?,
            start: LogIndex(reader.varint()?),
            start_term: Term(reader.varint()?),
        }),
        _ => Err(unknown),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    const GROUP: GroupId = GroupId(3);
    const LIFE: Incarnation = Incarnation(1);

    #[test]
    fn records_have_fixed_bytes_and_come_back() {
        let mut out = Vec::new();
        let mut open = open_entries(&mut out, false, GROUP, LIFE, LogIndex(5));
        let at = open.push(&mut out, Term(2), b"xy");
        open.close(&mut out);
        assert_eq!(out, b"\x01\x03\x01\0\0\0\0\0\0\0\x05\x01\0\0\0\x02\x02xy");
        assert_eq!(at, 17);
        let state = HardState { term: Term(2), vote: 9, commit: LogIndex(4) };
        put_hard_state(&mut out, GROUP, &state);
        put_start(&mut out, GROUP, LIFE, LogIndex(7), Term(2));
        put_checkpoint(&mut out, GROUP, LIFE, &state, LogIndex(4), Term(1));
        assert_eq!(&out[19..24], b"\x02\x03\x02\x09\x04");
        assert_eq!(&out[24..36], b"\x03\x03\x01\0\0\0\0\0\0\0\x07\x02");
        assert_eq!(&out[36..], b"\x05\x03\x01\0\0\0\0\0\0\0\x02\x09\x04\x04\x01");
        let payload = Bytes::from(out);
        let records = decode(&payload, 4).unwrap();
        assert_eq!(
            records[0],
            Record::Entries {
                group: GROUP,
                incarnation: LIFE,
                first: LogIndex(5),
                entries: vec![Located { term: Term(2), at: 17, data: Bytes::from_static(b"xy") }],
            }
        );
        assert_eq!(records[1], Record::HardState { group: GROUP, state });
        assert!(decode(&payload, 3).is_err(), "bytes are left");
        assert!(decode(&payload, 5).is_err(), "a record is missing");
    }

    #[test]
    fn no_bytes_make_the_decoder_panic() {
        fn property(bytes: Vec<u8>, count: u32) -> bool {
            let _ = decode(&Bytes::from(bytes), count % 100);
            true
        }
        quickcheck::quickcheck(property as fn(Vec<u8>, u32) -> bool);
    }
}
