//! A group's state: entries go in, in order; outcomes and views come out.
//!
//! Owns the order of steps of one entry: log time, catalog, request id, rights, the command itself, its answer in the
//! session table, ended answers, and the mark, all in one batch. Invariants: entry `i` is applied once and after `i - 1`
//! ([`StateError::OutOfOrder`] stops the node otherwise); a refused command leaves nothing but its answer and the mark;
//! two replicas that applied the same entries have the same keys, values and chain.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use highwater_engine::{GroupId, LogIndex, Store, WriteBatch};
use highwater_runtime::Env;
use highwater_sql::catalog::{Catalog, CatalogDelta, CatalogVersion, ObjectId};
use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::value::Micros;

use crate::catalog_objects;
use crate::command::{Command, Envelope, MetaCommand, RequestHead};
use crate::definitions::{self, IDENTITY, Identity};
use crate::error::{Abort, StateError};
use crate::exchange::positions::Positions;
use crate::exchange::{inbox, outbox};
use crate::keys::Keys;
use crate::mark::{MARK, MEMBERSHIP, Mark};
use crate::outcome::Outcome;
use crate::placement::{Layout, META};
use crate::reader::Reader;
use crate::rights;
use crate::roll::{ROLL, Roll};
use crate::sessions;
use crate::stored;
use crate::topics::{self, consume};
use crate::transaction::{self, Pinned};
use crate::txn::Txn;
use crate::view::{Facts, GroupView, Moment};
use crate::write;

/// What applying an entry did.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// The answer.
    pub outcome: Outcome,
    /// Records were appended to the outbox.
    pub outbox: bool,
    /// Partitions that got messages, in order of the first.
    pub appended: Vec<(ObjectId, u32)>,
    /// The group's catalog has another version now.
    pub catalog_changed: bool,
}

/// One group's replicated state on one store.
pub struct GroupState<E: Env> {
    store: Rc<Store<E>>,
    /// Shared with the newest view: of thousands of groups nearly all are as they were when they were last looked at.
    facts: Rc<Facts>,
    first_ends: FirstEnds,
    /// What planted bug 27 takes for the time.
    #[cfg(feature = "mutants")]
    planted_time: Option<Micros>,
}

/// Log times before which nothing ends; the maximum when there is nothing. Only a reason to look: what ends is decided by
/// what is stored, so a replica that has just opened the group does the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FirstEnds {
    /// Answers of the session table.
    pub session: Micros,
    /// Rows of STREAM tables.
    pub row: Micros,
}

/// What a command's apply works on; lives for one entry.
pub(crate) struct Entry<'a, E: Env> {
    pub txn: Txn<'a, E>,
    pub layout: Layout,
    /// The group's catalog before the entry; a command that changes it leaves the changes in `deltas`.
    pub catalog: Arc<Catalog>,
    pub mark: Mark,
    pub seed: u128,
    pub identity: Option<Rc<Identity>>,
    pub roll: Option<Rc<Roll>>,
    pub first_ends: FirstEnds,
    /// What the statements of a transaction share; `None` for a statement on its own.
    pub pinned: Option<Pinned>,
    /// The catalog changes of this entry and the version they lead to.
    pub redefined: Option<(CatalogVersion, Vec<CatalogDelta>)>,
}

impl<E: Env> Entry<'_, E> {
    /// Log time of the entry.
    pub const fn now(&self) -> Micros {
        self.mark.log_time
    }
}

