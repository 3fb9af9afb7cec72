//! What all tasks of a run share: the phase, the server's life, what clients know, counters, the first broken promise.
//!
//! One thread runs everything, so cells do; nothing is borrowed across an await.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use highwater_runtime::disk::{Fault, Faults};
use highwater_runtime::rng::Rng;
use highwater_runtime::sim;
use highwater_server::core_part::Stopper;
use highwater_sim::append::Transaction;
use highwater_sim::claims::Claims;
use highwater_sim::linear::{Act, Entry};
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

/// How often a read of a disk that rots gives a bit turned over.
const ROT: f64 = 0.002;
/// How long clients aim at a node after its trouble, in microseconds: what it has yet to answer is answered by then.
const AIMED_AFTER: u64 = 300_000;
/// Virtual seconds after which a run that has not ended is stuck.
const PATIENCE: u64 = 900;

/// One server's machine and what its present life has come to.
struct Server {
    machine: NodeId,
    /// Cores that serve.
    serving: u16,
    /// Why the process ended by itself.
    ended: Option<String>,
    /// Asks the present life's process to stop.
    stopper: Option<Stopper>,
    /// It was asked.
    is_asked: bool,
    place: Place,
}

/// A server's place in its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// It belongs to it.
    Member,
    /// It was asked to leave, and is there until the others have taken its place.
    Leaving,
    /// It has left, and was told so.
    Left,
    /// Its disk is another one than that with which it became a member, or must not be trusted.
    Lost,
    /// It is lost, and the cluster was told so: it is taken out.
    Struck,
}

/// A node at which clients aim, as it is cut off or paused and may not know that others lead by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aim {
    /// Which.
    pub node: usize,
    /// Virtual microseconds at which its trouble is over.
    pub until: u64,
}

/// The state of a run.
pub struct Run {
    pub plan: Plan,
    /// Whether trace lines are printed.
    prints: bool,
    /// The trace lines, if they are kept.
    trace: Option<RefCell<Vec<String>>>,
    phase: Cell<Phase>,
    servers: RefCell<Vec<Server>>,
    clients_machine: Cell<Option<NodeId>>,
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
    /// The payers' transactions.
    pub payments: RefCell<Counter>,
    /// Per partition: the highest committed offset of the group that acks by hand that anyone was told.
    pub committed: RefCell<BTreeMap<u32, u64>>,
    /// Who of the group that acks by hand has what.
    pub claims: RefCell<Claims>,
    /// When the load began, and when it was over.
    load: Cell<(u64, u64)>,
    /// The latest that any machine's clock has said, in microseconds of the run: no log time is later.
    latest_wall: Cell<i64>,
    /// Per partition and offset: what was delivered there, to anyone, ever.
    pub delivered: RefCell<BTreeMap<(u32, u64), String>>,
    /// Per group and applied index: the hash chain, on whichever node.
    pub chains: RefCell<BTreeMap<(u64, u64), String>>,
    /// Everything that was done with each shared counter and register, with what name.
    pub histories: RefCell<BTreeMap<(&'static str, i64), Vec<Entry>>>,
    /// Everything that was done with the lists of one user.
    pub transactions: RefCell<Vec<Transaction>>,
    /// Per group: who leads it as far as anybody has seen, and in which term.
    pub leaders: RefCell<BTreeMap<u64, (u64, usize)>>,
    /// Nothing befalls the cluster any more, since this time.
    calm_since: Cell<Option<u64>>,
    /// Until then nobody asks anything.
    quiet_until: Cell<u64>,
    aim: Cell<Option<Aim>>,
}

impl Run {
    pub fn install(plan: Plan, prints: bool, keeps: bool) -> Rc<Self> {
        let run = Rc::new(Self {
            plan,
            prints,
            trace: keeps.then(RefCell::default),
            phase: Cell::new(Phase::Setup),
            servers: RefCell::default(),
            clients_machine: Cell::new(None),
            clients: Cell::new(0),
            attendants: Cell::new(0),
            last_crash: Cell::new(false),
            crashes_over: Cell::new(false),
            acknowledged: Cell::new(0),
            violation: RefCell::default(),
            counts: RefCell::default(),
            rows: RefCell::default(),
            counters: RefCell::default(),
            payments: RefCell::default(),
            committed: RefCell::default(),
            claims: RefCell::default(),
            load: Cell::new((0, 0)),
            latest_wall: Cell::new(0),
            delivered: RefCell::default(),
            chains: RefCell::default(),
            histories: RefCell::default(),
            transactions: RefCell::default(),
            leaders: RefCell::default(),
            calm_since: Cell::new(None),
            quiet_until: Cell::new(0),
            aim: Cell::new(None),
        });
        CURRENT.set(Some(Rc::clone(&run)));
        run
    }

