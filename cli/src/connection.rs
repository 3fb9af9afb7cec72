//! The server, over HTTP: login, statements, topics. Blocking; one request at a time.

use std::time::Duration;

use serde_json::{Value, json};
use ureq::Agent;

use crate::answer::{ConsumeAnswer, OtherError, SqlAnswer};
use crate::args::Start;
use crate::failure::Failure;

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A server that has let us in.
#[derive(Debug)]
pub(crate) struct Connection {
    agent: Agent,
    base: String,
    user: String,
    password: String,
    token: String,
    /// Read-your-writes token of the last answer.
    session: Option<String>,
}

/// What a topic request was refused with.
#[derive(Debug)]
pub(crate) struct TopicRefusal {
    pub(crate) status: u16,
    pub(crate) message: String,
}

impl Connection {
    /// Logs in.
    pub(crate) fn open(base: String, user: &str, password: String) -> Result<Self, Failure> {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .proxy(None)
            .user_agent(concat!("highwater/", env!("CARGO_PKG_VERSION")))
            .build();
        let mut connection =
            Self { agent: config.into(), base, user: user.to_owned(), password, token: String::new(), session: None };
        connection.log_in()?;
        Ok(connection)
    }

    /// Where the server is.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Who is logged in.
    pub(crate) fn user(&self) -> &str {
        &self.user
    }

    fn log_in(&mut self) -> Result<(), Failure> {
        let (status, body) =
            self.send("/v1/api/auth/login", &json!({"user": self.user, "password": self.password}), false)?;
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
                    self.user,
                    self.base,
                    OtherError::sentence(&body)
                ),
                hint: (status == 401).then(|| "see `highwater --help` for where the password is taken from".to_owned()),
            }),
            (status, _) => Err(self.strange(status, &body)),
        }
    }

    /// Runs statements. The error of an answer is in the answer.
    pub(crate) fn sql(&mut self, sql: &str) -> Result<SqlAnswer, Failure> {
        let (status, body) = self.send_logged_in("/v1/api/sql", &json!({"sql": sql}))?;
        let answer: SqlAnswer = serde_json::from_str(&body).map_err(|_| self.strange(status, &body))?;
        if answer.status != "success" && answer.error.is_none() {
            return Err(self.strange(status, &body));
        }
        if answer.token.is_some() {
            self.session.clone_from(&answer.token);
        }
        Ok(answer)
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
        let (status, body) = self.send_logged_in("/v1/api/topics/consume", &request)?;
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
        let (status, body) = self.send_logged_in("/v1/api/topics/ack", &request)?;
        Ok(if status == 200 { Ok(()) } else { Err(TopicRefusal { status, message: OtherError::sentence(&body) }) })
    }

    /// Sends with the token; logs in again once when it is no longer taken (nothing was done then).
    fn send_logged_in(&mut self, path: &str, request: &Value) -> Result<(u16, String), Failure> {
        let answer = self.send(path, request, true)?;
        if answer.0 != 401 {
            return Ok(answer);
        }
        self.log_in()?;
        self.send(path, request, true)
    }

    fn send(&self, path: &str, request: &Value, with_token: bool) -> Result<(u16, String), Failure> {
        let failed = |error: ureq::Error| {
            let message = format!("no answer from {}: {}", self.base, plain(&error));
            let hint =
                is_connect_error(&error).then(|| "is highwaterd running there? --url names another server".to_owned());
            Failure::Connection { message, hint }
        };
        let mut sent = self.agent.post(format!("{}{path}", self.base)).header("content-type", "application/json");
        if with_token {
            sent = sent.header("authorization", format!("Bearer {}", self.token));
            if let Some(session) = &self.session {
                sent = sent.header("x-highwater-token", session);
            }
        }
        let mut answer = sent.send(request.to_string()).map_err(failed)?;
        let body = answer.body_mut().with_config().limit(u64::MAX).read_to_string().map_err(failed)?;
        Ok((answer.status().as_u16(), body))
    }

    fn strange(&self, status: u16, body: &str) -> Failure {
        Failure::Connection {
            message: format!("{} answered {status}: {}", self.base, OtherError::sentence(body)),
            hint: (status == 404).then(|| "is this the address of a Highwater server?".to_owned()),
        }
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
