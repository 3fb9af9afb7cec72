//! The names that an expression can see: the columns of the relations in FROM, and around a subquery those of its query.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use super::BindContext;
use super::expr::AGGREGATE_BASE;
use super::expr::row_key::ROW_KEY;
use crate::catalog::{Index, IndexState, Table};
use crate::diag::{Diag, Span, SqlState};
use crate::expr::{AggregateCall, Expr};
use crate::plan::{FIRST_SLOT, Once, QueryPlan, Subquery, SystemTable, WindowCall};
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

/// Where the columns of a relation come from.
#[derive(Clone, Debug)]
pub(super) enum Source<'a> {
    Nothing,
    Table(&'a Arc<Table>),
    System(SystemTable),
    /// Columns of a table that is being made.
    Draft,
    /// A subquery.
    Query(Arc<QueryPlan>),
    /// A common table expression.
    Shared {
        id: u32,
        name: String,
        plan: Arc<QueryPlan>,
    },
    /// The rows that the round before gave, inside a recursive query.
    Working {
        id: u32,
        name: String,
    },
}

/// One relation of FROM.
#[derive(Clone, Debug)]
pub(super) struct Relation<'a> {
    pub(super) source: Source<'a>,
    /// The position of its first column in the row of the query.
    pub(super) first: u32,
    pub(super) columns: Vec<Visible>,
    /// Whether `_seq` is in sight, behind the columns.
    pub(super) seq: bool,
    /// The alias, else the relation's name; `None` for a subquery without an alias.
    pub(super) qualifier: Option<String>,
    /// The relation's namespace, when it has no alias.
    pub(super) namespace: Option<String>,
    /// Whether the relation has one key column.
    single_key: bool,
    /// An outer join may give NULLs in place of its rows.
    pub(super) nullable: bool,
}

impl Relation<'_> {
    /// Its columns in the row of the query, `_seq` included.
    pub(super) fn width(&self) -> u32 {
        u32::try_from(self.columns.len()).unwrap_or(u32::MAX).saturating_add(u32::from(self.seq))
    }

    pub(super) fn is_qualified_by(&self, name: &ObjectName) -> bool {
        let namespace = match &name.namespace {
            None => true,
            Some(namespace) => self.namespace.as_ref() == Some(&namespace.value),
        };
        namespace && self.qualifier.as_ref() == Some(&name.name.value)
    }

    /// Whether a unique index is of the column at this position alone.
    fn has_unique_index_of(&self, position: u32) -> bool {
        let Source::Table(table) = &self.source else { return false };
        let at = position.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        let Some(column) = at.and_then(|at| table.columns.get(at)) else { return false };
        let is_it = |index: &Index| matches!(index.columns.as_slice(), [one] if one.column == column.id);
        table.indexes.iter().any(|index| index.unique && index.state == IndexState::Public && is_it(index))
    }

    /// The columns of this name: a subquery may give one name to several.
    fn named<'r>(&'r self, name: &'r str) -> impl Iterator<Item = (u32, DataType)> + 'r {
        let columns = self.columns.iter().zip(self.first..);
        let own = columns.filter(move |(column, _)| column.name == name).map(|(column, at)| (at, column.data_type));
        let behind = self.first.saturating_add(u32::try_from(self.columns.len()).unwrap_or(u32::MAX));
        own.chain((self.seq && name == SEQ).then_some((behind, DataType::BigInt)))
    }
}

/// A column of both sides of a join, made one by USING or NATURAL.
#[derive(Clone, Debug)]
pub(super) struct Merged {
    pub(super) name: String,
    pub(super) expr: Expr,
    pub(super) data_type: DataType,
    /// The positions that this name no longer means by itself.
    pub(super) hides: Vec<u32>,
}

/// What `*` stands for, in order.
#[derive(Clone, Debug)]
pub(super) struct Star {
    pub(super) name: String,
    pub(super) expr: Expr,
    pub(super) data_type: DataType,
}

/// A common table expression that is in sight.
#[derive(Clone, Debug)]
pub(super) struct Cte {
    pub(super) name: String,
    pub(super) columns: Vec<Visible>,
    pub(super) plan: Arc<QueryPlan>,
    /// Tells it from others of the statement; `None`: its rows depend on outer rows, so each reference runs it.
    pub(super) id: Option<u32>,
    /// The place of its name, if it may stand where it is read: it is not volatile, nor MATERIALIZED.
    pub(super) place: Option<u32>,
    /// Inside the query itself.
    pub(super) working: Option<Working>,
}

