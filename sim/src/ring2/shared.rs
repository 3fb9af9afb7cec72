//! What all tasks of a run share: the phase, the server's life, what clients know, counters, the first broken promise.
//!
//! One thread runs everything, so cells do; nothing is borrowed across an await.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use highwater_runtime::disk::{Fault, Faults};
use highwater_runtime::sim;
use highwater_sim::model::{Counter, Rows};
use highwater_sim::plan::Plan;
use madsim::task::NodeId;

use super::world;

thread_local! {
    static CURRENT: RefCell<Option<Rc<Run>>> = const { RefCell::new(None) };
}

/// The run of this process.
#[expect(clippy::expect_used, reason = "set before the first task starts")]
pub fn current() -> Rc<Run> {
    CURRENT.with_borrow(Clone::clone).expect("a run is installed")
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The database is set up; no faults but a crash at birth.
    Setup,
    /// Clients work, crashes come.
    Load,
    /// Writers are done; the rest of the crashes comes.
    Rest,
    /// No faults any more.
    Verify,
    /// Nothing is left to do.
    Over,
}

/// Virtual seconds after which a run that has not ended is stuck.
const PATIENCE: u64 = 900;

/// The state of a run.
pub struct Run {
    pub plan: Plan,
    trace: bool,
    phase: Cell<Phase>,
    server: Cell<Option<NodeId>>,
    /// Cores that serve in the present life.
    serving: Cell<u16>,
    /// Why the present life's process ended by itself.
    ended: RefCell<Option<String>>,
    clients: Cell<u32>,
    attendants: Cell<u32>,
    last_crash: Cell<bool>,
    crashes_over: Cell<bool>,
    acknowledged: Cell<u64>,
    violation: RefCell<Option<String>>,
    counts: RefCell<BTreeMap<&'static str, u64>>,
    /// Each user's rows.
    pub rows: RefCell<BTreeMap<String, Rows>>,
    /// The shared counters.
    pub counters: RefCell<BTreeMap<i64, Counter>>,
    /// Per partition: the highest committed offset of the group that acks by hand that anyone was told.
    pub committed: RefCell<BTreeMap<u32, u64>>,
    /// Per partition and offset: what was delivered there, to anyone, ever.
    pub delivered: RefCell<BTreeMap<(u32, u64), String>>,
    /// Per group and applied index: the hash chain.
    pub chains: RefCell<BTreeMap<(u64, u64), String>>,
}

impl Run {
    pub fn install(plan: Plan, trace: bool) -> Rc<Self> {
        let run = Rc::new(Self {
            plan,
            trace,
            phase: Cell::new(Phase::Setup),
            server: Cell::new(None),
            serving: Cell::new(0),
            ended: RefCell::default(),
            clients: Cell::new(0),
            attendants: Cell::new(0),
            last_crash: Cell::new(false),
            crashes_over: Cell::new(false),
            acknowledged: Cell::new(0),
            violation: RefCell::default(),
            counts: RefCell::default(),
            rows: RefCell::default(),
            counters: RefCell::default(),
            committed: RefCell::default(),
            delivered: RefCell::default(),
            chains: RefCell::default(),
        });
        CURRENT.set(Some(Rc::clone(&run)));
        run
    }

    /// A line of the trace, in fixed columns: virtual seconds, who, what happened.
    pub fn tell(&self, who: &str, what: impl FnOnce() -> String) {
        if self.trace {
            let micros = now_micros();
            println!("{:>4}.{:06} {:<10} {}", micros / 1_000_000, micros % 1_000_000, who, what());
        }
    }

    /// A promise was broken. The first one counts; everything ends.
    pub fn violation(&self, what: impl Into<String>) {
        let what = what.into();
        self.tell("VIOLATION", || what.clone());
        self.violation.borrow_mut().get_or_insert(what);
    }

    pub fn first_violation(&self) -> Option<String> {
        self.violation.borrow().clone()
    }

    pub fn is_broken(&self) -> bool {
        self.violation.borrow().is_some()
    }

    /// Counts that something happened, for the report.
    pub fn mark(&self, name: &'static str) {
        self.mark_times(name, 1);
    }

    pub fn mark_times(&self, name: &'static str, times: u64) {
        *self.counts.borrow_mut().entry(name).or_default() += times;
    }

