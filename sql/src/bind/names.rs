//! Which object a name means, and the definitions that are only a name: namespaces.

use std::sync::Arc;

use sqlparser::ast;

use super::{BindContext, missing};
use crate::access;
use crate::catalog::{Table, Topic};
use crate::diag::{Diag, Span, SqlState};
use crate::grammar::terminal::checked_name;
use crate::lexer::char_span;
use crate::plan::{Ddl, SystemTable};
use crate::statement::{Name, ObjectName};
use crate::system;

/// The namespace that always exists.
pub(super) const DEFAULT_NAMESPACE: &str = "default";

/// Namespaces that are not for users' objects.
const RESERVED: &[&str] = &[system::NAMESPACE, "information_schema", "pg_catalog"];

/// What FROM may name.
pub(super) enum Relation<'a> {
    /// A table of the catalog.
    Table(&'a Arc<Table>),
    /// A system table.
    System(SystemTable),
}

impl ObjectName {
    pub(super) fn namespace<'a>(&'a self, context: &BindContext<'a>) -> &'a str {
        self.namespace.as_ref().map_or(context.namespace, |namespace| &namespace.value)
    }

    fn shown(&self, context: &BindContext<'_>) -> String {
        format!("{}.{}", self.namespace(context), self.name.value)
    }
}

/// An identifier of sqlparser, checked and folded.
pub(super) fn name_of(ident: &ast::Ident) -> Result<Name, Diag> {
    if ident.quote_style == Some('\'') {
        let message = format!("syntax error at or near \"'{}'\": a string literal cannot stand here", ident.value);
        let hint = "Is a comma missing? Names stand in double quotes.";
        let diag = Diag::new(SqlState::SYNTAX_ERROR, message).hint(hint);
        return Err(char_span(ident.span).map_or(diag.clone(), |span| diag.at(span)));
    }
    let span = char_span(ident.span).unwrap_or(Span { start: 0, end: 0 });
    checked_name(&ident.value, ident.quote_style.is_some(), span)
}

/// A name of sqlparser of one or two parts.
pub(super) fn object_of(name: &ast::ObjectName) -> Result<ObjectName, Diag> {
    let mut parts = Vec::with_capacity(2);
    for part in &name.0 {
        match part {
            ast::ObjectNamePart::Identifier(ident) => parts.push(name_of(ident)?),
            ast::ObjectNamePart::Function(_) => return Err(Diag::not_supported("a function as a name")),
        }
    }
    let mut parts = parts.into_iter();
    match (parts.next(), parts.next(), parts.next()) {
        (Some(name), None, None) => Ok(ObjectName { namespace: None, name }),
        (Some(namespace), Some(name), None) => Ok(ObjectName { namespace: Some(namespace), name }),
        (Some(first), _, Some(last)) => Err(Diag::new(SqlState::SYNTAX_ERROR, "a name has more than two parts")
            .hint("Write namespace.name.")
            .at(Span { start: first.span.start, end: last.span.end })),
        _ => Err(Diag::new(SqlState::SYNTAX_ERROR, "a name is missing")),
    }
}

/// A name of one part.
pub(super) fn single(name: &ast::ObjectName) -> Result<Name, Diag> {
    let object = object_of(name)?;
    match object.namespace {
        None => Ok(object.name),
        Some(_) => Err(Diag::new(SqlState::SYNTAX_ERROR, "a column is named here without its table").at(object.span())),
    }
}

pub(super) fn namespace_exists(name: &str, context: &BindContext<'_>) -> bool {
    name == DEFAULT_NAMESPACE || context.catalog.namespaces.contains_key(name)
}

pub(super) fn missing_namespace(name: &str, span: Span, context: &BindContext<'_>) -> Diag {
    let known = context.catalog.namespaces.keys().map(String::as_str);
    missing(SqlState::UNDEFINED_NAMESPACE, "namespace", name, name, span, known)
        .hint(format!("CREATE NAMESPACE {name} makes it."))
}

/// The table or system table of this name.
pub(super) fn relation<'a>(name: &ObjectName, context: &BindContext<'a>) -> Result<Relation<'a>, Diag> {
    if name.namespace(context) == system::NAMESPACE {
        access::may_name_system_table(&name.name.value, context.role).map_err(|diag| diag.at(name.name.span))?;
        if system::PLANNED.contains(&name.name.value.as_str()) {
            return Err(
                Diag::not_supported(format_args!("the system table \"{}\"", name.shown(context))).at(name.name.span)
            );
        }
        return system::by_name(&name.name.value).map(Relation::System).ok_or_else(|| {
            let known = system::TABLES.iter().map(|(name, _)| *name);
            missing(
                SqlState::UNDEFINED_TABLE,
                "system table",
                &name.shown(context),
                &name.name.value,
                name.name.span,
                known,
            )
        });
    }
    table(name, context).map(Relation::Table)
}

