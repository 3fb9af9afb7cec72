//! The nemesis: ends servers' lives as the plan says, starts them again, and judges a server that ends by itself or does not come back.
//! What else befalls a cluster it leaves to [`Troubles`](super::troubles).

use std::collections::VecDeque;

use highwater_runtime::disk::{CrashKind, Disk};
use highwater_runtime::sim;
use highwater_sim::plan::Crash;
use highwater_sim::trouble::{Disturbance, Target};

use super::shared::{Phase, Run, now_micros, pause};
use super::troubles::Troubles;

/// How long a server may take to serve again, in microseconds: many stalls of the disk, one after the other.
const COMES_BACK: u64 = 120_000_000;
/// How long a server may go on after a failed sync, in microseconds.
const STOPS: u64 = 20_000_000;
/// How often the nemesis looks, in microseconds.
const LOOK: u64 = 2_000;
/// How long it waits for a crash at an I/O completion before it crashes without one, in microseconds.
const ARMED: u64 = 1_500_000;
/// How long a server that is asked to stop may take, in microseconds: a statement's time and more.
const ENDS: u64 = 120_000_000;
/// How often a node that lost its disk is started.
const REFUSALS: u32 = 3;
/// How long the clients of a cluster may take to finish once nothing befalls it any more, in microseconds.
const FINISHES: u64 = 240_000_000;

/// What comes next, in the order of acknowledged writes.
enum Event {
    Crash(Crash),
    Trouble(Disturbance),
}

impl Event {
    const fn after_writes(&self) -> u64 {
        match self {
            Self::Crash(crash) => crash.after_writes,
            Self::Trouble(trouble) => trouble.after_writes,
        }
    }

    const fn delay(&self) -> u64 {
        match self {
            Self::Crash(crash) => crash.delay,
            Self::Trouble(trouble) => trouble.delay,
        }
    }
}

/// What is known of a server's present life, or its last one while it is down.
#[derive(Default)]
struct Life {
    /// A crash at an I/O completion that was asked for, when, and its kind.
    armed: Option<(u64, CrashKind)>,
    /// Further crashes of the one under way, during recovery.
    again: VecDeque<(u64, CrashKind)>,
    restart_at: Option<u64>,
    down_for: u64,
    born: u64,
    failed_before: u64,
    syncs_failed_before: u64,
    /// When the present life's first failed sync was seen.
    sync_failed_at: Option<u64>,
    /// It stays down until the final look.
    stays_down: bool,
    /// When it was asked to stop.
    asked_at: Option<u64>,
    /// It lost its disk, and is to be started so many times more: each time it must be refused.
    refusals: Option<u32>,
}

impl Life {
    /// Whether its end is under way already.
    const fn is_ending(&self) -> bool {
        self.armed.is_some() || self.asked_at.is_some()
    }
}

/// What it does about the servers.
struct Nemesis<'a> {
    run: &'a Run,
    due: VecDeque<Event>,
    /// Since when the first of `due` may come.
    ripe_since: Option<u64>,
    lives: Vec<Life>,
    troubles: Troubles<'a>,
    /// When a server was last down, or anything else the matter: until then nobody needs to serve.
    troubled_at: u64,
}

/// Carries out the plan's crashes and troubles until the run is over.
pub async fn haunt(run: &Run) {
    sim::set_buggify(true);
    let crashes = run.plan.crashes.iter().cloned().map(Event::Crash);
    let troubles = run.plan.surroundings.disturbances.iter().cloned().map(Event::Trouble);
    let mut due: Vec<Event> = crashes.chain(troubles).collect();
    due.retain(|event| event.after_writes() < u64::MAX);
    due.sort_by_key(Event::after_writes);
    let lives = (0..run.nodes()).map(|_| Life { down_for: 10_000, ..Life::default() }).collect();
    let mut nemesis =
        Nemesis { run, due: due.into(), ripe_since: None, lives, troubles: Troubles::new(run), troubled_at: 0 };
    nemesis.troubles.set_clocks();
    if let Some((at, kind)) = run.plan.crash_at_birth {
        nemesis.arm(run.plan.surroundings.bad_disk, at, kind);
        run.mark("crashes_at_birth");
    }
    while run.phase() != Phase::Over && !run.is_broken() {
        pause(LOOK).await;
        nemesis.look();
        if run.is_stuck() {
            run.violation(format!(
                "the run is stuck: it is in phase {:?}, {} clients are at work",
                run.phase(),
                run.clients()
            ));
        }
    }
}

