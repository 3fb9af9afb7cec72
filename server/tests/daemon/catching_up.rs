//! A node that was away for longer than the others keep log for it is rebuilt from tables: three real processes.
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::trio::Trio;
use serde_json::json;

/// Nothing here takes as long as this.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_node_that_was_away_for_longer_than_the_log_catches_up_by_snapshots_while_writes_go_on() {
    let mut trio = Trio::start(&["--set", "cluster.kept_log=64KiB", "--set", "store.memtable=64KiB"]);
    trio.run(0, "CREATE NAMESPACE app");
    trio.run(0, "CREATE TABLE app.n (id BIGINT PRIMARY KEY, body TEXT) PARTITION BY (id)");
    trio.run(0, "CREATE TOPIC app.events PARTITIONS 2");
    trio.run(0, "ALTER TOPIC app.events ADD SOURCE app.n ON INSERT");
    let body = "x".repeat(2000);
    let mut written = 0;
    let mut write = |trio: &Trio, node: usize, count: usize| {
        for number in written..written + count {
            // Under an id: a leader that is killed must not leave it open what became of the statement.
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
            let id = ulid::Ulid((now << 80) | number as u128).to_string();
            let answer = trio.ask_once(node, &format!("INSERT INTO app.n VALUES ({number}, '{body}')"), &id);
            assert_eq!(answer.status, 200, "{number}: {:?}", answer.json["error"]);
        }
        written += count;
        written
    };
    write(&trio, 1, 10);
    trio.kill(2);
    write(&trio, 0, 400);
    trio.restart(2);
    let ingests = |trio: &Trio| {
        let text = trio.node(2).get_text("/metrics", &[]).2;
        let value = |line: &str| line.strip_prefix("highwater_ingests_total{store=\"0\"}")?.trim().parse::<f64>().ok();
        text.lines().find_map(value).unwrap()
    };
    let end = Instant::now() + PATIENCE;
    let mut count = write(&trio, 1, 10);
    while ingests(&trio) == 0.0 {
        assert!(Instant::now() < end, "no snapshot was taken in");
        count = write(&trio, 1, 1);
    }
    assert_eq!(trio.rows(2, "SELECT COUNT(*) FROM app.n"), json!([[count.to_string()]]));
    // With the rebuilt node as one of two.
    trio.kill(0);
    count = write(&trio, 2, 20);
    for node in [1, 2] {
        assert_eq!(trio.rows(node, "SELECT COUNT(*) FROM app.n"), json!([[count.to_string()]]));
    }
}
