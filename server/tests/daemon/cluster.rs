//! Three real processes on loopback: how they become a cluster, and whom they refuse.
use std::io::Read as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::ports;
use crate::running::{PASSWORD, Server, highwaterd, run};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
const SECRET: &str = "cluster.secret=a secret of the daemon's tests";

/// Waits for something that must come to be.
fn until<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let started = Instant::now();
    loop {
        match look() {
            Ok(found) => return found,
            Err(seen) => assert!(started.elapsed() < PATIENCE, "{what}: not after {PATIENCE:?}; seen: {seen}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What a process says on standard error.
fn listen_to(child: &mut Child) -> Arc<Mutex<String>> {
    let said = Arc::new(Mutex::new(String::new()));
    let mut errors = child.stderr.take().unwrap();
    let heard = Arc::clone(&said);
    std::thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(length @ 1..) = errors.read(&mut piece) {
            heard.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..length]));
        }
    });
    said
}

/// The folders and ports of three nodes.
struct Trio {
    base: tempfile::TempDir,
    http: Vec<u16>,
    rpc: Vec<u16>,
}

/// A node that was started; killed when dropped.
struct Member {
    child: Child,
    said: Arc<Mutex<String>>,
    url: String,
    agent: ureq::Agent,
}

impl Trio {
    fn new() -> Self {
        let ports = ports::in_a_row(6);
        let (http, rpc) = ports.split_at(3);
        Self { base: tempfile::tempdir().unwrap(), http: http.to_vec(), rpc: rpc.to_vec() }
    }

    fn folder(&self, node: usize) -> PathBuf {
        self.base.path().join(node.to_string())
    }

    fn peers(&self) -> String {
        (1..=3).map(|node| format!("{node}=127.0.0.1:{}", self.rpc[node - 1])).collect::<Vec<_>>().join(",")
    }

    fn arguments(&self, node: usize, more: &[&str]) -> Vec<String> {
        let folder = self.folder(node).to_str().unwrap().to_owned();
        let mut arguments = vec!["--data-dir".to_owned(), folder, "--node-id".into(), node.to_string()];
        arguments.extend(["--peers".to_owned(), self.peers(), "--cores".into(), "1".into()]);
        arguments.extend(["--http-addr".to_owned(), format!("127.0.0.1:{}", self.http[node - 1])]);
        arguments.extend(["--rpc-addr".to_owned(), format!("127.0.0.1:{}", self.rpc[node - 1])]);
        arguments.extend(["--set", "auth.scram_iterations=4096", "--root-password", PASSWORD].map(str::to_owned));
        for (flag, value) in [("--user-shards", "2"), ("--shared-shards", "2"), ("--set", SECRET)] {
            if !more.iter().any(|given| *given == flag || flag == "--set" && given.starts_with("cluster.secret=")) {
                arguments.extend([flag.to_owned(), value.to_owned()]);
            }
        }
        arguments.extend(more.iter().map(ToString::to_string));
        arguments
    }

    fn start(&self, node: usize, more: &[&str]) -> Member {
        self.start_with(node, &self.arguments(node, more))
    }

    fn start_with(&self, node: usize, arguments: &[String]) -> Member {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut command = highwaterd(&arguments);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let said = listen_to(&mut child);
        let url = format!("http://127.0.0.1:{}", self.http[node - 1]);
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(10)))
            .build()
            .into();
        Member { child, said, url, agent }
    }

    /// Three nodes that are one cluster and all see one another.
    fn formed(&self) -> Vec<Member> {
        let mut members: Vec<Member> = (1..=3).map(|node| self.start(node, &[])).collect();
        for member in &mut members {
            member.until_sees(&["up", "up", "up"]);
        }
        members
    }
}

impl Member {
    fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// A status and a JSON body; nothing while it does not listen.
    fn get(&self, path: &str) -> Result<(u16, Value), String> {
        let mut response = self.agent.get(format!("{}{path}", self.url)).call().map_err(|error| error.to_string())?;
        let text = response.body_mut().read_to_string().map_err(|error| error.to_string())?;
        let json = serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
        Ok((response.status().as_u16(), json))
    }

