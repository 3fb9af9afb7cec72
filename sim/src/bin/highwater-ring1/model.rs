//! What a store must hold: the log of every group, and the content that its entries add up to.
//!
//! Pure. A log is what was appended, nothing else; the content is what an ordered map holds after the same batches.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use highwater_engine::{GroupId, HardState, LogEntry, LogIndex, Operation, Term, WriteBatch};

/// Keys and values of the whole store.
pub type Content = BTreeMap<Bytes, Bytes>;

/// One logged entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its term.
    pub term: Term,
    /// An encoded batch.
    pub data: Bytes,
}

/// The log of one group since it began; index 1 comes first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupModel {
    /// All entries.
    pub entries: Vec<Entry>,
    /// The newest hard state.
    pub hard_state: HardState,
}

impl GroupModel {
    /// The last index.
    pub fn last(&self) -> u64 {
        self.entries.len() as u64
    }

    /// The committed index, as far as it is held.
    pub fn committed(&self) -> u64 {
        self.hard_state.commit.0.min(self.last())
    }

    /// The entry at an index.
    pub fn get(&self, index: u64) -> Option<&Entry> {
        self.entries.get(usize::try_from(index.checked_sub(1)?).ok()?)
    }
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
                group.entries.truncate(usize::try_from(change.first.saturating_sub(1)).unwrap_or(usize::MAX));
                group.entries.extend(change.entries.iter().cloned());
            }
            if let Some(hard_state) = change.hard_state {
                group.hard_state = hard_state;
            }
        }
        next
    }

    /// The group's log; an empty one if there is none.
    pub fn group(&self, group: GroupId) -> GroupModel {
        self.groups.get(&group).cloned().unwrap_or_default()
    }

    /// The content that the entries of each group up to an index add up to.
    pub fn content(&self, upto: &BTreeMap<GroupId, u64>) -> Content {
        let mut content = Content::new();
        for (group, log) in &self.groups {
            let count = usize::try_from(upto.get(group).copied().unwrap_or(0)).unwrap_or(usize::MAX);
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
            Operation::Put { key, value, .. } => {
                content.insert(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
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

/// The first difference between two contents, in words.
pub fn content_difference(found: &Content, expected: &Content) -> Option<String> {
    let text = |value: Option<&Bytes>| {
        value.map_or("nothing".to_owned(), |value| {
            let head: Vec<u8> = value.iter().copied().take(12).collect();
            format!("{} bytes {:?}", value.len(), String::from_utf8_lossy(&head))
        })
    };
    found.keys().chain(expected.keys()).find(|key| found.get(*key) != expected.get(*key)).map(|key| {
        format!(
            "key {:?} holds {} and should hold {}",
            String::from_utf8_lossy(key),
            text(found.get(key)),
            text(expected.get(key))
        )
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    fn entry(term: u64, key: &str) -> Entry {
        let mut batch = WriteBatch::new();
        batch.put(key, "v");
        Entry { term: Term(term), data: batch.encode().into() }
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
        one.insert(Bytes::from_static(b"k"), Bytes::from_static(b"v"));
        assert_eq!(content_difference(&one, &one), None);
        assert_eq!(content_difference(&one, &two).unwrap(), "key \"k\" holds 1 bytes \"v\" and should hold nothing");
    }
}
