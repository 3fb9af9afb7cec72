//! Queries over several tables, over HTTP on a real server: what they answer, and whose rows they never show.
use crate::running::{PASSWORD, Server};
use serde_json::{Value, json};

/// The rows of a query that must succeed; of several statements, those of the last.
fn rows(server: &Server, token: &str, sql: &str) -> Value {
    let answer = server.sql(token, sql);
    assert_eq!(answer.status, 200, "{sql}: {answer:?}");
    answer.json["results"].as_array().unwrap().last().unwrap()["rows"].clone()
}

/// Two users with rows of their own, a table of everyone, one over several shards, and one for services.
fn prepared(folder: &std::path::Path) -> (Server, String, String, String) {
    let server = Server::start(folder, &[]);
    let root = server.login("root", PASSWORD);
    for sql in [
        "CREATE NAMESPACE app",
        "CREATE USER TABLE app.notes (id INT PRIMARY KEY, room INT, text TEXT NOT NULL)",
        "CREATE TABLE app.rooms (id INT PRIMARY KEY, name TEXT) WITH (ACCESS_LEVEL = 'PUBLIC')",
        "CREATE TABLE app.spread (part INT, n INT, PRIMARY KEY (part, n)) PARTITION BY (part) WITH (ACCESS_LEVEL = 'PUBLIC')",
        "CREATE TABLE app.secret (id INT PRIMARY KEY, what TEXT)",
        "INSERT INTO app.rooms VALUES (1, 'hall'), (2, 'attic'), (3, 'yard')",
        "INSERT INTO app.secret VALUES (1, 'hidden')",
        "CREATE USER anna WITH PASSWORD 'a1'; CREATE USER bert WITH PASSWORD 'b1'",
    ] {
        rows(&server, &root, sql);
    }
    for part in 0..8 {
        rows(&server, &root, &format!("INSERT INTO app.spread VALUES ({part}, 1), ({part}, 2)"));
    }
    let (anna, bert) = (server.login("anna", "a1"), server.login("bert", "b1"));
    rows(
        &server,
        &anna,
        "INSERT INTO app.notes VALUES (1, 1, 'of anna'), (2, 2, 'of anna too'), (3, NULL, 'of anna three')",
    );
    rows(&server, &bert, "INSERT INTO app.notes VALUES (1, 2, 'of bert')");
    (server, root, anna, bert)
}

#[test]
fn queries_join_what_lives_on_different_shards() {
    let folder = tempfile::tempdir().unwrap();
    let (server, root, anna, _) = prepared(folder.path());
    for (sql, expected) in [
        (
            "SELECT n.text, r.name FROM app.notes n JOIN app.rooms r ON r.id = n.room ORDER BY n.id",
            json!([["of anna", "hall"], ["of anna too", "attic"]]),
        ),
        (
            "SELECT r.name, count(n.id) FROM app.rooms r LEFT JOIN app.notes n ON n.room = r.id GROUP BY r.name ORDER BY 1",
            json!([["attic", "1"], ["hall", "1"], ["yard", "0"]]),
        ),
        ("SELECT count(*), sum(s.n) FROM app.spread s JOIN app.rooms r ON r.id = s.part", json!([["6", "9"]])),
        (
            "SELECT name FROM app.rooms WHERE id NOT IN (SELECT room FROM app.notes WHERE room IS NOT NULL)",
            json!([["yard"]]),
        ),
        (
            "SELECT id, (SELECT max(n) FROM app.spread s WHERE s.part = rooms.id) FROM app.rooms ORDER BY id",
            json!([[1, 2], [2, 2], [3, 2]]),
        ),
        (
            "WITH x AS (SELECT part, sum(n) AS total FROM app.spread GROUP BY part) \
             SELECT count(*) FROM x a JOIN x b ON a.total = b.total WHERE a.part < 2",
            json!([["16"]]),
        ),
        ("SELECT id FROM app.rooms UNION SELECT part FROM app.spread ORDER BY id DESC LIMIT 2", json!([[7], [6]])),
        (
            "SELECT part, n, row_number() OVER (PARTITION BY n ORDER BY part DESC) FROM app.spread ORDER BY 3, 2 LIMIT 2",
            json!([[7, 1, "1"], [7, 2, "1"]]),
        ),
        ("SELECT DISTINCT n FROM app.spread LIMIT 2", json!([[1], [2]])),
    ] {
        assert_eq!(rows(&server, &anna, sql), expected, "{sql}");
    }
    let found = rows(
        &server,
        &root,
        "SELECT t.table_name, count(*) FROM system.tables t JOIN system.columns c ON c.table_name = t.table_name \
         WHERE t.namespace_id = 'app' GROUP BY 1 ORDER BY 1 LIMIT 1",
    );
    assert_eq!(found, json!([["notes", "3"]]));
    let found = server.ask("/v1/api/sql", &anna, &json!({"sql": "SELECT r.name FROM app.rooms r JOIN app.notes n ON n.room = r.id WHERE n.id = $1", "params": [2]}));
    assert_eq!(found.json["results"][0]["rows"], json!([["attic"]]));
}

