//! The authentication paths: what they are asked, what they answer, and their errors.

use serde::{Deserialize, Serialize};

use super::{ApiError, decode_json};
use crate::http::Response;

/// Longest user name and password of a login, in bytes. Longer ones are refused before any key is derived.
pub const MAX_CREDENTIAL_BYTES: usize = 1024;

/// A login. Unknown fields are refused.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoginRequest {
    /// Who; `username` is understood too.
    #[serde(alias = "username")]
    pub user: String,
    /// The password, plain.
    pub password: String,
}

impl std::fmt::Debug for LoginRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoginRequest").field("user", &self.user).field("password", &"...").finish()
    }
}

impl LoginRequest {
    /// A login from a body.
    ///
    /// # Errors
    /// 400 for a body that is no login.
    pub fn decode(body: &[u8]) -> Result<Self, AuthError> {
        let invalid = |message: String| AuthError { error: AuthCode::InvalidRequest, message };
        let request: Self = decode_json(body, r#"{"user": "...", "password": "..."}"#).map_err(invalid)?;
        if request.user.is_empty()
            || request.user.len() > MAX_CREDENTIAL_BYTES
            || request.password.len() > MAX_CREDENTIAL_BYTES
        {
            return Err(invalid(format!(
                "user must have 1 to {MAX_CREDENTIAL_BYTES} bytes, password at most {MAX_CREDENTIAL_BYTES}"
            )));
        }
        Ok(request)
    }
}

/// The user of a login's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggedInUser {
    /// Name.
    pub id: String,
    /// user, service, dba or system.
    pub role: String,
    /// Address.
    pub email: Option<String>,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub updated_at: String,
}

/// A login's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginAnswer {
    /// Who logged in.
    pub user: LoggedInUser,
    /// Whether the web console lets this role in.
    pub admin_ui_access: bool,
    /// RFC 3339.
    pub expires_at: String,
    /// The bearer token.
    pub access_token: String,
    /// What a new one is made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_expires_at: Option<String>,
}

/// The first setup. Unknown fields are refused.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetupRequest {
    /// Name of the first user of role dba.
    pub user: String,
    /// Its password, plain.
    pub password: String,
    /// Root's password, plain.
    pub root_password: String,
    /// The user's address.
    #[serde(default)]
    pub email: Option<String>,
}

impl std::fmt::Debug for SetupRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SetupRequest").field("user", &self.user).field("email", &self.email).finish_non_exhaustive()
    }
}

impl SetupRequest {
    /// A setup from a body.
    ///
    /// # Errors
    /// 400 for a body that is no setup.
    pub fn decode(body: &[u8]) -> Result<Self, AuthError> {
        let wanted = r#"{"user": "...", "password": "...", "root_password": "...", "email": "..."}"#;
        decode_json(body, wanted).map_err(|message| AuthError { error: AuthCode::InvalidRequest, message })
    }
}

/// A setup's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetupAnswer {
    /// Who was made.
    pub user: Option<LoggedInUser>,
    /// What was done.
    pub message: String,
}

/// The answer of /v1/api/auth/status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusAnswer {
    /// Root has no password yet.
    pub needs_setup: bool,
    /// The same for people.
    pub message: String,
}

/// The answer of /v1/api/auth/me.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeAnswer {
    /// Who asks.
    pub user: LoggedInUser,
    /// Whether the web console lets this role in.
    pub admin_ui_access: bool,
}

/// The answer of /v1/api/auth/logout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogoutAnswer {
    /// That it is done.
    pub message: String,
}

/// The two `Set-Cookie` values that take a login's cookies away.
#[must_use]
pub fn cleared_cookies() -> [String; 2] {
    ["kalamdb_auth", "kalamdb_refresh"].map(|name| format!("{name}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0"))
}

/// The two `Set-Cookie` values of a login: access and refresh token; `is_secure`: over TLS, and to be sent over TLS only. Tokens are base64url and dots, so need no quoting.
#[must_use]
pub fn session_cookies(
    access: &str,
    access_seconds: u64,
    refresh: &str,
    refresh_seconds: u64,
    is_secure: bool,
) -> [String; 2] {
    let secure = if is_secure { "; Secure" } else { "" };
    [("kalamdb_auth", access, access_seconds), ("kalamdb_refresh", refresh, refresh_seconds)].map(
        |(name, token, seconds)| {
            format!("{name}={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}")
        },
    )
}

/// Codes of the authentication paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthCode {
    /// The body is no such request.
    InvalidRequest,
    /// Wrong user or password, or no valid token.
    Unauthorized,
    /// Root has no password yet.
    SetupRequired,
    /// Too many failed logins.
    AccountLocked,
    /// Not from here, or not with this role.
    Forbidden,
    /// Too many attempts.
    RateLimited,
    /// A password that is too easy.
    WeakPassword,
    /// A user name that cannot be.
    InvalidUser,
    /// There is a root password already.
    AlreadyConfigured,
    /// The user exists.
    UserExists,
    /// The node starts or stops, or the cluster has no majority at the moment.
    Unavailable,
    /// A defect of the server.
    InternalError,
}

impl AuthCode {
    /// Every code.
    pub const ALL: [Self; 12] = [
        Self::InvalidRequest,
        Self::Unauthorized,
        Self::SetupRequired,
        Self::AccountLocked,
        Self::Forbidden,
        Self::RateLimited,
        Self::WeakPassword,
        Self::InvalidUser,
        Self::AlreadyConfigured,
        Self::UserExists,
        Self::Unavailable,
        Self::InternalError,
    ];

    /// The HTTP status that goes with it.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::InvalidRequest | Self::WeakPassword | Self::InvalidUser => 400,
            Self::Unauthorized => 401,
            Self::AccountLocked | Self::Forbidden => 403,
            Self::AlreadyConfigured | Self::UserExists => 409,
            Self::SetupRequired => 428,
            Self::RateLimited => 429,
            Self::Unavailable => 503,
            Self::InternalError => 500,
        }
    }
}

/// An error of an authentication path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct AuthError {
    /// Code.
    pub error: AuthCode,
    /// One sentence.
    pub message: String,
}

impl AuthError {
    /// The whole answer.
    #[must_use]
    pub fn response(&self) -> Response {
        self.response_with_status(self.error.status())
    }

    /// An error of what lies before the path, such as a node that does not take work yet, as the authentication paths answer it.
    #[must_use]
    pub fn of(error: &ApiError) -> Self {
        let code = match error.status() {
            401 => AuthCode::Unauthorized,
            403 => AuthCode::Forbidden,
            429 => AuthCode::RateLimited,
            503 => AuthCode::Unavailable,
            500.. => AuthCode::InternalError,
            _ => AuthCode::InvalidRequest,
        };
        Self { error: code, message: error.message.clone() }
    }

    pub(super) fn response_with_status(&self, status: u16) -> Response {
        Response::json(status, self)
    }
}
