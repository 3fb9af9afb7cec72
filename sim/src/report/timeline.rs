//! Events as lanes: which node was how, led what, and was cut off from whom, and which client asked what, from when until when.

use std::collections::BTreeMap;

use super::event::{Event, Outcome, What};

/// How a node's process was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// There was none.
    Down,
    /// It had begun and did not serve yet.
    Starting,
    /// It served.
    Serving,
    /// It stood still.
    Paused,
}

/// Something that lasted, from virtual microsecond to virtual microsecond.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span<T> {
    /// When it began.
    pub from: u64,
    /// When it ended.
    pub to: u64,
    /// What.
    pub what: T,
}

/// A request of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The node that was asked.
    pub node: String,
    /// What became of it.
    pub outcome: Outcome,
    /// Path, body and reply.
    pub text: String,
}

/// A node's part of the picture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeLane {
    /// How its process was, without gaps.
    pub states: Vec<Span<State>>,
    /// When it ended, and how.
    pub ends: Vec<(u64, String)>,
    /// Per group: when it led it, and the term.
    pub led: BTreeMap<u64, Vec<Span<u64>>>,
}

/// Everything that a page shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timeline {
    /// The last event's time, in virtual microseconds.
    pub end: u64,
    /// By name.
    pub nodes: BTreeMap<String, NodeLane>,
    /// By the two ends of a direction: when nothing passed.
    pub cuts: BTreeMap<(String, String), Vec<Span<()>>>,
    /// What the run was at.
    pub phases: Vec<Span<String>>,
    /// By client.
    pub clients: BTreeMap<String, Vec<Span<Request>>>,
    /// When a promise was broken, and which.
    pub violations: Vec<(u64, String)>,
    /// What the nemesis and others said, in order: time, who, what.
    pub said: Vec<(u64, String, String)>,
}

/// How long at least a request is, so that it can be seen.
const INSTANT: u64 = 1;

impl Timeline {
    /// The lanes of a trace, whose events come in order.
    #[must_use]
    pub fn of(events: &[Event]) -> Self {
        let mut timeline = Self { end: events.last().map_or(0, |event| event.at), ..Self::default() };
        let mut making = Making::default();
        for event in events {
            timeline.take(event, &mut making);
        }
        timeline.finish(making);
        timeline
    }

    fn take(&mut self, event: &Event, making: &mut Making) {
        let Event { at, who, what } = event;
        match what {
            What::Starts => self.becomes(making, who, *at, State::Starting),
            What::Serves => self.becomes(making, who, *at, State::Serving),
            What::Paused => self.becomes(making, who, *at, State::Paused),
            What::Resumed => self.becomes(making, who, *at, State::Serving),
            What::Ends(how) => {
                self.becomes(making, who, *at, State::Down);
                self.nodes.entry(who.clone()).or_default().ends.push((*at, how.clone()));
            }
            What::Leads { group, term, node } => self.leads(making, *at, *group, *term, node),
            What::Cut(from, to) => {
                making.cuts.entry((from.clone(), to.clone())).or_insert(*at);
            }
            What::Mended(from, to) => {
                let ends = (from.clone(), to.clone());
                if let Some(since) = making.cuts.remove(&ends) {
                    self.cuts.entry(ends).or_default().push(Span { from: since, to: *at, what: () });
                }
            }
            What::Phase(name) => {
                if let Some((since, before)) = making.phase.replace((*at, name.clone())) {
                    self.phases.push(Span { from: since, to: *at, what: before });
                }
            }
            What::Request { node, took, outcome, text } => {
                let what = Request { node: node.clone(), outcome: *outcome, text: text.clone() };
                let span = Span { from: at.saturating_sub(*took), to: at + INSTANT, what };
                self.clients.entry(who.clone()).or_default().push(span);
            }
            What::Violation(what) => self.violations.push((*at, what.clone())),
            What::Said(what) => self.said.push((*at, who.clone(), what.clone())),
        }
        if matches!(
            what,
            What::Ends(_) | What::Paused | What::Resumed | What::Starts | What::Serves | What::Leads { .. }
        ) {
            self.said.push((*at, who.clone(), words(what)));
        }
    }

    /// A node is otherwise from now on.
    fn becomes(&mut self, making: &mut Making, node: &str, at: u64, state: State) {
        let lane = self.nodes.entry(node.to_owned()).or_default();
        let (since, before) = making.states.insert(node.to_owned(), (at, state)).unwrap_or((0, State::Down));
        if at > since {
            lane.states.push(Span { from: since, to: at, what: before });
        }
        if matches!(state, State::Down | State::Starting) {
            // What it led, it leads no more.
            making.leaders.retain(|group, (since, term, leader)| {
                if leader == node {
                    let span = Span { from: *since, to: at.max(*since), what: *term };
                    lane.led.entry(*group).or_default().push(span);
                }
                leader != node
            });
        }
    }

