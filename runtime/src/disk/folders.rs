//! Operations on folders and names. They are atomic and take effect when called; durable is what [`Disk::sync_dir`] has covered.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::faults::Fault;
use super::names::{NameChange, folder, normal};
use super::{Disk, Incarnation, eio, not_found};

impl Disk {
    /// Creates a folder and its parents, durably.
    ///
    /// # Errors
    /// A stale incarnation; `AlreadyExists` when a file has the name.
    pub fn create_dir_all(&mut self, life: Incarnation, path: &Path) -> io::Result<()> {
        self.admit(life)?;
        let path = normal(path);
        for place in path.ancestors() {
            if self.directory.visible.contains_key(place) {
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("not a folder: {}", place.display())));
            }
        }
        Arc::make_mut(&mut self.directory).folders.extend(path.ancestors().map(Path::to_path_buf));
        Ok(())
    }

    /// File names in a folder, sorted.
    ///
    /// # Errors
    /// `NotFound`; a stale incarnation.
    pub fn list_dir(&self, life: Incarnation, path: &Path) -> io::Result<Vec<PathBuf>> {
        self.fence(life)?;
        let path = normal(path);
        if !self.directory.has_folder(&path) {
            return Err(not_found(&path));
        }
        let inside = self.directory.visible.keys().filter(|file| folder(file) == path);
        Ok(inside.filter_map(|file| file.file_name()).map(PathBuf::from).collect())
    }

    /// Renames a file, replacing the target; one change, durable when either folder is synced.
    ///
    /// # Errors
    /// `NotFound` for the file or the target's folder; a stale incarnation.
    pub fn rename(&mut self, life: Incarnation, from: &Path, to: &Path) -> io::Result<()> {
        self.admit(life)?;
        let (from, to) = (normal(from), normal(to));
        let inode = self.directory.visible.get(&from).copied().ok_or_else(|| not_found(&from))?;
        if !self.directory.has_folder(&folder(&to)) {
            return Err(not_found(&folder(&to)));
        }
        let sequence = self.next_sequence();
        Arc::make_mut(&mut self.directory).change(sequence, NameChange::Rename { from, to, inode });
        Ok(())
    }

    /// Gives a file a second name; durable, as any new name, when its folder is synced. Takes no space of its own.
    ///
    /// # Errors
    /// `NotFound` for the file or the new name's folder; `AlreadyExists`; `StorageFull` by rate; a stale incarnation.
    pub fn hard_link(&mut self, life: Incarnation, from: &Path, to: &Path) -> io::Result<()> {
        self.admit(life)?;
        let (from, path) = (normal(from), normal(to));
        let inode = self.directory.visible.get(&from).copied().ok_or_else(|| not_found(&from))?;
        if !self.directory.has_folder(&folder(&path)) {
            return Err(not_found(&folder(&path)));
        }
        if self.directory.visible.contains_key(&path) {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("file exists: {}", path.display())));
        }
        self.space(0)?;
        let sequence = self.next_sequence();
        Arc::make_mut(&mut self.directory).change(sequence, NameChange::Create { path, inode });
        Ok(())
    }

    /// Removes a file's name; open handles stay usable.
    ///
    /// # Errors
    /// `NotFound`; a stale incarnation.
    pub fn remove_file(&mut self, life: Incarnation, path: &Path) -> io::Result<()> {
        self.admit(life)?;
        let path = normal(path);
        let inode = self.directory.visible.get(&path).copied().ok_or_else(|| not_found(&path))?;
        let sequence = self.next_sequence();
        Arc::make_mut(&mut self.directory).change(sequence, NameChange::Remove { path, inode });
        Ok(())
    }

    /// The point that a folder sync submitted now covers; for [`Disk::sync_dir`].
    #[must_use]
    pub const fn sync_point(&self) -> u64 {
        self.sequence
    }

    /// Makes the names in a folder durable that were changed until `point`.
    ///
    /// # Errors
    /// `NotFound`; an injected `EIO`, after which some names are lost in silence; a stale incarnation.
    pub fn sync_dir(&mut self, life: Incarnation, path: &Path, point: u64) -> io::Result<()> {
        self.admit(life)?;
        let path = normal(path);
        if !self.directory.has_folder(&path) {
            return Err(not_found(&path));
        }
        if self.strikes(Fault::SyncError, self.faults.sync_error) {
            let rng = &mut self.rng;
            Arc::make_mut(&mut self.directory).pending.retain(|_| rng.chance(0.5));
            self.counts.fired(Fault::SyncError);
            return Err(eio("folder sync; some unsynced names are lost"));
        }
        Arc::make_mut(&mut self.directory).sync(&path, point);
        self.forget_unreachable();
        Ok(())
    }
}
