//! What idle groups cost: starts three nodes on this machine with many groups each, lets them rest, and prints what they use; then
//! kills one and prints how long the others' groups are without a leader.
//!
//! ```console
//! $ cargo build --release -p highwater-server
//! $ cargo run --release -p highwater-server --example idle_groups -- --groups 10000 --seconds 30
//! ```
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a main function of its own, which starts processes and measures them"
)]

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;

const PASSWORD: &str = "measure-idle-groups";
const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// What the kernel counts processor time in, per second.
const KERNEL_TICKS: f64 = 100.0;

#[derive(Parser)]
struct Args {
    /// Groups of each node.
    #[arg(long, default_value_t = 10_000)]
    groups: u32,
    /// How long the idle nodes are watched, in seconds.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// The server; by default the one beside this program.
    #[arg(long)]
    server: Option<PathBuf>,
    /// Do not kill a node at the end.
    #[arg(long)]
    no_kill: bool,
}

struct Node {
    child: Child,
    url: String,
    started: Instant,
    took: Duration,
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Node {
    fn spawn(server: &Path, folder: &Path, id: usize, peers: &str, groups: u32) -> Child {
        let address = peers.split(',').nth(id - 1).unwrap().split_once('=').unwrap().1;
        let user_shards = groups.saturating_sub(2).clamp(1, 16_384);
        Command::new(server)
            .args(["--data-dir", folder.to_str().unwrap(), "--http-addr", "127.0.0.1:0", "--cores", "1"])
            .args(["--root-password", PASSWORD, "--set", "auth.scram_iterations=4096", "--log-level", "warn"])
            .args(["--user-shards", &user_shards.to_string(), "--shared-shards", "1"])
            .args(["--node-id", &id.to_string(), "--rpc-addr", address, "--peers", peers, "--cluster-secret", SECRET])
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap()
    }

    fn until_ready(mut child: Child, started: Instant) -> Self {
        let mut banner = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        while !banner.contains("\n  stop") {
            assert!(lines.read_line(&mut banner).unwrap() > 0, "the server ended: {banner}");
        }
        std::thread::spawn(move || lines.read_to_end(&mut Vec::new()));
        let url = banner.lines().find_map(|line| line.trim().strip_prefix("HTTP")).unwrap().trim().to_owned();
        Self { child, url, started, took: started.elapsed() }
    }

    /// Processor time so far, in seconds.
    fn processor(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / KERNEL_TICKS
    }

    /// Resident memory that is no file's, in KiB.
    fn memory(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// The sum of a metric over its labels; of those lines alone that have `label` in them.
    fn metric(&self, name: &str, label: &str) -> f64 {
        let text = ureq::get(format!("{}/metrics", self.url)).call().unwrap().body_mut().read_to_string().unwrap();
        let is_it = |line: &&str| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])) && line.contains(label)
        };
        text.lines().filter(is_it).filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    }

    fn sql(&self, token: &str, sql: &str) -> Result<String, String> {
        let body = format!("{{\"sql\":{sql:?}}}");
        let request = ureq::post(format!("{}/v1/api/sql", self.url)).header("authorization", format!("Bearer {token}"));
        let mut answer = request.send(body).map_err(|error| error.to_string())?;
        answer.body_mut().read_to_string().map_err(|error| error.to_string())
    }
}

fn cluster(server: &Path, folder: &Path, groups: u32) -> Vec<Node> {
    let held: Vec<_> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let address = |listener: &TcpListener| format!("127.0.0.1:{}", listener.local_addr().unwrap().port());
    let peers: Vec<_> = (1..).zip(&held).map(|(id, listener)| format!("{id}={}", address(listener))).collect();
    drop(held);
    let (peers, started) = (peers.join(","), Instant::now());
    let children: Vec<_> = (1..=3)
        .map(|id| {
            let folder = folder.join(format!("{groups}-{id}"));
            std::fs::create_dir_all(&folder).unwrap();
            Node::spawn(server, &folder, id, &peers, groups)
        })
        .collect();
    children.into_iter().map(|child| Node::until_ready(child, started)).collect()
}

