//! The engine key layout: where each subject of a group lives.
//!
//! ```text
//! key      := group u32 BE | space u8 | subject
//!
//! space    subject                                                        value
//! 0x01     name u8                                       scalar           per name (crate::mark)
//! 0x02     kind u8 | id u64 BE, or name bytes            catalog object   version u8 | postcard
//! 0x10     table u64 BE | [text user] | row key          row              seq u64 LE | row (sql::row)
//! 0x11     until i64 | table u64 BE | [text user] | key  stream row's end nothing
//! 0x12     table u64 BE | index u64 BE | [text user] |   index entry      row key
//!          entry
//! 0x13     table u64 BE | column u32 BE | [text user]    sequence         version u8 | postcard
//! 0x20     text principal | id u128 BE | ordinal u16 BE  session answer   version u8 | postcard
//! 0x21     until i64 | principal | id | ordinal          session's end    nothing
//! 0x30     topic u64 BE | partition u32 BE               partition head   crate::topics
//! 0x31     topic | partition | offset u64 BE             message          crate::topics
//! 0x32     topic | partition | group bytes               consumer group   crate::topics
//! 0x33     topic | partition | text group | first u64 BE claim            crate::topics
//! 0x40     destination u32 BE | index u64 BE | n u32 BE  outbox record    crate::exchange
//! 0x41     source u32 BE                                 inbox position   crate::exchange
//! 0x42     destination u32 BE                            outbox position  crate::exchange
//! 0x50     job id bytes                                  job              version u8 | postcard
//! 0x51     name u8                                       meta scalar      per name (crate::definitions)
//! 0x52     login u128 BE                                 ended login      version u8 | postcard
//!
//! text     := bytes with 0x00 written as 0x00 0xFF, then 0x00 0x01: byte order is value order, no text is another's prefix
//! i64      := two's complement with the sign bit flipped, BE: byte order is value order
//! ```
//!
//! A row has the text user on USER and STREAM tables only. A row key is `sql::key`'s memcomparable encoding; its last part of
//! the key, so that byte order within a table (and user) is key order. Spaces that are not named here stay unused.
//! Invariant: every range made here holds exactly the keys of its subject, and lies inside its group.

use highwater_sql::catalog::{ColumnId, ObjectId};
use highwater_sql::value::Micros;

use crate::command::RequestId;

/// Half-open range of engine keys, within one group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeySpan {
    /// First key.
    pub start: Vec<u8>,
    /// After the last key.
    pub end: Vec<u8>,
}

impl KeySpan {
    /// Whether the key lies in the range.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        self.start.as_slice() <= key && key < self.end.as_slice()
    }

    /// Whether no key can lie in the range.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start >= self.end
    }
}

/// What a part of a group's range holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Space {
    /// Single values of the group: applied index, log time, chain.
    Scalar = 0x01,
    /// Namespaces, tables, topics, users.
    Catalog = 0x02,
    /// Rows of tables.
    Row = 0x10,
    /// When rows of STREAM tables end.
    RowEnd = 0x11,
    /// Entries of indexes.
    Index = 0x12,
    /// Where sequences stand.
    Sequence = 0x13,
    /// Answers by request id.
    Session = 0x20,
    /// When those answers end.
    SessionEnd = 0x21,
    /// State of a topic's partition.
    Head = 0x30,
    /// Messages.
    Message = 0x31,
    /// Consumer groups.
    Consumers = 0x32,
    /// Claims.
    Claim = 0x33,
    /// Derived records on their way.
    Outbox = 0x40,
    /// Where each source stands.
    Inbox = 0x41,
    /// What each destination was sent.
    OutboxPosition = 0x42,
    /// Jobs (meta).
    Job = 0x50,
    /// Single values of the cluster (meta).
    Cluster = 0x51,
    /// Logins that were ended (meta).
    Login = 0x52,
}

/// Every space, in key order.
pub const SPACES: [Space; 18] = [
    Space::Scalar,
    Space::Catalog,
    Space::Row,
    Space::RowEnd,
    Space::Index,
    Space::Sequence,
    Space::Session,
    Space::SessionEnd,
    Space::Head,
    Space::Message,
    Space::Consumers,
    Space::Claim,
    Space::Outbox,
    Space::Inbox,
    Space::OutboxPosition,
    Space::Job,
    Space::Cluster,
    Space::Login,
];

