//! Statements over HTTP on a real server: what a new user does first, and what must outlive a crash.
use std::time::{Duration, Instant};

use crate::running::{Answer, PASSWORD, Server};
use serde_json::{Value, json};

/// Runs statements that must succeed and gives the results.
fn run(server: &Server, token: &str, sql: &str) -> Vec<Value> {
    let answer = server.sql(token, sql);
    assert_eq!(answer.status, 200, "{sql}: {answer:?}");
    answer.json["results"].as_array().unwrap().clone()
}

/// The rows of a query that must succeed.
fn rows(server: &Server, token: &str, sql: &str) -> Value {
    run(server, token, sql)[0]["rows"].clone()
}

/// Runs a statement that must fail, and gives status, code and SQLSTATE.
fn refused(answer: &Answer) -> (u16, String, String) {
    let details: Value =
        answer.json["error"]["details"].as_str().map_or(Value::Null, |text| serde_json::from_str(text).unwrap());
    (answer.status, answer.code().to_owned(), details["sqlstate"].as_str().unwrap_or("").to_owned())
}

#[test]
fn users_see_their_own_rows_and_everyone_the_public_ones() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let root = server.login("root", PASSWORD);
    run(&server, &root, "CREATE NAMESPACE app");
    run(&server, &root, "CREATE USER TABLE app.notes (id BIGINT PRIMARY KEY, text TEXT NOT NULL)");
    run(
        &server,
        &root,
        "CREATE SHARED TABLE app.news (id BIGINT PRIMARY KEY, title TEXT) WITH (ACCESS_LEVEL = 'PUBLIC')",
    );
    run(&server, &root, "CREATE USER anna WITH PASSWORD 'a1' ROLE user; CREATE USER bert WITH PASSWORD 'b1' ROLE user");
    let (anna, bert) = (server.login("anna", "a1"), server.login("bert", "b1"));
    run(&server, &anna, "INSERT INTO app.notes VALUES (1, 'of anna')");
    run(&server, &bert, "INSERT INTO app.notes VALUES (1, 'of bert')");
    run(&server, &root, "INSERT INTO app.news VALUES (1, 'for all')");
    assert_eq!(rows(&server, &anna, "SELECT id, text FROM app.notes"), json!([["1", "of anna"]]));
    assert_eq!(rows(&server, &bert, "SELECT text FROM app.notes"), json!([["of bert"]]));
    assert_eq!(rows(&server, &root, "SELECT text FROM app.notes"), json!([]));
    assert_eq!(rows(&server, &root, "EXECUTE AS 'anna' (SELECT text FROM app.notes)"), json!([["of anna"]]));
    assert_eq!(rows(&server, &bert, "SELECT title FROM app.news"), json!([["for all"]]));
    assert_eq!(
        refused(&server.sql(&bert, "INSERT INTO app.news VALUES (2, 'x')")),
        (403, "PERMISSION_DENIED".into(), "42501".into())
    );
    assert_eq!(refused(&server.sql(&anna, "INSERT INTO app.notes VALUES (1, 'again')")).2, "23505");
    assert_eq!(refused(&server.sql(&anna, "SELECT * FROM app.none")).1, "TABLE_NOT_FOUND");
    let batch = server.sql(&anna, "INSERT INTO app.notes VALUES (2, 'kept'); INSERT INTO app.notes VALUES (2, 'not')");
    assert!(batch.message().starts_with("Statement 2 failed: "), "{batch:?}");
    assert_eq!(rows(&server, &anna, "SELECT COUNT(*) FROM app.notes"), json!([["2"]]));
}

#[test]
fn a_new_password_or_role_or_no_user_any_more_ends_tokens_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let cores = std::thread::available_parallelism().unwrap().get().min(2).to_string();
    let server = Server::start(folder.path(), &["--cores", &cores]);
    let root = server.login("root", PASSWORD);
    let me = |token: &str| server.get("/v1/api/auth/me", &[("authorization", &format!("Bearer {token}"))]).status;
    run(&server, &root, "CREATE USER anna WITH PASSWORD 'one' ROLE service");
    let first = server.login("anna", "one");
    assert_eq!(me(&first), 200);
    run(&server, &root, "ALTER USER anna SET PASSWORD 'two'");
    assert_eq!(me(&first), 401);
    assert_eq!(server.try_login("anna", "one").status, 401);
    let second = server.login("anna", "two");
    run(&server, &root, "ALTER USER anna SET ROLE user");
    assert_eq!(refused(&server.sql(&second, "SELECT 1")).0, 401);
    let third = server.login("anna", "two");
    run(&server, &root, "DROP USER anna");
    assert_eq!(me(&third), 401);
    assert_eq!(server.try_login("anna", "two").status, 401);
}

