//! The group driver: one task per store that moves all its groups forward.
//!
//! It takes in what came (messages of other nodes, ticks, proposals, reads), asks Raft of every group that something happened to
//! what is to be done, and sees to it: messages leave at once, log records of all groups go into one append, what is committed is
//! applied beside that append. A sole voter takes in nothing while its log is written, so that all that came meanwhile is in the
//! next append; where others vote, their messages are never kept waiting by this node's disk.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use highwater_engine::{EngineError, GroupId, Intake, LogBatch, LogIndex};
use highwater_raft as raft;
use highwater_runtime::{Env, Rt};
use highwater_sql::diag::{Diag, SqlState};
use highwater_state::group::GroupState;

use super::apply::{self, Run};
use super::balance::Balance;
use super::entries;
use super::handover;
use super::hibernation::Hibernation;
use super::host::StoreHost;
use super::intake::{cause, clients_of, no_space, refusal, sort_proposals};
use super::mesh::Proposal;
use super::replica::Replica;
use super::rest::Rest;
use crate::signal::Changed;

/// Turns after which the views of idle groups are renewed.
const RENEW_VIEWS: u64 = 64;
/// Views that are renewed at one time, at most; the next come after as many turns more.
const RENEW_AT_ONCE: usize = 256;
/// Pause before a log without disk space is tried again, in microseconds.
const NO_SPACE_MICROS: u64 = 200_000;
/// A tick of Raft's time, in microseconds.
pub(crate) const TICK_MICROS: u64 = 50_000;
/// Ticks between two looks at how much of the log is kept for other nodes.
const RELEASE_TICKS: u32 = 20;
/// The share of [`Intake`] at which nothing is held back.
const ALL: u64 = 1000;

/// Drives the groups of a store until the host closes and nothing is left to do. `send` takes messages to other nodes; it may lose them.
pub(crate) async fn drive(
    env: Rt,
    host: Rc<StoreHost>,
    states: BTreeMap<u32, GroupState<Rt>>,
    send: impl Fn(raft::Message) + 'static,
) {
    for (group, state) in &states {
        host.publish(*group, state.view());
    }
    // A store without groups has nothing to replay: there are more stores than groups on a machine of many cores.
    host.ready.set(states.is_empty());
    let mut driver = Driver {
        env: env.clone(),
        host: Rc::clone(&host),
        send,
        states,
        next: Write::default(),
        committed: VecDeque::new(),
        installs: VecDeque::new(),
        announced: Vec::new(),
        sleep: Hibernation::of(&host),
        balance: Balance::default(),
        rest: Rest::default(),
        ticks: 0,
        renewed_at: 0,
        renewed_to: 0,
    };
    if let Err(reason) = driver.run().await {
        env.fail_stop(&reason).await;
    }
    drop(driver);
    if let Err(error) = host.store.close().await {
        tracing::error!(%error, "the store did not close cleanly; the next start will recover it");
    }
    host.stopped.notify();
}

/// Lets Raft's time pass for a store's groups until the host closes.
pub(crate) async fn tick(env: Rt, host: Rc<StoreHost>, tick_micros: u64) {
    while !host.closing.get() {
        env.sleep(tick_micros).await;
        host.tick.set(true);
        host.work.notify();
    }
}

/// What the driver has on its hands.
struct Driver<S> {
    env: Rt,
    host: Rc<StoreHost>,
    send: S,
    /// The states of the groups, but of those that entries are being applied to.
    states: BTreeMap<u32, GroupState<Rt>>,
    /// The next append.
    next: Write,
    /// What waits to be applied, in order within each group.
    committed: VecDeque<(Rc<Replica>, raft::Committed)>,
    /// Snapshots that wait to be put in place.
    installs: VecDeque<Install>,
    /// Snapshots that were announced to Raft since it was last asked.
    announced: Vec<(Rc<Replica>, raft::LogIndex)>,
    /// Which groups are given Raft's time.
    sleep: Hibernation,
    /// Whether leads lie evenly.
    balance: Balance,
    /// What is done when all groups sleep.
    rest: Rest,
    ticks: u32,
    /// The turn after which views were last renewed.
    renewed_at: u64,
    /// The group whose view is the next to be renewed.
    renewed_to: u32,
}

/// One append, and who is told when it is durable.
#[derive(Default)]
struct Write {
    batch: LogBatch,
    reports: Vec<Report>,
}

