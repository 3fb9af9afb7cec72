//! One core of the server, from its start to its end: the same code in production and in simulation.
//!
//! A core binds its listener, starts its part of the node, serves, and on request stops: no more connections, what is in
//! flight is finished, and once that is so on every core, the stores are closed.

use std::cell::OnceCell;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use futures_lite::future;
use highwater_engine::StoreOptions;
use highwater_net::http::ServerTls;
use highwater_runtime::queue::{self, Receiver, Sender};
use highwater_runtime::{Env, Listener, Rt};
use highwater_state::placement::Layout;

use crate::audit::AuditLog;
use crate::auth::{NodeAttempts, ROOT, Verifier};
use crate::cluster::{ClusterError, ClusterSetup, Forming, Links};
use crate::config::{AutoCount, Config, Origin, SetupAccess};
use crate::http::Service;
use crate::node::{self, Node, NodeSettings, NodeSetup, Ports, StartError};
use crate::process::ProcessFigures;
use crate::stop::Stop;

/// Why a core ended other than on request.
#[derive(Debug, thiserror::Error)]
pub enum CoreError {
    /// The HTTP address cannot be bound.
    #[error("cannot listen on {addr}: {reason}{}", advice(*addr, reason, "--http-addr"))]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// The system's reason.
        reason: std::io::Error,
    },
    /// The node has no place in its cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The node did not start.
    #[error(transparent)]
    Start(#[from] Box<StartError>),
    /// A setting that the data folder fixed at another value.
    #[error(
        "{name} is {wanted} ({origin}), but this data folder was made with {fixed}, which is fixed for its life; leave the setting out, or use another data_dir"
    )]
    Fixed {
        /// The setting.
        name: &'static str,
        /// Who gave it.
        origin: Origin,
        /// What was given.
        wanted: u32,
        /// What the folder has.
        fixed: u32,
    },
}

impl CoreError {
    /// Whether settings or folders must be changed before another start can succeed.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        match self {
            Self::Fixed { .. } => true,
            Self::Cluster(error) => error.is_configuration(),
            Self::Listen { .. } | Self::Start(_) => false,
        }
    }
}

/// What to do about an address that cannot be bound and was given by `flag`: the end of a sentence, or nothing.
#[must_use]
pub fn advice(addr: SocketAddr, reason: &std::io::Error, flag: &str) -> String {
    match reason.kind() {
        std::io::ErrorKind::AddrInUse => {
            format!("; stop what listens there (ss -ltnp 'sport = :{}' shows it), or give another {flag}", addr.port())
        }
        std::io::ErrorKind::AddrNotAvailable => format!("; this machine has no such address, give another {flag}"),
        std::io::ErrorKind::PermissionDenied => format!("; ports below 1024 need privileges, give another {flag}"),
        _ => String::new(),
    }
}

/// What one core is given. One per core, made together by [`parts`].
pub struct CorePart {
    config: Arc<Config>,
    http_addr: SocketAddr,
    setup: NodeSetup,
    forming: Forming,
    ports: Ports,
    stop: Receiver<()>,
    drained: Receiver<()>,
    everyone: Vec<Sender<()>>,
    certificates: Option<Receiver<ServerTls>>,
    attempts: NodeAttempts,
}

impl CorePart {
    /// The same with stores of these sizes; every core of a node is given the same. Simulations take small ones, so that a
    /// short run has flushes and compactions in it.
    #[must_use]
    pub fn with_store(mut self, store: StoreOptions) -> Self {
        self.setup.store = store;
        self
    }
}

impl CorePart {
    /// The same for a node with a place in a cluster; every core of a node is given the same.
    #[must_use]
    pub fn in_cluster(mut self, setup: &Arc<ClusterSetup>) -> Self {
        self.forming = self.forming.in_cluster(Arc::clone(setup));
        self
    }
}

