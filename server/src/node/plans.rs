//! Statements that were parsed and bound before: the same text, asked by the same user, against the same catalog, means the same, so it
//! need not be parsed, bound and authorised again.
//!
//! Only texts with parameters are kept: they are the ones that come again. Bounded in number and in the length of a text; the oldest
//! gives way. One catalog only: the first statement that meets another forgets all.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use highwater_sql::catalog::{CatalogVersion, Role};
use highwater_sql::plan::Bound;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Statements that one core keeps.
const KEPT: usize = 512;
/// Bytes of the longest text that is kept.
const TEXT_BYTES: usize = 4096;

/// What a plan depends on, beside the catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked<'a> {
    /// The text.
    pub(super) sql: &'a str,
    /// The namespace of unqualified names.
    pub(super) namespace: &'a str,
    /// Who asks.
    pub(super) user: &'a str,
    /// The role of who asks.
    pub(super) role: Role,
}

impl Asked<'_> {
    fn hash(&self) -> u64 {
        let names = xxh3_64_with_seed(self.namespace.as_bytes(), xxh3_64_with_seed(self.user.as_bytes(), 0));
        xxh3_64_with_seed(self.sql.as_bytes(), names)
    }
}

/// A kept plan, and all that it was made of: what has the same hash may be something else.
#[derive(Debug)]
struct Kept {
    sql: String,
    namespace: String,
    user: String,
    role: Role,
    bound: Arc<Bound>,
}

impl Kept {
    fn is(&self, asked: &Asked<'_>) -> bool {
        let Self { sql, namespace, user, role, .. } = self;
        *asked == Asked { sql, namespace, user, role: *role }
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
    /// The plan of what is asked against this catalog, if it was made before.
    pub(super) fn find(&self, version: CatalogVersion, asked: &Asked<'_>) -> Option<Arc<Bound>> {
        if self.version != Some(version) {
            return None;
        }
        self.kept.get(&asked.hash()).filter(|kept| kept.is(asked)).map(|kept| Arc::clone(&kept.bound))
    }

    /// Keeps a plan that was authorised.
    pub(super) fn keep(&mut self, version: CatalogVersion, asked: &Asked<'_>, bound: &Arc<Bound>) {
        if asked.sql.len() > TEXT_BYTES {
            return;
        }
        if self.version != Some(version) {
            *self = Self { version: Some(version), ..Self::default() };
        }
        let hash = asked.hash();
        let Asked { sql, namespace, user, role } = *asked;
        let (sql, namespace, user) = (sql.to_owned(), namespace.to_owned(), user.to_owned());
        let kept = Kept { sql, namespace, user, role, bound: Arc::clone(bound) };
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
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use highwater_sql::plan::{Distinct, From, Plan, QueryPlan};

    use super::*;

    fn bound() -> Arc<Bound> {
        let (projection, order_by) = (Vec::new(), Vec::new());
        let (filter, aggregate, limit, offset) = (None, None, None, None);
        let (having, distinct) = (None, Distinct::No);
        let from = From::Nothing;
        let (before, unused) = (Vec::new(), Vec::new());
        let plan = QueryPlan {
            before,
            unused,
            from,
            filter,
            aggregate,
            having,
            projection,
            distinct,
            order_by,
            limit,
            offset,
        };
        let (catalog_version, execute_as) = (CatalogVersion(1), None);
        Arc::new(Bound {
            catalog_version,
            execute_as,
            parameters: Vec::new(),
            returning: Vec::new(),
            plan: Plan::Query(Arc::new(plan)),
        })
    }

    fn asked(sql: &str) -> Asked<'_> {
        Asked { sql, namespace: "default", user: "ann", role: Role::User }
    }

    #[test]
    fn a_plan_serves_only_the_same_text_user_role_namespace_and_catalog() {
        let (mut plans, one, two) = (Plans::default(), CatalogVersion(1), CatalogVersion(2));
        let bound = bound();
        plans.keep(one, &asked("a"), &bound);
        assert!(Arc::ptr_eq(&plans.find(one, &asked("a")).unwrap(), &bound));
        for other in [
            asked("b"),
            Asked { user: "ben", ..asked("a") },
            Asked { role: Role::Dba, ..asked("a") },
            Asked { namespace: "x", ..asked("a") },
        ] {
            assert!(plans.find(one, &other).is_none(), "{other:?}");
        }
        assert!(plans.find(two, &asked("a")).is_none());
        plans.keep(two, &asked("b"), &bound);
        assert!(plans.find(one, &asked("a")).is_none() && plans.find(two, &asked("a")).is_none());
    }

    #[test]
    fn the_oldest_gives_way_and_long_texts_are_not_kept() {
        let (mut plans, one, bound) = (Plans::default(), CatalogVersion(1), bound());
        for number in 0..=KEPT {
            plans.keep(one, &asked(&number.to_string()), &bound);
        }
        assert!(plans.find(one, &asked("0")).is_none());
        assert!(plans.find(one, &asked("1")).is_some() && plans.kept.len() == KEPT);
        let long = "x".repeat(TEXT_BYTES + 1);
        plans.keep(one, &asked(&long), &bound);
        assert!(plans.find(one, &asked(&long)).is_none());
    }
}
