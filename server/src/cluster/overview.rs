//! The cluster as one node sees it: the body of `/v1/api/cluster/health` and the rows of `system.cluster`.
//!
//! Nothing is asked of other nodes: an overview is there when they are not. What this node cannot know of another is left out.

use std::collections::{BTreeMap, BTreeSet};

use highwater_net::api::{ClusterHealthAnswer, ClusterNode};
use highwater_raft::NodeId;
use highwater_runtime::{Env, Rt};
use highwater_sql::value::{Row, Value};
use highwater_state::placement::META;

use super::links::Links;
use super::way::Way;
use crate::node::SEAT;
use crate::process::ProcessFigures;
use crate::release::{VERSION, build_date};

/// How a group stands on this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Its term.
    pub(crate) term: u64,
    /// The last entry of its log here.
    pub(crate) last: u64,
    /// Its last entry applied here.
    pub(crate) applied: u64,
    /// It is kept by other nodes, which know who leads it.
    pub(crate) is_seat: bool,
    /// Who leads it, as this node knows.
    pub(crate) leader: Option<NodeId>,
    /// Who votes in it, as this node knows.
    pub(crate) voters: BTreeSet<NodeId>,
    /// Of a group that is led here: up to where each other member holds the log.
    pub(crate) matched: BTreeMap<NodeId, u64>,
}

/// What an overview is made from, beside the links.
pub(crate) struct Seen {
    /// The cluster's identity; 0 while it is not known.
    pub(crate) cluster: u128,
    /// Groups of this node's layout.
    pub(crate) total_groups: u64,
    /// How they stand; those that this node knows nothing of are not there.
    pub(crate) groups: BTreeMap<u32, Standing>,
    /// What a node waits for that is not ready.
    pub(crate) waits: Option<String>,
    /// Since when this node runs, in microseconds.
    pub(crate) uptime_micros: u64,
    /// What the operating system says of it.
    pub(crate) process: Option<ProcessFigures>,
    /// Where its HTTP API listens.
    pub(crate) api_addr: String,
    /// Nodes that are being taken out.
    pub(crate) leaving: BTreeSet<NodeId>,
}

/// The cluster as this node sees it.
pub(crate) fn overview(env: &Rt, links: &Links, seen: &Seen) -> ClusterHealthAnswer {
    let (me, meta) = (links.me(), seen.groups.get(&META).cloned().unwrap_or_default());
    let leading = |node: NodeId| seen.groups.values().filter(|group| group.leader == Some(node)).count() as u64;
    let nodes: Vec<ClusterNode> = links
        .members()
        .iter()
        .map(|node| {
            let is_leader = meta.leader == Some(*node);
            let seen_node = match links.way(*node) {
                Some(way) => other(env, &way),
                None if *node == me => this(links, seen),
                None => unknown(*node, links),
            };
            let is_leaving = seen.leaving.contains(node) && seen_node.status == "up";
            let status = if is_leaving { "leaving".to_owned() } else { seen_node.status.clone() };
            let waits_for = seen.leaving.contains(node).then(|| leaves_when(seen, *node));
            let is_learner = !meta.voters.is_empty() && !meta.voters.contains(node);
            let role = match (is_leader, is_learner) {
                (true, _) => "leader",
                (false, true) => "learner",
                (false, false) => "follower",
            };
            let role = role.to_owned();
            let replication_lag = lag(seen, *node);
            ClusterNode {
                is_leader,
                role,
                status,
                groups_leading: leading(*node),
                replication_lag,
                waits_for,
                ..seen_node
            }
        })
        .collect();
    let clock_behind = links.clock_behind_micros().filter(|_| !links.is_alone());
    let (status, reason) = verdict(links, seen, &nodes);
    ClusterHealthAnswer {
        status: status.to_owned(),
        reason,
        version: VERSION.to_owned(),
        build_date: build_date(),
        is_cluster_mode: !links.is_alone() && links.members().len() > 1,
        cluster_id: format!("{:032x}", links.cluster_id().unwrap_or(seen.cluster)),
        node_id: me.0,
        is_leader: meta.leader == Some(me),
        total_groups: seen.total_groups,
        groups_leading: leading(me),
        current_term: meta.term,
        last_applied: meta.applied,
        millis_since_quorum_ack: since_quorum(links),
        clock_behind_ms: clock_behind.map(|micros| micros / 1000),
        nodes,
    }
}

