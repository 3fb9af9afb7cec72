//! Pages of other origins: which may read answers (`http.cors_origins`), and what their browsers are told beforehand.
//!
//! Tokens travel in a header, so credentials (cookies) are never allowed across origins. Without the setting nothing is said, and
//! browsers keep the answers from such pages.

use highwater_net::http::{Request, Response};

use crate::config::Origins;

/// Methods that the API knows.
const METHODS: &str = "GET, POST";
/// Headers that requests carry.
const REQUEST_HEADERS: &str = "authorization, content-type, x-highwater-token, x-highwater-session, x-highwater-timing";
/// Headers of answers that pages may read.
const EXPOSED: &str = "x-request-id, retry-after, server-timing";
/// How long a browser may remember the answer to its question, in seconds.
const MAX_AGE: &str = "600";

/// What the answer to a request of another origin says: the allowed origin; `None` for requests of no or of another origin.
pub(super) fn allowed<'a>(origins: &Origins, request: &'a Request) -> Option<&'a str> {
    let origin = request.header("origin")?;
    match origins {
        Origins::None => None,
        Origins::Any => Some("*"),
        Origins::These(list) => list.iter().any(|known| known.eq_ignore_ascii_case(origin)).then_some(origin),
    }
}

/// The answer to a browser's question before a request; `None` when it is none.
pub(super) fn preflight(origins: &Origins, request: &Request) -> Option<Response> {
    if request.method.as_str() != "OPTIONS" || !request.headers.contains_key("access-control-request-method") {
        return None;
    }
    allowed(origins, request)?;
    let response = Response::new(204, "text/plain", "")
        .header("access-control-allow-methods", METHODS)
        .header("access-control-allow-headers", REQUEST_HEADERS)
        .header("access-control-max-age", MAX_AGE);
    Some(response)
}

/// Adds what lets the page read the answer.
pub(super) fn answered(response: Response, origins: &Origins, allowed: Option<&str>) -> Response {
    // Caches must not give one origin's answer to another.
    let response = if matches!(origins, Origins::These(_)) { response.header("vary", "origin") } else { response };
    match allowed {
        Some(origin) => {
            response.header("access-control-allow-origin", origin).header("access-control-expose-headers", EXPOSED)
        }
        None => response,
    }
}
