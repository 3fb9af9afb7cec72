//! The meta group: what exists, who may log in, and what the cluster is.
//!
//! Owns the decision of every change of definitions, against the newest catalog, and its numbering: a command that changes
//! something makes exactly one new catalog version. What is decided is a pure function of catalog, command and log time (the
//! submodules); this file stores it. Data groups only take what was decided here.
//!
//! ```text
//! cluster scalar 0 := version u8 (1) | postcard(cluster id u128, layout, token key [u8; 32])
//! cluster scalar 1 := version u8 (1) | postcard(last object id u64)
//! cluster scalar 2 := the roll of members, drawn in `roll.rs`
//! ```

mod alter;
mod indexes;
pub(crate) mod logins;
mod names;
mod namespaces;
mod tables;
mod topics;
mod users;

use std::rc::Rc;
use std::sync::Arc;

use highwater_runtime::Env;
use highwater_sql::access::role_name;
use highwater_sql::catalog::{Catalog, CatalogDelta, CatalogVersion, Namespace, ObjectId, Role, User};
use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::plan::Ddl;
use highwater_sql::value::Micros;
use serde::{Deserialize, Serialize};

use crate::command::{MetaCommand, RequestHead};
use crate::error::Abort;
use crate::group::{Entry, redefine};
use crate::jobs::{self, JobKind};
use crate::outcome::Outcome;
use crate::placement::{Layout, META};
use crate::roll::{Changed, ROLL, Roll, RollCommand};
use crate::stored;

pub use indexes::MAX_INDEXES;
pub use names::MAX_NAME_BYTES;
pub use tables::MAX_COLUMNS;
pub use topics::{MAX_PARTITIONS, MAX_SOURCES};
pub use users::user_dropped;

/// The user that Bootstrap makes: role system, for ever.
pub const ROOT: &str = "root";
/// The namespace of unqualified names; cannot be dropped.
pub const DEFAULT_NAMESPACE: &str = "default";
/// The namespace of the system tables; cannot be changed.
pub const SYSTEM_NAMESPACE: &str = highwater_sql::system::NAMESPACE;
/// The first id that a table or topic gets; lower ones are the system's, as in PostgreSQL.
pub const FIRST_OBJECT_ID: u64 = 16_384;

/// Name of the cluster scalar that holds the identity.
pub(crate) const IDENTITY: u8 = 0;
/// Name of the cluster scalar that holds the last object id.
const LAST_OBJECT_ID: u8 = 1;

/// What a cluster is, from its first entry on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub cluster_id: u128,
    pub layout: Layout,
    pub token_key: [u8; 32],
}

/// What a change of definitions is decided against.
struct Deciding<'a> {
    /// The newest catalog.
    catalog: &'a Catalog,
    /// The version that a change makes.
    to: CatalogVersion,
    /// Log time.
    now: Micros,
    /// The id that a new object gets.
    next_id: ObjectId,
    /// The role of who asks.
    role: Role,
    /// Who asks.
    principal: &'a str,
    /// The entry's seed.
    seed: u128,
}

/// What was decided.
struct Decision {
    /// Empty: it was already so.
    deltas: Vec<CatalogDelta>,
    /// What happened, for the user.
    message: String,
    /// A job with its parameters.
    job: Option<(JobKind, String)>,
}

impl Decision {
    fn change(delta: CatalogDelta, message: String) -> Self {
        Self { deltas: vec![delta], message, job: None }
    }

    fn nothing(message: String) -> Self {
        Self { deltas: Vec::new(), message, job: None }
    }
}

/// Applies a command of the meta group.
pub(crate) async fn apply<E: Env>(entry: &mut Entry<'_, E>, command: &MetaCommand) -> Result<Outcome, Abort> {
    if entry.txn.group() != META {
        return Err(Diag::new(SqlState::INTERNAL, "a command of the meta group came to another group").into());
    }
    match command {
        MetaCommand::Bootstrap { cluster_id, layout, token_key, root_verifier } => {
            let identity = Identity { cluster_id: *cluster_id, layout: *layout, token_key: *token_key };
            bootstrap(entry, identity, root_verifier).await
        }
        MetaCommand::FinishJob { job, failure } => {
            let now = entry.now();
            jobs::finish(&mut entry.txn, job, failure.clone(), now).await?;
            settle(entry, job, failure.is_some()).await
        }
        MetaCommand::Refuse { why, .. } => Err(Abort::Refused(why.clone())),
        MetaCommand::Roll(command) => enroll(entry, command),
        MetaCommand::Setup { user, verifier, email, root_verifier } => {
            let wanted =
                users::NewUser { name: user, verifier: Some(verifier), role: Role::Dba, email: email.as_deref() };
            set_up(entry, &wanted, root_verifier).await
        }
        MetaCommand::EndLogin { login, until } => logins::end(entry, *login, *until).await,
        MetaCommand::Ddl { head, ddl } => define(entry, head, |deciding| decide_ddl(deciding, ddl)).await,
        MetaCommand::CreateUser { head, name, verifier, role, email, if_not_exists } => {
            let wanted = users::NewUser { name, verifier: verifier.as_deref(), role: *role, email: email.as_deref() };
            define(entry, head, |deciding| Ok(users::create(deciding, &wanted, *if_not_exists)?)).await
        }
        MetaCommand::AlterUser { head, name, verifier, role, email } => {
            let change = users::Change { verifier: verifier.as_deref(), role: *role, email: email.as_deref() };
            define(entry, head, |deciding| Ok(users::alter(deciding, name, &change)?)).await
        }
        MetaCommand::DropUser { head, name, if_exists } => {
            define(entry, head, |deciding| Ok(users::drop(deciding, name, *if_exists)?)).await
        }
    }
}

