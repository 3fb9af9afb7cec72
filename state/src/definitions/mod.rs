//! The meta group: what exists, who may log in, and what the cluster is.
use crate::command::MetaCommand;
use crate::error::Abort;
use crate::group::Entry;
use crate::outcome::Outcome;
use highwater_runtime::Env;
use highwater_sql::diag::Diag;
use crate::placement::Layout;
use serde::{Deserialize, Serialize};

/// Name of the cluster scalar.
pub(crate) const IDENTITY: u8 = 0;

/// What a cluster is, from its first entry on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub cluster_id: u128,
    pub layout: Layout,
    pub token_key: [u8; 32],
}

pub(crate) async fn apply<E: Env>(_: &mut Entry<'_, E>, _: &MetaCommand) -> Result<Outcome, Abort> {
    Err(Diag::not_supported("this").into())
}
