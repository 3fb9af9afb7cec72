//! A request as a handler sees it and the response that it gives.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;

use bytes::Bytes;
use futures_lite::Stream;
use hyper::{HeaderMap, Method};

/// A whole request: its body is complete and within the limit.
#[derive(Clone, Debug)]
pub struct Request {
    /// GET, POST ...
    pub method: Method,
    /// The path as sent, without the query; still percent-encoded.
    pub path: String,
    /// What follows the `?`, still percent-encoded.
    pub query: Option<String>,
    /// Headers; names are case-insensitive.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// The other end of the connection.
    pub peer: SocketAddr,
}

impl Request {
    /// A header's first value, if it is visible ASCII.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The token of `Authorization: Bearer <token>` (the scheme in any case).
    #[must_use]
    pub fn bearer(&self) -> Option<&str> {
        let (scheme, token) = self.header("authorization")?.split_once(' ')?;
        let token = token.trim();
        (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
    }

    /// Whether the request comes from this machine, and not through a proxy on it: a proxy names whom it asks for.
    #[must_use]
    pub fn is_local(&self) -> bool {
        let is_forwarded =
            ["forwarded", "x-forwarded-for", "x-real-ip", "via"].iter().any(|name| self.headers.contains_key(*name));
        self.peer.ip().to_canonical().is_loopback() && !is_forwarded
    }

    /// Whether a browser sends it for a page that did not come from this machine itself (or, with `or_same_host`, from the host that it names):
    /// such a page could ask for anything that the machine's own users may.
    #[must_use]
    pub fn is_of_foreign_page(&self, or_same_host: bool) -> bool {
        let Some(origin) = self.header("origin") else {
            return self.header("sec-fetch-site").is_some_and(|site| !matches!(site, "same-origin" | "none"));
        };
        let authority = origin.split_once("://").map_or(origin, |(_, authority)| authority);
        let is_same = or_same_host && self.header("host").is_some_and(|host| host.eq_ignore_ascii_case(authority));
        !is_same
            && !authority.parse::<hyper::http::uri::Authority>().is_ok_and(|authority| is_loopback(authority.host()))
    }

    /// A cookie's value.
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<&str> {
        let pairs = self
            .headers
            .get_all("cookie")
            .into_iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'));
        pairs.filter_map(|pair| pair.trim().split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    address.map_or(host.eq_ignore_ascii_case("localhost"), |address| address.to_canonical().is_loopback())
}

/// Chunks of a body; an error breaks the connection off, so that the client can tell the body from a complete one.
pub type ChunkStream = Pin<Box<dyn Stream<Item = io::Result<Bytes>>>>;

/// A response's body.
pub enum Body {
    /// All of it; sent with `Content-Length`.
    Whole(Bytes),
    /// Piece by piece, as they come; sent chunked.
    Chunks(ChunkStream),
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole(bytes) => write!(f, "Whole({} bytes)", bytes.len()),
            Self::Chunks(_) => f.write_str("Chunks"),
        }
    }
}

/// What a handler answers.
#[derive(Debug)]
pub struct Response {
    /// Status code, 200 to 599.
    pub status: u16,
    /// Headers beside `Date`, `Content-Length`, `Transfer-Encoding` and `Connection`, which are written here.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Body,
    /// Close the connection after this answer.
    pub close: bool,
}

impl Response {
    /// A whole body of a content type.
    #[must_use]
    pub fn new(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            headers: vec![("content-type", content_type.to_owned())],
            body: Body::Whole(body.into()),
            close: false,
        }
    }

    /// JSON. A value that cannot be encoded (none of [`crate::api`] is such) becomes a 500.
    #[must_use]
    pub fn json(status: u16, value: &impl serde::Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self::new(status, "application/json", body),
            Err(error) => {
                Self::new(500, "text/plain; charset=utf-8", format!("the answer could not be encoded: {error}\n"))
            }
        }
    }

    /// Adds a header. Characters that no header may have are left out.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The connection is closed after this answer.
    #[must_use]
    pub fn closing(mut self) -> Self {
        self.close = true;
        self
    }
}
