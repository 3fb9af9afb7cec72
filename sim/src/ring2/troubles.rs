//! What befalls a cluster besides crashes: carries troubles out, and ends them when their time is over.

use highwater_runtime::disk::Faults;
use highwater_runtime::network::Link;
use highwater_runtime::sim;
use highwater_sim::trouble::{Disturbance, Target, Trouble};
use madsim::task::NodeId;

use super::shared::{Run, now_micros};

/// How long an operation of a slow disk takes, in microseconds.
const SLOW_DISK: u64 = 8_000;

/// What must be undone.
enum Undo {
    /// A directed link that was cut.
    Mend(NodeId, NodeId),
    /// A node that was paused.
    Resume(usize),
    /// A link that was made slow.
    Restore(NodeId, NodeId, Link),
    /// A disk that was filled or made slow.
    Refit(usize, Box<Faults>),
}

/// The troubles under way.
pub struct Troubles<'a> {
    run: &'a Run,
    /// Virtual microseconds at which each ends.
    open: Vec<(u64, Undo)>,
    /// Links that are to be cut, each with its time and until when: swizzles come step by step.
    coming: Vec<(u64, u64, NodeId, NodeId)>,
}

impl<'a> Troubles<'a> {
    pub const fn new(run: &'a Run) -> Self {
        Self { run, open: Vec::new(), coming: Vec::new() }
    }

    /// Each node's clocks, from the start.
    pub fn set_clocks(&self) {
        for (node, skew) in self.run.plan.surroundings.skews.iter().enumerate() {
            let faults = sim::ClockFaults { offset: skew.offset, drift: skew.drift };
            sim::set_clock(self.run.machine(node), faults);
        }
    }

    /// The plan's links, from the end of the set-up on.
    pub fn set_links(run: &Run) {
        let surroundings = &run.plan.surroundings;
        for (from, to, link) in &surroundings.links {
            sim::set_link(run.machine(*from), run.machine(*to), *link);
        }
        for node in 0..run.nodes() {
            Self::set_client_links(run, node);
        }
    }

    /// Those between a node and the clients.
    pub fn set_client_links(run: &Run, node: usize) {
        let (node, clients, link) = (run.machine(node), run.clients_machine(), run.plan.surroundings.client_link);
        sim::set_link(node, clients, link);
        sim::set_link(clients, node, link);
    }

    /// Whether anything is under way.
    pub fn any(&self) -> bool {
        !self.open.is_empty() || !self.coming.is_empty()
    }

    pub fn is_paused(&self, node: usize) -> bool {
        self.open.iter().any(|(_, undo)| matches!(undo, Undo::Resume(paused) if *paused == node))
    }

    /// A node is about to crash: what is no more cannot be resumed.
    pub fn forget(&mut self, node: usize) {
        if self.is_paused(node) {
            self.resume(node);
            self.open.retain(|(_, undo)| !matches!(undo, Undo::Resume(paused) if *paused == node));
        }
    }

    /// Ends what is over, and begins what is next.
    pub fn look(&mut self, now: u64) {
        for (_, until, from, to) in self.coming.extract_if(.., |(at, ..)| *at <= now).collect::<Vec<_>>() {
            self.cut(from, to, until);
        }
        for (_, undo) in self.open.extract_if(.., |(until, _)| *until <= now).collect::<Vec<_>>() {
            self.undo(undo);
        }
    }

    /// Ends everything; links are sound.
    pub fn heal(&mut self) {
        self.coming.clear();
        for (_, undo) in std::mem::take(&mut self.open) {
            self.undo(undo);
        }
        sim::heal_network();
    }

    fn undo(&self, undo: Undo) {
        match undo {
            Undo::Mend(from, to) => {
                self.run.tell("network", || format!("mended {} -> {}", self.called(from), self.called(to)));
                sim::mend_link(from, to);
            }
            Undo::Resume(node) => self.resume(node),
            Undo::Restore(from, to, link) => sim::set_link(from, to, link),
            Undo::Refit(node, faults) => sim::with_disk(self.run.machine(node), |disk| disk.faults = *faults),
        }
        self.run.tell("nemesis", || "a trouble is over".to_owned());
    }