async fn bootstrap<E: Env>(
    entry: &mut Entry<'_, E>,
    identity: Identity,
    root_verifier: &str,
) -> Result<Outcome, Abort> {
    if entry.identity.is_some() {
        return Err(Diag::new(
            SqlState::OBJECT_STATE,
            "the cluster has been bootstrapped already; nothing was changed",
        )
        .into());
    }
    let Layout { user_shards, shared_shards, stores } = identity.layout;
    if user_shards == 0 || shared_shards == 0 || stores == 0 || user_shards.checked_add(shared_shards).is_none() {
        return Err(Diag::new(
            SqlState::INVALID_PARAMETER,
            "a cluster needs at least one user shard, one shared shard and one store",
        )
        .into());
    }
    let (now, to) = (entry.now(), CatalogVersion(1));
    let namespace = |name: &str| CatalogDelta::PutNamespace(Namespace { name: name.to_owned(), created_at: now });
    let root = User {
        name: ROOT.to_owned(),
        role: Role::System,
        email: None,
        verifier: Some(root_verifier.to_owned()).filter(|verifier| !verifier.is_empty()),
        auth_epoch: to.0,
        created_at: now,
        updated_at: now,
    };
    let deltas = vec![namespace(DEFAULT_NAMESPACE), namespace(SYSTEM_NAMESPACE), CatalogDelta::PutUser(Arc::new(root))];
    let key = entry.txn.keys().cluster(IDENTITY);
    entry.txn.put(key, stored::encode(&identity))?;
    entry.layout = identity.layout;
    entry.identity = Some(Rc::new(identity));
    redefine(entry, to, deltas).await?;
    Ok(Outcome::Defined { version: to, message: "Cluster bootstrapped".to_owned(), job: None })
}

/// The first dba and root's first password.
async fn set_up<E: Env>(
    entry: &mut Entry<'_, E>,
    wanted: &users::NewUser<'_>,
    root_verifier: &str,
) -> Result<Outcome, Abort> {
    let catalog = Arc::clone(&entry.catalog);
    let to = CatalogVersion(catalog.version.0 + 1);
    let deltas = users::set_up(&catalog, to, entry.now(), wanted, root_verifier)?;
    redefine(entry, to, deltas).await?;
    let message = format!("User '{}' created successfully; root has a password now", wanted.name);
    Ok(Outcome::Defined { version: to, message, job: None })
}

/// Decides a change of the roll and stores it.
fn enroll<E: Env>(entry: &mut Entry<'_, E>, command: &RollCommand) -> Result<Outcome, Abort> {
    let (catalog, now) = (Arc::clone(&entry.catalog), entry.now());
    let Changed { roll, message } = Roll::decide(entry.roll.as_deref(), command, &catalog, now)?;
    if let Some(roll) = roll {
        let key = entry.txn.keys().cluster(ROLL);
        entry.txn.put(key, stored::encode(&roll))?;
        entry.roll = Some(Rc::new(roll));
    }
    Ok(Outcome::Defined { version: catalog.version, message, job: None })
}

