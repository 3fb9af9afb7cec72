//! What holds for every text: no panic, no endless recursion, a place inside the text, and no meaning in case and spacing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::disallowed_methods)]

mod support;

use highwater_sql::access::authorize;
use highwater_sql::bind::{BindContext, bind};
use highwater_sql::catalog::{Catalog, Role};
use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::limits;
use highwater_sql::parse::parse;
use highwater_sql::plan::Bound;
use quickcheck::{Arbitrary, Gen, QuickCheck};
use support::{fixture, show};

const GOLDEN: &[&str] = &[
    include_str!("golden/expressions.txt"),
    include_str!("golden/keys.txt"),
    include_str!("golden/queries.txt"),
    include_str!("golden/writes.txt"),
    include_str!("golden/definitions.txt"),
    include_str!("golden/topics.txt"),
    include_str!("golden/users.txt"),
    include_str!("golden/errors.txt"),
    include_str!("golden/not_supported.txt"),
];

/// Every text of the golden files.
fn texts() -> Vec<&'static str> {
    GOLDEN.iter().flat_map(|file| file.split("\n====\n")).filter_map(|case| case.split("\n----\n").next()).collect()
}

fn outcome(sql: &str, catalog: &Catalog) -> Result<Vec<Bound>, Diag> {
    let context = BindContext { catalog, namespace: "app", user: "alice", role: Role::User };
    parse(sql)?.iter().map(|statement| bind(statement, &context)).collect()
}

/// Parses, binds and asks for rights; whatever is said has a place inside the text.
fn survives(sql: &str, catalog: &Catalog) {
    match outcome(sql, catalog) {
        Ok(bounds) => {
            for bound in bounds {
                let _ = authorize(&bound, Role::User, "alice", catalog);
            }
        }
        Err(diag) => {
            assert!(!diag.message.is_empty());
            assert!(diag.suggestions.len() <= 5, "{diag:?}");
            if let Some(span) = diag.span {
                let characters = u32::try_from(sql.chars().count()).unwrap();
                assert!(span.start <= span.end && span.end <= characters, "{span:?} is not inside {sql:?}: {diag}");
            } else {
                assert!(sql.len() > limits::MAX_TEXT_BYTES, "no place in {sql:?}: {diag:?}");
            }
        }
    }
}

/// The same text in another case and with other white space, strings and quoted names left alone.
fn respaced(sql: &str, g: &mut Gen) -> String {
    let mut out = String::new();
    let mut quote: Option<char> = None;
    let mut characters = sql.chars().peekable();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some(open), other) => {
                out.push(other);
                if open == other {
                    if other == '$' && characters.next_if_eq(&'$').is_some() {
                        out.push('$');
                        quote = None;
                    } else if other != '$' {
                        quote = None;
                    }
                }
            }
            (None, '\'' | '"') => {
                quote = Some(character);
                out.push(character);
            }
            (None, '$') if characters.peek() == Some(&'$') => {
                characters.next();
                quote = Some('$');
                out.push_str("$$");
            }
            (None, ' ' | '\n') => out
                .push_str(g.choose(&[" ", "\t", "\r\n", "  ", " -- note; '\n", " /* a /* b */ ; */ ", "\n"]).unwrap()),
            (None, ',' | '(' | ')') => {
                let spaced = [format!(" {character} "), character.to_string()];
                out.push_str(g.choose(&spaced).unwrap());
            }
            (None, other) if bool::arbitrary(g) => out.extend(other.to_uppercase()),
            (None, other) => out.extend(other.to_lowercase()),
        }
    }
    out
}

