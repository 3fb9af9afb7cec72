//! A futures-io stream as hyper wants it. An error stays an error: reading 0 bytes is the only end of file.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite, IoSlice};
use hyper::rt::{Read, ReadBufCursor, Write};

/// The adapter.
#[derive(Debug)]
pub struct HyperIo<S>(pub S);

impl<S: AsyncRead + Unpin> HyperIo<S> {
    /// Reads, and shows what was read.
    pub(crate) fn poll_read_seen(
        &mut self,
        context: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
        see: impl FnOnce(&[u8]),
    ) -> Poll<io::Result<()>> {
        let target = buffer.initialize_unfilled();
        let read = ready!(Pin::new(&mut self.0).poll_read(context, target))?;
        let Some(seen) = target.get(..read) else {
            return Poll::Ready(Err(io::Error::other("a stream claims to have read more than it was given room for")));
        };
        see(seen);
        // SAFETY: `initialize_unfilled` initialised all bytes of `target`, and `read` is at most their number.
        unsafe { buffer.advance(read) };
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> Read for HyperIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_read_seen(context, buffer, |_| ())
    }
}

impl<S: AsyncWrite + Unpin> Write for HyperIo<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, data)
    }
}
