//! Every setting of the server: one line each, from which the struct, the documentation, `--print-config` and
//! `system.settings` are made.
//!
//! A setting `a.b_c` is the TOML key `b_c` in table `[a]` and the environment variable `HIGHWATER_A_B_C`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use super::ConfigError;
use super::peers::{Peers, Seeds};
use super::sources::{Given, Merged, Origin};
use super::units::{
    AutoCount, Bytes, Cores, LogFormat, LogLevel, MetricsAccess, Origins, Period, Secret, SettingValue, SetupAccess,
    Text,
};

/// What is known about a setting before anyone gives it a value.
#[derive(Clone, Debug)]
pub struct Definition {
    /// Dotted name, as in the file.
    pub name: &'static str,
    /// Kind of its value.
    pub kind: &'static str,
    /// Text of the default; empty: none.
    pub default: &'static str,
    /// One or two sentences.
    pub description: &'static str,
    /// The part of the server it belongs to.
    pub category: &'static str,
    /// Never shown.
    pub secret: bool,
}

impl Definition {
    /// The environment variable that gives it.
    #[must_use]
    pub fn environment(&self) -> String {
        format!("HIGHWATER_{}", self.name.replace('.', "_").to_ascii_uppercase())
    }
}

/// A setting and its value, as `system.settings` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Dotted name.
    pub name: &'static str,
    /// The value's text.
    pub value: String,
    /// What it does.
    pub description: &'static str,
    /// The part of the server it belongs to.
    pub category: &'static str,
    /// Whether its value may not be shown; [`Self::value`] says only whether there is one.
    pub secret: bool,
    /// Where the value came from ("default", "--http-addr", "HIGHWATER_HTTP_ADDR", a file's name).
    pub origin: String,
}

