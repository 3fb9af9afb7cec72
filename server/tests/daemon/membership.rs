//! Nodes that come and go while the cluster runs: real processes.
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::running::run;
use crate::trio::Trio;

/// Nothing here takes as long as this.
const PATIENCE: Duration = Duration::from_secs(120);

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

/// Voters and learners of every group, as a node knows them, without repetitions.
fn members(trio: &Trio, at: usize) -> Vec<(Value, Value)> {
    let rows = trio.rows(at, "SELECT voters, learners FROM system.cluster_groups ORDER BY group_id");
    let json = |text: &Value| serde_json::from_str::<Value>(text.as_str().unwrap_or_default()).unwrap_or(text.clone());
    let mut found: Vec<(Value, Value)> =
        rows.as_array().unwrap().iter().map(|row| (json(&row[0]), json(&row[1]))).collect();
    found.dedup();
    found
}

/// Waits until these nodes vote in every group; whoever else there is learns what the meta group says, and keeps nothing of the others.
fn until_members(trio: &Trio, at: usize, voters: &Value, learners: &Value) {
    let mut wanted = vec![(voters.clone(), learners.clone()), (voters.clone(), json!([]))];
    wanted.dedup();
    until("every group's members", || {
        let found = members(trio, at);
        if found == wanted { Ok(()) } else { Err(format!("{found:?}")) }
    });
}

