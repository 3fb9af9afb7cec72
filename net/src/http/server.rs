//! One connection from its first request to its end.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;

use bytes::Bytes;
use futures_io::{AsyncRead, AsyncWrite};
use futures_lite::future;
use highwater_runtime::Env;
use hyper::body::Incoming;
use hyper::header::{HeaderName, HeaderValue};
use hyper::service::service_fn;

use super::body::{OutgoingBody, read_body};
use super::date::Dates;
use super::io::HyperIo;
use super::message::{Request, Response};
use super::watch::{Phase, Watch, WatchedIo};

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
}

impl Default for Limits {
    /// 2 MiB bodies (32 MiB thrown away), 64 KiB heads of 100 headers; 10 s for a head, 30 s for a body, 75 s idle, 30 s stalled.
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
    /// It stood still for too long.
    #[error("HTTP connection with {peer} closed: {reason}")]
    TimedOut {
        /// The other end.
        peer: SocketAddr,
        /// Where it stood.
        reason: &'static str,
    },
}

/// Serves requests, one after the other in the order they come, until the client closes, a limit is passed, or `shutdown`
/// completes: then the request at hand is still answered, with `Connection: close`.
///
/// `refused` answers a request (without its body) that never reaches the handler; the connection ends with that.
///
/// The handler's future is dropped when the client goes away: work that must not be torn lives in a task of its own.
///
/// # Errors
/// [`HttpError`], for the log; there is nobody left to answer.
pub async fn serve_connection<E, S, H, F>(
    env: &E,
    stream: S,
    peer: SocketAddr,
    limits: &Limits,
    shutdown: impl Future<Output = ()>,
    refused: impl Fn(&Request, &Refusal) -> Response + 'static,
    handler: H,
) -> Result<(), HttpError>
where
    E: Env,
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    H: Fn(Request) -> F + 'static,
    F: Future<Output = Response>,
{
    let watch = Watch::start(env.clone(), *limits);
    let (handler, refused, dates) = (Rc::new(handler), Rc::new(refused), Rc::<Dates>::default());
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let (env, limits, watch) = (env.clone(), *limits, Rc::clone(&watch));
        let (handler, refused, dates) = (Rc::clone(&handler), Rc::clone(&refused), Rc::clone(&dates));
        async move {
            watch.enter(Phase::Busy);
            let (head, body) = request.into_parts();
            let body = read_body(&env, &limits, &head.headers, body).await;
            let (path, query) = (head.uri.path().to_owned(), head.uri.query().map(str::to_owned));
            let request = |body| Request { method: head.method, path, query, headers: head.headers, body, peer };
            let response = match body {
                Ok(body) => handler(request(body)).await,
                Err(refusal) => refused(&request(Bytes::new()), &refusal).closing(),
            };
            Ok::<_, Infallible>(outgoing(&env, &dates, response, watch))
        }
    });
    let io = WatchedIo { io: HyperIo(stream), watch: Rc::clone(&watch) };
    let connection = hyper::server::conn::http1::Builder::new()
        .auto_date_header(false)
        .max_headers(limits.headers)
        .max_header_size(limits.head_bytes)
        .serve_connection(io, service);
    let mut connection = pin!(connection);
    let mut shutdown = pin!(shutdown);
    let mut is_shutting_down = false;
    let served = future::poll_fn(|context| {
        if !is_shutting_down && shutdown.as_mut().poll(context).is_ready() {
            is_shutting_down = true;
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(context).map_err(|source| HttpError::Connection { peer, source })
    });
    let expired = async {
        match watch.expired().await {
            Some(reason) => Err(HttpError::TimedOut { peer, reason }),
            None => Ok(()),
        }
    };
    future::or(served, expired).await
}

fn outgoing<E: Env>(
    env: &E,
    dates: &Dates,
    response: Response,
    watch: Rc<Watch<E>>,
) -> hyper::Response<OutgoingBody<E>> {
    let mut message = hyper::Response::new(OutgoingBody::new(response.body, watch));
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
    if response.close {
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
