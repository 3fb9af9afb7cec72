//! Ring 2: one, three or five machines with the real server code, clients on another, and what befalls the first again and again.
//!
//! The **director** sets the database up, starts the clients of the plan, waits until they are done and every crash has come, then
//! switches the faults off and has everything verified, before and after one more power cut. The **nemesis** runs beside it.

#![allow(clippy::indexing_slicing, reason = "only JSON is indexed, where what is missing reads as null")]

mod adder;
mod consumer;
mod definer;
mod governor;
mod keeper;
mod leftovers;
mod lister;
mod nemesis;
mod night;
mod payer;
mod prober;
mod report;
mod session;
mod setter;
mod setup;
mod shaper;
mod shared;
mod token;
mod troubles;
mod verify;
mod watcher;
mod world;
mod writer;

use std::rc::Rc;

use highwater_runtime::disk::Faults;
use highwater_runtime::sim;
use highwater_sim::plan::Plan;
use madsim::runtime::{Handle, Runtime};

pub use report::Report;
use shared::{Phase, Run};

/// Carries a plan out and says whether every promise was kept; with `keeps`, in which steps, as lines of a trace.
pub fn run(plan: Plan, mutant: u32, prints: bool, keeps: bool) -> (Report, Vec<String>) {
    highwater_runtime::choose_mutant(mutant);
    let runtime = Runtime::with_seed_and_config(plan.seed, madsim::Config::default());
    sim::install(&runtime, Faults::none());
    let run = Run::install(plan, prints, keeps);
    runtime.block_on(async {
        for node in 0..run.founders() {
            run.add_server(world::start_machine(node));
        }
        let clients = Handle::current().create_node().name("clients").init(|| direct(shared::current())).build().id();
        sim::settle(clients, world::CLIENTS);
        run.set_clients_machine(clients);
        nemesis::haunt(&run).await;
        (report::of(&run), run.trace())
    })
}

/// Sends the server's log to standard error.
pub fn log_to_stderr(level: &str) {
    let level = level.parse().unwrap_or(tracing::Level::INFO);
    tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).without_time().init();
}

async fn direct(run: Rc<Run>) {
    if let Err(reason) = carry_out(&run).await {
        run.violation(reason);
    }
    run.enter(Phase::Over);
}

