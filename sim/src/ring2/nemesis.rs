//! The nemesis: ends the server's life as the plan says, starts it again, and judges a server that ends by itself or does not come back.

use std::collections::VecDeque;

use highwater_runtime::disk::{CrashKind, Fault};
use highwater_runtime::sim;
use highwater_sim::plan::Crash;

use super::shared::{Phase, Run, now_micros, pause};

/// How long a server may take to serve again, in microseconds: many stalls of the disk, one after the other.
const COMES_BACK: u64 = 120_000_000;
/// How long a server may go on after a failed sync, in microseconds.
const STOPS: u64 = 20_000_000;
/// How often the nemesis looks, in microseconds.
const LOOK: u64 = 2_000;
/// How long it waits for a crash at an I/O completion before it crashes without one, in microseconds.
const ARMED: u64 = 1_500_000;

/// What it does about the server, and what it knows of the present life.
struct Nemesis<'a> {
    run: &'a Run,
    due: VecDeque<Crash>,
    /// Since when the first of `due` may come.
    ripe_since: Option<u64>,
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
}

/// Carries out the plan's crashes until the run is over.
pub async fn haunt(run: &Run) {
    sim::set_buggify(true);
    let mut nemesis = Nemesis {
        run,
        due: run.plan.crashes.iter().cloned().collect(),
        ripe_since: None,
        armed: None,
        again: VecDeque::new(),
        restart_at: None,
        down_for: 10_000,
        born: 0,
        failed_before: 0,
        syncs_failed_before: 0,
        sync_failed_at: None,
    };
    if let Some((at, kind)) = run.plan.crash_at_birth {
        nemesis.arm(at, kind);
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
    fn look(&mut self) {
        if sim::is_down(self.run.server()) {
            self.look_at_the_dead();
        } else {
            self.look_at_the_living();
        }
    }

    fn look_at_the_dead(&mut self) {
        let now = now_micros();
        let Some(restart_at) = self.restart_at else {
            self.judge_the_end();
            self.restart_at = Some(now + self.down_for);
            return;
        };
        if now < restart_at {
            return;
        }
        self.restart_at = None;
        self.born = now;
        self.failed_before = self.run.failed_operations();
        self.syncs_failed_before = sim::fault_counts().of(Fault::SyncError);
        self.sync_failed_at = None;
        self.run.mark("restarts");
        sim::restart(self.run.server());
        if let Some((at, kind)) = self.again.pop_front() {
            self.arm(at, kind);
        }
    }

    /// Why the server is down: the plan wanted it, or it ended by itself and must have had a reason.
    fn judge_the_end(&mut self) {
        let run = self.run;
        let failed = run.failed_operations() > self.failed_before;
        if let Some(reason) = sim::stop_reason(run.server()) {
            run.tell("server", || format!("stops itself: {reason}"));
            run.mark("stopped_itself");
            if !failed {
                run.violation(format!("the server stopped itself though the disk had not failed: {reason}"));
            }
        } else if let Some(reason) = run.ended() {
            run.mark("start_refused");
            if !failed {
                run.violation(format!("the server did not come up though the disk had not failed: {reason}"));
            }
        } else if let Some((_, kind)) = self.armed {
            if !run.is_serving_or_served() {
                run.mark("crashes_during_recovery");
            }
            run.mark("crashes_at_an_io");
            self.count(kind);
        }
        self.armed = None;
        let files = sim::with_disk(run.server(), |disk| disk.files());
        run.mark_most(
            "tables_at_most",
            files.iter().filter(|(path, _)| path.extension().is_some_and(|end| end == "tbl")).count() as u64,
        );
        let newest =
            |file: &std::path::Path| file.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok()).unwrap_or(0);
        let tables = files.iter().filter(|(path, _)| path.extension().is_some_and(|end| end == "tbl"));
        run.mark_most("tables_made", tables.map(|(path, _)| newest(path)).max().unwrap_or(0));
    }

    fn look_at_the_living(&mut self) {
        let now = now_micros();
        let run = self.run;
        if !run.is_serving() && now.saturating_sub(self.born) > COMES_BACK {
            run.violation(format!("the server does not serve {} s after its start", COMES_BACK / 1_000_000));
        }
        self.look_at_syncs(now);
        if let Some((since, kind)) = self.armed {
            if now.saturating_sub(since) > ARMED {
                self.armed = None;
                self.crash(kind);
            }
            return;
        }
        if !run.is_serving() {
            return;
        }
        if run.takes_last_crash() {
            self.down_for = 10_000;
            self.crash(CrashKind::Power);
            return;
        }
        let Some(next) = self.due.front() else {
            run.set_crashes_over(true);
            return;
        };
        let is_ripe =
            run.phase() == Phase::Rest || (run.phase() == Phase::Load && run.acknowledged() >= next.after_writes);
        if !is_ripe {
            return;
        }
        if now < *self.ripe_since.get_or_insert(now) + next.delay {
            return;
        }
        self.ripe_since = None;
        let Some(next) = self.due.pop_front() else { return };
        self.again = next.during_recovery.into();
        self.down_for = next.down;
        match next.at_completion {
            Some(at) => self.arm(at, next.kind),
            None => self.crash(next.kind),
        }
    }

    /// After a failed sync nobody knows what is on the disk: the server must stop.
    fn look_at_syncs(&mut self, now: u64) {
        if sim::fault_counts().of(Fault::SyncError) == self.syncs_failed_before {
            return;
        }
        let since = *self.sync_failed_at.get_or_insert(now);
        if now.saturating_sub(since) > STOPS {
            self.run.violation("a sync failed and the server went on");
        }
    }

    fn arm(&mut self, at: u64, kind: CrashKind) {
        self.run.tell("nemesis", || format!("{kind:?} crash at I/O completion {at} from now"));
        self.armed = Some((now_micros(), kind));
        sim::crash_after(self.run.server(), at, kind);
    }

    fn crash(&mut self, kind: CrashKind) {
        self.run.tell("nemesis", || format!("{kind:?} crash"));
        self.count(kind);
        sim::crash(self.run.server(), kind);
    }

    fn count(&self, kind: CrashKind) {
        match kind {
            CrashKind::Power => self.run.mark("crashes_power"),
            CrashKind::Process => self.run.mark("crashes_process"),
        }
    }
}