/// The rows of `system.cluster`.
pub(crate) fn rows(overview: &ClusterHealthAnswer) -> Vec<Row> {
    let number =
        |value: Option<u64>| value.map_or(Value::Null, |value| Value::BigInt(i64::try_from(value).unwrap_or(i64::MAX)));
    let text = |value: &Option<String>| value.clone().map_or(Value::Null, Value::Text);
    let own = |is_self: bool, value: u64| number(is_self.then_some(value));
    let row = |node: &ClusterNode| {
        vec![
            Value::Text(overview.cluster_id.clone()),
            number(Some(node.node_id)),
            Value::Text(node.role.clone()),
            Value::Text(node.status.clone()),
            text(&node.rpc_addr),
            text(&node.api_addr),
            Value::Boolean(node.is_self),
            Value::Boolean(node.is_leader),
            number(Some(node.groups_leading)),
            number(Some(overview.total_groups)),
            own(node.is_self, overview.current_term),
            own(node.is_self, overview.last_applied),
            number(node.replication_lag),
            text(&node.hostname),
            text(&node.version),
            number(node.uptime_seconds),
            number(node.heard_ms),
            number(node.round_trip_us),
            node.clock_ahead_ms.map_or(Value::Null, Value::BigInt),
            text(&node.waits_for),
        ]
    };
    overview.nodes.iter().map(row).collect()
}

/// How a group stands, from its row of `system.cluster_groups`.
pub(crate) fn standing(row: &Row) -> Option<(u32, Standing)> {
    let number = |at: usize| match row.get(at) {
        Some(Value::BigInt(value)) => u64::try_from(*value).ok(),
        Some(_) | None => None,
    };
    let group = u32::try_from(number(0)?).ok()?;
    let leader = number(8).map(NodeId);
    let peers = match row.get(10) {
        Some(Value::Json(text)) => serde_json::from_str(text).unwrap_or_default(),
        Some(_) | None => serde_json::Value::Null,
    };
    let matched =
        |peer: &serde_json::Value| Some((NodeId(peer.get("node_id")?.as_u64()?), peer.get("matched")?.as_u64()?));
    let matched = peers.as_array().into_iter().flatten().filter_map(matched).collect();
    let voters: Vec<u64> = match row.get(13) {
        Some(Value::Json(text)) => serde_json::from_str(text).unwrap_or_default(),
        Some(_) | None => Vec::new(),
    };
    let voters = voters.into_iter().map(NodeId).collect();
    let is_seat = matches!(row.get(7), Some(Value::Text(state)) if state == SEAT);
    let (term, last, applied) = (number(3)?, number(4)?, number(5)?);
    Some((group, Standing { term, last, applied, is_seat, leader, voters, matched }))
}

/// Whether a group is kept by other nodes, a majority of which is up: who leads it, they know.
fn is_kept_elsewhere(links: &Links, group: &Standing) -> bool {
    group.is_seat && 2 * group.voters.iter().filter(|home| links.is_up(**home)).count() > group.voters.len()
}

/// Entries that a node lacks of the groups that are led here; none when no group here knows of it.
fn lag(seen: &Seen, node: NodeId) -> Option<u64> {
    let lags = seen.groups.values().filter_map(|group| Some(group.last.saturating_sub(*group.matched.get(&node)?)));
    lags.fold(None, |sum, lag| Some(sum.unwrap_or(0).saturating_add(lag)))
}

/// What a node that leaves waits for.
fn leaves_when(seen: &Seen, node: NodeId) -> String {
    match seen.groups.values().filter(|group| group.voters.contains(&node)).count() {
        0 => "its replicas to be let go".to_owned(),
        1 => "its vote in 1 group to be taken over".to_owned(),
        votes => format!("its votes in {votes} groups to be taken over"),
    }
}

