//! A thread that drives many connections, each with one operation under way: it waits for all of them at once, so that a generator of
//! hundreds of connections takes no more of the machine than it must, and wakes for many answers together.
//!
//! What is done about answers that do not come is decided in `client`; here it is carried out. Invariant: a connection's operation ends
//! exactly once, in [`Work::ended`].

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};
use std::io;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::event::{Timespec, epoll::EventFlags};

use crate::client::{Attempt, FIRST_PAUSE, NO_CONNECTION, Next, Nodes, lost_connection, next_pause};
use crate::line::Line;
use crate::measure::{Event, Kind, Recorder};
use crate::multiplexed::{Answer, Multiplexed};
use crate::stage::{Stage, Turn};
use crate::wire::Reply;

/// Longest wait for anything, and how often it is looked for answers that are overdue.
const LOOK: u64 = 20_000_000;
/// Answers that are taken at a time.
const EVENTS: usize = 256;
/// Set in the number of a connection that slots share.
const SHARED: u64 = 1 << 63;

/// What the operations are.
pub(crate) trait Work {
    /// What the figures call operation `number`.
    fn kind(&self, number: u64) -> Kind;

    /// The request of an operation, as JSON.
    fn request(&mut self, turn: Turn, out: &mut Vec<u8>);

    /// Whether a request whose answer was lost may go again: it is applied once all the same.
    fn is_repeatable(&self, _number: u64) -> bool {
        true
    }

    /// An operation has ended. Gives the code of an error that only who knows the operation sees.
    fn ended(&mut self, turn: Turn, sent: u64, end: End<'_>) -> Option<&'static str>;
}

/// How an operation ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End<'a> {
    /// Answered with status 200 and this body.
    Answered(&'a [u8]),
    /// Answered with an error that says that nothing was done.
    Refused,
    /// No answer that tells whether it was done.
    Unknown,
}

/// What a connection is about.
#[derive(Debug)]
enum Doing {
    /// Nothing, for good.
    Nothing,
    /// It waits for its operation's start.
    Reserved,
    /// It waits for an answer, until then.
    Asking(u64),
    /// It waits before it asks again.
    Pausing,
}

#[derive(Debug)]
struct Slot {
    /// The node that it speaks to.
    at: usize,
    wire: Option<Line>,
    doing: Doing,
    turn: Turn,
    ticket: u64,
    /// When the operation was first sent.
    first: u64,
    request: Vec<u8>,
    pause: Duration,
    /// The token that was refused.
    stale: Option<String>,
    /// Head of its requests, and the token and node that it was made with.
    head: Vec<u8>,
    head_of: (usize, String),
}

/// The thread's connections.
pub(crate) struct Lane<'a, W> {
    stage: &'a Stage,
    recorder: &'a Recorder,
    pub(crate) work: W,
    slots: Vec<Slot>,
    /// When slots that are reserved or pause go on, in nanoseconds of the run.
    due: BTreeSet<(u64, usize)>,
    poll: std::os::fd::OwnedFd,
    busy: usize,
    /// Connections that slots share, by the slots' numbers divided by how many do, and node.
    shared: BTreeMap<(usize, usize), Multiplexed>,
    /// Those of them that have something to send.
    unsent: BTreeSet<(usize, usize)>,
}

