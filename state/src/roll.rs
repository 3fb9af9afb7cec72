//! The roll of the cluster's members: the replicated truth of who belongs to the cluster, with which data folder, and where.
//!
//! Kept by the meta group, so that every node learns of a change in the same order; each node keeps a copy in its data folder for its
//! starts. Decisions here are pure functions of the roll before and the command. Invariants: an id stands for one data folder for
//! ever: one that has left, or whose folder is another, is never let in again under that id (a node that lost its folder has
//! forgotten what it voted for); the version rises by one with every change of what is no home, and a command that changes nothing leaves it.
//!
//! ```text
//! cluster scalar 2 := version u8 (1) | postcard(Roll)
//! ```

use std::collections::{BTreeMap, BTreeSet};

use highwater_sql::access::role_name;
use highwater_sql::catalog::{Catalog, Role};
use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::value::Micros;
use serde::{Deserialize, Serialize};

use crate::command::RequestHead;
use crate::error::StateError;
use crate::placement::META;
use crate::stored;

/// Name of the cluster scalar that holds the roll.
pub(crate) const ROLL: u8 = 2;
/// Members of a cluster.
pub const MAX_MEMBERS: usize = 64;
/// Ids of nodes that have left that a roll remembers.
pub const MAX_GONE: usize = 4096;
/// Bytes of an address.
pub const MAX_ADDRESS_BYTES: usize = 300;

/// Who belongs to the cluster. Fields are only appended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roll {
    /// Rises by one with every change but those of homes alone; 1 is the roll that the cluster was formed with.
    pub version: u64,
    /// The nodes that the cluster was formed by: the first members of every group.
    pub founders: BTreeSet<u64>,
    /// The members by their ids.
    pub members: BTreeMap<u64, Member>,
    /// Ids of nodes that have left. They are never given again.
    pub gone: BTreeSet<u64>,
    /// Groups that are being moved: who is to vote in them.
    pub targets: BTreeMap<u32, BTreeSet<u64>>,
    /// Rises by one with every change of the homes.
    pub homes_version: u64,
    /// The nodes that keep a replica of a group, by data groups; of a group that is not here every node keeps one. It follows what the
    /// group's own membership says, so it may be a moment behind: it says where to ask, never what is true there.
    pub homes: BTreeMap<u32, BTreeSet<u64>>,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The identity of its data folder.
    pub incarnation: u64,
    /// Where the other nodes reach it: HOST:PORT.
    pub rpc_addr: String,
    /// It is being taken out: replicas and votes go elsewhere.
    pub leaving: bool,
    /// Log time at which it was entered.
    pub since: Micros,
}

/// A node as it introduces itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Introduced {
    /// Its id.
    pub node: u64,
    /// The identity of its data folder.
    pub incarnation: u64,
    /// Where the other nodes reach it: HOST:PORT.
    pub rpc_addr: String,
}

/// Changes of the roll. Each may be taken twice: the second changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RollCommand {
    /// The nodes that have formed the cluster. Ignored when there is a roll.
    Found(Vec<Introduced>),
    /// A node asks to be a member, or says where a member is reached now.
    Enter(Introduced),
    /// CLUSTER LEAVE.
    Leave {
        /// Who and which request.
        head: RequestHead,
        /// The node.
        node: u64,
    },
    /// CLUSTER JOIN: a node that was told to leave stays.
    Stay {
        /// Who and which request.
        head: RequestHead,
        /// The node.
        node: u64,
    },
    /// CLUSTER MOVE SHARD, CLUSTER REBALANCE: who is to vote in these groups.
    Move {
        /// Who and which request.
        head: RequestHead,
        /// By group.
        targets: BTreeMap<u32, BTreeSet<u64>>,
        /// What the client is told.
        message: String,
    },
    /// These nodes vote in the group now, and nobody else.
    Moved {
        /// The group.
        group: u32,
        /// Who.
        voters: BTreeSet<u64>,
    },
    /// A node that was told to leave has no replica any more.
    Remove {
        /// The node.
        node: u64,
    },
    /// These nodes keep replicas of these groups; without nodes every one does. Of other groups nothing changes.
    Home {
        /// By group.
        homes: BTreeMap<u32, BTreeSet<u64>>,
    },
}

/// What a change of the roll led to.
pub(crate) struct Changed {
    /// The roll that follows; `None`: it stays as it is.
    pub roll: Option<Roll>,
    /// What happened, for people.
    pub message: String,
}

impl Roll {
    /// The bytes that the meta group stores.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        stored::encode(self)
    }

    /// Reads them.
    ///
    /// # Errors
    /// [`StateError::Version`], [`StateError::Corrupt`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StateError> {
        stored::decode(META, "the roll of members", bytes)
    }
}

