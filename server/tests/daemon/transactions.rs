//! Transactions over HTTP on a real server: in one text, and over several requests in a session.
use crate::running::{Answer, PASSWORD, Server};
use crate::trio::Trio;
use serde_json::{Value, json};

/// A user who talks to a server.
#[derive(Clone)]
struct Client<'s> {
    server: &'s Server,
    token: String,
    session: Option<String>,
}

impl<'s> Client<'s> {
    fn of(server: &'s Server, user: &str, password: &str) -> Self {
        Self { server, token: server.login(user, password), session: None }
    }

    fn send(&self, body: &Value) -> Answer {
        let bearer = format!("Bearer {}", self.token);
        let mut headers = vec![("authorization", bearer.as_str())];
        headers.extend(self.session.as_deref().map(|session| ("x-highwater-session", session)));
        self.server.post("/v1/api/sql", &headers, body.to_string().as_bytes())
    }

    fn ask(&self, sql: &str) -> Answer {
        self.send(&json!({ "sql": sql }))
    }

    fn run(&self, sql: &str) -> Vec<Value> {
        let answer = self.ask(sql);
        assert_eq!(answer.status, 200, "{sql}: {answer:?}");
        answer.json["results"].as_array().unwrap().clone()
    }

    fn rows(&self, sql: &str) -> Value {
        self.run(sql).pop().unwrap()["rows"].clone()
    }

    fn state(&self, sql: &str) -> String {
        let answer = self.ask(sql);
        assert_ne!(answer.status, 200, "{sql}: {answer:?}");
        if let Some(told) = answer.json.get("session_id") {
            assert_eq!(told.as_str(), self.session.as_deref(), "{sql}: it goes on, and this is its name");
        }
        sqlstate(&answer)
    }

    /// The same client in a new session with an open transaction.
    fn begin(&self) -> Self {
        let answer = self.ask("BEGIN");
        assert_eq!(answer.json["results"][0]["message"], json!("BEGIN"), "{answer:?}");
        Self { session: Some(answer.json["session_id"].as_str().unwrap().to_owned()), ..self.clone() }
    }
}

fn sqlstate(answer: &Answer) -> String {
    let details: Value = serde_json::from_str(answer.json["error"]["details"].as_str().unwrap_or("null")).unwrap();
    details["sqlstate"].as_str().unwrap_or_default().to_owned()
}

fn request_id(random: u128) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    ulid::Ulid((now << 80) | random).to_string()
}

/// A server with users anna and bert, and a USER table app.accounts with two rows of anna.
fn with_accounts(more: &[&str], body: impl FnOnce(&Server, Client<'_>, Client<'_>)) {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), more);
    let root = Client::of(&server, "root", PASSWORD);
    root.run("CREATE NAMESPACE app; CREATE USER TABLE app.accounts (id BIGINT PRIMARY KEY, balance BIGINT NOT NULL)");
    root.run("CREATE USER anna WITH PASSWORD 'a1' ROLE service; CREATE USER bert WITH PASSWORD 'b1' ROLE user");
    root.run("CREATE TABLE app.first (id BIGINT PRIMARY KEY); CREATE TABLE app.second (id BIGINT PRIMARY KEY)");
    let (anna, bert) = (Client::of(&server, "anna", "a1"), Client::of(&server, "bert", "b1"));
    anna.run("INSERT INTO app.accounts VALUES (1, 100), (2, 100)");
    body(&server, anna, bert);
}

const ALL: &str = "SELECT id, balance FROM app.accounts ORDER BY id";

#[test]
fn a_text_is_one_transaction_from_begin_to_commit() {
    with_accounts(&[], |_, anna, _| {
        let results = anna.run(
            "BEGIN; UPDATE app.accounts SET balance = balance - 30 WHERE id = 1; \
             UPDATE app.accounts SET balance = balance + 30 WHERE id = 2; SELECT sum(balance) FROM app.accounts; COMMIT",
        );
        assert_eq!(results[1]["rows"], json!([["200"]]));
        assert_eq!(results[2]["message"], json!("COMMIT"));
        assert_eq!(results[3]["message"], json!("Updated 2 row(s)"));
        assert_eq!(anna.rows(ALL), json!([["1", "70"], ["2", "130"]]));
        anna.run("BEGIN; DELETE FROM app.accounts; ROLLBACK");
        assert_eq!(anna.rows(ALL), json!([["1", "70"], ["2", "130"]]));
        let answer = anna.ask("BEGIN; DELETE FROM app.accounts; INSERT INTO app.accounts VALUES (1, NULL); COMMIT");
        assert!(answer.message().starts_with("Statement 3 failed"), "{answer:?}");
        assert_eq!(sqlstate(&answer), "23502");
        let answer = anna.ask("BEGIN; DELETE FROM app.accounts");
        assert_eq!((answer.status, sqlstate(&answer).as_str()), (400, "25001"), "{answer:?}");
        assert_eq!(anna.rows(ALL), json!([["1", "70"], ["2", "130"]]));
    });
}

