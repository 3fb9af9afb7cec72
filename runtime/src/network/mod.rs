//! # The network model: machines, directed links, connections that break
//!
//! Owns what lies between a write on one machine and a read on another: a stream's bytes arrive whole and in order, or the connection
//! ends, sooner or later, with or without a word. Times are microseconds that the caller gives; nothing here waits.
//! A plain library: the simulation backend asks it, and tests drive it by hand. Must never: reorder or lose bytes inside a
//! connection that goes on (TCP does not), unless a link is said to turn bits over.
//!
//! A **cut** link delivers nothing. What was sent over it is held back and arrives after the link is whole again, unless an end gave up
//! on the connection meanwhile; the other end learns of that when it writes, or after the time that keep-alives take. A machine
//! that loses its power says nothing either; one whose process is killed says goodbye by its kernel.

mod link;
mod pipe;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::task::Waker;

pub use link::{Link, NetworkCounts, NetworkFault};

use crate::disk::CrashKind;
use crate::env::CoreId;
use crate::rng::Rng;
use pipe::{Pipe, WINDOW};

/// A machine on the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Machine(pub u64);

/// A connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// An end of a connection: the side that connected, or the one that accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// It connected.
    Connector,
    /// It accepted.
    Acceptor,
}

impl Side {
    /// The other end.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Connector => Self::Acceptor,
            Self::Acceptor => Self::Connector,
        }
    }
}

/// What became of a read or write.
#[derive(Debug)]
pub enum Progress {
    /// So many bytes were moved; a read of zero bytes is the end of the direction.
    Moved(usize),
    /// The connection is gone.
    Failed(io::ErrorKind),
    /// Nothing yet. The waker given is woken when something changes; by itself something changes at this time.
    Wait(Option<u64>),
}

/// What became of a connect's first segment at the machine that it went to.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The connection exists there; the connector knows at `back`.
    Accepted {
        /// Which.
        id: ConnectionId,
        /// When the answer is back.
        back: u64,
    },
    /// Nobody listens.
    Refused {
        /// When the answer is back.
        back: u64,
    },
    /// Nothing comes back.
    Lost,
}

/// An end's view.
#[derive(Debug, Default)]
struct End {
    machine: u64,
    /// The socket is no more: closed, given up, or gone with its machine.
    gone: bool,
    /// From when on every call fails, and how.
    fails: Option<(u64, Failure)>,
    /// When this end gives up, since what it sent does not get through.
    gives_up: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    Reset,
    TimedOut,
}

impl Failure {
    const fn kind(self) -> io::ErrorKind {
        match self {
            Self::Reset => io::ErrorKind::ConnectionReset,
            Self::TimedOut => io::ErrorKind::TimedOut,
        }
    }
}

/// A connection: its ends, and for each end the direction in which it sends.
#[derive(Debug, Default)]
struct Connection {
    connector: End,
    acceptor: End,
    from_connector: Pipe,
    from_acceptor: Pipe,
}

impl Connection {
    const fn end(&mut self, side: Side) -> &mut End {
        match side {
            Side::Connector => &mut self.connector,
            Side::Acceptor => &mut self.acceptor,
        }
    }

    /// The direction in which `side` sends.
    const fn pipe(&mut self, side: Side) -> &mut Pipe {
        match side {
            Side::Connector => &mut self.from_connector,
            Side::Acceptor => &mut self.from_acceptor,
        }
    }

    /// Everyone who waits on an end.
    fn waiting(&mut self, side: Side) -> impl Iterator<Item = Waker> {
        let reader = self.pipe(side.other()).reader.take();
        let writer = self.pipe(side).writer.take();
        reader.into_iter().chain(writer)
    }
}

/// A listening port of a machine.
#[derive(Debug, Default)]
struct Port {
    /// Per core that listens: connections that wait to be accepted, with the connector's port.
    cores: BTreeMap<CoreId, Backlog>,
}

#[derive(Debug, Default)]
struct Backlog {
    waiting: VecDeque<(ConnectionId, Machine, u16)>,
    acceptor: Option<Waker>,
}