/// What a durable append means for one group.
struct Report {
    replica: Rc<Replica>,
    number: raft::ReadyNumber,
    /// To be sent then.
    messages: Vec<raft::Message>,
}

/// A snapshot to put in place.
struct Install {
    report: Report,
    meta: raft::SnapshotMeta,
    hard_state: Option<raft::HardState>,
}

/// What a step on the disk leads to.
enum Durable {
    Written(Vec<Report>),
    Installed(Box<GroupState<Rt>>, Install),
}

/// Work on the disk or on the state, under way.
type UnderWay<T> = Option<Pin<Box<dyn Future<Output = Result<T, String>>>>>;

/// What the driver waited for.
enum Event {
    Durable(Durable),
    Applied(Vec<Run>),
    Work,
}

impl<S: Fn(raft::Message)> Driver<S> {
    async fn run(&mut self) -> Result<(), String> {
        let host = Rc::clone(&self.host);
        let mut writing: UnderWay<Durable> = None;
        let mut installing: UnderWay<Durable> = None;
        let mut applying: UnderWay<Vec<Run>> = None;
        loop {
            let seen = host.work.seen();
            if !(host.is_alone && writing.is_some()) {
                self.take_in(writing.is_some())?;
                self.gather();
            }
            if writing.is_none() && installing.is_none() {
                installing = self.next_install();
            }
            if writing.is_none() {
                writing = self.next_write();
            }
            if applying.is_none() {
                applying = self.next_apply();
            }
            if host.closing.get() && writing.is_none() && installing.is_none() && applying.is_none() {
                return Ok(());
            }
            // A sole voter looks for more when its write is done.
            let work = (!(host.is_alone && writing.is_some())).then(|| host.work.changed_since(seen));
            match next_event([&mut writing, &mut installing], &mut applying, work).await? {
                Event::Durable(durable) => self.durable(durable)?,
                Event::Applied(runs) => self.applied(runs),
                Event::Work => {}
            }
            if host.is_alone && !host.ready.get() && host.replicas().iter().all(|replica| replica.is_ready()) {
                host.ready.set(true);
                host.outbox.notify();
            }
        }
    }

    /// Messages, time and proposals, in this order: a leader that was heard is not taken for dead.
    fn take_in(&mut self, writing: bool) -> Result<(), String> {
        for message in self.host.take_inbox() {
            if let Some(replica) = self.host.replica(message.group.0) {
                if let raft::MessageKind::Snapshot(meta) = &message.kind {
                    self.announced.push((Rc::clone(&replica), meta.index));
                }
                Hibernation::hears(&self.host, &replica, &message);
                replica.step(message).map_err(|error| error.to_string())?;
                self.host.touch(&replica);
            }
        }
        if self.host.tick.replace(false) {
            self.tick();
        }
        // A sole voter proposes nothing before its log is replayed: what is logged must follow from the catalog that it leads to.
        if self.host.is_alone && !self.host.ready.get() {
            return Ok(());
        }
        let taken = take_pending(&self.host, writing);
        if taken.is_empty() {
            return Ok(());
        }
        let now = self.env.wall().0;
        for proposal in taken {
            let Some(replica) = self.host.replica(proposal.group) else {
                let diag = Diag::new(SqlState::INTERNAL, format!("group {} is not on this core", proposal.group));
                proposal.reply.fill(Err(diag.into()));
                continue;
            };
            let seed = (u128::from(self.env.random()) << 64) | u128::from(self.env.random());
            self.host.propose(&replica, proposal, now, seed);
        }
        Ok(())
    }

    fn tick(&mut self) {
        let disturbed = self.sleep.tick(&self.host);
        self.balance.tick(&self.host, disturbed);
        self.rest.tick(&self.host, self.sleep.all_asleep());
        self.ticks = self.ticks.wrapping_add(1);
        if self.ticks.is_multiple_of(RELEASE_TICKS) {
            self.release_logs();
        }
    }

