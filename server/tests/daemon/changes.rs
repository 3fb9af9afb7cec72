//! Changes whose rows a query gives, over HTTP on a real server: INSERT ... SELECT, subqueries in UPDATE and DELETE, FROM and USING.
use crate::running::{PASSWORD, Server};
use serde_json::{Value, json};

/// The last result of statements that must succeed.
fn run(server: &Server, token: &str, sql: &str) -> Value {
    let answer = server.sql(token, sql);
    assert_eq!(answer.status, 200, "{sql}: {answer:?}");
    answer.json["results"].as_array().unwrap().last().unwrap().clone()
}

fn rows(server: &Server, token: &str, sql: &str) -> Value {
    run(server, token, sql)["rows"].clone()
}

fn sqlstate(server: &Server, token: &str, sql: &str) -> String {
    let answer = server.sql(token, sql);
    let details: Value = serde_json::from_str(answer.json["error"]["details"].as_str().unwrap()).unwrap();
    details["sqlstate"].as_str().unwrap().to_owned()
}

fn request_id(number: u128) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    ulid::Ulid((now << 80) | number).to_string()
}

/// Tables of every kind, SHARED ones spread by their ids over the shards.
fn prepared(folder: &std::path::Path) -> (Server, String, String) {
    let server = Server::start(folder, &[]);
    let root = server.login("root", PASSWORD);
    for sql in [
        "CREATE NAMESPACE app",
        "CREATE USER TABLE app.notes (id INT PRIMARY KEY, room INT, text TEXT)",
        "CREATE USER TABLE app.drafts (id INT PRIMARY KEY, text TEXT)",
        "CREATE TABLE app.spread (part INT, n INT, v INT, PRIMARY KEY (part, n)) PARTITION BY (part) WITH (ACCESS_LEVEL = 'PUBLIC')",
        "CREATE TABLE app.secret (id INT PRIMARY KEY, what TEXT)",
        "INSERT INTO app.secret VALUES (1, 'hidden')",
        "CREATE USER anna WITH PASSWORD 'a1'; CREATE USER bert WITH PASSWORD 'b1'",
    ] {
        run(&server, &root, sql);
    }
    for table in 0..6 {
        run(&server, &root, &format!("CREATE TABLE app.t{table} (id INT PRIMARY KEY, n INT, v TEXT)"));
    }
    let anna = server.login("anna", "a1");
    (server, root, anna)
}

