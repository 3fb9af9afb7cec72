//! How a node takes its place: by the roll that its folder keeps, by forming the cluster, or by joining one that runs.
//!
//! A new folder's node greets every node of its list. Each proves the secret and the identity of its folder in the handshake, and says
//! its numbers of groups. When all are connected at one moment, the roll is written, and only then are groups started: nobody has voted or
//! accepted anything before all of its life is bound to this folder. A later start needs nobody else.
//!
//! Core 0 does this and tells the others what came out ([`Formed`]).

use std::path::Path;
use std::sync::Arc;

use highwater_net::rpc::Incarnation;
use highwater_raft::NodeId;
use highwater_runtime::queue::{self, Receiver, Sender};
use highwater_runtime::{Env, Rt};
use highwater_state::placement::Layout;

use super::error::ClusterError;
use super::join;
use super::links::Links;
use super::roll::{self, FORMED, Roll, listed};
use super::setup::ClusterSetup;
use crate::node::read_or_make_shape;

/// How often it is looked whether everyone is there, in microseconds.
const POLL_MICROS: u64 = 20_000;
/// How often it is said who is missing, in microseconds.
const REPORT_MICROS: u64 = 5_000_000;

/// What core 0 tells the others: who belongs to the cluster, and this folder's layout and identity.
#[derive(Clone, Debug)]
pub(crate) struct Formed {
    roll: Roll,
    layout: Layout,
    incarnation: Incarnation,
}

/// One core's part in the forming of a cluster.
pub(crate) struct Forming {
    setup: Option<Arc<ClusterSetup>>,
    told: Receiver<Formed>,
    /// Core 0's: to all others.
    tell: Vec<Sender<Formed>>,
}

impl Forming {
    /// The parts of all cores, in their order.
    pub(crate) fn parts(cores: u16) -> Vec<Self> {
        let (tell, told): (Vec<_>, Vec<_>) = (0..cores).map(|_| queue::bounded(1)).unzip();
        told.into_iter().map(|told| Self { setup: None, told, tell: tell.clone() }).collect()
    }

    /// The same for a node with a place in a cluster.
    pub(crate) fn in_cluster(self, setup: Arc<ClusterSetup>) -> Self {
        Self { setup: Some(setup), ..self }
    }

    /// This core's links, as soon as there are any; the cluster need not be formed yet. `layout` is that of a new folder.
    ///
    /// # Errors
    /// [`ClusterError`]: the node has no place.
    pub(crate) async fn links(&self, env: &Rt, folder: &Path, layout: Layout) -> Result<Links, ClusterError> {
        let Some(setup) = &self.setup else {
            if env.core().0 == 0
                && let Some(roll) = roll::read(env, folder).await?
            {
                return Err(ClusterError::IsMember { me: roll.me, ids: roll.ids() });
            }
            return Ok(Links::alone());
        };
        if env.core().0 != 0 {
            let Formed { roll, layout, incarnation } = self.told.recv().await.ok_or(ClusterError::OtherCore)?;
            return Links::start(env, setup, layout, incarnation, Some(roll)).await;
        }
        let found = roll::read(env, folder).await?;
        if found.is_none() && has_stores(env, folder).await {
            return Err(ClusterError::HasOwnData);
        }
        if found.is_none() && !setup.join.is_empty() {
            let (shape, roll) = join::ask(env, setup, folder, layout).await?;
            roll::write(env, folder, &roll).await?;
            tracing::info!(cluster = %format!("{:032x}", roll.cluster.0), nodes = roll.ids(), "the node has joined the cluster");
            return Links::start(env, setup, shape.layout, Incarnation(shape.database_id), Some(roll)).await;
        }
        let shape = read_or_make_shape(env, folder, layout).await?;
        let incarnation = Incarnation(shape.database_id);
        if let Some(found) = &found {
            fits(found, setup, incarnation)?;
        }
        Links::start(env, setup, shape.layout, incarnation, found).await
    }