    /// Lets go of what all members have. When the log is long all the same, the groups that hold its oldest part let go of what the
    /// members that are heard of have, and before writes would be refused, of everything that is applied.
    fn release_logs(&self) {
        for replica in self.sleep.awake() {
            self.host.release_log(replica, replica.status().applied, 0);
        }
        self.host.release_largest();
        let store = &self.host.store;
        let (bytes, limit) = store.log_bytes();
        if self.host.is_alone || 2 * bytes <= limit {
            return;
        }
        for group in store.log_holders() {
            let Some(replica) = self.host.replica(group.0) else { continue };
            let applied = replica.status().applied;
            let is_short = 4 * bytes > 3 * limit;
            let upto = if is_short { applied } else { replica.held_by(|peer| peer.recently_active).min(applied) };
            self.host.release_log_to(&replica, upto);
        }
    }

    /// Asks Raft of every touched group what is to be done.
    fn gather(&mut self) {
        let mut worked = false;
        for replica in self.host.take_touched() {
            self.sleep.before(&self.host, &replica);
            loop {
                if replica.is_installing.get() {
                    break;
                }
                replica.ask_to_read();
                if !replica.has_ready() {
                    break;
                }
                worked = true;
                self.take_ready(&replica);
            }
            self.sleep.after(&self.host, &replica);
        }
        for (replica, index) in std::mem::take(&mut self.announced) {
            let group = replica.group();
            let is_named = |install: &Install| install.report.replica.group() == group && install.meta.index == index;
            if !self.installs.iter().any(is_named) {
                handover::unwanted(&self.host, group, index);
            }
        }
        if worked {
            self.host.turns.set(self.host.turns.get().wrapping_add(1));
        }
    }

    fn take_ready(&mut self, replica: &Rc<Replica>) {
        let ready = replica.take_ready(&mut self.next.batch);
        let group = replica.group();
        if !(ready.read_states.is_empty() && ready.failed_reads.is_empty()) {
            let published = self.host.view(group).map_or(0, |view| view.applied().0);
            replica.take_reads(&ready, published);
        }
        let raft::Ready {
            number,
            snapshot,
            hard_state,
            must_sync,
            committed,
            messages,
            persisted_messages,
            log_reads,
            snapshots_wanted,
            soft_state,
            entries: _,
            read_states: _,
            failed_reads: _,
        } = ready;
        for message in messages {
            (self.send)(message);
        }
        if let Some(state) = soft_state.filter(|_| !self.host.is_alone) {
            let leader = state.leader.map(|node| node.0);
            tracing::debug!(group, role = state.role.name(), leader, "the replica's part has changed");
        }
        if soft_state.is_some() {
            self.host.changed_leads.borrow_mut().insert(group);
            // Who leads decides who ships, and who carries definitions to their end.
            self.host.outbox.notify();
            self.host.definitions.notify();
        }
        if let Some(committed) = committed {
            self.committed.push_back((Rc::clone(replica), committed));
        }
        for read in log_reads {
            self.env.spawn("log read", read_log(Rc::clone(&self.host), Rc::clone(replica), read));
        }
        for to in snapshots_wanted {
            handover::wanted(&self.host, replica, to);
        }
        if let Some(meta) = snapshot {
            replica.is_installing.set(true);
            self.committed.retain(|(waiting, _)| waiting.group() != group);
            let report = Report { replica: Rc::clone(replica), number, messages: persisted_messages };
            self.installs.push_back(Install { report, meta, hard_state });
            return;
        }
        if must_sync || !persisted_messages.is_empty() {
            match self.next.reports.last_mut().filter(|report| report.replica.group() == group) {
                Some(report) => {
                    report.number = number;
                    report.messages.extend(persisted_messages);
                }
                None => {
                    let replica = Rc::clone(replica);
                    self.next.reports.push(Report { replica, number, messages: persisted_messages });
                }
            }
        }
    }