#[test]
fn an_insert_takes_its_rows_from_any_query() {
    let folder = tempfile::tempdir().unwrap();
    let (server, root, anna) = prepared(folder.path());
    run(&server, &root, "INSERT INTO app.t0 VALUES (1, 10, 'a'), (2, 20, 'b'), (3, NULL, 'c')");
    assert_eq!(run(&server, &root, "INSERT INTO app.t1 SELECT * FROM app.t0 WHERE n > 5")["row_count"], 2);
    // Between all shards, with a join, an aggregate, a cast to the column's type and a default of the other table.
    run(&server, &root, "INSERT INTO app.t2 (id, v) SELECT count(*), sum(b.n) FROM app.t0 a JOIN app.t1 b USING (id)");
    assert_eq!(rows(&server, &root, "SELECT * FROM app.t2"), json!([[2, null, "30"]]));
    let answer = run(
        &server,
        &root,
        "INSERT INTO app.t1 SELECT id, n, 'again' FROM app.t0 ON CONFLICT (id) DO UPDATE SET v = excluded.v RETURNING id, v",
    );
    assert_eq!(answer["rows"], json!([[1, "again"], [2, "again"], [3, "again"]]));
    assert_eq!(sqlstate(&server, &root, "INSERT INTO app.t1 SELECT * FROM app.t0"), "23505");
    // A table may be its own source; a partitioned one takes rows of one shard.
    run(&server, &root, "INSERT INTO app.t0 SELECT id + (SELECT max(id) FROM app.t0), n, v FROM app.t0");
    assert_eq!(rows(&server, &root, "SELECT count(*), max(id) FROM app.t0"), json!([["6", 6]]));
    run(&server, &root, "INSERT INTO app.spread SELECT 7, id, n FROM app.t0");
    assert_eq!(sqlstate(&server, &root, "INSERT INTO app.spread SELECT id, 100, n FROM app.t0"), "0A000");
    assert_eq!(rows(&server, &root, "SELECT count(*) FROM app.spread"), json!([["6"]]));
    // Of USER tables everyone's own rows, and no others.
    run(&server, &root, "INSERT INTO app.notes VALUES (9, 9, 'of root')");
    run(&server, &anna, "INSERT INTO app.notes VALUES (1, 1, 'of anna')");
    run(&server, &anna, "INSERT INTO app.drafts SELECT id, text FROM app.notes");
    assert_eq!(rows(&server, &anna, "SELECT * FROM app.drafts"), json!([[1, "of anna"]]));
    assert_eq!(rows(&server, &root, "SELECT * FROM app.drafts"), json!([]));
    assert_eq!(sqlstate(&server, &anna, "INSERT INTO app.drafts SELECT id, what FROM app.secret"), "42501");
    assert_eq!(sqlstate(&server, &anna, "UPDATE app.drafts SET text = (SELECT what FROM app.secret)"), "42501");
    assert_eq!(sqlstate(&server, &anna, "DELETE FROM app.drafts USING app.secret"), "42501");
    assert_eq!(sqlstate(&server, &anna, "EXPLAIN DELETE FROM app.drafts USING app.secret"), "42501");
    run(&server, &root, "EXECUTE AS 'anna' (INSERT INTO app.drafts SELECT id + 1, text FROM app.drafts)");
    assert_eq!(rows(&server, &anna, "SELECT count(*) FROM app.drafts"), json!([["2"]]));
    assert_eq!(
        sqlstate(&server, &root, "EXECUTE AS 'anna' (INSERT INTO app.drafts SELECT id, what FROM app.secret)"),
        "0A000"
    );
}

#[test]
fn a_retried_insert_of_a_query_is_answered_with_its_first_answer() {
    let folder = tempfile::tempdir().unwrap();
    let (server, root, _) = prepared(folder.path());
    run(&server, &root, "INSERT INTO app.t0 VALUES (1, 10, 'a'), (2, 20, 'b')");
    let ask = |sql: &str, id: &str| server.ask("/v1/api/sql", &root, &json!({"sql": sql, "request_id": id}));
    let (insert, id) = ("INSERT INTO app.t1 SELECT id, 100 / n, v FROM app.t0 RETURNING id", request_id(1));
    let first = ask(insert, &id);
    assert_eq!(first.json["results"][0]["rows"], json!([[1], [2]]), "{first:?}");
    run(&server, &root, "INSERT INTO app.t0 VALUES (3, 30, 'c')");
    let again = ask(insert, &id);
    assert_eq!(again.json["results"][0]["rows"], json!([[1], [2]]), "{again:?}");
    // The source cannot even be read any more.
    run(&server, &root, "UPDATE app.t0 SET n = 0 WHERE id = 3");
    let again = ask(insert, &id);
    assert_eq!(again.json["results"][0]["rows"], json!([[1], [2]]), "{again:?}");
    assert_eq!(rows(&server, &root, "SELECT count(*) FROM app.t1"), json!([["2"]]));
    // A first try that cannot be read is refused, and leaves nothing.
    let other = request_id(2);
    assert_eq!(ask(insert, &other).status, 400);
    run(&server, &root, "DELETE FROM app.t0 WHERE n = 0; DELETE FROM app.t1");
    assert_eq!(ask(insert, &other).json["results"][0]["rows"], json!([[1], [2]]));
}

