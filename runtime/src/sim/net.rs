//! Streams and listeners over madsim's TCP.
//!
//! madsim's stream has no half-close and sends nothing before a flush. Both ends are ours, so each write goes out at once as a
//! frame, and an empty frame closes one direction:
//!
//! ```text
//! | length u32 LE | length bytes |   length 0: no more from this side
//! ```
//!
//! Reads and writes move random amounts. Still missing until the network is our own model: loss, resets, back-pressure.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, ready};

use futures_lite::{AsyncRead, AsyncWrite};
use madsim::net::{TcpListener, TcpStream};
use madsim::task::NodeId;
use tokio::io::{AsyncRead as TokioRead, AsyncWrite as TokioWrite, ReadBuf};

use super::env::MadsimEnv;
use super::world::World;
use crate::disk::Incarnation;
use crate::env::{CoreId, Env, Listener};
use crate::rng::Rng;

const HEADER: usize = 4;
/// Largest frame, in bytes.
const FRAME: usize = 64 * 1024;

/// One end of a simulated connection.
#[derive(Debug)]
pub struct MadsimStream {
    inner: TcpStream,
    world: World,
    rng: Rng,
    /// Received and not yet read, headers included.
    raw: VecDeque<u8>,
    /// Bytes of the frame at the front of `raw` that are still to be read.
    frame_left: usize,
    read_ended: bool,
    write_ended: bool,
}

impl MadsimStream {
    fn new(env: &MadsimEnv, inner: TcpStream) -> Self {
        let world = env.world().clone();
        let rng = world.fork_rng();
        Self { inner, world, rng, raw: VecDeque::new(), frame_left: 0, read_ended: false, write_ended: false }
    }

    pub(super) async fn connect(env: &MadsimEnv, addr: SocketAddr) -> io::Result<Self> {
        env.world().trace("connect", u64::from(addr.port()), 0);
        Ok(Self::new(env, TcpStream::connect(addr).await?))
    }

    fn some_of(&mut self, most: usize) -> usize {
        let part = usize::try_from(self.rng.below(most as u64)).unwrap_or(0) + 1;
        if self.rng.chance(0.5) { most } else { part.min(most) }
    }

    fn send(&mut self, context: &mut Context<'_>, frame: &[u8]) -> Poll<io::Result<()>> {
        // madsim takes a write whole, at once.
        let taken = ready!(Pin::new(&mut self.inner).poll_write(context, frame))?;
        if taken != frame.len() {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::WriteZero, "madsim took part of a write")));
        }
        Pin::new(&mut self.inner).poll_flush(context)
    }

    /// The next header, if it has arrived.
    fn take_header(&mut self) -> Option<usize> {
        if self.raw.len() < HEADER {
            return None;
        }
        let mut header = [0; HEADER];
        for (to, from) in header.iter_mut().zip(self.raw.drain(..HEADER)) {
            *to = from;
        }
        usize::try_from(u32::from_le_bytes(header)).ok()
    }
}

impl AsyncRead for MadsimStream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, target: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if target.is_empty() {
            return Poll::Ready(Ok(0));
        }
        loop {
            if this.read_ended {
                return Poll::Ready(Ok(0));
            }
            let here = this.frame_left.min(this.raw.len()).min(target.len());
            if here > 0 {
                let count = this.some_of(here);
                for (to, from) in target.iter_mut().zip(this.raw.drain(..count)) {
                    *to = from;
                }
                this.frame_left -= count;
                this.world.trace("received", count as u64, 0);
                return Poll::Ready(Ok(count));
            }
            if this.frame_left == 0
                && let Some(length) = this.take_header()
            {
                this.read_ended = length == 0;
                this.frame_left = length;
                continue;
            }
            let mut chunk = [0; 16 * 1024];
            let mut buffer = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut this.inner).poll_read(context, &mut buffer))?;
            this.raw.extend(buffer.filled());
            // The other side is gone: its machine has crashed, or it dropped the stream.
            this.read_ended = buffer.filled().is_empty();
        }
    }
}

impl AsyncWrite for MadsimStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.write_ended {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::BrokenPipe, "the connection is closed")));
        }
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let count = self.some_of(bytes.len().min(FRAME));
        let length = u32::try_from(count).unwrap_or(u32::MAX);
        let mut frame = Vec::with_capacity(HEADER + count);
        frame.extend_from_slice(&length.to_le_bytes());
        frame.extend(bytes.iter().take(count));
        ready!(self.send(context, &frame))?;
        self.world.trace("sent", count as u64, 0);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.write_ended {
            self.write_ended = true;
            // A peer that is gone needs no goodbye.
            let _ = ready!(self.send(context, &[0; HEADER]));
        }
        Poll::Ready(Ok(()))
    }
}

