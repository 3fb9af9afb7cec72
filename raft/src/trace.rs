//! One line of JSON per transition. Fields and their order are fixed, so that two runs can be compared line by line.
//!
//! ```text
//! {"event":"append_done","group":0,"node":1,"role":"leader","term":2,"last":9,"persisted":9,"commit":9,"handed_over":7,"applied":7}
//! ```

use crate::ids::{GroupId, LogIndex, NodeId};
use crate::membership::Membership;
use crate::message::{Message, MessageKind};
use crate::node::Status;

type Hook = Box<dyn FnMut(&str)>;

/// Where transitions are told.
#[derive(Default)]
pub(crate) struct Trace(Option<Hook>);

impl Trace {
    pub(crate) fn to(hook: impl FnMut(&str) + 'static) -> Self {
        Self(Some(Box::new(hook)))
    }

    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    pub(crate) fn emit(&mut self, event: &'static str, status: &Status) {
        if let Some(hook) = &mut self.0 {
            hook(&format!(
                "{{\"event\":\"{event}\",\"group\":{},\"node\":{},\"role\":\"{}\",\"term\":{},\"last\":{},\"persisted\":{},\"commit\":{},\"handed_over\":{},\"applied\":{}}}",
                status.group,
                status.id,
                status.role.name(),
                status.term,
                status.last,
                status.persisted,
                status.commit,
                status.handed_over,
                status.applied
            ));
        }
    }
}

impl Trace {
    /// One message that leaves or arrives.
    pub(crate) fn message(&mut self, event: &'static str, message: &Message) {
        if let Some(hook) = &mut self.0 {
            hook(&format!(
                "{{\"event\":\"{event}\",\"group\":{},\"from\":{},\"to\":{},\"kind\":\"{}\",\"term\":{}{}}}",
                message.group,
                message.from,
                message.to,
                message.kind.name(),
                message.term,
                fields(&message.kind)
            ));
        }
    }
}

impl Trace {
    /// A change of membership that took effect.
    pub(crate) fn membership(&mut self, group: GroupId, node: NodeId, index: LogIndex, now: &Membership) {
        if let Some(hook) = &mut self.0 {
            hook(&format!(
                "{{\"event\":\"members\",\"group\":{group},\"node\":{node},\"index\":{index},\"voters\":{},\"outgoing\":{},\"learners\":{},\"learners_next\":{}}}",
                list(now.voters()),
                list(now.outgoing()),
                list(now.learners()),
                list(now.learners_next())
            ));
        }
    }
}

fn list(nodes: &[NodeId]) -> String {
    let nodes: Vec<String> = nodes.iter().map(NodeId::to_string).collect();
    format!("[{}]", nodes.join(","))
}

/// What a message says, as the rest of a JSON object.
fn fields(kind: &MessageKind) -> String {
    match kind {
        MessageKind::PreVote { last_index, last_term } => {
            format!(",\"last\":{last_index},\"last_term\":{last_term}")
        }
        MessageKind::Vote { last_index, last_term, transfer } => {
            format!(",\"last\":{last_index},\"last_term\":{last_term},\"transfer\":{transfer}")
        }
        MessageKind::PreVoteResponse { granted } | MessageKind::VoteResponse { granted } => {
            format!(",\"granted\":{granted}")
        }
        MessageKind::Append { prev_index, prev_term, entries, commit } => format!(
            ",\"prev\":{prev_index},\"prev_term\":{prev_term},\"entries\":{},\"commit\":{commit}",
            entries.len()
        ),
        MessageKind::AppendResponse { index, reject_hint: None } => format!(",\"index\":{index}"),
        MessageKind::AppendResponse { index, reject_hint: Some((hint, term)) } => {
            format!(",\"refused\":{index},\"hint\":{hint},\"hint_term\":{term}")
        }
        MessageKind::Heartbeat { commit, round } => format!(",\"commit\":{commit},\"round\":{round}"),
        MessageKind::HeartbeatResponse { round } => format!(",\"round\":{round}"),
        MessageKind::Snapshot(meta) => format!(",\"index\":{},\"index_term\":{}", meta.index, meta.term),
        MessageKind::ReadIndex { context, .. } => format!(",\"context\":{context}"),
        MessageKind::ReadIndexResponse { context, index, .. } => {
            let index = index.map_or_else(|| "null".to_owned(), |index| index.to_string());
            format!(",\"context\":{context},\"index\":{index}")
        }
        MessageKind::Committed { index, index_term } => format!(",\"index\":{index},\"index_term\":{index_term}"),
        MessageKind::Hibernate { index } => format!(",\"index\":{index}"),
        MessageKind::SnapshotWanted | MessageKind::Wake | MessageKind::TimeoutNow => String::new(),
    }
}

impl std::fmt::Debug for Trace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.is_on() { "Trace(on)" } else { "Trace(off)" })
    }
}
