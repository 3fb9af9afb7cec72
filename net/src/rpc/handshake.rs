//! Who is there: both sides show that they know the cluster's secret, and neither sends it.
//!
//! ```text
//! who connects                        who is connected to
//!   Hello(.., nonce a)          --->
//!                               <---  Challenge(.., nonce b)
//!   Proof = H("connects", ..)   --->                              proven first by who came: a stranger learns nothing
//!                               <---  Accepted = H("accepts", ..)
//! H(role, ..) = HMAC-SHA-256(secret, role, hello's payload, challenge's payload, binding)
//! ```
//!
//! Both nonces are in both proofs, so that a recorded handshake proves nothing in another one; the roles differ, so that a
//! proof cannot be sent back to who made it; the whole payloads are covered, so that nobody in between lowers the version or
//! changes the nodes. `binding` is exported from the TLS session (empty without TLS): a proof is worth nothing on another one.

use bytes::{Bytes, BytesMut};

use super::hello::{Challenge, Hello, Lane, NONCE_BYTES, Proof, Refused, RefusedReason, Versions};
use super::ids::{ClusterId, Incarnation, NodeId};
use super::limits::{Limits, MAX_FRAME_BYTES};
use super::secret::ClusterSecret;

const CONNECTS: &str = "highwater rpc: connects";
const ACCEPTS: &str = "highwater rpc: accepts";

/// Who a node is, the same on all its connections.
#[derive(Clone, Debug)]
pub struct LocalNode {
    /// Its cluster.
    pub cluster: ClusterId,
    /// Itself; not 0.
    pub node: NodeId,
    /// Its life.
    pub incarnation: Incarnation,
    /// How many cores it has.
    pub cores: u16,
    /// Versions that it speaks; [`Versions::OURS`] outside tests.
    pub versions: Versions,
    /// The cluster's secret.
    pub secret: ClusterSecret,
}

/// Whom a connection is to reach, and what for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The node.
    pub node: NodeId,
    /// The own core.
    pub from_core: u16,
    /// The core there.
    pub to_core: u16,
    /// What for.
    pub lane: Lane,
}

/// What both sides know after the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The node at the other end; it has proven that it belongs to the cluster.
    pub peer: NodeId,
    /// Its life.
    pub incarnation: Incarnation,
    /// The core of the side that connected.
    pub from_core: u16,
    /// The core that it wants to reach.
    pub to_core: u16,
    /// What the connection is for.
    pub lane: Lane,
    /// The version agreed on.
    pub version: u8,
    /// Cores of the other end; 0 when it is the one that connected.
    pub peer_cores: u16,
    /// Calls that the callee works on at a time.
    pub calls: u16,
    /// Largest payload that may be sent there.
    pub frame_bytes: u32,
}

/// Why there is no link.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// No version in common.
    #[error("no common version: this node speaks {}..={}, the peer {}..={}; upgrade one version at a time", .ours.lowest, .ours.highest, .theirs.lowest, .theirs.highest)]
    Version {
        /// Spoken here.
        ours: Versions,
        /// Spoken there.
        theirs: Versions,
    },
    /// The peer chose a version that it should not have.
    #[error("the peer chose version {0}, which is not the highest that both speak")]
    ChosenVersion(u8),
    /// Another cluster.
    #[error(
        "the peer belongs to another cluster: it has another secret, other ids in --peers, or is not the node that is meant; compare these on both nodes"
    )]
    WrongCluster,
    /// Another node than was asked for.
    #[error("expected was node {expected}, found was node {found}; check the addresses of --peers")]
    WrongNode {
        /// Who was expected.
        expected: NodeId,
        /// Who it was.
        found: NodeId,
    },
    /// The peer claims this node's own id, or the reserved one.
    #[error(
        "the peer says that it is node {0}, which is this node's own id or reserved; every node needs an id of its own"
    )]
    ClaimedNode(NodeId),
    /// The peer does not know the secret.
    #[error("the peer's proof is wrong: it does not have this cluster's secret")]
    WrongSecret,
    /// The peer said no.
    #[error("the peer refused the connection: {}", .0.text)]
    Refused(Refused),
    /// The server does not admit the peer.
    #[error("the peer is not admitted: {0}")]
    NotAdmitted(String),
}

impl HandshakeError {
    /// What the peer is told.
    #[must_use]
    pub fn refusal(&self) -> Refused {
        let reason = match self {
            Self::Version { .. } | Self::ChosenVersion(_) => RefusedReason::Version,
            Self::WrongCluster => RefusedReason::WrongCluster,
            Self::WrongNode { .. } | Self::ClaimedNode(_) => RefusedReason::WrongNode,
            Self::WrongSecret => RefusedReason::WrongSecret,
            Self::NotAdmitted(_) => RefusedReason::NotAdmitted,
            Self::Refused(refused) => refused.reason,
        };
        let text = if let Self::NotAdmitted(why) = self { why.clone() } else { self.to_string() };
        Refused { reason, text }
    }
}

fn payload(encode: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut out = BytesMut::new();
    encode(&mut out);
    out.freeze()
}

/// The side that connects, after its hello.
#[derive(Debug)]
pub struct Initiator {
    local: LocalNode,
    target: Target,
    hello: Bytes,
    binding: Bytes,
}

