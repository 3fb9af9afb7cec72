//! The server, over HTTP: login, statements, topics. Blocking; one request at a time, which another thread may cancel.

use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use ureq::Agent;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig};

use crate::answer::{ConsumeAnswer, OtherError, StatementResult};
use crate::args::Start;
use crate::failure::Failure;
use crate::statements::{Piece, split};
use crate::stream::{self, Broken, Collected, Envelope, Rows};
use crate::timing::{self, Phase};

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Which server, as whom.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// `http://host:port` or `https://host:port`, without a slash at its end.
    pub(crate) base: String,
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) tls: Tls,
    /// Where unqualified names are looked up.
    pub(crate) namespace: Option<String>,
}

/// Whose certificates are believed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tls {
    /// These authorities alone, as PEM; else those of the machine.
    pub(crate) authorities: Option<Vec<u8>>,
    /// Anyone's: for tests.
    pub(crate) is_unverified: bool,
}

impl Tls {
    fn config(&self) -> Result<TlsConfig, Failure> {
        let roots = match &self.authorities {
            None => RootCerts::PlatformVerifier,
            Some(pem) => {
                let mut certificates: Vec<Certificate<'static>> = Vec::new();
                for item in ureq::tls::parse_pem(pem) {
                    match item {
                        Ok(PemItem::Certificate(certificate)) => certificates.push(certificate),
                        Ok(_) => {}
                        Err(error) => {
                            return Err(Failure::usage(format!("the file of authorities is no PEM: {error}")));
                        }
                    }
                }
                if certificates.is_empty() {
                    return Err(Failure::usage("the file of authorities holds no certificate"));
                }
                RootCerts::new_with_certs(&certificates)
            }
        };
        Ok(TlsConfig::builder().root_certs(roots).disable_verification(self.is_unverified).build())
    }
}

/// Ends the request that is running, from another thread.
#[derive(Clone, Debug, Default)]
pub(crate) struct Canceller(Arc<Mutex<Running>>);

#[derive(Debug, Default)]
struct Running {
    agent: Option<Agent>,
    is_cancelled: bool,
    /// It came when no request was running: the next one is not sent.
    is_early: bool,
}

impl Canceller {
    /// Ends the request that is running: its connection is closed, and the server stops working for it. If none is, the next one.
    pub(crate) fn cancel(&self) {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match running.agent.take() {
            Some(agent) => {
                running.is_cancelled = true;
                agent.shutdown();
            }
            None => running.is_early = true,
        }
    }

    /// The next request is to be sent after all.
    pub(crate) fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_early = false;
    }

    /// Whether the request may be sent.
    fn enter(&self, agent: &Agent) -> bool {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if running.is_early {
            return false;
        }
        *running = Running { agent: Some(agent.clone()), ..Running::default() };
        true
    }

    /// Whether the request was cancelled.
    fn leave(&self) -> bool {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).is_cancelled
    }
}

/// A server that has let us in.
#[derive(Debug)]
pub(crate) struct Connection {
    agent: Agent,
    target: Target,
    token: String,
    /// Read-your-writes token of the last answer.
    session: Option<String>,
    /// The session of an open transaction.
    transaction: Option<String>,
    canceller: Canceller,
    /// Whether statements ask for the phases of their time.
    pub(crate) asks_phases: bool,
}

/// What a topic request was refused with.
#[derive(Debug)]
pub(crate) struct TopicRefusal {
    pub(crate) status: u16,
    pub(crate) message: String,
}

fn agent(tls: &Tls) -> Result<Agent, Failure> {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .proxy(None)
        .tls_config(tls.config()?)
        .user_agent(concat!("highwater/", env!("CARGO_PKG_VERSION")))
        .build();
    Ok(config.into())
}