/// A recursive query as its own step sees it.
#[derive(Clone, Debug)]
pub(super) struct Working {
    /// Its number.
    pub(super) id: u32,
    /// Whether it was named.
    pub(super) named: Rc<Cell<bool>>,
    /// [`Barrier::count`] where its step begins.
    pub(super) barriers: u32,
}

/// What stands around a query and keeps recursive queries from being named in it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Barrier {
    /// How many there are.
    pub(super) count: u32,
    /// The innermost one.
    pub(super) what: &'static str,
}

impl Barrier {
    /// One more.
    pub(super) fn and(self, what: &'static str) -> Self {
        Self { count: self.count + 1, what }
    }
}

/// What a query inside a statement can name besides its own FROM.
#[derive(Clone, Debug)]
pub(super) struct Env<'a> {
    pub(super) context: BindContext<'a>,
    pub(super) ctes: Rc<Vec<Cte>>,
    pub(super) barrier: Barrier,
    /// How many queries are around it.
    pub(super) depth: usize,
}

impl<'a> Env<'a> {
    /// The surroundings of a whole statement.
    pub(super) fn of(context: &BindContext<'a>) -> Self {
        Self { context: *context, ctes: Rc::default(), barrier: Barrier::default(), depth: 0 }
    }
}

/// The query around a subquery, and what the subquery sees of its row.
pub(super) struct Outer<'a> {
    pub(super) scope: &'a Scope<'a>,
    /// Parameters and their values over the row of the outer query.
    pub(super) seen: RefCell<Vec<(u16, Expr)>>,
    /// Aggregates in the subquery that are those of the outer query; `None` where that takes none.
    pub(super) aggregates: Option<Aggregates>,
}

/// Aggregates that subqueries ask of the query around them.
#[derive(Debug)]
pub(super) struct Aggregates {
    /// How many the outer query had before.
    pub(super) first: usize,
    /// Those that are new, over its rows.
    pub(super) calls: RefCell<Vec<AggregateCall>>,
}

/// What expressions of a query have asked for so far, besides its columns.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// Subqueries that look at its rows, or are compared with values of them.
    pub(super) subqueries: RefCell<Vec<Subquery>>,
    /// Subqueries that do not.
    pub(super) once: RefCell<Vec<Once>>,
    pub(super) windows: RefCell<Vec<WindowCall>>,
}

impl Asked {
    /// Whether only columns, parameters and constants were asked for.
    pub(super) fn is_empty(&self) -> bool {
        self.subqueries.borrow().is_empty() && self.once.borrow().is_empty() && self.windows.borrow().is_empty()
    }
}

/// What an expression can see. Positions are those of the row that FROM gives.
pub(super) struct Scope<'a> {
    pub(super) relations: Vec<Relation<'a>>,
    pub(super) merged: Vec<Merged>,
    pub(super) star: Vec<Star>,
    /// `None` where a subquery cannot stand.
    pub(super) env: Option<Env<'a>>,
    pub(super) outer: Option<&'a Outer<'a>>,
    pub(super) asked: Asked,
    /// Whether `excluded` is in sight: the only relation's columns once more, behind the first.
    pub(super) excluded: bool,
    /// Named windows.
    pub(super) windows: Vec<(String, &'a sqlparser::ast::NamedWindowExpr)>,
}

impl<'a> Scope<'a> {
    /// No columns.
    pub(super) fn nothing() -> Self {
        Self {
            relations: Vec::new(),
            merged: Vec::new(),
            star: Vec::new(),
            env: None,
            outer: None,
            asked: Asked::default(),
            excluded: false,
            windows: Vec::new(),
        }
    }

    fn one(relation: Relation<'a>) -> Self {
        let star = stars(&relation);
        Self { relations: vec![relation], star, ..Self::nothing() }
    }

    /// A table's columns; `_seq` behind them when `seq`.
    pub(super) fn table(table: &'a Arc<Table>, alias: Option<&Name>, seq: bool) -> Self {
        Self::one(Relation::table(table, alias, seq))
    }

    /// A system table's columns.
    pub(super) fn system(table: SystemTable, alias: Option<&Name>) -> Self {
        Self::one(Relation::system(table, alias))
    }

