//! How long the parts of a request took, for the client that asks.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use highwater_runtime::{Env, Monotonic};

use super::Node;

/// Microseconds of a request's parts, summed over its statements. A session's request takes it along to the session's core.
#[derive(Debug, Default)]
pub struct Phases {
    parse: AtomicU64,
    plan: AtomicU64,
    queue: AtomicU64,
}

/// A part of a request's time.
#[derive(Clone, Copy, Debug)]
pub(super) enum Phase {
    /// Reading the text.
    Parse,
    /// Finding what its names mean, its types and rights, and how it is run.
    Plan,
    /// Waiting until the change is in its shard's log for good and applied.
    Queue,
}

impl Phases {
    fn of(&self, phase: Phase) -> &AtomicU64 {
        match phase {
            Phase::Parse => &self.parse,
            Phase::Plan => &self.plan,
            Phase::Queue => &self.queue,
        }
    }

    /// The value of the header `Server-Timing` (W3C, Server Timing) in milliseconds: the parts, and as `exec` what else of `whole`
    /// microseconds there is.
    pub(crate) fn header(&self, whole: u64) -> String {
        let [parse, plan, queue] =
            [Phase::Parse, Phase::Plan, Phase::Queue].map(|phase| self.of(phase).load(Ordering::Relaxed));
        let exec = whole.saturating_sub(parse.saturating_add(plan).saturating_add(queue));
        let (parse, plan, queue, exec) = (Millis(parse), Millis(plan), Millis(queue), Millis(exec));
        format!("parse;dur={parse}, plan;dur={plan}, queue;dur={queue}, exec;dur={exec}")
    }
}

/// Microseconds, shown as milliseconds.
struct Millis(u64);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}

/// Where the parts of a request's time are noted, if its client asked for them.
pub(super) type Timed = Option<Arc<Phases>>;

impl Node {
    /// When a part begins.
    pub(super) fn begins(&self, timed: &Timed) -> Option<Monotonic> {
        timed.as_ref().map(|_| self.env().now())
    }

    /// Notes a part that began at `began`.
    pub(super) fn ends(&self, timed: &Timed, phase: Phase, began: Option<Monotonic>) {
        if let (Some(phases), Some(began)) = (timed, began) {
            phases.of(phase).fetch_add(self.env().now().micros_since(began), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_part_of_its_own_is_execution() {
        let phases = Phases::default();
        phases.of(Phase::Plan).fetch_add(1_234, Ordering::Relaxed);
        phases.of(Phase::Queue).fetch_add(20, Ordering::Relaxed);
        assert_eq!(phases.header(2_000), "parse;dur=0.000, plan;dur=1.234, queue;dur=0.020, exec;dur=0.746");
        assert_eq!(phases.header(0), "parse;dur=0.000, plan;dur=1.234, queue;dur=0.020, exec;dur=0.000");
    }
}
