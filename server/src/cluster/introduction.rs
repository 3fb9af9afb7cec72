//! What two nodes tell one another on every new connection: the numbers that must be equal, and what each shows of the other.
//!
//! A call of kind [`INTRODUCTION`]; request and answer look alike:
//! ```text
//! 0     1   format version, 1
//! 1     4   u32 LE user shards          equal on all nodes, else refusal OTHER_LAYOUT
//! 5     4   u32 LE shared shards        likewise
//! 9     4   u32 LE stores
//! 13    2   u16 LE cores
//! 15    8   u64 LE microseconds since the node was started
//! 23        texts, each u16 LE length (at most 255), UTF-8: API address, machine's name, release, and where the other nodes reach
//!           this one (HOST:PORT; missing in releases that did not say it)
//! ```
//! Bytes behind the last text are of a later version and not looked at.

use bytes::Bytes;
use highwater_net::rpc::{CallKind, RefusalCode};
use highwater_raft::NodeId;
use highwater_state::placement::Layout;

/// The kind of this call. Kinds below 16 are the cluster's own.
pub(crate) const INTRODUCTION: CallKind = CallKind(1);
/// Refusal: the caller has other numbers of groups.
pub(crate) const OTHER_LAYOUT: RefusalCode = RefusalCode(RefusalCode::FIRST_OF_SERVER);
/// Refusal: this node is starting or stopping and has not begun the call.
pub(crate) const NOT_READY: RefusalCode = RefusalCode(RefusalCode::FIRST_OF_SERVER + 1);

const VERSION: u8 = 1;
const MAX_TEXT: usize = 255;

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Introduction {
    /// Its groups and stores.
    pub(crate) layout: Layout,
    /// Its cores.
    pub(crate) cores: u16,
    /// Microseconds since it was started.
    pub(crate) uptime_micros: u64,
    /// Where clients reach it.
    pub(crate) api_addr: String,
    /// Its machine.
    pub(crate) hostname: String,
    /// Its release.
    pub(crate) release: String,
    /// Where the other nodes reach it, as it says itself: HOST:PORT. Empty when it does not say.
    pub(crate) rpc_addr: String,
}

impl Introduction {
    pub(crate) fn encode(&self) -> Bytes {
        let mut bytes = vec![VERSION];
        for number in [self.layout.user_shards, self.layout.shared_shards, self.layout.stores] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&self.cores.to_le_bytes());
        bytes.extend_from_slice(&self.uptime_micros.to_le_bytes());
        // Half an address is none.
        let rpc_addr = if self.rpc_addr.len() > MAX_TEXT { "" } else { &self.rpc_addr };
        for text in [&self.api_addr, &self.hostname, &self.release, rpc_addr] {
            let text = cut(text);
            bytes.extend_from_slice(&u16::try_from(text.len()).unwrap_or(0).to_le_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes.into()
    }

    /// `None` for bytes that are none.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (version, rest) = bytes.split_first()?;
        if *version != VERSION {
            return None;
        }
        let (user_shards, rest) = rest.split_first_chunk()?;
        let (shared_shards, rest) = rest.split_first_chunk()?;
        let (stores, rest) = rest.split_first_chunk()?;
        let (cores, rest) = rest.split_first_chunk()?;
        let (uptime, rest) = rest.split_first_chunk()?;
        let (api_addr, rest) = text(rest)?;
        let (hostname, rest) = text(rest)?;
        let (release, rest) = text(rest)?;
        let rpc_addr = if rest.is_empty() { String::new() } else { text(rest)?.0 };
        let layout = Layout {
            user_shards: u32::from_le_bytes(*user_shards),
            shared_shards: u32::from_le_bytes(*shared_shards),
            stores: u32::from_le_bytes(*stores),
        };
        let (cores, uptime_micros) = (u16::from_le_bytes(*cores), u64::from_le_bytes(*uptime));
        Some(Self { layout, cores, uptime_micros, api_addr, hostname, release, rpc_addr })
    }

