//! A small HTTP/1.1 client over one stream: for simulation, for tests, for nodes that ask one another. One request at a time.

use std::io;
use std::pin::Pin;

use bytes::Bytes;
use futures_io::{AsyncRead, AsyncWrite};
use futures_lite::future;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{Connection, SendRequest, handshake};
use hyper::{HeaderMap, Method};

use crate::http::HyperIo;

/// Largest answer that is read, in bytes; a larger one is an error.
pub const MAX_ANSWER_BYTES: usize = 256 << 20;

/// Why there is no answer. Whether the request had an effect is then unknown, unless it was never sent.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The connection broke, or the answer is not HTTP.
    #[error("the HTTP exchange failed: {0}")]
    Exchange(#[from] hyper::Error),
    /// The answer's body broke off or is too large.
    #[error("the answer's body is not complete: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    /// Method, path or a header cannot be sent.
    #[error("the request cannot be sent: {0}")]
    Request(String),
}

impl ClientError {
    /// As an I/O error.
    #[must_use]
    pub fn into_io(self) -> io::Error {
        io::Error::other(self)
    }
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// What moves the bytes of a connection.
type Moving<S> = Pin<Box<Connection<HyperIo<S>, Full<Bytes>>>>;

/// A client on one connection, kept alive between requests.
pub struct Client<S: AsyncRead + AsyncWrite + Unpin + 'static> {
    sender: SendRequest<Full<Bytes>>,
    /// Polled while a request is under way; `None` once it has ended.
    connection: Option<Moving<S>>,
    host: String,
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Client<S> {
    /// A client over a connected stream; `host` is sent as the `Host` header.
    ///
    /// # Errors
    /// [`ClientError::Exchange`].
    pub async fn new(stream: S, host: impl Into<String>) -> Result<Self, ClientError> {
        let (sender, connection) = handshake(HyperIo(stream)).await?;
        Ok(Self { sender, connection: Some(Box::pin(connection)), host: host.into() })
    }

    /// Sends a request and waits for the whole answer. `path` may carry a query. To give up, drop the future and the client.
    ///
    /// # Errors
    /// [`ClientError`]; the connection is of no more use.
    pub async fn request(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer, ClientError> {
        let mut request = hyper::Request::builder().method(method).uri(path).header("host", self.host.as_str());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).map_err(|error| ClientError::Request(error.to_string()))?;
        let Self { sender, connection, .. } = self;
        let exchange = async {
            sender.ready().await?;
            let (head, body) = sender.send_request(request).await?.into_parts();
            let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await.map_err(ClientError::Body)?.to_bytes();
            Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
        };
        // When the connection ends, however it does, the exchange learns of it and ends too.
        let moving = async {
            if let Some(moving) = connection.as_mut() {
                let _ = moving.as_mut().await;
                *connection = None;
            }
            future::pending().await
        };
        future::or(exchange, moving).await
    }

    /// Sends JSON by POST.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub async fn post_json(
        &mut self,
        path: &str,
        bearer: Option<&str>,
        body: impl Into<Bytes>,
    ) -> Result<Answer, ClientError> {
        self.post_json_with(path, bearer, &[], body).await
    }

    /// The same with further headers.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub async fn post_json_with(
        &mut self,
        path: &str,
        bearer: Option<&str>,
        further: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer, ClientError> {
        let authorization = bearer.map(|token| format!("Bearer {token}"));
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(authorization.as_deref().map(|value| ("authorization", value)));
        headers.extend(further);
        self.request(Method::POST, path, &headers, body).await
    }

    /// Whether the server has closed the connection, as far as is known.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.connection.is_none() || self.sender.is_closed()
    }
}
