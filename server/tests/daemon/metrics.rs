//! The node's figures: who reads them, what they say, and that every one of them is in the book.
use std::collections::{BTreeMap, BTreeSet};

use crate::running::{PASSWORD, Server};

/// A family of an exposition.
#[derive(Default)]
struct Family {
    kind: String,
    help: String,
    labels: BTreeSet<String>,
    samples: Vec<(String, f64)>,
}

/// Families by the name that samples carry.
fn families(text: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let (mut name, mut help) = (String::new(), String::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (of, text) = rest.split_once(' ').unwrap();
            (name, help) = (of.to_owned(), text.to_owned());
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let kind = rest.split_once(' ').unwrap().1;
            if kind == "counter" {
                name.push_str("_total");
            }
            let family = families.entry(name.clone()).or_default();
            (family.kind, family.help) = (kind.to_owned(), help.clone());
        } else if line != "# EOF" {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            let (of, labels) = sample.split_once('{').unwrap_or((sample, ""));
            assert_eq!(of, name, "a sample outside its family");
            let family = families.get_mut(&name).unwrap();
            let keys = labels.trim_end_matches('}').split("\",").filter_map(|label| label.split_once('='));
            family.labels.extend(keys.map(|(key, _)| key.to_owned()));
            family.samples.push((labels.to_owned(), value.parse().unwrap()));
        }
    }
    families
}

/// A server that has done something of everything. Its third store has no group at all.
fn busy(folder: &std::path::Path) -> (Server, String) {
    let server = Server::start(folder, &["--cores", "2", "--set", "stores=3"]);
    let token = server.login("root", PASSWORD);
    server.sql(&token, "CREATE NAMESPACE app");
    server.sql(&token, "CREATE TABLE app.t (id BIGINT PRIMARY KEY, a TEXT) WITH (TYPE = 'SHARED')");
    server.sql(&token, "INSERT INTO app.t (id, a) VALUES (1, 'x')");
    assert_eq!(server.sql(&token, "SELECT * FROM app.none").status, 400);
    assert_eq!(server.get("/nowhere", &[]).status, 404);
    (server, token)
}

#[test]
fn a_scrape_shows_every_store_and_what_was_asked() {
    let folder = tempfile::tempdir().unwrap();
    let (server, token) = busy(folder.path());
    let (status, kind, text) = server.get_text("/metrics", &[]);
    assert_eq!((status, kind.as_str()), (200, "application/openmetrics-text; version=1.0.0; charset=utf-8"), "{text}");
    assert!(text.ends_with("# EOF\n"));
    let families = families(&text);
    let value = |name: &str, labels: &str| -> f64 {
        let family = families.get(name).unwrap_or_else(|| panic!("{name} is missing in {text}"));
        family.samples.iter().find(|(of, _)| of.contains(labels)).unwrap_or_else(|| panic!("{name} {labels}: {text}")).1
    };
    for store in ["store=\"0\"", "store=\"1\"", "store=\"2\""] {
        assert!(value("highwater_log_segments", store) > 0.0);
    }
    assert!(value("highwater_log_blocks_total", "store=\"0\"") > 0.0);
    assert!(value("highwater_log_bytes_total", "store=\"0\"") >= 4096.0);
    assert_eq!(value("highwater_node_cores", ""), 2.0);
    assert!(value("highwater_process_resident_bytes", "") > 1e6);
    assert_eq!(value("highwater_http_requests_total", "route=\"other\",status=\"404\""), 1.0);
    assert_eq!(value("highwater_sql_statements_total", "kind=\"insert\""), 1.0);
    assert_eq!(value("highwater_sql_failures_total", "sqlstate=\"42P01\""), 1.0);

    // The same samples as rows.
    let sql = "SELECT metric_name, store, kind, unit FROM system.stats WHERE metric_name = 'highwater_log_bytes_total' ORDER BY store";
    let answer = server.sql(&token, sql);
    assert_eq!(answer.status, 200, "{answer:?}");
    let rows = answer.json["results"][0]["rows"].as_array().unwrap();
    let stores: Vec<_> = rows.iter().map(|row| row[1].as_i64().unwrap()).collect();
    assert_eq!(stores, [0, 1, 2]);
    assert_eq!((rows[0][2].as_str(), rows[0][3].as_str()), (Some("counter"), Some("bytes")));
    server.stop();
}

#[test]
fn who_reads_the_metrics_is_a_setting() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &["--set", "http.metrics=login"]);
    assert_eq!(server.get_text("/metrics", &[]).0, 401);
    let root = format!("Bearer {}", server.login("root", PASSWORD));
    assert_eq!(server.get_text("/metrics", &[("authorization", &root)]).0, 200);
    let root = server.login("root", PASSWORD);
    assert_eq!(server.sql(&root, "CREATE USER u WITH PASSWORD 'correct horse' ROLE service").status, 200);
    let user = format!("Bearer {}", server.login("u", "correct horse"));
    assert_eq!(server.get_text("/metrics", &[("authorization", &user)]).0, 403);
    server.stop();
    let server = Server::start(folder.path(), &["--set", "http.metrics=off"]);
    let (status, _, text) = server.get_text("/metrics", &[]);
    assert_eq!(status, 404);
    assert!(text.contains("http.metrics"), "{text}");
    server.stop();
}

/// Run with HIGHWATER_TEST_BLESS=1 to write the table anew.
#[test]
fn the_book_lists_every_metric() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = busy(folder.path());
    let (_, _, text) = server.get_text("/metrics", &[]);
    // The scrape before is counted in the next.
    let (_, _, again) = server.get_text("/metrics", &[]);
    server.stop();
    assert!(again.len() >= text.len());
    let mut table = String::from("| name | kind | labels | what it says |\n|---|---|---|---|\n");
    for (name, family) in families(&again) {
        assert!(name.starts_with("highwater_"), "{name}");
        let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        table.push_str(&format!("| `{name}` | {} | {} | {} |\n", family.kind, labels.join(", "), family.help));
    }
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let text = std::fs::read_to_string(&page).unwrap();
    let (head, rest) = text.split_once("<!-- metrics -->\n").unwrap();
    let (_, tail) = rest.split_once("<!-- /metrics -->").unwrap();
    let wanted = format!("{head}<!-- metrics -->\n\n{table}\n<!-- /metrics -->{tail}");
    if std::env::var_os("HIGHWATER_TEST_BLESS").is_some() {
        std::fs::write(&page, &wanted).unwrap();
    }
    let text = std::fs::read_to_string(&page).unwrap();
    assert!(
        text == wanted,
        "docs/metrics.md is not up to date: HIGHWATER_TEST_BLESS=1 cargo test -p highwater-server --test daemon the_book"
    );
}
