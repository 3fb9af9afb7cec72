//! The processes: one node or three on loopback, each with its folder, its ports, its CPU and, in a cluster, wires to the others.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::client::{Client, PASSWORD, Site, number};
use crate::disk::SmallDisk;
use crate::fault::Cut;
use crate::patience::Patience;
use crate::wires::Wire;
use crate::{Args, Failure};

/// Groups of users' rows, and groups of shared rows and topics.
pub const USER_SHARDS: u32 = 2;
const SHARED_SHARDS: u32 = 2;
/// Longer than any start takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// How a cluster is started.
#[derive(Clone)]
pub struct Shape {
    pub server: PathBuf,
    pub folder: PathBuf,
    pub nodes: usize,
    /// The first port of HTTP; RPC has those from the tenth on.
    pub port: u16,
    /// Whether each node's folder is a file system of its own.
    pub small_disks: bool,
}

impl Shape {
    pub fn of(args: &Args, small_disks: bool) -> Self {
        let (server, folder) = (args.server.clone(), args.data_dir.clone());
        Self { server, folder, nodes: args.nodes, port: args.port, small_disks }
    }

    fn http(&self, node: usize) -> u16 {
        self.port + u16::try_from(node).unwrap_or(0)
    }

    fn rpc(&self, node: usize) -> u16 {
        self.port + 10 + u16::try_from(node).unwrap_or(0)
    }

    /// Where clients find the nodes.
    pub fn site(&self) -> Site {
        Site((0..self.nodes).map(|node| self.http(node)).collect())
    }

    fn home(&self, node: usize) -> PathBuf {
        self.folder.join((node + 1).to_string())
    }

    fn log(&self, node: usize) -> PathBuf {
        self.folder.join(format!("node-{}.log", node + 1))
    }

    fn command(&self, node: usize, peers: &str) -> Result<Command, Failure> {
        let mut command = Command::new(&self.server);
        command.args(["--with-parent", &std::process::id().to_string()]);
        command.arg("--data-dir").arg(self.home(node).join("data"));
        command.args(["--http-addr", &format!("127.0.0.1:{}", self.http(node)), "--root-password", PASSWORD]);
        let cpus = std::thread::available_parallelism()?.get();
        // A list of one CPU keeps its comma, or it would be a number of cores.
        command.args(["--cores", &format!("{},", node % cpus)]);
        command.args(["--user-shards", &USER_SHARDS.to_string(), "--shared-shards", &SHARED_SHARDS.to_string()]);
        for setting in [
            "auth.scram_iterations=4096",
            "topics.visibility_timeout=2s",
            // Shorter than clients wait: who gives up on an answer knows that the statement is over.
            "sql.statement_timeout=2500ms",
            // Small enough that a short load flushes, and needs space.
            "store.memtable=512KiB",
            "cluster.kept_log=64MiB",
        ] {
            command.args(["--set", setting]);
        }
        if self.nodes > 1 {
            command.args(["--node-id", &(node + 1).to_string(), "--peers", peers]);
            command.args(["--rpc-addr", &format!("127.0.0.1:{}", self.rpc(node))]);
            command.args(["--set", "cluster.secret=ring three, everyone may know it"]);
        }
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log(node))?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Ok(command)
    }
}

/// A process of a node.
struct Process(Child);

