//! One group on several machines, and the steps that happen to it. Every step ends with the checks of what it touched.

use std::collections::BTreeMap;
use std::rc::Rc;

use highwater_raft::{Config, GroupId, Membership, NodeId, RawNode};

use crate::checker::{Check, Checker};
use crate::dice::{Dice, chained};
use crate::disk::Disk;
use crate::network::Network;
use crate::oracle::Members;
use crate::replica::Replica;
use crate::swarm::{Action, Swarm};

/// Whole checks come once in so many steps.
const WHOLE: u64 = 256;
/// Ids of machines that come into one place differ by this.
pub const GENERATION: u64 = 16;

/// The group, its machines, and everything that happened.
pub struct Cluster {
    /// The seed's sequence.
    pub dice: Dice,
    /// The seed's world.
    pub swarm: Swarm,
    /// How replicas are set up.
    pub config: Config,
    /// The machines.
    pub nodes: Vec<Replica>,
    /// Disks that were lost: what they held when they were counted stays counted.
    pub lost: Vec<(NodeId, Disk)>,
    /// What is between them.
    pub network: Network,
    /// What must hold.
    pub checker: Checker,
    /// Hash of everything that happened.
    pub hash: u64,
    /// Steps done.
    pub steps: u64,
    /// How often things happened that a campaign must have seen.
    pub marks: BTreeMap<&'static str, u64>,
    /// The planted bug, 0 for none.
    pub mutant: u32,
    /// Whether every step is printed.
    pub trace: bool,
    /// Messages that were sent.
    pub sent: u64,
    /// Number of the last command.
    pub next_command: u64,
}

impl Cluster {
    /// The world of `seed`, all machines up.
    pub fn new(seed: u64, mutant: u32, trace: bool) -> Result<Self, String> {
        let mut dice = Dice::new(seed);
        let swarm = Swarm::draw(&mut dice);
        let ids: Vec<NodeId> = (1..=swarm.slots as u64).map(NodeId).collect();
        let (voters, rest) = ids.split_at(swarm.voters);
        let membership = Membership::new(voters, rest.get(..swarm.learners).unwrap_or_default());
        let mut config = Config::member(NodeId(1), GroupId(7), membership.clone());
        Swarm::limit(&mut dice, Rc::make_mut(&mut config.limits));
        #[cfg(feature = "mutants")]
        {
            config.mutant = mutant;
        }
        let nodes = ids.iter().map(|id| {
            let known = if membership.contains(*id) { membership.clone() } else { Membership::default() };
            Replica::new(*id, known)
        });
        let mut cluster = Self {
            nodes: nodes.collect(),
            lost: Vec::new(),
            network: Network::new(swarm.slots),
            checker: Checker::new(Members::of(&membership)),
            dice,
            swarm,
            config,
            hash: 0,
            steps: 0,
            marks: BTreeMap::new(),
            mutant,
            trace,
            sent: 0,
            next_command: 0,
        };
        for slot in 0..cluster.nodes.len() {
            cluster.restart(slot)?;
        }
        Ok(cluster)
    }

    #[expect(clippy::indexing_slicing, reason = "slots are drawn below the number of machines")]
    pub fn node(&self, slot: usize) -> &Replica {
        &self.nodes[slot]
    }

    #[expect(clippy::indexing_slicing, reason = "slots are drawn below the number of machines")]
    pub fn node_mut(&mut self, slot: usize) -> &mut Replica {
        &mut self.nodes[slot]
    }

    /// The replica of a machine that is up.
    pub fn raft(&mut self, slot: usize) -> Option<&mut RawNode> {
        self.node_mut(slot).raft.as_mut()
    }

    /// Where a machine stands.
    pub fn slot_of(&self, id: NodeId) -> usize {
        ((id.0 - 1) % GENERATION) as usize % self.nodes.len()
    }

    /// Counts something that a campaign must have seen.
    pub fn mark(&mut self, what: &'static str) {
        *self.marks.entry(what).or_default() += 1;
    }

    /// Prints, when everything is to be printed.
    pub fn say(&self, what: impl FnOnce() -> String) {
        if self.trace {
            highwater_sim::say!("{:>7} {}", self.steps, what());
        }
    }

