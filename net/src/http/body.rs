//! Bodies on their way in (whole, within limits, in time) and out.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures_lite::future;
use highwater_runtime::Env;
use highwater_runtime::gate::Gate;
use highwater_sql::memory::{Pool, Share};
use http_body_util::BodyExt as _;
use hyper::HeaderMap;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};

use super::message::{Body, Request};
use super::server::{Limits, Refusal};
use super::watch::Busy;

/// Pieces in which an answer is given to a connection that carries several, in bytes.
const PIECE_BYTES: usize = 16 << 10;
/// Of the bodies that come beside each other on one connection, one may be larger than this at a time, in bytes.
const SMALL_BYTES: usize = 64 << 10;

/// Characters of a header that a refusal repeats.
const SHOWN_CHARACTERS: usize = 40;

/// What a core takes of requests' bodies. Clones share the memory for them.
#[derive(Clone)]
pub struct Intake {
    /// What one connection may cost.
    pub limits: Limits,
    /// Where the bodies of all connections have their memory from, while they come and are worked on.
    pub memory: Pool,
    /// Of a body that is not small, as many bytes as this request may bring: 0 where what is answered does not depend on it. It is asked
    /// before the body is there.
    pub wanted: Rc<dyn Fn(&Request) -> usize>,
}

impl Intake {
    /// Every body within these limits.
    #[must_use]
    pub fn of(limits: Limits) -> Self {
        Self { limits, memory: Pool::unbounded(), wanted: Rc::new(move |_| limits.body_bytes) }
    }
}

/// A body that has come.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    /// All of it; empty if it was not wanted.
    pub(crate) body: Bytes,
    /// The memory that it has, to be kept as long as the body.
    pub(crate) share: Share,
    /// Some of it is still to come, and nobody waits for it: the connection must end.
    pub(crate) is_cut: bool,
}

/// Reads a request's body; `request` is all but that.
///
/// A body above the limit is read on and thrown away for a while before it is refused: closing a socket with unread bytes
/// resets it, and the client would never see why. So is one that is not wanted. A client that announced `Expect: 100-continue` is answered
/// at once.
///
/// `large` is what the bodies of one connection share: those that are not small come one after the other.
pub(crate) async fn read_body<E: Env>(
    env: &E,
    intake: &Intake,
    request: &Request,
    large: &Gate,
    mut body: Incoming,
) -> Result<Taken, Refusal> {
    let Intake { limits, memory, wanted } = intake;
    let headers = &request.headers;
    let announced =
        headers.get("content-length").and_then(|value| value.to_str().ok()).and_then(|text| text.parse::<u64>().ok());
    let is_small = body.is_end_stream() || announced.is_some_and(|length| length <= SMALL_BYTES as u64);
    let limit = if is_small { limits.body_bytes } else { wanted(request).min(limits.body_bytes) };
    let is_wanted = limit > 0;
    let is_announced_too_large = announced.is_some_and(|length| length > limit as u64);
    // What is refused whatever comes.
    let too_large = Refusal::BodyTooLarge { limit };
    let refused = match encoded(headers, &body) {
        _ if !is_wanted => None,
        _ if is_announced_too_large => Some(too_large.clone()),
        refusal => refusal,
    };
    if headers.contains_key("expect") && !body.is_end_stream() {
        match &refused {
            Some(refusal) => return Err(refusal.clone()),
            None if !is_wanted => return Ok(Taken { is_cut: true, ..Taken::default() }),
            None => {}
        }
    }
    let late = refused.clone().unwrap_or(Refusal::BodyTimeout { micros: limits.body_micros });
    let read = async {
        let mut refused = refused;
        let mut whole = BytesMut::new();
        let mut share = memory.share();
        let mut dropped = 0_usize;
        let mut turn = None;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| Refusal::BodyCut { reason: error.to_string() })?;
            let Ok(data) = frame.into_data() else { continue };
            if refused.is_none() && is_wanted {
                if whole.len().saturating_add(data.len()) > limit {
                    refused = Some(too_large.clone());
                } else if !share.grow(data.len()) {
                    refused = Some(Refusal::NoMemory { limit: memory.most() });
                }
            }
            if refused.is_some() || !is_wanted {
                (whole, share) = (BytesMut::new(), memory.share());
                dropped = dropped.saturating_add(data.len());
                if dropped > limits.dropped_bytes {
                    break;
                }
                continue;
            }
            if whole.is_empty() && body.is_end_stream() {
                // Most come in one piece, which is taken as it is.
                return Ok(Taken { body: data, share, is_cut: false });
            }
            if turn.is_none() && whole.len().saturating_add(data.len()) > SMALL_BYTES {
                turn = large.enter().await.ok();
            }
            whole.extend_from_slice(&data);
        }
        match refused {
            Some(refusal) => Err(refusal),
            None => Ok(Taken { body: whole.freeze(), share, is_cut: dropped > limits.dropped_bytes }),
        }
    };
    let late = async {
        env.sleep(limits.body_micros).await;
        Err(late)
    };
    future::or(read, late).await
}

/// The refusal of a body that is not sent as it is: nothing here unpacks it.
fn encoded(headers: &HeaderMap, body: &Incoming) -> Option<Refusal> {
    let names = headers.get_all("content-encoding");
    let names: Vec<String> =
        names.iter().map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_owned()).collect();
    let is_plain = names.iter().all(|name| name.is_empty() || name.eq_ignore_ascii_case("identity"));
    let encoding = || names.join(", ").chars().take(SHOWN_CHARACTERS).collect();
    (!is_plain && !body.is_end_stream()).then(|| Refusal::BodyEncoded { encoding: encoding() })
}

/// A response's body as hyper wants it. When it is dropped, written or not, the connection waits for the next request.
pub(crate) struct OutgoingBody<E: Env> {
    body: Body,
    busy: Busy<E>,
}

impl<E: Env> OutgoingBody<E> {
    pub(crate) fn new(body: Body, busy: Busy<E>) -> Self {
        busy.hands_over();
        Self { body, busy }
    }
}

impl<E: Env> hyper::body::Body for OutgoingBody<E> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Self { body, busy } = &mut *self;
        busy.taken();
        let frame = match body {
            Body::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Body::Whole(bytes) if busy.is_multiplexed() => {
                Poll::Ready(Some(Ok(Frame::data(bytes.split_to(PIECE_BYTES.min(bytes.len()))))))
            }
            Body::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Body::Chunks(chunks) => {
                chunks.as_mut().poll_next(context).map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
            }
        };
        if frame.is_ready() {
            busy.hands_over();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.body, Body::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Body::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Body::Chunks(_) => SizeHint::default(),
        }
    }
}
