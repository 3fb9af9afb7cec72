//! The catalog as a group stores it: one value per object.
//!
//! ```text
//! object := version u8 (1) | postcard(Namespace | Table | Topic | User)      key: crate::keys::Keys::object, named_object
//! ```
//!
//! The catalog's version is in the group's mark. Invariant: what is stored equals what is cached, entry by entry.

use std::sync::Arc;

use highwater_runtime::Env;
use highwater_sql::catalog::{Catalog, CatalogDelta, CatalogVersion};

use crate::error::{Abort, StateError};
use crate::keys::{Keys, ObjectKind, Space};
use crate::reader::Reader;
use crate::stored;
use crate::txn::Txn;

/// Stores the changes.
pub(crate) fn store<E: Env>(txn: &mut Txn<'_, E>, deltas: &[CatalogDelta]) -> Result<(), Abort> {
    let keys = txn.keys();
    for delta in deltas {
        match delta {
            CatalogDelta::PutNamespace(namespace) => {
                txn.put(keys.named_object(ObjectKind::Namespace, &namespace.name), stored::encode(namespace))?;
            }
            CatalogDelta::DropNamespace(name) => txn.delete(keys.named_object(ObjectKind::Namespace, name))?,
            CatalogDelta::PutTable(table) => {
                txn.put(keys.object(ObjectKind::Table, table.id), stored::encode(table))?
            }
            CatalogDelta::DropTable(id) => txn.delete(keys.object(ObjectKind::Table, *id))?,
            CatalogDelta::PutTopic(topic) => {
                txn.put(keys.object(ObjectKind::Topic, topic.id), stored::encode(topic))?
            }
            CatalogDelta::DropTopic(id) => txn.delete(keys.object(ObjectKind::Topic, *id))?,
            CatalogDelta::PutUser(user) => {
                txn.put(keys.named_object(ObjectKind::User, &user.name), stored::encode(user))?
            }
            CatalogDelta::DropUser(name) => txn.delete(keys.named_object(ObjectKind::User, name))?,
        }
    }
    Ok(())
}

/// Reads the whole catalog of a group.
pub(crate) async fn load<E: Env>(
    reader: &Reader<E>,
    keys: Keys,
    version: CatalogVersion,
) -> Result<Catalog, StateError> {
    let group = keys.group();
    let mut catalog = Catalog { version, ..Catalog::default() };
    let span = keys.space(Space::Catalog);
    let mut scan = reader.scan(&span).await?;
    while let Some((key, value)) = scan.next().await? {
        let delta = match key.get(span.start.len()) {
            Some(kind) if *kind == ObjectKind::Namespace as u8 => {
                CatalogDelta::PutNamespace(stored::decode(group, "a stored namespace", &value)?)
            }
            Some(kind) if *kind == ObjectKind::Table as u8 => {
                CatalogDelta::PutTable(Arc::new(stored::decode(group, "a stored table definition", &value)?))
            }
            Some(kind) if *kind == ObjectKind::Topic as u8 => {
                CatalogDelta::PutTopic(Arc::new(stored::decode(group, "a stored topic definition", &value)?))
            }
            Some(kind) if *kind == ObjectKind::User as u8 => {
                CatalogDelta::PutUser(Arc::new(stored::decode(group, "a stored user", &value)?))
            }
            Some(_) | None => return Err(StateError::Corrupt { group, what: "the kind of a stored catalog object" }),
        };
        catalog.advance(version, &[delta]);
    }
    Ok(catalog)
}