#[test]
fn a_session_goes_on_over_requests_until_its_transaction_ends() {
    with_accounts(&[], |_, anna, bert| {
        let open = anna.begin();
        open.run("UPDATE app.accounts SET balance = 0 WHERE id = 1");
        open.run("INSERT INTO app.accounts VALUES (3, 5)");
        assert_eq!(open.rows(ALL), json!([["1", "0"], ["2", "100"], ["3", "5"]]));
        assert_eq!(open.rows("SELECT a.id FROM app.accounts a JOIN app.accounts b ON a.id = b.id + 2"), json!([["3"]]));
        assert_eq!(anna.rows(ALL), json!([["1", "100"], ["2", "100"]]), "nobody else sees it");
        let foreign = Client { session: open.session.clone(), ..bert };
        assert_eq!(foreign.state("SELECT 1"), "40001", "a session is its user's alone");
        open.run("COMMIT");
        assert_eq!(anna.rows(ALL), json!([["1", "0"], ["2", "100"], ["3", "5"]]));
        assert_eq!(open.state("SELECT 1"), "25P01", "the session ended with it");
    });
}

#[test]
fn lost_updates_write_skew_and_phantoms_are_refused_with_40001() {
    with_accounts(&[], |_, anna, _| {
        let (one, two) = (anna.begin(), anna.begin());
        for open in [&one, &two] {
            assert_eq!(open.rows("SELECT balance FROM app.accounts WHERE id = 1"), json!([["100"]]));
            open.run("UPDATE app.accounts SET balance = 101 WHERE id = 1");
        }
        one.run("COMMIT");
        assert_eq!(two.state("COMMIT"), "40001", "a lost update");

        let (one, two) = (anna.begin(), anna.begin());
        for (open, id) in [(&one, 1), (&two, 2)] {
            open.rows("SELECT sum(balance) FROM app.accounts");
            open.run(&format!("UPDATE app.accounts SET balance = -1 WHERE id = {id}"));
        }
        two.run("COMMIT");
        let refused = one.ask("COMMIT");
        assert_eq!((refused.status, sqlstate(&refused).as_str()), (400, "40001"), "write skew: {refused:?}");

        let open = anna.begin();
        assert_eq!(open.rows("SELECT count(*) FROM app.accounts WHERE id BETWEEN 10 AND 20"), json!([["0"]]));
        open.run("INSERT INTO app.accounts VALUES (50, 0)");
        anna.run("INSERT INTO app.accounts VALUES (15, 0)");
        assert_eq!(open.state("COMMIT"), "40001", "a phantom");
        assert_eq!(anna.rows("SELECT id FROM app.accounts ORDER BY id"), json!([["1"], ["2"], ["15"]]));
    });
}

#[test]
fn many_clients_that_add_in_one_text_lose_nothing() {
    with_accounts(&[], |server, anna, _| {
        let token = anna.token.clone();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let token = &token;
                scope.spawn(move || {
                    for _ in 0..10 {
                        let sql = "BEGIN; SELECT balance FROM app.accounts WHERE id = 1; \
                                   UPDATE app.accounts SET balance = balance + 1 WHERE id = 1; COMMIT";
                        while server.sql(token, sql).status != 200 {}
                    }
                });
            }
        });
        assert_eq!(anna.rows("SELECT balance FROM app.accounts WHERE id = 1"), json!([["140"]]));
    });
}