    /// Waits until it is ready and has these states for nodes 1, 2 and 3.
    fn until_sees(&mut self, states: &[&str]) -> Value {
        until("the nodes' states", || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("highwaterd has ended: {status}: {}", self.said());
            }
            let (_, seen) = self.get("/v1/api/cluster/health")?;
            let found: Vec<&str> =
                seen["nodes"].as_array().unwrap().iter().filter_map(|node| node["status"].as_str()).collect();
            if found == states { Ok(seen.clone()) } else { Err(format!("{seen}; {}", self.said())) }
        })
    }

    fn signal(&self, name: &str) {
        assert!(Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap().success());
    }

    fn stop(mut self) {
        self.signal("TERM");
        let status = self.child.wait().unwrap();
        assert_eq!(status.code(), Some(0), "{}", self.said());
    }

    fn kill(mut self) {
        self.signal("KILL");
        self.child.wait().unwrap();
    }

    /// Waits until it has ended by itself.
    fn ended(mut self) -> (Option<i32>, String) {
        let status: ExitStatus = until("the end of a node", || match self.child.try_wait().unwrap() {
            Some(status) => Ok(status),
            None => Err(self.said()),
        });
        // The last words may still be on their way.
        until("its last words", || if self.said().contains("highwaterd: ") { Ok(()) } else { Err(self.said()) });
        (status.code(), self.said())
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The cluster id in a folder's file.
fn cluster_in(folder: &Path) -> Vec<u8> {
    std::fs::read(folder.join("cluster")).unwrap()[16..32].to_vec()
}

#[test]
fn three_nodes_form_a_cluster_see_one_another_and_one_that_was_away_comes_back() {
    let trio = Trio::new();
    let mut members = trio.formed();
    let ids: Vec<_> = (1..=3).map(|node| cluster_in(&trio.folder(node))).collect();
    assert!(ids.iter().all(|id| *id == ids[0]));

    let seen = members[0].until_sees(&["up", "up", "up"]);
    assert_eq!((&seen["is_cluster_mode"], &seen["node_id"]), (&json!(true), &json!(1)));
    let second = &seen["nodes"][1];
    assert_eq!(second["api_addr"], json!(members[1].url.strip_prefix("http://").unwrap()));
    assert_eq!(
        (&second["is_self"], &second["rpc_addr"]),
        (&json!(false), &json!(format!("127.0.0.1:{}", trio.rpc[1])))
    );
    assert!(second["round_trip_us"].as_u64().is_some() && second["uptime_seconds"].as_u64().is_some(), "{seen}");
    assert!(second["clock_ahead_ms"].as_i64().unwrap().abs() < 500, "{seen}");

    let text = members[0]
        .agent
        .get(format!("{}/metrics", members[0].url))
        .call()
        .unwrap()
        .body_mut()
        .read_to_string()
        .unwrap();
    assert!(text.contains("highwater_cluster_node_up{node=\"2\"} 1"), "{text}");
    let book = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md")).unwrap();
    for line in text.lines().filter(|line| line.starts_with("highwater_cluster_")) {
        let name = line.split(['{', ' ']).next().unwrap();
        assert!(book.contains(&format!("| `{name}` |")), "docs/metrics.md does not list {name}");
    }

    members.pop().unwrap().stop();
    let seen = members[0].until_sees(&["up", "up", "down"]);
    assert!(seen["nodes"][2]["heard_ms"].as_u64().unwrap() >= 2000, "{seen}");
    members.push(trio.start(3, &[]));
    for member in &mut members {
        member.until_sees(&["up", "up", "up"]);
    }
}

#[test]
fn nodes_with_certificates_of_their_cluster_listen_for_other_machines() {
    let trio = Trio::new();
    let certificates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../net/tests/certificates");
    let setting = |name: &str, file: &str| format!("cluster.{name}={}", certificates.join(file).display());
    let files = [("tls_ca", "cluster-ca.pem"), ("tls_cert", "cluster-node.pem"), ("tls_key", "cluster-node.key")];
    let files = files.map(|(name, file)| setting(name, file));
    let more: Vec<&str> = files.iter().flat_map(|file| ["--set", file]).chain(["--set", SECRET]).collect();
    let start = |node: usize| {
        let mut arguments = trio.arguments(node, &more);
        // Cores may differ; every core has links of its own.
        arguments[7] = if node == 3 { "1".into() } else { "2".into() };
        arguments[11] = format!("0.0.0.0:{}", trio.rpc[node - 1]);
        trio.start_with(node, &arguments)
    };
    let mut members: Vec<Member> = (1..=3).map(start).collect();
    for member in &mut members {
        member.until_sees(&["up", "up", "up"]);
    }
}

#[test]
fn a_node_with_another_secret_is_kept_out_until_it_has_the_right_one() {
    let trio = Trio::new();
    let mut members = vec![trio.start(1, &[]), trio.start(2, &[])];
    let stranger = trio.start(3, &["--set", "cluster.secret=another secret than theirs"]);
    let why = until("a reason", || {
        let (status, ready) = members[0].get("/ready")?;
        let reason = ready["reason"].as_str().unwrap_or("").to_owned();
        let named = reason.contains("missing: node 3") && reason.contains("another secret");
        if status == 503 && named { Ok(reason) } else { Err(format!("{status} {ready}")) }
    });
    assert!(!why.contains("node 2 ("), "{why}");
    until("the stranger's log", || {
        let said = stranger.said();
        if said.contains("it has another secret") { Ok(()) } else { Err(said) }
    });
    assert!(!trio.folder(1).join("cluster").exists() && !trio.folder(3).join("cluster").exists());
    stranger.kill();
    members.push(trio.start(3, &[]));
    for member in &mut members {
        member.until_sees(&["up", "up", "up"]);
    }
}

#[test]
fn a_node_that_lost_its_folder_is_refused_and_says_what_to_do() {
    let trio = Trio::new();
    let mut members = trio.formed();
    members.pop().unwrap().kill();
    std::fs::remove_dir_all(trio.folder(3)).unwrap();
    let (code, said) = trio.start(3, &[]).ended();
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("refuses this node: node 3 came with another data folder"), "{said}");
    assert!(said.contains("may not vote under its old id. Put the old folder back"), "{said}");
    assert!(!trio.folder(3).join("cluster").exists());

    // The folder of a member is nothing else's.
    members.remove(0).stop();
    let refused = |arguments: Vec<String>| {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let (code, _, said) = run(&arguments);
        assert_eq!(code, 78, "{said}");
        said
    };
    let folder = trio.folder(1);
    let alone = ["--data-dir", folder.to_str().unwrap(), "--http-addr", "127.0.0.1:0", "--cores", "1"];
    let said = refused(alone.map(str::to_owned).to_vec());
    assert!(said.contains("belongs to node 1 of the cluster of nodes 1, 2, 3; start it with --node-id 1"), "{said}");
    let mut fewer = trio.arguments(1, &[]);
    fewer[5] = trio.peers().split(",3=").next().unwrap().to_owned();
    let said = refused(fewer);
    assert!(said.contains("--peers names nodes 1, 2, but this folder's cluster was formed by nodes 1, 2, 3"), "{said}");
    let mut other = trio.arguments(1, &[]);
    other[3] = "2".into();
    let said = refused(other);
    assert!(said.contains("belongs to node 1, not to node 2; give --node-id 1"), "{said}");
}

