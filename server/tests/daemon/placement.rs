//! Five real processes, of which three keep each data group: a node that has only a seat of a group takes every statement all the same.
use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::running::Answer;
use crate::trio::Trio;

/// Nothing here takes as long as this.
const PATIENCE: Duration = Duration::from_secs(120);
/// Rows of anna, each of a kilobyte: answers of several parts, scans of many pages.
const ROWS: u64 = 3_000;

fn until<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        match look() {
            Ok(found) => return found,
            Err(seen) => assert!(Instant::now() < end, "{what}: {seen}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The numbers of a JSON array in a cell.
fn nodes(cell: &Value) -> BTreeSet<u64> {
    let listed = cell.as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or(cell.clone());
    listed.as_array().into_iter().flatten().filter_map(Value::as_u64).collect()
}

/// What a node says of a group: who keeps it, and what it is to the group itself.
fn home(five: &Trio, at: usize, group: u64) -> (BTreeSet<u64>, BTreeSet<u64>, String) {
    let sql = format!("SELECT voters, learners, state FROM system.cluster_groups WHERE group_id = {group}");
    let row = five.rows(at, &sql)[0].clone();
    (nodes(&row[0]), nodes(&row[1]), row[2].as_str().unwrap_or_default().to_owned())
}

/// Waits until all these nodes say the same of every data group: three of them vote, and the others have a seat.
fn until_placed(five: &Trio, ats: &[usize]) {
    let among: BTreeSet<u64> = ats.iter().map(|at| *at as u64 + 1).collect();
    for group in 1..5 {
        until("every node knows who keeps a group", || {
            let said: Vec<_> = ats.iter().map(|at| home(five, *at, group)).collect();
            let voters = &said[0].0;
            let agree = said.iter().zip(ats).all(|((found, learners, state), at)| {
                let is_seat = state == "seat";
                found == voters && learners.is_empty() && is_seat != voters.contains(&(*at as u64 + 1))
            });
            let placed = agree && voters.len() == 3 && voters.is_subset(&among);
            if placed { Ok(()) } else { Err(format!("group {group}: {said:?}")) }
        });
    }
    for at in ats {
        until("the meta group is on every node", || {
            let (voters, learners, state) = home(five, *at, 0);
            let keepers: BTreeSet<u64> = voters.union(&learners).copied().collect();
            let is_there = keepers == among && voters.len() == 3 && state != "seat";
            if is_there { Ok(()) } else { Err(format!("{voters:?} {learners:?} {state}")) }
        });
    }
}

/// Anna on one node.
struct Anna<'f> {
    five: &'f Trio,
    at: usize,
    token: String,
}

impl<'f> Anna<'f> {
    fn at(five: &'f Trio, at: usize, token: &str) -> Self {
        Self { five, at, token: token.to_owned() }
    }

    fn ask(&self, sql: &str) -> Answer {
        self.five.node(self.at).sql(&self.token, sql)
    }

    fn run(&self, sql: &str) -> Vec<Value> {
        let answer = self.ask(sql);
        let shown: String = sql.chars().take(200).collect();
        assert_eq!(answer.status, 200, "{shown} on node {}: {answer:?}", self.at + 1);
        answer.json["results"].as_array().unwrap().clone()
    }

    fn rows(&self, sql: &str) -> Value {
        self.run(sql).pop().unwrap()["rows"].clone()
    }

    /// Under a request id, as often as it takes: whatever falls with a node that was killed is sent again.
    fn insist(&self, sql: &str, id: u128) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        let request = ulid::Ulid((now << 80) | id).to_string();
        until(sql, || {
            let body = json!({ "sql": sql, "request_id": request });
            let answer = self.five.node(self.at).ask("/v1/api/sql", &self.token, &body);
            if answer.status == 200 { Ok(()) } else { Err(format!("{answer:?}")) }
        });
    }

    /// A read that is asked for again until it is answered: never a wrong answer.
    fn reads(&self, sql: &str, expected: &Value) {
        until(sql, || {
            let answer = self.ask(sql);
            if answer.status != 200 {
                return Err(format!("{answer:?}"));
            }
            assert_eq!(answer.json["results"][0]["rows"], *expected, "{sql} on node {}", self.at + 1);
            Ok(())
        });
    }

    /// A statement of a session; its id is given by the first one.
    fn within(&self, session: Option<&str>, sql: &str) -> Answer {
        let bearer = format!("Bearer {}", self.token);
        let mut headers = vec![("authorization", bearer.as_str())];
        headers.extend(session.map(|session| ("x-highwater-session", session)));
        let answer =
            self.five.node(self.at).post("/v1/api/sql", &headers, json!({ "sql": sql }).to_string().as_bytes());
        assert_eq!(answer.status, 200, "{sql}: {answer:?}");
        answer
    }
}

