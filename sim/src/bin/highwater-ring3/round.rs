//! One round: load, a fault, its end, health, rest, the look at everything.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::Failure;
use crate::check::{self, Looked};
use crate::client::Client;
use crate::cluster::{Cluster, USER_SHARDS};
use crate::fault::{Fault, Kind, Victim};
use crate::gate::Phase;
use crate::probes::Probes;
use crate::stage::Stage;

/// Load after everything is healthy again.
const AFTER: Duration = Duration::from_millis(300);
/// How long a disk is kept full at most until its node notices.
const FILLS: Duration = Duration::from_secs(20);

/// What a round showed.
pub struct Outcome {
    pub fault: Fault,
    /// From the fault (of a full disk: from its end) until every group of users' rows that the victim led took a write; of faults that
    /// befall no leader: until every such group did.
    pub first_write: Duration,
    /// From the end of the fault until every node saw everything well.
    pub healthy: Duration,
    pub looked: Looked,
    /// Whether a full disk was noticed: the node's store took no writes, or the node stopped itself.
    pub refused: bool,
    /// Nodes that stopped themselves, which a full disk may make them do.
    pub stopped: usize,
}

/// How many clients there are.
#[derive(Clone, Copy)]
pub struct Clients {
    pub load: usize,
    pub all: usize,
}

/// Carries a round out, from rest to rest.
pub fn run(cluster: &mut Cluster, stage: &Arc<Stage>, clients: Clients, fault: Fault) -> Result<Outcome, Failure> {
    stage.next_registers()?;
    stage.gate.enter(Phase::Load, 0)?;
    std::thread::sleep(fault.before);
    let mut root = Client::new(&stage.site, "root", 0);
    let (victims, groups) = aim(cluster, &mut root, fault)?;
    let Some(victim) = victims.first().copied() else { return Err("there is nobody to hit".into()) };
    let others: Vec<usize> = (0..cluster.shape.nodes).filter(|node| *node != victim || victims.len() > 1).collect();
    let probes = Probes::ready(stage, if others.is_empty() { &victims } else { &others }, &groups)?;

    begin(cluster, fault, &victims)?;
    if fault.kind != Kind::FullDisk {
        probes.go();
    }
    let begun = Instant::now();
    let mut stopped = Vec::new();
    let mut refused = false;
    let fills = |refused: bool| fault.kind == Kind::FullDisk && !refused && begun.elapsed() < FILLS;
    while (begun.elapsed() < fault.lasts || fills(refused)) && !stage.history.is_broken() {
        refused |= fault.kind == Kind::FullDisk && (!stopped.is_empty() || root.at(victim).refuses_writes());
        for (node, how) in cluster.ended_by_themselves()? {
            if fault.kind != Kind::FullDisk || node != victim {
                return Err(format!(
                    "node {} has ended by itself, with {how}, in a round of {}",
                    node + 1,
                    fault.label()
                )
                .into());
            }
            stopped.push(node);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    heal(cluster, fault, &victims, &stopped)?;
    if fault.kind == Kind::FullDisk {
        probes.go();
    }
    let healthy = cluster.until_healthy()?;
    let first_write = probes.times()?.ok_or("nobody probed")?;
    std::thread::sleep(AFTER);

    stage.gate.enter(Phase::Drain, clients.load)?;
    check::drained(stage)?;
    stage.gate.enter(Phase::Check, clients.all)?;
    let looked = if stage.history.is_broken() { Looked::default() } else { check::everything(stage)? };
    Ok(Outcome { fault, first_write, healthy, looked, refused, stopped: stopped.len() })
}

/// Whom the fault befalls, and the groups of users' rows whose first write counts, by their number among the users' groups.
fn aim(cluster: &Cluster, root: &mut Client, fault: Fault) -> Result<(Vec<usize>, Vec<usize>), Failure> {
    let everyone: Vec<usize> = (0..cluster.shape.nodes).collect();
    let groups: Vec<usize> = (0..USER_SHARDS as usize).collect();
    let leaders = cluster.leaders(root)?;
    // The meta group is group 0, users' groups follow.
    let leader_of =
        |shard: &usize| leaders.iter().find(|(group, _)| *group as usize == shard + 1).map(|(_, node)| *node);
    let led = |node: usize| groups.iter().filter(|shard| leader_of(shard) == Some(node)).count();
    match fault.victim {
        Victim::Everyone => Ok((everyone, groups)),
        Victim::Leader => {
            let victim = everyone.into_iter().max_by_key(|node| led(*node)).ok_or("there are no nodes")?;
            let groups: Vec<usize> = groups.iter().copied().filter(|shard| leader_of(shard) == Some(victim)).collect();
            if groups.is_empty() { Err("nobody leads".into()) } else { Ok((vec![victim], groups)) }
        }
        Victim::Follower => {
            let victim = everyone.into_iter().min_by_key(|node| led(*node)).ok_or("there are no nodes")?;
            Ok((vec![victim], groups))
        }
    }
}

fn begin(cluster: &mut Cluster, fault: Fault, victims: &[usize]) -> Result<(), Failure> {
    match fault.kind {
        Kind::KillLeader | Kind::KillFollower | Kind::KillAll => cluster.kill(victims),
        Kind::PauseLeader => victims.iter().try_for_each(|node| cluster.pause(*node, true)),
        Kind::Partition | Kind::OneWay => {
            victims.iter().for_each(|node| cluster.cut(*node, fault.cut));
            Ok(())
        }
        Kind::FullDisk => victims.iter().try_for_each(|node| cluster.disk(*node)?.fill()),
    }
}

fn heal(cluster: &mut Cluster, fault: Fault, victims: &[usize], stopped: &[usize]) -> Result<(), Failure> {
    match fault.kind {
        Kind::KillLeader | Kind::KillFollower | Kind::KillAll => {
            victims.iter().try_for_each(|node| cluster.launch(*node))
        }
        Kind::PauseLeader => victims.iter().try_for_each(|node| cluster.pause(*node, false)),
        Kind::Partition | Kind::OneWay => {
            victims.iter().for_each(|node| cluster.cut(*node, None));
            Ok(())
        }
        Kind::FullDisk => {
            victims.iter().try_for_each(|node| cluster.disk(*node)?.free())?;
            stopped.iter().try_for_each(|node| cluster.launch(*node))
        }
    }
}
