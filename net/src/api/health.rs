//! GET /health, /v1/api/healthcheck and /ready.

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
    /// When it was built, RFC 3339, or "unknown".
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