/// The same table in every place of a statement where a query can name it.
const PLACES: &[&str] = &[
    "SELECT text FROM app.notes",
    "SELECT x.text FROM (SELECT * FROM app.notes) x",
    "SELECT n.text FROM app.rooms r LEFT JOIN app.notes n ON true",
    "SELECT n.text FROM app.rooms r RIGHT JOIN app.notes n ON n.room = r.id",
    "SELECT n.text, m.text FROM app.notes n FULL JOIN app.notes m ON n.id = m.id",
    "SELECT (SELECT max(text) FROM app.notes)",
    "SELECT (SELECT max(text) FROM app.notes n WHERE n.room = r.id OR n.room IS NULL) FROM app.rooms r",
    "SELECT (SELECT text FROM app.notes n WHERE n.id = r.id) FROM app.rooms r",
    "SELECT text FROM app.notes WHERE id IN (SELECT id FROM app.notes)",
    "SELECT n.text FROM app.notes n WHERE EXISTS (SELECT 1 FROM app.notes m WHERE m.room = n.room)",
    "WITH x AS (SELECT text FROM app.notes) SELECT * FROM x a, x b",
    "SELECT text FROM app.notes UNION SELECT name FROM app.rooms",
    "SELECT text FROM app.notes UNION ALL SELECT text FROM app.notes",
    "SELECT name FROM app.rooms EXCEPT SELECT text FROM app.notes",
    "SELECT max(text) OVER () FROM app.notes",
    "SELECT string_agg(text, ';') FROM app.notes HAVING count(*) >= (SELECT count(*) FROM app.notes)",
    "SELECT name FROM app.rooms ORDER BY (SELECT count(*) FROM app.notes)",
    "SELECT text = ANY (SELECT text FROM app.notes), text FROM app.notes",
    "SELECT text FROM app.notes n JOIN app.rooms r USING (id)",
];

#[test]
fn in_every_place_of_a_query_a_user_table_shows_the_own_rows_only() {
    let folder = tempfile::tempdir().unwrap();
    let (server, root, anna, bert) = prepared(folder.path());
    for sql in PLACES {
        let of_bert = rows(&server, &bert, sql).to_string();
        assert!(!of_bert.contains("anna"), "{sql}: {of_bert}");
        let of_anna = rows(&server, &anna, sql).to_string();
        assert!(!of_anna.contains("bert"), "{sql}: {of_anna}");
        let of_root = rows(&server, &root, sql).to_string();
        assert!(!of_root.contains("anna") && !of_root.contains("bert"), "{sql}: {of_root}");
        if !sql.contains("app.rooms") {
            let acting = rows(&server, &root, &format!("EXECUTE AS 'bert' ({sql})")).to_string();
            assert_eq!(acting, of_bert, "{sql}");
        }
    }
}

