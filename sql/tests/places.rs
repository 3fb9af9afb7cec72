//! Where errors are: for each statement the words that are marked, and what the hint or the suggested names say.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::disallowed_methods)]

mod support;

use highwater_sql::bind::{BindContext, ParamValue, bind, coerce_params};
use highwater_sql::catalog::{Catalog, Role};
use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::parse::parse;
use support::{caret, fixture};

fn context(catalog: &Catalog) -> BindContext<'_> {
    BindContext { catalog, namespace: "app", user: "root", role: Role::System }
}

/// What binding says against the last statement of a text.
fn error(sql: &str, catalog: &Catalog) -> Diag {
    parse(sql)
        .and_then(|statements| statements.iter().try_for_each(|statement| bind(statement, &context(catalog)).map(drop)))
        .err()
        .unwrap_or_else(|| panic!("{sql} is no error"))
}

/// The characters that a diagnostic marks.
fn marked(sql: &str, diag: &Diag) -> String {
    let span = diag.span.unwrap_or_else(|| panic!("{sql}: {diag} has no place"));
    sql.chars().skip(span.start as usize).take((span.end - span.start) as usize).collect()
}

/// Statement, SQLSTATE, the marked words, and what the hint, the detail or a suggestion holds.
const PLACES: &[(&str, &str, &str, &str)] = &[
    // Types that other systems have.
    ("SELECT 'x'::char(3)", "0A000", "char", "VARCHAR(n)"),
    ("SELECT CAST(likes AS tinyint) FROM messages", "0A000", "tinyint", "SMALLINT"),
    ("SELECT body::blob FROM messages", "0A000", "blob", "BYTES"),
    ("SELECT 1::int(11)", "0A000", "int", "without a width"),
    ("SELECT 'x'::timestamp(3)", "0A000", "timestamp", "microseconds"),
    ("CREATE TABLE t (id INT PRIMARY KEY, a CHAR(3))", "0A000", "CHAR(3)", "VARCHAR(n)"),
    ("SELECT 'x'::uid", "42704", "uid", "UUID"),
    // Names and words.
    ("SELECT now() AT TIME ZONE 'Europe/Berln'", "22023", "'Europe/Berln'", "Europe/Berlin"),
    ("SELECT encode(raw, 'bas64') FROM ids", "22023", "'bas64'", "base64"),
    ("SELECT a.b.c.d FROM messages", "42601", "a.b.c.d", "namespace.table.column"),
    ("SELECT 1 FROM messages set", "42601", "set", "AS"),
    ("UPDATE messages set SET likes = 1", "42601", "set", "AS"),
    ("SELECT m.set FROM messages m", "42703", "set", ""),
    // Clauses.
    ("SELECT body FROM messages WHERE likes BETWEEN SYMMETRIC 3 AND 1", "0A000", "SYMMETRIC", "least(a, b)"),
    ("SELECT body FROM messages ORDER BY 2", "42P10", "2", ""),
    ("SELECT CASE WHEN likes > 1 THEN 1 ELSE 2 FROM messages", "42601", "FROM", "value END"),
    ("SELECT CASE likes WHEN 1 FROM messages", "42601", "FROM", "THEN value"),
    ("SELECT body FROM messages LIMIT 3 FETCH FIRST 2 ROWS ONLY", "0A000", "2", "one of them"),
    ("SELECT body FROM messages FETCH FIRST 2 ROWS WITH TIES", "0A000", "2", ""),
    ("SELECT sum(likes) OVER (ORDER BY id ROWS BETWEEN CURRENT ROW AND 1 PRECEDING) FROM messages", "42P20", "1", ""),
    ("SELECT sum(likes) OVER (GROUPS CURRENT ROW) FROM messages", "42P20", "sum", ""),
    (
        "INSERT INTO prices VALUES ('a') ON CONFLICT DO UPDATE SET price = 1",
        "42601",
        "price = 1",
        "ON CONFLICT (region, sku, day)",
    ),
    ("INSERT INTO events VALUES (now()) ON CONFLICT (at) DO UPDATE SET kind = 'x'", "0A000", "kind = 'x'", "NOTHING"),
    ("ALTER TABLE messages ADD COLUMN s SERIAL", "0A000", "SERIAL", ""),
    // Whose rows they are.
    ("EXECUTE AS 'alice' (SELECT 1 FROM messages JOIN prices p ON true)", "0A000", "prices", "leave EXECUTE AS away"),
    ("EXECUTE AS 'alice' (SELECT * FROM system.tables)", "0A000", "system.tables", ""),
    ("EXECUTE AS 'alice' (UPDATE prices SET note = 'x')", "0A000", "prices", "leave EXECUTE AS away"),
    ("EXECUTE AS 'alice' (INSERT INTO prices (note) VALUES ('x'))", "0A000", "prices", "leave EXECUTE AS away"),
    ("EXECUTE AS 'alice' (DELETE FROM prices WHERE region = 'x')", "0A000", "prices", "leave EXECUTE AS away"),
    // Groups.
    (
        "SELECT room, (SELECT max(p.sku) FROM prices p WHERE p.sku = m.likes) FROM messages m GROUP BY room",
        "42803",
        "SELECT",
        "sees the groups",
    ),
    ("SELECT room, sum(likes) OVER () FROM messages GROUP BY room", "42803", "sum", ""),
    ("SELECT 1 FROM messages m WHERE 1 < (SELECT sum(m.likes))", "0A000", "sum", "in the outer query"),
    ("SELECT sum((SELECT max(m.likes))) FROM messages m", "0A000", "max", "in the outer query"),
    ("SELECT (SELECT sum(m.likes) + m.room) FROM messages m", "42803", "SELECT", "sees the groups"),
    ("SELECT (SELECT sum((SELECT m.likes)) FROM prices) FROM messages m", "0A000", "sum", "in the outer query"),
    // Subqueries where one row is all there is.
    ("UPDATE messages SET likes = 1 RETURNING (SELECT max(skew) FROM prices)", "42703", "skew", ""),
    ("CREATE TABLE t (id INT PRIMARY KEY, CHECK (id > (SELECT 1)))", "0A000", "SELECT", "one row"),
    // Several statements: places are those of the whole text.
    ("SELECT 1; SELECT 'é'; SELECT 1::char", "0A000", "char", "VARCHAR(n)"),
];

