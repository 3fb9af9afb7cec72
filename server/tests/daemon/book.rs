//! The examples of docs/http.md and docs/transactions.md, run in their order on one server each.
//!
//! A block `http` is a request: its first line, headers, an empty line, a body. A block `json` behind it is what is answered: the
//! fields that it has must be there with these values; `"..."` stands for any value, and as the last item of a list for more items.
//! `$TOKEN` and `$REFRESH` stand for the tokens of the last login, `$SESSION` for the last session, `$ROOT` for root's password.
use crate::running::{Answer, PASSWORD, Server};
use serde_json::Value;

struct Example {
    line: usize,
    request: String,
    answer: Option<String>,
}

fn examples(text: &str) -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    let (mut block, mut kind) = (String::new(), None);
    let mut is_next = false;
    for (at, line) in text.lines().enumerate() {
        match (line.strip_prefix("```"), kind.clone()) {
            (Some(word), None) => {
                kind = Some(word.to_owned());
                block.clear();
            }
            (Some(_), Some(word)) => {
                if word == "http" {
                    examples.push(Example { line: at, request: block.clone(), answer: None });
                    is_next = true;
                } else if word == "json" && is_next {
                    examples.last_mut().unwrap().answer = Some(block.clone());
                    is_next = false;
                }
                kind = None;
            }
            (None, Some(_)) => {
                block.push_str(line);
                block.push('\n');
            }
            (None, None) => {}
        }
        if kind.is_none() && line.starts_with('#') {
            is_next = false;
        }
    }
    examples
}

fn send(server: &Server, request: &str) -> Answer {
    let (head, body) = request.split_once("\n\n").unwrap_or((request.trim_end(), ""));
    let mut lines = head.lines();
    let (method, path) = lines.next().unwrap().split_once(' ').unwrap();
    let headers: Vec<(&str, &str)> = lines.map(|line| line.split_once(": ").unwrap()).collect();
    match method {
        "GET" => server.get(path, &headers),
        "POST" => server.post(path, &headers, body.trim().as_bytes()),
        other => panic!("an example with {other}"),
    }
}

/// Whether what was answered is what the book says.
fn fits(wanted: &Value, found: &Value) -> bool {
    match (wanted, found) {
        (Value::String(any), _) if any == "..." => true,
        (Value::Object(wanted), Value::Object(found)) => {
            wanted.iter().all(|(name, value)| found.get(name).is_some_and(|found| fits(value, found)))
        }
        (Value::Array(wanted), Value::Array(found)) => match wanted.split_last() {
            Some((Value::String(more), first)) if more == "..." => {
                first.len() <= found.len() && first.iter().zip(found).all(|(wanted, found)| fits(wanted, found))
            }
            Some(_) | None => {
                wanted.len() == found.len() && wanted.iter().zip(found).all(|(wanted, found)| fits(wanted, found))
            }
        },
        (wanted, found) => wanted == found,
    }
}

#[test]
fn the_examples_of_the_http_page_do_what_it_says() {
    run_page("http.md", 10);
}

#[test]
fn the_examples_of_the_page_on_transactions_do_what_it_says() {
    run_page("transactions.md", 8);
}

/// Runs the examples of a page, of which there must be so many.
fn run_page(page: &str, at_least: usize) {
    let name = format!("docs/{page}");
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(page);
    let text = std::fs::read_to_string(page).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let (mut token, mut refresh, mut session) = (String::new(), String::new(), String::new());
    let examples = examples(&text);
    assert!(examples.len() >= at_least, "{} examples", examples.len());
    for example in examples {
        let filled = |text: &str| {
            let text = text.replace("$TOKEN", &token).replace("$REFRESH", &refresh).replace("$SESSION", &session);
            text.replace("$ROOT", PASSWORD)
        };
        let answer = send(&server, &filled(&example.request));
        if let Some(wanted) = &example.answer {
            let wanted: Value = serde_json::from_str(&filled(wanted))
                .unwrap_or_else(|error| panic!("{name}, example before line {}: {error}", example.line + 1));
            assert!(fits(&wanted, &answer.json), "{name}, line {}: answered {answer:#?}", example.line + 1);
        } else {
            assert!(answer.status < 300, "{name}, line {}: answered {answer:?}", example.line + 1);
        }
        if let Some(new) = answer.json["session_id"].as_str() {
            session = new.to_owned();
        }
        if let Some(new) = answer.json["access_token"].as_str() {
            token = new.to_owned();
            refresh = answer.json["refresh_token"].as_str().unwrap().to_owned();
        }
    }
}
