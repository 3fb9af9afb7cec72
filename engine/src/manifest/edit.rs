//! The edits of the manifest and the state that they add up to.
//!
//! ```text
//! edit   = fields, each: tag u8 | body
//!  1 identity       database u64 | store u32                      first field of a snapshot: the state before it is void
//!  2 add table      level u8 | run varint | table varint | start prefixed | end prefixed | footer varint | checksum u32
//!                   | versions varint | deletes varint | range deletes varint | oldest varint | newest varint
//!                   | expiring varint | first expiry varint, last expiry varint, both only if expiring is not 0
//!  3 drop table     table varint
//!  4 group          group varint | incarnation u64 | flushed varint | log start varint | log start term varint
//!                   | since varint
//!  5 log tail       segment varint
//!  6 log durable    block sequence varint
//!  7 next table     table varint
//!  8 last sequence  sequence varint
//! ```

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::codec::{Malformed, Reader, put_prefixed, put_varint};
use crate::ids::{Expiry, GroupId, Incarnation, LogIndex, Term};

/// Number of levels, 0 included.
pub const LEVELS: usize = 7;

/// Where a table is in the tree.
///
/// A level holds runs; within a run, tables are disjoint and in key order. A run with a higher id is newer: for one key,
/// everything in it is newer than everything in runs with lower ids and in the levels below. A flush makes a run of level 0, with
/// the id of its first table; what is merged from several runs has the id of the newest. Run 0 is the level's settled run: the
/// oldest, into which leveled compaction merges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The level, 0 on top.
    pub level: usize,
    /// The run within the level.
    pub run: u64,
}

/// The settled run of a level below 0.
pub const SETTLED: u64 = 0;

/// Disjoint tables in key order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its id; newer runs have higher ones.
    pub id: u64,
    /// Its tables, never none.
    pub tables: Vec<TableMeta>,
}

impl Run {
    /// Bytes of its files.
    pub(crate) fn bytes(&self) -> u64 {
        self.tables.iter().map(TableMeta::bytes).sum()
    }

    /// Its tables that speak of a key in the range; `None` is no bound.
    #[must_use]
    pub fn overlapping(&self, start: &[u8], end: Option<&[u8]>) -> &[TableMeta] {
        let from = self.tables.partition_point(|table| table.end.as_ref() <= start);
        let upto = end.map_or(self.tables.len(), |end| self.tables.partition_point(|table| table.start.as_ref() < end));
        self.tables.get(from..upto).unwrap_or_default()
    }
}

/// The runs of every level, newest first.
pub type Levels = Vec<Vec<Run>>;

/// A table as the manifest knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableMeta {
    /// Its id, never reused; also its file name.
    pub table: u64,
    /// The first key that it speaks of.
    pub start: Bytes,
    /// The key behind the last.
    pub end: Bytes,
    /// Offset of its footer, which is its last block.
    pub footer_at: u64,
    /// Checksum of its footer.
    pub checksum: u32,
    /// Number of versions.
    pub entries: u64,
    /// Number of deletes, range deletes included.
    pub deletes: u64,
    /// Number of range deletes.
    pub range_deletes: u64,
    /// Its oldest sequence number.
    pub oldest: u64,
    /// Its newest sequence number.
    pub newest: u64,
    /// Number of versions that expire.
    pub expiring: u64,
    /// When the first of them has expired; never when there is none.
    pub first_expiry: Expiry,
    /// When the last of them has expired; never when there is none.
    pub last_expiry: Expiry,
}

impl TableMeta {
    /// Bytes of its file.
    pub(crate) const fn bytes(&self) -> u64 {
        self.footer_at + highwater_runtime::BLOCK as u64
    }

    /// Whether nothing in it is for ever: every version is a delete or expires.
    #[must_use]
    pub const fn all_expire(&self) -> bool {
        self.expiring > 0 && self.expiring + (self.deletes - self.range_deletes) == self.entries
    }

