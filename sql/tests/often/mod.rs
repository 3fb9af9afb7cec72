//! Subqueries that run for very many outer rows read at once what they looked up for each of the first.

use std::sync::Arc;

use highwater_sql::bind::{BindContext, bind};
use highwater_sql::catalog::Role;
use highwater_sql::parse::parse;
use highwater_sql::plan::{Plan, QueryPlan};

use super::database::{Database, shown};

fn plan(database: &Database, sql: &str) -> Arc<QueryPlan> {
    let context = BindContext { catalog: &database.catalog, namespace: "app", user: "alice", role: Role::Dba };
    let statements = parse(sql).unwrap();
    match bind(&statements[0], &context).unwrap().plan {
        Plan::Query(plan) => plan,
        other => panic!("{other:?} is no query"),
    }
}

fn database(rows: usize) -> Database {
    let mut database = Database::new();
    database.run("CREATE TABLE big (id INT PRIMARY KEY, room INT, n SMALLINT, body TEXT)");
    database.run("CREATE INDEX ON big (room)");
    database.run("CREATE TABLE asks (id INT PRIMARY KEY, room INT)");
    for part in (0..rows).collect::<Vec<_>>().chunks(3000) {
        let rows: Vec<String> = part.iter().map(|id| format!("({id}, {}, {}, 'x')", id / 3, id % 7)).collect();
        database.run(&format!("INSERT INTO big VALUES {}", rows.join(", ")));
    }
    let asks: Vec<String> = (0..500).map(|id| format!("({id}, {})", id * 2)).collect();
    database.run(&format!("INSERT INTO asks VALUES {}", asks.join(", ")));
    database
}

#[test]
fn what_is_looked_up_very_often_is_read_once() {
    let database = database(3000);
    for (sql, each) in [
        ("SELECT id FROM asks WHERE EXISTS (SELECT 1 FROM big WHERE big.id = asks.room)", 1),
        ("SELECT id FROM asks WHERE NOT EXISTS (SELECT 1 FROM big WHERE big.id = asks.room AND n > 3)", 1),
        ("SELECT id, (SELECT count(*) FROM big WHERE big.room = asks.room AND n > asks.id % 5) FROM asks", 3),
        (
            "SELECT id, (SELECT max(body) || sum(n) FROM big WHERE room = asks.room GROUP BY room HAVING count(*) > 1) FROM asks",
            3,
        ),
        ("SELECT id FROM asks WHERE id % 7 IN (SELECT n FROM big WHERE big.room = asks.room)", 3),
        ("SELECT id, (SELECT n FROM big WHERE big.room = asks.room ORDER BY n DESC, id LIMIT 1) FROM asks", 3),
    ] {
        let plan = plan(&database, sql);
        let looked_up = shown(&database.query_with(&plan, None).unwrap());
        assert_eq!(database.visited.get(), 500 + 500 * each, "{sql}");
        let read = shown(&database.query_with(&plan, Some(100)).unwrap());
        assert_eq!(database.visited.get(), 500 + 100 * each + 3000, "{sql}");
        assert_eq!(read, looked_up, "{sql}");
        assert!(looked_up.len() > 100, "{sql}: {looked_up}");
    }
}

#[test]
fn what_is_too_much_to_be_read_at_once_is_looked_up() {
    let database = database(12_000);
    let sql = "SELECT count(*) FROM asks WHERE EXISTS (SELECT 1 FROM big WHERE big.id = asks.room)";
    let plan = plan(&database, sql);
    assert_eq!(shown(&database.query_with(&plan, Some(100)).unwrap()), "500");
    let visited = database.visited.get();
    assert!(visited < 500 + 500 + 12_000 + 10, "{visited}: it was read more than once");
}

#[test]
fn what_may_differ_from_run_to_run_is_not_read_at_once() {
    let database = database(3000);
    let plan = plan(
        &database,
        "SELECT id FROM asks WHERE EXISTS (SELECT 1 FROM big WHERE big.id = asks.room AND random() < 2)",
    );
    database.query_with(&plan, Some(0)).unwrap();
    assert_eq!(database.visited.get(), 500 + 500);
}

/// The database with words of numbers, and nodes of a binary tree.
fn with_tree() -> Database {
    let mut database = database(3000);
    database.run("CREATE TABLE words (n SMALLINT PRIMARY KEY, word TEXT)");
    database.run("INSERT INTO words VALUES (0, 'a'), (1, 'b'), (2, 'c'), (3, 'd'), (4, 'e'), (5, 'f'), (6, 'g')");
    database.run("CREATE TABLE node (id INT PRIMARY KEY, parent INT, next INT)");
    let nodes: Vec<String> = (1..=300).map(|id| format!("({id}, {}, {})", id / 2, id + 1)).collect();
    database.run(&format!("INSERT INTO node VALUES {}", nodes.join(", ")));
    database
}

