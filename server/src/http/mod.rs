//! The HTTP front end of one core: routes, limits, envelopes, logging.
//!
//! Decodes with `net::api`, asks the node, encodes the answer. Holds no state of a client beyond its connection. What a
//! statement means is the node's; which status an error has is `net::api`'s.

mod answer;
mod bearer;
mod cluster;
mod cors;
mod listen;
mod login;
mod metrics;
mod rates;
mod request_id;
mod routes;
mod setup;
mod sql;
mod topics;

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use highwater_net::api::{
    API_VERSION, ApiError, ErrorCode, HealthAnswer, ReadyAnswer, SqlLimits, error_response, refusal_response,
};
use highwater_net::http::{Intake, Limits, Method, Refusal, Request, Response, ServerTls};
use highwater_runtime::gate::{Gate, Pass};
use highwater_runtime::{Env, Monotonic, Rt};
use highwater_sql::memory::Pool;
use highwater_state::placement::META;

use crate::auth::{self, EndedLogins, KnownTokens, Logins, NodeAttempts, TokenType};
use crate::cluster::Links;
use crate::config::Config;
use crate::metrics::Traffic;
use crate::node::{Identity, Node, TraceId};
use crate::release::{VERSION, build_date};
use crate::stop::Stop;
use rates::Rates;
use routes::{Auth, Monitor, Route, Topic, Unrouted};

/// Largest body of a request that logs in, in bytes.
const LOGIN_BODY_BYTES: usize = 64 << 10;

/// What all paths take and answer, as OpenAPI 3.1.
const OPENAPI: &str = include_str!("openapi.json");

/// The front end of one core. Clones share it.
#[derive(Clone)]
pub struct Service(Rc<Inner>);

struct Inner {
    env: Rt,
    config: Arc<Config>,
    logins: Logins,
    tokens: RefCell<KnownTokens>,
    ended: RefCell<EndedLogins>,
    by_user: RefCell<Rates<String>>,
    by_address: RefCell<Rates<IpAddr>>,
    tls: RefCell<Option<ServerTls>>,
    leaving: Cell<bool>,
    requests: Gate,
    stop: Stop,
    node: RefCell<Option<Node>>,
    links: RefCell<Option<Links>>,
    /// What a starting node waits for.
    waits: RefCell<String>,
    traffic: Rc<Traffic>,
    /// Memory of requests' bodies.
    bodies: Pool,
}

impl Service {
    /// A front end that answers "not ready" until it is given a node.
    #[must_use]
    pub fn new(env: Rt, config: Arc<Config>, attempts: NodeAttempts, stop: Stop) -> Self {
        let logins = Logins::new(&config, attempts, auth::random_salt(&env));
        let tokens = RefCell::new(KnownTokens::new(env.random()));
        let requests = Gate::new(config.http_max_requests, 0);
        let (node, links, waits, traffic) = (RefCell::default(), RefCell::default(), RefCell::default(), Rc::default());
        let bodies = Pool::of(config.http_max_bodies.as_usize().max(config.http_max_body.as_usize()));
        let (ended, tls, leaving) = (RefCell::default(), RefCell::default(), Cell::default());
        let by_user = RefCell::new(Rates::new(config.http_rate_per_user));
        let by_address = RefCell::new(Rates::new(config.http_rate_per_address));
        Self(Rc::new(Inner {
            env,
            config,
            logins,
            tokens,
            ended,
            by_user,
            by_address,
            tls,
            leaving,
            requests,
            stop,
            node,
            links,
            waits,
            traffic,
            bodies,
        }))
    }

    /// New connections are protected with this certificate from now on.
    pub(crate) fn protect(&self, tls: ServerTls) {
        self.0.tls.replace(Some(tls));
    }

    /// A stop was asked for and begins in a while: /ready says so already.
    pub(crate) fn leaves(&self) {
        self.0.leaving.set(true);
    }

    fn is_leaving(&self) -> bool {
        self.0.leaving.get() || self.0.stop.is_requested()
    }

