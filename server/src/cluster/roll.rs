//! The roll of a cluster, kept by each of its nodes: who its members are, each with the data folder that it became one with.
//!
//! It is written once, when the cluster is formed, and read at every start. From then on a node is let in only with the folder that
//! the roll names: one that lost its folder has forgotten what it voted for and accepted, and may not vote under its old id.
//!
//! File `cluster` in the data folder, one 4 KiB block, integers little-endian:
//! ```text
//! 0     8     magic "HWCLUST\0"
//! 8     4     format version, 1
//! 12    4     number of members n, 1..=64
//! 16    16    cluster id
//! 32    8     this node's id
//! 40    16*n  each member: id u64, incarnation u64 (the database id of its `shape` file); ids ascend from 1
//! 40+   4     CRC-32 of everything before
//! ```
//! Written to `cluster.new`, synced, renamed, folder synced: it is there whole or not at all.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use highwater_net::rpc::{ClusterId, Incarnation};
use highwater_raft::NodeId;
use highwater_runtime::{AlignedBuf, BLOCK, Env, File, OpenOptions};

use super::error::ClusterError;

const MAGIC: &[u8; 8] = b"HWCLUST\0";
const VERSION: u32 = 1;
const HEADER: usize = 40;
const MEMBER: usize = 16;
/// Name of the file.
pub(crate) const FILE: &str = "cluster";
/// Members of a cluster.
pub(crate) const MAX_MEMBERS: usize = 64;

/// Who belongs to a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Roll {
    /// The cluster.
    pub(crate) cluster: ClusterId,
    /// The node whose folder this is; one of the members.
    pub(crate) me: NodeId,
    /// Every member with its folder's identity; at most [`MAX_MEMBERS`].
    pub(crate) members: BTreeMap<NodeId, Incarnation>,
}

impl Roll {
    /// The file's bytes, without what fills the block.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&u32::try_from(self.members.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend_from_slice(&self.cluster.0.to_le_bytes());
        bytes.extend_from_slice(&self.me.0.to_le_bytes());
        for (node, incarnation) in &self.members {
            bytes.extend_from_slice(&node.0.to_le_bytes());
            bytes.extend_from_slice(&incarnation.0.to_le_bytes());
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
        let version = u32_at(bytes, 8).ok_or_else(short)?;
        if version != VERSION {
            return Err(format!("its format version is {version}, known is {VERSION}"));
        }
        let count = usize::try_from(u32_at(bytes, 12).ok_or_else(short)?).unwrap_or(usize::MAX);
        if count == 0 || count > MAX_MEMBERS {
            return Err(format!("it names {count} members; possible are 1 to {MAX_MEMBERS}"));
        }
        let (checked, rest) = bytes.split_at_checked(HEADER + MEMBER * count).ok_or_else(short)?;
        if crc32fast::hash(checked) != u32_at(rest, 0).ok_or_else(short)? {
            return Err("its checksum does not match".into());
        }
        let cluster = checked.get(16..32).and_then(|bytes| bytes.try_into().ok()).map_or(0, u128::from_le_bytes);
        let me = NodeId(u64_at(checked, 32).ok_or_else(short)?);
        let mut members = BTreeMap::new();
        let mut last = 0;
        for at in (HEADER..checked.len()).step_by(MEMBER) {
            let node = u64_at(checked, at).ok_or_else(short)?;
            let incarnation = u64_at(checked, at + 8).ok_or_else(short)?;
            if node <= last {
                return Err("its members are not in ascending order from 1".into());
            }
            last = node;
            members.insert(NodeId(node), Incarnation(incarnation));
        }
        if !members.contains_key(&me) {
            return Err(format!("node {me}, whose file it is, is not among its members"));
        }
        Ok(Self { cluster: ClusterId(cluster), me, members })
    }

    /// The members' ids as a list for people.
    pub(crate) fn ids(&self) -> String {
        listed(self.members.keys())
    }

    /// Whether a node may be let in, and what it is told if not.
    pub(crate) fn admit(&self, node: NodeId, incarnation: Incarnation) -> Result<(), String> {
        match self.members.get(&node) {
            Some(known) if *known == incarnation || highwater_runtime::mutant(40) => Ok(()),
            Some(_) => Err(format!(
                "node {node} came with another data folder than it became a member with; a node that lost its folder may not vote under its old id. Put the old folder back; until then the cluster goes on without this node as long as most others are up"
            )),
            None => Err(format!("node {node} is not a member of this cluster, which are nodes {}", self.ids())),
        }
    }
}