/// Decides a change and stores it.
async fn define<E: Env>(
    entry: &mut Entry<'_, E>,
    head: &RequestHead,
    decide: impl FnOnce(&Deciding<'_>) -> Result<Decision, Abort>,
) -> Result<Outcome, Abort> {
    if entry.identity.is_none() {
        return Err(Diag::new(SqlState::OBJECT_STATE, "the cluster has not been bootstrapped yet").into());
    }
    let catalog = Arc::clone(&entry.catalog);
    // Meta has the newest rights: they count, not those of the edge.
    let Some(actor) = catalog.users.get(&head.principal) else {
        return Err(Diag::new(
            SqlState::INSUFFICIENT_PRIVILEGE,
            format!("permission denied: user \"{}\" does not exist", head.principal),
        )
        .into());
    };
    let id_key = entry.txn.keys().cluster(LAST_OBJECT_ID);
    let last_id = match entry.txn.get(&id_key).await? {
        Some(bytes) => stored::decode(META, "the last object id", &bytes)?,
        None => FIRST_OBJECT_ID - 1,
    };
    let deciding = Deciding {
        catalog: &catalog,
        to: CatalogVersion(catalog.version.0 + 1),
        now: entry.now(),
        next_id: ObjectId(last_id + 1),
        role: actor.role.min(head.role),
        principal: &head.principal,
        seed: entry.seed,
    };
    let Decision { deltas, message, job } = decide(&deciding)?;
    let (to, now, next_id) = (deciding.to, deciding.now, deciding.next_id);
    if deltas.is_empty() {
        return Ok(Outcome::Defined { version: catalog.version, message, job: None });
    }
    let last_taken = deltas.iter().flat_map(ids).filter(|id| *id >= next_id).max();
    if let Some(last) = last_taken {
        entry.txn.put(id_key, stored::encode(&last.0))?;
    }
    let job = match job {
        Some((kind, parameters)) => Some(jobs::start(&mut entry.txn, kind, parameters, now, entry.seed)?.id),
        None => None,
    };
    redefine(entry, to, deltas).await?;
    Ok(Outcome::Defined { version: to, message, job })
}

/// The objects that a change defines.
fn ids(delta: &CatalogDelta) -> Vec<ObjectId> {
    match delta {
        CatalogDelta::PutTable(table) => {
            table.indexes.iter().map(|index| index.id).chain(std::iter::once(table.id)).collect()
        }
        CatalogDelta::PutTopic(topic) => vec![topic.id],
        CatalogDelta::PutNamespace(_)
        | CatalogDelta::DropNamespace(_)
        | CatalogDelta::DropTable(_)
        | CatalogDelta::DropTopic(_)
        | CatalogDelta::PutUser(_)
        | CatalogDelta::DropUser(_) => Vec::new(),
    }
}

/// Decides what becomes of the table's change that a job was about, if it was about one.
async fn settle<E: Env>(entry: &mut Entry<'_, E>, job: &str, has_failed: bool) -> Result<Outcome, Abort> {
    let catalog = Arc::clone(&entry.catalog);
    let deciding = Deciding {
        catalog: &catalog,
        to: CatalogVersion(catalog.version.0 + 1),
        now: entry.now(),
        // Nothing new is made.
        next_id: ObjectId(u64::MAX),
        role: Role::System,
        principal: ROOT,
        seed: entry.seed,
    };
    let Some(Decision { deltas, message, .. }) = alter::settle(&deciding, job, has_failed)? else {
        return Ok(Outcome::Done);
    };
    let to = deciding.to;
    redefine(entry, to, deltas).await?;
    Ok(Outcome::Defined { version: to, message, job: None })
}

fn decide_ddl(deciding: &Deciding<'_>, ddl: &Ddl) -> Result<Decision, Abort> {
    deciding.needs_dba("changing definitions")?;
    match ddl {
        Ddl::CreateNamespace { name, if_not_exists } => Ok(namespaces::create(deciding, name, *if_not_exists)?),
        Ddl::DropNamespace { name, if_exists, cascade } => Ok(namespaces::drop(deciding, name, *if_exists, *cascade)?),
        Ddl::CreateTable { table, if_not_exists } => Ok(tables::create(deciding, table, *if_not_exists)?),
        Ddl::AlterTable { table, table_version, change } => alter::alter(deciding, *table, *table_version, change),
        Ddl::CreateIndex { table, table_version, index, if_not_exists } => {
            indexes::create(deciding, *table, *table_version, index, *if_not_exists)
        }
        Ddl::DropIndex { namespace, name, if_exists } => indexes::drop(deciding, namespace, name, *if_exists),
        Ddl::DropTable { namespace, name, if_exists } => Ok(tables::drop(deciding, namespace, name, *if_exists)?),
        Ddl::CreateTopic { namespace, name, if_not_exists, partitions, retention_seconds, retention_bytes } => {
            let spec = topics::Spec {
                namespace,
                name,
                partitions: *partitions,
                retention_seconds: *retention_seconds,
                retention_bytes: *retention_bytes,
            };
            Ok(topics::create(deciding, &spec, *if_not_exists)?)
        }
        Ddl::AddSource { topic, table_version, source } => topics::add_source(deciding, *topic, *table_version, source),
        Ddl::DropSource { topic, table, operation } => topics::drop_source(deciding, *topic, *table, *operation),
        Ddl::ClearTopic { topic } => topics::clear(deciding, *topic),
        Ddl::DropTopic { namespace, name, if_exists } => Ok(topics::drop(deciding, namespace, name, *if_exists)?),
    }
}

impl Deciding<'_> {
    /// The id of a job that this decision starts.
    fn job_id(&self, kind: JobKind) -> String {
        jobs::id(kind, self.now, self.seed)
    }

    fn needs_dba(&self, what: &str) -> Result<(), Diag> {
        if self.role >= Role::Dba {
            return Ok(());
        }
        Err(Diag::new(SqlState::INSUFFICIENT_PRIVILEGE, format!("permission denied: {what} needs role dba or higher"))
            .detail(format!("The role of user \"{}\" is {}.", self.principal, role_name(self.role))))
    }
}