impl<'a, W: Work> Lane<'a, W> {
    /// Connections whose first nodes are the ones numbered so, modulo their number.
    pub(crate) fn new(
        stage: &'a Stage,
        recorder: &'a Recorder,
        work: W,
        homes: impl Iterator<Item = usize>,
    ) -> io::Result<Self> {
        let slot = |home: usize| Slot {
            at: stage.nodes.home(home),
            wire: None,
            doing: Doing::Nothing,
            turn: Turn { number: 0, start: 0 },
            ticket: 0,
            first: 0,
            request: Vec::new(),
            pause: FIRST_PAUSE,
            stale: None,
            head: Vec::new(),
            head_of: (usize::MAX, String::new()),
        };
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Self {
            stage,
            recorder,
            work,
            slots: homes.map(slot).collect(),
            due: BTreeSet::new(),
            poll,
            busy: 0,
            shared: BTreeMap::new(),
            unsent: BTreeSet::new(),
        })
    }

    /// Works until the run is over and the last operation has ended.
    pub(crate) fn run(mut self) -> io::Result<W> {
        for number in 0..self.slots.len() {
            self.next_turn(number);
        }
        self.send_shared();
        let mut events = Vec::with_capacity(EVENTS);
        let mut look_at = self.stage.now() + LOOK;
        while self.busy > 0 {
            let now = self.stage.now();
            let until = self.due.first().map_or(look_at, |(due, _)| look_at.min(*due)).saturating_sub(now);
            let timeout = Timespec { tv_sec: (until / 1_000_000_000) as i64, tv_nsec: (until % 1_000_000_000) as i64 };
            events.clear();
            match epoll::wait(&self.poll, spare_capacity(&mut events), Some(&timeout)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                let number = event.data.u64();
                if number & SHARED == 0 {
                    self.advance(number as usize);
                } else {
                    self.advance_shared(shared_key(number));
                }
            }
            self.go_on();
            self.send_shared();
            if self.stage.now() >= look_at {
                self.give_up_overdue();
                look_at = self.stage.now() + LOOK;
            }
        }
        Ok(self.work)
    }

    /// The slots whose pause or wait is over.
    fn go_on(&mut self) {
        while let Some((due, number)) = self.due.first().copied()
            && due <= self.stage.now()
        {
            self.due.pop_first();
            let Some(slot) = self.slots.get_mut(number) else { continue };
            match slot.doing {
                Doing::Reserved if self.stage.is_running() => self.begin(number),
                Doing::Reserved => {
                    slot.doing = Doing::Nothing;
                    self.busy -= 1;
                }
                Doing::Pausing => self.ask(number),
                Doing::Nothing | Doing::Asking(_) => {}
            }
        }
    }

    /// Answers that should have come by now count as lost. A run that was ended by hand does not wait for pauses.
    fn give_up_overdue(&mut self) {
        let now = self.stage.now();
        let is_stopped = self.stage.is_stopped();
        for number in 0..self.slots.len() {
            match self.slots.get(number).map(|slot| &slot.doing) {
                Some(Doing::Asking(until)) if *until <= now => {
                    for line in self.shared.values_mut() {
                        line.forget(number);
                    }
                    let message = "no answer in time".to_owned();
                    self.attempted(number, Attempt::Lost { code: "TIMEOUT", message });
                }
                Some(Doing::Pausing) if is_stopped => {
                    self.due.retain(|(_, other)| *other != number);
                    self.end(number, "STOPPED", true);
                }
                Some(Doing::Reserved) if is_stopped => {
                    self.due.retain(|(_, other)| *other != number);
                    self.idle(number);
                }
                Some(_) | None => {}
            }
        }
    }

    fn idle(&mut self, number: usize) {
        if let Some(slot) = self.slots.get_mut(number) {
            slot.doing = Doing::Nothing;
            self.busy -= 1;
        }
    }

    /// Takes the next operation, if there is one.
    fn next_turn(&mut self, number: usize) {
        let turn = self.stage.draw(|number| self.work.kind(number), self.recorder);
        let Some(slot) = self.slots.get_mut(number) else { return };
        let Some(turn) = turn else {
            slot.wire = None;
            return;
        };
        slot.turn = turn;
        self.busy += 1;
        if turn.start > self.stage.now() {
            slot.doing = Doing::Reserved;
            self.due.insert((turn.start, number));
        } else {
            self.begin(number);
        }
    }

    fn begin(&mut self, number: usize) {
        let Some(slot) = self.slots.get_mut(number) else { return };
        slot.ticket = self.stage.ticket();
        slot.first = self.stage.now();
        slot.pause = FIRST_PAUSE;
        slot.stale = None;
        slot.request.clear();
        self.work.request(slot.turn, &mut slot.request);
        self.ask(number);
    }

    /// Sends the operation's request, on a new connection if there is none.
    fn ask(&mut self, number: usize) {
        let (nodes, until) = (&self.stage.nodes, self.stage.now() + self.stage.nodes.patience().as_nanos() as u64);
        let Some(slot) = self.slots.get_mut(number) else { return };
        slot.doing = Doing::Asking(until);
        let token = match nodes.token_at(slot.at, slot.stale.as_deref()) {
            Ok(token) => token,
            Err(message) => return self.attempted(number, Attempt::Lost { code: NO_CONNECTION, message }),
        };
        if slot.head_of.0 != slot.at || slot.head_of.1 != token {
            slot.head = head(nodes, slot.at, &token);
            slot.head_of = (slot.at, token);
        }
        let sent = match nodes.streams() {
            1 => slot.send(nodes, &self.poll, number),
            streams => {
                let key = (number / streams, slot.at);
                self.unsent.insert(key);
                send_shared(&mut self.shared, key, slot, nodes, &self.poll, number)
            }
        };
        if let Err(error) = sent {
            slot.wire = None;
            // Of a shared one all others are told when it is looked at.
            self.attempted(number, lost_connection(&error, false));
        }
    }

    /// The socket of a slot has something for it.
    fn advance(&mut self, number: usize) {
        let Some(slot) = self.slots.get_mut(number) else { return };
        let Some(wire) = &mut slot.wire else { return };
        let was_connecting = wire.is_connecting();
        let advanced = wire.advance();
        match (advanced, &slot.doing) {
            (Ok(Some(reply)), Doing::Asking(_)) if reply.status == 200 => self.answered(number, reply),
            (Ok(Some(reply)), Doing::Asking(_)) => {
                let body = Attempt::body_of(wire.body(&reply));
                if !reply.is_kept {
                    slot.wire = None;
                }
                let Reply { status, retry_after, .. } = reply;
                self.attempted(number, Attempt::Reply { status, retry_after, body });
            }
            (Ok(_), _) => {}
            (Err(error), Doing::Asking(_)) => {
                slot.wire = None;
                self.attempted(number, lost_connection(&error, !was_connecting));
            }
            (Err(_), _) => slot.wire = None,
        }
    }

    /// Sends what slots have for the connections that they share.
    fn send_shared(&mut self) {
        while let Some(key) = self.unsent.pop_first() {
            self.advance_shared(key);
        }
    }

    /// A connection that slots share goes on.
    fn advance_shared(&mut self, key: (usize, usize)) {
        let Some(line) = self.shared.get_mut(&key) else { return };
        self.unsent.remove(&key);
        let was_there = !line.is_connecting();
        let mut answers = Vec::new();
        let lost = line.advance(&mut answers).err();
        let orphans = match lost {
            Some(error) => {
                let line = self.shared.remove(&key);
                let slots = line.into_iter().flat_map(Multiplexed::into_slots).map(|slot| (slot, &error));
                slots.map(|(slot, error)| (slot, lost_connection(error, was_there))).collect()
            }
            None => Vec::new(),
        };
        for Answer { slot: number, reply } in answers {
            match reply {
                Ok((200, _, body)) => self.done(number, &body),
                Ok((status, retry_after, body)) => {
                    let body = Attempt::body_of(&body);
                    self.attempted(number, Attempt::Reply { status, retry_after, body });
                }
                Err(error) => self.attempted(number, lost_connection(&error, true)),
            }
        }
        for (number, attempt) in orphans {
            self.attempted(number, attempt);
        }
    }

    fn answered(&mut self, number: usize, reply: Reply) {
        let Some(wire) = self.slots.get_mut(number).and_then(|slot| slot.wire.take()) else { return };
        self.count(number, wire.body(&reply));
        if let Some(slot) = self.slots.get_mut(number).filter(|_| reply.is_kept) {
            slot.wire = Some(wire);
        }
        self.next_turn(number);
    }

    /// An operation was answered on a connection that slots share.
    fn done(&mut self, number: usize, body: &[u8]) {
        if matches!(self.slots.get(number).map(|slot| &slot.doing), Some(Doing::Asking(_))) {
            self.count(number, body);
            self.next_turn(number);
        }
    }

    /// Counts an operation that was answered.
    fn count(&mut self, number: usize, body: &[u8]) {
        let Some(slot) = self.slots.get_mut(number) else { return };
        let now = self.stage.now();
        let (nanos, service) = (now.saturating_sub(slot.turn.start), now.saturating_sub(slot.first));
        let wrong = self.work.ended(slot.turn, slot.ticket, End::Answered(body));
        let event = wrong.map_or(Event::Done { nanos, service: Some(service) }, Event::Refused);
        self.recorder.count(self.work.kind(slot.turn.number), event, self.stage.is_measured(slot.turn.start));
        slot.doing = Doing::Nothing;
        self.busy -= 1;
    }

    /// An attempt ended in anything but success: again, or that was it.
    fn attempted(&mut self, number: usize, attempt: Attempt) {
        let stage = self.stage;
        let Some(slot) = self.slots.get_mut(number) else { return };
        let (code, wait) = match stage.nodes.judge(attempt) {
            Next::Answered(_) => return,
            Next::Renew { .. } if slot.stale.is_none() && stage.nodes.can_renew() => {
                slot.stale = Some(std::mem::take(&mut slot.head_of.1));
                slot.head_of.0 = usize::MAX;
                return self.ask(number);
            }
            Next::Renew { code, .. } | Next::Refused { code, .. } => return self.end(number, &code, false),
            Next::Unknown { code, .. } => return self.end(number, &code, true),
            Next::Again { code, wait, is_elsewhere, is_lost, .. } => {
                if is_lost && !self.work.is_repeatable(slot.turn.number) {
                    slot.wire = None;
                    slot.at = stage.nodes.after(slot.at);
                    return self.end(number, &code, true);
                }
                if is_elsewhere {
                    slot.wire = None;
                    slot.at = stage.nodes.after(slot.at);
                }
                (code, next_pause(&mut slot.pause, wait))
            }
        };
        let now = stage.now();
        let waited = Duration::from_nanos(now.saturating_sub(slot.first));
        if waited + wait > stage.nodes.give_up() || stage.is_stopped() {
            return self.end(number, &code, true);
        }
        self.recorder.count(self.work.kind(slot.turn.number), Event::Retry(&code), stage.is_measured(slot.turn.start));
        slot.doing = Doing::Pausing;
        self.due.insert((now + wait.as_nanos() as u64, number));
    }

    /// The operation has ended with an error: its code, and whether nobody can tell what became of it.
    fn end(&mut self, number: usize, code: &str, is_unknown: bool) {
        let Some(slot) = self.slots.get_mut(number) else { return };
        let (turn, ticket) = (slot.turn, slot.ticket);
        slot.doing = Doing::Nothing;
        self.busy -= 1;
        let nanos = self.stage.now().saturating_sub(turn.start);
        let _ = self.work.ended(turn, ticket, if is_unknown { End::Unknown } else { End::Refused });
        let event = if is_unknown { Event::GivenUp(code, nanos) } else { Event::Refused(code) };
        self.recorder.count(self.work.kind(turn.number), event, self.stage.is_measured(turn.start));
        self.next_turn(number);
    }
}