async fn carry_out(run: &Rc<Run>) -> Result<(), String> {
    setup::database(run).await?;
    run.switch_faults(true);
    troubles::Troubles::set_links(run);
    run.enter(Phase::Load);
    for number in 0..run.plan.writers.len() {
        run.client(writer::write(Rc::clone(run), number));
    }
    for number in 0..run.plan.adders.len() {
        run.client(adder::add(Rc::clone(run), number));
    }
    for number in 0..run.plan.setters.len() {
        run.client(setter::set(Rc::clone(run), number));
    }
    run.client(definer::define(Rc::clone(run)));
    run.client(shaper::shape(Rc::clone(run)));
    for number in 0..payer::PAYERS {
        run.client(payer::pay(Rc::clone(run), number));
    }
    for number in 0..if run.founders() > 1 { lister::LISTERS } else { 0 } {
        run.client(lister::append(Rc::clone(run), number));
    }
    for number in 0..highwater_sim::plan::CONSUMERS {
        run.attendant(consumer::ack_by_hand(Rc::clone(run), number));
    }
    run.attendant(consumer::ack_at_once(Rc::clone(run)));
    run.attendant(watcher::watch(Rc::clone(run)));
    if run.founders() > 1 {
        run.attendant(governor::govern(Rc::clone(run)));
        for number in 0..if run.plan.surroundings.probes { prober::TABLES.len() } else { 0 } {
            run.attendant(prober::write(Rc::clone(run), number));
            run.attendant(prober::read(Rc::clone(run), number));
        }
    }
    run.until(|run| run.clients() == 0).await;
    run.enter(Phase::Rest);
    run.until(Run::crashes_are_over).await;
    run.switch_faults(false);
    run.enter(Phase::Verify);
    run.until(|run| run.all_serve() && run.attendants() == 0 && !run.any_leaves()).await;
    if run.is_broken() {
        return Ok(());
    }
    verify::everything(run, "at the end").await?;
    leftovers::look(run).await?;
    night::pass(run).await;
    run.last_crash();
    run.until(|run| run.crashes_are_over() && run.all_serve()).await;
    if run.is_broken() {
        return Ok(());
    }
    verify::everything(run, "after one more power cut").await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use highwater_sim::report::html;
    use highwater_sim::report::page::Texts;
    use highwater_sim::trouble::{Disturbance, Target, Trouble};

    use super::*;

    /// Nothing befalls three nodes but this.
    fn only(seed: u64, disturbance: Disturbance) -> Plan {
        let mut plan = Plan::draw(seed, Some(3));
        let stays = |part: &&String| ["wander", "writer", "adder", "setter"].iter().any(|kept| part.starts_with(kept));
        for part in plan.parts().iter().filter(|part| !stays(part)) {
            plan.leave_out(part).unwrap();
        }
        plan.surroundings.disturbances = vec![disturbance];
        plan.surroundings.stays_down = None;
        plan
    }

    /// A line's virtual microseconds, who says something, and what.
    fn line(text: &str) -> (u64, &str, &str) {
        let (seconds, rest) = text.trim_start().split_once('.').unwrap();
        let (micros, rest) = rest.split_once(' ').unwrap();
        let (who, what) = rest.split_once(' ').unwrap();
        (seconds.parse::<u64>().unwrap() * 1_000_000 + micros.parse::<u64>().unwrap(), who, what.trim_start())
    }

    #[test]
    fn a_leader_that_is_paused_keeps_nobody_waiting_who_asks_another_node() {
        let trouble = Trouble::Pause(Target::Leader);
        let (report, trace) =
            run(only(5, Disturbance { after_writes: 40, delay: 0, trouble, lasts: 9_000_000 }), 0, false, true);
        assert_eq!(report.violation, None);
        let lines: Vec<_> = trace.iter().map(|text| line(text)).collect();
        let (from, paused, _) = *lines.iter().find(|(_, _, what)| *what == "is paused").expect("a leader is paused");
        let (to, ..) = *lines.iter().find(|(_, who, what)| *who == paused && *what == "goes on").unwrap();
        assert!(to - from >= 9_000_000);
        let mut answered = 0;
        for (at, who, what) in lines.iter().filter(|(at, ..)| (from..to).contains(at)) {
            let Some((took, rest)) = what.strip_prefix("node").and_then(|rest| rest.split_once("us ")) else {
                continue;
            };
            let (node, took) = took.split_once(' ').unwrap();
            let is_paused = paused.ends_with(node);
            if is_paused || matches!(*who, "definer" | "kept") || rest.starts_with("/v1/api/auth") {
                continue;
            }
            assert!(took.parse::<u64>().unwrap() < 2_000_000, "{at} {who} {what}");
            answered += u64::from(rest.contains("-> Done"));
        }
        assert!(answered > 100, "only {answered} requests were answered meanwhile");
        assert!(report.to_string().contains("silent_leaders_left"), "no command was under way to it");
    }

    #[test]
    fn the_page_of_a_seed_shows_every_node_every_crash_of_its_plan_and_who_led() {
        let (report, trace) = run(Plan::draw(7, Some(3)), 0, false, true);
        assert_eq!(report.violation, None);
        let page = html(&Texts { title: "seed 7".to_owned(), ..Texts::default() }, &trace);
        for node in ["node1", "node2", "node3"] {
            assert!(page.contains(&format!("data-lane=\"{node}\"")), "{node} has no lane");
            assert!(page.contains(&format!("{node} serves, ")), "{node} never serves");
        }
        for kind in ["Power", "Process"] {
            let crashes = trace.iter().filter(|line| line.contains(&format!(" crashes: {kind}"))).count();
            let shown = page.matches(&format!(" crashes: {kind}")).count();
            assert!(crashes > 0 && shown == crashes, "{kind}: {crashes} in the trace, {shown} on the page");
        }
        assert!(page.contains(" leads group 0 in term "), "nobody leads the meta group");
        assert!(page.contains("data-lane=\"writer0\"") && page.contains("class=\"done\""));
        assert!(page.contains("nothing passes from node"), "no partition is shown");
        for (class, outcome) in
            [("done", "Done"), ("refused", "Refused"), ("notnow", "NotNow"), ("lost", "Lost"), ("open", "Open")]
        {
            let of = |line: &&String| {
                let what = line.rsplit_once(" -> ").filter(|(before, _)| before.contains("us /v1/"));
                what.is_some_and(|(_, after)| after.starts_with(outcome))
            };
            let (asked, drawn) =
                (trace.iter().filter(of).count(), page.matches(&format!("<rect class=\"{class}\"")).count());
            assert_eq!(asked, drawn, "requests that were {outcome}");
        }
        assert_eq!(open_tags(&page), [""; 0], "every tag is closed where it should be");
    }

    /// The tags that are not closed, or closed in the wrong place.
    fn open_tags(page: &str) -> Vec<String> {
        let mut open = Vec::new();
        for tag in page.split('<').skip(1).filter_map(|part| part.split_once('>')).map(|(tag, _)| tag) {
            let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap_or_default().to_owned();
            let has_no_end = tag.ends_with('/') || tag.starts_with('!') || name == "meta";
            if tag.starts_with('/') && open.last() == Some(&name) {
                open.pop();
            } else if !has_no_end {
                open.push(name);
            }
        }
        open
    }
}