/// Runs a statement until it is taken: while the lead moves it may time out.
fn message(trio: &Trio, at: usize, sql: &str) -> String {
    trio.run(at, sql)[0]["message"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn who_asks_the_node_whose_id_it_claims_is_told_so_and_ends() {
    let mut cluster = Trio::of(1, &[]);
    let second = cluster.join(2);
    let empty = tempfile::tempdir().unwrap();
    let mut arguments = cluster.joining("1", "127.0.0.1:1");
    arguments.extend(["--data-dir", empty.path().to_str().unwrap(), "--http-addr", "127.0.0.1:0"].map(str::to_owned));
    arguments.extend(["--cores", "1"].map(str::to_owned));
    let (code, _, said) = run(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(code, 78, "{said}");
    let why = "the cluster does not let this node in: node 1 is the node at 127.0.0.1:";
    assert!(said.contains(why) && said.contains("give this node a --node-id that no node of the cluster"), "{said}");

    // A member with its own folder asks nobody.
    cluster.kill(second);
    cluster.restart(second);
    assert_eq!(cluster.rows(second, "SELECT COUNT(*) FROM system.cluster"), json!([["2"]]));
}

#[test]
fn a_fourth_node_joins_takes_a_lost_ones_place_and_the_cluster_goes_on_with_it() {
    let mut trio = Trio::start(&[]);
    trio.run(0, "CREATE NAMESPACE app");
    trio.run(0, "CREATE TABLE app.n (id BIGINT PRIMARY KEY, body TEXT) PARTITION BY (id)");
    for id in 0..20 {
        trio.run(id % 3, &format!("INSERT INTO app.n VALUES ({id}, 'before')"));
    }
    let listed = trio.rows(1, "CLUSTER LIST");
    assert_eq!(listed.as_array().unwrap().len(), 3, "{listed}");

    // It joins: it answers reads and takes writes of every group, keeps the meta group only, and has no vote.
    let fourth = trio.join(4);
    assert_eq!(trio.rows(fourth, "SELECT COUNT(*) FROM app.n"), json!([["20"]]));
    trio.run(fourth, "INSERT INTO app.n VALUES (20, 'by node 4')");
    assert_eq!(trio.rows(0, "SELECT COUNT(*) FROM app.n"), json!([["21"]]));
    for at in [0, fourth] {
        until_members(&trio, at, &json!([1, 2, 3]), &json!([4]));
    }
    let listed = trio.rows(0, "CLUSTER LIST");
    assert_eq!(listed.as_array().unwrap().len(), 4, "{listed}");
    let role = trio.rows(0, "SELECT role, status FROM system.cluster WHERE node_id = 4");
    assert_eq!(role, json!([["learner", "up"]]));
    let refused = trio.ask(0, "CLUSTER TRANSFER LEADER 1 TO 4");
    assert!(refused.message().contains("node 4 has no vote in group 1"), "{refused:?}");

    // Node 3 loses its disk. It is not let in anew under its id, neither before nor after it was taken out.
    trio.kill(2);
    let empty = tempfile::tempdir().unwrap();
    let anew = |trio: &Trio| {
        let mut arguments = trio.joining("3", "127.0.0.1:1");
        arguments
            .extend(["--data-dir", empty.path().to_str().unwrap(), "--http-addr", "127.0.0.1:0"].map(str::to_owned));
        arguments.extend(["--cores", "1"].map(str::to_owned));
        let (code, _, said) = run(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(code, 78, "{said}");
        said
    };
    assert!(anew(&trio).contains("may not vote under its old id"));
    message(&trio, fourth, "CLUSTER LEAVE 3");
    for at in [0, fourth] {
        until_members(&trio, at, &json!([1, 2, 4]), &json!([]));
        until("node 3 is struck off", || {
            let listed = trio.rows(at, "SELECT node_id FROM system.cluster");
            if listed.as_array().unwrap().len() == 3 { Ok(()) } else { Err(listed.to_string()) }
        });
    }
    assert!(anew(&trio).contains("an id is never given twice"));

    // The old node 3 with its old folder learns that it is out.
    let arguments = trio.arguments_of(2);
    let (code, _, said) = run(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    assert_ne!(code, 0, "{said}");
    assert!(said.contains("not a member of its cluster any more"), "{said}");

    // The new node votes: with node 1 gone, nodes 2 and 4 go on, also after they were restarted.
    trio.kill(0);
    until("a write without node 1", || {
        let answer = trio.ask(fourth, "INSERT INTO app.n VALUES (21, 'without node 1')");
        if answer.status == 200 || answer.message().contains("exists") || answer.message().contains("duplicate") {
            Ok(())
        } else {
            Err(format!("{answer:?}"))
        }
    });
    trio.take(1).stop();
    trio.take(fourth).stop();
    trio.restart_together(&[1, fourth]);
    until_members(&trio, fourth, &json!([1, 2, 4]), &json!([]));
    assert_eq!(trio.rows(1, "SELECT COUNT(*) FROM app.n"), json!([["22"]]));
    // Node 1 comes back with the list of nodes that it was first given.
    trio.restart(0);
    assert_eq!(trio.rows(0, "SELECT COUNT(*) FROM app.n"), json!([["22"]]));
}

#[test]
fn leads_and_votes_go_where_they_are_told_to_on_any_node() {
    let mut trio = Trio::start(&[]);
    for (at, node) in [(0, 2), (2, 1), (1, 3)] {
        let said = message(&trio, at, &format!("CLUSTER TRANSFER LEADER 1 TO {node}"));
        assert_eq!(said, format!("Node {node} leads group 1"));
    }
    for (sql, said) in [
        ("CLUSTER TRANSFER LEADER 99 TO 1", "group 99 does not exist"),
        ("CLUSTER TRANSFER LEADER 1 TO 9", "node 9 does not exist"),
        ("CLUSTER MOVE SHARD 1 TO 9", "node 9 does not exist"),
        ("CLUSTER LEAVE 9", "node 9 does not exist"),
        ("CLUSTER JOIN 9", "node 9 does not exist"),
    ] {
        let refused = trio.ask(1, sql);
        assert!(refused.message().contains(said), "{sql}: {refused:?}");
    }
    assert_eq!(message(&trio, 0, "CLUSTER JOIN 2"), "Node 2 is a member");
    assert_eq!(message(&trio, 0, "CLUSTER REBALANCE"), "Votes are spread evenly; nothing is to be moved");

    let fourth = trio.join(4);
    let said = message(&trio, 0, "CLUSTER MOVE SHARD 1 TO 4");
    assert!(said.contains("Node 4 votes in group 1 in the place of node"), "{said}");
    let voters = |trio: &Trio, group: u32| {
        let sql = format!("SELECT voters, moving_to FROM system.cluster_groups WHERE group_id = {group}");
        trio.rows(fourth, &sql)[0].clone()
    };
    until("group 1 has been moved", || {
        let row = voters(&trio, 1);
        let is_there = row[0].to_string().contains('4') && row[1] == Value::Null;
        if is_there { Ok(()) } else { Err(row.to_string()) }
    });
    assert!(message(&trio, fourth, "CLUSTER REBALANCE").contains("groups are being moved"));
    until("votes are even", || {
        let mut votes = [0; 5];
        for group in 0..5 {
            let row = voters(&trio, group);
            if row[1] != Value::Null {
                return Err(format!("group {group}: {row}"));
            }
            (1..=4).filter(|node| row[0].to_string().contains(&node.to_string())).for_each(|node| votes[node] += 1);
        }
        if votes[1..].iter().all(|votes| (3..=4).contains(votes)) { Ok(()) } else { Err(format!("{votes:?}")) }
    });
    // A node that leaves while it is there: it hands over and goes, and says why it stops.
    message(&trio, 1, "CLUSTER LEAVE 1");
    until_members(&trio, 1, &json!([2, 3, 4]), &json!([]));
    let mut gone = trio.take(0);
    until("node 1 has stopped", || if gone.has_ended() { Ok(()) } else { Err("it runs".into()) });
    assert!(gone.log().contains("has left this cluster"), "{}", gone.log());
    assert_eq!(gone.wait().code(), Some(0));
    let said = trio.run(1, "CREATE NAMESPACE afterwards");
    assert!(!said.is_empty());
}

#[test]
fn who_leads_the_meta_group_next_carries_moves_to_their_end() {
    let mut trio = Trio::start(&[]);
    trio.run(0, "CREATE NAMESPACE app");
    trio.run(0, "CREATE TABLE app.n (id BIGINT PRIMARY KEY) PARTITION BY (id)");
    let fourth = trio.join(4);
    let first = until("who leads the meta group", || trio.leader_of(0).ok_or_else(String::new));
    assert!(message(&trio, fourth, "CLUSTER REBALANCE").contains("groups are being moved"));
    trio.kill(first);
    let votes = |trio: &Trio| {
        let rows = trio.rows(fourth, "SELECT voters FROM system.cluster_groups WHERE moving_to IS NULL");
        rows.as_array().unwrap().iter().filter(|row| row[0].to_string().contains('4')).count()
    };
    until("every move has ended", || {
        let moving =
            trio.rows(fourth, "SELECT group_id, moving_to FROM system.cluster_groups WHERE moving_to IS NOT NULL");
        if moving == json!([]) && votes(&trio) >= 3 { Ok(()) } else { Err(format!("{moving}; {} votes", votes(&trio))) }
    });
    trio.run(fourth, "INSERT INTO app.n VALUES (1)");
    // A write goes on in every group although one of four nodes is gone.
    for id in 2..20 {
        trio.run(fourth, &format!("INSERT INTO app.n VALUES ({id})"));
    }
    assert_eq!(trio.rows(fourth, "SELECT COUNT(*) FROM app.n"), json!([["19"]]));
}

#[test]
fn a_node_that_cannot_leave_yet_says_what_it_waits_for() {
    let mut trio = Trio::start(&[]);
    let fourth = trio.join(4);
    trio.kill(fourth);
    until("node 4 is missed", || {
        let row = trio.rows(0, "SELECT status FROM system.cluster WHERE node_id = 4");
        if row == json!([["down"]]) { Ok(()) } else { Err(row.to_string()) }
    });
    let said = message(&trio, 0, "CLUSTER LEAVE 3");
    assert!(said.contains("Node 3 is leaving"), "{said}");
    assert!(said.contains("It waits for node 4 to be there and to hold all of it (group "), "{said}");
    until("every node shows what it waits for", || {
        let row = trio.rows(0, "SELECT status, waits_for FROM system.cluster WHERE node_id = 3");
        let is_shown = row == json!([["leaving", "its votes in 5 groups to be taken over"]]);
        if is_shown { Ok(()) } else { Err(row.to_string()) }
    });
    trio.restart(fourth);
    until("node 3 is struck off", || {
        let listed = trio.rows(0, "SELECT node_id, waits_for FROM system.cluster WHERE node_id = 3");
        if listed == json!([]) { Ok(()) } else { Err(listed.to_string()) }
    });
    // With fewer nodes than replicas one that is gone for good goes all the same, and the rest vote alone.
    trio.kill(fourth);
    message(&trio, 1, "CLUSTER LEAVE 4");
    for at in [0, 1] {
        until_members(&trio, at, &json!([1, 2]), &json!([]));
        until("node 4 is struck off", || {
            let listed = trio.rows(at, "SELECT node_id FROM system.cluster WHERE node_id = 4");
            if listed == json!([]) { Ok(()) } else { Err(listed.to_string()) }
        });
    }
    assert!(!trio.run(0, "CREATE NAMESPACE afterwards").is_empty());
}

#[test]
fn nodes_that_come_back_at_other_addresses_are_found_there_and_the_cluster_knows_it() {
    let mut trio = Trio::start(&[]);
    let fourth = trio.join(4);
    trio.run(0, "CREATE NAMESPACE app");
    trio.run(0, "CREATE TABLE app.n (id BIGINT PRIMARY KEY) PARTITION BY (id)");
    // Under an id: a leader that is killed must not leave it open what became of the statement.
    let write = |trio: &Trio, at: usize, id: u128| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        let request = ulid::Ulid((now << 80) | id).to_string();
        let answer = trio.ask_once(at, &format!("INSERT INTO app.n VALUES ({id})"), &request);
        assert_eq!(answer.status, 200, "{answer:?}");
    };
    let address_of = |trio: &Trio, at: usize, node: usize| {
        trio.rows(at, &format!("SELECT rpc_addr FROM system.cluster WHERE node_id = {node}"))
    };
    // One that joined, and one that formed the cluster; nobody else is started again or told.
    for (count, at) in [(1, fourth), (2, 1)] {
        let was = address_of(&trio, 0, at + 1);
        trio.kill(at);
        write(&trio, 0, count);
        trio.moves(at);
        trio.restart(at);
        assert_eq!(trio.rows(at, "SELECT COUNT(*) FROM app.n"), json!([[count.to_string()]]));
        let is = address_of(&trio, at, at + 1);
        assert_ne!(is, was);
        for other in [0, 2] {
            until("the others know where it is", || {
                let found = address_of(&trio, other, at + 1);
                if found == is { Ok(()) } else { Err(found.to_string()) }
            });
        }
    }
    // The roll has it: a node that was away meanwhile finds it, although its own settings know nothing.
    trio.kill(2);
    trio.kill(0);
    trio.restart_together(&[0, 2]);
    assert_eq!(trio.rows(2, "SELECT COUNT(*) FROM app.n"), json!([["2"]]));
    // All move at one time, most of the votes among them: their settings name one another.
    for at in 0..3 {
        trio.kill(at);
    }
    (0..3).for_each(|at| trio.moves(at));
    trio.restart_together(&[0, 1, 2]);
    write(&trio, fourth, 3);
    assert_eq!(trio.rows(2, "SELECT COUNT(*) FROM app.n"), json!([["3"]]));
}

#[test]
fn in_a_cluster_of_five_three_nodes_keep_each_group_and_all_the_meta_group() {
    let mut five = Trio::of(5, &[]);
    five.run(0, "CREATE NAMESPACE app");
    five.run(0, "CREATE TABLE app.n (id BIGINT PRIMARY KEY) PARTITION BY (id)");
    let mut votes = [0; 6];
    until("three vote in each group", || {
        let found = members(&five, 4);
        votes = [0; 6];
        for (group, (voters, learners)) in found.iter().enumerate() {
            let count = |nodes: &Value| nodes.as_array().map_or(0, Vec::len);
            if (count(voters), count(learners)) != (3, if group == 0 { 2 } else { 0 }) {
                return Err(format!("{found:?}"));
            }
        }
        let rows = five.rows(4, "SELECT voters FROM system.cluster_groups");
        for row in rows.as_array().unwrap() {
            (1..=5).filter(|node| row[0].to_string().contains(&node.to_string())).for_each(|node| votes[node] += 1);
        }
        Ok(())
    });
    assert_eq!(votes[1..], [3; 5], "15 votes in five groups lie evenly");
    let seats = |at| five.rows(at, "SELECT group_id FROM system.cluster_groups WHERE state = 'seat'");
    until("every node keeps the groups that it votes in, and the meta group", || {
        let kept: Vec<usize> = (0..5).map(|at| 5 - seats(at).as_array().map_or(0, Vec::len)).collect();
        if kept.iter().sum::<usize>() == 5 + 4 * 3 { Ok(()) } else { Err(format!("{kept:?}")) }
    });
    // Every node shows everything, and one that is down stops nobody.
    for id in 0..10 {
        five.run(id % 5, &format!("INSERT INTO app.n VALUES ({id})"));
    }
    for at in 0..5 {
        assert_eq!(five.rows(at, "SELECT COUNT(*) FROM app.n"), json!([["10"]]));
    }
    five.kill(3);
    until("a write to each group without node 4", || {
        let values: Vec<String> =
            (10..30).map(|id| format!("INSERT INTO app.n VALUES ({id}) ON CONFLICT DO NOTHING")).collect();
        let answer = five.ask(0, &values.join("; "));
        if answer.status == 200 { Ok(()) } else { Err(format!("{answer:?}")) }
    });
    assert_eq!(five.rows(2, "SELECT COUNT(*) FROM app.n"), json!([["30"]]));
}

#[test]
fn a_node_without_a_majority_is_not_ready() {
    let mut trio = Trio::start(&[]);
    assert_eq!(trio.node(0).get("/ready", &[]).status, 200);
    trio.kill(1);
    trio.kill(2);
    until("the last node is not ready", || {
        let answer = trio.node(0).get("/ready", &[]);
        if answer.status == 503 { Ok(()) } else { Err(format!("{answer:?}")) }
    });
    trio.restart_together(&[1, 2]);
    until("it is ready again", || {
        let answer = trio.node(0).get("/ready", &[]);
        if answer.status == 200 { Ok(()) } else { Err(format!("{answer:?}")) }
    });
}
