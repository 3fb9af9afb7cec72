//! CLUSTER statements, on any node. What they want is put into the roll; the steward brings it about, and the lists show how far it is.

use std::collections::{BTreeMap, BTreeSet};

use highwater_raft::NodeId;
use highwater_runtime::Env;
use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::plan::ClusterPlan;
use highwater_state::roll::{Roll, RollCommand};

use super::super::Node;
use super::super::answer::StatementResult;
use super::super::execute::{Failure, Run};
use super::keeping::SCOPE;
use super::order::{GroupStanding, Order};
use super::{no_roll, plan, spread};

/// How long a leader is given to hand over before it is asked again, in microseconds: longer than Raft gives it.
const TRANSFER_MICROS: u64 = 1_500_000;
/// Groups that are asked what a leaving node waits for, at most.
const MOST_LOOKED_AT: usize = 64;
/// How long each of them may take to answer, in microseconds.
const LOOK_MICROS: u64 = 500_000;
/// How often it is looked whether the lead was taken, in microseconds.
const POLL_MICROS: u64 = 10_000;

impl Node {
    /// Runs a CLUSTER statement.
    pub(in crate::node) async fn cluster_statement(
        &self,
        run: &Run,
        plan: ClusterPlan,
    ) -> Result<StatementResult, Failure> {
        let message = match plan {
            ClusterPlan::TransferLeader { group, node } => self.transfer_leader(run, group, node).await?,
            _ if self.links().is_alone() => return Err(no_roll().into()),
            ClusterPlan::MoveShard { group, node } => self.move_shard(run, group, node).await?,
            ClusterPlan::Rebalance => self.rebalance(run).await?,
            ClusterPlan::Join { node } => {
                self.enroll(run.errand, RollCommand::Stay { head: run.head.clone(), node }).await?
            }
            ClusterPlan::Leave { node } => {
                let said = self.enroll(run.errand, RollCommand::Leave { head: run.head.clone(), node }).await?;
                match self.leave_waits_for(run, node).await {
                    Some(what) => format!("{said}. It waits for {what}"),
                    None => said,
                }
            }
        };
        Ok(StatementResult::Message { message, row_count: 0, as_user: run.user.clone() })
    }

    /// What the first group waits for that a leaving node cannot leave yet. Nothing if all of those that were looked at go on, or cannot be
    /// asked: the statement has done what it does.
    async fn leave_waits_for(&self, run: &Run, node: u64) -> Option<String> {
        let roll = self.newest_roll(run.errand.deadline).await.ok()?;
        if !roll.members.get(&node)?.leaving {
            return None;
        }
        for group in self.layout().groups().take(MOST_LOOKED_AT) {
            let soon = run.errand.deadline.min(self.env().now().after_micros(LOOK_MICROS));
            let standing = match self.order(group, Order::Look, soon).await {
                Ok(standing) => standing,
                Err(_) => return Some(format!("a leader of group {group}, which a majority of its voters follows")),
            };
            let wanted = plan::wanted_voters(&roll, group, &standing, |node| (self.is_down(node), 0));
            if standing.members().contains(NodeId(node))
                && plan::next(&roll, SCOPE, group, &wanted, &standing) == plan::Next::Wait
            {
                let what = plan::waits_for(&wanted, &standing);
                return Some(format!("{what} (group {group}); system.cluster shows for how many groups"));
            }
        }
        None
    }

    /// Hands a group's lead to a node and waits until it leads.
    async fn transfer_leader(&self, run: &Run, group: u32, node: u64) -> Result<String, Diag> {
        self.known_group(group)?;
        let deadline = run.errand.deadline;
        let standing = self.order(group, Order::Look, deadline).await?;
        let members = standing.members();
        if standing.leader == node {
            return Ok(format!("Node {node} leads group {group}"));
        }
        if !members.voters().contains(&NodeId(node)) {
            let is_known = self.newest_roll(deadline).await?.members.contains_key(&node);
            return Err(if is_known {
                Diag::new(SqlState::OBJECT_STATE, format!("node {node} has no vote in group {group}"))
                    .hint(format!("CLUSTER MOVE SHARD {group} TO {node} gives it one."))
            } else {
                no_node(node)
            });
        }
        let is_there = standing.others.iter().any(|other| other.node == node && other.active);
        if !is_there {
            return Err(Diag::new(SqlState::OBJECT_STATE, format!("node {node} was not heard of lately"))
                .hint("CLUSTER LIST shows which nodes are up."));
        }
        while self.env().now() < deadline {
            self.order(group, Order::Transfer(NodeId(node)), deadline).await?;
            let again = deadline.min(self.env().now().after_micros(TRANSFER_MICROS));
            while self.env().now() < again {
                let soon = self.env().now().after_micros(POLL_MICROS);
                let leads = match self.leader_of(group).await {
                    Some(leader) => leader == NodeId(node),
                    None if self.is_elsewhere(group) => {
                        self.order(group, Order::Look, soon).await.is_ok_and(|standing| standing.leader == node)
                    }
                    None => false,
                };
                if leads {
                    return Ok(format!("Node {node} leads group {group}"));
                }
                self.env().sleep(POLL_MICROS).await;
            }
        }
        Err(Diag::new(SqlState::TIMEOUT, format!("node {node} did not take the lead of group {group} in time"))
            .hint("CLUSTER LIST GROUPS shows who leads; the lead may still move."))
    }

