//! `highwaterd`: reads the configuration, prepares the data folder, starts one executor per core and stops them on a signal.
//!
//! Exit codes: 0 stopped on request, 78 refused configuration or unfit machine, 2 bad usage, 1 anything else, 128 + signal
//! when a second signal ends it at once.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the main function: it looks at the machine before the first executor starts and waits for signals"
)]

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::auth;
use crate::banner::{self, Banner};
use crate::cluster::{ClusterSetup, Lookup};
use crate::config::{self, Args, Config, Cores, EXIT_CONFIG, HostPort, Origin, SettingValue as _, SetupAccess};
use crate::core_part::{self, CoreError, CorePart, Serving, advice, run_core};
use crate::first_start::{self, RootPassword};
use crate::huge_pages::HugePages;
use crate::release::VERSION;
use crate::{dev_cluster, lock, logging, process};
use clap::Parser as _;
use highwater_net::http::ServerTls;
use highwater_runtime::{CpuSet, Env as _, preflight, queue};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Certificates that may wait for a core that is busy.
const CERTIFICATES: usize = 4;
/// How long a port may still be held by a server that was just killed.
const PORT_PATIENCE: Duration = Duration::from_secs(2);

/// What ends a start: what to say and the exit code.
struct Refusal(String, u8);

impl Refusal {
    /// The configuration or the machine must be changed first.
    fn config(reason: impl ToString) -> Self {
        Self(reason.to_string(), EXIT_CONFIG)
    }

    /// Anything else.
    fn other(reason: impl ToString) -> Self {
        Self(reason.to_string(), 1)
    }
}

/// What the main thread waits for.
enum Event {
    Signal(i32),
    Reload,
    Serving(Serving),
    Ended(Result<(), CoreError>),
}

/// The process's main function.
#[must_use]
pub fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Refusal(reason, code)) => {
            complain(&reason);
            ExitCode::from(code)
        }
    }
}

fn run(args: &Args) -> Result<(), Refusal> {
    if let Some(config::Command::DevCluster(args)) = &args.command {
        return dev_cluster::run(args).map_err(Refusal::other);
    }
    if let Some(parent) = args.with_parent {
        dev_cluster::end_with(parent).map_err(Refusal::other)?;
    }
    let config = Arc::new(config::load(args).map_err(Refusal::config)?);
    if args.print_config {
        say(&config::print(&config));
        return Ok(());
    }
    let mut huge_pages = HugePages::not_yet();
    let cpus = cpus(&config)?;
    let cluster = cluster(&config)?;
    if args.check_config {
        return check(&config, &cpus, cluster.as_ref());
    }
    if let Some(password) = &config.root_password.0 {
        auth::check_new_password(password)
            .map_err(|diag| Refusal::config(format!("{}: {diag}", config.origin("root_password"))))?;
    }
    let data_dir = first_start::create_folder(&config.data_dir).map_err(Refusal::other)?;
    let pid = std::process::id();
    let holder = format!("process {pid} (highwaterd {VERSION}, HTTP on {})", config.http_addr);
    let lock = lock::acquire(&data_dir, &holder).map_err(Refusal::other)?;
    preflight::check(&data_dir, cpus.len()).map_err(Refusal::config)?;
    let http_addr = free_address(config.http_addr, "--http-addr")?;
    let cluster = match cluster {
        Some(setup) => {
            free_address(setup.rpc_addr, "--rpc-addr")?;
            Some(Arc::new(setup.with_http(&config, http_addr)))
        }
        None => None,
    };
    let shared = match &cluster {
        Some(setup) => Some(setup.secret().map_err(Refusal::config)?.derive("highwater root password")),
        None => None,
    };
    let root_password = if cluster.as_ref().is_some_and(|setup| !setup.join.is_empty()) {
        // The cluster has a root.
        RootPassword::Unneeded
    } else {
        let (given, at_setup) = (config.root_password.0.as_deref(), config.auth_setup != SetupAccess::Off);
        first_start::root_password(&data_dir, given, shared, at_setup).map_err(Refusal::other)?
    };
    logging::start(&config);
    if let Some(why) = few_files(&config, cpus.len()) {
        tracing::warn!("{why}");
    }

    let certificate = certificate(&config)?;
    let (events, happened) = mpsc::channel();
    watch_signals(&events, certificate.is_some())?;
    let cores = u16::try_from(cpus.len()).map_err(|_| Refusal::config(format!("{} cores are too many", cpus.len())))?;
    let (parts, stopper) =
        core_part::parts(&config, cores, http_addr, data_dir.clone(), root_password.text().to_owned());
    let placed = |part: CorePart| match &cluster {
        Some(setup) => part.in_cluster(setup),
        None => part,
    };
    let mut renewals = Vec::new();
    let parts = parts.into_iter().map(|part| match &certificate {
        Some(first) => {
            let (renewal, certificates) = queue::bounded(CERTIFICATES);
            let _ = renewal.try_send(first.clone());
            renewals.push(renewal);
            part.with_certificates(certificates)
        }
        None => part,
    });
    let parts = parts.map(|part| Mutex::new(Some(placed(part.with_process(process::figures)))));
    let parts: Arc<Vec<_>> = Arc::new(parts.collect());
    let launched = highwater_runtime::launch(&cpus, move |env| {
        let part = parts.get(usize::from(env.core().0)).and_then(|part| part.lock().ok()?.take());
        let events = events.clone();
        async move {
            if let Some(part) = part {
                let serving = events.clone();
                let ended = run_core(env, part, move |facts| drop(serving.send(Event::Serving(facts)))).await;
                // The main thread waits for this until it ends the process.
                let _ = events.send(Event::Ended(ended));
            }
        }
    })
    .map_err(Refusal::other)?;

    let (mut serving, mut ended, mut stopping) = (0, 0, false);
    while ended < cores {
        match huge_pages.watch(&happened).map_err(Refusal::other)? {
            Event::Serving(facts) => {
                serving += 1;
                if serving == cores {
                    announce(&config, cluster.as_deref(), facts, &data_dir, launched.pinned(), &root_password);
                }
            }
            Event::Reload => match self::certificate(&config) {
                Ok(newer) => {
                    let taken = newer.map(|newer| renewals.iter().all(|core| core.try_send(newer.clone()).is_ok()));
                    tracing::info!(taken = taken.unwrap_or(false), "the certificate was read again");
                }
                Err(Refusal(reason, _)) => tracing::error!(reason, "the certificate stays as it is"),
            },
            Event::Signal(signal) if stopping => {
                complain("second signal, stopping at once");
                std::process::exit(128 + signal);
            }
            Event::Signal(signal) => {
                tracing::info!(signal, "stopping: what is in flight is finished");
                stopping = true;
                stopper.stop();
            }
            Event::Ended(Ok(())) => ended += 1,
            Event::Ended(Err(error)) => {
                // The other cores wait for this one; there is nothing in flight before a start.
                let code = if error.is_configuration() { EXIT_CONFIG } else { 1 };
                complain(&error.to_string());
                std::process::exit(i32::from(code));
            }
        }
    }
    launched.join().map_err(Refusal::other)?;
    drop(lock);
    tracing::info!("stopped");
    Ok(())
}