/// Kinds of catalog objects, the byte after [`Space::Catalog`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum ObjectKind {
    /// By name.
    Namespace = 1,
    /// By id.
    Table = 2,
    /// By id.
    Topic = 3,
    /// By name.
    User = 4,
}

/// Builds the keys of one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys {
    group: u32,
}

impl Keys {
    /// Keys of this group.
    #[must_use]
    pub const fn new(group: u32) -> Self {
        Self { group }
    }

    /// The group.
    #[must_use]
    pub const fn group(self) -> u32 {
        self.group
    }

    fn key(self, space: Space) -> Builder {
        let mut bytes = Vec::with_capacity(48);
        bytes.extend_from_slice(&self.group.to_be_bytes());
        bytes.push(space as u8);
        Builder(bytes)
    }

    /// Everything of the group.
    #[must_use]
    pub fn all(self) -> KeySpan {
        Builder(self.group.to_be_bytes().to_vec()).span()
    }

    /// Everything of one space.
    #[must_use]
    pub fn space(self, space: Space) -> KeySpan {
        self.key(space).span()
    }

    /// A single value of the group.
    #[must_use]
    pub fn scalar(self, name: u8) -> Vec<u8> {
        self.key(Space::Scalar).byte(name).0
    }

    /// A catalog object that goes by name.
    #[must_use]
    pub fn named_object(self, kind: ObjectKind, name: &str) -> Vec<u8> {
        self.key(Space::Catalog).byte(kind as u8).raw(name.as_bytes()).0
    }

    /// A catalog object that goes by id.
    #[must_use]
    pub fn object(self, kind: ObjectKind, id: ObjectId) -> Vec<u8> {
        self.key(Space::Catalog).byte(kind as u8).u64(id.0).0
    }

    /// A row; `user` on USER and STREAM tables only.
    #[must_use]
    pub fn row(self, table: ObjectId, user: Option<&str>, row_key: &[u8]) -> Vec<u8> {
        self.key(Space::Row).u64(table.0).maybe_text(user).raw(row_key).0
    }

