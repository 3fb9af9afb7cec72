//! What a group's snapshot is: which entry it ends with, who the members were, and which files hold it.
//!
//! It travels as part 0 of the snapshot, in one chunk; part n is the n-th file.
//!
//! ```text
//!  0 "HWSN" | 4 version u16 = 1 | 6 reserved u16, 0 | 8 length of the body u32 | 12 CRC-32 of body and the 12 bytes before u32
//! 16 body  = group u32 | index u64 | its term u64 | term of the leader that cut it u64 | hash chain at the index u128
//!          | length u32 | membership at the index, as raft encodes it | number of files u32 | files x file
//!    file  = length u8 | name | bytes u64 | CRC-32 of the whole file u32
//! ```
//!
//! Little-endian. Names are those of prepared tables (`000000000001.tbl`), then `EXPORT`, and nothing else: what comes from another
//! node never names a path. Files are whole blocks of 4096 bytes.

use std::collections::BTreeSet;

use highwater_net::rpc;
use highwater_raft as raft;
use highwater_runtime::BLOCK;

const MAGIC: [u8; 4] = *b"HWSN";
const VERSION: u16 = 1;
const HEADER: usize = 16;
/// The largest descriptor, in bytes: it goes in one chunk.
pub(crate) const MAX_BYTES: usize = 4 << 20;
/// Files of a snapshot.
pub(crate) const MAX_FILES: u32 = 65_536;
/// Bytes of one file.
pub(crate) const MAX_FILE_BYTES: u64 = 64 << 30;
/// The file that says what the others are; always the last.
const EXPORT: &str = "EXPORT";
/// Length of a table's name.
const TABLE_NAME: usize = "000000000001.tbl".len();

/// One file of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DescribedFile {
    /// Its name, without a folder.
    pub(crate) name: String,
    /// Its length, a multiple of 4096.
    pub(crate) bytes: u64,
    /// CRC-32 of all of it.
    pub(crate) checksum: u32,
}

/// A snapshot, without its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Described {
    /// The group.
    pub(crate) group: u32,
    /// The last entry that it covers.
    pub(crate) index: raft::LogIndex,
    /// That entry's term.
    pub(crate) term: raft::Term,
    /// The term in which the leader cut it.
    pub(crate) leader_term: raft::Term,
    /// The state's hash chain there.
    pub(crate) chain: u128,
    /// Who belonged to the group there.
    pub(crate) membership: raft::Membership,
    /// The tables in key order, then what describes them.
    pub(crate) files: Vec<DescribedFile>,
}