#[test]
fn rows_of_a_dropped_user_stay_for_the_next_one_of_that_name_and_drop_user_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let root = server.login("root", PASSWORD);
    run(&server, &root, "CREATE NAMESPACE app; CREATE USER TABLE app.notes (id BIGINT PRIMARY KEY)");
    run(&server, &root, "CREATE USER anna WITH PASSWORD 'one'; EXECUTE AS 'anna' (INSERT INTO app.notes VALUES (7))");
    let message = |sql: &str| server.sql(&root, sql).json["results"][0]["message"].as_str().unwrap().to_owned();
    let dropped = message("DROP USER anna");
    let stay = "; the rows that it owned stay, and a user who is created under the same name again has them";
    assert_eq!(dropped, format!("User 'anna' dropped successfully{stay}"));
    assert_eq!(message("DROP USER IF EXISTS anna"), "User 'anna' does not exist");
    run(&server, &root, "CREATE USER anna WITH PASSWORD 'two'");
    assert_eq!(rows(&server, &server.login("anna", "two"), "SELECT id FROM app.notes"), json!([["7"]]));
}

#[test]
fn a_request_id_makes_a_retry_apply_once() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let root = server.login("root", PASSWORD);
    run(&server, &root, "CREATE NAMESPACE app; CREATE TABLE app.n (id BIGINT PRIMARY KEY, hits BIGINT)");
    run(&server, &root, "INSERT INTO app.n VALUES (1, 0)");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let id = ulid::Ulid((now << 80) | 7).to_string();
    for _ in 0..3 {
        let body = json!({"sql": "UPDATE app.n SET hits = hits + $1 WHERE id = 1", "params": [5], "request_id": id});
        let answer = server.ask("/v1/api/sql", &root, &body);
        assert_eq!((answer.status, &answer.json["results"][0]["row_count"]), (200, &json!(1)), "{answer:?}");
    }
    assert_eq!(rows(&server, &root, "SELECT hits FROM app.n"), json!([["5"]]));
    let old = ulid::Ulid(((now - 11 * 60_000) << 80) | 7).to_string();
    let late = server.ask("/v1/api/sql", &root, &json!({"sql": "UPDATE app.n SET hits = 0", "request_id": old}));
    assert_eq!((late.status, late.code()), (409, "REQUEST_EXPIRED"));
}

#[test]
fn what_was_acknowledged_is_there_after_kill_9_and_after_a_stop() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path(), &[]);
    let mut root = server.login("root", PASSWORD);
    run(&server, &root, "CREATE NAMESPACE app; CREATE TABLE app.n (id BIGINT PRIMARY KEY)");
    for round in 0..3 {
        for number in 0..20 {
            run(&server, &root, &format!("INSERT INTO app.n VALUES ({})", round * 100 + number));
        }
        if round == 1 {
            server.stop()
        } else {
            server.kill()
        }
        server = Server::start(folder.path(), &[]);
        root = server.login("root", PASSWORD);
        assert_eq!(rows(&server, &root, "SELECT COUNT(*) FROM app.n"), json!([[((round + 1) * 20).to_string()]]));
    }
}

