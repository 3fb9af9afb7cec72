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

mod builder;
mod exchange;
mod rows;
mod sessions;
mod span;
#[cfg(test)]
mod tests;
mod topics;

use highwater_sql::catalog::ObjectId;

use builder::Builder;
pub use span::KeySpan;

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