#[test]
fn in_every_place_of_a_query_a_table_needs_its_right() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _, anna, _) = prepared(folder.path());
    let over =
        PLACES.iter().map(|sql| sql.replace("app.notes", "(SELECT id, id AS room, what AS text FROM app.secret)"));
    let unread = [
        "WITH x AS (SELECT * FROM app.secret) SELECT 1".to_owned(),
        "SELECT 1 WHERE false AND 1 IN (SELECT id FROM app.secret)".to_owned(),
        "SELECT 1 FROM app.rooms WHERE false AND id IN (SELECT id FROM app.secret)".to_owned(),
        "EXPLAIN SELECT * FROM app.secret".to_owned(),
        "EXPLAIN SELECT (SELECT what FROM app.secret LIMIT 1)".to_owned(),
        "EXPLAIN DELETE FROM app.secret".to_owned(),
        "SELECT t.table_name FROM app.rooms r JOIN system.tables t ON true".to_owned(),
    ];
    for sql in over.chain(unread) {
        // A derived table as an operand of a join needs no alias of its own here: each place names one.
        let answer = server.sql(&anna, &sql);
        assert_eq!((answer.status, answer.code()), (403, "PERMISSION_DENIED"), "{sql}: {answer:?}");
        assert!(!answer.json.to_string().contains("hidden"), "{sql}");
    }
}

#[test]
fn explain_says_what_is_read_and_analyze_what_it_took() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _, anna, _) = prepared(folder.path());
    let text = |sql: &str| {
        let lines = rows(&server, &anna, sql);
        lines.as_array().unwrap().iter().map(|row| row[0].as_str().unwrap().to_owned()).collect::<Vec<_>>().join("\n")
    };
    let plan = text("EXPLAIN SELECT r.name FROM app.notes n JOIN app.rooms r ON r.id = n.room WHERE n.id = 2");
    for part in ["Join by hash", "Read app.notes", "lookup of keys (id = 2)", "Read app.rooms", "1 of "] {
        assert!(plan.contains(part), "{part} in {plan}");
    }
    let plan = text("EXPLAIN ANALYZE SELECT count(*) FROM app.spread s WHERE n = 2");
    assert!(plan.contains("all keys") && plan.contains("ran: 1 rows"), "{plan}");
    // Of several shards as of one.
    assert!(plan.contains("ran: 8 rows of 16 read, "), "{plan}");
    let plan = text("EXPLAIN ANALYZE SELECT n, count(*) FROM app.spread GROUP BY n HAVING n < 9 ORDER BY 2, 1 LIMIT 1");
    let ran = plan.lines().filter_map(|line| Some(line.trim().strip_prefix("ran: ")?.split(',').next()?.to_owned()));
    assert_eq!(ran.collect::<Vec<_>>(), ["1 rows", "1 rows", "2 rows", "16 rows"], "{plan}");
    let plan = text("EXPLAIN ANALYZE SELECT DISTINCT room > 0 FROM app.notes WHERE id < 3");
    assert!(plan.contains("ran: 1 rows") && plan.contains("ran: 2 rows of 2 read, "), "{plan}");
    let plan = text("EXPLAIN (ANALYZE, FORMAT JSON) SELECT * FROM app.rooms WHERE id IN (SELECT room FROM app.notes)");
    let document: Value = serde_json::from_str(&plan).unwrap();
    assert!(document["step"].is_string(), "{plan}");
    assert!(text("EXPLAIN UPDATE app.notes SET text = 'x' WHERE id = 1").contains("Update app.notes"));
    assert_eq!(rows(&server, &anna, "SELECT text FROM app.notes WHERE id = 1"), json!([["of anna"]]));
    assert_eq!(server.sql(&anna, "EXPLAIN ANALYZE DELETE FROM app.notes").status, 400);
}

