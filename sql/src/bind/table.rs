//! CREATE and DROP TABLE.

use std::collections::BTreeSet;

use sqlparser::ast;

use super::BindContext;
use super::expr::{Binder, Clause};
use super::index::{self, TableShape};
use super::names::{namespace_for_new, table};
use super::options::Options;
use super::params::Params;
use super::scope::{SEQ, Scope, Visible};
use super::types;
use super::write::not_volatile;
use crate::cast::Coercion;
use crate::catalog::{AccessLevel, Check, Column, ColumnId, TableKind};
use crate::diag::{Diag, Span, SqlState};
use crate::eval;
use crate::expr::Expr;
use crate::limits;
use crate::plan::{Ddl, IndexSpec, TableSpec};
use crate::statement::{ColumnConstraint, ColumnSpec, CreateTable, Fragment, Name, ObjectName, TableElement};
use crate::suggest;
use crate::value::DataType;

/// Column names that every row has or that change messages use.
const RESERVED_COLUMNS: &[&str] = &[SEQ, "_table"];

const KINDS: &[(&str, TableKind)] =
    &[("USER", TableKind::User), ("SHARED", TableKind::Shared), ("STREAM", TableKind::Stream)];

pub(super) const LEVELS: &[(&str, AccessLevel)] = &[
    ("PUBLIC", AccessLevel::Public),
    ("PRIVATE", AccessLevel::Private),
    ("RESTRICTED", AccessLevel::Restricted),
    ("DBA", AccessLevel::Dba),
];

fn wrong(message: impl Into<String>, span: Span) -> Diag {
    Diag::new(SqlState::INVALID_TABLE_DEFINITION, message).at(span)
}

/// CREATE TABLE.
pub(super) fn create(create: &CreateTable, context: &BindContext<'_>) -> Result<Ddl, Diag> {
    let namespace = namespace_for_new(&create.name, context)?;
    let traits = traits(create)?;
    let specs: Vec<&ColumnSpec> = create
        .elements
        .iter()
        .filter_map(|element| match element {
            TableElement::Column(column) => Some(column),
            TableElement::PrimaryKey { .. } | TableElement::Unique { .. } | TableElement::Check { .. } => None,
        })
        .collect();
    let mut columns = columns(&specs)?;
    let primary_key = primary_key(create, &specs, &columns)?;
    for key in &primary_key {
        let Some((column, spec)) =
            usize::try_from(*key).ok().and_then(|key| Some((columns.get_mut(key)?, specs.get(key)?)))
        else {
            continue;
        };
        if let Some(span) = spec.constraints.iter().find_map(|constraint| match constraint {
            ColumnConstraint::Null(span) => Some(*span),
            _ => None,
        }) {
            return Err(wrong(format!("the key column \"{}\" cannot be NULL", column.name), span));
        }
        if !column.data_type.is_comparable() {
            return Err(wrong(
                format!("a column of type {} cannot be part of the key: it has no order", column.data_type),
                spec.type_span,
            ));
        }
        column.nullable = false;
    }
    let partition_columns = partition(create, traits.kind, &columns, &primary_key)?;
    for key in primary_key.iter().take(usize::try_from(partition_columns).unwrap_or(usize::MAX)) {
        let default =
            usize::try_from(*key).ok().and_then(|key| Some((columns.get(key)?.default.as_ref()?, specs.get(key)?)));
        if let Some((default, spec)) = default {
            not_volatile(default, "the DEFAULT of a partition column", spec.name.span)?;
        }
    }
    let checks = checks(create, &columns)?;
    let shape = TableShape {
        name: &create.name.name.value,
        kind: traits.kind,
        columns: &columns,
        primary_key: &primary_key,
        partition_columns,
    };
    let indexes = unique_constraints(create, &shape, &checks, namespace, context)?;
    if traits.kind == TableKind::Stream
        && let Some(column) = columns.iter().find(|column| column.serial)
    {
        return Err(Diag::not_supported(format_args!("the SERIAL column \"{}\" of a STREAM table", column.name))
            .hint("DEFAULT SNOWFLAKE_ID() gives rising unique numbers.")
            .at(create.name.span()));
    }
    Ok(Ddl::CreateTable {
        table: TableSpec {
            namespace: namespace.to_owned(),
            name: create.name.name.value.clone(),
            kind: traits.kind,
            access_level: traits.access_level,
            columns,
            primary_key,
            partition_columns,
            checks,
            ttl_seconds: traits.ttl_seconds,
            indexes,
        },
        if_not_exists: create.if_not_exists,
    })
}

/// What the words around the columns say.
pub(super) struct Traits {
    pub(super) kind: TableKind,
    pub(super) access_level: AccessLevel,
    pub(super) ttl_seconds: Option<u64>,
}