/// Bytes that are no descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no descriptor of a group's snapshot: {0}")]
pub(crate) struct Malformed(pub(crate) &'static str);

impl Described {
    /// What the leader's announcement says of it.
    pub(crate) fn meta(&self) -> raft::SnapshotMeta {
        raft::SnapshotMeta { index: self.index, term: self.term, membership: self.membership.clone() }
    }

    /// The announcement that the receiving replica steps once it holds everything.
    pub(crate) fn announcement(&self, from: raft::NodeId, to: raft::NodeId) -> raft::Message {
        let kind = raft::MessageKind::Snapshot(self.meta());
        raft::Message { group: raft::GroupId(self.group), from, to, term: self.leader_term, kind }
    }

    /// The file that part `part` of the snapshot is; `None` for part 0, the descriptor, and beyond the last.
    pub(crate) fn file(&self, part: u32) -> Option<&DescribedFile> {
        self.files.get(usize::try_from(part).ok()?.checked_sub(1)?)
    }

    /// Number of parts: the files, and this.
    pub(crate) fn parts(&self) -> u32 {
        u32::try_from(self.files.len()).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// Bytes of all files.
    pub(crate) fn bytes(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.bytes))
    }

    /// Whether a chunk is of this snapshot.
    pub(crate) fn is_of(&self, chunk: &rpc::SnapshotChunk) -> bool {
        (chunk.group.0, chunk.index.0, chunk.term.0, chunk.parts)
            == (self.group, self.index.0, self.term.0, self.parts())
    }

    /// Its bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        body.extend_from_slice(&self.group.to_le_bytes());
        for number in [self.index.0, self.term.0, self.leader_term.0] {
            body.extend_from_slice(&number.to_le_bytes());
        }
        body.extend_from_slice(&self.chain.to_le_bytes());
        let membership = self.membership.encode();
        body.extend_from_slice(&length(membership.len()));
        body.extend_from_slice(&membership);
        body.extend_from_slice(&length(self.files.len()));
        for file in &self.files {
            body.push(u8::try_from(file.name.len()).unwrap_or(u8::MAX));
            body.extend_from_slice(file.name.as_bytes());
            body.extend_from_slice(&file.bytes.to_le_bytes());
            body.extend_from_slice(&file.checksum.to_le_bytes());
        }
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&length(body.len()));
        let checksum = checksum(&out, &body);
        out.extend_from_slice(&checksum.to_le_bytes());
        out.extend_from_slice(&body);
        out
    }

    /// Reads its bytes.
    ///
    /// # Errors
    /// On all others, also when what they say is no snapshot: nobody belongs to the group, a file has no possible name or length.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > MAX_BYTES {
            return Err(Malformed("it is too long"));
        }
        let (head, body) = bytes.split_at_checked(HEADER).ok_or(Malformed("it is too short"))?;
        let (said, claimed) = head.split_at_checked(HEADER - 4).ok_or(Malformed("it is too short"))?;
        if !said.starts_with(&MAGIC) {
            return Err(Malformed("it does not begin as one"));
        }
        if said.get(4..6) != Some(&VERSION.to_le_bytes()) {
            return Err(Malformed("its format version is not known to this release"));
        }
        if said.get(6..8) != Some(&[0, 0]) || said.get(8..12) != Some(&length(body.len())) {
            return Err(Malformed("its length is another than it says"));
        }
        if claimed != checksum(said, body).to_le_bytes() {
            return Err(Malformed("it does not match its checksum"));
        }
        let mut fields = Fields(body);
        let group = fields.u32()?;
        let index = raft::LogIndex(fields.u64()?);
        let (term, leader_term) = (raft::Term(fields.u64()?), raft::Term(fields.u64()?));
        if index.0 == 0 || term.0 == 0 || term > leader_term {
            return Err(Malformed("it ends with no possible entry"));
        }
        let chain = u128::from_le_bytes(fields.array()?);
        let membership = fields.u32()?;
        let membership = raft::Membership::decode(fields.take(membership)?)
            .filter(|membership| !membership.is_empty())
            .ok_or(Malformed("it names no members"))?;
        let files = fields.files()?;
        if !fields.0.is_empty() {
            return Err(Malformed("bytes follow its last file"));
        }
        Ok(Self { group, index, term, leader_term, chain, membership, files })
    }
}

fn length(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes()
}

fn checksum(head: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(body);
    hasher.update(head);
    hasher.finalize()
}

/// What is left to read.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, bytes: u32) -> Result<&'a [u8], Malformed> {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or(Malformed("it ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Malformed("it ends too early"))?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    fn files(&mut self) -> Result<Vec<DescribedFile>, Malformed> {
        let count = self.u32()?;
        if count == 0 || count > MAX_FILES {
            return Err(Malformed("it has no possible number of files"));
        }
        let (mut files, mut names) = (Vec::new(), BTreeSet::new());
        for left in (0..count).rev() {
            let [length] = self.array()?;
            let name = self.take(u32::from(length))?;
            if (name == EXPORT.as_bytes()) != (left == 0) || !(left == 0 || is_table(name)) {
                return Err(Malformed("a file has another name than those of prepared tables"));
            }
            if !names.insert(name) {
                return Err(Malformed("two files have one name"));
            }
            let (bytes, checksum) = (self.u64()?, self.u32()?);
            if bytes == 0 || bytes > MAX_FILE_BYTES || !bytes.is_multiple_of(BLOCK as u64) {
                return Err(Malformed("a file has no possible length"));
            }
            files.push(DescribedFile { name: String::from_utf8_lossy(name).into_owned(), bytes, checksum });
        }
        Ok(files)
    }
}