fn verdict(links: &Links, seen: &Seen, nodes: &[ClusterNode]) -> (&'static str, Option<String>) {
    if let Some(waits) = &seen.waits {
        return ("unhealthy", Some(waits.clone()));
    }
    let is_led = |group: &&Standing| group.leader.is_some() || is_kept_elsewhere(links, group);
    let led = seen.groups.values().filter(is_led).count() as u64;
    if led < seen.total_groups {
        let reason =
            format!("{} of {} groups have no leader that this node knows", seen.total_groups - led, seen.total_groups);
        return ("unhealthy", Some(reason));
    }
    let down: Vec<String> =
        nodes.iter().filter(|node| node.status == "down").map(|node| node.node_id.to_string()).collect();
    if !down.is_empty() {
        return ("degraded", Some(format!("not heard within two seconds: node {}", down.join(", "))));
    }
    if links.clock_is_wrong() {
        let behind = links.clock_behind_micros().unwrap_or(0) / 1000;
        let side = if behind > 0 { "behind" } else { "ahead of" };
        let reason =
            format!("the clock of this node is {} ms {side} most clocks of the cluster; set it by NTP", behind.abs());
        return ("degraded", Some(reason));
    }
    ("healthy", None)
}

/// Milliseconds since the node last heard as many others as make a majority with it.
fn since_quorum(links: &Links) -> Option<u64> {
    let needed = links.members().len() / 2;
    if needed == 0 {
        return Some(0);
    }
    let mut heard: Vec<u64> = links.ways().iter().filter_map(|way| way.heard_ago()).collect();
    heard.sort_unstable();
    heard.get(needed - 1).map(|micros| micros / 1000)
}

fn this(links: &Links, seen: &Seen) -> ClusterNode {
    let setup = links.setup();
    let seconds = seen.uptime_micros / 1_000_000;
    ClusterNode {
        node_id: links.me().0,
        role: String::new(),
        status: if seen.waits.is_some() { "starting" } else { "up" }.to_owned(),
        api_addr: Some(setup.map_or_else(|| seen.api_addr.clone(), |setup| setup.api_addr.clone())),
        rpc_addr: setup.and_then(|setup| Some(setup.peers.get(&setup.me)?.addr.to_string())),
        is_self: true,
        is_leader: false,
        groups_leading: 0,
        replication_lag: None,
        catchup_progress_pct: None,
        hostname: setup.map(|setup| setup.hostname.clone()).filter(|name| !name.is_empty()),
        memory_usage_mb: seen.process.map(|figures| figures.resident_bytes >> 20),
        cpu_usage_percent: None,
        uptime_seconds: Some(seconds),
        uptime_human: Some(for_people(seconds)),
        heard_ms: None,
        round_trip_us: None,
        clock_ahead_ms: None,
        waits_for: None,
        version: Some(VERSION.to_owned()),
    }
}

/// A member whose address is not found yet.
fn unknown(node: NodeId, links: &Links) -> ClusterNode {
    let roll = links.roll();
    let seat = roll.as_ref().and_then(|roll| roll.members.get(&node));
    ClusterNode {
        node_id: node.0,
        role: String::new(),
        status: "down".to_owned(),
        api_addr: None,
        rpc_addr: seat.map(|seat| seat.address.clone()),
        is_self: false,
        is_leader: false,
        groups_leading: 0,
        replication_lag: None,
        catchup_progress_pct: None,
        hostname: None,
        memory_usage_mb: None,
        cpu_usage_percent: None,
        uptime_seconds: None,
        uptime_human: None,
        heard_ms: None,
        round_trip_us: None,
        clock_ahead_ms: None,
        waits_for: None,
        version: None,
    }
}

fn other(env: &Rt, way: &Way) -> ClusterNode {
    let (there, status, is_up) = (way.there(), way.status(), way.is_up());
    let seconds = there
        .as_ref()
        .filter(|_| is_up)
        .map(|there| there.said.uptime_micros.saturating_add(env.now().micros_since(there.at)) / 1_000_000);
    let said = there.map(|there| there.said);
    ClusterNode {
        node_id: way.node.0,
        role: String::new(),
        status: if is_up { "up" } else { "down" }.to_owned(),
        api_addr: said.as_ref().map(|said| said.api_addr.clone()),
        rpc_addr: Some(way.address.addr.to_string()),
        is_self: false,
        is_leader: false,
        groups_leading: 0,
        replication_lag: None,
        catchup_progress_pct: None,
        hostname: said.as_ref().map(|said| said.hostname.clone()).filter(|name| !name.is_empty()),
        memory_usage_mb: None,
        cpu_usage_percent: None,
        uptime_seconds: seconds,
        uptime_human: seconds.map(for_people),
        heard_ms: way.heard_ago().map(|micros| micros / 1000),
        round_trip_us: status.round_trip_micros.filter(|_| is_up),
        clock_ahead_ms: status.clock_ahead_micros.filter(|_| is_up).map(|micros| micros / 1000),
        waits_for: None,
        version: said.map(|said| said.release),
    }
}

