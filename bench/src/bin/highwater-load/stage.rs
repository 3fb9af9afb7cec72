//! What all threads of a run share: its clock, its tickets, the turns that are taken one by one, and the server's nodes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::arrivals::Arrivals;
use crate::client::Nodes;
use crate::measure::{Event, Kind, Recorder};
use crate::plan::Plan;
use crate::schema::Schema;

/// A run under way. Times are nanoseconds from its start.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) nodes: Nodes,
    pub(crate) schema: Schema,
    pub(crate) plan: Plan,
    /// Names the run; its rows carry it.
    pub(crate) run: String,
    /// Whether inserts are written into a ledger.
    pub(crate) has_ledger: bool,
    /// Raised by Ctrl-C.
    pub(crate) stop: Arc<AtomicBool>,
    start: Instant,
    /// The start in microseconds since 1970.
    start_unix: u64,
    warm_until: u64,
    end: u64,
    arrivals: Option<Arrivals>,
    next: AtomicU64,
    tickets: AtomicU64,
}

/// An operation to be done now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    pub(crate) number: u64,
    /// When it should have started.
    pub(crate) start: u64,
}

/// Lengths and schedule of a run.
#[derive(Debug)]
pub(crate) struct Timing {
    pub(crate) warmup: Duration,
    pub(crate) seconds: Duration,
    /// None: a closed loop.
    pub(crate) arrivals: Option<Arrivals>,
}

impl Stage {
    /// A run that starts now.
    pub(crate) fn new(
        nodes: Nodes,
        schema: Schema,
        plan: Plan,
        run: String,
        has_ledger: bool,
        stop: Arc<AtomicBool>,
        timing: Timing,
    ) -> Self {
        let unix = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self {
            nodes,
            schema,
            plan,
            run,
            has_ledger,
            stop,
            start: Instant::now(),
            start_unix: unix.as_micros() as u64,
            warm_until: timing.warmup.as_nanos() as u64,
            end: (timing.warmup + timing.seconds).as_nanos() as u64,
            arrivals: timing.arrivals,
            next: AtomicU64::new(0),
            tickets: AtomicU64::new(1),
        }
    }

    /// Now.
    pub(crate) fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    /// A time of this run as microseconds since 1970.
    pub(crate) fn unix(&self, at: u64) -> u64 {
        self.start_unix + at / 1000
    }

    /// The reverse of [`Stage::unix`].
    pub(crate) fn since_start(&self, unix: u64) -> u64 {
        unix.saturating_sub(self.start_unix) * 1000
    }

    /// A number above all that were drawn before.
    pub(crate) fn ticket(&self) -> u64 {
        self.tickets.fetch_add(1, Ordering::SeqCst)
    }

    /// Whether the warm-up was over.
    pub(crate) fn is_measured(&self, at: u64) -> bool {
        at >= self.warm_until
    }

    /// Whether load is to go on.
    pub(crate) fn is_running(&self) -> bool {
        self.now() < self.end && !self.stop.load(Ordering::Relaxed)
    }

    /// When the load ends, and when its measured part began.
    pub(crate) fn bounds(&self) -> (u64, u64) {
        (self.warm_until, self.end)
    }

    /// Whether starts follow a schedule.
    pub(crate) fn is_scheduled(&self) -> bool {
        self.arrivals.is_some()
    }

    /// Operations that the schedule has within the measured time; of an open loop only.
    pub(crate) fn scheduled(&self) -> Option<u64> {
        Some(self.arrivals.as_ref()?.within(self.warm_until, self.end))
    }

    /// Operations that are due and not yet taken; of an open loop only.
    pub(crate) fn waiting(&self) -> Option<u64> {
        let due = self.arrivals.as_ref()?.due(self.now());
        Some(due.saturating_sub(self.next.load(Ordering::Relaxed)))
    }

    /// Whether the run was ended by hand.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// The next operation, which of an open loop may start later; none when the run is over. What was due by then and could not be sent is
    /// counted with the time that it had waited.
    pub(crate) fn draw(&self, kind: impl Fn(u64) -> Kind, recorder: &Recorder) -> Option<Turn> {
        let Some(arrivals) = &self.arrivals else {
            let number = self.is_running().then(|| self.next.fetch_add(1, Ordering::Relaxed))?;
            return Some(Turn { number, start: self.now() });
        };
        loop {
            if self.is_stopped() {
                return None;
            }
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let start = arrivals.start(number)?;
            if start > self.now() || self.is_running() {
                return Some(Turn { number, start });
            }
            let waited = self.now().saturating_sub(start);
            recorder.count(kind(number), Event::GivenUp("NOT_SENT", waited), self.is_measured(start));
        }
    }
}
