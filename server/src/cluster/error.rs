//! Why a node cannot be part of its cluster. Every text is for the person who starts nodes: what, where, and what to do.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use highwater_net::rpc::{RpcError, SecretTooShort};
use highwater_raft::NodeId;

/// What is wrong with the settings of a cluster.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// Settings of a cluster without the list of its nodes.
    #[error(
        "{0} is given without cluster.peers; name all nodes with --peers 1=HOST:PORT,2=HOST:PORT,3=HOST:PORT, or leave it out for a node that is a cluster of its own"
    )]
    NoPeers(String),
    /// This node is not in the list.
    #[error(
        "this node is node {me} ({origin}), but cluster.peers names only {ids}; add {me}=HOST:PORT there on every node, or give another --node-id"
    )]
    NotAmongPeers {
        /// This node.
        me: u64,
        /// Who gave its id.
        origin: String,
        /// The ids in the list.
        ids: String,
    },
    /// More nodes than a cluster can have.
    #[error("cluster.peers names {0} nodes; a cluster has at most {max}", max = super::roll::MAX_MEMBERS)]
    TooManyPeers(usize),
    /// No secret.
    #[error(
        "cluster.peers is given, but no cluster secret; draw one (openssl rand -hex 32) and give it to every node as HIGHWATER_CLUSTER_SECRET, or in a file named by cluster.secret_file"
    )]
    NoSecret,
    /// Two secrets.
    #[error("cluster.secret and cluster.secret_file are both given; leave one of them out")]
    TwoSecrets,
    /// A secret that could be guessed.
    #[error(transparent)]
    Secret(#[from] SecretTooShort),
    /// A file that a setting names cannot be read.
    #[error("{setting}: cannot read {}: {reason}", file.display())]
    File {
        /// The setting.
        setting: &'static str,
        /// The file.
        file: PathBuf,
        /// Why.
        reason: io::Error,
    },
    /// One or two of three files.
    #[error("node RPC with TLS needs cluster.tls_cert, cluster.tls_key and cluster.tls_ca; {0} is missing")]
    TlsIncomplete(&'static str),
    /// A plain connection that would leave the machine.
    #[error(
        "{setting}: {addr} is not a loopback address, and nodes on several machines speak by mutual TLS only; give cluster.tls_cert, cluster.tls_key and cluster.tls_ca, or use loopback addresses for a cluster on one machine"
    )]
    TlsNeeded {
        /// The setting.
        setting: String,
        /// The address.
        addr: SocketAddr,
    },
    /// The TLS files do not fit.
    #[error("{0}")]
    Tls(RpcError),
    /// A host without an address.
    #[error(
        "cluster.peers: the address of node {node}, {host}, cannot be found: {reason}; names must resolve when a node starts"
    )]
    Unresolved {
        /// The node.
        node: u64,
        /// Its host and port.
        host: String,
        /// Why.
        reason: io::Error,
    },
    /// A node cannot form a cluster and join one.
    #[error(
        "cluster.peers and cluster.join are both given; cluster.peers is for the nodes that form a cluster, cluster.join for one that comes later: leave one of them out"
    )]
    JoinAndPeers,
    /// A node that joins says who it is.
    #[error(
        "cluster.join is given without node_id; give a node that joins an id that no node of the cluster ever had (--node-id)"
    )]
    JoinWithoutId,
    /// An address that nobody could reach.
    #[error(
        "rpc.addr: {0} is no address that the other nodes could reach; give cluster.rpc_addr = HOST:PORT besides, as they shall reach this node"
    )]
    Unreachable(SocketAddr),
    /// An RPC address that is none.
    #[error("cluster.rpc_addr: '{0}' is no address; give HOST:PORT")]
    RpcAddr(String),
    /// A port that nobody could be told.
    #[error(
        "rpc.addr: port 0 is none that the other nodes could know; give the port that cluster.peers names for this node"
    )]
    PortZero,
    /// An API address that is none.
    #[error("cluster.api_addr: '{0}' is no address; give HOST:PORT")]
    ApiAddr(String),
}

