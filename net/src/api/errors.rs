//! Errors as they are answered: code, HTTP status, message and details. The one place where SQLSTATEs meet HTTP.

use highwater_sql::diag::{Diag, SqlState};
use serde::{Deserialize, Serialize};

use super::auth::{AuthCode, AuthError};
use super::sql::SqlAnswer;
use super::topics::{TopicCode, TopicError};
use crate::http::{Refusal, Response};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal => $status:literal;)*) => {
        /// Codes of the SQL envelope.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum ErrorCode {
            $($(#[$doc])* $name,)*
        }

        impl ErrorCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// As it is written in the envelope.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }

            /// The HTTP status that goes with it.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status),* }
            }
        }
    };
}

codes! {
    /// Too many requests, or too much work waiting.
    RateLimitExceeded = "RATE_LIMIT_EXCEEDED" => 429;
    /// A parameter that cannot be used, or too many.
    InvalidParameter = "INVALID_PARAMETER" => 400;
    /// A batch that cannot be split into statements.
    BatchParseError = "BATCH_PARSE_ERROR" => 400;
    /// Nothing to do.
    EmptySql = "EMPTY_SQL" => 400;
    /// Parameters with more than one statement.
    ParamsWithBatch = "PARAMS_WITH_BATCH" => 400;
    /// A statement was refused or failed; `details` says why.
    SqlExecutionError = "SQL_EXECUTION_ERROR" => 400;
    /// Another node must be asked.
    NotLeader = "NOT_LEADER" => 503;
    /// Not now: no leader, no space, shutting down, or a deadline has passed.
    ClusterUnavailable = "CLUSTER_UNAVAILABLE" => 503;
    /// Grammar.
    InvalidSql = "INVALID_SQL" => 400;
    /// No such table.
    TableNotFound = "TABLE_NOT_FOUND" => 400;
    /// No right to do this.
    PermissionDenied = "PERMISSION_DENIED" => 403;
    /// A defect of the server.
    InternalError = "INTERNAL_ERROR" => 500;
    /// The request itself is malformed.
    InvalidInput = "INVALID_INPUT" => 400;
    /// The body is above the limit.
    FileTooLarge = "FILE_TOO_LARGE" => 413;
    /// The body is compressed.
    UnsupportedEncoding = "UNSUPPORTED_ENCODING" => 415;
    /// The body did not come in time.
    RequestTimeout = "REQUEST_TIMEOUT" => 408;
    /// The request id is too old to tell whether it was applied.
    RequestExpired = "REQUEST_EXPIRED" => 409;
    /// No such path.
    NotFound = "NOT_FOUND" => 404;
    /// The path exists, with another method.
    MethodNotAllowed = "METHOD_NOT_ALLOWED" => 405;
    /// No bearer token.
    MissingAuthorization = "MISSING_AUTHORIZATION" => 401;
    /// A token that is not ours, or a wrong user or password.
    InvalidCredentials = "INVALID_CREDENTIALS" => 401;
    /// The token's time is over.
    TokenExpired = "TOKEN_EXPIRED" => 401;
    /// The token's role does not suffice.
    InsufficientPermissions = "INSUFFICIENT_PERMISSIONS" => 403;
    /// Root has no password yet.
    SetupRequired = "SETUP_REQUIRED" => 428;
    /// Too many failed logins.
    AccountLocked = "ACCOUNT_LOCKED" => 403;
    /// Authentication failed otherwise.
    AuthenticationError = "AUTHENTICATION_ERROR" => 401;
}

impl ErrorCode {
    /// The code of a diagnostic.
    #[must_use]
    pub fn of(sqlstate: SqlState) -> Self {
        match sqlstate {
            SqlState::SYNTAX_ERROR => Self::InvalidSql,
            SqlState::UNDEFINED_TABLE => Self::TableNotFound,
            SqlState::INSUFFICIENT_PRIVILEGE => Self::PermissionDenied,
            SqlState::INVALID_PASSWORD => Self::InvalidCredentials,
            SqlState::INVALID_PARAMETER | SqlState::TOO_MANY_ARGUMENTS => Self::InvalidParameter,
            SqlState::INVALID_ENCODING => Self::InvalidInput,
            SqlState::REQUEST_EXPIRED => Self::RequestExpired,
            SqlState::OVERLOADED => Self::RateLimitExceeded,
            SqlState::INSUFFICIENT_RESOURCES
            | SqlState::DISK_FULL
            | SqlState::OUT_OF_MEMORY
            | SqlState::SHUTTING_DOWN
            | SqlState::TIMEOUT
            | SqlState::OUTCOME_UNKNOWN => Self::ClusterUnavailable,
            SqlState::INTERNAL | SqlState::DATA_CORRUPTED => Self::InternalError,
            _ => Self::SqlExecutionError,
        }
    }
}

