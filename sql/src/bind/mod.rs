//! From a parsed statement to a plan: names are resolved, types are known, casts are explicit.

use crate::catalog::{Catalog, Role};
use crate::diag::Diag;
use crate::parse::Statement;
use crate::plan::Bound;
use crate::value::Value;

/// What a statement is bound against.
#[derive(Clone, Copy, Debug)]
pub struct BindContext<'a> {
    /// What exists.
    pub catalog: &'a Catalog,
    /// The namespace of unqualified names.
    pub namespace: &'a str,
    /// Who asks.
    pub user: &'a str,
    /// The role of who asks.
    pub role: Role,
}

/// A parameter's value as a client gave it.
#[derive(Clone, Debug, PartialEq)]
pub enum ParamValue {
    /// null.
    Null,
    /// true or false.
    Boolean(bool),
    /// A number, in the digits that the client wrote.
    Number(String),
    /// A text.
    Text(String),
    /// A value whose type is known already.
    Typed(Value),
}

/// Resolves names, infers types and plans one statement.
///
/// # Errors
/// One diagnostic with the place in the whole text.
pub fn bind(_statement: &Statement, _context: &BindContext<'_>) -> Result<Bound, Diag> {
    Err(Diag::not_supported("binding"))
}

/// The values of a statement's parameters, cast to the types that the binder inferred.
///
/// # Errors
/// 42P02 when one is missing, 54023 when there are too many, and the cast's error, naming `$n`.
pub fn coerce_params(_bound: &Bound, _params: Vec<ParamValue>) -> Result<Vec<Value>, Diag> {
    Err(Diag::not_supported("parameters"))
}