#[test]
fn more_rows_than_one_command_takes_are_refused_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (server, root, _) = prepared(folder.path());
    let ten = (0..10).map(|n| format!("({n})")).collect::<Vec<_>>().join(", ");
    let sql = format!(
        "INSERT INTO app.t0 (id) WITH d (n) AS (VALUES {ten}) \
         SELECT a.n + 10 * b.n + 100 * c.n + 1000 * e.n + 10000 * f.n + 100000 * g.n \
         FROM d a, d b, d c, d e, d f, d g WHERE g.n < 2 AND f.n < 6"
    );
    let answer = server.sql(&root, &sql);
    assert!(answer.message().contains("120000 rows, and one takes at most 100000; nothing was changed"), "{answer:?}");
    assert_eq!(rows(&server, &root, "SELECT count(*) FROM app.t0"), json!([["0"]]));
    run(&server, &root, &sql.replace("g.n < 2 AND f.n < 6", "g.n = 0 AND f.n < 2"));
    assert_eq!(rows(&server, &root, "SELECT count(*), count(DISTINCT id) FROM app.t0"), json!([["20000", "20000"]]));
}

#[test]
fn changes_take_subqueries_and_other_tables_on_one_shard_and_on_many() {
    let folder = tempfile::tempdir().unwrap();
    let (server, root, anna) = prepared(folder.path());
    run(&server, &anna, "INSERT INTO app.notes VALUES (1, 1, 'one'), (2, 1, 'two'), (3, 2, 'three')");
    run(&server, &anna, "INSERT INTO app.drafts VALUES (1, 'd1'), (3, 'd3'), (4, 'd4')");
    // One user's tables share a shard.
    run(
        &server,
        &anna,
        "UPDATE app.notes SET text = (SELECT text FROM app.drafts d WHERE d.id = notes.id) WHERE id IN (SELECT id FROM app.drafts)",
    );
    assert_eq!(rows(&server, &anna, "SELECT id, text FROM app.notes"), json!([[1, "d1"], [2, "two"], [3, "d3"]]));
    let answer = run(
        &server,
        &anna,
        "UPDATE app.notes n SET text = d.text || n.text FROM app.drafts d WHERE d.id = n.id AND n.room = 1 RETURNING n.id, text",
    );
    assert_eq!(answer["rows"], json!([[1, "d1d1"]]));
    assert_eq!(run(&server, &anna, "DELETE FROM app.drafts d USING app.notes n WHERE n.id = d.id")["row_count"], 2);
    assert_eq!(rows(&server, &anna, "SELECT id FROM app.drafts"), json!([[4]]));
    // Tables of other shards, whichever they are.
    run(&server, &root, "INSERT INTO app.t0 VALUES (1, 10, 'a'), (2, 20, 'b'), (3, 30, 'c')");
    for table in 1..6 {
        run(&server, &root, &format!("INSERT INTO app.t{table} VALUES (1, {table}, 'x'), (3, {table}, 'y')"));
        let answer = run(
            &server,
            &root,
            &format!(
                "UPDATE app.t0 SET n = n + (SELECT o.n FROM app.t{table} o WHERE o.id = t0.id) WHERE id IN (SELECT id FROM app.t{table})"
            ),
        );
        assert_eq!((&answer["row_count"], &answer["message"]), (&json!(2), &json!("Updated 2 row(s)")), "{table}");
    }
    assert_eq!(rows(&server, &root, "SELECT id, n FROM app.t0"), json!([[1, 25], [2, 20], [3, 45]]));
    assert_eq!(run(&server, &root, "DELETE FROM app.t0 WHERE id NOT IN (SELECT id FROM app.t4)")["row_count"], 1);
    assert_eq!(
        run(&server, &root, "DELETE FROM app.t0 WHERE id IN (SELECT id FROM app.t4 WHERE n > 1000)")["row_count"],
        0
    );
    // A partitioned table, where the rows found are of one shard.
    run(&server, &root, "INSERT INTO app.spread VALUES (7, 1, 0), (7, 2, 0)");
    run(&server, &root, "INSERT INTO app.spread VALUES (8, 1, 0)");
    assert_eq!(
        run(&server, &root, "UPDATE app.spread SET v = (SELECT max(n) FROM app.t0) WHERE part = 7")["row_count"],
        2
    );
    assert_eq!(
        run(&server, &root, "UPDATE app.spread s SET v = -1 FROM app.t0 t WHERE t.id = s.n AND s.part = 7")["row_count"],
        1
    );
    assert_eq!(
        rows(&server, &root, "SELECT part, n, v FROM app.spread ORDER BY 1, 2"),
        json!([[7, 1, -1], [7, 2, 45], [8, 1, 0]])
    );
    assert_eq!(sqlstate(&server, &root, "UPDATE app.t0 SET n = (SELECT n FROM app.t1)"), "21000");
    let plan = rows(&server, &root, "EXPLAIN DELETE FROM app.t0 WHERE id IN (SELECT id FROM app.t4)").to_string();
    assert!(plan.contains("Delete from app.t0") && plan.contains("Read app.t4"), "{plan}");
}

