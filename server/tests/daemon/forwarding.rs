//! Any node takes any statement: three real processes on three real folders.
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::running::PASSWORD;
use crate::trio::Trio;
use serde_json::{Value, json};

/// The group that decides definitions.
const META: u32 = 0;

fn sqlstate(answer: &crate::running::Answer) -> String {
    let details = answer.json["error"]["details"].as_str().map(|text| serde_json::from_str::<Value>(text).unwrap());
    details.map_or_else(String::new, |details| details["sqlstate"].as_str().unwrap().to_owned())
}

/// A new request id.
fn request_id(number: u128) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    ulid::Ulid((now << 80) | number).to_string()
}

#[test]
fn what_one_node_acknowledged_is_shown_by_every_other_node_at_once() {
    let trio = Trio::start(&[]);
    trio.run(0, "CREATE NAMESPACE app");
    trio.run(1, "CREATE TABLE app.n (id BIGINT PRIMARY KEY, hits BIGINT) PARTITION BY (id)");
    for number in 0..30_usize {
        let (writer, reader) = (number % 3, (number + 1) % 3);
        trio.run(writer, &format!("INSERT INTO app.n VALUES ({number}, 0)"));
        let found = trio.rows(reader, &format!("SELECT id FROM app.n WHERE id = {number}"));
        assert_eq!(found, json!([[number.to_string()]]), "written on node {}, read on {}", writer + 1, reader + 1);
        trio.run(reader, &format!("UPDATE app.n SET hits = hits + 1 WHERE id = {number}"));
    }
    for node in 0..3 {
        assert_eq!(trio.rows(node, "SELECT COUNT(*), SUM(hits) FROM app.n"), json!([["30", "30"]]));
    }
    let (sent, answered, taken) = (
        trio.sum("highwater_forward_sent_total"),
        trio.sum("highwater_forward_answered_total"),
        trio.sum("highwater_forward_taken_total"),
    );
    assert!(answered > 20.0 && sent >= answered && taken >= answered, "{sent} {answered} {taken}");
    assert_eq!(trio.sum("highwater_forward_unknown_total"), 0.0);
}

#[test]
fn what_is_defined_on_one_node_is_used_on_another_by_the_next_statement() {
    let trio = Trio::start(&[]);
    trio.run(0, "CREATE NAMESPACE app");
    for round in 0..6_usize {
        let (first, second, third) = (round % 3, (round + 1) % 3, (round + 2) % 3);
        trio.run(first, "CREATE TABLE app.t (id BIGINT PRIMARY KEY)");
        trio.run(second, "INSERT INTO app.t VALUES (1)");
        assert_eq!(trio.rows(third, "SELECT id FROM app.t"), json!([["1"]]));
        trio.run(second, "DROP TABLE app.t");
        let gone = trio.ask(third, "INSERT INTO app.t VALUES (2)");
        assert_eq!(sqlstate(&gone), "42P01", "round {round}: {gone:?}");
    }
    trio.run(1, "CREATE USER anna WITH PASSWORD 'one' ROLE user");
    let me = |node: usize, token: &str| {
        trio.node(node).get("/v1/api/auth/me", &[("authorization", &format!("Bearer {token}"))]).status
    };
    let token = trio.node(2).login("anna", "one");
    assert_eq!(me(0, &token), 200);
    trio.run(0, "ALTER USER anna SET PASSWORD 'two'");
    assert_eq!((me(0, &token), me(1, &token), me(2, &token)), (401, 401, 401));
    assert_eq!(trio.node(1).try_login("anna", "one").status, 401);
    let token = trio.node(2).login("anna", "two");
    trio.run(1, "DROP USER anna");
    assert_eq!((me(0, &token), me(1, &token), me(2, &token)), (401, 401, 401));
}