/// Five nodes with tables of every kind and a topic, and anna, who has [`ROWS`] rows in the group that is told.
fn five_with_rows() -> (Trio, String, u64) {
    let five = Trio::of(5, &[]);
    for sql in [
        "CREATE NAMESPACE app",
        "CREATE USER anna WITH PASSWORD 'a1' ROLE service",
        "CREATE USER TABLE app.notes (id BIGINT PRIMARY KEY, room BIGINT, body TEXT)",
        "CREATE TABLE app.rooms (id BIGINT PRIMARY KEY, name TEXT) WITH (ACCESS_LEVEL = 'PUBLIC')",
        "CREATE TABLE app.spread (part BIGINT, n BIGINT, PRIMARY KEY (part, n)) PARTITION BY (part) WITH (ACCESS_LEVEL = 'PUBLIC')",
        "CREATE TOPIC app.events; ALTER TOPIC app.events ADD SOURCE app.notes ON UPDATE",
        "INSERT INTO app.rooms VALUES (0, 'hall'), (1, 'attic'), (2, 'yard')",
    ] {
        five.run(0, sql);
    }
    for part in 0..8 {
        five.run(part % 5, &format!("INSERT INTO app.spread VALUES ({part}, 1), ({part}, 2)"));
    }
    until_placed(&five, &[0, 1, 2, 3, 4]);
    let token = five.node(0).login("anna", "a1");
    let anna = Anna::at(&five, 0, &token);
    let plan = anna.rows("EXPLAIN SELECT id FROM app.notes").to_string();
    let group = (1..5).find(|group| plan.contains(&format!("(group {group}, of user anna)"))).expect(&plan);
    (five, token, group)
}

/// Anna's rows, inserted through one node.
fn insert_rows(anna: &Anna<'_>) {
    let body = "b".repeat(1_000);
    for first in (0..ROWS).step_by(500) {
        let rows: Vec<String> = (first..first + 500).map(|id| format!("({id}, {}, '{body}')", id % 3)).collect();
        anna.run(&format!("INSERT INTO app.notes VALUES {}", rows.join(", ")));
    }
}