#[test]
fn savepoints_and_the_failed_state_are_as_in_postgresql() {
    with_accounts(&[], |_, anna, _| {
        let open = anna.begin();
        open.run("INSERT INTO app.accounts VALUES (3, 3)");
        open.run("SAVEPOINT one");
        open.run("INSERT INTO app.accounts VALUES (4, 4)");
        assert_eq!(open.state("INSERT INTO app.accounts VALUES (1, 1)"), "23505");
        for refused in ["SELECT 1", "INSERT INTO app.accounts VALUES (9, 9)", "SAVEPOINT two", "SHOW timezone"] {
            assert_eq!(open.state(refused), "25P02", "{refused}");
        }
        assert_eq!(open.ask("SELECT 1").json["session_id"].as_str(), open.session.as_deref());
        open.run("ROLLBACK TO SAVEPOINT one");
        assert_eq!(open.rows("SELECT count(*) FROM app.accounts"), json!([["3"]]));
        assert_eq!(open.state("ROLLBACK TO two"), "3B001");
        assert_eq!(open.state("SELECT 1"), "25P02", "an unknown savepoint is an error like any other");
        open.run("ROLLBACK TO one");
        open.run("RELEASE one");
        assert_eq!(open.state("RELEASE one"), "3B001");
        let results = open.run("COMMIT");
        assert_eq!(results[0]["message"], "ROLLBACK", "what became of it, and no error: {results:?}");
        assert_eq!(anna.rows("SELECT count(*) FROM app.accounts"), json!([["2"]]));
        assert_eq!(anna.state("COMMIT"), "25P01");
        assert_eq!(anna.state("ROLLBACK"), "25P01");
        assert_eq!(anna.begin().state("BEGIN"), "25001");
        let results = anna.run("BEGIN; INSERT INTO app.accounts VALUES (5, 5); SAVEPOINT s; DELETE FROM app.accounts; ROLLBACK TO s; COMMIT");
        assert_eq!(results.len(), 6, "{results:?}");
        assert_eq!(anna.rows("SELECT count(*) FROM app.accounts"), json!([["3"]]));
        assert_eq!(anna.state("BEGIN READ ONLY; DELETE FROM app.accounts; COMMIT"), "25006");
    });
}

#[test]
fn what_leaves_the_shard_is_refused_with_both_named() {
    with_accounts(&["--user-shards", "2", "--shared-shards", "8"], |_, anna, _| {
        let open = anna.begin();
        open.run("INSERT INTO app.accounts VALUES (3, 3)");
        let refused = open.ask("INSERT INTO app.first VALUES (1)");
        assert_eq!(sqlstate(&refused), "0A000", "{refused:?}");
        let details = refused.json["error"]["details"].as_str().unwrap();
        assert!(details.contains("user shard") && details.contains("shared shard"), "{details}");
        for sql in ["CREATE NAMESPACE other", "CONSUME FROM app.none"] {
            let root_only = ["0A000", "42501", "42704"];
            assert!(root_only.contains(&anna.begin().state(sql).as_str()), "{sql}");
        }
    });
}

#[test]
fn a_commit_that_is_sent_again_is_applied_once() {
    with_accounts(&[], |_, anna, _| {
        let open = anna.begin();
        let insert = json!({"sql": "INSERT INTO app.accounts VALUES (3, 3)", "request_id": request_id(1)});
        let commit = json!({"sql": "COMMIT", "request_id": request_id(2)});
        for _ in 0..2 {
            let answer = open.send(&insert);
            assert_eq!((answer.status, &answer.json["results"][0]["row_count"]), (200, &json!(1)), "{answer:?}");
        }
        for _ in 0..2 {
            let answer = open.send(&commit);
            assert_eq!((answer.status, &answer.json["results"][0]["message"]), (200, &json!("COMMIT")), "{answer:?}");
        }
        // As after the loss of the session: the group still knows.
        let mut lost = open.clone();
        lost.session = open.session.as_ref().map(|session| {
            let other = if session.ends_with('0') { "1" } else { "0" };
            format!("{}{other}", &session[..session.len() - 1])
        });
        assert_eq!(lost.send(&commit).status, 200);
        let unknown = lost.send(&json!({"sql": "COMMIT", "request_id": request_id(3)}));
        assert_eq!(sqlstate(&unknown), "40001", "{unknown:?}");
        assert_eq!(anna.rows("SELECT count(*) FROM app.accounts"), json!([["3"]]));
    });
}

#[test]
fn a_text_that_is_sent_again_is_applied_once_and_answers_its_writes_as_before() {
    with_accounts(&[], |_, anna, _| {
        let sql = "BEGIN; SAVEPOINT s; DELETE FROM app.accounts; ROLLBACK TO s; \
                   INSERT INTO app.accounts VALUES (3, 3) RETURNING id, balance; \
                   UPDATE app.accounts SET balance = balance + 1; COMMIT";
        let body = json!({"sql": sql, "request_id": request_id(1)});
        let first = anna.send(&body);
        assert_eq!(first.status, 200, "{first:?}");
        let again = anna.send(&body);
        assert_eq!(again.status, 200, "{again:?}");
        let without_time = |answer: &Answer| answer.json["results"][3].clone();
        assert_eq!(without_time(&first), without_time(&again));
        assert_eq!(anna.rows(ALL), json!([["1", "101"], ["2", "101"], ["3", "4"]]));
    });
}

