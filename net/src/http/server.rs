//! One connection from its first request to its end.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_io::{AsyncRead, AsyncWrite};
use futures_lite::future;
use highwater_runtime::Env;
use highwater_runtime::gate::Gate;
use hyper::body::Incoming;
use hyper::header::{HOST, HeaderName, HeaderValue};
use hyper::service::service_fn;

use super::body::{Intake, OutgoingBody, Taken, read_body};
use super::date::Dates;
use super::io::HyperIo;
use super::message::{Request, Response};
use super::preface::{Prefaced, Protocol};
use super::streams::{Moving, Streams};
use super::watch::{Busy, Phase, Watch, WatchedIo};

/// Of a request's or an answer's body, what one stream of HTTP/2 has under way, in bytes.
const WINDOW_BYTES: u32 = 64 << 10;
/// The largest window of HTTP/2, in bytes.
const MAX_WINDOW_BYTES: u32 = (1 << 31) - 1;

/// What one connection may cost. Times are in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest body in bytes; a larger one is answered with 413.
    pub body_bytes: usize,
    /// Of a body that is too large, read and thrown away before the 413, so that the client gets to read it.
    pub dropped_bytes: usize,
    /// Largest head (request line and headers) in bytes; a larger one is answered with 431.
    pub head_bytes: usize,
    /// Most headers of a request; more are answered with 431.
    pub headers: usize,
    /// From a request's first byte to the end of its head.
    pub head_micros: u64,
    /// From there to the end of its body; a later one is answered with 408.
    pub body_micros: u64,
    /// Without a request on a kept-alive connection.
    pub idle_micros: u64,
    /// Without the client taking a byte of an answer.
    pub write_micros: u64,
    /// Requests at a time on one connection of HTTP/2; more wait at the client.
    pub streams: u32,
}

impl Default for Limits {
    /// 2 MiB bodies (32 MiB thrown away), 64 KiB heads of 100 headers; 10 s for a head, 30 s for a body, 75 s idle, 30 s stalled;
    /// 100 requests beside each other.
    fn default() -> Self {
        Self {
            body_bytes: 2 << 20,
            dropped_bytes: 32 << 20,
            head_bytes: 64 << 10,
            headers: 100,
            head_micros: 10_000_000,
            body_micros: 30_000_000,
            idle_micros: 75_000_000,
            write_micros: 30_000_000,
            streams: 100,
        }
    }
}

/// Why a request never reached the handler.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 413.
    #[error("the request's body is larger than {limit} bytes")]
    BodyTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// 408.
    #[error("the request's body did not come within {} ms", micros / 1000)]
    BodyTimeout {
        /// The limit in microseconds.
        micros: u64,
    },
    /// 415.
    #[error(
        "the request's body is encoded ({encoding}), which is not taken: send it as it is, without content-encoding"
    )]
    BodyEncoded {
        /// What the request says of it.
        encoding: String,
    },
    /// 503.
    #[error(
        "the requests that are read at once would take more than {limit} bytes for their bodies (http.max_bodies): try again in a second"
    )]
    NoMemory {
        /// The limit in bytes.
        limit: usize,
    },
    /// 400.
    #[error("the request's body is not complete: {reason}")]
    BodyCut {
        /// What hyper says.
        reason: String,
    },
}

impl Refusal {
    /// The HTTP status that it is answered with.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::BodyTooLarge { .. } => 413,
            Self::BodyTimeout { .. } => 408,
            Self::BodyEncoded { .. } => 415,
            Self::NoMemory { .. } => 503,
            Self::BodyCut { .. } => 400,
        }
    }
}

/// Why a connection ended other than by agreement. The client is gone or misbehaves; the server goes on.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Malformed HTTP, or an error of the stream.
    #[error("HTTP connection with {peer}: {source}")]
    Connection {
        /// The other end.
        peer: SocketAddr,
        /// hyper's account.
        source: hyper::Error,
    },
    /// The stream failed before it was clear what the client speaks.
    #[error("HTTP connection with {peer}: {source}")]
    Stream {
        /// The other end.
        peer: SocketAddr,
        /// The stream's account.
        source: std::io::Error,
    },
    /// It stood still for too long.
    #[error("HTTP connection with {peer} closed: {reason}")]
    TimedOut {
        /// The other end.
        peer: SocketAddr,
        /// Where it stood.
        reason: &'static str,
    },
}

