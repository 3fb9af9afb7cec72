//! The audit log of a node: who logged in or failed to, who changed definitions and users, who acted as whom, and what was refused.
//!
//! One log per core, in files of its own in the data folder (`file.rs`); events are put into a bounded queue and written within
//! moments by a task of the core, which never delays what is audited. What cannot be kept is counted and said in the log itself.
//! Must never hold a password or a value of a row: statements are told by their verb and what they are about.

mod event;
mod file;
mod repeats;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::path::Path;
use std::rc::Rc;

use highwater_runtime::{Env, Rt};

pub use event::{Event, EventKind, Outcome};
use file::{AuditError, Files};
use repeats::Repeats;

use crate::signal::Signal;

/// Events that may wait to be written.
const QUEUE: usize = 4096;
/// Pause after the files could not be written, in microseconds.
const RETRY_MICROS: u64 = 1_000_000;
/// How long equal events are counted before their number is written, in microseconds.
const REPEAT_MICROS: u64 = 60_000_000;

/// The audit log of one core. Clones are the same.
#[derive(Clone)]
pub struct AuditLog(Rc<Inner>);

struct Inner {
    env: Rt,
    node: u64,
    queue: RefCell<VecDeque<Event>>,
    repeats: RefCell<Repeats>,
    lost: Cell<u64>,
    files: RefCell<Option<Files>>,
    work: Signal,
    written: Signal,
    is_writing: Cell<bool>,
}

impl AuditLog {
    /// The log of this core in `folder`, which keeps at most `max_bytes`; `node` is this node's number.
    #[must_use]
    pub fn start(env: &Rt, folder: &Path, node: u64, max_bytes: u64) -> Self {
        let files = Files::new(folder.join("audit").join(env.core().0.to_string()), max_bytes);
        let log = Self(Rc::new(Inner {
            env: env.clone(),
            node,
            queue: RefCell::default(),
            repeats: RefCell::new(Repeats::new(REPEAT_MICROS)),
            lost: Cell::new(0),
            files: RefCell::new(Some(files)),
            work: Signal::default(),
            written: Signal::default(),
            is_writing: Cell::new(false),
        }));
        env.spawn("audit", {
            let log = log.clone();
            async move { log.write_all().await }
        });
        log
    }

    /// Takes an event at the wall clock's time.
    pub fn record(&self, event: Event) {
        let inner = &self.0;
        let event = Event { at: inner.env.wall().0, node: inner.node, ..event };
        let due = inner.repeats.borrow_mut().take(inner.env.now(), event);
        due.into_iter().for_each(|event| self.enqueue(event));
    }

    fn enqueue(&self, event: Event) {
        let inner = &self.0;
        let mut queue = inner.queue.borrow_mut();
        if queue.len() >= QUEUE {
            inner.lost.set(inner.lost.get() + 1);
            return;
        }
        queue.push_back(event);
        drop(queue);
        inner.work.notify();
    }

    /// Waits until everything that was recorded is durable, or cannot be made so now.
    pub async fn flush(&self) {
        let inner = &self.0;
        let counted = inner.repeats.borrow_mut().end(inner.env.wall().0);
        counted.into_iter().for_each(|event| self.enqueue(event));
        loop {
            let seen = inner.written.seen();
            if inner.queue.borrow().is_empty() && !inner.is_writing.get() {
                return;
            }
            inner.written.changed_since(seen).await;
            if inner.lost.get() > 0 {
                return;
            }
        }
    }

    /// The events that are kept, oldest first, with those that were counted and not yet written.
    ///
    /// # Errors
    /// An I/O error of the files.
    pub async fn events(&self) -> std::io::Result<Vec<Event>> {
        self.flush().await;
        let folder = match self.0.files.borrow().as_ref() {
            Some(files) => files.folder().to_owned(),
            // They are being written: what is there can be read.
            None => return Ok(Vec::new()),
        };
        file::read(&self.0.env, &folder).await
    }

    /// Writes what is queued, for as long as the process lives.
    async fn write_all(&self) {
        let inner = &self.0;
        loop {
            let seen = inner.work.seen();
            let mut batch: Vec<Event> = inner.queue.borrow_mut().drain(..).collect();
            if batch.is_empty() {
                inner.work.changed_since(seen).await;
                continue;
            }
            let lost = inner.lost.replace(0);
            if lost > 0 {
                batch.push(Event::lost(inner.env.wall().0, inner.node, lost));
            }
            let Some(mut files) = inner.files.borrow_mut().take() else { return };
            inner.is_writing.set(true);
            let written = files.append(&inner.env, &batch).await;
            inner.files.borrow_mut().replace(files);
            inner.is_writing.set(false);
            if let Err(AuditError::Sync(error)) = &written {
                inner.env.fail_stop(&format!("the audit log could not be synced: {error}")).await;
            }
            if let Err(error) = written {
                inner.lost.set(inner.lost.get() + lost.max(1) - 1 + batch.len() as u64);
                tracing::error!(%error, events = batch.len(), "the audit log could not be written");
                inner.written.notify();
                inner.env.sleep(RETRY_MICROS).await;
            }
            inner.written.notify();
        }
    }
}