    /// Whether a node with `other` can be in one cluster with this one, and what both are told if not.
    pub(crate) fn agrees(&self, me: NodeId, node: NodeId, other: &Self) -> Result<(), String> {
        let (ours, theirs) = (self.layout, other.layout);
        if (ours.user_shards, ours.shared_shards) == (theirs.user_shards, theirs.shared_shards) {
            return Ok(());
        }
        Err(format!(
            "node {me} has {} user shards and {} shared shards, node {node} has {} and {}; user_shards and shared_shards are the same on all nodes of a cluster and fixed when a data folder is made: begin again with an empty folder on the node that is wrong",
            ours.user_shards, ours.shared_shards, theirs.user_shards, theirs.shared_shards
        ))
    }

    /// The core there that hosts a group.
    pub(crate) fn core_of(&self, group: u32) -> u16 {
        u16::try_from(self.layout.store_of(group) % u32::from(self.cores.max(1))).unwrap_or(0)
    }
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    text.get(..end).unwrap_or_default()
}

fn text(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (text, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    if text.len() > MAX_TEXT {
        return None;
    }
    Some((std::str::from_utf8(text).ok()?.to_owned(), rest))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use quickcheck::quickcheck;

    fn introduction() -> Introduction {
        Introduction {
            layout: Layout { user_shards: 16, shared_shards: 8, stores: 2 },
            cores: 2,
            uptime_micros: 1_000_000,
            api_addr: "a:1".into(),
            hostname: "h".into(),
            release: "0.1".into(),
            rpc_addr: "b:2".into(),
        }
    }

    quickcheck! {
        fn what_is_said_arrives(numbers: (u32, u32, u32, u16, u64), texts: (String, String, String, String)) -> bool {
            let (user_shards, shared_shards, stores, cores, uptime_micros) = numbers;
            let said = Introduction {
                layout: Layout { user_shards, shared_shards, stores },
                cores,
                uptime_micros,
                api_addr: cut(&texts.0).to_owned(),
                hostname: cut(&texts.1).to_owned(),
                release: cut(&texts.2).to_owned(),
                rpc_addr: cut(&texts.3).to_owned(),
            };
            let bytes = said.encode();
            let longer = [&bytes[..], &[7]].concat();
            Introduction::decode(&bytes).as_ref() == Some(&said) && Introduction::decode(&longer) == Some(said)
        }

        fn any_bytes_are_survived(bytes: Vec<u8>) -> bool {
            let _ = (Introduction::decode(&bytes), Introduction::decode(&[&[VERSION], &bytes[..]].concat()));
            true
        }
    }

    #[test]
    fn the_bytes_are_these_and_none_may_be_missing_but_the_address_that_older_releases_do_not_say() {
        let bytes = introduction().encode();
        let wanted =
            b"\x01\x10\0\0\0\x08\0\0\0\x02\0\0\0\x02\0\x40\x42\x0f\0\0\0\0\0\x03\0a:1\x01\0h\x03\x000.1\x03\0b:2";
        assert_eq!(&bytes[..], &wanted[..]);
        let older = bytes.len() - 5;
        assert!((0..bytes.len()).all(|end| end == older || Introduction::decode(&bytes[..end]).is_none()));
        let said = Introduction::decode(&bytes[..older]).unwrap();
        assert_eq!(said, Introduction { rpc_addr: String::new(), ..introduction() });
        let long = Introduction { rpc_addr: format!("{}:1", "h".repeat(255)), ..introduction() };
        assert_eq!(Introduction::decode(&long.encode()).unwrap().rpc_addr, "", "half an address is none");
    }

    #[test]
    fn numbers_of_groups_must_be_equal_and_numbers_of_stores_need_not() {
        let ours = introduction();
        let mut theirs = introduction();
        theirs.layout.stores = 5;
        assert_eq!(ours.agrees(NodeId(1), NodeId(2), &theirs), Ok(()));
        theirs.layout.user_shards = 4;
        let said = ours.agrees(NodeId(1), NodeId(2), &theirs).unwrap_err();
        assert!(said.starts_with("node 1 has 16 user shards and 8 shared shards, node 2 has 4 and 8; "), "{said}");
    }
}
