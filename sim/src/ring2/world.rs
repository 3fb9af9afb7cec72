//! The server's machine: two cores that run the daemon's own code per core, on a small layout with small stores.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use highwater_engine::StoreOptions;
use highwater_runtime::disk::CrashKind;
use highwater_runtime::{CpuSet, Env, launch, sim};
use highwater_server::config::{self, Args, Config};
use highwater_server::core_part::{self, run_core};
use madsim::runtime::Handle;
use madsim::task::NodeId;

use super::shared::current;

/// Cores of the server.
pub const CORES: u16 = 2;
/// Address of the clients' machine.
pub const CLIENTS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
/// Root's password.
pub const ROOT_PASSWORD: &str = "root-of-the-simulation";
const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const DATA: &str = "/data";

/// Where the server listens.
pub const fn address() -> SocketAddr {
    SocketAddr::new(SERVER, 2900)
}

/// Makes the machine and starts its first life.
pub fn start_machine() -> NodeId {
    Handle::current().create_node().name("server").ip(SERVER).init(live).build().id()
}

/// Claims expire fast enough to be handed on within a run; the rest is small so that a run has many groups, flushes and compactions.
fn configuration() -> Result<Config, config::ConfigError> {
    let set = [
        "user_shards=3",
        "shared_shards=3",
        "stores=2",
        "http.addr=10.0.0.1:2900",
        "auth.scram_iterations=4096",
        "topics.visibility_timeout=400ms",
        "sql.statement_timeout=60s",
    ];
    config::resolve(None, [], &Args { set: set.iter().map(ToString::to_string).collect(), ..Args::default() })
}

/// One life of the process.
async fn live() {
    let run = current();
    run.life_begins();
    let env = sim::env();
    let config = match configuration() {
        Ok(config) => Arc::new(config),
        Err(error) => return end(error.to_string()),
    };
    if let Err(error) = env.create_dir_all(Path::new(DATA)).await {
        return end(error.to_string());
    }
    // The cores stop when nobody can stop them any more: it is kept for as long as they live.
    let (parts, _stopper) = core_part::parts(&config, CORES, address(), DATA.into(), ROOT_PASSWORD.into());
    let parts: Vec<_> =
        parts.into_iter().map(|part| Mutex::new(Some(part.with_store(StoreOptions::small())))).collect();
    let parts = Arc::new(parts);
    let launched = launch(&CpuSet::numbered(usize::from(CORES)), move |env| {
        let part = parts.get(usize::from(env.core().0));
        let part = part.and_then(|part| part.lock().unwrap_or_else(PoisonError::into_inner).take());
        async move {
            let Some(part) = part else { return };
            match run_core(env, part, |_| current().core_serves()).await {
                Ok(()) => end("a core ended without being asked to".to_owned()),
                Err(error) => end(error.to_string()),
            }
        }
    });
    match launched {
        Ok(cores) => cores.wait().await,
        Err(error) => end(error.to_string()),
    }
}

/// As the daemon does: when one core cannot go on, the process ends.
fn end(reason: String) {
    let run = current();
    run.process_ended(reason);
    sim::crash(run.server(), CrashKind::Process);
}
