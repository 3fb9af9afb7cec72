//! The group driver: one task per store that moves all its groups forward.
//!
//! It takes in what came (messages of other nodes, ticks, proposals, reads), asks Raft of every group that something happened to
//! what is to be done, and sees to it: messages leave at once, log records of all groups go into one append, what is committed is
//! applied beside that append. A sole voter takes in nothing while its log is written, so that all that came meanwhile is in the
//! next append; where others vote, their messages are never kept waiting by this node's disk.

mod append;
mod applying;
mod install;
mod ticks;

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use highwater_raft as raft;
use highwater_runtime::{Env, Rt};
use highwater_sql::diag::{Diag, SqlState};
use highwater_state::group::GroupState;

use super::apply::Run;
use super::balance::Balance;
use super::handover;
use super::hibernation::Hibernation;
use super::host::StoreHost;
use super::intake::take_pending;
use super::replica::Replica;
use super::rest::Rest;
use crate::signal::Changed;
use append::{Report, Write, read_log};
use install::Install;
pub(crate) use ticks::{TICK_MICROS, tick};

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
        hands_out: false,
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
    /// Something was handed to the disk or to other nodes since the last turn.
    hands_out: bool,
    /// The turn after which views were last renewed.
    renewed_at: u64,
    /// The group whose view is the next to be renewed.
    renewed_to: u32,
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
                self.hands_out |= writing.is_some();
            }
            if applying.is_none() {
                applying = self.next_apply();
            }
            self.hands_out = false;
            if host.closing.get() && writing.is_none() && installing.is_none() && applying.is_none() {
                return Ok(());
            }
            // A sole voter looks for more when its write is done.
            let work = (!(host.is_alone && writing.is_some())).then(|| host.work.changed_since(seen));
            match next_event([&mut writing, &mut installing], &mut applying, work).await? {
                Event::Durable(Durable::Written(reports)) => self.written(reports)?,
                Event::Durable(Durable::Installed(state, install)) => self.installed(*state, install)?,
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
        self.hands_out |= !messages.is_empty();
        for message in messages {
            (self.send)(message);
        }
        if let Some(state) = soft_state.filter(|_| !self.host.is_alone) {
            let leader = state.leader.map(|node| node.0);
            tracing::debug!(group, role = state.role.name(), leader, "the replica's part has changed");
        }
        if soft_state.is_some() {
            if highwater_runtime::mutant(50) {
                self.env.spawn("left behind", std::future::pending());
            }
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

#[cfg(test)]
mod tests;
