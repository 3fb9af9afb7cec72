//! Equal events in quick succession: the first is written at once, the others are counted and written as one. So nobody can push
//! others' events out of the log by doing the same thing again and again.

use std::collections::BTreeMap;

use highwater_runtime::Monotonic;
use highwater_sql::value::Micros;

use super::event::{Event, EventKind, Outcome};

/// Events that are remembered; beyond that the oldest count is closed.
const KEPT: usize = 1024;

type Key = (EventKind, Outcome, String, Option<String>, Option<String>, Option<String>, Option<String>);

struct Counted {
    since: Monotonic,
    last: Event,
    more: u64,
}

/// What was seen a moment ago.
pub(super) struct Repeats {
    window_micros: u64,
    seen: BTreeMap<Key, Counted>,
}

impl Repeats {
    /// Counts equal events for so long.
    pub(super) const fn new(window_micros: u64) -> Self {
        Self { window_micros, seen: BTreeMap::new() }
    }

    /// Takes an event; gives those that are to be written now.
    pub(super) fn take(&mut self, now: Monotonic, event: Event) -> Vec<Event> {
        let mut due = Vec::new();
        let window = self.window_micros;
        self.seen.retain(|_, counted| {
            let is_over = now.micros_since(counted.since) >= window;
            if is_over {
                due.extend(counted.close());
            }
            !is_over
        });
        let key = key(&event);
        if let Some(counted) = self.seen.get_mut(&key) {
            counted.more += 1;
            counted.last = event;
            return due;
        }
        if self.seen.len() >= KEPT
            && let Some(oldest) = self.seen.iter().min_by_key(|(_, counted)| counted.since).map(|(key, _)| key.clone())
        {
            due.extend(self.seen.remove(&oldest).and_then(|counted| counted.close()));
        }
        self.seen.insert(key, Counted { since: now, last: event.clone(), more: 0 });
        due.push(event);
        due
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

fn key(event: &Event) -> Key {
    let Event { kind, outcome, user, address, login, statement, target, .. } = event;
    (*kind, *outcome, user.clone(), address.clone(), login.clone(), statement.clone(), target.clone())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
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