pub(super) fn traits(create: &CreateTable) -> Result<Traits, Diag> {
    let options = Options::checked(&create.options, &["type", "access_level", "ttl_seconds"], "CREATE TABLE")?;
    let kind = match (create.kind, options.word("type", KINDS)?) {
        (Some((first, _)), Some((second, span))) if first != second => {
            return Err(wrong("the table's kind is given twice, differently", span));
        }
        (Some((kind, _)), _) | (None, Some((kind, _))) => kind,
        (None, None) => TableKind::Shared,
    };
    let access_level = match options.word("access_level", LEVELS)? {
        Some((_, span)) if kind != TableKind::Shared => {
            return Err(wrong("ACCESS_LEVEL is for SHARED tables: everyone sees only the own rows of this one", span));
        }
        Some((level, _)) => level,
        None => AccessLevel::Private,
    };
    let ttl_seconds = options.count("ttl_seconds")?;
    match (kind, ttl_seconds, options.get("ttl_seconds")) {
        (TableKind::User | TableKind::Shared, _, Some(option)) => {
            Err(wrong("TTL_SECONDS is for STREAM tables", option.span))
        }
        (TableKind::Stream, None, _) => Err(wrong("a STREAM table needs TTL_SECONDS", create.name.span())
            .hint("Say how long its events are kept: WITH (TTL_SECONDS = 86400).")),
        _ => Ok(Traits { kind, access_level, ttl_seconds }),
    }
}

fn columns(specs: &[&ColumnSpec]) -> Result<Vec<Column>, Diag> {
    if let Some(spec) = specs.get(limits::MAX_COLUMNS) {
        return Err(Diag::new(SqlState::PROGRAM_LIMIT, format!("a table has at most {} columns", limits::MAX_COLUMNS))
            .at(spec.name.span));
    }
    let mut columns: Vec<Column> = Vec::with_capacity(specs.len());
    let mut names = BTreeSet::new();
    for (spec, id) in specs.iter().zip(1_u32..) {
        if !names.insert(spec.name.value.as_str()) {
            return Err(Diag::new(
                SqlState::DUPLICATE_COLUMN,
                format!("column \"{}\" is given twice", spec.name.value),
            )
            .at(spec.name.span));
        }
        reserved(&spec.name)?;
        columns.push(column(spec, ColumnId(id))?);
    }
    Ok(columns)
}

/// The refusal of a name that every row has.
pub(super) fn reserved(name: &Name) -> Result<(), Diag> {
    if RESERVED_COLUMNS.contains(&name.value.as_str()) {
        return Err(
            Diag::new(SqlState::INVALID_NAME, format!("the column name \"{}\" is reserved", name.value)).at(name.span)
        );
    }
    Ok(())
}

/// The integer type of SMALLSERIAL, SERIAL and BIGSERIAL.
fn serial(written: &ast::DataType) -> Option<DataType> {
    let name = written.to_string().to_ascii_uppercase();
    match name.as_str() {
        "SMALLSERIAL" | "SERIAL2" => Some(DataType::SmallInt),
        "SERIAL" | "SERIAL4" => Some(DataType::Int),
        "BIGSERIAL" | "SERIAL8" => Some(DataType::BigInt),
        _ => None,
    }
}

/// A column as it is described, under this identity.
pub(super) fn column(spec: &ColumnSpec, id: ColumnId) -> Result<Column, Diag> {
    let serial = serial(&spec.data_type);
    let named = match serial {
        Some(data_type) => types::Named { data_type, max_chars: None },
        None => types::named(&spec.data_type, spec.type_span)?,
    };
    let mut nullable: Option<bool> = None;
    let mut default = None;
    for constraint in &spec.constraints {
        let (wanted, span) = match constraint {
            ColumnConstraint::NotNull(span) => (false, *span),
            ColumnConstraint::Null(span) => (true, *span),
            ColumnConstraint::Default(fragment) => {
                if default.is_some() {
                    return Err(Diag::new(SqlState::SYNTAX_ERROR, "DEFAULT is given twice").at(fragment.span));
                }
                default = Some(fragment);
                continue;
            }
            ColumnConstraint::PrimaryKey(_) | ColumnConstraint::Unique { .. } | ColumnConstraint::Check { .. } => {
                continue;
            }
        };
        if nullable.replace(wanted).is_some_and(|earlier| earlier != wanted) {
            return Err(wrong(format!("column \"{}\" is both NULL and NOT NULL", spec.name.value), span));
        }
    }
    if let (Some(_), Some(fragment)) = (serial, default) {
        return Err(wrong(
            format!("the SERIAL column \"{}\" has a default already: the next number", spec.name.value),
            fragment.span,
        ));
    }
    let bound = default
        .map(|fragment| default_value(fragment, &spec.name.value, named.data_type, named.max_chars))
        .transpose()?;
    Ok(Column {
        max_chars: named.max_chars,
        nullable: nullable.unwrap_or(serial.is_none()),
        serial: serial.is_some(),
        default: bound,
        default_text: default.map(|fragment| fragment.text.clone()),
        ..Column::new(id.0, spec.name.value.clone(), named.data_type)
    })
}