#[test]
fn a_session_ends_when_it_is_idle_and_with_its_login() {
    with_accounts(&["--set", "sql.session_idle=300ms"], |server, anna, _| {
        let open = anna.begin();
        open.run("DELETE FROM app.accounts");
        let root = Client::of(server, "root", PASSWORD);
        let since = std::time::Instant::now();
        while root.rows("SELECT count(*) FROM system.sessions") != json!([["0"]]) {
            assert!(since.elapsed().as_secs() < 20, "it does not end");
        }
        assert_eq!(open.state("COMMIT"), "40001");
        assert_eq!(anna.rows("SELECT count(*) FROM app.accounts"), json!([["2"]]));
    });
}

#[test]
fn a_login_that_ends_takes_its_sessions_along_and_a_user_has_so_many() {
    with_accounts(&["--set", "sql.sessions_per_user=2"], |server, anna, _| {
        let other = Client::of(server, "anna", "a1");
        let (_one, _two) = (other.begin(), other.begin());
        let refused = anna.ask("BEGIN");
        assert_eq!((refused.status, sqlstate(&refused).as_str()), (429, "53400"), "{refused:?}");
        let bearer = format!("Bearer {}", other.token);
        assert_eq!(server.post("/v1/api/auth/logout", &[("authorization", &bearer)], b"").status, 200);
        anna.begin();
    });
}

#[test]
fn parameters_are_set_for_a_text_or_a_session_and_shown() {
    with_accounts(&[], |_, anna, _| {
        assert_eq!(anna.rows("SHOW read_consistency"), json!([["linearizable"]]));
        assert_eq!(anna.rows("SET read_consistency = 'session'; SHOW read_consistency"), json!([["session"]]));
        assert_eq!(anna.state("SET read_consistency = 'session'"), "0A000", "it would last for nothing");
        assert_eq!(anna.state("SET timezone = 'Europe/Berlin'"), "0A000");
        anna.run("SET client_encoding = 'UTF8'");
        assert_eq!(anna.rows(&format!("SET read_consistency = 'session'; {ALL}")), anna.rows(ALL));
        assert_eq!(anna.rows("SET search_path = app; SELECT count(*) FROM accounts"), json!([["2"]]));
        let open = anna.begin();
        open.run("SET search_path = app");
        assert_eq!(open.rows("SELECT count(*) FROM accounts"), json!([["2"]]));
    });
}

#[test]
fn a_transaction_at_any_node_is_committed_where_its_group_is_led_and_lost_with_the_node() {
    let mut trio = Trio::start(&["--user-shards", "2", "--shared-shards", "2"]);
    trio.run(0, "CREATE NAMESPACE app; CREATE USER TABLE app.n (id BIGINT PRIMARY KEY)");
    for at in 0..3 {
        trio.run(at, &format!("BEGIN; INSERT INTO app.n VALUES ({at}); SELECT count(*) FROM app.n; COMMIT"));
    }
    assert_eq!(trio.rows(1, "SELECT count(*) FROM app.n"), json!([["3"]]));
    let client = |server| Client { server, token: trio.root.clone(), session: None };
    let (kept, lost) = (client(trio.node(0)).begin(), client(trio.node(2)).begin());
    for (open, id) in [(&kept, 10), (&lost, 20)] {
        open.run(&format!("INSERT INTO app.n VALUES ({id})"));
    }
    let elsewhere = Client { session: kept.session.clone(), ..client(trio.node(1)) };
    assert_eq!(elsewhere.state("SELECT 1"), "40001", "a session is bound to its node");
    kept.run("COMMIT");
    let session = lost.session.clone();
    trio.kill(2);
    let after = Client { server: trio.node(0), token: trio.root.clone(), session };
    let commit = after.send(&json!({"sql": "COMMIT", "request_id": request_id(1)}));
    assert_eq!(sqlstate(&commit), "40001", "{commit:?}");
    assert_eq!(trio.rows(0, "SELECT id FROM app.n WHERE id >= 10"), json!([["10"]]));
}
