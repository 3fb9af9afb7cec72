//! What the clients know, shared by all their threads: what they began, what was acknowledged, what was delivered to them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use highwater_sim::linear::{Act, Entry};

use crate::lock;

/// One user's rows, as far as their only writer knows.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// Rows that are there.
    pub acknowledged: BTreeSet<i64>,
    /// Rows that may be there, or come to be.
    pub open: BTreeSet<i64>,
    /// The read token of the last acknowledgement.
    pub token: Option<String>,
}

/// What one partition of the topic has delivered.
#[derive(Clone, Debug, Default)]
pub struct Delivered {
    /// Whose message is at an offset; the same for everyone, for ever.
    pub at: BTreeMap<i64, String>,
    /// Offsets that the group that acks by hand has been given.
    pub by_hand: BTreeSet<i64>,
    /// Every offset below was given to that group.
    pub complete: i64,
    /// The highest offset that anyone was told is committed.
    pub committed: Option<i64>,
    /// The next offset of the group whose consumes ack.
    pub at_once: i64,
}

/// Everything that the clients of one cluster know.
pub struct History {
    begun: Instant,
    /// By user.
    pub rows: Mutex<BTreeMap<String, Rows>>,
    /// By register.
    pub registers: Mutex<BTreeMap<i64, Vec<Entry>>>,
    /// By partition.
    pub topic: Mutex<BTreeMap<u32, Delivered>>,
    violations: Mutex<Vec<String>>,
    pub counts: Counts,
}

/// How often what happened.
#[derive(Default)]
pub struct Counts {
    pub writes: AtomicU64,
    pub retried: AtomicU64,
    /// Requests whose answer was lost, or said nothing of the outcome.
    pub lost: AtomicU64,
    pub disk_full: AtomicU64,
    pub reads: AtomicU64,
    pub token_reads: AtomicU64,
    pub messages: AtomicU64,
    pub acks: AtomicU64,
    pub register_operations: AtomicU64,
    pub undecided: AtomicU64,
}

/// Counts one more.
pub fn count(what: &AtomicU64) {
    what.fetch_add(1, Ordering::Relaxed);
}

impl Counts {
    /// Names and numbers, for reports.
    pub fn all(&self) -> [(&'static str, u64); 10] {
        [
            ("writes_acknowledged", &self.writes),
            ("writes_retried_under_their_id", &self.retried),
            ("outcomes_unknown", &self.lost),
            ("writes_refused_disk_full", &self.disk_full),
            ("reads", &self.reads),
            ("reads_with_a_token", &self.token_reads),
            ("messages_delivered", &self.messages),
            ("acks", &self.acks),
            ("register_operations", &self.register_operations),
            ("register_histories_undecided", &self.undecided),
        ]
        .map(|(name, count)| (name, count.load(Ordering::Relaxed)))
    }
}

impl History {
    pub fn new() -> Self {
        Self {
            begun: Instant::now(),
            rows: Mutex::default(),
            registers: Mutex::default(),
            topic: Mutex::default(),
            violations: Mutex::default(),
            counts: Counts::default(),
        }
    }

    /// Microseconds since the beginning, the same clock for all clients.
    pub fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// A promise was broken.
    pub fn violation(&self, what: String) {
        eprintln!("VIOLATION: {what}");
        lock(&self.violations).push(what);
    }

    pub fn violations(&self) -> Vec<String> {
        lock(&self.violations).clone()
    }

    pub fn is_broken(&self) -> bool {
        !lock(&self.violations).is_empty()
    }

    /// A row is about to be inserted.
    pub fn begin(&self, user: &str, n: i64) {
        lock(&self.rows).entry(user.to_owned()).or_default().open.insert(n);
    }

    /// A row's insert was acknowledged.
    pub fn acknowledge(&self, user: &str, n: i64, token: Option<&str>) {
        count(&self.counts.writes);
        let mut rows = lock(&self.rows);
        let rows = rows.entry(user.to_owned()).or_default();
        rows.open.remove(&n);
        rows.acknowledged.insert(n);
        if let Some(token) = token {
            rows.token = Some(token.to_owned());
        }
    }

