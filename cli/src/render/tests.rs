//! Golden files: what is drawn, as it is drawn. `UPDATE_GOLDEN=1 cargo test -p highwater-cli` rewrites them for review.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use serde_json::json;

use crate::answer::{ErrorBody, StatementResult, TopicMessage};
use crate::args::Format;
use crate::failure::Failure;
use crate::terminal::Style;

use super::*;

const PLAIN: Style = Style { has_colour: false, width: None, height: None };

fn wide(columns: usize) -> Style {
    Style { width: Some(columns), ..PLAIN }
}

fn golden(name: &str, drawn: &[(&str, String)]) {
    let drawn: String =
        drawn.iter().map(|(title, text)| format!("## {title}\n{}\n", text.replace('\x1b', "ESC"))).collect();
    let path = format!("{}/tests/golden/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &drawn).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(drawn, expected, "{path} differs; UPDATE_GOLDEN=1 rewrites it");
}

fn result(value: serde_json::Value) -> StatementResult {
    serde_json::from_value(value).unwrap()
}

fn messages() -> StatementResult {
    result(json!({
        "schema": [
            {"name": "id", "data_type": "BigInt", "index": 0},
            {"name": "body", "data_type": "Text", "index": 1},
            {"name": "price", "data_type": {"Decimal": {"precision": 10, "scale": 2}}, "index": 2},
            {"name": "at", "data_type": "Timestamp", "index": 3},
            {"name": "raw", "data_type": "Bytes", "index": 4},
            {"name": "ok", "data_type": "Boolean", "index": 5},
        ],
        "rows": [
            ["1", "hello", "12.50", 1_795_309_323_000_004_i64, [0, 255, 16], true],
            ["9007199254740993", "line one\nline two, \"quoted\" \u{1b}[31m", "-0.01", null, null, false],
            ["3", "日本語", null, 0, [], null],
            ["4", "", "NaN", 1_500_000, [1], true],
        ],
        "row_count": 4,
    }))
}

fn many_columns() -> StatementResult {
    let schema: Vec<_> =
        (0..9).map(|n| json!({"name": format!("column_{n}"), "data_type": "Text", "index": n})).collect();
    let row: Vec<_> = (0..9).map(|n| format!("value {n} of the row, rather long")).collect();
    result(json!({"schema": schema, "rows": [row], "row_count": 1}))
}

#[test]
fn tables() {
    let empty = result(json!({"schema": [{"name": "id", "data_type": "Int", "index": 0}], "rows": [], "row_count": 0}));
    golden(
        "tables",
        &[
            ("without a terminal", table(&messages(), PLAIN)),
            ("80 columns", table(&messages(), wide(80))),
            ("60 columns", table(&messages(), wide(60))),
            ("colours", table(&messages(), Style { has_colour: true, width: Some(120), height: None })),
            ("no rows", table(&empty, PLAIN)),
            ("no rows and no columns", table(&result(json!({"rows": [], "row_count": 0})), PLAIN)),
            ("many columns, 100 columns wide", table(&many_columns(), wide(100))),
            ("many columns, 40 columns wide", table(&many_columns(), wide(40))),
            ("many columns, 20 columns wide", table(&many_columns(), wide(20))),
        ],
    );
}

#[test]
fn tables_fit_every_terminal() {
    for columns in 20..200 {
        for (result, draw) in [
            (messages(), table as fn(&StatementResult, Style) -> String),
            (many_columns(), table),
            (messages(), boxed),
            (many_columns(), boxed),
        ] {
            let drawn = draw(&result, wide(columns));
            let body = drawn.lines().take_while(|line| !line.starts_with('('));
            for line in body {
                assert!(super::cell::width(line) <= columns, "{columns} columns:\n{drawn}");
            }
        }
    }
}

#[test]
fn expanded_rows() {
    golden(
        "expanded",
        &[
            ("rows as lists", expanded(&messages(), PLAIN)),
            ("narrow terminals cut nothing", expanded(&many_columns(), wide(20))),
        ],
    );
}

fn lines(format: Format, result: &StatementResult) -> String {
    let mut lines = Lines::new(format, "app.t");
    let header = lines.header(&result.schema);
    header + &result.rows.iter().flatten().map(|row| lines.row(row.clone())).collect::<String>()
}

#[test]
fn csv_files() {
    golden("csv", &[("a query", lines(Format::Csv, &messages()))]);
}

#[test]
fn formats_by_line() {
    let twice = result(json!({
        "schema": [{"name": "a|b", "data_type": "Int"}, {"name": "a|b", "data_type": "Text"}],
        "rows": [[1, "x|y\nz"], [null, "\\"]],
    }));
    let drawn = |format| lines(format, &messages()) + "\n" + &lines(format, &twice);
    golden(
        "lines",
        &[
            ("tsv", drawn(Format::Tsv)),
            ("jsonl", drawn(Format::Jsonl)),
            ("insert", drawn(Format::Insert)),
            ("markdown", drawn(Format::Markdown)),
        ],
    );
}

#[test]
fn boxes() {
    let empty = result(json!({"schema": [{"name": "id", "data_type": "Int", "index": 0}], "rows": [], "row_count": 0}));
    golden(
        "boxes",
        &[
            ("without a terminal", boxed(&messages(), PLAIN)),
            ("60 columns", boxed(&messages(), wide(60))),
            ("many columns, 60 columns wide", boxed(&many_columns(), wide(60))),
            ("no rows", boxed(&empty, PLAIN)),
        ],
    );
}

#[test]
fn formats_of_messages() {
    let message: TopicMessage = serde_json::from_value(json!({"topic_id": "app.e", "partition_id": 3, "offset": 12,
        "payload": "aGk=", "key": "k", "timestamp_ms": 0, "user": "ann", "op": "Insert"}))
    .unwrap();
    let drawn = |format: &str| String::from_utf8(MessageFormat::parse(format).unwrap().write(&message)).unwrap();
    assert_eq!(drawn("%t:%P:%o\\t%k=%p %u %O %d 100%%\\n"), "app.e:3:12\tk=hi ann insert 1970-01-01 00:00:00Z 100%\n");
    assert!(MessageFormat::parse("%x").is_err() && MessageFormat::parse("%").is_err());
}

fn error(details: serde_json::Value) -> Box<ErrorBody> {
    Box::new(
        serde_json::from_value(
            json!({"code": "SQL_EXECUTION_ERROR", "message": "column \"nmae\" does not exist", "details": details}),
        )
        .unwrap(),
    )
}

#[test]
fn plans() {
    let ran = json!({"step": "Union all", "ran": "5 rows, 285 bytes, 130 us", "below": [
        {"step": "Join by hash", "key": "m.room = p.sku", "ran": "2 rows, 114 bytes, 106 us in 2 runs", "below": [
            {"step": "Top of a sort by n desc", "ran": "2 rows", "below": [
                {"step": "Read app.m", "access": "all keys", "filter": "(body = 'a\nb')", "ran": "2 rows of 2 read, 25 us"}]},
            {"step": "Read app.p", "ran": "never"}]},
        {"step": "Read app.m", "access": "all keys", "ran": "3 rows, 171 bytes, 4 us"}]});
    let unasked = json!({"step": "Delete from app.m", "access": "lookup of keys (id = 7)"});
    let drawn = |document: &serde_json::Value, style| plan(document, style).unwrap();
    golden(
        "plans",
        &[
            ("what is to be run", drawn(&unasked, PLAIN)),
            ("what was run", drawn(&ran, PLAIN)),
            ("in colour", drawn(&ran, Style { has_colour: true, ..PLAIN })),
        ],
    );
    for other in [json!("text"), json!({"plan": 1}), json!({"step": "a", "below": [{}]})] {
        assert_eq!(plan(&other, PLAIN), None, "{other}");
    }
}

#[test]
fn errors() {
    let drawn = |statement: &str, details: serde_json::Value| {
        failure_text(&Failure::Statement { statement: statement.to_owned(), error: error(details) }, PLAIN)
    };
    let long = format!("SELECT {} nmae, {} FROM t", "'x', ".repeat(40), "'y', ".repeat(40));
    let at = long.find("nmae").unwrap() + 1;
    golden(
        "errors",
        &[
            (
                "a place, a hint",
                drawn(
                    "SELECT nmae FROM t",
                    json!({"sqlstate": "42703", "position": 8, "end": 12, "hint": "did you mean \"name\"?"}),
                ),
            ),
            (
                "details as text",
                drawn(
                    "SELECT nmae FROM t",
                    json!("{\"sqlstate\":\"42703\",\"position\":8,\"end\":12,\"suggestions\":[\"name\",\"names\"]}"),
                ),
            ),
            (
                "the third line",
                drawn(
                    "SELECT 'é日本',\n\t1,\n  日 nmae\nFROM t",
                    json!({"sqlstate": "42703", "position": 23, "end": 27, "detail": "line one\nline two"}),
                ),
            ),
            ("over two lines", drawn("SELECT nmae\nFROM t", json!({"sqlstate": "42703", "position": 8, "end": 16}))),
            ("at the end", drawn("SELECT", json!({"sqlstate": "42601", "position": 7, "end": 7}))),
            ("a long line", drawn(&long, json!({"sqlstate": "42703", "position": at, "end": at + 4}))),
            ("a place that is none", drawn("SELECT 1", json!({"sqlstate": "42703", "position": 99}))),
            ("details that are no JSON", drawn("SELECT 1", json!("Leader: http://n2:2900"))),
            ("no details", drawn("SELECT 1", json!(null))),
            (
                "in colour",
                failure_text(
                    &Failure::Statement {
                        statement: "SELECT nmae".into(),
                        error: error(json!({"sqlstate": "42703", "position": 8, "end": 12, "hint": "h"})),
                    },
                    Style { has_colour: true, ..PLAIN },
                ),
            ),
            (
                "no connection",
                failure_text(
                    &Failure::Connection {
                        message: "no answer from http://127.0.0.1:2900: Connection refused".into(),
                        hint: Some("is highwaterd running there? --url names another server".into()),
                    },
                    PLAIN,
                ),
            ),
        ],
    );
}

#[test]
fn no_place_is_too_strange() {
    for statement in ["", "\n", "日本\n語", "SELECT 1"] {
        for position in 0..12 {
            for end in 0..14 {
                let details = json!({"position": position, "end": end});
                failure_text(&Failure::Statement { statement: statement.into(), error: error(details) }, PLAIN);
            }
        }
    }
}

#[test]
fn topic_messages() {
    let message = |payload: &str, key: Option<&str>, user: Option<&str>| -> TopicMessage {
        serde_json::from_value(
            json!({"topic_id": "app.events", "partition_id": 3, "offset": 12, "payload": payload, "key": key,
            "timestamp_ms": 1_795_309_323_000_i64, "user": user, "op": "Insert"}),
        )
        .unwrap()
    };
    let all = [
        message("eyJpZCI6MTIzNDU2Nzg5MDEyMzQ1Njc4OTAsImEiOjEuMDB9", Some("1"), Some("alice")),
        message("aGVsbG8KdGhlcmU=", None, None),
        message("/////w==", None, Some("bob")),
    ];
    let drawn = |line: &dyn Fn(&TopicMessage) -> String| all.iter().map(line).collect::<String>();
    golden(
        "messages",
        &[
            ("lines", drawn(&|message| message_line(message, PLAIN))),
            ("JSON", drawn(&message_json)),
            ("CSV", message_csv(None) + &drawn(&|message| message_csv(Some(message)))),
        ],
    );
}
