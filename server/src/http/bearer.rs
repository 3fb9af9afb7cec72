//! From a request's token to the identity that it stands for.

use std::sync::Arc;

use highwater_net::api::{ApiError, ErrorCode};
use highwater_net::http::Request;
use highwater_runtime::Env;
use highwater_sql::catalog::User;

use super::Service;
use crate::auth::{self, Claims, TokenError, TokenType};
use crate::node::{Identity, Node};

impl Service {
    /// The identity behind `Authorization: Bearer`.
    ///
    /// # Errors
    /// 401 in the SQL envelope.
    pub(super) async fn identity(&self, node: &Node, request: &Request) -> Result<Identity, ApiError> {
        let Some(token) = request.bearer() else {
            return Err(no_bearer(request));
        };
        let (claims, user) = self.holder(node, token, TokenType::Access).await?;
        Ok(Identity { user: user.name.clone(), role: user.role, auth_epoch: user.auth_epoch, token_id: claims.jti })
    }

    /// A token's claims and the user that it still holds for.
    ///
    /// # Errors
    /// 401 in the SQL envelope.
    pub(super) async fn holder(
        &self,
        node: &Node,
        token: &str,
        wanted: TokenType,
    ) -> Result<(Claims, Arc<User>), ApiError> {
        let verified = self.known_tokens().borrow_mut().verify(token, &node.token_key(), node.env().wall(), wanted);
        let claims = verified.map_err(|error| match error {
            TokenError::Expired => ApiError::new(ErrorCode::TokenExpired, "the token has expired; log in again"),
            TokenError::Invalid => {
                ApiError::new(ErrorCode::InvalidCredentials, "the token is not one of this cluster's")
            }
            TokenError::WrongType => ApiError::new(
                ErrorCode::InvalidCredentials,
                "a refresh token opens only /v1/api/auth/refresh, an access token all else",
            ),
        })?;
        if self.login_is_ended(node, &claims).await? {
            return Err(ApiError::new(ErrorCode::InvalidCredentials, "the token's login has ended; log in again"));
        }
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

    /// Whether a logout ended what the token belongs to. A refresh asks the meta group; what is done all the time goes by what this node
    /// has heard, looked at every few seconds.
    async fn login_is_ended(&self, node: &Node, claims: &Claims) -> Result<bool, ApiError> {
        let Some(login) = claims.login() else { return Ok(true) };
        let newest = claims.token_type == TokenType::Refresh;
        let known = self.ended_logins().borrow().known(login, node.env().now());
        match known {
            Some(ended) if ended || !newest => Ok(ended),
            Some(_) | None => {
                let ended = node.login_is_ended(login, newest).await?;
                self.ended_logins().borrow_mut().note(login, node.env().now(), ended);
                Ok(ended)
            }
        }
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
