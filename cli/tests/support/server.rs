//! A small HTTP server in the test, which answers as it is told and remembers what it was asked.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

/// Requests that the server has seen: path, bearer token, body.
pub type Seen = Arc<Mutex<Vec<(String, String, Value)>>>;

pub struct Server {
    pub url: String,
    pub seen: Seen,
    /// What happens: statements that arrive, and `closed` when a connection ends while one is not answered.
    pub events: Mutex<Receiver<String>>,
}

/// Path, token, body and number of a request, to status and answer. Status 0 never answers.
pub type Answers = fn(&str, &str, &Value, usize) -> (u16, Value);

impl Server {
    pub fn start(answers: Answers) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Seen::default();
        let task_seen = Arc::clone(&seen);
        let (sender, events) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (seen, sender) = (Arc::clone(&task_seen), sender.clone());
                std::thread::spawn(move || serve(stream.unwrap(), &seen, answers, &sender));
            }
        });
        Self { url, seen, events: Mutex::new(events) }
    }

    pub fn statements(&self) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter_map(|(_, _, body)| body["sql"].as_str().map(str::to_owned)).collect()
    }

    pub fn paths(&self, path: &str) -> Vec<Value> {
        self.seen.lock().unwrap().iter().filter(|(seen, _, _)| seen == path).map(|(_, _, body)| body.clone()).collect()
    }

    /// Waits for an event.
    pub fn wait_for(&self, event: &str) {
        let events = self.events.lock().unwrap();
        while events.recv_timeout(std::time::Duration::from_secs(60)).unwrap() != event {}
    }
}

fn serve(stream: TcpStream, seen: &Seen, answers: Answers, events: &Sender<String>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let path = line.split(' ').nth(1).unwrap().to_owned();
        let (mut length, mut token, mut is_timed) = (0, String::new(), false);
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).unwrap();
            let Some((name, value)) = header.trim().split_once(": ") else { break };
            match name.to_lowercase().as_str() {
                "content-length" => length = value.parse().unwrap(),
                "authorization" => token = value.to_owned(),
                "x-highwater-timing" => is_timed = value == "1",
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let body: Value = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() };
        let number = {
            let mut seen = seen.lock().unwrap();
            seen.push((path.clone(), token.clone(), body.clone()));
            seen.iter().filter(|(earlier, _, _)| *earlier == path).count()
        };
        if let Some(sql) = body["sql"].as_str() {
            let _gone = events.send(sql.to_owned());
        }
        let (status, answer) = if path == "/v1/api/auth/login" && !std::ptr::fn_addr_eq(answers, refuse as Answers) {
            assert_eq!(body["password"], "secret");
            (200, json!({"access_token": format!("t{number}")}))
        } else {
            answers(&path, &token, &body, number)
        };
        if status == 0 {
            // Nothing more is read than the end.
            let _ended = reader.read(&mut [0]);
            let _gone = events.send("closed".to_owned());
            return;
        }
        let answer = answer.to_string();
        let phases = match body["sql"].as_str() {
            Some("SELECT phases") if is_timed => {
                "server-timing: parse;dur=0.012, plan;dur=0.034, queue;dur=0.1, exec;dur=0.25\r\n"
            }
            _ => "",
        };
        write!(
            writer,
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{phases}content-length: {}\r\n\r\n{answer}",
            answer.len()
        )
        .unwrap();
    }
}

pub fn refuse(_: &str, _: &str, _: &Value, _: usize) -> (u16, Value) {
    (401, json!({"error": "unauthorized", "message": "wrong user or password"}))
}

pub fn success(result: Value) -> (u16, Value) {
    (200, json!({"status": "success", "results": [result], "took": 0.5}))
}

/// A query's result of texts.
pub fn texts(names: &[&str], rows: &[&[&str]]) -> (u16, Value) {
    let schema: Vec<Value> = names.iter().map(|name| json!({"name": name, "data_type": "Text"})).collect();
    success(json!({"schema": schema, "rows": rows, "row_count": rows.len(), "as_user": "root"}))
}

/// A server of few words: `SELECT` gives one row, `fail` fails, all else says "done".
pub fn plain(path: &str, _: &str, body: &Value, _: usize) -> (u16, Value) {
    assert_eq!(path, "/v1/api/sql");
    let sql = body["sql"].as_str().unwrap();
    if sql.starts_with("SELECT") {
        let rows = if sql.contains("missing") { json!([]) } else { json!([["7"]]) };
        let count = rows.as_array().unwrap().len();
        success(
            json!({"schema": [{"name": "n", "data_type": "BigInt", "index": 0}], "rows": rows, "row_count": count, "as_user": "root"}),
        )
    } else if sql.starts_with("fail") {
        let details = "{\"sqlstate\":\"42601\",\"position\":1,\"end\":5,\"hint\":\"do not fail\"}";
        (
            400,
            json!({"status": "error", "results": [], "took": 0.1, "error": {"code": "INVALID_SQL", "message": "it failed", "details": details}}),
        )
    } else {
        success(json!({"row_count": 1, "message": "done"}))
    }
}
