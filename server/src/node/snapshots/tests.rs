//! The promises of snapshots, on the in-process backend: two stores, and the way between them as a function.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;

use bytes::Bytes;
use highwater_engine::{Direction, GroupId, HardState, Incarnation, LogBatch, LogIndex, Store, StoreOptions, Term};
use highwater_net::rpc::{CallError, SnapshotChunk, Unknown};
use highwater_raft as raft;
use highwater_runtime::Env;
use highwater_runtime::disk::{CrashKind, Faults};
use highwater_runtime::inproc::{InProcEnv, Sim, Stopped};
use highwater_sql::catalog::Role;
use highwater_state::command::{Command, Envelope, MetaCommand, RequestHead};
use highwater_state::group::GroupState;
use highwater_state::placement::{Layout, META};

use super::cut::{Cut, range_of};
use super::descriptor::Described;
use super::error::SnapshotError;
use super::folders;
use super::install::Place;
use super::pace::Pace;
use super::send::{CHUNK_BYTES, Sending};
use super::staging::{HandOver, Staged, Staging};
use super::standing::Standing;
use super::transfers::{Sender, Transfers};

const LAYOUT: Layout = Layout { user_shards: 1, shared_shards: 1, stores: 1 };
const LEADER: raft::NodeId = raft::NodeId(1);
const FOLLOWER: raft::NodeId = raft::NodeId(2);
const GROUP: GroupId = GroupId(META);

/// A group of one store, with its log.
struct Replica {
    env: InProcEnv,
    store: Rc<Store<InProcEnv>>,
    state: GroupState<InProcEnv>,
}

fn options(database_id: u64) -> StoreOptions {
    StoreOptions { database_id, ..StoreOptions::small() }
}

/// Entry `index` of the group's log; the first makes the cluster, every other a user.
fn entry(index: u64) -> Vec<u8> {
    let command = if index == 1 {
        MetaCommand::Bootstrap { cluster_id: 7, layout: LAYOUT, token_key: [1; 32], root_verifier: "v".into() }
    } else {
        let head = RequestHead {
            principal: "root".into(),
            role: Role::System,
            auth_epoch: 1,
            request: None,
            statement_hash: index,
        };
        // Nothing that compression could take away.
        let noise: String =
            (0..8).map(|n| format!("{:016x}", (index * 8 + n).wrapping_mul(0x9E37_79B9_7F4A_7C15))).collect();
        let (name, verifier) = (format!("user{index:05}"), Some(noise));
        MetaCommand::CreateUser { head, name, verifier, role: Role::User, email: None, if_not_exists: false }
    };
    let stamp = 1_767_225_600_000_000 + index.cast_signed();
    Envelope { stamp, seed: u128::from(index), command: Command::Meta(command) }.encode()
}

impl Replica {
    async fn open(env: &InProcEnv, node: u64) -> Self {
        let folder = format!("/node-{node}/store-0");
        folders::remove_leftovers(env, Path::new(&folder)).await.unwrap();
        let (store, _) = Store::open(env.clone(), Path::new(&folder), options(node)).await.unwrap();
        let state = GroupState::open(Rc::clone(&store), META, LAYOUT).await.unwrap();
        let mut replica = Self { env: env.clone(), store, state };
        // What a restart finds in the log is applied again.
        let (from, to) = (replica.state.applied().next(), replica.store.last_index(GROUP));
        if from <= to {
            for entry in replica.store.entries(GROUP, from, to, usize::MAX).await.unwrap() {
                replica.state.apply(entry.index, &entry.data).await.unwrap();
            }
        }
        replica
    }

    async fn write_up_to(&mut self, last: u64) {
        while self.state.applied().0 < last {
            let index = self.state.applied().next();
            let data = entry(index.0);
            let mut batch = LogBatch::new();
            let log = std::iter::once((Term(2), Bytes::from(data.clone())));
            batch.push_entries(GROUP, Incarnation::default(), index, log);
            self.store.append(batch).await.unwrap();
            let applied = self.state.apply(index, &data).await.unwrap();
            let outcome = format!("{:?}", applied.outcome);
            assert!(outcome.starts_with("Defined"), "{outcome}");
        }
    }