#[test]
fn a_page_of_rows_in_the_order_of_a_key_or_index_reads_the_rows_of_the_page() {
    let folder = tempfile::tempdir().unwrap();
    let (server, root, anna, bert) = prepared(folder.path());
    rows(&server, &root, "CREATE INDEX notes_by_room ON app.notes (room)");
    for of in [&anna, &bert] {
        let more: Vec<String> = (10..900).map(|id| format!("({id}, {}, 'more')", id / 2)).collect();
        rows(&server, of, &format!("INSERT INTO app.notes VALUES {}", more.join(", ")));
    }
    for (sql, order, read, answer) in [
        (
            "SELECT id FROM app.notes WHERE id > 500 ORDER BY id LIMIT 3",
            "as the key has it, nothing to sort",
            "3 rows of 3 read, ",
            json!([[501], [502], [503]]),
        ),
        (
            "SELECT id FROM app.notes WHERE id < 500 ORDER BY id DESC LIMIT 2 OFFSET 1",
            "as the key has it, backwards, nothing to sort",
            "3 rows of 3 read, ",
            json!([[498], [497]]),
        ),
        (
            "SELECT id, room FROM app.notes WHERE room > 300 ORDER BY room, id LIMIT 3",
            "as index notes_by_room has it, nothing to sort",
            "3 rows of 3 read, ",
            json!([[602, 301], [603, 301], [604, 302]]),
        ),
        (
            "SELECT id, room FROM app.notes WHERE id % 2 = 0 AND room < 300 ORDER BY room DESC, id DESC LIMIT 2",
            "as index notes_by_room has it, backwards, nothing to sort",
            "2 rows of 4 read, ",
            json!([[598, 299], [596, 298]]),
        ),
        (
            "SELECT max(id) FROM app.notes WHERE id < 500",
            "as the key has it, backwards, the first value decides",
            "1 rows of 1 read, ",
            json!([[499]]),
        ),
    ] {
        assert_eq!(rows(&server, &anna, sql), answer, "{sql}");
        let plan = rows(&server, &anna, &format!("EXPLAIN ANALYZE {sql}")).to_string();
        assert!(plan.contains(order) && plan.contains(read) && !plan.contains("Sort"), "{sql}: {plan}");
    }
    // Each shard of a partitioned table sends its first rows.
    let spread = "SELECT part, n FROM app.spread ORDER BY part, n LIMIT 1";
    assert_eq!(rows(&server, &anna, spread), json!([[0, 1]]));
    let plan = rows(&server, &anna, &format!("EXPLAIN ANALYZE {spread}")).to_string();
    assert!(plan.contains("Top of a sort"), "{plan}");
    // In a transaction its own rows are among them, and those that it removed are not.
    let within = "BEGIN; INSERT INTO app.notes VALUES (2000, 301, 'own'), (2001, 5, 'own'); \
                  DELETE FROM app.notes WHERE id IN (603, 899); \
                  SELECT id FROM app.notes WHERE id > 897 ORDER BY id LIMIT 2; \
                  SELECT id FROM app.notes ORDER BY id DESC LIMIT 3; \
                  SELECT id FROM app.notes WHERE room > 300 ORDER BY room, id LIMIT 3; \
                  SELECT id FROM app.notes WHERE room < 302 ORDER BY room DESC, id DESC LIMIT 3; \
                  EXPLAIN ANALYZE SELECT id FROM app.notes WHERE id > 1 ORDER BY id DESC LIMIT 3; ROLLBACK";
    let answer = server.sql(&anna, within);
    let results = answer.json["results"].as_array().unwrap();
    let pages: Vec<&Value> = results.iter().map(|result| &result["rows"]).filter(|rows| rows.is_array()).collect();
    let wanted = [
        json!([[898], [2000]]),
        json!([[2001], [2000], [898]]),
        json!([[602], [2000], [604]]),
        json!([[2000], [602], [601]]),
    ];
    assert_eq!(pages.iter().take(4).copied().collect::<Vec<_>>(), wanted.iter().collect::<Vec<_>>(), "{answer:?}");
    assert!(pages[4].to_string().contains("3 rows of 3 read, "), "{answer:?}");
}

