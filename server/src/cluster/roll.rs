//! The roll of a cluster, as each of its nodes keeps it: who its members are, each with the data folder that it became one with, and where
//! it is reached.
//!
//! The truth is in the meta group (`state/src/roll.rs`); this is a node's copy, which it needs before it can ask anybody. It is
//! written when the cluster is formed or the node has joined, and again whenever the node learns of a newer one. A node is let in only
//! with the folder that the roll names: one that lost its folder has forgotten what it voted for and accepted, and may not vote under
//! its old id.
//!
//! File `cluster` in the data folder, integers little-endian:
//! ```text
//! 0     8     magic "HWCLUST\0"
//! 8     4     format version, 2
//! 12    2     number of founders f, 1..=64
//! 14    2     number of members m, 1..=64
//! 16    16    cluster id
//! 32    8     this node's id
//! 40    8     version of the roll: 1 as it was formed
//! 48    8*f   the founders' ids, ascending: the first members of every group
//!       ..    each member: id u64, incarnation u64 (the database id of its `shape` file), length of the address u16,
//!             address HOST:PORT; ids ascend from 1
//!       4     CRC-32 of everything before
//! ```
//! Written to `cluster.new`, synced, renamed, folder synced: it is there whole or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use highwater_net::rpc::{ClusterId, Incarnation};
use highwater_raft::NodeId;
use highwater_runtime::{AlignedBuf, BLOCK, Env, File, OpenOptions};
use highwater_state::roll as replicated;

use super::error::ClusterError;

const MAGIC: &[u8; 8] = b"HWCLUST\0";
const VERSION: u32 = 2;
const HEADER: usize = 48;
/// Name of the file.
pub(crate) const FILE: &str = "cluster";
/// Members of a cluster.
pub(crate) const MAX_MEMBERS: usize = replicated::MAX_MEMBERS;
/// The version of the roll that a cluster is formed with.
pub(crate) const FORMED: u64 = 1;

/// Who belongs to a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Roll {
    /// The cluster.
    pub(crate) cluster: ClusterId,
    /// The node whose folder this is; one of the members.
    pub(crate) me: NodeId,
    /// Rises with every change.
    pub(crate) version: u64,
    /// The nodes that formed the cluster: the first members of every group.
    pub(crate) founders: BTreeSet<NodeId>,
    /// Every member; at most [`MAX_MEMBERS`].
    pub(crate) members: BTreeMap<NodeId, Seat>,
}

/// A member's folder and address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seat {
    /// The identity of its folder.
    pub(crate) incarnation: Incarnation,
    /// Where the other nodes reach it: HOST:PORT.
    pub(crate) address: String,
}

