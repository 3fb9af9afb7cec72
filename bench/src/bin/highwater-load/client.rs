//! One connection to one node at a time, over blocking HTTP: login, requests, and what is done about answers that do not come.
//!
//! A request is sent again, with the same body and so with the same request id, after a lost answer, 429 and 503; a lost
//! answer or 503 goes to the next node. That is what every client of Highwater may do.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ureq::Agent;

use crate::failure::Failure;
use crate::measure::lock;
use crate::postgres::Postgres;

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// First wait after a lost answer; doubled up to [`MAX_PAUSE`].
pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The code of an attempt that reached nobody.
pub(crate) const NO_CONNECTION: &str = "NO_CONNECTION";
/// Longest wait of our own, and the longest that a server may ask for.
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// How often a waiting thread looks whether the run was ended.
const SLICE: Duration = Duration::from_millis(20);

/// How to be let in.
#[derive(Clone, Debug)]
pub(crate) enum Login {
    /// With a token that was given; it is not renewed.
    Token(String),
    /// With a password, at every node when it first asks.
    Password { user: String, password: String },
}

/// The nodes, and what all connections to them share.
#[derive(Debug)]
pub(crate) struct Nodes {
    urls: Vec<String>,
    login: Login,
    /// The token that each node gave.
    tokens: Vec<Mutex<Option<String>>>,
    timeout: Duration,
    give_up: Duration,
    /// Slots that share a connection of HTTP/2; 1 for connections of HTTP/1.1.
    streams: usize,
    /// It is this that is asked, and not Highwater.
    postgres: Option<Arc<Postgres>>,
}

/// How a request ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Status 200.
    Answered(Value),
    /// An error that says that nothing was done.
    Refused { code: String, sqlstate: String, message: String },
    /// No answer that tells whether it was done.
    Unknown { code: String, message: String },
}

/// One attempt.
#[derive(Debug)]
pub(crate) enum Attempt {
    Reply { status: u16, retry_after: Option<Duration>, body: Value },
    Lost { code: &'static str, message: String },
}

/// What follows from an attempt.
#[derive(Debug)]
pub(crate) enum Next {
    /// That was it: status 200.
    Answered(Value),
    /// The token was not taken: a new one, if that was not tried.
    Renew { code: String, sqlstate: String, message: String },
    /// That was it: nothing was done.
    Refused { code: String, sqlstate: String, message: String },
    /// That was it: the server says that it cannot tell, or failed in the middle.
    Unknown { code: String, message: String },
    /// Again after a pause (the client's own, if the server named none), at another node or the same. `is_lost`: it may have been done.
    Again { code: String, message: String, wait: Option<Duration>, is_elsewhere: bool, is_lost: bool },
}

impl Attempt {
    /// The body of an answer as JSON, or the start of it as text.
    pub(crate) fn body_of(bytes: &[u8]) -> Value {
        let text = || Value::String(String::from_utf8_lossy(bytes).chars().take(200).collect());
        serde_json::from_slice(bytes).unwrap_or_else(|_| text())
    }
}

impl Nodes {
    /// The node at which connection number `home` begins.
    pub(crate) fn home(&self, home: usize) -> usize {
        home % self.urls.len().max(1)
    }

    /// The node that is asked after this one.
    pub(crate) fn after(&self, at: usize) -> usize {
        (at + 1) % self.urls.len().max(1)
    }

    /// Host and port of a node.
    pub(crate) fn authority(&self, at: usize) -> &str {
        self.urls.get(at).and_then(|url| url.strip_prefix("http://")).unwrap_or_default()
    }

    /// The address of a node.
    pub(crate) fn address(&self, at: usize) -> std::io::Result<SocketAddr> {
        let authority = self.authority(at);
        let mut found = match authority.to_socket_addrs() {
            Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => (authority, 80).to_socket_addrs()?,
            found => found?,
        };
        found.next().ok_or_else(|| std::io::Error::other("there is no host of that name"))
    }

    /// For how long an operation is sent again.
    pub(crate) fn give_up(&self) -> Duration {
        self.give_up
    }

    /// Whether a token that is not taken can be replaced.
    pub(crate) fn can_renew(&self) -> bool {
        matches!(self.login, Login::Password { .. })
    }

