//! The state of one run beside madsim's own: every machine's disk and life, the trace and the sites that misbehave.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use madsim::plugin::Simulator;
use madsim::rand::{GlobalRng, RngCore};
use madsim::task::NodeId;
use madsim::time::TimeHandle;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::buggify::Sites;
use crate::disk::{CrashKind, Disk, FaultCounts, Faults};
use crate::rng::Rng;
use crate::trace::Trace;

thread_local! {
    /// The run on this thread. madsim runs a seed on one thread, and one process runs one seed.
    static WORLD: RefCell<Weak<Inner>> = const { RefCell::new(Weak::new()) };
}

/// The run on this thread, if there is one.
pub(super) fn world() -> Option<World> {
    WORLD.with_borrow(Weak::upgrade).map(World)
}

/// A handle of the run's state; also the madsim plugin.
#[derive(Clone)]
pub struct World(Arc<Inner>);

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("World")
    }
}

struct Inner {
    state: Mutex<State>,
    time: TimeHandle,
}

struct State {
    seed: u64,
    rng: Rng,
    faults: Faults,
    machines: BTreeMap<NodeId, Machine>,
    trace: Trace,
    sites: Sites,
}

struct Machine {
    disk: Disk,
    completions: u64,
    crash_point: Option<(u64, CrashKind)>,
    /// What kind the next reset is.
    crash_kind: CrashKind,
    down: bool,
    stop_reason: Option<String>,
    /// Virtual microseconds at which the present life began.
    life_start: u64,
}

impl State {
    fn machine(&mut self, node: NodeId) -> &mut Machine {
        let (seed, faults) = (self.seed, &self.faults);
        self.machines.entry(node).or_insert_with(|| Machine {
            disk: Disk::new(xxh3_64_with_seed(node.to_string().as_bytes(), seed), faults.clone()),
            completions: 0,
            crash_point: None,
            crash_kind: CrashKind::Power,
            down: false,
            stop_reason: None,
            life_start: 0,
        })
    }
}

impl Simulator for World {
    fn new(rand: &GlobalRng, time: &TimeHandle, _: &madsim::Config) -> Self {
        let seed = rand.clone().next_u64();
        let mut rng = Rng::new(seed);
        let sites = Sites::new(rng.fork());
        let state = State { seed, rng, faults: Faults::none(), machines: BTreeMap::new(), trace: Trace::new(), sites };
        let world = Self(Arc::new(Inner { state: Mutex::new(state), time: time.clone() }));
        WORLD.with_borrow_mut(|current| *current = Arc::downgrade(&world.0));
        world
    }

    /// The node was killed. Its tasks' destructors run after this, and find a disk that no longer knows them.
    fn reset_node(&self, node: NodeId) {
        self.trace("crash", 0, 0);
        let mut state = self.state();
        let machine = state.machine(node);
        machine.disk.crash(machine.crash_kind);
        machine.crash_kind = CrashKind::Power;
        machine.crash_point = None;
        machine.down = true;
    }
}

impl World {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Virtual microseconds since the run began.
    pub fn elapsed(&self) -> u64 {
        u64::try_from(self.0.time.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    pub fn time(&self) -> &TimeHandle {
        &self.0.time
    }

    pub fn set_default_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    pub fn with_disk<T>(&self, node: NodeId, act: impl FnOnce(&mut Disk) -> T) -> T {
        act(&mut self.state().machine(node).disk)
    }

    /// Marks how the coming kill ends the node; false when it is down already.
    pub fn prepare_crash(&self, node: NodeId, kind: CrashKind) -> bool {
        let mut state = self.state();
        let machine = state.machine(node);
        machine.crash_kind = kind;
        !machine.down
    }

    pub fn set_crash_point(&self, node: NodeId, completions: u64, kind: CrashKind) {
        let mut state = self.state();
        let machine = state.machine(node);
        machine.crash_point = Some((machine.completions + completions, kind));
    }

    /// Counts a completion about to take effect; the crash that comes first, if one does.
    pub fn next_completion(&self, node: NodeId) -> Option<CrashKind> {
        let mut state = self.state();
        let machine = state.machine(node);
        if let Some((_, kind)) = machine.crash_point.take_if(|(point, _)| machine.completions >= *point) {
            return Some(kind);
        }
        machine.completions += 1;
        None
    }

    pub fn completions(&self, node: NodeId) -> u64 {
        self.state().machine(node).completions
    }

    pub fn start_life(&self, node: NodeId) {
        let now = self.elapsed();
        let mut state = self.state();
        let machine = state.machine(node);
        machine.down = false;
        machine.stop_reason = None;
        machine.life_start = now;
    }

    pub fn life_start(&self, node: NodeId) -> u64 {
        self.state().machine(node).life_start
    }

    pub fn is_down(&self, node: NodeId) -> bool {
        self.state().machine(node).down
    }

    pub fn stop_reason(&self, node: NodeId) -> Option<String> {
        self.state().machine(node).stop_reason.clone()
    }

    pub fn set_stop_reason(&self, node: NodeId, reason: &str) {
        self.state().machine(node).stop_reason.get_or_insert_with(|| reason.to_owned());
    }

    pub fn fault_counts(&self) -> FaultCounts {
        let mut sum = FaultCounts::default();
        for machine in self.state().machines.values() {
            sum.add(machine.disk.counts());
        }
        sum
    }

    pub fn trace(&self, event: &str, a: u64, b: u64) {
        let now = u64::try_from(self.0.time.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let mut state = self.state();
        state.trace.fold(event, a, b);
        state.trace.fold("at", now, 0);
    }

    pub fn trace_hash(&self) -> u64 {
        self.state().trace.hash()
    }

    pub fn random(&self) -> u64 {
        self.state().rng.next()
    }

    pub fn fork_rng(&self) -> Rng {
        self.state().rng.fork()
    }

    pub fn set_buggify(&self, enabled: bool) {
        self.state().sites.enable(enabled);
    }

    pub fn buggify(&self, site: &'static str) -> bool {
        self.state().sites.fires(site)
    }
}
