//! What the server must answer: models of a user's rows, of a counter, and of the messages that changes cause.
//!
//! One client changes a user's rows, one statement after the other, so the model is exact: what it holds is what must be read.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What a change of a row was, as topics name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new row.
    Insert,
    /// A changed one.
    Update,
    /// A removed one.
    Delete,
}

impl Change {
    /// As a message names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Insert => "Insert",
            Self::Update => "Update",
            Self::Delete => "Delete",
        }
    }
}

/// A change that has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Happened {
    /// Number of its statement among the user's statements, rising.
    pub statement: u64,
    /// What.
    pub change: Change,
    /// The row's key.
    pub key: i64,
    /// The row's version: the new one, or the last one of a removed row.
    pub version: i64,
}

/// The rows of one user: key and version. A row's other columns follow from these.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    rows: BTreeMap<i64, i64>,
    happened: Vec<Happened>,
    /// Keys whose state nobody knows: a statement about them may still be applied at any time.
    unclear: BTreeSet<i64>,
    statements: u64,
}

impl Rows {
    /// The version of a row.
    #[must_use]
    pub fn get(&self, key: i64) -> Option<i64> {
        self.rows.get(&key).copied()
    }

    /// Rows with `from <= key < to`, in order.
    #[must_use]
    pub fn range(&self, from: i64, to: i64) -> Vec<(i64, i64)> {
        self.rows.range(from..to.max(from)).map(|(key, version)| (*key, *version)).collect()
    }

    /// Every row.
    #[must_use]
    pub fn all(&self) -> Vec<(i64, i64)> {
        self.rows.iter().map(|(key, version)| (*key, *version)).collect()
    }

    /// Takes the changes of one statement that was applied.
    pub fn apply(&mut self, changes: &[(Change, i64, i64)]) {
        self.statements += 1;
        for (change, key, version) in changes {
            match change {
                Change::Insert | Change::Update => self.rows.insert(*key, *version),
                Change::Delete => self.rows.remove(key),
            };
            let (change, key, version) = (*change, *key, *version);
            self.happened.push(Happened { statement: self.statements, change, key, version });
        }
    }

    /// Gives up on keys: they are not looked at any more.
    pub fn give_up(&mut self, keys: impl IntoIterator<Item = i64>) {
        self.unclear.extend(keys);
    }

    /// Whether nothing is known about a key.
    #[must_use]
    pub fn is_unclear(&self, key: i64) -> bool {
        self.unclear.contains(&key)
    }

    /// Keys that nothing is known about.
    #[must_use]
    pub const fn unclear(&self) -> &BTreeSet<i64> {
        &self.unclear
    }

    /// Everything that happened, in order.
    #[must_use]
    pub fn happened(&self) -> &[Happened] {
        &self.happened
    }
}

/// A message as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its partition.
    pub partition: u32,
    /// Its offset.
    pub offset: u64,
    /// Whose row.
    pub user: String,
    /// Insert, Update or Delete.
    pub change: String,
    /// The row's key.
    pub key: i64,
    /// The row's version.
    pub version: i64,
}

/// Holds a whole topic, partition by partition, against what happened to each user's rows: every change has one message and the other
/// way round, messages of a key come in the order of its changes, and so do those of one user in one partition.
///
/// # Errors
/// The first difference, in words.
pub fn check_messages(users: &BTreeMap<String, Rows>, messages: &[Message]) -> Result<(), String> {
    let mut due: BTreeMap<(&str, i64), VecDeque<&Happened>> = BTreeMap::new();
    for (user, rows) in users {
        for happened in rows.happened() {
            due.entry((user, happened.key)).or_default().push_back(happened);
        }
    }
    let mut places: BTreeMap<(&str, i64), u32> = BTreeMap::new();
    let mut statements: BTreeMap<(&str, u32), u64> = BTreeMap::new();
    let mut next: BTreeMap<u32, u64> = BTreeMap::new();
    for message in messages {
        let Message { partition, offset, user, change, key, version } = message;
        let here = format!("partition {partition} offset {offset} ({user} key {key} {change} version {version})");
        let expected = next.entry(*partition).or_default();
        if offset != expected {
            return Err(format!("{here}: offset {expected} was due"));
        }
        *expected += 1;
        let Some(rows) = users.get(user.as_str()) else { return Err(format!("{here}: no such user")) };
        if rows.is_unclear(*key) {
            continue;
        }
        if *places.entry((user, *key)).or_insert(*partition) != *partition {
            return Err(format!("{here}: messages of this key are also in another partition"));
        }
        let Some(happened) = due.get_mut(&(user.as_str(), *key)).and_then(VecDeque::pop_front) else {
            return Err(format!("{here}: nothing happened that it could tell of; it is doubled or invented"));
        };
        if happened.change.name() != change || happened.version != *version {
            return Err(format!(
                "{here}: the key's next change was {} to version {}",
                happened.change.name(),
                happened.version
            ));
        }
        let last = statements.entry((user, *partition)).or_default();
        if happened.statement < *last {
            return Err(format!("{here}: comes after a message of a later statement of the same user"));
        }
        *last = happened.statement;
    }
    for ((user, key), left) in due {
        let unclear = users.get(user).is_some_and(|rows| rows.is_unclear(key));
        if let (false, Some(happened)) = (unclear, left.front()) {
            return Err(format!(
                "{user} key {key}: {} to version {} happened and has no message",
                happened.change.name(),
                happened.version
            ));
        }
    }
    Ok(())
}