impl<E: Env> GroupState<E> {
    /// Opens a group; one that the store does not know is empty. `layout` is the cluster's; the meta group replaces it by the
    /// one of its Bootstrap.
    ///
    /// # Errors
    /// A failure of the store; values that are damaged or of a newer release.
    pub async fn open(store: Rc<Store<E>>, group: u32, layout: Layout) -> Result<Self, StateError> {
        let keys = Keys::new(group);
        let reader = Reader::latest(&store);
        let mark = match reader.get(&keys.scalar(MARK)).await? {
            Some(bytes) => stored::decode(group, "the group's mark", &bytes)?,
            None => Mark::default(),
        };
        let membership = reader.get(&keys.scalar(MEMBERSHIP)).await?;
        let identity: Option<Identity> = match reader.get(&keys.cluster(IDENTITY)).await? {
            Some(bytes) => Some(stored::decode(group, "the cluster's identity", &bytes)?),
            None => None,
        };
        let roll: Option<Roll> = match reader.get(&keys.cluster(ROLL)).await? {
            Some(bytes) => Some(stored::decode(group, "the roll of members", &bytes)?),
            None => None,
        };
        let catalog = Arc::new(catalog_objects::load(&reader, keys, mark.catalog).await?);
        let positions = Some(Positions::load(&reader, keys).await?).filter(|found| *found != Positions::default());
        let first_ends = FirstEnds {
            session: sessions::first_end(&reader, keys).await?,
            row: write::rows::first_end(&reader, keys).await?,
        };
        drop(reader);
        let layout = identity.as_ref().map_or(layout, |identity| identity.layout);
        let (identity, roll, positions) = (identity.map(Rc::new), roll.map(Rc::new), positions.map(Rc::new));
        let facts = Facts { keys, layout, mark, membership, catalog, identity, roll, positions };
        Ok(Self {
            store,
            facts: Rc::new(facts),
            first_ends,
            #[cfg(feature = "mutants")]
            planted_time: None,
        })
    }