#[test]
fn returning_reads_other_rows_as_they_were_before_the_change() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _, anna) = prepared(folder.path());
    // Of the changed table itself: what is inserted is not there yet, what is updated is old, what is deleted still stands.
    run(&server, &anna, "INSERT INTO app.notes VALUES (1, 1, 'a'), (2, 1, 'b'), (3, 2, 'c')");
    let asked = |sql: &str| rows(&server, &anna, sql);
    let (count, peers) = (
        "(SELECT count(*) FROM app.notes)",
        "(SELECT string_agg(o.text, ' ' ORDER BY o.id) FROM app.notes o WHERE o.room = notes.room)",
    );
    assert_eq!(
        asked(&format!("INSERT INTO app.notes VALUES (4, 2, 'd'), (5, 3, 'e') RETURNING id, {count}, {peers}")),
        json!([[4, "3", "c"], [5, "3", null]])
    );
    assert_eq!(
        asked(&format!("UPDATE app.notes SET text = text || '!' WHERE room = 1 RETURNING text, {peers}")),
        json!([["a!", "a b"], ["b!", "a b"]])
    );
    assert_eq!(
        asked(&format!(
            "DELETE FROM app.notes WHERE id IN (2, 3) RETURNING id, {peers}, id IN (SELECT id FROM app.notes)"
        )),
        json!([[2, "a! b!", true], [3, "c d", true]])
    );
    assert_eq!(asked("SELECT id, text FROM app.notes ORDER BY id"), json!([[1, "a!"], [4, "d"], [5, "e"]]));
    // With what a query has changed, with WITH, and in a transaction, which sees its own changes of before.
    assert_eq!(
        asked(
            "WITH big AS (SELECT 4 AS least) UPDATE app.notes SET room = 9 FROM big WHERE id >= least RETURNING id, EXISTS (SELECT 1 FROM big WHERE least = id)"
        ),
        json!([[4, true], [5, false]])
    );
    let transaction = "BEGIN; INSERT INTO app.drafts VALUES (1, 'x'); \
        DELETE FROM app.drafts RETURNING id, (SELECT count(*) FROM app.drafts o WHERE o.id = drafts.id); COMMIT";
    let answer = server.sql(&anna, transaction);
    let deleted = answer.json["results"].as_array().unwrap().iter().find(|result| result["rows"].is_array()).unwrap();
    assert_eq!(deleted["rows"], json!([[1, "1"]]), "{answer:?}");
    // Whose answer cannot be made is not changed.
    assert_eq!(
        sqlstate(&server, &anna, "DELETE FROM app.notes RETURNING (SELECT id FROM app.notes o WHERE o.id > 0)"),
        "21000"
    );
    assert_eq!(
        sqlstate(
            &server,
            &anna,
            "DELETE FROM app.notes RETURNING (SELECT o.id FROM app.notes o WHERE o.id <> notes.id)"
        ),
        "21000"
    );
    assert_eq!(asked("SELECT count(*) FROM app.notes"), json!([["3"]]));
}