#[test]
fn joins_and_in_read_a_table_by_the_values_that_are_looked_up_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let (server, root, anna, bert) = prepared(folder.path());
    rows(&server, &root, "CREATE INDEX notes_by_room ON app.notes (room); CREATE INDEX ON app.spread (n)");
    let more: Vec<String> = (10..200).map(|id| format!("({id}, {}, 'more')", id / 2)).collect();
    rows(&server, &anna, &format!("INSERT INTO app.notes VALUES {}", more.join(", ")));
    let text = |sql: &str| rows(&server, &anna, sql).to_string();
    for (sql, looks, read, answer) in [
        (
            "SELECT r.name, n.id FROM app.rooms r JOIN app.notes n ON n.room = r.id ORDER BY 2",
            "looked up by index notes_by_room (room) while the left side is small",
            "ran: 2 rows, ",
            json!([["hall", 1], ["attic", 2]]),
        ),
        (
            "SELECT count(*) FROM app.notes WHERE room IN (SELECT id + 30 FROM app.rooms)",
            "looked up by index notes_by_room (room) while the subquery gives few",
            "ran: 6 rows, ",
            json!([["6"]]),
        ),
        (
            "SELECT text FROM app.notes WHERE id IN (SELECT id FROM app.rooms) ORDER BY id",
            "looked up by key while the subquery gives few",
            "ran: 3 rows, ",
            json!([["of anna"], ["of anna too"], ["of anna three"]]),
        ),
        (
            "SELECT sum(part) FROM app.spread WHERE n IN (SELECT id FROM app.rooms WHERE id = 2)",
            "looked up by index ",
            "ran: 8 rows, ",
            json!([["28"]]),
        ),
        // Of other types: what equals no value of the column is not looked up.
        (
            "SELECT count(*) FROM app.notes WHERE room IN (SELECT (id + 30)::BIGINT FROM app.rooms)",
            "looked up by index notes_by_room (room) while the subquery gives few",
            "ran: 6 rows, ",
            json!([["6"]]),
        ),
        (
            "SELECT count(*) FROM (VALUES (35.0), (35.5), (99999999999)) v (w) JOIN app.notes n ON n.room = v.w",
            "looked up by index notes_by_room (room) while the left side is small",
            "ran: 2 rows, ",
            json!([["2"]]),
        ),
    ] {
        assert_eq!(rows(&server, &anna, sql), answer, "{sql}");
        let plan = text(&format!("EXPLAIN ANALYZE {sql}"));
        assert!(plan.contains(looks) && plan.contains(read), "{sql}: {plan}");
    }
    // In a transaction its own rows are found too, and nobody else's.
    let within = "BEGIN; INSERT INTO app.notes VALUES (1000, 1, 'new'); DELETE FROM app.notes WHERE id = 1; \
                  SELECT id FROM app.notes WHERE room IN (SELECT n FROM generate_series(1, 2) n) ORDER BY 1; ROLLBACK";
    let answer = server.sql(&anna, within);
    let results = answer.json["results"].as_array().unwrap();
    assert!(results.iter().any(|result| result["rows"] == json!([[2], [1000]])), "{answer:?}");
    rows(&server, &anna, "DELETE FROM app.notes WHERE room IN (SELECT id + 30 FROM app.rooms)");
    assert_eq!(rows(&server, &anna, "SELECT count(*) FROM app.notes"), json!([["187"]]));
    assert_eq!(rows(&server, &bert, "SELECT count(*) FROM app.notes"), json!([["1"]]));
}