#[test]
fn nodes_with_other_numbers_of_groups_do_not_form_a_cluster() {
    let trio = Trio::new();
    let _others = [trio.start(1, &[]), trio.start(2, &[])];
    let (code, said) = trio.start(3, &["--user-shards", "4"]).ended();
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("user shards and 2 shared shards, node"), "{said}");
}

#[test]
fn a_folder_with_data_of_its_own_joins_no_new_cluster_and_mistakes_are_named() {
    let trio = Trio::new();
    Server::start(&trio.folder(1), &[]).stop();
    let refused = |arguments: Vec<String>, check: bool, wanted: &str| {
        let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        if check {
            arguments.push("--check-config");
        }
        let (code, _, said) = run(&arguments);
        assert_eq!(code, 78, "{said}");
        assert!(said.contains(wanted), "{wanted}: {said}");
        assert_eq!(said.trim_end().lines().filter(|line| line.starts_with("highwaterd: ")).count(), 1, "{said}");
    };
    refused(trio.arguments(1, &[]), false, "was set up by a node without --peers and has data of its own");
    for check in [false, true] {
        let mut stranger = trio.arguments(2, &[]);
        stranger[3] = "4".into();
        refused(stranger, check, "this node is node 4 (--node-id), but cluster.peers names only 1, 2, 3");
        refused(trio.arguments(2, &["--set", "cluster.secret="]), check, "no cluster secret; draw one");
        let mut open = trio.arguments(2, &[]);
        open[11] = "0.0.0.0:2910".into();
        refused(open, check, "rpc.addr: 0.0.0.0:2910 is not a loopback address");
    }
}

