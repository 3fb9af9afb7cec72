//! What one core counts of commands that went to other nodes, and of those that came.

use std::cell::{Cell, RefCell};

use crate::metrics::Sample;

/// Upper ends of the hop's histogram: microseconds, and as the label writes them in seconds. The last bucket has none.
const BUCKETS: [(u64, &str); 10] = [
    (250, "0.00025"),
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (50_000, "0.05"),
    (250_000, "0.25"),
    (1_000_000, "1"),
    (5_000_000, "5"),
];

/// The counters of one core.
#[derive(Debug, Default)]
pub(crate) struct ForwardFigures {
    sent: Cell<u64>,
    answered: Cell<u64>,
    retried: Cell<u64>,
    unknown: Cell<u64>,
    left: Cell<u64>,
    taken: Cell<u64>,
    hop_micros: Cell<u64>,
    hops: RefCell<[u64; BUCKETS.len() + 1]>,
}

fn raise(counter: &Cell<u64>) {
    counter.set(counter.get().saturating_add(1));
}

impl ForwardFigures {
    /// A command went to another node.
    pub(super) fn sent(&self) {
        raise(&self.sent);
    }

    /// It was applied there, so many microseconds after it went.
    pub(super) fn answered(&self, micros: u64) {
        raise(&self.answered);
        self.hop_micros.set(self.hop_micros.get().saturating_add(micros));
        let bucket = BUCKETS.partition_point(|(end, _)| *end < micros);
        if let Some(count) = self.hops.borrow_mut().get_mut(bucket) {
            *count = count.saturating_add(1);
        }
    }

    /// A command found no leader where it went and is tried again.
    pub(super) fn retried(&self) {
        raise(&self.retried);
    }

    /// The outcome of a command is unknown.
    pub(super) fn unknown(&self) {
        raise(&self.unknown);
    }

    /// A command waits no longer for a leader that does not answer.
    pub(super) fn left(&self) {
        raise(&self.left);
    }

    /// Another node's command came.
    pub(super) fn taken(&self) {
        raise(&self.taken);
    }

    /// The counters as samples.
    pub(crate) fn samples(&self) -> Vec<Sample> {
        let counter = |name, unit, value: u64, help| Sample::counter(name, unit, value as f64, help);
        let mut samples = vec![
            counter(
                "forward_sent",
                "commands",
                self.sent.get(),
                "commands handed to another node, which leads their group; each as often as it went",
            ),
            counter(
                "forward_answered",
                "commands",
                self.answered.get(),
                "commands that another node applied and answered",
            ),
            counter(
                "forward_retried",
                "commands",
                self.retried.get(),
                "times that a command found no leader where it went, and was tried again",
            ),
            counter(
                "forward_unknown",
                "commands",
                self.unknown.get(),
                "commands whose outcome could not be told to the client (SQLSTATE 40003)",
            ),
            counter(
                "forward_left",
                "commands",
                self.left.get(),
                "commands that no longer waited for a leader's answer, as another node led by then or that one was gone",
            ),
            counter("forward_taken", "commands", self.taken.get(), "commands that came from other nodes"),
            Sample::counter(
                "forward_hop_seconds",
                "seconds",
                self.hop_micros.get() as f64 / 1e6,
                "time from handing a command to another node to its answer, summed up",
            ),
        ];
        let help = "commands that another node answered within so many seconds, cumulative: a histogram for histogram_quantile";
        let ends = BUCKETS.iter().map(|(_, end)| *end).chain(["+Inf"]);
        let mut sum = 0_u64;
        for (count, end) in self.hops.borrow().iter().zip(ends) {
            sum = sum.saturating_add(*count);
            samples.push(counter("forward_hops", "commands", sum, help).label("le", end));
        }
        samples
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    #[test]
    fn hops_are_counted_in_every_bucket_from_their_own_on() {
        let figures = ForwardFigures::default();
        for micros in [250, 251, 9_000_000] {
            figures.answered(micros);
        }
        let samples = figures.samples();
        let within =
            |end| samples.iter().find(|s| s.name == "forward_hops" && s.label_of("le") == Some(end)).unwrap().value;
        assert_eq!((within("0.00025"), within("0.0005"), within("5"), within("+Inf")), (1.0, 2.0, 2.0, 3.0));
        let answered = samples.iter().find(|s| s.name == "forward_answered").unwrap();
        assert_eq!((answered.full_name().as_str(), answered.value), ("highwater_forward_answered_total", 3.0));
    }
}
