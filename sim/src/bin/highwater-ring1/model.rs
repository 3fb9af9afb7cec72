//! What a store must hold: the log of every group, and the content that its entries add up to.
//!
//! Pure. A log is what was appended, behind what was taken in whole; the content is what an ordered map holds after the same batches. A
//! value that has expired may be there or not; if it is, it is the newest one.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use highwater_engine::{Expiry, GroupId, HardState, Incarnation, LogEntry, LogIndex, Operation, Term, WriteBatch};

use crate::clocks::Clocks;
use crate::workload::LIFE;

/// A value, and when it has expired.
pub type Held = (Bytes, Expiry);

/// Keys and values of the whole store.
pub type Content = BTreeMap<Bytes, Held>;

/// One logged entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its term.
    pub term: Term,
    /// An encoded batch.
    pub data: Bytes,
    /// Its group's log time when it was first applied, once it was.
    pub applied_at: Option<u64>,
}

impl Entry {
    /// One that was not applied yet.
    pub const fn new(term: Term, data: Bytes) -> Self {
        Self { term, data, applied_at: None }
    }
}

/// The log of one group since it began, or since its content was replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupModel {
    /// The replica's life.
    pub incarnation: Incarnation,
    /// What the log continues: index and term of the last entry whose effects were taken in whole.
    pub start: (u64, Term),
    /// What was taken in.
    pub base: Arc<Content>,
    /// All entries behind that.
    pub entries: Vec<Entry>,
    /// The newest hard state.
    pub hard_state: HardState,
}

impl Default for GroupModel {
    fn default() -> Self {
        let hard_state = HardState::default();
        Self { incarnation: LIFE, start: (0, Term(0)), base: Arc::default(), entries: Vec::new(), hard_state }
    }
}

impl GroupModel {
    /// The last index.
    pub fn last(&self) -> u64 {
        self.start.0 + self.entries.len() as u64
    }

    /// The committed index, as far as it is held.
    pub fn committed(&self) -> u64 {
        self.hard_state.commit.0.min(self.last()).max(self.start.0)
    }

    /// The highest term that the group knows, at least 1.
    pub fn term(&self) -> u64 {
        self.hard_state.term.0.max(self.start.1.0).max(1)
    }

    /// The entry at an index.
    pub fn get(&self, index: u64) -> Option<&Entry> {
        self.entries.get(usize::try_from(index.checked_sub(self.start.0 + 1)?).ok()?)
    }
}

/// What takes the place of all that a group has.
#[derive(Clone, Debug)]
pub struct Replacement {
    /// The group.
    pub group: GroupId,
    /// The life that begins or goes on.
    pub incarnation: Incarnation,
    /// Index and term of the last entry whose effects are in the content.
    pub start: (u64, Term),
    /// The content.
    pub base: Arc<Content>,
}

/// The logs of all groups at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogModel {
    /// Every group that was ever written.
    pub groups: BTreeMap<GroupId, GroupModel>,
}

/// What one append changes in one group.
#[derive(Clone, Debug)]
pub struct Change {
    /// The group.
    pub group: GroupId,
    /// Index of the first entry; what was at or above it is replaced.
    pub first: u64,
    /// The entries.
    pub entries: Vec<Entry>,
    /// The hard state after them, unless it stays.
    pub hard_state: Option<HardState>,
}

impl LogModel {
    /// The logs after some changes.
    pub fn after(&self, changes: &[Change]) -> Self {
        let mut next = self.clone();
        for change in changes {
            let group = next.groups.entry(change.group).or_default();
            if !change.entries.is_empty() {
                let kept = change.first.saturating_sub(group.start.0 + 1);
                group.entries.truncate(usize::try_from(kept).unwrap_or(usize::MAX));
                group.entries.extend(change.entries.iter().cloned());
            }
            if let Some(hard_state) = change.hard_state {
                group.hard_state = hard_state;
            }
        }
        next
    }

    /// The logs after a group was replaced. Its hard state stays if its life goes on.
    pub fn replaced(&self, with: Replacement) -> Self {
        let mut next = self.clone();
        let Replacement { group, incarnation, start, base } = with;
        let before = next.group(group);
        let hard_state = if before.incarnation == incarnation { before.hard_state } else { HardState::default() };
        next.groups.insert(group, GroupModel { incarnation, start, base, entries: Vec::new(), hard_state });
        next
    }

    /// Notes that everything committed is applied by now.
    pub fn note_applied(&mut self, clocks: &Clocks) {
        for (group, log) in &mut self.groups {
            let (committed, now) = (log.committed() - log.start.0, clocks.now(*group));
            let committed = usize::try_from(committed).unwrap_or(usize::MAX);
            let entries = log.entries.iter_mut().take(committed).rev();
            entries.take_while(|entry| entry.applied_at.is_none()).for_each(|entry| entry.applied_at = Some(now));
        }
    }

