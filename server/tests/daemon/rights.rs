//! Who may do what, tried over HTTP: every statement on every kind of table by every role. What was found is the table in
//! `docs/rights.md`; `HIGHWATER_TEST_BLESS=1` writes it anew.
use crate::running::{Answer, PASSWORD, Server};
use serde_json::Value;

const ROLES: [&str; 4] = ["user", "service", "dba", "system"];

/// Name in the page, kind and options of CREATE TABLE.
const KINDS: [(&str, &str, &str); 6] = [
    ("USER table", "USER", ""),
    ("STREAM table", "STREAM", "WITH (TTL_SECONDS = 3600)"),
    ("SHARED table, PUBLIC", "SHARED", "WITH (ACCESS_LEVEL = 'PUBLIC')"),
    ("SHARED table, PRIVATE", "SHARED", "WITH (ACCESS_LEVEL = 'PRIVATE')"),
    ("SHARED table, RESTRICTED", "SHARED", "WITH (ACCESS_LEVEL = 'RESTRICTED')"),
    ("SHARED table, DBA", "SHARED", "WITH (ACCESS_LEVEL = 'DBA')"),
];

/// Statements on a table `{t}`; `{n}` is a number that was not used before. First what root does to prepare.
const ON_TABLES: [(&str, &str, &str); 23] = [
    ("SELECT", "", "SELECT * FROM {t}"),
    ("SELECT count(*)", "", "SELECT count(*) FROM {t}"),
    ("INSERT", "", "INSERT INTO {t} (id, v) VALUES ({n}, 1)"),
    ("UPDATE", "", "UPDATE {t} SET v = 2 WHERE id = 1"),
    ("DELETE", "", "DELETE FROM {t} WHERE id = 1"),
    (
        "CONSUME of a topic with it as source",
        "CREATE TOPIC app.t{n}; ALTER TOPIC app.t{n} ADD SOURCE {t} ON INSERT",
        "CONSUME FROM app.t{n}",
    ),
    ("ALTER TOPIC ADD SOURCE", "CREATE TOPIC app.t{n}", "ALTER TOPIC app.t{n} ADD SOURCE {t} ON INSERT"),
    (
        "ALTER TOPIC DROP SOURCE",
        "CREATE TOPIC app.t{n}; ALTER TOPIC app.t{n} ADD SOURCE {t} ON INSERT",
        "ALTER TOPIC app.t{n} DROP SOURCE {t}",
    ),
    ("DESCRIBE", "", "DESCRIBE {t}"),
    ("SHOW CREATE TABLE", "", "SHOW CREATE TABLE {t}"),
    ("EXPLAIN SELECT", "", "EXPLAIN SELECT * FROM {t}"),
    ("EXPLAIN DELETE", "", "EXPLAIN DELETE FROM {t}"),
    (
        "INSERT ... SELECT from it into an own table",
        "",
        "INSERT INTO app.own (id, v) SELECT id + {n}, v FROM {t} ON CONFLICT DO NOTHING",
    ),
    ("INSERT ... SELECT into it", "", "INSERT INTO {t} (id, v) SELECT {n}, 1"),
    ("UPDATE of an own table FROM it", "", "UPDATE app.own SET v = t.v FROM {t} t WHERE t.id = own.id"),
    ("DELETE of an own table USING it", "", "DELETE FROM app.own USING {t} t WHERE t.id = own.id"),
    ("CREATE TABLE AS SELECT from it", "", "CREATE TABLE app.copy{n} AS SELECT * FROM {t}"),
    ("TRUNCATE", "", "TRUNCATE {t}"),
    ("ALTER TABLE", "", "ALTER TABLE {t} ALTER COLUMN v SET DEFAULT {n}"),
    ("CREATE INDEX", "", "CREATE INDEX by_v{n} ON {t} (v)"),
    ("EXECUTE AS a user: SELECT", "", "EXECUTE AS 'a_user' (SELECT * FROM {t})"),
    ("EXECUTE AS a user: INSERT", "", "EXECUTE AS 'a_user' (INSERT INTO {t} (id, v) VALUES ({n}, 1))"),
    ("DROP TABLE", "{create}", "DROP TABLE {t}"),
];

