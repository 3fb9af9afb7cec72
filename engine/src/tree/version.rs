//! A version: the tables of all levels at one moment, never changed.

use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
use highwater_runtime::Env;

use super::Lookup;
use super::cache::BlockCache;
use super::cursor::{Direction, Span};
use super::run::RunFeed;
use super::table::{Table, filter};
use crate::error::EngineError;
use crate::ids::{Expiry, Seq};
use crate::manifest::{Levels, ManifestState, TableMeta};

/// Disjoint open tables in key order.
pub(crate) struct OpenRun<E: Env> {
    tables: Vec<Rc<Table<E>>>,
}

impl<E: Env> OpenRun<E> {
    /// The table that speaks of `key`.
    fn table_of(&self, key: &[u8]) -> Option<&Rc<Table<E>>> {
        let at = self.tables.partition_point(|table| table.meta.end.as_ref() <= key);
        self.tables.get(at).filter(|table| table.meta.start.as_ref() <= key)
    }

    /// The tables that speak of keys in `span`.
    fn within(&self, span: &Span) -> &[Rc<Table<E>>] {
        let from = self.tables.partition_point(|table| table.meta.end <= span.start);
        let behind = |end: &Bytes| self.tables.partition_point(|table| table.meta.start < *end);
        let upto = span.end.as_ref().map_or(self.tables.len(), behind);
        self.tables.get(from..upto).unwrap_or_default()
    }
}

/// The tables at one moment.
pub(crate) struct Version<E: Env> {
    /// The runs of all levels, newest first: of one key, what an earlier run says is newer.
    runs: Vec<OpenRun<E>>,
    /// The same as the manifest has it, by level.
    pub(crate) levels: Levels,
    cache: Rc<BlockCache>,
}

impl<E: Env> Version<E> {
    /// The version that the manifest describes, made of open tables.
    /// `None` when one of them is not open: a defect of the caller.
    pub(crate) fn of(state: &ManifestState, open: &[Rc<Table<E>>], cache: Rc<BlockCache>) -> Option<Self> {
        let by_id: BTreeMap<u64, &Rc<Table<E>>> = open.iter().map(|table| (table.meta.table, table)).collect();
        let mut runs = Vec::new();
        for run in state.levels.iter().flatten() {
            let find = |meta: &TableMeta| by_id.get(&meta.table).map(|table| Rc::clone(table));
            runs.push(OpenRun { tables: run.tables.iter().map(find).collect::<Option<Vec<_>>>()? });
        }
        Some(Self { runs, levels: state.levels.clone(), cache })
    }

    pub(crate) fn tables(&self) -> impl Iterator<Item = &Rc<Table<E>>> {
        self.runs.iter().flat_map(|run| &run.tables)
    }

    /// The open tables with these ids, in the order of the ids.
    pub(crate) fn named(&self, ids: &[u64]) -> Vec<Rc<Table<E>>> {
        ids.iter().filter_map(|id| self.tables().find(|table| table.meta.table == *id)).cloned().collect()
    }

    /// Number of runs of a level.
    pub(crate) fn runs_of(&self, level: usize) -> usize {
        self.levels.get(level).map_or(0, Vec::len)
    }

    /// The tables that speak of `key`, newest first.
    fn candidates<'a>(&'a self, key: &'a [u8]) -> impl Iterator<Item = &'a Rc<Table<E>>> + 'a {
        self.runs.iter().filter_map(move |run| run.table_of(key))
    }

    /// The value of `key` at `at`, and when it has expired.
    pub(crate) async fn get(&self, key: &[u8], at: Seq) -> Result<Option<(Bytes, Expiry)>, EngineError> {
        let hash = filter::hash(key);
        for table in self.candidates(key) {
            let cached = table.get_cached(&self.cache, key, hash, at)?;
            let lookup = match cached {
                Some(lookup) => lookup,
                None => table.get(&self.cache, key, hash, at).await?,
            };
            match lookup {
                Lookup::Found(value, expires_at) => return Ok(Some((value, expires_at))),
                Lookup::Deleted => return Ok(None),
                Lookup::Unknown => {}
            }
        }
        Ok(None)
    }

    /// What a cursor over `span` reads: each run of each level.
    pub(crate) fn feeds(&self, span: &Span, direction: Direction) -> Vec<RunFeed<E>> {
        let mut feeds = Vec::new();
        for run in &self.runs {
            let tables = run.within(span).to_vec();
            if !tables.is_empty() {
                feeds.push(RunFeed::new(tables, direction, Some(&self.cache)).within(span));
            }
        }
        feeds
    }
}
