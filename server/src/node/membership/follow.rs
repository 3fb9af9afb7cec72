//! Following the roll, on every node: what the meta group says is kept in the folder and known to all cores' links.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use highwater_raft::NodeId;
use highwater_runtime::Env;
use highwater_state::placement::META;
use highwater_state::roll::{Introduced, Roll, RollCommand};

use super::super::mesh::Question;
use super::super::{Node, ask_port};
use crate::cluster::ClusterError;
use crate::cluster::roll;

/// Pause before an address that was not taken is said again, in microseconds.
const AGAIN_MICROS: u64 = 5_000_000;

/// The members are asked for a newer roll at most this often, in microseconds.
const HEED_MICROS: u64 = 1_000_000;

/// The newest roll that other members have told of; none before.
type Told = Rc<RefCell<Option<Rc<Roll>>>>;

/// A node's own copy of the roll, on its way to all cores.
#[derive(Clone, Debug)]
pub(crate) struct NewRoll {
    /// For the file and the links.
    pub(crate) own: roll::Roll,
    /// As the meta group has it.
    pub(crate) newest: Roll,
}

impl Node {
    /// Runs on the core that hosts the meta group, of a node that has a place in a cluster: keeps the roll, and where this node leads
    /// the meta group brings about what it asks for.
    pub(in crate::node) async fn follow_roll(&self, folder: PathBuf) {
        let Some(host) = self.host_of(META) else { return };
        let (mut kept, mut led) = (None, super::steward::Steward::default());
        let told = Told::default();
        let (node, by_others) = (self.clone(), Rc::clone(&told));
        self.env().spawn("strangers", async move { node.heed_strangers(&by_others).await });
        while !self.is_closing() {
            let seen = host.definitions.seen();
            let known = self.own_roll().into_iter().chain(told.borrow().clone());
            let newest = known.max_by_key(|roll| (roll.version, roll.homes_version));
            if let Some(newer) = newest.filter(|roll| kept != Some((roll.version, roll.homes_version))) {
                match self.keep(&newer, &folder).await {
                    Ok(()) => {
                        if kept.is_none() {
                            let (node, roll) = (self.clone(), Rc::clone(&newer));
                            self.env().spawn("own address", async move { node.say_where(&roll).await });
                        }
                        kept = Some((newer.version, newer.homes_version));
                    }
                    Err(error @ ClusterError::TakenOut(_)) => {
                        let words = error.to_string();
                        // See `cluster::watch`: no roll was kept in this life, so it was started with the folder of one that left.
                        if kept.is_some() {
                            self.env().leave(&words).await;
                        } else {
                            self.env().fail_stop(&words).await;
                        }
                    }
                    Err(error @ ClusterError::Unsynced { .. }) => {
                        self.env().fail_stop(&error.to_string()).await;
                    }
                    Err(error) => {
                        tracing::error!(%error, "the newest roll of the cluster cannot be kept; this is tried again")
                    }
                }
            }
            match led.turn(self).await {
                // Nothing to do until the roll changes or the lead does.
                None => host.definitions.changed_since(seen).await,
                Some(pause) => {
                    let changed = host.definitions.changed_since(seen);
                    futures_lite::future::or(changed, self.env().sleep(pause)).await;
                }
            }
        }
    }

    /// Asks the members that this node knows for a newer roll whenever somebody knocks who is not on its own ([`crate::cluster`], `news`).
    /// Connections begin at core 0, which hosts the meta group, so that they are seen here.
    async fn heed_strangers(&self, told: &Told) {
        let (Some(strangers), Some(host)) = (self.links().strangers(), self.host_of(META)) else { return };
        let mut seen = strangers.seen();
        while !self.is_closing() {
            strangers.changed_since(seen).await;
            seen = strangers.seen();
            let known = self.links().roll().map_or(0, |roll| roll.version);
            if let Some(newer) = self.links().ask_for_newer(known).await {
                tracing::info!(known, newer = newer.version, "other members know a newer roll of the cluster");
                told.replace(Some(Rc::new(newer)));
                host.definitions.notify();
            }
            self.env().sleep(HEED_MICROS).await;
        }
    }

    /// Where a node is reached is said by the node itself: one that was started with another address than before says so.
    async fn say_where(&self, roll: &Roll) {
        let me = self.links().me();
        let (kept, setup) = (self.links().roll(), self.links().setup());
        let before = kept.as_ref().and_then(|kept| kept.members.get(&me)).map(|seat| seat.address.clone());
        let (Some(own), Some(member)) = (setup.and_then(|setup| setup.place_of(me.0)), roll.members.get(&me.0)) else {
            return;
        };
        let me = me.0;
        while before.as_ref() != Some(&own) && !self.is_closing() {
            let who = Introduced { node: me, incarnation: member.incarnation, rpc_addr: own.clone() };
            match self.enroll(self.own_errand(), RollCommand::Enter(who)).await {
                Ok(_) => {
                    tracing::info!(was = member.rpc_addr, now = own, "the cluster knows this node's new address");
                    return;
                }
                Err(error) => {
                    tracing::warn!(%error, address = own, "the cluster does not take this node's new address")
                }
            }
            self.env().sleep(AGAIN_MICROS).await;
        }
    }

    /// Tells the links of all cores where another node says that it is reached.
    pub(crate) async fn tell_where(&self, said_by: NodeId, place: &str) {
        for port in &self.0.to {
            // A core that has stopped has no links.
            let _ = ask_port(port, |reply| Question::SaysWhere(said_by, place.to_owned(), reply)).await;
        }
    }

    /// Writes the roll to the folder and tells it to the links of every core.
    async fn keep(&self, newer: &Roll, folder: &std::path::Path) -> Result<(), ClusterError> {
        let Some(known) = self.links().roll() else { return Ok(()) };
        // The replica here may be behind what other members have told.
        if newer.version < known.version {
            return Ok(());
        }
        let Some(mut own) = known.renewed(newer) else {
            return Err(ClusterError::TakenOut(format!("node {} has left this cluster", known.me)));
        };
        // As long as nobody came, went or moved, each founder keeps the addresses that its own settings had: networks may differ by who looks.
        if own.version == known.version && known.version <= roll::FORMED {
            own.members.clone_from(&known.members);
        }
        if own != *known {
            roll::write(self.env(), folder, &own).await?;
            tracing::info!(version = own.version, nodes = own.ids(), "the cluster's members have changed");
        }
        let newest = Arc::new(NewRoll { own, newest: newer.clone() });
        for port in &self.0.to {
            let newest = Arc::clone(&newest);
            // A core that has stopped has no links.
            let _ = ask_port(port, |reply| Question::NewRoll(newest, reply)).await;
        }
        Ok(())
    }
}
