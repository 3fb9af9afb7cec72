//! `highwaterd dev-cluster`: a cluster on this machine, for trying things out. One command starts a node per process on loopback, with its
//! folder, ports and CPUs; one Ctrl-C ends them all.
//!
//! It only watches: a node that dies is said so, with the command that starts it again, and is not restarted. The nodes are in process
//! groups of their own, so that a Ctrl-C in the terminal reaches them through here and only once; they end with this process, however it ends.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a main function of its own: it starts processes and waits for them"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, IsTerminal as _, Read, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;

use highwater_runtime::CpuSet;
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::first_start::{self, PASSWORD_FILE};

/// Nodes of a cluster on one machine.
const MOST_NODES: u16 = 9;
/// The file with the cluster's secret, in the cluster's folder.
const SECRET_FILE: &str = "cluster-secret";

/// What to start.
#[derive(Clone, Debug, clap::Args)]
pub struct DevClusterArgs {
    /// How many nodes.
    #[arg(default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=i64::from(MOST_NODES)))]
    pub nodes: u16,
    /// Folder of the cluster; node N keeps its data in the folder N in it.
    #[arg(long, value_name = "DIR", default_value = "./highwater-data-cluster")]
    pub data_dir: PathBuf,
    /// HTTP port of node 1; the others follow.
    #[arg(long, value_name = "PORT", default_value_t = 2901, value_parser = clap::value_parser!(u16).range(1..=65_000))]
    pub http_port: u16,
    /// RPC port of node 1; the others follow.
    #[arg(long, value_name = "PORT", default_value_t = 2911, value_parser = clap::value_parser!(u16).range(1..=65_000))]
    pub rpc_port: u16,
    /// What every node is given besides (behind --), for example: -- --user-shards 4 --log-level debug
    #[arg(last = true, value_name = "ARGUMENT")]
    pub more: Vec<String>,
}

/// One node to start.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Plan {
    node: u16,
    folder: PathBuf,
    http: u16,
    rpc: u16,
    arguments: Vec<String>,
}

/// What happens.
enum Event {
    Asked,
    Ready(u16),
    Ended(u16, std::io::Result<ExitStatus>),
}

/// A node that was started.
struct Running {
    pid: u32,
    ready: bool,
    command: String,
}

/// Runs the cluster until it is asked to stop, or every node has ended.
///
/// # Errors
/// Why it cannot be started, or that nodes ended by themselves.
pub fn run(args: &DevClusterArgs) -> Result<(), String> {
    let folder = first_start::create_folder(&args.data_dir).map_err(|error| error.to_string())?;
    refuse_other_size(&folder, args.nodes)?;
    let secret = first_start::kept_secret(&folder, SECRET_FILE).map_err(|error| error.to_string())?;
    let is_new = !folder.join("1").join("shape").is_file();
    let program = std::env::current_exe().map_err(|error| format!("cannot find highwaterd itself: {error}"))?;
    let cpus: Vec<usize> = CpuSet::all().map(|set| set.iter().collect()).unwrap_or_default();
    let plans = plans(args, &folder, &secret, &cpus);

    let (events, happened) = mpsc::channel();
    watch_signals(&events)?;
    let mut running = BTreeMap::new();
    for plan in &plans {
        let started = start(&program, plan, &events);
        let child = started.map_err(|error| {
            end(&running, Signal::KILL);
            format!("cannot start node {}: {error}", plan.node)
        })?;
        let command = format!("{} {}", program.display(), plan.arguments.join(" "));
        running.insert(plan.node, Running { pid: child, ready: false, command });
    }
    say(&format!("starting {} nodes, data in {}\n", plans.len(), folder.display()));
    watch(&happened, &mut running, || say(&table(&plans, &folder, is_new)))
}

/// Follows the nodes to their end.
fn watch(
    happened: &mpsc::Receiver<Event>,
    running: &mut BTreeMap<u16, Running>,
    announce: impl Fn(),
) -> Result<(), String> {
    let (mut stopping, mut failed, mut announced) = (false, Vec::new(), false);
    while !running.is_empty() {
        match happened.recv().map_err(|error| error.to_string())? {
            Event::Ready(node) => {
                if let Some(node) = running.get_mut(&node) {
                    node.ready = true;
                }
                if !announced && running.values().all(|node| node.ready) {
                    announced = true;
                    announce();
                }
            }
            Event::Asked => {
                say(if stopping { "stopping at once\n" } else { "stopping\n" });
                end(running, if stopping { Signal::KILL } else { Signal::TERM });
                stopping = true;
            }
            Event::Ended(node, status) => {
                let Some(ended) = running.remove(&node) else { continue };
                // By CLUSTER LEAVE, which the node itself has told.
                let has_left = status.as_ref().is_ok_and(ExitStatus::success);
                let how = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                if !stopping && !has_left {
                    failed.push(node.to_string());
                    complain(&format!("node {node} has ended ({how}); start it again with: {}", ended.command));
                }
            }
        }
    }
    if stopping || failed.is_empty() {
        return Ok(());
    }
    Err(format!("no node is left; by themselves have ended: node {}", failed.join(", ")))
}

