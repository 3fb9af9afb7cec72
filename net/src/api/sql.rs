//! POST /v1/api/sql: what is asked and what is answered.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::cells::TypeName;
use super::describe;
use super::errors::{ApiError, ErrorBody, ErrorCode};
use super::params::Param;

/// Longest SQL text of a request in bytes.
pub const MAX_SQL_BYTES: usize = 1 << 20;
/// Most parameters of a request.
pub const MAX_PARAMS: usize = 50;
/// Largest parameter in bytes of JSON.
pub const MAX_PARAM_BYTES: usize = 512 << 10;

/// What a request may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SqlLimits {
    /// Longest SQL text in bytes.
    pub sql_bytes: usize,
    /// Most parameters.
    pub params: usize,
    /// Largest parameter in bytes of JSON.
    pub param_bytes: usize,
}

impl Default for SqlLimits {
    fn default() -> Self {
        Self { sql_bytes: MAX_SQL_BYTES, params: MAX_PARAMS, param_bytes: MAX_PARAM_BYTES }
    }
}

/// A request: one statement, or a batch separated by `;`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlRequest {
    /// The text; not empty.
    pub sql: String,
    /// `$1`, `$2` ...
    pub params: Vec<Param>,
    /// Namespace of unqualified names.
    pub namespace_id: Option<String>,
    /// ULID or UUIDv7 that makes a retry apply once; not looked into here.
    pub request_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSqlRequest<'a> {
    #[serde(borrow)]
    sql: Cow<'a, str>,
    #[serde(borrow, default)]
    params: Option<Vec<&'a RawValue>>,
    #[serde(default)]
    namespace_id: Option<String>,
    #[serde(default)]
    request_id: Option<String>,
}

impl SqlRequest {
    /// A request from a body, within the default limits.
    ///
    /// # Errors
    /// As [`Self::decode_within`].
    pub fn decode(body: &[u8]) -> Result<Self, ApiError> {
        Self::decode_within(body, &SqlLimits::default())
    }

    /// A request from a body.
    ///
    /// # Errors
    /// INVALID_INPUT for a body that is no such JSON, EMPTY_SQL, INVALID_SQL above the limit, INVALID_PARAMETER.
    pub fn decode_within(body: &[u8], limits: &SqlLimits) -> Result<Self, ApiError> {
        let wanted = r#"{"sql": "SELECT 1", "params": []}"#;
        if body.is_empty() {
            return Err(ApiError::new(ErrorCode::InvalidInput, super::empty(wanted)));
        }
        super::object(body, wanted).map_err(|message| ApiError::new(ErrorCode::InvalidInput, message))?;
        let body = std::str::from_utf8(body).map_err(|error| {
            let at = error.valid_up_to();
            ApiError::new(
                ErrorCode::InvalidInput,
                format!("the body is not valid UTF-8: byte {at} starts no character"),
            )
        })?;
        let raw: RawSqlRequest<'_> =
            serde_json::from_str(body).map_err(|error| ApiError::new(ErrorCode::InvalidInput, describe(&error)))?;
        if raw.sql.len() > limits.sql_bytes {
            let message = format!("the SQL text has {} bytes; at most {} are allowed", raw.sql.len(), limits.sql_bytes);
            return Err(ApiError::new(ErrorCode::InvalidSql, message));
        }
        if raw.sql.trim().is_empty() {
            return Err(ApiError::new(ErrorCode::EmptySql, "the SQL text is empty"));
        }
        let raw_params = raw.params.unwrap_or_default();
        if raw_params.len() > limits.params {
            let message = format!("{} parameters were given; at most {} are allowed", raw_params.len(), limits.params);
            return Err(ApiError::new(ErrorCode::InvalidParameter, message));
        }
        let params = raw_params
            .iter()
            .enumerate()
            .map(|(at, raw)| Param::from_raw(raw, at + 1, limits.param_bytes))
            .collect::<Result<_, _>>()?;
        Ok(Self { sql: raw.sql.into_owned(), params, namespace_id: raw.namespace_id, request_id: raw.request_id })
    }

    /// A request's body, as a client sends it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Sent<'a> {
            sql: &'a str,
            #[serde(skip_serializing_if = "Vec::is_empty")]
            params: Vec<Box<RawValue>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            namespace_id: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            request_id: Option<&'a str>,
        }
        let params = self.params.iter().map(|param| match param {
            Param::Null => Ok(RawValue::NULL.to_owned()),
            Param::Boolean(true) => Ok(RawValue::TRUE.to_owned()),
            Param::Boolean(false) => Ok(RawValue::FALSE.to_owned()),
            Param::Number(json) | Param::Json(json) => RawValue::from_string(json.clone()),
            Param::Text(text) => serde_json::value::to_raw_value(text),
        });
        let sent = Sent {
            sql: &self.sql,
            params: params.map(|param| param.unwrap_or_else(|_| RawValue::NULL.to_owned())).collect(),
            namespace_id: self.namespace_id.as_deref(),
            request_id: self.request_id.as_deref(),
        };
        serde_json::to_vec(&sent).unwrap_or_default()
    }
}

/// Whether a request did what it asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It did.
    Success,
    /// It did not, or not all of it; see [`SqlAnswer::error`].
    Error,
}

/// A column of a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Name.
    pub name: String,
    /// Type.
    pub data_type: TypeName,
    /// Place in the row, from 0.
    pub index: u32,
    /// Of "pk" (key), "nn" (not null), "uq" (unique), in this order; left out when none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
}

/// The result of one statement. `C` is a cell: [`super::Cell`] on the way out, `serde_json::Value` on the way in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatementResult<C> {
    /// Columns; left out when empty.
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub schema: Vec<Column>,
    /// Rows in the schema's order; `None` for a statement that is no query.
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    pub rows: Option<Vec<Vec<C>>>,
    /// Rows returned, inserted, updated or deleted.
    pub row_count: u64,
    /// What happened, for a statement that is no query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The user whose rows the statement meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_user: Option<String>,
}

impl<C> StatementResult<C> {
    /// A query's rows.
    #[must_use]
    pub fn rows(schema: Vec<Column>, rows: Vec<Vec<C>>, as_user: Option<String>) -> Self {
        Self { schema, row_count: rows.len() as u64, rows: Some(rows), message: None, as_user }
    }

    /// What a statement that is no query did.
    #[must_use]
    pub fn message(message: impl Into<String>, row_count: u64, as_user: Option<String>) -> Self {
        Self { schema: Vec::new(), rows: None, row_count, message: Some(message.into()), as_user }
    }
}

/// The whole answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SqlAnswer<C> {
    /// Success or error.
    pub status: Status,
    /// One per statement, in order; empty on an error.
    pub results: Vec<StatementResult<C>>,
    /// Milliseconds that the server took.
    pub took: f64,
    /// The session's read-your-writes token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Where something was read stale: the time in RFC 3339 up to which all changes are in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<String>,
    /// The session that BEGIN has opened, or that goes on: to be sent as X-Highwater-Session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorBody>,
}

impl<C> SqlAnswer<C> {
    /// A successful answer; `took` in milliseconds.
    #[must_use]
    pub fn success(results: Vec<StatementResult<C>>, took: f64, token: Option<String>) -> Self {
        Self { status: Status::Success, results, took, token, as_of: None, session_id: None, error: None }
    }

    /// An error; `took` in milliseconds.
    #[must_use]
    pub fn failure(error: ErrorBody, took: f64) -> Self {
        Self {
            status: Status::Error,
            results: Vec::new(),
            took,
            token: None,
            as_of: None,
            session_id: None,
            error: Some(error),
        }
    }
}
