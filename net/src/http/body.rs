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
    if is_announced_too_large && headers.contains_key("expect") {
        return Err(too_large);
    }
    let read = async {
        let mut whole = BytesMut::new();
        let mut dropped = 0_usize;
        let mut turn = None;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| Refusal::BodyCut { reason: error.to_string() })?;
            let Ok(data) = frame.into_data() else { continue };
            if is_announced_too_large || whole.len().saturating_add(data.len()) > limits.body_bytes {
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
        if dropped > 0 { Err(too_large.clone()) } else { Ok(whole.freeze()) }
    };
    let late = async {
        env.sleep(limits.body_micros).await;
        Err(if is_announced_too_large {
            too_large.clone()
        } else {
            Refusal::BodyTimeout { micros: limits.body_micros }
        })
    };
    future::or(read, late).await
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
