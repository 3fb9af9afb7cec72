//! What travels when a command is proposed on another node: the proposal, and its answer.
//!
//! ```text
//!             0       1       2          4        8                16            24          32
//!             +-------+-------+----------+--------+----------------+-------------+-----------+----------------+
//! proposal := |version|flags  | 0 (u16)  |group   |catalog version |origin node  |trace      |command's parcel|    little-endian
//!             |u8 (1) |u8     |          |u32     |u64, 0: none    |u64          |u64        |                |
//!             +-------+-------+----------+--------+----------------+-------------+-----------+----------------+
//! flags     := bit 0: a client's, which may be refused for overload; the others are 0
//!
//! answer    := version u8 (1) | 1 | index u64 | outcome's parcel     applied at that index of the group's log
//!            | version u8 (1) | 2 | postcard(diagnostic)             not taken; or, by its SQLSTATE, of unknown outcome
//!            | version u8 (1) | 3 | leader u64, 0: unknown           nothing was proposed: another node leads
//! ```
//!
//! Who asks, its rights, the statement's hash and the request id are in the command; how long the caller still waits is in the
//! call that carries the proposal, as a duration. Decoding never panics, and refuses unknown versions, flags and kinds and bytes
//! that are left over.

use bytes::{BufMut as _, Bytes};
use highwater_raft::NodeId;
use highwater_sql::catalog::CatalogVersion;
use highwater_sql::diag::Diag;
use highwater_state::StateError;
use highwater_state::command::Command;
use highwater_state::outcome::Outcome;

use super::super::mesh::Admission;
use super::TraceId;

/// The version that is written; the only one that is read.
const VERSION: u8 = 1;
/// Bytes of a proposal before its command.
const HEAD_BYTES: usize = 32;
/// The proposal is a client's.
const CLIENT: u8 = 1;

const APPLIED: u8 = 1;
const REFUSED: u8 = 2;
const NOT_LEADER: u8 = 3;

/// Why bytes are no proposal or no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Written by a node of another release.
    #[error("it has version {0}, this node reads version {VERSION}")]
    Version(u8),
    /// Too short, too long, or with a value that has no meaning.
    #[error("its {0} makes no sense")]
    Field(&'static str),
    /// The command or outcome in it.
    #[error(transparent)]
    Parcel(#[from] StateError),
}

/// What a proposal says beside its command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProposalHead {
    /// The group.
    pub(crate) group: u32,
    /// The catalog that the command was planned with.
    pub(crate) catalog: Option<CatalogVersion>,
    /// Whether it may be refused for overload.
    pub(crate) admission: Admission,
    /// The node that asks.
    pub(crate) origin: NodeId,
    /// The request that it belongs to.
    pub(crate) trace: TraceId,
}

/// A proposal of another node.
#[derive(Clone, Debug, PartialEq)]
pub struct ForwardedProposal {
    /// All but the command.
    pub(crate) head: ProposalHead,
    /// What to propose.
    pub(crate) command: Command,
}

impl ProposalHead {
    /// The payload of a proposal of `command`.
    pub(crate) fn encode(&self, command: &Command) -> Bytes {
        let mut out = Vec::with_capacity(256);
        out.put_u8(VERSION);
        out.put_u8(match self.admission {
            Admission::Client => CLIENT,
            Admission::System => 0,
        });
        out.put_u16_le(0);
        out.put_u32_le(self.group);
        out.put_u64_le(self.catalog.map_or(0, |version| version.0));
        out.put_u64_le(self.origin.0);
        out.put_u64_le(self.trace.0);
        Bytes::from(command.encode_after(out))
    }
}

impl ForwardedProposal {
    /// The payload.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        self.head.encode(&self.command)
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn decode(payload: &[u8]) -> Result<Self, Unreadable> {
        let (head, command) = payload.split_at_checked(HEAD_BYTES).ok_or(Unreadable::Field("length"))?;
        let mut fields = Fields(head);
        known_version(fields.take()?)?;
        let [flags] = fields.take()?;
        let admission = match flags {
            CLIENT => Admission::Client,
            0 => Admission::System,
            _ => return Err(Unreadable::Field("flags")),
        };
        if fields.take()? != [0, 0] {
            return Err(Unreadable::Field("reserved field"));
        }
        let group = u32::from_le_bytes(fields.take()?);
        let catalog = Some(u64::from_le_bytes(fields.take()?)).filter(|version| *version > 0).map(CatalogVersion);
        let (origin, trace) = (NodeId(u64::from_le_bytes(fields.take()?)), TraceId(u64::from_le_bytes(fields.take()?)));
        let head = ProposalHead { group, catalog, admission, origin, trace };
        Ok(Self { head, command: Command::decode(command)? })
    }
}

