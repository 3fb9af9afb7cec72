//! The log's records, one after the other, as recovery takes them.

use std::collections::BTreeMap;

use crate::ids::{GroupId, Incarnation, LogIndex, Term};
use crate::log::group::GroupLog;
use crate::log::record::{HardState, Record};
use crate::log::state::{BlockPlace, LogState};
use crate::manifest::edit::GroupMark;

/// What the log says of a group, at the end of the replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupFacts {
    /// The replica's life.
    pub incarnation: Incarnation,
    /// The newest hard state.
    pub hard_state: HardState,
    /// The last index that is no longer held.
    pub start: LogIndex,
    /// The last index held; `start` when none is.
    pub last: LogIndex,
    /// The tables contain the effects up to this.
    pub flushed: LogIndex,
    /// Entries held.
    pub entries: usize,
    /// Bytes of their data.
    pub entry_bytes: u64,
    /// The oldest segment that holds one of them.
    pub oldest_segment: Option<u64>,
    /// Entries between `start` and the first one held are missing.
    pub has_gap: bool,
}

/// The index of all groups' entries under construction.
pub struct LogReplay(LogState<()>);

impl LogReplay {
    /// A replay over what the manifest knows of the groups; over nothing when there is no manifest.
    #[must_use]
    pub fn new(marks: &BTreeMap<GroupId, GroupMark>) -> Self {
        let group = |mark: &GroupMark| {
            let mut log = GroupLog::starting(mark.incarnation, mark.start, mark.start_term);
            (log.flushed, log.since) = (mark.flushed, mark.since);
            log
        };
        Self(LogState::new(marks.iter().map(|(id, mark)| (*id, group(mark))).collect()))
    }

    /// Begins to take the records of the block of this sequence; groups that a snapshot has replaced begin anew behind what it
    /// made void. After the last block of a log, once more with the highest number there is.
    pub fn enter_block(&mut self, sequence: u64) {
        self.0.enter_block(sequence);
    }

    /// Takes a record of a block that lies at `offset` of `segment` and has `bytes` bytes.
    pub fn apply(&mut self, record: Record, segment: u64, offset: u64, bytes: usize) {
        self.0.apply(record, &BlockPlace { segment, offset, bytes, payload_start: 0 }, 0);
    }

    /// Every group that the log or the manifest knows.
    #[must_use]
    pub fn groups(&self) -> BTreeMap<GroupId, GroupFacts> {
        self.0.groups.iter().map(|(group, log)| (*group, facts(log))).collect()
    }

    /// The term of a held entry.
    #[must_use]
    pub fn term_of(&self, group: GroupId, index: LogIndex) -> Option<Term> {
        self.0.groups.get(&group)?.term_of(index)
    }
}

fn facts(log: &GroupLog) -> GroupFacts {
    GroupFacts {
        incarnation: log.incarnation,
        hard_state: log.hard_state,
        start: log.start,
        last: log.last(),
        flushed: log.flushed,
        entries: log.entry_count(),
        entry_bytes: log.entry_bytes(),
        oldest_segment: log.oldest_segment(),
        has_gap: log.has_gap(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use bytes::Bytes;

    use super::*;
    use crate::log::record::Located;

    #[test]
    fn a_replay_ends_where_recovery_would() {
        let (group, incarnation) = (GroupId(4), Incarnation(1));
        let mark = GroupMark { incarnation, flushed: LogIndex(6), start: LogIndex(5), start_term: Term(1), since: 0 };
        let mut replay = LogReplay::new(&BTreeMap::from([(group, mark)]));
        let entry = Located { term: Term(2), at: 9, data: Bytes::from_static(b"xy") };
        let entries = vec![entry.clone(), entry.clone(), entry];
        replay.apply(Record::Entries { group, incarnation, first: LogIndex(5), entries }, 3, 4096, 4096);
        let facts = replay.groups()[&group];
        assert_eq!((facts.start, facts.last, facts.flushed), (LogIndex(5), LogIndex(7), LogIndex(6)));
        assert_eq!((facts.entries, facts.entry_bytes, facts.oldest_segment), (2, 4, Some(3)));
        assert!(!facts.has_gap);
        assert_eq!(replay.term_of(group, LogIndex(7)), Some(Term(2)));
    }
}
