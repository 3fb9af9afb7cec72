//! Membership of a cluster that runs: who is let in and taken out, and who votes where.
//!
//! ```text
//!  statement or joining node -> a command of the roll (state/src/roll.rs), through the meta group's log
//!  every node: the newer roll -> its file `cluster`, its links                                      (follow)
//!  the node that leads meta:  the roll + how each group stands -> the next change of each group     (plan, steward)
//!                             -> asked of the node that leads the group                             (order)
//! ```
//!
//! What is wanted is in the roll and nowhere else, so that whoever leads the meta group next goes on where the last one stopped. Must never:
//! change a group in a way that the roll does not ask for, or keep anything that a restart would miss.

mod follow;
mod keeping;
mod order;
mod plan;
mod spread;
mod statements;
mod steward;

use std::rc::Rc;

use highwater_runtime::Monotonic;
use highwater_sql::diag::{Diag, SqlState};
use highwater_state::command::{Command, MetaCommand};
use highwater_state::outcome::Outcome;
use highwater_state::placement::META;
use highwater_state::roll::{Introduced, Roll, RollCommand};

pub(super) use follow::NewRoll;
pub(super) use order::{MEMBERSHIP, Order, OrderAnswer, obey};

use super::Node;
use super::forward::{Errand, Motion, TraceId};
use super::mesh::Question;

/// Voters of a group, where the cluster has as many nodes that stay: the others are learners.
pub(crate) const REPLICATION_FACTOR: usize = 3;

impl Node {
    /// Enters a node into the roll and gives the roll with it; the inner error is the cluster's refusal.
    ///
    /// # Errors
    /// It could not be decided now.
    pub(crate) async fn let_in(&self, who: Introduced, deadline: Monotonic) -> Result<Result<Roll, Diag>, Diag> {
        let errand = Errand { deadline, trace: TraceId(0) };
        match self.enroll(errand, RollCommand::Enter(who)).await {
            Ok(_) => Ok(Ok(self.newest_roll(deadline).await?)),
            Err(diag) if diag.sqlstate == SqlState::OBJECT_STATE || diag.sqlstate == SqlState::PROGRAM_LIMIT => {
                Ok(Err(diag))
            }
            Err(diag) => Err(diag),
        }
    }

    /// Puts a change of the roll through the meta group's log; what happened, for people.
    ///
    /// # Errors
    /// It was refused, or nobody can tell.
    async fn enroll(&self, errand: Errand, command: RollCommand) -> Result<String, Diag> {
        let command = Command::Meta(MetaCommand::Roll(command));
        let applied = self.propose(Motion::of_system(errand, META, command, None)).await?;
        match applied.outcome {
            Outcome::Defined { message, .. } => Ok(message),
            Outcome::Refused(diag) => Err(*diag),
            other => Err(Diag::new(SqlState::INTERNAL, format!("a change of the roll was answered with {other:?}"))),
        }
    }

    /// The roll, from the meta group itself: a linearizable read.
    ///
    /// # Errors
    /// 57014 without a leader until the deadline; 55000 while there is no roll.
    pub(super) async fn newest_roll(&self, deadline: Monotonic) -> Result<Roll, Diag> {
        self.ask(META, |reply| Question::Roll(deadline, reply)).await??.ok_or_else(no_roll)
    }

    /// The roll as this core's replica of the meta group shows it; only on the core that hosts that.
    fn own_roll(&self) -> Option<Rc<Roll>> {
        self.host_of(META)?.view(META)?.roll().cloned()
    }
}

fn no_roll() -> Diag {
    Diag::new(SqlState::OBJECT_STATE, "this node is a cluster of its own, or its cluster has no roll of members yet")
        .hint("CLUSTER statements are for nodes that were started with --peers or --join.")
}