/// Other statements.
const OTHERS: [(&str, &str, &str); 53] = [
    ("SELECT without a table", "", "SELECT 1"),
    ("SHOW NAMESPACES", "", "SHOW NAMESPACES"),
    ("SHOW TABLES", "", "SHOW TABLES"),
    ("SHOW TOPICS", "", "SHOW TOPICS"),
    ("SHOW USERS", "", "SHOW USERS"),
    ("SHOW JOBS", "", "SHOW JOBS"),
    ("SHOW SETTINGS", "", "SHOW SETTINGS"),
    ("SELECT FROM system.users", "", "SELECT * FROM system.users"),
    ("SELECT FROM system.namespaces", "", "SELECT * FROM system.namespaces"),
    ("SELECT FROM system.tables", "", "SELECT * FROM system.tables"),
    ("SELECT FROM system.columns", "", "SELECT * FROM system.columns"),
    ("SELECT FROM system.topics", "", "SELECT * FROM system.topics"),
    ("SELECT FROM system.topic_offsets", "", "SELECT * FROM system.topic_offsets"),
    ("SELECT FROM system.jobs", "", "SELECT * FROM system.jobs"),
    ("SELECT FROM system.settings", "", "SELECT * FROM system.settings"),
    ("SELECT FROM system.stats", "", "SELECT * FROM system.stats"),
    ("SELECT FROM system.cluster", "", "SELECT * FROM system.cluster"),
    ("SELECT FROM system.cluster_groups", "", "SELECT * FROM system.cluster_groups"),
    ("SELECT FROM system.audit_log", "", "SELECT * FROM system.audit_log"),
    ("SELECT FROM system.server_logs", "", "SELECT * FROM system.server_logs"),
    ("SELECT FROM system.sessions", "", "SELECT * FROM system.sessions"),
    ("SELECT FROM system.transactions", "", "SELECT * FROM system.transactions"),
    ("BEGIN, SAVEPOINT, ROLLBACK, COMMIT", "", "BEGIN; SAVEPOINT s; ROLLBACK TO s; COMMIT"),
    ("SET, SHOW of a session's parameter", "", "SET read_consistency = 'session'; SHOW read_consistency"),
    ("CREATE NAMESPACE", "", "CREATE NAMESPACE n{n}"),
    ("DROP NAMESPACE", "CREATE NAMESPACE n{n}", "DROP NAMESPACE n{n}"),
    ("CREATE TABLE", "", "CREATE TABLE app.t{n} (id BIGINT PRIMARY KEY)"),
    ("CREATE USER TABLE", "", "CREATE USER TABLE app.t{n} (id BIGINT PRIMARY KEY)"),
    (
        "DROP INDEX",
        "CREATE TABLE app.t{n} (id BIGINT PRIMARY KEY, v INT); CREATE INDEX by_v{n} ON app.t{n} (v)",
        "DROP INDEX app.by_v{n}",
    ),
    ("CREATE TOPIC", "", "CREATE TOPIC app.t{n}"),
    ("CLEAR TOPIC", "CREATE TOPIC app.t{n}", "CLEAR TOPIC app.t{n}"),
    ("DROP TOPIC", "CREATE TOPIC app.t{n}", "DROP TOPIC app.t{n}"),
    ("CONSUME", "CREATE TOPIC app.t{n}", "CONSUME FROM app.t{n} GROUP 'g'"),
    ("ACK", "CREATE TOPIC app.t{n}", "ACK app.t{n} GROUP 'g' UPTO OFFSET 0"),
    ("CREATE USER of role user", "", "CREATE USER u{n} ROLE user"),
    ("CREATE USER of role service", "", "CREATE USER u{n} ROLE service"),
    ("CREATE USER of role dba", "", "CREATE USER u{n} ROLE dba"),
    ("CREATE USER of role system", "", "CREATE USER u{n} ROLE system"),
    ("ALTER USER SET PASSWORD of oneself", "", "ALTER USER {me} SET PASSWORD 'correct horse'"),
    ("ALTER USER SET EMAIL of oneself", "", "ALTER USER {me} SET EMAIL 'me@example.org'"),
    ("ALTER USER SET ROLE system of oneself", "", "ALTER USER {me} SET ROLE system"),
    ("ALTER USER SET PASSWORD of a user", "CREATE USER u{n}", "ALTER USER u{n} SET PASSWORD 'x'"),
    ("ALTER USER SET PASSWORD of a system user", "CREATE USER u{n} ROLE system", "ALTER USER u{n} SET PASSWORD 'x'"),
    ("ALTER USER SET EMAIL of a user", "CREATE USER u{n}", "ALTER USER u{n} SET EMAIL 'x'"),
    ("ALTER USER SET ROLE dba of a user", "CREATE USER u{n}", "ALTER USER u{n} SET ROLE dba"),
    ("ALTER USER SET ROLE system of a user", "CREATE USER u{n}", "ALTER USER u{n} SET ROLE system"),
    ("ALTER USER SET ROLE user of a system user", "CREATE USER u{n} ROLE system", "ALTER USER u{n} SET ROLE user"),
    ("DROP USER of role user", "CREATE USER u{n}", "DROP USER u{n}"),
    ("DROP USER of role system", "CREATE USER u{n} ROLE system", "DROP USER u{n}"),
    ("EXECUTE AS a user", "", "EXECUTE AS 'a_user' (SELECT 1)"),
    ("EXECUTE AS a service", "", "EXECUTE AS 'a_service' (SELECT 1)"),
    ("EXECUTE AS a dba", "", "EXECUTE AS 'a_dba' (SELECT 1)"),
    ("EXECUTE AS a system user", "", "EXECUTE AS 'a_system' (SELECT 1)"),
];

