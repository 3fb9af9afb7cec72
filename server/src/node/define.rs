//! CREATE, ALTER and DROP: decided in the meta group, then known on every core, and where rows or topics change their
//! meaning, in every group, before the statement is answered.

use std::sync::Arc;

use highwater_runtime::Env;
use highwater_sql::catalog::{Catalog, CatalogVersion};
use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::plan::{Ddl, UserChange, UserPlan};
use highwater_state::command::{Command, MetaCommand};
use highwater_state::outcome::Outcome;
use highwater_state::placement::META;

use super::answer::StatementResult;
use super::execute::Run;
use super::mesh::{Admission, Question};
use super::{Node, ask_port};
use crate::auth;

/// Longest password in bytes: deriving a verifier hashes all of it.
const MAX_PASSWORD_BYTES: usize = 1024;

impl Node {
    pub(super) async fn define(&self, run: &Run, ddl: Ddl) -> Result<StatementResult, Diag> {
        let everywhere = changes_groups(&ddl);
        self.define_meta(run, MetaCommand::Ddl { head: run.head.clone(), ddl }, everywhere).await
    }

    pub(super) async fn change_user(&self, run: &Run, plan: UserPlan) -> Result<StatementResult, Diag> {
        let head = run.head.clone();
        let command = match plan {
            UserPlan::Create { name, password, role, email, if_not_exists } => {
                let verifier = match password {
                    Some(password) => Some(self.verifier_of(password).await?),
                    None => None,
                };
                MetaCommand::CreateUser { head, name, verifier, role, email, if_not_exists }
            }
            UserPlan::Alter { name, change } => {
                let (mut verifier, mut new_role, mut new_email) = (None, None, None);
                match change {
                    UserChange::Password(password) => verifier = Some(self.verifier_of(password).await?),
                    UserChange::Role(role) => new_role = Some(role),
                    UserChange::Email(email) => new_email = Some(email),
                }
                MetaCommand::AlterUser { head, name, verifier, role: new_role, email: new_email }
            }
            UserPlan::Drop { name, if_exists } => MetaCommand::DropUser { head, name, if_exists },
        };
        self.define_meta(run, command, false).await
    }

    /// The verifier of a new password, derived off the shard cores.
    async fn verifier_of(&self, password: String) -> Result<String, Diag> {
        if password.is_empty() || password.len() > MAX_PASSWORD_BYTES {
            return Err(Diag::new(
                SqlState::INVALID_PARAMETER,
                format!("a password has 1 to {MAX_PASSWORD_BYTES} bytes, this one has {}", password.len()),
            ));
        }
        let env = self.env();
        let salt = auth::random_salt(env);
        let iterations = self.settings().scram_iterations;
        Ok(env.blocking(move || auth::derive_verifier(&password, salt, iterations)).await)
    }

    /// Runs to its end even when the client goes away: a definition must not stay half known.
    async fn define_meta(&self, run: &Run, command: MetaCommand, everywhere: bool) -> Result<StatementResult, Diag> {
        let node = self.clone();
        let (slot, answer) = highwater_runtime::queue::reply();
        let user = run.user.clone();
        self.env().spawn("define", async move {
            slot.fill(node.define_to_the_end(command, everywhere, user).await);
        });
        answer.await.map_err(|_| super::outcome_unknown())?
    }

    async fn define_to_the_end(
        &self,
        command: MetaCommand,
        everywhere: bool,
        user: String,
    ) -> Result<StatementResult, Diag> {
        let _in_flight = self.enter()?;
        let applied = self.propose(META, Command::Meta(command), None, Admission::Client).await?;
        let (version, message, job) = match applied.outcome {
            Outcome::Defined { version, message, job } => (version, message, job),
            Outcome::Refused(diag) => return Err(*diag),
            other => return Err(Diag::new(SqlState::INTERNAL, format!("a definition was answered with {other:?}"))),
        };
        let catalog = self.publish(version).await?;
        let spread = if everywhere || job.is_some() { self.spread(&catalog).await } else { Ok(()) };
        if let Some(job) = job {
            let failure = spread.as_ref().err().map(ToString::to_string);
            self.propose(META, Command::Meta(MetaCommand::FinishJob { job, failure }), None, Admission::System).await?;
        }
        spread?;
        Ok(StatementResult::Message { message, row_count: 0, as_user: user })
    }

    /// What the last life decided and did not carry to its end: every group takes the newest catalog, jobs that still run are
    /// finished by that.
    pub(super) async fn finish_definitions(&self) {
        let finish = async {
            let catalog = self.newest_catalog().await?;
            self.spread(&catalog).await?;
            for job in self.ask(META, Question::Jobs).await?? {
                if job.finished_at.is_none() {
                    let command = Command::Meta(MetaCommand::FinishJob { job: job.id, failure: None });
                    self.propose(META, command, None, Admission::System).await?;
                }
            }
            Ok::<(), Diag>(())
        };
        if let Err(diag) = finish.await {
            tracing::warn!(%diag, "definitions of the last life are taken up again at the next start");
        }
    }

    /// Every core of this node knows the newest catalog, at least `version`, once this returns.
    async fn publish(&self, version: CatalogVersion) -> Result<Arc<Catalog>, Diag> {
        let catalog = self.newest_catalog().await?;
        if catalog.version < version {
            return Err(Diag::new(SqlState::INTERNAL, "the meta group answered with an older catalog"));
        }
        for port in &self.0.to {
            let catalog = Arc::clone(&catalog);
            ask_port(port, |reply| Question::Publish(catalog, reply)).await?;
        }
        Ok(catalog)
    }

    /// Every data group has taken the catalog once this returns: their next write and read follow it.
    async fn spread(&self, catalog: &Arc<Catalog>) -> Result<(), Diag> {
        let mut answers = Vec::new();
        for group in self.layout().groups().filter(|group| *group != META) {
            // A catalog entry goes in front of any command that was planned with a newer catalog; an empty Trim is the
            // cheapest command.
            let node = self.clone();
            let catalog = Arc::clone(catalog);
            let (slot, answer) = highwater_runtime::queue::reply();
            self.env().spawn("spread", async move {
                let nothing = Command::Trim { destination: group, upto: 0 };
                slot.fill(node.propose(group, nothing, Some(catalog), Admission::System).await);
            });
            answers.push(answer);
        }
        for answer in answers {
            answer.await.map_err(|_| super::outcome_unknown())??;
        }
        Ok(())
    }
}

/// Whether a definition changes what groups do with rows or messages, so that all must know it before it is acknowledged.
fn changes_groups(ddl: &Ddl) -> bool {
    match ddl {
        Ddl::DropNamespace { .. }
        | Ddl::DropTable { .. }
        | Ddl::AddSource { .. }
        | Ddl::DropSource { .. }
        | Ddl::ClearTopic { .. }
        | Ddl::DropTopic { .. } => true,
        Ddl::CreateNamespace { .. } | Ddl::CreateTable { .. } | Ddl::CreateTopic { .. } => false,
    }
}