/// Ids as a list for people: "1, 2, 3".
pub(crate) fn listed<'a>(nodes: impl IntoIterator<Item = &'a NodeId>) -> String {
    nodes.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes)
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
    let bytes = file.read_at(0, BLOCK).await.map_err(|error| unusable(error.to_string()))?;
    Roll::decode(&bytes).map(Some).map_err(unusable)
}

/// Makes the folder's roll, durably.
pub(crate) async fn write<E: Env>(env: &E, folder: &Path, roll: &Roll) -> Result<(), ClusterError> {
    let (path, new) = (folder.join(FILE), folder.join("cluster.new"));
    let written = async {
        match env.remove_file(&new).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let file = env.open(&new, OpenOptions::CREATE).await?;
        file.write_at(AlignedBuf::from_slice(&roll.encode()), 0).await?;
        file.sync().await?;
        env.rename(&new, &path).await?;
        env.sync_dir(folder).await
    };
    written.await.map_err(|error| ClusterError::File { path: path.display().to_string(), why: error.to_string() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use quickcheck::{Arbitrary, Gen, quickcheck};

    fn roll() -> Roll {
        let members = [(1, 0x0a0b), (2, 7), (9, u64::MAX)].map(|(node, life)| (NodeId(node), Incarnation(life)));
        Roll { cluster: ClusterId(0x0102_0304), me: NodeId(2), members: members.into() }
    }

    impl Arbitrary for Roll {
        fn arbitrary(g: &mut Gen) -> Self {
            let mut members = BTreeMap::new();
            for _ in 0..=u8::arbitrary(g) % 64 {
                members.insert(NodeId(u64::arbitrary(g).max(1)), Incarnation(u64::arbitrary(g)));
            }
            let ids: Vec<NodeId> = members.keys().copied().collect();
            Self { cluster: ClusterId(u128::arbitrary(g)), me: *g.choose(&ids).unwrap(), members }
        }
    }

    quickcheck! {
        fn a_roll_survives_its_bytes_and_its_block(roll: Roll) -> bool {
            let bytes = roll.encode();
            let mut block = bytes.clone();
            block.resize(BLOCK, 0);
            bytes.len() <= BLOCK && Roll::decode(&bytes).as_ref() == Ok(&roll) && Roll::decode(&block) == Ok(roll)
        }

        fn any_bytes_are_survived(bytes: Vec<u8>, sound: bool) -> bool {
            let mut all = if sound { [&MAGIC[..], &VERSION.to_le_bytes()[..], &1_u32.to_le_bytes()[..]].concat() } else { Vec::new() };
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
        let wanted = "48 57 43 4c 55 53 54 00  01 00 00 00  03 00 00 00  04 03 02 01 00 00 00 00 00 00 00 00 00 00 00 00 \
                      02 00 00 00 00 00 00 00  01 00 00 00 00 00 00 00 0b 0a 00 00 00 00 00 00 \
                      02 00 00 00 00 00 00 00 07 00 00 00 00 00 00 00  09 00 00 00 00 00 00 00 ff ff ff ff ff ff ff ff \
                      ba ef ba b0";
        let shown: Vec<String> = roll().encode().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(shown.join(" "), wanted.split_whitespace().collect::<Vec<_>>().join(" "));
    }

    #[test]
    fn a_roll_that_contradicts_itself_is_none() {
        let refuse = |roll: Roll| Roll::decode(&roll.encode()).unwrap_err();
        assert!(refuse(Roll { me: NodeId(3), ..roll() }).contains("node 3, whose file it is"));
        assert!(refuse(Roll { members: BTreeMap::new(), ..roll() }).contains("names 0 members"));
        let many = (1..=65).map(|node| (NodeId(node), Incarnation(node))).collect();
        assert!(refuse(Roll { members: many, ..roll() }).contains("names 65 members"));
        let zero = [(NodeId(0), Incarnation(1)), (NodeId(2), Incarnation(1))].into();
        assert!(refuse(Roll { members: zero, ..roll() }).contains("ascending"));
    }

    #[test]
    fn only_members_with_their_own_folders_are_let_in() {
        assert_eq!(roll().admit(NodeId(1), Incarnation(0x0a0b)), Ok(()));
        assert!(roll().admit(NodeId(1), Incarnation(0x0a0c)).unwrap_err().contains("may not vote under its old id"));
        let stranger = roll().admit(NodeId(4), Incarnation(7)).unwrap_err();
        assert_eq!(stranger, "node 4 is not a member of this cluster, which are nodes 1, 2, 9");
    }
}