#[test]
fn messages_are_consumed_and_acknowledged_over_http() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let root = server.login("root", PASSWORD);
    run(&server, &root, "CREATE NAMESPACE app; CREATE TABLE app.n (id BIGINT PRIMARY KEY); CREATE TOPIC app.events");
    run(&server, &root, "ALTER TOPIC app.events ADD SOURCE app.n ON INSERT");
    let consume = |start: Value, wait: u64| {
        let body =
            json!({"topic_id": "app.events", "group_id": "g", "start": start, "limit": 2, "timeout_seconds": wait});
        let answer = server.ask("/v1/api/topics/consume", &root, &body);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json
    };
    run(&server, &root, "INSERT INTO app.n VALUES (1), (2), (3)");
    let first = consume(json!("Earliest"), 0);
    assert_eq!(first["messages"].as_array().unwrap().len(), 2);
    assert_eq!((&first["messages"][0]["offset"], &first["messages"][0]["op"]), (&json!(0), &json!("Insert")));
    assert_eq!((&first["next_offset"], &first["has_more"]), (&json!(2), &json!(true)));
    let ack = |upto: u64| {
        let answer = server.ask(
            "/v1/api/topics/ack",
            &root,
            &json!({"topic_id": "app.events", "group_id": "g", "upto_offset": upto}),
        );
        (answer.status, answer.json["acknowledged_offset"].clone())
    };
    assert_eq!(ack(1), (200, json!(1)));
    assert_eq!(ack(0), (200, json!(1)), "offsets never move back");
    assert_eq!(ack(99).0, 400, "nothing beyond the end can be acknowledged");
    assert_eq!(consume(json!("Earliest"), 0)["messages"][0]["offset"], 2);

    // An answer that was lost on its way is had again under its id, so that no ack settles what nobody has seen.
    let claim = |limit: u32, id: &str| {
        let body = json!({"topic_id": "app.events", "group_id": "again", "start": "Earliest", "limit": limit, "request_id": id});
        server.ask("/v1/api/topics/consume", &root, &body)
    };
    let offsets = |answer: &Answer| {
        let messages = answer.json["messages"].as_array().unwrap();
        messages.iter().map(|message| message["offset"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    let [one, two] = [ulid::Ulid::generate().to_string(), ulid::Ulid::generate().to_string()];
    let first = claim(2, &one);
    assert_eq!(offsets(&first), [0, 1], "{first:?}");
    assert_eq!(claim(2, &one).json, first.json);
    assert_eq!(offsets(&claim(2, &two)), [2]);
    // There is nothing more to deliver: a retry does not wait for its first try's answer.
    let waiting = json!({"topic_id": "app.events", "group_id": "again", "start": "Earliest", "limit": 2, "request_id": one, "timeout_seconds": 20});
    let began = Instant::now();
    assert_eq!(server.ask("/v1/api/topics/consume", &root, &waiting).json, first.json);
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    let other = claim(1, &one);
    assert!(other.status == 400 && other.json["error"].as_str().unwrap().contains("request"), "{other:?}");
    let malformed = claim(1, "garbage");
    assert!(malformed.status == 400 && malformed.json["error"].as_str().unwrap().contains("ULID"), "{malformed:?}");

    // A misspelt field would be one that is not there.
    for (path, body, field) in [
        ("/v1/api/topics/consume", json!({"topic_id": "app.events", "requestId": one}), "requestId"),
        ("/v1/api/topics/ack", json!({"topic_id": "app.events", "group_id": "g", "upto_offset": 0, "upto": 0}), "upto"),
        ("/v1/api/sql", json!({"sql": "SELECT $1::INT", "param": [1]}), "param"),
    ] {
        let refused = server.ask(path, &root, &body);
        assert!(
            refused.status == 400 && refused.json.to_string().contains(&format!("unknown field `{field}`")),
            "{refused:?}"
        );
    }

    // What one consumer holds, the ack of another does not settle: nothing is committed, and the offset is a number all the same.
    let held = json!({"topic_id": "app.events", "group_id": "h", "start": "Earliest", "consumer_id": "one"});
    assert_eq!(server.ask("/v1/api/topics/consume", &root, &held).status, 200);
    let others = json!({"topic_id": "app.events", "group_id": "h", "upto_offset": 2, "consumer_id": "two"});
    let acked = server.ask("/v1/api/topics/ack", &root, &others);
    assert_eq!(acked.json, json!({"success": true, "acknowledged_offset": 2, "committed_offset": null}));

    // A statement takes the names of groups that the topic paths take.
    let named = |bytes: usize| {
        let group = "g".repeat(bytes);
        let ack = json!({"topic_id": "app.events", "group_id": group, "upto_offset": 0});
        let by_path = server.ask("/v1/api/topics/ack", &root, &ack).status;
        (by_path, server.sql(&root, &format!("ACK app.events GROUP '{group}' UPTO OFFSET 0")).status)
    };
    assert_eq!((named(256), named(257)), ((200, 200), (400, 400)));
    run(&server, &root, "CREATE USER anna WITH PASSWORD 'a' ROLE user");
    let anna = server.login("anna", "a");
    let forbidden = server.ask("/v1/api/topics/consume", &anna, &json!({"topic_id": "app.events"}));
    assert_eq!((forbidden.status, forbidden.code()), (403, "FORBIDDEN"));

    // A long poll ends with the message it waited for, long before its time is over.
    let started = std::time::Instant::now();
    std::thread::scope(|threads| {
        let waiting = threads.spawn(|| consume(json!("Latest"), 60));
        run(&server, &root, "INSERT INTO app.n VALUES (4)");
        assert_eq!(waiting.join().unwrap()["messages"][0]["offset"], 3);
    });
    assert!(started.elapsed().as_secs() < 50);
}

#[test]
fn the_settings_are_a_table() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let root = server.login("root", PASSWORD);
    let shown =
        rows(&server, &root, "SELECT value, category FROM system.settings WHERE name = 'auth.scram_iterations'");
    assert_eq!(shown, json!([["4096", "auth"]]));
    assert_eq!(rows(&server, &root, "SHOW auth.scram_iterations"), json!([["4096"]]));
    assert_eq!(rows(&server, &root, "SHOW server_version"), json!([[env!("CARGO_PKG_VERSION")]]));
    for (sql, meant) in [("SHOW auth.scram_iteration", "auth.scram_iterations"), ("SHOW timezon", "timezone")] {
        let answer = server.sql(&root, sql);
        assert_eq!(refused(&answer), (400, "SQL_EXECUTION_ERROR".into(), "42704".into()), "{sql}");
        assert!(answer.message().contains("unrecognized configuration parameter"), "{answer:?}");
        assert!(answer.json["error"]["details"].to_string().contains(meant), "{answer:?}");
    }
    assert_eq!(refused(&server.sql(&root, "SHOW TABLES IN nope")).2, "3F000");
}

#[test]
fn every_type_survives_the_log_the_topic_and_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let root = server.login("root", PASSWORD);
    run(
        &server,
        &root,
        "CREATE TABLE every (id DECIMAL(10,2) PRIMARY KEY DEFAULT 0.5, b BOOLEAN, s SMALLINT, i INT, l BIGINT, d DOUBLE DEFAULT 1.5 \
         CHECK (d > 0.25), e DECIMAL(12,4) CHECK (e < 1000.5), t TEXT, y BYTES, j JSON, w TIMESTAMP)",
    );
    run(&server, &root, "CREATE TOPIC all_of_it");
    run(
        &server,
        &root,
        "ALTER TOPIC all_of_it ADD SOURCE every ON INSERT WHERE d > 0.75 AND e > 1.25 WITH (payload = 'full')",
    );
    let values = "true, -32768, 2147483647, -9223372036854775808, 2.25, 9.95, 'text', '\\x00ff', '{\"a\":1.50}', '2026-01-02 03:04:05.678'";
    run(&server, &root, &format!("INSERT INTO every VALUES (1.5, {values})"));
    run(&server, &root, "INSERT INTO every (e) VALUES (7.5)");
    run(&server, &root, "UPDATE every SET d = d * 1.5, e = e + 0.05, i = i - 1 WHERE id = 1.5 AND d > 0.5");
    run(&server, &root, "DELETE FROM every WHERE d < 0.001 OR e = 7.25");
    let query = "SELECT * FROM every ORDER BY id";
    let before = rows(&server, &root, query);
    assert_eq!(before[1][0], json!("1.50"));
    assert_eq!(before[1][5], json!(3.375));
    assert_eq!(before[1][6], json!("10.0000"));
    let messages = rows(&server, &root, "CONSUME FROM all_of_it FROM EARLIEST");
    assert_eq!(messages.as_array().unwrap().len(), 2);
    server.kill();
    let server = Server::start(folder.path(), &[]);
    let root = server.login("root", PASSWORD);
    assert_eq!(rows(&server, &root, query), before);
    assert_eq!(rows(&server, &root, "CONSUME FROM all_of_it FROM EARLIEST"), messages);
}