/// Connections that wait to be accepted by one core, at most.
const BACKLOG: usize = 1024;
/// First port of those that connect.
const EPHEMERAL: u16 = 32_768;

/// Everything between the machines.
#[derive(Debug)]
pub struct Network {
    rng: Rng,
    all: Link,
    links: BTreeMap<(Machine, Machine), Link>,
    /// Cut links, and since when.
    cut: BTreeMap<(Machine, Machine), u64>,
    /// Machines without power.
    dark: BTreeSet<Machine>,
    ports: BTreeMap<(Machine, u16), Port>,
    connections: BTreeMap<ConnectionId, Connection>,
    next_connection: u64,
    next_port: u16,
    counts: NetworkCounts,
    /// Faults since the last [`Network::take_faults`], for the trace.
    faults: Vec<NetworkFault>,
    woken: Vec<Waker>,
}

impl Network {
    /// A network of sound links, whose draws follow from `rng`.
    #[must_use]
    pub fn new(rng: Rng) -> Self {
        Self {
            rng,
            all: Link::sound(),
            links: BTreeMap::new(),
            cut: BTreeMap::new(),
            dark: BTreeSet::new(),
            ports: BTreeMap::new(),
            connections: BTreeMap::new(),
            next_connection: 0,
            next_port: EPHEMERAL,
            counts: NetworkCounts::default(),
            faults: Vec::new(),
            woken: Vec::new(),
        }
    }

    // Links ------------------------------------------------------------------------------------------------------------

    /// Every link that was not set by itself.
    pub const fn set_links(&mut self, link: Link) {
        self.all = link;
    }

    /// One directed link.
    pub fn set_link(&mut self, from: Machine, to: Machine, link: Link) {
        self.links.insert((from, to), link);
    }

    /// All links are sound and whole again.
    pub fn heal(&mut self, now: u64) {
        self.all = Link::sound();
        self.links.clear();
        for (from, to) in self.cut.keys().copied().collect::<Vec<_>>() {
            self.mend(from, to, now);
        }
    }

    /// Cuts a directed link: nothing gets through until it is mended.
    pub fn cut(&mut self, from: Machine, to: Machine, now: u64) {
        if self.cut.contains_key(&(from, to)) {
            return;
        }
        self.cut.insert((from, to), now);
        for (id, side) in self.sending(from, to) {
            let Some(connection) = self.connections.get_mut(&id) else { continue };
            let held = connection.pipe(side).hold_back(now);
            if held > 0 {
                self.note(NetworkFault::HeldBack);
                self.lose_patience(id, side, now);
            }
            self.wake(id, side.other());
        }
    }

    /// Mends a cut link: what was held back arrives after the wait of a sender that tries now and then.
    pub fn mend(&mut self, from: Machine, to: Machine, now: u64) {
        let Some(since) = self.cut.remove(&(from, to)) else { return };
        let backoff = (now.saturating_sub(since)).min(1_000_000);
        for (id, side) in self.sending(from, to) {
            let delay = self.delay(from, to) + self.rng.below(backoff + 1);
            let Some(connection) = self.connections.get_mut(&id) else { continue };
            connection.pipe(side).release(now + delay);
            connection.end(side).gives_up = None;
            self.wake(id, side.other());
            self.wake(id, side);
        }
    }

    /// Whether a directed link is cut.
    #[must_use]
    pub fn is_cut(&self, from: Machine, to: Machine) -> bool {
        self.cut.contains_key(&(from, to))
    }

    /// Resets every connection between two machines, from the middle.
    pub fn reset_between(&mut self, one: Machine, other: Machine, now: u64) {
        let mut found: Vec<ConnectionId> = Vec::new();
        for (from, to) in [(one, other), (other, one)] {
            found.extend(self.sending(from, to).into_iter().map(|(id, _)| id));
        }
        found.sort_unstable();
        found.dedup();
        for id in found {
            self.note(NetworkFault::Reset);
            self.fail(id, Side::Connector, now, Failure::Reset);
            self.fail(id, Side::Acceptor, now, Failure::Reset);
        }
    }

