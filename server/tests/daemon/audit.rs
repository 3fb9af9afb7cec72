//! The audit log: what is kept, what is never in it, and that it is bounded.
use std::path::{Path, PathBuf};

use crate::running::{PASSWORD, Server};
use serde_json::{Value, json};

fn run(server: &Server, token: &str, sql: &str) -> Value {
    let answer = server.sql(token, sql);
    assert_eq!(answer.status, 200, "{sql}: {answer:?}");
    answer.json["results"][0]["rows"].clone()
}

/// Events with this condition: event, outcome, user, target, count.
fn events(server: &Server, root: &str, condition: &str) -> Value {
    let columns = "event, outcome, user_id, target, count";
    run(server, root, &format!("SELECT {columns} FROM system.audit_log WHERE {condition} ORDER BY event_time"))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let cores = std::fs::read_dir(folder.join("audit")).unwrap();
    cores.flat_map(|core| std::fs::read_dir(core.unwrap().path()).unwrap()).map(|file| file.unwrap().path()).collect()
}

#[test]
fn logins_definitions_users_and_refusals_are_kept_and_passwords_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let root = server.login("root", PASSWORD);
    assert_eq!(server.try_login("root", "a wrong guess").status, 401);
    assert_eq!(server.try_login("nobody", "a wrong guess").status, 401);
    run(&server, &root, "CREATE NAMESPACE app");
    run(&server, &root, "CREATE USER TABLE app.notes (id BIGINT PRIMARY KEY)");
    run(&server, &root, "CREATE USER anna WITH PASSWORD 'the secret of anna' ROLE user");
    run(&server, &root, "ALTER USER anna SET PASSWORD 'another secret of anna'");
    let anna = server.login("anna", "another secret of anna");
    for sql in [
        "CREATE TABLE app.mine (id BIGINT PRIMARY KEY)",
        "CREATE USER eve WITH PASSWORD 'the secret of eve' ROLE system",
        "EXECUTE AS 'root' (SELECT 1)",
        "SELECT * FROM system.users",
    ] {
        assert_eq!(server.sql(&anna, sql).status, 403, "{sql}");
    }
    assert_eq!(server.ask("/v1/api/topics/consume", &anna, &json!({"topic_id": "app.none"})).status, 403);
    for _ in 0..50 {
        run(&server, &root, "EXECUTE AS 'anna' (SELECT * FROM app.notes)");
    }
    assert_eq!(server.post("/v1/api/auth/logout", &[("authorization", &format!("Bearer {anna}"))], b"").status, 200);

    let check = |server: &Server| {
        let root = server.login("root", PASSWORD);
        let of = |condition: &str| events(server, &root, condition);
        assert_eq!(of("request_id IS NULL"), json!([]), "every event has the request that it was part of");
        assert_eq!(
            of("event = 'login' AND outcome = 'refused'"),
            json!([["login", "refused", "root", null, "1"], ["login", "refused", "nobody", null, "1"]])
        );
        assert_eq!(
            of("event = 'definition' AND outcome = 'done'"),
            json!([
                ["definition", "done", "root", "CREATE NAMESPACE app", "1"],
                ["definition", "done", "root", "CREATE USER TABLE app.notes (id BIGINT PRIMARY KEY)", "1"],
            ])
        );
        assert_eq!(
            of("event = 'user' AND outcome = 'done'"),
            json!([
                ["user", "done", "root", "anna (role user)", "1"],
                ["user", "done", "root", "anna (password)", "1"],
            ])
        );
        assert_eq!(
            of("outcome = 'refused' AND user_id = 'anna'"),
            json!([
                ["definition", "refused", "anna", "CREATE TABLE app.mine (id BIGINT PRIMARY KEY)", "1"],
                ["user", "refused", "anna", null, "1"],
                ["execute_as", "refused", "anna", "root", "1"],
                ["statement", "refused", "anna", null, "1"],
                ["statement", "refused", "anna", null, "1"],
            ])
        );
        // The first at once, those that are equal as one.
        assert_eq!(
            of("event = 'execute_as' AND outcome = 'done'"),
            json!([["execute_as", "done", "root", "anna", "1"], ["execute_as", "done", "root", "anna", "49"],])
        );
        assert_eq!(of("event = 'logout'"), json!([["logout", "done", "anna", null, "1"]]));
        let login = run(
            server,
            &root,
            "SELECT address, login_id IS NOT NULL, node_id FROM system.audit_log WHERE event = 'login' AND user_id = 'anna'",
        );
        assert_eq!(login, json!([["127.0.0.1", true, "1"]]));
        let why = run(
            server,
            &root,
            "SELECT statement, error, request_id IS NOT NULL FROM system.audit_log WHERE event = 'statement'",
        );
        assert_eq!(why[0][0], "SELECT");
        assert!(why[0][1].as_str().unwrap().starts_with("42501: permission denied"), "{why}");
        assert_eq!(why[0][2], true);
    };
    check(&server);
    server.kill();
    let server = Server::start(folder.path(), &[]);
    check(&server);
    server.stop();
    let kept: Vec<u8> = files(folder.path()).iter().flat_map(|file| std::fs::read(file).unwrap()).collect();
    let kept = String::from_utf8_lossy(&kept);
    assert!(kept.contains("app.notes") && !kept.contains("secret") && !kept.contains("guess"));
}

#[test]
fn the_audit_log_is_bounded_and_keeps_what_is_newest() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &["--set", "audit.max_size=64KiB"]);
    let root = server.login("root", PASSWORD);
    let long = "x".repeat(300);
    for number in 0..40 {
        // Twenty different definitions that fail, all of one text.
        let text: Vec<String> = (0..20).map(|at| format!("DROP NAMESPACE IF EXISTS {long}{number}x{at}")).collect();
        let answer = server.sql(&root, &text.join(";").replace(&long, "none_"));
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let newest = events(&server, &root, "target LIKE '%none_39x19'");
    assert_eq!(newest.as_array().unwrap().len(), 1, "{newest}");
    assert_eq!(events(&server, &root, "target LIKE '%none_0x0'"), json!([]));
    let bytes: u64 = files(folder.path()).iter().map(|file| file.metadata().unwrap().len()).sum();
    assert!(bytes <= 64 << 10, "{bytes} bytes");
}
