//! What the settings say of the cluster, checked as far as one node can: pure, but for the files and names that the caller looks up.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use highwater_net::rpc::{ClusterSecret, MutualTls, RpcError, Security, TlsSettings};

use super::error::SetupError;
use super::roll::MAX_MEMBERS;
use crate::config::{Config, HostPort, Origin};

/// Where a node is reached by the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerAddress {
    /// Its name or address; its certificate is for this.
    pub host: String,
    /// The address that it stands for.
    pub addr: SocketAddr,
}

/// This node's place in a cluster.
#[derive(Clone)]
pub struct ClusterSetup {
    /// This node's id.
    pub me: u64,
    /// The nodes that form the cluster, this one too; of a node that joins, only itself.
    pub peers: BTreeMap<u64, PeerAddress>,
    /// The members that a node which joins asks; empty for one that forms a cluster.
    pub join: Vec<HostPort>,
    /// Finds the address that a name stands for. May block.
    pub resolve: Resolve,
    /// Where this node listens for the others.
    pub rpc_addr: SocketAddr,
    /// Where clients reach this node, as the others show it.
    pub api_addr: String,
    /// This machine's name, as the others show it.
    pub hostname: String,
    /// How connections between nodes are protected.
    pub security: Security,
    secret: Vec<u8>,
}

/// Finds the address of a host. Names are looked up where the machine can be asked; elsewhere only addresses are understood.
#[derive(Clone)]
pub struct Resolve(pub Arc<ResolveFn>);

/// The function of a [`Resolve`].
pub type ResolveFn = dyn Fn(&HostPort) -> io::Result<SocketAddr> + Send + Sync;

impl Default for Resolve {
    fn default() -> Self {
        Self(Arc::new(|place| {
            let address = place.host.parse().map_err(|_| io::Error::other("no names are known here"))?;
            Ok(SocketAddr::new(address, place.port))
        }))
    }
}

impl fmt::Debug for ClusterSetup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterSetup").field("me", &self.me).field("peers", &self.peers).finish_non_exhaustive()
    }
}

/// How a setup looks at the machine: files and names.
pub struct Lookup<'a> {
    /// The bytes of a file.
    pub read: &'a dyn Fn(&Path) -> io::Result<Vec<u8>>,
    /// An address of a host.
    pub resolve: &'a dyn Fn(&HostPort) -> io::Result<SocketAddr>,
}

/// Settings that mean nothing without `cluster.peers`.
const ONLY_WITH_PEERS: [&str; 9] = [
    "node_id",
    "cluster.rpc_addr",
    "rpc.addr",
    "cluster.secret",
    "cluster.secret_file",
    "cluster.api_addr",
    "cluster.tls_cert",
    "cluster.tls_key",
    "cluster.tls_ca",
];

impl ClusterSetup {
    /// The node's place as the settings have it; `None` for a node that is a cluster of its own.
    ///
    /// # Errors
    /// [`SetupError`]: the settings must be changed first.
    pub fn of(config: &Config, lookup: &Lookup<'_>) -> Result<Option<Self>, SetupError> {
        let peers = &config.cluster_peers.0;
        let join = config.cluster_join.0.clone();
        if !join.is_empty() {
            return Self::joining(config, lookup, join).map(Some);
        }
        if peers.is_empty() {
            let orphan = ONLY_WITH_PEERS.into_iter().find(|name| config.origin(name) != Origin::Default);
            return match orphan {
                Some(name) => Err(SetupError::NoPeers(format!("{name} ({})", config.origin(name)))),
                None => Ok(None),
            };
        }
        let me = config.node_id;
        if !peers.contains_key(&me) {
            let ids = peers.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            return Err(SetupError::NotAmongPeers { me, origin: config.origin("node_id").to_string(), ids });
        }
        if peers.len() > MAX_MEMBERS {
            return Err(SetupError::TooManyPeers(peers.len()));
        }
        if config.rpc_addr.port() == 0 {
            return Err(SetupError::PortZero);
        }
        let secret = secret(config, lookup)?;
        let security = security(config, lookup)?;
        let mut found = BTreeMap::new();
        for (node, place) in peers {
            let addr = (lookup.resolve)(place).map_err(|reason| SetupError::Unresolved {
                node: *node,
                host: place.to_string(),
                reason,
            })?;
            protected(&security, &format!("cluster.peers, node {node}"), addr)?;
            found.insert(*node, PeerAddress { host: place.host.clone(), addr });
        }
        protected(&security, "rpc.addr", config.rpc_addr)?;
        let api_addr = match config.cluster_api_addr.0.as_str() {
            "" => config.http_addr.to_string(),
            given => HostPort::parse(given).ok_or_else(|| SetupError::ApiAddr(given.to_owned()))?.to_string(),
        };
        let (rpc_addr, hostname) = (config.rpc_addr, String::new());
        let (join, resolve) = (Vec::new(), Resolve::default());
        Ok(Some(Self { me, peers: found, join, resolve, rpc_addr, api_addr, hostname, security, secret }))
    }