#[test]
fn users_share_the_plan_of_a_text_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let root = server.login("root", PASSWORD);
    run(&server, &root, "CREATE NAMESPACE app");
    run(&server, &root, "CREATE USER TABLE app.notes (id BIGINT PRIMARY KEY, text TEXT NOT NULL)");
    run(
        &server,
        &root,
        "CREATE USER anna WITH PASSWORD 'a1' ROLE user; CREATE USER bert WITH PASSWORD 'b1' ROLE user; \
         CREATE USER svc WITH PASSWORD 's1' ROLE service; CREATE USER svc2 WITH PASSWORD 's2' ROLE service; \
         CREATE USER dora WITH PASSWORD 'd1' ROLE dba",
    );
    let login = |name: &str, password: &str| server.login(name, password);
    let (anna, bert) = (login("anna", "a1"), login("bert", "b1"));
    let (svc, svc2, dora) = (login("svc", "s1"), login("svc2", "s2"), login("dora", "d1"));
    let ask = |token: &str, sql: &str| server.ask("/v1/api/sql", token, &json!({ "sql": sql, "params": [1] }));
    let row = |token: &str, sql: &str| {
        let answer = ask(token, sql);
        assert_eq!(answer.status, 200, "{sql}: {answer:?}");
        answer.json["results"][0]["rows"].clone()
    };
    // Twice: the second time every core may know the text.
    for _ in 0..2 {
        for (token, name) in [(&anna, "anna"), (&bert, "bert"), (&root, "root")] {
            run(&server, token, &format!("DELETE FROM app.notes; INSERT INTO app.notes VALUES (1, 'of {name}')"));
            for _ in 0..3 {
                let sql = "SELECT text, CURRENT_USER FROM app.notes WHERE id = $1";
                assert_eq!(row(token, sql), json!([[format!("of {name}"), name]]));
            }
        }
        let acting =
            |name: &str| format!("EXECUTE AS '{name}' (SELECT text, CURRENT_USER FROM app.notes WHERE id = $1)");
        for name in ["anna", "bert", "anna"] {
            for token in [&svc, &svc2, &dora, &root] {
                assert_eq!(row(token, &acting(name)), json!([[format!("of {name}"), name]]));
            }
        }
        assert_eq!(row(&svc, &acting("svc")), json!([]));
        assert_eq!(row(&anna, &acting("anna")), json!([["of anna", "anna"]]));
        for (token, name) in
            [(&svc, "svc2"), (&svc, "dora"), (&svc2, "root"), (&dora, "root"), (&anna, "bert"), (&bert, "svc")]
        {
            let answer = ask(token, &acting(name));
            assert_eq!(refused(&answer), (403, "PERMISSION_DENIED".into(), "42501".into()), "{answer:?}");
        }
        assert_eq!(refused(&ask(&svc, &acting("nobody"))).2, "42704");
        assert_eq!(refused(&ask(&root, &acting("nobody"))).2, "42704");
    }
}

