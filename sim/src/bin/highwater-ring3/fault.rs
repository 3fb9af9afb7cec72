//! What befalls the cluster: the kinds of faults, and what a seed draws of each.

use std::str::FromStr;
use std::time::Duration;

use highwater_runtime::rng::Rng;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `kill -9` of the node that leads most users' groups; it starts again after a while.
    KillLeader,
    /// `kill -9` of a node that leads no user's group.
    KillFollower,
    /// `kill -9` of all nodes at once; they start again at once.
    KillAll,
    /// SIGSTOP of the leader for some seconds.
    PauseLeader,
    /// One node is cut off from the others, both ways, and them from it.
    Partition,
    /// One node hears the others and is not heard, or the other way round.
    OneWay,
    /// One node's file system has no byte left for some seconds.
    FullDisk,
}

impl Kind {
    /// Every kind, in the order in which they are tried.
    pub const ALL: [Self; 7] = [
        Self::KillLeader,
        Self::KillFollower,
        Self::KillAll,
        Self::PauseLeader,
        Self::Partition,
        Self::OneWay,
        Self::FullDisk,
    ];

    /// As it is given and shown.
    pub const fn name(self) -> &'static str {
        match self {
            Self::KillLeader => "kill-leader",
            Self::KillFollower => "kill-follower",
            Self::KillAll => "kill-all",
            Self::PauseLeader => "pause-leader",
            Self::Partition => "partition",
            Self::OneWay => "one-way",
            Self::FullDisk => "full-disk",
        }
    }
}

impl FromStr for Kind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::name).join(", ");
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| format!("there are {}", names()))
    }
}

/// Whom it befalls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Victim {
    /// The node that leads most users' groups.
    Leader,
    /// A node that leads none of them.
    Follower,
    /// All nodes.
    Everyone,
}

/// How wires are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Everything is held back.
    Silent,
    /// Connections break and are refused.
    Refused,
    /// What the node sends is held back.
    Mute,
    /// What the node is sent is held back.
    Deaf,
}

/// One fault, drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    pub kind: Kind,
    pub victim: Victim,
    /// How wires are cut, of those kinds that cut any.
    pub cut: Option<Cut>,
    /// Load before it.
    pub before: Duration,
    /// Until it is healed, at least.
    pub lasts: Duration,
}

impl Fault {
    /// The fault of a round: who is hit and how alternates with the round, times are drawn.
    pub fn draw(kind: Kind, round: u32, rng: &mut Rng) -> Self {
        let other = round % 2 == 1;
        let victim = match kind {
            Kind::KillLeader | Kind::PauseLeader => Victim::Leader,
            Kind::KillFollower => Victim::Follower,
            Kind::KillAll => Victim::Everyone,
            Kind::Partition | Kind::FullDisk if other => Victim::Follower,
            Kind::OneWay if round / 2 % 2 == 1 => Victim::Follower,
            Kind::Partition | Kind::OneWay | Kind::FullDisk => Victim::Leader,
        };
        let cut = match kind {
            Kind::Partition if round / 2 % 2 == 1 => Some(Cut::Refused),
            Kind::Partition => Some(Cut::Silent),
            Kind::OneWay if other => Some(Cut::Deaf),
            Kind::OneWay => Some(Cut::Mute),
            Kind::KillLeader | Kind::KillFollower | Kind::KillAll | Kind::PauseLeader | Kind::FullDisk => None,
        };
        let (least, most) = match kind {
            Kind::KillAll => (0, 0),
            Kind::KillLeader | Kind::KillFollower => (2_000, 4_000),
            Kind::PauseLeader | Kind::Partition | Kind::OneWay | Kind::FullDisk => (3_000, 5_000),
        };
        let before = Duration::from_millis(300 + rng.below(700));
        Self { kind, victim, cut, before, lasts: Duration::from_millis(least + rng.below(most - least + 1)) }
    }

    /// What is counted together.
    pub fn label(&self) -> String {
        let cut = match self.cut {
            Some(Cut::Silent) => ", silent",
            Some(Cut::Refused) => ", refused",
            Some(Cut::Mute) => ", not heard",
            Some(Cut::Deaf) => ", hears nothing",
            None => "",
        };
        match (self.kind, self.victim) {
            (Kind::Partition | Kind::OneWay | Kind::FullDisk, Victim::Leader) => {
                format!("{} of the leader{cut}", self.kind.name())
            }
            (Kind::Partition | Kind::OneWay | Kind::FullDisk, _) => format!("{} of a follower{cut}", self.kind.name()),
            (kind, _) => kind.name().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn four_rounds_of_a_kind_have_all_of_its_forms() {
        let labels = |kind| {
            let mut rng = Rng::new(1);
            let mut labels: Vec<String> = (0..4).map(|round| Fault::draw(kind, round, &mut rng).label()).collect();
            labels.sort();
            labels.dedup();
            labels.len()
        };
        assert_eq!(Kind::ALL.map(labels), [1, 1, 1, 1, 4, 4, 2]);
    }

    #[test]
    fn kinds_are_read_as_they_are_shown() {
        for kind in Kind::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
        }
        assert!("flood".parse::<Kind>().unwrap_err().contains("kill-leader, kill-follower"));
    }

    #[test]
    fn a_fault_lasts_long_enough_to_be_noticed() {
        let mut rng = Rng::new(7);
        for round in 0..50 {
            for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::KillAll) {
                assert!(Fault::draw(kind, round, &mut rng).lasts >= Duration::from_secs(2));
            }
        }
    }
}