#[test]
fn a_consumer_group_goes_on_through_any_node_without_losing_or_doubling_a_message() {
    let trio = Trio::start(&[]);
    trio.run(0, "CREATE NAMESPACE app; CREATE TABLE app.n (id BIGINT PRIMARY KEY)");
    trio.run(1, "CREATE TOPIC app.events; ALTER TOPIC app.events ADD SOURCE app.n ON INSERT");
    let mut seen = Vec::new();
    for round in 0..12_usize {
        trio.run(round % 3, &format!("INSERT INTO app.n VALUES ({}), ({})", 2 * round, 2 * round + 1));
        // An acknowledged change is consumable at once, on a node that took no part in it.
        let body = json!({"topic_id": "app.events", "group_id": "g", "start": "Earliest", "limit": 10,
            "consumer_id": "one"});
        let answer = trio.node((round + 1) % 3).ask("/v1/api/topics/consume", &trio.root, &body);
        assert_eq!(answer.status, 200, "{answer:?}");
        let messages = answer.json["messages"].as_array().unwrap();
        let offsets: Vec<u64> = messages.iter().map(|message| message["offset"].as_u64().unwrap()).collect();
        assert_eq!(offsets, [2 * round as u64, 2 * round as u64 + 1], "round {round}: {answer:?}");
        seen.extend(offsets);
        let ack = json!({"topic_id": "app.events", "group_id": "g", "partition_id": 0,
            "upto_offset": seen.last().unwrap(), "consumer_id": "one"});
        let acked = trio.node((round + 2) % 3).ask("/v1/api/topics/ack", &trio.root, &ack);
        assert_eq!((acked.status, &acked.json["acknowledged_offset"]), (200, &json!(seen.last())), "{acked:?}");
    }
    assert_eq!(seen, (0..24).collect::<Vec<_>>());
    // Without a group, every node shows the same messages.
    let all: Vec<Value> = (0..3).map(|node| trio.rows(node, "CONSUME FROM app.events FROM EARLIEST")).collect();
    assert_eq!(all[0].as_array().unwrap().len(), 24);
    assert!(all.iter().all(|rows| *rows == all[0]));
}

#[test]
fn a_request_id_applies_once_whichever_nodes_it_is_sent_to() {
    let trio = Trio::start(&[]);
    trio.run(0, "CREATE NAMESPACE app; CREATE TABLE app.n (id BIGINT PRIMARY KEY, hits BIGINT)");
    trio.run(0, "INSERT INTO app.n VALUES (1, 0)");
    let update = "UPDATE app.n SET hits = hits + 5 WHERE id = 1";
    let id = request_id(7);
    for node in [0, 1, 2, 0] {
        let answer = trio.ask_once(node, update, &id);
        assert_eq!((answer.status, &answer.json["results"][0]["row_count"]), (200, &json!(1)), "{answer:?}");
    }
    assert_eq!(trio.rows(1, "SELECT hits FROM app.n"), json!([["5"]]));
    let other = trio.ask_once(2, "UPDATE app.n SET hits = 0 WHERE id = 1", &id);
    assert_eq!(sqlstate(&other), "22023", "{other:?}");
    let definition = request_id(8);
    let created = |node| trio.ask_once(node, "CREATE TABLE app.once (id BIGINT PRIMARY KEY)", &definition).json;
    let first = created(0)["results"].clone();
    assert_eq!(first, created(1)["results"], "the same answer, not that it exists");
}

#[test]
fn statements_under_request_ids_outlive_their_leader_and_apply_once() {
    let mut trio = Trio::start(&[]);
    trio.run(0, "CREATE NAMESPACE app; CREATE TABLE app.n (id BIGINT PRIMARY KEY, hits BIGINT)");
    trio.run(0, "INSERT INTO app.n VALUES (1, 0)");
    let mut next = 100;
    for round in 0..2 {
        let leader = (0..8).find_map(|group| trio.leader_of(group)).unwrap();
        let edge = (leader + 1) % 3;
        trio.kill(leader);
        let died = Instant::now();
        for _ in 0..10 {
            next += 1;
            let answer = trio.ask_once(edge, "UPDATE app.n SET hits = hits + 1 WHERE id = 1", &request_id(next));
            assert_eq!(answer.status, 200, "round {round}: {answer:?}");
        }
        assert!(died.elapsed() < Duration::from_secs(20), "{:?}", died.elapsed());
        trio.run(edge, &format!("CREATE TABLE app.round{round} (id BIGINT PRIMARY KEY)"));
        trio.restart(leader);
        trio.run(leader, &format!("INSERT INTO app.round{round} VALUES (1)"));
    }
    for node in 0..3 {
        assert_eq!(trio.rows(node, "SELECT hits FROM app.n"), json!([["20"]]));
    }
    assert_eq!(trio.node(1).try_login("root", PASSWORD).status, 200);
}

