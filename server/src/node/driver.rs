//! The group driver: one task per store that moves all its groups forward.
//!
//! A turn takes what was proposed, writes the log records of every group in one append, and while that write runs applies
//! what the turn before committed. Answers are given after the state they describe is published, so a read that starts
//! after an answer sees it.

use std::collections::BTreeMap;
use std::rc::Rc;

use futures_lite::future;
use highwater_engine::{EngineError, Intake, LogBatch};
use highwater_raft::Ready;
use highwater_runtime::{Env, Rt};
use highwater_sql::diag::{Diag, SqlState};

use super::host::StoreHost;
use super::intake::{cause, clients_of, no_space, refusal, sort_proposals};
use super::mesh::Proposal;
use super::replica::{Effects, Replica};

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
        propose(&env, &mut replicas, taken);
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

/// What this turn proposes of what waits. Client writes that the store does not take now are told so, or stay for the next turn.
fn take_pending(host: &StoreHost) -> Vec<Proposal> {
    let mut pending = host.pending.borrow_mut();
    if pending.is_empty() {
        // A stall that has ended is noticed although nobody writes.
        host.store.pressure();
        return Vec::new();
    }
    let intake = host.store.intake();
    let sorted = sort_proposals(&mut pending, &intake);
    drop(pending);
    host.held.set(host.held.get() + sorted.held as u64);
    refuse(host, &intake, sorted.refused);
    sorted.taken
}

/// Answers client writes that are not taken, and counts them.
pub(super) fn refuse(host: &StoreHost, intake: &Intake, refused: Vec<Proposal>) {
    if refused.is_empty() {
        return;
    }
    host.count_refused(cause(intake.held_by.as_ref()), refused.len() as u64);
    for proposal in refused {
        proposal.reply.fill(Err(refusal(intake).into()));
    }
}

