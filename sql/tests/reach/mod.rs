//! Conditions that reach into queries of WITH, subqueries in FROM and the sides of UNION ALL: the rows are those that the whole has, and few
//! are looked at.

use quickcheck::{Arbitrary, Gen, quickcheck};

use super::database::Database;
use super::{Condition, crossed, lines};

#[test]
fn a_condition_on_a_query_that_is_read_once_looks_at_the_rows_that_it_names() {
    let mut database = Database::new();
    database.run("CREATE TABLE big (id INT PRIMARY KEY, room INT, n SMALLINT)");
    database.run("CREATE INDEX ON big (room)");
    database.run("CREATE TABLE few (id INT PRIMARY KEY, big INT)");
    let rows: Vec<String> = (0..3000).map(|id| format!("({id}, {}, {})", id / 3, id % 7)).collect();
    database.run(&format!("INSERT INTO big VALUES {}", rows.join(", ")));
    database.run("INSERT INTO few VALUES (1, 10), (2, 20)");
    for (sql, visited, rows) in [
        ("WITH t AS (SELECT * FROM big) SELECT * FROM t WHERE id = 7", 1, 1),
        ("WITH t AS (SELECT * FROM big), u AS (SELECT id + 0 AS k, room FROM t) SELECT k FROM u WHERE room = 7", 3, 3),
        ("WITH t (k) AS (SELECT id FROM big ORDER BY n) SELECT k FROM t WHERE k IN (7, 8)", 2, 2),
        ("SELECT x.id FROM (SELECT * FROM (SELECT * FROM big) y) x WHERE id = 7", 1, 1),
        ("WITH t AS (SELECT * FROM big) SELECT t.id FROM few JOIN t ON t.id = few.big", 2 + 2, 2),
        ("SELECT k FROM (SELECT id AS k FROM big UNION ALL SELECT big FROM few) t WHERE k = 10", 1 + 2, 2),
        (
            "WITH t AS (SELECT id AS k, 'b' AS s FROM big UNION ALL SELECT id, 'f' FROM few UNION ALL VALUES (1, 'v')) SELECT s FROM t WHERE k = 1",
            2,
            3,
        ),
        (
            "SELECT k FROM (SELECT id AS k FROM few UNION ALL SELECT max(id) FROM big WHERE room < 2) t WHERE k > 4",
            6,
            1,
        ),
        // Groups and partitions are kept whole.
        ("SELECT c FROM (SELECT room, count(*) AS c FROM big GROUP BY room) t WHERE room = 7", 3, 1),
        (
            "SELECT c FROM (SELECT count(*) AS c, room + 0 AS k, room FROM big GROUP BY room, n) t WHERE room IN (7, 9) AND c > 0",
            6,
            6,
        ),
        (
            "SELECT id FROM (SELECT id, room, row_number() OVER (PARTITION BY room ORDER BY id DESC) AS r FROM big) t WHERE room = 7 AND r = 1",
            3,
            1,
        ),
        (
            "SELECT id FROM (SELECT id, room, sum(n) OVER (PARTITION BY room), rank() OVER (PARTITION BY room, n ORDER BY id) AS r FROM big) t WHERE room = 7",
            3,
            3,
        ),
        ("SELECT id FROM (SELECT id, room, sum(n) OVER (PARTITION BY n) AS s FROM big) t WHERE room = 7", 3000, 3),
        ("SELECT c FROM (SELECT room, count(*) AS c FROM big GROUP BY ROLLUP (room)) t WHERE room = 7", 3000, 1),
        ("SELECT c FROM (SELECT room, count(*) AS c FROM big GROUP BY room) t WHERE room * 1 = 7", 3000, 1),
        // Where rows are left out, put together or numbered, all of them are asked for first.
        ("WITH t AS (SELECT * FROM big LIMIT 5) SELECT id FROM t WHERE id = 7", 5, 0),
        ("WITH t AS (SELECT * FROM big OFFSET 7) SELECT id FROM t WHERE id = 7", 3000, 1),
        ("WITH t AS (SELECT DISTINCT n FROM big) SELECT n FROM t WHERE n = 3", 3000, 1),
        ("WITH t AS (SELECT room, count(*) AS c FROM big GROUP BY room) SELECT c FROM t WHERE c = 4", 3000, 0),
        (
            "WITH t AS (SELECT id, row_number() OVER (ORDER BY id DESC) AS r FROM big) SELECT r FROM t WHERE id = 7",
            3000,
            1,
        ),
        ("SELECT n FROM (SELECT n FROM big UNION SELECT id FROM few) t WHERE n = 3", 3002, 1),
        // So are those of volatile queries, and of those that are read more than once, or must not be taken apart.
        ("WITH t AS (SELECT id, random() AS r FROM big) SELECT id FROM t WHERE id = 7", 3000, 1),
        ("WITH t AS (SELECT id FROM big WHERE random() < 2) SELECT id FROM t WHERE id = 7", 3000, 1),
        (
            "WITH t AS (SELECT id FROM big WHERE id IN (SELECT id FROM big WHERE random() < 2)) SELECT id FROM t WHERE id = 7",
            6000,
            1,
        ),
        ("WITH t AS MATERIALIZED (SELECT * FROM big) SELECT id FROM t WHERE id = 7", 3000, 1),
        ("WITH t AS (SELECT * FROM big) SELECT a.id FROM t a JOIN t b ON a.id = b.id WHERE a.id = 7", 3000, 1),
        // One that a subquery reads for every row is kept.
        (
            "WITH t AS (SELECT id FROM big) SELECT id, (SELECT count(*) FROM t WHERE t.id < few.big) FROM few",
            2 + 3000,
            2,
        ),
    ] {
        let answer = database.run(sql);
        assert!(!answer.starts_with("error"), "{sql}: {answer}");
        assert_eq!(answer.lines().filter(|line| !line.is_empty()).count(), rows, "{sql}: {answer}");
        assert_eq!(database.visited.get(), visited, "{sql}");
    }
}