impl CorePart {
    /// The same over TLS: certificates come by this queue, the first before the core runs, later ones whenever there are newer.
    #[must_use]
    pub fn with_certificates(mut self, certificates: Receiver<ServerTls>) -> Self {
        self.certificates = Some(certificates);
        self
    }
}

impl CorePart {
    /// The same with a way to learn what the operating system says of the process.
    #[must_use]
    pub fn with_process(mut self, figures: fn() -> ProcessFigures) -> Self {
        self.setup.settings.process = Some(figures);
        self
    }
}

/// Asks a node's cores to stop. Clones ask the same cores.
#[derive(Clone)]
pub struct Stopper(Vec<Sender<()>>);

impl Stopper {
    /// Asks every core to stop; asking again changes nothing.
    pub fn stop(&self) {
        for core in &self.0 {
            // A full queue holds the request already, a closed one belongs to a core that has stopped.
            let _ = core.try_send(());
        }
    }
}

/// What a core tells when it serves.
#[derive(Clone, Copy, Debug)]
pub struct Serving {
    /// The address that it listens on.
    pub http_addr: SocketAddr,
    /// Groups and stores of the data folder.
    pub layout: Layout,
}

/// The parts of a node of `cores` cores that all listen on `http_addr` (not port 0 when there are several), and what stops
/// them. `data_dir` exists and is locked by the caller; `root_password` counts only if the folder is new.
#[must_use]
pub fn parts(
    config: &Arc<Config>,
    cores: u16,
    http_addr: SocketAddr,
    data_dir: PathBuf,
    root_password: String,
) -> (Vec<CorePart>, Stopper) {
    let setup = NodeSetup {
        data_dir,
        layout: Layout {
            user_shards: config.user_shards,
            shared_shards: config.shared_shards,
            stores: match config.stores {
                AutoCount::Auto => u32::from(cores),
                AutoCount::Count(count) => count,
            },
        },
        root_password,
        store: StoreOptions {
            memtable_bytes: config.store_memtable.as_usize(),
            cache_bytes: config.store_cache.as_usize(),
            // The log holds what is in memory, and is moved on when it is half full.
            log_limit_bytes: StoreOptions::default().log_limit_bytes.max(8 * config.store_memtable.as_usize() as u64),
            ..StoreOptions::default()
        },
        settings: node_settings(config),
    };
    let (stops, stopped): (Vec<_>, Vec<_>) = (0..cores).map(|_| queue::bounded(1)).unzip();
    let (everyone, drained): (Vec<_>, Vec<_>) = (0..cores).map(|_| queue::bounded(usize::from(cores))).unzip();
    let ends = node::mesh(cores).into_iter().zip(stopped).zip(drained).zip(Forming::parts(cores));
    let attempts = NodeAttempts::new(config);
    let parts = ends.map(|(((ports, stop), drained), forming)| CorePart {
        config: Arc::clone(config),
        http_addr,
        setup: setup.clone(),
        forming,
        ports,
        stop,
        drained,
        everyone: everyone.clone(),
        certificates: None,
        attempts: attempts.clone(),
    });
    (parts.collect(), Stopper(stops))
}

fn node_settings(config: &Config) -> NodeSettings {
    let shown = config.settings().into_iter().map(|setting| {
        [setting.name.to_owned(), setting.value, setting.description.to_owned(), setting.category.to_owned()]
    });
    let version = ["server_version", crate::release::VERSION, "The release of this server.", "server"];
    NodeSettings {
        pipeline: pipeline_limits(config),
        visibility_micros: config.topics_visibility_timeout.micros(),
        max_consume_wait_micros: config.topics_max_wait.micros(),
        max_consume_messages: config.topics_max_messages,
        max_consume_bytes: u32::try_from(config.topics_max_payload.0).unwrap_or(u32::MAX),
        statement_micros: config.sql_statement_timeout.micros(),
        transaction_micros: config.sql_transaction_timeout.micros(),
        session_idle_micros: config.sql_session_idle.micros(),
        sessions_per_user: config.sql_sessions_per_user,
        snapshot_rate: config.cluster_snapshot_rate.0,
        kept_log: config.cluster_kept_log.0,
        shutdown_micros: config.shutdown_deadline.micros(),
        scram_iterations: config.auth_scram_iterations,
        awaits_setup: config.auth_setup != SetupAccess::Off,
        shown: shown.chain([version.map(str::to_owned)]).collect(),
        process: None,
    }
}

