//! The executor: tasks, timers, I/O completions and virtual time of one in-process node.
//!
//! Invariants: one ready task, chosen by the seed, is polled per step; the clock advances one microsecond per poll and jumps to
//! the next event when nothing is ready; no borrow of the state is held while a task is polled or dropped.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use futures_channel::oneshot;

use super::Stopped;
use super::net::Network;
use crate::buggify::Sites;
use crate::disk::Disk;
use crate::rng::Rng;
use crate::trace::Trace;

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// The body of [`super::Sim::run`].
const BODY: u64 = 0;
const HOUR_MICROS: u64 = 3_600_000_000;
/// 2024-01-01 UTC: where the wall clock of every run starts, in microseconds since 1970.
const WALL_START_MICROS: i64 = 1_704_067_200_000_000;

type Completion = Box<dyn FnOnce(&World)>;
type Observer = Box<dyn FnMut(&Disk)>;

enum Event {
    Wake(Waker),
    Io(Completion),
}

#[derive(Default)]
struct ReadyList(Mutex<Vec<u64>>);

impl ReadyList {
    fn with<T>(&self, act: impl FnOnce(&mut Vec<u64>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct TaskWaker {
    task: u64,
    ready: Arc<ReadyList>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.ready.with(|ready| {
            if !ready.contains(&self.task) {
                ready.push(self.task);
            }
        });
    }
}

struct State {
    rng: Rng,
    sites: Sites,
    trace: Trace,
    tasks: BTreeMap<u64, Task>,
    next_task: u64,
    events: BTreeMap<(u64, u64), Event>,
    next_event: u64,
    stopped: Option<Stopped>,
    crash_point: Option<u64>,
    completions: u64,
    /// Virtual microseconds at which the present life began: the monotonic clock's zero.
    life_start: u64,
}

pub(super) struct World {
    state: RefCell<State>,
    disk: RefCell<Disk>,
    /// Sees the disk before each I/O completion.
    observer: RefCell<Option<Observer>>,
    pub(super) net: RefCell<Network>,
    ready: Arc<ReadyList>,
    now: Cell<u64>,
    cores: Cell<u16>,
    mutant: Cell<Option<u32>>,
    time_limit: Cell<u64>,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("now", &self.now.get()).finish_non_exhaustive()
    }
}

impl World {
    pub fn new(seed: u64, disk: Disk) -> Rc<Self> {
        let mut rng = Rng::new(seed ^ 0x1A2B_3C4D);
        let sites = Sites::new(rng.fork());
        Rc::new(Self {
            state: RefCell::new(State {
                rng,
                sites,
                trace: Trace::new(),
                tasks: BTreeMap::new(),
                next_task: BODY + 1,
                events: BTreeMap::new(),
                next_event: 0,
                stopped: None,
                crash_point: None,
                completions: 0,
                life_start: 0,
            }),
            disk: RefCell::new(disk),
            observer: RefCell::new(None),
            net: RefCell::new(Network::default()),
            ready: Arc::default(),
            now: Cell::new(0),
            cores: Cell::new(1),
            mutant: Cell::new(None),
            time_limit: Cell::new(HOUR_MICROS),
        })
    }

    pub fn disk(&self) -> RefMut<'_, Disk> {
        self.disk.borrow_mut()
    }

    pub fn set_cores(&self, cores: u16) {
        self.cores.set(cores);
    }

    pub fn cores(&self) -> u16 {
        self.cores.get()
    }

    pub fn set_mutant(&self, mutant: Option<u32>) {
        self.mutant.set(mutant);
    }

    pub fn mutant(&self, number: u32) -> bool {
        cfg!(feature = "mutants") && self.mutant.get() == Some(number)
    }

    pub fn set_observer(&self, observer: Option<Observer>) {
        *self.observer.borrow_mut() = observer;
    }

    pub fn set_time_limit(&self, micros: u64) {
        self.time_limit.set(micros);
    }

    pub fn set_buggify(&self, enabled: bool) {
        self.state.borrow_mut().sites.enable(enabled);
    }

    pub fn buggify(&self, site: &'static str) -> bool {
        self.state.borrow_mut().sites.fires(site)
    }

    pub fn random(&self) -> u64 {
        self.state.borrow_mut().rng.next()
    }

    pub fn trace(&self, event: &str, a: u64, b: u64) {
        self.state.borrow_mut().trace.fold(event, a, b);
    }

    pub fn trace_hash(&self) -> u64 {
        self.state.borrow().trace.hash()
    }

    pub fn completions(&self) -> u64 {
        self.state.borrow().completions
    }

    pub fn set_crash_point(&self, completions: u64) {
        let mut state = self.state.borrow_mut();
        state.crash_point = Some(state.completions + completions);
    }

    /// Microseconds since the present life began.
    pub fn now(&self) -> u64 {
        self.now.get() - self.state.borrow().life_start
    }

    pub fn wall(&self) -> i64 {
        WALL_START_MICROS.saturating_add(i64::try_from(self.now.get()).unwrap_or(i64::MAX))
    }

    pub fn stop(&self, reason: Stopped) {
        let mut state = self.state.borrow_mut();
        state.stopped.get_or_insert(reason);
    }