/// A DEFAULT as a value of its column's type.
pub(super) fn default_value(
    fragment: &Fragment,
    column: &str,
    wanted: DataType,
    max_chars: Option<u32>,
) -> Result<Expr, Diag> {
    let nothing = Scope::nothing();
    let mut params = Params::forbidden();
    let mut none = Vec::new();
    let mut binder = Binder::new(&nothing, &mut params, Clause::Default, &mut none);
    let open = binder.open(&fragment.expr).map_err(|diag| diag.at(fragment.span))?;
    let value = binder
        .coerced(open, wanted, Coercion::Assignment, |from| {
            format!("column \"{column}\" is of type {wanted}, its DEFAULT is of type {from}")
        })
        .map_err(|diag| diag.at(fragment.span))?;
    let value = eval::fold(value.expr);
    if let (Expr::Literal(literal, _), Some(most)) = (&value, max_chars) {
        crate::cast::fit(literal.clone(), most).map_err(|diag| diag.at(fragment.span))?;
    }
    Ok(value)
}

pub(super) fn position(name: &Name, columns: &[Column]) -> Result<u32, Diag> {
    let found = columns.iter().position(|column| column.name == name.value).and_then(|index| u32::try_from(index).ok());
    found.ok_or_else(|| {
        let diag =
            Diag::new(SqlState::UNDEFINED_COLUMN, format!("column \"{}\" does not exist", name.value)).at(name.span);
        suggest::with_nearest(diag, &name.value, columns.iter().map(|column| column.name.as_str()))
    })
}

/// Key columns in key order: of the one PRIMARY KEY, at a column or of the table.
fn primary_key(create: &CreateTable, specs: &[&ColumnSpec], columns: &[Column]) -> Result<Vec<u32>, Diag> {
    let mut key: Option<Vec<u32>> = None;
    let mut found =
        |candidate: Vec<u32>, span: Span| match key.replace(candidate) {
            None => Ok(()),
            Some(_) => Err(wrong("PRIMARY KEY is given twice", span)
                .hint("A key of several columns is written PRIMARY KEY (a, b).")),
        };
    for (spec, index) in specs.iter().zip(0_u32..) {
        for constraint in &spec.constraints {
            if let ColumnConstraint::PrimaryKey(span) = constraint {
                found(vec![index], *span)?;
            }
        }
    }
    for element in &create.elements {
        let TableElement::PrimaryKey { columns: names, span } = element else { continue };
        let mut list = Vec::with_capacity(names.len());
        for name in names {
            let index = position(name, columns)?;
            if list.contains(&index) {
                return Err(Diag::new(
                    SqlState::DUPLICATE_COLUMN,
                    format!("key column \"{}\" is given twice", name.value),
                )
                .at(name.span));
            }
            list.push(index);
        }
        found(list, *span)?;
    }
    let key = key.ok_or_else(|| {
        wrong("a table needs a primary key", create.elements_span)
            .hint("Add PRIMARY KEY to a column: id BIGINT PRIMARY KEY DEFAULT SNOWFLAKE_ID().")
    })?;
    if key.len() > limits::MAX_KEY_COLUMNS {
        return Err(Diag::new(
            SqlState::PROGRAM_LIMIT,
            format!("a key has at most {} columns", limits::MAX_KEY_COLUMNS),
        )
        .at(create.elements_span));
    }
    Ok(key)
}

/// How many leading key columns spread the rows.
pub(super) fn partition(
    create: &CreateTable,
    kind: TableKind,
    columns: &[Column],
    primary_key: &[u32],
) -> Result<u32, Diag> {
    let Some(names) = &create.partition_by else { return Ok(0) };
    let span = match (names.first(), names.last()) {
        (Some(first), Some(last)) => Span { start: first.span.start, end: last.span.end },
        _ => create.name.span(),
    };
    if kind != TableKind::Shared {
        return Err(wrong("PARTITION BY is for SHARED tables: rows of this one are placed by their user", span));
    }
    let given = names.iter().map(|name| position(name, columns)).collect::<Result<Vec<u32>, Diag>>()?;
    if !primary_key.starts_with(&given) {
        let key: Vec<&str> = primary_key
            .iter()
            .filter_map(|key| usize::try_from(*key).ok().and_then(|key| columns.get(key)))
            .map(|column| column.name.as_str())
            .collect();
        return Err(wrong("the PARTITION BY columns are not the first columns of the primary key", span)
            .detail(format!("The primary key is ({}).", key.join(", "))));
    }
    Ok(u32::try_from(given.len()).unwrap_or(u32::MAX))
}

