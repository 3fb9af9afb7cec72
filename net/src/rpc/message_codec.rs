//! The payload of a frame of messages.
//!
//! ```text
//! 0..2    number of messages, u16
//! each    group u32, term u64, kind u8, then by kind:
//!          0 pre-vote               last index u64, last term u64
//!          1 pre-vote's answer      granted u8
//!          2 vote                   last index u64, last term u64, transfer u8
//!          3 vote's answer          granted u8
//!          4 append                 previous index u64, its term u64, commit u64, number of entries u32;
//!                                   each entry: term u64, kind u8, length u32, data
//!          5 append's answer        index u64, refused u8; if refused: hint's index u64, hint's term u64
//!          6 heartbeat              commit u64, round u64
//!          7 heartbeat's answer     round u64
//!          8 snapshot               index u64, term u64, length of the membership u32, membership
//!          9 snapshot wanted
//!         10 read index             life u64, context u64
//!         11 read index's answer    life u64, context u64, led u8; if it leads: index u64
//!         12 committed              index u64, term u64
//!         13 timeout now   14 wake
//!         15 hibernate              index u64
//! ```

use bytes::{BufMut as _, Bytes, BytesMut};

use super::fields::{Fields, Malformed};
use super::ids::{GroupId, LogIndex, Term};
use super::limits::{MAX_MEMBERSHIP_BYTES, MAX_MESSAGES};
use super::message::{EntryKind, GroupMessage, MessageBody, WireEntry};

/// Group, term and kind.
const MESSAGE_HEADER: usize = 13;
/// Term, kind and length.
const ENTRY_HEADER: usize = 13;

/// Bytes of a frame of messages before the first message.
pub const BATCH_HEADER_BYTES: usize = 2;

fn put_flag(out: &mut BytesMut, flag: bool) {
    out.put_u8(u8::from(flag));
}

fn put_pair(out: &mut BytesMut, index: LogIndex, term: Term) {
    out.put_u64_le(index.0);
    out.put_u64_le(term.0);
}

fn put_bytes(out: &mut BytesMut, bytes: &Bytes) {
    out.put_u32_le(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    out.put_slice(bytes);
}

impl MessageBody {
    const fn kind(&self) -> u8 {
        match self {
            Self::PreVote { .. } => 0,
            Self::PreVoteResponse { .. } => 1,
            Self::Vote { .. } => 2,
            Self::VoteResponse { .. } => 3,
            Self::Append { .. } => 4,
            Self::AppendResponse { .. } => 5,
            Self::Heartbeat { .. } => 6,
            Self::HeartbeatResponse { .. } => 7,
            Self::Snapshot { .. } => 8,
            Self::SnapshotWanted => 9,
            Self::ReadIndex { .. } => 10,
            Self::ReadIndexResponse { .. } => 11,
            Self::Committed { .. } => 12,
            Self::TimeoutNow => 13,
            Self::Wake => 14,
            Self::Hibernate { .. } => 15,
        }
    }

    fn encoded_len(&self) -> usize {
        match self {
            Self::SnapshotWanted | Self::TimeoutNow | Self::Wake => 0,
            Self::PreVoteResponse { .. } | Self::VoteResponse { .. } => 1,
            Self::HeartbeatResponse { .. } | Self::Hibernate { .. } => 8,
            Self::PreVote { .. } | Self::Heartbeat { .. } | Self::ReadIndex { .. } | Self::Committed { .. } => 16,
            Self::Vote { .. } => 17,
            Self::AppendResponse { reject_hint, .. } => 9 + if reject_hint.is_some() { 16 } else { 0 },
            Self::ReadIndexResponse { index, .. } => 17 + if index.is_some() { 8 } else { 0 },
            Self::Snapshot { membership, .. } => membership.len().saturating_add(20),
            Self::Append { entries, .. } => entries
                .iter()
                .fold(28_usize, |sum, entry| sum.saturating_add(ENTRY_HEADER).saturating_add(entry.data.len())),
        }
    }

    fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::SnapshotWanted | Self::TimeoutNow | Self::Wake => {}
            Self::PreVote { last_index, last_term } => put_pair(out, *last_index, *last_term),
            Self::PreVoteResponse { granted } | Self::VoteResponse { granted } => put_flag(out, *granted),
            Self::Vote { last_index, last_term, transfer } => {
                put_pair(out, *last_index, *last_term);
                put_flag(out, *transfer);
            }
            Self::Append { prev_index, prev_term, commit, entries } => {
                put_pair(out, *prev_index, *prev_term);
                out.put_u64_le(commit.0);
                out.put_u32_le(u32::try_from(entries.len()).unwrap_or(u32::MAX));
                for entry in entries {
                    out.put_u64_le(entry.term.0);
                    out.put_u8(entry.kind as u8);
                    put_bytes(out, &entry.data);
                }
            }
            Self::AppendResponse { index, reject_hint } => {
                out.put_u64_le(index.0);
                put_flag(out, reject_hint.is_some());
                if let Some((index, term)) = reject_hint {
                    put_pair(out, *index, *term);
                }
            }
            Self::Heartbeat { commit, round } => {
                out.put_u64_le(commit.0);
                out.put_u64_le(*round);
            }
            Self::HeartbeatResponse { round } => out.put_u64_le(*round),
            Self::Snapshot { index, term, membership } => {
                put_pair(out, *index, *term);
                put_bytes(out, membership);
            }
            Self::ReadIndex { life, context } => {
                out.put_u64_le(*life);
                out.put_u64_le(*context);
            }
            Self::ReadIndexResponse { life, context, index } => {
                out.put_u64_le(*life);
                out.put_u64_le(*context);
                put_flag(out, index.is_some());
                if let Some(index) = index {
                    out.put_u64_le(index.0);
                }
            }
            Self::Committed { index, index_term } => put_pair(out, *index, *index_term),
            Self::Hibernate { index } => out.put_u64_le(index.0),
        }
    }

    fn decode(kind: u8, fields: &mut Fields) -> Result<Self, Malformed> {
        Ok(match kind {
            0 => Self::PreVote { last_index: index(fields)?, last_term: term(fields)? },
            1 => Self::PreVoteResponse { granted: fields.bool("granted")? },
            2 => {
                Self::Vote { last_index: index(fields)?, last_term: term(fields)?, transfer: fields.bool("transfer")? }
            }
            3 => Self::VoteResponse { granted: fields.bool("granted")? },
            4 => Self::Append {
                prev_index: index(fields)?,
                prev_term: term(fields)?,
                commit: index(fields)?,
                entries: entries(fields)?,
            },
            5 => Self::AppendResponse {
                index: index(fields)?,
                reject_hint: if fields.bool("refused")? { Some((index(fields)?, term(fields)?)) } else { None },
            },
            6 => Self::Heartbeat { commit: index(fields)?, round: fields.u64("round")? },
            7 => Self::HeartbeatResponse { round: fields.u64("round")? },
            8 => Self::Snapshot { index: index(fields)?, term: term(fields)?, membership: membership(fields)? },
            9 => Self::SnapshotWanted,
            10 => Self::ReadIndex { life: fields.u64("life")?, context: fields.u64("context")? },
            11 => Self::ReadIndexResponse {
                life: fields.u64("life")?,
                context: fields.u64("context")?,
                index: if fields.bool("led")? { Some(index(fields)?) } else { None },
            },
            12 => Self::Committed { index: index(fields)?, index_term: term(fields)? },
            13 => Self::TimeoutNow,
            14 => Self::Wake,
            15 => Self::Hibernate { index: index(fields)? },
            _ => return Err(Malformed::Value("message's kind")),
        })
    }
}

