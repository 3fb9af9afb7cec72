//! Which files a store has, and why something cannot be inspected.

use std::fmt;
use std::path::{Path, PathBuf};

use highwater_engine::offline::FileKind;

/// Why nothing could be inspected.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// A server works on the folder.
    InUse {
        /// The data folder.
        folder: PathBuf,
        /// Who holds it.
        holder: String,
    },
    /// The path holds no store.
    NoStore(PathBuf),
    /// The path is not what the command takes.
    NotThat(PathBuf, &'static str),
    /// The system refuses.
    Unreadable(PathBuf, std::io::Error),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse { folder, holder } => write!(
                f,
                "{} is in use by {holder}: its files change while they are read, so sound files would look damaged; stop that \
                 server or inspect a copy (--force-read-only-while-running looks all the same, and may show damage that is none)",
                folder.display()
            ),
            Self::NoStore(path) => write!(
                f,
                "{} holds no store: no MANIFEST, no log, no tables, no store-N folders; give the server's --data-dir or one of its store-N folders",
                path.display()
            ),
            Self::NotThat(path, wanted) => write!(f, "{} is not {wanted}", path.display()),
            Self::Unreadable(path, error) => write!(f, "cannot read {}: {error}", path.display()),
        }
    }
}

/// The files of one store, each kind in the order of its numbers.
#[derive(Debug)]
pub(crate) struct StoreFiles {
    /// The folder.
    pub(crate) folder: PathBuf,
    /// Manifests.
    pub(crate) manifests: Vec<(u64, PathBuf)>,
    /// Slots of the log.
    pub(crate) segments: Vec<(u64, PathBuf)>,
    /// Tables.
    pub(crate) tables: Vec<(u64, PathBuf)>,
}

impl StoreFiles {
    fn of(folder: &Path) -> Result<Self, Refusal> {
        let mut files =
            Self { folder: folder.to_owned(), manifests: Vec::new(), segments: Vec::new(), tables: Vec::new() };
        for path in list(folder)? {
            match FileKind::of(&path) {
                FileKind::Manifest(number) => files.manifests.push((number, path)),
                FileKind::Segment(slot) => files.segments.push((slot, path)),
                FileKind::Table(table) => files.tables.push((table, path)),
                FileKind::Other => {}
            }
        }
        files.manifests.sort();
        files.segments.sort();
        files.tables.sort();
        Ok(files)
    }

    fn is_empty(&self) -> bool {
        self.manifests.is_empty() && self.segments.is_empty() && self.tables.is_empty()
    }

    /// The file of a table, whether it exists or not.
    pub(crate) fn table(&self, table: u64) -> Option<&Path> {
        self.tables.iter().find(|(id, _)| *id == table).map(|(_, path)| path.as_path())
    }
}

fn list(folder: &Path) -> Result<Vec<PathBuf>, Refusal> {
    let unreadable = |error| Refusal::Unreadable(folder.to_owned(), error);
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        paths.push(entry.map_err(unreadable)?.path());
    }
    paths.sort();
    Ok(paths)
}

/// The stores of a folder: itself, or its `store-N` in the order of their numbers.
///
/// # Errors
/// [`Refusal::NoStore`]; what the system refuses.
pub(crate) fn stores(folder: &Path) -> Result<Vec<StoreFiles>, Refusal> {
    if folder.is_file() {
        return Err(Refusal::NotThat(folder.to_owned(), "a folder; give a data folder or a store's folder"));
    }
    let own = StoreFiles::of(folder)?;
    if !own.is_empty() {
        return Ok(vec![own]);
    }
    let number = |path: &Path| path.file_name()?.to_str()?.strip_prefix("store-")?.parse::<u32>().ok();
    let mut numbered: Vec<(u32, PathBuf)> =
        list(folder)?.into_iter().filter_map(|path| Some((number(&path)?, path))).collect();
    numbered.sort();
    if numbered.is_empty() {
        return Err(Refusal::NoStore(folder.to_owned()));
    }
    numbered.iter().map(|(_, path)| StoreFiles::of(path)).collect()
}
