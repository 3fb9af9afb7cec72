//! Eras: what readers with older snapshots read after a range was replaced.
//!
//! An ingest takes tables out of the tree whatever snapshots there are. Readers whose snapshot is older keep the layers as
//! they were at that moment: memtables and version, in which everything they can see still is. An era ends with its last
//! snapshot.

use std::cell::RefCell;

use highwater_runtime::Env;

use crate::ids::Seq;
use crate::tree::cursor::View;

struct Era<E: Env> {
    /// The newest snapshot that reads it.
    upto: Seq,
    view: View<E>,
}

/// The eras that somebody may still read, oldest first.
pub(super) struct Eras<E: Env>(RefCell<Vec<Era<E>>>);

impl<E: Env> Default for Eras<E> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<E: Env> Eras<E> {
    /// Keeps `view` for snapshots up to `upto`, which is above all that were given out.
    pub(super) fn begin(&self, upto: Seq, view: View<E>) {
        self.0.borrow_mut().push(Era { upto, view });
    }

    /// Whether nobody reads anything but the present.
    pub(super) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// The layers that a reader at `at` must read, if not the present ones.
    pub(super) fn view(&self, at: Seq) -> Option<View<E>> {
        let eras = self.0.borrow();
        eras.iter().find(|era| at <= era.upto).map(|era| era.view.clone())
    }

    /// Forgets what no reader can ask for: `oldest` is the oldest snapshot held, if any.
    pub(super) fn prune(&self, oldest: Option<Seq>) {
        let ended = |era: &Era<E>| oldest.is_none_or(|oldest| oldest > era.upto);
        // Dropping a view may remove tables, so not under the borrow.
        let dropped: Vec<Era<E>> = self.0.borrow_mut().extract_if(.., |era| ended(era)).collect();
        drop(dropped);
    }
}
