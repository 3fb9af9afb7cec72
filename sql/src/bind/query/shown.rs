//! PostgreSQL's names for columns without AS.
//!
//! A name comes from the column, function or construct that an expression is; from the type of a cast, if what is cast has no better
//! one; and from the single column of a subquery. Everything else is `?column?`.

use sqlparser::ast::{self, AccessExpr, SelectItem, SetExpr};

use crate::bind::names::{name_of, object_of};
use crate::bind::types;
use crate::diag::Span;
use crate::value::DataType;

/// What a column is called that nothing names.
const UNNAMED: &str = "?column?";

/// A name, and whether a cast around it may give a better one.
enum Found {
    Good(String),
    Weak(String),
}

/// PostgreSQL's name for a column without AS.
pub(in crate::bind) fn shown_name(expr: &ast::Expr) -> String {
    match found(expr) {
        Some(Found::Good(name) | Found::Weak(name)) => name,
        None => UNNAMED.to_owned(),
    }
}

fn found(expr: &ast::Expr) -> Option<Found> {
    let good = |name: &str| Some(Found::Good(name.to_owned()));
    let of_ident = |ident: &ast::Ident| name_of(ident).ok().map(|name| Found::Good(name.value));
    match expr {
        ast::Expr::Identifier(ident) => of_ident(ident),
        ast::Expr::CompoundIdentifier(parts) => of_ident(parts.last()?),
        ast::Expr::Nested(inner) | ast::Expr::Collate { expr: inner, .. } => found(inner),
        // `tags[1]` is called tags.
        ast::Expr::CompoundFieldAccess { root, access_chain } => {
            let field = access_chain.iter().rev().find_map(|access| match access {
                AccessExpr::Dot(field) => Some(field),
                AccessExpr::Subscript(_) => None,
            });
            found(field.unwrap_or(root))
        }
        ast::Expr::Function(function) => object_of(&function.name).ok().map(|name| Found::Good(name.name.value)),
        ast::Expr::Cast { expr, data_type, .. } => match found(expr) {
            Some(Found::Good(name)) => Some(Found::Good(name)),
            Some(Found::Weak(_)) | None => of_type(data_type),
        },
        ast::Expr::TypedString(typed) => of_type(&typed.data_type),
        ast::Expr::Interval(_) => Some(Found::Weak("interval".to_owned())),
        ast::Expr::Case { else_result, .. } => match else_result.as_deref().and_then(found) {
            Some(Found::Good(name)) => Some(Found::Good(name)),
            Some(Found::Weak(_)) | None => Some(Found::Weak("case".to_owned())),
        },
        ast::Expr::Subquery(query) => of_query(query),
        ast::Expr::Exists { negated: false, .. } => good("exists"),
        ast::Expr::Array(_) => good("array"),
        ast::Expr::Tuple(_) => good("row"),
        ast::Expr::Extract { .. } => good("extract"),
        ast::Expr::Position { .. } => good("position"),
        ast::Expr::Substring { .. } => good("substring"),
        ast::Expr::Overlay { .. } => good("overlay"),
        ast::Expr::AtTimeZone { .. } => good("timezone"),
        ast::Expr::Trim { trim_where, .. } => good(match trim_where {
            Some(ast::TrimWhereField::Leading) => "ltrim",
            Some(ast::TrimWhereField::Trailing) => "rtrim",
            Some(ast::TrimWhereField::Both) | None => "btrim",
        }),
        ast::Expr::Ceil { .. } => good("ceil"),
        ast::Expr::Floor { .. } => good("floor"),
        _ => None,
    }
}

/// The name of a subquery's first column.
fn of_query(query: &ast::Query) -> Option<Found> {
    let mut body = query.body.as_ref();
    while let SetExpr::Query(inner) = body {
        body = inner.body.as_ref();
    }
    let SetExpr::Select(select) = body else { return None };
    match select.projection.first()? {
        SelectItem::UnnamedExpr(expr) => found(expr),
        SelectItem::ExprWithAlias { alias, .. } => name_of(alias).ok().map(|name| Found::Good(name.value)),
        SelectItem::ExprWithAliases { .. } | SelectItem::QualifiedWildcard(..) | SelectItem::Wildcard(_) => None,
    }
}

/// The name that PostgreSQL's system catalog has for a type.
fn of_type(written: &ast::DataType) -> Option<Found> {
    let known = types::named(written, Span { start: 0, end: 0 }).ok()?;
    let is_varying = known.max_chars.is_some()
        || matches!(
            written,
            ast::DataType::Varchar(_) | ast::DataType::CharacterVarying(_) | ast::DataType::CharVarying(_)
        );
    let scalar = match known.data_type {
        DataType::Array(element) => element.data_type(),
        data_type => data_type,
    };
    let name = match scalar {
        DataType::Boolean => "bool",
        DataType::SmallInt => "int2",
        DataType::Int => "int4",
        DataType::BigInt => "int8",
        DataType::Float => "float4",
        DataType::Double => "float8",
        DataType::Decimal { .. } => "numeric",
        DataType::Text if is_varying => "varchar",
        DataType::Text => "text",
        DataType::Bytes => "bytea",
        DataType::Json if matches!(written, ast::DataType::JSON) => "json",
        DataType::Json => "jsonb",
        DataType::Date => "date",
        DataType::Time => "time",
        DataType::Timestamp => "timestamp",
        DataType::DateTime => "timestamptz",
        DataType::Interval => "interval",
        DataType::Uuid => "uuid",
        // PostgreSQL has no such type; nested arrays are none.
        DataType::Embedding(_) => "embedding",
        DataType::Array(_) => return None,
    };
    Some(Found::Weak(name.to_owned()))
}
