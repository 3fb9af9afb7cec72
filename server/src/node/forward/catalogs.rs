//! Catalogs between nodes: which one a command needs, and telling the others of a new one.

use std::sync::Arc;

use bytes::{Buf as _, BufMut as _, BytesMut};
use highwater_runtime::{Env, queue};
use highwater_sql::catalog::{Catalog, CatalogVersion};
use highwater_sql::diag::{Diag, SqlState};
use highwater_state::placement::META;

use super::{Errand, kinds};
use crate::node::Node;

/// The version of a [`kinds::KNOW_CATALOG`].
const KNOW_VERSION: u8 = 1;
/// Time that other nodes are given to learn of a new catalog before its definition is answered, in microseconds.
const KNOW_MICROS: u64 = 1_000_000;

impl Node {
    /// A catalog of at least `version`: this core's, or the meta group's.
    pub(in crate::node) async fn catalog_at_least(
        &self,
        errand: Errand,
        version: CatalogVersion,
    ) -> Result<Arc<Catalog>, Diag> {
        let known = self.catalog();
        if known.version >= version {
            return Ok(known);
        }
        let newest = self.newest_catalog_by(errand.deadline).await?;
        if newest.version >= version {
            return Ok(newest);
        }
        let (has, wants) = (newest.version.0, version.0);
        Err(Diag::new(
            SqlState::INTERNAL,
            format!("a command was planned with catalog {wants}, and the newest is {has}"),
        ))
    }

    /// Tells the other nodes that there is a new catalog, and gives those that are up a moment to learn it. Who misses it learns it when
    /// its replica of the meta group does.
    pub(in crate::node) async fn tell_nodes(&self, version: CatalogVersion) {
        if self.links().is_alone() {
            return;
        }
        let deadline = self.env().now().after_micros(KNOW_MICROS);
        let mut answers = Vec::new();
        for node in self.links().members().to_vec() {
            if node == self.links().me() || !self.links().is_up(node) {
                continue;
            }
            let (teller, (slot, answer)) = (self.clone(), queue::reply());
            self.env().spawn("tell of a catalog", async move {
                let mut payload = BytesMut::with_capacity(9);
                payload.put_u8(KNOW_VERSION);
                payload.put_u64_le(version.0);
                let links = teller.links();
                if let Err(error) =
                    links.call(node, META, kinds::KNOW_CATALOG, payload.freeze(), deadline).await
                {
                    tracing::debug!(node = node.0, version = version.0, %error, "a node does not know the new catalog yet");
                }
                slot.fill(());
            });
            answers.push(answer);
        }
        for answer in answers {
            let _ = answer.await;
        }
    }
}

/// What a call of [`kinds::KNOW_CATALOG`] asks for; `None` of other bytes.
pub(super) fn version_to_know(mut payload: &[u8]) -> Option<CatalogVersion> {
    let is_whole = payload.len() == 9 && payload.get_u8() == KNOW_VERSION;
    is_whole.then(|| CatalogVersion(payload.get_u64_le()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_to_know_has_nine_bytes() {
        assert_eq!(version_to_know(&[1, 7, 0, 0, 0, 0, 0, 0, 0]), Some(CatalogVersion(7)));
        assert_eq!(version_to_know(&[2, 7, 0, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(version_to_know(&[1, 7]), None);
    }
}
