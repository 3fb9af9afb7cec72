//! # The simulation backend: whole machines under madsim
//!
//! madsim gives the executor, the virtual time, node life and the interception of libc's clocks and randomness; the
//! [disk](crate::disk), the [network](crate::network) and each machine's clocks are ours, as a plugin that outlives the node and crashes with it. One madsim node is one machine; its
//! cores are groups of tasks that share nothing but queues.
//!
//! One process runs one seed. Everything that happens is folded into [`trace_hash`]: two processes with one seed must agree on it.

mod clock;
mod env;
mod launch;
mod net;
mod world;

use std::collections::BTreeMap;
use std::future::Future;
use std::net::IpAddr;
use std::path::Path;

use madsim::runtime::{Handle, Runtime};
use madsim::task::NodeId;

pub use clock::ClockFaults;
pub use env::{MadsimEnv, MadsimFile};
pub use launch::{Cores, launch};
pub use net::{MadsimListener, MadsimStream};

use crate::disk::{CrashKind, Disk, FaultCounts, Faults};
use crate::network::{Link, NetworkCounts};
use world::{World, number, world};

/// The environment above the leaf crates.
pub type Rt = MadsimEnv;

/// Runs one seed to its end: on a thread of its own, so that madsim's runtime is the first thing on it (the standard library's hash keys
/// follow from the seed only then), with [`install`] done. A panic in any task ends the run and goes on here.
pub fn run<T, F, Fut>(seed: u64, faults: Faults, body: F) -> T
where
    T: Send + 'static,
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = T> + 'static,
{
    let ran = std::thread::spawn(move || {
        let runtime = Runtime::with_seed_and_config(seed, madsim::Config::default());
        install(&runtime, faults);
        runtime.block_on(body())
    });
    ran.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Adds our disks, trace and sites to a runtime; called once, before any node is made. Each machine's disk starts empty, with these faults.
pub fn install(runtime: &Runtime, faults: Faults) {
    runtime.add_simulator::<World>();
    if let Some(world) = world() {
        world.set_default_faults(faults);
    }
}

/// The environment of the current node, for clients and other tasks outside [`launch`]: core 0 of 1.
#[must_use]
pub fn env() -> MadsimEnv {
    MadsimEnv::of_current_node()
}

/// Ends a machine now: all tasks, connections and handles, and on the disk what the faults' rates draw. Without effect on one that is down.
pub fn crash(node: NodeId, kind: CrashKind) {
    if world().is_some_and(|world| world.prepare_crash(node, kind)) {
        Handle::current().kill(node);
    }
}

/// Lets a machine crash once `completions` more of its I/O operations have completed: just before the next one would take effect.
pub fn crash_after(node: NodeId, completions: u64, kind: CrashKind) {
    if let Some(world) = world() {
        world.set_crash_point(node, completions, kind);
    }
}

/// Starts a machine again, with the disk as its last life left it; one that still runs is ended first like a killed process.
pub fn restart(node: NodeId) {
    // madsim's restart alone would leave the old life's sockets bound.
    crash(node, CrashKind::Process);
    if let Some(world) = world() {
        world.start_life(node);
    }
    Handle::current().restart(node);
}

/// Whether a machine has crashed or stopped itself and was not started again.
#[must_use]
pub fn is_down(node: NodeId) -> bool {
    world().is_some_and(|world| world.is_down(node))
}

/// Why a machine stopped itself in its present or last life, if it did ([`crate::Env::fail_stop`]).
#[must_use]
pub fn stop_reason(node: NodeId) -> Option<String> {
    world().and_then(|world| world.stop_reason(node))
}

/// Looks at a machine's disk, damages it or changes its faults.
///
/// # Panics
/// Outside a runtime with [`install`].
pub fn with_disk<T>(node: NodeId, act: impl FnOnce(&mut Disk) -> T) -> T {
    env::installed().with_disk(node, act)
}

/// I/O operations that a machine has completed over all its lives.
#[must_use]
pub fn completions(node: NodeId) -> u64 {
    world().map_or(0, |world| world.completions(node))
}

/// How often each fault has fired on all disks together.
#[must_use]
pub fn fault_counts() -> FaultCounts {
    world().map(|world| world.fault_counts()).unwrap_or_default()
}

/// Says where on the network a machine is. One that listens is where it listens; those that only connect are told apart by this.
pub fn settle(node: NodeId, ip: IpAddr) {
    if let Some(world) = world() {
        world.settle(number(node), ip);
    }
}

/// Changes every link that was not set by itself.
pub fn set_links(link: Link) {
    if let Some(world) = world() {
        world.network(|network, _| network.set_links(link));
    }
}

/// Changes one directed link.
pub fn set_link(from: NodeId, to: NodeId, link: Link) {
    if let Some(world) = world() {
        world.network(|network, _| network.set_link(number(from), number(to), link));
    }
}

/// Cuts a directed link: nothing gets through until it is mended.
pub fn cut_link(from: NodeId, to: NodeId) {
    if let Some(world) = world() {
        world.trace("cut", number(from).0, number(to).0);
        world.network(|network, now| network.cut(number(from), number(to), now));
    }
}

/// Mends a cut link.
pub fn mend_link(from: NodeId, to: NodeId) {
    if let Some(world) = world() {
        world.trace("mend", number(from).0, number(to).0);
        world.network(|network, now| network.mend(number(from), number(to), now));
    }
}

/// Every link is sound and whole again.
pub fn heal_network() {
    if let Some(world) = world() {
        world.trace("heal", 0, 0);
        world.network(|network, now| network.heal(now));
    }
}

/// Resets every connection between two machines.
pub fn reset_connections(one: NodeId, other: NodeId) {
    if let Some(world) = world() {
        world.trace("reset connections", number(one).0, number(other).0);
        world.network(|network, now| network.reset_between(number(one), number(other), now));
    }
}

/// How often each fault of the network has fired.
#[must_use]
pub fn network_counts() -> NetworkCounts {
    world().map(|world| world.network_counts()).unwrap_or_default()
}

/// Changes how a machine's clocks go.
pub fn set_clock(node: NodeId, faults: ClockFaults) {
    if let Some(world) = world() {
        world.change_clock(node, |_| faults);
    }
}

/// Lets a machine's wall clock jump by so many microseconds.
pub fn jump_clock(node: NodeId, micros: i64) {
    if let Some(world) = world() {
        world.jump_clock(node, micros);
    }
}

/// How far a machine's wall clock is ahead of the run's, in microseconds.
#[must_use]
pub fn wall_ahead(node: NodeId) -> i64 {
    world().map_or(0, |world| world.wall_ahead(node))
}

/// How many tasks of a machine's present life have not ended, by name.
#[must_use]
pub fn tasks(node: NodeId) -> BTreeMap<&'static str, u64> {
    world().map(|world| world.tasks(node)).unwrap_or_default()
}