#[test]
fn returning_reads_what_is_on_other_shards() {
    let folder = tempfile::tempdir().unwrap();
    let (server, root, anna) = prepared(folder.path());
    for table in 1..6 {
        run(&server, &root, &format!("INSERT INTO app.t{table} VALUES (1, {table}, 'x'), (3, {table}, 'y')"));
        run(&server, &root, "DELETE FROM app.t0; INSERT INTO app.t0 VALUES (1, 0, ''), (2, 0, '')");
        let sql = format!(
            "UPDATE app.t0 SET n = 5 RETURNING id, (SELECT v FROM app.t{table} o WHERE o.id = t0.id), (SELECT sum(n) FROM app.t0), id IN (SELECT id FROM app.t{table})"
        );
        assert_eq!(rows(&server, &root, &sql), json!([[1, "x", "0", true], [2, null, "0", false]]), "{table}");
    }
    // What the change may touch, beside another shard: not both for one row.
    let both = (1..6).map(|table| {
        format!("DELETE FROM app.t0 RETURNING (SELECT count(*) FROM app.t0 o, app.t{table} WHERE o.id > t0.id)")
    });
    let refused = both.filter(|sql| server.sql(&root, sql).status != 200).count();
    assert!(refused > 0, "all tables are on one shard");
    // Rights are asked for what it reads.
    assert_eq!(sqlstate(&server, &anna, "DELETE FROM app.notes RETURNING (SELECT what FROM app.secret)"), "42501");
    let plan = rows(&server, &root, "EXPLAIN DELETE FROM app.t0 RETURNING (SELECT v FROM app.t4 WHERE t4.id = t0.id)")
        .to_string();
    assert!(plan.contains("Delete from app.t0") && plan.contains("Changed rows") && plan.contains("app.t4"), "{plan}");
}

#[test]
fn changes_that_read_other_rows_lose_no_update_to_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let (server, root, anna) = prepared(folder.path());
    const WRITERS: i32 = 4;
    const EACH: i32 = 15;
    run(&server, &anna, "INSERT INTO app.notes SELECT 0, 0, 'top'");
    run(&server, &root, "INSERT INTO app.t0 VALUES (1, 0, '')");
    for table in 1..6 {
        run(&server, &root, &format!("INSERT INTO app.t{table} VALUES (1, 1, '')"));
    }
    for writer in 1..=WRITERS {
        run(&server, &anna, &format!("INSERT INTO app.notes VALUES ({writer}, 0, '')"));
    }
    std::thread::scope(|threads| {
        for writer in 1..=WRITERS {
            let (server, anna, root) = (&server, &anna, &root);
            threads.spawn(move || {
                for round in 0..EACH {
                    // What it reads is on its shard: the highest number is never given twice.
                    run(
                        server,
                        anna,
                        &format!(
                            "UPDATE app.notes SET room = (SELECT max(room) FROM app.notes) + 1 WHERE id = {writer}"
                        ),
                    );
                    // What it reads is on another shard: the row that changes is still never overwritten unseen.
                    let other = 1 + (writer + round) % 5;
                    run(
                        server,
                        root,
                        &format!("UPDATE app.t0 SET n = t0.n + o.n FROM app.t{other} o WHERE o.id = t0.id"),
                    );
                }
            });
        }
    });
    let all = WRITERS * EACH;
    assert_eq!(rows(&server, &anna, "SELECT max(room) FROM app.notes"), json!([[all]]));
    assert_eq!(rows(&server, &root, "SELECT n FROM app.t0"), json!([[all]]));
}

