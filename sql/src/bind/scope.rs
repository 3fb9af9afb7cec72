//! The names that an expression can see: the columns of at most one relation.

use std::sync::Arc;

use crate::catalog::Table;
use crate::diag::{Diag, Span, SqlState};
use crate::plan::SystemTable;
use crate::statement::{Name, ObjectName};
use crate::suggest;
use crate::system;
use crate::value::DataType;

/// The column that every row of a table has besides its own.
pub(super) const SEQ: &str = "_seq";

/// What ON CONFLICT calls the row that was to be inserted.
pub(super) const EXCLUDED: &str = "excluded";

/// A column that is in sight.
#[derive(Clone, Debug)]
pub(super) struct Visible {
    pub(super) name: String,
    pub(super) data_type: DataType,
    pub(super) not_null: bool,
    pub(super) primary_key: bool,
}

/// Where the columns come from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source<'a> {
    Nothing,
    Table(&'a Arc<Table>),
    System(SystemTable),
    /// Columns of a table that is being made.
    Draft,
}

/// What an expression can see. Positions are those of the source row.
#[derive(Debug)]
pub(super) struct Scope<'a> {
    pub(super) source: Source<'a>,
    pub(super) columns: Vec<Visible>,
    /// Whether `_seq` is in sight, behind the columns.
    seq: bool,
    /// The alias, else the relation's name.
    qualifier: Option<String>,
    /// The relation's namespace, when it has no alias.
    namespace: Option<String>,
    /// Whether the relation has one key column.
    single_key: bool,
    /// Whether `excluded` is in sight: the same columns once more, behind the first.
    excluded: bool,
}

impl<'a> Scope<'a> {
    /// No columns.
    pub(super) fn nothing() -> Self {
        Self {
            source: Source::Nothing,
            columns: Vec::new(),
            seq: false,
            qualifier: None,
            namespace: None,
            single_key: false,
            excluded: false,
        }
    }

    /// A table's columns; `_seq` behind them when `seq`.
    pub(super) fn table(table: &'a Arc<Table>, alias: Option<&Name>, seq: bool) -> Self {
        let columns = table
            .columns
            .iter()
            .enumerate()
            .map(|(index, column)| {
                let primary_key = table.primary_key.iter().any(|key| usize::try_from(*key) == Ok(index));
                Visible {
                    name: column.name.clone(),
                    data_type: column.data_type,
                    not_null: primary_key || !column.nullable,
                    primary_key,
                }
            })
            .collect();
        Self {
            source: Source::Table(table),
            columns,
            seq,
            qualifier: Some(alias.map_or_else(|| table.name.clone(), |alias| alias.value.clone())),
            namespace: alias.is_none().then(|| table.namespace.clone()),
            single_key: table.primary_key.len() == 1,
            excluded: false,
        }
    }

    /// A system table's columns.
    pub(super) fn system(table: SystemTable, alias: Option<&Name>) -> Self {
        let columns: Vec<Visible> = system::columns(table)
            .iter()
            .map(|column| Visible {
                name: column.name.to_owned(),
                data_type: column.data_type,
                not_null: !column.nullable,
                primary_key: column.primary_key,
            })
            .collect();
        let single_key = columns.iter().filter(|column| column.primary_key).count() == 1;
        Self {
            source: Source::System(table),
            columns,
            seq: false,
            qualifier: Some(alias.map_or_else(|| system::name(table).to_owned(), |alias| alias.value.clone())),
            namespace: alias.is_none().then(|| system::NAMESPACE.to_owned()),
            single_key,
            excluded: false,
        }
    }

    /// The columns of a table that is being made.
    pub(super) fn draft(name: &str, columns: Vec<Visible>) -> Self {
        Self {
            source: Source::Draft,
            columns,
            seq: false,
            qualifier: Some(name.to_owned()),
            namespace: None,
            single_key: false,
            excluded: false,
        }
    }

    /// The same with `excluded` in sight: the columns of the row that was to be inserted.
    pub(super) fn with_excluded(self) -> Self {
        Self { excluded: true, ..self }
    }

    /// A column of `excluded`, when this is its name and it is in sight.
    pub(super) fn excluded(&self, qualifier: &ObjectName, column: &Name) -> Option<Result<(u32, DataType), Diag>> {
        if !self.excluded || qualifier.namespace.is_some() || qualifier.name.value != EXCLUDED {
            return None;
        }
        let behind = u32::try_from(self.columns.len()).unwrap_or(u32::MAX);
        Some(self.column(column).map(|(index, data_type)| (behind.saturating_add(index), data_type)))
    }

    /// Whether this column is unique by itself.
    pub(super) fn is_unique(&self, column: &Visible) -> bool {
        self.single_key && column.primary_key
    }

    /// Whether `name.*` or `name.column` means this relation.
    pub(super) fn is_qualified_by(&self, name: &ObjectName) -> bool {
        let namespace = match &name.namespace {
            None => true,
            Some(namespace) => self.namespace.as_ref() == Some(&namespace.value),
        };
        namespace && self.qualifier.as_ref() == Some(&name.name.value)
    }

    /// The refusal of a qualifier that is no relation of the statement.
    pub(super) fn unknown_qualifier(&self, name: &ObjectName) -> Diag {
        let diag =
            Diag::new(SqlState::UNDEFINED_TABLE, format!("\"{}\" is not a table of this statement", name.name.value))
                .at(name.span());
        suggest::with_nearest(diag, &name.name.value, self.qualifier.as_deref())
    }

    /// The position of a column, if it is in sight.
    pub(super) fn find(&self, name: &str) -> Option<(u32, DataType)> {
        if self.seq && name == SEQ {
            return u32::try_from(self.columns.len()).ok().map(|index| (index, DataType::BigInt));
        }
        let index = self.columns.iter().position(|column| column.name == name)?;
        let column = self.columns.get(index)?;
        u32::try_from(index).ok().map(|index| (index, column.data_type))
    }

    /// The position and type of a column.
    pub(super) fn column(&self, name: &Name) -> Result<(u32, DataType), Diag> {
        self.find(&name.value).ok_or_else(|| self.unknown_column(&name.value, name.span))
    }

    fn unknown_column(&self, name: &str, span: Span) -> Diag {
        if name == "rowkey" {
            return Diag::not_supported("ROWKEY").at(span).hint("Name the key columns.");
        }
        let diag = Diag::new(SqlState::UNDEFINED_COLUMN, format!("column \"{name}\" does not exist")).at(span);
        match &self.source {
            Source::Nothing => diag.detail("There is no table here to take columns from."),
            Source::Table(_) if name == SEQ => {
                diag.detail("_seq is given when the change is committed; only SELECT reads it.")
            }
            Source::Table(_) | Source::System(_) | Source::Draft => {
                let hidden = if self.seq { Some(SEQ) } else { None };
                let known = self.columns.iter().map(|column| column.name.as_str()).chain(hidden);
                suggest::with_nearest(diag, name, known)
            }
        }
    }
}