/// A counter that many add 1 to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    /// Additions that were acknowledged.
    pub acknowledged: u64,
    /// Additions whose outcome nobody knows.
    pub unknown: u64,
    /// Additions that were begun, whatever became of them.
    pub begun: u64,
}

impl Counter {
    /// Whether a read that began when the counter was `at_start` and ended now may have seen `value`.
    #[must_use]
    pub const fn may_read(&self, at_start: &Self, value: u64) -> bool {
        at_start.acknowledged <= value && value <= self.begun
    }

    /// Whether the counter may stand at `value` when nobody adds any more.
    #[must_use]
    pub const fn may_end_at(&self, value: u64) -> bool {
        self.acknowledged <= value && value <= self.acknowledged + self.unknown
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    fn users() -> BTreeMap<String, Rows> {
        let mut rows = Rows::default();
        rows.apply(&[(Change::Insert, 1, 10), (Change::Insert, 2, 10)]);
        rows.apply(&[(Change::Update, 1, 11)]);
        rows.apply(&[(Change::Delete, 1, 11)]);
        BTreeMap::from([("u".to_owned(), rows)])
    }

    fn message(offset: u64, change: &str, key: i64, version: i64) -> Message {
        Message { partition: 0, offset, user: "u".into(), change: change.into(), key, version }
    }

    fn good() -> Vec<Message> {
        vec![
            message(0, "Insert", 1, 10),
            message(1, "Insert", 2, 10),
            message(2, "Update", 1, 11),
            message(3, "Delete", 1, 11),
        ]
    }

    #[test]
    fn the_messages_of_what_happened_are_accepted() {
        assert_eq!(check_messages(&users(), &good()), Ok(()));
        assert_eq!(users()["u"].all(), vec![(2, 10)]);
    }

    #[test]
    fn lost_doubled_invented_and_reordered_messages_are_found() {
        let lost: Vec<Message> = good().into_iter().take(3).collect();
        assert!(check_messages(&users(), &lost).unwrap_err().contains("has no message"));
        let mut doubled = good();
        doubled.push(message(4, "Delete", 1, 11));
        assert!(check_messages(&users(), &doubled).unwrap_err().contains("doubled"));
        let mut hole = good();
        hole[3].offset = 4;
        assert!(check_messages(&users(), &hole).unwrap_err().contains("offset 3 was due"));
        let mut swapped = good();
        swapped.swap(0, 2);
        swapped[0].offset = 0;
        swapped[2].offset = 2;
        assert!(check_messages(&users(), &swapped).is_err());
        let mut across = good();
        across.swap(1, 2);
        across[1].offset = 1;
        across[2].offset = 2;
        assert!(check_messages(&users(), &across).unwrap_err().contains("later statement"));
    }

    #[test]
    fn a_key_that_was_given_up_is_not_held_against_anyone() {
        let mut users = users();
        users.get_mut("u").unwrap().give_up([1]);
        let only: Vec<Message> = vec![message(0, "Insert", 2, 10)];
        assert_eq!(check_messages(&users, &only), Ok(()));
    }

    #[test]
    fn a_counter_is_between_what_was_acknowledged_and_what_was_begun() {
        let before = Counter { acknowledged: 3, unknown: 1, begun: 4 };
        let now = Counter { acknowledged: 4, unknown: 1, begun: 6 };
        assert!(
            !now.may_read(&before, 2)
                && now.may_read(&before, 3)
                && now.may_read(&before, 6)
                && !now.may_read(&before, 7)
        );
        assert!(now.may_end_at(4) && now.may_end_at(5) && !now.may_end_at(6) && !now.may_end_at(3));
    }
}
