//! The command line of `highwaterd`.

use std::path::PathBuf;

use super::ConfigError;
use super::sources::Merged;
use crate::dev_cluster::DevClusterArgs;
use crate::release::VERSION_AND_DATE;

/// Highwater: a SQL database for live applications.
///
/// Without arguments: data in ./highwater-data, HTTP on 127.0.0.1:2900, one executor per core.
/// Every setting can also be given in a TOML file (--config) and as an environment variable (http.addr is HIGHWATER_HTTP_ADDR);
/// flags win over the environment, the environment over the file.
#[derive(Clone, Debug, Default, clap::Parser)]
#[command(name = "highwaterd", version, long_version = VERSION_AND_DATE.as_str(), max_term_width = 110, args_conflicts_with_subcommands = true)]
pub struct Args {
    /// Something else than to run a node.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// TOML file with settings (also HIGHWATER_CONFIG).
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Folder of all data; created when missing.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<String>,
    /// Address and port of the HTTP API.
    #[arg(long, value_name = "ADDR")]
    pub http_addr: Option<String>,
    /// Executors: a number, or a list of CPUs (0,2-5).
    #[arg(long, value_name = "N|LIST")]
    pub cores: Option<String>,
    /// Groups that hold users' rows; fixed when the data folder is made.
    #[arg(long, value_name = "N")]
    pub user_shards: Option<String>,
    /// Groups that hold shared tables and topics; fixed when the data folder is made.
    #[arg(long, value_name = "N")]
    pub shared_shards: Option<String>,
    /// Password of the user root, for the first start. Better given as HIGHWATER_ROOT_PASSWORD: arguments are public.
    #[arg(long, value_name = "P")]
    pub root_password: Option<String>,
    /// This node's number in its cluster, from 1.
    #[arg(long, value_name = "N")]
    pub node_id: Option<String>,
    /// Address and port for the other nodes of the cluster. Beyond loopback it needs the cluster.tls_* files.
    #[arg(long, value_name = "ADDR")]
    pub rpc_addr: Option<String>,
    /// All nodes of the cluster, this one too: 1=HOST:PORT,2=HOST:PORT,3=HOST:PORT (their RPC addresses).
    #[arg(long, value_name = "LIST")]
    pub peers: Option<String>,
    /// Members (HOST:PORT, ... of their RPC addresses) that this new node asks to be let in; instead of --peers.
    #[arg(long, value_name = "LIST")]
    pub join: Option<String>,
    /// What all nodes of the cluster share. Better given as HIGHWATER_CLUSTER_SECRET or in cluster.secret_file: arguments are public.
    #[arg(long, value_name = "S")]
    pub cluster_secret: Option<String>,
    /// Where clients reach this node's HTTP API, as system.cluster shows it; http.addr when not given.
    #[arg(long, value_name = "HOST:PORT")]
    pub api_addr: Option<String>,
    /// error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Any other setting by its name in the file; may be repeated.
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// Prints every setting, its value and where it came from, then exits.
    #[arg(long)]
    pub print_config: bool,
    /// Checks configuration, kernel and data folder, then exits (0: fine, 78: not).
    #[arg(long)]
    pub check_config: bool,
    /// Ends with this process, which started it: a node of dev-cluster.
    #[arg(long, hide = true, value_name = "PID")]
    pub with_parent: Option<u32>,
}

/// Something else than to run a node.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Starts a cluster on this machine, for trying it out: one process per node, ended together by Ctrl-C.
    DevCluster(DevClusterArgs),
}

impl Args {
    /// Adds what was given on the command line.
    ///
    /// # Errors
    /// `--set` without `=` or with an unknown name.
    pub(super) fn add_to(&self, merged: &mut Merged) -> Result<(), ConfigError> {
        let flags = [
            ("--data-dir", "data_dir", &self.data_dir),
            ("--http-addr", "http.addr", &self.http_addr),
            ("--cores", "cores", &self.cores),
            ("--user-shards", "user_shards", &self.user_shards),
            ("--shared-shards", "shared_shards", &self.shared_shards),
            ("--root-password", "root_password", &self.root_password),
            ("--node-id", "node_id", &self.node_id),
            ("--rpc-addr", "rpc.addr", &self.rpc_addr),
            ("--peers", "cluster.peers", &self.peers),
            ("--join", "cluster.join", &self.join),
            ("--cluster-secret", "cluster.secret", &self.cluster_secret),
            ("--api-addr", "cluster.api_addr", &self.api_addr),
            ("--log-level", "log.level", &self.log_level),
        ];
        for setting in &self.set {
            let (name, text) = setting.split_once('=').ok_or_else(|| ConfigError::BadValue {
                place: "--set".into(),
                value: setting.clone(),
                reason: "has no '='; give NAME=VALUE, for example http.max_body=20MiB".into(),
            })?;
            merged.add_flag(&format!("--set {name}"), name.trim(), text.trim())?;
        }
        for (flag, name, text) in flags {
            if let Some(text) = text {
                merged.add_flag(flag, name, text)?;
            }
        }
        Ok(())
    }
}