    /// The group's catalog.
    #[must_use]
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.facts.catalog
    }

    /// Lets go of its own catalog for an equal one that others hold too; keeps it if they differ.
    pub fn share_catalog(&mut self, other: &Arc<Catalog>) {
        if self.facts.catalog.version == other.version
            && !Arc::ptr_eq(&self.facts.catalog, other)
            && self.facts.catalog == *other
        {
            Rc::make_mut(&mut self.facts).catalog = Arc::clone(other);
        }
    }

    /// The last applied entry; 0 before the first.
    #[must_use]
    pub fn applied(&self) -> LogIndex {
        LogIndex(self.facts.mark.applied)
    }

    /// The group's log time in microseconds since 1970: what the store is told, so that it removes what has expired by then. Views
    /// taken from now on belong to this time or a later one.
    #[must_use]
    pub fn log_time(&self) -> u64 {
        if self.facts.mark.log_time > 0 { self.facts.mark.log_time.cast_unsigned() } else { 0 }
    }

    /// Planted bug 27: answers to request ids end by this replica's own clock.
    #[cfg(feature = "mutants")]
    pub const fn end_answers_by(&mut self, wall: Micros) {
        self.planted_time = Some(wall);
    }

    /// Planted bugs: the state forgets all keys of these spaces, and nobody is told.
    #[cfg(feature = "mutants")]
    pub fn forget(&mut self, spaces: &[crate::keys::Space]) {
        let mut batch = WriteBatch::new();
        for space in spaces {
            let span = self.facts.keys.space(*space);
            batch.delete_range(span.start, span.end);
        }
        self.store.write(GroupId(self.facts.keys.group()), self.applied(), batch);
    }

    /// The state as it is now; stays so while later entries apply.
    #[must_use]
    pub fn view(&self) -> GroupView<E> {
        GroupView::new(Moment { reader: Reader::latest(&self.store), facts: Rc::clone(&self.facts) })
    }

    /// Who belongs to the group as of the last applied change, in the Raft crate's encoding; `None` as long as these are its first
    /// members.
    #[must_use]
    pub fn membership(&self) -> Option<&Bytes> {
        self.facts.membership.as_ref()
    }

    /// Applies the next entry, which is a change of membership: `membership`, in the Raft crate's encoding, follows from it. One batch
    /// with that and the mark.
    ///
    /// # Errors
    /// [`StateError::OutOfOrder`]; nothing has changed then, and the node must stop.
    pub fn apply_membership(&mut self, index: LogIndex, membership: Bytes) -> Result<(), StateError> {
        self.check_order(index)?;
        let mut batch = WriteBatch::new();
        batch.put(self.facts.keys.scalar(MEMBERSHIP), &membership);
        let mut mark = Mark { applied: index.0, ..self.facts.mark };
        mark.chain = mark.link(index.0, batch.bytes(), &[]);
        batch.put(self.facts.keys.scalar(MARK), stored::encode(&mark));
        self.store.write(GroupId(self.facts.keys.group()), index, batch);
        self.facts = Rc::new(Facts { mark, membership: Some(membership), ..Facts::clone(&self.facts) });
        Ok(())
    }

    fn check_order(&self, index: LogIndex) -> Result<(), StateError> {
        let expected = self.applied().next();
        if index == expected {
            return Ok(());
        }
        Err(StateError::OutOfOrder { group: self.facts.keys.group(), expected, found: index })
    }

    /// Applies the next entry: one batch with all its effects and the mark.
    ///
    /// # Errors
    /// The node must stop: an entry out of order or of an unknown version, damage, or a failure of the store. Nothing of the
    /// entry was applied then.
    pub async fn apply(&mut self, index: LogIndex, data: &[u8]) -> Result<Applied, StateError> {
        self.check_order(index)?;
        let envelope = if data.is_empty() { None } else { Some(Envelope::decode(data)?) };
        let reader = Reader::latest(&self.store);
        let mut entry = Entry {
            txn: Txn::new(&reader, self.facts.keys, index),
            layout: self.facts.layout,
            catalog: Arc::clone(&self.facts.catalog),
            mark: Mark { applied: index.0, ..self.facts.mark },
            seed: envelope.as_ref().map_or(0, |envelope| envelope.seed),
            identity: self.facts.identity.clone(),
            roll: self.facts.roll.clone(),
            first_ends: self.first_ends,
            pinned: None,
            redefined: None,
        };
        let outcome = match &envelope {
            None => Outcome::Done,
            Some(envelope) => {
                entry.mark.log_time = entry.mark.log_time.max(envelope.stamp);
                answer(&mut entry, &envelope.command).await?
            }
        };
        #[cfg(feature = "mutants")]
        let answers_end = self.planted_time.unwrap_or(entry.mark.log_time);
        #[cfg(not(feature = "mutants"))]
        let answers_end = entry.mark.log_time;
        expire(&mut entry, answers_end).await?;

        let Entry { txn, layout, mut mark, identity, roll, first_ends, redefined, .. } = entry;
        let catalog = redefined.map(|(version, deltas)| {
            let mut next = Catalog::clone(&self.facts.catalog);
            next.advance(version, &deltas);
            Arc::new(next)
        });
        if let Some(catalog) = &catalog {
            mark.catalog = catalog.version;
        }
        let before = self.facts.positions.as_deref();
        let positions = before.unwrap_or(Positions::NONE).after(self.facts.keys, txn.writes())?;
        let mut finished = txn.finish();
        // An entry that changed nothing (a refusal, a no-op) is no link: replicas that disagree about that have other effects.
        if !finished.batch.is_empty() {
            mark.chain = mark.link(index.0, finished.batch.bytes(), &stored::encode(&outcome));
        }
        finished.batch.put(self.facts.keys.scalar(MARK), stored::encode(&mark));
        // Its snapshot would keep what this batch replaces.
        drop(reader);
        self.store.write(GroupId(self.facts.keys.group()), index, finished.batch);

        let catalog_changed = catalog.is_some();
        self.facts = Rc::new(Facts {
            keys: self.facts.keys,
            layout,
            mark,
            membership: self.facts.membership.clone(),
            catalog: catalog.unwrap_or_else(|| Arc::clone(&self.facts.catalog)),
            identity,
            roll,
            positions: positions.map(Rc::new).or_else(|| self.facts.positions.clone()),
        });
        self.first_ends = first_ends;
        Ok(Applied { outcome, outbox: finished.outbox, appended: finished.appended, catalog_changed })
    }
}