/// Why a node cannot take its place in the cluster.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The RPC address cannot be bound.
    #[error(
        "cannot listen on {addr} for the other nodes of the cluster: {reason}; stop what listens there, or give another --rpc-addr and change --peers on every node"
    )]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// Why.
        reason: io::Error,
    },
    /// Node RPC refuses its settings.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// The secret is none.
    #[error(transparent)]
    Secret(#[from] SecretTooShort),
    /// The folder's shape.
    #[error(transparent)]
    Shape(#[from] crate::node::ShapeError),
    /// The folder's `cluster` file.
    #[error("the data folder's file '{path}' cannot be used: {why}")]
    File {
        /// The file.
        path: String,
        /// Why.
        why: String,
    },
    /// The folder's `cluster` file was written, and nobody knows whether it is on the disk.
    #[error(
        "the data folder's file '{path}' could not be synced: {why}; what is on the disk is unknown, so this node stops"
    )]
    Unsynced {
        /// The file.
        path: String,
        /// Why.
        why: String,
    },
    /// A member's folder, started as a cluster of its own.
    #[error(
        "this data folder belongs to node {me} of the cluster of nodes {ids}; start it with --node-id {me} and --peers naming all of them (or --join, if it came later), or give another --data-dir"
    )]
    IsMember {
        /// The node.
        me: NodeId,
        /// The members.
        ids: String,
    },
    /// A folder of a cluster of one, started as a member of a new one.
    #[error(
        "this data folder was set up by a node without --peers and has data of its own; a new cluster begins with empty folders. Give an empty --data-dir, or leave --peers out"
    )]
    HasOwnData,
    /// Another member's folder.
    #[error(
        "this data folder belongs to node {found}, not to node {wanted}; give --node-id {found}, or the folder of node {wanted}"
    )]
    OtherNode {
        /// Whose it is.
        found: NodeId,
        /// Who was started.
        wanted: NodeId,
    },
    /// Another list of members.
    #[error(
        "--peers names nodes {wanted}, but this folder's cluster was formed by nodes {found}; the ids of a cluster stay as they are (addresses may change)"
    )]
    OtherMembers {
        /// The ids given.
        wanted: String,
        /// The ids kept.
        found: String,
    },
    /// The `cluster` file came from another folder.
    #[error(
        "the data folder's file 'cluster' belongs to another folder of node {0} than its file 'shape'; put back the folder as it was"
    )]
    OtherFolder(NodeId),
    /// A member does not let this node in.
    #[error("node {node} refuses this node: {text}")]
    Refused {
        /// Who.
        node: NodeId,
        /// Why, in its words.
        text: String,
    },
    /// The cluster does not take this node.
    #[error("the cluster does not let this node in: {0}")]
    NotLetIn(String),
    /// This node was taken out.
    #[error(
        "this node is not a member of its cluster any more ({0}); its data folder is of no use to the cluster: start a new node with an empty folder, --join and a --node-id that was never used"
    )]
    TakenOut(String),
    /// Nodes with other numbers of groups.
    #[error("{0}")]
    OtherLayout(String),
    /// Core 0 did not take part.
    #[error("another core stopped while the node was starting")]
    OtherCore,
}

impl ClusterError {
    /// Whether settings or folders must be changed before another start can succeed.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        match self {
            Self::Rpc(_)
            | Self::Secret(_)
            | Self::IsMember { .. }
            | Self::HasOwnData
            | Self::OtherNode { .. }
            | Self::OtherMembers { .. }
            | Self::OtherFolder(_)
            | Self::Refused { .. }
            | Self::NotLetIn(_)
            | Self::TakenOut(_)
            | Self::OtherLayout(_) => true,
            Self::Listen { .. } | Self::Shape(_) | Self::File { .. } | Self::Unsynced { .. } | Self::OtherCore => false,
        }
    }
}
