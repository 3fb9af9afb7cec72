//! What is shown of an answer beside its rows, and rows as Arrow, against a small server in this test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a test of a client program: it starts the program and listens on a socket"
)]

#[path = "support/program.rs"]
mod program;
#[path = "support/server.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod server;

use std::path::Path;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray as _;
use arrow_array::types::Int64Type;
use arrow_ipc::reader::StreamReader;
use serde_json::{Value, json};

use program::{highwater, run};
use server::{Server, plain, success, texts};

#[test]
fn timing_asks_for_the_phases_and_shows_them() {
    let server = Server::start(plain);
    let timed = highwater(&server.url, &["-c", "\\timing\nSELECT phases"], "");
    let parts =
        "(parse 0.012, plan 0.034, queue 0.100, execute 0.250, rest of the server 0.104, network and rendering ";
    assert!(timed.code == 0 && timed.err.starts_with("Time: ") && timed.err.contains(parts), "{}", timed.err);
    let timed = highwater(&server.url, &["-c", "\\timing\nSELECT 1 \\gset"], "");
    assert!(timed.err.contains("(server 0.500, network and rendering "), "an older server's: {}", timed.err);
    let untimed = highwater(&server.url, &["-c", "\\timing\n\\timing\nSELECT phases"], "");
    assert_eq!(untimed.err, "", "it is not asked then");
}

/// Reads from a node that is behind.
fn stale(path: &str, token: &str, body: &Value, number: usize) -> (u16, Value) {
    let (status, mut answer) = plain(path, token, body, number);
    answer["as_of"] = json!("2026-11-22T01:02:03Z");
    (status, answer)
}

#[test]
fn rows_that_may_be_old_say_of_when_they_are() {
    let server = Server::start(stale);
    let note = "as of 2026-11-22T01:02:03Z; later changes may be missing\n";
    let drawn = highwater(&server.url, &["--format", "table", "-c", "SELECT 1"], "");
    assert!(drawn.out.ends_with(&format!("(1 row)\n{note}")) && drawn.err.is_empty(), "{}", drawn.out);
    let written = highwater(&server.url, &["--csv", "-c", "SELECT 1"], "");
    let joined = highwater(&server.url, &["-c", "SET read_consistency = 'stale'\\; SELECT ':x' \\; SELECT 3"], "");
    assert_eq!(joined.code, 0, "{}", joined.err);
    assert_eq!(server.statements().last().unwrap(), "SET read_consistency = 'stale' ; SELECT ':x'  ; SELECT 3");
    assert_eq!((written.out.as_str(), written.err.as_str()), ("n\n7\n", note));
}

/// Explains every statement alike.
fn explaining(path: &str, token: &str, body: &Value, number: usize) -> (u16, Value) {
    match body["sql"].as_str() {
        Some("EXPLAIN (ANALYZE, FORMAT JSON) SELECT 1") => {
            let plan = r#"{"step":"Limit 1","ran":"1 rows, 8 us","below":[{"step":"One row","ran":"1 rows, 2 us"}]}"#;
            texts(&["QUERY PLAN"], &[&[plan]])
        }
        Some("EXPLAIN (FORMAT JSON) SELECT 2") => texts(&["QUERY PLAN"], &[&["One row"]]),
        Some("EXPLAIN ANALYZE SELECT 1") => texts(&["QUERY PLAN"], &[&["Limit 1"]]),
        _ => plain(path, token, body, number),
    }
}

#[test]
fn plans_are_trees_for_people_and_rows_for_programs() {
    let server = Server::start(explaining);
    let drawn = highwater(
        &server.url,
        &["--format", "table", "-c", "\\profile SELECT 1", "-c", "\\timing", "-c", "\\profile SELECT 1"],
        "",
    );
    let tree = "Limit 1\n│   ran: 1 rows, 8 us (75 % of the time here)\n└─ One row\n       ran: 1 rows, 2 us (25 % of the time here)\n";
    let timed = drawn.out.strip_prefix(&format!("{tree}timing is on\n{tree}Time: "));
    assert!(timed.is_some_and(|time| time.lines().count() == 1) && drawn.err.is_empty(), "{}", drawn.out);
    let rows = highwater(&server.url, &["-c", "\\explain analyze SELECT 1"], "");
    assert_eq!((rows.out.as_str(), rows.err.as_str()), ("QUERY PLAN\nLimit 1\n", ""));
    let strange = highwater(&server.url, &["--format", "table", "-c", "\\explain SELECT 2"], "");
    assert_eq!(strange.out, " QUERY PLAN\n────────────\n One row\n(1 row)\n", "what is no tree is shown as it is");
}

