//! Logins: login, refresh, logout, me.

use std::sync::Arc;

use highwater_net::api::{
    ApiError, AuthCode, AuthError, LoggedInUser, LoginAnswer, LoginRequest, LogoutAnswer, MeAnswer, cleared_cookies,
    session_cookies,
};
use highwater_net::http::{Request, Response};
use highwater_runtime::Env;
use highwater_sql::catalog::{Catalog, Role, User};

use super::Service;
use crate::audit::{Event, EventKind, Outcome};
use crate::auth::{self, Lifetimes, LoginError, ROOT, TokenType};
use crate::node::{Node, TraceId};

impl Service {
    /// A password for tokens.
    pub(super) async fn login(&self, node: &Node, request: &Request, trace: TraceId) -> Result<Response, ApiError> {
        let asked = match LoginRequest::decode(&request.body) {
            Ok(asked) => asked,
            Err(error) => return Ok(error.response()),
        };
        // Known and unknown names take the same way.
        let catalog = node.newest_catalog().await?;
        if needs_setup(&catalog) {
            return Ok(refused(LoginError::SetupRequired));
        }
        let user = catalog.users.get(&asked.user).cloned();
        let checked =
            self.logins().check(self.env(), &asked.user, user.as_deref(), asked.password, request.peer.ip()).await;
        match (checked, user) {
            (Ok(()), Some(user)) => {
                let id = format!("{:032x}", auth::random_id(self.env()));
                let event = Event::of(EventKind::Login, Outcome::Done, &user.name).from(request.peer.ip());
                node.record(event.of_login(&id).of_request(trace));
                Ok(self.tokens(node, &user, &id))
            }
            (Ok(()), None) => Ok(refused(LoginError::Wrong)),
            (Err(error), _) => {
                // Of one that was not even looked at for lack of time there is nothing to say.
                if !matches!(error, LoginError::Overloaded) {
                    let event = Event::of(EventKind::Login, Outcome::Refused, &asked.user).from(request.peer.ip());
                    node.record(event.because(reason(&error)).of_request(trace));
                    let peer = request.peer.ip();
                    tracing::warn!(request_id = %trace, user = asked.user, %peer, %error, "login refused");
                }
                Ok(refused(error))
            }
        }
    }

    /// A refresh token for tokens of the same login.
    pub(super) async fn refresh(&self, node: &Node, request: &Request, trace: TraceId) -> Result<Response, ApiError> {
        let Some(token) = request.bearer().or_else(|| cookie(request, "kalamdb_refresh")) else {
            return Ok(unauthorized(
                "send the refresh token as 'Authorization: Bearer <token>' or in the cookie kalamdb_refresh",
            ));
        };
        match self.holder(node, token, TokenType::Refresh).await {
            Ok((claims, user)) => {
                let event = Event::of(EventKind::Refresh, Outcome::Done, &user.name).from(request.peer.ip());
                node.record(event.of_login(&claims.jti).of_request(trace));
                Ok(self.tokens(node, &user, &claims.jti))
            }
            Err(error) if error.status() == 401 => Ok(unauthorized(&error.message)),
            Err(error) => Err(error),
        }
    }

    /// Who the token stands for.
    pub(super) async fn me(&self, node: &Node, request: &Request) -> Result<Response, ApiError> {
        let Some(token) = request.bearer().or_else(|| cookie(request, "kalamdb_auth")) else {
            return Ok(unauthorized(
                "send the access token as 'Authorization: Bearer <token>' or in the cookie kalamdb_auth",
            ));
        };
        match self.holder(node, token, TokenType::Access).await {
            Ok((_, user)) => {
                Ok(Response::json(200, &MeAnswer { user: shown(&user), admin_ui_access: has_console(&user) }))
            }
            Err(error) if error.status() == 401 => Ok(unauthorized(&error.message)),
            Err(error) => Err(error),
        }
    }

    /// Ends the login that the request's token belongs to, and takes its cookies away. Without a token there is nothing to end.
    pub(super) async fn logout(&self, node: &Node, request: &Request, trace: TraceId) -> Result<Response, ApiError> {
        let tokens = [request.bearer(), cookie(request, "kalamdb_refresh"), cookie(request, "kalamdb_auth")];
        let now = self.env().wall();
        for token in tokens.into_iter().flatten() {
            let claims = [TokenType::Refresh, TokenType::Access]
                .into_iter()
                .find_map(|wanted| self.known_tokens().borrow_mut().verify(token, &node.token_key(), now, wanted).ok());
            let Some((claims, login)) = claims.and_then(|claims| claims.login().map(|login| (claims, login))) else {
                continue;
            };
            // Tokens that are refreshed at this moment live longest.
            let longest = self.config().auth_refresh_lifetime.max(self.config().auth_access_lifetime);
            let life = i64::try_from(longest.micros()).unwrap_or(i64::MAX);
            let expires = claims.exp.saturating_add(auth::LEEWAY_SECONDS).saturating_mul(1_000_000);
            node.end_login(login, expires.max(now.0.saturating_add(life))).await?;
            self.ended_logins().borrow_mut().note(login, self.env().now(), true);
            node.end_sessions(&claims.jti).await;
            let event = Event::of(EventKind::Logout, Outcome::Done, &claims.sub).from(request.peer.ip());
            node.record(event.of_login(&claims.jti).of_request(trace));
        }
        let response = Response::json(200, &LogoutAnswer { message: "logged out".into() });
        Ok(cleared_cookies().into_iter().fold(response, |response, cookie| response.header("set-cookie", cookie)))
    }