    fn leads(&mut self, making: &mut Making, at: u64, group: u64, term: u64, node: &str) {
        let before = making.leaders.insert(group, (at, term, node.to_owned()));
        if let Some((since, term, leader)) = before {
            let lane = self.nodes.entry(leader).or_default();
            lane.led.entry(group).or_default().push(Span { from: since, to: at, what: term });
        }
    }

    /// Whatever is open lasts to the end.
    fn finish(&mut self, making: Making) {
        let end = self.end;
        for (node, (since, state)) in making.states {
            self.nodes.entry(node).or_default().states.push(Span { from: since, to: end, what: state });
        }
        for (group, (since, term, node)) in making.leaders {
            let span = Span { from: since, to: end, what: term };
            self.nodes.entry(node).or_default().led.entry(group).or_default().push(span);
        }
        for (ends, since) in making.cuts {
            self.cuts.entry(ends).or_default().push(Span { from: since, to: end, what: () });
        }
        if let Some((since, name)) = making.phase {
            self.phases.push(Span { from: since, to: end, what: name });
        }
    }
}

fn words(what: &What) -> String {
    match what {
        What::Starts => "starts".into(),
        What::Serves => "serves".into(),
        What::Paused => "is paused".into(),
        What::Resumed => "goes on".into(),
        What::Leads { group, term, node } => format!("group {group} is led by {node} in term {term}"),
        What::Ends(text) | What::Phase(text) | What::Violation(text) | What::Said(text) => text.clone(),
        What::Request { text, .. } => text.clone(),
        What::Cut(from, to) => format!("cut {from} -> {to}"),
        What::Mended(from, to) => format!("mended {from} -> {to}"),
    }
}

/// What has begun and not ended.
#[derive(Default)]
struct Making {
    states: BTreeMap<String, (u64, State)>,
    leaders: BTreeMap<u64, (u64, u64, String)>,
    cuts: BTreeMap<(String, String), u64>,
    phase: Option<(u64, String)>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::report::event::read;

    fn of(lines: &str) -> Timeline {
        Timeline::of(&lines.lines().filter_map(read).collect::<Vec<_>>())
    }

    #[test]
    fn a_nodes_lives_have_no_gaps_and_leadership_ends_with_a_life() {
        let timeline =
            of("0.000000 node1 starts\n0.000010 node1 serves\n0.000015 raft group 1 is led by node1 in term 2\n\
             0.000020 node1 crashes: Power\n0.000030 node1 starts\n0.000040 director Over\n");
        let lane = &timeline.nodes["node1"];
        let states: Vec<_> = lane.states.iter().map(|span| (span.from, span.to, span.what)).collect();
        assert_eq!(
            states,
            [(0, 10, State::Starting), (10, 20, State::Serving), (20, 30, State::Down), (30, 40, State::Starting)]
        );
        assert_eq!(lane.ends, [(20, "crashes: Power".to_owned())]);
        assert_eq!(lane.led[&1], [Span { from: 15, to: 20, what: 2 }]);
    }

    #[test]
    fn leadership_passes_on_and_cuts_and_requests_last() {
        let timeline = of("0.000001 raft group 1 is led by node1 in term 2\n0.000002 network cut node1 -> node2\n\
             0.000004 raft group 1 is led by node2 in term 3\n0.000007 network mended node1 -> node2\n\
             0.000008 network cut node2 -> node1\n0.000009 writer0 node2 5us /v1/api/sql {} -> Lost\n0.000009 VIOLATION lost\n");
        assert_eq!(timeline.nodes["node1"].led[&1], [Span { from: 1, to: 4, what: 2 }]);
        assert_eq!(timeline.nodes["node2"].led[&1], [Span { from: 4, to: 9, what: 3 }]);
        let cut = |from: &str, to: &str| timeline.cuts[&(from.to_owned(), to.to_owned())].clone();
        assert_eq!(cut("node1", "node2"), [Span { from: 2, to: 7, what: () }]);
        assert_eq!(cut("node2", "node1"), [Span { from: 8, to: 9, what: () }]);
        let request = &timeline.clients["writer0"][0];
        assert_eq!((request.from, request.what.outcome), (4, Outcome::Lost));
        assert_eq!(timeline.violations, [(9, "lost".to_owned())]);
    }
}
