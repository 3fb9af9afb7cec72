//! A night: the clocks of all machines go ten minutes on at once, when nobody asks anything, and in the morning the registers are set for
//! a while. Answers to request ids end meanwhile, by log time and at the same entry on every replica, whatever its own clock says: the
//! hash chains tell.

use std::rc::Rc;

use highwater_runtime::sim;
use highwater_sim::plan::SETTERS;

use super::setter;
use super::shared::Run;

/// How long an answer to a request id is kept, in microseconds.
const KEPT: u64 = 600_000_000;

/// The night, so long that in the morning the answers end that were given halfway through the load.
pub async fn pass(run: &Rc<Run>) {
    let Some(halfway) = run.halfway() else { return };
    let leap = KEPT.saturating_sub(super::shared::now_micros().saturating_sub(halfway)).cast_signed();
    run.tell("nemesis", || format!("a night of {leap} us"));
    run.mark("nights");
    run.latest_log_time();
    for machine in (0..run.nodes()).map(|node| run.machine(node)).chain([run.clients_machine()]) {
        sim::jump_clock(machine, leap);
    }
    for number in 0..SETTERS {
        run.client(setter::set_in_the_morning(Rc::clone(run), number));
    }
    run.until(|run| run.clients() == 0).await;
}