    /// The place of a node that asks members of a cluster to be let in.
    fn joining(config: &Config, lookup: &Lookup<'_>, join: Vec<HostPort>) -> Result<Self, SetupError> {
        if !config.cluster_peers.0.is_empty() {
            return Err(SetupError::JoinAndPeers);
        }
        if config.origin("node_id") == Origin::Default {
            return Err(SetupError::JoinWithoutId);
        }
        if config.rpc_addr.port() == 0 {
            return Err(SetupError::PortZero);
        }
        let me = config.node_id;
        let place = match config.cluster_rpc_addr.0.as_str() {
            "" if config.rpc_addr.ip().is_unspecified() => return Err(SetupError::Unreachable(config.rpc_addr)),
            "" => HostPort { host: config.rpc_addr.ip().to_string(), port: config.rpc_addr.port() },
            given => HostPort::parse(given).ok_or_else(|| SetupError::RpcAddr(given.to_owned()))?,
        };
        let secret = secret(config, lookup)?;
        let security = security(config, lookup)?;
        protected(&security, "rpc.addr", config.rpc_addr)?;
        let addr = (lookup.resolve)(&place).map_err(|reason| SetupError::Unresolved {
            node: me,
            host: place.to_string(),
            reason,
        })?;
        let api_addr = match config.cluster_api_addr.0.as_str() {
            "" => config.http_addr.to_string(),
            given => HostPort::parse(given).ok_or_else(|| SetupError::ApiAddr(given.to_owned()))?.to_string(),
        };
        let peers = BTreeMap::from([(me, PeerAddress { host: place.host, addr })]);
        let (rpc_addr, hostname, resolve) = (config.rpc_addr, String::new(), Resolve::default());
        Ok(Self { me, peers, join, resolve, rpc_addr, api_addr, hostname, security, secret })
    }

    /// The same with a way to look names up.
    #[must_use]
    pub fn resolving(mut self, resolve: impl Fn(&HostPort) -> io::Result<SocketAddr> + Send + Sync + 'static) -> Self {
        self.resolve = Resolve(Arc::new(resolve));
        self
    }

    /// Where a node of [`Self::peers`] is reached, as the cluster's roll keeps it.
    pub(crate) fn place_of(&self, node: u64) -> Option<String> {
        let peer = self.peers.get(&node)?;
        Some(HostPort { host: peer.host.clone(), port: peer.addr.port() }.to_string())
    }