    /// A line of the trace, in fixed columns: virtual seconds, who, what happened.
    pub fn tell(&self, who: &str, what: impl FnOnce() -> String) {
        if !self.prints && self.trace.is_none() {
            return;
        }
        let micros = now_micros();
        let line = format!("{:>4}.{:06} {:<10} {}", micros / 1_000_000, micros % 1_000_000, who, what());
        if self.prints {
            highwater_sim::say!("{line}");
        }
        if let Some(trace) = &self.trace {
            trace.borrow_mut().push(line);
        }
    }

    /// The trace lines that were kept.
    pub fn trace(&self) -> Vec<String> {
        self.trace.as_ref().map(RefCell::take).unwrap_or_default()
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
        match phase {
            Phase::Load => self.load.set((now_micros(), 0)),
            Phase::Rest => self.load.set((self.load.get().0, now_micros())),
            Phase::Setup | Phase::Verify | Phase::Over => {}
        }
        self.phase.set(phase);
    }

    /// How many servers have been there so far: those who have joined count, and those who have left.
    pub fn nodes(&self) -> usize {
        self.servers.borrow().len()
    }

    /// How many servers the database began with.
    pub fn founders(&self) -> usize {
        self.plan.nodes
    }

    pub fn add_server(&self, machine: NodeId) {
        let server = Server { machine, serving: 0, ended: None, stopper: None, is_asked: false, place: Place::Member };
        self.servers.borrow_mut().push(server);
    }

    fn server<T>(&self, node: usize, look: impl FnOnce(&mut Server) -> T) -> T {
        #[expect(clippy::expect_used, reason = "servers are made first, and numbered below their count")]
        look(self.servers.borrow_mut().get_mut(node).expect("there is such a server"))
    }

    /// A server's machine.
    pub fn machine(&self, node: usize) -> NodeId {
        self.server(node, |server| server.machine)
    }

    pub fn set_clients_machine(&self, machine: NodeId) {
        self.clients_machine.set(Some(machine));
    }

    #[expect(clippy::expect_used, reason = "set before any task that asks for it")]
    pub fn clients_machine(&self) -> NodeId {
        self.clients_machine.get().expect("the clients' machine is made first")
    }

    /// How the trace calls a server.
    pub fn called(&self, node: usize) -> String {
        if self.founders() == 1 { "server".to_owned() } else { format!("node{}", node + 1) }
    }

    pub fn tell_of(&self, node: usize, what: impl FnOnce() -> String) {
        self.tell(&self.called(node), what);
    }

    pub fn life_begins(&self, node: usize) {
        self.server(node, |server| (server.serving, server.ended) = (0, None));
        self.tell_of(node, || "starts".to_owned());
    }

    /// How the present life's process is asked to stop.
    pub fn set_stopper(&self, node: usize, stopper: Stopper) {
        self.server(node, |server| {
            if server.is_asked {
                stopper.stop();
            }
            server.stopper = Some(stopper);
        });
    }

    /// A new life is about to begin, which nobody has asked to stop.
    pub fn restarts(&self, node: usize) {
        self.server(node, |server| {
            // It may crash before it has said anything.
            (server.serving, server.ended, server.stopper, server.is_asked) = (0, None, None, false);
        });
    }

    /// Asks a server to stop: one that has hardly started, as soon as it can be asked.
    pub fn ask_to_stop(&self, node: usize) {
        self.tell_of(node, || "is asked to stop".to_owned());
        self.server(node, |server| {
            server.is_asked = true;
            if let Some(stopper) = &server.stopper {
                stopper.stop();
            }
        });
    }

    /// Whether the present life, or the last one while the machine is down, was asked to stop.
    pub fn is_asked_to_stop(&self, node: usize) -> bool {
        self.server(node, |server| server.is_asked)
    }

    /// The node lost its disk: it is no member any more.
    pub fn lose(&self, node: usize) {
        self.server(node, |server| (server.place, server.ended) = (Place::Lost, None));
    }

    /// The node that lost its disk, as long as nobody has told it to leave.
    pub fn never_returns(&self) -> Option<usize> {
        (0..self.nodes()).find(|node| self.server(*node, |server| server.place == Place::Lost))
    }

    /// The node that lost its disk is told to leave.
    pub fn strike(&self, node: usize) {
        self.server(node, |server| server.place = Place::Struck);
    }

    /// Whether the node lost its disk and was told to leave.
    pub fn is_struck(&self, node: usize) -> bool {
        self.server(node, |server| server.place == Place::Struck)
    }

