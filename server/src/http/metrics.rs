//! `GET /metrics`: who may read it, and the text.

use highwater_net::api::{ApiError, ErrorCode};
use highwater_net::http::{Request, Response};
use highwater_sql::catalog::Role;

use super::Service;
use crate::config::MetricsAccess;
use crate::metrics;
use crate::node::Node;

impl Service {
    /// The figures of the whole node, for those whom `http.metrics` lets read them.
    pub(super) async fn metrics(&self, node: &Node, request: &Request) -> Result<Response, ApiError> {
        let asks_for_login = match self.config().http_metrics {
            MetricsAccess::Off => {
                let message = "the metrics are switched off (http.metrics)";
                return Err(ApiError::new(ErrorCode::NotFound, message));
            }
            MetricsAccess::Loopback => !request.is_local(),
            MetricsAccess::Login => true,
            MetricsAccess::All => false,
        };
        if asks_for_login {
            let identity = self.identity(node, request).await?;
            if identity.role < Role::Dba {
                let message = "the metrics are read by the roles dba and system, from another machine as on this one";
                return Err(ApiError::new(ErrorCode::PermissionDenied, message));
            }
        }
        let samples = node.figures().await?;
        let text = metrics::text(samples)
            .map_err(|_| ApiError::new(ErrorCode::InternalError, "the metrics could not be written"))?;
        Ok(Response::new(200, metrics::CONTENT_TYPE, text).header("cache-control", "no-store"))
    }
}