fn checks(create: &CreateTable, columns: &[Column]) -> Result<Vec<Check>, Diag> {
    let written: Vec<(&Option<Name>, &Fragment)> = create
        .elements
        .iter()
        .flat_map(|element| match element {
            TableElement::Check { name, condition } => vec![(name, condition)],
            TableElement::Column(column) => column
                .constraints
                .iter()
                .filter_map(|constraint| match constraint {
                    ColumnConstraint::Check { name, condition } => Some((name, condition)),
                    _ => None,
                })
                .collect(),
            TableElement::PrimaryKey { .. } | TableElement::Unique { .. } => Vec::new(),
        })
        .collect();
    let mut taken: BTreeSet<String> = BTreeSet::new();
    for (name, _) in &written {
        if let Some(name) = name
            && !taken.insert(name.value.clone())
        {
            return Err(Diag::new(SqlState::DUPLICATE_OBJECT, format!("constraint \"{}\" is given twice", name.value))
                .at(name.span));
        }
    }
    let mut checks = Vec::with_capacity(written.len());
    for (name, condition) in written {
        let name = match name {
            Some(name) => name.value.clone(),
            None => free_check_name(&create.name.name.value, |name| taken.contains(name)),
        };
        taken.insert(name.clone());
        checks.push(check(&create.name.name.value, columns, name, condition)?);
    }
    Ok(checks)
}

/// A CHECK over a table's columns.
pub(super) fn check(table: &str, columns: &[Column], name: String, condition: &Fragment) -> Result<Check, Diag> {
    let visible = columns
        .iter()
        .map(|column| Visible {
            name: column.name.clone(),
            data_type: column.data_type,
            not_null: !column.nullable,
            primary_key: false,
        })
        .collect();
    let scope = Scope::draft(table, visible);
    let mut params = Params::forbidden();
    let mut none = Vec::new();
    let expr = Binder::new(&scope, &mut params, Clause::Check, &mut none)
        .condition(&condition.expr)
        .map_err(|diag| diag.at(condition.span))?;
    not_volatile(&expr, "CHECK", condition.span)?;
    Ok(Check { name, expr: eval::fold(expr), text: condition.text.clone() })
}

/// `<table>_check`, `<table>_check1` ...
pub(super) fn free_check_name(table: &str, taken: impl Fn(&str) -> bool) -> String {
    let mut number = 0_u32;
    loop {
        let name = if number == 0 { format!("{table}_check") } else { format!("{table}_check{number}") };
        if !taken(&name) {
            return name;
        }
        number += 1;
    }
}

/// UNIQUE at columns and of the table.
fn unique_constraints(
    create: &CreateTable,
    shape: &TableShape<'_>,
    checks: &[Check],
    namespace: &str,
    context: &BindContext<'_>,
) -> Result<Vec<IndexSpec>, Diag> {
    let mut written: Vec<(Option<&Name>, Vec<&Name>, Span)> = Vec::new();
    for element in &create.elements {
        match element {
            TableElement::Unique { name, columns, span } => {
                written.push((name.as_ref(), columns.iter().collect(), *span));
            }
            TableElement::Column(column) => {
                written.extend(column.constraints.iter().filter_map(|constraint| match constraint {
                    ColumnConstraint::Unique { name, span } => Some((name.as_ref(), vec![&column.name], *span)),
                    _ => None,
                }));
            }
            TableElement::PrimaryKey { .. } | TableElement::Check { .. } => {}
        }
    }
    let mut made: Vec<IndexSpec> = Vec::with_capacity(written.len());
    for (name, columns, span) in written {
        let taken = |name: &str| {
            context.catalog.index(namespace, name).is_some()
                || made.iter().any(|index| index.name == name)
                || checks.iter().any(|check| check.name == name)
        };
        let index = index::unique(name, &columns, shape, span, taken)?;
        made.push(index);
    }
    Ok(made)
}

/// DROP TABLE.
pub(super) fn drop(name: &ObjectName, if_exists: bool, context: &BindContext<'_>) -> Result<Ddl, Diag> {
    if !if_exists {
        table(name, context)?;
    }
    Ok(Ddl::DropTable { namespace: name.namespace(context).to_owned(), name: name.name.value.clone(), if_exists })
}
