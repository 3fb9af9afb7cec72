//! CREATE, ALTER and DROP: decided in the meta group, then known on every core of every node that is up, and where rows or topics
//! change their meaning, in every group, before the statement is answered.
//!
//! One node carries a definition to its end: the one that leads the meta group, wherever the statement arrived. When it loses the
//! lead or ends on the way, the next leader takes that up; each step may be taken twice.

use std::sync::Arc;

use futures_lite::future;
use highwater_runtime::Env;
use highwater_sql::catalog::{Catalog, CatalogVersion};
use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::plan::{Ddl, UserChange, UserPlan};
use highwater_state::command::{Command, MetaCommand, RequestHead};
use highwater_state::definitions::user_dropped;
use highwater_state::outcome::Outcome;
use highwater_state::placement::META;

use super::answer::StatementResult;
use super::execute::{Failure, Run};
use super::forward::{Errand, Motion};
use super::mesh::{Applied, NotApplied, Question};
use super::portions::in_portions;
use super::rows_change::Unfinished;
use super::{Node, ask_port};
use crate::auth;

/// Longest password in bytes: deriving a verifier hashes all of it.
const MAX_PASSWORD_BYTES: usize = 1024;
/// Groups that are given a catalog at one time.
const SPREAD_AT_ONCE: usize = 128;
/// Pause before a group that has not taken a catalog is given it again, in microseconds.
const SPREAD_AGAIN_MICROS: u64 = 200_000;
/// Follows the answer of a DROP USER.
const ROWS_STAY: &str = "; the rows that it owned stay, and a user who is created under the same name again has them";
/// Pause before definitions of an earlier leader are taken up again, in microseconds.
const FINISH_AGAIN_MICROS: u64 = 500_000;

impl Node {
    pub(super) async fn define(&self, run: &Run, ddl: Ddl) -> Result<StatementResult, Failure> {
        self.define_meta(run.errand, &run.user, MetaCommand::Ddl { head: run.head.clone(), ddl }).await
    }

