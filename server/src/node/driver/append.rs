//! The driver's appends: what all groups have to log goes out in one write at a time; when it is durable, Raft is told, and what waited
//! for that leaves.

use std::rc::Rc;

use highwater_engine::{EngineError, GroupId, LogBatch, LogIndex};
use highwater_raft as raft;
use highwater_runtime::{Env, Rt};

use super::super::entries;
use super::super::host::StoreHost;
use super::super::intake::{clients_of, no_space, refuse};
use super::super::replica::Replica;
use super::{Driver, Durable, UnderWay};

/// Pause before a log without disk space is tried again, in microseconds.
const NO_SPACE_MICROS: u64 = 200_000;

/// One append, and who is told when it is durable.
#[derive(Default)]
pub(super) struct Write {
    pub(super) batch: LogBatch,
    pub(super) reports: Vec<Report>,
}

/// What a durable append means for one group.
pub(super) struct Report {
    pub(super) replica: Rc<Replica>,
    pub(super) number: raft::ReadyNumber,
    /// To be sent then.
    pub(super) messages: Vec<raft::Message>,
}

impl<S: Fn(raft::Message)> Driver<S> {
    /// The append of everything gathered so far.
    pub(super) fn next_write(&mut self) -> UnderWay<Durable> {
        if self.next.reports.is_empty() {
            return None;
        }
        let (env, host) = (self.env.clone(), Rc::clone(&self.host));
        let write = std::mem::take(&mut self.next);
        Some(Box::pin(async move {
            append(&env, &host, write.batch).await.map_err(|error| format!("the log cannot be written: {error}"))?;
            Ok(Durable::Written(write.reports))
        }))
    }

    /// A write is durable.
    pub(super) fn written(&mut self, reports: Vec<Report>) -> Result<(), String> {
        for Report { replica, number, messages } in reports {
            self.hands_out |= !messages.is_empty();
            for message in messages {
                (self.send)(message);
            }
            replica.persisted(number).map_err(|error| format!("group {}: {error}", replica.group()))?;
            self.host.touch(&replica);
        }
        Ok(())
    }
}

/// Appends log records. A full disk must not cost what was already proposed: the batch waits here, new client writes are refused
/// meanwhile.
async fn append(env: &Rt, host: &StoreHost, batch: LogBatch) -> Result<(), EngineError> {
    if batch.is_empty() {
        return Ok(());
    }
    loop {
        match host.store.make_room(&batch).await {
            Err(error @ EngineError::NoSpace { .. }) if !host.draining.get() => {
                if !host.disk_full.replace(true) {
                    tracing::error!(%error, "no space for the log: writes wait until there is some");
                }
                // What came meanwhile is in no log yet: it need not wait for space.
                let refused = clients_of(&mut host.pending.borrow_mut());
                refuse(host, &no_space(host), refused);
                env.sleep(NO_SPACE_MICROS).await;
            }
            outcome => {
                host.disk_full.set(false);
                outcome?;
                return host.store.append(batch).await;
            }
        }
    }
}

/// Reads entries that a follower lacks and memory no longer holds.
pub(super) async fn read_log(host: Rc<StoreHost>, replica: Rc<Replica>, read: raft::LogRead) {
    let group = GroupId(replica.group());
    let (first, last) = (LogIndex(read.first.0), LogIndex(read.last.0));
    let found = match host.store.entries(group, first, last, read.max_bytes).await {
        Ok(found) => found.into_iter().map(entries::from_log).collect(),
        Err(error) => {
            // What was let go meanwhile is asked for no more; what cannot be read is tried again.
            if !matches!(error, EngineError::NotInLog { .. }) {
                tracing::error!(group = group.0, %error, "entries that a follower lacks cannot be read");
            }
            Vec::new()
        }
    };
    if let Err(error) = replica.log_read(&read, found) {
        tracing::error!(group = group.0, %error, "the log holds other entries than Raft asked for");
    }
    host.touch(&replica);
    host.work.notify();
}