impl Process {
    fn signal(&self, signal: Signal) -> Result<(), Failure> {
        let pid = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw).ok_or("no process id")?;
        Ok(kill_process(pid, signal)?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Running nodes; all killed when dropped, and their file systems unmounted.
pub struct Cluster {
    pub shape: Shape,
    nodes: Vec<Option<Process>>,
    wires: Vec<(usize, usize, Wire)>,
    disks: Vec<SmallDisk>,
}

impl Cluster {
    /// A new cluster in a new folder, healthy. Must be called by a thread that lives as long: the nodes end with it.
    pub fn start(shape: &Shape) -> Result<Self, Failure> {
        std::fs::create_dir_all(&shape.folder)?;
        let mut cluster = Self { shape: shape.clone(), nodes: Vec::new(), wires: Vec::new(), disks: Vec::new() };
        for node in 0..shape.nodes {
            if shape.small_disks {
                cluster.disks.push(SmallDisk::mount(&shape.home(node))?);
            }
            for to in (0..shape.nodes).filter(|to| *to != node) {
                cluster.wires.push((node, to, Wire::lay(shape.rpc(to))?));
            }
        }
        cluster.nodes.resize_with(shape.nodes, || None);
        for node in 0..shape.nodes {
            cluster.launch(node)?;
        }
        cluster.until_healthy()?;
        Ok(cluster)
    }

    /// The nodes as one of them reaches them: each other one through its wire.
    fn peers(&self, node: usize) -> String {
        let port = |to: usize| {
            let wire = self.wires.iter().find(|(from, end, _)| (*from, *end) == (node, to));
            wire.map_or_else(|| self.shape.rpc(to), |(_, _, wire)| wire.port())
        };
        let peers: Vec<String> = (0..self.shape.nodes).map(|to| format!("{}=127.0.0.1:{}", to + 1, port(to))).collect();
        peers.join(",")
    }

    /// Starts a node that is not running. Does not wait until it serves.
    pub fn launch(&mut self, node: usize) -> Result<(), Failure> {
        let server = self.shape.server.display();
        let child =
            self.shape.command(node, &self.peers(node))?.spawn().map_err(|error| format!("{server}: {error}"))?;
        let place = self.nodes.get_mut(node).ok_or("no such node")?;
        *place = Some(Process(child));
        Ok(())
    }

    fn process(&mut self, node: usize) -> Result<&mut Process, Failure> {
        self.nodes.get_mut(node).and_then(Option::as_mut).ok_or_else(|| format!("node {} is down", node + 1).into())
    }

    /// Sends SIGKILL to these nodes, to all before it waits for any.
    pub fn kill(&mut self, nodes: &[usize]) -> Result<(), Failure> {
        for node in nodes {
            self.process(*node)?.signal(Signal::KILL)?;
        }
        for node in nodes {
            let status = self.process(*node)?.0.wait()?;
            if std::os::unix::process::ExitStatusExt::signal(&status) != Some(9) {
                return Err(self.ended(*node, &status.to_string()));
            }
            if let Some(place) = self.nodes.get_mut(*node) {
                *place = None;
            }
        }
        Ok(())
    }

    /// Stops a node as it stands, or lets it go on.
    pub fn pause(&mut self, node: usize, paused: bool) -> Result<(), Failure> {
        self.process(node)?.signal(if paused { Signal::STOP } else { Signal::CONT })
    }

    /// Cuts a node off from all others, or mends all of its wires.
    pub fn cut(&self, node: usize, cut: Option<Cut>) {
        let (mute, deaf) = (matches!(cut, Some(Cut::Silent | Cut::Mute)), matches!(cut, Some(Cut::Silent | Cut::Deaf)));
        for (from, to, wire) in &self.wires {
            if *from == node {
                wire.cut_there(mute);
                wire.cut_back(deaf);
            } else if *to == node {
                wire.cut_there(deaf);
                wire.cut_back(mute);
            } else {
                continue;
            }
            wire.refuse(cut == Some(Cut::Refused));
        }
    }

    /// The file system of a node.
    pub fn disk(&self, node: usize) -> Result<&SmallDisk, Failure> {
        Ok(self.disks.get(node).ok_or("the nodes have no disks of their own")?)
    }

    /// Nodes that have ended by themselves since they were started, with how; they count as down from now on.
    pub fn ended_by_themselves(&mut self) -> Result<Vec<(usize, String)>, Failure> {
        let mut ended = Vec::new();
        for (node, place) in self.nodes.iter_mut().enumerate() {
            let status = place.as_mut().map(|process| process.0.try_wait()).transpose()?.flatten();
            if let Some(status) = status {
                *place = None;
                ended.push((node, status.to_string()));
            }
        }
        Ok(ended)
    }

    fn ended(&self, node: usize, how: &str) -> Failure {
        format!("node {} has ended by itself, with {how}; see {}", node + 1, self.shape.log(node).display()).into()
    }

    /// Waits until every node says that it sees everything well.
    pub fn until_healthy(&mut self) -> Result<Duration, Failure> {
        let started = Instant::now();
        let mut client = Client::new(&self.shape.site(), "root", 0);
        let (mut node, mut patience) = (0, Patience::new(PATIENCE, Duration::from_millis(20)));
        while node < self.shape.nodes {
            let is_healthy = client.at(node).is_healthy();
            // Looked at after the answer: another server on the port must not pass for this one.
            if let Some((node, how)) = self.ended_by_themselves()?.first() {
                return Err(self.ended(*node, how));
            }
            if is_healthy {
                node += 1;
            } else if !patience.waits() {
                let log = self.shape.log(node);
                return Err(format!("node {} is not well after {PATIENCE:?}; see {}", node + 1, log.display()).into());
            } else {
                node = 0;
            }
        }
        Ok(started.elapsed())
    }

    /// Who leads each group, as the first node that answers says.
    pub fn leaders(&self, root: &mut Client) -> Result<Vec<(u32, usize)>, Failure> {
        let sql = "SELECT group_id, current_leader FROM system.cluster_groups";
        let rows = root.rows(sql, &json!([]))?;
        let pair = |row: &Vec<serde_json::Value>| {
            let (group, leader) = (number(row.first()?), number(row.get(1)?));
            Some((u32::try_from(group).ok()?, usize::try_from(leader).ok()?.checked_sub(1)?))
        };
        Ok(rows.iter().filter_map(pair).collect())
    }

    /// Ends everything and removes what was made, but for the logs if they are to be kept.
    pub fn remove(mut self, keep: Option<&Path>) -> Result<(), Failure> {
        self.nodes.clear();
        self.disks.clear();
        if let Some(keep) = keep {
            for node in 0..self.shape.nodes {
                let log = self.shape.log(node);
                let name = log.file_name().ok_or("no log")?;
                std::fs::create_dir_all(keep)?;
                std::fs::copy(&log, keep.join(name))?;
            }
        }
        std::fs::remove_dir_all(&self.shape.folder)?;
        Ok(())
    }
}