/// Serves requests until the client closes, a limit is passed, or `shutdown` completes: then what is at hand is still answered, and the
/// client told that the connection ends. Requests of HTTP/1.1 are served one after the other in the order they come, those of HTTP/2 beside
/// each other, [`Limits::streams`] at most.
///
/// `refused` answers a request (without its body) that never reaches the handler; a connection of HTTP/1.1 ends with that.
///
/// The handler's future is dropped when the client goes away: work that must not be torn lives in a task of its own.
///
/// # Errors
/// [`HttpError`], for the log; there is nobody left to answer.
pub async fn serve_connection<E, S, H, F>(
    env: &E,
    stream: S,
    peer: SocketAddr,
    intake: &Intake,
    shutdown: impl Future<Output = ()>,
    refused: impl Fn(&Request, &Refusal) -> Response + 'static,
    handler: H,
) -> Result<(), HttpError>
where
    E: Env,
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    H: Fn(Request) -> F + 'static,
    F: Future<Output = Response> + 'static,
{
    let (env, intake, limits) = (env.clone(), Rc::new(intake.clone()), intake.limits);
    let watch = Watch::start(env.clone(), limits);
    let expired = async {
        match watch.expired().await {
            Some(reason) => Err(HttpError::TimedOut { peer, reason }),
            None => Ok(()),
        }
    };
    let served = async {
        let mut end = End { requested: pin!(shutdown), is_requested: false };
        let mut stream = Prefaced::new(stream);
        let protocol = future::poll_fn(|context| {
            end.poll(context);
            match stream.poll_protocol(context, || watch.enter(Phase::Head)) {
                // Who has said nothing yet is sent away, who has begun is answered.
                Poll::Pending if end.is_requested => Poll::Ready(Ok((!stream.is_empty()).then_some(Protocol::Http1))),
                polled => polled.map_ok(Some),
            }
        });
        let Some(protocol) = protocol.await.map_err(|source| HttpError::Stream { peer, source })? else {
            return Ok(());
        };
        let (handler, refused, dates) = (Rc::new(handler), Rc::new(refused), Rc::<Dates>::default());
        let (about, large) = (Rc::clone(&watch), Gate::new(1, u32::MAX));
        let answer = move |request: hyper::Request<Incoming>| {
            let (env, intake, busy, large) = (env.clone(), Rc::clone(&intake), about.begin(), large.clone());
            let (handler, refused, dates) = (Rc::clone(&handler), Rc::clone(&refused), Rc::clone(&dates));
            async move {
                let (mut head, body) = request.into_parts();
                name_host(&mut head);
                let (path, query) = (head.uri.path().to_owned(), head.uri.query().map(str::to_owned));
                let mut request =
                    Request { method: head.method, path, query, headers: head.headers, body: Bytes::new(), peer };
                let response = match read_body(&env, &intake, &request, &large, body).await {
                    Ok(Taken { body, share, is_cut }) => {
                        request.body = body;
                        let response = handler(request).await;
                        drop(share);
                        if is_cut { response.closing() } else { response }
                    }
                    Err(refusal) => refused(&request, &refusal).closing(),
                };
                Ok::<_, Infallible>(outgoing(&env, &dates, response, busy))
            }
        };
        let io = WatchedIo { io: HyperIo(stream), watch: Rc::clone(&watch) };
        let ended = match protocol {
            Protocol::Http1 => serve_http1(io, &limits, &mut end, answer).await,
            Protocol::Http2 => {
                watch.multiplexes();
                serve_http2(io, &limits, &mut end, answer).await
            }
        };
        ended.map_err(|source| HttpError::Connection { peer, source })
    };
    future::or(served, expired).await
}

/// When a connection shall end.
struct End<'a, F> {
    requested: Pin<&'a mut F>,
    is_requested: bool,
}

impl<F: Future<Output = ()>> End<'_, F> {
    /// Whether it is requested now for the first time.
    fn poll(&mut self, context: &mut Context<'_>) -> bool {
        if self.is_requested {
            return false;
        }
        self.is_requested = self.requested.as_mut().poll(context).is_ready();
        self.is_requested
    }
}