#[test]
fn a_table_is_made_as_the_copy_of_a_query_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let (server, root, anna) = prepared(folder.path());
    run(&server, &root, "INSERT INTO app.t0 VALUES (1, 10, 'a'), (2, 20, 'b'), (3, 20, 'c')");
    let ask = |sql: &str, id: &str| server.ask("/v1/api/sql", &root, &json!({"sql": sql, "request_id": id}));
    let (create, id) = ("CREATE TABLE app.per_n AS SELECT n, count(*) AS many FROM app.t0 GROUP BY n", request_id(1));
    let answer = ask(create, &id);
    assert_eq!(answer.json["results"][0]["row_count"], 2, "{answer:?}");
    assert!(answer.json["results"][0]["message"].as_str().unwrap().contains("a copy of 2 row(s)"), "{answer:?}");
    assert_eq!(rows(&server, &root, "SELECT * FROM app.per_n"), json!([[10, "1"], [20, "2"]]));
    let again = ask(create, &id);
    assert_eq!(again.status, 200, "the retry is answered, and makes nothing");
    let message = again.json["results"][0]["message"].as_str().unwrap();
    assert_eq!(message, "Created table 'app.per_n' with a copy of rows, which does not follow later changes");
    assert_eq!(sqlstate(&server, &root, create), "42P07");
    run(&server, &root, &create.replace("TABLE", "TABLE IF NOT EXISTS"));
    assert_eq!(rows(&server, &root, "SELECT count(*) FROM app.per_n"), json!([["2"]]));
    // Over all shards.
    run(&server, &root, "CREATE TABLE app.parts PRIMARY KEY (id) PARTITION BY (id) AS SELECT * FROM app.t0");
    assert_eq!(rows(&server, &root, "SELECT sum(n), count(*) FROM app.parts"), json!([["50", "3"]]));
    // A key that is there twice, and one without a value.
    for (sql, state) in [
        ("CREATE TABLE app.twice PRIMARY KEY (n) AS SELECT n, id FROM app.t0", "23505"),
        ("CREATE TABLE app.twice PRIMARY KEY (x) AS SELECT id, NULL::INT AS x FROM app.t0", "23502"),
    ] {
        let error = &server.sql(&root, sql).json["error"];
        assert!(error["details"].as_str().unwrap().contains(state), "{error}");
        assert!(error["message"].as_str().unwrap().contains("twice"), "{error}");
        assert!(!error.to_string().contains("__copy_"), "the name that it has meanwhile is nobody's concern: {error}");
    }
    assert_eq!(
        rows(
            &server,
            &root,
            "SELECT table_name FROM system.tables WHERE table_name LIKE '%twice%' OR table_name LIKE '%copy%'"
        ),
        json!([])
    );
    run(&server, &root, "CREATE TABLE app.empty AS SELECT * FROM app.t0 WITH NO DATA");
    assert_eq!(rows(&server, &root, "SELECT count(*) FROM app.empty"), json!([["0"]]));
    run(&server, &root, "CREATE USER TABLE app.mine AS SELECT id, v FROM app.t0");
    assert_eq!(rows(&server, &anna, "SELECT * FROM app.mine"), json!([]));
    assert_eq!(sqlstate(&server, &anna, "CREATE TABLE app.no AS SELECT id FROM app.notes"), "42501");
}

#[test]
fn the_text_of_a_table_makes_an_equal_one_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let (server, root, _) = prepared(folder.path());
    run(
        &server,
        &root,
        "CREATE TABLE app.all_of_it (k SERIAL, b VARCHAR(5) NOT NULL DEFAULT 'x' UNIQUE, \"Odd\" DECIMAL(9,2) CHECK (\"Odd\" > 0), \
         PRIMARY KEY (k)) WITH (ACCESS_LEVEL = 'PUBLIC')",
    );
    run(&server, &root, "CREATE INDEX ON app.all_of_it (\"Odd\" DESC, b)");
    run(&server, &root, "ALTER TABLE app.all_of_it RENAME COLUMN \"Odd\" TO even");
    run(&server, &root, "COMMENT ON TABLE app.all_of_it IS 'it''s all'");
    let text = |namespace: &str| {
        let found = rows(&server, &root, &format!("SHOW CREATE TABLE {namespace}.all_of_it"));
        found[0][1].as_str().unwrap().to_owned()
    };
    let first = text("app");
    assert!(
        first.contains("CHECK (even > 0)") && first.contains("COMMENT ON TABLE all_of_it IS 'it''s all'"),
        "{first}"
    );
    run(&server, &root, "CREATE NAMESPACE other");
    let made = server.ask("/v1/api/sql", &root, &json!({"sql": first, "namespace_id": "other"}));
    assert_eq!(made.status, 200, "{made:?}");
    assert_eq!(text("other"), first);
}