    /// Every key and value of the group.
    async fn content(&self) -> Vec<(Bytes, Bytes)> {
        let snapshot = self.store.snapshot();
        let mut cursor = self.store.scan(range_of(META), Direction::Forward, &snapshot);
        let mut all = Vec::new();
        while let Some(pair) = cursor.next().await.unwrap() {
            all.push(pair);
        }
        all
    }

    fn cut(&self, leader_term: u64) -> Cut<InProcEnv> {
        let membership = raft::Membership::new(&[LEADER, FOLLOWER], &[]);
        Cut { view: self.state.view(), term: raft::Term(2), leader_term: raft::Term(leader_term), membership }
    }

    async fn close(self) {
        self.store.close().await.unwrap();
    }
}

/// What a leader has written, ready to be sent.
struct Source {
    env: InProcEnv,
    replica: Replica,
    described: Described,
    pace: Pace,
}

impl Source {
    async fn with_entries(env: &InProcEnv, entries: u64) -> Self {
        let mut replica = Replica::open(env, LEADER.0).await;
        replica.write_up_to(entries).await;
        let folder = folders::sent(replica.store.folder(), 0);
        let described = replica.cut(3).write(env, &replica.store, &folder).await.unwrap();
        Self { env: env.clone(), replica, described, pace: Pace::default() }
    }

    async fn send(&self, carry: impl AsyncFn(SnapshotChunk) -> Result<Bytes, CallError>) -> Result<(), SnapshotError> {
        let folder = folders::sent(self.replica.store.folder(), 0);
        let (env, described, pace) = (&self.env, &self.described, &self.pace);
        Sending { env, folder: &folder, described, pace, rate: 64 << 20 }.send(carry, || true).await
    }
}

/// What a follower's driver would be given.
#[derive(Clone, Default)]
struct Inbox(Rc<RefCell<Vec<raft::Message>>>);

impl Inbox {
    fn hand_over(&self) -> HandOver {
        let inbox = self.clone();
        Rc::new(move |message| inbox.0.borrow_mut().push(message))
    }
}

async fn take(staging: &Rc<Staging<InProcEnv>>, inbox: &Inbox, chunk: SnapshotChunk) -> Result<Bytes, CallError> {
    let standing = staging.take((LEADER, FOLLOWER), chunk, inbox.hand_over()).await;
    standing.map(|standing| Bytes::from(standing.encode())).map_err(CallError::Refused)
}

async fn install(follower: &Replica, staged: &Staged) -> Result<GroupState<InProcEnv>, SnapshotError> {
    let place =
        Place { env: &follower.env, store: &follower.store, layout: LAYOUT, incarnation: Incarnation::default() };
    let hard_state = raft::HardState { term: raft::Term(3), vote: Some(LEADER), commit: staged.described.index };
    place.install(staged, Some(hard_state)).await
}

/// Sends, stages and puts in place.
async fn transfer(source: &Source, follower: &mut Replica) {
    let staging = Rc::new(Staging::new(follower.env.clone(), Rc::clone(&follower.store)));
    let inbox = Inbox::default();
    source.send(async |chunk| take(&staging, &inbox, chunk).await).await.unwrap();
    let message = inbox.0.take().pop().unwrap();
    assert_eq!(message, source.described.announcement(LEADER, FOLLOWER));
    let staged = staging.staged(META, &source.described.meta()).unwrap();
    follower.state = install(follower, &staged).await.unwrap();
    staging.settle(META, source.described.index).await;
    assert!(names(&follower.env, &staged.folder).await.is_empty(), "nothing stays of a staging");
}

async fn names(env: &InProcEnv, folder: &Path) -> Vec<std::path::PathBuf> {
    env.list_dir(folder).await.unwrap_or_default()
}