    /// What the node waits for while it starts.
    pub(crate) fn waits(&self, why: String) {
        self.0.waits.replace(why);
    }

    /// The node's ways to the others are there, though it may not be ready.
    pub(crate) fn links(&self, links: Links) {
        self.0.links.replace(Some(links));
    }

    /// The node is there: from now on requests are served.
    pub fn open(&self, node: Node) {
        node.counts(&self.0.traffic);
        node.serves();
        self.0.node.replace(Some(node));
    }

    fn env(&self) -> &Rt {
        &self.0.env
    }

    fn config(&self) -> &Config {
        &self.0.config
    }

    fn logins(&self) -> &Logins {
        &self.0.logins
    }

    /// Tokens whose signatures were checked.
    fn known_tokens(&self) -> &RefCell<KnownTokens> {
        &self.0.tokens
    }

    /// Logins that were looked up.
    fn ended_logins(&self) -> &RefCell<EndedLogins> {
        &self.0.ended
    }

    fn sql_limits(&self) -> SqlLimits {
        let config = self.config();
        SqlLimits {
            sql_bytes: config.sql_max_text.as_usize(),
            params: config.sql_max_params as usize,
            param_bytes: config.sql_max_param.as_usize(),
        }
    }

    fn limits(&self) -> Limits {
        let config = self.config();
        Limits {
            body_bytes: config.http_max_body.as_usize(),
            head_bytes: config.http_max_head.as_usize(),
            head_micros: config.http_head_timeout.micros(),
            body_micros: config.http_body_timeout.micros(),
            idle_micros: config.http_idle_timeout.micros(),
            write_micros: config.http_write_timeout.micros(),
            ..Limits::default()
        }
    }

    /// What bodies are taken: see [`Self::wanted_body`].
    fn intake(&self) -> Intake {
        let service = self.clone();
        let wanted = move |request: &Request| service.wanted_body(request);
        Intake { limits: self.limits(), memory: self.0.bodies.clone(), wanted: Rc::new(wanted) }
    }

    /// Bytes of a body that a request may bring: those of who is known, and of others no more than a login takes. What is refused by its head is not
    /// read.
    fn wanted_body(&self, request: &Request) -> usize {
        match routes::route(&request.method, &request.path) {
            Ok(Route::Auth(Auth::Login | Auth::Refresh | Auth::Logout | Auth::Setup)) => LOGIN_BODY_BYTES,
            Ok(Route::Sql | Route::Topic(Topic::Consume | Topic::Ack)) => {
                let is_known = self.node().zip(request.bearer()).is_some_and(|(node, token)| {
                    let mut tokens = self.known_tokens().borrow_mut();
                    tokens.verify(token, &node.token_key(), self.env().wall(), TokenType::Access).is_ok()
                });
                if is_known { self.config().http_max_body.as_usize() } else { 0 }
            }
            Ok(Route::Auth(Auth::Me | Auth::Status) | Route::Monitor(_)) | Err(_) => 0,
        }
    }

    /// Milliseconds since `started`.
    #[expect(clippy::cast_precision_loss, reason = "microseconds of one request")]
    fn took(&self, started: Monotonic) -> f64 {
        self.env().now().micros_since(started) as f64 / 1000.0
    }

    /// Answers one request.
    pub async fn handle(&self, request: Request) -> Response {
        let started = self.env().now();
        let trace = TraceId(self.env().random());
        let id = trace.to_string();
        let origins = &self.config().http_cors_origins;
        let response = match cors::preflight(origins, &request) {
            Some(response) => response,
            None => match self.dispatch(&request, trace).await {
                Ok(response) => response,
                Err(error) => error_response(&request.path, &error, self.took(started)),
            },
        };
        let micros = self.env().now().micros_since(started);
        self.0.traffic.answered(routes::label(&request.path), response.status, micros);
        let (status, took_ms, method, path) =
            (response.status, self.took(started), request.method.as_str(), request.path.as_str());
        if status >= 500 && status != 503 {
            tracing::error!(request_id = id, status, took_ms, method, path, peer = %request.peer, "request failed");
        } else {
            tracing::debug!(request_id = id, status, took_ms, method, path, peer = %request.peer, "request");
        }
        let response = if self.0.stop.is_requested() { response.closing() } else { response };
        cors::answered(response.header("x-request-id", id), origins, cors::allowed(origins, &request))
    }

