//! The servers' machines: two cores each that run the daemon's own code per core, on a small layout with small stores.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use highwater_engine::StoreOptions;
use highwater_runtime::disk::CrashKind;
use highwater_runtime::{CpuSet, Env, launch, sim};
use highwater_server::cluster::ClusterSetup;
use highwater_server::config::{self, Args, Config};
use highwater_server::core_part::{self, run_core};
use highwater_sim::trouble::Surroundings;
use madsim::runtime::Handle;
use madsim::task::NodeId;

use super::shared::current;

/// Cores of a server.
pub const CORES: u16 = 2;
/// Address of the clients' machine.
pub const CLIENTS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 1, 1));
/// Root's password.
pub const ROOT_PASSWORD: &str = "root-of-the-simulation";
const SECRET: &[u8] = b"the secret of the simulated cluster";
const DATA: &str = "/data";
const HTTP: u16 = 2900;
const RPC: u16 = 2901;

/// Where a node is; nodes are numbered from 0 here and from 1 by themselves.
fn ip(node: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, u8::try_from(node + 1).unwrap_or(u8::MAX)))
}

/// Where a node serves clients.
pub fn address(node: usize) -> SocketAddr {
    SocketAddr::new(ip(node), HTTP)
}

/// Makes a node's machine and starts its first life.
pub fn start_machine(node: usize) -> NodeId {
    let name = format!("node{}", node + 1);
    let machine = Handle::current().create_node().name(name).init(move || live(node)).build().id();
    sim::settle(machine, ip(node));
    machine
}

/// Claims expire fast enough to be handed on within a run; there are few groups, so that each has much to do.
fn configuration(node: usize, founders: usize) -> Result<Config, config::ConfigError> {
    let mut set: Vec<String> = [
        "user_shards=3",
        "shared_shards=3",
        "stores=2",
        "auth.scram_iterations=4096",
        "topics.visibility_timeout=400ms",
    ]
    .map(str::to_owned)
    .into();
    set.push(format!("http.addr={}", address(node)));
    if founders == 1 {
        set.push("sql.statement_timeout=60s".to_owned());
    } else {
        // A node that is cut off gives its clients up while there is time to ask another.
        set.push("sql.statement_timeout=10s".to_owned());
    }
    config::resolve(None, [], &Args { set, ..Args::default() })
}

/// Small ones, so that a short run has flushes and compactions in it.
fn stores(surroundings: &Surroundings) -> StoreOptions {
    let small = StoreOptions::small();
    if surroundings.keeps_log { StoreOptions { log_limit_bytes: 1 << 30, ..small } } else { small }
}

/// A node's place among the founders, or behind them; none for one that is alone.
fn place(node: usize, founders: usize, config: &Config) -> Result<Option<Arc<ClusterSetup>>, String> {
    if founders == 1 {
        return Ok(None);
    }
    let rpc = |node: usize| SocketAddr::new(ip(node), RPC);
    let setup = if node < founders {
        let peers: BTreeMap<u64, SocketAddr> = (0..founders).map(|node| (node as u64 + 1, rpc(node))).collect();
        ClusterSetup::simulated(node as u64 + 1, peers, SECRET)
    } else {
        let seeds: Vec<SocketAddr> = (0..founders).map(rpc).collect();
        ClusterSetup::simulated_joiner(node as u64 + 1, rpc(node), &seeds, SECRET)
    };
    let setup = setup.map_err(|error| error.to_string())?;
    Ok(Some(Arc::new(setup.with_http(config, address(node)))))
}

/// One life of a node's process.
async fn live(node: usize) {
    let run = current();
    run.life_begins(node);
    let env = sim::env();
    let config = match configuration(node, run.founders()) {
        Ok(config) => Arc::new(config),
        Err(error) => return end(node, error.to_string()),
    };
    if let Err(error) = env.create_dir_all(Path::new(DATA)).await {
        return end(node, error.to_string());
    }
    // The cores stop when nobody can stop them any more: it is kept for as long as they live.
    let (parts, stopper) = core_part::parts(&config, CORES, address(node), DATA.into(), ROOT_PASSWORD.into());
    run.set_stopper(node, stopper);
    let place = match place(node, run.founders(), &config) {
        Ok(place) => place,
        Err(reason) => return end(node, reason),
    };
    let store = stores(&run.plan.surroundings);
    let parts: Vec<_> = parts
        .into_iter()
        .map(|part| part.with_store(store.clone()))
        .map(|part| if let Some(place) = &place { part.in_cluster(place) } else { part })
        .map(|part| Mutex::new(Some(part)))
        .collect();
    let parts = Arc::new(parts);
    let launched = launch(&CpuSet::numbered(usize::from(CORES)), move |env| {
        let part = parts.get(usize::from(env.core().0));
        let part = part.and_then(|part| part.lock().unwrap_or_else(PoisonError::into_inner).take());
        async move {
            let Some(part) = part else { return };
            match run_core(env, part, |_| current().core_serves(node)).await {
                Ok(()) if current().is_asked_to_stop(node) => {}
                Ok(()) => end(node, "a core ended without being asked to".to_owned()),
                Err(error) => end(node, error.to_string()),
            }
        }
    });
    match launched {
        Ok(cores) => {
            cores.wait().await;
            run.tell_of(node, || "has stopped".to_owned());
            run.mark("stopped_when_asked");
            sim::crash(run.machine(node), CrashKind::Process);
        }
        Err(error) => end(node, error.to_string()),
    }
}

/// As the daemon does: when one core cannot go on, the process ends.
fn end(node: usize, reason: String) {
    let run = current();
    run.process_ended(node, reason);
    sim::crash(run.machine(node), CrashKind::Process);
}
