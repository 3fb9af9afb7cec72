//! Writes under pressure: refused with the reason and a hint while reads go on, and taken again by themselves.
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::running::{Answer, PASSWORD, Server};

/// Longer than a store ever waits before it tries again.
const PATIENCE: Duration = Duration::from_secs(30);

struct Table {
    server: Server,
    token: String,
    rows: i64,
}

impl Table {
    fn insert(&mut self) -> Answer {
        let (id, text) = (self.rows, "x".repeat(8000));
        let answer = self.server.sql(&self.token, &format!("INSERT INTO app.t (id, a) VALUES ({id}, '{text}')"));
        self.rows += i64::from(answer.status == 200);
        answer
    }

    /// Inserts until an answer has this status, however many are refused otherwise meanwhile.
    fn insert_until(&mut self, status: u16) -> Answer {
        let started = Instant::now();
        loop {
            let answer = self.insert();
            if answer.status == status {
                return answer;
            }
            assert!(started.elapsed() < PATIENCE, "no {status} after {PATIENCE:?}: {answer:?}");
            assert!([200, 429, 503].contains(&answer.status), "{answer:?}");
        }
    }

    fn count(&self) -> i64 {
        let answer = self.server.sql(&self.token, "SELECT COUNT(*) FROM app.t");
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json["results"][0]["rows"][0][0].as_str().unwrap().parse().unwrap()
    }

    fn metric(&self, line: &str) -> f64 {
        let text = self.server.get_text("/metrics", &[]).2;
        let found = text.lines().find_map(|seen| seen.strip_prefix(line)).unwrap_or_else(|| panic!("{line}: {text}"));
        found.trim().parse().unwrap()
    }
}

#[test]
fn a_store_that_cannot_flush_refuses_writes_and_says_why_serves_reads_and_goes_on_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &["--set", "store.memtable=64KiB", "--set", "stores=1"]);
    let token = server.login("root", PASSWORD);
    assert_eq!(server.sql(&token, "CREATE NAMESPACE app").status, 200);
    let create = "CREATE TABLE app.t (id BIGINT PRIMARY KEY, a TEXT) WITH (TYPE = 'SHARED')";
    assert_eq!(server.sql(&token, create).status, 200);
    let mut table = Table { server, token, rows: 0 };
    table.insert_until(200);
    // No segment of the log is being made: that comes when a quarter of the present one is used. A folder that vanishes meanwhile
    // would stop the node, as a failed sync does. Nor is a table being made.
    let started = Instant::now();
    let made = |table: &Table| {
        table.metric("highwater_flush_memtables_total{store=\"0\"}")
            + table.metric("highwater_compaction_runs_total{store=\"0\"}")
    };
    let (mut before, mut calm) = (made(&table), 0);
    while calm < 20 {
        let now = made(&table);
        calm = if now == before { calm + 1 } else { 0 };
        before = now;
        assert!(started.elapsed() < PATIENCE, "flushes do not end");
    }

    // Open files go on; a new table cannot be made where there is no folder.
    let (store, away) = (folder.path().join("store-0"), folder.path().join("away"));
    std::fs::rename(&store, &away).unwrap();
    let refused = table.insert_until(503);
    assert_eq!((refused.code(), refused.header("retry-after")), ("CLUSTER_UNAVAILABLE", Some("1")), "{refused:?}");
    assert!(refused.message().starts_with("writes are refused for now: cannot create "), "{refused:?}");
    assert!(refused.message().contains("store-0"), "{refused:?}");
    let details: Value = serde_json::from_str(refused.json["error"]["details"].as_str().unwrap()).unwrap();
    assert_eq!(details["sqlstate"], "53000", "{refused:?}");
    assert!(details["hint"].as_str().unwrap().starts_with("Reads go on"), "{refused:?}");
    assert_eq!(table.count(), table.rows, "reads go on and show what was acknowledged, and nothing that was refused");
    assert_eq!(table.metric("highwater_store_refuses_writes{store=\"0\"}"), 1.0);
    assert_eq!(table.metric("highwater_admission{store=\"0\"}"), 0.0);
    assert!(table.metric("highwater_writes_refused_total{cause=\"failed\",store=\"0\"}") >= 1.0);
    assert!(table.metric("highwater_stalls_total{store=\"0\"}") >= 1.0);

    std::fs::rename(&away, &store).unwrap();
    table.insert_until(200);
    assert_eq!(table.count(), table.rows);
    let Table { server, rows, .. } = table;
    server.stop();
    let server = Server::start(folder.path(), &[]);
    let token = server.login("root", PASSWORD);
    assert_eq!(Table { server, token, rows }.count(), rows);
}
