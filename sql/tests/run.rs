//! Statements and what they answer, as data: `tests/run/*.txt` hold a text each, then its rows or its diagnostic.
//! A [database in memory](database) stands in for the engine.
//! `HIGHWATER_REWRITE=1 cargo test -p highwater-sql --test run` rewrites the files, to be reviewed as a diff.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::disallowed_methods)]

mod database;
mod often;
mod reach;

use std::collections::BTreeMap;
use std::sync::Arc;

use database::Database;
use highwater_sql::bind::{BindContext, bind};
use highwater_sql::catalog::Role;
use highwater_sql::expr::Expr;
use highwater_sql::order;
use highwater_sql::parse::parse;
use highwater_sql::plan::{From, Plan, QueryPlan, TableAccess};
use highwater_sql::value::DataType;
use quickcheck::{Arbitrary, Gen, quickcheck};

const FILES: &[&str] = &[
    "aggregates",
    "arrays",
    "dialect",
    "expressions",
    "from",
    "functions",
    "grouping_sets",
    "joins",
    "json",
    "keys",
    "queries",
    "recursive",
    "rows",
    "sets",
    "subqueries",
    "windows",
    "writes",
];
#[test]
fn every_statement_of_the_run_files_answers_what_they_say() {
    let rewrite = std::env::var_os("HIGHWATER_REWRITE").is_some();
    let mut wrong = Vec::new();
    for file in FILES {
        let path = format!("{}/tests/run/{file}.txt", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).unwrap();
        let mut database = Database::new();
        let mut rewritten = String::new();
        for case in text.split("\n====\n").filter(|case| !case.trim().is_empty()) {
            let (sql, expected) = case.split_once("\n----\n").unwrap_or((case, ""));
            let sql = sql.trim_matches('\n').trim_end_matches("\n----");
            let found = database.run(sql);
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

/// What the dialect promises from its first release on: each stands in `run/dialect.txt`, with an answer.
const PROMISED: &str = "count sum avg min max stddev_samp stddev_pop var_samp var_pop bool_and bool_or string_agg array_agg DISTINCT FILTER \
    abs ceil floor round trunc mod power sqrt exp ln log sign greatest least length lower upper substring position replace trim ltrim rtrim \
    btrim lpad rpad left right concat concat_ws split_part starts_with LIKE ILIKE regexp_match regexp_replace md5 sha256 encode decode format \
    coalesce nullif CASE CAST IN BETWEEN DISTINCT now date_trunc extract date_part year month day hour minute INTERVAL to_char to_timestamp \
    -> ->> #> #>> ? json_build_object jsonb_set json_agg cosine_distance l2_distance inner_product snowflake_id uuid_v7 ulid current_user \
    current_role BOOLEAN SMALLINT INT BIGINT REAL FLOAT DOUBLE DECIMAL TEXT VARCHAR BYTES BYTEA JSON JSONB DATE TIME TIMESTAMP TIMESTAMPTZ \
    DATETIME INTERVAL UUID TEXT[] EMBEDDING NOW CURRENT_USER SNOWFLAKE_ID UUID_V7 ULID";

#[test]
fn every_function_type_and_default_that_is_promised_has_an_answer() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/run/dialect.txt")).unwrap();
    let answered = text.split("\n====\n").filter_map(|case| case.split_once("\n----\n"));
    let statements: Vec<&str> =
        answered.filter(|(_, answer)| !answer.starts_with("error")).map(|(sql, _)| sql).collect();
    let part = |character: char| !(character.is_alphanumeric() || "_[]".contains(character));
    for promised in PROMISED.split_whitespace() {
        let is_word = promised.starts_with(char::is_alphabetic);
        let stands = |sql: &&str| match is_word {
            true => sql.split(part).any(|word| word == promised),
            false => sql.contains(&format!(" {promised} ")),
        };
        assert!(statements.iter().any(stands), "{promised} has no answer in run/dialect.txt");
    }
}

/// A condition on a key of two columns, as text.
#[derive(Clone, Debug)]
struct Condition(String);

impl Arbitrary for Condition {
    fn arbitrary(g: &mut Gen) -> Self {
        Self(condition(g, 3))
    }
}

fn condition(g: &mut Gen, depth: u8) -> String {
    let number = |g: &mut Gen| {
        (*g.choose(&["0", "1", "2", "3", "4", "-1", "2.5", "NULL", "9999999999", "1 + 1", "'3'"]).unwrap()).to_owned()
    };
    let text = |g: &mut Gen| {
        (*g.choose(&["''", "'a'", "'ab'", "'b'", "'c'", "NULL", "'a' || 'b'", "'é'"]).unwrap()).to_owned()
    };
    let op = |g: &mut Gen| *g.choose(&["=", "<", "<=", ">", ">=", "<>"]).unwrap();
    let choice = u8::arbitrary(g) % if depth == 0 { 6 } else { 10 };
    match choice {
        0 => format!("a {} {}", op(g), number(g)),
        1 => format!("b {} {}", op(g), text(g)),
        2 => format!("a IN ({}, {})", number(g), number(g)),
        3 => format!("b IN ({}, {}, {})", text(g), text(g), text(g)),
        4 => format!("a BETWEEN {} AND {}", number(g), number(g)),
        5 => format!("{} {} b", text(g), op(g)),
        6 => format!("NOT ({})", condition(g, depth - 1)),
        7 => format!("({} OR {})", condition(g, depth - 1), condition(g, depth - 1)),
        _ => format!("({} AND {})", condition(g, depth - 1), condition(g, depth - 1)),
    }
}

fn crossed() -> Database {
    let mut database = Database::new();
    database.run("CREATE TABLE t (a INT, b TEXT, v DECIMAL(10,2), PRIMARY KEY (a, b))");
    for a in -1..5 {
        for b in ["", "a", "ab", "b", "c", "é"] {
            assert_eq!(database.run(&format!("INSERT INTO t (a, b, v) VALUES ({a}, '{b}', {a}.5)")), "1 rows");
        }
    }
    database
}

quickcheck! {
    fn key_ranges_lose_no_row_that_the_condition_wants(condition: Condition) -> bool {
        let mut database = crossed();
        let sql = format!("SELECT a, b FROM t WHERE {}", condition.0);
        let context = BindContext { catalog: &database.catalog, namespace: "app", user: "alice", role: Role::Dba };
        let Ok(bound) = bind(&parse(&sql).unwrap()[0], &context) else { return true };
        let Plan::Query(plan) = bound.plan else { panic!("no query") };
        let ranged = database.query(&plan).map_err(|diag| diag.sqlstate);
        let mut plan = QueryPlan::clone(&plan);
        let From::Table { access, .. } = &mut plan.from else { panic!("no table") };
        *access = TableAccess::Full;
        let full = database.query(&Arc::new(plan)).map_err(|diag| diag.sqlstate);
        // A range may spare an error in a row that it leaves out, never a row.
        full.is_err() || ranged == full
    }
}

#[test]
fn lookups_and_prefixes_visit_only_what_they_name() {
    let mut database = crossed();
    for (condition, visited) in [
        ("a = 2 AND b = 'ab'", 1),
        ("a = 2", 6),
        ("a = 2 AND b >= 'b'", 3),
        ("a IN (1, 3)", 12),
        ("a IN (1, 3) AND b = 'a'", 2),
        ("a > 3", 6),
        ("a = NULL", 0),
        ("a = 2 AND b = NULL", 0),
        ("a > 3 AND a < 2", 0),
        ("b = 'a'", 36),
    ] {
        database.run(&format!("SELECT a FROM t WHERE {condition}"));
        assert_eq!(database.visited.get(), visited, "{condition}");
    }
    database.run("SELECT a FROM t LIMIT 3");
    assert_eq!(database.visited.get(), 3);
}

#[test]
fn what_comes_in_its_order_is_read_up_to_the_limit() {
    let mut database = Database::new();
    database.run("CREATE TABLE big (id INT PRIMARY KEY, room INT NOT NULL, code TEXT UNIQUE, n INT)");
    database.run("CREATE INDEX ON big (room)");
    database.run("CREATE INDEX ON big (n)");
    database.run("CREATE INDEX ON big (room, n)");
    database.run("CREATE TABLE pairs (a INT, b INT, n INT, PRIMARY KEY (a, b))");
    database.run("CREATE INDEX ON pairs (a, n)");
    database.run("CREATE TABLE parts (a INT, b INT, PRIMARY KEY (a, b)) PARTITION BY (a) WITH (type = 'shared')");
    let number = |id: i32| if id % 10 == 0 { "NULL".to_owned() } else { (id % 7).to_string() };
    let rows: Vec<String> = (0..300).map(|id| format!("({id}, {}, 'c{id}', {})", id / 30, number(id))).collect();
    database.run(&format!("INSERT INTO big VALUES {}", rows.join(", ")));
    let rows: Vec<String> = (0..100).map(|id| format!("({}, {}, {})", id / 10, id % 10, 9 - id % 10)).collect();
    database.run(&format!("INSERT INTO pairs VALUES {}", rows.join(", ")));
    let rows: Vec<String> = (0..100).map(|id| format!("({}, {})", id / 10, id % 10)).collect();
    database.run(&format!("INSERT INTO parts VALUES {}", rows.join(", ")));
    for (sql, visited, first) in [
        // The key, forward and backwards.
        ("SELECT id FROM big WHERE id > 200 ORDER BY id LIMIT 3", 3, "201"),
        ("SELECT id FROM big WHERE id < 200 ORDER BY id DESC LIMIT 3", 3, "199"),
        ("SELECT id FROM big ORDER BY id LIMIT 2 OFFSET 5", 7, "5"),
        ("SELECT id FROM big WHERE id % 4 = 3 ORDER BY id DESC LIMIT 2", 5, "299"),
        ("SELECT id FROM big WHERE id IN (9, 4, 7) ORDER BY id LIMIT 2", 2, "4"),
        ("SELECT id FROM big ORDER BY id, n + 1, code DESC LIMIT 1", 1, "0"),
        ("SELECT DISTINCT id FROM big ORDER BY id LIMIT 3", 3, "0"),
        ("SELECT id FROM big ORDER BY id LIMIT 0", 0, ""),
        ("SELECT id FROM big ORDER BY id NULLS FIRST LIMIT 1", 1, "0"),
        ("SELECT a, b FROM pairs WHERE a = 3 ORDER BY b DESC LIMIT 1", 1, "3 | 9"),
        ("SELECT a, b FROM pairs WHERE a = 3 ORDER BY a DESC, b LIMIT 1", 1, "3 | 0"),
        ("SELECT a, b FROM pairs WHERE (a, b) > (3, 8) ORDER BY a, b LIMIT 2", 2, "3 | 9"),
        ("SELECT a, b FROM pairs WHERE (a, b) < (3, 1) ORDER BY a DESC, b DESC LIMIT 2", 2, "3 | 0"),
        ("SELECT a, b FROM pairs WHERE a IN (5, 3) ORDER BY a, b LIMIT 2", 2, "3 | 0"),
        ("SELECT a, b FROM pairs WHERE (a, b, n) >= (3, 8, 1) AND a < 6 ORDER BY a, b LIMIT 2", 2, "3 | 8"),
        ("SELECT room, n FROM big WHERE (room, n, id) > (3, 5, 111) ORDER BY room, n, id LIMIT 2", 4, "3 | 5"),
        // A direction of its own for each column, or a column left out.
        ("SELECT a, b FROM pairs ORDER BY a, b DESC LIMIT 1", 100, "0 | 9"),
        ("SELECT a, b FROM pairs ORDER BY b LIMIT 1", 100, "0 | 0"),
        ("SELECT a, b FROM pairs WHERE a IN (3, 5) ORDER BY b LIMIT 1", 20, "3 | 0"),
        ("SELECT a, b FROM pairs ORDER BY a + 0 LIMIT 1", 100, "0 | 0"),
        // Indexes, with NULLs behind.
        ("SELECT id FROM big WHERE room = 4 ORDER BY id LIMIT 3", 3, "120"),
        ("SELECT n, id FROM big WHERE room = 4 ORDER BY n LIMIT 3", 3, "0 | 126"),
        ("SELECT n, id FROM big WHERE room = 4 ORDER BY n, id LIMIT 3", 3, "0 | 126"),
        ("SELECT n, id FROM big WHERE room = 4 ORDER BY n DESC, id DESC LIMIT 3", 3, "NULL | 140"),
        ("SELECT n, id FROM big WHERE room = 4 ORDER BY n DESC NULLS LAST LIMIT 3", 30, "6 | 125"),
        ("SELECT n, id FROM big WHERE room = 4 AND n < 9 ORDER BY n DESC NULLS LAST LIMIT 1", 1, "6 | 146"),
        ("SELECT id FROM big ORDER BY code LIMIT 2", 2, "0"),
        ("SELECT room, id FROM big ORDER BY room DESC, n DESC LIMIT 1", 1, "9 | 290"),
        ("SELECT room, id FROM big ORDER BY room DESC LIMIT 1", 1, "9 | 299"),
        ("SELECT n, id FROM big WHERE n > 2 ORDER BY n, id LIMIT 1", 1, "3 | 3"),
        ("SELECT n, id FROM big ORDER BY n LIMIT 1", 1, "0 | 7"),
        ("SELECT n, id FROM big ORDER BY n NULLS FIRST LIMIT 1", 300, "NULL | 0"),
        // As much is known of the key, but it gives another order.
        ("SELECT a, b, n FROM pairs WHERE a = 3 ORDER BY n LIMIT 1", 1, "3 | 9 | 0"),
        ("SELECT a, b, n FROM pairs WHERE a = 3 AND b < 9 ORDER BY n LIMIT 1", 9, "3 | 8 | 1"),
        // An index is not read for its order alone where conditions may pass over most of it.
        ("SELECT n, id FROM big WHERE code <> 'c7' ORDER BY n LIMIT 1", 300, "0 | 14"),
        ("SELECT n FROM big ORDER BY n", 300, "0"),
        // Rows of groups, and the first of each value.
        ("SELECT id, count(*) FROM big GROUP BY id ORDER BY id LIMIT 1", 300, "0 | 1"),
        ("SELECT DISTINCT ON (a) a, b FROM pairs ORDER BY a, b LIMIT 1", 100, "0 | 0"),
        // The first or last value.
        ("SELECT max(id), max(id) + 1 FROM big", 1, "299 | 300"),
        ("SELECT min(id) FROM big WHERE id > 7 AND n > 3 HAVING min(id) > 0 ORDER BY 1 LIMIT 1", 4, "11"),
        ("SELECT max(b) FROM pairs WHERE a = 3", 1, "9"),
        ("SELECT max(b) FROM pairs WHERE a = 77", 0, "NULL"),
        ("SELECT min(n) FROM big", 1, "0"),
        ("SELECT max(room) FROM big", 1, "9"),
        ("SELECT max(n) FROM big WHERE room = 4 AND n < 5", 1, "4"),
        ("SELECT max(n) FROM big", 300, "6"),
        ("SELECT min(id), max(id) FROM big", 300, "0 | 299"),
        ("SELECT min(id) FILTER (WHERE n = 3) FROM big", 300, "3"),
        ("SELECT min(a) FROM parts", 100, "0"),
        ("SELECT room, max(id) FROM big GROUP BY room ORDER BY room LIMIT 1", 300, "0 | 29"),
        // Partitions each have an order of their own.
        ("SELECT a, b FROM parts ORDER BY a, b LIMIT 1", 100, "0 | 0"),
        ("SELECT a, b FROM parts WHERE a = 4 ORDER BY b DESC LIMIT 1", 1, "4 | 9"),
        ("SELECT a, b FROM parts WHERE a IN (4, 5) ORDER BY a, b LIMIT 1", 20, "4 | 0"),
        // Per row of another relation, and inside of others.
        ("SELECT (SELECT b FROM pairs WHERE a = id ORDER BY b DESC LIMIT 1) FROM big WHERE id IN (1, 2)", 2 + 2, "9"),
        (
            "SELECT p.n FROM big CROSS JOIN LATERAL (SELECT n FROM pairs WHERE a = id ORDER BY n LIMIT 1) p WHERE id < 3",
            3 + 3,
            "0",
        ),
        ("SELECT id FROM (SELECT id FROM big ORDER BY id DESC LIMIT 4) x ORDER BY id LIMIT 1", 4, "296"),
    ] {
        let answer = database.run(sql);
        assert_eq!(answer.lines().next().unwrap_or_default(), first, "{sql}");
        assert_eq!(database.visited.get(), visited, "{sql}");
    }
}

/// A query in an order, over `t (x, y, a, b)` with the key (x, y).
#[derive(Clone, Debug)]
struct InOrder {
    indexes: Vec<&'static str>,
    condition: String,
    /// Columns with directions, and as they are selected.
    order: String,
    columns: String,
    cut: String,
}

impl Arbitrary for InOrder {
    fn arbitrary(g: &mut Gen) -> Self {
        let pick = |g: &mut Gen, from: &[&'static str]| *g.choose(from).unwrap();
        let all = ["a", "b", "a, b", "b, a", "b, x", "x, a", "UNIQUE a, x, y", "UNIQUE b, y, x"];
        let indexes = all.into_iter().filter(|_| u8::arbitrary(g).is_multiple_of(4)).collect();
        let number = |g: &mut Gen| u8::arbitrary(g) % 4;
        let conditions: Vec<String> = (0..u8::arbitrary(g) % 3)
            .map(|_| {
                let column = pick(g, &["x", "y", "a", "b"]);
                match u8::arbitrary(g) % 6 {
                    0 | 1 => format!("{column} = {}", number(g)),
                    2 => format!("{column} IN ({}, {})", number(g), number(g)),
                    3 => format!("{column} {} {}", pick(g, &["<", "<=", ">", ">="]), number(g)),
                    4 => format!("({column}, y) {} ({}, {})", pick(g, &["<", ">"]), number(g), number(g)),
                    _ => format!("{column} = ANY (ARRAY[{}, {}])", number(g), number(g)),
                }
            })
            .collect();
        let condition = if conditions.is_empty() { "true".into() } else { conditions.join(" AND ") };
        let columns: Vec<&str> = (0..=u8::arbitrary(g) % 3).map(|_| pick(g, &["x", "y", "a", "b"])).collect();
        let both = pick(g, &["", " DESC"]);
        let order: Vec<String> = columns
            .iter()
            .map(|column| {
                let direction = if u8::arbitrary(g).is_multiple_of(6) { pick(g, &["", " DESC"]) } else { both };
                let nulls =
                    if u8::arbitrary(g).is_multiple_of(4) { pick(g, &[" NULLS FIRST", " NULLS LAST"]) } else { "" };
                format!("{column}{direction}{nulls}")
            })
            .collect();
        let cut = match u8::arbitrary(g) % 4 {
            0 => String::new(),
            1 => format!("LIMIT {} OFFSET {}", number(g), number(g)),
            _ => format!("LIMIT {}", u8::arbitrary(g) % 8),
        };
        Self { indexes, condition, order: order.join(", "), columns: columns.join(", "), cut }
    }
}

quickcheck! {
    fn rows_that_come_in_order_are_those_that_are_sorted(query: InOrder, rows: Vec<(Option<u8>, u8)>) -> bool {
        let mut database = Database::new();
        database.run("CREATE TABLE t (x INT, y INT, a INT, b INT NOT NULL, PRIMARY KEY (x, y))");
        for index in &query.indexes {
            let (unique, columns) = index.strip_prefix("UNIQUE ").map_or(("", *index), |columns| ("UNIQUE", columns));
            assert_eq!(database.run(&format!("CREATE {unique} INDEX ON t ({columns})")), "created");
        }
        for (at, (a, b)) in rows.iter().enumerate() {
            let a = a.map_or_else(|| "NULL".to_owned(), |a| (a % 4).to_string());
            database.run(&format!("INSERT INTO t VALUES ({}, {}, {a}, {})", at * 7 % 5, at, b % 4));
        }
        let InOrder { condition, order, columns, cut, .. } = &query;
        let plan_of = |database: &Database, sql: &str| {
            let context = BindContext { catalog: &database.catalog, namespace: "app", user: "alice", role: Role::Dba };
            let Plan::Query(plan) = bind(&parse(sql).unwrap()[0], &context).unwrap().plan else { panic!("no query") };
            plan
        };
        let found = plan_of(&database, &format!("SELECT {columns} FROM t WHERE {condition} ORDER BY {order} {cut}"));
        let mut sorted = QueryPlan::clone(&found);
        let From::Table { access, .. } = &mut sorted.from else { panic!("no table") };
        *access = TableAccess::Full;
        // An expression that is no column is sorted by.
        for key in &mut sorted.order_by {
            let data_type = DataType::Int;
            key.expr = Expr::Cast { expr: Box::new(key.expr.clone()), to: data_type, assignment: false };
        }
        assert_eq!(order::of(&sorted), None);
        let (found, sorted) = (database.query(&found).unwrap(), database.query(&Arc::new(sorted)).unwrap());
        // Of rows that ORDER BY does not tell apart any may be taken, each once.
        let whole = database.run(&format!("SELECT x, y FROM t WHERE {condition}"));
        let taken = database.run(&format!("SELECT x, y FROM t WHERE {condition} ORDER BY {order} {cut}"));
        let distinct: std::collections::BTreeSet<&str> = taken.lines().collect();
        let extreme = |database: &mut Database, call: &str| database.run(&format!("SELECT {call} FROM t WHERE {condition}"));
        let extremes = ["x", "y", "a", "b"].into_iter().flat_map(|column| {
            [format!("min({column}"), format!("max({column}")]
        });
        extremes.into_iter().all(|call| {
            extreme(&mut database, &format!("{call})")) == extreme(&mut database, &format!("{call} + 0)"))
        }) && found == sorted
            && distinct.len() == taken.lines().count()
            && distinct.iter().all(|line| whole.lines().any(|known| known == *line))
    }
}

#[test]
fn joins_and_in_look_few_rows_up_by_key_or_index_and_read_all_where_that_is_less() {
    let mut database = Database::new();
    database.run("CREATE TABLE big (id INT PRIMARY KEY, room INT, code TEXT UNIQUE, n INT)");
    database.run("CREATE INDEX ON big (room, n)");
    database.run("CREATE TABLE few (id INT PRIMARY KEY, big INT, room BIGINT, code TEXT)");
    let rows: Vec<String> = (0..6000).map(|id| format!("({id}, {}, 'c{id}', {})", id / 3, id % 7)).collect();
    database.run(&format!("INSERT INTO big VALUES {}", rows.join(", ")));
    database
        .run("INSERT INTO few VALUES (1, 10, 5, 'c9'), (2, 20, 7, NULL), (3, NULL, 7, 'c1'), (4, 10, 9999, 'none')");
    for (sql, visited, rows) in [
        // Four rows of few, and those that they look up.
        ("SELECT b.id FROM few f JOIN big b ON b.id = f.big", 4 + 2, 3),
        ("SELECT b.id FROM few f JOIN big b ON b.code = f.code", 4 + 2, 2),
        ("SELECT b.id FROM few f JOIN big b ON b.room = f.id", 4 + 12, 12),
        ("SELECT f.id, b.id FROM few f LEFT JOIN big b ON b.room = f.id AND b.n = f.big", 4, 4),
        // Of two, the one that says more.
        ("SELECT b.id FROM few f JOIN big b ON b.code = f.code AND b.room = f.id", 4 + 2, 0),
        // A BIGINT that no INT equals is not looked up.
        ("SELECT b.id FROM few f JOIN big b ON b.room = f.room", 4 + 6, 9),
        ("SELECT b.id FROM few f JOIN big b ON b.room = f.id + 0.5", 4, 0),
        ("SELECT id FROM big WHERE id IN (SELECT big FROM few)", 4 + 2, 2),
        ("SELECT id FROM big WHERE n < 9 AND room IN (SELECT id FROM few WHERE id < 3) ORDER BY id", 2 + 6 + 6, 6),
        ("SELECT id FROM big WHERE (n, room) IN (SELECT id, id FROM few)", 4 + 1, 1),
        ("SELECT id FROM big WHERE code = ANY (SELECT code FROM few)", 4 + 2, 2),
        ("SELECT id FROM big WHERE id IN (SELECT big FROM few WHERE id > 9)", 0, 0),
        ("SELECT count(*) FROM big WHERE id IN (SELECT id FROM big WHERE room < 2) AND code <> 'c0'", 6 + 6, 1),
        // What must not hold says nothing of what is read.
        ("SELECT id FROM big WHERE id NOT IN (SELECT big FROM few)", 4 + 6000, 0),
        ("SELECT id FROM big WHERE id = 3 OR id IN (SELECT big FROM few)", 4 + 6000, 3),
        ("SELECT count(id IN (SELECT big FROM few)) FROM big", 4 + 6000, 1),
        // An index is left when it stands for too many rows.
        ("SELECT count(*) FROM big WHERE room IN (SELECT room FROM big)", 6000 + 4097 + 6000, 1),
        ("SELECT count(*) FROM big WHERE room IN (SELECT room FROM big) AND n < 0", 6000 + 4097 + 6000, 1),
        ("SELECT count(*) FROM big WHERE id IN (SELECT id FROM big)", 6000 + 6000, 1),
    ] {
        let answer = database.run(sql);
        assert!(!answer.starts_with("error"), "{sql}: {answer}");
        assert_eq!(answer.lines().filter(|line| !line.is_empty()).count(), rows, "{sql}: {answer}");
        assert_eq!(database.visited.get(), visited, "{sql}");
    }
}

#[test]
fn column_types_survive_storage() {
    let mut database = Database::new();
    database.run("CREATE TABLE k (id BIGINT PRIMARY KEY, d DECIMAL(10,2), j JSON, t TIMESTAMP, y BYTES)");
    database.run("INSERT INTO k VALUES (1, 1.5, '{ \"a\" : 1 }', '2026-01-02T03:04:05Z', '\\x00ff')");
    assert_eq!(database.run("SELECT * FROM k"), "1 | 1.50 | {\"a\":1} | 2026-01-02 03:04:05 | \\x00ff");
    let table = database.catalog.table("app", "k").unwrap();
    assert_eq!(table.columns[1].data_type, DataType::Decimal { precision: 10, scale: 2 });
}

/// For comparing with other databases: answers the statements of the file that `HIGHWATER_SCRIPT` names, one per line.
#[test]
#[ignore = "a tool: it needs HIGHWATER_SCRIPT"]
fn a_script_is_answered_line_by_line() {
    let script = std::fs::read_to_string(std::env::var("HIGHWATER_SCRIPT").unwrap()).unwrap();
    let mut database = Database::new();
    let answers: Vec<String> = script.lines().map(|line| format!("{}\n====\n", database.run(line))).collect();
    std::fs::write(std::env::var("HIGHWATER_ANSWERS").unwrap(), answers.concat()).unwrap();
}

/// Small rows with NULLs and repeats: `(id, a, b)`.
#[derive(Clone, Debug)]
struct Rows(Vec<(Option<u8>, Option<u8>)>);

impl Arbitrary for Rows {
    fn arbitrary(g: &mut Gen) -> Self {
        let small = |g: &mut Gen| (!u8::arbitrary(g).is_multiple_of(4)).then(|| u8::arbitrary(g) % 4);
        Self((0..usize::arbitrary(g) % 12).map(|_| (small(g), small(g))).collect())
    }
}

impl Rows {
    fn values(&self) -> String {
        let shown = |value: &Option<u8>| value.map_or_else(|| "NULL".to_owned(), |value| value.to_string());
        self.0
            .iter()
            .enumerate()
            .map(|(id, (a, b))| format!("({id}, {}, {})", shown(a), shown(b)))
            .collect::<Vec<_>>()
            .join(", ")
    }

    fn store_as(&self, database: &mut Database, name: &str) {
        database.run(&format!("CREATE TABLE {name} (id INT PRIMARY KEY, a INT, b INT)"));
        if !self.0.is_empty() {
            database.run(&format!("INSERT INTO {name} VALUES {}", self.values()));
        }
    }
}

/// The lines of an answer, in order of their text.
fn lines(answer: &str) -> Vec<String> {
    let mut lines: Vec<String> = answer.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

quickcheck! {
    fn a_join_by_keys_is_the_pairs_that_a_nested_loop_finds(left: Rows, right: Rows, condition: u8) -> bool {
        let mut database = Database::new();
        left.store_as(&mut database, "l");
        right.store_as(&mut database, "r");
        let on = ["l.a = r.a", "l.a = r.id AND l.b < r.b", "l.a = r.b AND r.a = l.b", "l.a + 1 = r.a AND l.b = 2"][usize::from(condition % 4)];
        // IS TRUE keeps the planner from taking the condition apart.
        let pairs = lines(&database.run(&format!("SELECT l.id, r.id FROM l, r WHERE ({on}) IS TRUE")));
        let alone = |one: &str, other: &str| format!(
            "SELECT {} FROM {one} WHERE NOT EXISTS (SELECT 1 FROM {other} WHERE ({on}) IS TRUE)",
            if one == "l" { "l.id, NULL" } else { "NULL, r.id" }
        );
        let (of_left, of_right) = (lines(&database.run(&alone("l", "r"))), lines(&database.run(&alone("r", "l"))));
        let wanted = |parts: &[&Vec<String>]| lines(&parts.iter().flat_map(|part| part.iter().cloned()).collect::<Vec<_>>().join("\n"));
        [
            ("JOIN", wanted(&[&pairs])),
            ("LEFT JOIN", wanted(&[&pairs, &of_left])),
            ("RIGHT JOIN", wanted(&[&pairs, &of_right])),
            ("FULL JOIN", wanted(&[&pairs, &of_left, &of_right])),
        ]
        .iter()
        .all(|(kind, wanted)| lines(&database.run(&format!("SELECT l.id, r.id FROM l {kind} r ON {on}"))) == *wanted)
    }

    fn set_operations_count_rows_as_bags_do(left: Rows, right: Rows) -> bool {
        let mut database = Database::new();
        left.store_as(&mut database, "l");
        right.store_as(&mut database, "r");
        let bag = |rows: &Rows| {
            let mut bag: BTreeMap<String, usize> = BTreeMap::new();
            for (a, b) in &rows.0 {
                let shown = |value: &Option<u8>| value.map_or_else(|| "NULL".to_owned(), |value| value.to_string());
                *bag.entry(format!("{} | {}", shown(a), shown(b))).or_default() += 1;
            }
            bag
        };
        let (l, r) = (bag(&left), bag(&right));
        let count = |bag: &BTreeMap<String, usize>, row: &String| bag.get(row).copied().unwrap_or(0);
        let rows: std::collections::BTreeSet<&String> = l.keys().chain(r.keys()).collect();
        let model = |times: &dyn Fn(usize, usize) -> usize| {
            let mut all = Vec::new();
            for row in &rows {
                all.extend(std::iter::repeat_n((*row).clone(), times(count(&l, row), count(&r, row))));
            }
            all.sort();
            all
        };
        let once = |holds: bool| usize::from(holds);
        [
            ("UNION", model(&|l, r| once(l + r > 0))),
            ("UNION ALL", model(&|l, r| l + r)),
            ("INTERSECT", model(&|l, r| once(l > 0 && r > 0))),
            ("INTERSECT ALL", model(&|l, r| l.min(r))),
            ("EXCEPT", model(&|l, r| once(l > 0 && r == 0))),
            ("EXCEPT ALL", model(&|l, r| l.saturating_sub(r))),
        ]
        .iter()
        .all(|(operator, wanted)| lines(&database.run(&format!("SELECT a, b FROM l {operator} SELECT a, b FROM r"))) == *wanted)
    }

    fn a_frame_of_rows_holds_what_a_subquery_finds(rows: Rows, before: u8, behind: u8) -> bool {
        let mut database = Database::new();
        rows.store_as(&mut database, "t");
        let (before, behind) = (before % 4, behind % 4);
        let by_window = format!(
            "SELECT id, sum(a) OVER w, count(b) OVER w, first_value(b) OVER w FROM t \
             WINDOW w AS (ORDER BY id ROWS BETWEEN {before} PRECEDING AND {behind} FOLLOWING)"
        );
        let frame = format!("u.id BETWEEN t.id - {before} AND t.id + {behind}");
        let by_subquery = format!(
            "SELECT id, (SELECT sum(a) FROM t u WHERE {frame}), (SELECT count(b) FROM t u WHERE {frame}), \
             (SELECT b FROM t u WHERE {frame} ORDER BY id LIMIT 1) FROM t"
        );
        lines(&database.run(&by_window)) == lines(&database.run(&by_subquery))
    }
}