fn pipeline_limits(config: &Config) -> highwater_sql::pipeline::PipelineLimits {
    highwater_sql::pipeline::PipelineLimits {
        max_rows: config.sql_max_result_rows as usize,
        max_bytes: config.sql_max_result.as_usize(),
        pool: highwater_sql::memory::Pool::of(config.sql_max_memory.as_usize()),
    }
}

/// Runs one core until it is asked to stop. `serving` is called once the whole node is ready and this core takes requests.
///
/// # Errors
/// [`CoreError`] when it cannot start; the other cores of the node must then be stopped too.
pub async fn run_core(env: Rt, part: CorePart, serving: impl FnOnce(Serving)) -> Result<(), CoreError> {
    let CorePart { config, http_addr, setup, forming, ports, stop: asked, drained, everyone, certificates, attempts } =
        part;
    let listen_error = |reason| CoreError::Listen { addr: http_addr, reason };
    let listener = env.listen(http_addr).await.map_err(listen_error)?;
    let http_addr = listener.local_addr().map_err(listen_error)?;
    let stop = Stop::default();
    let service = Service::new(env.clone(), Arc::clone(&config), attempts, stop.clone());
    if let Some(certificates) = certificates {
        if let Some(first) = certificates.recv().await {
            service.protect(first);
        }
        let service = service.clone();
        env.spawn("certificates", async move {
            while let Some(newer) = certificates.recv().await {
                service.protect(newer);
            }
        });
    }
    let ended = Stop::default();
    env.spawn("listen", {
        let (service, stop, ended) = (service.clone(), stop.clone(), ended.clone());
        async move {
            service.listen(listener, stop).await;
            ended.request();
        }
    });
    let (root_password, data_dir) = (setup.root_password.clone(), setup.data_dir.clone());
    let found = OnceCell::new();
    let start = async { Some(start(&env, &service, &forming, ports, setup, &found).await) };
    let stopped_early = async {
        asked.recv().await;
        None
    };
    let Some(started) = future::or(start, stopped_early).await else {
        // Nothing was promised to anyone yet: what is on disk is what a crash would leave.
        stop.request();
        if let Some(links) = found.get() {
            links.stop();
        }
        // A core that was a moment faster serves already, and waits for all others before it ends.
        for core in &everyone {
            let _ = core.send(()).await;
        }
        return Ok(());
    };
    let node = started?;
    let layout = node.layout();
    refuse_other_shape(&config, layout)?;
    if env.core().0 == 0 && config.root_password.0.is_some() {
        env.spawn("root password", warn_if_not_roots(node.clone(), root_password));
    }
    let audit = AuditLog::start(&env, &data_dir, node.links().me().0, config.audit_max_size.0);
    node.audits(audit.clone());
    service.open(node.clone());
    serving(Serving { http_addr, layout });
    asked.recv().await;
    tracing::info!(core = env.core().0, "stopping");
    service.leaves();
    env.sleep(config.shutdown_delay.micros()).await;
    stop.request();
    future::zip(ended.requested(), node.shutdown()).await;
    // Others may need this core's groups until they have finished, too.
    for core in &everyone {
        let _ = core.send(()).await;
    }
    for _ in &everyone {
        drained.recv().await;
    }
    // Nothing is asked of the other nodes any more, and theirs is no longer answered; then the stores may go.
    node.links().stop();
    audit.flush().await;
    node.close().await;
    Ok(())
}

