//! What one core's links count, as samples. Of each other node by the label `node`; cores are added up by who gathers.

use super::links::Links;
use super::way::Way;
use crate::metrics::Sample;

impl Links {
    /// The figures of this core's links; none for a cluster of one.
    pub(crate) fn samples(&self) -> Vec<Sample> {
        let first = self.is_first_core();
        let mut samples: Vec<Sample> = self.ways().iter().flat_map(|way| of_way(way, first)).collect();
        if let Some(listener) = self.listener() {
            let counters = listener.counters();
            let count = |name, unit, value: u64, help| Sample::counter(name, unit, value as f64, help);
            samples.extend([
                count("cluster_accepted", "connections", counters.accepted, "connections taken from other nodes"),
                count(
                    "cluster_failed_handshakes",
                    "connections",
                    counters.failed_handshakes.saturating_add(counters.evicted_half_open),
                    "connections to the RPC address whose handshake failed, took too long or gave way to another",
                ),
                count(
                    "cluster_violations",
                    "connections",
                    counters.violations,
                    "connections from other nodes that ended because what came made no sense",
                ),
                count(
                    "cluster_received_bytes",
                    "bytes",
                    counters.bytes_received,
                    "bytes read from other nodes' connections",
                ),
                count(
                    "cluster_received_messages",
                    "messages",
                    counters.messages_received,
                    "Raft messages taken from other nodes",
                ),
                count(
                    "cluster_answered_calls",
                    "calls",
                    counters.calls,
                    "calls and chunks of snapshots taken from other nodes",
                ),
                count(
                    "cluster_busy_calls",
                    "calls",
                    counters.calls_busy,
                    "of them refused because as many as may were at work",
                ),
                count(
                    "cluster_senseless_messages",
                    "messages",
                    self.senseless(),
                    "messages from other nodes that made no sense as Raft's",
                ),
            ]);
            if first && !self.is_alone() {
                let behind = self.clock_behind_micros().unwrap_or(0) as f64 / 1e6;
                let help = "how far this node's clock is behind most clocks of the cluster; negative: ahead";
                samples.push(Sample::gauge("cluster_clock_behind_seconds", "seconds", behind, help));
            }
        }
        samples
    }
}

/// Those of one node; what is not added up over the cores is told by the first only.
fn of_way(way: &Way, first: bool) -> Vec<Sample> {
    let counters = way.counters();
    let sum = |of: fn(&highwater_net::rpc::PeerCounters) -> u64| counters.iter().map(of).sum::<u64>() as f64;
    let status = way.status();
    let (up, wanted) = way.connections();
    let dropped = [
        ("full", sum(|c| c.dropped_full)),
        ("unreachable", sum(|c| c.dropped_unreachable)),
        ("too_large", sum(|c| c.dropped_too_large)),
    ];
    let mut samples = vec![
        Sample::gauge("cluster_links", "connections", up as f64, "connections to the node that are up, of all cores"),
        Sample::gauge(
            "cluster_wanted_links",
            "connections",
            wanted as f64,
            "connections to the node that there should be, of all cores",
        ),
        Sample::counter("cluster_connects", "attempts", sum(|c| c.attempts), "attempts to connect to the node"),
        Sample::counter("cluster_sent_bytes", "bytes", sum(|c| c.bytes_sent), "bytes written to the node"),
        Sample::counter(
            "cluster_sent_messages",
            "messages",
            sum(|c| c.messages_sent),
            "Raft messages sent to the node",
        ),
        Sample::counter(
            "cluster_writes",
            "writes",
            sum(|c| c.writes),
            "writes to the node's connections; messages per write show how well they share them",
        ),
        Sample::counter("cluster_calls", "calls", sum(|c| c.calls), "calls and chunks of snapshots asked of the node"),
        Sample::counter(
            "cluster_unsent_calls",
            "calls",
            sum(|c| c.calls_not_sent),
            "of them certainly not begun by the node",
        ),
        Sample::counter(
            "cluster_unknown_calls",
            "calls",
            sum(|c| c.calls_unknown),
            "of them with an outcome that was not learned from the node",
        ),
    ];
    let help = "Raft messages to the node that were dropped, by why";
    samples
        .extend(dropped.map(|(why, count)| {
            Sample::counter("cluster_dropped_messages", "messages", count, help).label("why", why)
        }));
    if first {
        let up = if way.is_up() { 1.0 } else { 0.0 };
        let help = "1 while the node was heard within two seconds";
        samples.push(Sample::gauge("cluster_node_up", "flag", up, help));
        let round_trip = status.round_trip_micros.unwrap_or(0) as f64 / 1e6;
        let help = "round trip of the last ping to the node";
        samples.push(Sample::gauge("cluster_round_trip_seconds", "seconds", round_trip, help));
        let ahead = status.clock_ahead_micros.unwrap_or(0) as f64 / 1e6;
        let help = "how far the node's clock is ahead of this one's, within half the round trip";
        samples.push(Sample::gauge("cluster_clock_ahead_seconds", "seconds", ahead, help));
    }
    samples.into_iter().map(|sample| sample.label("node", way.node.to_string())).collect()
}