    /// The columns of a table that is being made.
    pub(super) fn draft(name: &str, columns: Vec<Visible>) -> Self {
        Self::one(Relation {
            source: Source::Draft,
            first: 0,
            columns,
            seq: false,
            qualifier: Some(name.to_owned()),
            namespace: None,
            single_key: false,
            nullable: false,
        })
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
        let width = self.relations.first().map_or(0, |relation| relation.columns.len());
        let behind = u32::try_from(width).unwrap_or(u32::MAX);
        Some(self.column(column).map(|(index, data_type)| (behind.saturating_add(index), data_type)))
    }

    /// The source of the only relation.
    pub(super) fn source(&self) -> &Source<'a> {
        match self.relations.as_slice() {
            [one] => &one.source,
            _ => &Source::Nothing,
        }
    }

    /// The column at a position and its relation; `None` for `_seq`, which is no column of its table.
    pub(super) fn at(&self, position: u32) -> Option<(&Relation<'a>, &Visible)> {
        let relation = self.relation_at(position)?;
        let index = usize::try_from(position.checked_sub(relation.first)?).ok()?;
        Some((relation, relation.columns.get(index)?))
    }

    /// The relation that gives the column at a position.
    pub(super) fn relation_at(&self, position: u32) -> Option<&Relation<'a>> {
        self.relations
            .iter()
            .find(|relation| (relation.first..relation.first.saturating_add(relation.width())).contains(&position))
    }

    /// Whether the column at this position is unique by itself and never NULL because of a join.
    pub(super) fn is_unique(&self, position: u32) -> bool {
        match (self.relations.as_slice(), self.at(position)) {
            ([_], Some((relation, column))) => {
                relation.single_key && column.primary_key || relation.has_unique_index_of(position)
            }
            _ => false,
        }
    }

    /// The relation that `name.*` means.
    pub(super) fn qualified(&self, name: &ObjectName) -> Result<&Relation<'a>, Diag> {
        let mut found = self.relations.iter().filter(|relation| relation.is_qualified_by(name));
        match (found.next(), found.next()) {
            (Some(one), None) => Ok(one),
            (Some(_), Some(_)) => Err(Diag::new(
                SqlState::AMBIGUOUS_ALIAS,
                format!("\"{}\" names several tables of this statement", name.name.value),
            )
            .hint("Give each an alias.")
            .at(name.span())),
            (None, _) => Err(self.unknown_qualifier(name)),
        }
    }

    /// The refusal of a qualifier that is no relation of the statement.
    fn unknown_qualifier(&self, name: &ObjectName) -> Diag {
        let diag =
            Diag::new(SqlState::UNDEFINED_TABLE, format!("\"{}\" is not a table of this statement", name.name.value))
                .at(name.span());
        let known = self.relations.iter().filter_map(|relation| relation.qualifier.as_deref());
        let diag = suggest::with_nearest(diag, &name.name.value, known);
        // An alias hides the name of its table.
        let hidden = self.relations.iter().find(|relation| match &relation.source {
            Source::Table(table) => relation.namespace.is_none() && table.name == name.name.value,
            _ => false,
        });
        match hidden.and_then(|relation| relation.qualifier.as_deref()) {
            Some(alias) => diag.hint(format!("The table is called \"{alias}\" in this statement.")),
            None => diag,
        }
    }

    /// The position of a column of the only relation, for statements that know one.
    pub(super) fn column(&self, name: &Name) -> Result<(u32, DataType), Diag> {
        let found = self.relations.iter().find_map(|relation| relation.named(&name.value).next());
        found.ok_or_else(|| self.unknown_column(&name.value, name.span))
    }

    /// What a column's name means here, not looking at outer queries.
    pub(super) fn local(&self, name: &Name) -> Result<Option<(Expr, DataType)>, Diag> {
        let merged = self.merged.iter().filter(|merged| merged.name == name.value);
        let merged = merged.map(|merged| (merged.expr.clone(), merged.data_type));
        let columns = self.relations.iter().flat_map(|relation| relation.named(&name.value));
        let columns = columns
            .filter(|(position, _)| !self.merged.iter().any(|merged| merged.hides.contains(position)))
            .map(|(position, data_type)| (Expr::Column(position, data_type), data_type));
        let mut found = merged.chain(columns);
        let first = found.next();
        if first.is_none() && name.value == ROW_KEY {
            return self.row_key(name.span);
        }
        if found.next().is_none() {
            return Ok(first);
        }
        let owners: Vec<String> = self
            .relations
            .iter()
            .filter(|relation| relation.named(&name.value).next().is_some())
            .filter_map(|relation| relation.qualifier.as_ref())
            .map(|qualifier| format!("{qualifier}.{}", name.value))
            .collect();
        let repeating = self.relations.iter().find(|relation| relation.named(&name.value).nth(1).is_some());
        if let Some(relation) = repeating {
            return Err(repeated_column(relation, name));
        }
        let mut diag = Diag::new(
            SqlState::AMBIGUOUS_COLUMN,
            format!("column \"{}\" is in several tables of this statement", name.value),
        )
        .hint(format!("Write {}.", owners.join(" or ")))
        .at(name.span);
        diag.suggestions = owners;
        Err(diag)
    }

    /// What a column's name means: a column of the query, or of one around it.
    pub(super) fn resolve(
        &self,
        name: &Name,
        slots: &mut dyn FnMut() -> Result<u16, Diag>,
    ) -> Result<Option<(Expr, DataType)>, Diag> {
        if let Some(found) = self.local(name)? {
            return Ok(Some(found));
        }
        let Some(outer) = self.outer else { return Ok(None) };
        match outer.scope.resolve(name, slots)? {
            Some((expr, data_type)) => outer.seen_as(expr, data_type, slots).map(Some),
            None => Ok(None),
        }
    }

    /// What a qualified column's name means: a column of the query, or of one around it.
    pub(super) fn resolve_qualified(
        &self,
        qualifier: &ObjectName,
        column: &Name,
        slots: &mut dyn FnMut() -> Result<u16, Diag>,
    ) -> Result<(Expr, DataType), Diag> {
        let known = self.relations.iter().any(|relation| relation.is_qualified_by(qualifier));
        if !known && let Some(outer) = self.outer {
            let found = outer.scope.resolve_qualified(qualifier, column, slots);
            return match found {
                Ok((expr, data_type)) => outer.seen_as(expr, data_type, slots),
                // What is near is looked for where the name stands.
                Err(diag) if diag.sqlstate == SqlState::UNDEFINED_TABLE => Err(self.unknown_qualifier(qualifier)),
                Err(diag) => Err(diag),
            };
        }
        let relation = self.qualified(qualifier)?;
        let mut found = relation.named(&column.value);
        match (found.next(), found.next()) {
            (Some((position, data_type)), None) => Ok((Expr::Column(position, data_type), data_type)),
            (Some(_), Some(_)) => Err(repeated_column(relation, column)),
            (None, _) => {
                if column.value == ROW_KEY
                    && let Some(found) = relation.row_key(column.span)?
                {
                    return Ok(found);
                }
                let known = relation.columns.iter().map(|column| column.name.as_str());
                let diag = Diag::new(
                    SqlState::UNDEFINED_COLUMN,
                    format!("column \"{}\" does not exist in \"{}\"", column.value, qualifier.name.value),
                )
                .at(column.span);
                Err(suggest::with_nearest(diag, &column.value, known))
            }
        }
    }

    /// The refusal of a column's name that means nothing.
    pub(super) fn unknown_column(&self, name: &str, span: Span) -> Diag {
        let diag = Diag::new(SqlState::UNDEFINED_COLUMN, format!("column \"{name}\" does not exist")).at(span);
        if self.relations.is_empty() && self.outer.is_none() {
            return diag.detail("There is no table here to take columns from.");
        }
        if name == ROW_KEY {
            return diag.detail("ROWKEY is the key of a table, and nothing in FROM is a table with one.");
        }
        if name == SEQ && matches!(self.source(), Source::Table(_)) {
            return diag.detail("_seq is given when the change is committed; only SELECT reads it.");
        }
        let mut known: Vec<&str> = Vec::new();
        let mut scope = Some(self);
        while let Some(here) = scope {
            for relation in &here.relations {
                known.extend(relation.columns.iter().map(|column| column.name.as_str()));
                known.extend(relation.seq.then_some(SEQ));
            }
            scope = here.outer.map(|outer| outer.scope);
        }
        known.sort_unstable();
        known.dedup();
        suggest::with_nearest(diag, name, known)
    }
}