fn is_table(name: &[u8]) -> bool {
    let Some(number) = name.strip_suffix(b".tbl") else { return false };
    name.len() == TABLE_NAME && number.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use quickcheck::{Arbitrary, Gen};

    use super::*;

    fn file(name: &str, blocks: u64, checksum: u32) -> DescribedFile {
        DescribedFile { name: name.into(), bytes: blocks * 4096, checksum }
    }

    pub(crate) fn described(files: Vec<DescribedFile>) -> Described {
        Described {
            group: 3,
            index: raft::LogIndex(9),
            term: raft::Term(2),
            leader_term: raft::Term(5),
            chain: 6,
            membership: raft::Membership::new(&[raft::NodeId(1), raft::NodeId(2)], &[]),
            files,
        }
    }

    impl Arbitrary for Described {
        fn arbitrary(g: &mut Gen) -> Self {
            let mut files = Vec::new();
            for number in 0..u64::arbitrary(g) % 5 {
                let blocks = u64::from(u16::arbitrary(g)) + 1;
                files.push(file(&format!("{:012}.tbl", number + 1), blocks, u32::arbitrary(g)));
            }
            files.push(file("EXPORT", 1, u32::arbitrary(g)));
            let term = u64::from(u32::arbitrary(g)) + 1;
            let voters: Vec<raft::NodeId> = (1..=u64::arbitrary(g) % 5 + 1).map(raft::NodeId).collect();
            Self {
                group: u32::arbitrary(g),
                index: raft::LogIndex(u64::arbitrary(g).max(1)),
                term: raft::Term(term),
                leader_term: raft::Term(term + u64::from(u8::arbitrary(g))),
                chain: u128::arbitrary(g),
                membership: raft::Membership::new(&voters, &[raft::NodeId(99)]),
                files,
            }
        }
    }

    #[test]
    fn a_descriptor_has_fixed_bytes() {
        let bytes = described(vec![file("000000000001.tbl", 2, 0x0102_0304), file("EXPORT", 1, 7)]).encode();
        let mut body = b"\x03\0\0\0\x09\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\x06".to_vec();
        body.extend_from_slice(&[0; 15]);
        body.extend_from_slice(b"\x1a\0\0\0\x01\0\x02\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x02\0\0\0");
        body.extend_from_slice(b"\x10000000000001.tbl\0\x20\0\0\0\0\0\0\x04\x03\x02\x01");
        body.extend_from_slice(b"\x06EXPORT\0\x10\0\0\0\0\0\0\x07\0\0\0");
        assert_eq!(&bytes[..8], b"HWSN\x01\0\0\0");
        assert_eq!(bytes[8..12], u32::try_from(body.len()).unwrap().to_le_bytes());
        assert_eq!(bytes[16..], body);
    }

    #[test]
    fn every_descriptor_comes_back_and_none_with_a_changed_byte_does() {
        fn property(described: Described, at: usize, change: u8) -> bool {
            let mut bytes = described.encode();
            let back = Described::decode(&bytes) == Ok(described);
            let at = at % bytes.len();
            let cut = Described::decode(&bytes[..at]).is_err();
            bytes[at] ^= change.max(1);
            back && cut && Described::decode(&bytes).is_err()
        }
        quickcheck::quickcheck(property as fn(Described, usize, u8) -> bool);
    }

    #[test]
    fn no_bytes_make_the_decoder_panic() {
        fn property(bytes: Vec<u8>) -> bool {
            let _ = Described::decode(&bytes);
            let mut sealed = MAGIC.to_vec();
            sealed.extend_from_slice(&VERSION.to_le_bytes());
            sealed.extend_from_slice(&[0, 0]);
            sealed.extend_from_slice(&length(bytes.len()));
            let claimed = checksum(&sealed, &bytes);
            sealed.extend_from_slice(&claimed.to_le_bytes());
            sealed.extend_from_slice(&bytes);
            let _ = Described::decode(&sealed);
            true
        }
        quickcheck::quickcheck(property as fn(Vec<u8>) -> bool);
    }

    #[test]
    fn names_that_are_not_of_prepared_tables_are_refused() {
        let refused = |names: &[&str]| {
            let files = names.iter().map(|name| file(name, 1, 0)).collect();
            Described::decode(&described(files).encode()).is_err()
        };
        assert!(!refused(&["000000000001.tbl", "EXPORT"]));
        assert!(!refused(&["EXPORT"]), "a group without any key");
        for name in ["../0000000001.tbl", "a", "", "MANIFEST-000001", "EXPORT", "0000000000001.tbl", "00000000000a.tbl"]
        {
            assert!(refused(&[name, "EXPORT"]), "{name}");
        }
        assert!(refused(&["000000000001.tbl"]), "without what describes them");
        assert!(refused(&["000000000001.tbl", "000000000001.tbl", "EXPORT"]), "one name twice");
    }

    #[test]
    fn lengths_and_ends_that_cannot_be_are_refused() {
        let refused = |described: &Described| Described::decode(&described.encode()).is_err();
        let good = described(vec![file("EXPORT", 1, 0)]);
        assert!(!refused(&good));
        for bytes in [0, 1, 4097, MAX_FILE_BYTES + 4096] {
            let files = vec![DescribedFile { name: "EXPORT".into(), bytes, checksum: 0 }];
            assert!(refused(&Described { files, ..good.clone() }), "{bytes}");
        }
        assert!(refused(&Described { index: raft::LogIndex(0), ..good.clone() }));
        assert!(refused(&Described { term: raft::Term(0), ..good.clone() }));
        assert!(refused(&Described { term: raft::Term(6), ..good.clone() }), "of a term after the leader's");
        assert!(refused(&Described { membership: raft::Membership::default(), ..good }), "a group of nobody");
    }
}