    /// The place of a node in a simulated network, which needs no protection.
    ///
    /// # Errors
    /// A secret that is too short.
    pub fn simulated(me: u64, peers: BTreeMap<u64, SocketAddr>, secret: &[u8]) -> Result<Self, SetupError> {
        ClusterSecret::new(secret)?;
        let rpc_addr = peers.get(&me).copied().unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)));
        let address = |addr: SocketAddr| PeerAddress { host: addr.ip().to_string(), addr };
        Ok(Self {
            me,
            peers: peers.into_iter().map(|(node, addr)| (node, address(addr))).collect(),
            join: Vec::new(),
            resolve: Resolve::default(),
            rpc_addr,
            api_addr: String::new(),
            hostname: format!("node-{me}"),
            security: Security::Simulated,
            secret: secret.to_vec(),
        })
    }

    /// The place of a node in a simulated network that asks `seeds` to be let in.
    ///
    /// # Errors
    /// A secret that is too short.
    pub fn simulated_joiner(me: u64, own: SocketAddr, seeds: &[SocketAddr], secret: &[u8]) -> Result<Self, SetupError> {
        let setup = Self::simulated(me, BTreeMap::from([(me, own)]), secret)?;
        let join = seeds.iter().map(|seed| HostPort { host: seed.ip().to_string(), port: seed.port() });
        Ok(Self { join: join.collect(), ..setup })
    }

    /// The same on a machine of this name.
    #[must_use]
    pub fn on(mut self, hostname: impl Into<String>) -> Self {
        self.hostname = hostname.into();
        self
    }

    /// The same when HTTP listens elsewhere than the settings say (port 0 was resolved); counts unless `cluster.api_addr` was given.
    #[must_use]
    pub fn with_http(mut self, config: &Config, http_addr: SocketAddr) -> Self {
        if config.cluster_api_addr.0.is_empty() {
            self.api_addr = http_addr.to_string();
        }
        self
    }

    /// The place in words, for people.
    #[must_use]
    pub fn place(&self) -> String {
        if let Some(seed) = self.join.first() {
            return format!("node {} of the cluster of {seed}, RPC on {}", self.me, self.rpc_addr);
        }
        let ids = self.peers.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        format!("node {} of nodes {ids}, RPC on {}", self.me, self.rpc_addr)
    }

    /// The cluster's secret.
    ///
    /// # Errors
    /// It is too short; never after [`Self::of`].
    pub fn secret(&self) -> Result<ClusterSecret, highwater_net::rpc::SecretTooShort> {
        ClusterSecret::new(&self.secret)
    }
}

fn secret(config: &Config, lookup: &Lookup<'_>) -> Result<Vec<u8>, SetupError> {
    let bytes = match (&config.cluster_secret.0, &config.cluster_secret_file) {
        (Some(_), Some(_)) => return Err(SetupError::TwoSecrets),
        (None, None) => return Err(SetupError::NoSecret),
        (Some(text), None) => text.as_bytes().to_vec(),
        (None, Some(file)) => read(lookup, "cluster.secret_file", file)?.trim_ascii_end().to_vec(),
    };
    ClusterSecret::new(&bytes)?;
    Ok(bytes)
}

fn read(lookup: &Lookup<'_>, setting: &'static str, file: &Path) -> Result<Vec<u8>, SetupError> {
    (lookup.read)(file).map_err(|reason| SetupError::File { setting, file: file.to_owned(), reason })
}

fn security(config: &Config, lookup: &Lookup<'_>) -> Result<Security, SetupError> {
    let (cert, key, ca) = (&config.cluster_tls_cert, &config.cluster_tls_key, &config.cluster_tls_ca);
    if cert.is_none() && key.is_none() && ca.is_none() {
        return Ok(Security::Loopback);
    }
    let cert = cert.as_deref().ok_or(SetupError::TlsIncomplete("cluster.tls_cert"))?;
    let key = key.as_deref().ok_or(SetupError::TlsIncomplete("cluster.tls_key"))?;
    let ca = ca.as_deref().ok_or(SetupError::TlsIncomplete("cluster.tls_ca"))?;
    let certificate = read(lookup, "cluster.tls_cert", cert)?;
    let key = read(lookup, "cluster.tls_key", key)?;
    let ca = read(lookup, "cluster.tls_ca", ca)?;
    let settings = TlsSettings { ca: &ca, certificate: &certificate, key: &key };
    MutualTls::new(&settings).map(Security::Tls).map_err(SetupError::Tls)
}

