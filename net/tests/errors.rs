//! The book's index of errors says what the code gives, and nothing else.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_types,
    clippy::disallowed_methods
)]

use std::collections::BTreeMap;

use highwater_net::api::{AuthCode, ErrorCode, TopicCode};
use highwater_sql::diag::SqlState;

/// Section, then heading, then the text below it.
fn index() -> BTreeMap<String, BTreeMap<String, String>> {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/errors.md");
    let text = std::fs::read_to_string(page).unwrap();
    let mut index = BTreeMap::<String, BTreeMap<String, String>>::new();
    let (mut section, mut heading) = (String::new(), String::new());
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("## ") {
            section = name.to_owned();
            heading.clear();
        } else if let Some(name) = line.strip_prefix("### ") {
            heading = name.trim_matches('`').to_owned();
            let twice = index.entry(section.clone()).or_default().insert(heading.clone(), String::new());
            assert!(twice.is_none(), "{heading} stands twice in docs/errors.md");
        } else if !heading.is_empty() {
            index.get_mut(&section).unwrap().get_mut(&heading).unwrap().push_str(line);
        }
    }
    index
}

fn check(section: &str, wanted: Vec<(String, String)>) {
    let index = index();
    let mut found = index[section].clone();
    for (heading, start) in wanted {
        let entry = found.remove(&heading).unwrap_or_else(|| panic!("docs/errors.md, {section}: {heading} is missing"));
        assert!(entry.starts_with(&start), "docs/errors.md, {heading}: starts with \"{start}\", not \"{entry:.40}\"");
        assert!(entry.len() > start.len() + 20, "docs/errors.md, {heading}: what it means and what to do is missing");
    }
    assert!(found.is_empty(), "docs/errors.md, {section}: the code never gives {:?}", found.keys());
}

fn word(code: &impl serde::Serialize) -> String {
    serde_json::to_value(code).unwrap().as_str().unwrap().to_owned()
}

#[test]
fn every_sqlstate_is_in_the_index_with_its_answer() {
    let entry = |(name, state): &(&str, SqlState)| {
        let code = ErrorCode::of(*state);
        (format!("{state} {name}"), format!("HTTP {}, `{}`. ", code.status(), code.as_str()))
    };
    check("SQLSTATEs", SqlState::ALL.iter().map(entry).collect());
}

#[test]
fn every_code_is_in_the_index_with_its_status() {
    let statements = ErrorCode::ALL.iter().map(|code| (code.as_str().to_owned(), format!("HTTP {}. ", code.status())));
    check("Codes of statements", statements.collect());
    let logins = AuthCode::ALL.iter().map(|code| (word(code), format!("HTTP {}. ", code.status())));
    check("Codes of logins", logins.collect());
    let topics = TopicCode::ALL.iter().map(|code| (word(code), format!("HTTP {}. ", code.status())));
    check("Codes of topics", topics.collect());
}