fn run<F: AsyncFnOnce(InProcEnv)>(body: F) {
    Sim::new(1, Faults::none()).run(|env| body(env)).unwrap();
}

#[test]
fn a_group_comes_to_another_store_by_snapshot_and_goes_on_as_on_the_first() {
    run(async |env| {
        let mut source = Source::with_entries(&env, 400).await;
        assert!(source.described.files.len() > 3, "{:?}", source.described.files);
        assert!(source.described.bytes() > 2 * 4096);
        let mut follower = Replica::open(&env, FOLLOWER.0).await;
        // It knows other things of the group's beginning, all of which must go.
        follower.write_up_to(30).await;
        // What is applied after the cut is not in it.
        source.replica.write_up_to(410).await;
        transfer(&source, &mut follower).await;
        assert_eq!((follower.state.applied(), follower.state.view().chain()), (LogIndex(400), source.described.chain));
        assert_eq!(follower.store.first_index(GROUP), LogIndex(401));
        assert_eq!(follower.store.term_of(GROUP, LogIndex(400)), Some(Term(2)));
        assert_eq!(follower.store.hard_state(GROUP).term, Term(3));
        follower.write_up_to(410).await;
        assert_eq!(follower.state.view().chain(), source.replica.state.view().chain());
        assert_eq!(follower.content().await, source.replica.content().await);
        follower.close().await;
        let follower = Replica::open(&env, FOLLOWER.0).await;
        assert_eq!(follower.state.view().chain(), source.replica.state.view().chain(), "after a restart too");
        assert_eq!(follower.store.hard_state(GROUP), HardState { term: Term(3), vote: 1, commit: LogIndex(0) });
    });
}

#[test]
fn lost_answers_doubled_and_late_chunks_do_no_harm() {
    run(async |env| {
        let source = Source::with_entries(&env, 300).await;
        let mut follower = Replica::open(&env, FOLLOWER.0).await;
        let staging = Rc::new(Staging::new(env.clone(), Rc::clone(&follower.store)));
        let (inbox, sent) = (Inbox::default(), Cell::new(0_u64));
        let before = RefCell::new(None);
        let carry = async |chunk: SnapshotChunk| {
            sent.set(sent.get() + 1);
            let late: Option<SnapshotChunk> = before.replace(Some(chunk.clone()));
            let answer = take(&staging, &inbox, chunk.clone()).await;
            match sent.get() % 4 {
                0 => return Err(CallError::Unknown(Unknown::Disconnected)),
                1 => assert!(take(&staging, &inbox, chunk).await.is_ok()),
                2 => assert!(take(&staging, &inbox, late.unwrap()).await.is_ok()),
                _ => {}
            }
            answer
        };
        source.send(carry).await.unwrap();
        let staged = staging.staged(META, &source.described.meta()).unwrap();
        follower.state = install(&follower, &staged).await.unwrap();
        assert_eq!(follower.content().await, source.replica.content().await);
    });
}

#[test]
fn a_chunk_of_another_snapshot_is_not_taken_for_one_of_this() {
    run(async |env| {
        let source = Source::with_entries(&env, 300).await;
        let mut follower = Replica::open(&env, FOLLOWER.0).await;
        let staging = Rc::new(Staging::new(env.clone(), Rc::clone(&follower.store)));
        let inbox = Inbox::default();
        let again = Bytes::from(Standing::Wants { part: 0, offset: 0 }.encode());
        let carry = async |chunk: SnapshotChunk| {
            if chunk.part > 0 {
                // A later cut of the same group, of as many files of the same lengths.
                let index = highwater_net::rpc::LogIndex(chunk.index.0 + 1);
                let other = SnapshotChunk { index, data: vec![7; chunk.data.len()].into(), ..chunk.clone() };
                assert_eq!(take(&staging, &inbox, other).await.unwrap(), again, "part {}", chunk.part);
            }
            take(&staging, &inbox, chunk).await
        };
        source.send(carry).await.unwrap();
        let staged = staging.staged(META, &source.described.meta()).unwrap();
        follower.state = install(&follower, &staged).await.unwrap();
        assert_eq!(follower.content().await, source.replica.content().await);
    });
}