/// Refuses an address that other machines could reach in plain.
fn protected(security: &Security, setting: &str, addr: SocketAddr) -> Result<(), SetupError> {
    match security.check(addr) {
        Ok(()) => Ok(()),
        Err(RpcError::TlsNeeded(_)) => Err(SetupError::TlsNeeded { setting: setting.to_owned(), addr }),
        Err(other) => Err(SetupError::Tls(other)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::config::{Args, resolve};

    const SECRET: &str = "cluster.secret=0123456789abcdef";
    const PEERS: &str = "cluster.peers=1=127.0.0.1:1,2=127.0.0.1:2,3=localhost:3";

    fn of(set: &[&str]) -> Result<Option<ClusterSetup>, SetupError> {
        let args = Args { set: set.iter().map(ToString::to_string).collect(), ..Args::default() };
        let config = resolve(None, [], &args).unwrap();
        let read = |file: &Path| match file.to_str() {
            Some("secret") => Ok(b"0123456789abcdef\n".to_vec()),
            Some("short") => Ok(b"0123456789abcde\n\n".to_vec()),
            Some("pem") => Ok(b"no certificate".to_vec()),
            _ => Err(io::Error::from(io::ErrorKind::NotFound)),
        };
        let resolve = |place: &HostPort| match place.host.as_str() {
            "nowhere" => Err(io::Error::other("no such name")),
            "localhost" => Ok(SocketAddr::from(([127, 0, 0, 1], place.port))),
            host => Ok(SocketAddr::new(host.parse().unwrap(), place.port)),
        };
        ClusterSetup::of(&config, &Lookup { read: &read, resolve: &resolve })
    }

    #[test]
    fn without_peers_a_node_is_a_cluster_of_its_own() {
        assert!(of(&[]).unwrap().is_none());
        for setting in ["node_id=2", "rpc.addr=127.0.0.1:5", SECRET, "cluster.secret_file=secret", "cluster.tls_ca=x"] {
            let refused = of(&[setting]).unwrap_err().to_string();
            assert!(refused.contains("is given without cluster.peers") && refused.contains("--peers 1="), "{refused}");
        }
    }

    #[test]
    fn a_node_knows_its_place() {
        let setup = of(&[PEERS, SECRET, "node_id=2", "rpc.addr=127.0.0.1:2"]).unwrap().unwrap();
        assert_eq!((setup.me, setup.peers.len(), setup.rpc_addr.port()), (2, 3, 2));
        assert_eq!(setup.peers.get(&3).unwrap().addr.port(), 3);
        assert_eq!(setup.api_addr, "127.0.0.1:2900");
        let setup = of(&[PEERS, "cluster.secret_file=secret", "cluster.api_addr=db-1.example:80"]).unwrap().unwrap();
        assert_eq!(setup.api_addr, "db-1.example:80");
        assert!(!format!("{setup:?}").contains("0123456789abcdef"));
    }

    #[test]
    fn every_mistake_is_named_with_what_to_do() {
        let long: Vec<String> = (1..=65).map(|node| format!("{node}=127.0.0.1:{node}")).collect();
        let long = format!("cluster.peers={}", long.join(","));
        let far = "cluster.peers=1=127.0.0.1:1,2=10.0.0.2:2";
        let tls = ["cluster.tls_cert=pem", "cluster.tls_key=pem", "cluster.tls_ca=pem"];
        let cases: [(&[&str], &str); 13] = [
            (
                &[PEERS, SECRET, "node_id=4"],
                "this node is node 4 (--set node_id), but cluster.peers names only 1, 2, 3; add 4=",
            ),
            (&[&long, SECRET], "names 65 nodes; a cluster has at most 64"),
            (&[PEERS], "no cluster secret; draw one (openssl rand -hex 32)"),
            (&[PEERS, SECRET, "cluster.secret_file=secret"], "are both given; leave one of them out"),
            (&[PEERS, "cluster.secret=short"], "has 5 bytes; it needs at least 16"),
            (&[PEERS, "cluster.secret_file=short"], "has 15 bytes"),
            (&[PEERS, "cluster.secret_file=none"], "cluster.secret_file: cannot read none"),
            (&[PEERS, SECRET, "cluster.tls_cert=pem", "cluster.tls_key=pem"], "cluster.tls_ca is missing"),
            (&[PEERS, SECRET, tls[0], tls[1], tls[2]], "the TLS settings of node RPC cannot be used: the cluster's CA"),
            (&[far, SECRET], "cluster.peers, node 2: 10.0.0.2:2 is not a loopback address"),
            (&[PEERS, SECRET, "rpc.addr=0.0.0.0:2910"], "rpc.addr: 0.0.0.0:2910 is not a loopback address"),
            (&["cluster.peers=1=nowhere:1", SECRET], "the address of node 1, nowhere:1, cannot be found: no such name"),
            (&[PEERS, SECRET, "rpc.addr=127.0.0.1:0"], "port 0"),
        ];
        for (set, said) in cases {
            let refused = of(set).unwrap_err().to_string();
            assert!(refused.contains(said), "{refused}");
            assert!(!refused.contains('\n'), "{refused}");
        }
    }
}