    /// The node was asked to leave, or will be.
    pub fn leaves(&self, node: usize) {
        self.server(node, |server| server.place = Place::Leaving);
    }

    /// The node has left: its process ended, saying so.
    pub fn has_left(&self, node: usize) {
        self.tell_of(node, || "has left the cluster".to_owned());
        self.mark("nodes_that_left");
        self.server(node, |server| server.place = Place::Left);
    }

    /// Whether the node was asked to leave and has not done so yet.
    pub fn is_leaving(&self, node: usize) -> bool {
        self.server(node, |server| server.place == Place::Leaving)
    }

    /// Whether the node has left.
    pub fn is_gone(&self, node: usize) -> bool {
        self.server(node, |server| server.place == Place::Left)
    }

    /// Whether anybody was asked to leave and has not done so yet.
    pub fn any_leaves(&self) -> bool {
        (0..self.nodes()).any(|node| self.is_leaving(node))
    }

    /// The nodes that belong to the cluster and have their disks.
    pub fn members(&self) -> impl Iterator<Item = usize> + use<'_> {
        let belongs =
            |node: &usize| self.server(*node, |server| matches!(server.place, Place::Member | Place::Leaving));
        (0..self.nodes()).filter(belongs)
    }

    /// One of them.
    pub fn pick_member(&self, rng: &mut Rng) -> usize {
        let members: Vec<usize> = self.members().collect();
        let at = usize::try_from(rng.below(members.len() as u64)).unwrap_or(0);
        members.get(at).copied().unwrap_or(0)
    }

    /// Clients aim at a node until its trouble is over.
    pub fn aim_at(&self, node: usize, until: u64) {
        self.aim.set(Some(Aim { node, until }));
    }

    /// At whom clients aim now, and for a moment after its trouble is over.
    pub fn aim(&self) -> Option<Aim> {
        self.aim.get().filter(|aim| aim.until + AIMED_AFTER > now_micros())
    }

    pub fn core_serves(&self, node: usize) {
        let serving = self.server(node, |server| {
            server.serving += 1;
            server.serving
        });
        if serving == world::CORES {
            self.tell_of(node, || "serves".to_owned());
        }
    }

    /// The process ended by itself.
    pub fn process_ended(&self, node: usize, reason: String) {
        self.tell_of(node, || format!("ends: {reason}"));
        self.server(node, |server| server.ended.get_or_insert(reason).len());
    }

    pub fn ended(&self, node: usize) -> Option<String> {
        self.server(node, |server| server.ended.clone())
    }

    /// Whether the present life, or the last one while the machine is down, came as far as serving.
    pub fn is_serving_or_served(&self, node: usize) -> bool {
        self.server(node, |server| server.serving == world::CORES)
    }

    pub fn is_up(&self, node: usize) -> bool {
        !sim::is_down(self.machine(node))
    }

    pub fn is_serving(&self, node: usize) -> bool {
        self.is_serving_or_served(node) && self.is_up(node)
    }

    pub fn all_serve(&self) -> bool {
        self.members().all(|node| self.is_serving(node))
    }

    /// The middle of the load, once it is over.
    pub fn halfway(&self) -> Option<u64> {
        let (began, over) = self.load.get();
        (over > 0).then(|| began.midpoint(over))
    }

