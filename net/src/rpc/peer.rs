//! One connection to another node, kept up: the way of everything from one core here to one core there, on one lane.
//!
//! Invariants: queues are bounded ([`Limits`]); a group message may be dropped, and its sender is told; a call always ends, with
//! its answer or with what is known of its fate. A peer that cannot be reached costs no memory.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;

use bytes::Bytes;
use futures_lite::future;
use highwater_runtime::{Env, Monotonic};

use super::backoff::Backoff;
use super::call::Response;
use super::chunk::SnapshotChunk;
use super::counters::PeerCounters;
use super::error::{CallError, Dropped, NotSent, RpcError, Unknown};
use super::fields::Malformed;
use super::frame::FrameKind;
use super::framed::within;
use super::greeting::{Greeted, initiate, malformed};
use super::handshake::{HandshakeError, Link, LocalNode, Target};
use super::hello::Refused;
use super::ids::{CallId, CallKind, Incarnation};
use super::limits::Limits;
use super::message::GroupMessage;
use super::outgoing::{Asked, Outgoing, QueueDepth};
use super::ping::{Ping, Pong};
use super::security::Security;
use super::signal::{Signal, Stop};

/// Whom to reach, and how.
#[derive(Clone, Debug)]
pub struct PeerConfig {
    /// Where it listens.
    pub address: SocketAddr,
    /// The name or address that its certificate must be for; unused without TLS.
    pub name: String,
    /// The node, the cores, the lane.
    pub target: Target,
    /// This node.
    pub local: LocalNode,
    /// How the connection is protected.
    pub security: Security,
    /// Bounds.
    pub limits: Limits,
}

/// What is known of the peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerStatus {
    /// The present link, if there is one.
    pub link: Option<Link>,
    /// When a ping was last answered. It proves the node alive, in the incarnation below, and nothing about its groups.
    pub heard: Option<Monotonic>,
    /// The life in which it answered last.
    pub incarnation: Option<Incarnation>,
    /// The last ping's round trip, in microseconds.
    pub round_trip_micros: Option<u64>,
    /// How far its wall clock is ahead of this node's, in microseconds, within half the round trip.
    pub clock_ahead_micros: Option<i64>,
    /// Why the last attempt or link ended.
    pub trouble: Option<String>,
    /// The peer's own words, when it was the peer that said no to the last attempt.
    pub refused: Option<Refused>,
}

struct Shared {
    outgoing: RefCell<Outgoing>,
    status: RefCell<PeerStatus>,
    signal: Signal,
    /// The link came up, or an attempt or a link has ended.
    changed: Signal,
    stop: Stop,
    /// The ping that is under way: its number, when it was made.
    pinged: Cell<(u64, Monotonic)>,
}

/// A handle; clones are the same peer. The connection ends with [`Self::stop`].
#[derive(Clone)]
pub struct Peer<E> {
    env: E,
    shared: Rc<Shared>,
}

/// Takes a call back when its caller is dropped.
struct Asking<'a> {
    shared: &'a Shared,
    id: CallId,
    ended: bool,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if !self.ended {
            let _ = self.shared.outgoing.borrow_mut().give_up(self.id);
        }
    }
}

impl<E: Env> Peer<E> {
    /// Starts to connect, and goes on until stopped.
    ///
    /// # Errors
    /// [`RpcError::TlsNeeded`], [`RpcError::Limits`].
    pub fn start(env: &E, config: PeerConfig) -> Result<Self, RpcError> {
        config.security.check(config.address)?;
        config.limits.check()?;
        let shared = Rc::new(Shared {
            outgoing: RefCell::new(Outgoing::new(config.limits)),
            status: RefCell::default(),
            signal: Signal::default(),
            changed: Signal::default(),
            stop: Stop::default(),
            pinged: Cell::new((0, env.now())),
        });
        env.spawn("rpc peer", keep_up(env.clone(), config, Rc::clone(&shared)));
        Ok(Self { env: env.clone(), shared })
    }

    /// Queues a message; it goes with the next write, together with all that waits then. Order is kept while the link holds.
    ///
    /// # Errors
    /// [`Dropped`]: the message is gone.
    pub fn send(&self, message: GroupMessage) -> Result<(), Dropped> {
        self.shared.outgoing.borrow_mut().push(message)?;
        self.shared.signal.raise();
        Ok(())
    }