/// The answer to a proposal of another node.
#[derive(Clone, Debug, PartialEq)]
pub enum ForwardedAnswer {
    /// It is durable and applied.
    Applied {
        /// Its log index.
        index: u64,
        /// What it did.
        outcome: Outcome,
    },
    /// It was not taken, or its outcome is unknown (SQLSTATE 40003).
    Refused(Diag),
    /// Nothing was proposed: this node does not lead.
    NotLeader {
        /// Who does, as far as it knows.
        leader: Option<NodeId>,
    },
}

impl ForwardedAnswer {
    /// The payload.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(64);
        out.put_u8(VERSION);
        Bytes::from(match self {
            Self::Applied { index, outcome } => {
                out.put_u8(APPLIED);
                out.put_u64_le(*index);
                outcome.encode_after(out)
            }
            Self::Refused(diag) => {
                out.put_u8(REFUSED);
                // A diagnostic always serialises; were it to fail, the empty answer is refused by who gets it.
                postcard::to_extend(diag, out).unwrap_or_default()
            }
            Self::NotLeader { leader } => {
                out.put_u8(NOT_LEADER);
                out.put_u64_le(leader.map_or(0, |leader| leader.0));
                out
            }
        })
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn decode(payload: &[u8]) -> Result<Self, Unreadable> {
        let mut fields = Fields(payload);
        known_version(fields.take()?)?;
        match fields.take()? {
            [APPLIED] => {
                let index = u64::from_le_bytes(fields.take()?);
                Ok(Self::Applied { index, outcome: Outcome::decode(fields.0)? })
            }
            [REFUSED] => match postcard::take_from_bytes(fields.0) {
                Ok((diag, [])) => Ok(Self::Refused(diag)),
                Ok(_) | Err(_) => Err(Unreadable::Field("diagnostic")),
            },
            [NOT_LEADER] => {
                let leader = u64::from_le_bytes(fields.take()?);
                if !fields.0.is_empty() {
                    return Err(Unreadable::Field("length"));
                }
                Ok(Self::NotLeader { leader: Some(NodeId(leader)).filter(|leader| leader.0 > 0) })
            }
            _ => Err(Unreadable::Field("kind")),
        }
    }
}

/// Fields of fixed length, one after the other.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        let (field, rest) = self.0.split_first_chunk::<N>().ok_or(Unreadable::Field("length"))?;
        self.0 = rest;
        Ok(*field)
    }
}