    /// The row key's part of a [`Keys::row`] of the same table and user; `None` for another key.
    #[must_use]
    pub fn row_key_of<'a>(self, table: ObjectId, user: Option<&str>, key: &'a [u8]) -> Option<&'a [u8]> {
        key.strip_prefix(self.row(table, user, &[]).as_slice())
    }

    /// The user and the row key of a [`Keys::row`] of a table; `is_owned`: the table's rows belong to users.
    #[must_use]
    pub fn row_parts(self, table: ObjectId, is_owned: bool, key: &[u8]) -> Option<(Option<String>, &[u8])> {
        let rest = key.strip_prefix(self.rows_of_table(table).start.as_slice())?;
        if !is_owned {
            return Some((None, rest));
        }
        let (mut user, mut at) = (Vec::new(), 0);
        loop {
            match (*rest.get(at)?, rest.get(at + 1)) {
                (0, Some(1)) => break,
                (0, Some(0xff)) => {
                    user.push(0);
                    at += 2;
                }
                (0, _) => return None,
                (byte, _) => {
                    user.push(byte);
                    at += 1;
                }
            }
        }
        Some((Some(String::from_utf8(user).ok()?), rest.get(at + 2..)?))
    }

    /// An entry of an index; `user` on USER tables only.
    #[must_use]
    pub fn index_entry(self, table: ObjectId, index: ObjectId, user: Option<&str>, entry: &[u8]) -> Vec<u8> {
        self.key(Space::Index).u64(table.0).u64(index.0).maybe_text(user).raw(entry).0
    }

    /// Entries of an index (of a user) that lie in `start..end` (no end: to the last).
    #[must_use]
    pub fn index_entries(
        self,
        table: ObjectId,
        index: ObjectId,
        user: Option<&str>,
        start: &[u8],
        end: Option<&[u8]>,
    ) -> KeySpan {
        let first = self.index_entry(table, index, user, start);
        let end = match end {
            Some(end) => self.index_entry(table, index, user, end),
            None => self.key(Space::Index).u64(table.0).u64(index.0).maybe_text(user).span().end,
        };
        KeySpan { start: first, end }
    }

    /// All entries of an index in this group, of all users.
    #[must_use]
    pub fn index(self, table: ObjectId, index: ObjectId) -> KeySpan {
        self.key(Space::Index).u64(table.0).u64(index.0).span()
    }

    /// All entries of all indexes of a table in this group.
    #[must_use]
    pub fn indexes_of_table(self, table: ObjectId) -> KeySpan {
        self.key(Space::Index).u64(table.0).span()
    }

    /// Where the sequence of a column stands; `user` on USER tables only.
    #[must_use]
    pub fn sequence(self, table: ObjectId, column: ColumnId, user: Option<&str>) -> Vec<u8> {
        self.key(Space::Sequence).u64(table.0).u32(column.0).maybe_text(user).0
    }

    /// All sequences of a table in this group.
    #[must_use]
    pub fn sequences_of_table(self, table: ObjectId) -> KeySpan {
        self.key(Space::Sequence).u64(table.0).span()
    }

    /// All rows of a table in this group, of all users.
    #[must_use]
    pub fn rows_of_table(self, table: ObjectId) -> KeySpan {
        self.key(Space::Row).u64(table.0).span()
    }

    /// Rows whose row key lies in `start..end` (no end: to the last).
    #[must_use]
    pub fn rows(self, table: ObjectId, user: Option<&str>, start: &[u8], end: Option<&[u8]>) -> KeySpan {
        let first = self.row(table, user, start);
        let end = match end {
            Some(end) => self.row(table, user, end),
            None => self.key(Space::Row).u64(table.0).maybe_text(user).span().end,
        };
        KeySpan { start: first, end }
    }

    /// Where it is written when a STREAM row ends.
    #[must_use]
    pub fn row_end(self, until: Micros, row: &[u8]) -> Vec<u8> {
        // The row's own group and space are implied.
        self.key(Space::RowEnd).i64(until).raw(row.get(PREFIX..).unwrap_or_default()).0
    }

    /// The row that a [`Keys::row_end`] is about.
    #[must_use]
    pub fn row_of_end(self, key: &[u8]) -> Option<Vec<u8>> {
        let subject = key.strip_prefix(self.key(Space::RowEnd).0.as_slice())?;
        Some(self.key(Space::Row).raw(subject.get(8..)?).0)
    }

    /// Ends of STREAM rows before `until`.
    #[must_use]
    pub fn row_ends_before(self, until: Micros) -> KeySpan {
        KeySpan { start: self.key(Space::RowEnd).0, end: self.key(Space::RowEnd).i64(until).0 }
    }

    /// The answer to a request.
    #[must_use]
    pub fn session(self, principal: &str, request: RequestId) -> Vec<u8> {
        self.key(Space::Session).text(principal).u128(request.id).u16(request.ordinal).0
    }

    /// Where it is written when that answer ends.
    #[must_use]
    pub fn session_end(self, until: Micros, session: &[u8]) -> Vec<u8> {
        self.key(Space::SessionEnd).i64(until).raw(session.get(PREFIX..).unwrap_or_default()).0
    }

    /// The session that a [`Keys::session_end`] is about.
    #[must_use]
    pub fn session_of_end(self, key: &[u8]) -> Option<Vec<u8>> {
        let subject = key.strip_prefix(self.key(Space::SessionEnd).0.as_slice())?;
        Some(self.key(Space::Session).raw(subject.get(8..)?).0)
    }

    /// Ends of answers before `until`.
    #[must_use]
    pub fn session_ends_before(self, until: Micros) -> KeySpan {
        KeySpan { start: self.key(Space::SessionEnd).0, end: self.key(Space::SessionEnd).i64(until).0 }
    }

    /// When an end was: of a key of [`Space::RowEnd`] or [`Space::SessionEnd`].
    #[must_use]
    pub fn end_time(key: &[u8]) -> Option<Micros> {
        let bytes: [u8; 8] = key.get(PREFIX..PREFIX + 8)?.try_into().ok()?;
        Some((u64::from_be_bytes(bytes) ^ SIGN).cast_signed())
    }

    /// State of a partition.
    #[must_use]
    pub fn head(self, topic: ObjectId, partition: u32) -> Vec<u8> {
        self.key(Space::Head).u64(topic.0).u32(partition).0
    }

    /// States of all partitions of a topic in this group.
    #[must_use]
    pub fn heads_of_topic(self, topic: ObjectId) -> KeySpan {
        self.key(Space::Head).u64(topic.0).span()
    }

    /// A message.
    #[must_use]
    pub fn message(self, topic: ObjectId, partition: u32, offset: u64) -> Vec<u8> {
        self.key(Space::Message).u64(topic.0).u32(partition).u64(offset).0
    }

    /// Messages of a partition from offset `from` on.
    #[must_use]
    pub fn messages_from(self, topic: ObjectId, partition: u32, from: u64) -> KeySpan {
        let end = self.key(Space::Message).u64(topic.0).u32(partition).span().end;
        KeySpan { start: self.message(topic, partition, from), end }
    }

    /// Messages of a partition below offset `below`.
    #[must_use]
    pub fn messages_below(self, topic: ObjectId, partition: u32, below: u64) -> KeySpan {
        KeySpan { start: self.message(topic, partition, 0), end: self.message(topic, partition, below) }
    }

    /// Messages of all partitions of a topic in this group.
    #[must_use]
    pub fn messages_of_topic(self, topic: ObjectId) -> KeySpan {
        self.key(Space::Message).u64(topic.0).span()
    }

    /// A message's offset, from its key.
    #[must_use]
    pub fn offset_of(key: &[u8]) -> Option<u64> {
        let bytes: [u8; 8] = key.get(PREFIX + 12..)?.try_into().ok()?;
        Some(u64::from_be_bytes(bytes))
    }

    /// A consumer group of a partition.
    #[must_use]
    pub fn consumers(self, topic: ObjectId, partition: u32, group: &str) -> Vec<u8> {
        self.key(Space::Consumers).u64(topic.0).u32(partition).raw(group.as_bytes()).0
    }

    /// All consumer groups of a partition.
    #[must_use]
    pub fn consumers_of_partition(self, topic: ObjectId, partition: u32) -> KeySpan {
        self.key(Space::Consumers).u64(topic.0).u32(partition).span()
    }

    /// All consumer groups of a topic in this group.
    #[must_use]
    pub fn consumers_of_topic(self, topic: ObjectId) -> KeySpan {
        self.key(Space::Consumers).u64(topic.0).span()
    }

    /// Topic, partition and name of a consumer group, from a [`Keys::consumers`] key.
    #[must_use]
    pub fn consumers_parts(key: &[u8]) -> Option<(ObjectId, u32, &str)> {
        let topic: [u8; 8] = key.get(PREFIX..PREFIX + 8)?.try_into().ok()?;
        let partition: [u8; 4] = key.get(PREFIX + 8..PREFIX + 12)?.try_into().ok()?;
        let name = std::str::from_utf8(key.get(PREFIX + 12..)?).ok()?;
        Some((ObjectId(u64::from_be_bytes(topic)), u32::from_be_bytes(partition), name))
    }

    /// A claim that begins at offset `first`.
    #[must_use]
    pub fn claim(self, topic: ObjectId, partition: u32, group: &str, first: u64) -> Vec<u8> {
        self.key(Space::Claim).u64(topic.0).u32(partition).text(group).u64(first).0
    }

    /// All claims of a consumer group in a partition.
    #[must_use]
    pub fn claims_of_group(self, topic: ObjectId, partition: u32, group: &str) -> KeySpan {
        self.key(Space::Claim).u64(topic.0).u32(partition).text(group).span()
    }

    /// All claims of a partition.
    #[must_use]
    pub fn claims_of_partition(self, topic: ObjectId, partition: u32) -> KeySpan {
        self.key(Space::Claim).u64(topic.0).u32(partition).span()
    }

    /// All claims of a topic in this group.
    #[must_use]
    pub fn claims_of_topic(self, topic: ObjectId) -> KeySpan {
        self.key(Space::Claim).u64(topic.0).span()
    }

    /// An outbox record: the `ordinal`-th that entry `index` derived for the destination.
    #[must_use]
    pub fn outbox(self, destination: u32, index: u64, ordinal: u32) -> Vec<u8> {
        self.key(Space::Outbox).u32(destination).u64(index).u32(ordinal).0
    }

    /// Records for a destination after entry `after`.
    #[must_use]
    pub fn outbox_after(self, destination: u32, after: u64) -> KeySpan {
        let end = self.key(Space::Outbox).u32(destination).span().end;
        let start = match after.checked_add(1) {
            Some(next) => self.outbox(destination, next, 0),
            None => end.clone(),
        };
        KeySpan { start, end }
    }

    /// Records for a destination at or below entry `upto`.
    #[must_use]
    pub fn outbox_upto(self, destination: u32, upto: u64) -> KeySpan {
        let span = self.key(Space::Outbox).u32(destination).span();
        let end = upto.checked_add(1).map_or(span.end, |next| self.outbox(destination, next, 0));
        KeySpan { start: span.start, end }
    }

    /// Destination, index and ordinal of a record, from a [`Keys::outbox`] key.
    #[must_use]
    pub fn outbox_parts(key: &[u8]) -> Option<(u32, u64, u32)> {
        let destination: [u8; 4] = key.get(PREFIX..PREFIX + 4)?.try_into().ok()?;
        let index: [u8; 8] = key.get(PREFIX + 4..PREFIX + 12)?.try_into().ok()?;
        let ordinal: [u8; 4] = key.get(PREFIX + 12..)?.try_into().ok()?;
        Some((u32::from_be_bytes(destination), u64::from_be_bytes(index), u32::from_be_bytes(ordinal)))
    }

    /// Where the inbox stands for a source.
    #[must_use]
    pub fn inbox(self, source: u32) -> Vec<u8> {
        self.key(Space::Inbox).u32(source).0
    }

    /// What a destination was sent.
    #[must_use]
    pub fn outbox_position(self, destination: u32) -> Vec<u8> {
        self.key(Space::OutboxPosition).u32(destination).0
    }

    /// The number in an [`Keys::inbox`] or [`Keys::outbox_position`] key.
    #[must_use]
    pub fn peer_of(key: &[u8]) -> Option<u32> {
        let bytes: [u8; 4] = key.get(PREFIX..)?.try_into().ok()?;
        Some(u32::from_be_bytes(bytes))
    }

    /// A job.
    #[must_use]
    pub fn job(self, id: &str) -> Vec<u8> {
        self.key(Space::Job).raw(id.as_bytes()).0
    }

    /// A single value of the cluster.
    #[must_use]
    pub fn cluster(self, name: u8) -> Vec<u8> {
        self.key(Space::Cluster).byte(name).0
    }

    /// A login that was ended.
    #[must_use]
    pub fn login(self, login: u128) -> Vec<u8> {
        self.key(Space::Login).u128(login).0
    }
}