impl Nemesis<'_> {
    fn life(&mut self, node: usize) -> &mut Life {
        #[expect(clippy::expect_used, reason = "one life per server, and nodes are numbered below their count")]
        self.lives.get_mut(node).expect("there is such a server")
    }

    fn look(&mut self) {
        let now = now_micros();
        // Who has joined meanwhile.
        while self.lives.len() < self.run.nodes() {
            self.lives.push(Life { down_for: 10_000, born: now, ..Life::default() });
        }
        self.troubles.look(now);
        for node in 0..self.run.nodes() {
            if sim::is_down(self.run.machine(node)) {
                self.look_at_the_dead(node, now);
            } else {
                self.look_at_the_living(node, now);
            }
        }
        self.look_at_the_clients(now);
        self.go_on(now);
    }

    fn look_at_the_dead(&mut self, node: usize, now: u64) {
        let run = self.run;
        if run.is_gone(node) {
            return;
        }
        let life = self.life(node);
        let stays_down = life.stays_down && run.phase() < Phase::Verify || life.refusals == Some(0);
        let (restart_at, down_for) = (life.restart_at, life.down_for);
        if !stays_down {
            self.troubled_at = now;
        }
        let Some(restart_at) = restart_at else {
            self.judge_the_end(node);
            // One whose disk is damaged does not come back: it tries now and then.
            let patience = if run.has_rotted(node) { 3_000_000 } else { 0 };
            self.life(node).restart_at = Some(now + down_for.max(patience));
            return;
        };
        if now < restart_at || stays_down {
            return;
        }
        let (failed, syncs) = (run.failed_operations(node), run.failed_syncs(node));
        let life = self.life(node);
        life.restart_at = None;
        life.born = now;
        life.failed_before = failed;
        life.syncs_failed_before = syncs;
        life.sync_failed_at = None;
        let again = life.again.pop_front();
        if life.refusals.is_none() {
            run.mark("restarts");
        }
        run.restarts(node);
        sim::restart(run.machine(node));
        if let Some((at, kind)) = again {
            self.arm(node, at, kind);
        }
    }

    /// Why the server is down: the plan wanted it, or it ended by itself and must have had a reason.
    fn judge_the_end(&mut self, node: usize) {
        let run = self.run;
        let life = self.life(node);
        let failed = run.failed_operations(node) > life.failed_before || run.has_rotted(node);
        life.asked_at = None;
        let armed = life.armed.take();
        let last_words = sim::stop_reason(run.machine(node)).or_else(|| run.ended(node));
        if run.is_leaving(node) && last_words.is_some_and(|words| words.contains("has left this cluster")) {
            // No further life in which it could crash.
            life.again.clear();
            return run.has_left(node);
        }
        if life.refusals.is_some() {
            return self.judge_a_refusal(node);
        }
        if let Some(reason) = sim::stop_reason(run.machine(node)) {
            run.tell_of(node, || format!("stops itself: {reason}"));
            run.mark("stopped_itself");
            if !failed {
                run.violation(format!("a server stopped itself though its disk had not failed: {reason}"));
            }
        } else if let Some(reason) = run.ended(node) {
            run.mark("start_refused");
            if !failed {
                run.violation(format!("a server did not come up though its disk had not failed: {reason}"));
            }
        } else if let Some((_, kind)) = armed {
            run.tell_of(node, || format!("crashes: {kind:?}, at an I/O completion"));
            if !run.is_serving_or_served(node) {
                run.mark("crashes_during_recovery");
            }
            run.mark("crashes_at_an_io");
            self.count(kind);
        }
        let files = sim::with_disk(run.machine(node), |disk| disk.files());
        run.mark_most(
            "tables_at_most",
            files.iter().filter(|(path, _)| path.extension().is_some_and(|end| end == "tbl")).count() as u64,
        );
        let newest =
            |file: &std::path::Path| file.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok()).unwrap_or(0);
        let tables = files.iter().filter(|(path, _)| path.extension().is_some_and(|end| end == "tbl"));
        run.mark_most("tables_made", tables.map(|(path, _)| newest(path)).max().unwrap_or(0));
    }

    /// A node that lost its disk has ended. It was never let in.
    fn judge_a_refusal(&mut self, node: usize) {
        let run = self.run;
        let last_words = sim::stop_reason(run.machine(node)).or_else(|| run.ended(node));
        let Some(reason) = last_words.filter(|_| !run.has_rotted(node)) else { return };
        let is_due = run.is_struck(node) && reason.contains("has left this cluster");
        if !is_due && !reason.contains("may not vote under its old id") {
            run.violation(format!("a node that lost its disk ended for another reason: {reason}"));
        }
        run.mark("refused_without_its_disk");
        let life = self.life(node);
        life.refusals = life.refusals.map(|left| left.saturating_sub(1));
    }

    fn look_at_the_living(&mut self, node: usize, now: u64) {
        let run = self.run;
        if self.life(node).refusals.is_some() {
            let born = self.life(node).born;
            if run.is_serving(node) {
                run.violation(format!("node {} lost its disk and serves under its old id", node + 1));
            } else if now.saturating_sub(born) > COMES_BACK {
                run.violation(format!("node {} lost its disk, and nobody refuses it", node + 1));
            }
            return;
        }
        if let Some(asked_at) = self.life(node).asked_at
            && now.saturating_sub(asked_at.max(self.troubled_at)) > ENDS
            && !self.troubles.is_paused(node)
        {
            run.violation(format!("a server that was asked to stop has not stopped {} s later", ENDS / 1_000_000));
        }
        if self.troubles.any() {
            self.troubled_at = now;
        }
        let since = self.life(node).born.max(if run.founders() > 1 { self.troubled_at } else { 0 });
        if !run.is_serving(node) && now.saturating_sub(since) > COMES_BACK {
            run.violation(format!("a server does not serve {} s after its start", COMES_BACK / 1_000_000));
        }
        self.look_at_syncs(node, now);
        if let Some((since, kind)) = self.life(node).armed
            && now.saturating_sub(since) > ARMED
        {
            self.life(node).armed = None;
            self.crash(node, kind);
        }
    }

    /// After a failed sync nobody knows what is on the disk: the server must stop. One that is paused cannot.
    fn look_at_syncs(&mut self, node: usize, now: u64) {
        let syncs = self.run.failed_syncs(node);
        let paused = self.troubles.is_paused(node);
        let life = self.life(node);
        if syncs == life.syncs_failed_before || paused {
            life.sync_failed_at = None;
            return;
        }
        let since = *life.sync_failed_at.get_or_insert(now);
        if now.saturating_sub(since) > STOPS {
            self.run.violation("a sync failed and the server went on");
        }
    }

    /// Liveness: once nothing befalls the cluster and a majority is there, everybody's work comes to an end.
    fn look_at_the_clients(&self, now: u64) {
        let run = self.run;
        let is_late = run.calm_since().is_some_and(|since| now.saturating_sub(since) > FINISHES);
        if is_late && run.any_leaves() {
            run.violation(format!(
                "a node that was asked to leave is there {} s after the last trouble",
                FINISHES / 1_000_000
            ));
        }
        if is_late && run.founders() > 1 && run.phase() == Phase::Load {
            run.violation(format!(
                "{} clients have not finished {} s after the last trouble",
                run.clients(),
                FINISHES / 1_000_000
            ));
        }
    }

    /// The next event, when it is time.
    fn go_on(&mut self, now: u64) {
        let run = self.run;
        if run.phase() == Phase::Verify && self.lives.iter().any(|life| life.stays_down) {
            self.lives.iter_mut().for_each(|life| life.stays_down = false);
        }
        if run.founders() == 1 && (!run.is_serving(0) || self.life(0).is_ending()) {
            return;
        }
        if run.takes_last_crash() {
            for node in run.members() {
                self.life(node).down_for = 10_000;
                self.crash(node, CrashKind::Power);
            }
            return;
        }
        let Some(next) = self.due.front() else { return self.come_to_rest() };
        let is_ripe =
            run.phase() == Phase::Rest || (run.phase() == Phase::Load && run.acknowledged() >= next.after_writes());
        if !is_ripe {
            return;
        }
        let delay = next.delay();
        if now < *self.ripe_since.get_or_insert(now) + delay {
            return;
        }
        let nodes = match next {
            Event::Crash(crash) => self.meant(crash.target).into_iter().filter(|node| !run.is_gone(*node)).collect(),
            Event::Trouble(_) => Vec::new(),
        };
        // Who is down already crashes when it is back.
        if nodes
            .iter()
            .any(|node| sim::is_down(run.machine(*node)) || self.lives.get(*node).is_some_and(Life::is_ending))
        {
            return;
        }
        self.ripe_since = None;
        match self.due.pop_front() {
            Some(Event::Crash(crash)) => {
                for node in nodes {
                    self.end_life(node, &crash);
                }
            }
            Some(Event::Trouble(trouble)) => self.troubles.begin(&trouble, now),
            None => {}
        }
    }

    /// The nodes that are meant.
    fn meant(&self, target: Target) -> Vec<usize> {
        match target {
            Target::Node(node) => vec![node],
            Target::Leader => vec![self.run.leader()],
            Target::All => self.run.members().collect(),
        }
    }

    fn end_life(&mut self, node: usize, crash: &Crash) {
        if self.run.founders() > 1 && self.run.leads(node) {
            self.run.mark("crashes_of_leaders");
        }
        let life = self.life(node);
        life.again = crash.during_recovery.clone().into();
        life.down_for = crash.down;
        if crash.is_asked {
            life.again.clear();
            life.asked_at = Some(now_micros());
            self.run.mark("asked_to_stop");
            self.run.ask_to_stop(node);
            return;
        }
        match crash.at_completion {
            Some(at) => self.arm(node, at, crash.kind),
            None => self.crash(node, crash.kind),
        }
    }

    /// Nothing more is planned. In a cluster a majority is made whole, links and disks, one node may stay down, and the clients must come to
    /// an end.
    fn come_to_rest(&mut self) {
        let run = self.run;
        if run.founders() > 1 && run.calm_since().is_none() {
            if self.troubles.any() || self.lives.iter().any(|life| life.is_ending() || !life.again.is_empty()) {
                return;
            }
            self.troubles.heal();
            run.switch_faults(false);
            if let Some(node) = run.plan.surroundings.stays_down
                && run.phase() == Phase::Load
            {
                if run.is_up(node) {
                    self.crash(node, CrashKind::Power);
                }
                if run.plan.surroundings.loses_disk {
                    run.tell_of(node, || "loses its disk".to_owned());
                    run.mark("disks_lost");
                    run.lose(node);
                    sim::with_disk(run.machine(node), Disk::exchange);
                    self.life(node).refusals = Some(REFUSALS);
                } else {
                    run.tell_of(node, || "stays down".to_owned());
                    run.mark("nodes_that_stay_down");
                    self.life(node).stays_down = true;
                }
            }
            let rotten = run.plan.surroundings.bad_disk;
            if run.plan.surroundings.rots && run.has_rotted(rotten) {
                if run.is_up(rotten) {
                    self.crash(rotten, CrashKind::Power);
                }
                run.tell_of(rotten, || "is taken out: its disk turned bits over".to_owned());
                run.mark("rotten_disks_taken_out");
                run.lose(rotten);
                self.life(rotten).refusals = Some(0);
            }
            run.calm_down();
        }
        let is_over = |(node, life): (usize, &Life)| match life.refusals {
            Some(left) => left == 0,
            None => life.stays_down || run.is_gone(node) || run.is_serving(node),
        };
        let over = self.lives.iter().enumerate().all(is_over);
        run.set_crashes_over(over);
    }

    fn arm(&mut self, node: usize, at: u64, kind: CrashKind) {
        self.run.tell("nemesis", || format!("{kind:?} crash of node {} at I/O completion {at} from now", node + 1));
        self.life(node).armed = Some((now_micros(), kind));
        sim::crash_after(self.run.machine(node), at, kind);
    }

    fn crash(&mut self, node: usize, kind: CrashKind) {
        self.run.tell("nemesis", || format!("{kind:?} crash of node {}", node + 1));
        self.run.tell_of(node, || format!("crashes: {kind:?}"));
        self.count(kind);
        // One that is paused would stay so in its next life.
        self.troubles.forget(node);
        sim::crash(self.run.machine(node), kind);
    }

    fn count(&self, kind: CrashKind) {
        match kind {
            CrashKind::Power => self.run.mark("crashes_power"),
            CrashKind::Process => self.run.mark("crashes_process"),
        }
    }
}
