//! What logins change in the cluster: the first setup, and logins that are ended. Decided in the meta group.

use highwater_sql::diag::Diag;
use highwater_sql::value::Micros;
use highwater_state::command::{Command, MetaCommand};
use highwater_state::placement::META;

use super::answer::StatementResult;
use super::execute::Failure;
use super::forward::{Errand, Motion, TraceId};
use super::mesh::Question;
use super::{Node, outcome_unknown};

/// What the first setup of a cluster is given. Passwords are plain here and leave this node as verifiers only.
pub(crate) struct FirstSetup {
    /// Name of the first dba.
    pub(crate) user: String,
    /// Its password.
    pub(crate) password: String,
    /// Its address.
    pub(crate) email: Option<String>,
    /// Root's password.
    pub(crate) root_password: String,
}

impl Node {
    /// Makes the first dba and gives root its first password, in one step.
    ///
    /// # Errors
    /// 55000 once root has a password, 42710 for a name that is taken, 42602 for one that cannot be; 57014, 40003.
    pub(crate) async fn set_up(&self, setup: FirstSetup, trace: TraceId) -> Result<String, Diag> {
        let FirstSetup { user, password, email, root_password } = setup;
        let verifier = self.verifier_of(password).await?;
        let root_verifier = self.verifier_of(root_password).await?;
        let errand = Errand { deadline: self.statement_deadline(), trace };
        let command = MetaCommand::Setup { user: user.clone(), verifier, email, root_verifier };
        match self.define_meta(errand, &user, command).await {
            Ok(StatementResult::Message { message, .. }) => Ok(message),
            Ok(StatementResult::Rows { .. } | StatementResult::Stream { .. }) => Err(outcome_unknown()),
            Err(Failure::Diag(diag)) => Err(diag),
            // It went to a leader that had none of it: nothing was applied.
            Err(Failure::Stale) => Err(outcome_unknown()),
        }
    }

    /// Ends a login on every node; `until` is when its last token expires by itself.
    ///
    /// # Errors
    /// 57014 without a leader of the meta group, 57P01 while the node shuts down.
    pub(crate) async fn end_login(&self, login: u128, until: Micros) -> Result<(), Diag> {
        let command = Command::Meta(MetaCommand::EndLogin { login, until });
        self.propose(Motion::of_system(self.own_errand(), META, command, None)).await.map_err(Diag::from)?;
        Ok(())
    }

    /// Whether a login was ended: `newest` asks the meta group, otherwise it is what this node has heard.
    ///
    /// # Errors
    /// 57014 without a leader of the meta group (only with `newest`), 57P01 while the node shuts down.
    pub(crate) async fn login_is_ended(&self, login: u128, newest: bool) -> Result<bool, Diag> {
        let deadline = newest.then(|| self.statement_deadline());
        self.ask(META, |reply| Question::LoginIsEnded(login, deadline, reply)).await?
    }
}
