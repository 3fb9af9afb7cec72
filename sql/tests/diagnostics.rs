//! Errors that a person can make: each says where it is, and a name that is nearly right is named.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::disallowed_methods)]

mod support;

use std::collections::BTreeMap;

use highwater_sql::bind::{BindContext, bind};
use highwater_sql::catalog::{Catalog, Role};
use highwater_sql::diag::Diag;
use highwater_sql::parse::parse;
use support::{caret, fixture};

/// Sentences of errors that have no place in a text but all of it, and why.
const PLACELESS: &[(&str, &str)] =
    &[("the type of an empty array is not known", "ARRAY[] without elements has no place in sqlparser's tree")];

/// The statements of the golden and run files, in order, with a catalog in which they can be bound.
fn statements() -> Vec<(String, Catalog)> {
    let mut all = Vec::new();
    for folder in ["golden", "run"] {
        let mut files: Vec<_> = std::fs::read_dir(format!("{}/tests/{folder}", env!("CARGO_MANIFEST_DIR")))
            .unwrap()
            .map(|file| file.unwrap().path())
            .collect();
        files.sort();
        for file in files {
            let text = std::fs::read_to_string(file).unwrap();
            let mut catalog = fixture::catalog();
            for case in text.split("\n====\n").filter(|case| !case.trim().is_empty()) {
                let sql = case.split_once("\n----\n").unwrap().0.trim_matches('\n').to_owned();
                all.push((sql.clone(), catalog.clone()));
                if folder == "run" && sql.starts_with("CREATE TABLE") {
                    let context = BindContext { catalog: &catalog, namespace: "app", user: "root", role: Role::System };
                    if let Ok(bound) = parse(&sql).and_then(|statements| bind(&statements[0], &context)) {
                        fixture::perform(bound.plan, &mut catalog);
                    }
                }
            }
        }
    }
    all
}

/// What binding says against a text.
fn error(sql: &str, catalog: &Catalog) -> Option<Diag> {
    let context = BindContext { catalog, namespace: "app", user: "root", role: Role::System };
    parse(sql)
        .and_then(|statements| statements.iter().try_for_each(|statement| bind(statement, &context).map(drop)))
        .err()
}

/// Words of a text outside quotes: from where to where, in bytes.
fn words(sql: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut quote = None;
    let mut start = None;
    for (at, character) in sql.char_indices().chain([(sql.len(), ' ')]) {
        match (quote, character) {
            (Some(open), _) => {
                if character == open {
                    quote = None;
                }
            }
            (None, '\'' | '"') => quote = Some(character),
            (None, _) => {}
        }
        let is_word = quote.is_none() && (character.is_ascii_alphanumeric() || character == '_');
        match start {
            None if is_word && character.is_ascii_alphabetic() => start = Some(at),
            Some(from) if !is_word => {
                found.push((from, at));
                start = None;
            }
            _ => {}
        }
    }
    found
}

/// Whether nothing is marked, or all of a text of several words, which says no more.
fn without_place(sql: &str, diag: &Diag) -> bool {
    let is_all = |from: u32, to: u32| {
        let marked: String = sql.chars().skip(from as usize).take((to - from) as usize).collect();
        words(sql).len() > 3 && marked.trim() == sql.trim()
    };
    diag.span.is_none_or(|span| is_all(span.start, span.end))
        && !PLACELESS.iter().any(|(sentence, _)| diag.message.contains(sentence))
}

#[test]
fn every_error_of_the_golden_files_has_a_place() {
    let mut without = Vec::new();
    for (sql, catalog) in statements() {
        if let Some(diag) = error(&sql, &catalog)
            && without_place(&sql, &diag)
        {
            without.push(format!("{sql}\n  {} {}", diag.sqlstate, diag.message));
        }
    }
    assert!(without.is_empty(), "{} errors have no place:\n{}", without.len(), without.join("\n"));
}

#[test]
fn every_error_of_a_misspelt_statement_has_a_place_within_the_text() {
    let mut without: BTreeMap<String, String> = BTreeMap::new();
    let mut errors = 0;
    let mut named = 0;
    for (sql, catalog) in statements() {
        if error(&sql, &catalog).is_some() {
            continue;
        }
        for (from, to) in words(&sql) {
            let word = &sql[from..to];
            let mut changed = vec![
                format!("{}{}{}", &sql[..from], &sql[to..], ""),
                format!("{}{word} {word}{}", &sql[..from], &sql[to..]),
            ];
            if word.len() > 3 {
                changed.push(format!("{}{}{}", &sql[..from], &word[..word.len() - 1], &sql[to..]));
            }
            for changed in changed {
                let Some(diag) = error(&changed, &catalog) else { continue };
                errors += 1;
                named += usize::from(!diag.suggestions.is_empty() || diag.hint.is_some());
                let length = u32::try_from(changed.chars().count()).unwrap();
                let is_within = diag.span.is_none_or(|span| span.start <= span.end && span.end <= length);
                if without_place(&changed, &diag) || !is_within {
                    without.entry(diag.message.clone()).or_insert_with(|| caret::draw(&changed, &diag));
                }
            }
        }
    }
    assert!(errors > 3_000, "{errors} errors, {named} of them with a hint or a name");
    let shown: Vec<&String> = without.values().collect();
    assert!(without.is_empty(), "{} of {errors} errors have no place:\n{shown:#?}", without.len());
}

#[test]
fn a_name_that_is_nearly_right_is_named() {
    let catalog = fixture::catalog();
    for (sql, meant) in [
        ("SELECT boddy FROM messages", "body"),
        ("SELECT m.boddy FROM messages m", "body"),
        ("SELECT body FROM mesages", "messages"),
        ("SELECT body FROM ap.messages", "app"),
        ("SELECT lenght(body) FROM messages", "length"),
        ("SELECT array_lenght(ARRAY[1], 1)", "array_length"),
        ("SELECT cuont(*) FROM messages", "count"),
        ("SELECT '1'::INTT", "INT"),
        ("CREATE TABLE t (id INTEGR PRIMARY KEY)", "INTEGER"),
        ("INSERT INTO messages (bdy) VALUES ('x')", "body"),
        ("UPDATE messages SET likez = 1", "likes"),
        ("DELETE FROM messages WHERE rom = 1", "room"),
        ("SELECT body FROM messages ORDER BY created_att", "created_at"),
        ("SELECT body FROM messages GROUP BY boddy", "body"),
        ("DROP TABLE mesages", "messages"),
        ("CONSUME FROM chnges", "changes"),
        ("ALTER TABLE messages DROP COLUMN likez", "likes"),
        ("CREATE INDEX ON messages (rom)", "room"),
        ("DESCRIBE mesages", "messages"),
        ("SELECT body FROM messages m WHERE n.body = 'x'", "m"),
        ("SELCT 1", "SELECT"),
        ("CREATE TABEL t (id INT PRIMARY KEY)", "TABLE"),
    ] {
        let diag = error(sql, &catalog).unwrap_or_else(|| panic!("{sql} is no error"));
        let says = diag.suggestions.iter().any(|name| name.to_lowercase().contains(&meant.to_lowercase()))
            || diag.hint.as_ref().is_some_and(|hint| hint.contains(meant))
            || diag.message.contains(meant);
        assert!(says && diag.span.is_some(), "{meant} is not named:\n{}", caret::draw(sql, &diag));
    }
}
