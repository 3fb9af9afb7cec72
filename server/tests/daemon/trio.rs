//! Three real `highwaterd` that are one cluster.
use std::path::PathBuf;

use crate::ports;
use crate::running::{Answer, PASSWORD, Server};
use serde_json::{Value, json};

/// What the nodes share.
const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// The nodes, in order of their ids; `None` for one that was killed.
pub struct Trio {
    pub nodes: Vec<Option<Server>>,
    /// Root's token, which every node takes.
    pub root: String,
    folders: Vec<tempfile::TempDir>,
    peers: String,
    /// Id and RPC address of each node that joined later.
    joined: Vec<(u64, String)>,
    more: Vec<String>,
}

impl Trio {
    /// A new cluster that is ready.
    pub fn start(more: &[&str]) -> Self {
        Self::of(3, more)
    }

    /// A new cluster of so many nodes that is ready.
    pub fn of(count: usize, more: &[&str]) -> Self {
        let ports = ports::in_a_row(u16::try_from(count).unwrap());
        let peers: Vec<String> = (1..).zip(&ports).map(|(id, port)| format!("{id}=127.0.0.1:{port}")).collect();
        let mut trio = Self {
            nodes: Vec::new(),
            root: String::new(),
            folders: (0..count).map(|_| tempfile::tempdir().unwrap()).collect(),
            peers: peers.join(","),
            joined: Vec::new(),
            more: more.iter().map(ToString::to_string).collect(),
        };
        // Each waits for the others before it prints its banner.
        let started = std::thread::scope(|scope| {
            let trio = &trio;
            let starts: Vec<_> = (0..count).map(|at| scope.spawn(move || trio.launch(at))).collect();
            starts.into_iter().map(|start| Some(start.join().unwrap())).collect()
        });
        trio.nodes = started;
        trio.root = trio.node(0).login("root", PASSWORD);
        trio
    }

    /// A new node with an empty folder that joins under this id; returns once it serves.
    pub fn join(&mut self, id: u64) -> usize {
        let port = ports::free();
        self.joined.push((id, format!("127.0.0.1:{port}")));
        self.folders.push(tempfile::tempdir().unwrap());
        let at = self.nodes.len();
        self.nodes.push(None);
        self.restart(at);
        at
    }

    fn founders(&self) -> usize {
        self.peers.split(',').count()
    }

    /// The arguments of a node that joins by any of the first three.
    pub fn joining(&self, id: &str, address: &str) -> Vec<String> {
        let seeds: Vec<&str> = self.peers.split(',').map(|peer| peer.split_once('=').unwrap().1).collect();
        let given = ["--node-id", id, "--rpc-addr", address, "--join", &seeds.join(","), "--cluster-secret", SECRET];
        given.into_iter().chain(self.more.iter().map(String::as_str)).map(str::to_owned).collect()
    }

    /// All arguments of one of the first three, to run it to its end.
    pub fn arguments_of(&self, at: usize) -> Vec<String> {
        let address = self.peers.split(',').nth(at).unwrap().split_once('=').unwrap().1;
        let (id, folder) = ((at + 1).to_string(), self.folders[at].path().to_str().unwrap());
        let given = ["--node-id", &id, "--rpc-addr", address, "--peers", &self.peers, "--cluster-secret", SECRET];
        let more = ["--data-dir", folder, "--http-addr", "127.0.0.1:0", "--cores", "1"];
        given.into_iter().chain(more).chain(self.more.iter().map(String::as_str)).map(str::to_owned).collect()
    }

    /// Starts several nodes that were killed or stopped, none of which is ready without the others.
    pub fn restart_together(&mut self, ats: &[usize]) {
        let started: Vec<(usize, Server)> = std::thread::scope(|scope| {
            let trio = &*self;
            let starts: Vec<_> = ats.iter().map(|at| (*at, scope.spawn(move || trio.launch(*at)))).collect();
            starts.into_iter().map(|(at, start)| (at, start.join().unwrap())).collect()
        });
        for (at, server) in started {
            self.nodes[at] = Some(server);
        }
    }