#[test]
fn a_receiver_that_starts_anew_is_sent_everything_again() {
    run(async |env| {
        let source = Source::with_entries(&env, 300).await;
        let follower = Replica::open(&env, FOLLOWER.0).await;
        let store = Rc::clone(&follower.store);
        let staging = RefCell::new(Rc::new(Staging::new(env.clone(), Rc::clone(&store))));
        let (inbox, sent) = (Inbox::default(), Cell::new(0));
        let carry = async |chunk: SnapshotChunk| {
            sent.set(sent.get() + 1);
            if sent.get() == 4 {
                folders::remove_leftovers(&env, store.folder()).await.unwrap();
                staging.replace(Rc::new(Staging::new(env.clone(), Rc::clone(&store))));
            }
            let staging = Rc::clone(&staging.borrow());
            take(&staging, &inbox, chunk).await
        };
        source.send(carry).await.unwrap();
        assert_eq!(inbox.0.borrow().len(), 1);
    });
}

#[test]
fn a_damaged_chunk_is_refused_and_leaves_nothing() {
    run(async |env| {
        let source = Source::with_entries(&env, 300).await;
        let follower = Replica::open(&env, FOLLOWER.0).await;
        let staging = Rc::new(Staging::new(env.clone(), Rc::clone(&follower.store)));
        let inbox = Inbox::default();
        for part in 0..source.described.parts() {
            let carry = async |mut chunk: SnapshotChunk| {
                if chunk.part == part {
                    let mut data = chunk.data.to_vec();
                    let at = data.len() / 2;
                    data[at] ^= 1;
                    chunk.data = data.into();
                }
                take(&staging, &inbox, chunk).await
            };
            let outcome = source.send(carry).await;
            assert!(matches!(outcome, Err(SnapshotError::Refused(_))), "part {part}: {outcome:?}");
            assert!(inbox.0.borrow().is_empty());
            let staged = folders::staged(follower.store.folder(), 0);
            assert_eq!(names(&env, &staged).await.len(), 0, "part {part}");
        }
        source.send(async |chunk| take(&staging, &inbox, chunk).await).await.unwrap();
        assert_eq!(inbox.0.borrow().len(), 1, "an intact one is taken after that");
    });
}

#[test]
fn chunks_that_are_of_no_use_are_refused_in_words() {
    run(async |env| {
        let source = Source::with_entries(&env, 300).await;
        let follower = Replica::open(&env, FOLLOWER.0).await;
        let staging = Rc::new(Staging::new(env.clone(), Rc::clone(&follower.store)));
        let inbox = Inbox::default();
        let first = RefCell::new(None);
        let second = RefCell::new(None);
        let stop = async |chunk: SnapshotChunk| {
            if chunk.part == 0 {
                first.replace(Some(chunk.clone()));
                return take(&staging, &inbox, chunk).await;
            }
            second.replace(Some(chunk));
            Err(CallError::NotSent(highwater_net::rpc::NotSent::Stopped))
        };
        assert!(source.send(stop).await.is_err());
        let (first, second) = (first.take().unwrap(), second.take().unwrap());
        let answer = async |chunk: SnapshotChunk| {
            let answer = staging.take((LEADER, FOLLOWER), chunk, inbox.hand_over()).await;
            answer.map_err(|refusal| refusal.text)
        };
        let beyond = SnapshotChunk { part_bytes: second.part_bytes + 4096, ..second.clone() };
        assert!(answer(beyond).await.unwrap_err().contains("does not lie in its file"));
        let odd = SnapshotChunk { data: second.data.slice(..100), ..second.clone() };
        assert!(answer(odd).await.unwrap_err().contains("whole blocks"));
        let other = SnapshotChunk { index: highwater_net::rpc::LogIndex(1), ..first.clone() };
        assert!(answer(other).await.unwrap_err().contains("another snapshot"));
        let unknown = SnapshotChunk { index: highwater_net::rpc::LogIndex(1), ..second.clone() };
        assert_eq!(answer(unknown).await, Ok(Standing::Wants { part: 0, offset: 0 }));
        let older = Described { leader_term: raft::Term(2), ..source.described.clone() };
        let older = SnapshotChunk { data: older.encode().into(), ..first.clone() };
        assert!(answer(older).await.unwrap_err().contains("is being received"), "an older leader's");
        let newer = Described { leader_term: raft::Term(4), ..source.described.clone() };
        let newer = SnapshotChunk { data: newer.encode().into(), ..first.clone() };
        assert_eq!(answer(newer).await, Ok(Standing::Wants { part: 1, offset: 0 }), "a newer leader's takes its place");
        assert_eq!(
            answer(first).await.unwrap_err(),
            "a snapshot of term 4 is being received, this one was cut in term 3"
        );
    });
}

