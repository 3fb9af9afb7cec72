//! What was measured: per kind of operation a histogram of latencies and counts of errors and retries. Every thread has a
//! sheet of its own; sheets are merged. Latencies are microseconds.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hdrhistogram::Histogram;

/// Kinds of operations, in the order in which they are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// One row inserted.
    Insert,
    /// One row inserted into a table with nothing around it.
    Put,
    /// One row written again by its key.
    Update,
    /// One row read by its key.
    Select,
    /// A request for messages that returned some at once, with its ack.
    Consume,
    /// A message: from the intended start of the insert to its arrival at a consumer. Another run's counts only where this run inserts
    /// none, and has no latency.
    Deliver,
}

impl Kind {
    /// Its name in output.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Put => "put",
            Self::Update => "update",
            Self::Select => "select",
            Self::Consume => "consume",
            Self::Deliver => "deliver",
        }
    }
}

/// The figures of one kind.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    /// Operations that succeeded.
    pub(crate) done: u64,
    /// Microseconds of what succeeded, and of what never got an answer (a lower bound then).
    pub(crate) latency: Histogram<u64>,
    /// Microseconds from the first sending to the answer, of what succeeded: what the server and the way to it took, without the wait for
    /// a free connection.
    pub(crate) service: Histogram<u64>,
    /// Operations that failed for good, by code.
    pub(crate) errors: BTreeMap<String, u64>,
    /// Attempts that were followed by another, by the code that made it necessary.
    pub(crate) retries: BTreeMap<String, u64>,
}

impl Default for Tally {
    fn default() -> Self {
        #[expect(clippy::expect_used, reason = "three digits are within what a histogram takes")]
        let latency = Histogram::new(3).expect("a histogram of three digits");
        Self { done: 0, service: latency.clone(), latency, errors: BTreeMap::new(), retries: BTreeMap::new() }
    }
}

impl Tally {
    /// Latency at a quantile (0 to 1), in milliseconds.
    pub(crate) fn millis(&self, quantile: f64) -> f64 {
        self.latency.value_at_quantile(quantile) as f64 / 1e3
    }

    fn record(&mut self, micros: u64) {
        // It grows as it needs to, so any number is taken.
        let _ = self.latency.record(micros);
    }

    /// Adds another's figures.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.done += other.done;
        // Likewise.
        let _ = self.latency.add(&other.latency);
        let _ = self.service.add(&other.service);
        for (code, count) in &other.errors {
            *self.errors.entry(code.clone()).or_default() += count;
        }
        for (code, count) in &other.retries {
            *self.retries.entry(code.clone()).or_default() += count;
        }
    }
}

/// What happened to one operation.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event<'a> {
    /// Done.
    Done {
        /// From the intended start.
        nanos: u64,
        /// From the first sending, where that is known.
        service: Option<u64>,
    },
    /// Done, and nobody knows since when.
    Counted,
    /// Answered with an error.
    Refused(&'a str),
    /// Given up without an answer after so many nanoseconds.
    GivenUp(&'a str, u64),
    /// To be sent again.
    Retry(&'a str),
}

/// The figures of all kinds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sheet(pub(crate) BTreeMap<Kind, Tally>);

impl Sheet {
    /// Counts an event.
    pub(crate) fn count(&mut self, kind: Kind, event: Event<'_>) {
        let tally = self.0.entry(kind).or_default();
        match event {
            Event::Done { nanos, service } => {
                tally.done += 1;
                tally.record(nanos / 1000);
                if let Some(service) = service {
                    // Likewise.
                    let _ = tally.service.record(service / 1000);
                }
            }
            Event::Counted => tally.done += 1,
            Event::Refused(code) => *tally.errors.entry(code.to_owned()).or_default() += 1,
            Event::GivenUp(code, nanos) => {
                *tally.errors.entry(code.to_owned()).or_default() += 1;
                tally.record(nanos / 1000);
            }
            Event::Retry(code) => *tally.retries.entry(code.to_owned()).or_default() += 1,
        }
    }

    /// Adds another thread's or second's figures.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (kind, tally) in &other.0 {
            self.0.entry(*kind).or_default().merge(tally);
        }
    }
}

/// One thread's sheets: of the second that runs, and of the whole measured time.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    second: Mutex<Sheet>,
    total: Mutex<Sheet>,
}

impl Recorder {
    /// Counts an event; `is_measured` says whether it belongs to the final figures (warm-up does not).
    pub(crate) fn count(&self, kind: Kind, event: Event<'_>, is_measured: bool) {
        lock(&self.second).count(kind, event);
        if is_measured {
            lock(&self.total).count(kind, event);
        }
    }

    /// What happened since the last call.
    pub(crate) fn take_second(&self) -> Sheet {
        std::mem::take(&mut *lock(&self.second))
    }

    /// Adds the whole measured time to `sheet`.
    pub(crate) fn add_total(&self, sheet: &mut Sheet) {
        sheet.merge(&lock(&self.total));
    }
}

/// A lock whose holder died holds figures all the same.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;
    use quickcheck::quickcheck;

    quickcheck! {
        fn sheets_of_threads_merge_to_the_sheet_of_one(micros: Vec<u32>, threads: u8) -> bool {
            let threads = usize::from(threads % 8) + 1;
            let recorders: Vec<Recorder> = (0..threads).map(|_| Recorder::default()).collect();
            let mut alone = Sheet::default();
            for (number, micros) in micros.iter().enumerate() {
                let event = Event::Done { nanos: u64::from(*micros) * 1000, service: None };
                recorders[number % threads].count(Kind::Insert, event, true);
                alone.count(Kind::Insert, event);
            }
            let mut merged = Sheet::default();
            recorders.iter().for_each(|recorder| recorder.add_total(&mut merged));
            match (merged.0.get(&Kind::Insert), alone.0.get(&Kind::Insert)) {
                (Some(merged), Some(alone)) => merged.done == alone.done && merged.latency == alone.latency,
                (merged, alone) => merged.is_none() && alone.is_none(),
            }
        }
    }

    #[test]
    fn warm_up_is_shown_in_its_second_and_not_in_the_total() {
        let recorder = Recorder::default();
        recorder.count(Kind::Select, Event::Done { nanos: 5_000, service: None }, false);
        recorder.count(Kind::Select, Event::Done { nanos: 7_000, service: None }, true);
        assert_eq!(recorder.take_second().0[&Kind::Select].done, 2);
        assert!(recorder.take_second().0.is_empty(), "a second is taken once");
        let mut total = Sheet::default();
        recorder.add_total(&mut total);
        assert_eq!((total.0[&Kind::Select].done, total.0[&Kind::Select].latency.max()), (1, 7));
    }

    #[test]
    fn what_never_got_an_answer_counts_with_its_time_and_a_refusal_without() {
        let mut sheet = Sheet::default();
        sheet.count(Kind::Insert, Event::GivenUp("NOT_SENT", 9_000_000));
        sheet.count(Kind::Insert, Event::Refused("INVALID_SQL"));
        sheet.count(Kind::Insert, Event::Retry("LOST"));
        let tally = &sheet.0[&Kind::Insert];
        assert_eq!((tally.done, tally.latency.len(), tally.errors.len(), tally.retries.len()), (0, 1, 2, 1));
    }
}
