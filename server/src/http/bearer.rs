//! From a request's token to the identity that it stands for.

use std::cell::RefCell;
use std::sync::Arc;

use highwater_net::api::{ApiError, ErrorCode};
use highwater_net::http::Request;
use highwater_runtime::Env;
use highwater_sql::catalog::User;

use crate::auth::{self, Claims, KnownTokens, TokenError, TokenType};
use crate::node::{Identity, Node};

/// The identity behind `Authorization: Bearer`.
///
/// # Errors
/// 401 in the SQL envelope.
pub(super) async fn identity(
    known: &RefCell<KnownTokens>,
    node: &Node,
    request: &Request,
) -> Result<Identity, ApiError> {
    let Some(token) = request.bearer() else {
        return Err(no_bearer(request));
    };
    let (claims, user) = holder(known, node, token, TokenType::Access).await?;
    Ok(Identity { user: user.name.clone(), role: user.role, auth_epoch: user.auth_epoch, token_id: claims.jti })
}

/// A token's claims and the user that it still holds for.
///
/// # Errors
/// 401 in the SQL envelope.
pub(super) async fn holder(
    known: &RefCell<KnownTokens>,
    node: &Node,
    token: &str,
    wanted: TokenType,
) -> Result<(Claims, Arc<User>), ApiError> {
    let verified = known.borrow_mut().verify(token, &node.token_key(), node.env().wall(), wanted);
    let claims = verified.map_err(|error| match error {
        TokenError::Expired => ApiError::new(ErrorCode::TokenExpired, "the token has expired; log in again"),
        TokenError::Invalid => ApiError::new(ErrorCode::InvalidCredentials, "the token is not one of this cluster's"),
        TokenError::WrongType => ApiError::new(
            ErrorCode::InvalidCredentials,
            "a refresh token opens only /v1/api/auth/refresh, an access token all else",
        ),
    })?;
    let of = |user: Option<&Arc<User>>| user.filter(|user| auth::still_holds(&claims, user)).cloned();
    if let Some(user) = of(node.catalog().users.get(&claims.sub)) {
        return Ok((claims, user));
    }
    // This core may not have heard of a new user or password yet: the meta group has.
    let newest = node.newest_catalog().await?;
    match of(newest.users.get(&claims.sub)) {
        Some(user) => Ok((claims, user)),
        None => Err(ApiError::new(
            ErrorCode::InvalidCredentials,
            "the token's user is gone or has a new password or role since; log in again",
        )),
    }
}

fn no_bearer(request: &Request) -> ApiError {
    match request.header("authorization") {
        None => ApiError::new(
            ErrorCode::MissingAuthorization,
            "this path needs the header 'Authorization: Bearer <token>'; POST /v1/api/auth/login gives a token",
        ),
        Some(value) if value.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("basic ")) => ApiError::new(
            ErrorCode::InvalidCredentials,
            "HTTP Basic is not accepted; POST user and password to /v1/api/auth/login and send the token it gives as Bearer",
        ),
        Some(_) => ApiError::new(
            ErrorCode::InvalidCredentials,
            "the Authorization header must read 'Bearer <token>'; POST /v1/api/auth/login gives a token",
        ),
    }
}