    pub fn mark_most(&self, name: &'static str, value: u64) {
        let mut counts = self.counts.borrow_mut();
        let count = counts.entry(name).or_default();
        *count = (*count).max(value);
    }

    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.counts.borrow().clone()
    }

    pub fn phase(&self) -> Phase {
        self.phase.get()
    }

    pub fn enter(&self, phase: Phase) {
        self.tell("director", || format!("{phase:?}"));
        self.phase.set(phase);
    }

    pub fn set_server(&self, node: NodeId) {
        self.server.set(Some(node));
    }

    #[expect(clippy::expect_used, reason = "set before any task that asks for it")]
    pub fn server(&self) -> NodeId {
        self.server.get().expect("the server's machine is made first")
    }

    pub fn life_begins(&self) {
        self.serving.set(0);
        self.ended.replace(None);
        self.tell("server", || "starts".to_owned());
    }

    pub fn core_serves(&self) {
        self.serving.set(self.serving.get() + 1);
        if self.serving.get() == world::CORES {
            self.tell("server", || "serves".to_owned());
        }
    }

    /// The process ended by itself.
    pub fn process_ended(&self, reason: String) {
        self.tell("server", || format!("ends: {reason}"));
        self.ended.borrow_mut().get_or_insert(reason);
    }

    pub fn ended(&self) -> Option<String> {
        self.ended.borrow().clone()
    }

    /// Whether the present life, or the last one while the machine is down, came as far as serving.
    pub fn is_serving_or_served(&self) -> bool {
        self.serving.get() == world::CORES
    }

    pub fn is_serving(&self) -> bool {
        self.serving.get() == world::CORES && !sim::is_down(self.server())
    }

    /// Starts a client that the run waits for.
    pub fn client(self: &Rc<Self>, work: impl Future<Output = ()> + 'static) {
        self.clients.set(self.clients.get() + 1);
        let run = Rc::clone(self);
        drop(madsim::task::spawn_local(async move {
            work.await;
            run.clients.set(run.clients.get() - 1);
        }));
    }

    /// Starts a client that ends by itself once the others are done.
    pub fn attendant(self: &Rc<Self>, work: impl Future<Output = ()> + 'static) {
        self.attendants.set(self.attendants.get() + 1);
        let run = Rc::clone(self);
        drop(madsim::task::spawn_local(async move {
            work.await;
            run.attendants.set(run.attendants.get() - 1);
        }));
    }

    pub fn clients(&self) -> u32 {
        self.clients.get()
    }

    pub fn attendants(&self) -> u32 {
        self.attendants.get()
    }

    /// Waits until something holds, or a promise was broken.
    pub async fn until(&self, holds: impl Fn(&Self) -> bool) {
        while !holds(self) && !self.is_broken() {
            pause(5_000).await;
        }
    }

    pub fn last_crash(&self) {
        self.crashes_over.set(false);
        self.last_crash.set(true);
    }

    /// Whether the last crash, the one before the final look, is wanted; asked once.
    pub fn takes_last_crash(&self) -> bool {
        self.last_crash.take()
    }

    pub fn crashes_are_over(&self) -> bool {
        self.crashes_over.get()
    }

    pub fn set_crashes_over(&self, over: bool) {
        self.crashes_over.set(over && !self.last_crash.get());
    }

    pub fn acknowledge_write(&self) {
        self.acknowledged.set(self.acknowledged.get() + 1);
    }

    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.get()
    }

    pub fn switch_faults(&self, on: bool) {
        let faults = if on { self.plan.faults.clone() } else { Faults::none() };
        self.tell("disk", || if on { format!("{faults:?}") } else { "no faults any more".to_owned() });
        sim::with_disk(self.server(), |disk| disk.faults = faults);
    }

    /// How many operations the disk has failed so far: a server may refuse or stop after one.
    pub fn failed_operations(&self) -> u64 {
        let counts = sim::fault_counts();
        [Fault::ReadError, Fault::WriteError, Fault::SyncError, Fault::NoSpace, Fault::ShortRead]
            .into_iter()
            .map(|fault| counts.of(fault))
            .sum()
    }

    /// Whether the run takes longer than any run should.
    pub fn is_stuck(&self) -> bool {
        now_micros() > PATIENCE * 1_000_000
    }

    /// What was delivered at an offset is the same for everyone, for ever.
    pub fn deliver(&self, partition: u32, offset: u64, identity: &str) {
        let before = self.delivered.borrow_mut().insert((partition, offset), identity.to_owned());
        if let Some(before) = before
            && before != identity
        {
            self.violation(format!(
                "partition {partition} offset {offset} was delivered as {before}, now as {identity}"
            ));
        }
    }
}

/// Virtual microseconds since the run began.
pub fn now_micros() -> u64 {
    u64::try_from(madsim::time::TimeHandle::current().elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// Lets virtual time pass.
pub async fn pause(micros: u64) {
    madsim::time::sleep(Duration::from_micros(micros)).await;
}
