//! Highwater, spoken to over HTTP.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use ureq::Agent;

use crate::answer::Ours;
use crate::cell::{Cell, Kind};
use crate::failure::Failure;

const PASSWORD: &str = "a password for one run";

/// A server of our own, ended when dropped.
pub(crate) struct Highwater {
    child: Child,
    agent: Agent,
    url: String,
    token: String,
}

impl Highwater {
    /// Starts `highwaterd` with an empty folder.
    pub(crate) fn start(program: &Path, folder: &Path) -> Result<Self, Failure> {
        std::fs::create_dir_all(folder)?;
        let mut command = Command::new(program);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HIGHWATER_")) {
            command.env_remove(name);
        }
        command.arg("--data-dir").arg(folder).args(["--http-addr", "127.0.0.1:0", "--root-password", PASSWORD]);
        command.args(["--cores", "1", "--user-shards", "2", "--shared-shards", "4"]);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| Failure::highwater(format!("cannot run {}: {error}", program.display())))?;
        let Some(output) = child.stdout.take() else { return Err(Failure::highwater("no output")) };
        let mut lines = BufReader::new(output);
        let mut banner = String::new();
        while !banner.contains("\n  stop") {
            if lines.read_line(&mut banner)? == 0 {
                return Err(Failure::highwater(format!("it ended at once: {banner}")));
            }
        }
        let url =
            banner.lines().find_map(|line| line.trim().strip_prefix("HTTP")).unwrap_or_default().trim().to_owned();
        let agent = Agent::config_builder().http_status_as_error(false).proxy(None).build().into();
        let mut server = Self { child, agent, url, token: String::new() };
        let login = server.send("/v1/api/auth/login", &json!({"user": "root", "password": PASSWORD}))?;
        let token = login.get("access_token").and_then(Value::as_str);
        server.token = token.ok_or_else(|| Failure::highwater(format!("no login: {login}")))?.to_owned();
        Ok(server)
    }

    fn send(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let failed = |error: &dyn std::fmt::Display| Failure::highwater(format!("{}{path}: {error}", self.url));
        let mut request = self.agent.post(format!("{}{path}", self.url)).content_type("application/json");
        if !self.token.is_empty() {
            request = request.header("Authorization", format!("Bearer {}", self.token));
        }
        let mut answer = request.send(body.to_string()).map_err(|error| failed(&error))?;
        let text = answer.body_mut().with_config().limit(1 << 30).read_to_string().map_err(|error| failed(&error))?;
        serde_json::from_str(&text).map_err(|error| failed(&error))
    }

    /// Runs one statement.
    pub(crate) fn run(&self, sql: &str) -> Result<Ours, Failure> {
        let answer = self.send("/v1/api/sql", &json!({ "sql": sql }))?;
        let strange = || Failure::highwater(format!("an answer that cannot be read to {sql}: {answer}"));
        if let Some(error) = answer.get("error").filter(|error| !error.is_null()) {
            let details: Value = error
                .get("details")
                .and_then(Value::as_str)
                .and_then(|details| serde_json::from_str(details).ok())
                .unwrap_or_default();
            let state = details.get("sqlstate").and_then(Value::as_str).unwrap_or("?????");
            let message = error.get("message").and_then(Value::as_str).unwrap_or_default();
            return Ok(Ours::Error(state.to_owned(), message.to_owned()));
        }
        let result = answer.get("results").and_then(|results| results.get(0)).ok_or_else(strange)?;
        let Some(schema) = result.get("schema").and_then(Value::as_array) else {
            return Ok(Ours::Changed(result.get("row_count").and_then(Value::as_u64).unwrap_or(0)));
        };
        let kinds: Vec<Kind> = schema.iter().map(|column| Kind::of(&column["data_type"])).collect();
        let mut rows = Vec::new();
        for row in result.get("rows").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default() {
            let values = row.as_array().ok_or_else(strange)?;
            let cells = kinds.iter().zip(values).map(|(kind, value)| Cell::ours(*kind, value));
            rows.push(cells.collect::<Option<Vec<Cell>>>().ok_or_else(strange)?);
        }
        Ok(Ours::Rows(kinds, rows))
    }
}

impl Drop for Highwater {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