    /// Asks the peer's handler something and waits for its answer. When the future is dropped, so is the answer.
    ///
    /// # Errors
    /// [`CallError`] says whether the peer may have done it.
    pub async fn call(&self, kind: CallKind, payload: Bytes, timeout_micros: u64) -> Result<Bytes, CallError> {
        self.ask(Asked::Call { kind, payload }, timeout_micros).await
    }

    /// Hands over a chunk of a snapshot and waits until the peer's handler has taken it.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn chunk(&self, chunk: SnapshotChunk, timeout_micros: u64) -> Result<Bytes, CallError> {
        self.ask(Asked::Chunk(chunk), timeout_micros).await
    }

    async fn ask(&self, asked: Asked, timeout_micros: u64) -> Result<Bytes, CallError> {
        if self.shared.stop.is_stopped() {
            return Err(CallError::NotSent(NotSent::Stopped));
        }
        let deadline = self.env.now().after_micros(timeout_micros);
        let asking = self.shared.outgoing.borrow_mut().ask(asked, deadline.0);
        let (id, reply) = asking.map_err(CallError::NotSent)?;
        let mut asking = Asking { shared: &self.shared, id, ended: false };
        self.shared.signal.raise();
        let outcome = future::or(async { Some(reply.await) }, async {
            self.env.sleep_until(deadline).await;
            None
        })
        .await;
        asking.ended = true;
        match outcome {
            Some(Ok(outcome)) => outcome,
            Some(Err(_)) => Err(CallError::Unknown(Unknown::Disconnected)),
            None => Err(self.shared.outgoing.borrow_mut().give_up(id)),
        }
    }

    /// What is known of the peer.
    #[must_use]
    pub fn status(&self) -> PeerStatus {
        self.shared.status.borrow().clone()
    }

    /// Waits until a link comes up, or an attempt or the link ends; what happened since the last wait ends it at once. One waiter at
    /// a time.
    pub async fn changed(&self) {
        self.shared.changed.raised().await;
    }

    /// What was counted.
    #[must_use]
    pub fn counters(&self) -> PeerCounters {
        self.shared.outgoing.borrow().counters
    }

    /// How full the queues are.
    #[must_use]
    pub fn depth(&self) -> QueueDepth {
        self.shared.outgoing.borrow().depth()
    }

    /// Ends the connection for good. Calls end with what is known of them.
    pub fn stop(&self) {
        self.shared.stop.stop();
        self.shared.changed.raise();
        self.shared.outgoing.borrow_mut().unreachable(NotSent::Stopped);
    }
}

/// Connects, talks, waits, and again.
async fn keep_up<E: Env>(env: E, config: PeerConfig, shared: Rc<Shared>) {
    let mut backoff = Backoff::new(config.limits.backoff_micros, config.limits.backoff_limit_micros);
    while !shared.stop.is_stopped() {
        let stopped = async {
            shared.stop.stopped().await;
            None
        };
        let Some(connected) = future::or(stopped, async { Some(connect(&env, &config, &shared).await) }).await else {
            break;
        };
        let end = match connected {
            Ok(greeted) => {
                let since = env.now();
                let stopped = async {
                    shared.stop.stopped().await;
                    RpcError::Ended
                };
                let end = future::or(stopped, talk(&env, &config, &shared, greeted)).await;
                if env.now().micros_since(since) > config.limits.backoff_limit_micros {
                    backoff.reset();
                }
                shared.outgoing.borrow_mut().disconnected();
                end
            }
            Err(error) => {
                shared.outgoing.borrow_mut().unreachable(NotSent::Unreachable);
                error
            }
        };
        if end.is_violation() {
            let counters = &mut shared.outgoing.borrow_mut().counters;
            counters.violations = counters.violations.saturating_add(1);
        }
        {
            let mut status = shared.status.borrow_mut();
            status.link = None;
            status.refused = if let RpcError::Handshake(HandshakeError::Refused(refused)) = &end {
                Some(refused.clone())
            } else {
                None
            };
            status.trouble = Some(end.to_string());
        }
        shared.changed.raise();
        let wait = backoff.next_micros(env.random());
        future::or(shared.stop.stopped(), env.sleep(wait)).await;
    }
    shared.outgoing.borrow_mut().unreachable(NotSent::Stopped);
}

