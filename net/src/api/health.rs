//! GET /health, /v1/api/healthcheck, /ready and /v1/api/cluster/health.

use serde::{Deserialize, Serialize};

/// The version of the HTTP interface.
pub const API_VERSION: &str = "v1";

/// The answer of /health; 200 when healthy, 503 while the node is not ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthAnswer {
    /// "healthy" or "unhealthy".
    pub status: String,
    /// The server's version.
    pub version: String,
    /// [`API_VERSION`].
    pub api_version: String,
    /// When its source was committed, or it was built, RFC 3339.
    pub build_date: String,
}

/// The answer of /ready: 200 when ready, else 503.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadyAnswer {
    /// "ready" or "starting" or "stopping".
    pub status: String,
    /// What is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The answer of /v1/api/cluster/health: 200 unless unhealthy, then 503.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClusterHealthAnswer {
    /// "healthy", "degraded" (a node is down, or this node's clock is wrong) or "unhealthy" (a group has no leader, or this node is not
    /// ready).
    pub status: String,
    /// What is wrong, when something is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The server's version.
    pub version: String,
    /// When its source was committed, or it was built, RFC 3339.
    pub build_date: String,
    /// Whether there are other nodes.
    pub is_cluster_mode: bool,
    /// The cluster, 32 hexadecimal digits.
    pub cluster_id: String,
    /// The node that answers.
    pub node_id: u64,
    /// Whether it leads the meta group.
    pub is_leader: bool,
    /// Raft groups of the cluster.
    pub total_groups: u64,
    /// Of them: led by this node.
    pub groups_leading: u64,
    /// The meta group's term, as this node knows it.
    pub current_term: u64,
    /// The meta group's last entry that this node has applied.
    pub last_applied: u64,
    /// Milliseconds since this node last heard a majority of the nodes, itself among them; none if it has not yet.
    pub millis_since_quorum_ack: Option<u64>,
    /// How far this node's clock is behind most clocks of the cluster, in milliseconds (negative: ahead); none if that cannot be told.
    pub clock_behind_ms: Option<i64>,
    /// Every node, by its id.
    pub nodes: Vec<ClusterNode>,
}

/// One node, as the one that answers knows it. What it cannot know of another is null.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClusterNode {
    /// Its id.
    pub node_id: u64,
    /// "leader" of the meta group, or "follower".
    pub role: String,
    /// "up", "down", or "starting" for a node that answers before it is ready.
    pub status: String,
    /// Where clients reach it.
    pub api_addr: Option<String>,
    /// Where the other nodes reach it.
    pub rpc_addr: Option<String>,
    /// Whether it is the node that answers.
    pub is_self: bool,
    /// Whether it leads the meta group.
    pub is_leader: bool,
    /// Groups that it leads.
    pub groups_leading: u64,
    /// Entries that it lacks of the groups that the answering node leads; none if it leads none.
    pub replication_lag: Option<u64>,
    /// How much of a catch-up is done.
    pub catchup_progress_pct: Option<u64>,
    /// Its machine.
    pub hostname: Option<String>,
    /// Resident memory in MiB.
    pub memory_usage_mb: Option<u64>,
    /// CPU in use.
    pub cpu_usage_percent: Option<f64>,
    /// Since it was started.
    pub uptime_seconds: Option<u64>,
    /// The same for people: "2d 3h 4m".
    pub uptime_human: Option<String>,
    /// Milliseconds since it was last heard; none for the node that answers, and for one that was never heard.
    pub heard_ms: Option<u64>,
    /// The last ping's round trip, in microseconds.
    pub round_trip_us: Option<u64>,
    /// How far its clock is ahead of the answering node's, in milliseconds.
    pub clock_ahead_ms: Option<i64>,
    /// What a node that leaves waits for, as far as the answering node knows.
    pub waits_for: Option<String>,
    /// Its release.
    pub version: Option<String>,
}