#[test]
fn who_asks_is_told_where_the_time_of_a_request_went() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let root = server.login("root", PASSWORD);
    run(&server, &root, "CREATE NAMESPACE app; CREATE TABLE app.t (id BIGINT PRIMARY KEY, n INT)");
    let ask = |headers: &[(&str, &str)], sql: &str| {
        let authorization = format!("Bearer {root}");
        let headers = [&[("authorization", authorization.as_str())], headers].concat();
        let answer = server.post("/v1/api/sql", &headers, json!({ "sql": sql }).to_string().as_bytes());
        assert_eq!(answer.status, 200, "{answer:?}");
        answer
    };
    assert_eq!(ask(&[], "SELECT 1").header("server-timing"), None);
    let timed = |session: Option<&str>, sql: &str| {
        let mut headers = vec![("x-highwater-timing", "1")];
        headers.extend(session.map(|session| ("x-highwater-session", session)));
        let answer = ask(&headers, sql);
        let parts = answer.header("server-timing").unwrap().split(", ").map(|part| {
            let (name, millis) = part.split_once(";dur=").unwrap();
            (name.to_owned(), millis.parse::<f64>().unwrap())
        });
        let parts: Vec<(String, f64)> = parts.collect();
        assert_eq!(parts.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["parse", "plan", "queue", "exec"]);
        let sum: f64 = parts.iter().map(|(_, millis)| millis).sum();
        assert!(sum <= answer.json["took"].as_f64().unwrap() + 0.002, "{answer:?}");
        (parts.into_iter().map(|(_, millis)| millis).collect::<Vec<_>>(), answer)
    };
    let (written, _) = timed(None, "INSERT INTO app.t VALUES (1, 1)");
    assert!(written[2] > 0.0, "a change waits for its log: {written:?}");
    let (read, _) =
        timed(None, "SELECT sum(a.n * b.n) FROM generate_series(1, 300) a(n), generate_series(1, 300) b(n)");
    assert!(read[2] == 0.0 && read[3] > read[0], "{read:?}");
    let long = format!("SELECT {}", vec!["1 + 1"; 500].join(", "));
    let (parsed, _) = timed(None, &long);
    assert!(parsed[0] > 0.0 && parsed[1] > 0.0, "{parsed:?}");
    // On the core of its session too.
    let (_, begun) = timed(None, "BEGIN");
    let session = begun.json["session_id"].as_str().unwrap();
    assert_eq!(timed(Some(session), "INSERT INTO app.t VALUES (2, 2)").0[2], 0.0, "nothing is in the log yet");
    assert!(timed(Some(session), "COMMIT").0[2] > 0.0);
}

