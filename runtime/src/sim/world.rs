//! The state of one run beside madsim's own: every machine's disk and life, the trace and the sites that misbehave.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use madsim::plugin::Simulator;
use madsim::rand::{GlobalRng, RngCore};
use madsim::task::NodeId;
use madsim::time::TimeHandle;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::clock::{Clock, ClockFaults};
use crate::buggify::Sites;
use crate::disk::{CrashKind, Disk, FaultCounts, Faults, Incarnation};
use crate::network::{self, Network, NetworkCounts};
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
    network: Network,
    /// Where machines are.
    places: BTreeMap<IpAddr, network::Machine>,
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
    clock: Clock,
    /// Tasks of the present life that have not ended, by name.
    tasks: BTreeMap<&'static str, u64>,
}

/// A task that has not ended.
pub(super) struct TaskCount {
    world: World,
    node: NodeId,
    life: Incarnation,
    name: &'static str,
}

impl Drop for TaskCount {
    fn drop(&mut self) {
        let mut state = self.world.state();
        let machine = state.machine(self.node);
        if machine.disk.incarnation() == self.life
            && let Some(count) = machine.tasks.get_mut(self.name)
        {
            *count = count.saturating_sub(1);
        }
    }
}

/// A machine as the network knows it.
pub(super) fn number(node: NodeId) -> network::Machine {
    network::Machine(node.to_string().parse().unwrap_or(u64::MAX))
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
            clock: Clock::default(),
            tasks: BTreeMap::new(),
        })
    }
}

impl Simulator for World {
    fn new(rand: &GlobalRng, time: &TimeHandle, _: &madsim::Config) -> Self {
        let seed = rand.clone().next_u64();
        let mut rng = Rng::new(seed);
        let sites = Sites::new(rng.fork());
        let network = Network::new(rng.fork());
        let state = State {
            seed,
            rng,
            faults: Faults::none(),
            machines: BTreeMap::new(),
            network,
            places: BTreeMap::new(),
            trace: Trace::new(),
            sites,
        };
        let world = Self(Arc::new(Inner { state: Mutex::new(state), time: time.clone() }));
        WORLD.with_borrow_mut(|current| *current = Arc::downgrade(&world.0));
        world
    }

    /// The node was killed. Its tasks' destructors run after this, and find a disk that no longer knows them.
    fn reset_node(&self, node: NodeId) {
        self.trace("crash", number(node).0, 0);
        let mut state = self.state();
        let machine = state.machine(node);
        let kind = machine.crash_kind;
        machine.disk.crash(kind);
        machine.crash_kind = CrashKind::Power;
        machine.crash_point = None;
        machine.tasks.clear();
        machine.down = true;
        drop(state);
        self.network(|network, now| network.crash(number(node), kind, now));
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

    /// Counts a task of a machine's life until it ends.
    pub fn begin_task(&self, node: NodeId, life: Incarnation, name: &'static str) -> TaskCount {
        let mut state = self.state();
        let machine = state.machine(node);
        if machine.disk.incarnation() == life {
            *machine.tasks.entry(name).or_default() += 1;
        }
        TaskCount { world: self.clone(), node, life, name }
    }

    pub fn tasks(&self, node: NodeId) -> BTreeMap<&'static str, u64> {
        self.state().machine(node).tasks.clone()
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
        machine.clock.start_life(now);
        state.network.start(number(node));
    }

    /// Does something with the network at this moment; who waits for it is woken, its faults go into the trace.
    pub fn network<T>(&self, act: impl FnOnce(&mut Network, u64) -> T) -> T {
        let now = self.elapsed();
        let mut state = self.state();
        let result = act(&mut state.network, now);
        let (woken, faults) = (state.network.take_woken(), state.network.take_faults());
        drop(state);
        for fault in faults {
            self.trace(fault.name(), 0, 0);
        }
        for waker in woken {
            waker.wake();
        }
        result
    }

    pub fn network_counts(&self) -> NetworkCounts {
        self.state().network.counts()
    }

    /// The machine has this address, unless another one has.
    pub fn settle(&self, machine: network::Machine, ip: IpAddr) {
        if !ip.is_loopback() && !ip.is_unspecified() {
            self.state().places.entry(ip).or_insert(machine);
        }
    }

    pub fn machine_at(&self, from: network::Machine, ip: IpAddr) -> Option<network::Machine> {
        if ip.is_loopback() { Some(from) } else { self.state().places.get(&ip).copied() }
    }

    pub fn address_of(&self, machine: network::Machine) -> Option<IpAddr> {
        self.state().places.iter().find(|(_, at)| **at == machine).map(|(ip, _)| *ip)
    }

    /// Whether a machine is up and in this life.
    pub fn is_alive(&self, machine: network::Machine, life: Incarnation) -> bool {
        let state = self.state();
        let found = state.machines.iter().find(|(node, _)| number(**node) == machine);
        found.is_some_and(|(_, machine)| !machine.down && machine.disk.incarnation() == life)
    }

    pub fn monotonic(&self, node: NodeId) -> u64 {
        let now = self.elapsed();
        self.state().machine(node).clock.monotonic(now)
    }

    pub fn wall_ahead(&self, node: NodeId) -> i64 {
        let now = self.elapsed();
        self.state().machine(node).clock.wall_ahead(now)
    }

    pub fn virtual_micros(&self, node: NodeId, local: u64) -> u64 {
        self.state().machine(node).clock.virtual_micros(local)
    }

    pub fn change_clock(&self, node: NodeId, change: impl FnOnce(ClockFaults) -> ClockFaults) {
        let now = self.elapsed();
        let mut state = self.state();
        let clock = &mut state.machine(node).clock;
        let faults = change(clock.faults());
        clock.change(faults, now);
        drop(state);
        self.trace("clock", faults.offset.unsigned_abs(), faults.drift.unsigned_abs());
    }

    pub fn jump_clock(&self, node: NodeId, micros: i64) {
        self.state().machine(node).clock.jump(micros);
        self.trace("clock jump", micros.unsigned_abs(), number(node).0);
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
