//! One entry's change: reads see the entry's own writes over the store's.

use std::collections::BTreeMap;
use std::path::Path;

use highwater_engine::{GroupId, LogIndex, Store};
use highwater_runtime::inproc::InProcEnv;
use quickcheck::{Arbitrary, Gen, QuickCheck};

use super::cluster::{options, run};
use crate::error::Abort;
use crate::keys::{KeySpan, Keys, Space};
use crate::reader::Reader;
use crate::txn::{MAX_BYTES_PER_COMMAND, Txn};

const KEYS: Keys = Keys::new(3);

#[derive(Clone, Debug)]
enum Step {
    Put(u8, u8),
    Delete(u8),
    DeleteRange(u8, u8),
    Get(u8),
    Scan(u8, u8, usize),
    Rollback,
    Commit,
}

impl Arbitrary for Step {
    fn arbitrary(g: &mut Gen) -> Self {
        let (a, b) = (u8::arbitrary(g) % 16, u8::arbitrary(g) % 17);
        match u8::arbitrary(g) % 16 {
            0..=5 => Self::Put(a, b),
            6..=7 => Self::Delete(a),
            8 => Self::DeleteRange(a, b),
            9..=10 => Self::Get(a),
            11..=13 => Self::Scan(a, b, usize::from(u8::arbitrary(g) % 20)),
            14 => Self::Rollback,
            _ => Self::Commit,
        }
    }
}

fn key(n: u8) -> Vec<u8> {
    KEYS.job(&format!("{n:02}"))
}

fn span(from: u8, to: u8) -> KeySpan {
    KeySpan { start: key(from), end: key(to) }
}

/// The model: a map, and the map as it was when the entry began.
#[derive(Clone, Default)]
struct Model {
    stored: BTreeMap<Vec<u8>, Vec<u8>>,
    now: BTreeMap<Vec<u8>, Vec<u8>>,
}

async fn agrees(env: &InProcEnv, folder: &str, steps: Vec<Step>) -> bool {
    let store = Store::open(env.clone(), Path::new(folder), options()).await.unwrap().0;
    let mut model = Model::default();
    let mut reader = Reader::latest(&store);
    let mut index = LogIndex(1);
    let mut steps = steps.into_iter().peekable();
    while steps.peek().is_some() {
        let mut txn = Txn::new(&reader, KEYS, index);
        let mut committed = false;
        for step in steps.by_ref() {
            match step {
                Step::Put(n, value) => {
                    txn.put(key(n), vec![value]).unwrap();
                    model.now.insert(key(n), vec![value]);
                }
                Step::Delete(n) => {
                    txn.delete(key(n)).unwrap();
                    model.now.remove(&key(n));
                }
                Step::DeleteRange(from, to) => {
                    txn.delete_range(span(from, to)).unwrap();
                    model.now.retain(|key, _| !span(from, to).contains(key));
                }
                Step::Get(n) => {
                    if txn.get(&key(n)).await.unwrap().map(|value| value.to_vec()) != model.now.get(&key(n)).cloned() {
                        return false;
                    }
                }
                Step::Scan(from, to, limit) => {
                    let found: Vec<(Vec<u8>, Vec<u8>)> = txn
                        .scan(&span(from, to), limit)
                        .await
                        .unwrap()
                        .iter()
                        .map(|(k, v)| (k.to_vec(), v.to_vec()))
                        .collect();
                    let inside = model.now.iter().filter(|(key, _)| span(from, to).contains(key));
                    let expected: Vec<_> = inside.take(limit).map(|(k, v)| (k.clone(), v.clone())).collect();
                    if found != expected {
                        return false;
                    }
                }
                Step::Rollback => {
                    txn.rollback();
                    model.now = model.stored.clone();
                }
                Step::Commit => {
                    committed = true;
                    break;
                }
            }
        }
        let batch = txn.finish().batch;
        if !committed {
            return true;
        }
        store.write(GroupId(KEYS.group()), index, batch);
        index = index.next();
        model.stored = model.now.clone();
        reader = Reader::latest(&store);
    }
    true
}

#[test]
fn an_entry_sees_its_own_writes_over_the_store_and_the_store_takes_exactly_those() {
    fn holds(steps: Vec<Step>) -> bool {
        let mut agreed = false;
        run(async |env| agreed = agrees(&env, "/store", steps).await);
        agreed
    }
    QuickCheck::new().tests(300).quickcheck(holds as fn(Vec<Step>) -> bool);
}

#[test]
fn too_many_bytes_are_refused_until_limits_are_lifted() {
    run(async |env| {
        let store = Store::open(env.clone(), Path::new("/store"), options()).await.unwrap().0;
        let reader = Reader::latest(&store);
        let mut txn = Txn::new(&reader, KEYS, LogIndex(1));
        let Err(Abort::Refused(diag)) = txn.put(key(1), vec![0; MAX_BYTES_PER_COMMAND]) else { panic!("not refused") };
        assert_eq!(diag.sqlstate.as_str(), "54000");
        txn.rollback();
        assert_eq!(txn.get(&key(1)).await.unwrap(), None);
        assert_eq!(txn.put(key(1), vec![0; MAX_BYTES_PER_COMMAND]), Ok(()));
        assert_eq!(txn.scan(&KEYS.space(Space::Job), 9).await.unwrap().len(), 1);
    });
}