/// Bytes of group and space.
const PREFIX: usize = 5;
const SIGN: u64 = 1 << 63;

struct Builder(Vec<u8>);

impl Builder {
    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn byte(self, value: u8) -> Self {
        self.raw(&[value])
    }

    fn u16(self, value: u16) -> Self {
        self.raw(&value.to_be_bytes())
    }

    fn u32(self, value: u32) -> Self {
        self.raw(&value.to_be_bytes())
    }

    fn u64(self, value: u64) -> Self {
        self.raw(&value.to_be_bytes())
    }

    fn u128(self, value: u128) -> Self {
        self.raw(&value.to_be_bytes())
    }

    fn i64(self, value: i64) -> Self {
        self.u64(value.cast_unsigned() ^ SIGN)
    }

    fn text(mut self, text: &str) -> Self {
        for byte in text.bytes() {
            self.0.push(byte);
            if byte == 0 {
                self.0.push(0xFF);
            }
        }
        self.raw(&[0, 1])
    }

    fn maybe_text(self, text: Option<&str>) -> Self {
        match text {
            Some(text) => self.text(text),
            None => self,
        }
    }

    /// All keys that begin with what was built.
    fn span(self) -> KeySpan {
        let end = successor(&self.0);
        KeySpan { start: self.0, end }
    }
}