async fn serve_http1<S, E, A, F>(
    io: WatchedIo<S, E>,
    limits: &Limits,
    end: &mut End<'_, impl Future<Output = ()>>,
    answer: A,
) -> hyper::Result<()>
where
    E: Env,
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    A: Fn(hyper::Request<Incoming>) -> F,
    F: Future<Output = Result<hyper::Response<OutgoingBody<E>>, Infallible>> + 'static,
{
    let connection = hyper::server::conn::http1::Builder::new()
        .auto_date_header(false)
        .max_headers(limits.headers)
        .max_header_size(limits.head_bytes)
        .serve_connection(io, service_fn(answer));
    let mut connection = pin!(connection);
    if end.is_requested {
        connection.as_mut().graceful_shutdown();
    }
    future::poll_fn(|context| {
        if end.poll(context) {
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(context)
    })
    .await
}

async fn serve_http2<S, E, A, F>(
    io: WatchedIo<S, E>,
    limits: &Limits,
    end: &mut End<'_, impl Future<Output = ()>>,
    answer: A,
) -> hyper::Result<()>
where
    E: Env,
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    A: Fn(hyper::Request<Incoming>) -> F,
    F: Future<Output = Result<hyper::Response<OutgoingBody<E>>, Infallible>> + 'static,
{
    let (streams, mut moving) = (Streams::default(), Moving::default());
    let connection = hyper::server::conn::http2::Builder::new(streams.clone())
        .auto_date_header(false)
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        .initial_stream_window_size(WINDOW_BYTES)
        // No stream that waits keeps another one from being read.
        .initial_connection_window_size(WINDOW_BYTES.saturating_mul(limits.streams.max(1)).min(MAX_WINDOW_BYTES))
        .max_send_buf_size(WINDOW_BYTES as usize)
        .serve_connection(io, service_fn(answer));
    let mut connection = pin!(connection);
    if end.is_requested {
        connection.as_mut().graceful_shutdown();
    }
    let ended = future::poll_fn(|context| {
        if end.poll(context) {
            connection.as_mut().graceful_shutdown();
        }
        loop {
            // Answers first, so that all that are ready leave in one write.
            moving.poll(&streams, context);
            let polled = connection.as_mut().poll(context);
            if polled.is_ready() || !streams.has_begun() {
                return polled;
            }
        }
    })
    .await;
    // A client may leave as soon as it is told that the connection ends.
    if end.is_requested { Ok(()) } else { ended }
}

/// HTTP/2 names the host beside the headers.
fn name_host(head: &mut hyper::http::request::Parts) {
    let authority = head.uri.authority().filter(|_| !head.headers.contains_key(HOST));
    if let Some(host) = authority.and_then(|authority| HeaderValue::from_str(authority.as_str()).ok()) {
        head.headers.insert(HOST, host);
    }
}

fn outgoing<E: Env>(env: &E, dates: &Dates, response: Response, busy: Busy<E>) -> hyper::Response<OutgoingBody<E>> {
    let is_multiplexed = busy.is_multiplexed();
    let mut message = hyper::Response::new(OutgoingBody::new(response.body, busy));
    *message.status_mut() =
        hyper::StatusCode::from_u16(response.status).unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    let headers = message.headers_mut();
    for (name, value) in response.headers {
        let name = HeaderName::from_static(name);
        let may_have = |byte: &u8| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f);
        // Nearly always the text is one already, and is taken as it is.
        let value = if value.as_bytes().iter().all(may_have) {
            HeaderValue::try_from(value)
        } else {
            HeaderValue::try_from(value.bytes().filter(may_have).collect::<Vec<u8>>())
        };
        if let Ok(value) = value {
            headers.append(name, value);
        }
    }
    if let Some(date) = dates.at(env.wall()) {
        headers.insert(hyper::header::DATE, date);
    }
    // One request of several says nothing of the connection.
    if response.close && !is_multiplexed {
        headers.insert(hyper::header::CONNECTION, HeaderValue::from_static("close"));
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_limits_leave_room_for_the_largest_statement() {
        let limits = Limits::default();
        assert!(limits.body_bytes >= crate::api::MAX_SQL_BYTES + (64 << 10));
        assert!(limits.dropped_bytes >= 10 << 20, "ten megabytes of SQL are refused in words, not by a reset");
    }
}