#[derive(Clone, Debug)]
struct Respaced(&'static str, String);

impl Arbitrary for Respaced {
    fn arbitrary(g: &mut Gen) -> Self {
        let texts = texts();
        let sql = *g.choose(&texts).unwrap();
        Self(sql, respaced(sql, g))
    }
}

#[test]
fn case_and_spacing_of_keywords_mean_nothing() {
    let catalog = fixture::catalog();
    let mut checked = 0;
    let plain = |bounds: Vec<Bound>| -> String {
        bounds
            .iter()
            .map(show::bound)
            .collect::<String>()
            .to_lowercase()
            .split(" text ")
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    let mut g = Gen::new(20);
    for _ in 0..3000 {
        let Respaced(sql, other) = Respaced::arbitrary(&mut g);
        if sql.contains("--") || sql.contains("/*") || sql.contains("' '") {
            continue;
        }
        match (outcome(sql, &catalog), outcome(&other, &catalog)) {
            (Ok(one), Ok(two)) => {
                checked += 1;
                assert_eq!(plain(one), plain(two), "{sql}\n{other}");
            }
            (Err(one), Err(two)) => assert_eq!(one.sqlstate, two.sqlstate, "{sql}\n{other}"),
            (one, two) => panic!("{sql}\n{one:?}\n{other}\n{two:?}"),
        }
    }
    assert!(checked > 500, "only {checked} texts were good ones");
}

/// Words and signs of the dialect in any order.
#[derive(Clone, Debug)]
struct Soup(String);

const WORDS: &[&str] = &[
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP",
    "BY",
    "ORDER",
    "LIMIT",
    "OFFSET",
    "INSERT",
    "INTO",
    "VALUES",
    "UPDATE",
    "SET",
    "DELETE",
    "CREATE",
    "TABLE",
    "USER",
    "SHARED",
    "STREAM",
    "TOPIC",
    "NAMESPACE",
    "ALTER",
    "ADD",
    "DROP",
    "SOURCE",
    "ON",
    "CONSUME",
    "ACK",
    "GROUP",
    "PARTITION",
    "PARTITIONS",
    "UPTO",
    "CLEAR",
    "SHOW",
    "DESCRIBE",
    "EXECUTE",
    "AS",
    "IF",
    "NOT",
    "EXISTS",
    "NULL",
    "PRIMARY",
    "KEY",
    "DEFAULT",
    "CHECK",
    "CASE",
    "WHEN",
    "THEN",
    "ELSE",
    "END",
    "AND",
    "OR",
    "IN",
    "IS",
    "LIKE",
    "BETWEEN",
    "CAST",
    "TRUE",
    "messages",
    "prices",
    "changes",
    "app",
    "system",
    "id",
    "body",
    "room",
    "price",
    "count",
    "sum",
    "now",
    "*",
    ",",
    "(",
    ")",
    ".",
    ";",
    "=",
    "<",
    ">=",
    "<>",
    "+",
    "-",
    "/",
    "||",
    "->",
    "->>",
    "::",
    "'x'",
    "'5'",
    "5",
    "1.5",
    "1e3",
    "$1",
    "$2",
    "$99",
    "\"q\"",
    "?",
    "[",
    "]",
    "{",
    "}",
    "X'00'",
    "E'\\n'",
    "INT",
    "TEXT",
    "DECIMAL(4,2)",
    "INTERVAL",
    "ARRAY",
    "WITH",
    "EXTRACT",
    "TRIM",
    "OVER",
    "FILTER",
    "DISTINCT",
    "UNION",
    "JOIN",
    "é",
    "'ü",
    "/*",
    "*/",
    "--",
    "\n",
];

impl Arbitrary for Soup {
    fn arbitrary(g: &mut Gen) -> Self {
        let length = usize::arbitrary(g) % 30;
        let mut text = String::new();
        if bool::arbitrary(g) {
            let texts = texts();
            text.push_str(g.choose(&texts).unwrap());
            text.push(' ');
        }
        for _ in 0..length {
            text.push_str(g.choose(WORDS).unwrap());
            text.push_str(g.choose(&[" ", "", " "]).unwrap());
        }
        Self(text)
    }

    fn shrink(&self) -> Box<dyn Iterator<Item = Self>> {
        let words: Vec<String> = self.0.split_inclusive(' ').map(str::to_owned).collect();
        Box::new((0..words.len()).map(move |left_out| {
            Self(
                words
                    .iter()
                    .enumerate()
                    .filter(|(index, _)| *index != left_out)
                    .map(|(_, word)| word.as_str())
                    .collect(),
            )
        }))
    }
}

#[test]
fn any_soup_of_words_gives_a_plan_or_a_diagnostic_with_a_place() {
    let catalog = fixture::catalog();
    fn holds(soup: &Soup, catalog: &Catalog) -> bool {
        survives(&soup.0, catalog);
        true
    }
    let mut g = Gen::new(60);
    for _ in 0..10_000 {
        let soup = Soup::arbitrary(&mut g);
        assert!(holds(&soup, &catalog));
    }
}

#[test]
fn any_bytes_give_a_plan_or_a_diagnostic_with_a_place() {
    thread_local! { static CATALOG: Catalog = fixture::catalog(); }
    fn property(bytes: Vec<u8>, text: String) -> bool {
        CATALOG.with(|catalog| {
            survives(&String::from_utf8_lossy(&bytes), catalog);
            survives(&text, catalog);
        });
        true
    }
    QuickCheck::new().tests(5_000).quickcheck(property as fn(Vec<u8>, String) -> bool);
}

#[test]
fn every_prefix_and_every_hole_of_a_statement_survives() {
    let catalog = fixture::catalog();
    for sql in texts() {
        let characters: Vec<char> = sql.chars().collect();
        for cut in (0..characters.len()).step_by(7) {
            survives(&characters[..cut].iter().collect::<String>(), &catalog);
            let hole: String = characters
                .iter()
                .enumerate()
                .filter(|(index, _)| !(cut..cut + 4).contains(index))
                .map(|(_, c)| c)
                .collect();
            survives(&hole, &catalog);
        }
    }
}

#[test]
fn ten_megabytes_are_refused_by_their_size() {
    let sql = "SELECT 1;".repeat(10 << 20 >> 3);
    let diag = parse(&sql).unwrap_err();
    assert_eq!(diag.sqlstate, SqlState::PROGRAM_LIMIT);
    assert!(diag.message.contains("more than the limit of 1048576"), "{diag}");
}

#[test]
fn too_many_statements_are_refused() {
    let diag = parse(&"SELECT 1;".repeat(1_001)).unwrap_err();
    assert_eq!(diag.sqlstate, SqlState::PROGRAM_LIMIT);
    assert_eq!(parse(&"SELECT 1;".repeat(1_000)).unwrap().len(), 1_000);
}

/// Runs on a stack as small as an executor's could be.
fn on_a_small_stack(work: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(256 << 10).spawn(work).unwrap().join().unwrap();
}

#[test]
fn nothing_nested_or_chained_overflows_a_small_stack() {
    on_a_small_stack(|| {
        let catalog = fixture::catalog();
        for depth in [49, 110, 290, 990, 10_000] {
            let around = |open: &str, inside: &str, close: &str| {
                format!("{}{inside}{}", open.repeat(depth), close.repeat(depth))
            };
            let texts = [
                around("(", "1", ")"),
                around("NOT ", "true", ""),
                around("NOT (", "true", ")"),
                around("- ", "likes", ""),
                around("+ ", "likes", ""),
                around("CASE WHEN true THEN ", "1", " END"),
                around("coalesce(", "1", ")"),
                around("CAST(", "1", " AS INT)"),
                around("(1 + ", "1", ")"),
                around("(SELECT ", "1", ")"),
                around("ARRAY[", "1", "]"),
                around("[", "1", "]"),
                around("{", "1", "}"),
                around("1 IN (", "1", ")"),
                around("EXISTS (SELECT ", "1", ")"),
                around("INTERVAL ", "1", ""),
                around("likes + ", "1", ""),
                around("likes = ", "1", ""),
                around("body || ", "'x'", ""),
                around("true AND ", "true", ""),
                around("likes = 1 OR ", "true", ""),
                around("likes IN (1) AND likes BETWEEN 1 AND ", "2", ""),
                around("", "1", "::INT"),
                around("", "true", " IS NULL"),
                around("", "true", " IS NOT TRUE"),
                around("", "body", " COLLATE x"),
                around("", "body", "[1]"),
                around("", "body", ".a"),
                around("", "extra", " -> 'a'"),
                around("", "body", " LIKE 'a'"),
                around("", "body", " NOTNULL"),
                around("", "body", " AT TIME ZONE 'x'"),
                around("1 UNION SELECT ", "1", ""),
                around("CASE 1 WHEN 1 THEN 2 ELSE ", "1", " END"),
                around("1, ", "1", ""),
            ];
            for text in texts {
                survives(&format!("SELECT {text} FROM messages"), &catalog);
                survives(&format!("SELECT * FROM messages WHERE {text}"), &catalog);
                survives(&format!("INSERT INTO messages (body) VALUES ({text})"), &catalog);
                survives(&format!("UPDATE messages SET likes = {text}"), &catalog);
                survives(&format!("CREATE TABLE t (a INT PRIMARY KEY DEFAULT {text}, CHECK ({text}))"), &catalog);
                survives(
                    &format!("ALTER TOPIC changes ADD SOURCE messages ON INSERT WHERE {text} PARTITION BY {text}"),
                    &catalog,
                );
            }
            survives(&format!("SELECT * FROM {}", around("(SELECT * FROM ", "messages", ")")), &catalog);
            survives(&format!("SELECT * FROM {}", around("(", "messages", ")")), &catalog);
            survives(&around("EXECUTE AS 'alice' (", "SELECT 1", ")"), &catalog);
            survives(&around("EXPLAIN ", "SELECT 1", ""), &catalog);
            survives(&format!("CREATE TABLE t (a {})", around("ARRAY<", "INT", ">")), &catalog);
            survives(&format!("CREATE TABLE t (a INT{})", "[]".repeat(depth)), &catalog);
        }
    });
}

#[test]
fn long_lists_are_no_depth() {
    on_a_small_stack(|| {
        let catalog = fixture::catalog();
        let numbers: Vec<String> = (0..50_000).map(|number| number.to_string()).collect();
        assert!(outcome(&format!("SELECT body FROM messages WHERE room IN ({})", numbers.join(",")), &catalog).is_ok());
        let rows: Vec<String> = (0..20_000).map(|number| format!("({number},'x')")).collect();
        assert!(outcome(&format!("INSERT INTO messages (room, body) VALUES {}", rows.join(",")), &catalog).is_ok());
        let alternatives: Vec<String> = (0..400).map(|number| format!("room = {number}")).collect();
        assert!(outcome(&format!("SELECT body FROM messages WHERE {}", alternatives.join(" OR ")), &catalog).is_ok());
    });
}
