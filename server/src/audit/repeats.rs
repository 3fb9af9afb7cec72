//! Equal events in quick succession: the first is written at once, the others are counted and written as one. So nobody can push
//! others' events out of the log by doing the same thing again and again.

use std::collections::{BTreeMap, VecDeque};

use highwater_runtime::Monotonic;
use highwater_sql::value::Micros;

use xxhash_rust::xxh3::Xxh3;

use super::event::Event;

/// Events that are remembered; beyond that the oldest count is closed. Enough for a service that acts as some thousands of users a
/// minute, each with a few kinds of statements, without an event in the log for each.
const KEPT: usize = 8192;

/// A hash of all that equal events share.
type Key = u128;

struct Counted {
    since: Monotonic,
    last: Event,
    more: u64,
}

/// What was seen a moment ago.
pub(super) struct Repeats {
    window_micros: u64,
    seen: BTreeMap<Key, Counted>,
    /// Keys of `seen`, the longest counted first: what is over is found without looking at the others.
    order: VecDeque<Key>,
}

impl Repeats {
    /// Counts equal events for so long.
    pub(super) const fn new(window_micros: u64) -> Self {
        Self { window_micros, seen: BTreeMap::new(), order: VecDeque::new() }
    }

    /// Takes an event; gives those that are to be written now.
    pub(super) fn take(&mut self, now: Monotonic, event: Event) -> Vec<Event> {
        let mut due = Vec::new();
        while let Some(oldest) = self.order.front().and_then(|key| self.seen.get(key))
            && now.micros_since(oldest.since) >= self.window_micros
        {
            due.extend(self.forget_oldest());
        }
        let key = key(&event);
        if let Some(counted) = self.seen.get_mut(&key) {
            if is_equal(&counted.last, &event) {
                counted.more += 1;
                counted.last = event;
            } else {
                // Of two that share a hash one is counted, and every other is written.
                due.push(event);
            }
            return due;
        }
        if self.seen.len() >= KEPT {
            due.extend(self.forget_oldest());
        }
        self.order.push_back(key);
        self.seen.insert(key, Counted { since: now, last: event.clone(), more: 0 });
        due.push(event);
        due
    }

    /// Closes the count that began first.
    fn forget_oldest(&mut self) -> Option<Event> {
        self.seen.remove(&self.order.pop_front()?)?.close()
    }

    /// Closes all counts.
    pub(super) fn end(&mut self, _now: Micros) -> Vec<Event> {
        let mut due = Vec::new();
        for counted in self.seen.values_mut() {
            due.extend(counted.close());
            counted.more = 0;
        }
        due
    }
}

impl Counted {
    /// The event that stands for those that were counted.
    fn close(&self) -> Option<Event> {
        (self.more > 0).then(|| Event { count: self.more, ..self.last.clone() })
    }
}

fn is_equal(one: &Event, other: &Event) -> bool {
    let Event { kind, outcome, user, address, login, statement, target, .. } = one;
    (*kind, *outcome) == (other.kind, other.outcome)
        && (user, address, login) == (&other.user, &other.address, &other.login)
        && (statement, target) == (&other.statement, &other.target)
}

fn key(event: &Event) -> Key {
    let mut hash = Xxh3::new();
    hash.update(event.kind.name().as_bytes());
    hash.update(event.outcome.name().as_bytes());
    for part in [
        Some(&event.user),
        event.address.as_ref(),
        event.login.as_ref(),
        event.statement.as_ref(),
        event.target.as_ref(),
    ] {
        hash.update(&[0xff, u8::from(part.is_some())]);
        hash.update(part.map_or("", String::as_str).as_bytes());
    }
    hash.digest128()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::super::event::{EventKind, Outcome};
    use super::*;

    fn event(user: &str, at: i64) -> Event {
        Event { at, ..Event::of(EventKind::ExecuteAs, Outcome::Done, user) }
    }

    #[test]
    fn the_first_is_written_and_the_rest_is_counted() {
        let mut repeats = Repeats::new(60);
        assert_eq!(repeats.take(Monotonic(0), event("a", 1)).len(), 1);
        assert_eq!(repeats.take(Monotonic(1), event("b", 2)).len(), 1);
        for at in 0..5 {
            assert!(repeats.take(Monotonic(10), event("a", at)).is_empty());
        }
        let due = repeats.take(Monotonic(60), event("a", 9));
        assert_eq!(
            due.iter().map(|event| (event.user.as_str(), event.count)).collect::<Vec<_>>(),
            [("a", 5), ("a", 1)]
        );
        assert!(repeats.take(Monotonic(70), event("a", 10)).is_empty());
        assert_eq!(repeats.end(0).len(), 1);
        assert!(repeats.end(0).is_empty(), "nothing is counted twice");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut repeats = Repeats::new(60);
        for number in 0..KEPT + 5 {
            assert_eq!(repeats.take(Monotonic(0), event(&number.to_string(), 0)).len(), 1);
        }
        assert_eq!(repeats.seen.len(), KEPT);
    }
}