#[test]
fn writes_go_on_while_the_nodes_are_restarted_one_after_the_other() {
    let mut trio = Trio::start(&[]);
    trio.run(0, "CREATE NAMESPACE app; CREATE TABLE app.n (id BIGINT PRIMARY KEY) PARTITION BY (id)");
    let (mut acknowledged, mut unknown) = (0_usize, 0_usize);
    for at in 0..3_usize {
        let (edge, leaving) = ((at + 1) % 3, trio.take(at));
        std::thread::scope(|scope| {
            let stopping = scope.spawn(move || leaving.stop());
            for number in 0.. {
                let answer = trio.ask(edge, &format!("INSERT INTO app.n VALUES ({})", at * 100_000 + number));
                match (answer.status, sqlstate(&answer).as_str()) {
                    (200, _) => acknowledged += 1,
                    (503, "40003") => unknown += 1,
                    _ => panic!("while node {} stopped, on node {}: {answer:?}", at + 1, edge + 1),
                }
                if stopping.is_finished() && number > 20 {
                    break;
                }
            }
        });
        trio.restart(at);
    }
    let count = trio.rows(0, "SELECT COUNT(*) FROM app.n")[0][0].as_str().unwrap().parse::<usize>().unwrap();
    assert!((acknowledged..=acknowledged + unknown).contains(&count), "{acknowledged} {unknown} {count}");
    for node in 1..3 {
        assert_eq!(trio.rows(node, "SELECT COUNT(*) FROM app.n"), json!([[count.to_string()]]));
    }
}

#[test]
fn a_definition_whose_leader_dies_on_the_way_is_carried_to_its_end_by_the_next() {
    let mut trio = Trio::start(&[]);
    trio.run(0, "CREATE NAMESPACE app; CREATE TABLE app.n (id BIGINT PRIMARY KEY)");
    trio.run(0, "CREATE TOPIC app.events PARTITIONS 4; ALTER TOPIC app.events ADD SOURCE app.n ON INSERT");
    for round in 0..2_usize {
        trio.run(round, &format!("INSERT INTO app.n VALUES ({round})"));
        let leader = trio.leader_of(META).unwrap();
        let edge = (leader + 1) % 3;
        let dying = trio.take(leader);
        // What is said of it may be that nobody can tell: it may have been decided or not.
        let cleared = std::thread::scope(|scope| {
            let asking = scope.spawn(|| trio.ask(edge, "CLEAR TOPIC app.events"));
            dying.kill();
            asking.join().unwrap()
        });
        assert!(cleared.status == 200 || sqlstate(&cleared) == "40003", "{cleared:?}");
        let unfinished = "SELECT job_id FROM system.jobs WHERE finished_at IS NULL";
        let patience = Instant::now() + Duration::from_secs(60);
        while trio.rows(edge, unfinished) != json!([]) {
            assert!(Instant::now() < patience, "the job was left behind");
            std::thread::sleep(Duration::from_millis(20));
        }
        trio.restart(leader);
        assert_eq!(trio.rows(leader, unfinished), json!([]));
        trio.run(leader, "CLEAR TOPIC app.events");
        assert_eq!(trio.rows(edge, "CONSUME FROM app.events FROM EARLIEST"), json!([]));
    }
}

/// What the nodes have logged of one request, in the order of their clocks: node, target, fields.
fn trace_of(trio: &Trio, request: &str) -> Vec<(usize, String, Value)> {
    let mut lines = Vec::new();
    for (at, server) in trio.nodes.iter().enumerate() {
        for line in server.as_ref().unwrap().log().lines() {
            let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
            if line["request_id"] == request {
                lines.push((line["timestamp"].as_str().unwrap().to_owned(), at + 1, line));
            }
        }
    }
    lines.sort_by(|one, other| one.0.cmp(&other.0));
    let target = |line: &Value| line["target"].as_str().unwrap().rsplit("::").next().unwrap().to_owned();
    lines.into_iter().map(|(_, node, line)| (node, target(&line), line)).collect()
}

