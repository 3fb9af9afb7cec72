//! Keys of rows, of what is kept beside them (index entries, sequences), and of the ends of STREAM rows.

use highwater_sql::catalog::{ColumnId, ObjectId};
use highwater_sql::value::Micros;

use super::builder::PREFIX;
use super::{KeySpan, Keys, Space};

impl Keys {
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
}