/// Stops all tasks of a machine for a while, as a stopped process or a suspended guest: its clocks go on, its connections stay.
pub fn pause(node: NodeId) {
    if let Some(world) = world().filter(|world| !world.is_down(node)) {
        world.trace("pause", number(node).0, 0);
        Handle::current().pause(node);
    }
}

/// Lets a paused machine go on.
pub fn resume(node: NodeId) {
    if let Some(world) = world() {
        world.trace("resume", number(node).0, 0);
        Handle::current().resume(node);
    }
}

/// The hash over all events so far: I/O submissions and completions, spawned tasks, queue messages, network traffic and
/// [`crate::Env::trace`] events, each with its virtual time.
#[must_use]
pub fn trace_hash() -> u64 {
    world().map_or(0, |world| world.trace_hash())
}

/// Switches [`crate::Env::buggify`] sites on or off (off at first).
pub fn set_buggify(enabled: bool) {
    if let Some(world) = world() {
        world.set_buggify(enabled);
    }
}

/// Folds a message between cores into the trace.
pub(crate) fn note_message() {
    if let Some(world) = world() {
        world.trace("message", 0, 0);
    }
}

/// A simulated machine lacks nothing.
pub(crate) fn probe(_data_folder: &Path, _cores: usize) -> Vec<crate::preflight::Problem> {
    Vec::new()
}

#[cfg(test)]
mod tests;