/// What `details` holds: a JSON object, sent as the text of one (published clients read `details` as a string).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorDetails {
    /// Five characters.
    pub sqlstate: String,
    /// The first character of the place in the statement's text, counted in characters from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<u32>,
    /// One past the last character of the place, counted likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<u32>,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// More facts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Names that were probably meant, best first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suggestions: Vec<String>,
}

impl From<&Diag> for ErrorDetails {
    fn from(diag: &Diag) -> Self {
        Self {
            sqlstate: diag.sqlstate.to_string(),
            position: diag.span.map(|span| span.start.saturating_add(1)),
            end: diag.span.map(|span| span.end.saturating_add(1)),
            hint: diag.hint.clone(),
            detail: diag.detail.clone(),
            suggestions: diag.suggestions.clone(),
        }
    }
}

/// The `error` of an SQL envelope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// [`ErrorCode::as_str`].
    pub code: String,
    /// One sentence.
    pub message: String,
    /// [`ErrorDetails`] as JSON text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<String>,
}

impl ErrorBody {
    /// The details, if there are any that can be read.
    #[must_use]
    pub fn parsed_details(&self) -> Option<ErrorDetails> {
        serde_json::from_str(self.details.as_deref()?).ok()
    }
}

/// An error that is answered in the SQL envelope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// Code and status.
    pub code: ErrorCode,
    /// One sentence.
    pub message: String,
    /// The diagnostic's facts, if it comes from one.
    pub details: Option<Box<ErrorDetails>>,
    /// The session that goes on all the same.
    pub session_id: Option<String>,
}

impl ApiError {
    /// An error without details.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: None, session_id: None }
    }

    /// The same, as the failure of the batch's statement `number`, counted from 1.
    #[must_use]
    pub fn in_statement(mut self, number: usize) -> Self {
        self.message = format!("Statement {number} failed: {}", self.message);
        self
    }

    /// The HTTP status.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.code.status()
    }

    /// The `error` of the envelope.
    #[must_use]
    pub fn body(&self) -> ErrorBody {
        let details = self.details.as_ref().and_then(|details| serde_json::to_string(details).ok());
        ErrorBody { code: self.code.as_str().to_owned(), message: self.message.clone(), details }
    }

    /// The whole answer; `took` in milliseconds. Overload and unavailability carry `Retry-After: 1`.
    #[must_use]
    pub fn response(&self, took: f64) -> Response {
        let session_id = self.session_id.clone();
        let answer = SqlAnswer::<()> { session_id, ..SqlAnswer::failure(self.body(), took) };
        let response = Response::json(self.status(), &answer);
        match self.status() {
            429 | 503 => response.header("retry-after", "1"),
            401 => response.header("www-authenticate", "Bearer"),
            _ => response,
        }
    }
}

impl From<&Diag> for ApiError {
    fn from(diag: &Diag) -> Self {
        Self {
            code: ErrorCode::of(diag.sqlstate),
            message: diag.message.clone(),
            details: Some(Box::new(ErrorDetails::from(diag))),
            session_id: None,
        }
    }
}

impl From<Diag> for ApiError {
    fn from(diag: Diag) -> Self {
        Self::from(&diag)
    }
}

/// What a request that failed before or in its handler is answered, in the envelope of its path; it took so many milliseconds.
#[must_use]
pub fn error_response(path: &str, error: &ApiError, took: f64) -> Response {
    if !path.starts_with("/v1/api/auth/") {
        return error.response(took);
    }
    let response = AuthError::of(error).response_with_status(error.status());
    if matches!(error.status(), 429 | 503) { response.header("retry-after", "1") } else { response }
}

/// What a request that never reached its handler is answered, in the envelope of its path.
#[must_use]
pub fn refusal_response(path: &str, refusal: &Refusal) -> Response {
    let message = refusal.to_string();
    if path.starts_with("/v1/api/auth/") {
        return AuthError { error: AuthCode::InvalidRequest, message }.response_with_status(refusal.status());
    }
    if path.starts_with("/v1/api/topics/") {
        return TopicError { error: message, code: TopicCode::InvalidInput }.response_with_status(refusal.status());
    }
    let code = match refusal {
        Refusal::BodyTooLarge { .. } => ErrorCode::FileTooLarge,
        Refusal::BodyTimeout { .. } => ErrorCode::RequestTimeout,
        Refusal::BodyEncoded { .. } => ErrorCode::UnsupportedEncoding,
        Refusal::NoMemory { .. } => ErrorCode::ClusterUnavailable,
        Refusal::BodyCut { .. } => ErrorCode::InvalidInput,
    };
    ApiError::new(code, message).response(0.0)
}