fn sqlstate(answer: &Answer) -> String {
    let details = answer.json["error"]["details"].as_str().unwrap_or("{}");
    serde_json::from_str::<Value>(details).unwrap()["sqlstate"].as_str().unwrap_or("").to_owned()
}

/// What a role may: `yes`, `no` (42501), or the SQLSTATE that everyone gets.
fn tried(answer: &Answer) -> String {
    match (answer.status, sqlstate(answer).as_str()) {
        (200, _) => "yes".into(),
        (403, "42501") => "no".into(),
        (_, state) => state.to_owned(),
    }
}

struct Trial {
    server: Server,
    root: String,
    used: u64,
}

impl Trial {
    fn root(&self, sql: &str) {
        let answer = self.server.sql(&self.root, sql);
        assert_eq!(answer.status, 200, "{sql}: {answer:?}");
    }

    /// Row of the page: what each role may.
    fn row(&mut self, name: &str, prepare: &str, act: &str, table: &str, create: &str) -> String {
        let mut cells = Vec::new();
        for role in ROLES {
            self.used += 1;
            let me = format!("me_{role}");
            let fill = |text: &str| {
                text.replace("{create}", create)
                    .replace("{t}", table)
                    .replace("{n}", &self.used.to_string())
                    .replace("{me}", &me)
            };
            if !prepare.is_empty() {
                self.root(&fill(prepare));
            }
            let token = self.server.login(&me, PASSWORD);
            let answer = self.server.sql(&token, &fill(act));
            let cell = tried(&answer);
            assert!(!cell.is_empty(), "{act} by {role}: {answer:?}");
            if cell == "no" {
                assert!(answer.message().starts_with("permission denied"), "{answer:?}");
            }
            cells.push(cell);
        }
        // What nobody can do is no question of rights.
        let cells = cells.iter().map(|cell| if cell == "yes" || cell == "no" { cell } else { "-" });
        format!("| {name} | {} |\n", cells.collect::<Vec<_>>().join(" | "))
    }
}

#[test]
fn every_statement_by_every_role_is_as_the_page_says() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &["--user-shards", "1", "--shared-shards", "1"]);
    let root = server.login("root", PASSWORD);
    let mut trial = Trial { server, root, used: 1000 };
    trial.root("CREATE NAMESPACE app");
    for role in ROLES {
        trial.root(&format!(
            "CREATE USER a_{role} ROLE {role}; CREATE USER me_{role} WITH PASSWORD '{PASSWORD}' ROLE {role}"
        ));
    }
    trial.root("CREATE USER TABLE app.own (id BIGINT PRIMARY KEY, v INT)");
    let mut text = String::new();
    let head = "| | user | service | dba | system |\n|---|---|---|---|---|\n";
    for (at, (kind, word, options)) in KINDS.iter().enumerate() {
        text.push_str(&format!("### {kind}\n\n{head}"));
        let create = |name: &str| format!("CREATE {word} TABLE {name} (id BIGINT PRIMARY KEY, v INT) {options}");
        let kept = format!("app.kept{at}");
        trial.root(&create(&kept));
        for (name, prepare, act) in ON_TABLES {
            let table = if prepare == "{create}" { format!("app.dropped{at}_{{n}}") } else { kept.clone() };
            let create = create(&format!("app.dropped{at}_{{n}}"));
            text.push_str(&trial.row(name, prepare, act, &table, &create));
        }
        text.push('\n');
    }
    text.push_str(&format!("### Everything else\n\n{head}"));
    for (name, prepare, act) in OTHERS {
        text.push_str(&trial.row(name, prepare, act, "", ""));
    }

    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/rights.md");
    let found = std::fs::read_to_string(&page).unwrap();
    let (before, rest) = found.split_once("<!-- rights -->\n").unwrap();
    let (_, after) = rest.split_once("<!-- /rights -->").unwrap();
    let wanted = format!("{before}<!-- rights -->\n\n{text}\n<!-- /rights -->{after}");
    if std::env::var_os("HIGHWATER_TEST_BLESS").is_some() {
        std::fs::write(&page, &wanted).unwrap();
    }
    let found = std::fs::read_to_string(&page).unwrap();
    let differs = wanted.lines().zip(found.lines()).find(|(wanted, found)| wanted != found);
    assert!(
        wanted == found,
        "docs/rights.md is not what the server does, first at {differs:?}; look whether that is meant, then \
         HIGHWATER_TEST_BLESS=1 cargo test -p highwater-server --test daemon rights"
    );
}