    /// How often each fault has fired.
    #[must_use]
    pub const fn counts(&self) -> NetworkCounts {
        self.counts
    }

    /// The faults since the last call.
    pub fn take_faults(&mut self) -> Vec<NetworkFault> {
        std::mem::take(&mut self.faults)
    }

    /// Who has to be woken; done by the caller, once it has let go of the network.
    pub fn take_woken(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.woken)
    }

    fn note(&mut self, fault: NetworkFault) {
        self.counts.count(fault);
        self.faults.push(fault);
    }

    fn link(&self, from: Machine, to: Machine) -> Link {
        if from == to {
            // A machine reaches itself whatever the network does.
            return Link { latency: 20, jitter: 20, ..Link::sound() };
        }
        self.links.get(&(from, to)).copied().unwrap_or(self.all)
    }

    fn delay(&mut self, from: Machine, to: Machine) -> u64 {
        self.link(from, to).draw_delay(&mut self.rng)
    }

    /// Directions that lead from one machine to another.
    fn sending(&self, from: Machine, to: Machine) -> Vec<(ConnectionId, Side)> {
        let mut found = Vec::new();
        for (id, connection) in &self.connections {
            let (one, other) = (Machine(connection.connector.machine), Machine(connection.acceptor.machine));
            if (one, other) == (from, to) {
                found.push((*id, Side::Connector));
            }
            if (other, one) == (from, to) {
                found.push((*id, Side::Acceptor));
            }
        }
        found
    }

    // Machines ---------------------------------------------------------------------------------------------------------

    /// A machine's process has ended, with or without its power.
    pub fn crash(&mut self, machine: Machine, kind: CrashKind, now: u64) {
        self.ports.retain(|(at, _), _| *at != machine);
        if kind == CrashKind::Power {
            self.dark.insert(machine);
        }
        let ids: Vec<ConnectionId> = self.connections.keys().copied().collect();
        for id in ids {
            for side in [Side::Connector, Side::Acceptor] {
                let Some(connection) = self.connections.get_mut(&id) else { continue };
                if connection.end(side).machine != machine.0 || connection.end(side).gone {
                    continue;
                }
                match kind {
                    CrashKind::Process => self.close(id, side, now),
                    CrashKind::Power => self.vanish(id, side, now),
                }
            }
        }
    }

    /// A machine is up again.
    pub fn start(&mut self, machine: Machine) {
        self.dark.remove(&machine);
    }

    /// An end is gone and says nothing: its segments are lost from some point on, and the other end knows nothing for a while.
    fn vanish(&mut self, id: ConnectionId, side: Side, now: u64) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.end(side).gone = true;
        connection.end(side).gives_up = None;
        let under_way = connection.pipe(side).under_way(now);
        let kept = usize::try_from(self.rng.below(under_way as u64 + 1)).unwrap_or(0);
        let lost = connection.pipe(side).cut_off(now, kept);
        connection.pipe(side.other()).clear();
        if lost > 0 {
            self.note(NetworkFault::LostWithSender);
        }
        self.leave_half_open(id, side.other(), now);
        self.forget_if_over(id);
    }

    /// The other end is gone without a word: this one learns of it by its keep-alives, if not earlier.
    fn leave_half_open(&mut self, id: ConnectionId, side: Side, now: u64) {
        let keep_alive = now + 500_000 + self.rng.below(4_500_000);
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if connection.end(side).gone {
            return;
        }
        self.note(NetworkFault::HalfOpen);
        self.fail(id, side, keep_alive, Failure::Reset);
    }

    // Connecting -------------------------------------------------------------------------------------------------------

    /// A core of a machine listens on a port; 0 is any. Further cores of the machine may join.
    ///
    /// # Errors
    /// `AddrInUse`: this core listens there already.
    pub fn listen(&mut self, machine: Machine, port: u16, core: CoreId) -> io::Result<u16> {
        let port = if port == 0 { self.ephemeral() } else { port };
        let cores = &mut self.ports.entry((machine, port)).or_default().cores;
        if cores.contains_key(&core) {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, format!("this core already listens on port {port}")));
        }
        cores.insert(core, Backlog::default());
        Ok(port)
    }

    /// A core no longer listens. Connections that it has not accepted are reset.
    pub fn unlisten(&mut self, machine: Machine, port: u16, core: CoreId, now: u64) {
        let Some(listening) = self.ports.get_mut(&(machine, port)) else { return };
        let backlog = listening.cores.remove(&core);
        if listening.cores.is_empty() {
            self.ports.remove(&(machine, port));
        }
        for (id, _, _) in backlog.into_iter().flat_map(|backlog| backlog.waiting) {
            self.close(id, Side::Acceptor, now);
        }
    }

    fn ephemeral(&mut self) -> u16 {
        let port = self.next_port;
        self.next_port = self.next_port.checked_add(1).unwrap_or(EPHEMERAL);
        port
    }

    /// When a connect's first segment reaches its machine; `None` if it never does.
    pub fn begin_connect(&mut self, from: Machine, to: Machine, now: u64) -> Option<u64> {
        let link = self.link(from, to);
        if self.is_cut(from, to) || self.rng.chance(link.loss) {
            self.note(NetworkFault::ConnectLost);
            return None;
        }
        Some(now + self.delay(from, to))
    }

    /// A connect's first segment has reached its machine.
    pub fn arrive(&mut self, from: Machine, to: Machine, port: u16, now: u64) -> Arrival {
        if self.dark.contains(&to) || self.is_cut(from, to) {
            self.note(NetworkFault::ConnectLost);
            return Arrival::Lost;
        }
        let back = now + self.delay(to, from);
        let answer_lost = self.is_cut(to, from);
        let refused = if answer_lost { Arrival::Lost } else { Arrival::Refused { back } };
        let link = self.link(from, to);
        if self.rng.chance(link.refuse) {
            self.note(NetworkFault::Refused);
            return refused;
        }
        let connector_port = self.ephemeral();
        let Some(listening) = self.ports.get_mut(&(to, port)) else { return refused };
        let pick = usize::try_from(self.rng.below(listening.cores.len() as u64)).unwrap_or(0);
        let Some(backlog) = listening.cores.values_mut().nth(pick) else { return refused };
        if backlog.waiting.len() >= BACKLOG {
            return Arrival::Lost;
        }
        let id = ConnectionId(self.next_connection);
        self.next_connection += 1;
        backlog.waiting.push_back((id, from, connector_port));
        self.woken.extend(backlog.acceptor.take());
        let mut connection = Connection::default();
        connection.connector.machine = from.0;
        connection.acceptor.machine = to.0;
        // Until the connector knows of it, this end is all there is.
        connection.connector.gone = answer_lost;
        self.connections.insert(id, connection);
        if answer_lost {
            self.leave_half_open(id, Side::Acceptor, now);
            self.note(NetworkFault::ConnectLost);
            return Arrival::Lost;
        }
        Arrival::Accepted { id, back }
    }

    /// The next connection of a core that listens: which, and the connector with its port.
    pub fn accept(
        &mut self,
        machine: Machine,
        port: u16,
        core: CoreId,
        waker: &Waker,
    ) -> Option<(ConnectionId, Machine, u16)> {
        let backlog = self.ports.get_mut(&(machine, port)).and_then(|listening| listening.cores.get_mut(&core))?;
        let next = backlog.waiting.pop_front();
        if next.is_none() {
            backlog.acceptor = Some(waker.clone());
        }
        next
    }

    // Streams ----------------------------------------------------------------------------------------------------------

    /// Reads what has arrived at an end.
    pub fn read(&mut self, id: ConnectionId, side: Side, target: &mut [u8], now: u64, waker: &Waker) -> Progress {
        let Some(connection) = self.connections.get_mut(&id) else {
            return Progress::Failed(io::ErrorKind::ConnectionReset);
        };
        let moved = connection.pipe(side.other()).take(target, now);
        match moved {
            None => return Progress::Moved(0),
            Some(0) => {}
            Some(count) => {
                self.woken.extend(connection.pipe(side.other()).writer.take());
                return Progress::Moved(count);
            }
        }
        if let Some(failure) = self.failure(id, side, now) {
            return Progress::Failed(failure);
        }
        let Some(connection) = self.connections.get_mut(&id) else {
            return Progress::Failed(io::ErrorKind::ConnectionReset);
        };
        let pipe = connection.pipe(side.other());
        pipe.reader = Some(waker.clone());
        let arrival = pipe.next_arrival();
        let end = connection.end(side);
        let changes = [arrival, end.fails.map(|(at, _)| at), end.gives_up];
        Progress::Wait(changes.into_iter().flatten().min())
    }

    /// Sends bytes from an end.
    pub fn write(&mut self, id: ConnectionId, side: Side, bytes: &[u8], now: u64, waker: &Waker) -> Progress {
        if let Some(failure) = self.failure(id, side, now) {
            return Progress::Failed(failure);
        }
        let Some(connection) = self.connections.get_mut(&id) else {
            return Progress::Failed(io::ErrorKind::ConnectionReset);
        };
        if connection.pipe(side).ended && !connection.end(side.other()).gone {
            return Progress::Failed(io::ErrorKind::BrokenPipe);
        }
        let (from, to) = (Machine(connection.end(side).machine), Machine(connection.end(side.other()).machine));
        if connection.end(side.other()).gone {
            self.answer_with_reset(id, side, from, to, now);
            return Progress::Moved(bytes.len());
        }
        if connection.end(side).fails.is_some() {
            // It is reset already and does not know yet: nothing may follow what was torn.
            return Progress::Moved(bytes.len());
        }
        let room = WINDOW.saturating_sub(connection.pipe(side).held);
        if room == 0 {
            connection.pipe(side).writer = Some(waker.clone());
            let end = connection.end(side);
            let changes = [end.fails.map(|(at, _)| at), end.gives_up];
            let wait = Progress::Wait(changes.into_iter().flatten().min());
            self.note(NetworkFault::Full);
            return wait;
        }
        let count = room.min(bytes.len());
        let sent: Vec<u8> = bytes.iter().take(count).copied().collect();
        self.send(id, side, sent, now);
        Progress::Moved(count)
    }

    /// No more comes from this end; the other direction stays open.
    pub fn finish(&mut self, id: ConnectionId, side: Side, now: u64) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if connection.pipe(side).ended || connection.end(side).gone {
            return;
        }
        connection.pipe(side).ended = true;
        // A torn direction must not look as if it had ended well.
        if connection.end(side).fails.is_none() && !connection.end(side.other()).gone {
            self.send(id, side, Vec::new(), now);
        }
    }

    /// The socket of an end is closed. With something unread in it the other end is reset, as kernels do.
    pub fn close(&mut self, id: ConnectionId, side: Side, now: u64) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if connection.end(side).gone {
            return;
        }
        let (from, to) = (Machine(connection.end(side).machine), Machine(connection.end(side.other()).machine));
        let unread = connection.pipe(side.other()).held > 0;
        connection.pipe(side.other()).clear();
        self.finish(id, side, now);
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.end(side).gone = true;
        connection.end(side).gives_up = None;
        let writer = connection.pipe(side.other()).writer.take();
        self.woken.extend(writer);
        if self.is_cut(from, to) {
            self.leave_half_open(id, side.other(), now);
        } else if unread {
            let at = now + self.delay(from, to);
            self.fail(id, side.other(), at, Failure::Reset);
        }
        self.forget_if_over(id);
    }

    /// Puts a segment on the wire; empty is the end of the direction.
    fn send(&mut self, id: ConnectionId, side: Side, mut bytes: Vec<u8>, now: u64) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let (from, to) = (Machine(connection.end(side).machine), Machine(connection.end(side.other()).machine));
        let link = self.link(from, to);
        let mut at = now + self.delay(from, to);
        if let Some(takes) = (bytes.len() as u64 * 1_000_000).checked_div(link.bytes_per_second) {
            let before = self.connections.get_mut(&id).map_or(0, |connection| connection.pipe(side).last_arrival);
            at = at.max(before) + takes;
            if takes > 1_000 {
                self.note(NetworkFault::Slowed);
            }
        }
        if self.rng.chance(link.loss) {
            at += 20_000 + self.rng.below(380_000);
            self.note(NetworkFault::Loss);
        }
        if !bytes.is_empty() && self.rng.chance(link.corrupt) {
            let place = usize::try_from(self.rng.below(bytes.len() as u64)).unwrap_or(0);
            if let Some(byte) = bytes.get_mut(place) {
                *byte ^= 1 << self.rng.below(8);
            }
            self.note(NetworkFault::Corrupted);
        }
        let reset = !bytes.is_empty() && self.rng.chance(link.reset);
        if reset {
            bytes.truncate(usize::try_from(self.rng.below(bytes.len() as u64 + 1)).unwrap_or(0));
        }
        let cut = self.is_cut(from, to);
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let pipe = connection.pipe(side);
        at = at.max(pipe.last_arrival);
        let stuck = cut || pipe.is_stuck();
        if !reset || !bytes.is_empty() {
            pipe.push(bytes, (!stuck).then_some(at));
        }
        self.wake(id, side.other());
        if stuck {
            self.note(NetworkFault::HeldBack);
            self.lose_patience(id, side, now);
        }
        if reset {
            self.note(NetworkFault::Reset);
            self.fail(id, side.other(), at, Failure::Reset);
            self.fail(id, side, at, Failure::Reset);
        }
    }

    /// What an end writes to one that is gone: answered by a reset, if its machine is there to answer.
    fn answer_with_reset(&mut self, id: ConnectionId, side: Side, from: Machine, to: Machine, now: u64) {
        if self.dark.contains(&to) || self.is_cut(from, to) || self.is_cut(to, from) {
            return;
        }
        let at = now + self.delay(from, to) + self.delay(to, from);
        self.fail(id, side, at, Failure::Reset);
    }

    /// This end gives up some time from now, unless something gets through.
    fn lose_patience(&mut self, id: ConnectionId, side: Side, now: u64) {
        let patience = 2_000_000 + self.rng.below(10_000_000);
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.end(side).gives_up.get_or_insert(now + patience);
        }
        self.wake(id, side);
    }

    /// From a time on an end's calls fail; the earliest such time counts.
    fn fail(&mut self, id: ConnectionId, side: Side, at: u64, failure: Failure) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let end = connection.end(side);
        if end.fails.is_none_or(|(before, _)| at < before) {
            end.fails = Some((at, failure));
        }
        self.wake(id, side);
    }

    /// Whether an end's calls fail by now.
    fn failure(&mut self, id: ConnectionId, side: Side, now: u64) -> Option<io::ErrorKind> {
        let connection = self.connections.get_mut(&id)?;
        if let Some((_, failure)) = connection.end(side).fails.filter(|(at, _)| *at <= now) {
            return Some(failure.kind());
        }
        connection.end(side).gives_up.filter(|at| *at <= now)?;
        connection.end(side).gives_up = None;
        connection.end(side).fails = Some((now, Failure::TimedOut));
        let lost = connection.pipe(side).cut_off(now, 0);
        self.note(NetworkFault::TimedOut);
        if lost > 0 {
            self.leave_half_open(id, side.other(), now);
        }
        Some(Failure::TimedOut.kind())
    }

    fn wake(&mut self, id: ConnectionId, side: Side) {
        if let Some(connection) = self.connections.get_mut(&id) {
            self.woken.extend(connection.waiting(side));
        }
    }

    fn forget_if_over(&mut self, id: ConnectionId) {
        if self.connections.get(&id).is_some_and(|connection| connection.connector.gone && connection.acceptor.gone) {
            self.connections.remove(&id);
        }
    }
}