impl RollCommand {
    /// Who asks; none for the system's own.
    pub(crate) const fn head(&self) -> Option<&RequestHead> {
        match self {
            Self::Leave { head, .. } | Self::Stay { head, .. } | Self::Move { head, .. } => Some(head),
            Self::Found(_) | Self::Enter(_) | Self::Moved { .. } | Self::Remove { .. } | Self::Home { .. } => None,
        }
    }
}

impl Roll {
    /// The members that stay.
    pub fn staying(&self) -> BTreeSet<u64> {
        self.members.iter().filter(|(_, member)| !member.leaving).map(|(node, _)| *node).collect()
    }

    /// The nodes that keep a replica of a group; `None`: every node does.
    pub fn homes_of(&self, group: u32) -> Option<&BTreeSet<u64>> {
        self.homes.get(&group)
    }

    /// Whether a node only knows where a group is, without a replica of it.
    pub fn has_seat(&self, node: u64, group: u32) -> bool {
        self.homes_of(group).is_some_and(|homes| !homes.contains(&node))
    }

    /// Decides a change at log time `now`.
    pub(crate) fn decide(
        before: Option<&Self>,
        command: &RollCommand,
        catalog: &Catalog,
        now: Micros,
    ) -> Result<Changed, Diag> {
        if let Some(head) = command.head() {
            needs_dba(head, catalog)?;
        }
        let Some(before) = before else {
            return match command {
                RollCommand::Found(founders) => found(founders, now),
                _ => Err(Diag::new(SqlState::OVERLOADED, "the cluster has no roll of its members yet")
                    .hint("Retry after a short pause.")),
            };
        };
        let mut after = before.clone();
        let message = match command {
            RollCommand::Found(_) => "The cluster has a roll already".to_owned(),
            RollCommand::Enter(who) => after.enter(who, now)?,
            RollCommand::Leave { node, .. } => after.leave(*node)?,
            RollCommand::Stay { node, .. } => after.stay(*node)?,
            RollCommand::Move { targets, message, .. } => {
                after.aim(targets)?;
                message.clone()
            }
            RollCommand::Moved { group, voters } => {
                if after.targets.get(group) == Some(voters) {
                    after.targets.remove(group);
                }
                format!("Group {group} has been moved")
            }
            RollCommand::Remove { node } => after.remove(*node)?,
            RollCommand::Home { homes } => after.settle(homes),
        };
        if after == *before {
            return Ok(Changed { roll: None, message });
        }
        if after.homes != before.homes {
            after.homes_version += 1;
        }
        if !matches!(command, RollCommand::Home { .. }) {
            after.version += 1;
        }
        Ok(Changed { roll: Some(after), message })
    }

    fn enter(&mut self, who: &Introduced, now: Micros) -> Result<String, Diag> {
        let Introduced { node, incarnation, rpc_addr } = who;
        let refuse = |what: String, hint: &str| Err(Diag::new(SqlState::OBJECT_STATE, what).hint(hint));
        if *node == 0 || rpc_addr.is_empty() || rpc_addr.len() > MAX_ADDRESS_BYTES {
            return refuse(format!("node {node} at '{rpc_addr}' is no node"), "Give an id from 1 and HOST:PORT.");
        }
        if self.gone.contains(node) {
            return refuse(
                format!("node {node} has left this cluster, and an id is never given twice"),
                "Start the new node with an empty data folder and a --node-id that was never used.",
            );
        }
        if let Some((other, _)) = self.members.iter().find(|(id, member)| *id != node && member.rpc_addr == *rpc_addr) {
            return refuse(
                format!("node {other} is reached at {rpc_addr}, which node {node} gives as its own address"),
                "Every node needs an RPC address of its own; a member that is gone is taken out by CLUSTER LEAVE.",
            );
        }
        if let Some(member) = self.members.get_mut(node) {
            if member.incarnation != *incarnation {
                return refuse(
                    format!(
                        "node {node}, at {}, is a member with another data folder; a node that lost its folder may not vote under its old id",
                        member.rpc_addr
                    ),
                    "Give the new node a --node-id that was never used. A member that lost its folder is taken out with CLUSTER LEAVE.",
                );
            }
            member.rpc_addr.clone_from(rpc_addr);
            return Ok(format!("Node {node} is a member"));
        }
        if self.members.len() >= MAX_MEMBERS {
            return refuse(format!("a cluster has at most {MAX_MEMBERS} nodes"), "Take another node out first.");
        }
        let (incarnation, rpc_addr) = (*incarnation, rpc_addr.clone());
        self.members.insert(*node, Member { incarnation, rpc_addr, leaving: false, since: now });
        Ok(format!("Node {node} was entered"))
    }

