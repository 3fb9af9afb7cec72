//! The group driver: one task per store that moves all its groups forward.
//!
//! A turn takes what was proposed, writes the log records of every group in one append, and while that write runs applies
//! what the turn before committed. Answers are given after the state they describe is published, so a read that starts
//! after an answer sees it.

use std::collections::BTreeMap;
use std::rc::Rc;

use futures_lite::future;
use highwater_engine::{EngineError, LogBatch, Pressure};
use highwater_raft::Ready;
use highwater_runtime::{Env, Rt};
use highwater_sql::diag::{Diag, SqlState};

use super::host::StoreHost;
use super::mesh::{Admission, Proposal};
use super::replica::{Effects, Replica};

/// Proposals that one turn takes at most: bounds the size of one log write.
const TURN: usize = 1024;
/// Turns after which the views of idle groups are renewed.
const RENEW_VIEWS: u64 = 64;
/// Pause before a log without disk space is tried again, in microseconds.
const NO_SPACE_MICROS: u64 = 200_000;

/// Drives the groups of a store until the host closes and nothing is left to do.
pub(crate) async fn drive(env: Rt, host: Rc<StoreHost>, mut replicas: BTreeMap<u32, Replica>) {
    for (group, replica) in &replicas {
        host.publish(*group, replica.state().view());
    }
    // A store without groups has nothing to replay: there are more stores than groups on a machine of many cores.
    host.ready.set(replicas.is_empty());
    loop {
        let seen = host.work.seen();
        // Not before the log is replayed: what is logged must follow from the catalog that the log leads to.
        let taken = if host.ready.get() { take_pending(&host) } else { Vec::new() };
        if taken.is_empty() && !replicas.values().any(Replica::has_ready) {
            if host.closing.get() {
                break;
            }
            host.work.changed_since(seen).await;
            continue;
        }
        propose(&env, &host, &mut replicas, taken);
        if let Err(reason) = turn(&env, &host, &mut replicas).await {
            env.fail_stop(&reason).await;
        }
        if !host.ready.get() && replicas.values().all(Replica::is_ready) {
            host.ready.set(true);
            host.outbox.notify();
        }
    }
    if let Err(error) = host.store.close().await {
        tracing::error!(%error, "the store did not close cleanly; the next start will recover it");
    }
    host.stopped.notify();
}

fn take_pending(host: &StoreHost) -> Vec<Proposal> {
    let mut pending = host.pending.borrow_mut();
    let count = pending.len().min(TURN);
    pending.drain(..count).collect()
}

fn propose(env: &Rt, host: &StoreHost, replicas: &mut BTreeMap<u32, Replica>, taken: Vec<Proposal>) {
    let now = env.wall().0;
    let pressure = host.store.pressure();
    for proposal in taken {
        if let (Admission::Client, Some(pressure)) = (proposal.admission, &pressure) {
            let (state, hint) = match pressure {
                Pressure::DiskFull { .. } => {
                    (SqlState::DISK_FULL, "Reads go on. Free disk space; writes then go on by themselves.")
                }
                Pressure::Failed { .. } => (
                    SqlState::DATA_CORRUPTED,
                    "Reads go on, and the step is tried again. If this stays, the disk fails or is damaged: see the server's log.",
                ),
                Pressure::Memtables { .. } | Pressure::LevelZero { .. } | Pressure::Log { .. } => {
                    (SqlState::OVERLOADED, "Retry after a short pause.")
                }
            };
            let diag = Diag::new(state, format!("writes are refused for now: {pressure}")).hint(hint);
            proposal.reply.fill(Err(diag));
            continue;
        }
        let Some(replica) = replicas.get_mut(&proposal.group) else {
            let diag = Diag::new(SqlState::INTERNAL, format!("group {} is not on this core", proposal.group));
            proposal.reply.fill(Err(diag));
            continue;
        };
        let seed = (u128::from(env.random()) << 64) | u128::from(env.random());
        replica.propose(proposal, now, seed);
    }
}

/// One append for all groups, beside it the application of what is committed already.
async fn turn(env: &Rt, host: &Rc<StoreHost>, replicas: &mut BTreeMap<u32, Replica>) -> Result<(), String> {
    let mut batch = LogBatch::default();
    let mut readies: BTreeMap<u32, Vec<Ready>> = BTreeMap::new();
    for (group, replica) in replicas.iter_mut() {
        while replica.has_ready() {
            readies.entry(*group).or_default().push(replica.take_ready(&mut batch));
        }
    }
    let write = async {
        if batch.is_empty() {
            return Ok(());
        }
        until_there_is_room(env, host, &batch).await?;
        host.store.append(batch).await
    };
    let apply = async {
        let mut all = Vec::new();
        for (group, ready) in &mut readies {
            let Some(replica) = replicas.get_mut(group) else { continue };
            for ready in ready.iter_mut() {
                if let Some(committed) = ready.committed.take() {
                    let effects = replica
                        .apply(&host.store, committed)
                        .await
                        .map_err(|error| format!("group {group} cannot apply its log: {error}"))?;
                    all.push((*group, effects));
                }
            }
        }
        for (group, _) in &all {
            if let Some(replica) = replicas.get(group) {
                host.publish(*group, replica.state().view());
                host.raft.borrow_mut().insert(*group, replica.status());
            }
        }
        // A view holds a snapshot of the whole store: those of idle groups are renewed, or nothing deleted is ever freed.
        host.turns.set(host.turns.get().wrapping_add(1));
        if host.turns.get().is_multiple_of(RENEW_VIEWS) {
            for (group, replica) in replicas.iter() {
                host.publish(*group, replica.state().view());
            }
        }
        announce(host, all);
        Ok::<(), String>(())
    };
    let (written, applied) = future::zip(write, apply).await;
    applied?;
    written.map_err(|error| format!("the log cannot be written: {error}"))?;
    for (group, readies) in &readies {
        if let Some(replica) = replicas.get_mut(group) {
            for ready in readies {
                replica.persisted(ready).map_err(|diag| format!("group {group}: {diag}"))?;
            }
        }
    }
    Ok(())
}

/// A full disk must not cost what was already proposed: the batch waits here, new client writes are refused meanwhile.
async fn until_there_is_room(env: &Rt, host: &StoreHost, batch: &LogBatch) -> Result<(), EngineError> {
    loop {
        match host.store.make_room(batch).await {
            Err(error @ EngineError::NoSpace { .. }) if !host.draining.get() => {
                if !host.disk_full.replace(true) {
                    tracing::error!(%error, "no space for the log: writes wait until there is some");
                }
                env.sleep(NO_SPACE_MICROS).await;
            }
            outcome => {
                host.disk_full.set(false);
                return outcome;
            }
        }
    }
}

/// Wakes who waits, then answers.
fn announce(host: &StoreHost, all: Vec<(u32, Effects)>) {
    if all.is_empty() {
        return;
    }
    let mut outbox = false;
    for (group, effects) in all {
        if effects.outbox {
            host.dirty_sources.borrow_mut().insert(group);
            outbox = true;
        }
        for (slot, applied) in effects.answers {
            slot.fill(Ok(applied));
        }
    }
    host.published.notify();
    if outbox {
        host.outbox.notify();
    }
}