    fn tokens(&self, node: &Node, user: &Arc<User>, id: &str) -> Response {
        let seconds = |period: crate::config::Period| i64::try_from(period.seconds()).unwrap_or(i64::MAX);
        let lifetimes = Lifetimes {
            access: seconds(self.config().auth_access_lifetime),
            refresh: seconds(self.config().auth_refresh_lifetime),
        };
        let Ok(pair) = auth::issue(user, &node.token_key(), self.env().wall(), lifetimes, id) else {
            return AuthError { error: AuthCode::InternalError, message: "the token could not be signed".into() }
                .response();
        };
        let is_secure = self.0.tls.borrow().is_some();
        let cookies = session_cookies(
            &pair.access,
            lifetimes.access.unsigned_abs(),
            &pair.refresh,
            lifetimes.refresh.unsigned_abs(),
            is_secure,
        );
        let answer = LoginAnswer {
            user: shown(user),
            admin_ui_access: has_console(user),
            expires_at: rfc3339(pair.access_expires.saturating_mul(1_000_000)),
            access_token: pair.access,
            refresh_token: Some(pair.refresh),
            refresh_expires_at: Some(rfc3339(pair.refresh_expires.saturating_mul(1_000_000))),
        };
        let response = Response::json(200, &answer).header("cache-control", "no-store");
        cookies.into_iter().fold(response, |response, cookie| response.header("set-cookie", cookie))
    }
}

/// A cookie of the request, unless a page of another origin sent it: browsers add cookies to what such pages ask, too.
fn cookie<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    let is_own = request.header("origin").is_none_or(|origin| {
        let place = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        place.zip(request.header("host")).is_some_and(|(place, host)| place.eq_ignore_ascii_case(host))
    });
    request.cookie(name).filter(|_| is_own)
}

/// Whether root still needs a password: nobody logs in before that.
pub(super) fn needs_setup(catalog: &Catalog) -> bool {
    catalog.users.get(ROOT).is_none_or(|root| root.verifier.is_none())
}

fn unauthorized(message: &str) -> Response {
    AuthError { error: AuthCode::Unauthorized, message: message.to_owned() }
        .response()
        .header("www-authenticate", "Bearer")
}

/// The answer to a login that fails.
fn refused(error: LoginError) -> Response {
    let (code, retry_after) = match error {
        LoginError::Wrong => (AuthCode::Unauthorized, None),
        LoginError::SetupRequired => (AuthCode::SetupRequired, None),
        LoginError::Locked { seconds } => (AuthCode::AccountLocked, Some(seconds)),
        LoginError::TooMany { seconds } => (AuthCode::RateLimited, Some(seconds)),
        LoginError::Overloaded => (AuthCode::RateLimited, Some(1)),
        LoginError::Damaged => (AuthCode::InternalError, None),
    };
    let response = AuthError { error: code, message: error.to_string() }.response();
    match retry_after {
        Some(seconds) => response.header("retry-after", seconds.to_string()),
        None => response,
    }
}

pub(super) fn shown(user: &User) -> LoggedInUser {
    LoggedInUser {
        id: user.name.clone(),
        role: auth::role_word(user.role).to_owned(),
        email: user.email.clone(),
        created_at: rfc3339(user.created_at),
        updated_at: rfc3339(user.updated_at),
    }
}

/// Why a login was refused, in words that do not change from one second to the next: equal events are counted.
fn reason(error: &LoginError) -> &'static str {
    match error {
        LoginError::Wrong => "wrong user or password",
        LoginError::Locked { .. } => "the account is locked after too many failed logins",
        LoginError::TooMany { .. } => "too many failed logins from this address",
        LoginError::Damaged => "the stored password of this user is damaged",
        LoginError::SetupRequired => "root has no password yet",
        LoginError::Overloaded => "too many logins are being checked",
    }
}

fn has_console(user: &User) -> bool {
    user.role >= Role::Dba
}

/// Microseconds since 1970 as RFC 3339; a time beyond its years as the nearest that it can write.
pub(super) fn rfc3339(micros: i64) -> String {
    let limit = if micros < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX };
    jiff::Timestamp::from_microsecond(micros).unwrap_or(limit).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(1_700_000_000_123_456), "2023-11-14T22:13:20.123456Z");
        assert!(rfc3339(i64::MAX).starts_with("9999"));
    }

    #[test]
    fn every_refusal_has_its_status() {
        let status = |error| refused(error).status;
        assert_eq!(status(LoginError::Wrong), 401);
        assert_eq!(status(LoginError::SetupRequired), 428);
        assert_eq!(status(LoginError::Locked { seconds: 9 }), 403);
        assert_eq!(status(LoginError::TooMany { seconds: 9 }), 429);
        assert_eq!(status(LoginError::Overloaded), 429);
        assert_eq!(status(LoginError::Damaged), 500);
    }
}
