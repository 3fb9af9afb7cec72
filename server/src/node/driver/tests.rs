//! One driver with a store of its own on the real runtime.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![allow(
    clippy::disallowed_methods,
    reason = "a folder is made before the first executor starts; what is polled once never blocks"
)]
use std::sync::mpsc;

use futures_lite::{FutureExt, future};
use highwater_engine::{Expiry, GroupId, LogIndex, RecoveredGroup, Store, StoreOptions, WriteBatch};
use highwater_runtime::{CpuSet, launch, queue};
use highwater_state::command::Command;
use highwater_state::group::GroupState;
use highwater_state::placement::Layout;

use super::super::host::Cast;
use super::super::intake::{no_space, refusal};
use super::super::mesh::{Admission, Applied, NotApplied, Proposal, Readiness};
use super::super::reads::readiness;
use super::super::replica::{Shared, Start};
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
        let cast = alone();
        let start = Start {
            group: GROUP,
            me: cast.me,
            members: &cast.members,
            seed: 1,
            shared: &mut Shared::default(),
            recovered: &RecoveredGroup::default(),
            terms: Vec::new(),
            state: &state,
        };
        let replica = start.start().unwrap();
        let host = Rc::new(StoreHost::new(env.clone(), Rc::clone(&store), cast));
        host.add(replica);
        env.spawn("driver", drive(env.clone(), Rc::clone(&host), BTreeMap::from([(GROUP, state)]), drop));
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

fn alone() -> Cast {
    Cast { me: raft::NodeId(1), members: vec![raft::NodeId(1)], is_alone: true }
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
    let taken = take_pending(host, false).len();
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
    let turns = on_a_core(|env, store| async move {
        let host = StoreHost::new(env, store, alone());
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

#[test]
fn a_start_whose_log_waits_for_disk_space_says_so_until_it_goes_on() {
    let seen = on_a_core(|env, store| async move {
        let hosts = [Rc::new(StoreHost::new(env, store, alone()))];
        let mut seen = vec![readiness(&hosts)];
        for (full, ready) in [(true, false), (false, false), (false, true), (true, true)] {
            hosts[0].disk_full.set(full);
            hosts[0].ready.set(ready);
            seen.push(readiness(&hosts));
        }
        hosts[0].store.close().await.unwrap();
        seen
    });
    use Readiness::{Ready, Waits, WaitsForSpace};
    assert_eq!(seen, [Waits, WaitsForSpace, Waits, Ready, Ready]);
}

#[test]
fn a_log_without_space_refuses_writes_and_says_how_much_it_wants() {
    let said = on_a_core(|env, store| async move {
        let host = StoreHost::new(env, store, alone());
        let diag = refusal(&no_space(&host));
        host.store.close().await.unwrap();
        (diag.sqlstate, diag.message)
    });
    let message = "writes are refused for now: the disk is full: the log wants 65536 bytes for its next segment";
    assert_eq!(said, (SqlState::DISK_FULL, message.to_owned()));
}