    pub fn spawn(&self, name: &'static str, task: Task) {
        let mut state = self.state.borrow_mut();
        let id = state.next_task;
        state.next_task += 1;
        state.trace.fold("spawn", id, name.len() as u64);
        state.tasks.insert(id, task);
        drop(state);
        self.ready.with(|ready| ready.push(id));
    }

    fn schedule(&self, after_micros: u64, event: Event) {
        let mut state = self.state.borrow_mut();
        let order = state.next_event;
        state.next_event += 1;
        state.events.insert((self.now.get().saturating_add(after_micros), order), event);
    }

    /// Wakes at `at` of the monotonic clock.
    pub fn wake_at(&self, at: u64, waker: &Waker) {
        self.schedule(at.saturating_sub(self.now()), Event::Wake(waker.clone()));
    }

    /// Lets `effect` happen on the disk after the disk's latency, and gives its result. Once submitted the effect happens even
    /// if the caller stops waiting.
    pub async fn io<T: 'static>(
        &self,
        event: &'static str,
        a: u64,
        b: u64,
        effect: impl FnOnce(&mut Disk) -> T + 'static,
    ) -> T {
        let (done, result) = oneshot::channel();
        let latency = self.disk().latency();
        self.trace(event, a, b);
        self.schedule(
            latency,
            Event::Io(Box::new(move |world| {
                let outcome = effect(&mut world.disk());
                world.trace(event, a, u64::MAX);
                // The caller may have stopped waiting.
                let _ = done.send(outcome);
            })),
        );
        match result.await {
            Ok(outcome) => outcome,
            // The node crashed: this task is about to be dropped.
            Err(oneshot::Canceled) => std::future::pending().await,
        }
    }

    /// Runs due events; false when a crash point was reached.
    fn run_due_events(&self) -> bool {
        loop {
            let mut state = self.state.borrow_mut();
            let Some(entry) = state.events.first_entry() else { return true };
            if entry.key().0 > self.now.get() {
                return true;
            }
            if matches!(entry.get(), Event::Io(_)) {
                if state.crash_point.is_some_and(|point| state.completions >= point) {
                    state.crash_point = None;
                    return false;
                }
                state.completions += 1;
                if let Some(observe) = self.observer.borrow_mut().as_mut() {
                    observe(&self.disk.borrow());
                }
            }
            let event = state.events.pop_first();
            drop(state);
            match event {
                Some((_, Event::Wake(waker))) => waker.wake(),
                Some((_, Event::Io(complete))) => complete(self),
                None => {}
            }
        }
    }

    fn pick_ready(&self) -> Option<u64> {
        self.ready.with(|ready| {
            let count = ready.len() as u64;
            if count == 0 {
                return None;
            }
            let index = usize::try_from(self.random() % count).unwrap_or(0);
            Some(ready.swap_remove(index))
        })
    }

    fn waker(&self, task: u64) -> Waker {
        Waker::from(Arc::new(TaskWaker { task, ready: Arc::clone(&self.ready) }))
    }

    pub fn block_on<T>(&self, body: impl Future<Output = T>) -> Result<T, Stopped> {
        let mut body = pin!(body);
        let body_waker = self.waker(BODY);
        body_waker.wake_by_ref();
        let deadline = self.now.get().saturating_add(self.time_limit.get());
        loop {
            if let Some(stopped) = self.state.borrow().stopped.clone() {
                return Err(stopped);
            }
            if !self.run_due_events() {
                self.stop(Stopped::CrashPoint);
                continue;
            }
            let Some(task) = self.pick_ready() else {
                let next = self.state.borrow().events.first_key_value().map(|((at, _), _)| *at);
                match next {
                    None => return Err(Stopped::Stalled),
                    Some(at) if at > deadline => return Err(Stopped::TimeLimit(self.time_limit.get())),
                    Some(at) => self.now.set(self.now.get().max(at)),
                }
                continue;
            };
            self.now.set(self.now.get() + 1);
            if self.now.get() > deadline {
                return Err(Stopped::TimeLimit(self.time_limit.get()));
            }
            if task == BODY {
                if let Poll::Ready(value) = body.as_mut().poll(&mut Context::from_waker(&body_waker)) {
                    return Ok(value);
                }
            } else {
                self.poll_task(task);
            }
        }
    }

    fn poll_task(&self, id: u64) {
        let taken = self.state.borrow_mut().tasks.remove(&id);
        let Some(mut task) = taken else { return };
        let waker = self.waker(id);
        if task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
            self.state.borrow_mut().tasks.insert(id, task);
        }
    }

    /// Ends every task, event and connection. The disk's incarnation must have risen before, so that nothing dropped here reaches it.
    pub fn end_life(&self) {
        let mut state = self.state.borrow_mut();
        let tasks = std::mem::take(&mut state.tasks);
        let events = std::mem::take(&mut state.events);
        state.stopped = None;
        state.crash_point = None;
        state.life_start = self.now.get();
        drop(state);
        self.set_observer(None);
        let net = std::mem::take(&mut *self.net.borrow_mut());
        drop((tasks, events, net));
        // What the dropped tasks' destructors may have spawned or scheduled dies too.
        let mut state = self.state.borrow_mut();
        let rest = (std::mem::take(&mut state.tasks), std::mem::take(&mut state.events));
        drop(state);
        drop(rest);
        self.ready.with(Vec::clear);
    }
}