impl Roll {
    /// The file's bytes, without what fills the block.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let count = |count: usize| u16::try_from(count).unwrap_or(u16::MAX).to_le_bytes();
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&count(self.founders.len()));
        bytes.extend_from_slice(&count(self.members.len()));
        bytes.extend_from_slice(&self.cluster.0.to_le_bytes());
        bytes.extend_from_slice(&self.me.0.to_le_bytes());
        bytes.extend_from_slice(&self.version.to_le_bytes());
        for node in &self.founders {
            bytes.extend_from_slice(&node.0.to_le_bytes());
        }
        for (node, seat) in &self.members {
            bytes.extend_from_slice(&node.0.to_le_bytes());
            bytes.extend_from_slice(&seat.incarnation.0.to_le_bytes());
            bytes.extend_from_slice(&count(seat.address.len()));
            bytes.extend_from_slice(seat.address.as_bytes());
        }
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    /// Reads the file's bytes; what fills the block is not looked at.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let short = || "it is too short".to_owned();
        if !bytes.starts_with(MAGIC) {
            return Err("it is no file of a cluster".into());
        }
        let mut rest = bytes.get(MAGIC.len()..).ok_or_else(short)?;
        let version = u32::from_le_bytes(take(&mut rest).ok_or_else(short)?);
        if version != VERSION {
            return Err(format!("its format version is {version}, known is {VERSION}"));
        }
        let founders = u16::from_le_bytes(take(&mut rest).ok_or_else(short)?);
        let members = u16::from_le_bytes(take(&mut rest).ok_or_else(short)?);
        for count in [founders, members] {
            if count == 0 || usize::from(count) > MAX_MEMBERS {
                return Err(format!("it names {count} members; possible are 1 to {MAX_MEMBERS}"));
            }
        }
        let cluster = ClusterId(u128::from_le_bytes(take(&mut rest).ok_or_else(short)?));
        let me = NodeId(number(&mut rest).ok_or_else(short)?);
        let version = number(&mut rest).ok_or_else(short)?;
        let founders = (0..founders).map(|_| number(&mut rest).map(NodeId).ok_or_else(short));
        let founders: Vec<NodeId> = founders.collect::<Result<_, _>>()?;
        let mut list = Vec::new();
        for _ in 0..members {
            let node = NodeId(number(&mut rest).ok_or_else(short)?);
            let incarnation = Incarnation(number(&mut rest).ok_or_else(short)?);
            let length = usize::from(u16::from_le_bytes(take(&mut rest).ok_or_else(short)?));
            let (address, after) = rest.split_at_checked(length).ok_or_else(short)?;
            rest = after;
            let address = std::str::from_utf8(address).map_err(|_| "an address is no text".to_owned())?.to_owned();
            list.push((node, Seat { incarnation, address }));
        }
        let checked = bytes.get(..bytes.len().saturating_sub(rest.len())).ok_or_else(short)?;
        if crc32fast::hash(checked) != u32::from_le_bytes(take(&mut rest).ok_or_else(short)?) {
            return Err("its checksum does not match".into());
        }
        let ids: Vec<NodeId> = list.iter().map(|(node, _)| *node).collect();
        if !ascends(&ids) || !ascends(&founders) {
            return Err("its members are not in ascending order from 1".into());
        }
        if !ids.contains(&me) {
            return Err(format!("node {me}, whose file it is, is not among its members"));
        }
        let (founders, members) = (founders.into_iter().collect(), list.into_iter().collect());
        Ok(Self { cluster, me, version, founders, members })
    }

    /// The members' ids as a list for people.
    pub(crate) fn ids(&self) -> String {
        listed(self.members.keys())
    }

    /// Whether a node may be let in, and what it is told if not.
    pub(crate) fn admit(&self, node: NodeId, incarnation: Incarnation) -> Result<(), String> {
        match self.members.get(&node) {
            Some(known) if known.incarnation == incarnation || highwater_runtime::mutant(40) => Ok(()),
            Some(_) => Err(format!(
                "node {node} came with another data folder than it became a member with; a node that lost its folder may not vote under its old id. Put the old folder back, or take the node out (CLUSTER LEAVE {node}) and let a new one join under an id that was never used; until then the cluster goes on without this node as long as most others are up"
            )),
            None => Err(format!("node {node} is not a member of this cluster, which are nodes {}", self.ids())),
        }
    }

    /// This node's copy of a newer roll. `None`: this node is no member any more.
    pub(crate) fn renewed(&self, newer: &replicated::Roll) -> Option<Self> {
        let members: BTreeMap<NodeId, Seat> = newer
            .members
            .iter()
            .map(|(node, member)| {
                let (incarnation, address) = (Incarnation(member.incarnation), member.rpc_addr.clone());
                (NodeId(*node), Seat { incarnation, address })
            })
            .collect();
        let founders = newer.founders.iter().copied().map(NodeId).collect();
        let (cluster, me, version) = (self.cluster, self.me, newer.version);
        members.contains_key(&me).then_some(Self { cluster, me, version, founders, members })
    }
}

/// Ids as a list for people: "1, 2, 3".
pub(crate) fn listed<'a>(nodes: impl IntoIterator<Item = &'a NodeId>) -> String {
    nodes.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn ascends(nodes: &[NodeId]) -> bool {
    nodes.first().is_some_and(|first| *first > NodeId(0)) && nodes.iter().zip(nodes.iter().skip(1)).all(|(a, b)| a < b)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*bytes)
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    take(rest).map(u64::from_le_bytes)
}