    /// The log times at which the entries behind these were first applied: what had not expired by then must be there for them when
    /// they are applied again. It is now for groups that have none.
    pub fn clocks_behind(&self, applied: &BTreeMap<GroupId, u64>, now: &Clocks) -> Clocks {
        let next = |group: &GroupId| self.groups.get(group)?.get(applied.get(group).copied().unwrap_or(0) + 1);
        let mut then = Clocks::default();
        for (group, now) in now.iter() {
            then.advance(group, next(&group).and_then(|entry| entry.applied_at).unwrap_or(now));
        }
        then
    }

    /// The group's log; an empty one if there is none.
    pub fn group(&self, group: GroupId) -> GroupModel {
        self.groups.get(&group).cloned().unwrap_or_default()
    }

    /// The content that the entries of each group up to an index add up to.
    pub fn content(&self, upto: &BTreeMap<GroupId, u64>) -> Content {
        let mut content = Content::new();
        for (group, log) in &self.groups {
            content.extend(log.base.iter().map(|(key, held)| (key.clone(), held.clone())));
            let count = upto.get(group).copied().unwrap_or(0).saturating_sub(log.start.0);
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            log.entries.iter().take(count).for_each(|entry| apply(&mut content, &entry.data));
        }
        content
    }

    /// The first difference between a group's log here and one that was found, if there is one.
    pub fn difference(&self, group: GroupId, found: &FoundLog) -> Option<String> {
        let log = self.group(group);
        if found.last != log.last() {
            return Some(format!("{group}: the log ends at {}, not at {}", found.last, log.last()));
        }
        if found.last > 0 && found.incarnation != log.incarnation {
            return Some(format!("{group}: {:?}, not {:?}", found.incarnation, log.incarnation));
        }
        if found.hard_state != log.hard_state {
            return Some(format!("{group}: {:?}, not {:?}", found.hard_state, log.hard_state));
        }
        found.entries.iter().find_map(|entry| {
            let LogEntry { index: LogIndex(index), term, data } = entry;
            match log.get(*index) {
                Some(held) if held.term == *term && held.data == *data => None,
                Some(held) if held.term != *term => {
                    Some(format!("{group}: entry {index} has {term}, not {}", held.term))
                }
                Some(_) => Some(format!("{group}: entry {index} has other bytes than were appended")),
                None => Some(format!("{group}: entry {index} was never appended")),
            }
        })
    }
}

/// A group's log as a store holds it.
#[derive(Clone, Debug, Default)]
pub struct FoundLog {
    /// The replica's life.
    pub incarnation: Incarnation,
    /// The last index.
    pub last: u64,
    /// The hard state.
    pub hard_state: HardState,
    /// The entries that are held.
    pub entries: Vec<LogEntry>,
}

/// Lets an encoded batch take effect in a map.
pub fn apply(content: &mut Content, encoded: &Bytes) {
    let Ok(batch) = WriteBatch::decode(encoded.to_vec()) else { return };
    for operation in batch.operations() {
        match operation {
            Operation::Put { key, value, expires_at } => {
                content.insert(Bytes::copy_from_slice(key), (Bytes::copy_from_slice(value), expires_at));
            }
            Operation::Delete { key } => {
                content.remove(key);
            }
            Operation::DeleteRange { start, end } => {
                if start < end {
                    let range = (Bound::Included(start), Bound::Excluded(end));
                    let gone: Vec<Bytes> = content.range::<[u8], _>(range).map(|(key, _)| key.clone()).collect();
                    gone.iter().for_each(|key| {
                        content.remove(key);
                    });
                }
            }
        }
    }
}

/// A key as it is shown.
pub fn shown(key: &[u8]) -> String {
    format!("\"{}\"", key.escape_ascii())
}

/// Whether a reader may find this: the right value, or nothing in place of one that has expired.
pub fn is_right(key: &[u8], found: Option<&Held>, expected: Option<&Held>, clocks: &Clocks) -> bool {
    match (found, expected) {
        (None, Some((_, expires_at))) => clocks.has_expired(key, *expires_at),
        (found, expected) => found == expected,
    }
}

