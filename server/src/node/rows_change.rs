//! A table's change that looks at every row: a job, carried out by the node that leads the meta group.
//!
//! Every group has taken the definition with the change under way. Then each group of the table goes through its rows by commands of
//! its own log, a bounded number each, between the writes of clients. When all have, or one has found a row that does not fit, the
//! meta group is told: it makes the change public or takes it back. Each step may be taken twice, so that the next leader takes up
//! the whole from its beginning.

use std::sync::Arc;

use highwater_runtime::Env;
use highwater_sql::catalog::{Catalog, Table, TableKind};
use highwater_sql::diag::{Diag, SqlState};
use highwater_state::command::{BackfillCommand, Command, MetaCommand};
use highwater_state::jobs::JobStatus;
use highwater_state::outcome::Outcome;
use highwater_state::placement::META;

use super::Node;
use super::forward::Motion;
use super::mesh::Question;
use super::portions::in_portions;

/// Rows that one command looks at.
const ROWS_AT_ONCE: u32 = 1_000;
/// Groups that go through their rows at one time.
const GROUPS_AT_ONCE: usize = 8;
/// Pause before a group that did not answer is asked again, in microseconds.
const AGAIN_MICROS: u64 = 200_000;

/// Why a definition has not come to its good end.
pub(super) enum Unfinished {
    /// A row does not fit, or the table is gone: the change is taken back.
    Failed(Diag),
    /// It is on its way: another leader, or this node's next life, goes on.
    OnItsWay(Diag),
}

impl Node {
    /// Carries out what a job's change asks of rows, and ends the job.
    pub(super) async fn end_job(&self, catalog: &Arc<Catalog>, job: &str) -> Result<(), Unfinished> {
        let of_job = |table: &&Arc<Table>| table.pending.as_ref().is_some_and(|pending| pending.job == job);
        let failed = match catalog.tables.values().find(of_job) {
            Some(table) => match self.look_at_rows(catalog, table, job).await {
                Ok(()) => None,
                Err(Unfinished::Failed(diag)) => Some(diag),
                Err(lost) => return Err(lost),
            },
            None => None,
        };
        let failure = failed.as_ref().map(kept);
        let ended = loop {
            let command = Command::Meta(MetaCommand::FinishJob { job: job.to_owned(), failure: failure.clone() });
            let motion = Motion::of_system(self.own_errand(), META, command, None);
            match self.propose(motion).await {
                Ok(ended) => break ended,
                Err(why) => self.go_on_after(job, why.into()).await?,
            }
        };
        if let Outcome::Defined { version, .. } = ended.outcome {
            let catalog = self.know_catalog(self.own_errand(), version).await.map_err(Unfinished::OnItsWay)?;
            self.tell_nodes(version).await;
            self.spread(&catalog).await.map_err(Unfinished::OnItsWay)?;
        }
        self.how_it_ended(job, failed).await
    }

    /// How a job has ended, here or with another node: a leader that lost the lead meanwhile may have found a change that was public already.
    async fn how_it_ended(&self, job: &str, found: Option<Diag>) -> Result<(), Unfinished> {
        let deadline = self.own_errand().deadline;
        let jobs = self.ask(META, |reply| Question::Jobs(deadline, reply)).await;
        let jobs = jobs.and_then(|jobs| jobs).map_err(Unfinished::OnItsWay)?;
        match (jobs.into_iter().find(|known| known.id == job), found) {
            (Some(known), found) if known.status == JobStatus::Failed => {
                let why = known.message.unwrap_or_default();
                // What was found here says more: where, and what to do.
                Err(Unfinished::Failed(found.filter(|diag| kept(diag) == why).unwrap_or_else(|| told(job, &why))))
            }
            (None, Some(diag)) => Err(Unfinished::Failed(diag)),
            (Some(_) | None, _) => Ok(()),
        }
    }

