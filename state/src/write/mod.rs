//! Writes.
use crate::command::WriteCommand;
use crate::error::Abort;
use crate::group::Entry;
use crate::outcome::Outcome;
use highwater_runtime::Env;
use highwater_sql::diag::Diag;

pub(crate) async fn apply<E: Env>(_: &mut Entry<'_, E>, _: &WriteCommand) -> Result<Outcome, Abort> {
    Err(Diag::not_supported("this").into())
}