/// Takes the node's place in its cluster, then starts this core's part of it. `found` has the links as soon as there are any.
async fn start(
    env: &Rt,
    service: &Service,
    forming: &Forming,
    ports: Ports,
    setup: NodeSetup,
    found: &OnceCell<Links>,
) -> Result<Node, CoreError> {
    service.waits("the node waits for its place in the cluster".into());
    let links = forming.links(env, &setup.data_dir, setup.layout).await?;
    let _ = found.set(links.clone());
    service.links(links.clone());
    forming.formed(env, &links, &setup.data_dir, |text| service.waits(text)).await?;
    let why = if links.is_alone() {
        "its logs are being replayed"
    } else {
        "its logs are being replayed, and every group needs a leader: most nodes of the cluster must be up"
    };
    service.waits(why.into());
    let segment_bytes = setup.store.segment_bytes;
    let (node, start) = Node::create(env.clone(), ports, setup, links.clone());
    links.open(node.clone());
    let wants_space = |it_does| {
        let full = || {
            format!(
                "the disk is full: a log waits for {segment_bytes} bytes; make room in the file system of the data folder, and the start goes on"
            )
        };
        service.waits(if it_does { full() } else { why.into() });
    };
    start.run(wants_space).await.map_err(Box::new)?;
    Ok(node)
}

/// Numbers of groups and stores are fixed when a folder is made: a setting that says otherwise is a mistake.
fn refuse_other_shape(config: &Config, layout: Layout) -> Result<(), CoreError> {
    let stores = match config.stores {
        AutoCount::Auto => layout.stores,
        AutoCount::Count(count) => count,
    };
    let settings = [
        ("user_shards", config.user_shards, layout.user_shards),
        ("shared_shards", config.shared_shards, layout.shared_shards),
        ("stores", stores, layout.stores),
    ];
    for (name, wanted, fixed) in settings {
        let origin = config.origin(name);
        if wanted != fixed && origin != Origin::Default {
            return Err(CoreError::Fixed { name, origin, wanted, fixed });
        }
    }
    Ok(())
}

/// A root password that is given on a later start does not change root's: that is said, not ignored.
async fn warn_if_not_roots(node: Node, given: String) {
    let verifier = node.catalog().users.get(ROOT).and_then(|root| Verifier::parse(root.verifier.as_deref()?).ok());
    let is_roots = match verifier {
        Some(verifier) => node.env().blocking(move || verifier.accepts(&given)).await,
        None => false,
    };
    if !is_roots {
        tracing::warn!(
            "root_password counts on the first start only and differs from root's password; ALTER USER root SET PASSWORD changes it"
        );
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;
    use crate::config::{Args, resolve};

    const LAYOUT: Layout = Layout { user_shards: 16, shared_shards: 8, stores: 2 };

    #[test]
    fn what_a_folder_has_fixed_cannot_be_set_otherwise() {
        let config = |set: &[&str]| {
            let args = Args { set: set.iter().map(ToString::to_string).collect(), ..Args::default() };
            resolve(None, [], &args).unwrap()
        };
        assert!(refuse_other_shape(&config(&[]), LAYOUT).is_ok());
        assert!(refuse_other_shape(&config(&["shared_shards=8", "stores=2", "user_shards=16"]), LAYOUT).is_ok());
        let error = refuse_other_shape(&config(&["user_shards=4"]), LAYOUT).unwrap_err().to_string();
        assert!(
            error.starts_with("user_shards is 4 (--set user_shards), but this data folder was made with 16"),
            "{error}"
        );
        assert!(refuse_other_shape(&config(&["stores=3"]), LAYOUT).is_err());
    }

    #[test]
    fn every_setting_but_secrets_is_shown_to_the_node_and_its_release_with_them() {
        let config = Config::defaults();
        let shown = node_settings(&config).shown;
        assert_eq!(shown.len(), config.settings().len() + 1);
        assert_eq!(shown.last().map(|[name, ..]| name.as_str()), Some("server_version"));
    }
}