fn index(fields: &mut Fields) -> Result<LogIndex, Malformed> {
    fields.u64("an index").map(LogIndex)
}

fn term(fields: &mut Fields) -> Result<Term, Malformed> {
    fields.u64("a term").map(Term)
}

fn length(fields: &mut Fields, what: &'static str) -> Result<usize, Malformed> {
    usize::try_from(fields.u32(what)?).map_err(|_| Malformed::Value(what))
}

fn membership(fields: &mut Fields) -> Result<Bytes, Malformed> {
    let length = length(fields, "the membership's length")?;
    if length > MAX_MEMBERSHIP_BYTES {
        return Err(Malformed::Value("membership's length"));
    }
    fields.bytes(length, "the membership")
}

fn entries(fields: &mut Fields) -> Result<Vec<WireEntry>, Malformed> {
    let count = length(fields, "the number of entries")?;
    // Nobody makes this side reserve more than the bytes that really came could hold.
    if count > fields.left() / ENTRY_HEADER {
        return Err(Malformed::Short("the entries"));
    }
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        let term = term(fields)?;
        let kind = match fields.u8("an entry's kind")? {
            0 => EntryKind::Normal,
            1 => EntryKind::ConfChange,
            2 => EntryKind::Noop,
            _ => return Err(Malformed::Value("entry's kind")),
        };
        let length = length(fields, "an entry's length")?;
        entries.push(WireEntry { term, kind, data: fields.bytes(length, "an entry's data")? });
    }
    Ok(entries)
}

impl GroupMessage {
    /// Bytes that it takes in a frame of messages.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        self.body.encoded_len().saturating_add(MESSAGE_HEADER)
    }
}

/// Appends a payload of these messages, at most [`MAX_MESSAGES`] of them.
pub fn encode_messages(messages: &[GroupMessage], out: &mut BytesMut) {
    let messages = messages.get(..messages.len().min(MAX_MESSAGES)).unwrap_or_default();
    out.put_u16_le(u16::try_from(messages.len()).unwrap_or(0));
    for message in messages {
        out.put_u32_le(message.group.0);
        out.put_u64_le(message.term.0);
        out.put_u8(message.body.kind());
        message.body.encode(out);
    }
}

/// Reads a payload. Data of entries are slices of it.
///
/// # Errors
/// [`Malformed`].
pub fn decode_messages(payload: &Bytes) -> Result<Vec<GroupMessage>, Malformed> {
    let mut fields = Fields::of(payload);
    let count = usize::from(fields.u16("the number of messages")?);
    if count > MAX_MESSAGES {
        return Err(Malformed::Value("number of messages"));
    }
    if count > fields.left() / MESSAGE_HEADER {
        return Err(Malformed::Short("the messages"));
    }
    let mut messages = Vec::with_capacity(count);
    for _ in 0..count {
        let group = GroupId(fields.u32("the group")?);
        let term = term(&mut fields)?;
        let kind = fields.u8("the message's kind")?;
        messages.push(GroupMessage { group, term, body: MessageBody::decode(kind, &mut fields)? });
    }
    fields.end()?;
    Ok(messages)
}