/// "2d 3h 4m", "4m 5s".
fn for_people(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    if days > 0 {
        format!("{days}d {hours}h {minutes}m")
    } else if hours > 0 {
        format!("{hours}h {minutes}m")
    } else {
        format!("{minutes}m {}s", seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn seen(leader: Option<NodeId>) -> Seen {
        let groups = [(META, Standing { term: 3, applied: 9, leader, ..Standing::default() })].into();
        let (cluster, total_groups, uptime_micros) = (0xab, 1, 61_000_000);
        let (waits, process, api_addr) = (None, None, "a:1".to_owned());
        let leaving = BTreeSet::new();
        Seen { cluster, total_groups, groups, waits, uptime_micros, process, api_addr, leaving }
    }

    #[test]
    fn a_cluster_of_one_is_healthy_when_its_groups_are_led_and_says_why_when_they_are_not() {
        let links = Links::alone();
        let node = this(&links, &seen(None));
        assert_eq!((node.status.as_str(), node.uptime_human.as_deref()), ("up", Some("1m 1s")));
        assert_eq!(verdict(&links, &seen(Some(NodeId(1))), &[]), ("healthy", None));
        let (status, reason) = verdict(&links, &seen(None), &[]);
        assert_eq!(
            (status, reason.unwrap().as_str()),
            ("unhealthy", "1 of 1 groups have no leader that this node knows")
        );
        let starting = Seen { waits: Some("it waits".into()), ..seen(None) };
        assert_eq!(verdict(&links, &starting, &[]), ("unhealthy", Some("it waits".into())));
        assert_eq!(this(&links, &starting).status, "starting");
        let down = ClusterNode { status: "down".into(), ..node };
        let (status, reason) = verdict(&links, &seen(Some(NodeId(1))), &[down]);
        assert_eq!((status, reason.unwrap().as_str()), ("degraded", "not heard within two seconds: node 1"));
    }

    #[test]
    fn a_row_of_cluster_groups_tells_how_a_group_stands() {
        let number = |value: i64| Value::BigInt(value);
        let text = || Value::Text(String::new());
        let peers = r#"[{"node_id":1,"kind":"voter","matched":5},{"node_id":3,"kind":"voter"}]"#;
        let numbers = [number(7), number(2), text(), number(3), number(12), number(9), number(10), text(), number(2)];
        let mut row = numbers.to_vec();
        let stands = Standing { term: 3, last: 12, applied: 9, leader: Some(NodeId(2)), ..Standing::default() };
        assert_eq!(standing(&row), Some((7, stands.clone())));
        row.extend([text(), Value::Json(peers.into())]);
        assert_eq!(standing(&row), Some((7, Standing { matched: [(NodeId(1), 5)].into(), ..stands })));
        let seen = Seen { groups: [standing(&row).unwrap()].into(), ..seen(None) };
        assert_eq!((lag(&seen, NodeId(1)), lag(&seen, NodeId(3))), (Some(7), None));
        row.extend([number(0), number(0), Value::Json("[1,2]".into())]);
        assert_eq!(standing(&row).unwrap().1.voters, [NodeId(1), NodeId(2)].into());
        row.truncate(8);
        row.push(Value::Null);
        assert_eq!(standing(&row).unwrap().1.leader, None);
        assert_eq!(standing(&Vec::new()), None);
    }

    #[test]
    fn times_are_told_in_their_two_or_three_largest_units() {
        assert_eq!([59, 3_661, 90_061].map(for_people), ["0m 59s", "1h 1m", "1d 1h 1m"]);
    }
}
