//! What a transaction has read of the store, so that its commit can tell whether that is still so.
//!
//! A key is kept with a hash of its value, a range with the number and a hash of its pairs: a row that appeared in a range, changed or
//! went is seen, whatever was done to it in between. Own writes over the store are no reads of it. Nothing here depends on time: two
//! replicas that hold the same keys and values agree.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
use highwater_engine::Direction;
use highwater_runtime::Env;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3Default, xxh3_128};

use crate::error::StateError;
use crate::keys::KeySpan;
use crate::reader::{Reader, Scan};
use crate::txn::{MAX_BYTES_PER_COMMAND, MAX_ROWS_PER_COMMAND};

/// Most bytes that the keys and ranges of one transaction take in its commit.
pub const MAX_READ_SET_BYTES: usize = 1 << 20;
/// What a key or range takes beside its bytes, more or less.
const ITEM_BYTES: usize = 24;

/// Keys and ranges that were read of a store, with what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadSet {
    /// By key: a hash of its value, `None` where there was none.
    keys: BTreeMap<Vec<u8>, Option<u128>>,
    /// By start and end (exclusive).
    ranges: BTreeMap<(Vec<u8>, Vec<u8>), Pairs>,
}

/// What a range held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Pairs {
    count: u64,
    hash: u128,
}

