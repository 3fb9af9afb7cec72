//! A real `highwaterd` on a folder and a port of its own.
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::contract;

/// The password that tests give to root.
pub const PASSWORD: &str = "correct horse";

/// A running server; killed when dropped.
pub struct Server {
    child: Child,
    /// Where it listens.
    pub url: String,
    /// What it printed up to its last banner line.
    pub banner: String,
    /// What it has logged so far.
    log: Arc<Mutex<Vec<u8>>>,
    agent: ureq::Agent,
}

/// A status and a JSON body.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub json: Value,
}

impl Answer {
    /// The error code of any of the envelopes.
    pub fn code(&self) -> &str {
        let places = [&self.json["error"]["code"], &self.json["code"], &self.json["error"]];
        places.into_iter().find_map(Value::as_str).unwrap_or("")
    }

    pub fn message(&self) -> &str {
        let places = [&self.json["error"]["message"], &self.json["message"], &self.json["error"]];
        places.into_iter().find_map(Value::as_str).unwrap_or("")
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// A command that sees no setting of the outside.
pub fn highwaterd(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_highwaterd"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HIGHWATER_")) {
        command.env_remove(name);
    }
    command.args(arguments);
    command
}

/// Runs it to its end.
pub fn run(arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = highwaterd(arguments).stdin(Stdio::null()).output().unwrap();
    (status.code().unwrap_or(-1), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

impl Server {
    /// A server on a folder, with root's password [`PASSWORD`].
    pub fn start(folder: &Path, more: &[&str]) -> Self {
        let mut arguments = vec!["--root-password", PASSWORD];
        arguments.extend(more);
        Self::start_bare(folder, &arguments)
    }

    /// A server on a folder, small and quick.
    pub fn start_bare(folder: &Path, more: &[&str]) -> Self {
        let mut arguments = vec![
            "--data-dir",
            folder.to_str().unwrap(),
            "--http-addr",
            "127.0.0.1:0",
            "--set",
            "auth.scram_iterations=4096",
        ];
        if !more.contains(&"--user-shards") {
            arguments.extend(["--user-shards", "2", "--shared-shards", "2"]);
        }
        if !more.contains(&"--cores") {
            arguments.extend(["--cores", "1"]);
        }
        arguments.extend(more);
        let mut child = highwaterd(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut banner = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        while !banner.contains("\n  stop") {
            if lines.read_line(&mut banner).unwrap() == 0 {
                let mut said = String::new();
                child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
                panic!("highwaterd ended early: {:?}: {said}", child.wait().unwrap());
            }
        }
        // Nobody may block on a full pipe.
        let mut errors = child.stderr.take().unwrap();
        let log: Arc<Mutex<Vec<u8>>> = Arc::default();
        let kept = Arc::clone(&log);
        std::thread::spawn(move || {
            let mut part = [0; 4096];
            while let Ok(count @ 1..) = errors.read(&mut part) {
                kept.lock().unwrap().extend_from_slice(&part[..count]);
            }
        });
        let url = banner.lines().find_map(|line| line.trim().strip_prefix("HTTP")).unwrap().trim().to_owned();
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        Self { child, url, banner, log, agent }
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&self.log.lock().unwrap()).into_owned()
    }

    pub fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let request = headers.iter().fold(self.agent.get(format!("{}{path}", self.url)), |request, (name, value)| {
            request.header(*name, *value)
        });
        let sent =
            request.call().unwrap_or_else(|error| panic!("GET {path}: {error:?}; the server's log: {}", self.log()));
        let answer = answer(sent);
        contract::check("GET", path, answer.status, &answer.json);
        answer
    }

    /// Status, content type and text.
    pub fn get_text(&self, path: &str, headers: &[(&str, &str)]) -> (u16, String, String) {
        let request = headers.iter().fold(self.agent.get(format!("{}{path}", self.url)), |request, (name, value)| {
            request.header(*name, *value)
        });
        let mut response = request.call().unwrap();
        let kind = response.headers().get("content-type").map_or("", |kind| kind.to_str().unwrap()).to_owned();
        (response.status().as_u16(), kind, response.body_mut().read_to_string().unwrap())
    }

    pub fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let request = headers.iter().fold(self.agent.post(format!("{}{path}", self.url)), |request, (name, value)| {
            request.header(*name, *value)
        });
        let sent = request
            .send(body)
            .unwrap_or_else(|error| panic!("POST {path}: {error:?}; the server's log: {}", self.log()));
        let answer = answer(sent);
        contract::check("POST", path, answer.status, &answer.json);
        answer
    }

    pub fn try_login(&self, user: &str, password: &str) -> Answer {
        self.post("/v1/api/auth/login", &[], json!({"user": user, "password": password}).to_string().as_bytes())
    }

    /// An access token.
    pub fn login(&self, user: &str, password: &str) -> String {
        let answer = self.try_login(user, password);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json["access_token"].as_str().unwrap().to_owned()
    }

    /// Posts JSON with a bearer token.
    pub fn ask(&self, path: &str, token: &str, body: &Value) -> Answer {
        self.post(path, &[("authorization", &format!("Bearer {token}"))], body.to_string().as_bytes())
    }

    /// Runs statements as the token's user.
    pub fn sql(&self, token: &str, sql: &str) -> Answer {
        self.ask("/v1/api/sql", token, &json!({ "sql": sql }))
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        self.url.split_once("://").unwrap().1
    }

    /// Memory that the process holds.
    pub fn resident_bytes(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/statm", self.child.id())).unwrap();
        text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
    }

    /// Sends a signal.
    pub fn signal(&self, name: &str) {
        assert!(Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap().success());
    }

    pub fn wait(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// Stops it as an administrator would; it must agree.
    pub fn stop(self) {
        self.signal("TERM");
        let status = self.wait();
        assert_eq!((status.code(), status.signal()), (Some(0), None));
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Kills it as a power cut would.
    pub fn kill(self) {
        self.signal("KILL");
        assert_eq!(self.wait().signal(), Some(9));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn answer(mut response: ureq::http::Response<ureq::Body>) -> Answer {
    let status = response.status().as_u16();
    let headers = response
        .headers()
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), value.to_str().unwrap_or("").to_owned()))
        .collect();
    let text = response.body_mut().read_to_string().unwrap();
    let json =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("status {status} is no JSON ({error}): {text}"));
    Answer { status, headers, json }
}