/// Standard output, which may be closed: that is no reason to stop.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Standard error, likewise.
fn complain(reason: &str) {
    let _ = writeln!(std::io::stderr(), "highwaterd: {reason}");
}

fn cpus(config: &Config) -> Result<CpuSet, Refusal> {
    let set = match &config.cores {
        Cores::Auto => CpuSet::all(),
        // Fewer cores than CPUs: those nearest the disk.
        Cores::Count(count) => CpuSet::near_disk(usize::from(*count), &config.data_dir),
        Cores::List(_) => CpuSet::parse(&config.cores.show()),
    };
    set.map_err(|error| Refusal::config(format!("{}: {error}", config.origin("cores"))))
}

/// The node's place in a cluster, as far as this machine can tell.
fn cluster(config: &Config) -> Result<Option<ClusterSetup>, Refusal> {
    let read = |file: &Path| std::fs::read(file);
    let resolve = |place: &HostPort| {
        let found = (place.host.as_str(), place.port).to_socket_addrs()?.next();
        found.ok_or_else(|| std::io::Error::other("the name has no address"))
    };
    let setup = ClusterSetup::of(config, &Lookup { read: &read, resolve: &resolve }).map_err(Refusal::config)?;
    let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Ok(setup.map(|setup| setup.on(hostname).resolving(resolve)))
}

/// Looks at everything that a start needs, without leaving anything behind.
fn check(config: &Config, cpus: &CpuSet, cluster: Option<&ClusterSetup>) -> Result<(), Refusal> {
    let folder = std::path::absolute(&config.data_dir).map_err(Refusal::other)?;
    let existing = folder.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/"));
    preflight::check(existing, cpus.len()).map_err(Refusal::config)?;
    free_address(config.http_addr, "--http-addr")?;
    certificate(config)?;
    let mut place = String::new();
    if let Some(setup) = cluster {
        free_address(setup.rpc_addr, "--rpc-addr")?;
        place = format!(", {}", setup.place());
    }
    say(&format!(
        "highwaterd: configuration, kernel and data folder are fine ({} cores: CPU {cpus}{place})\n",
        cpus.len()
    ));
    if let Some(why) = few_files(config, cpus.len()) {
        say(&format!("highwaterd: warning: {why}\n"));
    }
    Ok(())
}

/// Why clients may not be let in for want of open files, of which the limit was raised as far as it goes.
fn few_files(config: &Config, cores: usize) -> Option<String> {
    let connections = u64::from(config.http_max_connections).saturating_mul(cores as u64);
    process::too_few_files(process::figures().max_files, connections)
}