    /// One step of the safety phase.
    pub fn step(&mut self) -> Check {
        let action = self.swarm.action(&mut self.dice);
        let slot = self.dice.below(self.nodes.len());
        match action {
            Action::Deliver => match self.network.take(&mut self.dice, self.swarm.overtaking) {
                Some(packet) => self.deliver(packet),
                None => self.tick(slot),
            },
            Action::Stale => match self.network.old(&mut self.dice) {
                // It passed the broken link while that still worked.
                Some(packet) => self.arrive_past(packet),
                None => self.tick(slot),
            },
            // A slow clock, or a machine that stands still now and then.
            Action::Tick if self.swarm.slow >> slot & 1 == 1 && self.dice.chance(900) => self.ended(slot, false),
            Action::Tick => self.tick(slot),
            Action::Write => {
                let slot = self.first_from(slot, |node| !node.writes.is_empty());
                self.write(slot)
            }
            Action::Apply => {
                let slot = self.first_from(slot, |node| !node.applies.is_empty());
                let count = self.dice.between(1, self.swarm.apply);
                self.apply(slot, count)
            }
            Action::Drive => self.ended(slot, true),
            Action::Propose => self.propose(slot),
            Action::Read => self.read(slot),
            Action::LogRead => {
                let slot = self.first_from(slot, |node| !node.log_reads.is_empty());
                self.log_read(slot)
            }
            Action::Snapshot => {
                let slot = self.first_from(slot, |node| !node.wanted.is_empty());
                let fails = self.dice.chance(100);
                self.snapshot(slot, fails)
            }
            Action::Report => {
                let slot = self.first_from(slot, |node| !node.reports.is_empty());
                self.report(slot)
            }
            Action::Compact => self.compact(slot),
            Action::Crash => {
                let slot = if self.dice.chance(400) { self.a_leader(slot) } else { slot };
                self.crash(slot)
            }
            Action::Restart => {
                let slot = self.first_from(slot, |node| node.raft.is_none());
                self.restart(slot)
            }
            Action::Partition => {
                self.mark("partitions");
                let leader = self.dice.chance(300).then(|| self.a_leader(slot));
                self.network.partition(&mut self.dice, leader);
                Ok(())
            }
            Action::Heal => {
                self.network.heal();
                Ok(())
            }
            Action::Change => self.change(slot),
            Action::Transfer => self.transfer(slot),
            Action::Hibernate => self.hibernate(slot),
            Action::Alarm => {
                if let Some(raft) = self.raft(slot) {
                    raft.forget_leader();
                }
                self.ended(slot, false)
            }
            Action::Campaign => {
                if let Some(raft) = self.raft(slot) {
                    raft.campaign();
                }
                self.ended(slot, false)
            }
            Action::LoseDisk => self.lose_disk(slot),
        }?;
        self.steps += 1;
        self.hash = chained(self.hash, action as u64);
        if self.steps.is_multiple_of(WHOLE) {
            for node in &self.nodes {
                if let Some(raft) = &node.raft {
                    self.checker.whole(node.id, raft, &node.disk)?;
                }
            }
        }
        Ok(())
    }

    /// The first machine from `slot` on, round and round, that has work; `slot` if none has.
    pub fn first_from(&self, slot: usize, has_work: impl Fn(&Replica) -> bool) -> usize {
        let count = self.nodes.len();
        (slot..slot + count).map(|slot| slot % count).find(|slot| has_work(self.node(*slot))).unwrap_or(slot)
    }

    /// A leader, or `slot` if there is none.
    pub fn a_leader(&self, slot: usize) -> usize {
        self.first_from(slot, |node| node.raft.as_ref().is_some_and(RawNode::is_leader))
    }

    /// The timer of a machine.
    pub fn tick(&mut self, slot: usize) -> Check {
        if let Some(raft) = self.raft(slot) {
            raft.tick();
        }
        self.ended(slot, false)
    }

    /// Every membership that some node goes by, or could come to go by.
    pub fn memberships(&self) -> Vec<Members> {
        let mut all = self.checker.possible_members();
        for node in &self.nodes {
            all.push(Members::of(&node.disk.flushed.membership));
            all.extend(node.raft.as_ref().map(|raft| Members::of(raft.membership())));
        }
        all
    }
}