    /// A small table of puts, for tests.
    #[cfg(test)]
    pub(crate) fn plain(table: u64, start: &str, end: &str) -> Self {
        Self {
            table,
            start: Bytes::copy_from_slice(start.as_bytes()),
            end: Bytes::copy_from_slice(end.as_bytes()),
            footer_at: 4096,
            checksum: 7,
            entries: 3,
            deletes: 0,
            range_deletes: 0,
            oldest: 0,
            newest: 0,
            expiring: 0,
            first_expiry: Expiry::NEVER,
            last_expiry: Expiry::NEVER,
        }
    }

    /// Whether it speaks of a key in the range; `None` is no bound.
    pub(crate) fn overlaps(&self, start: &[u8], end: Option<&[u8]>) -> bool {
        self.end.as_ref() > start && end.is_none_or(|end| self.start.as_ref() < end)
    }
}

/// The most bytes that a table is said to have, and the most versions: far more than one is ever given.
const MAX_TABLE: u64 = 1 << 40;

/// What the tables know of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupMark {
    /// The replica's life.
    pub incarnation: Incarnation,
    /// The tables contain exactly the effects of entries up to this.
    pub flushed: LogIndex,
    /// The log holds entries behind this.
    pub start: LogIndex,
    /// Term of that entry.
    pub start_term: Term,
    /// What blocks of the log up to this say of the group is void: a snapshot has replaced it. 0 when none has.
    pub since: u64,
}

/// A change of the manifest's state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edit {
    /// Present in a snapshot: database and store.
    pub identity: Option<(u64, u32)>,
    /// New tables with their place.
    pub added: Vec<(Place, TableMeta)>,
    /// Tables that are gone.
    pub dropped: Vec<u64>,
    /// New marks.
    pub groups: BTreeMap<GroupId, GroupMark>,
    /// The oldest live segment of the log.
    pub log_tail: Option<u64>,
    /// A durable block of the log.
    pub log_durable: Option<u64>,
    /// Table ids from this on are unused.
    pub next_table: Option<u64>,
    /// No sequence number in the tables is higher.
    pub last_seq: Option<u64>,
}

impl Edit {
    /// The edit's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if let Some((database, store)) = self.identity {
            out.push(1);
            out.extend_from_slice(&database.to_le_bytes());
            out.extend_from_slice(&store.to_le_bytes());
        }
        for (place, meta) in &self.added {
            out.push(2);
            out.push(place.level as u8);
            put_varint(&mut out, place.run);
            put_varint(&mut out, meta.table);
            put_prefixed(&mut out, &meta.start);
            put_prefixed(&mut out, &meta.end);
            put_varint(&mut out, meta.footer_at);
            out.extend_from_slice(&meta.checksum.to_le_bytes());
            let counts = [meta.entries, meta.deletes, meta.range_deletes, meta.oldest, meta.newest, meta.expiring];
            let expiries = [meta.first_expiry.0, meta.last_expiry.0];
            let expiries = if meta.expiring == 0 { &[][..] } else { &expiries };
            for number in counts.iter().chain(expiries) {
                put_varint(&mut out, *number);
            }
        }
        for table in &self.dropped {
            out.push(3);
            put_varint(&mut out, *table);
        }
        for (group, mark) in &self.groups {
            out.push(4);
            put_varint(&mut out, u64::from(group.0));
            out.extend_from_slice(&mark.incarnation.0.to_le_bytes());
            for number in [mark.flushed.0, mark.start.0, mark.start_term.0, mark.since] {
                put_varint(&mut out, number);
            }
        }
        for (tag, number) in [(5, self.log_tail), (6, self.log_durable), (7, self.next_table), (8, self.last_seq)] {
            if let Some(number) = number {
                out.push(tag);
                put_varint(&mut out, number);
            }
        }
        out
    }

    /// Reads an edit.
    ///
    /// # Errors
    /// On bytes that are no edit.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let mut edit = Self::default();
        while !reader.is_empty() {
            let unknown = reader.error("an unknown field of an edit");
            match reader.u8()? {
                1 => edit.identity = Some((reader.u64()?, reader.u32()?)),
                2 => {
                    let level = usize::from(reader.u8()?);
                    if level >= LEVELS {
                        return Err(reader.error("a level that does not exist"));
                    }
                    let place = Place { level, run: reader.varint()? };
                    edit.added.push((place, read_table(&mut reader)?));
                }
                3 => edit.dropped.push(reader.varint()?),
                4 => {
                    let wide = reader.error("a group id exceeds 32 bits");
                    let group = GroupId(u32::try_from(reader.varint()?).map_err(|_| wide)?);
                    let mark = GroupMark {
                        incarnation: Incarnation(reader.u64()?),
                        flushed: LogIndex(reader.varint()?),
                        start: LogIndex(reader.varint()?),
                        start_term: Term(reader.varint()?),
                        since: reader.varint()?,
                    };
                    edit.groups.insert(group, mark);
                }
                5 => edit.log_tail = Some(reader.varint()?),
                6 => edit.log_durable = Some(reader.varint()?),
                7 => edit.next_table = Some(reader.varint()?),
                8 => edit.last_seq = Some(reader.varint()?),
                _ => return Err(unknown),
            }
        }
        Ok(edit)
    }
}

