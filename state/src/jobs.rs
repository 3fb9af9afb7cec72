//! Jobs: what a statement started and the server carries out after it was answered. Kept in meta, shown by `system.jobs`.

use highwater_runtime::Env;
use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::value::Micros;
use serde::{Deserialize, Serialize};

use crate::error::Abort;
use crate::stored;
use crate::txn::Txn;

/// What a job does; the first letters of its id say it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobKind {
    /// CLEAR TOPIC (`TC-`).
    TopicCleanup,
    /// ALTER TABLE that looks at every row (`AT-`).
    TableChange,
    /// CREATE INDEX, ADD UNIQUE (`IX-`).
    IndexBuild,
}

impl JobKind {
    /// As `system.jobs` shows it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TopicCleanup => "topic_cleanup",
            Self::TableChange => "table_change",
            Self::IndexBuild => "index_build",
        }
    }

    const fn prefix(self) -> &'static str {
        match self {
            Self::TopicCleanup => "TC",
            Self::TableChange => "AT",
            Self::IndexBuild => "IX",
        }
    }
}

/// Where a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobStatus {
    /// The server carries it out.
    Running,
    /// Done.
    Completed,
    /// Given up; the message says why.
    Failed,
}

impl JobStatus {
    /// As `system.jobs` shows it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }
}

/// A job. Stored as `version u8 (1) | postcard`: fields are only appended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// `TC-`, `AT-` or `IX-` and 26 characters that sort by time of creation.
    pub id: String,
    /// What it does.
    pub kind: JobKind,
    /// Where it is.
    pub status: JobStatus,
    /// JSON text of what it works on.
    pub parameters: String,
    /// Why it failed, or what was done.
    pub message: Option<String>,
    /// Log time of the statement.
    pub created_at: Micros,
    /// Log time of the last change.
    pub updated_at: Micros,
    /// Log time when work began.
    pub started_at: Option<Micros>,
    /// Log time of its end.
    pub finished_at: Option<Micros>,
}

/// The id that a job started by an entry gets: a function of log time and the entry's seed.
pub(crate) fn id(kind: JobKind, now: Micros, seed: u128) -> String {
    format!("{}-{}", kind.prefix(), ulid_text(now, seed))
}

/// Starts a job; its id is that of [`id`].
pub(crate) fn start<E: Env>(
    txn: &mut Txn<'_, E>,
    kind: JobKind,
    parameters: String,
    now: Micros,
    seed: u128,
) -> Result<Job, Abort> {
    let job = Job {
        id: id(kind, now, seed),
        kind,
        status: JobStatus::Running,
        parameters,
        message: None,
        created_at: now,
        updated_at: now,
        started_at: Some(now),
        finished_at: None,
    };
    txn.put(txn.keys().job(&job.id), stored::encode(&job))?;
    Ok(job)
}

/// Ends a job; one that has ended stays as it is.
pub(crate) async fn finish<E: Env>(
    txn: &mut Txn<'_, E>,
    id: &str,
    failure: Option<String>,
    now: Micros,
) -> Result<(), Abort> {
    let key = txn.keys().job(id);
    let Some(bytes) = txn.get(&key).await? else {
        return Err(Diag::new(SqlState::UNDEFINED_OBJECT, format!("job \"{id}\" does not exist")).into());
    };
    let mut job: Job = stored::decode(txn.group(), "a stored job", &bytes)?;
    if job.status != JobStatus::Running {
        return Ok(());
    }
    job.status = if failure.is_some() { JobStatus::Failed } else { JobStatus::Completed };
    job.message = failure;
    job.updated_at = now;
    job.finished_at = Some(now);
    txn.put(key, stored::encode(&job))
}

/// A ULID: 48 bits of milliseconds, 80 of the seed, in Crockford's base 32.
fn ulid_text(now: Micros, seed: u128) -> String {
    const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let millis = (now / 1000).max(0).cast_unsigned() & ((1 << 48) - 1);
    let number = (u128::from(millis) << 80) | (seed & ((1 << 80) - 1));
    let digit = |place: u32| ALPHABET.get((number >> (5 * place)) as usize & 31).copied().unwrap_or(b'0');
    (0..26).rev().map(|place| char::from(digit(place))).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

    use super::*;

    #[test]
    fn a_job_id_is_a_function_of_time_and_seed_and_sorts_by_time() {
        assert_eq!(ulid_text(0, 0), "00000000000000000000000000");
        assert_eq!(ulid_text(1_469_918_176_385_000, 1), "01ARYZ6S410000000000000001");
        assert!(ulid_text(1_000, u128::MAX) < ulid_text(2_000, 0));
    }

    #[test]
    fn a_job_has_fixed_bytes() {
        let job = Job {
            id: "TC-1".into(),
            kind: JobKind::TopicCleanup,
            status: JobStatus::Failed,
            parameters: "{}".into(),
            message: Some("no".into()),
            created_at: 1,
            updated_at: 2,
            started_at: Some(1),
            finished_at: None,
        };
        let golden = [1, 4, b'T', b'C', b'-', b'1', 0, 2, 2, b'{', b'}', 1, 2, b'n', b'o', 2, 4, 1, 2, 0];
        assert_eq!(stored::encode(&job), golden);
        assert_eq!(stored::decode::<Job>(0, "a job", &golden), Ok(job));
    }
}