    fn leave(&mut self, node: u64) -> Result<String, Diag> {
        if self.gone.contains(&node) {
            return Ok(format!("Node {node} has left already"));
        }
        let is_last = self.staying().into_iter().all(|other| other == node);
        let member = self.members.get_mut(&node).ok_or_else(|| no_node(node))?;
        if member.leaving {
            return Ok(format!("Node {node} is leaving already"));
        }
        if is_last {
            return Err(Diag::new(SqlState::OBJECT_STATE, format!("node {node} is the only node that stays"))
                .hint("A cluster keeps one node at least; let another one join first."));
        }
        if self.gone.len() >= MAX_GONE {
            return Err(Diag::new(SqlState::PROGRAM_LIMIT, format!("{MAX_GONE} nodes have left this cluster")));
        }
        member.leaving = true;
        // Nobody is moved to a node that leaves.
        self.targets.retain(|_, voters| !voters.contains(&node));
        Ok(format!(
            "Node {node} is leaving: its leads, votes and replicas go; CLUSTER LIST no longer shows it when it is out"
        ))
    }

    fn stay(&mut self, node: u64) -> Result<String, Diag> {
        if self.gone.contains(&node) {
            return Err(Diag::new(SqlState::OBJECT_STATE, format!("node {node} has left this cluster"))
                .hint("Start a node with an empty data folder, --join and a --node-id that was never used."));
        }
        let member = self.members.get_mut(&node).ok_or_else(|| {
            no_node(node).hint(format!("A node becomes a member when it is started: highwaterd --node-id {node} --join HOST:RPC-PORT of any member, with the cluster's secret."))
        })?;
        if !member.leaving {
            return Ok(format!("Node {node} is a member"));
        }
        member.leaving = false;
        Ok(format!("Node {node} stays"))
    }

    fn aim(&mut self, targets: &BTreeMap<u32, BTreeSet<u64>>) -> Result<(), Diag> {
        let staying = self.staying();
        for (group, voters) in targets {
            if self.targets.get(group).is_some_and(|under_way| under_way != voters) {
                return Err(Diag::new(SqlState::OBJECT_STATE, format!("group {group} is being moved already"))
                    .hint("CLUSTER LIST GROUPS shows how far it is; one move of a group at a time."));
            }
            if voters.is_empty() {
                return Err(Diag::new(SqlState::INVALID_PARAMETER, format!("group {group} needs a voter")));
            }
            if let Some(node) = voters.iter().find(|node| !staying.contains(node)) {
                return Err(if self.members.contains_key(node) {
                    Diag::new(SqlState::OBJECT_STATE, format!("node {node} is leaving"))
                } else {
                    no_node(*node)
                });
            }
            self.targets.insert(*group, voters.clone());
        }
        Ok(())
    }

    fn settle(&mut self, homes: &BTreeMap<u32, BTreeSet<u64>>) -> String {
        for (group, nodes) in homes.iter().filter(|(group, _)| **group != META) {
            let nodes: BTreeSet<u64> = nodes.iter().copied().filter(|node| self.members.contains_key(node)).collect();
            if nodes.is_empty() {
                self.homes.remove(group);
            } else {
                self.homes.insert(*group, nodes);
            }
        }
        format!("The homes of {} groups are known", homes.len())
    }

    fn remove(&mut self, node: u64) -> Result<String, Diag> {
        match self.members.get(&node) {
            None => Ok(format!("Node {node} has left already")),
            Some(member) if member.leaving => {
                self.members.remove(&node);
                self.gone.insert(node);
                for homes in self.homes.values_mut() {
                    homes.remove(&node);
                }
                self.homes.retain(|_, homes| !homes.is_empty());
                Ok(format!("Node {node} has left"))
            }
            Some(_) => Err(Diag::new(SqlState::OBJECT_STATE, format!("node {node} was not told to leave"))),
        }
    }
}

fn found(founders: &[Introduced], now: Micros) -> Result<Changed, Diag> {
    let mut roll = Roll { version: 1, ..Roll::default() };
    for who in founders {
        roll.enter(who, now)?;
        roll.founders.insert(who.node);
    }
    if roll.members.is_empty() {
        return Err(Diag::new(SqlState::INVALID_PARAMETER, "a cluster is formed by one node at least"));
    }
    Ok(Changed { roll: Some(roll), message: "The cluster's members are known".to_owned() })
}