impl Slot {
    fn send(&mut self, nodes: &Nodes, poll: &std::os::fd::OwnedFd, number: usize) -> io::Result<()> {
        if self.wire.is_none() {
            let wire = Line::connect(nodes, self.at)?;
            let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
            epoll::add(poll, &wire, epoll::EventData::new_u64(number as u64), flags)?;
            self.wire = Some(wire);
        }
        match &mut self.wire {
            Some(wire) => wire.send(&self.head, &self.request),
            None => Ok(()),
        }
    }
}

/// Begins a slot's request on a connection that it shares, on a new one if there is none.
fn send_shared(
    shared: &mut BTreeMap<(usize, usize), Multiplexed>,
    key: (usize, usize),
    slot: &Slot,
    nodes: &Nodes,
    poll: &std::os::fd::OwnedFd,
    number: usize,
) -> io::Result<()> {
    let line = match shared.entry(key) {
        Entry::Occupied(entry) => entry.into_mut(),
        Entry::Vacant(entry) => {
            let uri = format!("http://{}/v1/api/sql", nodes.authority(slot.at)).parse().map_err(io::Error::other)?;
            let line = Multiplexed::connect(nodes.address(slot.at)?, uri)?;
            let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
            epoll::add(poll, &line, epoll::EventData::new_u64(shared_number(key)), flags)?;
            entry.insert(line)
        }
    };
    line.send(number, &slot.head_of.1, &slot.request)
}

/// What a shared connection is called in the kernel's events.
fn shared_number((group, at): (usize, usize)) -> u64 {
    SHARED | (group as u64) << 16 | at as u64
}

fn shared_key(number: u64) -> (usize, usize) {
    (((number & !SHARED) >> 16) as usize, (number & 0xffff) as usize)
}

fn head(nodes: &Nodes, at: usize, token: &str) -> Vec<u8> {
    format!(
        "POST /v1/api/sql HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\nauthorization: Bearer {token}\r\n",
        nodes.authority(at)
    )
    .into_bytes()
}