#[test]
fn a_node_with_only_a_seat_of_a_users_group_takes_all_statements_of_that_user() {
    let (five, token, group) = five_with_rows();
    let (homes, ..) = home(&five, 0, group);
    let at = (0..5).find(|at| !homes.contains(&(*at as u64 + 1))).unwrap();
    let anna = Anna::at(&five, at, &token);
    insert_rows(&anna);

    // Point reads, a scan that is streamed page by page, an answer that is whole before it goes and has several parts.
    assert_eq!(anna.rows("SELECT id, room FROM app.notes WHERE id = 1700"), json!([["1700", "2"]]));
    let every = |sql: &str| {
        let rows = anna.rows(sql);
        let ids: Vec<u64> =
            rows.as_array().unwrap().iter().map(|row| row[0].as_str().unwrap().parse().unwrap()).collect();
        assert!(rows.as_array().unwrap().iter().all(|row| row[1].as_str().unwrap().len() == 1_000));
        ids
    };
    let mut streamed = every("SELECT id, body FROM app.notes");
    streamed.sort_unstable();
    assert!(streamed.into_iter().eq(0..ROWS));
    assert!(every("SELECT id, body FROM app.notes ORDER BY id DESC").into_iter().eq((0..ROWS).rev()));

    // With tables of other groups, gathered from several, and counted.
    let count = (ROWS / 3).to_string();
    assert_eq!(
        anna.rows("SELECT r.name, count(*) FROM app.notes n JOIN app.rooms r ON r.id = n.room GROUP BY 1 ORDER BY 1"),
        json!([["attic", count], ["hall", count], ["yard", count]])
    );
    assert_eq!(anna.rows("SELECT count(*), sum(n) FROM app.spread"), json!([["16", "24"]]));
    let joined = "SELECT r.name, max(s.n) FROM app.spread s JOIN app.rooms r ON r.id = s.part GROUP BY 1 ORDER BY 1";
    assert_eq!(anna.rows(joined), json!([["attic", "2"], ["hall", "2"], ["yard", "2"]]));
    let plan = anna.rows("EXPLAIN ANALYZE SELECT count(*) FROM app.notes WHERE room = 1").to_string();
    assert!(plan.contains("ran: 1 rows") && plan.contains(&format!("group {group}, of user anna")), "{plan}");

    // Transactions, in one text and over requests: their writes are seen within, and outside only once they are committed.
    let results = anna.run(
        "BEGIN; UPDATE app.notes SET room = 7 WHERE id = 1; SELECT room FROM app.notes WHERE id = 1; \
         INSERT INTO app.notes VALUES (10001, 7, 'new'); COMMIT",
    );
    assert!(results.iter().any(|result| result["rows"] == json!([["7"]])), "{results:?}");
    let open = anna.within(None, "BEGIN");
    let session = open.json["session_id"].as_str().map(str::to_owned);
    let session = session.as_deref();
    anna.within(session, "SAVEPOINT s; DELETE FROM app.notes WHERE room = 7");
    let seen = |session, sql| anna.within(session, sql).json["results"][0]["rows"].clone();
    let sevens = "SELECT count(*) FROM app.notes WHERE room = 7";
    assert_eq!((seen(session, sevens), anna.rows(sevens)), (json!([["0"]]), json!([["2"]])));
    anna.within(session, "ROLLBACK TO SAVEPOINT s");
    anna.within(session, "UPDATE app.notes SET room = 8 WHERE id = 10001");
    assert_eq!((seen(session, sevens), anna.rows(sevens)), (json!([["1"]]), json!([["2"]])));
    anna.within(session, "COMMIT");
    assert_eq!(anna.rows(sevens), json!([["1"]]));
    assert_ne!(anna.ask("INSERT INTO app.notes VALUES (1, 1, 'twice')").status, 200);

    // What was changed is in the topic, whoever keeps its partition, and offsets are told everywhere.
    let mut due = 0_u64;
    for at in 0..5 {
        let node = Anna::at(&five, at, &token);
        node.run(&format!("UPDATE app.notes SET body = 'told' WHERE id = {}", at + 100));
        let to = due + if at == 0 { 3 } else { 1 };
        let body = json!({"topic_id": "app.events", "group_id": "mailer", "start": "Earliest", "limit": 10, "consumer_id": "one"});
        let answer = five.node((at + 1) % 5).ask("/v1/api/topics/consume", &token, &body);
        let messages = answer.json["messages"].as_array().unwrap();
        let offsets: Vec<u64> = messages.iter().map(|message| message["offset"].as_u64().unwrap()).collect();
        assert!(offsets.iter().copied().eq(due..to), "an acknowledged change is consumable at once: {answer:?}");
        due = to;
        let body = json!({"topic_id": "app.events", "group_id": "mailer", "partition_id": 0, "upto_offset": due - 1, "consumer_id": "one"});
        let acked = five.node((at + 2) % 5).ask("/v1/api/topics/ack", &token, &body);
        assert_eq!(acked.json["acknowledged_offset"], json!(due - 1), "{acked:?}");
        let committed = "SELECT last_acked_offset FROM system.topic_offsets WHERE group_id = 'mailer'";
        assert_eq!(five.rows((at + 3) % 5, committed), json!([[(due - 1).to_string()]]));
    }
    for at in 0..5 {
        let told = Anna::at(&five, at, &token).rows("CONSUME FROM app.events FROM EARLIEST");
        assert_eq!(told.as_array().unwrap().len(), usize::try_from(due).unwrap());
    }
}