    /// Waits until the cluster is formed. `waits` is told whom for whenever that changes.
    ///
    /// # Errors
    /// [`ClusterError`]: another node will not have this one, or the roll cannot be written.
    pub(crate) async fn formed(
        &self,
        env: &Rt,
        links: &Links,
        folder: &Path,
        waits: impl Fn(String),
    ) -> Result<(), ClusterError> {
        if self.setup.is_none() || env.core().0 != 0 {
            return Ok(());
        }
        let roll = match links.roll() {
            Some(roll) => Roll::clone(&roll),
            None => {
                let roll = everyone(env, links, waits).await?;
                roll::write(env, folder, &roll).await?;
                tracing::info!(cluster = %format!("{:032x}", roll.cluster.0), nodes = roll.ids(), "the cluster is formed");
                links.seal(roll.clone());
                roll
            }
        };
        let own = links.introduction();
        let incarnation = roll.members.get(&roll.me).map(|seat| seat.incarnation).unwrap_or_default();
        for core in self.tell.iter().skip(1) {
            let formed = Formed { roll: roll.clone(), layout: own.layout, incarnation };
            core.send(formed).await.map_err(|_| ClusterError::OtherCore)?;
        }
        Ok(())
    }
}

async fn everyone(env: &Rt, links: &Links, waits: impl Fn(String)) -> Result<Roll, ClusterError> {
    let mut next_report = env.now().after_micros(REPORT_MICROS / 5);
    loop {
        if let Some(roll) = links.greeted()? {
            return Ok(roll);
        }
        if let Some(missing) = links.missing() {
            let text = format!("the cluster is formed when all of its nodes are there; missing: {missing}");
            if env.now() >= next_report {
                tracing::warn!("{text}");
                next_report = env.now().after_micros(REPORT_MICROS);
            }
            waits(text);
        }
        env.sleep(POLL_MICROS).await;
    }
}

/// Whether what the folder keeps is what this node was started as.
fn fits(found: &Roll, setup: &ClusterSetup, incarnation: Incarnation) -> Result<(), ClusterError> {
    let me = NodeId(setup.me);
    if found.me != me {
        return Err(ClusterError::OtherNode { found: found.me, wanted: me });
    }
    let wanted: Vec<NodeId> = setup.peers.keys().copied().map(NodeId).collect();
    // Who came and went later is in no list of settings.
    if found.version <= FORMED && setup.join.is_empty() && !found.members.keys().eq(&wanted) {
        return Err(ClusterError::OtherMembers { wanted: listed(&wanted), found: found.ids() });
    }
    if found.members.get(&me).map(|seat| seat.incarnation) != Some(incarnation) {
        return Err(ClusterError::OtherFolder(me));
    }
    Ok(())
}

/// Whether a node has kept data in this folder.
async fn has_stores(env: &Rt, folder: &Path) -> bool {
    env.list_dir(&folder.join("store-0")).await.is_ok_and(|files| !files.is_empty())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::cluster::roll::Seat;
    use highwater_net::rpc::ClusterId;

    #[test]
    fn a_folder_fits_the_node_that_it_was_made_by_and_addresses_may_change() {
        let setup = |me, ids: &[u64]| {
            let peers = ids.iter().map(|id| (*id, std::net::SocketAddr::from(([10, 0, 0, 9], 2910)))).collect();
            ClusterSetup::simulated(me, peers, b"0123456789abcdef").unwrap()
        };
        let seat = |id: u64| Seat { incarnation: Incarnation(id * 10), address: format!("10.0.0.{id}:2910") };
        let members = [1, 2, 3].map(|id| (NodeId(id), seat(id))).into();
        let founders = [1, 2, 3].map(NodeId).into();
        let mut roll = Roll { cluster: ClusterId(1), me: NodeId(2), version: FORMED, founders, members };
        assert!(fits(&roll, &setup(2, &[3, 2, 1]), Incarnation(20)).is_ok());
        let refuse = |me, ids: &[u64], life| fits(&roll, &setup(me, ids), Incarnation(life)).unwrap_err().to_string();
        assert!(refuse(3, &[1, 2, 3], 20).contains("belongs to node 2, not to node 3; give --node-id 2"));
        assert!(
            refuse(2, &[1, 2], 20)
                .contains("--peers names nodes 1, 2, but this folder's cluster was formed by nodes 1, 2, 3")
        );
        assert!(refuse(2, &[1, 2, 3], 21).contains("belongs to another folder of node 2"));
        roll.version = FORMED + 1;
        assert!(
            fits(&roll, &setup(2, &[1, 2]), Incarnation(20)).is_ok(),
            "a list of settings does not know who came later"
        );
    }
}