#[test]
fn rounds_of_a_recursive_query_read_a_table_once() {
    let database = with_tree();
    for (sql, rows) in [
        ("SELECT id FROM node WHERE id = 1 UNION ALL SELECT k.id FROM t JOIN node k ON k.parent = t.id", 300),
        ("SELECT id FROM node WHERE id = 1 UNION SELECT k.id FROM node k JOIN t ON k.parent = t.id", 300),
        (
            "SELECT id FROM node WHERE id = 1 UNION ALL SELECT k.id FROM t, (SELECT id, max(parent) AS up FROM node GROUP BY id) k WHERE k.up = t.id",
            300,
        ),
        ("SELECT id FROM node WHERE id = 1 UNION ALL SELECT id + 1 FROM t WHERE id < (SELECT count(*) FROM node)", 300),
        (
            "SELECT id FROM node WHERE id = 1 UNION ALL SELECT id + 1 FROM t WHERE EXISTS (SELECT 1 FROM node k WHERE k.parent + 1 = t.id)",
            152,
        ),
    ] {
        let plan = plan(&database, &format!("WITH RECURSIVE t (id) AS ({sql}) SELECT id FROM t"));
        assert_eq!(database.query_with(&plan, None).unwrap().len(), rows, "{sql}");
        assert_eq!(database.visited.get(), 1 + 300, "{sql}");
    }
}

#[test]
fn a_short_walk_looks_its_rows_up_and_a_long_one_reads_them_at_once() {
    let database = with_tree();
    let walk = plan(
        &database,
        "WITH RECURSIVE t (id, next) AS (SELECT id, next FROM node WHERE id = 201 UNION ALL SELECT k.id, k.next FROM t JOIN node k ON k.id = t.next) SELECT id FROM t",
    );
    let looked_up = shown(&database.query_with(&walk, None).unwrap());
    assert_eq!(database.visited.get(), 100);
    assert_eq!(shown(&database.query_with(&walk, Some(40)).unwrap()), looked_up);
    assert_eq!(database.visited.get(), 1 + 40 + 300);
}

#[test]
fn what_queries_per_row_join_is_read_once() {
    let database = with_tree();
    for (sql, early, late) in [
        // Looked up on both sides: three rows of `big`, three words.
        (
            "SELECT a.id, l.c, l.m FROM asks a LEFT JOIN LATERAL (SELECT count(*) c, max(w.word) m FROM big b JOIN words w ON w.n = b.n WHERE b.room = a.room) l ON true",
            500 * (3 + 3),
            100 * (3 + 3) + 3000 + 7,
        ),
        (
            "SELECT a.id, (SELECT max(w.word) FROM big b JOIN words w ON w.n = b.n WHERE b.room = a.room) FROM asks a",
            500 * (3 + 3),
            100 * (3 + 3) + 3000 + 7,
        ),
        // One table alone.
        (
            "SELECT a.id, l.n FROM asks a JOIN LATERAL (SELECT n FROM big b WHERE b.room = a.room AND n > a.id % 3) l ON true",
            500 * 3,
            100 * 3 + 3000,
        ),
        // Nothing to be looked up by.
        (
            "SELECT a.id, (SELECT count(*) FROM words v JOIN words w ON w.word = v.word WHERE v.n + w.n > a.id) FROM asks a",
            7 + 7,
            7 + 7,
        ),
        (
            "SELECT a.id, (SELECT count(*) FROM words v WHERE v.word > (SELECT min(word) FROM words) AND v.n + 1 = a.id) FROM asks a",
            7 + 7,
            7 + 7,
        ),
        // What a subquery of a subquery looks up.
        (
            "SELECT a.id, (SELECT sum((SELECT count(*) FROM big b WHERE b.room = w.n + a.id)) FROM words w WHERE w.n < 2) FROM asks a",
            2 + 1000 * 3,
            2 + 100 * 3 + 3000,
        ),
    ] {
        let plan = plan(&database, sql);
        let looked_up = shown(&database.query_with(&plan, None).unwrap());
        assert_eq!(database.visited.get(), 500 + early, "{sql}");
        let read = shown(&database.query_with(&plan, Some(100)).unwrap());
        assert_eq!(database.visited.get(), 500 + late, "{sql}");
        assert_eq!(read, looked_up, "{sql}");
        assert!(looked_up.len() > 100, "{sql}: {looked_up}");
    }
}

#[test]
fn what_is_too_much_to_be_kept_is_read_again() {
    let mut database = database(6_000);
    database.run("CREATE TABLE few (id INT PRIMARY KEY, n SMALLINT)");
    database.run("INSERT INTO few VALUES (1, 1), (2, 2), (3, 3)");
    let joined = |least: usize| {
        format!("(SELECT count(*) FROM few f JOIN big g ON g.n = f.n WHERE f.id = a.id AND g.id >= {least})")
    };
    // Either may be kept, but not beside the rows of the other.
    let sql = format!("SELECT a.id, {}, {} FROM few a", joined(1_100), joined(500));
    let plan = plan(&database, &sql);
    assert_eq!(shown(&database.query_with(&plan, None).unwrap()), "1 | 700 | 785\n2 | 700 | 785\n3 | 700 | 786");
    assert!(database.visited.get() > 2 * (4_900 + 5_500), "{}", database.visited.get());
}

#[test]
fn what_differs_from_run_to_run_is_not_kept() {
    let database = with_tree();
    let sql = "SELECT a.id, (SELECT count(*) FROM (SELECT n FROM words WHERE n + random() < 9) v JOIN words w ON w.n = v.n AND w.n % 2 < a.id % 3) FROM asks a WHERE a.id < 3";
    let plan = plan(&database, sql);
    assert_eq!(shown(&database.query_with(&plan, None).unwrap()), "0 | 0\n1 | 4\n2 | 7");
    assert_eq!(database.visited.get(), 3 + 3 * 7 + 7);
}