    pub(super) async fn change_user(&self, run: &Run, plan: UserPlan) -> Result<StatementResult, Failure> {
        let head = run.head.clone();
        let mut dropped = None;
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
            UserPlan::Drop { name, if_exists } => {
                dropped = Some(user_dropped(&name));
                MetaCommand::DropUser { head, name, if_exists }
            }
        };
        let mut answer = self.define_meta(run.errand, &run.user, command).await?;
        // What is told besides is no part of what the log answers.
        if let StatementResult::Message { message, .. } = &mut answer
            && dropped.as_ref() == Some(message)
        {
            message.push_str(ROWS_STAY);
        }
        Ok(answer)
    }

    /// A definition of a request that cannot be planned. Its first try may have been applied, and its answer lost, and then it is the
    /// table's end that keeps the retry of its DROP from being planned: the meta group knows, or sees to it that no try is applied any more.
    ///
    /// # Errors
    /// `why`, unless there is another answer.
    pub(super) async fn refuse_definition(
        &self,
        errand: Errand,
        head: RequestHead,
        why: Diag,
    ) -> Result<StatementResult, Diag> {
        let user = head.principal.clone();
        let command = MetaCommand::Refuse { head, why: Box::new(why.clone()) };
        self.define_meta(errand, &user, command).await.map_err(|failure| match failure {
            Failure::Diag(diag) => diag,
            Failure::Stale => why,
        })
    }

    /// The verifier of a new password, derived off the shard cores.
    pub(super) async fn verifier_of(&self, password: String) -> Result<String, Diag> {
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

    /// Decides a definition where the meta group is led, which carries it to its end, and learns of it here.
    pub(super) async fn define_meta(
        &self,
        errand: Errand,
        user: &str,
        command: MetaCommand,
    ) -> Result<StatementResult, Failure> {
        let applied = self.propose(Motion::of_client(errand, META, Command::Meta(command), None)).await?;
        let (version, message) = match applied.outcome {
            Outcome::Defined { version, message, .. } => (version, message),
            Outcome::Refused(diag) => return Err((*diag).into()),
            // What it changes was redefined after this node planned it.
            Outcome::StaleCatalog { .. } => return Err(Failure::Stale),
            other => {
                return Err(Diag::new(SqlState::INTERNAL, format!("a definition was answered with {other:?}")).into());
            }
        };
        if !self.links().is_alone() {
            self.know_catalog(errand, version).await.map_err(|diag| not_at_its_end(&diag))?;
        }
        Ok(StatementResult::Message { message, row_count: 0, as_user: user.to_owned() })
    }

    /// Decides a definition in this node's replica of the meta group and carries it to its end, even when the client goes away or
    /// its time is over: a definition must not stay half known.
    pub(super) async fn define_here(&self, motion: Motion) -> Result<Applied, NotApplied> {
        let (node, deadline) = (self.clone(), motion.errand.deadline);
        let (slot, answer) = highwater_runtime::queue::reply();
        self.env().spawn("define", async move {
            slot.fill(node.define_to_the_end(motion).await);
        });
        let answer = async { answer.await.map_err(|_| super::outcome_unknown())? };
        if self.links().is_alone() {
            return answer.await;
        }
        let late = async {
            self.env().sleep_until(deadline).await;
            let diag = Diag::new(SqlState::TIMEOUT, "the statement's time is over");
            Err(not_at_its_end(&diag).into())
        };
        future::or(answer, late).await
    }

    async fn define_to_the_end(&self, motion: Motion) -> Result<Applied, NotApplied> {
        let _in_flight = self.enter_for_another()?;
        let everywhere = changes_groups(&motion.command);
        let applied = self.propose_to_log(motion).await?;
        if let Outcome::Defined { version, job, .. } = &applied.outcome {
            self.carry_to_the_end(*version, job.as_deref(), everywhere).await.map_err(|why| match why {
                Unfinished::Failed(diag) => diag,
                Unfinished::OnItsWay(diag) => not_at_its_end(&diag),
            })?;
        }
        Ok(applied)
    }

    /// Makes a decided definition known: on every core of this node, on the other nodes that are up, and where it matters in every
    /// group.
    async fn carry_to_the_end(
        &self,
        version: CatalogVersion,
        job: Option<&str>,
        everywhere: bool,
    ) -> Result<(), Unfinished> {
        let known = self.know_catalog(self.own_errand(), version).await;
        let catalog = known.map_err(Unfinished::OnItsWay)?;
        self.tell_nodes(version).await;
        if everywhere || job.is_some() {
            self.spread(&catalog).await.map_err(Unfinished::OnItsWay)?;
        }
        match job {
            Some(job) => self.end_job(&catalog, job).await,
            None => Ok(()),
        }
    }

    /// Runs on the core that hosts the meta group. What an earlier leader (or life) decided and did not carry to its end is taken up
    /// whenever this node comes to lead the meta group; a catalog that another node decided is made known on this node's cores.
    pub(super) async fn follow_definitions(&self) {
        let Some(host) = self.host_of(META) else { return };
        let mut finished_in = None;
        while !self.is_closing() {
            let seen = host.definitions.seen();
            if let Some(view) = host.view(META)
                && view.catalog().version > self.catalog().version
            {
                self.publish(Arc::clone(view.catalog())).await;
            }
            let leads_in = host.leads_in(META);
            if leads_in.is_some() && leads_in != finished_in {
                match self.finish_definitions().await {
                    Ok(()) => finished_in = leads_in,
                    Err(diag) => {
                        tracing::warn!(%diag, "definitions of an earlier leader are not yet known everywhere; this is tried again");
                        self.env().sleep(FINISH_AGAIN_MICROS).await;
                        continue;
                    }
                }
            }
            host.definitions.changed_since(seen).await;
        }
    }

    /// Every group takes the newest catalog; jobs that still run are finished by that.
    async fn finish_definitions(&self) -> Result<(), Diag> {
        let deadline = self.own_errand().deadline;
        // The jobs first: a catalog that is older than a job does not show its change under way, and would let it pass for done.
        let jobs = self.ask(META, |reply| Question::Jobs(deadline, reply)).await??;
        let catalog = self.newest_catalog_by(deadline).await?;
        if catalog.version == CatalogVersion(0) {
            return Ok(());
        }
        self.spread(&catalog).await?;
        for job in jobs.iter().filter(|job| job.finished_at.is_none()) {
            highwater_runtime::sometimes("jobs_taken_up_again");
            match self.end_job(&catalog, &job.id).await {
                Ok(()) => {}
                Err(Unfinished::Failed(diag)) => tracing::info!(job = job.id, %diag, "a job has failed"),
                Err(Unfinished::OnItsWay(diag)) => return Err(diag),
            }
        }
        Ok(())
    }

    /// Every core of this node knows the newest catalog, at least `version`, once this returns.
    pub(super) async fn know_catalog(&self, errand: Errand, version: CatalogVersion) -> Result<Arc<Catalog>, Diag> {
        let catalog = self.newest_catalog_by(errand.deadline).await?;
        if catalog.version < version {
            return Err(Diag::new(SqlState::INTERNAL, "the meta group answered with an older catalog"));
        }
        self.publish(Arc::clone(&catalog)).await;
        Ok(catalog)
    }

    /// Gives every core of this node a catalog; they keep a newer one.
    async fn publish(&self, catalog: Arc<Catalog>) {
        self.take_catalog(Arc::clone(&catalog));
        for port in &self.0.to {
            let catalog = Arc::clone(&catalog);
            // A core that has stopped asks the meta group when it starts.
            let _ = ask_port(port, |reply| Question::Publish(catalog, reply)).await;
        }
    }

    /// Every data group has taken the catalog once this returns: their next write and read follow it.
    ///
    /// # Errors
    /// This node does not lead the meta group any more, or shuts down: the next leader does it.
    pub(super) async fn spread(&self, catalog: &Arc<Catalog>) -> Result<(), Diag> {
        let groups: Vec<u32> = self.layout().groups().filter(|group| *group != META).collect();
        let (node, catalog, count) = (self.clone(), Arc::clone(catalog), groups.len());
        let spread = move |group| {
            let (node, catalog) = (node.clone(), Arc::clone(&catalog));
            async move { node.spread_to(group, catalog).await }
        };
        let done = in_portions(self.env(), "spread", groups, SPREAD_AT_ONCE, spread).await;
        if done.len() < count {
            return Err(super::outcome_unknown());
        }
        done.into_iter().collect()
    }

    /// Tries until the group has taken the catalog: it may be without a leader for a while.
    async fn spread_to(&self, group: u32, catalog: Arc<Catalog>) -> Result<(), Diag> {
        // What a replica has applied, its group has taken: it may sleep on.
        let shown = self.host_of(group).and_then(|host| host.view(group));
        if shown.is_some_and(|view| view.catalog().version >= catalog.version) {
            return Ok(());
        }
        loop {
            // A catalog entry goes in front of any command that was planned with a newer catalog; an empty Trim is the cheapest
            // command.
            let nothing = Command::Trim { destination: group, upto: 0 };
            let given = Some(Arc::clone(&catalog));
            let done = self.propose(Motion::of_system(self.own_errand(), group, nothing, given)).await;
            match done.map_err(Diag::from) {
                Ok(_) => return Ok(()),
                Err(diag) if self.links().is_alone() || self.is_closing() => return Err(diag),
                Err(diag) => {
                    if self.leader_of(META).await != Some(self.links().me()) {
                        return Err(diag);
                    }
                    tracing::debug!(group, version = catalog.version.0, %diag, "a group has not taken the newest catalog yet");
                    self.env().sleep(SPREAD_AGAIN_MICROS).await;
                }
            }
        }
    }
}

