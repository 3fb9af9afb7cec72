//! Statements that were parsed and bound before: the same text in the same namespace, asked with the same role against the same
//! catalog, means the same whoever asks, so it need not be parsed and bound again.
//!
//! What a statement means depends on its user in two places only, and both are looked at every time: whose rows they are, which is
//! said when it runs, and the user that EXECUTE AS names. `EXECUTE AS 'ann' (...)` and `EXECUTE AS 'ben' (...)` are one text but for
//! that name, so they share a plan, and whoever asks must have the right to act as the user that is named now. Changes of users are
//! allowed by who asks, and are never kept.
//!
//! Only texts with parameters are kept: they are the ones that come again. Bounded in number and in the length of a text; the oldest
//! gives way. One catalog only: the first statement that meets another forgets all.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use highwater_sql::access::may_act_as;
use highwater_sql::catalog::{Catalog, CatalogVersion, Role};
use highwater_sql::limits::MAX_USER_NAME_BYTES;
use highwater_sql::plan::{Bound, Plan};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Statements that one core keeps.
const KEPT: usize = 512;
/// Bytes of the longest text that is kept.
const TEXT_BYTES: usize = 4096;

/// What a plan depends on, beside the catalog, and who asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    /// The text.
    pub(super) sql: &'a str,
    /// The namespace of unqualified names.
    pub(super) namespace: &'a str,
    /// Who asks: no plan depends on it.
    pub(super) user: &'a str,
    /// The role of who asks.
    pub(super) role: Role,
}

/// A statement that may run at once.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    /// Its plan. What it says about EXECUTE AS is of whoever asked first.
    pub(super) bound: Arc<Bound>,
    /// The user that EXECUTE AS names in this text.
    pub(super) acts_as: Option<String>,
    /// Its verb, in capitals.
    pub(super) verb: &'static str,
}

/// A text without the name that EXECUTE AS gives, which no plan depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape<'a> {
    before: &'a str,
    acts_as: Option<&'a str>,
    after: &'a str,
}

impl<'a> Shape<'a> {
    /// Of `EXECUTE AS [USER] 'name' ...` with a name that is written without quotes or escapes inside: whatever other such name stands
    /// in its place, the rest is read the same. Every other text is taken whole.
    fn of(sql: &'a str) -> Self {
        let whole = Self { before: sql, acts_as: None, after: "" };
        let Some((before, rest)) = sql.split_once('\'') else { return whole };
        let mut words = before.split_ascii_whitespace();
        let mut is_next = |wanted: &str| words.next().map(|word| word.eq_ignore_ascii_case(wanted));
        let leads = is_next("EXECUTE") == Some(true)
            && is_next("AS") == Some(true)
            && is_next("USER") != Some(false)
            && words.next().is_none();
        match rest.split_once('\'') {
            Some((name, after)) if leads && is_plain(name) && !after.starts_with('\'') => {
                Self { before, acts_as: Some(name), after }
            }
            Some(_) | None => whole,
        }
    }

    fn hash(&self, asked: &Asked<'_>) -> u64 {
        let seed = xxh3_64_with_seed(asked.namespace.as_bytes(), asked.role as u64);
        xxh3_64_with_seed(self.after.as_bytes(), xxh3_64_with_seed(self.before.as_bytes(), seed))
    }
}

/// Whether a text literal with these characters is a user's name as it stands.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_USER_NAME_BYTES && !name.contains(['\\', '\0'])
}

/// A kept plan, and all that it was made of: what has the same hash may be something else.
#[derive(Debug)]
struct Kept {
    before: String,
    after: String,
    names_a_user: bool,
    namespace: String,
    role: Role,
    verb: &'static str,
    bound: Arc<Bound>,
}

impl Kept {
    fn is(&self, asked: &Asked<'_>, shape: &Shape<'_>) -> bool {
        self.before == shape.before
            && self.after == shape.after
            && self.names_a_user == shape.acts_as.is_some()
            && self.namespace == asked.namespace
            && self.role == asked.role
    }
}

/// The plans of one core.
#[derive(Debug, Default)]
pub(super) struct Plans {
    version: Option<CatalogVersion>,
    kept: BTreeMap<u64, Kept>,
    /// Hashes, the oldest first.
    order: VecDeque<u64>,
}

impl Plans {
    /// The plan of what is asked against this catalog, if it was made before and who asks may run it.
    pub(super) fn find(&self, catalog: &Catalog, asked: &Asked<'_>) -> Option<Planned> {
        if self.version != Some(catalog.version) {
            return None;
        }
        let shape = Shape::of(asked.sql);
        let kept = self.kept.get(&shape.hash(asked)).filter(|kept| kept.is(asked, &shape))?;
        // What is not so is bound anew, which says why and where.
        if let Some(name) = shape.acts_as {
            let exists = name == asked.user || catalog.users.contains_key(name);
            if !exists || may_act_as(name, asked.role, asked.user, catalog).is_err() {
                return None;
            }
        }
        let acts_as = shape.acts_as.map(str::to_owned);
        Some(Planned { bound: Arc::clone(&kept.bound), acts_as, verb: kept.verb })
    }

    /// Keeps a plan that was authorised.
    pub(super) fn keep(&mut self, version: CatalogVersion, asked: &Asked<'_>, planned: &Planned) {
        let shape = Shape::of(asked.sql);
        let is_of_one_user = matches!(planned.bound.plan, Plan::User(_));
        if asked.sql.len() > TEXT_BYTES || is_of_one_user || planned.acts_as.as_deref() != shape.acts_as {
            return;
        }
        if self.version != Some(version) {
            *self = Self { version: Some(version), ..Self::default() };
        }
        let hash = shape.hash(asked);
        let kept = Kept {
            before: shape.before.to_owned(),
            after: shape.after.to_owned(),
            names_a_user: shape.acts_as.is_some(),
            namespace: asked.namespace.to_owned(),
            role: asked.role,
            verb: planned.verb,
            bound: Arc::clone(&planned.bound),
        };
        if self.kept.insert(hash, kept).is_some() {
            return;
        }
        self.order.push_back(hash);
        if self.order.len() > KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.kept.remove(&oldest);
        }
    }
}

#[cfg(test)]
#[path = "plans_tests.rs"]
mod tests;