/// A cluster keeps the number of nodes that it was formed with.
fn refuse_other_size(folder: &Path, nodes: u16) -> Result<(), String> {
    let there = (1..=MOST_NODES).take_while(|node| folder.join(node.to_string()).join("cluster").is_file()).count();
    let there = u16::try_from(there).unwrap_or(0);
    if there == 0 || there == nodes {
        return Ok(());
    }
    Err(format!(
        "{} holds a cluster of {there} nodes; start it with: highwaterd dev-cluster {there}, or give another --data-dir",
        folder.display()
    ))
}

fn plans(args: &DevClusterArgs, folder: &Path, secret: &Path, cpus: &[usize]) -> Vec<Plan> {
    let port = |first: u16, node: u16| first.saturating_add(node).saturating_sub(1);
    let peers: Vec<String> =
        (1..=args.nodes).map(|node| format!("{node}=127.0.0.1:{}", port(args.rpc_port, node))).collect();
    let peers = peers.join(",");
    (1..=args.nodes)
        .map(|node| {
            let (http, rpc) = (port(args.http_port, node), port(args.rpc_port, node));
            let folder = folder.join(node.to_string());
            let mut arguments = vec![
                "--node-id".to_owned(),
                node.to_string(),
                "--peers".to_owned(),
                peers.clone(),
                "--rpc-addr".to_owned(),
                format!("127.0.0.1:{rpc}"),
                "--http-addr".to_owned(),
                format!("127.0.0.1:{http}"),
                "--data-dir".to_owned(),
                folder.display().to_string(),
                "--set".to_owned(),
                format!("cluster.secret_file={}", secret.display()),
            ];
            let has_cores = args.more.iter().any(|argument| argument == "--cores" || argument.starts_with("--cores="));
            if let (false, Some(share)) = (has_cores, share(cpus, node, args.nodes)) {
                arguments.extend(["--cores".to_owned(), share]);
            }
            arguments.extend(args.more.iter().cloned());
            Plan { node, folder, http, rpc, arguments }
        })
        .collect()
}

/// A node's share of the CPUs, as a list: as many for each, no CPU twice while there are enough.
fn share(cpus: &[usize], node: u16, nodes: u16) -> Option<String> {
    let (at, nodes) = (usize::from(node.checked_sub(1)?), usize::from(nodes.max(1)));
    let each = (cpus.len() / nodes).max(1);
    let own: Vec<String> =
        (0..each).filter_map(|n| cpus.get((at * each + n) % cpus.len().max(1))).map(ToString::to_string).collect();
    // A list of one keeps its comma, or it would be a number of cores.
    match own.as_slice() {
        [] => None,
        [only] => Some(format!("{only},")),
        more => Some(more.join(",")),
    }
}

fn start(program: &Path, plan: &Plan, events: &mpsc::Sender<Event>) -> std::io::Result<u32> {
    let mut command = Command::new(program);
    command.args(["--with-parent", &std::process::id().to_string()]);
    // The nodes write to a pipe, but whoever reads it here may be a person.
    if std::io::stderr().is_terminal() {
        command.args(["--set", "log.format=human"]);
    }
    let mut child = command
        .args(&plan.arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let (pid, node) = (child.id(), plan.node);
    if let Some(out) = child.stdout.take() {
        let events = events.clone();
        thread(move || {
            // The banner's last line; whatever follows is read away, so that the node never waits for us.
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if line.starts_with("  stop") {
                    let _ = events.send(Event::Ready(node));
                }
            }
        })?;
    }
    if let Some(errors) = child.stderr.take() {
        thread(move || relay(node, errors))?;
    }
    let events = events.clone();
    thread(move || {
        let ended = wait(child);
        let _ = events.send(Event::Ended(node, ended));
    })?;
    Ok(pid)
}

fn wait(mut child: Child) -> std::io::Result<ExitStatus> {
    child.wait()
}

fn thread(work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    std::thread::Builder::new().name("node".into()).spawn(work).map(drop)
}

/// A node's log, each line with the node before it.
fn relay(node: u16, errors: impl Read) {
    for line in BufReader::new(errors).lines().map_while(Result::ok) {
        let _ = writeln!(std::io::stderr(), "{node} | {line}");
    }
}

fn end(running: &BTreeMap<u16, Running>, signal: Signal) {
    for node in running.values() {
        if let Some(pid) = i32::try_from(node.pid).ok().and_then(Pid::from_raw) {
            // One that has ended meanwhile is told so by its own event.
            let _ = kill_process(pid, signal);
        }
    }
}