/// The trace in docs/internals/cluster.md is printed by this: `cargo test -p highwater-server --test daemon trace -- --nocapture`.
#[test]
fn the_trace_of_an_insert_sent_to_a_follower_runs_through_both_nodes_under_one_request_id() {
    let trio = Trio::start(&["--log-level", "debug", "--set", "log.format=json"]);
    trio.run(0, "CREATE NAMESPACE app");
    trio.run(0, "CREATE TABLE app.notes (id BIGINT PRIMARY KEY, body TEXT) WITH (TYPE = 'USER')");
    trio.run(0, "INSERT INTO app.notes VALUES (1, 'warm')");
    // Root's rows are in one group: whoever does not lead it is a follower of it.
    let end = Instant::now() + Duration::from_secs(30);
    let mut id = 940;
    let (asked, trace) = 'found: loop {
        for asked in 0..3 {
            id += 1;
            let answer = trio.ask(asked, &format!("INSERT INTO app.notes VALUES ({id}, 'x')"));
            let request = answer.header("x-request-id").unwrap().to_owned();
            // The leader writes its last line while its answer is on its way.
            let is_whole = |trace: &[(usize, String, Value)]| {
                let lines_of = |wanted: &str| trace.iter().filter(|(_, target, _)| target == wanted).count();
                lines_of("http") == 1 && (lines_of("forward") == 0 || lines_of("serve") == 2)
            };
            let mut trace = trace_of(&trio, &request);
            while !is_whole(&trace) {
                assert!(Instant::now() < end, "{trace:?}");
                trace = trace_of(&trio, &request);
            }
            if answer.status == 200 && trace.iter().any(|(_, target, _)| target == "forward") {
                break 'found (asked + 1, trace);
            }
        }
        assert!(Instant::now() < end, "no node forwards");
    };
    for (node, target, line) in &trace {
        let fields = line.as_object().unwrap().iter();
        let rest = fields
            .filter(|(name, _)| !["timestamp", "level", "target", "message", "peer"].contains(&name.as_str()))
            .map(|(name, value)| format!("{name}={}", value.to_string().trim_matches('"')));
        let time = line["timestamp"].as_str().unwrap().split_once('T').unwrap().1.trim_end_matches('Z').to_owned();
        let (message, rest) = (line["message"].as_str().unwrap(), rest.collect::<Vec<_>>().join(" "));
        println!("node {node} {time} {target}: {message} {rest}");
    }
    let [(one, _, goes), (leader, _, came), (other, _, applied), (again, _, answered), (edge, _, http)] = &trace[..]
    else {
        panic!("{trace:?}");
    };
    assert_eq!((*one, *again, *edge, other), (asked, asked, asked, leader));
    let field = |line: &Value, name: &str| line[name].as_u64().unwrap();
    assert_eq!((field(goes, "to"), field(came, "from")), (*leader as u64, asked as u64));
    assert!([came, applied, answered].iter().all(|line| field(line, "group") == field(goes, "group")));
    assert_eq!(field(applied, "index"), field(answered, "index"));
    // Each span lies within the one around it.
    assert!(field(applied, "micros") <= field(answered, "micros"), "{applied} {answered}");
    assert!(field(answered, "micros") as f64 <= http["took_ms"].as_f64().unwrap() * 1000.0, "{answered} {http}");
}

#[test]
fn without_a_majority_a_stale_read_answers_and_says_how_old_it_may_be() {
    let mut trio = Trio::start(&["--set", "sql.statement_timeout=2s"]);
    trio.run(0, "CREATE NAMESPACE app; CREATE TABLE app.n (id BIGINT PRIMARY KEY, part INT)");
    let began = jiff::Timestamp::now();
    trio.run(0, "INSERT INTO app.n SELECT i, i % 4 FROM generate_series(1, 1000) i");
    let counted = "SELECT count(*) FROM app.n";
    // A linearizable read through the last node: then it has the rows itself.
    assert_eq!(trio.rows(2, counted), json!([["1000"]]));
    trio.kill(0);
    trio.kill(1);
    let stale = |sql: &str| trio.ask(2, &format!("SET read_consistency = 'stale'; {sql}"));
    for (sql, rows) in [
        (counted, 1),
        ("SELECT * FROM app.n", 1000),
        ("SELECT a.id FROM app.n a JOIN app.n b ON b.id = a.id + 1 WHERE a.part = 3", 250),
    ] {
        let answer = stale(sql);
        assert_eq!(answer.status, 200, "{sql}: {answer:?}");
        assert_eq!(answer.json["results"][1]["row_count"], rows, "{sql}");
        let as_of: jiff::Timestamp = answer.json["as_of"].as_str().unwrap().parse().unwrap();
        assert!(began <= as_of && as_of <= jiff::Timestamp::now(), "{began} {as_of}");
    }
    // All else needs a majority, and says so.
    for sql in [counted, "SET read_consistency = 'stale'; INSERT INTO app.n SELECT id + 5000, 1 FROM app.n"] {
        let answer = trio.ask(2, sql);
        assert_eq!((answer.status, sqlstate(&answer).as_str()), (503, "57014"), "{answer:?}");
        assert!(answer.json.get("as_of").is_none(), "{answer:?}");
    }
}
