//! Folders: which names exist for readers, which survive a power cut, and the unsynced changes between.
//!
//! Folders themselves are durable when created (the contract of [`crate::Env::create_dir_all`]); only file names are at risk.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

/// Identity of a file, independent of its names.
pub(super) type InodeId = u64;

/// A path without `.` and `..`, so that equal places compare equal.
pub(super) fn normal(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                clean.pop();
            }
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => clean.push(part),
        }
    }
    clean
}

/// The folder that a (normal) path lies in.
pub(super) fn folder(path: &Path) -> PathBuf {
    path.parent().map(Path::to_path_buf).unwrap_or_default()
}

/// One unsynced change of names. A rename is one change in both folders: it happens whole or not at all.
#[derive(Clone, Debug)]
pub(super) enum NameChange {
    Create { path: PathBuf, inode: InodeId },
    Rename { from: PathBuf, to: PathBuf, inode: InodeId },
    Remove { path: PathBuf, inode: InodeId },
}

impl NameChange {
    pub fn path(&self) -> &Path {
        match self {
            Self::Create { path, .. } | Self::Remove { path, .. } => path,
            Self::Rename { to, .. } => to,
        }
    }

    fn touches(&self, dir: &Path) -> bool {
        match self {
            Self::Create { path, .. } | Self::Remove { path, .. } => folder(path) == dir,
            Self::Rename { from, to, .. } => folder(from) == dir || folder(to) == dir,
        }
    }
}

/// A set of names. Changes name the inode they meant, so that replaying a subset of them stays meaningful.
pub(super) type Names = BTreeMap<PathBuf, InodeId>;

pub(super) fn apply(names: &mut Names, change: &NameChange) {
    match change {
        NameChange::Create { path, inode } => {
            names.insert(path.clone(), *inode);
        }
        NameChange::Rename { from, to, inode } => {
            if names.get(from) == Some(inode) {
                names.remove(from);
            }
            names.insert(to.clone(), *inode);
        }
        NameChange::Remove { path, inode } => {
            if names.get(path) == Some(inode) {
                names.remove(path);
            }
        }
    }
}

/// Folders and names of one disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Directory {
    pub folders: BTreeSet<PathBuf>,
    pub visible: Names,
    pub durable: Names,
    /// Changes in order, each with its sequence number.
    pub pending: Vec<(u64, NameChange)>,
}

impl Directory {
    pub fn change(&mut self, sequence: u64, change: NameChange) {
        apply(&mut self.visible, &change);
        self.pending.push((sequence, change));
    }

    /// Makes the names in `dir` durable as far as they were changed up to `sequence`.
    pub fn sync(&mut self, dir: &Path, sequence: u64) {
        let mut rest = Vec::new();
        for (at, change) in std::mem::take(&mut self.pending) {
            if at <= sequence && change.touches(dir) {
                apply(&mut self.durable, &change);
            } else {
                rest.push((at, change));
            }
        }
        self.pending = rest;
    }

    pub fn has_folder(&self, path: &Path) -> bool {
        path.as_os_str().is_empty() || path.parent().is_none() || self.folders.contains(path)
    }
}