#[test]
fn what_the_follower_has_already_is_not_received() {
    run(async |env| {
        let source = Source::with_entries(&env, 40).await;
        let mut follower = Replica::open(&env, FOLLOWER.0).await;
        follower.write_up_to(40).await;
        let staging = Rc::new(Staging::new(env.clone(), Rc::clone(&follower.store)));
        let (inbox, sent) = (Inbox::default(), Cell::new(0));
        let carry = async |chunk| {
            sent.set(sent.get() + 1);
            take(&staging, &inbox, chunk).await
        };
        source.send(carry).await.unwrap();
        assert_eq!((sent.get(), inbox.0.borrow().len()), (1, 1), "the replica answers the leader itself");
    });
}

#[test]
fn a_full_disk_refuses_the_snapshot_and_keeps_nothing_of_it() {
    let mut sim = Sim::new(1, Faults::none());
    sim.run(|env| async move { Source::with_entries(&env, 300).await.replica.close().await }).unwrap();
    let used: u64 = 12 << 20;
    sim.disk().faults.capacity = Some(used);
    sim.run(|env| async move {
        let source = Source::with_entries(&env, 300).await;
        let follower = Replica::open(&env, FOLLOWER.0).await;
        let staging = Rc::new(Staging::new(env.clone(), Rc::clone(&follower.store)));
        let inbox = Inbox::default();
        let mut huge = source.described.clone();
        huge.files[0].bytes = 1 << 30;
        let folder = folders::sent(source.replica.store.folder(), 0);
        let sending = Sending { env: &env, folder: &folder, described: &huge, pace: &source.pace, rate: 0 };
        let outcome = sending.send(async |chunk| take(&staging, &inbox, chunk).await, || true).await;
        let SnapshotError::Refused(text) = outcome.unwrap_err() else { panic!("not refused") };
        assert!(text.contains("the disk has no space for a snapshot of"), "{text}");
        let staged = folders::staged(follower.store.folder(), 0);
        assert_eq!(names(&env, &staged).await.len(), 0);
    })
    .unwrap();
}

#[test]
fn a_part_that_cannot_be_synced_stops_the_node() {
    let mut stopped = 0;
    for seed in 0..60 {
        let mut sim = Sim::new(seed, Faults::none());
        sim.run(|env| async move {
            Replica::open(&env, FOLLOWER.0).await.close().await;
            Source::with_entries(&env, 60).await.replica.close().await;
        })
        .unwrap();
        sim.disk().faults.sync_error = 0.05;
        let outcome = sim.run(|env| async move {
            let source = Source::with_entries(&env, 60).await;
            let follower = Replica::open(&env, FOLLOWER.0).await;
            let staging = Rc::new(Staging::new(env.clone(), Rc::clone(&follower.store)));
            let inbox = Inbox::default();
            source.send(async |chunk| take(&staging, &inbox, chunk).await).await.map_err(|error| error.to_string())
        });
        match outcome {
            Err(Stopped::FailStop(reason)) => stopped += u64::from(reason.contains("part of a snapshot")),
            Ok(Err(error)) => panic!("seed {seed}: the snapshot was refused and the node went on: {error}"),
            Ok(Ok(())) | Err(_) => {}
        }
    }
    assert!(stopped > 0, "no sync of a part has failed");
}