macro_rules! settings {
    ($(
        $(#[doc = $doc:literal])+
        $field:ident: $kind:ty = $default:literal, $name:literal, $category:literal $(, $range:expr)?;
    )*) => {
        /// The server's configuration: every setting, resolved and within its range.
        #[derive(Clone, Debug)]
        pub struct Config {
            $($(#[doc = $doc])+ pub $field: $kind,)*
            origins: BTreeMap<&'static str, Origin>,
        }

        /// Every setting, in the order of the documentation.
        pub const DEFINITIONS: &[Definition] = &[$(Definition {
            name: $name,
            kind: <$kind as SettingValue>::KIND,
            default: $default,
            description: concat!($($doc),+),
            category: $category,
            secret: is_secret(<$kind as SettingValue>::KIND),
        }),*];

        impl Config {
            /// Reads the values that were given and takes the defaults for the rest.
            ///
            /// # Errors
            /// The first value that cannot be read or lies outside its range.
            pub(super) fn resolve(merged: &Merged) -> Result<Self, ConfigError> {
                let mut origins = BTreeMap::new();
                $(let $field: $kind = resolve_one($name, $default, merged, &mut origins, optional_range!($($range)?))?;)*
                Ok(Self { $($field,)* origins })
            }

            /// Every setting, for `--print-config`; of secrets whether they are given.
            #[must_use]
            pub fn every_setting(&self) -> Vec<Setting> {
                vec![$(Setting {
                    name: $name,
                    value: self.$field.show(),
                    description: concat!($($doc),+).trim(),
                    category: $category,
                    secret: is_secret(<$kind as SettingValue>::KIND),
                    origin: self.origins.get($name).map_or_else(|| "default".to_owned(), ToString::to_string),
                }),*]
            }

            /// Every setting that may be shown (no secrets), for `system.settings`.
            #[must_use]
            pub fn settings(&self) -> Vec<Setting> {
                let mut shown = self.every_setting();
                shown.retain(|setting| !setting.secret);
                shown
            }
        }
    };
}

macro_rules! optional_range {
    () => {
        None
    };
    ($range:expr) => {
        Some($range)
    };
}

const fn is_secret(kind: &str) -> bool {
    matches!(kind.as_bytes(), b"secret")
}

fn resolve_one<T: SettingValue>(
    name: &'static str,
    default: &str,
    merged: &Merged,
    origins: &mut BTreeMap<&'static str, Origin>,
    range: Option<RangeInclusive<u64>>,
) -> Result<T, ConfigError> {
    let Given { text, origin } =
        merged.get(name).cloned().unwrap_or_else(|| Given { text: default.to_owned(), origin: Origin::Default });
    let refuse = |reason: String| ConfigError::BadValue {
        place: origin.place(name),
        value: if T::KIND == Secret::KIND { "(secret)".into() } else { text.clone() },
        reason,
    };
    let value = T::parse(&text).map_err(refuse)?;
    if let (Some(range), Some(magnitude)) = (range, value.magnitude())
        && !range.contains(&magnitude)
    {
        return Err(refuse(format!(
            "is out of range; give {} to {}",
            show_bound::<T>(*range.start()),
            show_bound::<T>(*range.end())
        )));
    }
    origins.insert(name, origin);
    Ok(value)
}

/// A bound in the unit of its kind.
fn show_bound<T: SettingValue>(bound: u64) -> String {
    match T::KIND {
        Bytes::KIND => Bytes(bound).show(),
        Period::KIND => Period(bound).show(),
        _ => bound.to_string(),
    }
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const MILLI: u64 = 1_000;
const SECOND: u64 = 1_000_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

settings! {
    /// Folder of all data. Created (mode 0700) when it is missing; one server at a time may use it.
    data_dir: PathBuf = "./highwater-data", "data_dir", "storage";
    /// Executors: how many (on the CPUs that take the disk's interrupts first), or on which CPUs. Each is pinned to its CPU.
    cores: Cores = "auto", "cores", "placement";
    /// Stores (logs and trees) of a new data folder, spread over the cores; auto: one per core. Fixed once the folder exists.
    stores: AutoCount = "auto", "stores", "placement", 1..=256;
    /// Raft groups that hold users' rows. Fixed for a cluster's life.
    user_shards: u32 = "16", "user_shards", "placement", 1..=16_384;
    /// Raft groups that hold shared tables and topic partitions. Fixed for a cluster's life.
    shared_shards: u32 = "16", "shared_shards", "placement", 1..=16_384;
    /// Password of the user root, used on the first start only. Without it one is made, printed once and kept in the data folder.
    root_password: Secret = "", "root_password", "auth";
    /// How much is logged to standard error.
    log_level: LogLevel = "info", "log.level", "logging";
    /// How log lines look; auto: for people on a terminal, JSON otherwise.
    log_format: LogFormat = "auto", "log.format", "logging";
    /// Time that statements in flight get to finish after SIGTERM.
    shutdown_deadline: Period = "30s", "shutdown_deadline", "server", 0..=HOUR;

    /// Time between SIGTERM and its effect, in which /ready answers 503 and all else is served: for load balancers that must notice first.
    shutdown_delay: Period = "0us", "shutdown_delay", "server", 0..=HOUR;

    /// This node's number in its cluster; never given to another machine or another data folder. Only with cluster.peers.
    node_id: u64 = "1", "node_id", "cluster", 1..=u64::MAX;
    /// Address and port for the other nodes of the cluster. Beyond loopback it needs the cluster.tls_* files. Only with cluster.peers.
    rpc_addr: SocketAddr = "127.0.0.1:2910", "rpc.addr", "cluster";
    /// All nodes of the cluster, this one too, each as ID=HOST:PORT with its RPC address. Without it the node is a cluster of its own.
    cluster_peers: Peers = "", "cluster.peers", "cluster";
    /// RPC addresses of members (HOST:PORT, ...) that a new node with an empty data folder asks to be let in. Instead of cluster.peers.
    cluster_join: Seeds = "", "cluster.join", "cluster";
    /// Where the other nodes reach a node that joins (HOST:PORT), as the cluster's roll keeps it. Empty: rpc.addr.
    cluster_rpc_addr: Text = "", "cluster.rpc_addr", "cluster";
    /// What all nodes of the cluster share and prove to one another: 16 bytes or more, drawn at random (openssl rand -hex 32).
    cluster_secret: Secret = "", "cluster.secret", "cluster";
    /// File with the cluster's secret, instead of cluster.secret. White space at its end does not count.
    cluster_secret_file: Option<PathBuf> = "", "cluster.secret_file", "cluster";
    /// Where clients reach this node's HTTP API (HOST:PORT), as system.cluster shows it on every node. Empty: http.addr.
    cluster_api_addr: Text = "", "cluster.api_addr", "cluster";
    /// PEM file with this node's certificate for node RPC, for servers and clients, with the names or addresses of cluster.peers in it.
    cluster_tls_cert: Option<PathBuf> = "", "cluster.tls_cert", "cluster";
    /// PEM file with that certificate's key.
    cluster_tls_key: Option<PathBuf> = "", "cluster.tls_key", "cluster";
    /// PEM file with the cluster's own CA; every node's certificate is issued by it, and nobody else's are believed.
    cluster_tls_ca: Option<PathBuf> = "", "cluster.tls_ca", "cluster";

    /// Recent writes that each store keeps in memory before it writes them to a table; up to three times as much is held. Larger ones
    /// need fewer compactions.
    store_memtable: Bytes = "64MiB", "store.memtable", "storage", 64 * KIB..=GIB;
    /// Blocks of tables that each store keeps in memory for reads.
    store_cache: Bytes = "64MiB", "store.cache", "storage", MIB..=64 * GIB;

    /// Address and port of the HTTP API.
    http_addr: SocketAddr = "127.0.0.1:2900", "http.addr", "http";
    /// Largest request body; a larger one is answered 413.
    http_max_body: Bytes = "10MiB", "http.max_body", "http", 64 * KIB..=GIB;
    /// Bytes of request bodies that one core reads and works on at a time; what would need more is answered 503.
    http_max_bodies: Bytes = "256MiB", "http.max_bodies", "http", MIB..=1024 * GIB;
    /// Largest head of a request; a larger one is answered 431.
    http_max_head: Bytes = "64KiB", "http.max_head", "http", 8 * KIB..=MIB;
    /// Connections of one core; further ones are closed at once.
    http_max_connections: u32 = "10000", "http.max_connections", "http", 1..=1_000_000;
    /// Requests that one core works on at a time; further ones are answered 429.
    http_max_requests: u32 = "4096", "http.max_requests", "http", 1..=1_000_000;
    /// How long a connection without a request is kept.
    http_idle_timeout: Period = "75s", "http.idle_timeout", "http", SECOND..=HOUR;
    /// Time from a request's first byte to the end of its head.
    http_head_timeout: Period = "10s", "http.head_timeout", "http", SECOND..=HOUR;
    /// Time from there to the end of its body; a later one is answered 408.
    http_body_timeout: Period = "30s", "http.body_timeout", "http", SECOND..=HOUR;
    /// Time that a client may take no byte of an answer before the connection is closed.
    http_write_timeout: Period = "30s", "http.write_timeout", "http", SECOND..=HOUR;

    /// PEM file with the certificate of the HTTP API (and what stands between it and its CA): HTTPS instead of HTTP. Read again on SIGHUP.
    http_tls_cert: Option<PathBuf> = "", "http.tls_cert", "http";
    /// PEM file with that certificate's key. Read again on SIGHUP.
    http_tls_key: Option<PathBuf> = "", "http.tls_key", "http";
    /// Origins whose web pages may read answers: https://app.example.org,http://localhost:3000, or * for all. Empty: none.
    http_cors_origins: Origins = "", "http.cors_origins", "http";
    /// Requests per second of one user on one core; further ones are answered 429. 0: no limit.
    http_rate_per_user: u32 = "0", "http.rate_per_user", "http", 0..=1_000_000;
    /// Requests per second of one address on one core; further ones are answered 429. 0: no limit.
    http_rate_per_address: u32 = "0", "http.rate_per_address", "http", 0..=1_000_000;
    /// Who reads GET /metrics: loopback (this machine freely, others as dba or system), login (dba or system from anywhere), all, off.
    http_metrics: MetricsAccess = "loopback", "http.metrics", "http";

    /// Longest SQL text of a request.
    sql_max_text: Bytes = "1MiB", "sql.max_text", "sql", KIB..=64 * MIB;
    /// Parameters of one statement.
    sql_max_params: u32 = "50", "sql.max_params", "sql", 1..=65_535;
    /// Longest parameter, in bytes of its JSON.
    sql_max_param: Bytes = "512KiB", "sql.max_param", "sql", 64..=64 * MIB;
    /// Rows that one query may hold in memory or answer; more is refused with SQLSTATE 54000, never cut.
    sql_max_result_rows: u32 = "1000000", "sql.max_result_rows", "sql", 1..=100_000_000;
    /// Bytes of rows that one query may hold in memory or answer; more is refused with SQLSTATE 54000, never cut.
    sql_max_result: Bytes = "64MiB", "sql.max_result", "sql", 64 * KIB..=4 * GIB;
    /// Bytes of rows that all queries of this node hold and answer together; what would need more is refused with SQLSTATE 53200.
    sql_max_memory: Bytes = "512MiB", "sql.max_memory", "sql", MIB..=1024 * GIB;
    /// Time that one statement may take; then it is answered with SQLSTATE 57014.
    sql_statement_timeout: Period = "30s", "sql.statement_timeout", "sql", MILLI..=DAY;
    /// Time that a transaction may be open; then it is rolled back.
    sql_transaction_timeout: Period = "1min", "sql.transaction_timeout", "sql", MILLI..=DAY;
    /// Time that a session may be without a request; then its transaction is rolled back.
    sql_session_idle: Period = "30s", "sql.session_idle", "sql", MILLI..=DAY;
    /// Sessions that one user may have open on one core.
    sql_sessions_per_user: u32 = "64", "sql.sessions_per_user", "sql", 1..=65_535;

    /// How long messages stay with the consumer that took them before they are delivered again.
    topics_visibility_timeout: Period = "1min", "topics.visibility_timeout", "topics", 10 * MILLI..=DAY;
    /// Messages that one consume may return.
    topics_max_messages: u32 = "10000", "topics.max_messages", "topics", 1..=1_000_000;
    /// Payload bytes that one consume returns at most, though always one message.
    topics_max_payload: Bytes = "8MiB", "topics.max_payload", "topics", KIB..=GIB;
    /// Longest time that a consume may wait for a first message.
    topics_max_wait: Period = "5min", "topics.max_wait", "topics", 0..=HOUR;

    /// Life of an access token.
    auth_access_lifetime: Period = "1d", "auth.access_lifetime", "auth", SECOND..=365 * DAY;
    /// Life of a refresh token.
    auth_refresh_lifetime: Period = "7d", "auth.refresh_lifetime", "auth", SECOND..=3650 * DAY;
    /// PBKDF2 iterations of new password verifiers; more make guessing and logging in slower.
    auth_scram_iterations: u32 = "32768", "auth.scram_iterations", "auth", 4096..=10_000_000;
    /// Failed logins of one account within the lockout window that lock it.
    auth_lockout_failures: u32 = "5", "auth.lockout_failures", "auth", 1..=1_000_000;
    /// Time over which failed logins of an account are counted.
    auth_lockout_window: Period = "15min", "auth.lockout_window", "auth", SECOND..=DAY;
    /// How long a locked account stays locked.
    auth_lockout_duration: Period = "15min", "auth.lockout_duration", "auth", SECOND..=DAY;
    /// Failed logins from one address within the lockout window after which the address is answered 429.
    auth_address_failures: u32 = "100", "auth.address_failures", "auth", 1..=1_000_000;
    /// Whether a new cluster waits for POST /v1/api/auth/setup to give root a password: off (one is given or made at the first start),
    /// loopback (from this machine), all (from anywhere).
    auth_setup: SetupAccess = "off", "auth.setup", "auth";
    /// Logins whose password one core checks at a time; further ones wait.
    auth_max_derivations: u32 = "4", "auth.max_derivations", "auth", 1..=1024;
    /// Logins of one core that may wait for their password to be checked; further ones are answered 429.
    auth_max_waiting: u32 = "256", "auth.max_waiting", "auth", 1..=1_000_000;

    /// Audit log that each core keeps; the oldest events go.
    audit_max_size: Bytes = "16MiB", "audit.max_size", "audit", 64 * KIB..=4 * GIB;

    /// Bytes per second of snapshots that this node sends to other nodes that lack what the log no longer holds; 0: no limit.
    cluster_snapshot_rate: Bytes = "64MiB", "cluster.snapshot_rate", "cluster", 0..=64 * GIB;
    /// Log that each store keeps for nodes that are behind, a quarter of the log's limit at most; who lacks more is sent a snapshot. An entry
    /// counts as its bytes and 512.
    cluster_kept_log: Bytes = "256MiB", "cluster.kept_log", "cluster", 64 * KIB..=64 * GIB;
}

impl Config {
    /// Where a setting's value came from.
    #[must_use]
    pub fn origin(&self, name: &str) -> Origin {
        self.origins.get(name).cloned().unwrap_or(Origin::Default)
    }

    /// All defaults, as without file, environment and flags.
    ///
    /// # Panics
    /// Never: a test reads every default.
    #[must_use]
    #[expect(clippy::expect_used, reason = "the defaults are constants of this file and a test reads them all")]
    pub fn defaults() -> Self {
        Self::resolve(&Merged::default()).expect("defaults are within their ranges")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    #[test]
    fn every_default_is_valid_and_no_two_settings_share_a_variable() {
        let config = Config::defaults();
        assert_eq!(config.settings().len(), DEFINITIONS.iter().filter(|definition| !definition.secret).count());
        let mut variables: Vec<_> = DEFINITIONS.iter().map(Definition::environment).collect();
        variables.sort();
        variables.dedup();
        assert_eq!(variables.len(), DEFINITIONS.len());
        assert!(DEFINITIONS.iter().all(|definition| definition.description.trim().ends_with('.')));
    }

    #[test]
    fn defaults_are_shown_as_they_are_written() {
        for (setting, definition) in
            Config::defaults().settings().iter().zip(DEFINITIONS.iter().filter(|definition| !definition.secret))
        {
            assert_eq!(setting.value, definition.default, "{}", setting.name);
        }
    }
}
