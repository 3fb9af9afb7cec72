//! The node that leads the meta group brings about what the roll asks for: it makes the first roll, changes groups a step at a time, and
//! strikes off who has left. It keeps nothing: the next leader begins by looking at every group.

use std::collections::{BTreeMap, BTreeSet};

use highwater_raft::Term;
use highwater_runtime::Env;
use highwater_sql::diag::Diag;
use highwater_state::placement::META;
use highwater_state::roll::{Introduced, Roll, RollCommand};

use super::super::Node;
use super::keeping::SCOPE;
use super::order::{GroupStanding, Order};
use super::plan::{self, Next};
use super::spread;

/// Pause before groups that are not yet as they should be are looked at again, in microseconds; it doubles while nothing moves.
const STEP_MICROS: u64 = 200_000;
/// The longest such pause, in microseconds.
const LONGEST_MICROS: u64 = 2_000_000;
/// Pause after a failure, in microseconds.
const FAILED_MICROS: u64 = 1_000_000;
/// How long one group's leader is waited for, in microseconds.
const LOOK_MICROS: u64 = 3_000_000;

/// What the steward has seen to.
#[derive(Default)]
pub(crate) struct Steward {
    /// The term in which this node leads, and the roll that is brought about.
    settled: Option<(Term, u64, u64)>,
    /// Turns in a row that found something to do and nothing that could be done yet.
    waited: u32,
}

/// What a look at all groups led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// Everything is as the roll asks for.
    Settled,
    /// Something was ordered or decided.
    Moved,
    /// Somebody is not far enough, or not there.
    Waits,
}

impl Steward {
    /// One turn; gives the pause before the next, or nothing when there is nothing to do until something changes.
    pub(crate) async fn turn(&mut self, node: &Node) -> Option<u64> {
        let term = node.host_of(META).and_then(|host| host.leads_in(META))?;
        let done = match node.own_roll() {
            None => make_roll(node).await.map(|()| Turn::Moved),
            Some(roll) if self.settled == Some((term, roll.version, roll.homes_version)) => return None,
            Some(roll) => {
                let brought_about = bring_about(node, &roll).await;
                if matches!(brought_about, Ok(Turn::Settled)) {
                    self.settled = Some((term, roll.version, roll.homes_version));
                }
                brought_about
            }
        };
        match done {
            Ok(Turn::Settled) => None,
            Ok(Turn::Moved) => {
                self.waited = 0;
                Some(STEP_MICROS)
            }
            Ok(Turn::Waits) => {
                self.waited = self.waited.saturating_add(1);
                Some((STEP_MICROS << self.waited.min(4)).min(LONGEST_MICROS))
            }
            Err(diag) => {
                tracing::debug!(%diag, "the cluster's members cannot be seen to now; this is tried again");
                Some(FAILED_MICROS)
            }
        }
    }
}

/// The first roll: the nodes that have formed the cluster, as this one's file has them.
async fn make_roll(node: &Node) -> Result<(), Diag> {
    let Some(known) = node.links().roll() else { return Ok(()) };
    if node.cluster_id() == 0 {
        // The cluster's first entry comes first.
        return Ok(());
    }
    let members = known.members.iter().map(|(id, seat)| Introduced {
        node: id.0,
        incarnation: seat.incarnation.0,
        rpc_addr: seat.address.clone(),
    });
    node.enroll(node.own_errand(), RollCommand::Found(members.collect())).await.map(|_| ())
}

/// One step of every group that needs one.
async fn bring_about(node: &Node, roll: &Roll) -> Result<Turn, Diag> {
    let mut standings: BTreeMap<u32, GroupStanding> = BTreeMap::new();
    for group in node.layout().groups() {
        let deadline = node.env().now().after_micros(LOOK_MICROS);
        standings.insert(group, node.order(group, Order::Look, deadline).await?);
    }
    let voters_of =
        |standing: &GroupStanding| standing.members().voters().iter().map(|node| node.0).collect::<BTreeSet<u64>>();
    let voters = standings.iter().map(|(group, standing)| (*group, voters_of(standing))).collect();
    let votes = spread::votes(&voters);
    let narrowed = spread::narrowed(&voters, &roll.staying(), |group, node| {
        let standing = standings.get(&group);
        let follows = standing.is_some_and(|standing| plan::follows(standing, node));
        (follows, standing.is_some_and(|standing| standing.leader == node))
    });
    let (mut settled, mut moved, mut homes) = (true, false, BTreeMap::new());
    // Who is down is chosen last.
    let burden = |id: u64| {
        let is_down = !node.links().is_up(highwater_raft::NodeId(id));
        (is_down, votes.get(&id).copied().unwrap_or(0))
    };
    for (group, standing) in &standings {
        let wanted = match narrowed.get(group).filter(|_| !roll.targets.contains_key(group)) {
            Some(narrowed) => narrowed.clone(),
            None => plan::wanted_voters(roll, *group, standing, burden),
        };
        if let Some(next) = SCOPE.homes(roll, *group, &wanted, standing) {
            homes.insert(*group, next);
        }
        match plan::next(roll, SCOPE, *group, &wanted, standing) {
            Next::Nothing => {
                if roll.targets.get(group).is_some_and(|target| *target == voters_of(standing)) {
                    (settled, moved) = (false, true);
                    let command = RollCommand::Moved { group: *group, voters: voters_of(standing) };
                    node.enroll(node.own_errand(), command).await?;
                    tracing::info!(group, voters = ?wanted, "a group has been moved");
                }
            }
            Next::Wait => settled = false,
            Next::Order(order) => {
                (settled, moved) = (false, true);
                let deadline = node.env().now().after_micros(LOOK_MICROS);
                tracing::info!(group, ?order, "a group's members change");
                if let Err(diag) = node.order(*group, order, deadline).await {
                    tracing::info!(group, %diag, "a group's members do not change now");
                }
            }
        }
    }
    if !homes.is_empty() {
        (settled, moved) = (false, true);
        tracing::info!(?homes, "groups are at home elsewhere");
        node.enroll(node.own_errand(), RollCommand::Home { homes }).await?;
    }
    let is_member =
        |id: u64| standings.values().any(|standing| standing.members().contains(highwater_raft::NodeId(id)));
    for (id, member) in &roll.members {
        if member.leaving {
            if !is_member(*id) && settled {
                node.enroll(node.own_errand(), RollCommand::Remove { node: *id }).await?;
                tracing::info!(node = id, "a node has left the cluster");
                moved = true;
            }
            settled = false;
        }
    }
    Ok(match (settled, moved) {
        (true, _) => Turn::Settled,
        (false, true) => Turn::Moved,
        (false, false) => Turn::Waits,
    })
}