/// The first difference between two contents at a log time, in words.
pub fn content_difference(found: &Content, expected: &Content, clocks: &Clocks) -> Option<String> {
    let text = |held: Option<&Held>| {
        held.map_or("nothing".to_owned(), |(value, expires_at)| {
            let head: Vec<u8> = value.iter().copied().take(12).collect();
            let until = if *expires_at == Expiry::NEVER { String::new() } else { format!(" until {}", expires_at.0) };
            format!("{} bytes {:?}{until}", value.len(), String::from_utf8_lossy(&head))
        })
    };
    let wrong = |key: &&Bytes| !is_right(key, found.get(*key), expected.get(*key), clocks);
    found.keys().chain(expected.keys()).find(wrong).map(|key| {
        format!("key {} holds {} and should hold {}", shown(key), text(found.get(key)), text(expected.get(key)))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    fn entry(term: u64, key: &str) -> Entry {
        let mut batch = WriteBatch::new();
        batch.put(key, "v");
        Entry::new(Term(term), batch.encode().into())
    }

    #[test]
    fn an_append_replaces_what_is_at_or_above_its_first_index() {
        let group = GroupId(1);
        let change = |first, entries| Change { group, first, entries, hard_state: None };
        let log = LogModel::default().after(&[change(1, vec![entry(1, "a"), entry(1, "b"), entry(1, "c")])]);
        let log = log.after(&[change(2, vec![entry(2, "d")])]);
        assert_eq!(log.group(group).last(), 2);
        let content = log.content(&BTreeMap::from([(group, 2)]));
        assert_eq!(content.keys().collect::<Vec<_>>(), ["a", "d"]);
    }

    #[test]
    fn a_difference_names_the_first_key_that_differs() {
        let (mut one, two) = (Content::new(), Content::new());
        one.insert(Bytes::from_static(b"k"), (Bytes::from_static(b"v"), Expiry::NEVER));
        let difference = |found, expected| content_difference(found, expected, &Clocks::default());
        assert_eq!(difference(&one, &one), None);
        assert_eq!(difference(&one, &two).unwrap(), "key \"k\" holds 1 bytes \"v\" and should hold nothing");
    }

    #[test]
    fn what_has_expired_may_be_missing_and_nothing_older_may_show() {
        let key = Bytes::from_static(b"\0\0\0\x01k");
        let of = |value: &'static str, at| Content::from([(key.clone(), (Bytes::from_static(value.as_bytes()), at))]);
        let mut clocks = Clocks::default();
        let fine = |found: &Content, clocks: &Clocks| content_difference(found, &of("v", Expiry(7)), clocks).is_none();
        assert!(!fine(&Content::new(), &clocks), "not yet");
        clocks.advance(GroupId(1), 7);
        assert!(fine(&Content::new(), &clocks) && fine(&of("v", Expiry(7)), &clocks));
        assert!(!fine(&of("older", Expiry::NEVER), &clocks));
    }

    #[test]
    fn what_expired_behind_the_first_entry_to_be_applied_again_must_be_there() {
        let group = GroupId(1);
        let change = |first, entries: Vec<Entry>| {
            let commit = LogIndex(first + entries.len() as u64 - 1);
            Change { group, first, entries, hard_state: Some(HardState { term: Term(1), vote: 1, commit }) }
        };
        let mut clocks = Clocks::default();
        clocks.advance(group, 5);
        let mut log = LogModel::default().after(&[change(1, vec![entry(1, "a")])]);
        log.note_applied(&clocks);
        clocks.advance(group, 5);
        let mut log = log.after(&[change(2, vec![entry(1, "b"), entry(1, "c")])]);
        log.note_applied(&clocks);
        clocks.advance(group, 5);
        let behind = |applied| log.clocks_behind(&BTreeMap::from([(group, applied)]), &clocks).now(group);
        assert_eq!([0, 1, 2, 3].map(behind), [5, 10, 10, 15]);
    }

    #[test]
    fn a_replaced_group_goes_on_behind_what_it_took_in() {
        let group = GroupId(1);
        let change = |first, entries| Change { group, first, entries, hard_state: None };
        let log = LogModel::default().after(&[change(1, vec![entry(1, "a"), entry(1, "b")])]);
        let base = Arc::new(Content::from([(Bytes::from_static(b"z"), (Bytes::new(), Expiry::NEVER))]));
        let log = log.replaced(Replacement { group, incarnation: Incarnation(2), start: (9, Term(3)), base });
        let log = log.after(&[change(10, vec![entry(4, "c")])]);
        assert_eq!((log.group(group).last(), log.group(group).committed(), log.group(group).term()), (10, 9, 3));
        let content = log.content(&BTreeMap::from([(group, 10)]));
        assert_eq!(content.keys().collect::<Vec<_>>(), ["c", "z"]);
        assert_eq!(log.content(&BTreeMap::from([(group, 9)])).len(), 1);
    }
}