fn read_table(reader: &mut Reader<'_>) -> Result<TableMeta, Malformed> {
    let mut meta = TableMeta {
        table: reader.varint()?,
        start: Bytes::copy_from_slice(reader.prefixed()?),
        end: Bytes::copy_from_slice(reader.prefixed()?),
        footer_at: reader.varint()?,
        checksum: reader.u32()?,
        entries: reader.varint()?,
        deletes: reader.varint()?,
        range_deletes: reader.varint()?,
        oldest: reader.varint()?,
        newest: reader.varint()?,
        expiring: reader.varint()?,
        first_expiry: Expiry::NEVER,
        last_expiry: Expiry::NEVER,
    };
    if meta.start >= meta.end {
        return Err(reader.error("a table that speaks of no key"));
    }
    check_sizes(reader, &meta)?;
    if meta.range_deletes > meta.deletes || meta.deletes - meta.range_deletes > meta.entries {
        return Err(reader.error("more deletes than versions"));
    }
    if meta.expiring > meta.entries - (meta.deletes - meta.range_deletes) {
        return Err(reader.error("more versions expire than have a value"));
    }
    if meta.expiring > 0 {
        meta.first_expiry = Expiry(reader.varint()?);
        meta.last_expiry = Expiry(reader.varint()?);
    }
    Ok(meta)
}

/// Refuses sizes that no table has, whose sums could overflow.
pub(crate) fn check_sizes(reader: &Reader<'_>, meta: &TableMeta) -> Result<(), Malformed> {
    if meta.footer_at > MAX_TABLE {
        return Err(reader.error("a table is larger than any can be"));
    }
    if meta.entries > MAX_TABLE || meta.deletes > MAX_TABLE {
        return Err(reader.error("a table has more versions than any can have"));
    }
    Ok(())
}

/// What all edits add up to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestState {
    /// Database and store.
    pub identity: (u64, u32),
    /// Tables by level and run.
    pub levels: Levels,
    /// Marks of the groups.
    pub groups: BTreeMap<GroupId, GroupMark>,
    /// The oldest live segment of the log; 0 before the first.
    pub log_tail: u64,
    /// A durable block of the log.
    pub log_durable: u64,
    /// Table ids from this on are unused.
    pub next_table: u64,
    /// No sequence number in the tables is higher.
    pub last_seq: u64,
}

impl ManifestState {
    /// An empty store.
    #[must_use]
    pub fn new(database: u64, store: u32) -> Self {
        Self {
            identity: (database, store),
            levels: vec![Vec::new(); LEVELS],
            groups: BTreeMap::new(),
            log_tail: 0,
            log_durable: 0,
            next_table: 1,
            last_seq: 0,
        }
    }

    /// The state as one edit.
    #[must_use]
    pub fn snapshot(&self) -> Edit {
        let mut added = Vec::new();
        for (level, runs) in self.levels.iter().enumerate() {
            for run in runs {
                let place = Place { level, run: run.id };
                added.extend(run.tables.iter().map(|table| (place, table.clone())));
            }
        }
        Edit {
            identity: Some(self.identity),
            added,
            dropped: Vec::new(),
            groups: self.groups.clone(),
            log_tail: Some(self.log_tail),
            log_durable: Some(self.log_durable),
            next_table: Some(self.next_table),
            last_seq: Some(self.last_seq),
        }
    }

