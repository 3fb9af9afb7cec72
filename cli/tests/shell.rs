//! The program as it is run: arguments and input in, output and exit code out, against a small server in this test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a test of a client program: it starts the program and listens on a socket"
)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

/// Requests that the server has seen: path, bearer token, body.
type Seen = Arc<Mutex<Vec<(String, String, Value)>>>;

struct Server {
    url: String,
    seen: Seen,
}

/// Path, token and body of a request, to status and answer.
type Answers = fn(&str, &str, &Value, usize) -> (u16, Value);

impl Server {
    fn start(answers: Answers) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Seen::default();
        let task_seen = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let seen = Arc::clone(&task_seen);
                std::thread::spawn(move || serve(stream.unwrap(), &seen, answers));
            }
        });
        Self { url, seen }
    }

    fn statements(&self) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter_map(|(_, _, body)| body["sql"].as_str().map(str::to_owned)).collect()
    }

    fn paths(&self, path: &str) -> Vec<Value> {
        self.seen.lock().unwrap().iter().filter(|(seen, _, _)| seen == path).map(|(_, _, body)| body.clone()).collect()
    }
}

fn serve(stream: TcpStream, seen: &Seen, answers: Answers) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let path = line.split(' ').nth(1).unwrap().to_owned();
        let (mut length, mut token) = (0, String::new());
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).unwrap();
            let Some((name, value)) = header.trim().split_once(": ") else { break };
            match name.to_lowercase().as_str() {
                "content-length" => length = value.parse().unwrap(),
                "authorization" => token = value.to_owned(),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        let number = {
            let mut seen = seen.lock().unwrap();
            seen.push((path.clone(), token.clone(), body.clone()));
            seen.iter().filter(|(earlier, _, _)| *earlier == path).count()
        };
        let (status, answer) = if path == "/v1/api/auth/login" && !std::ptr::fn_addr_eq(answers, refuse as Answers) {
            assert_eq!(body["password"], "secret");
            (200, json!({"access_token": format!("t{number}")}))
        } else {
            answers(&path, &token, &body, number)
        };
        let answer = answer.to_string();
        write!(
            writer,
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{answer}",
            answer.len()
        )
        .unwrap();
    }
}

fn refuse(_: &str, _: &str, _: &Value, _: usize) -> (u16, Value) {
    (401, json!({"error": "unauthorized", "message": "wrong user or password"}))
}

fn success(result: Value) -> (u16, Value) {
    (200, json!({"status": "success", "results": [result], "took": 0.5}))
}