    /// Answers a request whose body was too large, too late or cut off.
    fn refused(&self, request: &Request, refusal: &Refusal) -> Response {
        let id = TraceId(self.env().random()).to_string();
        let response = refusal_response(&request.path, refusal);
        self.0.traffic.answered(routes::label(&request.path), response.status, 0);
        let (status, method, path) = (response.status, request.method.as_str(), request.path.as_str());
        tracing::debug!(request_id = id, status, method, path, peer = %request.peer, %refusal, "request refused");
        let origins = &self.config().http_cors_origins;
        cors::answered(response.header("x-request-id", id), origins, cors::allowed(origins, request))
    }

    async fn dispatch(&self, request: &Request, trace: TraceId) -> Result<Response, ApiError> {
        let route = routes::route(&request.method, &request.path);
        if route.is_err() && !self.0.by_address.borrow_mut().take(&request.peer.ip(), self.env().now()) {
            return Err(too_many_requests("of this address (http.rate_per_address)"));
        }
        let route = match route {
            Ok(route) => route,
            Err(Unrouted::Path(meant)) => return Err(no_such_path(&request.path, meant)),
            Err(Unrouted::Method(allowed)) => {
                let message = format!("{} takes {allowed}, not {}", request.path, request.method);
                let error = ApiError::new(ErrorCode::MethodNotAllowed, message);
                return Ok(error_response(&request.path, &error, 0.0).header("allow", allowed));
            }
        };
        // Boxed all but statements: a connection keeps the room of what its requests wait for as long as it lasts, and thousands may be idle.
        match route {
            Route::Monitor(what) => Box::pin(self.monitored(what, request)).await,
            Route::Sql => {
                let (node, pass) = self.enter(request)?;
                let identity = self.admitted(&node, request).await?;
                self.sql(&node, identity, request, trace, pass).await
            }
            Route::Auth(what) => {
                let (node, _pass) = self.enter(request)?;
                Box::pin(self.authenticate(&node, what, request, trace)).await
            }
            Route::Topic(what) => {
                let (node, _pass) = self.enter(request)?;
                Box::pin(self.topic(&node, what, request, trace)).await
            }
        }
    }

    /// A place among the requests at work.
    fn enter(&self, request: &Request) -> Result<(Node, Pass), ApiError> {
        if !self.0.by_address.borrow_mut().take(&request.peer.ip(), self.env().now()) {
            return Err(too_many_requests("of this address (http.rate_per_address)"));
        }
        let node = self.working_node()?;
        let pass = self.0.requests.try_enter().ok_or_else(|| {
            let message =
                format!("this core works on {} requests already; try again in a second", self.0.requests.taken());
            ApiError::new(ErrorCode::RateLimitExceeded, message)
        })?;
        Ok((node, pass))
    }

    async fn monitored(&self, what: Monitor, request: &Request) -> Result<Response, ApiError> {
        match what {
            Monitor::Health => Ok(self.health().await),
            Monitor::Ready => Ok(self.ready().await),
            Monitor::ClusterHealth => self.cluster_health().await,
            Monitor::Metrics => self.metrics(&self.working_node()?, request).await,
            Monitor::OpenApi => Ok(Response::new(200, "application/json", OPENAPI)),
        }
    }

    async fn authenticate(
        &self,
        node: &Node,
        what: Auth,
        request: &Request,
        trace: TraceId,
    ) -> Result<Response, ApiError> {
        match what {
            Auth::Login => self.login(node, request, trace).await,
            Auth::Refresh => self.refresh(node, request, trace).await,
            Auth::Logout => self.logout(node, request, trace).await,
            Auth::Me => self.me(node, request).await,
            Auth::Status => Ok(self.auth_status(node, request)),
            Auth::Setup => self.setup(node, request, trace).await,
        }
    }