    /// All groups of the table go through their rows.
    async fn look_at_rows(&self, catalog: &Arc<Catalog>, table: &Arc<Table>, job: &str) -> Result<(), Unfinished> {
        let groups: Vec<u32> = match table.kind {
            TableKind::User | TableKind::Stream => self.layout().user_groups().collect(),
            TableKind::Shared if table.partition_columns == 0 => vec![self.layout().table_group(table.id)],
            TableKind::Shared => self.layout().shared_groups().collect(),
        };
        if highwater_runtime::mutant(89) {
            return Ok(());
        }
        let count = groups.len();
        let (node, catalog, table, job) = (self.clone(), Arc::clone(catalog), Arc::clone(table), job.to_owned());
        let pass = move |group| {
            let (node, catalog, table, job) = (node.clone(), Arc::clone(&catalog), Arc::clone(&table), job.clone());
            async move { node.pass_rows(group, catalog, &table, &job).await }
        };
        let done = in_portions(self.env(), "backfill", groups, GROUPS_AT_ONCE, pass).await;
        if done.len() < count {
            return Err(Unfinished::OnItsWay(super::outcome_unknown()));
        }
        // A row that does not fit decides, whatever became of other groups.
        let mut lost = None;
        for result in done {
            match result {
                Ok(()) => {}
                Err(Unfinished::Failed(diag)) => return Err(Unfinished::Failed(diag)),
                Err(other) => lost = Some(other),
            }
        }
        lost.map_or(Ok(()), Err)
    }

    /// One group goes through its rows. It may be without a leader for a while.
    async fn pass_rows(&self, group: u32, catalog: Arc<Catalog>, table: &Table, job: &str) -> Result<(), Unfinished> {
        let mut after = None;
        loop {
            let step = BackfillCommand {
                table: table.id,
                table_version: table.version,
                after: after.clone(),
                rows: ROWS_AT_ONCE,
            };
            let given = Some(Arc::clone(&catalog));
            let motion = Motion::of_system(self.own_errand(), group, Command::Backfill(step), given);
            let why = match self.propose(motion).await.map(|applied| applied.outcome) {
                Ok(Outcome::Backfilled { next: None, .. }) => return Ok(()),
                Ok(Outcome::Backfilled { next, .. }) => {
                    after = next;
                    continue;
                }
                Ok(Outcome::Refused(diag)) => return Err(Unfinished::Failed(*diag)),
                Ok(Outcome::StaleCatalog { .. }) => {
                    let newest = self.newest_catalog_by(self.own_errand().deadline).await;
                    let newest = newest.map_err(Unfinished::OnItsWay)?;
                    let pending = newest.tables.get(&table.id).and_then(|table| table.pending.as_ref());
                    if pending.is_none_or(|pending| pending.job != job) {
                        let name = format!("{}.{}", table.namespace, table.name);
                        let gone = format!("table \"{name}\" was dropped, or its change was ended by another node");
                        return Err(Unfinished::Failed(Diag::new(SqlState::OBJECT_STATE, gone)));
                    }
                    Diag::new(SqlState::INTERNAL, "the group has another catalog")
                }
                Ok(_) => return Err(Unfinished::OnItsWay(super::outcome_unknown())),
                Err(error) => error.into(),
            };
            self.go_on_after(job, why).await?;
        }
    }

    /// A pause after a step that did not go well, as long as this node is the one that carries the job.
    async fn go_on_after(&self, job: &str, why: Diag) -> Result<(), Unfinished> {
        if self.is_closing() || self.leader_of(META).await != Some(self.links().me()) {
            return Err(Unfinished::OnItsWay(why));
        }
        tracing::debug!(job, diag = %why, "a step of a job is taken again");
        self.env().sleep(AGAIN_MICROS).await;
        Ok(())
    }
}

/// What a job keeps of why it failed.
fn kept(diag: &Diag) -> String {
    let detail = diag.detail.as_ref().map_or_else(String::new, |detail| format!(": {detail}"));
    format!("{} {}{detail}", diag.sqlstate, diag.message)
}

/// The same as [`kept`] said it.
fn told(job: &str, message: &str) -> Diag {
    let state = |text: &str| SqlState::ALL.iter().map(|(_, state)| *state).find(|state| state.as_str() == text);
    match message.split_once(' ').and_then(|(text, why)| state(text).map(|state| (state, why))) {
        Some((state, why)) => Diag::new(state, why),
        None => Diag::new(SqlState::OBJECT_STATE, format!("job {job} failed: {message}")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    #[test]
    fn a_job_that_failed_tells_a_retry_what_it_told_the_first_try() {
        let mut diag = Diag::new(SqlState::UNIQUE_VIOLATION, "duplicate values for unique index \"one\"");
        diag.detail = Some("Key (c)=(5) already exists.".to_owned());
        let again = told("IX-1", &kept(&diag));
        assert_eq!((again.sqlstate, kept(&again)), (diag.sqlstate, kept(&diag)));
        let other = told("IX-1", "dropped");
        assert_eq!((other.sqlstate, other.message.as_str()), (SqlState::OBJECT_STATE, "job IX-1 failed: dropped"));
    }
}