#[test]
fn grouping_sets_recursion_and_lateral_read_what_lives_on_different_shards() {
    let folder = tempfile::tempdir().unwrap();
    let (server, root, anna, bert) = prepared(folder.path());
    for (sql, expected) in [
        (
            "SELECT part < 4 AS low, n, count(*) FROM app.spread GROUP BY ROLLUP (part < 4, n) ORDER BY GROUPING(part < 4, n), 1, 2",
            json!([
                [false, 1, "4"],
                [false, 2, "4"],
                [true, 1, "4"],
                [true, 2, "4"],
                [false, null, "8"],
                [true, null, "8"],
                [null, null, "16"]
            ]),
        ),
        (
            "SELECT r.name, n.id, count(*) FROM app.notes n JOIN app.rooms r ON r.id = n.room \
             GROUP BY GROUPING SETS (ROLLUP (r.name), (n.id), CUBE (n.id)) ORDER BY 1, 2, 3",
            json!([
                ["attic", null, "1"],
                ["hall", null, "1"],
                [null, 1, "1"],
                [null, 1, "1"],
                [null, 2, "1"],
                [null, 2, "1"],
                [null, null, "2"],
                [null, null, "2"]
            ]),
        ),
        (
            "WITH RECURSIVE walk (id, path) AS (SELECT id, name FROM app.rooms WHERE id = 1 UNION ALL \
             SELECT r.id, w.path || '/' || r.name FROM walk w JOIN app.rooms r ON r.id = w.id + 1) SELECT id, path FROM walk ORDER BY id",
            json!([[1, "hall"], [2, "hall/attic"], [3, "hall/attic/yard"]]),
        ),
        (
            "WITH RECURSIVE up (part) AS (SELECT min(part) FROM app.spread UNION SELECT s.part FROM up JOIN app.spread s ON s.part = up.part + 2) \
             SELECT count(*), max(part) FROM up",
            json!([["4", 6]]),
        ),
        (
            "SELECT r.name, x.n FROM app.rooms r, LATERAL (SELECT n FROM app.spread s WHERE s.part = r.id ORDER BY n DESC LIMIT 1) x ORDER BY r.id",
            json!([["hall", 2], ["attic", 2], ["yard", 2]]),
        ),
        (
            "SELECT r.id, x.text FROM app.rooms r LEFT JOIN LATERAL (SELECT text FROM app.notes n WHERE n.room = r.id) x ON TRUE ORDER BY r.id",
            json!([[1, "of anna"], [2, "of anna too"], [3, null]]),
        ),
    ] {
        assert_eq!(rows(&server, &anna, sql), expected, "{sql}");
    }
    // What others have is not there, in any part of them.
    assert_eq!(
        rows(
            &server,
            &bert,
            "WITH RECURSIVE mine (id) AS (SELECT id FROM app.notes UNION SELECT n.id FROM mine JOIN app.notes n ON n.id > mine.id) \
             SELECT count(*), (SELECT count(*) FROM app.rooms r, LATERAL (SELECT 1 FROM app.notes n WHERE n.room = r.id) x) FROM mine"
        ),
        json!([["1", "1"]])
    );
    for sql in [
        "SELECT what, count(*) FROM app.secret GROUP BY CUBE (what)",
        "WITH RECURSIVE r (id) AS (SELECT 1 UNION SELECT s.id + 1 FROM r JOIN app.secret s ON s.id = r.id) SELECT * FROM r",
        "SELECT 1 FROM app.rooms r, LATERAL (SELECT what FROM app.secret s WHERE s.id = r.id) x",
        "WITH unused AS (SELECT what FROM app.secret) DELETE FROM app.notes WHERE id = 9",
        "WITH s AS (SELECT id FROM app.secret) UPDATE app.notes SET room = 1 WHERE id IN (SELECT id FROM s)",
    ] {
        let answer = server.sql(&anna, sql);
        assert_eq!((answer.status, answer.code()), (403, "PERMISSION_DENIED"), "{sql}: {answer:?}");
    }
    let changed = |token: &str, sql: &str| {
        let answer = server.sql(token, sql);
        assert_eq!(answer.status, 200, "{sql}: {answer:?}");
        answer.json["results"][0]["row_count"].clone()
    };
    let first = "WITH named AS (SELECT id, name FROM app.rooms) UPDATE app.notes SET text = named.name FROM named WHERE named.id = notes.room";
    assert_eq!(changed(&anna, first), json!(2));
    assert_eq!(
        changed(
            &anna,
            "WITH big AS (SELECT part FROM app.spread WHERE part > 6) INSERT INTO app.notes SELECT part, 1, 'new' FROM big GROUP BY part"
        ),
        json!(1)
    );
    assert_eq!(
        changed(&anna, "WITH x AS (SELECT 2 AS id) DELETE FROM app.notes USING x WHERE x.id = notes.id"),
        json!(1)
    );
    assert_eq!(
        rows(&server, &anna, "SELECT id, text FROM app.notes ORDER BY id"),
        json!([[1, "hall"], [3, "of anna three"], [7, "new"]])
    );
    drop(root);
}
