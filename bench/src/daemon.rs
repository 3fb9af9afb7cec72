//! A `highwaterd` that is started for one run, and ended with it.
#![expect(clippy::disallowed_methods, reason = "a process of our own in a folder of our own")]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use ureq::Agent;

/// root's password on a server of [`Daemon::start`].
pub const PASSWORD: &str = "a password for one run";

/// Why a server does not start or does not answer.
#[derive(Debug, thiserror::Error)]
#[error("highwaterd: {0}")]
pub struct DaemonError(String);

impl DaemonError {
    /// An error with this sentence.
    pub fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

/// An answer: its status, and its body as it came.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub text: String,
}

impl Reply {
    /// The body, parsed.
    ///
    /// # Errors
    /// When it is no JSON.
    pub fn json(&self) -> Result<Value, DaemonError> {
        serde_json::from_str(&self.text).map_err(|error| DaemonError::new(format!("{error} in {}", self.text)))
    }
}

/// A server of our own, killed when dropped.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    agent: Agent,
    url: String,
}

impl Daemon {
    /// The program that is meant unless one is named: the one beside this program.
    ///
    /// # Errors
    /// When the system does not tell where this program is.
    pub fn beside_this() -> Result<PathBuf, DaemonError> {
        let program = std::env::current_exe().map_err(|error| DaemonError::new(error.to_string()))?;
        Ok(program.with_file_name("highwaterd"))
    }

    /// Starts it over `folder`, which is made, on a free port of this machine; returns when it serves.
    ///
    /// # Errors
    /// When the program is not there, or ends before it serves.
    pub fn start(program: &Path, folder: &Path, args: &[&str]) -> Result<Self, DaemonError> {
        let failed = |error: std::io::Error| DaemonError::new(format!("cannot run {}: {error}", program.display()));
        std::fs::create_dir_all(folder).map_err(failed)?;
        let mut command = Command::new(program);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HIGHWATER_")) {
            command.env_remove(name);
        }
        command.arg("--data-dir").arg(folder).args(["--http-addr", "127.0.0.1:0", "--root-password", PASSWORD]);
        let mut child = command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(failed)?;
        let Some(output) = child.stdout.take() else { return Err(DaemonError::new("no output")) };
        let mut lines = BufReader::new(output);
        let mut banner = String::new();
        while !banner.contains("\n  stop") {
            if lines.read_line(&mut banner).map_err(failed)? == 0 {
                return Err(DaemonError::new(format!("it ended at once: {banner}")));
            }
        }
        let url = banner.lines().find_map(|line| line.trim().strip_prefix("HTTP")).unwrap_or_default().trim();
        let agent = Agent::config_builder().http_status_as_error(false).proxy(None).build().into();
        Ok(Self { child, agent, url: url.to_owned() })
    }

    /// `http://127.0.0.1:port`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its process.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Logs in, and gives the access token.
    ///
    /// # Errors
    /// When it refuses, or cannot be reached.
    pub fn login(&self, user: &str, password: &str) -> Result<String, DaemonError> {
        let reply = self.post("/v1/api/auth/login", None, &json!({"user": user, "password": password}))?;
        let token = reply.json()?.get("access_token").and_then(Value::as_str).map(str::to_owned);
        token.ok_or_else(|| DaemonError::new(format!("no login of {user}: {}", reply.text)))
    }

    /// Posts a body.
    ///
    /// # Errors
    /// When it cannot be reached, or breaks the answer off.
    pub fn post(&self, path: &str, token: Option<&str>, body: &Value) -> Result<Reply, DaemonError> {
        self.post_within(path, token, None, body)
    }

    /// A request with a body within a session.
    ///
    /// # Errors
    /// As [`Self::post`].
    pub fn post_within(
        &self,
        path: &str,
        token: Option<&str>,
        session: Option<&str>,
        body: &Value,
    ) -> Result<Reply, DaemonError> {
        let failed = |error: &dyn std::fmt::Display| DaemonError::new(format!("{}{path}: {error}", self.url));
        let mut request = self.agent.post(format!("{}{path}", self.url)).content_type("application/json");
        if let Some(token) = token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        if let Some(session) = session {
            request = request.header("X-Highwater-Session", session);
        }
        let mut answer = request.send(body.to_string()).map_err(|error| failed(&error))?;
        let text = answer.body_mut().with_config().limit(1 << 30).read_to_string().map_err(|error| failed(&error))?;
        Ok(Reply { status: answer.status().as_u16(), text })
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