#[test]
fn a_crash_at_any_point_of_a_transfer_leaves_the_old_state_or_the_new_one() {
    const OLD: u64 = 25;
    const NEW: u64 = 120;
    // A disk with both nodes, the snapshot cut.
    let mut first = Sim::new(3, Faults::none());
    first
        .run(|env| async move {
            let mut follower = Replica::open(&env, FOLLOWER.0).await;
            follower.write_up_to(OLD).await;
            follower.close().await;
            let mut leader = Replica::open(&env, LEADER.0).await;
            leader.write_up_to(NEW).await;
            leader.close().await;
        })
        .unwrap();
    let prepared = first.disk().clone();
    let (mut old, mut new) = (0, 0);
    let mut at = 0;
    loop {
        let mut sim = Sim::with_disk(at, prepared.clone());
        let source = sim.run(|env| async move { Rc::new(Source::with_entries(&env, NEW).await) }).unwrap();
        let follower = sim.run(|env| async move { Replica::open(&env, FOLLOWER.0).await }).unwrap();
        let contents = sim.run(|_| {
            let (source, follower) = (&source, &follower);
            async move { (follower.content().await, source.replica.content().await) }
        });
        let (old_content, new_content) = contents.unwrap();
        sim.crash_after(at);
        let ended = sim.run(|_| {
            let source = Rc::clone(&source);
            let mut follower = follower;
            async move { transfer(&source, &mut follower).await }
        });
        assert!(matches!(ended, Ok(()) | Err(Stopped::CrashPoint)), "{ended:?}");
        drop(source);
        sim.crash(CrashKind::Power);
        let found = sim.run(|env| async move {
            let follower = Replica::open(&env, FOLLOWER.0).await;
            for slot in 0..folders::RECEIVED_AT_ONCE {
                let folder = folders::staged(follower.store.folder(), slot);
                assert!(names(&env, &folder).await.is_empty());
            }
            let found = (follower.state.applied().0, follower.content().await, follower.store.hard_state(GROUP).term);
            follower.close().await;
            found
        });
        match found.unwrap() {
            (OLD, content, term) => {
                assert!(content == old_content, "crash after {at}");
                assert!([Term(0), Term(3)].contains(&term));
                old += 1;
            }
            (NEW, content, term) => {
                assert!(content == new_content, "crash after {at}");
                assert_eq!(term, Term(3), "the hard state is there whenever the snapshot is");
                new += 1;
            }
            (index, ..) => panic!("crash after {at}: the state ends at {index}"),
        }
        if ended.is_ok() {
            break;
        }
        at += 1;
    }
    assert!(old > 20 && new > 2, "{old} {new}");
}

#[test]
fn a_sender_leaves_a_receiver_alone_that_is_never_heard_of() {
    run(async |env| {
        let source = Source::with_entries(&env, 10).await;
        let began = env.now();
        let outcome = source.send(async |_| Err(CallError::Unknown(Unknown::Disconnected))).await;
        assert!(matches!(outcome, Err(SnapshotError::Stuck { seconds: 30, .. })), "{outcome:?}");
        assert!(env.now().micros_since(began) < 31_000_000);
    });
}

