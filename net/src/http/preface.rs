//! Which HTTP a client speaks: one of HTTP/2 begins with a preface that no request of HTTP/1.1 can be (RFC 9113, 3.4).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite, IoSlice};

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// HTTP/1.1, or what is none.
    Http1,
    /// HTTP/2, with prior knowledge or by ALPN.
    Http2,
}

/// A stream whose first bytes were looked at; they are read again.
pub(crate) struct Prefaced<S> {
    stream: S,
    seen: [u8; PREFACE.len()],
    /// Bytes of `seen` that came.
    len: usize,
    /// Of these, read again.
    given: usize,
}

impl<S: AsyncRead + Unpin> Prefaced<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, seen: [0; PREFACE.len()], len: 0, given: 0 }
    }

    /// Whether nothing has come yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Reads until it is clear what the client speaks. `came` is told that something has come.
    pub(crate) fn poll_protocol(&mut self, context: &mut Context<'_>, came: impl Fn()) -> Poll<io::Result<Protocol>> {
        loop {
            let (seen, room) = self.seen.split_at_mut(self.len);
            if !PREFACE.starts_with(seen) {
                return Poll::Ready(Ok(Protocol::Http1));
            }
            if room.is_empty() {
                return Poll::Ready(Ok(Protocol::Http2));
            }
            let room_bytes = room.len();
            match ready!(Pin::new(&mut self.stream).poll_read(context, room))? {
                // The end; the rest is for who answers it.
                0 => return Poll::Ready(Ok(Protocol::Http1)),
                read => self.len += read.min(room_bytes),
            }
            came();
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Prefaced<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, target: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let rest = this.seen.get(this.given..this.len).unwrap_or_default();
        if rest.is_empty() {
            return Pin::new(&mut this.stream).poll_read(context, target);
        }
        let count = rest.len().min(target.len());
        for (to, from) in target.iter_mut().zip(rest) {
            *to = *from;
        }
        this.given += count;
        Poll::Ready(Ok(count))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Prefaced<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, data)
    }
}