/// A server of few words: `SELECT` gives one row, `fail` fails, all else says "done".
fn plain(path: &str, _: &str, body: &Value, _: usize) -> (u16, Value) {
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

struct Outcome {
    code: i32,
    out: String,
    err: String,
}

fn highwater(url: &str, args: &[&str], input: &str) -> Outcome {
    with_password(url, args, input, Some("secret"), Path::new("/nonexistent"))
}

fn with_password(url: &str, args: &[&str], input: &str, password: Option<&str>, data_dir: &Path) -> Outcome {
    let mut command = Command::new(env!("CARGO_BIN_EXE_highwater"));
    command.args(args).env_clear().env("HIGHWATER_URL", url).env("HIGHWATER_DATA_DIR", data_dir);
    if let Some(password) = password {
        command.env("HIGHWATER_PASSWORD", password);
    }
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // The program may end without reading its input.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    Outcome { code: output.status.code().unwrap(), out: text(&output.stdout), err: text(&output.stderr) }
}

#[test]
fn statements_run_in_order_and_print_tables() {
    let server = Server::start(plain);
    let outcome = highwater(&server.url, &["-c", "SELECT 1; INSERT x", "-c", "SELECT 2"], "");
    let table = " n\n───\n 7\n(1 row)\n";
    assert_eq!((outcome.code, outcome.err.as_str()), (0, ""));
    assert_eq!(outcome.out, format!("{table}done\n{table}"));
    assert_eq!(server.statements(), ["SELECT 1", "INSERT x", "SELECT 2"]);
    assert!(server.seen.lock().unwrap().iter().skip(1).all(|(_, token, _)| token == "Bearer t1"), "one login");
}

#[test]
fn a_failing_statement_is_drawn_and_ends_the_run() {
    let server = Server::start(plain);
    let outcome = highwater(&server.url, &["-c", "INSERT x; fail here; INSERT y", "-c", "INSERT z"], "");
    assert_eq!((outcome.code, outcome.out.as_str()), (1, "done\n"));
    assert_eq!(outcome.err, "error: it failed (42601)\n  1 | fail here\n      ^^^^\nhint: do not fail\n");
    assert_eq!(server.statements(), ["INSERT x", "fail here"]);
}

#[test]
fn json_is_one_document_per_statement() {
    let server = Server::start(plain);
    let outcome = highwater(&server.url, &["--json", "-c", "SELECT 1; INSERT x; fail"], "");
    assert_eq!((outcome.code, outcome.err.as_str()), (1, ""));
    assert_eq!(
        outcome.out,
        concat!(
            r#"{"status":"success","schema":[{"name":"n","data_type":"BigInt","index":0}],"rows":[["7"]],"row_count":1,"as_user":"root"}"#,
            "\n",
            r#"{"status":"success","row_count":1,"message":"done"}"#,
            "\n",
            r#"{"status":"error","error":{"code":"INVALID_SQL","message":"it failed","details":{"sqlstate":"42601","position":1,"end":5,"hint":"do not fail"}}}"#,
            "\n"
        )
    );
}

#[test]
fn csv_has_rows_only() {
    let server = Server::start(plain);
    let outcome = highwater(&server.url, &["--csv", "-c", "INSERT x; SELECT 1"], "");
    assert_eq!((outcome.code, outcome.out.as_str(), outcome.err.as_str()), (0, "n\n7\n", "done\n"));
}

#[test]
fn files_and_standard_input_are_scripts() {
    let server = Server::start(plain);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.sql");
    std::fs::write(&file, "-- comment\nINSERT ';';\n\\dt\nINSERT b").unwrap();
    let outcome = highwater(&server.url, &["-f", file.to_str().unwrap(), "-f", "-"], "INSERT c;\n\\q\nINSERT d;");
    assert_eq!(outcome.code, 0, "{}", outcome.err);
    let tables = "SELECT namespace_id, table_name, table_type FROM system.tables ORDER BY namespace_id, table_name";
    assert_eq!(server.statements(), ["INSERT ';'", tables, "INSERT b", "INSERT c"]);
    assert_eq!(highwater(&server.url, &[], "INSERT e").out, "done\n", "without a terminal the input is a script");
    let missing = highwater(&server.url, &["-f", "/nonexistent.sql"], "");
    assert!(missing.code == 2 && missing.err.contains("/nonexistent.sql"), "{}", missing.err);
}

#[test]
fn commands_of_the_prompt_work_as_arguments() {
    let server = Server::start(plain);
    let outcome = highwater(
        &server.url,
        &["-c", "\\as alice INSERT 'x;y';", "-c", "\\d App.T", "-c", "\\timing", "-c", "\\x", "-c", "SELECT 1"],
        "",
    );
    assert_eq!(outcome.code, 0, "{}", outcome.err);
    assert_eq!(server.statements()[0], "EXECUTE AS 'alice' (INSERT 'x;y')");
    assert!(server.statements()[1].contains("WHERE namespace_id = 'app' AND table_name = 't' ORDER BY ordinal"));
    assert!(
        outcome.out.contains("timing is on")
            && outcome.out.contains("─[ 1 ]─")
            && outcome.out.contains("n │ 7\n")
            && outcome.out.contains("time: ")
    );
    let missing = highwater(&server.url, &["-c", "\\d missing"], "");
    assert!(missing.code == 1 && missing.err.contains("there is no table missing"), "{}", missing.err);
    assert_eq!(highwater(&server.url, &["-c", "\\nope"], "").code, 1);
}

#[test]
fn the_password_is_found_beside_the_data() {
    let server = Server::start(plain);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("root-password"), "secret\n").unwrap();
    assert_eq!(with_password(&server.url, &["-c", "x"], "", None, folder.path()).code, 0);
    let outcome = with_password(&server.url, &["-c", "x"], "", None, Path::new("/nonexistent"));
    assert_eq!(outcome.code, 2);
    assert!(
        outcome.err.contains("/nonexistent/root-password") && outcome.err.contains("HIGHWATER_PASSWORD"),
        "{}",
        outcome.err
    );
}

#[test]
fn a_refused_login_and_a_missing_server_have_their_own_codes() {
    let server = Server::start(refuse);
    let outcome = highwater(&server.url, &["-c", "SELECT 1"], "");
    assert!(outcome.code == 4 && outcome.err.contains("wrong user or password"), "{}", outcome.err);
    let outcome = highwater("http://127.0.0.1:1", &["-c", "SELECT 1"], "");
    assert!(
        outcome.code == 3 && outcome.err.contains("127.0.0.1:1") && outcome.err.contains("highwaterd"),
        "{}",
        outcome.err
    );
    assert_eq!(highwater("ftp://x", &["-c", "SELECT 1"], "").code, 2);
    assert_eq!(highwater(&server.url, &["--nonsense"], "").code, 2);
    let help = highwater(&server.url, &["--help"], "");
    assert!(help.code == 0 && help.out.contains("Examples:"));
}