impl<'a> Relation<'a> {
    /// A table; `_seq` behind its columns when `seq`.
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
            first: 0,
            columns,
            seq,
            qualifier: Some(alias.map_or_else(|| table.name.clone(), |alias| alias.value.clone())),
            namespace: alias.is_none().then(|| table.namespace.clone()),
            single_key: table.primary_key.len() == 1,
            nullable: false,
        }
    }

    /// A system table.
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
            first: 0,
            columns,
            seq: false,
            qualifier: Some(alias.map_or_else(|| system::name(table).to_owned(), |alias| alias.value.clone())),
            namespace: alias.is_none().then(|| system::NAMESPACE.to_owned()),
            single_key,
            nullable: false,
        }
    }

    /// A subquery or common table expression of these columns.
    pub(super) fn query(source: Source<'a>, columns: Vec<Visible>, qualifier: Option<String>) -> Self {
        Self { source, first: 0, columns, seq: false, qualifier, namespace: None, single_key: false, nullable: false }
    }
}

/// The refusal of a name that several columns of one relation have.
fn repeated_column(relation: &Relation<'_>, name: &Name) -> Diag {
    let of = relation.qualifier.as_ref().map_or_else(|| "the subquery".to_owned(), |known| format!("\"{known}\""));
    Diag::new(SqlState::AMBIGUOUS_COLUMN, format!("several columns of {of} are called \"{}\"", name.value))
        .hint("Give each a name of its own with AS.")
        .at(name.span)
}

