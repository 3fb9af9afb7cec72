//! A connection that several slots share: HTTP/2 over a socket that never blocks. Whoever holds it waits for the socket and calls
//! [`Multiplexed::advance`]; nothing else wakes it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use h2::RecvStream;
use h2::client::{Builder, Connection, ResponseFuture, SendRequest};
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Response, Uri};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::wire::{begin, is_connected};

/// Bytes of answers that may be under way on a connection; more than any number of them has.
const WINDOW_BYTES: u32 = 16 << 20;

/// A connection.
pub(crate) struct Multiplexed {
    socket: Rc<TcpStream>,
    outgoing: Outgoing,
    state: State,
    uri: Uri,
    /// The token that requests carry, as it was given.
    token: (String, HeaderValue),
    /// What waits for the connection to be there.
    waiting: Vec<(usize, Bytes)>,
    /// What was asked, by slot.
    calls: BTreeMap<usize, Call>,
}

type Handshake = Pin<Box<dyn Future<Output = Result<(SendRequest<Bytes>, Connection<Socket, Bytes>), h2::Error>>>>;

enum State {
    Connecting,
    Greeting(Handshake),
    Open(SendRequest<Bytes>, Box<Connection<Socket, Bytes>>),
}

enum Call {
    Asked(ResponseFuture),
    Answered { status: u16, retry_after: Option<Duration>, body: RecvStream, come: BytesMut },
}

/// A whole answer: its status, when to come back if it says so, and its body.
pub(crate) type Reply = (u16, Option<Duration>, Bytes);

/// What became of a slot's request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) slot: usize,
    /// Or why there is none.
    pub(crate) reply: io::Result<Reply>,
}

impl Multiplexed {
    /// Begins to connect to `address`, whose requests go to `uri`.
    pub(crate) fn connect(address: SocketAddr, uri: Uri) -> io::Result<Self> {
        let (stream, _) = begin(address)?;
        stream.set_nodelay(true)?;
        let token = (String::new(), HeaderValue::from_static(""));
        let (waiting, calls) = (Vec::new(), BTreeMap::new());
        let socket = Rc::new(stream);
        let outgoing = Outgoing { stream: Rc::clone(&socket), gathered: Rc::default() };
        Ok(Self { socket, outgoing, state: State::Connecting, uri, token, waiting, calls })
    }

    /// Whether it is not known yet to be connected.
    pub(crate) fn is_connecting(&self) -> bool {
        matches!(self.state, State::Connecting)
    }

    /// The slots that wait for an answer.
    pub(crate) fn into_slots(self) -> impl Iterator<Item = usize> {
        self.waiting.into_iter().map(|(slot, _)| slot).chain(self.calls.into_keys())
    }

    /// Begins a request of a slot; it leaves with the next [`Self::advance`].
    pub(crate) fn send(&mut self, slot: usize, token: &str, body: &[u8]) -> io::Result<()> {
        if self.token.0 != token {
            let value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(io::Error::other)?;
            self.token = (token.to_owned(), value);
        }
        self.forget(slot);
        self.waiting.push((slot, Bytes::copy_from_slice(body)));
        Ok(())
    }

    /// The answer to a slot's request is not waited for any more.
    pub(crate) fn forget(&mut self, slot: usize) {
        self.calls.remove(&slot);
        self.waiting.retain(|(other, _)| *other != slot);
    }

