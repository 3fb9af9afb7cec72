//! Files that nobody reads any more, waiting to be removed.
//!
//! Invariant: a table's file is here only when no installed version, no reader and no checkpoint holds it; a segment's, when the log
//! has given it back. What is here when the process dies is found again at the next start: a table as an orphan, a segment as a spare.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::rc::Rc;

use crate::gate::Event;

/// A file to remove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dead {
    pub(crate) path: PathBuf,
    /// Its size in bytes, as far as known.
    pub(crate) bytes: u64,
}

#[derive(Default)]
struct Waiting {
    files: RefCell<VecDeque<Dead>>,
    hastened: Cell<bool>,
    wake: Event,
}

/// Dead files, oldest first.
#[derive(Clone, Default)]
pub(crate) struct Graveyard(Rc<Waiting>);

impl Graveyard {
    /// Takes a file in and wakes who removes them.
    pub(crate) fn bury(&self, dead: Dead) {
        self.0.files.borrow_mut().push_back(dead);
        self.0.wake.notify();
    }

    /// The file that is removed next; it stays counted until [`Self::removed`].
    pub(crate) fn next(&self) -> Option<Dead> {
        self.0.files.borrow().front().cloned()
    }

    /// Forgets a file that is gone.
    pub(crate) fn removed(&self, dead: &Dead) {
        let mut files = self.0.files.borrow_mut();
        files.retain(|file| file != dead);
        if files.is_empty() {
            self.0.hastened.set(false);
        }
    }

    /// A file that could not be removed lets the others go first.
    pub(crate) fn failed(&self, dead: &Dead) {
        let mut files = self.0.files.borrow_mut();
        if let Some(at) = files.iter().position(|file| file == dead)
            && let Some(file) = files.remove(at)
        {
            files.push_back(file);
        }
        self.0.hastened.set(false);
    }

    /// Number of files, and their bytes.
    pub(crate) fn waiting(&self) -> (usize, u64) {
        let files = self.0.files.borrow();
        (files.len(), files.iter().map(|file| file.bytes).sum())
    }

    /// The disk is full: what is here goes at once.
    pub(crate) fn hasten(&self) {
        if !self.0.files.borrow().is_empty() {
            self.0.hastened.set(true);
            self.0.wake.notify();
        }
    }

    /// Whether everything here goes at once.
    pub(crate) fn hastened(&self) -> bool {
        self.0.hastened.get()
    }

    /// Raised when there is something to look at.
    pub(crate) fn wake(&self) -> &Event {
        &self.0.wake
    }
}