/// The address with its port resolved. The cores share the port (`SO_REUSEPORT`), and another server of the same user
/// could too: only a bind without that option tells that the port is taken. It also fails while connections of a server
/// that was killed are still being closed by the kernel, which must not delay a restart: a port where nobody answers is
/// free. The kernel takes down a dead process's io_uring, and with it the listener, a moment after the process is gone:
/// a taken port is looked at again for [`PORT_PATIENCE`].
fn free_address(addr: SocketAddr, flag: &str) -> Result<SocketAddr, Refusal> {
    let patience = Instant::now() + PORT_PATIENCE;
    loop {
        match TcpListener::bind(addr).and_then(|listener| listener.local_addr()) {
            Ok(addr) => return Ok(addr),
            Err(reason) if reason.kind() == std::io::ErrorKind::AddrInUse => {
                if !somebody_listens(addr) {
                    return Ok(addr);
                }
                if Instant::now() >= patience {
                    return Err(cannot_listen(addr, &reason, flag));
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            Err(reason) => return Err(cannot_listen(addr, &reason, flag)),
        }
    }
}

fn cannot_listen(addr: SocketAddr, reason: &std::io::Error, flag: &str) -> Refusal {
    Refusal::other(format!("cannot listen on {addr}: {reason}{}", advice(addr, reason, flag)))
}

fn somebody_listens(addr: SocketAddr) -> bool {
    let answer = TcpStream::connect_timeout(&addr, Duration::from_millis(500));
    !matches!(answer, Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused)
}

/// The certificate of the HTTP API, if there is to be one.
fn certificate(config: &Config) -> Result<Option<ServerTls>, Refusal> {
    let (certificate, key) = match (&config.http_tls_cert, &config.http_tls_key) {
        (None, None) => return Ok(None),
        (Some(certificate), Some(key)) => (certificate, key),
        (Some(_), None) => return Err(Refusal::config("http.tls_cert is given, but not http.tls_key")),
        (None, Some(_)) => return Err(Refusal::config("http.tls_key is given, but not http.tls_cert")),
    };
    let read = |name: &str, file: &Path| {
        std::fs::read(file)
            .map_err(|reason| Refusal::config(format!("cannot read {name} = {}: {reason}", file.display())))
    };
    let (chain, secret) = (read("http.tls_cert", certificate)?, read("http.tls_key", key)?);
    let tls = ServerTls::from_pem(&chain, &secret).map_err(|error| {
        Refusal::config(format!("http.tls_cert = {}, http.tls_key = {}: {error}", certificate.display(), key.display()))
    })?;
    Ok(Some(tls))
}

/// Tells of signals; SIGHUP means to read the certificate again, where there is one, and ends the process otherwise.
fn watch_signals(events: &mpsc::Sender<Event>, reloads: bool) -> Result<(), Refusal> {
    let watched: &[i32] = if reloads { &[SIGTERM, SIGINT, SIGHUP] } else { &[SIGTERM, SIGINT] };
    let mut signals = Signals::new(watched).map_err(Refusal::other)?;
    let events = events.clone();
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            for signal in signals.forever() {
                let event = if signal == SIGHUP { Event::Reload } else { Event::Signal(signal) };
                if events.send(event).is_err() {
                    return;
                }
            }
        })
        .map_err(Refusal::other)?;
    Ok(())
}

fn announce(
    config: &Config,
    cluster: Option<&ClusterSetup>,
    facts: Serving,
    data_dir: &Path,
    pinned: &[usize],
    root_password: &RootPassword,
) {
    let system = rustix::system::uname();
    let kernel = format!("{} {}", system.sysname().to_string_lossy(), system.release().to_string_lossy());
    let place = cluster.map(ClusterSetup::place);
    let is_secure = config.http_tls_cert.is_some();
    let banner = Banner {
        version: VERSION,
        http_addr: facts.http_addr,
        is_secure,
        cluster: place.as_deref(),
        data_dir,
        layout: facts.layout,
        cpus: pinned,
        pid: std::process::id(),
        kernel: &kernel,
        config: &settings_line(config),
        root_password,
    };
    say(&format!("{banner}\n"));
    tracing::info!(version = VERSION, url = banner::url(facts.http_addr, is_secure), data_dir = %data_dir.display(), cores = pinned.len(), "ready");
}

/// Which settings are not at their defaults.
fn settings_line(config: &Config) -> String {
    let changed: Vec<String> = config
        .settings()
        .into_iter()
        .filter(|setting| config.origin(setting.name) != Origin::Default)
        .map(|setting| format!("{} = {}", setting.name, setting.value))
        .collect();
    if changed.is_empty() { "all defaults (highwaterd --print-config shows them)".into() } else { changed.join(", ") }
}