fn until_asleep(nodes: &[Node]) {
    let end = Instant::now() + Duration::from_secs(120);
    while nodes.iter().any(|node| {
        node.metric("highwater_driver_groups_awake", "") + node.metric("highwater_driver_groups_queued", "") > 0.0
    }) {
        assert!(Instant::now() < end, "the groups do not fall asleep");
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn main() {
    let args = Args::parse();
    let beside = || std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().join("highwaterd");
    let server = args.server.clone().unwrap_or_else(beside);
    let folder = tempfile::tempdir().unwrap();
    let few = cluster(&server, folder.path(), 3);
    until_asleep(&few);
    std::thread::sleep(Duration::from_secs(2));
    let base = few.iter().map(Node::memory).sum::<f64>() / 3.0;
    drop(few);

    let nodes = cluster(&server, folder.path(), args.groups);
    for (at, node) in (1..).zip(&nodes) {
        println!(
            "node {at}: ready after {:.1} s, {:.1} s of processor time",
            node.took.as_secs_f64(),
            node.processor()
        );
    }
    until_asleep(&nodes);
    println!("all groups asleep {:.1} s after the start", nodes[0].started.elapsed().as_secs_f64());
    std::thread::sleep(Duration::from_secs(3));
    let counters = ["highwater_cluster_sent_messages_total", "highwater_cluster_writes_total"];
    let all = |node: &Node| counters.map(|name| node.metric(name, ""));
    let before: Vec<_> = nodes.iter().map(|node| (all(node), node.processor())).collect();
    std::thread::sleep(Duration::from_secs(args.seconds));
    let seconds = args.seconds as f64;
    for (at, (node, (counted, processor))) in (1..).zip(nodes.iter().zip(before)) {
        let used = node.processor() - processor;
        let now = all(node);
        println!(
            "node {at}: {} groups, {} led, {:.2} % of a core, {:.1} raft messages/s, {:.1} writes/s to other nodes, {:.2} KiB of memory per group",
            node.metric("highwater_driver_groups", ""),
            node.metric("highwater_driver_groups_led", ""),
            100.0 * used / seconds,
            (now[0] - counted[0]) / seconds,
            (now[1] - counted[1]) / seconds,
            (node.memory() - base) / f64::from(args.groups),
        );
    }
    println!("a node with 3 groups has {:.1} MiB", base / 1024.0);
    if !args.no_kill {
        fail_over(nodes, args.groups);
    }
}

fn fail_over(mut nodes: Vec<Node>, groups: u32) {
    let login = format!("{{\"user\":\"root\",\"password\":{PASSWORD:?}}}");
    let mut answer = ureq::post(format!("{}/v1/api/auth/login", nodes[0].url)).send(login).unwrap();
    let text = answer.body_mut().read_to_string().unwrap();
    let token = text.split("\"access_token\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    nodes[0].sql(&token, "CREATE NAMESPACE app").unwrap();
    nodes[0].sql(&token, "CREATE TABLE app.t (id BIGINT PRIMARY KEY, v TEXT) WITH (TYPE = 'SHARED')").unwrap();
    until_asleep(&nodes);
    // The table's group is the last; the node that leads it dies.
    let which =
        format!("SELECT node_id FROM system.cluster_groups WHERE group_id = {} AND state = 'leader'", groups - 1);
    let leads = |node: &Node| node.sql(&token, &which).unwrap().contains("\"row_count\":1");
    let at = nodes.iter().position(leads).unwrap();
    let mut dead = nodes.remove(at);
    dead.child.kill().unwrap();
    let killed = Instant::now();
    let mut written = None;
    let mut processor: Vec<f64> = nodes.iter().map(Node::processor).collect();
    loop {
        if written.is_none() && nodes[0].sql(&token, "INSERT INTO app.t VALUES (1, 'x')").is_ok() {
            written = Some(killed.elapsed());
        }
        let led: f64 = nodes.iter().map(|node| node.metric("highwater_driver_groups_led", "")).sum();
        if written.is_some() && led >= f64::from(groups) {
            break;
        }
        assert!(
            killed.elapsed() < Duration::from_secs(120),
            "{led} of {groups} groups have a leader, written {written:?}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    let all = killed.elapsed();
    until_asleep(&nodes);
    for (node, used) in nodes.iter().zip(&mut processor) {
        *used = node.processor() - *used;
    }
    println!(
        "a node is killed: first write after {:.2} s, all groups led after {:.2} s, asleep again after {:.2} s; processor time {processor:.2?} s",
        written.unwrap().as_secs_f64(),
        all.as_secs_f64(),
        killed.elapsed().as_secs_f64(),
    );
}