    /// A node's token: kept from the login there, or from any other node's while there is none, as they are the cluster's; a new one when
    /// that was refused.
    pub(crate) fn token_at(&self, at: usize, stale: Option<&str>) -> Result<String, String> {
        if let Login::Token(token) = &self.login {
            return Ok(token.clone());
        }
        let fits = |token: &String| stale != Some(token.as_str());
        if let Some(token) = self.tokens.get(at).and_then(|slot| lock(slot).clone()).filter(fits) {
            return Ok(token);
        }
        if let Some(token) = self.tokens.iter().find_map(|slot| lock(slot).clone().filter(fits)) {
            return Ok(token);
        }
        self.client(at).token(stale).map_err(|failure| failure.to_string())
    }

    /// What an attempt means for its request.
    pub(crate) fn judge(&self, attempt: Attempt) -> Next {
        match attempt {
            Attempt::Reply { status: 200, body, .. } => Next::Answered(body),
            Attempt::Reply { status: 401, body, .. } => {
                let (code, message) = error_of(&body);
                Next::Renew { code, sqlstate: sqlstate(&body).unwrap_or_default(), message }
            }
            Attempt::Reply { status: status @ (429 | 503), retry_after, body } => {
                let (code, message) = error_of(&body);
                Next::Again { code, message, wait: retry_after, is_elsewhere: status == 503, is_lost: false }
            }
            // The server tells that it cannot tell, or failed in the middle.
            Attempt::Reply { status: status @ (408 | 409 | 500..), body, .. } => {
                let (code, message) = error_of(&body);
                if status == 409 && code != "REQUEST_EXPIRED" {
                    return refused(&body);
                }
                Next::Unknown { code, message }
            }
            Attempt::Reply { body, .. } => refused(&body),
            Attempt::Lost { code, message } => {
                let is_lost = code != NO_CONNECTION;
                Next::Again { code: code.to_owned(), message, wait: None, is_elsewhere: true, is_lost }
            }
        }
    }

    /// At least one address.
    pub(crate) fn new(urls: Vec<String>, login: Login, timeout: Duration, give_up: Duration) -> Self {
        let tokens = urls.iter().map(|_| Mutex::new(None)).collect();
        Self { urls, login, tokens, timeout, give_up, streams: 1, postgres: None }
    }

    /// The same, whose connections are of HTTP/2 and shared by so many, if it is more than 1.
    pub(crate) fn sharing(self, streams: usize) -> Self {
        Self { streams: streams.max(1), ..self }
    }

    /// How many share a connection.
    pub(crate) fn streams(&self) -> usize {
        self.streams
    }

    /// A PostgreSQL server in their place.
    pub(crate) fn of_postgres(postgres: Postgres, timeout: Duration, give_up: Duration) -> Self {
        let urls = vec![format!("http://{}", postgres.authority)];
        let nodes = Self::new(urls, Login::Token(String::new()), timeout, give_up);
        Self { postgres: Some(Arc::new(postgres)), ..nodes }
    }

    /// Whether it is PostgreSQL that is asked.
    pub(crate) fn is_postgres(&self) -> bool {
        self.postgres.is_some()
    }

    /// The PostgreSQL server, if it is one.
    pub(crate) fn postgres(&self) -> Option<Arc<Postgres>> {
        self.postgres.clone()
    }

    /// A connection whose first node is number `home` modulo their number.
    pub(crate) fn client(&self, home: usize) -> Client<'_> {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_TIMEOUT.min(self.timeout)))
            .timeout_global(Some(self.timeout))
            .max_idle_connections(1)
            .max_idle_connections_per_host(1)
            .proxy(None)
            .no_delay(true)
            .user_agent(concat!("highwater-load/", env!("CARGO_PKG_VERSION")))
            .build();
        Client { nodes: self, agent: config.into(), at: self.home(home) }
    }

    /// How long an answer may take.
    pub(crate) fn patience(&self) -> Duration {
        self.timeout
    }

    /// Looks whether the nodes are there and Highwaters, and logs in at each. Of several, one that is there is enough: what is said of
    /// the others is given back.
    pub(crate) fn check(&self) -> Result<Vec<String>, Failure> {
        if let Some(postgres) = &self.postgres {
            return postgres.check().map(|()| Vec::new());
        }
        let (mut failures, mut there) = (Vec::new(), 0);
        for number in 0..self.urls.len() {
            match self.check_one(number) {
                Ok(()) => there += 1,
                Err(failure @ Failure::Connection { .. }) => failures.push(failure),
                Err(failure) => return Err(failure),
            }
        }
        if there > 0 {
            return Ok(failures.into_iter().map(|failure| failure.to_string()).collect());
        }
        Err(failures.into_iter().next().unwrap_or_else(|| Failure::usage("--nodes names no node")))
    }

