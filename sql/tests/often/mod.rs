//! Subqueries that run for very many outer rows read at once what they looked up for each of the first.

use std::sync::Arc;

use highwater_sql::bind::{BindContext, bind};
use highwater_sql::catalog::Role;
use highwater_sql::parse::parse;
use highwater_sql::plan::{Plan, QueryPlan};

use super::{Database, shown};

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