    async fn topic(&self, node: &Node, what: Topic, request: &Request, trace: TraceId) -> Result<Response, ApiError> {
        let identity = self.admitted(node, request).await?;
        let answer = match what {
            Topic::Consume => {
                let answer = self.consume(node, identity, request, trace).await;
                // It may have waited for longer than the login lasted.
                self.identity(node, request).await?;
                answer
            }
            Topic::Ack => self.ack(node, identity, request, trace).await,
        };
        Ok(answer.unwrap_or_else(|error| topics::response(&error)))
    }

    /// Who asks, if there is room for another request of this user.
    async fn admitted(&self, node: &Node, request: &Request) -> Result<Identity, ApiError> {
        let identity = self.identity(node, request).await?;
        if self.0.by_user.borrow_mut().take(&identity.user, self.env().now()) {
            return Ok(identity);
        }
        Err(too_many_requests("of this user (http.rate_per_user)"))
    }

    /// The node, once it takes work.
    fn node(&self) -> Option<Node> {
        self.0.node.borrow().clone().filter(|node| node.is_ready() && !self.0.stop.is_requested())
    }

    fn working_node(&self) -> Result<Node, ApiError> {
        self.node().ok_or_else(|| ApiError::new(ErrorCode::ClusterUnavailable, self.why_not_ready()))
    }

    fn why_not_ready(&self) -> String {
        if self.is_leaving() {
            return "the server is shutting down".into();
        }
        format!("the server is starting: {}", self.0.waits.borrow())
    }

    /// Whether every core of the node takes work, as the next connection may land on any of them, and the meta group has a leader, without
    /// which hardly a statement ends. Otherwise why not.
    async fn readiness(&self) -> Result<(), String> {
        let node = self.node().filter(|_| !self.is_leaving()).ok_or_else(|| self.why_not_ready())?;
        if !node.all_cores_serve().await {
            return Err(self.why_not_ready());
        }
        if node.leader_of(META).await.is_none() {
            return Err("the meta group has no leader that this node knows; is a majority of the nodes up?".into());
        }
        Ok(())
    }

    async fn health(&self) -> Response {
        let is_ready = self.readiness().await.is_ok();
        let answer = HealthAnswer {
            status: if is_ready { "healthy" } else { "unhealthy" }.into(),
            version: VERSION.into(),
            api_version: API_VERSION.into(),
            build_date: build_date(),
        };
        Response::json(if is_ready { 200 } else { 503 }, &answer)
    }

    async fn ready(&self) -> Response {
        let Err(reason) = self.readiness().await else {
            return Response::json(200, &ReadyAnswer { status: "ready".into(), reason: None });
        };
        let status = match self.node() {
            _ if self.is_leaving() => "stopping",
            Some(_) => "unavailable",
            None => "starting",
        };
        Response::json(503, &ReadyAnswer { status: status.into(), reason: Some(reason) })
    }
}

fn too_many_requests(whose: &str) -> ApiError {
    ApiError::new(ErrorCode::RateLimitExceeded, format!("too many requests {whose}; try again in a second"))
}

fn no_such_path(path: &str, meant: Option<&str>) -> ApiError {
    let shown: String = path.chars().take(100).collect();
    let message = match meant {
        Some(meant) => format!("there is no {shown} here; did you mean {meant}?"),
        None => {
            format!("there is no {shown} here; statements go to POST /v1/api/sql, logins to POST /v1/api/auth/login")
        }
    };
    ApiError::new(ErrorCode::NotFound, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_keeps_little_room_for_its_requests() {
        fn size<F>(_: impl FnOnce(&'static Service, Request) -> F) -> usize {
            size_of::<F>()
        }
        let bytes = size(Service::handle);
        assert!(bytes <= 4 << 10, "{bytes} bytes: box what waits for more than statements do");
    }
}