/// Refuses the first token.
fn expiring(path: &str, token: &str, body: &Value, number: usize) -> (u16, Value) {
    if token == "Bearer t1" {
        return (
            401,
            json!({"status": "error", "results": [], "took": 0, "error": {"code": "TOKEN_EXPIRED", "message": "expired"}}),
        );
    }
    plain(path, token, body, number)
}

#[test]
fn an_expired_token_is_renewed_without_a_word() {
    let server = Server::start(expiring);
    let outcome = highwater(&server.url, &["-c", "INSERT x"], "");
    assert_eq!((outcome.code, outcome.out.as_str()), (0, "done\n"), "{}", outcome.err);
}

/// Two partitions with three messages each.
fn topic(path: &str, _: &str, body: &Value, _: usize) -> (u16, Value) {
    if path == "/v1/api/topics/ack" {
        return (200, json!({"success": true, "acknowledged_offset": body["upto_offset"]}));
    }
    let partition = body["partition_id"].as_u64().unwrap();
    if body["topic_id"] != "app.events" || partition > 1 {
        return (404, json!({"error": "no such topic or partition", "code": "NOT_FOUND"}));
    }
    let first = body["start"]["Offset"].as_u64().unwrap_or(0);
    let limit = body["limit"].as_u64().unwrap();
    let messages: Vec<Value> = (first..3)
        .take(usize::try_from(limit).unwrap())
        .map(|offset| {
            json!({"topic_id": "app.events", "partition_id": partition, "offset": offset, "payload": "eyJhIjoxfQ==",
                "key": offset.to_string(), "timestamp_ms": 0, "user": "u", "op": "Insert"})
        })
        .collect();
    let next = first + messages.len() as u64;
    (200, json!({"messages": messages, "next_offset": next, "has_more": next < 3}))
}

#[test]
fn a_topic_is_followed_over_all_partitions_up_to_the_limit() {
    let server = Server::start(topic);
    let outcome =
        highwater(&server.url, &["--consume", "--topic", "app.events", "--from", "earliest", "--limit", "5"], "");
    assert_eq!(outcome.code, 0, "{}", outcome.err);
    let lines: Vec<&str> = outcome.out.lines().collect();
    assert_eq!(lines.len(), 5);
    assert_eq!(lines[0], "0:0 1970-01-01 00:00:00Z insert user=u key=0 {\"a\":1}");
    assert!(lines[4].starts_with("1:1 "));
    assert!(server.paths("/v1/api/topics/ack").is_empty(), "without a group nothing is acked");
}

#[test]
fn a_member_of_a_group_acks_what_was_printed() {
    let server = Server::start(topic);
    let args = ["--consume", "--topic", "app.events", "--group", "g", "--from", "earliest", "--limit", "4", "--json"];
    let outcome = highwater(&server.url, &args, "");
    assert_eq!(outcome.code, 0, "{}", outcome.err);
    assert_eq!(
        outcome.out.lines().next().unwrap(),
        r#"{"topic_id":"app.events","partition_id":0,"offset":0,"op":"Insert","key":"0","user":"u","timestamp_ms":0,"payload":{"a":1}}"#
    );
    let acks = server.paths("/v1/api/topics/ack");
    assert_eq!(
        acks,
        [
            json!({"topic_id": "app.events", "group_id": "g", "partition_id": 0, "upto_offset": 2}),
            json!({"topic_id": "app.events", "group_id": "g", "partition_id": 1, "upto_offset": 0}),
        ]
    );
    let outcome = highwater(&server.url, &["--consume", "--topic", "app.nope"], "");
    assert!(outcome.code == 1 && outcome.err.contains("app.nope: no such topic"), "{}", outcome.err);
}

#[test]
fn ctrl_c_ends_a_consume_well() {
    let server = Server::start(topic);
    let mut command = Command::new(env!("CARGO_BIN_EXE_highwater"));
    command.args(["--consume", "--topic", "app.events", "--from", "earliest"]).env_clear();
    command.env("HIGHWATER_URL", &server.url).env("HIGHWATER_PASSWORD", "secret");
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..6 {
        lines.next().unwrap().unwrap();
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(lines.next().is_none(), "nothing is printed twice");
}
