//! Definitions that change and writes that answer, over HTTP on a real server.
use crate::running::{Answer, PASSWORD, Server};
use serde_json::{Value, json};

/// Runs statements that must succeed and gives the results.
fn run(server: &Server, token: &str, sql: &str) -> Vec<Value> {
    let answer = server.sql(token, sql);
    assert_eq!(answer.status, 200, "{sql}: {answer:?}");
    answer.json["results"].as_array().unwrap().clone()
}

fn rows(server: &Server, token: &str, sql: &str) -> Value {
    run(server, token, sql)[0]["rows"].clone()
}

/// SQLSTATE and message of a statement that must fail.
fn refused(answer: &Answer) -> (String, String) {
    let details: Value =
        answer.json["error"]["details"].as_str().map_or(Value::Null, |text| serde_json::from_str(text).unwrap());
    (details["sqlstate"].as_str().unwrap_or("").to_owned(), answer.message().to_owned())
}

fn started(folder: &tempfile::TempDir) -> (Server, String) {
    let server = Server::start(folder.path(), &[]);
    let root = server.login("root", PASSWORD);
    run(&server, &root, "CREATE NAMESPACE app");
    (server, root)
}

#[test]
fn writes_answer_with_rows_and_upserts_meet_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let (server, root) = started(&folder);
    run(&server, &root, "CREATE TABLE app.n (id BIGINT PRIMARY KEY, hits INT DEFAULT 1, note TEXT)");
    let result = &run(&server, &root, "INSERT INTO app.n (id) VALUES (1), (2) RETURNING id, hits + 1 AS next")[0];
    assert_eq!(result["rows"], json!([["1", 2], ["2", 2]]));
    assert_eq!(result["schema"][1]["name"], "next");
    let upsert = "INSERT INTO app.n (id) VALUES (2), (3) ON CONFLICT (id) DO UPDATE SET hits = n.hits + excluded.hits RETURNING id, hits";
    assert_eq!(rows(&server, &root, upsert), json!([["2", 2], ["3", 1]]));
    assert_eq!(
        rows(&server, &root, "UPDATE app.n SET (hits, note) = (9, 'x') WHERE id = 1 RETURNING *"),
        json!([["1", 9, "x"]])
    );
    assert_eq!(rows(&server, &root, "DELETE FROM app.n WHERE hits < 3 RETURNING id"), json!([["2"], ["3"]]));
    assert_eq!(run(&server, &root, "INSERT INTO app.n (id) VALUES (1) ON CONFLICT DO NOTHING")[0]["row_count"], 0);
    run(&server, &root, "TRUNCATE TABLE app.n");
    assert_eq!(rows(&server, &root, "SELECT count(*) FROM app.n"), json!([["0"]]));
}

#[test]
fn a_table_is_altered_while_it_has_rows_and_stays_so_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let (server, root) = started(&folder);
    run(&server, &root, "CREATE USER TABLE app.m (id BIGSERIAL PRIMARY KEY, body TEXT, n INT DEFAULT 7)");
    run(&server, &root, "INSERT INTO app.m (body) VALUES ('1'), ('2'), (NULL)");
    run(&server, &root, "ALTER TABLE app.m ADD COLUMN stars INT NOT NULL DEFAULT 5");
    run(&server, &root, "ALTER TABLE app.m RENAME COLUMN n TO likes");
    assert_eq!(
        refused(&server.sql(&root, "ALTER TABLE app.m ALTER COLUMN body SET NOT NULL")),
        ("23502".into(), "column \"body\" of table app.m cannot become NOT NULL: it holds a NULL".into())
    );
    run(&server, &root, "DELETE FROM app.m WHERE body IS NULL");
    run(&server, &root, "ALTER TABLE app.m ALTER COLUMN body SET NOT NULL");
    assert_eq!(refused(&server.sql(&root, "INSERT INTO app.m (likes) VALUES (1)")).0, "23502");
    run(&server, &root, "CREATE INDEX by_stars ON app.m (stars)");
    assert_eq!(refused(&server.sql(&root, "ALTER TABLE app.m ALTER COLUMN stars TYPE TEXT")).0, "0A000");
    run(&server, &root, "DROP INDEX app.by_stars");
    run(&server, &root, "ALTER TABLE app.m ALTER COLUMN stars TYPE TEXT");
    assert_eq!(refused(&server.sql(&root, "ALTER TABLE app.m ADD CONSTRAINT few CHECK (likes > 7)")).0, "23514");
    run(&server, &root, "ALTER TABLE app.m ADD CONSTRAINT few CHECK (likes > 6)");
    assert_eq!(refused(&server.sql(&root, "ALTER TABLE app.m DROP COLUMN likes")).0, "2BP01");
    run(&server, &root, "ALTER TABLE app.m DROP CONSTRAINT few");
    run(&server, &root, "ALTER TABLE app.m DROP COLUMN likes");
    let expected = json!([["1", "1", "5"], ["2", "2", "5"]]);
    assert_eq!(rows(&server, &root, "SELECT * FROM app.m"), expected);
    let ended = "SELECT count(*) FROM system.jobs WHERE job_type = 'table_change' AND finished_at IS NOT NULL";
    assert_eq!(rows(&server, &root, ended), json!([["5"]]));
    server.kill();
    let server = Server::start(folder.path(), &[]);
    let root = server.login("root", PASSWORD);
    assert_eq!(rows(&server, &root, "SELECT * FROM app.m"), expected);
    assert_eq!(rows(&server, &root, "INSERT INTO app.m (body) VALUES ('x') RETURNING id"), json!([["4"]]));
}

