//! One connection to one node at a time, over blocking HTTP: login, requests, and what is done about answers that do not come.
//!
//! A request is sent again, with the same body and so with the same request id, after a lost answer, 429 and 503; a lost
//! answer or 503 goes to the next node. That is what every client of Highwater may do.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ureq::Agent;

use crate::failure::Failure;
use crate::measure::lock;

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// First wait after a lost answer; doubled up to [`MAX_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
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
enum Attempt {
    Reply { status: u16, retry_after: Option<Duration>, body: Value },
    Lost { code: &'static str, message: String },
}

impl Nodes {
    /// At least one address.
    pub(crate) fn new(urls: Vec<String>, login: Login, timeout: Duration, give_up: Duration) -> Self {
        let tokens = urls.iter().map(|_| Mutex::new(None)).collect();
        Self { urls, login, tokens, timeout, give_up }
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
        Client { nodes: self, agent: config.into(), at: home % self.urls.len().max(1) }
    }

    /// How long an answer may take.
    pub(crate) fn patience(&self) -> Duration {
        self.timeout
    }

    /// Looks whether every node is there and a Highwater, and logs in at each.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        for number in 0..self.urls.len() {
            let client = self.client(number);
            let url = client.url();
            match client.attempt("/health", None, None) {
                Attempt::Lost { message, .. } => {
                    return Err(Failure::Connection {
                        message: format!("no answer from {url}: {message}"),
                        hint: Some("is highwaterd running there? --nodes names others".into()),
                    });
                }
                Attempt::Reply { body, .. } if body.get("api_version").is_none() => {
                    return Err(Failure::Connection {
                        message: format!("what answers at {url} is not a Highwater server"),
                        hint: Some(
                            "--nodes names the HTTP addresses of highwaterd, http://127.0.0.1:2900 unless configured"
                                .into(),
                        ),
                    });
                }
                Attempt::Reply { status: 200, .. } => {}
                Attempt::Reply { status, .. } => {
                    return Err(Failure::Connection {
                        message: format!("the node at {url} is not ready: it answers {status}"),
                        hint: Some("it is starting or stopping; try again".into()),
                    });
                }
            }
            client.token(None)?;
        }
        Ok(())
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
                    Attempt::Lost { code: "NO_CONNECTION", message: message.clone() }
                }
                Err(failure) => return Outcome::Unknown { code: "LOGIN".into(), message: failure.to_string() },
            };
            let (code, message, wait) = match attempt {
                Attempt::Reply { status: 200, body, .. } => return Outcome::Answered(body),
                Attempt::Reply { status: 401, body, .. } => {
                    let is_first = stale.replace(token.unwrap_or_default()).is_none();
                    if is_first && matches!(self.nodes.login, Login::Password { .. }) {
                        continue;
                    }
                    return refused(&body);
                }
                Attempt::Reply { status: status @ (429 | 503), retry_after, body } => {
                    if status == 503 {
                        self.go_on();
                    }
                    let (code, message) = error_of(&body);
                    (code, message, retry_after.unwrap_or(pause))
                }
                // The server tells that it cannot tell, or failed in the middle.
                Attempt::Reply { status: status @ (408 | 409 | 500..), body, .. } => {
                    let (code, message) = error_of(&body);
                    if status == 409 && code != "REQUEST_EXPIRED" {
                        return refused(&body);
                    }
                    return Outcome::Unknown { code, message };
                }
                Attempt::Reply { body, .. } => return refused(&body),
                Attempt::Lost { code, message } => {
                    self.go_on();
                    (code.to_owned(), message, pause)
                }
            };
            let wait = wait.min(MAX_PAUSE);
            if started.elapsed() + wait > self.nodes.give_up || !sleep(wait, stop) {
                return Outcome::Unknown { code, message };
            }
            pause = (pause * 2).min(MAX_PAUSE);
            on_retry(&code);
        }
    }

    fn go_on(&mut self) {
        self.at = (self.at + 1) % self.nodes.urls.len().max(1);
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
            Ok((status, retry_after, text)) => match serde_json::from_str(&text) {
                Ok(body) => Attempt::Reply { status, retry_after, body },
                Err(_) => Attempt::Reply { status, retry_after, body: Value::String(text.chars().take(200).collect()) },
            },
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

fn refused(body: &Value) -> Outcome {
    let (code, message) = error_of(body);
    Outcome::Refused { code, sqlstate: sqlstate(body).unwrap_or_default(), message }
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

/// Whether nothing was sent, or an answer may have been lost.
fn lost(error: &ureq::Error) -> Attempt {
    let code = match error {
        ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => "NO_CONNECTION",
        ureq::Error::HostNotFound | ureq::Error::ConnectionFailed | ureq::Error::Timeout(ureq::Timeout::Connect) => {
            "NO_CONNECTION"
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
        assert!(matches!(refused(&taken), Outcome::Refused { sqlstate, .. } if sqlstate == "23505"));
    }

    #[test]
    fn a_wait_ends_when_the_run_does() {
        assert!(!sleep(Duration::from_secs(60), &AtomicBool::new(true)));
        assert!(sleep(Duration::ZERO, &AtomicBool::new(false)));
    }
}