    fn launch(&self, at: usize) -> Server {
        let folder = PathBuf::from(self.folders[at].path());
        if let Some((id, address)) = at.checked_sub(self.founders()).map(|at| &self.joined[at]) {
            let arguments = self.joining(&id.to_string(), address);
            return Server::start(&folder, &arguments.iter().map(String::as_str).collect::<Vec<_>>());
        }
        let address = self.peers.split(',').nth(at).unwrap().split_once('=').unwrap().1.to_owned();
        let id = (at + 1).to_string();
        let mut arguments = vec!["--node-id", &id, "--rpc-addr", &address, "--peers", &self.peers];
        arguments.extend(["--cluster-secret", SECRET]);
        arguments.extend(self.more.iter().map(String::as_str));
        Server::start(&folder, &arguments)
    }

    /// A node that runs.
    pub fn node(&self, at: usize) -> &Server {
        self.nodes[at].as_ref().unwrap()
    }

    /// Kills a node as a power cut would.
    pub fn kill(&mut self, at: usize) {
        self.nodes[at].take().unwrap().kill();
    }

    /// Takes a node out of the cluster's hands, to stop it as an administrator would.
    pub fn take(&mut self, at: usize) -> Server {
        self.nodes[at].take().unwrap()
    }

    /// The other nodes reach a node, when it starts again, at another port. They are not told.
    pub fn moves(&mut self, at: usize) {
        let port = ports::free();
        if let Some((_, address)) = at.checked_sub(self.founders()).map(|at| &mut self.joined[at]) {
            *address = format!("127.0.0.1:{port}");
            return;
        }
        let mut peers: Vec<String> = self.peers.split(',').map(str::to_owned).collect();
        peers[at] = format!("{}=127.0.0.1:{port}", at + 1);
        self.peers = peers.join(",");
    }

    /// Starts a node that was killed or stopped.
    pub fn restart(&mut self, at: usize) {
        self.nodes[at] = Some(self.launch(at));
    }

    /// Runs statements on a node as root; they must succeed.
    pub fn run(&self, at: usize, sql: &str) -> Vec<Value> {
        let answer = self.ask(at, sql);
        assert_eq!(answer.status, 200, "{sql} on node {}: {answer:?}", at + 1);
        answer.json["results"].as_array().unwrap().clone()
    }

    /// The rows of a query on a node as root.
    pub fn rows(&self, at: usize, sql: &str) -> Value {
        self.run(at, sql)[0]["rows"].clone()
    }

    /// Runs statements on a node as root.
    pub fn ask(&self, at: usize, sql: &str) -> Answer {
        self.node(at).sql(&self.root, sql)
    }

    /// Runs a statement on a node as root under a request id.
    pub fn ask_once(&self, at: usize, sql: &str, id: &str) -> Answer {
        self.node(at).ask("/v1/api/sql", &self.root, &json!({ "sql": sql, "request_id": id }))
    }

    /// Which node leads a group, asked of each that runs.
    pub fn leader_of(&self, group: u32) -> Option<usize> {
        let sql = format!("SELECT group_id FROM system.cluster_groups WHERE group_id = {group} AND state = 'leader'");
        (0..self.nodes.len()).find(|at| self.nodes[*at].is_some() && self.rows(*at, &sql) != json!([]))
    }

    /// The sum of a metric over the nodes that run.
    pub fn sum(&self, metric: &str) -> f64 {
        let of = |server: &Server| -> f64 {
            let text = server.get_text("/metrics", &[]).2;
            let value = |line: &str| line.strip_prefix(metric).and_then(|rest| rest.trim().parse::<f64>().ok());
            text.lines().find_map(value).unwrap_or_else(|| panic!("{metric} is missing in {text}"))
        };
        self.nodes.iter().flatten().map(of).sum()
    }
}