async fn connect<E: Env>(env: &E, config: &PeerConfig, shared: &Shared) -> Result<Greeted<E>, RpcError> {
    {
        let counters = &mut shared.outgoing.borrow_mut().counters;
        counters.attempts = counters.attempts.saturating_add(1);
    }
    let at = env.now().after_micros(config.limits.handshake_micros);
    let greeted = within(env, at, "connecting to the peer", async {
        let stream = env.connect(config.address).await?;
        initiate(env, &config.limits, &config.security, &config.local, config.target, &config.name, stream).await
    })
    .await?;
    let link = greeted.link;
    {
        let mut outgoing = shared.outgoing.borrow_mut();
        outgoing.connected(link.frame_bytes, link.calls);
        outgoing.counters.links = outgoing.counters.links.saturating_add(1);
    }
    let mut status = shared.status.borrow_mut();
    status.link = Some(link);
    status.trouble = None;
    status.refused = None;
    drop(status);
    shared.changed.raise();
    Ok(greeted)
}

/// Reads and writes until one of them ends, and says why.
async fn talk<E: Env>(env: &E, config: &PeerConfig, shared: &Shared, greeted: Greeted<E>) -> RpcError {
    let Greeted { mut reader, mut writer, .. } = greeted;
    let (limits, incarnation) = (config.limits, config.local.incarnation);
    let reading = async {
        loop {
            let was = reader.bytes;
            let (kind, payload) = reader.next().await?;
            {
                let counters = &mut shared.outgoing.borrow_mut().counters;
                counters.frames_received = counters.frames_received.saturating_add(1);
                counters.bytes_received = counters.bytes_received.saturating_add(reader.bytes.saturating_sub(was));
            }
            take(env, shared, kind, &payload)?;
        }
    };
    let writing = async {
        let mut next_ping = env.now();
        loop {
            let now = env.now();
            if now >= next_ping {
                let number = shared.pinged.get().0.saturating_add(1);
                shared.pinged.set((number, now));
                shared.outgoing.borrow_mut().ping(Ping { number, incarnation, wall_micros: env.wall().0 });
                next_ping = now.after_micros(limits.ping_micros);
            }
            let frames_before = writer.frames().frames();
            shared.outgoing.borrow_mut().fill(writer.frames(), now.0);
            let bytes = writer.frames().len();
            if bytes == 0 {
                future::or(shared.signal.raised(), env.sleep_until(next_ping)).await;
                continue;
            }
            let frames = writer.frames().frames().wrapping_sub(frames_before);
            writer.flush().await?;
            let counters = &mut shared.outgoing.borrow_mut().counters;
            counters.writes = counters.writes.saturating_add(1);
            counters.frames_sent = counters.frames_sent.saturating_add(u64::from(frames));
            counters.bytes_sent = counters.bytes_sent.saturating_add(bytes as u64);
        }
    };
    let end: Result<std::convert::Infallible, RpcError> = future::or(reading, writing).await;
    match end {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

/// What the side that was connected to may say.
fn take<E: Env>(env: &E, shared: &Shared, kind: FrameKind, payload: &Bytes) -> Result<(), RpcError> {
    match kind {
        FrameKind::Pong => {
            let pong = Pong::decode(payload).map_err(malformed(kind))?;
            heard(env, shared, &pong)
        }
        FrameKind::Response => {
            let response = Response::decode(payload).map_err(malformed(kind))?;
            shared.outgoing.borrow_mut().answered(response);
            // There is credit for another call.
            shared.signal.raise();
            Ok(())
        }
        FrameKind::Hello
        | FrameKind::Challenge
        | FrameKind::Proof
        | FrameKind::Accepted
        | FrameKind::Refused
        | FrameKind::Ping
        | FrameKind::Messages
        | FrameKind::Chunk
        | FrameKind::Request => Err(RpcError::Unexpected(kind)),
    }
}

fn heard<E: Env>(env: &E, shared: &Shared, pong: &Pong) -> Result<(), RpcError> {
    let (number, at) = shared.pinged.get();
    if pong.number > number {
        return Err(malformed(FrameKind::Pong)(Malformed::Value("number")));
    }
    let mut status = shared.status.borrow_mut();
    if status.link.is_some_and(|link| link.incarnation != pong.incarnation) {
        return Err(malformed(FrameKind::Pong)(Malformed::Value("incarnation")));
    }
    let now = env.now();
    status.heard = Some(now);
    status.incarnation = Some(pong.incarnation);
    if pong.number == number {
        let round_trip = now.micros_since(at);
        let there_now = pong.wall_micros.saturating_add(i64::try_from(round_trip / 2).unwrap_or(0));
        status.round_trip_micros = Some(round_trip);
        status.clock_ahead_micros = Some(there_now.saturating_sub(env.wall().0));
    }
    Ok(())
}
