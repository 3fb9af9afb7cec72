//! In-memory listeners and streams: ordered, reliable, with back-pressure. Reads and writes move random amounts, so that
//! callers see every way a message can be cut into pieces.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use futures_lite::{AsyncRead, AsyncWrite};

use super::InProcEnv;
use crate::env::{CoreId, Listener};
use crate::rng::Rng;

/// Bytes that one direction of a stream holds before a writer waits.
const PIPE_BYTES: usize = 64 * 1024;
/// Connections that wait to be accepted before more are refused.
const BACKLOG: usize = 1024;
const FIRST_FREE_PORT: u16 = 40_000;

/// One direction of a stream.
#[derive(Debug, Default)]
struct Pipe {
    bytes: VecDeque<u8>,
    /// The writer will send no more.
    finished: bool,
    /// The reader is gone.
    broken: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

fn wake(slot: &mut Option<Waker>) {
    if let Some(waker) = slot.take() {
        waker.wake();
    }
}

/// One end of an in-memory connection.
#[derive(Debug)]
pub struct InProcStream {
    incoming: Rc<RefCell<Pipe>>,
    outgoing: Rc<RefCell<Pipe>>,
    rng: Rng,
}

impl InProcStream {
    fn pair(mut rng: Rng) -> (Self, Self) {
        let (there, back) = (Rc::<RefCell<Pipe>>::default(), Rc::<RefCell<Pipe>>::default());
        let client = Self { incoming: Rc::clone(&back), outgoing: Rc::clone(&there), rng: rng.fork() };
        (client, Self { incoming: there, outgoing: back, rng })
    }

    fn some_of(&mut self, most: usize) -> usize {
        // Half of the time all, else any part.
        let part = usize::try_from(self.rng.below(most as u64)).unwrap_or(0) + 1;
        if self.rng.chance(0.5) { most } else { part.min(most) }
    }
}

impl AsyncRead for InProcStream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, target: &mut [u8]) -> Poll<io::Result<usize>> {
        let pipe = Rc::clone(&self.incoming);
        let mut pipe = pipe.borrow_mut();
        if target.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if pipe.bytes.is_empty() {
            if pipe.finished {
                return Poll::Ready(Ok(0));
            }
            pipe.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        let count = self.some_of(pipe.bytes.len().min(target.len()));
        for (to, from) in target.iter_mut().zip(pipe.bytes.drain(..count)) {
            *to = from;
        }
        wake(&mut pipe.writer);
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for InProcStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let pipe = Rc::clone(&self.outgoing);
        let mut pipe = pipe.borrow_mut();
        if pipe.broken || pipe.finished {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::BrokenPipe, "the connection is closed")));
        }
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let room = PIPE_BYTES - pipe.bytes.len();
        if room == 0 {
            pipe.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        let count = self.some_of(room.min(bytes.len()));
        pipe.bytes.extend(bytes.iter().take(count));
        wake(&mut pipe.reader);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut pipe = self.outgoing.borrow_mut();
        pipe.finished = true;
        wake(&mut pipe.reader);
        Poll::Ready(Ok(()))
    }
}

impl Drop for InProcStream {
    fn drop(&mut self) {
        let mut outgoing = self.outgoing.borrow_mut();
        outgoing.finished = true;
        wake(&mut outgoing.reader);
        drop(outgoing);
        let mut incoming = self.incoming.borrow_mut();
        incoming.broken = true;
        wake(&mut incoming.writer);
    }
}

#[derive(Debug, Default)]
struct Backlog {
    waiting: VecDeque<(InProcStream, SocketAddr)>,
    acceptor: Option<Waker>,
}

/// Which cores listen where.
#[derive(Debug, Default)]
pub(super) struct Network {
    listeners: BTreeMap<SocketAddr, BTreeMap<CoreId, Rc<RefCell<Backlog>>>>,
    last_port: u16,
}

impl Network {
    fn free_port(&mut self) -> u16 {
        self.last_port = self.last_port.max(FIRST_FREE_PORT - 1).wrapping_add(1);
        self.last_port
    }

    pub fn listen(&mut self, env: &InProcEnv, core: CoreId, mut addr: SocketAddr) -> io::Result<InProcListener> {
        if addr.port() == 0 {
            addr.set_port(self.free_port());
        }
        let cores = self.listeners.entry(addr).or_default();
        if cores.contains_key(&core) {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, format!("this core already listens on {addr}")));
        }
        let backlog = Rc::<RefCell<Backlog>>::default();
        cores.insert(core, Rc::clone(&backlog));
        Ok(InProcListener { addr, core, backlog, env: env.clone() })
    }

    pub fn connect(&mut self, addr: SocketAddr, mut rng: Rng) -> io::Result<InProcStream> {
        let refused = || io::Error::new(io::ErrorKind::ConnectionRefused, format!("nobody listens on {addr}"));
        let client_port = self.free_port();
        let cores = self.listeners.get(&addr).ok_or_else(refused)?;
        let pick = usize::try_from(rng.below(cores.len() as u64)).unwrap_or(0);
        let backlog = cores.values().nth(pick).ok_or_else(refused)?;
        let mut backlog = backlog.borrow_mut();
        if backlog.waiting.len() >= BACKLOG {
            return Err(refused());
        }
        let (client, server) = InProcStream::pair(rng);
        backlog.waiting.push_back((server, SocketAddr::new(addr.ip(), client_port)));
        wake(&mut backlog.acceptor);
        Ok(client)
    }

    fn unlisten(
        &mut self,
        addr: SocketAddr,
        core: CoreId,
        backlog: &Rc<RefCell<Backlog>>,
    ) -> Option<Rc<RefCell<Backlog>>> {
        let cores = self.listeners.get_mut(&addr)?;
        let removed = if Rc::ptr_eq(cores.get(&core)?, backlog) { cores.remove(&core) } else { None };
        if cores.is_empty() {
            self.listeners.remove(&addr);
        }
        removed
    }
}

/// A listening address of the in-process network.
#[derive(Debug)]
pub struct InProcListener {
    addr: SocketAddr,
    core: CoreId,
    backlog: Rc<RefCell<Backlog>>,
    env: InProcEnv,
}

impl Listener for InProcListener {
    type Stream = InProcStream;

    async fn accept(&self) -> io::Result<(InProcStream, SocketAddr)> {
        poll_fn(|context| {
            let mut backlog = self.backlog.borrow_mut();
            match backlog.waiting.pop_front() {
                Some(connection) => Poll::Ready(Ok(connection)),
                None => {
                    backlog.acceptor = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.addr)
    }
}

impl Drop for InProcListener {
    fn drop(&mut self) {
        // The node may be ending its life and hold the network; then there is nothing left to leave.
        let removed = self.env.network().and_then(|mut net| net.unlisten(self.addr, self.core, &self.backlog));
        drop(removed);
    }
}