#[test]
fn an_error_marks_the_words_that_are_wrong() {
    let catalog = fixture::catalog();
    for (sql, state, words, says) in PLACES {
        let diag = error(sql, &catalog);
        let shown = caret::draw(sql, &diag);
        assert_eq!((diag.sqlstate.as_str(), marked(sql, &diag).as_str()), (*state, *words), "{shown}");
        let texts = [&diag.hint, &diag.detail].into_iter().flatten().chain(&diag.suggestions);
        assert!(
            says.is_empty() || texts.into_iter().any(|text| text.contains(says)),
            "\"{says}\" is not said:\n{shown}"
        );
    }
}

/// PostgreSQL's rules of where a recursive query may name itself: the marked words, or "" where it may.
const RECURSION: &[(&str, &str)] = &[
    ("SELECT n + 1 FROM t WHERE n < 9", ""),
    ("SELECT n FROM t WHERE n IN (SELECT room FROM messages)", ""),
    ("SELECT x.n FROM (SELECT n FROM t) x", ""),
    ("SELECT t.n FROM t LEFT JOIN messages ON true", ""),
    ("SELECT t.n FROM messages RIGHT JOIN t ON true", ""),
    ("(SELECT n FROM t EXCEPT SELECT 1)", ""),
    ("(SELECT 1 INTERSECT SELECT n FROM t)", ""),
    ("SELECT n FROM t GROUP BY n", ""),
    (
        "SELECT (WITH RECURSIVE u AS (SELECT 1 AS k UNION SELECT k + 1 FROM u WHERE k < 3) SELECT max(k) FROM u) FROM t",
        "",
    ),
    ("SELECT n + 1 FROM t WHERE n < (SELECT 1 FROM t)", "t"),
    ("SELECT 2 WHERE 1 IN (SELECT n FROM t)", "t"),
    ("SELECT 2 WHERE EXISTS (SELECT 1 FROM (SELECT n FROM t) x)", "t"),
    ("SELECT (SELECT n FROM t)", "t"),
    ("SELECT a.n FROM t a, t b", "t"),
    ("SELECT 1 FROM messages LEFT JOIN t ON true", "t"),
    ("SELECT 1 FROM messages LEFT JOIN (SELECT n FROM t) x ON true", "t"),
    ("SELECT 1 FROM t RIGHT JOIN messages ON true", "t"),
    ("SELECT 1 FROM messages FULL JOIN t ON true", "t"),
    ("(SELECT 1 EXCEPT SELECT n FROM t)", "t"),
    ("(SELECT n FROM t EXCEPT ALL SELECT 1)", "t"),
    ("(SELECT 1 INTERSECT ALL SELECT n FROM t)", "t"),
    ("SELECT max(n) FROM t", "max"),
    ("SELECT n FROM t GROUP BY n HAVING count(*) > 1", "count(*) > 1"),
];

