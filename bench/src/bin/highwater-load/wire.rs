//! One connection for requests of one kind after the other: HTTP/1.1 over a socket that never blocks. It knows nothing of what is
//! asked; whoever holds it waits for the socket and calls [`Wire::advance`].
//!
//! Answers must say how long they are, as those of Highwater's statements do; anything else counts as a broken connection.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

/// Bytes of room for an answer that is not known to be longer.
const READ_BYTES: usize = 16 << 10;
/// Longest head of an answer.
const HEAD_BYTES: usize = 64 << 10;

/// A connection.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    is_connecting: bool,
    out: Vec<u8>,
    written: usize,
    input: Vec<u8>,
    filled: usize,
}

/// A whole answer; its body is the last bytes of what was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// When to come back, if it says so.
    pub(crate) retry_after: Option<Duration>,
    /// The connection may be used again.
    pub(crate) is_kept: bool,
    pub(crate) head: usize,
    pub(crate) length: usize,
}

impl Wire {
    /// Begins to connect.
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Self> {
        let (stream, is_connecting) = begin(address)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, is_connecting, out: Vec::new(), written: 0, input: vec![0; READ_BYTES], filled: 0 })
    }

    /// Whether it is not known yet to be connected.
    pub(crate) fn is_connecting(&self) -> bool {
        self.is_connecting
    }

    /// Begins a request. The answer to the one before must have come.
    pub(crate) fn send(&mut self, head: &[u8], body: &[u8]) -> io::Result<()> {
        self.out.clear();
        self.out.extend_from_slice(head);
        self.out.extend_from_slice(b"content-length: ");
        self.out.extend_from_slice(body.len().to_string().as_bytes());
        self.out.extend_from_slice(b"\r\n\r\n");
        self.out.extend_from_slice(body);
        (self.written, self.filled) = (0, 0);
        if self.is_connecting { Ok(()) } else { self.write() }
    }

    /// Goes on as far as the socket lets it: the answer, once all of it is there.
    ///
    /// # Errors
    /// The connection is of no use any more.
    pub(crate) fn advance(&mut self) -> io::Result<Option<Reply>> {
        if self.is_connecting {
            if !is_connected(&self.stream)? {
                return Ok(None);
            }
            self.is_connecting = false;
        }
        self.write()?;
        if self.written < self.out.len() || self.out.is_empty() {
            return Ok(None);
        }
        loop {
            let room = self.input.get_mut(self.filled..).unwrap_or_default();
            let asked = room.len();
            let read = match self.stream.read(room) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.filled += read;
            let come = self.input.get(..self.filled).unwrap_or_default();
            if let Some(reply) = parse(come)? {
                let whole = reply.head + reply.length;
                if self.filled == whole {
                    self.out.clear();
                    return Ok(Some(reply));
                }
                if self.filled > whole {
                    return Err(io::Error::other("the answer is longer than it says"));
                }
                if self.input.len() < whole {
                    self.input.resize(whole, 0);
                }
            } else if self.filled > HEAD_BYTES {
                return Err(io::Error::other("the head of the answer does not end"));
            } else if read == asked {
                self.input.resize(self.input.len() * 2, 0);
            }
        }
    }

    /// The body of the last answer.
    pub(crate) fn body(&self, reply: &Reply) -> &[u8] {
        self.input.get(reply.head..reply.head + reply.length).unwrap_or_default()
    }

    fn write(&mut self) -> io::Result<()> {
        while let Some(rest) = self.out.get(self.written..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => self.written += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Begins to connect; whether it is not done yet.
pub(crate) fn begin(address: SocketAddr) -> io::Result<(TcpStream, bool)> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) => Ok((TcpStream::from(socket), false)),
        Err(Errno::INPROGRESS) => Ok((TcpStream::from(socket), true)),
        Err(error) => Err(error.into()),
    }
}

/// Whether a connection that was begun is there.
pub(crate) fn is_connected(stream: &TcpStream) -> io::Result<bool> {
    match rustix::net::sockopt::socket_error(stream)? {
        Ok(()) => Ok(rustix::net::getpeername(stream).is_ok()),
        Err(error) => Err(error.into()),
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// The head of an answer, once all of it has come.
fn parse(come: &[u8]) -> io::Result<Option<Reply>> {
    let strange = || io::Error::other("the answer is not HTTP/1.1 with a length");
    let Some(end) = come.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = come.get(..end).and_then(|head| std::str::from_utf8(head).ok()).ok_or_else(strange)?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok());
    let status = status.ok_or_else(strange)?;
    let (mut length, mut retry_after, mut is_kept) = (None, None, true);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            length = value.parse().ok();
        } else if name.eq_ignore_ascii_case("retry-after") {
            retry_after = value.parse().ok().map(Duration::from_secs);
        } else if name.eq_ignore_ascii_case("connection") {
            is_kept = !value.eq_ignore_ascii_case("close");
        }
    }
    let length = length.ok_or_else(strange)?;
    Ok(Some(Reply { status, retry_after, is_kept, head: end + 4, length }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn an_answer_is_whole_only_with_its_last_byte() {
        let text = b"HTTP/1.1 429 Too Many\r\nRetry-After: 2\r\nContent-Length: 3\r\nconnection: close\r\n\r\nabc";
        let end = text.len() - 3;
        for cut in 0..end {
            assert_eq!(parse(&text[..cut]).unwrap(), None, "{cut}");
        }
        let reply = parse(text).unwrap().unwrap();
        assert_eq!((reply.status, reply.head, reply.length, reply.is_kept), (429, end, 3, false));
        assert_eq!(reply.retry_after, Some(Duration::from_secs(2)));
        assert!(parse(b"HTTP/1.1 200 OK\r\n\r\n").is_err(), "without a length");
        assert!(parse(b"SSH-2.0\r\n\r\n").is_err());
    }

    #[test]
    fn requests_follow_one_another_on_a_connection_however_their_answers_are_cut() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut wire = Wire::connect(listener.local_addr().unwrap()).unwrap();
        let (mut there, _) = listener.accept().unwrap();
        for body in [vec![b'x'; 5], vec![b'y'; 100_000]] {
            wire.send(b"POST / HTTP/1.1\r\n", b"question").unwrap();
            while wire.is_connecting() {
                assert_eq!(wire.advance().unwrap(), None);
            }
            let mut come = [0; 200];
            let read = there.read(&mut come).unwrap();
            assert_eq!(&come[..read], b"POST / HTTP/1.1\r\ncontent-length: 8\r\n\r\nquestion");
            let mut answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes();
            answer.extend_from_slice(&body);
            let mut reply = None;
            for part in answer.chunks(30_000) {
                assert_eq!(reply, None);
                there.write_all(part).unwrap();
                reply = wire.advance().unwrap();
            }
            while reply.is_none() {
                reply = wire.advance().unwrap();
            }
            assert_eq!(wire.body(&reply.unwrap()), &body[..]);
        }
        drop(there);
        wire.send(b"POST / HTTP/1.1\r\n", b"").unwrap();
        assert!((0..100_000).find_map(|_| wire.advance().err()).is_some(), "it has ended");
    }
}
