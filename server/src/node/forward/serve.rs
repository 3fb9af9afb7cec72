//! What a node answers when another one asks it something.

use bytes::Bytes;
use highwater_net::rpc::{Answer, CallError, IncomingCall, Refusal, RefusalCode};
use highwater_raft::NodeId;
use highwater_runtime::{Env, Monotonic};
use highwater_sql::diag::{Diag, SqlState};
use highwater_state::command::Command;

use super::catalogs::version_to_know;
use super::payload::ProposalHead;
use super::{Errand, ForwardedAnswer, ForwardedProposal, Motion, TraceId, UNREADABLE, kinds};
use crate::node::Node;
use crate::node::homes::HOME;
use crate::node::membership::{MEMBERSHIP, Order};
use crate::node::mesh::{Applied, NotApplied, Question};

/// The node that was asked could not do it. Why is in the text.
const NOT_DONE: RefusalCode = RefusalCode(RefusalCode::FIRST_OF_SERVER + 17);
/// The command came by way of a node that is not the one where its statement arrived. Nothing was begun.
pub(super) const HANDED_ON: RefusalCode = RefusalCode(RefusalCode::FIRST_OF_SERVER + 18);

impl Node {
    /// Answers a call of node `from`.
    pub(crate) async fn answer_call(&self, from: NodeId, call: IncomingCall) -> Answer {
        match call.kind {
            kinds::PROPOSE => {
                let proposal = ForwardedProposal::decode(&call.payload)
                    .map_err(|error| Refusal::new(UNREADABLE, format!("the command cannot be read: {error}")))?;
                one_hop(from, proposal.head.origin)?;
                if highwater_runtime::mutant(31)
                    && let Some(leader) = self.known_leader(proposal.head.group)
                    && leader != self.links().me()
                {
                    let links = self.links();
                    return match links.call(leader, proposal.head.group, call.kind, call.payload, call.deadline).await {
                        Err(CallError::Refused(refusal)) => Err(refusal),
                        Err(error) => Err(Refusal::new(RefusalCode::ANSWER_LOST, error.to_string())),
                        Ok(answer) => Ok(answer),
                    };
                }
                Ok(self.answer_proposal(call.deadline, proposal).await.encode())
            }
            kinds::KNOW_CATALOG => {
                let version = version_to_know(&call.payload)
                    .ok_or_else(|| Refusal::new(UNREADABLE, "the catalog's version cannot be read"))?;
                let errand = Errand { deadline: call.deadline, trace: TraceId(0) };
                match self.know_catalog(errand, version).await {
                    Ok(_) => Ok(Bytes::new()),
                    Err(diag) => Err(Refusal::new(NOT_DONE, diag.to_string())),
                }
            }
            HOME => self.answer_seat(call.payload, call.deadline).await,
            MEMBERSHIP => {
                let (group, order) = Order::decode(call.payload)
                    .ok_or_else(|| Refusal::new(UNREADABLE, "the order to a group's leader cannot be read"))?;
                let answer = self.ask(group, |reply| Question::Order(group, order, reply)).await;
                answer.map(|answer| answer.encode()).map_err(|diag| Refusal::new(NOT_DONE, diag.to_string()))
            }
            kind => {
                Err(Refusal::new(RefusalCode::UNKNOWN_KIND, format!("this node does not know calls of kind {kind}")))
            }
        }
    }

    /// Proposes another node's command on this one, never on a third.
    async fn answer_proposal(&self, deadline: Monotonic, proposal: ForwardedProposal) -> ForwardedAnswer {
        let ForwardedProposal { head, mut command } = proposal;
        if highwater_runtime::mutant(30)
            && let Command::Write(write) = &mut command
        {
            write.head.principal = "root".into();
        }
        let ProposalHead { group, catalog: version, admission, origin, trace: request_id } = head;
        let began = self.env().now();
        self.0.forward.taken();
        tracing::debug!(%request_id, group, from = origin.0, "a command came from another node");
        let errand = Errand { deadline, trace: request_id };
        let done = async {
            let _in_flight = self.enter_for_another()?;
            if self.layout().role(group).is_none() {
                return Err(Diag::new(SqlState::INTERNAL, format!("there is no group {group} on this node")).into());
            }
            let me = self.links().me();
            let leader = self.host_of(group).and_then(|host| host.leader_of(group));
            if let Some(leader) = leader.filter(|leader| *leader != me) {
                return Err(NotApplied::NotLeader(Some(leader)));
            }
            let catalog = match version {
                Some(version) => Some(self.catalog_at_least(errand, version).await?),
                None => None,
            };
            self.propose_here(Motion { errand, group, command, catalog, admission }).await
        };
        let done: Result<Applied, NotApplied> = done.await;
        let micros = self.env().now().micros_since(began);
        match done {
            Ok(Applied { index, outcome }) => {
                tracing::debug!(%request_id, group, to = origin.0, index, micros, "the command of another node is durable and applied");
                ForwardedAnswer::Applied { index, outcome }
            }
            Err(NotApplied::NotLeader(leader)) => {
                let leader_is = leader.map(|leader| leader.0);
                tracing::debug!(%request_id, group, to = origin.0, leader_is, micros, "a command of another node came to a node that does not lead");
                ForwardedAnswer::NotLeader { leader }
            }
            Err(NotApplied::Refused(diag)) => {
                tracing::debug!(%request_id, group, to = origin.0, micros, sqlstate = %diag.sqlstate, %diag, "the command of another node was not taken");
                ForwardedAnswer::Refused(diag)
            }
        }
    }
}

/// A command goes from the node that a client asked to the one that leads, and no further: one that comes by way of a third
/// could go round for ever.
fn one_hop(from: NodeId, origin: NodeId) -> Result<(), Refusal> {
    if from == origin {
        return Ok(());
    }
    let text = format!("a command of node {} came by way of node {}; nodes do not hand commands on", origin.0, from.0);
    Err(Refusal::new(HANDED_ON, text))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::super::{NotAnswered, not_answered};
    use super::*;

    #[test]
    fn a_command_comes_from_the_node_where_its_statement_arrived_and_from_no_other() {
        assert!(one_hop(NodeId(2), NodeId(2)).is_ok());
        let refusal = one_hop(NodeId(2), NodeId(3)).unwrap_err();
        let NotAnswered::Never(diag) = not_answered(&CallError::Refused(refusal)) else { panic!("it may go again") };
        assert!(diag.to_string().contains("a command of node 3 came by way of node 2"), "{diag}");
    }
}