    fn check_one(&self, number: usize) -> Result<(), Failure> {
        let client = self.client(number);
        let url = client.url();
        match client.attempt("/health", None, None) {
            Attempt::Lost { message, .. } => Err(Failure::Connection {
                message: format!("no answer from {url}: {message}"),
                hint: Some("is highwaterd running there? --nodes names others".into()),
            }),
            Attempt::Reply { body, .. } if body.get("api_version").is_none() => Err(Failure::Connection {
                message: format!("what answers at {url} is not a Highwater server"),
                hint: Some(
                    "--nodes names the HTTP addresses of highwaterd, http://127.0.0.1:2900 unless configured".into(),
                ),
            }),
            Attempt::Reply { status: 200, .. } => client.token(None).map(drop),
            Attempt::Reply { status, .. } => Err(Failure::Connection {
                message: format!("the node at {url} is not ready: it answers {status}"),
                hint: Some("it is starting or stopping; try again".into()),
            }),
        }
    }
}

/// A connection, kept alive.
#[derive(Debug)]
pub(crate) struct Client<'a> {
    nodes: &'a Nodes,
    agent: Agent,
    at: usize,
}

impl Client<'_> {
    fn url(&self) -> &str {
        self.nodes.urls.get(self.at).map_or("", String::as_str)
    }

    /// Sends until there is an answer that tells, the patience is over or the run is ended; `on_retry` hears why it sends
    /// again.
    pub(crate) fn send(
        &mut self,
        path: &str,
        body: &Value,
        stop: &AtomicBool,
        mut on_retry: impl FnMut(&str),
    ) -> Outcome {
        let body = body.to_string();
        let started = Instant::now();
        let mut pause = FIRST_PAUSE;
        let mut stale = None;
        loop {
            let token = self.token(stale.as_deref());
            let attempt = match &token {
                Ok(token) => self.attempt(path, Some(&body), Some(token)),
                Err(Failure::Connection { message, .. }) => {
                    Attempt::Lost { code: NO_CONNECTION, message: message.clone() }
                }
                Err(failure) => return Outcome::Unknown { code: "LOGIN".into(), message: failure.to_string() },
            };
            let (code, message, wait) = match self.nodes.judge(attempt) {
                Next::Answered(body) => return Outcome::Answered(body),
                Next::Renew { code, sqlstate, message } => {
                    let is_first = stale.replace(token.unwrap_or_default()).is_none();
                    if is_first && self.nodes.can_renew() {
                        continue;
                    }
                    return Outcome::Refused { code, sqlstate, message };
                }
                Next::Refused { code, sqlstate, message } => return Outcome::Refused { code, sqlstate, message },
                Next::Unknown { code, message } => return Outcome::Unknown { code, message },
                Next::Again { code, message, wait, is_elsewhere, .. } => {
                    if is_elsewhere {
                        self.at = self.nodes.after(self.at);
                    }
                    (code, message, next_pause(&mut pause, wait))
                }
            };
            if started.elapsed() + wait > self.nodes.give_up || !sleep(wait, stop) {
                return Outcome::Unknown { code, message };
            }
            on_retry(&code);
        }
    }

    /// The node's token; a new one when there is none, or the one that there is was refused.
    fn token(&self, stale: Option<&str>) -> Result<String, Failure> {
        let Login::Password { user, password } = &self.nodes.login else {
            let Login::Token(token) = &self.nodes.login else { return Err(Failure::usage("no login")) };
            return Ok(token.clone());
        };
        let Some(slot) = self.nodes.tokens.get(self.at) else { return Err(Failure::usage("no nodes")) };
        let mut slot = lock(slot);
        if let Some(token) = slot.as_ref().filter(|token| Some(token.as_str()) != stale) {
            return Ok(token.clone());
        }
        let body = json!({"user": user, "password": password}).to_string();
        let url = self.url();
        match self.attempt("/v1/api/auth/login", Some(&body), None) {
            Attempt::Reply { status: 200, body, .. } => match body.get("access_token").and_then(Value::as_str) {
                Some(token) => Ok(slot.insert(token.to_owned()).clone()),
                None => {
                    Err(Failure::Connection { message: format!("{url} answered a login without a token"), hint: None })
                }
            },
            Attempt::Reply { body, .. } => Err(Failure::Login {
                message: format!("login of {user:?} at {url} was refused: {}", error_of(&body).1),
                hint: "the password is taken from --password, HIGHWATER_PASSWORD or, for root, --data-dir",
            }),
            Attempt::Lost { message, .. } => {
                Err(Failure::Connection { message: format!("no answer to the login at {url}: {message}"), hint: None })
            }
        }
    }

    /// One request: a GET without a body, else a POST of JSON.
    fn attempt(&self, path: &str, body: Option<&str>, token: Option<&str>) -> Attempt {
        let url = format!("{}{path}", self.url());
        let sent = match body {
            None => self.agent.get(url).call(),
            Some(body) => {
                let mut request = self.agent.post(url).header("content-type", "application/json");
                if let Some(token) = token {
                    request = request.header("authorization", format!("Bearer {token}"));
                }
                request.send(body)
            }
        };
        let read = sent.and_then(|mut answer| {
            let retry_after = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
            let text = answer.body_mut().with_config().limit(u64::MAX).read_to_string()?;
            Ok((answer.status().as_u16(), retry_after.map(Duration::from_secs), text))
        });
        match read {
            Ok((status, retry_after, text)) => {
                Attempt::Reply { status, retry_after, body: Attempt::body_of(text.as_bytes()) }
            }
            Err(error) => lost(&error),
        }
    }
}