    /// The append of everything gathered so far.
    fn next_write(&mut self) -> UnderWay<Durable> {
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

    /// The next snapshot that nothing stands in the way of; asked while no append is under way. What was gathered of its group before is
    /// written before it, and what was taken to be applied is applied before it. The other groups go on beside it.
    fn next_install(&mut self) -> UnderWay<Durable> {
        let install = self.installs.front()?;
        let group = install.report.replica.group();
        if self.next.reports.iter().any(|report| report.replica.group() == group) {
            return None;
        }
        // While entries are being applied to it, the state is not here.
        self.states.remove(&group)?;
        let (host, install) = (Rc::clone(&self.host), self.installs.pop_front()?);
        Some(Box::pin(async move {
            let state = handover::install(&host, &install.report.replica, &install.meta, install.hard_state).await?;
            Ok(Durable::Installed(Box::new(state), install))
        }))
    }

    /// Applies what is committed so far.
    fn next_apply(&mut self) -> UnderWay<Vec<Run>> {
        if self.committed.is_empty() {
            return None;
        }
        let mut runs: Vec<Run> = Vec::new();
        for (replica, committed) in std::mem::take(&mut self.committed) {
            let group = replica.group();
            if let Some(state) = self.states.remove(&group) {
                runs.push(Run { replica, state, committed: VecDeque::from([committed]) });
            } else if let Some(run) = runs.iter_mut().find(|run| run.replica.group() == group) {
                run.committed.push_back(committed);
            }
        }
        Some(Box::pin(apply::apply(Rc::clone(&self.host), runs)))
    }

    fn durable(&mut self, durable: Durable) -> Result<(), String> {
        let reports = match durable {
            Durable::Written(reports) => reports,
            Durable::Installed(state, Install { report, meta, .. }) => {
                let (replica, group) = (&report.replica, report.replica.group());
                let mut state = *state;
                self.host.share_catalog(&mut state);
                self.host.publish(group, state.view());
                replica.installed(report.number, meta.index).map_err(|error| format!("group {group}: {error}"))?;
                replica.is_installing.set(false);
                self.states.insert(group, state);
                self.host.taken_over(group);
                vec![report]
            }
        };
        for Report { replica, number, messages } in reports {
            for message in messages {
                (self.send)(message);
            }
            replica.persisted(number).map_err(|error| format!("group {}: {error}", replica.group()))?;
            self.host.touch(&replica);
        }
        Ok(())
    }

    fn applied(&mut self, runs: Vec<Run>) {
        for Run { replica, state, committed } in runs {
            self.states.insert(replica.group(), state);
            if !replica.is_installing.get() {
                for rest in committed.into_iter().rev() {
                    self.committed.push_front((Rc::clone(&replica), rest));
                }
            }
        }
        // A view holds a snapshot of the whole store: those of idle groups are renewed, or nothing deleted is ever freed.
        let turns = self.host.turns.get();
        if turns.wrapping_sub(self.renewed_at) >= RENEW_VIEWS {
            self.renewed_at = turns;
            let (after, mut count) = (self.renewed_to, 0);
            for (group, state) in self.states.range(after..).take(RENEW_AT_ONCE) {
                self.host.publish(*group, state.view());
                self.renewed_to = group.saturating_add(1);
                count += 1;
            }
            if count < RENEW_AT_ONCE {
                self.renewed_to = 0;
            }
        }
    }
}

/// What happens first. What is under way goes on in any case.
async fn next_event(
    mut on_disk: [&mut UnderWay<Durable>; 2],
    applying: &mut UnderWay<Vec<Run>>,
    mut work: Option<Changed<'_>>,
) -> Result<Event, String> {
    std::future::poll_fn(|context| {
        for step in &mut on_disk {
            if let Some(future) = step
                && let Poll::Ready(durable) = future.as_mut().poll(context)
            {
                **step = None;
                return Poll::Ready(durable.map(Event::Durable));
            }
        }
        if let Some(future) = applying
            && let Poll::Ready(applied) = future.as_mut().poll(context)
        {
            *applying = None;
            return Poll::Ready(applied.map(Event::Applied));
        }
        match &mut work {
            Some(work) => Pin::new(work).poll(context).map(|()| Ok(Event::Work)),
            None => Poll::Pending,
        }
    })
    .await
}

/// Reads entries that a follower lacks and memory no longer holds.
async fn read_log(host: Rc<StoreHost>, replica: Rc<Replica>, read: raft::LogRead) {
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

/// What is proposed now of what waits. Client writes that the store does not take now are told so, or stay for the next turn, which begins
/// when the present write is done.
fn take_pending(host: &StoreHost, writing: bool) -> Vec<Proposal> {
    let mut pending = host.pending.borrow_mut();
    if pending.is_empty() {
        // A stall that has ended is noticed although nobody writes.
        host.store.pressure();
        return Vec::new();
    }
    let intake = host.store.intake();
    if writing && intake.share < ALL {
        return Vec::new();
    }
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
                refuse(host, &no_space(), refused);
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

#[cfg(test)]
mod tests {
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
    use super::super::mesh::{Admission, Applied, NotApplied};
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
}
