//! Bodies on their way in (whole, within limits, in time) and out.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures_lite::future;
use highwater_runtime::Env;
use highwater_runtime::gate::Gate;
use http_body_util::BodyExt as _;
use hyper::HeaderMap;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};

use super::message::Body;
use super::server::{Limits, Refusal};
use super::watch::Busy;

/// Pieces in which an answer is given to a connection that carries several, in bytes.
const PIECE_BYTES: usize = 16 << 10;
/// Of the bodies that come beside each other on one connection, one may be larger than this at a time, in bytes.
const SMALL_BYTES: usize = 64 << 10;

/// Characters of a header that a refusal repeats.
const SHOWN_CHARACTERS: usize = 40;

/// Reads a request's body.
///
/// A body above the limit is read on and thrown away for a while before it is refused: closing a socket with unread bytes
/// resets it, and the client would never see why. A client that announced `Expect: 100-continue` is refused at once.
///
/// `large` is what the bodies of one connection share: those that are not small come one after the other.
pub(crate) async fn read_body<E: Env>(
    env: &E,
    limits: &Limits,
    headers: &HeaderMap,
    large: &Gate,
    mut body: Incoming,
) -> Result<Bytes, Refusal> {
    let too_large = Refusal::BodyTooLarge { limit: limits.body_bytes };
    let announced =
        headers.get("content-length").and_then(|value| value.to_str().ok()).and_then(|text| text.parse::<u64>().ok());
    let is_announced_too_large = announced.is_some_and(|length| length > limits.body_bytes as u64);
    // What is refused whatever comes.
    let refused = if is_announced_too_large { Some(too_large.clone()) } else { encoded(headers, &body) };
    if let Some(refusal) = refused.clone().filter(|_| headers.contains_key("expect")) {
        return Err(refusal);
    }
    let read = async {
        let mut whole = BytesMut::new();
        let mut dropped = 0_usize;
        let mut turn = None;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| Refusal::BodyCut { reason: error.to_string() })?;
            let Ok(data) = frame.into_data() else { continue };
            if refused.is_some() || whole.len().saturating_add(data.len()) > limits.body_bytes {
                whole.clear();
                dropped = dropped.saturating_add(data.len());
                if dropped > limits.dropped_bytes {
                    break;
                }
            } else if dropped == 0 {
                if whole.is_empty() && body.is_end_stream() {
                    // Most come in one piece, which is taken as it is.
                    return Ok(data);
                }
                if turn.is_none() && whole.len().saturating_add(data.len()) > SMALL_BYTES {
                    turn = large.enter().await.ok();
                }
                whole.extend_from_slice(&data);
            }
        }
        match &refused {
            Some(refusal) => Err(refusal.clone()),
            None if dropped > 0 => Err(too_large.clone()),
            None => Ok(whole.freeze()),
        }
    };
    let late = async {
        env.sleep(limits.body_micros).await;
        Err(refused.clone().unwrap_or(Refusal::BodyTimeout { micros: limits.body_micros }))
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
