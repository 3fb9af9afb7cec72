//! `GET /v1/api/cluster/health`: the cluster as this node sees it, also while it starts.

use std::collections::BTreeMap;

use highwater_net::api::ApiError;
use highwater_net::http::Response;

use super::Service;
use crate::cluster::Links;
use crate::cluster::overview::{self, Seen};

impl Service {
    /// 200 with the overview; 503 with it when the node or the cluster cannot work.
    pub(super) async fn cluster_health(&self) -> Result<Response, ApiError> {
        let api_addr = self.config().http_addr.to_string();
        let answer = match self.node() {
            Some(node) => node.cluster_overview(api_addr).await?,
            None => {
                let links = self.0.links.borrow().clone().unwrap_or_else(Links::alone);
                let seen = Seen {
                    cluster: 0,
                    total_groups: u64::from(self.config().user_shards) + u64::from(self.config().shared_shards) + 1,
                    groups: BTreeMap::new(),
                    waits: Some(self.why_not_ready()),
                    uptime_micros: 0,
                    process: None,
                    api_addr,
                    leaving: links.leaving(),
                };
                overview::overview(self.env(), &links, &seen)
            }
        };
        let status = if answer.status == "unhealthy" { 503 } else { 200 };
        Ok(Response::json(status, &answer))
    }
}