#[test]
fn dev_cluster_starts_nodes_says_when_one_dies_and_ends_them_together() {
    let base = tempfile::tempdir().unwrap();
    let folder = base.path().join("cluster");
    let first = ports::in_a_row(13)[0];
    let (http, rpc) = (first.to_string(), (first + 10).to_string());
    let arguments =
        ["dev-cluster", "3", "--data-dir", folder.to_str().unwrap(), "--http-port", &http, "--rpc-port", &rpc];
    let more = ["--", "--user-shards", "1", "--shared-shards", "1", "--set", "auth.scram_iterations=4096"];
    let mut child = highwaterd(&[&arguments[..], &more[..]].concat())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let said = listen_to(&mut child);
    let mut out = child.stdout.take().unwrap();
    let shown = Arc::new(Mutex::new(String::new()));
    let heard = Arc::clone(&shown);
    std::thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(length @ 1..) = out.read(&mut piece) {
            heard.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..length]));
        }
    });
    let table = until("the table", || {
        if let Some(status) = child.try_wait().unwrap() {
            panic!("dev-cluster has ended: {status}: {}", said.lock().unwrap());
        }
        let shown = shown.lock().unwrap().clone();
        if shown.contains("stop      Ctrl-C") { Ok(shown) } else { Err(format!("{shown}; {}", said.lock().unwrap())) }
    });
    let kept = std::fs::read_to_string(folder.join("1/root-password")).unwrap();
    assert!(table.contains(&format!("  3     http://127.0.0.1:{}", first + 2)), "{table}");
    assert!(table.contains(kept.trim()), "{table}");
    assert_eq!(std::fs::read_to_string(folder.join("3/root-password")).unwrap(), kept);

    // The lock says who holds it.
    let holder = std::fs::read_to_string(folder.join("2/lock")).unwrap();
    let pid = holder.split_whitespace().nth(1).unwrap();
    assert!(Command::new("kill").args(["-s", "KILL", pid]).status().unwrap().success());
    until("word of the dead node", || {
        let said = said.lock().unwrap().clone();
        let told = said.contains("node 2 has ended (signal: 9 (SIGKILL)); start it again with: ");
        if told { Ok(()) } else { Err(said) }
    });
    assert!(Command::new("kill").args(["-s", "INT", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0), "{}", said.lock().unwrap());
    for port in [first, first + 1, first + 2] {
        assert!(TcpListener::bind(("127.0.0.1", port)).is_ok(), "a node is left on port {port}");
    }
}