fn known_version([version]: [u8; 1]) -> Result<(), Unreadable> {
    if version == VERSION { Ok(()) } else { Err(Unreadable::Version(version)) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use highwater_sql::catalog::{ObjectId, Role};
    use highwater_sql::diag::{Span, SqlState};
    use highwater_sql::plan::{WriteKind, WritePlan};
    use highwater_sql::value::Value;
    use highwater_state::command::{AckCommand, MetaCommand, RequestHead, RequestId, WriteCommand};
    use quickcheck::{Arbitrary, Gen, QuickCheck};

    use super::*;

    /// A proposal with every field drawn.
    #[derive(Clone, Debug)]
    struct Drawn(ForwardedProposal);

    impl Arbitrary for Drawn {
        fn arbitrary(g: &mut Gen) -> Self {
            let id = u128::arbitrary(g);
            let head = RequestHead {
                principal: String::arbitrary(g),
                role: *g.choose(&[Role::User, Role::Service, Role::Dba, Role::System]).unwrap(),
                auth_epoch: u64::arbitrary(g),
                request: bool::arbitrary(g).then(|| RequestId { id, ordinal: u16::arbitrary(g) }),
                statement_hash: u64::arbitrary(g),
            };
            let command = match u8::arbitrary(g) % 4 {
                0 => Command::Trim { destination: u32::arbitrary(g), upto: u64::arbitrary(g) },
                1 => Command::Ack(AckCommand {
                    head,
                    topic: ObjectId(u64::arbitrary(g)),
                    partition: u32::arbitrary(g),
                    group: String::arbitrary(g),
                    consumer_id: String::arbitrary(g),
                    upto: u64::arbitrary(g),
                }),
                2 => Command::Meta(MetaCommand::DropUser { head, name: String::arbitrary(g), if_exists: true }),
                _ => Command::Write(WriteCommand {
                    head,
                    user: String::arbitrary(g),
                    plan: WritePlan {
                        table: ObjectId(u64::arbitrary(g)),
                        table_version: u32::arbitrary(g),
                        kind: WriteKind::Insert { columns: vec![], rows: vec![vec![None]], conflict: None },
                        returning: vec![],
                    },
                    params: Vec::<Option<String>>::arbitrary(g)
                        .into_iter()
                        .map(|text| text.map_or(Value::Null, Value::Text))
                        .chain([Value::BigInt(i64::arbitrary(g)), Value::Bytes(Vec::arbitrary(g))])
                        .collect(),
                }),
            };
            let version = u64::arbitrary(g);
            let head = ProposalHead {
                group: u32::arbitrary(g),
                catalog: (version > 0).then_some(CatalogVersion(version)),
                admission: *g.choose(&[Admission::Client, Admission::System]).unwrap(),
                origin: NodeId(u64::arbitrary(g)),
                trace: TraceId(u64::arbitrary(g)),
            };
            Self(ForwardedProposal { head, command })
        }
    }

    fn sample() -> ForwardedProposal {
        ForwardedProposal {
            head: ProposalHead {
                group: 3,
                catalog: Some(CatalogVersion(7)),
                admission: Admission::Client,
                origin: NodeId(2),
                trace: TraceId(0x1122),
            },
            command: Command::Trim { destination: 5, upto: 300 },
        }
    }

    fn full_diag() -> Diag {
        let diag = Diag::new(SqlState::OUTCOME_UNKNOWN, "m").detail("d").hint("h").at(Span { start: 1, end: 9 });
        Diag { suggestions: vec!["s".into()], ..diag }
    }

    fn answers() -> Vec<(ForwardedAnswer, Vec<u8>)> {
        vec![
            (
                ForwardedAnswer::Applied { index: 258, outcome: Outcome::Written(9) },
                vec![1, 1, 2, 1, 0, 0, 0, 0, 0, 0, 1, 1, 9],
            ),
            (
                ForwardedAnswer::Refused(full_diag()),
                vec![1, 2, b'4', b'0', b'0', b'0', b'3', 1, b'm', 1, 1, b'd', 1, 1, b'h', 1, 1, 9, 1, 1, b's'],
            ),
            (ForwardedAnswer::NotLeader { leader: Some(NodeId(3)) }, vec![1, 3, 3, 0, 0, 0, 0, 0, 0, 0]),
            (ForwardedAnswer::NotLeader { leader: None }, vec![1, 3, 0, 0, 0, 0, 0, 0, 0, 0]),
        ]
    }

    #[test]
    fn a_proposal_has_fixed_bytes() {
        let golden = [
            1, 1, 0, 0, 3, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0x22, 0x11, 0, 0, 0, 0, 0, 0, 1, 5,
            5, 172, 2,
        ];
        assert_eq!(sample().encode().as_ref(), golden);
        assert_eq!(ForwardedProposal::decode(&golden).unwrap(), sample());
    }

    #[test]
    fn answers_have_fixed_bytes_and_keep_every_fact() {
        for (answer, golden) in answers() {
            assert_eq!(answer.encode().as_ref(), golden, "{answer:?}");
            assert_eq!(ForwardedAnswer::decode(&golden).unwrap(), answer);
        }
    }

    #[test]
    fn every_proposal_comes_back_as_it_was() {
        fn holds(Drawn(proposal): Drawn) -> bool {
            ForwardedProposal::decode(&proposal.encode()) == Ok(proposal)
        }
        QuickCheck::new().tests(500).quickcheck(holds as fn(Drawn) -> bool);
    }

    #[test]
    fn what_is_cut_or_longer_is_refused() {
        let bytes = sample().encode();
        for end in 0..bytes.len() {
            assert!(ForwardedProposal::decode(&bytes[..end]).is_err(), "cut at {end}");
        }
        assert!(ForwardedProposal::decode(&[bytes.as_ref(), &[0]].concat()).is_err());
        for (_, golden) in answers() {
            for end in 0..golden.len() {
                assert!(ForwardedAnswer::decode(&golden[..end]).is_err(), "{golden:?} cut at {end}");
            }
            assert!(ForwardedAnswer::decode(&[golden.as_slice(), &[0]].concat()).is_err(), "{golden:?}");
        }
    }

    #[test]
    fn unknown_versions_flags_and_kinds_are_refused_by_name() {
        let with = |at: usize, value: u8| {
            let mut bytes = sample().encode().to_vec();
            bytes[at] = value;
            ForwardedProposal::decode(&bytes).unwrap_err()
        };
        assert_eq!(with(0, 2), Unreadable::Version(2));
        assert_eq!(with(1, 2), Unreadable::Field("flags"));
        assert_eq!(with(3, 1), Unreadable::Field("reserved field"));
        assert_eq!(ForwardedAnswer::decode(&[9, 1]), Err(Unreadable::Version(9)));
        assert_eq!(ForwardedAnswer::decode(&[1, 4]), Err(Unreadable::Field("kind")));
    }

    #[test]
    fn decoding_never_panics() {
        fn holds(bytes: Vec<u8>, Drawn(near): Drawn, at: usize, to: u8) -> bool {
            let _ = (ForwardedProposal::decode(&bytes), ForwardedAnswer::decode(&bytes));
            let mut near = near.encode().to_vec();
            let at = at % near.len();
            near[at] = to;
            let _ = (ForwardedProposal::decode(&near), ForwardedAnswer::decode(&near));
            true
        }
        QuickCheck::new().tests(2000).quickcheck(holds as fn(Vec<u8>, Drawn, usize, u8) -> bool);
    }
}
