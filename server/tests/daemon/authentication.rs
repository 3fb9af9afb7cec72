//! Setting up, logging in and out, over HTTP on a real server.
use crate::running::{Answer, PASSWORD, Server};
use serde_json::{Value, json};

fn post(server: &Server, path: &str, body: &Value) -> Answer {
    server.post(path, &[], body.to_string().as_bytes())
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

fn me(server: &Server, token: &str) -> u16 {
    server.get("/v1/api/auth/me", &[("authorization", &bearer(token))]).status
}

fn tokens(login: &Answer) -> (String, String) {
    let token = |name: &str| login.json[name].as_str().unwrap().to_owned();
    (token("access_token"), token("refresh_token"))
}

#[test]
fn a_new_server_without_a_root_password_is_set_up_once_from_its_own_machine() {
    let folder = tempfile::tempdir().unwrap();
    let options = ["--set", "auth.setup=loopback"];
    let server = Server::start_bare(folder.path(), &options);
    assert!(server.banner.contains("/v1/api/auth/setup"), "{}", server.banner);
    let status = server.get("/v1/api/auth/status", &[]);
    assert_eq!((status.status, &status.json["needs_setup"]), (200, &json!(true)));
    for user in ["root", "nobody"] {
        let early = server.try_login(user, PASSWORD);
        assert_eq!((early.status, early.code()), (428, "setup_required"));
    }
    let good = json!({"user": "anna", "password": "long enough", "root_password": "correct horse", "email": "a@x"});
    let with = |name: &str, value: &str| {
        let mut body = good.clone();
        body[name] = json!(value);
        body
    };
    let setup = |body: &Value| post(&server, "/v1/api/auth/setup", body);
    let refused = |body: &Value| {
        let answer = setup(body);
        (answer.status, answer.code().to_owned())
    };
    assert_eq!(refused(&with("password", "short")), (400, "weak_password".into()));
    assert_eq!(refused(&with("root_password", "")), (400, "weak_password".into()));
    assert_eq!(refused(&with("user", "")), (400, "invalid_user".into()));
    assert_eq!(refused(&with("user", "a\nb")), (400, "invalid_user".into()));
    assert_eq!(refused(&with("user", "root")), (409, "user_exists".into()));
    assert_eq!(refused(&with("usr", "x")), (400, "invalid_request".into()));
    let through_proxy =
        server.post("/v1/api/auth/setup", &[("x-forwarded-for", "203.0.113.9")], good.to_string().as_bytes());
    assert_eq!((through_proxy.status, through_proxy.code()), (403, "forbidden"));
    // A page of another site, in a browser on this machine.
    for header in [("origin", "https://evil.example"), ("origin", "null"), ("sec-fetch-site", "cross-site")] {
        let of_page = server.post("/v1/api/auth/setup", &[header], good.to_string().as_bytes());
        assert_eq!((of_page.status, of_page.code()), (403, "forbidden"), "{header:?}");
    }
    let own = server.get("/v1/api/auth/status", &[("origin", "http://localhost:2900")]);
    assert_eq!(own.json["needs_setup"], true, "{own:?}");

    let made = setup(&good);
    assert_eq!((made.status, &made.json["user"]["role"]), (200, &json!("dba")), "{made:?}");
    assert_eq!(made.json["user"]["email"], "a@x");
    assert!(made.json.get("access_token").is_none(), "a setup logs nobody in");
    assert_eq!(refused(&good), (409, "already_configured".into()));
    assert_eq!(server.get("/v1/api/auth/status", &[]).json["needs_setup"], false);
    assert_eq!(server.try_login("anna", "long enough").json["user"]["role"], "dba");
    assert_eq!(server.try_login("root", "correct horse").json["user"]["role"], "system");
    server.kill();
    let server = Server::start_bare(folder.path(), &options);
    assert_eq!(server.try_login("root", "correct horse").status, 200);
    assert_eq!(post(&server, "/v1/api/auth/setup", &good).code(), "already_configured");
}

#[test]
fn a_server_that_was_given_a_password_is_not_set_up_over_http() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let body = json!({"user": "eve", "password": "long enough", "root_password": "long enough"});
    let answer = post(&server, "/v1/api/auth/setup", &body);
    assert_eq!((answer.status, answer.code()), (409, "already_configured"));
    let proxied = server.get("/v1/api/auth/status", &[("x-forwarded-for", "203.0.113.9")]);
    assert_eq!((proxied.status, proxied.code()), (403, "forbidden"));
}

