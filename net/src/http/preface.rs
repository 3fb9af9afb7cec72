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
        // With what came behind them: hyper doubles its buffer when the first read is a short one, and keeps it so. A failure comes again.
        let behind = match target.get_mut(count..) {
            Some(room) if !room.is_empty() => Pin::new(&mut this.stream).poll_read(context, room),
            _ => Poll::Pending,
        };
        Poll::Ready(Ok(match behind {
            Poll::Ready(Ok(more)) => count + more,
            Poll::Ready(Err(_)) | Poll::Pending => count,
        }))
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::disallowed_methods)]
    use std::collections::VecDeque;
    use std::future::poll_fn;

    use futures_lite::AsyncReadExt as _;
    use futures_lite::future::block_on;

    use super::*;

    /// Gives its pieces one by one; `None` is a read that waits, and behind the last comes the failure or the end.
    struct Pieces(VecDeque<Option<Vec<u8>>>, Option<io::ErrorKind>);

    impl AsyncRead for Pieces {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, target: &mut [u8]) -> Poll<io::Result<usize>> {
            match self.0.pop_front() {
                Some(Some(mut piece)) => {
                    let count = piece.len().min(target.len());
                    target[..count].copy_from_slice(&piece[..count]);
                    let rest = piece.split_off(count);
                    if !rest.is_empty() {
                        self.0.push_front(Some(rest));
                    }
                    Poll::Ready(Ok(count))
                }
                Some(None) => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                None => Poll::Ready(self.1.map_or(Ok(0), |kind| Err(kind.into()))),
            }
        }
    }

    /// What the stream speaks, and what its reads give after that.
    fn read(pieces: &[Option<&str>], end: Option<io::ErrorKind>) -> (Protocol, Vec<Result<String, io::ErrorKind>>) {
        let pieces = pieces.iter().map(|piece| piece.map(|text| text.as_bytes().to_vec())).collect();
        let mut stream = Prefaced::new(Pieces(pieces, end));
        block_on(async {
            let protocol = poll_fn(|context| stream.poll_protocol(context, || {})).await.unwrap();
            let mut reads = Vec::new();
            loop {
                let mut target = [0; 100];
                match stream.read(&mut target).await {
                    Ok(0) => return (protocol, reads),
                    Ok(count) => reads.push(Ok(String::from_utf8(target[..count].to_vec()).unwrap())),
                    Err(error) => {
                        reads.push(Err(error.kind()));
                        return (protocol, reads);
                    }
                }
            }
        })
    }

    #[test]
    fn what_was_looked_at_is_read_again_with_what_came_behind_it() {
        let request = "GET /health HTTP/1.1\r\nhost: somewhere\r\n\r\n";
        let whole = (Protocol::Http1, vec![Ok(request.to_owned())]);
        assert_eq!(read(&[Some(request)], None), whole);
        assert_eq!(read(&[Some("P"), None, Some("RI"), Some("M"), None, Some("x")], None), {
            (Protocol::Http1, vec![Ok("PRIM".to_owned()), Ok("x".to_owned())])
        });
        let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        assert_eq!(read(&[Some(preface), Some("frames")], None).1, [Ok(format!("{preface}frames"))]);
        assert_eq!(read(&[Some("PRI"), None], None), (Protocol::Http1, vec![Ok("PRI".to_owned())]));
        let broken = Some(io::ErrorKind::ConnectionReset);
        assert_eq!(read(&[Some("GET")], broken).1, [Ok("GET".to_owned()), Err(io::ErrorKind::ConnectionReset)]);
    }
}
