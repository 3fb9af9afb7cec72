//! Stores made by the engine itself, on the production runtime, for the tests to look at.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use bytes::Bytes;
use clap::Parser as _;
use highwater_engine::{GroupId, HardState, Incarnation, LogBatch, LogIndex, Store, StoreOptions, Term, WriteBatch};
use highwater_runtime::{CpuSet, Rt, launch};

/// A data folder with one store, closed.
pub struct Data {
    folder: tempfile::TempDir,
}

const LIFE: Incarnation = Incarnation(1);

async fn write(store: &Rc<Store<Rt>>, group: u32, index: u64, batch: WriteBatch) {
    let (group, index) = (GroupId(group), LogIndex(index));
    let mut records = LogBatch::new();
    let entry = (Term(3), Bytes::from(batch.encode()));
    records.push_entries(group, LIFE, index, std::iter::once(entry));
    records.push_hard_state(group, HardState { term: Term(3), vote: 1, commit: index });
    store.append(records).await.unwrap();
    store.write(group, index, batch);
}

/// Two groups: one with a table of puts, deletes and a range delete, both with entries behind it in the log.
async fn fill(env: Rt, folder: PathBuf) {
    let options = StoreOptions {
        database_id: 0xabc,
        store_id: 0,
        seal_after_micros: 3_600_000_000,
        segment_bytes: 256 << 10,
        // One flush, when it is asked for.
        memtable_bytes: 1 << 20,
        ..StoreOptions::small()
    };
    let (store, _) = Store::open(env, &folder, options).await.unwrap();
    for index in 1..=5 {
        let mut batch = WriteBatch::new();
        for row in 0..20 {
            batch.put(format!("a/{index}/{row:03}"), format!("value {row} of entry {index}, long enough to compress"));
        }
        write(&store, 1, index, batch).await;
    }
    let mut batch = WriteBatch::new();
    batch.delete("a/1/003");
    batch.delete_range("b/", "c/");
    write(&store, 1, 6, batch).await;
    store.flush().await.unwrap();
    for index in 1..=3 {
        let mut batch = WriteBatch::new();
        batch.put(format!("z/{index}"), "x");
        write(&store, 7, index, batch).await;
    }
    store.close().await.unwrap();
}

/// Copies a folder of folders.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

impl Data {
    /// A sound one.
    pub fn sound() -> Self {
        // On the disk that cargo builds on: the system's temporary folder may be in memory.
        let target = std::env::current_exe().unwrap().parent().unwrap().to_path_buf();
        let folder = tempfile::Builder::new().prefix("inspect-").tempdir_in(target).unwrap();
        let store = folder.path().join("store-0");
        launch(&CpuSet::parse("1").unwrap(), move |env| fill(env, store.clone())).unwrap().join().unwrap();
        Self { folder }
    }

    /// A copy to damage.
    pub fn copy(&self) -> Self {
        let folder = tempfile::tempdir().unwrap();
        copy(self.path(), folder.path());
        Self { folder }
    }

    /// The data folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The store's files with this end, in the order of their names.
    pub fn files(&self, end: &str) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.path().join("store-0")).unwrap();
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        files.retain(|file| file.file_name().unwrap().to_str().unwrap().contains(end));
        files.sort();
        files
    }

    /// The one table.
    pub fn table(&self) -> PathBuf {
        self.files(".tbl").remove(0)
    }

    /// The segment that holds the log.
    pub fn segment(&self) -> PathBuf {
        let is_used = |file: &PathBuf| std::fs::read(file).unwrap().iter().take(4096).any(|byte| *byte != 0);
        self.files(".log").into_iter().find(is_used).unwrap()
    }

    /// The manifest.
    pub fn manifest(&self) -> PathBuf {
        self.files("MANIFEST").remove(0)
    }

    /// Every file and its bytes.
    pub fn content(&self) -> Vec<(PathBuf, Vec<u8>)> {
        self.files("").into_iter().map(|file| (file.clone(), std::fs::read(file).unwrap())).collect()
    }
}

/// Flips one bit.
pub fn damage(file: &Path, offset: usize) {
    let mut bytes = std::fs::read(file).unwrap();
    bytes[offset] ^= 1;
    std::fs::write(file, bytes).unwrap();
}

/// Runs the tool: what it says, its errors, its exit code.
pub fn inspect(arguments: &[&str]) -> (String, String, u8) {
    let arguments = std::iter::once("highwater-inspect").chain(arguments.iter().copied());
    highwater_inspect::run(&highwater_inspect::Args::try_parse_from(arguments).unwrap())
}

/// The same as JSON.
pub fn inspect_json(arguments: &[&str]) -> (serde_json::Value, u8) {
    let (out, error, code) = inspect(&[arguments, &["--json"]].concat());
    (serde_json::from_str(&out).unwrap_or_else(|_| panic!("no JSON: {out}{error}")), code)
}