fn no_node(node: u64) -> Diag {
    Diag::new(SqlState::UNDEFINED_OBJECT, format!("node {node} does not exist")).hint("CLUSTER LIST shows the nodes.")
}

/// Meta has the newest rights: they count, not those of the edge.
fn needs_dba(head: &RequestHead, catalog: &Catalog) -> Result<(), Diag> {
    let role = catalog.users.get(&head.principal).map_or(Role::User, |user| user.role.min(head.role));
    if role >= Role::Dba {
        return Ok(());
    }
    Err(Diag::new(SqlState::INSUFFICIENT_PRIVILEGE, "permission denied: CLUSTER needs role dba or higher")
        .detail(format!("The role of user \"{}\" is {}.", head.principal, role_name(role))))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use std::sync::Arc;

    use highwater_sql::catalog::{CatalogDelta, CatalogVersion, User};

    use super::*;

    fn catalog() -> Catalog {
        let mut catalog = Catalog::default();
        let user = |name: &str, role| {
            CatalogDelta::PutUser(Arc::new(User {
                name: name.to_owned(),
                role,
                email: None,
                verifier: None,
                auth_epoch: 1,
                created_at: 0,
                updated_at: 0,
            }))
        };
        catalog.advance(CatalogVersion(1), &[user("root", Role::System), user("worker", Role::Service)]);
        catalog
    }

    fn head(principal: &str) -> RequestHead {
        let (principal, role) = (principal.to_owned(), Role::System);
        RequestHead { principal, role, auth_epoch: 1, request: None, statement_hash: 0 }
    }

    fn node(node: u64) -> Introduced {
        Introduced { node, incarnation: 100 + node, rpc_addr: format!("db-{node}:2910") }
    }

    fn three() -> Roll {
        Roll::decide(None, &RollCommand::Found((1..=3).map(node).collect()), &catalog(), 5).unwrap().roll.unwrap()
    }

    fn after(roll: &Roll, command: &RollCommand) -> Result<Roll, Diag> {
        let changed = Roll::decide(Some(roll), command, &catalog(), 9)?;
        if let Some(after) = &changed.roll {
            assert_eq!(after.version, roll.version + 1);
        }
        Ok(changed.roll.unwrap_or_else(|| roll.clone()))
    }

    fn leave(node: u64) -> RollCommand {
        RollCommand::Leave { head: head("root"), node }
    }

    fn moving(group: u32, voters: &[u64]) -> RollCommand {
        let targets = [(group, voters.iter().copied().collect())].into();
        RollCommand::Move { head: head("root"), targets, message: String::new() }
    }

    #[test]
    fn what_is_taken_twice_changes_nothing_the_second_time() {
        let found = RollCommand::Found((1..=3).map(node).collect());
        let (enter, remove) = (RollCommand::Enter(node(4)), RollCommand::Remove { node: 4 });
        let mut roll = three();
        for command in [found, enter, moving(7, &[1, 2, 4]), moving(8, &[1, 2, 3]), leave(4), remove] {
            roll = after(&roll, &command).unwrap();
            let again = Roll::decide(Some(&roll), &command, &catalog(), 99).unwrap();
            assert_eq!(again.roll, None, "{command:?}");
        }
        assert_eq!(roll.gone, [4].into());
        assert_eq!(roll.targets, [(8, [1, 2, 3].into())].into(), "nobody is moved to a node that leaves");
        assert_eq!((roll.members.len(), &roll.founders), (3, &[1, 2, 3].into()));
    }

    #[test]
    fn homes_are_known_by_group_and_are_no_change_of_the_members() {
        let home =
            |group: u32, nodes: &[u64]| RollCommand::Home { homes: [(group, nodes.iter().copied().collect())].into() };
        let four = after(&three(), &RollCommand::Enter(node(4))).unwrap();
        let roll = Roll::decide(Some(&four), &home(7, &[1, 2, 4]), &catalog(), 9).unwrap().roll.unwrap();
        assert_eq!((roll.version, roll.homes_version), (four.version, four.homes_version + 1));
        assert!(roll.has_seat(3, 7) && !roll.has_seat(4, 7) && !roll.has_seat(3, 8));
        let same = |command: &RollCommand| Roll::decide(Some(&roll), command, &catalog(), 9).unwrap().roll.is_none();
        assert!(same(&home(7, &[1, 2, 4])), "what is known changes nothing");
        assert!(same(&home(META, &[1])), "every node has the meta group");
        assert!(same(&home(8, &[9])), "a node that does not exist is nobody's home");
        let left = after(&after(&roll, &leave(4)).unwrap(), &RollCommand::Remove { node: 4 }).unwrap();
        assert_eq!(left.homes, [(7, [1, 2].into())].into());
        let everywhere = Roll::decide(Some(&left), &home(7, &[]), &catalog(), 9).unwrap().roll.unwrap();
        assert!(!everywhere.has_seat(3, 7) && everywhere.homes_version > left.homes_version);
    }

    #[test]
    fn an_id_stands_for_one_folder_for_ever() {
        let said = |roll: &Roll, who: Introduced| after(roll, &RollCommand::Enter(who)).unwrap_err().to_string();
        let roll = three();
        let other_folder = Introduced { incarnation: 7, ..node(3) };
        let refused = said(&roll, other_folder.clone());
        assert!(refused.contains("node 3, at db-3:2910, is a member"), "{refused}");
        assert!(refused.contains("may not vote under its old id"), "{refused}");
        let roll = after(&after(&roll, &leave(3)).unwrap(), &RollCommand::Remove { node: 3 }).unwrap();
        assert!(said(&roll, node(3)).contains("an id is never given twice"));
        assert!(said(&roll, other_folder).contains("an id is never given twice"));
        let moved = Introduced { rpc_addr: "db-9:2910".into(), ..node(2) };
        let roll = after(&roll, &RollCommand::Enter(moved)).unwrap();
        assert_eq!(roll.members[&2].rpc_addr, "db-9:2910");
        assert!(said(&roll, Introduced { rpc_addr: "db-9:2910".into(), ..node(5) }).contains("node 2 is reached at"));
    }

    #[test]
    fn a_node_that_was_not_told_to_leave_is_not_removed_and_the_last_one_is_not_told() {
        let roll = three();
        assert!(after(&roll, &RollCommand::Remove { node: 2 }).unwrap_err().to_string().contains("was not told"));
        let roll = after(&after(&roll, &leave(1)).unwrap(), &leave(2)).unwrap();
        assert!(after(&roll, &leave(3)).unwrap_err().to_string().contains("the only node that stays"));
        let stays = RollCommand::Stay { head: head("root"), node: 2 };
        let roll = after(&roll, &stays).unwrap();
        assert_eq!(roll.staying(), [2, 3].into());
        assert!(after(&roll, &RollCommand::Remove { node: 2 }).is_err());
        let unknown = RollCommand::Stay { head: head("root"), node: 9 };
        assert_eq!(after(&roll, &unknown).unwrap_err().sqlstate, SqlState::UNDEFINED_OBJECT);
    }

    #[test]
    fn a_group_is_moved_once_at_a_time_and_only_to_nodes_that_stay() {
        let roll = after(&three(), &RollCommand::Enter(node(4))).unwrap();
        let roll = after(&roll, &moving(7, &[1, 2, 4])).unwrap();
        assert!(after(&roll, &moving(7, &[1, 3, 4])).unwrap_err().to_string().contains("is being moved already"));
        assert!(after(&roll, &moving(8, &[1, 9])).unwrap_err().to_string().contains("node 9 does not exist"));
        let other = RollCommand::Moved { group: 7, voters: [1, 3].into() };
        assert_eq!(after(&roll, &other).unwrap(), roll);
        let done = RollCommand::Moved { group: 7, voters: [1, 2, 4].into() };
        let roll = after(&roll, &done).unwrap();
        assert!(roll.targets.is_empty());
        let leaving = after(&roll, &leave(4)).unwrap();
        assert!(after(&leaving, &moving(7, &[1, 2, 4])).unwrap_err().to_string().contains("node 4 is leaving"));
    }

    #[test]
    fn the_cluster_is_changed_by_dba_and_system_as_meta_knows_them() {
        let command = RollCommand::Leave { head: head("worker"), node: 3 };
        assert_eq!(after(&three(), &command).unwrap_err().sqlstate, SqlState::INSUFFICIENT_PRIVILEGE);
    }

    #[test]
    fn the_roll_has_fixed_bytes() {
        let roll = Roll {
            version: 2,
            founders: [1].into(),
            members: [(1, Member { incarnation: 300, rpc_addr: "a:1".into(), leaving: true, since: -1 })].into(),
            gone: [9].into(),
            targets: [(7, [1].into())].into(),
            homes_version: 3,
            homes: [(8, [1].into())].into(),
        };
        let bytes = roll.to_bytes();
        assert_eq!(bytes, [1, 2, 1, 1, 1, 1, 0xAC, 2, 3, b'a', b':', b'1', 1, 1, 1, 9, 1, 7, 1, 1, 3, 1, 8, 1, 1]);
        assert_eq!(Roll::from_bytes(&bytes), Ok(roll));
    }
}
