//! Streams and listeners over the [network model](crate::network). Reads and writes move random amounts.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_lite::{AsyncRead, AsyncWrite};
use madsim::time::Sleep;

use super::env::MadsimEnv;
use super::world::World;
use crate::disk::Incarnation;
use crate::env::{Env, Listener};
use crate::network::{Arrival, ConnectionId, Machine, Progress, Side};
use crate::rng::Rng;

/// Largest segment, in bytes.
const SEGMENT: usize = 64 * 1024;
/// How long a connect tries, in microseconds.
const CONNECT: u64 = 4_000_000;

/// One end of a simulated connection.
pub struct MadsimStream {
    world: World,
    machine: Machine,
    life: Incarnation,
    id: ConnectionId,
    side: Side,
    rng: Rng,
    /// When something changes by itself, who waits for it.
    timer: Option<(u64, Waker, Pin<Box<Sleep>>)>,
    write_ended: bool,
}

impl std::fmt::Debug for MadsimStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MadsimStream").field("id", &self.id).field("side", &self.side).finish_non_exhaustive()
    }
}

impl MadsimStream {
    fn new(env: &MadsimEnv, id: ConnectionId, side: Side) -> Self {
        let world = env.world().clone();
        let (machine, life) = env.place();
        let rng = world.fork_rng();
        Self { world, machine, life, id, side, rng, timer: None, write_ended: false }
    }

    pub(super) async fn connect(env: &MadsimEnv, addr: SocketAddr) -> io::Result<Self> {
        let world = env.world();
        world.trace("connect", u64::from(addr.port()), 0);
        let (from, _) = env.place();
        let to = world.machine_at(from, addr.ip());
        let since = world.elapsed();
        let mut wait = 20_000 + world.random() % 200_000;
        loop {
            let arrival = match to.and_then(|to| world.network(|network, now| network.begin_connect(from, to, now))) {
                Some(at) => {
                    until(world, at).await;
                    to.map(|to| world.network(|network, now| network.arrive(from, to, addr.port(), now)))
                }
                None => None,
            };
            match arrival {
                Some(Arrival::Accepted { id, back }) => {
                    // Dropped meanwhile, it is closed.
                    let stream = Self::new(env, id, Side::Connector);
                    until(world, back).await;
                    return Ok(stream);
                }
                Some(Arrival::Refused { back }) => {
                    until(world, back).await;
                    return Err(io::ErrorKind::ConnectionRefused.into());
                }
                Some(Arrival::Lost) | None => {}
            }
            if world.elapsed().saturating_sub(since) > CONNECT {
                return Err(io::ErrorKind::TimedOut.into());
            }
            until(world, world.elapsed() + wait).await;
            wait *= 2;
        }
    }

    fn some_of(&mut self, most: usize) -> usize {
        let part = usize::try_from(self.rng.below(most as u64)).unwrap_or(0) + 1;
        if self.rng.chance(0.5) { most } else { part.min(most) }
    }

    /// Whether time alone has changed something by now; else the task is woken when it does.
    fn has_come(&mut self, at: Option<u64>, context: &mut Context<'_>) -> bool {
        let Some(at) = at else { return false };
        let waker = context.waker();
        if self.timer.as_ref().is_some_and(|(armed, who, _)| *armed == at && who.will_wake(waker)) {
            return self.world.elapsed() >= at;
        }
        let left = at.saturating_sub(self.world.elapsed());
        let mut sleep = Box::pin(self.world.time().sleep(Duration::from_micros(left)));
        let come = sleep.as_mut().poll(context).is_ready();
        self.timer = Some((at, waker.clone(), sleep));
        come
    }
}

async fn until(world: &World, at: u64) {
    let left = at.saturating_sub(world.elapsed());
    if left > 0 {
        world.time().sleep(Duration::from_micros(left)).await;
    }
}

impl AsyncRead for MadsimStream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, target: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if target.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let most = this.some_of(target.len());
        let (id, side) = (this.id, this.side);
        loop {
            let Some(target) = target.get_mut(..most) else { return Poll::Ready(Ok(0)) };
            match this.world.network(|network, now| network.read(id, side, target, now, context.waker())) {
                Progress::Moved(count) => {
                    this.world.trace("received", count as u64, id.0);
                    return Poll::Ready(Ok(count));
                }
                Progress::Failed(kind) => {
                    this.world.trace("read failed", id.0, 0);
                    return Poll::Ready(Err(kind.into()));
                }
                Progress::Wait(at) => {
                    if !this.has_come(at, context) {
                        return Poll::Pending;
                    }
                }
            }
        }
    }
}

impl AsyncWrite for MadsimStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.write_ended {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::BrokenPipe, "the connection is closed")));
        }
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let count = this.some_of(bytes.len().min(SEGMENT));
        let (id, side) = (this.id, this.side);
        loop {
            let Some(bytes) = bytes.get(..count) else { return Poll::Ready(Ok(0)) };
            match this.world.network(|network, now| network.write(id, side, bytes, now, context.waker())) {
                Progress::Moved(count) => {
                    this.world.trace("sent", count as u64, id.0);
                    return Poll::Ready(Ok(count));
                }
                Progress::Failed(kind) => {
                    this.world.trace("write failed", id.0, 0);
                    return Poll::Ready(Err(kind.into()));
                }
                Progress::Wait(at) => {
                    if !this.has_come(at, context) {
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write_ended = true;
        let (id, side) = (self.id, self.side);
        self.world.network(|network, now| network.finish(id, side, now));
        Poll::Ready(Ok(()))
    }
}

impl Drop for MadsimStream {
    fn drop(&mut self) {
        // A dead life's sockets went with it.
        if self.world.is_alive(self.machine, self.life) {
            let (id, side) = (self.id, self.side);
            self.world.network(|network, now| network.close(id, side, now));
        }
    }
}

/// A listening address of a simulated machine. Each connection goes to a random one of the cores that listen on it, as the
/// kernel's hash spreads them in production, whether or not that core is accepting just then.
#[derive(Debug)]
pub struct MadsimListener {
    env: MadsimEnv,
    machine: Machine,
    life: Incarnation,
    addr: SocketAddr,
}

impl MadsimListener {
    pub(super) fn bind(env: &MadsimEnv, addr: SocketAddr) -> io::Result<Self> {
        let (machine, life) = env.place();
        let world = env.world();
        world.settle(machine, addr.ip());
        let port = world.network(|network, _| network.listen(machine, addr.port(), env.core()))?;
        Ok(Self { env: env.clone(), machine, life, addr: SocketAddr::new(addr.ip(), port) })
    }
}

impl Listener for MadsimListener {
    type Stream = MadsimStream;

    async fn accept(&self) -> io::Result<(MadsimStream, SocketAddr)> {
        let (world, core, port) = (self.env.world(), self.env.core(), self.addr.port());
        let (id, from, from_port) = poll_fn(|context| {
            match world.network(|network, _| network.accept(self.machine, port, core, context.waker())) {
                Some(connection) => Poll::Ready(connection),
                None => Poll::Pending,
            }
        })
        .await;
        world.trace("accept", u64::from(from_port), u64::from(core.0));
        let ip = world.address_of(from).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        Ok((MadsimStream::new(&self.env, id, Side::Acceptor), SocketAddr::new(ip, from_port)))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.addr)
    }
}

impl Drop for MadsimListener {
    fn drop(&mut self) {
        if self.env.world().is_alive(self.machine, self.life) {
            let (core, port) = (self.env.core(), self.addr.port());
            self.env.world().network(|network, now| network.unlisten(self.machine, port, core, now));
        }
    }
}