#[test]
fn a_home_that_is_killed_or_leaves_stops_nobody_and_another_node_takes_its_place() {
    let (mut five, token, group) = five_with_rows();
    let (homes, ..) = home(&five, 0, group);
    let seat = (0..5).find(|at| !homes.contains(&(*at as u64 + 1))).unwrap();
    insert_rows(&Anna::at(&five, seat, &token));
    let all = json!([[ROWS.to_string()]]);
    let count = "SELECT count(*) FROM app.notes WHERE room < 3";

    // The leader of the group dies: what the client sends to the seat waits for the next leader and is answered.
    let led = until("who leads anna's group", || five.leader_of(u32::try_from(group).unwrap()).ok_or_else(String::new));
    assert!(homes.contains(&(led as u64 + 1)));
    five.kill(led);
    let anna = Anna::at(&five, seat, &token);
    for id in 0..5_u32 {
        anna.reads(count, &all);
        anna.insist(&format!("INSERT INTO app.notes VALUES ({}, 100, 'without a home')", 20_000 + id), u128::from(id));
        anna.reads(&format!("SELECT body FROM app.notes WHERE id = {}", 20_000 + id), &json!([["without a home"]]));
    }
    until("a transaction without that home", || {
        let answer = anna.ask("BEGIN; UPDATE app.notes SET body = 'changed' WHERE room = 100; COMMIT");
        if answer.status == 200 { Ok(()) } else { Err(format!("{answer:?}")) }
    });
    let other = five.rows(seat, "SELECT count(*) FROM app.spread");
    assert_eq!(other, json!([["16"]]), "groups of which another home is gone are read, too");

    // It comes back with what it had and is a home still; then it leaves, and another node becomes one by a snapshot.
    five.restart(led);
    until_placed(&five, &[0, 1, 2, 3, 4]);
    five.run(seat, &format!("CLUSTER LEAVE {}", led + 1));
    let rest: Vec<usize> = (0..5).filter(|at| *at != led).collect();
    until("the node is struck off", || {
        let listed = five.rows(seat, &format!("SELECT node_id FROM system.cluster WHERE node_id = {}", led + 1));
        let anna = Anna::at(&five, seat, &token);
        anna.reads(count, &all);
        if listed == json!([]) { Ok(()) } else { Err(listed.to_string()) }
    });
    until_placed(&five, &rest);
    let (now, ..) = home(&five, seat, group);
    assert!(!now.contains(&(led as u64 + 1)) && now.is_subset(&rest.iter().map(|at| *at as u64 + 1).collect()));
    assert_eq!(now.difference(&homes).count(), 1, "one node took its place: {homes:?}, {now:?}");
    for at in &rest {
        let anna = Anna::at(&five, *at, &token);
        anna.reads(count, &all);
        anna.reads("SELECT count(*) FROM app.notes WHERE body = 'changed'", &json!([["5"]]));
        anna.reads("SELECT count(*), sum(n) FROM app.spread", &json!([["16", "24"]]));
    }
    // Of the homes of old one more goes: the new one is as good as they are.
    let second = rest.iter().copied().find(|at| homes.contains(&(*at as u64 + 1)) && *at != seat).unwrap();
    five.kill(second);
    let at = rest.iter().copied().find(|at| *at != second).unwrap();
    let anna = Anna::at(&five, at, &token);
    anna.insist("INSERT INTO app.notes VALUES (30000, 100, 'still')", 77);
    anna.reads(count, &all);
    anna.reads("SELECT body FROM app.notes WHERE id = 30000", &json!([["still"]]));
}
