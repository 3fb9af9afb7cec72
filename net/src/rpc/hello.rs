//! The frames of the handshake. Their layout never changes: nodes that do not yet know each other's version must read them.
//! Later versions may append fields; a reader ignores what it does not know, and the proofs cover it all the same.
//!
//! ```text
//! hello      0..4 "HWRP", 4 lowest version, 5 highest version, 6 lane, 7 zero, 8..24 cluster, 24..32 own node, 32..40 own
//!            incarnation, 40..48 addressed node, 48..50 own core, 50..52 addressed core, 52..56 largest frame accepted,
//!            56..88 nonce
//! challenge  0..4 "HWRP", 4 lowest version, 5 highest version, 6 version chosen, 7 zero, 8..24 cluster, 24..32 own node,
//!            32..40 own incarnation, 40..42 own number of cores, 42..44 calls at a time, 44..48 largest frame accepted,
//!            48..80 nonce
//! proof      0..32 HMAC-SHA-256
//! refused    0..2 reason, 2..4 length of the text, text (UTF-8)
//! ```

use bytes::{BufMut as _, Bytes, BytesMut};

use super::fields::{Fields, Malformed};
use super::ids::{ClusterId, Incarnation, NodeId};
use super::limits::MAX_REFUSAL_TEXT;
use super::secret::PROOF_BYTES;

const MAGIC: [u8; 4] = *b"HWRP";

/// Bytes of a nonce.
pub const NONCE_BYTES: usize = 32;

/// Versions of the protocol that a node speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// The lowest.
    pub lowest: u8,
    /// The highest.
    pub highest: u8,
}

impl Versions {
    /// This program's: its own version and the one before it, of which there is none yet.
    pub const OURS: Self = Self { lowest: 1, highest: 1 };

    /// The highest version that both speak.
    #[must_use]
    pub const fn common(self, other: Self) -> Option<u8> {
        let highest = if self.highest < other.highest { self.highest } else { other.highest };
        let lowest = if self.lowest > other.lowest { self.lowest } else { other.lowest };
        if lowest <= highest && lowest > 0 { Some(highest) } else { None }
    }
}

/// What a connection is for. Lanes are connections of their own, so that bulk never stands before a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Lane {
    /// Messages of groups, pings, calls.
    Messages = 0,
    /// Chunks of snapshots, and calls that move much.
    Bulk = 1,
    /// Calls of a node that is no member yet: it knows the secret and an address, neither the cluster nor who is there. Both are told to
    /// it, and its hello may name any cluster and any node.
    Join = 2,
}

/// First word of the side that connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Versions that it speaks.
    pub versions: Versions,
    /// What the connection is for.
    pub lane: Lane,
    /// Its cluster.
    pub cluster: ClusterId,
    /// Itself.
    pub node: NodeId,
    /// Its life.
    pub incarnation: Incarnation,
    /// Whom it wants to reach.
    pub to_node: NodeId,
    /// The core that it speaks from.
    pub from_core: u16,
    /// The core that it speaks to.
    pub to_core: u16,
    /// Largest payload that it accepts.
    pub frame_bytes: u32,
    /// Never used twice.
    pub nonce: [u8; NONCE_BYTES],
}

impl Hello {
    /// Appends it.
    pub fn encode(&self, out: &mut BytesMut) {
        out.put_slice(&MAGIC);
        out.put_u8(self.versions.lowest);
        out.put_u8(self.versions.highest);
        out.put_u8(self.lane as u8);
        out.put_u8(0);
        out.put_u128_le(self.cluster.0);
        out.put_u64_le(self.node.0);
        out.put_u64_le(self.incarnation.0);
        out.put_u64_le(self.to_node.0);
        out.put_u16_le(self.from_core);
        out.put_u16_le(self.to_core);
        out.put_u32_le(self.frame_bytes);
        out.put_slice(&self.nonce);
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn decode(payload: &Bytes) -> Result<Self, Malformed> {
        let mut fields = Fields::of(payload);
        let versions = opening(&mut fields)?;
        let lane = match fields.u8("the lane")? {
            0 => Lane::Messages,
            1 => Lane::Bulk,
            2 => Lane::Join,
            _ => return Err(Malformed::Value("lane")),
        };
        let _ = fields.u8("the hello")?;
        Ok(Self {
            versions,
            lane,
            cluster: ClusterId(fields.u128("the cluster")?),
            node: NodeId(fields.u64("the node")?),
            incarnation: Incarnation(fields.u64("the incarnation")?),
            to_node: NodeId(fields.u64("the addressed node")?),
            from_core: fields.u16("the core")?,
            to_core: fields.u16("the addressed core")?,
            frame_bytes: fields.u32("the largest frame")?,
            nonce: fields.array("the nonce")?,
        })
    }
}

fn opening(fields: &mut Fields) -> Result<Versions, Malformed> {
    if fields.array::<4>("the opening")? != MAGIC {
        return Err(Malformed::Value("opening"));
    }
    Ok(Versions { lowest: fields.u8("the lowest version")?, highest: fields.u8("the highest version")? })
}

/// Answer to a [`Hello`]: prove yourself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// Versions that the answering node speaks.
    pub versions: Versions,
    /// The one that the connection will have.
    pub version: u8,
    /// Its cluster.
    pub cluster: ClusterId,
    /// Itself.
    pub node: NodeId,
    /// Its life.
    pub incarnation: Incarnation,
    /// How many cores it has.
    pub cores: u16,
    /// Calls that it works on at a time for this connection.
    pub calls: u16,
    /// Largest payload that it accepts.
    pub frame_bytes: u32,
    /// Never used twice.
    pub nonce: [u8; NONCE_BYTES],
}