    /// A node votes in a group in the place of who votes in most groups, but for the leader.
    async fn move_shard(&self, run: &Run, group: u32, node: u64) -> Result<String, Diag> {
        self.known_group(group)?;
        let deadline = run.errand.deadline;
        let roll = self.newest_roll(deadline).await?;
        staying(&roll, node)?;
        let standings = self.groups_standing(run).await?;
        let Some(standing) = standings.get(&group) else { return Err(no_group(group)) };
        let voters = voters_of(standing);
        if voters.contains(&node) && !roll.targets.contains_key(&group) {
            return Ok(format!("Node {node} votes in group {group}"));
        }
        let all = standings.iter().map(|(group, standing)| (*group, voters_of(standing))).collect();
        let votes = spread::votes(&all);
        let burden = |node| (self.is_down(node), votes.get(&node).copied().unwrap_or(0));
        let mut after = plan::wanted_voters(&roll, group, standing, burden);
        let mut instead = None;
        if after.insert(node) && after.len() > super::REPLICATION_FACTOR {
            let is_there = |other: u64| standing.others.iter().any(|one| one.node == other && one.active);
            let rest = after.iter().copied().filter(|other| *other != node && *other != standing.leader);
            instead = rest.max_by_key(|other| (!is_there(*other), votes.get(other).copied()));
            if let Some(other) = instead {
                after.remove(&other);
            }
        }
        let place = instead.map_or_else(String::new, |other| format!(" in the place of node {other}"));
        let message = format!(
            "Node {node} votes in group {group}{place} as soon as it holds the group; CLUSTER LIST GROUPS shows how far it is"
        );
        let targets = BTreeMap::from([(group, after)]);
        self.enroll(run.errand, RollCommand::Move { head: run.head.clone(), targets, message }).await
    }

    /// Votes are spread evenly over the nodes that stay.
    async fn rebalance(&self, run: &Run) -> Result<String, Diag> {
        let roll = self.newest_roll(run.errand.deadline).await?;
        let standings = self.groups_standing(run).await?;
        let voters = standings.iter().map(|(group, standing)| {
            let under_way = roll.targets.get(group).cloned();
            (*group, under_way.unwrap_or_else(|| voters_of(standing)))
        });
        let mut targets = spread::even(&voters.collect(), &roll.staying());
        // A move under way is not turned round.
        targets.retain(|group, _| !roll.targets.contains_key(group));
        if targets.is_empty() {
            return Ok("Votes are spread evenly; nothing is to be moved".to_owned());
        }
        let message = format!("{} groups are being moved; CLUSTER LIST GROUPS shows how far they are", targets.len());
        self.enroll(run.errand, RollCommand::Move { head: run.head.clone(), targets, message }).await
    }

    /// How every group stands.
    async fn groups_standing(&self, run: &Run) -> Result<BTreeMap<u32, GroupStanding>, Diag> {
        let mut standings = BTreeMap::new();
        for group in self.layout().groups() {
            standings.insert(group, self.order(group, Order::Look, run.errand.deadline).await?);
        }
        Ok(standings)
    }

    fn is_down(&self, node: u64) -> bool {
        !self.links().is_up(NodeId(node))
    }

    fn known_group(&self, group: u32) -> Result<(), Diag> {
        self.layout().role(group).map(|_| ()).ok_or_else(|| no_group(group))
    }
}

fn voters_of(standing: &GroupStanding) -> BTreeSet<u64> {
    standing.members().voters().iter().map(|node| node.0).collect()
}

fn staying(roll: &Roll, node: u64) -> Result<(), Diag> {
    match roll.members.get(&node) {
        None => Err(no_node(node)),
        Some(member) if member.leaving => Err(Diag::new(SqlState::OBJECT_STATE, format!("node {node} is leaving"))
            .hint(format!("CLUSTER JOIN {node} makes it stay."))),
        Some(_) => Ok(()),
    }
}

fn no_group(group: u32) -> Diag {
    Diag::new(SqlState::UNDEFINED_OBJECT, format!("group {group} does not exist"))
        .hint("CLUSTER LIST GROUPS shows the groups.")
}

fn no_node(node: u64) -> Diag {
    Diag::new(SqlState::UNDEFINED_OBJECT, format!("node {node} does not exist")).hint("CLUSTER LIST shows the nodes.")
}
