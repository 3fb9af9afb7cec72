//! The HTTP interface at its edges: who is let in, what is refused and how.
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::running::{PASSWORD, Server, run};
use serde_json::json;

#[test]
fn health_and_readiness_need_no_login() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    for path in ["/health", "/v1/api/healthcheck"] {
        let answer = server.get(path, &[]);
        assert_eq!((answer.status, answer.json["status"].as_str()), (200, Some("healthy")));
        assert_eq!(answer.json["api_version"], "v1");
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
    assert_eq!(server.get("/ready", &[]).json["status"], "ready");
    assert_eq!(server.get("/v1/api/auth/status", &[]).json["needs_setup"], false);
}

#[test]
fn a_release_has_a_date_which_answers_and_the_command_line_show() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let health = server.get("/health", &[]).json;
    let date = health["build_date"].as_str().unwrap();
    assert!(date.parse::<jiff::Timestamp>().unwrap() > "2026-01-01T00:00:00Z".parse().unwrap(), "{date}");
    assert_eq!(server.get("/v1/api/cluster/health", &[]).json["build_date"], date);
    let (code, said, _) = run(&["--version", "--verbose"]);
    assert_eq!((code, said), (0, format!("highwaterd {} (built {date})\n", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn a_login_gives_tokens_that_open_what_they_are_for() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let login = server.try_login("root", PASSWORD);
    assert_eq!(login.status, 200);
    assert_eq!(login.json["user"]["role"], "system");
    assert_eq!(login.json["admin_ui_access"], true);
    let cookies: Vec<_> =
        login.headers.iter().filter(|(name, _)| name == "set-cookie").map(|(_, value)| value).collect();
    assert!(
        cookies.len() == 2 && cookies.iter().all(|cookie| cookie.contains("HttpOnly; SameSite=Strict")),
        "{cookies:?}"
    );
    let (access, refresh) =
        (login.json["access_token"].as_str().unwrap(), login.json["refresh_token"].as_str().unwrap());
    let bearer = |token: &str| format!("Bearer {token}");
    let me = |token: &str| server.get("/v1/api/auth/me", &[("authorization", &bearer(token))]).status;
    let renew = |token: &str| server.post("/v1/api/auth/refresh", &[("authorization", &bearer(token))], b"");
    assert_eq!((me(access), me(refresh)), (200, 401));
    assert_eq!(renew(access).status, 401);
    let renewed = renew(refresh);
    assert_eq!(renewed.status, 200);
    assert_eq!(me(renewed.json["access_token"].as_str().unwrap()), 200);
    let by_cookie = server.get("/v1/api/auth/me", &[("cookie", &format!("a=b; kalamdb_auth={access}"))]);
    assert_eq!(by_cookie.status, 200);
}

#[test]
fn bearer_failures_are_told_apart_in_the_sql_envelope() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let token = server.login("root", PASSWORD);
    let ask = |headers: &[(&str, &str)]| {
        let answer = server.post("/v1/api/sql", headers, br#"{"sql":"SELECT 1"}"#);
        (answer.status, answer.code().to_owned())
    };
    assert_eq!(ask(&[]), (401, "MISSING_AUTHORIZATION".into()));
    assert_eq!(ask(&[("authorization", "Basic cm9vdDpwdw==")]), (401, "INVALID_CREDENTIALS".into()));
    assert_eq!(ask(&[("authorization", "Bearer nonsense")]), (401, "INVALID_CREDENTIALS".into()));
    let mut parts = token.split('.');
    let (_, claims) = (parts.next().unwrap(), parts.next().unwrap());
    // {"alg":"none"}
    let unsigned = format!("Bearer eyJhbGciOiJub25lIn0.{claims}.");
    assert_eq!(ask(&[("authorization", &unsigned)]), (401, "INVALID_CREDENTIALS".into()));
    let consume = server.post("/v1/api/topics/consume", &[], br#"{"topic_id":"a.b"}"#);
    assert_eq!((consume.status, consume.code()), (401, "MISSING_AUTHORIZATION"));
}

#[test]
fn five_wrong_passwords_lock_the_account_and_unknown_users_look_the_same() {
    let folder = tempfile::tempdir().unwrap();
    // Connections come to both cores, which count together.
    let server = Server::start(folder.path(), &["--set", "auth.lockout_failures=5", "--cores", "2"]);
    let token = server.login("root", PASSWORD);
    for user in ["root", "nobody"] {
        for _ in 0..5 {
            let answer = server.try_login(user, "wrong");
            assert_eq!(
                (answer.status, answer.code(), answer.message()),
                (401, "unauthorized", "wrong user or password")
            );
        }
        let answer = server.try_login(user, PASSWORD);
        assert_eq!((answer.status, answer.code()), (403, "account_locked"), "{user}");
        assert!(answer.header("retry-after").unwrap().parse::<u64>().unwrap() > 800);
    }
    let locked = server.sql(&token, "SELECT user_id FROM system.audit_log WHERE error LIKE '%is locked%' ORDER BY 1");
    assert_eq!(locked.json["results"][0]["rows"], json!([["nobody"], ["root"]]), "{locked:?}");
    // Who is logged in stays so.
    assert_eq!(server.get("/v1/api/auth/me", &[("authorization", &format!("Bearer {token}"))]).status, 200);
}

#[test]
fn an_address_that_guesses_too_often_is_slowed_down() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &["--set", "auth.address_failures=3"]);
    for number in 0..3 {
        assert_eq!(server.try_login(&format!("user{number}"), "x").status, 401);
    }
    let answer = server.try_login("root", PASSWORD);
    assert_eq!((answer.status, answer.code()), (429, "rate_limited"));
}

#[test]
fn malformed_requests_are_answered_with_their_reason_and_the_server_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &["--set", "http.cors_origins=https://app.test"]);
    let token = format!("Bearer {}", server.login("root", PASSWORD));
    let post = |path: &str, body: &[u8]| {
        let answer = server.post(path, &[("authorization", &token)], body);
        (answer.status, answer.code().to_owned(), answer.message().to_owned())
    };
    let sql = |body: &[u8]| post("/v1/api/sql", body);

    let (status, code, message) = sql(br#"{"sql":"SELECT 1""#);
    assert_eq!((status, code.as_str()), (400, "INVALID_INPUT"));
    assert!(message.contains("line 1, column 17"), "{message}");
    let (status, code, message) = sql(b"{\"sql\":\"SELECT '\xff'\"}");
    assert_eq!((status, code.as_str()), (400, "INVALID_INPUT"));
    assert!(message.contains("not valid UTF-8: byte 16"), "{message}");
    let (_, code, message) = sql(b"");
    assert!(code == "INVALID_INPUT" && message.contains("has no body"), "{message}");
    assert_eq!(sql(br#"{"sql":"  "}"#).1, "EMPTY_SQL");
    let many = json!({"sql": "SELECT 1", "params": vec![1; 51]}).to_string();
    assert_eq!(sql(many.as_bytes()).1, "INVALID_PARAMETER");
    let large = json!({"sql": "SELECT 1", "params": ["x".repeat(512 << 10)]}).to_string();
    assert_eq!(sql(large.as_bytes()).1, "INVALID_PARAMETER");
    assert_eq!(sql(br#"{"sql":"SELECT 1","params":[[1]]}"#).1, "INVALID_PARAMETER");
    assert_eq!(sql(br#"{"sql":"SELECT 1","request_id":"7"}"#).1, "INVALID_PARAMETER");
    let long = json!({"sql": format!("SELECT '{}'", "x".repeat(1 << 20))}).to_string();
    assert_eq!((sql(long.as_bytes()).0, sql(long.as_bytes()).1.as_str()), (400, "INVALID_SQL"));
    let huge = json!({"sql": format!("SELECT '{}'", "x".repeat(11 << 20))}).to_string();
    assert_eq!((sql(huge.as_bytes()).0, sql(huge.as_bytes()).1.as_str()), (413, "FILE_TOO_LARGE"));
    for path in ["auth/login", "auth/setup", "auth/refresh", "auth/logout"] {
        assert_eq!(server.post(&format!("/v1/api/{path}"), &[], huge.as_bytes()).status, 413, "{path}");
    }
    // Of who is not known, and where nothing is, nothing is read.
    for (path, status) in [("sql", 401), ("topics/consume", 401), ("topics/ack", 401), ("nix", 404)] {
        assert_eq!(server.post(&format!("/v1/api/{path}"), &[], huge.as_bytes()).status, status, "{path}");
    }
    let zipped = b"\x1f\x8b\x08\x00\x00\x00\x00\x00";
    for path in ["sql", "auth/login", "auth/setup", "auth/refresh", "auth/logout", "topics/consume", "topics/ack"] {
        let answer = server.post(&format!("/v1/api/{path}"), &[("content-encoding", "gzip")], zipped);
        let told = format!("{:?}", answer);
        assert!(answer.status == 415 && told.contains("is encoded (gzip), which is not taken"), "{path}: {told}");
    }
    let plain = [("authorization", token.as_str()), ("content-encoding", "identity")];
    assert_eq!(server.post("/v1/api/sql", &plain, br#"{"sql":"SELECT 1"}"#).status, 200);
    let answer =
        server.post("/v1/api/sql", &[("authorization", &token), ("origin", "https://app.test")], huge.as_bytes());
    assert!(answer.header("x-request-id").is_some_and(|id| !id.is_empty()), "what is refused unread has an id too");
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.test"));

    let multipart = server.post(
        "/v1/api/sql",
        &[("authorization", &token), ("content-type", "multipart/form-data; boundary=x")],
        b"--x--",
    );
    assert_eq!((multipart.status, multipart.code()), (400, "SQL_EXECUTION_ERROR"));
    assert!(multipart.json["error"]["details"].as_str().unwrap().contains("0A000"));

    let topic = |body: &[u8]| post("/v1/api/topics/consume", body);
    assert_eq!(topic(br#"{"topic_id":"app.none"}"#).0, 404);
    assert_eq!(topic(br#"{"topic_id":"app.none","limit":0}"#).0, 400);
    assert_eq!(topic(br#"{"topic_id":"app.none","timeout_seconds":100000}"#).0, 400);
    assert_eq!(topic(br#"{"topic":"app.none"}"#).0, 400);
    let (status, code, _) = post("/v1/api/topics/ack", br#"{"topic_id":"app.none","group_id":"g","upto_offset":1}"#);
    assert_eq!((status, code.as_str()), (404, "NOT_FOUND"));

    let login = |body: &[u8]| post("/v1/api/auth/login", body).0;
    assert_eq!(login(br#"{"user":"root"}"#), 400);
    assert_eq!(login(br#"{"user":"root","password":"x","otp":"1"}"#), 400);
    assert_eq!(server.get("/ready", &[]).status, 200);
}

#[test]
fn a_path_or_method_that_is_not_there_is_answered_with_the_right_one() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let missing = server.get("/v1/api/sqll", &[]);
    assert_eq!((missing.status, missing.code()), (404, "NOT_FOUND"));
    assert!(missing.message().contains("did you mean /v1/api/sql?"));
    let method = server.get("/v1/api/sql", &[]);
    assert_eq!((method.status, method.header("allow")), (405, Some("POST")));
}

#[test]
fn a_body_that_breaks_off_leaves_the_server_well() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.write_all(b"POST /v1/api/sql HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{\"sql\":").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.write_all(b"\x16\x03\x01 this is no HTTP\r\n\r\n").unwrap();
    let _ = stream.read_to_string(&mut answer);
    assert_eq!(server.get("/ready", &[]).status, 200);
    server.stop();
}

#[test]
fn connections_that_are_kept_open_do_not_delay_a_stop() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.write_all(b"GET /ready HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut first = [0; 15];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");
    let _silent = TcpStream::connect(server.address()).unwrap();
    server.stop();
}
