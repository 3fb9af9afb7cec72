//! Statements and what becomes of them, as data: `tests/golden/*.txt` hold a text each, then the bound plan or the diagnostic
//! with its caret. `HIGHWATER_REWRITE=1 cargo test -p highwater-sql --test golden` rewrites the files, to be reviewed as a
//! diff.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::disallowed_methods)]

mod support;

use highwater_sql::bind::{BindContext, bind};
use highwater_sql::catalog::{Catalog, Role};
use highwater_sql::diag::Diag;
use highwater_sql::parse::parse;
use support::{caret, fixture, show};

const FILES: &[&str] = &[
    "cluster",
    "definitions",
    "errors",
    "expressions",
    "keys",
    "not_supported",
    "queries",
    "show",
    "topics",
    "users",
    "writes",
];

/// The answer for one text.
fn answer(sql: &str, catalog: &Catalog) -> String {
    let context = BindContext { catalog, namespace: "app", user: "root", role: Role::System };
    let outcome = parse(sql).and_then(|statements| {
        statements.iter().map(|statement| bind(statement, &context)).collect::<Result<Vec<_>, Diag>>()
    });
    match outcome {
        Ok(bounds) => bounds.iter().map(show::bound).collect::<Vec<_>>().join("\n"),
        Err(diag) => caret::draw(sql, &diag),
    }
}

#[test]
fn every_statement_of_the_golden_files_binds_to_what_they_say() {
    let catalog = fixture::catalog();
    let rewrite = std::env::var_os("HIGHWATER_REWRITE").is_some();
    let mut wrong = Vec::new();
    for file in FILES {
        let path = format!("{}/tests/golden/{file}.txt", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).unwrap();
        let mut rewritten = String::new();
        for case in text.split("\n====\n").filter(|case| !case.trim().is_empty()) {
            let (sql, expected) = case.split_once("\n----\n").unwrap_or((case, ""));
            let sql = sql.trim_matches('\n');
            let found = answer(sql, &catalog);
            if found.trim_end() != expected.trim_end() && !rewrite {
                wrong.push(format!("{file}: {sql}\n--- expected\n{}\n--- found\n{found}", expected.trim_end()));
            }
            rewritten.push_str(&format!("{sql}\n----\n{}\n====\n", found.trim_end()));
        }
        if rewrite {
            std::fs::write(&path, rewritten).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{} answers differ:\n\n{}", wrong.len(), wrong.join("\n\n"));
}

/// The ```sql blocks of a page of the book.
fn examples(page: &str) -> Vec<&str> {
    page.split("```sql\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

#[test]
fn the_examples_of_the_book_bind() {
    for page in [include_str!("../../docs/sql.md"), include_str!("../../docs/quick-start.md")] {
        let mut catalog = Catalog::default();
        for block in examples(page) {
            let statements = parse(block).unwrap_or_else(|diag| panic!("{}", caret::draw(block, &diag)));
            for statement in &statements {
                let context = BindContext { catalog: &catalog, namespace: "app", user: "root", role: Role::System };
                let bound = bind(statement, &context).unwrap_or_else(|diag| panic!("{}", caret::draw(block, &diag)));
                fixture::perform(bound.plan, &mut catalog);
            }
        }
    }
}