    /// What the servers' clocks say, in microseconds of the run.
    fn walls(&self) -> impl Iterator<Item = i64> + use<'_> {
        let now = now_micros().cast_signed();
        (0..self.nodes()).map(move |node| now.saturating_add(sim::wall_ahead(self.machine(node))))
    }

    /// An entry that is proposed from now on has no earlier log time, in microseconds of the run.
    pub fn earliest_log_time(&self) -> i64 {
        self.walls().min().unwrap_or(i64::MIN)
    }

    /// No entry that was proposed so far has a later log time. To be asked before each jump of a clock, too.
    pub fn latest_log_time(&self) -> i64 {
        let latest = self.walls().max().unwrap_or(0).max(self.latest_wall.get());
        self.latest_wall.set(latest);
        latest
    }

    /// Nobody asks anything until then.
    pub fn be_quiet_until(&self, until: u64) {
        self.quiet_until.set(self.quiet_until.get().max(until));
    }

    /// Lets virtual time pass between two requests of a client: longer where nobody is to ask anything.
    pub async fn pause(&self, micros: u64) {
        pause(micros).await;
        while self.quiet_until.get() > now_micros() && self.phase() < Phase::Verify {
            pause(self.quiet_until.get().saturating_sub(now_micros())).await;
        }
    }

    /// Nothing befalls the cluster any more: from here on the clients must come to an end.
    pub fn calm_down(&self) {
        self.tell("nemesis", || "nothing befalls anyone any more".to_owned());
        self.calm_since.set(Some(now_micros()));
    }

    pub fn calm_since(&self) -> Option<u64> {
        self.calm_since.get()
    }

    /// A node acknowledged a write. One that leads nothing, as far as anybody has seen, passed it on.
    pub fn acknowledged_at(&self, node: usize) {
        if self.founders() > 1 && !self.leads(node) && !self.leaders.borrow().is_empty() {
            self.mark("writes_forwarded");
        }
    }

    /// A node answered a read.
    pub fn read_at(&self, node: usize) {
        if self.founders() > 1 && !self.leads(node) && !self.leaders.borrow().is_empty() {
            self.mark("reads_on_followers");
        }
    }

    /// A node says who leads a group in which term.
    pub fn see_leader(&self, group: u64, term: u64, leader: usize) {
        let before = self.leaders.borrow().get(&group).copied();
        match before {
            Some((known, _)) if known > term => {}
            Some((known, other)) if known == term => {
                if other != leader {
                    self.violation(format!(
                        "group {group} has two leaders in term {term}: nodes {} and {}",
                        other + 1,
                        leader + 1
                    ));
                }
            }
            _ => {
                self.leaders.borrow_mut().insert(group, (term, leader));
                self.tell("raft", || format!("group {group} is led by {} in term {term}", self.called(leader)));
                if let Some((_, other)) = before {
                    self.mark("elections_seen");
                    if other != leader {
                        self.mark("leader_changes");
                        if self.phase() == Phase::Load && self.clients() > 0 {
                            self.mark("leader_changes_under_writes");
                        }
                    }
                }
            }
        }
    }

    /// Adds an operation on a shared row to its history.
    pub fn record(&self, table: &'static str, key: i64, client: &str, call: u64, answered: bool, act: Act) {
        let answer = answered.then(now_micros);
        let entry = Entry { client: client.to_owned(), call, answer, act };
        self.histories.borrow_mut().entry((table, key)).or_default().push(entry);
    }

    /// Who leads most groups, as far as anybody has seen; node 0 before anyone has.
    pub fn leader(&self) -> usize {
        let leaders = self.leaders.borrow();
        self.members()
            .max_by_key(|node| (leaders.values().filter(|(_, leader)| leader == node).count(), self.nodes() - node))
            .unwrap_or(0)
    }

    /// Whether a node leads any group, as far as anybody has seen.
    pub fn leads(&self, node: usize) -> bool {
        self.leaders.borrow().values().any(|(_, leader)| *leader == node)
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
        for node in 0..self.nodes() {
            self.switch_faults_of(node, on);
        }
    }

    pub fn switch_faults_of(&self, node: usize, on: bool) {
        let faults = if on { self.faults_of(node) } else { Faults::none() };
        self.tell_of(node, || if on { format!("{faults:?}") } else { "the disk has no faults any more".to_owned() });
        sim::with_disk(self.machine(node), |disk| disk.faults = faults);
    }

    /// Operations fail on one disk of a cluster only; what is lost there, the others have.
    fn faults_of(&self, node: usize) -> Faults {
        let faults = self.plan.faults.clone();
        if node == self.plan.surroundings.bad_disk {
            let bit_rot = if self.plan.surroundings.rots { ROT } else { 0.0 };
            return Faults { bit_rot, ..faults };
        }
        Faults { sync_error: 0.0, short_read: 0.0, read_error: 0.0, write_error: 0.0, no_space: 0.0, ..faults }
    }

    /// How many operations a node's disk has failed so far: a server may refuse or stop after one.
    pub fn failed_operations(&self, node: usize) -> u64 {
        sim::with_disk(self.machine(node), |disk| {
            let counts = disk.counts();
            [Fault::ReadError, Fault::WriteError, Fault::SyncError, Fault::NoSpace, Fault::ShortRead, Fault::BitRot]
                .into_iter()
                .map(|fault| counts.of(fault))
                .sum()
        })
    }

    /// Whether a node's disk has turned bits over: what it holds is damaged for good.
    pub fn has_rotted(&self, node: usize) -> bool {
        sim::with_disk(self.machine(node), |disk| disk.counts().of(Fault::BitRot) > 0)
    }

    pub fn failed_syncs(&self, node: usize) -> u64 {
        sim::with_disk(self.machine(node), |disk| disk.counts().of(Fault::SyncError))
    }

    /// Whether any disk has failed anything.
    pub fn any_operation_failed(&self) -> bool {
        (0..self.nodes()).any(|node| self.failed_operations(node) > 0)
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
