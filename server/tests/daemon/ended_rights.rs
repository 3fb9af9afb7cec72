//! What a login may not do, or not any more: wait for messages, learn names, lend its cookies.
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::running::{Answer, PASSWORD, Server};

const SECRET: &str = "correct horse";

/// A server with a topic of a PRIVATE table, a service `pl` and a user `ann`, and root's token.
fn started(folder: &std::path::Path, more: &[&str]) -> (Server, String) {
    let server = Server::start(folder, more);
    let root = server.login("root", PASSWORD);
    let set_up = "CREATE NAMESPACE app; \
        CREATE SHARED TABLE app.news (id BIGINT PRIMARY KEY, title TEXT) WITH (ACCESS_LEVEL = 'PRIVATE'); \
        CREATE TOPIC app.ev PARTITIONS 2; ALTER TOPIC app.ev ADD SOURCE app.news ON INSERT; \
        CREATE USER pl WITH PASSWORD 'correct horse' ROLE service; CREATE USER ann WITH PASSWORD 'correct horse' ROLE user";
    let answer = server.sql(&root, set_up);
    assert_eq!(answer.status, 200, "{answer:?}");
    (server, root)
}

/// What a consume without a group, which waits for a minute, is answered once `done` was done.
fn polled(server: &Server, token: &str, done: impl FnOnce()) -> Answer {
    let body = json!({"topic_id": "app.ev", "start": "Latest", "timeout_seconds": 60});
    let began = Instant::now();
    let answer = std::thread::scope(|scope| {
        let poll = scope.spawn(|| server.ask("/v1/api/topics/consume", token, &body));
        done();
        poll.join().unwrap()
    });
    assert!(began.elapsed() < Duration::from_secs(50), "it waited for its whole time");
    answer
}

#[test]
fn a_long_poll_ends_with_the_rights_and_the_topic_that_it_began_with() {
    let folder = tempfile::tempdir().unwrap();
    let (server, root) = started(folder.path(), &["--cores", "2"]);
    let run = |sql: &str| assert_eq!(server.sql(&root, sql).status, 200, "{sql}");
    // Whether the poll has begun before the change or begins after it, it gets nothing.
    let changes = ["ALTER USER pl SET PASSWORD 'another horse'", "ALTER USER pl SET ROLE user", "DROP USER pl"];
    for change in changes {
        let token = server.login("pl", SECRET);
        let answer = polled(&server, &token, || run(change));
        assert!(matches!(answer.status, 401 | 403), "{change}: {answer:?}");
        run("DROP USER IF EXISTS pl; CREATE USER pl WITH PASSWORD 'correct horse' ROLE service");
    }
    let token = server.login("pl", SECRET);
    let answer = polled(&server, &token, || run("DROP TOPIC app.ev"));
    assert_eq!((answer.status, &answer.json["code"]), (404, &json!("NOT_FOUND")), "{answer:?}");
    server.stop();
}

fn refused(answer: &Answer) -> (u16, String, Value) {
    let error = &answer.json["error"];
    let details: Value = match &error["details"] {
        Value::String(text) => serde_json::from_str(text).unwrap(),
        other => other.clone(),
    };
    (
        answer.status,
        details["sqlstate"].as_str().unwrap_or_default().to_owned(),
        details.get("suggestions").cloned().unwrap_or(json!([])),
    )
}

#[test]
fn who_may_not_read_a_table_learns_no_name_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = started(folder.path(), &[]);
    let token = server.login("ann", SECRET);
    // A column that is not there, a value that does not fit, a write: all as the table itself.
    for sql in [
        "SELECT titel FROM app.news",
        "SELECT id FROM app.news WHERE id = 'x'",
        "INSERT INTO app.news (titel) VALUES (1)",
        "UPDATE app.news SET titel = 1",
        "SELECT * FROM system.userz",
        "CONSUME FROM app.ev",
        "CONSUME FROM app.evv",
    ] {
        let (_, state, suggestions) = refused(&server.sql(&token, sql));
        assert_eq!((state.as_str(), &suggestions), ("42501", &json!([])), "{sql}");
    }
    let (_, state, suggestions) = refused(&server.sql(&token, "SELECT * FROM app.nws"));
    assert_eq!((state.as_str(), &suggestions), ("42P01", &json!([])));
    for topic in ["app.ev", "app.evv"] {
        let answer = server.ask("/v1/api/topics/consume", &token, &json!({ "topic_id": topic }));
        assert_eq!((answer.status, &answer.json["code"]), (403, &json!("FORBIDDEN")), "{topic}");
    }
    let service = server.login("pl", SECRET);
    let (_, state, suggestions) = refused(&server.sql(&service, "SELECT titel FROM app.news"));
    assert_eq!((state.as_str(), &suggestions), ("42703", &json!(["title"])));
    let answer = server.ask("/v1/api/topics/consume", &service, &json!({ "topic_id": "app.ev", "partition_id": 9 }));
    assert_eq!((answer.status, &answer.json["code"]), (404, &json!("NOT_FOUND")));
    server.stop();
}

#[test]
fn a_cookie_counts_for_pages_of_the_server_itself_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = started(folder.path(), &[]);
    let cookie = format!("kalamdb_auth={}", server.login("ann", SECRET));
    let me = |origin: Option<&str>| {
        let headers = [("cookie", cookie.as_str())].into_iter().chain(origin.map(|origin| ("origin", origin)));
        server.get("/v1/api/auth/me", &headers.collect::<Vec<_>>()).status
    };
    let own = format!("http://{}", server.address());
    assert_eq!([me(None), me(Some(&own)), me(Some("https://evil.example")), me(Some("null"))], [200, 200, 401, 401]);
    server.stop();
}

#[test]
fn a_stop_does_not_wait_for_a_statement_beyond_its_deadline() {
    let folder = tempfile::tempdir().unwrap();
    let more = ["--set", "shutdown_deadline=1s", "--set", "sql.statement_timeout=1h"];
    let (server, root) = started(folder.path(), &more);
    let url = server.url.clone();
    let asked = std::thread::spawn(move || {
        let sql = "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b WHERE a + b = -1";
        let request = ureq::post(format!("{url}/v1/api/sql")).header("authorization", format!("Bearer {root}"));
        // Cut off: there is no answer.
        request.send(json!({ "sql": sql }).to_string()).is_err()
    });
    let began = Instant::now();
    while !server
        .get_text("/metrics", &[])
        .2
        .lines()
        .any(|line| line.starts_with("highwater_node_statements_in_flight") && !line.ends_with(" 0"))
    {
        assert!(began.elapsed() < Duration::from_secs(60), "the statement has not begun");
        std::thread::sleep(Duration::from_millis(20));
    }
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    assert!(asked.join().unwrap());
}