/// Waits, unless the run is ended; `false` if it is.
pub(crate) fn sleep(wait: Duration, stop: &AtomicBool) -> bool {
    let until = Instant::now() + wait;
    loop {
        if stop.load(Ordering::Relaxed) {
            return false;
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        std::thread::sleep(left.min(SLICE));
    }
}

/// How long to wait before the next attempt; the pause after that is twice as long.
pub(crate) fn next_pause(pause: &mut Duration, asked: Option<Duration>) -> Duration {
    let wait = asked.unwrap_or(*pause).min(MAX_PAUSE);
    *pause = (*pause * 2).min(MAX_PAUSE);
    wait
}

fn refused(body: &Value) -> Next {
    let (code, message) = error_of(body);
    Next::Refused { code, sqlstate: sqlstate(body).unwrap_or_default(), message }
}

/// The SQLSTATE of the SQL envelope.
fn sqlstate(body: &Value) -> Option<String> {
    let details: Value = serde_json::from_str(body.get("error")?.get("details")?.as_str()?).ok()?;
    details.get("sqlstate")?.as_str().map(str::to_owned)
}

/// Code and sentence of any of the three envelopes.
fn error_of(body: &Value) -> (String, String) {
    let error = body.get("error");
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let inner = |name| text(error.and_then(|error| error.get(name)));
    let code = inner("code").or_else(|| text(body.get("code"))).or_else(|| text(error));
    let message = inner("message").or_else(|| text(body.get("message"))).or_else(|| text(error));
    (
        code.unwrap_or_else(|| "STRANGE_ANSWER".into()),
        message.unwrap_or_else(|| body.to_string().chars().take(200).collect()),
    )
}

/// A connection that broke, or was never there.
pub(crate) fn lost_connection(error: &std::io::Error, was_there: bool) -> Attempt {
    let code = if was_there { "LOST" } else { NO_CONNECTION };
    Attempt::Lost { code, message: error.to_string() }
}

/// Whether nothing was sent, or an answer may have been lost.
fn lost(error: &ureq::Error) -> Attempt {
    let code = match error {
        ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => NO_CONNECTION,
        ureq::Error::HostNotFound | ureq::Error::ConnectionFailed | ureq::Error::Timeout(ureq::Timeout::Connect) => {
            NO_CONNECTION
        }
        ureq::Error::Timeout(_) => "TIMEOUT",
        _ => "LOST",
    };
    let message = match error {
        ureq::Error::Io(error) => error.to_string(),
        ureq::Error::HostNotFound => "there is no host of that name".to_owned(),
        other => other.to_string(),
    };
    Attempt::Lost { code, message }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    #[test]
    fn the_code_is_found_in_every_envelope() {
        let code = |body: Value| error_of(&body);
        assert_eq!(code(json!({"error": {"code": "A", "message": "m"}})), ("A".into(), "m".into()));
        assert_eq!(code(json!({"error": "m", "code": "B"})), ("B".into(), "m".into()));
        assert_eq!(code(json!({"error": "c", "message": "m"})), ("c".into(), "m".into()));
        assert_eq!(code(json!("<html>")).0, "STRANGE_ANSWER");
        let taken = json!({"error": {"code": "A", "message": "m", "details": "{\"sqlstate\":\"23505\"}"}});
        assert!(matches!(refused(&taken), Next::Refused { sqlstate, .. } if sqlstate == "23505"));
    }

    #[test]
    fn a_wait_ends_when_the_run_does() {
        assert!(!sleep(Duration::from_secs(60), &AtomicBool::new(true)));
        assert!(sleep(Duration::ZERO, &AtomicBool::new(false)));
    }
}