/// The outcome of a command; its effects are in the entry's change.
async fn answer<E: Env>(entry: &mut Entry<'_, E>, command: &Command) -> Result<Outcome, StateError> {
    let before = (entry.mark, entry.first_ends, entry.layout, entry.identity.clone(), entry.roll.clone());
    let now = entry.now();
    let head = head_of(command);
    let head = head.as_deref();
    if let Some(head) = head {
        match sessions::recall(&mut entry.txn, head, now).await {
            Ok(None) => {}
            Ok(Some(outcome)) => return Ok(outcome),
            Err(abort) => return refusal(entry, abort),
        }
        if let Err(diag) = rights::check(&entry.catalog, head) {
            return Ok(Outcome::Refused(Box::new(diag)));
        }
    }
    let outcome = match carry_out(entry, command).await {
        Ok(outcome) => outcome,
        Err(abort) => {
            entry.txn.rollback();
            (entry.mark, entry.first_ends, entry.layout, entry.identity, entry.roll) = before;
            (entry.redefined, entry.pinned) = (None, None);
            match refusal(entry, abort)? {
                // Not an answer to keep: the retry is planned, or the transaction run, anew.
                again @ (Outcome::StaleCatalog { .. } | Outcome::Conflict(_)) => return Ok(again),
                outcome => outcome,
            }
        }
    };
    if let Some(head) = head {
        entry.txn.lift_limits();
        let group = entry.txn.group();
        let end = sessions::remember(&mut entry.txn, head, &outcome, now).map_err(|abort| abort.into_error(group))?;
        entry.first_ends.session = entry.first_ends.session.min(end.unwrap_or(Micros::MAX));
    }
    Ok(outcome)
}

/// Removes a bounded number of answers and rows that have ended, answers by `answers_end`, which is log time too.
async fn expire<E: Env>(entry: &mut Entry<'_, E>, answers_end: Micros) -> Result<(), StateError> {
    let (now, group) = (entry.now(), entry.txn.group());
    entry.txn.lift_limits();
    if entry.first_ends.session < answers_end {
        entry.first_ends.session =
            sessions::expire(&mut entry.txn, answers_end).await.map_err(|abort| abort.into_error(group))?;
    }
    if entry.first_ends.row <= now {
        entry.first_ends.row =
            write::rows::expire(&mut entry.txn, now).await.map_err(|abort| abort.into_error(group))?;
    }
    Ok(())
}

/// A refusal is an outcome; a failure stops the group.
fn refusal<E: Env>(entry: &Entry<'_, E>, abort: Abort) -> Result<Outcome, StateError> {
    match abort {
        Abort::Refused(diag) => Ok(Outcome::Refused(diag)),
        Abort::Stale => Ok(Outcome::StaleCatalog { at: entry.catalog.version }),
        Abort::Conflict(diag) => Ok(Outcome::Conflict(diag)),
        Abort::Failed(error) => Err(error),
    }
}

async fn carry_out<E: Env>(entry: &mut Entry<'_, E>, command: &Command) -> Result<Outcome, Abort> {
    match command {
        Command::Catalog { to, from, deltas } => take_catalog(entry, *to, *from, deltas).await,
        Command::Write(write) => write::apply(entry, write).await,
        Command::Backfill(backfill) => write::backfill::apply(entry, backfill).await,
        Command::Transaction(transaction) => transaction::apply(entry, transaction).await,
        Command::Settle { why, .. } => Err(Abort::Refused(why.clone())),
        Command::Meta(meta) => definitions::apply(entry, meta).await,
        Command::Consume(command) => {
            let (catalog, now) = (Arc::clone(&entry.catalog), entry.now());
            Ok(Outcome::Consumed(consume::consume(&mut entry.txn, &catalog, now, command).await?))
        }
        Command::Ack(command) => {
            let (catalog, now) = (Arc::clone(&entry.catalog), entry.now());
            Ok(Outcome::Acked { committed: consume::ack(&mut entry.txn, &catalog, now, command).await? })
        }
        Command::Deltas(deltas) => {
            let (catalog, now) = (Arc::clone(&entry.catalog), entry.now());
            Ok(Outcome::Inbox { upto: inbox::take(&mut entry.txn, &catalog, now, deltas).await? })
        }
        Command::Trim { destination, upto } => {
            outbox::trim(&mut entry.txn, *destination, *upto).await?;
            Ok(Outcome::Done)
        }
    }
}