impl Initiator {
    /// Begins. The hello's payload is to be sent as given.
    #[must_use]
    pub fn new(
        local: LocalNode,
        target: Target,
        limits: &Limits,
        nonce: [u8; NONCE_BYTES],
        binding: Bytes,
    ) -> (Self, Bytes) {
        let hello = Hello {
            versions: local.versions,
            lane: target.lane,
            cluster: local.cluster,
            node: local.node,
            incarnation: local.incarnation,
            to_node: target.node,
            from_core: target.from_core,
            to_core: target.to_core,
            frame_bytes: limits.frame_bytes.min(MAX_FRAME_BYTES),
            nonce,
        };
        let hello = payload(|out| hello.encode(out));
        (Self { local, target, hello: hello.clone(), binding }, hello)
    }

    /// Answers the challenge, whose payload is given beside it as it came.
    ///
    /// # Errors
    /// [`HandshakeError`].
    pub fn challenged(self, challenge: &Challenge, bytes: Bytes) -> Result<(Proven, Proof), HandshakeError> {
        let (ours, theirs) = (self.local.versions, challenge.versions);
        let common = ours.common(theirs).ok_or(HandshakeError::Version { ours, theirs })?;
        if challenge.version != common {
            return Err(HandshakeError::ChosenVersion(challenge.version));
        }
        let joins = self.target.lane == Lane::Join;
        if challenge.cluster != self.local.cluster && !joins {
            return Err(HandshakeError::WrongCluster);
        }
        if challenge.node != self.target.node && !joins {
            return Err(HandshakeError::WrongNode { expected: self.target.node, found: challenge.node });
        }
        let link = Link {
            peer: challenge.node,
            incarnation: challenge.incarnation,
            from_core: self.target.from_core,
            to_core: self.target.to_core,
            lane: self.target.lane,
            version: common,
            peer_cores: challenge.cores,
            calls: challenge.calls,
            frame_bytes: challenge.frame_bytes.min(MAX_FRAME_BYTES),
        };
        let proof = Proof(self.local.secret.prove(CONNECTS, &[&self.hello, &bytes, &self.binding]));
        Ok((
            Proven { secret: self.local.secret, hello: self.hello, challenge: bytes, binding: self.binding, link },
            proof,
        ))
    }
}

/// The side that connects, after its proof.
#[derive(Debug)]
pub struct Proven {
    secret: ClusterSecret,
    hello: Bytes,
    challenge: Bytes,
    binding: Bytes,
    link: Link,
}

impl Proven {
    /// Checks the other side's proof.
    ///
    /// # Errors
    /// [`HandshakeError::WrongSecret`].
    pub fn accepted(self, proof: &Proof) -> Result<Link, HandshakeError> {
        let parts: [&[u8]; 3] = [&self.hello, &self.challenge, &self.binding];
        if self.secret.verify(ACCEPTS, &parts, &proof.0) { Ok(self.link) } else { Err(HandshakeError::WrongSecret) }
    }
}

/// The side that is connected to, after its challenge.
#[derive(Debug)]
pub struct Acceptor {
    secret: ClusterSecret,
    hello: Bytes,
    challenge: Bytes,
    binding: Bytes,
    link: Link,
}

impl Acceptor {
    /// Looks at a hello, whose payload is given beside it as it came, and gives the challenge's payload.
    ///
    /// # Errors
    /// [`HandshakeError`].
    pub fn greeted(
        local: &LocalNode,
        limits: &Limits,
        hello: &Hello,
        bytes: Bytes,
        nonce: [u8; NONCE_BYTES],
        binding: Bytes,
    ) -> Result<(Self, Bytes), HandshakeError> {
        let (ours, theirs) = (local.versions, hello.versions);
        let joins = hello.lane == Lane::Join;
        if hello.cluster != local.cluster && !joins {
            return Err(HandshakeError::WrongCluster);
        }
        let version = ours.common(theirs).ok_or(HandshakeError::Version { ours, theirs })?;
        if hello.to_node != local.node && !joins {
            return Err(HandshakeError::WrongNode { expected: hello.to_node, found: local.node });
        }
        // Nobody else has this node's id, and it does not connect to itself.
        if hello.node == local.node || hello.node == NodeId(0) {
            return Err(HandshakeError::ClaimedNode(hello.node));
        }
        let challenge = Challenge {
            versions: ours,
            version,
            cluster: local.cluster,
            node: local.node,
            incarnation: local.incarnation,
            cores: local.cores,
            calls: limits.calls,
            frame_bytes: limits.frame_bytes.min(MAX_FRAME_BYTES),
            nonce,
        };
        let link = Link {
            peer: hello.node,
            incarnation: hello.incarnation,
            from_core: hello.from_core,
            to_core: hello.to_core,
            lane: hello.lane,
            version,
            peer_cores: 0,
            calls: limits.calls,
            frame_bytes: hello.frame_bytes.min(MAX_FRAME_BYTES),
        };
        let challenge = payload(|out| challenge.encode(out));
        let secret = local.secret.clone();
        Ok((Self { secret, hello: bytes, challenge: challenge.clone(), binding, link }, challenge))
    }

    /// Checks the proof of who came, and gives this side's.
    ///
    /// # Errors
    /// [`HandshakeError::WrongSecret`].
    pub fn proven(self, proof: &Proof) -> Result<(Link, Proof), HandshakeError> {
        let parts: [&[u8]; 3] = [&self.hello, &self.challenge, &self.binding];
        if !self.secret.verify(CONNECTS, &parts, &proof.0) {
            return Err(HandshakeError::WrongSecret);
        }
        Ok((self.link, Proof(self.secret.prove(ACCEPTS, &parts))))
    }
}