    pub fn begin(&mut self, disturbance: &Disturbance, now: u64) {
        let run = self.run;
        let until = now + disturbance.lasts;
        run.tell("nemesis", || {
            format!(
                "{:?} for {} us (most groups are led by node {})",
                disturbance.trouble,
                disturbance.lasts,
                run.leader() + 1
            )
        });
        match disturbance.trouble {
            Trouble::Isolate(target) => {
                run.mark("isolations");
                self.isolate(self.meant(target), until, true, true);
            }
            Trouble::Deafen(target) => {
                run.mark("one_way_partitions");
                self.isolate(self.meant(target), until, true, false);
            }
            Trouble::Mute(target) => {
                run.mark("one_way_partitions");
                self.isolate(self.meant(target), until, false, true);
            }
            Trouble::Bridge(target) => {
                run.mark("bridges");
                let bridge = self.meant(target);
                let ends: Vec<usize> = run.members().filter(|node| *node != bridge).collect();
                if let Some(end) = ends.iter().copied().find(|node| !run.leads(*node)).or(ends.first().copied()) {
                    run.aim_at(end, until);
                }
                for (one, other) in ends.iter().flat_map(|one| ends.iter().map(move |other| (*one, *other))) {
                    if one != other {
                        self.cut(run.machine(one), run.machine(other), until);
                    }
                }
            }
            Trouble::Hide(target) => {
                run.mark("nodes_hidden_from_clients");
                let (node, clients) = (run.machine(self.meant(target)), run.clients_machine());
                self.cut(node, clients, until);
                self.cut(clients, node, until);
            }
            Trouble::Swizzle => self.swizzle(now, disturbance.lasts),
            Trouble::Reset => {
                run.mark("resets_of_all_links");
                for one in 0..run.nodes() {
                    for other in 0..one {
                        sim::reset_connections(run.machine(one), run.machine(other));
                    }
                }
            }
            Trouble::Slow(target) => self.slow(self.meant(target), until),
            Trouble::Pause(target) => self.pause(self.meant(target), until),
            Trouble::Fill(target) => {
                run.mark("full_disks");
                self.refit(self.meant(target), until, |faults| faults.no_space = 1.0);
            }
            Trouble::SlowDisk(target) => {
                run.mark("slow_disks");
                self.refit(self.meant(target), until, |faults| faults.latency_micros = SLOW_DISK);
            }
            Trouble::Quiet => {
                run.mark("quiet_windows");
                run.be_quiet_until(until);
            }
            Trouble::Jump(target, micros) => {
                run.mark("clock_jumps");
                run.latest_log_time();
                sim::jump_clock(run.machine(self.meant(target)), micros);
            }
        }
    }

    fn resume(&self, node: usize) {
        self.run.tell_of(node, || "goes on".to_owned());
        sim::resume(self.run.machine(node));
    }

    /// How the trace calls the end of a link.
    fn called(&self, machine: NodeId) -> String {
        let node = (0..self.run.nodes()).find(|node| self.run.machine(*node) == machine);
        node.map_or_else(|| "clients".to_owned(), |node| self.run.called(node))
    }

    fn meant(&self, target: Target) -> usize {
        match target {
            Target::Node(node) => node,
            Target::Leader => self.run.leader(),
            Target::All => 0,
        }
    }

    fn others(&self, node: usize) -> Vec<NodeId> {
        (0..self.run.nodes()).filter(|other| *other != node).map(|other| self.run.machine(other)).collect()
    }

    fn cut(&mut self, from: NodeId, to: NodeId, until: u64) {
        self.run.tell("network", || format!("cut {} -> {}", self.called(from), self.called(to)));
        sim::cut_link(from, to);
        // A link that is cut already stays so until the later end.
        let before = self.open.iter().position(|(_, undo)| matches!(undo, Undo::Mend(a, b) if (*a, *b) == (from, to)));
        let until = before.map_or(until, |at| self.open.swap_remove(at).0.max(until));
        self.open.push((until, Undo::Mend(from, to)));
    }

    fn isolate(&mut self, node: usize, until: u64, inbound: bool, outbound: bool) {
        if self.run.leads(node) {
            self.run.mark("leaders_cut_off");
        }
        self.run.aim_at(node, until);
        let machine = self.run.machine(node);
        for other in self.others(node) {
            if inbound {
                self.cut(other, machine, until);
            }
            if outbound {
                self.cut(machine, other, until);
            }
        }
    }

    /// One after the other is cut off, and joined again in another order.
    fn swizzle(&mut self, now: u64, lasts: u64) {
        self.run.mark("swizzles");
        let nodes = self.run.nodes();
        let step = lasts / (2 * nodes as u64);
        for place in 0..nodes {
            let machine = self.run.machine((place * 2 + 1) % nodes);
            let from = now + step * place as u64;
            let until = now + lasts / 2 + step * ((place * 2) % nodes + 1) as u64;
            for other in self.others((place * 2 + 1) % nodes) {
                self.coming.push((from, until, machine, other));
                self.coming.push((from, until, other, machine));
            }
        }
    }

    fn slow(&mut self, node: usize, until: u64) {
        self.run.mark("slow_nodes");
        let links = self.run.plan.surroundings.links.clone();
        for (from, to, link) in links.into_iter().filter(|(from, to, _)| *from == node || *to == node) {
            let (from, to) = (self.run.machine(from), self.run.machine(to));
            sim::set_link(from, to, Link { bytes_per_second: 50_000, ..link });
            self.open.push((until, Undo::Restore(from, to, link)));
        }
    }

    /// Changes a disk's faults for a while; one that is changed already stays as it is.
    fn refit(&mut self, node: usize, until: u64, change: impl FnOnce(&mut Faults)) {
        if self.open.iter().any(|(_, undo)| matches!(undo, Undo::Refit(other, _) if *other == node)) {
            return;
        }
        let before = sim::with_disk(self.run.machine(node), |disk| {
            let before = disk.faults.clone();
            change(&mut disk.faults);
            before
        });
        self.open.push((until, Undo::Refit(node, Box::new(before))));
    }

    fn pause(&mut self, node: usize, until: u64) {
        // One that is down has nothing to pause, and one that is paused goes on when it should.
        if !self.run.is_up(node) || self.is_paused(node) {
            return;
        }
        self.run.mark("pauses");
        if self.run.leads(node) {
            self.run.mark("pauses_of_leaders");
        }
        self.run.tell_of(node, || "is paused".to_owned());
        sim::pause(self.run.machine(node));
        let until = until.max(now_micros() + 1_000);
        self.run.aim_at(node, until);
        self.open.push((until, Undo::Resume(node)));
    }
}