#[test]
fn a_logout_ends_all_tokens_of_the_login_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let (access, refresh) = tokens(&server.try_login("root", PASSWORD));
    let (other, _) = tokens(&server.try_login("root", PASSWORD));
    let renew = |token: &str| server.post("/v1/api/auth/refresh", &[("authorization", &bearer(token))], b"");
    let (renewed, renewed_refresh) = tokens(&renew(&refresh));
    assert_eq!((me(&server, &access), me(&server, &renewed), me(&server, &other)), (200, 200, 200));

    let out = server.post("/v1/api/auth/logout", &[("cookie", &format!("kalamdb_refresh={refresh}"))], b"");
    assert_eq!(out.status, 200);
    let cookies: Vec<_> = out.headers.iter().filter(|(name, _)| name == "set-cookie").map(|(_, text)| text).collect();
    assert!(cookies.len() == 2 && cookies.iter().all(|cookie| cookie.contains("Max-Age=0")), "{cookies:?}");
    assert_eq!((me(&server, &access), me(&server, &renewed)), (401, 401));
    for token in [&refresh, &renewed_refresh] {
        let again = renew(token);
        assert_eq!((again.status, again.code()), (401, "unauthorized"));
    }
    assert_eq!(me(&server, &other), 200);
    assert_eq!(server.post("/v1/api/auth/logout", &[], b"").status, 200, "there is nothing to end");

    // Nor after a crash.
    server.kill();
    let server = Server::start(folder.path(), &[]);
    assert_eq!((me(&server, &access), me(&server, &renewed), me(&server, &other)), (401, 401, 200));
    assert_eq!(server.post("/v1/api/auth/refresh", &[("authorization", &bearer(&refresh))], b"").status, 401);
    // An access token ends its login, too.
    assert_eq!(server.post("/v1/api/auth/logout", &[("authorization", &bearer(&other))], b"").status, 200);
    assert_eq!(me(&server, &other), 401);
}

#[test]
fn unknown_users_cost_as_much_time_as_wrong_passwords() {
    let folder = tempfile::tempdir().unwrap();
    let many = ["--set", "auth.lockout_failures=1000000", "--set", "auth.scram_iterations=60000"];
    let server = Server::start(folder.path(), &many);
    let root = server.login("root", PASSWORD);
    assert_eq!(server.sql(&root, "CREATE USER anna WITH PASSWORD 'a1'; CREATE USER bert").status, 200);
    // The quickest of several, as the machine is busy with other things.
    let quickest = |user: &str| {
        let of_one = || {
            let started = std::time::Instant::now();
            let answer = server.try_login(user, "wrong");
            assert_eq!((answer.status, answer.message()), (401, "wrong user or password"));
            started.elapsed()
        };
        (0..6).map(|_| of_one()).min().unwrap()
    };
    let known = quickest("anna");
    for user in ["bert", "nobody"] {
        assert!(quickest(user) * 2 > known, "a user without a password or without existence is told by time");
    }
}

#[test]
fn a_request_without_a_body_is_told_what_to_send() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let root = bearer(&server.login("root", PASSWORD));
    let paths = ["/v1/api/sql", "/v1/api/auth/login", "/v1/api/topics/consume", "/v1/api/topics/ack"];
    for path in paths {
        let answer = server.post(path, &[("authorization", &root)], b"");
        assert_eq!(answer.status, 400, "{path}");
        assert!(answer.message().contains("the request has no body; send JSON: {"), "{path}: {}", answer.message());
    }
}