/// The folder's roll; `None` when it has none.
pub(crate) async fn read<E: Env>(env: &E, folder: &Path) -> Result<Option<Roll>, ClusterError> {
    let path = folder.join(FILE);
    let unusable = |why: String| ClusterError::File { path: path.display().to_string(), why };
    let file = match env.open(&path, OpenOptions::READ).await {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unusable(error.to_string())),
    };
    let length = file.len().await.map_err(|error| unusable(error.to_string()))?;
    let length = usize::try_from(length).unwrap_or(BLOCK).clamp(BLOCK, LARGEST).next_multiple_of(BLOCK);
    let bytes = file.read_at(0, length).await.map_err(|error| unusable(error.to_string()))?;
    Roll::decode(&bytes).map(Some).map_err(unusable)
}

/// Bytes of the largest file, in whole blocks.
const LARGEST: usize = (HEADER + 4 + MAX_MEMBERS * (8 + 18 + replicated::MAX_ADDRESS_BYTES)).next_multiple_of(BLOCK);

/// Makes the folder's roll, durably.
///
/// # Errors
/// [`ClusterError::File`]: the folder has the roll that it had. [`ClusterError::Unsynced`]: nobody knows, and the node must stop.
pub(crate) async fn write<E: Env>(env: &E, folder: &Path, roll: &Roll) -> Result<(), ClusterError> {
    let (path, new) = (folder.join(FILE), folder.join("cluster.new"));
    let unusable = |error: io::Error| ClusterError::File { path: path.display().to_string(), why: error.to_string() };
    let unsynced =
        |error: io::Error| ClusterError::Unsynced { path: path.display().to_string(), why: error.to_string() };
    match env.remove_file(&new).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unusable(error)),
        Ok(()) | Err(_) => {}
    }
    let file = env.open(&new, OpenOptions::CREATE).await.map_err(unusable)?;
    file.write_at(AlignedBuf::from_slice(&roll.encode()), 0).await.map_err(unusable)?;
    file.sync().await.map_err(unsynced)?;
    env.rename(&new, &path).await.map_err(unusable)?;
    env.sync_dir(folder).await.map_err(unsynced)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use quickcheck::{Arbitrary, Gen, quickcheck};

    #[test]
    fn a_roll_that_cannot_be_synced_is_told_from_one_that_cannot_be_written() {
        use highwater_runtime::disk::Faults;
        use highwater_runtime::inproc::Sim;
        let write = |faults: Faults| {
            let folder = Path::new("/data");
            let mut sim = Sim::new(1, Faults::none());
            sim.run(|env| async move { env.create_dir_all(folder).await }).unwrap().unwrap();
            sim.disk().faults = faults;
            sim.run(|env| async move { write(&env, folder, &roll()).await }).unwrap()
        };
        assert!(write(Faults::none()).is_ok());
        let outcome = write(Faults { sync_error: 1.0, ..Faults::none() });
        assert!(matches!(outcome, Err(ClusterError::Unsynced { .. })), "{outcome:?}");
        let outcome = write(Faults { write_error: 1.0, ..Faults::none() });
        assert!(matches!(outcome, Err(ClusterError::File { .. })), "{outcome:?}");
    }

    fn seat(life: u64) -> Seat {
        Seat { incarnation: Incarnation(life), address: "a:1".into() }
    }

    fn roll() -> Roll {
        let members = [(1, 0x0a0b), (2, 7), (9, u64::MAX)].map(|(node, life)| (NodeId(node), seat(life)));
        let (version, founders) = (FORMED, [NodeId(1), NodeId(2)].into());
        Roll { cluster: ClusterId(0x0102_0304), me: NodeId(2), version, founders, members: members.into() }
    }

    impl Arbitrary for Roll {
        fn arbitrary(g: &mut Gen) -> Self {
            let mut members = BTreeMap::new();
            for _ in 0..=u8::arbitrary(g) % 64 {
                let address: String = String::arbitrary(g).chars().take(60).collect();
                let seat = Seat { incarnation: Incarnation(u64::arbitrary(g)), address };
                members.insert(NodeId(u64::arbitrary(g).max(1)), seat);
            }
            let ids: Vec<NodeId> = members.keys().copied().collect();
            let founders = ids.iter().copied().take(3).collect();
            let (cluster, version) = (ClusterId(u128::arbitrary(g)), u64::arbitrary(g));
            Self { cluster, me: *g.choose(&ids).unwrap(), version, founders, members }
        }
    }

    quickcheck! {
        fn a_roll_survives_its_bytes_and_its_block(roll: Roll) -> bool {
            let bytes = roll.encode();
            let mut block = bytes.clone();
            block.resize(bytes.len().next_multiple_of(BLOCK), 0);
            block.len() <= LARGEST && Roll::decode(&bytes).as_ref() == Ok(&roll) && Roll::decode(&block) == Ok(roll)
        }

        fn any_bytes_are_survived(bytes: Vec<u8>, sound: bool) -> bool {
            let mut all = if sound { [&MAGIC[..], &VERSION.to_le_bytes()[..], &[1, 0, 1, 0]].concat() } else { Vec::new() };
            all.extend(bytes);
            let _ = Roll::decode(&all);
            true
        }

        fn a_changed_bit_or_a_cut_is_noticed(roll: Roll, at: usize) -> bool {
            let bytes = roll.encode();
            let mut changed = bytes.clone();
            changed[at / 8 % bytes.len()] ^= 1 << (at % 8);
            Roll::decode(&changed).is_err() && Roll::decode(&bytes[..at % bytes.len()]).is_err()
        }
    }

    #[test]
    fn the_bytes_are_these() {
        let wanted = "48 57 43 4c 55 53 54 00  02 00 00 00  02 00  03 00  04 03 02 01 00 00 00 00 00 00 00 00 00 00 00 00 \
                      02 00 00 00 00 00 00 00  01 00 00 00 00 00 00 00  01 00 00 00 00 00 00 00 02 00 00 00 00 00 00 00 \
                      01 00 00 00 00 00 00 00 0b 0a 00 00 00 00 00 00 03 00 61 3a 31 \
                      02 00 00 00 00 00 00 00 07 00 00 00 00 00 00 00 03 00 61 3a 31 \
                      09 00 00 00 00 00 00 00 ff ff ff ff ff ff ff ff 03 00 61 3a 31 ";
        let shown: Vec<String> = roll().encode().iter().map(|byte| format!("{byte:02x}")).collect();
        let (body, sum) = shown.split_at(shown.len() - 4);
        assert_eq!(body.join(" "), wanted.split_whitespace().collect::<Vec<_>>().join(" "));
        assert_eq!(sum.join(" "), "5c e9 68 98");
    }

    #[test]
    fn a_roll_that_contradicts_itself_is_none() {
        let refuse = |roll: Roll| Roll::decode(&roll.encode()).unwrap_err();
        assert!(refuse(Roll { me: NodeId(3), ..roll() }).contains("node 3, whose file it is"));
        assert!(refuse(Roll { members: BTreeMap::new(), ..roll() }).contains("names 0 members"));
        let many = (1..=65).map(|node| (NodeId(node), seat(node))).collect();
        assert!(refuse(Roll { members: many, ..roll() }).contains("names 65 members"));
        let zero = [(NodeId(0), seat(1)), (NodeId(2), seat(1))].into();
        assert!(refuse(Roll { members: zero, ..roll() }).contains("ascending"));
    }

    #[test]
    fn only_members_with_their_own_folders_are_let_in() {
        assert_eq!(roll().admit(NodeId(1), Incarnation(0x0a0b)), Ok(()));
        assert!(roll().admit(NodeId(1), Incarnation(0x0a0c)).unwrap_err().contains("may not vote under its old id"));
        let stranger = roll().admit(NodeId(4), Incarnation(7)).unwrap_err();
        assert_eq!(stranger, "node 4 is not a member of this cluster, which are nodes 1, 2, 9");
    }

    #[test]
    fn a_newer_roll_is_kept_by_those_who_are_in_it() {
        let member = |incarnation, rpc_addr: &str| {
            let rpc_addr = rpc_addr.to_owned();
            replicated::Member { incarnation, rpc_addr, leaving: false, since: 0 }
        };
        let mut newer = replicated::Roll { version: 5, founders: [1, 2].into(), ..replicated::Roll::default() };
        newer.members = [(2, member(7, "b:2")), (4, member(8, "d:4"))].into();
        let kept = roll().renewed(&newer).unwrap();
        assert_eq!((kept.me, kept.version, kept.ids().as_str()), (NodeId(2), 5, "2, 4"));
        assert!(kept.admit(NodeId(4), Incarnation(8)).is_ok() && kept.admit(NodeId(1), Incarnation(0x0a0b)).is_err());
        newer.members.remove(&2);
        assert_eq!(roll().renewed(&newer), None);
    }
}
