//! Where a connection stands and until when it may stand there. The watchdog reads it; the stream and the service write it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_io::{AsyncRead, AsyncWrite, IoSlice};
use highwater_runtime::{Env, Monotonic};
use hyper::rt::{Read, ReadBufCursor, Write};

use super::framing::Framing;
use super::io::HyperIo;
use super::server::Limits;

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Between requests: nothing of the next one has come.
    Idle,
    /// Some of a request's head has come.
    Head,
    /// The body is being read (it has a deadline of its own), the handler is at work, or the answer is being written.
    Busy,
}

/// Shared by one connection's stream, service and watchdog, all on one core.
pub(crate) struct Watch<E> {
    env: E,
    limits: Limits,
    phase: Cell<Phase>,
    /// What has been read of HTTP/1.1, requests beyond the one at hand included.
    framing: RefCell<Framing>,
    phase_ends: Cell<Option<Monotonic>>,
    write_ends: Cell<Option<Monotonic>>,
    /// Whether requests come beside each other (HTTP/2). What is read between them is then no request's head.
    is_multiplexed: Cell<bool>,
    /// Requests at work.
    busy: Cell<u32>,
    /// Number of the next request.
    next: Cell<u64>,
    /// Of a multiplexed connection, answers by request of which the client has yet to take a piece, and until when. Beyond what
    /// `write_ends` sees, a client can hold back one answer alone.
    held: RefCell<BTreeMap<u64, Monotonic>>,
}

/// A request at work, until its answer is written or it is given up.
pub(crate) struct Busy<E: Env> {
    watch: Rc<Watch<E>>,
    request: u64,
}

impl<E: Env> Watch<E> {
    pub(crate) fn start(env: E, limits: Limits) -> Rc<Self> {
        let watch = Self {
            env,
            limits,
            phase: Cell::new(Phase::Idle),
            framing: RefCell::default(),
            phase_ends: Cell::new(None),
            write_ends: Cell::new(None),
            is_multiplexed: Cell::new(false),
            busy: Cell::new(0),
            next: Cell::new(0),
            held: RefCell::default(),
        };
        watch.enter(Phase::Idle);
        Rc::new(watch)
    }

    pub(crate) fn enter(&self, phase: Phase) {
        let micros = match phase {
            Phase::Idle => Some(self.limits.idle_micros),
            Phase::Head => Some(self.limits.head_micros),
            Phase::Busy => None,
        };
        self.phase.set(phase);
        self.phase_ends.set(micros.map(|micros| self.env.now().after_micros(micros)));
    }

    /// From now on requests come beside each other; none has begun.
    pub(crate) fn multiplexes(&self) {
        self.is_multiplexed.set(true);
        self.enter(Phase::Idle);
    }

    pub(crate) fn is_multiplexed(&self) -> bool {
        self.is_multiplexed.get()
    }

    /// A request's head has come.
    pub(crate) fn begin(self: &Rc<Self>) -> Busy<E> {
        self.enter(Phase::Busy);
        self.busy.set(self.busy.get() + 1);
        let request = self.next.replace(self.next.get() + 1);
        Busy { watch: Rc::clone(self), request }
    }

    /// Completes when the connection has stood still for too long, and says where; `None` between requests.
    pub(crate) async fn expired(&self) -> Option<&'static str> {
        // Deadlines may move closer while this sleeps; it looks again at least this often.
        let look_again = self.limits.idle_micros.min(self.limits.head_micros).min(self.limits.write_micros);
        loop {
            let now = self.env.now();
            let is_over = |at: &Monotonic| *at <= now;
            if self.write_ends.get().as_ref().is_some_and(is_over) || self.held.borrow().values().any(is_over) {
                return Some("the answer is not being read");
            }
            match (self.phase_ends.get(), self.phase.get()) {
                (Some(at), Phase::Idle) if at <= now => return None,
                (Some(at), Phase::Head | Phase::Busy) if at <= now => {
                    return Some("the request's head did not come in time");
                }
                (Some(_) | None, _) => {}
            }
            let held = self.held.borrow().values().min().copied();
            let next = [self.phase_ends.get(), self.write_ends.get(), held].into_iter().flatten().min();
            let wait = next.map_or(look_again, |at| at.micros_since(now).min(look_again));
            self.env.sleep(wait.max(1)).await;
        }
    }

    fn read_some(&self, bytes: &[u8]) {
        if self.is_multiplexed.get() {
            return;
        }
        self.framing.borrow_mut().read(bytes);
        if self.phase.get() == Phase::Idle {
            self.enter(Phase::Head);
        }
    }

    /// No request is at work. Of the next one some may have come with those before it.
    fn rest(&self) {
        let has_begun = !self.is_multiplexed.get() && self.framing.borrow().is_within_head();
        self.enter(if has_begun { Phase::Head } else { Phase::Idle });
    }

    fn wrote<T>(&self, result: &Poll<T>) {
        let ends = match result {
            Poll::Ready(_) => None,
            Poll::Pending => {
                Some(self.write_ends.get().unwrap_or_else(|| self.env.now().after_micros(self.limits.write_micros)))
            }
        };
        self.write_ends.set(ends);
    }
}

impl<E: Env> Busy<E> {
    /// Whether other requests may be at work beside this one.
    pub(crate) fn is_multiplexed(&self) -> bool {
        self.watch.is_multiplexed()
    }

    /// A piece of the answer waits for the client to take it.
    pub(crate) fn hands_over(&self) {
        if self.is_multiplexed() {
            let ends = self.watch.env.now().after_micros(self.watch.limits.write_micros);
            self.watch.held.borrow_mut().insert(self.request, ends);
        }
    }

    /// The client has taken it.
    pub(crate) fn taken(&self) {
        if self.is_multiplexed() {
            self.watch.held.borrow_mut().remove(&self.request);
        }
    }
}

impl<E: Env> Drop for Busy<E> {
    fn drop(&mut self) {
        self.taken();
        let busy = self.watch.busy.get().saturating_sub(1);
        self.watch.busy.set(busy);
        if busy == 0 {
            self.watch.rest();
        }
    }
}

/// The connection's stream, which tells the watch what moves.
pub(crate) struct WatchedIo<S, E> {
    pub(crate) io: HyperIo<S>,
    pub(crate) watch: Rc<Watch<E>>,
}

impl<S: AsyncRead + Unpin, E: Env> Read for WatchedIo<S, E> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { io, watch } = &mut *self;
        io.poll_read_seen(context, buffer, |bytes| watch.read_some(bytes))
    }
}

impl<S: AsyncWrite + Unpin, E: Env> Write for WatchedIo<S, E> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write(context, data);
        self.watch.wrote(&result);
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.io).poll_flush(context);
        self.watch.wrote(&result);
        result
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.io).poll_shutdown(context);
        self.watch.wrote(&result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write_vectored(context, data);
        self.watch.wrote(&result);
        result
    }
}