impl Challenge {
    /// Appends it.
    pub fn encode(&self, out: &mut BytesMut) {
        out.put_slice(&MAGIC);
        out.put_u8(self.versions.lowest);
        out.put_u8(self.versions.highest);
        out.put_u8(self.version);
        out.put_u8(0);
        out.put_u128_le(self.cluster.0);
        out.put_u64_le(self.node.0);
        out.put_u64_le(self.incarnation.0);
        out.put_u16_le(self.cores);
        out.put_u16_le(self.calls);
        out.put_u32_le(self.frame_bytes);
        out.put_slice(&self.nonce);
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn decode(payload: &Bytes) -> Result<Self, Malformed> {
        let mut fields = Fields::of(payload);
        let versions = opening(&mut fields)?;
        let version = fields.u8("the version")?;
        let _ = fields.u8("the challenge")?;
        Ok(Self {
            versions,
            version,
            cluster: ClusterId(fields.u128("the cluster")?),
            node: NodeId(fields.u64("the node")?),
            incarnation: Incarnation(fields.u64("the incarnation")?),
            cores: fields.u16("the number of cores")?,
            calls: fields.u16("the calls at a time")?,
            frame_bytes: fields.u32("the largest frame")?,
            nonce: fields.array("the nonce")?,
        })
    }
}

/// That the sender knows the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof(pub [u8; PROOF_BYTES]);

impl Proof {
    /// Appends it.
    pub fn encode(&self, out: &mut BytesMut) {
        out.put_slice(&self.0);
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn decode(payload: &Bytes) -> Result<Self, Malformed> {
        Fields::of(payload).array("the proof").map(Self)
    }
}

/// Why a node does not take a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum RefusedReason {
    /// The two speak no common version.
    Version = 1,
    /// It belongs to another cluster.
    WrongCluster = 2,
    /// It is not the node that was addressed, or the peer claims its id.
    WrongNode = 3,
    /// The proof is wrong.
    WrongSecret = 4,
    /// The server does not admit this node (removed, an old life).
    NotAdmitted = 5,
    /// What came is no handshake.
    Malformed = 6,
    /// A reason of a later version.
    Other = 7,
}

/// The last word of a side that refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub reason: RefusedReason,
    /// In words; says nothing that a stranger may not know.
    pub text: String,
}

impl Refused {
    /// Appends it.
    pub fn encode(&self, out: &mut BytesMut) {
        let text = if self.text.len() > MAX_REFUSAL_TEXT { "" } else { &self.text };
        out.put_u16_le(self.reason as u16);
        out.put_u16_le(u16::try_from(text.len()).unwrap_or(0));
        out.put_slice(text.as_bytes());
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn decode(payload: &Bytes) -> Result<Self, Malformed> {
        let mut fields = Fields::of(payload);
        let reason = match fields.u16("the reason")? {
            1 => RefusedReason::Version,
            2 => RefusedReason::WrongCluster,
            3 => RefusedReason::WrongNode,
            4 => RefusedReason::WrongSecret,
            5 => RefusedReason::NotAdmitted,
            6 => RefusedReason::Malformed,
            _ => RefusedReason::Other,
        };
        let length = usize::from(fields.u16("the text")?);
        let text = fields.bytes(length, "the text")?;
        Ok(Self { reason, text: String::from_utf8_lossy(&text).into_owned() })
    }
}