#[test]
fn the_servers_log_can_be_asked_and_has_the_requests_that_its_lines_are_of() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let root = server.login("root", PASSWORD);
    let refused = server.try_login("nobody", "a wrong guess");
    let id = refused.header("x-request-id").unwrap().to_owned();
    let found = |condition: &str| {
        let sql = format!("SELECT level, request_id, node_id FROM system.server_logs WHERE {condition}");
        server.sql(&root, &sql).json["results"][0]["rows"].clone()
    };
    assert_eq!(found("message LIKE 'ready%'"), json!([["INFO", null, "1"]]));
    assert_eq!(found("message LIKE 'login refused%user=nobody%'"), json!([["WARN", id, "1"]]));
    assert_eq!(found("message LIKE '%a wrong guess%'"), json!([]), "no password is in the log");
    assert_eq!(found("timestamp > NOW() OR target NOT LIKE 'highwater%'"), json!([]));
}

#[test]
fn a_name_that_is_taken_and_a_parameter_that_does_not_fit_are_marked_in_the_text() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let root = server.login("root", PASSWORD);
    run(&server, &root, "CREATE NAMESPACE app");
    run(&server, &root, "CREATE USER TABLE app.notes (id BIGINT PRIMARY KEY, text TEXT)");
    run(&server, &root, "CREATE USER anna WITH PASSWORD 'a1' ROLE user");
    run(&server, &root, "CREATE USER annabel WITH PASSWORD 'b1' ROLE user");
    let marked = |sql: &str, params: Value| -> (String, String) {
        let answer = server.ask("/v1/api/sql", &root, &json!({ "sql": sql, "params": params }));
        let details = answer.json["error"]["details"].as_str().unwrap_or_else(|| panic!("{sql}: {answer:?}"));
        let details: Value = serde_json::from_str(details).unwrap();
        let place = |name: &str| usize::try_from(details[name].as_u64().unwrap_or(1)).unwrap() - 1;
        (details["sqlstate"].as_str().unwrap().to_owned(), sql[place("position")..place("end")].to_owned())
    };
    for (sql, params, state, words) in [
        ("CREATE NAMESPACE app", json!([]), "42P06", "app"),
        ("SELECT 1; CREATE TABLE app.notes (id INT PRIMARY KEY)", json!([]), "42P07", "app.notes"),
        ("CREATE USER TABLE app.notes PRIMARY KEY (one) AS SELECT 1 AS one", json!([]), "42P07", "app.notes"),
        ("CREATE USER anna PASSWORD 'a long password'", json!([]), "42710", "anna"),
        ("SELECT text FROM app.notes WHERE id = $1", json!(["seven"]), "22P02", "$1"),
        // One plan for both users, and a place in each text.
        ("EXECUTE AS 'anna' (SELECT text FROM app.notes WHERE id = $1)", json!([7]), "", ""),
        ("EXECUTE AS 'annabel' (SELECT text FROM app.notes WHERE id = $1)", json!(["x"]), "22P02", "$1"),
        ("EXECUTE  AS   'anna' (SELECT text FROM app.notes WHERE id = $2 OR id = $1)", json!([1]), "42P02", "$2"),
    ] {
        if state.is_empty() {
            assert_eq!(server.ask("/v1/api/sql", &root, &json!({ "sql": sql, "params": params })).status, 200, "{sql}");
        } else {
            assert_eq!(marked(sql, params), (state.to_owned(), words.to_owned()), "{sql}");
        }
    }
}
