//! The JSON of the HTTP interface: one value per request and per answer, with limits.
//!
//! Every decoder takes any bytes and gives a value or an [`ApiError`]; none panics. What KalamDB's published clients send
//! and read is kept as it is (`docs/crates/net.md` lists the differences).

mod auth;
mod cells;
mod errors;
mod health;
mod params;
mod sql;
mod topics;

pub use auth::{
    AuthCode, AuthError, LoggedInUser, LoginAnswer, LoginRequest, LogoutAnswer, MAX_CREDENTIAL_BYTES, MeAnswer,
    SetupAnswer, SetupRequest, StatusAnswer, cleared_cookies, session_cookies,
};
pub use cells::{Cell, TypeName, decode_cell};
pub use errors::{ApiError, ErrorBody, ErrorCode, ErrorDetails, error_response, refusal_response};
pub use health::{API_VERSION, ClusterHealthAnswer, ClusterNode, HealthAnswer, ReadyAnswer};
pub use params::Param;
pub use sql::{
    Column, MAX_PARAM_BYTES, MAX_PARAMS, MAX_SQL_BYTES, SqlAnswer, SqlLimits, SqlRequest, StatementResult, Status,
};
pub use topics::{AckAnswer, AckRequest, ConsumeAnswer, ConsumeRequest, Start, TopicCode, TopicError, TopicMessage};

use serde::de::DeserializeOwned;

/// A body as JSON of one shape, or a sentence that says where it is not; `wanted` is an example of the shape.
fn decode_json<T: DeserializeOwned>(body: &[u8], wanted: &str) -> Result<T, String> {
    if body.is_empty() {
        return Err(empty(wanted));
    }
    object(body, wanted)?;
    serde_json::from_slice(body).map_err(|error| describe(&error))
}

/// Fields have names here: what serde takes for a list of them in order is refused.
fn object(body: &[u8], wanted: &str) -> Result<(), String> {
    if body.trim_ascii_start().first() == Some(&b'[') {
        return Err(format!("the body is a JSON array; it must be an object: {wanted}"));
    }
    Ok(())
}

/// A request without a body where one is needed; `wanted` is what it looks like.
fn empty(wanted: &str) -> String {
    format!("the request has no body; send JSON: {wanted}")
}

/// serde_json's error as a sentence.
fn describe(error: &serde_json::Error) -> String {
    match error.classify() {
        serde_json::error::Category::Eof => {
            format!("the body ends in the middle of its JSON (line {}, column {})", error.line(), error.column())
        }
        serde_json::error::Category::Syntax | serde_json::error::Category::Io => {
            format!("the body is not valid JSON: {error}")
        }
        serde_json::error::Category::Data => format!("the body is not what is expected here: {error}"),
    }
}
