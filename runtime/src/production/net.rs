//! TCP on glommio. Addresses are always numeric: glommio resolves names on the executor and unwraps the answer (G12).

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_lite::{AsyncRead, AsyncWrite};
use glommio::net::{TcpListener, TcpStream};

use super::pulse::note_activity;
use crate::env::Listener;

/// A TCP connection without Nagle's delay. Errors of reads stay errors, never an end of stream (G15).
#[derive(Debug)]
pub struct GlommioStream(TcpStream);

impl GlommioStream {
    pub(super) async fn connect(addr: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        Ok(Self(stream))
    }
}

impl AsyncRead for GlommioStream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, target: &mut [u8]) -> Poll<io::Result<usize>> {
        note_activity();
        Pin::new(&mut self.0).poll_read(context, target)
    }
}

impl AsyncWrite for GlommioStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(context)
    }
}

/// A listening socket with `SO_REUSEPORT`, so that every core has its own.
#[derive(Debug)]
pub struct GlommioListener(TcpListener);

impl GlommioListener {
    pub(super) fn bind(addr: SocketAddr) -> io::Result<Self> {
        Ok(Self(TcpListener::bind(addr)?))
    }
}

impl Listener for GlommioListener {
    type Stream = GlommioStream;

    async fn accept(&self) -> io::Result<(GlommioStream, SocketAddr)> {
        let stream = self.0.accept().await?;
        note_activity();
        stream.set_nodelay(true)?;
        let peer = stream.peer_addr()?;
        Ok((GlommioStream(stream), peer))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.0.local_addr()?)
    }
}