fn propose(env: &Rt, replicas: &mut BTreeMap<u32, Replica>, taken: Vec<Proposal>) {
    let now = env.wall().0;
    for proposal in taken {
        let Some(replica) = replicas.get_mut(&proposal.group) else {
            let diag = Diag::new(SqlState::INTERNAL, format!("group {} is not on this core", proposal.group));
            proposal.reply.fill(Err(diag.into()));
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
                // What came meanwhile is in no log yet: it need not wait for space.
                let refused = clients_of(&mut host.pending.borrow_mut());
                refuse(host, &no_space(), refused);
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    #![allow(
        clippy::disallowed_methods,
        reason = "a folder is made before the first executor starts; what is polled once never blocks"
    )]
    use std::sync::mpsc;

    use futures_lite::FutureExt;
    use highwater_engine::{Expiry, GroupId, LogIndex, RecoveredGroup, Store, StoreOptions, WriteBatch};
    use highwater_runtime::{CpuSet, launch, queue};
    use highwater_state::command::Command;
    use highwater_state::group::GroupState;
    use highwater_state::placement::Layout;

    use super::super::mesh::{Admission, Applied, NotApplied};
    use super::*;

    /// A turn with ten writes of clients and one of the system.
    #[derive(Debug)]
    struct Turn {
        share: u64,
        taken: usize,
        stay: usize,
        answers: Vec<Diag>,
    }

    /// What `body` finds with a store of its own on the real runtime.
    fn on_a_core<T: Send + 'static, Fut: Future<Output = T>>(
        body: impl Fn(Rt, Rc<Store<Rt>>) -> Fut + Clone + Send + 'static,
    ) -> T {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store-0");
        std::fs::create_dir(&path).unwrap();
        let (tell, told) = mpsc::channel();
        let body = move |env: Rt| {
            let (path, tell, body) = (path.clone(), tell.clone(), body.clone());
            async move {
                let (store, _) = Store::open(env.clone(), &path, StoreOptions::small()).await.unwrap();
                tell.send(body(env, store).await).unwrap();
            }
        };
        launch(&CpuSet::parse("1").unwrap(), body).unwrap().join().unwrap();
        told.recv().unwrap()
    }

    #[test]
    fn the_store_learns_a_groups_log_time_as_entries_are_applied() {
        const GROUP: u32 = 1;
        let layout = Layout { user_shards: 1, shared_shards: 1, stores: 1 };
        let expired = on_a_core(move |env, store| async move {
            let state = GroupState::open(Rc::clone(&store), GROUP, layout).await.unwrap();
            let replica = Replica::restart(GROUP, 1, 1 << 15, &RecoveredGroup::default(), None, state).unwrap();
            let host = Rc::new(StoreHost::new(Rc::clone(&store)));
            env.spawn("driver", drive(env.clone(), Rc::clone(&host), BTreeMap::from([(GROUP, replica)])));
            let (reply, answer) = queue::reply();
            let command = Command::Trim { destination: 0, upto: 0 };
            let proposal = Proposal { group: GROUP, command, catalog: None, admission: Admission::System, reply };
            host.pending.borrow_mut().push_back(proposal);
            host.work.notify();
            answer.await.unwrap().unwrap();
            // Behind the published view, so that nobody sees it: one value that has ended by now, and one that has not.
            let mut batch = WriteBatch::new();
            for (key, end) in [(b'a', 1), (b'b', u64::MAX - 1)] {
                batch.put_expiring([&GROUP.to_be_bytes()[..], &[key]].concat(), "value", Expiry(end));
            }
            store.write(GroupId(99), LogIndex(1), batch);
            store.flush().await.unwrap();
            let expired = store.stats().expired_versions;
            let seen = host.stopped.seen();
            host.closing.set(true);
            host.work.notify();
            host.stopped.changed_since(seen).await;
            expired
        });
        assert_eq!(expired, 1);
    }

    fn turn_of_eleven(host: &StoreHost) -> Turn {
        let mut replies = Vec::new();
        for number in 0..11 {
            let (reply, answer) = queue::reply::<Result<Applied, NotApplied>>();
            let admission = if number == 5 { Admission::System } else { Admission::Client };
            let command = Command::Trim { destination: 0, upto: 0 };
            host.pending.borrow_mut().push_back(Proposal { group: 1, command, catalog: None, admission, reply });
            replies.push(answer);
        }
        let share = host.store.admission();
        let taken = take_pending(host).len();
        let stay = std::mem::take(&mut *host.pending.borrow_mut()).len();
        let answered =
            replies.into_iter().filter_map(|reply| match future::block_on(future::poll_once(reply.boxed_local())) {
                Some(Ok(Err(NotApplied::Refused(diag)))) => Some(diag),
                _ => None,
            });
        Turn { share, taken, stay, answers: answered.collect() }
    }

    #[test]
    fn a_turn_takes_the_share_of_client_writes_that_the_store_says_and_refuses_them_by_name_when_it_is_none() {
        let turns = on_a_core(|_, store| async move {
            let host = StoreHost::new(store);
            let mut turns = Vec::new();
            // Nothing of the background runs meanwhile: there is no await in here.
            for index in 1.. {
                let mut batch = WriteBatch::new();
                batch.put(format!("key-{index:06}"), [5; 100]);
                host.store.write(GroupId(1), LogIndex(index), batch);
                turns.push((turn_of_eleven(&host), host.refused()["memtables"], host.held.get()));
                if turns.last().is_some_and(|(turn, ..)| turn.share == 0) {
                    break;
                }
            }
            host.store.close().await.unwrap();
            turns
        });
        let (mut slowed, mut held) = (0, 0);
        for (turn, refused, held_so_far) in &turns {
            let clients = match turn.share {
                1000 => 10,
                share => (10 * share).div_ceil(1000) as usize,
            };
            assert_eq!(turn.taken, clients + 1, "{turn:?}");
            held += turn.stay as u64;
            assert_eq!((*held_so_far, *refused > 0), (held, turn.share == 0), "{turn:?}");
            slowed += u32::from((1..1000).contains(&turn.share) && turn.stay > 0);
            assert_eq!(turn.stay + turn.answers.len(), 10 - clients, "{turn:?}");
        }
        assert!(slowed > 3, "it slows down before it refuses: {turns:?}");
        let (last, refused, _) = turns.last().unwrap();
        assert_eq!((last.share, last.answers.len(), *refused), (0, 10, 10), "{last:?}");
        assert!(last.answers.iter().all(|diag| diag.sqlstate == SqlState::OVERLOADED
            && diag.message.contains("bytes in memory wait to be flushed")
            && diag.hint.is_some()));
    }
}