    /// Goes on as far as the socket lets it, and adds the answers that are there.
    ///
    /// # Errors
    /// The connection is of no use any more.
    pub(crate) fn advance(&mut self, answers: &mut Vec<Answer>) -> io::Result<()> {
        let context = &mut Context::from_waker(Waker::noop());
        if self.is_connecting() {
            if !is_connected(&self.socket)? {
                return Ok(());
            }
            let mut builder = Builder::new();
            builder.initial_window_size(WINDOW_BYTES).initial_connection_window_size(WINDOW_BYTES).enable_push(false);
            let socket = Socket(self.outgoing.clone());
            self.state = State::Greeting(Box::pin(async move { builder.handshake(socket).await }));
        }
        if let State::Greeting(handshake) = &mut self.state {
            let polled = handshake.as_mut().poll(context);
            self.outgoing.write()?;
            match polled {
                Poll::Pending => return Ok(()),
                Poll::Ready(done) => {
                    let (sender, connection) = done.map_err(io::Error::other)?;
                    self.state = State::Open(sender, Box::new(connection));
                }
            }
        }
        let State::Open(sender, connection) = &mut self.state else { return Ok(()) };
        for (slot, body) in self.waiting.drain(..) {
            let mut request = Request::new(());
            *request.method_mut() = Method::POST;
            *request.uri_mut() = self.uri.clone();
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            request.headers_mut().insert(AUTHORIZATION, self.token.1.clone());
            let (answer, mut stream) = sender.send_request(request, false).map_err(io::Error::other)?;
            // Beyond the server's window it waits in memory: there is one per slot.
            stream.send_data(body, true).map_err(io::Error::other)?;
            self.calls.insert(slot, Call::Asked(answer));
        }
        // Twice: what is taken gives the server room again.
        for _ in 0..2 {
            let before = answers.len();
            let polled = Pin::new(&mut *connection).poll(context);
            self.outgoing.write()?;
            self.calls.retain(|slot, call| match call.poll(context) {
                Poll::Pending => true,
                Poll::Ready(reply) => {
                    answers.push(Answer { slot: *slot, reply: reply.map_err(io::Error::other) });
                    false
                }
            });
            match polled {
                Poll::Pending if answers.len() == before => break,
                Poll::Pending => {}
                Poll::Ready(Ok(())) => return Err(ErrorKind::UnexpectedEof.into()),
                Poll::Ready(Err(error)) => return Err(io::Error::other(error)),
            }
        }
        Ok(())
    }
}

impl Call {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Reply, h2::Error>> {
        if let Self::Asked(answer) = self {
            let head: Response<RecvStream> = match Pin::new(answer).poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(head)) => head,
            };
            let retry_after = head.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            *self = Self::Answered {
                status: head.status().as_u16(),
                retry_after: retry_after.map(Duration::from_secs),
                body: head.into_body(),
                come: BytesMut::new(),
            };
        }
        let Self::Answered { status, retry_after, body, come } = self else { return Poll::Pending };
        loop {
            match body.poll_data(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => {
                    return Poll::Ready(Ok((*status, *retry_after, std::mem::take(come).freeze())));
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(Some(Ok(data))) => {
                    let _ = body.flow_control().release_capacity(data.len());
                    come.extend_from_slice(&data);
                }
            }
        }
    }
}

impl AsFd for Multiplexed {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Bytes that are gathered at most before they are written.
const GATHERED: usize = 256 << 10;

/// What `h2` has written and the socket has not. `h2` writes and flushes each body by itself; a system call for each would cost as much
/// as all the rest of a request.
#[derive(Clone)]
struct Outgoing {
    stream: Rc<TcpStream>,
    gathered: Rc<RefCell<BytesMut>>,
}

impl Outgoing {
    /// Writes what the socket takes.
    fn write(&self) -> io::Result<()> {
        let mut gathered = self.gathered.borrow_mut();
        while !gathered.is_empty() {
            match (&*self.stream).write(&gathered) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => gathered.advance(written),
            }
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.gathered.borrow().len() >= GATHERED
    }
}

/// The socket as `h2` wants it; it is never waited for here.
struct Socket(Outgoing);

/// A result of a socket that never blocks.
fn ready<T>(result: io::Result<T>) -> Poll<io::Result<T>> {
    match result {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Poll::Pending,
        result => Poll::Ready(result),
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, target: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let room = target.initialize_unfilled();
        ready((&*self.0.stream).read(room)).map_ok(|read| target.advance(read))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.0.is_full() {
            self.0.write()?;
            if self.0.is_full() {
                return Poll::Pending;
            }
        }
        let mut gathered = self.0.gathered.borrow_mut();
        let before = gathered.len();
        bytes.iter().for_each(|slice| gathered.extend_from_slice(slice));
        Poll::Ready(Ok(gathered.len() - before))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // `Multiplexed::advance` does.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.write())
    }
}