impl Connection {
    /// Logs in.
    pub(crate) fn open(target: Target, canceller: Canceller) -> Result<Self, Failure> {
        let agent = agent(&target.tls)?;
        let mut connection = Self {
            agent,
            target,
            token: String::new(),
            session: None,
            transaction: None,
            canceller,
            asks_phases: false,
        };
        connection.log_in()?;
        Ok(connection)
    }

    /// Another login with what this one was opened with, to be used beside it. Its requests are not cancelled.
    pub(crate) fn beside(&self) -> Result<Self, Failure> {
        Ok(Self {
            agent: agent(&self.target.tls)?,
            target: self.target.clone(),
            token: self.token.clone(),
            session: None,
            transaction: None,
            canceller: Canceller::default(),
            asks_phases: false,
        })
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// Where the server is.
    pub(crate) fn base(&self) -> &str {
        &self.target.base
    }

    /// Who is logged in.
    pub(crate) fn user(&self) -> &str {
        &self.target.user
    }

    /// Where unqualified names are looked up.
    pub(crate) fn namespace(&self) -> &str {
        self.target.namespace.as_deref().unwrap_or("default")
    }

    pub(crate) fn use_namespace(&mut self, namespace: &str) {
        self.target.namespace = Some(namespace.to_owned());
    }

    /// Whether a transaction is open.
    pub(crate) fn is_in_transaction(&self) -> bool {
        self.transaction.is_some()
    }

    fn log_in(&mut self) -> Result<(), Failure> {
        let request = json!({"user": self.target.user, "password": self.target.password});
        let (status, body) = self.post("/v1/api/auth/login", &request, false)?;
        let token = serde_json::from_str::<Value>(&body)
            .ok()
            .and_then(|answer| Some(answer.get("access_token")?.as_str()?.to_owned()));
        match (status, token) {
            (200, Some(token)) => {
                self.token = token;
                Ok(())
            }
            (400 | 401 | 403 | 428 | 429, _) => Err(Failure::Login {
                message: format!(
                    "login of {:?} at {} was refused: {}",
                    self.user(),
                    self.base(),
                    OtherError::sentence(&body)
                ),
                hint: (status == 401).then(|| "see `highwater --help` for where the password is taken from".to_owned()),
            }),
            (status, _) => Err(self.strange(status, &body)),
        }
    }

    /// Runs a statement; its rows go to `rows` as they come. The error of an answer is in the envelope.
    pub(crate) fn sql(&mut self, sql: &str, rows: &mut dyn Rows) -> Result<Envelope, Failure> {
        let mut request = json!({"sql": sql});
        if let (Some(namespace), Value::Object(fields)) = (&self.target.namespace, &mut request) {
            fields.insert("namespace_id".into(), json!(namespace));
        }
        if !self.canceller.enter(&self.agent) {
            return Err(Failure::Cancelled);
        }
        let outcome = self.sql_once(&request, rows);
        if self.canceller.leave() {
            self.agent = agent(&self.target.tls)?;
            // The server ends a transaction whose statement was cut off.
            self.transaction = None;
            return Err(Failure::Cancelled);
        }
        let envelope = outcome?;
        if envelope.token.is_some() {
            self.session.clone_from(&envelope.token);
        }
        if let Some(session) = &envelope.session {
            self.transaction = Some(session.clone());
        } else if ends_transaction(sql) {
            self.transaction = None;
        }
        Ok(envelope)
    }

    fn sql_once(&mut self, request: &Value, rows: &mut dyn Rows) -> Result<Envelope, Failure> {
        let path = "/v1/api/sql";
        let mut answer = self.send(path, request, true)?;
        if answer.status().as_u16() == 401 {
            self.log_in()?;
            answer = self.send(path, request, true)?;
        }
        let status = answer.status().as_u16();
        let id = answer.headers().get("x-request-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
        let told = answer.headers().get_all(timing::TOLD).iter().filter_map(|header| header.to_str().ok());
        let phases: Vec<Phase> = told.flat_map(timing::phases).collect();
        let mut reader = answer.body_mut().with_config().limit(u64::MAX).reader();
        let mut head = Head { inner: &mut reader, kept: Vec::new() };
        let outcome = stream::read(std::io::BufReader::with_capacity(1 << 16, &mut head), rows);
        let start = String::from_utf8_lossy(&head.kept).into_owned();
        match outcome {
            Ok(envelope) if envelope.status == "success" || envelope.error.is_some() => {
                Ok(Envelope { phases, ..envelope })
            }
            Err(Broken::Taker(error)) => Err(error.into()),
            Err(Broken::Answer(error)) if error.is_io() || (error.is_eof() && !start.is_empty()) => {
                let request = id.map_or(String::new(), |id| format!(" (request {id})"));
                Err(Failure::Connection {
                    message: format!(
                        "the answer of {} broke off: {error}; the statement may have failed there: the server's log has the reason{request}",
                        self.base()
                    ),
                    hint: Some("what was printed of this statement is not all of it".to_owned()),
                })
            }
            Ok(_) | Err(Broken::Answer(_)) => Err(self.strange(status, &start)),
        }
    }

    /// The result of one statement, in memory.
    pub(crate) fn query(&mut self, sql: &str) -> Result<StatementResult, Failure> {
        let mut rows = Collected::default();
        let envelope = self.sql(sql, &mut rows)?;
        match envelope.error {
            Some(error) => Err(Failure::Statement { statement: sql.to_owned(), error: Box::new(error) }),
            None => Ok(rows.results.pop().unwrap_or_default()),
        }
    }

    /// GETs a document that needs no login: status and body.
    pub(crate) fn get(&self, path: &str) -> Result<(u16, String), Failure> {
        let request = self.agent.get(format!("{}{path}", self.base()));
        let mut answer = request.call().map_err(|error| self.failed(&error))?;
        let body = answer.body_mut().with_config().limit(u64::MAX).read_to_string();
        Ok((answer.status().as_u16(), body.map_err(|error| self.failed(&error))?))
    }

    /// Reads messages of one partition.
    pub(crate) fn consume(
        &mut self,
        topic: &str,
        partition: u32,
        group: Option<&str>,
        start: Start,
        limit: u64,
        timeout_seconds: u64,
    ) -> Result<Result<ConsumeAnswer, TopicRefusal>, Failure> {
        let start = match start {
            Start::Earliest => json!("Earliest"),
            Start::Latest => json!("Latest"),
            Start::Offset(offset) => json!({"Offset": offset}),
        };
        let mut request = json!({
            "topic_id": topic, "partition_id": partition, "start": start, "limit": limit, "timeout_seconds": timeout_seconds,
        });
        if let (Some(group), Value::Object(fields)) = (group, &mut request) {
            fields.insert("group_id".into(), json!(group));
        }
        let (status, body) = self.post_logged_in("/v1/api/topics/consume", &request)?;
        if status != 200 {
            return Ok(Err(TopicRefusal { status, message: OtherError::sentence(&body) }));
        }
        serde_json::from_str(&body).map(Ok).map_err(|_| self.strange(status, &body))
    }

    /// Acks everything of one partition at or below `upto`.
    pub(crate) fn ack(
        &mut self,
        topic: &str,
        partition: u32,
        group: &str,
        upto: u64,
    ) -> Result<Result<(), TopicRefusal>, Failure> {
        let request = json!({"topic_id": topic, "group_id": group, "partition_id": partition, "upto_offset": upto});
        let (status, body) = self.post_logged_in("/v1/api/topics/ack", &request)?;
        Ok(if status == 200 { Ok(()) } else { Err(TopicRefusal { status, message: OtherError::sentence(&body) }) })
    }

    /// Sends with the token; logs in again once when it is no longer taken (nothing was done then).
    fn post_logged_in(&mut self, path: &str, request: &Value) -> Result<(u16, String), Failure> {
        let answer = self.post(path, request, true)?;
        if answer.0 != 401 {
            return Ok(answer);
        }
        self.log_in()?;
        self.post(path, request, true)
    }

    fn post(&self, path: &str, request: &Value, with_token: bool) -> Result<(u16, String), Failure> {
        let mut answer = self.send(path, request, with_token)?;
        let body = answer.body_mut().with_config().limit(u64::MAX).read_to_string();
        Ok((answer.status().as_u16(), body.map_err(|error| self.failed(&error))?))
    }

    fn send(&self, path: &str, request: &Value, with_token: bool) -> Result<ureq::http::Response<ureq::Body>, Failure> {
        let mut sent = self.agent.post(format!("{}{path}", self.base())).header("content-type", "application/json");
        if with_token {
            sent = sent.header("authorization", format!("Bearer {}", self.token));
            if let Some(session) = &self.session {
                sent = sent.header("x-highwater-token", session);
            }
            if self.asks_phases {
                let (name, value) = timing::ASK;
                sent = sent.header(name, value);
            }
            if let Some(transaction) = &self.transaction {
                sent = sent.header("x-highwater-session", transaction);
            }
        }
        sent.send(request.to_string()).map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &ureq::Error) -> Failure {
        let is_tls =
            matches!(error, ureq::Error::Tls(_) | ureq::Error::Rustls(_)) || plain(error).contains("certificate");
        let hint = if plain(error).contains("InvalidContentType") {
            // What came was no TLS at all.
            let plainly = self.base().replacen("https://", "http://", 1);
            Some(format!("the server there does not speak TLS: --url {plainly}, or set http.tls_cert and http.tls_key"))
        } else if self.base().starts_with("http://") && plain(error).contains("http parse fail") {
            // What came may be the alert of a server that waits for TLS.
            let encrypted = self.base().replacen("http://", "https://", 1);
            Some(format!(
                "if the server there speaks TLS: --url {encrypted}, with --cacert for an authority of your own"
            ))
        } else if is_tls {
            Some("--cacert names the authority that signed the server's certificate".to_owned())
        } else {
            is_connect_error(error).then(|| "is highwaterd running there? --url names another server".to_owned())
        };
        Failure::Connection { message: format!("no answer from {}: {}", self.base(), plain(error)), hint }
    }

    fn strange(&self, status: u16, body: &str) -> Failure {
        Failure::Connection {
            message: format!("{} answered {status}: {}", self.base(), OtherError::sentence(body)),
            hint: (status == 404).then(|| "is this the address of a Highwater server?".to_owned()),
        }
    }
}

/// Whether the last statement of a text ends a transaction.
fn ends_transaction(sql: &str) -> bool {
    let Some(Piece::Statement(last)) = split(sql).pop() else { return false };
    let word = last.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
    ["COMMIT", "ROLLBACK", "END", "ABORT"].contains(&word.as_str()) && !last.to_ascii_uppercase().contains(" TO ")
}

/// Reads on, and keeps the first bytes for whoever must say what came instead of an answer.
struct Head<R> {
    inner: R,
    kept: Vec<u8>,
}

impl<R: Read> Read for Head<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let room = 4096_usize.saturating_sub(self.kept.len());
        self.kept.extend(buffer.iter().take(count.min(room)));
        Ok(count)
    }
}

/// ureq's error without the prefix that says nothing.
fn plain(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) => error.to_string(),
        ureq::Error::Timeout(ureq::Timeout::Connect) => format!("no connection within {} s", CONNECT_TIMEOUT.as_secs()),
        ureq::Error::HostNotFound => "there is no host of that name".to_owned(),
        other => other.to_string(),
    }
}

fn is_connect_error(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Io(error) => error.kind() == std::io::ErrorKind::ConnectionRefused,
        ureq::Error::HostNotFound | ureq::Error::ConnectionFailed | ureq::Error::Timeout(_) => true,
        _ => false,
    }
}