#[test]
fn chunks_leave_no_faster_than_they_may() {
    run(async |env| {
        let source = Source::with_entries(&env, 300).await;
        let follower = Replica::open(&env, FOLLOWER.0).await;
        let staging = Rc::new(Staging::new(env.clone(), Rc::clone(&follower.store)));
        let inbox = Inbox::default();
        let folder = folders::sent(source.replica.store.folder(), 0);
        let (described, pace) = (&source.described, &source.pace);
        let (began, rate) = (env.now(), 4096);
        let sending = Sending { env: &env, folder: &folder, described, pace, rate };
        sending.send(async |chunk| take(&staging, &inbox, chunk).await, || true).await.unwrap();
        let least = (described.bytes() - described.files.last().unwrap().bytes) * 1_000_000 / rate;
        assert!(env.now().micros_since(began) >= least);
        assert!(described.bytes() < CHUNK_BYTES * u64::from(described.parts()));
    });
}

/// A leader's replica that is asked for snapshots.
struct Asked {
    replica: Rc<RefCell<Replica>>,
    staging: Rc<Staging<InProcEnv>>,
    inbox: Inbox,
    /// Chunks until the way breaks for good; then it comes back.
    breaks: Cell<u64>,
    cuts: Rc<Cell<u32>>,
    ended: Rc<RefCell<Vec<Option<u64>>>>,
}

impl Sender<InProcEnv> for Asked {
    fn group(&self) -> u32 {
        META
    }
    fn cut(&self, _to: raft::NodeId) -> Option<Cut<InProcEnv>> {
        self.cuts.set(self.cuts.get() + 1);
        Some(self.replica.borrow().cut(3))
    }
    fn leads(&self, _term: raft::Term) -> bool {
        true
    }
    async fn carry(&self, _to: raft::NodeId, chunk: SnapshotChunk) -> Result<Bytes, CallError> {
        self.breaks.set(self.breaks.get().wrapping_sub(1));
        if self.breaks.get() == 0 {
            return Err(CallError::NotSent(highwater_net::rpc::NotSent::Stopped));
        }
        take(&self.staging, &self.inbox, chunk).await
    }
    fn ended(&self, _to: raft::NodeId, sent: Option<raft::LogIndex>) {
        self.ended.borrow_mut().push(sent.map(|index| index.0));
    }
    fn rate(&self) -> u64 {
        1 << 20
    }
}

#[test]
fn a_transfer_reports_its_end_leaves_no_files_and_runs_once_per_receiver() {
    run(async |env| {
        let mut leader = Replica::open(&env, LEADER.0).await;
        leader.write_up_to(100).await;
        let store = Rc::clone(&leader.store);
        let leader = Rc::new(RefCell::new(leader));
        let follower = Replica::open(&env, FOLLOWER.0).await;
        let staging = Rc::new(Staging::new(env.clone(), Rc::clone(&follower.store)));
        let (inbox, cuts, ended) = (Inbox::default(), Rc::new(Cell::new(0)), Rc::new(RefCell::new(Vec::new())));
        let sender = |breaks| Asked {
            replica: Rc::clone(&leader),
            staging: Rc::clone(&staging),
            inbox: inbox.clone(),
            breaks: Cell::new(breaks),
            cuts: Rc::clone(&cuts),
            ended: Rc::clone(&ended),
        };
        let transfers = Rc::new(Transfers::new(env.clone(), Rc::clone(&store), std::sync::Arc::default()));
        transfers.want(FOLLOWER, sender(3));
        while transfers.count() > 0 {
            env.sleep(1000).await;
        }
        assert_eq!((cuts.get(), &*ended.borrow()), (1, &vec![None]), "a failure is said");
        assert!(names(&env, &folders::sent(store.folder(), 0)).await.is_empty());
        transfers.want(FOLLOWER, sender(0));
        transfers.want(FOLLOWER, sender(0));
        while transfers.count() > 0 {
            env.sleep(1000).await;
        }
        assert_eq!(cuts.get(), 3, "one after the other");
        assert_eq!(*ended.borrow(), [None, Some(100), Some(100)]);
        for slot in 0..2 {
            assert!(names(&env, &folders::sent(store.folder(), slot)).await.is_empty());
        }
    });
}