/// The rows of a stream, which has its end.
fn batches(stream: &[u8]) -> Vec<RecordBatch> {
    assert!(stream.ends_with(&[255, 255, 255, 255, 0, 0, 0, 0]), "a stream has a mark at its end");
    StreamReader::try_new(stream, None).unwrap().collect::<Result<_, _>>().unwrap()
}

/// `SELECT many` gives more rows than a batch holds, `SELECT late` a time of day that Arrow does not know.
fn plentiful(path: &str, token: &str, body: &Value, number: usize) -> (u16, Value) {
    let column = |data_type: &str| json!([{"name": "n", "data_type": data_type}]);
    match body["sql"].as_str().unwrap() {
        "SELECT many" => {
            let rows: Vec<[String; 1]> = (0..20_000).map(|n: u32| [n.to_string()]).collect();
            success(json!({"schema": column("BigInt"), "rows": rows, "row_count": rows.len()}))
        }
        "SELECT late" => {
            success(json!({"schema": column("Time"), "rows": [[1], [86_400_000_000_i64]], "row_count": 2}))
        }
        _ => plain(path, token, body, number),
    }
}

#[test]
fn rows_as_arrow_are_one_stream_and_nothing_else() {
    let server = Server::start(plentiful);
    let written = |args: &[&str]| {
        let output = run(&server.url, args, b"", Some("secret"), Path::new("/nonexistent"));
        (output.status.code(), output.stdout, String::from_utf8(output.stderr).unwrap())
    };
    let script = "INSERT x; \\echo here\n\\timing off\nSELECT many";
    let (code, stream, said) = written(&["--format", "arrow", "-c", script]);
    assert_eq!((code, said.as_str()), (Some(0), "done\nhere\ntiming is off\n"));
    let batches = batches(&stream);
    assert_eq!(batches.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [8192, 8192, 3616]);
    let numbers = batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec());
    assert!(numbers.eq(0..20_000));

    let (code, stream, said) = written(&["--format", "arrow", "-c", "SELECT 1; SELECT 2"]);
    assert_eq!((code, self::batches(&stream).len()), (Some(1), 1), "the first stream is whole");
    assert!(said.contains("holds one result") && said.contains("\\g FILE"), "{said}");
    let (code, _, said) = written(&["--format", "arrow", "-c", "SELECT late"]);
    assert!(code == Some(1) && said.contains("column \"n\": 86400000000 does not fit"), "{said}");
    let (code, _, said) = written(&["--consume", "--topic", "app.events", "--format", "arrow"]);
    assert!(code == Some(1) && said.contains("no form in Arrow"), "{said}");
}

#[test]
fn each_file_takes_a_stream() {
    let server = Server::start(plain);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let script = format!(
        "\\format arrow\nSELECT 1 \\g {}\nSELECT missing \\g {}\n\\copy app.t TO {}\n\\o {}\nSELECT 3;\nSELECT 4;",
        path("a"),
        path("none"),
        path("b.arrows"),
        path("c")
    );
    let outcome = highwater(&server.url, &[], &script);
    assert!(outcome.code == 1 && outcome.err.contains("stdin:7:") && outcome.out.is_empty(), "{}", outcome.err);
    for name in ["a", "b.arrows", "c"] {
        let batches = batches(&std::fs::read(path(name)).unwrap());
        assert_eq!(batches[0].column(0).as_primitive::<Int64Type>().values(), &[7], "{name}");
    }
    let empty = std::fs::read(path("none")).unwrap();
    assert_eq!(StreamReader::try_new(empty.as_slice(), None).unwrap().schema().field(0).name(), "n");
    assert!(batches(&empty).is_empty());
}