/// The table of this name.
pub(super) fn table<'a>(name: &ObjectName, context: &BindContext<'a>) -> Result<&'a Arc<Table>, Diag> {
    let namespace = name.namespace(context);
    if let Some(table) = context.catalog.table(namespace, &name.name.value) {
        access::may_name_table(table, context.role).map_err(|diag| diag.at(name.span()))?;
        return Ok(table);
    }
    if namespace == system::NAMESPACE {
        return Err(Diag::new(SqlState::INSUFFICIENT_PRIVILEGE, "system tables are read-only").at(name.span()));
    }
    let known = || context.catalog.tables.values().filter(|table| access::knows_table(table, context.role));
    let same_namespace = known().filter(|table| table.namespace == namespace).map(|table| table.name.as_str());
    let mut diag = missing(
        SqlState::UNDEFINED_TABLE,
        "table",
        &name.shown(context),
        &name.name.value,
        name.span(),
        same_namespace,
    );
    if !namespace_exists(namespace, context) {
        diag = diag.detail(format!("There is no namespace \"{namespace}\"."));
    }
    let is_topic = context.catalog.topic(namespace, &name.name.value).is_some();
    if is_topic && access::may_name_topic("", context.role).is_ok() {
        diag = diag.hint("This is a topic: CONSUME FROM reads it.");
    }
    let elsewhere = known().filter(|table| table.namespace != namespace && table.name == name.name.value);
    diag.suggestions.extend(elsewhere.map(|table| format!("{}.{}", table.namespace, table.name)));
    diag.suggestions.truncate(5);
    Err(diag)
}

/// The topic of this name.
pub(super) fn topic<'a>(name: &ObjectName, context: &BindContext<'a>) -> Result<&'a Arc<Topic>, Diag> {
    let namespace = name.namespace(context);
    access::may_name_topic(&name.shown(context), context.role).map_err(|diag| diag.at(name.span()))?;
    if let Some(topic) = context.catalog.topic(namespace, &name.name.value) {
        return Ok(topic);
    }
    let same_namespace =
        context.catalog.topics.values().filter(|topic| topic.namespace == namespace).map(|topic| topic.name.as_str());
    let mut diag = missing(
        SqlState::UNDEFINED_OBJECT,
        "topic",
        &name.shown(context),
        &name.name.value,
        name.span(),
        same_namespace,
    );
    if !namespace_exists(namespace, context) {
        diag = diag.detail(format!("There is no namespace \"{namespace}\"."));
    }
    if context.catalog.table(namespace, &name.name.value).is_some() {
        diag = diag.hint("This is a table: SELECT reads it, a topic carries its changes.");
    }
    Err(diag)
}

/// The namespace in which something is to be made.
pub(super) fn namespace_for_new<'a>(name: &'a ObjectName, context: &BindContext<'a>) -> Result<&'a str, Diag> {
    let namespace = name.namespace(context);
    let span = name.namespace.as_ref().map_or(name.name.span, |namespace| namespace.span);
    if RESERVED.contains(&namespace) {
        return Err(Diag::new(
            SqlState::INSUFFICIENT_PRIVILEGE,
            format!("namespace \"{namespace}\" belongs to the system"),
        )
        .at(span));
    }
    if !namespace_exists(namespace, context) {
        return Err(missing_namespace(namespace, span, context));
    }
    Ok(namespace)
}

/// CREATE NAMESPACE.
pub(super) fn create_namespace(name: &Name, if_not_exists: bool) -> Result<Ddl, Diag> {
    if RESERVED.contains(&name.value.as_str()) || name.value.starts_with("pg_") {
        return Err(Diag::new(
            SqlState::INVALID_NAME,
            format!("the name \"{}\" is reserved for the system", name.value),
        )
        .at(name.span));
    }
    Ok(Ddl::CreateNamespace { name: name.value.clone(), if_not_exists })
}

/// DROP NAMESPACE.
pub(super) fn drop_namespace(
    name: &Name,
    if_exists: bool,
    cascade: bool,
    context: &BindContext<'_>,
) -> Result<Ddl, Diag> {
    if RESERVED.contains(&name.value.as_str()) || name.value == DEFAULT_NAMESPACE {
        return Err(Diag::new(
            SqlState::INSUFFICIENT_PRIVILEGE,
            format!("namespace \"{}\" cannot be dropped", name.value),
        )
        .at(name.span));
    }
    if !if_exists && !namespace_exists(&name.value, context) {
        let mut diag = missing_namespace(&name.value, name.span, context);
        diag.hint = None;
        return Err(diag);
    }
    Ok(Ddl::DropNamespace { name: name.value.clone(), if_exists, cascade })
}