    /// A row was certainly not inserted, and will not be.
    pub fn take_back(&self, user: &str, n: i64) {
        lock(&self.rows).entry(user.to_owned()).or_default().open.remove(&n);
    }

    /// Records an operation on a register that began at `call` and is over now, with or without an answer.
    pub fn record(&self, register: i64, client: &str, call: u64, answered: bool, act: Act) {
        count(&self.counts.register_operations);
        let entry = Entry { client: client.to_owned(), call, answer: answered.then(|| self.now()), act };
        lock(&self.registers).entry(register).or_default().push(entry);
    }

    /// What was delivered at an offset.
    pub fn deliver(&self, partition: u32, offset: i64, identity: &str) {
        count(&self.counts.messages);
        let before = {
            let mut topic = lock(&self.topic);
            topic.entry(partition).or_default().at.insert(offset, identity.to_owned())
        };
        if let Some(before) = before.filter(|before| before != identity) {
            self.violation(format!(
                "partition {partition} offset {offset} was delivered as {before}, now as {identity}"
            ));
        }
    }

    /// The group that acks by hand was given an offset.
    pub fn given_by_hand(&self, partition: u32, offset: i64) {
        let mut topic = lock(&self.topic);
        let delivered = topic.entry(partition).or_default();
        if offset >= delivered.complete {
            delivered.by_hand.insert(offset);
        }
        while delivered.by_hand.remove(&delivered.complete) {
            delivered.complete += 1;
        }
    }

    /// The highest committed offset that anyone was told, and up to where the group was given everything.
    pub fn marks(&self, partition: u32) -> (Option<i64>, i64) {
        lock(&self.topic).get(&partition).map_or((None, 0), |delivered| (delivered.committed, delivered.complete))
    }

    /// Someone was told this committed offset; `before` was known when it was asked for.
    pub fn see_committed(&self, partition: u32, before: Option<i64>, committed: Option<i64>, place: &str) {
        if committed < before {
            self.violation(format!(
                "partition {partition}: {place} says {committed:?}, {before:?} was committed before: the offset moved back"
            ));
        }
        let mut topic = lock(&self.topic);
        let delivered = topic.entry(partition).or_default();
        delivered.committed = delivered.committed.max(committed);
    }

    /// The group whose consumes ack was given an offset: each comes once, in order.
    pub fn given_at_once(&self, partition: u32, offset: i64) {
        let due = {
            let mut topic = lock(&self.topic);
            let delivered = topic.entry(partition).or_default();
            let due = delivered.at_once;
            delivered.at_once = offset + 1;
            due
        };
        if offset != due {
            self.violation(format!(
                "partition {partition}: the group whose consumes ack was given offset {offset} where {due} was due"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_is_complete_up_to_the_first_hole() {
        let history = History::new();
        for offset in [0, 1, 3, 4] {
            history.given_by_hand(0, offset);
        }
        assert_eq!(history.marks(0), (None, 2));
        history.given_by_hand(0, 2);
        assert_eq!(history.marks(0).1, 5);
        assert!(!history.is_broken());
    }

    #[test]
    fn offsets_that_move_back_holes_and_other_messages_are_violations() {
        let history = History::new();
        history.see_committed(0, None, Some(4), "an ack");
        history.see_committed(0, None, Some(3), "an ack that was asked for before");
        assert_eq!((history.marks(0).0, history.is_broken()), (Some(4), false));
        history.see_committed(0, Some(4), Some(3), "an ack");
        history.given_at_once(1, 0);
        assert_eq!(history.violations().len(), 1);
        history.given_at_once(1, 2);
        history.given_at_once(1, 2);
        assert_eq!(history.violations().len(), 3);
        history.deliver(2, 0, "u/1");
        history.deliver(2, 0, "u/1");
        assert_eq!(history.violations().len(), 3);
        history.deliver(2, 0, "u/2");
        assert_eq!(history.violations().len(), 4);
    }
}