impl ReadSet {
    /// Whether nothing was read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.ranges.is_empty()
    }

    /// Whether the store still holds what was found. Reads no more than was read then, and one pair per range.
    pub(super) async fn holds<E: Env>(&self, reader: &Reader<E>) -> Result<bool, StateError> {
        for (key, expected) in &self.keys {
            if reader.get(key).await?.map(|value| xxh3_128(&value)) != *expected {
                return Ok(false);
            }
        }
        for ((start, end), expected) in &self.ranges {
            let span = KeySpan { start: start.clone(), end: end.clone() };
            let mut scan = reader.scan(&span).await?;
            let mut found = Tally::default();
            while let Some((key, value)) = scan.next().await? {
                found.add(&key, &value);
                if found.count > expected.count {
                    return Ok(false);
                }
            }
            if found.pairs() != *expected {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Counts and hashes pairs.
#[derive(Default)]
struct Tally {
    count: u64,
    hash: Xxh3Default,
}

impl Tally {
    fn add(&mut self, key: &[u8], value: &[u8]) {
        self.count += 1;
        for part in [key, value] {
            self.hash.update(&(part.len() as u64).to_le_bytes());
            self.hash.update(part);
        }
    }

    fn pairs(&self) -> Pairs {
        Pairs { count: self.count, hash: self.hash.digest128() }
    }
}

/// A read set that grows. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Recorder(Rc<RefCell<Recorded>>);

#[derive(Default)]
struct Recorded {
    set: ReadSet,
    rows: usize,
    bytes: usize,
    /// Bytes of the set.
    weight: usize,
}

impl Recorded {
    fn is_over(&self) -> bool {
        self.rows > MAX_ROWS_PER_COMMAND || self.bytes > MAX_BYTES_PER_COMMAND || self.weight > MAX_READ_SET_BYTES
    }
}

impl Recorder {
    /// A key was read.
    pub fn key(&self, key: &[u8], value: Option<&[u8]>) {
        let mut all = self.0.borrow_mut();
        if all.is_over() || all.set.keys.contains_key(key) {
            return;
        }
        all.rows += 1;
        all.bytes += key.len() + value.map_or(0, <[u8]>::len);
        all.weight += key.len() + ITEM_BYTES;
        all.set.keys.insert(key.to_vec(), value.map(xxh3_128));
    }

    fn range(&self, start: &[u8], end: &[u8], pairs: Pairs, bytes: usize) {
        let mut all = self.0.borrow_mut();
        if all.is_over() {
            return;
        }
        let range = (start.to_vec(), end.to_vec());
        if all.set.ranges.contains_key(&range) {
            return;
        }
        all.rows += usize::try_from(pairs.count).unwrap_or(usize::MAX);
        all.bytes += bytes;
        all.weight += start.len() + end.len() + ITEM_BYTES;
        all.set.ranges.insert(range, pairs);
    }

    /// Whether more was read than a commit can look at again.
    pub fn is_over(&self) -> bool {
        self.0.borrow().is_over()
    }

    /// What was read so far.
    pub fn set(&self) -> ReadSet {
        self.0.borrow().set.clone()
    }
}

/// A scan of the store. When it is dropped, what it has read is recorded: the whole range, or the part up to the last pair, backwards the
/// part from it on.
pub(crate) struct WatchedScan<E: Env> {
    scan: Scan<E>,
    watch: Option<Watch>,
    is_done: bool,
}

struct Watch {
    recorder: Recorder,
    span: KeySpan,
    tally: Tally,
    bytes: usize,
    last: Option<Bytes>,
    /// Backwards: pairs to be counted in the order of keys, as long as a commit could look at them again.
    backwards: Option<Vec<(Bytes, Bytes)>>,
}

impl Watch {
    fn see(&mut self, key: &Bytes, value: &Bytes) {
        self.bytes += key.len() + value.len();
        self.last = Some(key.clone());
        match &mut self.backwards {
            None => self.tally.add(key, value),
            Some(pairs) if pairs.len() <= MAX_ROWS_PER_COMMAND && self.bytes <= MAX_BYTES_PER_COMMAND => {
                pairs.push((key.clone(), value.clone()));
            }
            Some(_) => {}
        }
    }
}

impl<E: Env> WatchedScan<E> {
    /// Opens a range, which must not be empty.
    pub async fn open(
        reader: &Reader<E>,
        span: &KeySpan,
        direction: Direction,
        recorder: Option<&Recorder>,
    ) -> Result<Self, StateError> {
        let watch = recorder.map(|recorder| Watch {
            recorder: recorder.clone(),
            span: span.clone(),
            tally: Tally::default(),
            bytes: 0,
            last: None,
            backwards: (direction == Direction::Reverse).then(Vec::new),
        });
        Ok(Self { scan: reader.scan_in(span, direction).await?, watch, is_done: false })
    }

    /// Whether the end was reached.
    pub const fn is_done(&self) -> bool {
        self.is_done
    }

    /// Whether what is read is recorded.
    pub const fn is_watched(&self) -> bool {
        self.watch.is_some()
    }

    /// The value of the next pair, of a scan that is not watched.
    pub async fn next_value(&mut self) -> Result<Option<Bytes>, StateError> {
        self.scan.next_value().await
    }

    pub async fn next(&mut self) -> Result<Option<(Bytes, Bytes)>, StateError> {
        let pair = self.scan.next().await?;
        match (&pair, &mut self.watch) {
            (None, _) => self.is_done = true,
            (Some((key, value)), Some(watch)) => watch.see(key, value),
            (Some(_), None) => {}
        }
        Ok(pair)
    }
}

impl<E: Env> Drop for WatchedScan<E> {
    fn drop(&mut self) {
        let Some(Watch { recorder, span, mut tally, bytes, last, backwards }) = self.watch.take() else { return };
        let is_backwards = backwards.is_some();
        // Where not all pairs were kept, those that were are more than a commit looks at: the recorder is over by their number or bytes.
        for (key, value) in backwards.into_iter().flatten().rev() {
            tally.add(&key, &value);
        }
        let (start, end) = match last {
            _ if self.is_done => (span.start, span.end),
            Some(last) if is_backwards => (last.to_vec(), span.end),
            // Just behind the last pair.
            Some(last) => (span.start, [last.as_ref(), &[0]].concat()),
            None => return,
        };
        recorder.range(&start, &end, tally.pairs(), bytes);
    }
}
