//! Where a connection stands and until when it may stand there. The watchdog reads it; the stream and the service write it.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_io::{AsyncRead, AsyncWrite, IoSlice};
use highwater_runtime::{Env, Monotonic};
use hyper::rt::{Read, ReadBufCursor, Write};

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
    phase_ends: Cell<Option<Monotonic>>,
    write_ends: Cell<Option<Monotonic>>,
}

impl<E: Env> Watch<E> {
    pub(crate) fn start(env: E, limits: Limits) -> Rc<Self> {
        let watch = Self {
            env,
            limits,
            phase: Cell::new(Phase::Idle),
            phase_ends: Cell::new(None),
            write_ends: Cell::new(None),
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

    /// Completes when the connection has stood still for too long, and says where; `None` between requests.
    pub(crate) async fn expired(&self) -> Option<&'static str> {
        // Deadlines may move closer while this sleeps; it looks again at least this often.
        let look_again = self.limits.idle_micros.min(self.limits.head_micros).min(self.limits.write_micros);
        loop {
            let now = self.env.now();
            if self.write_ends.get().is_some_and(|at| at <= now) {
                return Some("the answer is not being read");
            }
            match (self.phase_ends.get(), self.phase.get()) {
                (Some(at), Phase::Idle) if at <= now => return None,
                (Some(at), Phase::Head | Phase::Busy) if at <= now => {
                    return Some("the request's head did not come in time");
                }
                (Some(_) | None, _) => {}
            }
            let next = [self.phase_ends.get(), self.write_ends.get()].into_iter().flatten().min();
            let wait = next.map_or(look_again, |at| at.micros_since(now).min(look_again));
            self.env.sleep(wait.max(1)).await;
        }
    }

    fn read_some(&self) {
        if self.phase.get() == Phase::Idle {
            self.enter(Phase::Head);
        }
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
        let result = Pin::new(&mut self.io).poll_read(context, buffer);
        if result.is_ready() {
            self.watch.read_some();
        }
        result
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