#[test]
fn indexes_are_built_over_many_rows_and_find_them() {
    let folder = tempfile::tempdir().unwrap();
    let (server, root) = started(&folder);
    run(&server, &root, "CREATE TABLE app.p (id INT PRIMARY KEY, email TEXT UNIQUE, room INT)");
    for hundred in 0..25 {
        let values: Vec<String> =
            (0..100).map(|n| hundred * 100 + n).map(|id| format!("({id}, 'e{id}', {})", id % 50)).collect();
        run(&server, &root, &format!("INSERT INTO app.p VALUES {}", values.join(", ")));
    }
    assert_eq!(refused(&server.sql(&root, "INSERT INTO app.p VALUES (9999, 'e5', 1)")).0, "23505");
    run(&server, &root, "CREATE INDEX ON app.p (room, id)");
    assert_eq!(
        rows(&server, &root, "SELECT count(*), min(id), max(id) FROM app.p WHERE room = 7"),
        json!([["50", 7, 2457]])
    );
    assert_eq!(rows(&server, &root, "SELECT id FROM app.p WHERE email = 'e77'"), json!([[77]]));
    run(&server, &root, "UPDATE app.p SET room = 50 WHERE room = 7 AND id < 1000");
    assert_eq!(rows(&server, &root, "SELECT count(*) FROM app.p WHERE room = 50"), json!([["20"]]));
    assert_eq!(rows(&server, &root, "SELECT count(*) FROM app.p WHERE room = 7"), json!([["30"]]));
    let failed = refused(&server.sql(&root, "CREATE UNIQUE INDEX one_room ON app.p (room)"));
    assert_eq!(failed, ("23505".into(), "duplicate values for unique index \"one_room\" of table app.p".into()));
    assert_eq!(
        rows(&server, &root, "SELECT index_name, is_unique, state FROM system.indexes ORDER BY index_name"),
        json!([["p_email_key", true, "public"], ["p_room_id_idx", false, "public"]])
    );
    assert_eq!(
        rows(&server, &root, "SELECT status FROM system.jobs WHERE job_type = 'index_build' ORDER BY status"),
        json!([["completed"], ["failed"]])
    );
    let upsert = "INSERT INTO app.p VALUES (7000, 'e1', 9) ON CONFLICT (email) DO UPDATE SET room = excluded.room RETURNING id, room";
    assert_eq!(rows(&server, &root, upsert), json!([[1, 9]]));
    run(&server, &root, "DROP INDEX app.p_room_id_idx; ALTER TABLE app.p DROP CONSTRAINT p_email_key");
    run(&server, &root, "INSERT INTO app.p VALUES (9999, 'e5', 1)");
    assert_eq!(rows(&server, &root, "SELECT count(*) FROM app.p WHERE room = 50"), json!([["20"]]));
}