type Place = (NodeId, Incarnation, SocketAddr);
type Accepted = (TcpStream, SocketAddr);

thread_local! {
    /// Listening sockets that further cores of the same machine may join, as SO_REUSEPORT lets them in production.
    static LISTENERS: RefCell<BTreeMap<Place, Weak<Shared>>> = const { RefCell::new(BTreeMap::new()) };
}

/// One madsim socket and the cores that listen on it.
#[derive(Debug)]
struct Shared {
    inner: TcpListener,
    cores: RefCell<BTreeMap<CoreId, flume::Sender<Accepted>>>,
}

/// A listening address of a simulated machine. Each connection goes to a random one of the cores that listen on it, as the
/// kernel's hash spreads them in production, whether or not that core is accepting just then.
#[derive(Debug)]
pub struct MadsimListener {
    shared: Rc<Shared>,
    mine: flume::Receiver<Accepted>,
    env: MadsimEnv,
}

fn shared(place: &Place) -> Option<Rc<Shared>> {
    LISTENERS.with_borrow(|listeners| listeners.get(place).and_then(Weak::upgrade))
}

impl MadsimListener {
    pub(super) async fn bind(env: &MadsimEnv, addr: SocketAddr) -> io::Result<Self> {
        let (node, life) = env.identity();
        if let Some(shared) = shared(&(node, life, addr)) {
            return Self::join(shared, env, addr);
        }
        match TcpListener::bind(addr).await {
            Ok(inner) => {
                let bound = inner.local_addr()?;
                let shared = Rc::new(Shared { inner, cores: RefCell::default() });
                LISTENERS.with_borrow_mut(|listeners| {
                    listeners.retain(|_, listener| listener.strong_count() > 0);
                    listeners.insert((node, life, bound), Rc::downgrade(&shared));
                });
                Self::join(shared, env, bound)
            }
            Err(error) => match shared(&(node, life, addr)) {
                // Another core was faster.
                Some(shared) => Self::join(shared, env, addr),
                None => Err(error),
            },
        }
    }

    fn join(shared: Rc<Shared>, env: &MadsimEnv, addr: SocketAddr) -> io::Result<Self> {
        let (sender, mine) = flume::unbounded();
        let mut cores = shared.cores.borrow_mut();
        if cores.contains_key(&env.core()) {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, format!("this core already listens on {addr}")));
        }
        cores.insert(env.core(), sender);
        drop(cores);
        Ok(Self { shared, mine, env: env.clone() })
    }

    fn accepted(&self, (stream, peer): Accepted) -> (MadsimStream, SocketAddr) {
        self.env.world().trace("accept", u64::from(peer.port()), u64::from(self.env.core().0));
        (MadsimStream::new(&self.env, stream), peer)
    }

    /// Gives a connection to a random core; back if that core is this one.
    fn deal(&self, connection: Accepted) -> Option<Accepted> {
        let cores = self.shared.cores.borrow();
        let pick = usize::try_from(self.env.world().random() % (cores.len().max(1) as u64)).unwrap_or(0);
        match cores.iter().nth(pick) {
            // The queue is unbounded and its receiver is removed from the map before it goes.
            Some((core, queue)) if *core != self.env.core() => {
                queue.send(connection).err().map(|flume::SendError(back)| back)
            }
            _ => Some(connection),
        }
    }
}

impl Listener for MadsimListener {
    type Stream = MadsimStream;

    async fn accept(&self) -> io::Result<(MadsimStream, SocketAddr)> {
        loop {
            let mine = async { self.mine.recv_async().await.map(|dealt| (true, dealt)).map_err(io::Error::other) };
            let fresh = async { self.shared.inner.accept().await.map(|connection| (false, connection)) };
            let (dealt, connection) = futures_lite::future::or(mine, fresh).await?;
            let here = if dealt { Some(connection) } else { self.deal(connection) };
            if let Some(connection) = here {
                return Ok(self.accepted(connection));
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.shared.inner.local_addr()
    }
}

impl Drop for MadsimListener {
    fn drop(&mut self) {
        self.shared.cores.borrow_mut().remove(&self.env.core());
    }
}