/// What a client is told of a definition that is decided, but not known everywhere yet.
fn not_at_its_end(why: &Diag) -> Diag {
    Diag::new(
        SqlState::OUTCOME_UNKNOWN,
        format!("the definition is decided, but not every node and group knows it yet: {why}"),
    )
    .hint("It is carried to its end by itself; system.jobs and the system tables show what is defined.")
}

/// Whether a definition changes what groups do with rows or messages, or for whom, so that all must know it before it is acknowledged.
fn changes_groups(command: &Command) -> bool {
    if matches!(command, Command::Meta(MetaCommand::Refuse { .. })) {
        // What it is given the answer of is not known.
        return true;
    }
    // What ends tokens: groups refuse who shows one of before, whatever the node that was asked has heard.
    if let Command::Meta(MetaCommand::AlterUser { verifier, role, .. }) = command {
        return verifier.is_some() || role.is_some();
    }
    if matches!(command, Command::Meta(MetaCommand::DropUser { .. })) {
        return true;
    }
    let Command::Meta(MetaCommand::Ddl { ddl, .. }) = command else { return false };
    match ddl {
        Ddl::DropNamespace { .. }
        | Ddl::DropTable { .. }
        | Ddl::AlterTable { .. }
        | Ddl::CreateIndex { .. }
        | Ddl::DropIndex { .. }
        | Ddl::AddSource { .. }
        | Ddl::DropSource { .. }
        | Ddl::ClearTopic { .. }
        | Ddl::DropTopic { .. } => true,
        Ddl::CreateNamespace { .. } | Ddl::CreateTable { .. } | Ddl::CreateTopic { .. } => false,
    }
}