/// A query over `t (a, b, v)` and what keeps its rows from being taken apart.
#[derive(Clone, Debug)]
struct Below(&'static str);

impl Arbitrary for Below {
    fn arbitrary(g: &mut Gen) -> Self {
        Self(
            g.choose(&[
                "SELECT a, b FROM t",
                "SELECT a, b FROM t WHERE a > 0",
                "SELECT a + 1 AS a, b || 'b' AS b FROM t ORDER BY v",
                "SELECT a, b FROM (SELECT v::INT AS a, b FROM t) x WHERE a < 3",
                "SELECT DISTINCT a, b FROM t",
                "SELECT a, b FROM t ORDER BY a DESC, b LIMIT 7",
                "SELECT a, b FROM t ORDER BY a, b OFFSET 5",
                "SELECT a, max(b) AS b FROM t GROUP BY a",
                "SELECT DISTINCT ON (a) a, b FROM t ORDER BY a, b DESC",
                "SELECT (row_number() OVER (ORDER BY a, b) % 4)::INT AS a, b FROM t",
                "SELECT a, (row_number() OVER (PARTITION BY a ORDER BY b))::TEXT AS b FROM t",
                "SELECT a, max(b) OVER (PARTITION BY a) AS b FROM t",
                "SELECT a, b FROM (SELECT a, b, count(*) OVER (PARTITION BY b, a), sum(a) OVER (PARTITION BY a) FROM t) x",
                "SELECT a, count(*)::TEXT AS b FROM t GROUP BY a, b HAVING count(*) > 1",
                "SELECT count(*)::INT AS a, b FROM t GROUP BY b",
                "SELECT a, b FROM t GROUP BY GROUPING SETS ((a, b), (a))",
                "SELECT a, b FROM t UNION ALL SELECT 2, b FROM t",
                "SELECT a::SMALLINT AS a, b FROM t UNION ALL SELECT a, b FROM t WHERE b < 'b' UNION ALL VALUES (NULL, 'ab'), (3, NULL)",
                "SELECT a, b FROM t UNION SELECT a + 1, b FROM t",
                "SELECT a, b FROM t EXCEPT ALL SELECT 1, b FROM t",
                "(SELECT a, b FROM t ORDER BY a, b LIMIT 3) UNION ALL (SELECT max(a), min(b) FROM t GROUP BY b)",
                "SELECT l.a, r.b FROM t l JOIN t r ON l.a = r.a AND l.b < r.b",
                "SELECT l.a, r.b FROM t l LEFT JOIN t r ON l.a = r.a AND r.b > 'b'",
                "SELECT a, (SELECT max(i.b) FROM t i WHERE i.a = o.a AND i.b < o.b) AS b FROM t o",
            ])
            .unwrap(),
        )
    }
}

quickcheck! {
    fn conditions_reach_into_a_query_as_if_they_stayed_outside(below: Below, condition: Condition) -> bool {
        let mut database = crossed();
        let (query, condition) = (below.0, condition.0);
        // Nothing passes OFFSET.
        let outside = database.run(&format!("SELECT a, b FROM (SELECT * FROM ({query}) q OFFSET 0) q WHERE {condition}"));
        [
            format!("WITH q AS ({query}) SELECT a, b FROM q WHERE {condition}"),
            format!("WITH q AS ({query}), p AS (SELECT b, a FROM q) SELECT a, b FROM p WHERE {condition}"),
            format!("WITH q AS MATERIALIZED ({query}) SELECT a, b FROM q WHERE {condition}"),
            format!("SELECT a, b FROM ({query}) q WHERE {condition}"),
            format!("SELECT a, b FROM (SELECT a, b FROM ({query}) q UNION ALL SELECT a, b FROM t WHERE false) p WHERE {condition}"),
        ]
        .iter()
        // What is left out spares its errors.
        .all(|sql| outside.starts_with("error") || lines(&database.run(sql)) == lines(&outside))
    }
}