/// What `*` stands for over one relation.
pub(super) fn stars(relation: &Relation<'_>) -> Vec<Star> {
    let positions = relation.first..;
    let column = |(column, position): (&Visible, u32)| Star {
        name: column.name.clone(),
        expr: Expr::Column(position, column.data_type),
        data_type: column.data_type,
    };
    relation.columns.iter().zip(positions).map(column).collect()
}

impl<'a> Outer<'a> {
    /// Around a subquery where the outer query takes no aggregates.
    pub(super) fn new(scope: &'a Scope<'a>) -> Self {
        Self { scope, seen: RefCell::default(), aggregates: None }
    }

    /// An aggregate whose arguments look at rows of the outer query alone, as the outer query's own: the parameter by which the subquery sees
    /// its result. `None` where it cannot be that. The first `known` values were seen before its arguments were bound: only they are seen
    /// besides.
    pub(super) fn aggregated(
        &self,
        call: &AggregateCall,
        known: usize,
        slots: &mut dyn FnMut() -> Result<u16, Diag>,
    ) -> Result<Option<(Expr, DataType)>, Diag> {
        let Some(Aggregates { first, calls }) = &self.aggregates else { return Ok(None) };
        let args: Option<Vec<Expr>> = call.args.iter().map(|arg| self.over_outer_row(arg)).collect();
        let Some(args) = args else { return Ok(None) };
        self.seen.borrow_mut().truncate(known);
        let call = AggregateCall { args, ..call.clone() };
        let data_type = call.data_type;
        let place = {
            let mut calls = calls.borrow_mut();
            let place = calls.iter().position(|known| *known == call).unwrap_or(calls.len());
            if place == calls.len() {
                calls.push(call);
            }
            u32::try_from(first.saturating_add(place)).unwrap_or(u32::MAX - AGGREGATE_BASE)
        };
        let result = Expr::Column(AGGREGATE_BASE.saturating_add(place), data_type);
        self.seen_as(result, data_type, slots).map(Some)
    }

    /// An expression of the subquery that looks at the outer row alone, as one over that row.
    fn over_outer_row(&self, expr: &Expr) -> Option<Expr> {
        match expr {
            Expr::Column(..) => None,
            Expr::Param(slot, _) if *slot >= FIRST_SLOT => {
                self.seen.borrow().iter().find(|(known, _)| known == slot).map(|(_, value)| value.clone())
            }
            other => {
                let refused = || Diag::new(SqlState::INTERNAL, "a value of another row");
                other.with_children(&mut |part| self.over_outer_row(part).ok_or_else(refused)).ok()
            }
        }
    }

    /// The parameter by which the subquery sees a value of the outer row; what is constant there is so here.
    fn seen_as(
        &self,
        expr: Expr,
        data_type: DataType,
        slots: &mut dyn FnMut() -> Result<u16, Diag>,
    ) -> Result<(Expr, DataType), Diag> {
        if matches!(expr, Expr::Param(..)) {
            return Ok((expr, data_type));
        }
        let known = self.seen.borrow().iter().find(|(_, known)| *known == expr).map(|(slot, _)| *slot);
        let slot = match known {
            Some(slot) => slot,
            None => {
                let slot = slots()?;
                self.seen.borrow_mut().push((slot, expr));
                slot
            }
        };
        Ok((Expr::Param(slot, data_type), data_type))
    }
}