#[test]
fn a_recursive_query_names_itself_where_rounds_only_add_rows() {
    let catalog = fixture::catalog();
    for (step, words) in RECURSION {
        let sql = format!("WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL {step}) SELECT * FROM t");
        if words.is_empty() {
            bind(&parse(&sql).unwrap()[0], &context(&catalog)).unwrap_or_else(|diag| panic!("{sql}: {diag}"));
        } else {
            let diag = error(&sql, &catalog);
            let found = (diag.sqlstate, marked(&sql, &diag));
            assert_eq!(found, (SqlState::INVALID_RECURSION, (*words).to_owned()), "{}", caret::draw(&sql, &diag));
        }
    }
}

#[test]
fn an_aggregate_of_a_subquery_that_looks_at_nothing_is_one_of_its_own_query() {
    let catalog = fixture::catalog();
    let sql = "SELECT sum((SELECT 1)), (SELECT sum(m.likes + p.sku) FROM prices p) FROM messages m GROUP BY likes";
    bind(&parse(sql).unwrap()[0], &context(&catalog)).unwrap_or_else(|diag| panic!("{}", caret::draw(sql, &diag)));
}

#[test]
fn a_parameters_value_is_refused_where_the_parameter_stands_first() {
    let catalog = fixture::catalog();
    let number = |digits: &str| ParamValue::Number(digits.to_owned());
    let text = |text: &str| ParamValue::Text(text.to_owned());
    for (sql, params, state, words, from) in [
        ("SELECT 'ü', $2::INT + $1::INT, $2", vec![number("1"), text("x")], "22P02", "$2", 12),
        ("SELECT $1::INT, '$1', $2::TEXT /* $3 */ , $3::INT", vec![number("1"), text("x")], "42P02", "$3", 42),
        ("  SELECT body FROM messages WHERE id = $1", vec![text("seven")], "22P02", "$1", 39),
        ("EXECUTE AS 'alice' (SELECT body FROM messages WHERE id = $1)", vec![text("x")], "22P02", "$1", 57),
        ("SELECT $2::INT", Vec::new(), "42P02", "$2", 7),
    ] {
        let statement = &parse(sql).unwrap()[0];
        let bound = bind(statement, &context(&catalog)).unwrap();
        for within in [None, Some(statement.text_span)] {
            let diag = coerce_params(&bound, params.clone(), sql, within).unwrap_err();
            let shown = caret::draw(sql, &diag);
            assert_eq!((diag.sqlstate.as_str(), marked(sql, &diag).as_str()), (state, words), "{shown}");
            assert_eq!(diag.span.unwrap().start, from, "{shown}");
        }
    }
}

#[test]
fn a_parameter_of_one_of_several_statements_is_marked_in_that_one() {
    let catalog = fixture::catalog();
    let sql = "SELECT '$1'; SELECT $1::INT; SELECT 2 + $1";
    let statement = &parse(sql).unwrap()[2];
    let bound = bind(statement, &context(&catalog)).unwrap();
    let diag = coerce_params(&bound, Vec::new(), sql, Some(statement.text_span)).unwrap_err();
    assert_eq!(diag.span.map(|span| (span.start, span.end)), Some((40, 42)), "{}", caret::draw(sql, &diag));
}

#[test]
fn what_is_there_already_is_marked_at_the_name_that_a_definition_gives() {
    for (sql, state, words) in [
        ("CREATE NAMESPACE app", SqlState::DUPLICATE_NAMESPACE, "app"),
        ("CREATE USER TABLE app.messages (id INT PRIMARY KEY)", SqlState::DUPLICATE_TABLE, "app.messages"),
        ("CREATE TABLE copy AS SELECT 1 AS one", SqlState::DUPLICATE_TABLE, "copy"),
        ("CREATE UNIQUE INDEX by_room ON messages (room)", SqlState::DUPLICATE_TABLE, "by_room"),
        ("CREATE TOPIC app.changes PARTITIONS 4", SqlState::DUPLICATE_OBJECT, "app.changes"),
        ("CREATE USER 'Bob B.' PASSWORD 'a long password'", SqlState::DUPLICATE_OBJECT, "'Bob B.'"),
        ("ALTER TABLE messages RENAME TO prices", SqlState::DUPLICATE_TABLE, "prices"),
    ] {
        let statement = &parse(sql).unwrap()[0];
        let diag = statement.placed(Diag::new(state, "already exists"));
        assert_eq!(marked(sql, &diag), words, "{}", caret::draw(sql, &diag));
        // What else goes wrong has no place there.
        assert_eq!(statement.placed(Diag::new(SqlState::TIMEOUT, "too late")).span, None);
    }
}