/// A data group takes the changes that lead from its version to a newer one.
async fn take_catalog<E: Env>(
    entry: &mut Entry<'_, E>,
    to: CatalogVersion,
    from: CatalogVersion,
    deltas: &[CatalogDelta],
) -> Result<Outcome, Abort> {
    if entry.txn.group() == META {
        return Err(Diag::new(SqlState::INTERNAL, "the meta group decides the catalog, it does not take one").into());
    }
    let at = entry.catalog.version;
    if to <= at {
        return Ok(Outcome::Done);
    }
    if from != at {
        return Err(Abort::Stale);
    }
    redefine(entry, to, deltas.to_vec()).await?;
    Ok(Outcome::Done)
}

/// Makes the group's catalog the one that `deltas` lead to, and drops what they drop.
pub(crate) async fn redefine<E: Env>(
    entry: &mut Entry<'_, E>,
    to: CatalogVersion,
    deltas: Vec<CatalogDelta>,
) -> Result<(), Abort> {
    entry.txn.lift_limits();
    catalog_objects::store(&mut entry.txn, &deltas)?;
    let (catalog, layout) = (Arc::clone(&entry.catalog), entry.layout);
    for delta in &deltas {
        let keys = entry.txn.keys();
        match delta {
            CatalogDelta::DropTable(id) => {
                entry.txn.delete_range(keys.rows_of_table(*id))?;
                entry.txn.delete_range(keys.indexes_of_table(*id))?;
                entry.txn.delete_range(keys.sequences_of_table(*id))?;
            }
            CatalogDelta::PutTable(table) => {
                let known = catalog.tables.get(&table.id).map(|table| table.indexes.as_slice()).unwrap_or_default();
                for gone in known.iter().filter(|index| table.index(index.id).is_none()) {
                    entry.txn.delete_range(keys.index(table.id, gone.id))?;
                }
            }
            CatalogDelta::PutNamespace(_)
            | CatalogDelta::DropNamespace(_)
            | CatalogDelta::PutTopic(_)
            | CatalogDelta::DropTopic(_)
            | CatalogDelta::PutUser(_)
            | CatalogDelta::DropUser(_) => {}
        }
        topics::redefine(&mut entry.txn, &layout, &catalog, delta).await?;
    }
    entry.redefined = Some((to, deltas));
    Ok(())
}

/// Who asks, under the id that the answer is kept by.
fn head_of(command: &Command) -> Option<Cow<'_, RequestHead>> {
    match command {
        Command::Write(write) => Some(Cow::Borrowed(&write.head)),
        Command::Consume(command) => Some(consume::head_of(command)),
        Command::Ack(ack) => Some(Cow::Borrowed(&ack.head)),
        Command::Transaction(transaction) => Some(Cow::Borrowed(&transaction.head)),
        Command::Settle { head, .. } => Some(Cow::Borrowed(head)),
        Command::Meta(
            MetaCommand::Ddl { head, .. }
            | MetaCommand::CreateUser { head, .. }
            | MetaCommand::AlterUser { head, .. }
            | MetaCommand::DropUser { head, .. }
            | MetaCommand::Refuse { head, .. },
        ) => Some(Cow::Borrowed(head)),
        Command::Meta(MetaCommand::Roll(command)) => command.head().map(Cow::Borrowed),
        Command::Meta(
            MetaCommand::Bootstrap { .. }
            | MetaCommand::FinishJob { .. }
            | MetaCommand::Setup { .. }
            | MetaCommand::EndLogin { .. },
        )
        | Command::Catalog { .. }
        | Command::Deltas(_)
        | Command::Backfill(_)
        | Command::Trim { .. } => None,
    }
}