/// The smallest byte string above all that begin with `prefix`. No group is `u32::MAX` with only 0xFF after it, so one exists;
/// a prefix of 0xFF alone would give an empty range.
fn successor(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            return end;
        }
    }
    end
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

    use quickcheck::{Arbitrary, Gen, QuickCheck};

    use super::*;

    /// Parts of a key, drawn from few values so that ranges meet.
    #[derive(Clone, Debug)]
    struct Subject {
        group: u32,
        number: u64,
        small: u32,
        text: String,
        bytes: Vec<u8>,
        time: i64,
    }

    impl Arbitrary for Subject {
        fn arbitrary(g: &mut Gen) -> Self {
            let texts = ["", "a", "b", "a\0", "a\0b", "aa", "\0", "\u{1}", "ü"];
            Self {
                group: *g.choose(&[0, 1, 2, 255, 256, u32::MAX - 1]).unwrap(),
                number: *g.choose(&[0, 1, 2, 255, 256, u64::MAX - 1, u64::MAX]).unwrap(),
                small: *g.choose(&[0, 1, 255, u32::MAX]).unwrap(),
                text: (*g.choose(&texts).unwrap()).to_owned(),
                bytes: Vec::arbitrary(g),
                time: *g.choose(&[i64::MIN, -1, 0, 1, i64::MAX]).unwrap(),
            }
        }
    }

    /// One key per kind of subject.
    fn every_key(s: &Subject) -> Vec<(Space, Vec<u8>)> {
        let keys = Keys::new(s.group);
        let (id, request) = (ObjectId(s.number), RequestId { id: u128::from(s.number), ordinal: 3 });
        let row = keys.row(id, Some(&s.text), &s.bytes);
        let session = keys.session(&s.text, request);
        vec![
            (Space::Scalar, keys.scalar(1)),
            (Space::Catalog, keys.named_object(ObjectKind::Namespace, &s.text)),
            (Space::Catalog, keys.object(ObjectKind::Topic, id)),
            (Space::Row, row.clone()),
            (Space::Row, keys.row(id, None, &s.bytes)),
            (Space::RowEnd, keys.row_end(s.time, &row)),
            (Space::Session, session.clone()),
            (Space::SessionEnd, keys.session_end(s.time, &session)),
            (Space::Head, keys.head(id, s.small)),
            (Space::Message, keys.message(id, s.small, s.number)),
            (Space::Consumers, keys.consumers(id, s.small, &s.text)),
            (Space::Claim, keys.claim(id, s.small, &s.text, s.number)),
            (Space::Outbox, keys.outbox(s.small, s.number, s.small)),
            (Space::Inbox, keys.inbox(s.small)),
            (Space::OutboxPosition, keys.outbox_position(s.small)),
            (Space::Job, keys.job(&s.text)),
            (Space::Cluster, keys.cluster(2)),
            (Space::Login, keys.login(u128::from(s.number))),
        ]
    }

    #[test]
    fn every_key_lies_in_its_group_and_in_its_space_and_in_no_other() {
        fn holds(s: Subject, other_group: u8) -> bool {
            let keys = Keys::new(s.group);
            let stranger = Keys::new(u32::from(other_group));
            every_key(&s).into_iter().all(|(space, key)| {
                keys.all().contains(&key)
                    && (stranger.group() == s.group) == stranger.all().contains(&key)
                    && SPACES.iter().all(|candidate| keys.space(*candidate).contains(&key) == (*candidate == space))
            })
        }
        QuickCheck::new().quickcheck(holds as fn(Subject, u8) -> bool);
    }

    #[test]
    fn a_users_rows_hold_exactly_that_users_keys() {
        fn holds(s: Subject, t: Subject, start: Vec<u8>, end: Option<Vec<u8>>) -> bool {
            let keys = Keys::new(s.group);
            let (mine, theirs) = (ObjectId(s.number), ObjectId(t.number));
            let key = keys.row(theirs, Some(&t.text), &t.bytes);
            let inside =
                mine == theirs && s.text == t.text && start <= t.bytes && end.as_ref().is_none_or(|end| t.bytes < *end);
            keys.rows(mine, Some(&s.text), &start, end.as_deref()).contains(&key) == inside
                && keys.rows_of_table(mine).contains(&key) == (mine == theirs)
                && (keys.row_key_of(mine, Some(&s.text), &key) == Some(t.bytes.as_slice()))
                    == (mine == theirs && s.text == t.text)
        }
        QuickCheck::new().tests(2000).quickcheck(holds as fn(Subject, Subject, Vec<u8>, Option<Vec<u8>>) -> bool);
    }

    #[test]
    fn a_shared_tables_rows_hold_exactly_its_keys() {
        fn holds(s: Subject, t: Subject, start: Vec<u8>, end: Option<Vec<u8>>) -> bool {
            let keys = Keys::new(s.group);
            let (mine, theirs) = (ObjectId(s.number), ObjectId(t.number));
            let inside = mine == theirs && start <= t.bytes && end.as_ref().is_none_or(|end| t.bytes < *end);
            keys.rows(mine, None, &start, end.as_deref()).contains(&keys.row(theirs, None, &t.bytes)) == inside
        }
        QuickCheck::new().tests(2000).quickcheck(holds as fn(Subject, Subject, Vec<u8>, Option<Vec<u8>>) -> bool);
    }

    #[test]
    fn topic_ranges_hold_exactly_their_topic_partition_and_group() {
        fn holds(s: Subject, t: Subject) -> bool {
            let keys = Keys::new(s.group);
            let (mine, theirs) = (ObjectId(s.number), ObjectId(t.number));
            let same_topic = mine == theirs;
            let same_partition = same_topic && s.small == t.small;
            let message = keys.message(theirs, t.small, t.number);
            let claim = keys.claim(theirs, t.small, &t.text, t.number);
            let consumers = keys.consumers(theirs, t.small, &t.text);
            keys.heads_of_topic(mine).contains(&keys.head(theirs, t.small)) == same_topic
                && keys.messages_of_topic(mine).contains(&message) == same_topic
                && keys.messages_from(mine, s.small, s.number).contains(&message)
                    == (same_partition && t.number >= s.number)
                && keys.messages_below(mine, s.small, s.number).contains(&message)
                    == (same_partition && t.number < s.number)
                && keys.consumers_of_topic(mine).contains(&consumers) == same_topic
                && keys.consumers_of_partition(mine, s.small).contains(&consumers) == same_partition
                && keys.claims_of_topic(mine).contains(&claim) == same_topic
                && keys.claims_of_partition(mine, s.small).contains(&claim) == same_partition
                && keys.claims_of_group(mine, s.small, &s.text).contains(&claim) == (same_partition && s.text == t.text)
                && Keys::offset_of(&message) == Some(t.number)
                && Keys::consumers_parts(&consumers) == Some((theirs, t.small, t.text.as_str()))
        }
        QuickCheck::new().tests(2000).quickcheck(holds as fn(Subject, Subject) -> bool);
    }

    #[test]
    fn outbox_ranges_split_a_destinations_records_at_an_index() {
        fn holds(s: Subject, t: Subject) -> bool {
            let keys = Keys::new(s.group);
            let record = keys.outbox(t.small, t.number, 7);
            let same = s.small == t.small;
            keys.outbox_after(s.small, s.number).contains(&record) == (same && t.number > s.number)
                && keys.outbox_upto(s.small, s.number).contains(&record) == (same && t.number <= s.number)
                && Keys::outbox_parts(&record) == Some((t.small, t.number, 7))
                && Keys::peer_of(&keys.inbox(t.small)) == Some(t.small)
        }
        QuickCheck::new().tests(2000).quickcheck(holds as fn(Subject, Subject) -> bool);
    }

    #[test]
    fn ends_sort_by_time_and_lead_back_to_what_ends() {
        fn holds(s: Subject, t: Subject) -> bool {
            let keys = Keys::new(s.group);
            let row = keys.row(ObjectId(t.number), Some(&t.text), &t.bytes);
            let session = keys.session(&t.text, RequestId { id: u128::from(t.number), ordinal: 1 });
            let (row_end, session_end) = (keys.row_end(t.time, &row), keys.session_end(t.time, &session));
            keys.row_of_end(&row_end).as_ref() == Some(&row)
                && keys.session_of_end(&session_end).as_ref() == Some(&session)
                && Keys::end_time(&row_end) == Some(t.time)
                && keys.row_ends_before(s.time).contains(&row_end) == (t.time < s.time)
                && keys.session_ends_before(s.time).contains(&session_end) == (t.time < s.time)
        }
        QuickCheck::new().tests(2000).quickcheck(holds as fn(Subject, Subject) -> bool);
    }

    #[test]
    fn sessions_of_one_principal_never_meet_anothers() {
        fn holds(s: Subject, t: Subject) -> bool {
            let keys = Keys::new(s.group);
            let request = RequestId { id: 1, ordinal: 0 };
            (keys.session(&s.text, request) == keys.session(&t.text, request)) == (s.text == t.text)
        }
        QuickCheck::new().tests(2000).quickcheck(holds as fn(Subject, Subject) -> bool);
    }

    #[test]
    fn the_layout_is_as_drawn() {
        let keys = Keys::new(0x0102_0304);
        assert_eq!(
            keys.row(ObjectId(5), Some("a\0"), &[9]),
            [1, 2, 3, 4, 0x10, 0, 0, 0, 0, 0, 0, 0, 5, b'a', 0, 0xFF, 0, 1, 9]
        );
        assert_eq!(keys.outbox(1, 2, 3), [1, 2, 3, 4, 0x40, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 3]);
        assert_eq!(keys.head(ObjectId(1), 2), [1, 2, 3, 4, 0x30, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2]);
    }
}