    /// Lets an edit take effect.
    ///
    /// # Errors
    /// When it does not fit the state: a defect or damage.
    pub fn apply(&mut self, edit: &Edit) -> Result<(), &'static str> {
        if let Some((database, store)) = edit.identity {
            *self = Self::new(database, store);
        }
        for table in &edit.dropped {
            self.drop_table(*table)?;
        }
        for (place, meta) in &edit.added {
            self.add_table(*place, meta)?;
        }
        self.groups.extend(edit.groups.iter().map(|(group, mark)| (*group, *mark)));
        self.log_tail = self.log_tail.max(edit.log_tail.unwrap_or(0));
        self.log_durable = self.log_durable.max(edit.log_durable.unwrap_or(0));
        self.next_table = self.next_table.max(edit.next_table.unwrap_or(0));
        self.last_seq = self.last_seq.max(edit.last_seq.unwrap_or(0));
        Ok(())
    }

    fn drop_table(&mut self, table: u64) -> Result<(), &'static str> {
        for runs in &mut self.levels {
            for at in 0..runs.len() {
                let Some(run) = runs.get_mut(at) else { continue };
                let Some(found) = run.tables.iter().position(|held| held.table == table) else { continue };
                run.tables.remove(found);
                if run.tables.is_empty() {
                    runs.remove(at);
                }
                return Ok(());
            }
        }
        Err("an edit drops a table that does not exist")
    }

    fn add_table(&mut self, place: Place, meta: &TableMeta) -> Result<(), &'static str> {
        if self.tables().any(|held| held.table == meta.table) {
            return Err("an edit adds a table that exists");
        }
        let Some(runs) = self.levels.get_mut(place.level) else {
            return Err("an edit names a level that does not exist");
        };
        let at = runs.partition_point(|run| run.id > place.run);
        if let Some(run) = runs.get_mut(at).filter(|run| run.id == place.run) {
            let at = run.tables.partition_point(|held| held.start < meta.start);
            let before = at.checked_sub(1).and_then(|at| run.tables.get(at));
            let overlap = before.is_some_and(|before| before.end > meta.start)
                || run.tables.get(at).is_some_and(|behind| behind.start < meta.end);
            if overlap {
                return Err("an edit makes two tables of a run overlap");
            }
            run.tables.insert(at, meta.clone());
        } else {
            runs.insert(at, Run { id: place.run, tables: vec![meta.clone()] });
        }
        Ok(())
    }

    /// Every table.
    pub fn tables(&self) -> impl Iterator<Item = &TableMeta> {
        self.levels.iter().flatten().flat_map(|run| &run.tables)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    fn table(table: u64, start: &'static str, end: &'static str) -> TableMeta {
        TableMeta { entries: 1, oldest: 2, newest: 3, ..TableMeta::plain(table, start, end) }
    }

    const fn at(level: usize, run: u64) -> Place {
        Place { level, run }
    }

    #[test]
    fn an_edit_has_fixed_bytes_and_comes_back() {
        let mark = GroupMark {
            incarnation: Incarnation(1),
            flushed: LogIndex(5),
            start: LogIndex(4),
            start_term: Term(2),
            since: 300,
        };
        let expiring = TableMeta {
            deletes: 2,
            range_deletes: 2,
            expiring: 1,
            first_expiry: Expiry(5),
            last_expiry: Expiry(6),
            ..table(4, "a", "b")
        };
        assert!(expiring.all_expire());
        let edit = Edit {
            identity: Some((9, 1)),
            added: vec![(at(1, 0), table(3, "a", "b")), (at(0, 300), expiring)],
            dropped: vec![2],
            groups: BTreeMap::from([(GroupId(6), mark)]),
            log_tail: Some(1),
            log_durable: Some(2),
            next_table: Some(4),
            last_seq: Some(300),
        };
        let mut expected = b"\x01\x09\0\0\0\0\0\0\0\x01\0\0\0".to_vec();
        expected.extend_from_slice(b"\x02\x01\0\x03\x01a\x01b\x80\x20\x07\0\0\0\x01\0\0\x02\x03\0");
        expected.extend_from_slice(
            b"\x02\0\xac\x02\x04\x01a\x01b\x80\x20\x07\0\0\0\x01\x02\x02\x02\x03\x01\x05\x06\x03\x02",
        );
        expected.extend_from_slice(b"\x04\x06\x01\0\0\0\0\0\0\0\x05\x04\x02\xac\x02");
        expected.extend_from_slice(b"\x05\x01\x06\x02\x07\x04\x08\xac\x02");
        assert_eq!(edit.encode(), expected);
        assert_eq!(Edit::decode(&expected), Ok(edit));
    }

    #[test]
    fn a_snapshot_restores_the_state_with_the_order_of_runs() {
        let mut state = ManifestState::new(1, 2);
        let added = vec![
            (at(0, 1), table(1, "a", "c")),
            (at(0, 2), table(2, "a", "c")),
            (at(0, 2), table(5, "d", "e")),
            (at(1, SETTLED), table(3, "c", "d")),
            (at(1, 1), table(6, "c", "d")),
            (at(1, SETTLED), table(4, "a", "b")),
        ];
        state.apply(&Edit { added, log_tail: Some(3), ..Edit::default() }).unwrap();
        let drawn = |level: usize| -> Vec<(u64, Vec<u64>)> {
            let run = |run: &Run| (run.id, run.tables.iter().map(|table| table.table).collect());
            state.levels[level].iter().map(run).collect()
        };
        assert_eq!(drawn(0), [(2, vec![2, 5]), (1, vec![1])]);
        assert_eq!(drawn(1), [(1, vec![6]), (0, vec![4, 3])]);
        let mut again = ManifestState::new(0, 0);
        again.apply(&state.snapshot()).unwrap();
        assert_eq!(again, state);
    }

    #[test]
    fn edits_that_do_not_fit_are_refused() {
        let mut state = ManifestState::new(1, 2);
        let added = |place, table| Edit { added: vec![(place, table)], ..Edit::default() };
        state.apply(&added(at(1, 0), table(1, "a", "c"))).unwrap();
        assert!(state.clone().apply(&added(at(1, 0), table(2, "b", "d"))).is_err());
        assert!(state.clone().apply(&added(at(1, 1), table(2, "b", "d"))).is_ok(), "runs may overlap");
        assert!(state.clone().apply(&added(at(2, 0), table(1, "x", "y"))).is_err());
        assert!(state.apply(&Edit { dropped: vec![9], ..Edit::default() }).is_err());
        state.apply(&Edit { dropped: vec![1], ..Edit::default() }).unwrap();
        assert!(state.levels.iter().all(Vec::is_empty), "a run without tables is gone");
    }

    #[test]
    fn a_table_that_speaks_of_no_key_is_refused() {
        for (start, end) in [("b", "a"), ("a", "a")] {
            let added = vec![(Place { level: 1, run: SETTLED }, table(1, start, end))];
            assert!(Edit::decode(&Edit { added, ..Edit::default() }.encode()).is_err());
        }
    }

    #[test]
    fn sizes_that_no_table_has_are_refused() {
        let refused = |meta: TableMeta| {
            Edit::decode(&Edit { added: vec![(at(1, 0), meta)], ..Edit::default() }.encode()).is_err()
        };
        assert!(!refused(table(1, "a", "b")));
        assert!(refused(TableMeta { footer_at: u64::MAX, ..table(1, "a", "b") }));
        assert!(refused(TableMeta { entries: u64::MAX, ..table(1, "a", "b") }));
        assert!(refused(TableMeta { entries: 0, deletes: u64::MAX, range_deletes: u64::MAX, ..table(1, "a", "b") }));
    }

    #[test]
    fn no_bytes_make_the_decoder_panic() {
        fn property(bytes: Vec<u8>) -> bool {
            let _ = Edit::decode(&bytes);
            true
        }
        quickcheck::quickcheck(property as fn(Vec<u8>) -> bool);
    }
}