fn table(plans: &[Plan], folder: &Path, is_new: bool) -> String {
    let mut text = format!(
        "\n  A cluster of {} nodes is ready\n\n  node  HTTP                   RPC              data\n",
        plans.len()
    );
    for Plan { node, folder, http, rpc, .. } in plans {
        let (http, rpc) = (format!("http://127.0.0.1:{http}"), format!("127.0.0.1:{rpc}"));
        let _ = writeln!(text, "  {node:<5} {http:<22} {rpc:<16} {}", folder.display());
    }
    let first = folder.join("1");
    let kept = first.join(PASSWORD_FILE);
    let root = match std::fs::read_to_string(&kept) {
        Ok(password) if is_new => format!("password {} (shown once, kept in {})", password.trim(), kept.display()),
        Ok(_) => format!("password in {}, unless it was changed", kept.display()),
        Err(_) => "the password that the cluster was given when it was new, unless it was changed".to_owned(),
    };
    let url = plans.first().map_or_else(String::new, |plan| format!("http://127.0.0.1:{}", plan.http));
    let _ = write!(
        text,
        "\n  root      {root}\n  connect   highwater --url {url} --data-dir {}\n  health    curl {url}/v1/api/cluster/health\n  stop      Ctrl-C or SIGTERM ends all nodes; a second one kills them\n\n",
        first.display()
    );
    text
}

fn watch_signals(events: &mpsc::Sender<Event>) -> Result<(), String> {
    let mut signals = Signals::new([SIGTERM, SIGINT]).map_err(|error| error.to_string())?;
    let events = events.clone();
    thread(move || {
        for _ in signals.forever() {
            if events.send(Event::Asked).is_err() {
                return;
            }
        }
    })
    .map_err(|error| error.to_string())
}

fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "highwaterd: {text}");
}

/// Ends this process when the one that started it ends, which must be `parent`; for the nodes of a cluster on one machine.
///
/// # Errors
/// The parent is gone already, or the system refuses.
pub fn end_with(parent: u32) -> Result<(), String> {
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM)).map_err(|error| error.to_string())?;
    let present = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
    if present.and_then(|pid| u32::try_from(pid).ok()) == Some(parent) {
        Ok(())
    } else {
        Err(format!("process {parent}, with which this one was to end, has ended already"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn args(nodes: u16, more: &[&str]) -> DevClusterArgs {
        let more = more.iter().map(ToString::to_string).collect();
        DevClusterArgs { nodes, data_dir: "x".into(), http_port: 2901, rpc_port: 2911, more }
    }

    #[test]
    fn every_node_has_its_own_ports_folder_and_cpus_and_the_same_list() {
        let plans =
            plans(&args(3, &["--log-level", "debug"]), Path::new("/c"), Path::new("/c/cluster-secret"), &[0, 1, 2, 3]);
        let shown: Vec<String> = plans.iter().map(|plan| plan.arguments.join(" ")).collect();
        assert_eq!(
            shown[1],
            "--node-id 2 --peers 1=127.0.0.1:2911,2=127.0.0.1:2912,3=127.0.0.1:2913 --rpc-addr 127.0.0.1:2912 --http-addr 127.0.0.1:2902 --data-dir /c/2 --set cluster.secret_file=/c/cluster-secret --cores 1, --log-level debug"
        );
        assert_eq!((plans[2].http, plans[2].rpc, plans[2].node), (2903, 2913, 3));
        let text = table(&plans, Path::new("/c"), false);
        assert!(text.contains("  2     http://127.0.0.1:2902  127.0.0.1:2912   /c/2\n"), "{text}");
    }

    #[test]
    fn cpus_are_shared_out_and_shared_when_there_are_too_few() {
        let shares =
            |cpus: &[usize], nodes| (1..=nodes).map(|node| share(cpus, node, nodes).unwrap()).collect::<Vec<_>>();
        assert_eq!(shares(&[0, 1, 4, 5, 6, 7, 8], 3), ["0,1", "4,5", "6,7"]);
        assert_eq!(shares(&[2, 3], 3), ["2,", "3,", "2,"]);
        assert_eq!(share(&[], 1, 3), None);
        assert!(
            !plans(&args(1, &["--cores", "2"]), Path::new("/c"), Path::new("/s"), &[7])[0]
                .arguments
                .contains(&"7,".into())
        );
    }

    #[test]
    fn a_cluster_keeps_its_number_of_nodes() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(refuse_other_size(folder.path(), 5), Ok(()));
        for node in ["1", "2", "3"] {
            std::fs::create_dir(folder.path().join(node)).unwrap();
            std::fs::write(folder.path().join(node).join("cluster"), "").unwrap();
        }
        assert_eq!(refuse_other_size(folder.path(), 3), Ok(()));
        assert!(
            refuse_other_size(folder.path(), 5)
                .unwrap_err()
                .contains("holds a cluster of 3 nodes; start it with: highwaterd dev-cluster 3")
        );
    }
}
