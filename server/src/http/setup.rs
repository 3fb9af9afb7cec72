//! The first setup: whether it is needed, and the one request that does it.

use highwater_net::api::{ApiError, AuthCode, AuthError, SetupAnswer, SetupRequest, StatusAnswer};
use highwater_net::http::{Request, Response};
use highwater_sql::diag::SqlState;

use super::Service;
use super::login::{needs_setup, shown};
use crate::audit::{Event, EventKind, Outcome};
use crate::auth::{ROOT, check_setup_password};
use crate::config::SetupAccess;
use crate::node::{FirstSetup, Node, TraceId};

impl Service {
    /// Whether root still needs a password.
    pub(super) fn auth_status(&self, node: &Node, request: &Request) -> Response {
        if !self.may_set_up_from(request) {
            return not_from_there();
        }
        let needs_setup = needs_setup(&node.catalog());
        let message = match (needs_setup, self.config().auth_setup) {
            (false, _) => "the server is set up: root has a password",
            (true, SetupAccess::Off) => "root has no password yet; start highwaterd with --root-password or auth.setup",
            (true, SetupAccess::Loopback | SetupAccess::All) => {
                "root has no password yet; POST user, password and root_password to /v1/api/auth/setup"
            }
        };
        Response::json(200, &StatusAnswer { needs_setup, message: message.into() })
    }

    /// The first dba and root's first password. Logs nobody in.
    pub(super) async fn setup(&self, node: &Node, request: &Request, trace: TraceId) -> Result<Response, ApiError> {
        let refused = |error: AuthCode, message: String| Ok(AuthError { error, message }.response());
        if !self.may_set_up_from(request) {
            return Ok(not_from_there());
        }
        if !needs_setup(&*node.newest_catalog().await?) {
            return refused(AuthCode::AlreadyConfigured, "the server is set up already: root has a password".into());
        }
        if self.config().auth_setup == SetupAccess::Off {
            return refused(AuthCode::Forbidden, "setting up over HTTP is switched off (auth.setup)".into());
        }
        let asked = match SetupRequest::decode(&request.body) {
            Ok(asked) => asked,
            Err(error) => return Ok(error.response()),
        };
        let passwords = [(asked.user.as_str(), &asked.password), (ROOT, &asked.root_password)];
        for (user, password) in passwords {
            if let Err(message) = check_setup_password(user, password) {
                return refused(AuthCode::WeakPassword, message);
            }
        }
        let user = asked.user.clone();
        let setup = FirstSetup {
            user: asked.user,
            password: asked.password,
            email: asked.email,
            root_password: asked.root_password,
        };
        match node.set_up(setup, trace).await {
            Ok(message) => {
                node.record(
                    Event::of(EventKind::Setup, Outcome::Done, &user)
                        .from(request.peer.ip())
                        .about(&user)
                        .of_request(trace),
                );
                tracing::info!(user, peer = %request.peer.ip(), "the server was set up");
                let made = node.newest_catalog().await?.users.get(&user).map(|user| shown(user));
                Ok(Response::json(200, &SetupAnswer { user: made, message }))
            }
            Err(diag) => match diag.sqlstate {
                SqlState::OBJECT_STATE => refused(AuthCode::AlreadyConfigured, diag.message),
                SqlState::DUPLICATE_OBJECT => refused(AuthCode::UserExists, diag.message),
                SqlState::INVALID_NAME => refused(AuthCode::InvalidUser, diag.message),
                _ => Err(diag.into()),
            },
        }
    }

    fn may_set_up_from(&self, request: &Request) -> bool {
        let is_for_all = self.config().auth_setup == SetupAccess::All;
        (is_for_all || request.is_local()) && !request.is_of_foreign_page(is_for_all)
    }
}

fn not_from_there() -> Response {
    AuthError {
        error: AuthCode::Forbidden,
        message:
            "this path answers requests from the same machine only (auth.setup), and none of a page of another site"
                .into(),
    }
    .response()
}
