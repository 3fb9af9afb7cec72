//! FROM: tables, subqueries and common table expressions, and how they are joined.

mod function;

use std::collections::BTreeMap;

use sqlparser::ast::{self, JoinConstraint, JoinOperator, Spanned, TableFactor};

use super::{placed, refuse_at};
use crate::bind::expr::{Binder, Clause, Typed};
use crate::bind::names::{self, name_of, object_of};
use crate::bind::params::Params;
use crate::bind::scope::{Asked, Env, Merged, Outer, Relation, Scope, Source, Star, Visible, stars};
use crate::catalog::TableKind;
use crate::diag::{Diag, Span, SqlState};
use crate::expr::{BinaryOp, Expr};
use crate::lexer::char_span;
use crate::limits;
use crate::statement::Name;
use crate::value::DataType;

/// How the relations of a scope are joined; conditions are over the positions of the scope.
#[derive(Debug)]
pub(super) enum Joined {
    /// The relation of this number.
    Leaf(usize),
    /// Two sides.
    Pair { kind: Kind, left: Box<Joined>, right: Box<Joined>, on: Vec<Expr> },
    /// A relation, by its number, that sees the rows on its left: parameters and their values.
    Lateral { kind: Kind, left: Box<Joined>, right: usize, outer: Vec<(u16, Expr)>, on: Vec<Expr> },
}

/// Joins as they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Inner,
    Left,
    Right,
    Full,
}

/// A part of FROM.
struct Part {
    joined: Joined,
    /// Numbers of its relations.
    from: usize,
    to: usize,
    star: Vec<Star>,
    merged: Vec<Merged>,
}

/// FROM while it is read from left to right.
struct Reader<'a, 'p> {
    env: Env<'a>,
    outer: Option<&'a Outer<'a>>,
    params: &'p mut Params,
    relations: Vec<Relation<'a>>,
    asked: Asked,
    /// Conditions of inner joins that hold subqueries: they are judged with WHERE.
    late: Vec<Expr>,
    /// What relations see of those on their left.
    lateral: BTreeMap<usize, Vec<(u16, Expr)>>,
}

/// The scope of a SELECT, how its relations are joined (`None` without FROM), and conditions that go to WHERE.
pub(super) fn bind<'a>(
    from: &'a [ast::TableWithJoins],
    env: &Env<'a>,
    outer: Option<&'a Outer<'a>>,
    params: &mut Params,
) -> Result<(Scope<'a>, Option<Joined>, Vec<Expr>), Diag> {
    let mut reader = Reader {
        env: env.clone(),
        outer,
        params,
        relations: Vec::new(),
        asked: Asked::default(),
        late: Vec::new(),
        lateral: BTreeMap::new(),
    };
    let mut all: Option<Part> = None;
    for item in from {
        let part = reader.with_joins(item, 0)?;
        all = Some(match all {
            None => part,
            Some(before) => Part {
                joined: reader.joined(Kind::Inner, before.joined, part.joined, Vec::new(), &|| item.span())?,
                from: before.from,
                to: part.to,
                star: before.star.into_iter().chain(part.star).collect(),
                merged: before.merged.into_iter().chain(part.merged).collect(),
            },
        });
    }
    let Reader { relations, asked, late, .. } = reader;
    let (joined, star, merged) = match all {
        Some(part) => (Some(part.joined), part.star, part.merged),
        None => (None, Vec::new(), Vec::new()),
    };
    let scope = Scope { relations, merged, star, env: Some(env.clone()), outer, asked, ..Scope::nothing() };
    Ok((scope, joined, late))
}

impl<'a> Reader<'a, '_> {
    /// A relation of FROM with its joins; `sees` is the first relation on its left that LATERAL sees.
    fn with_joins(&mut self, item: &'a ast::TableWithJoins, sees: usize) -> Result<Part, Diag> {
        let mut left = self.factor_of_join(item, 0, sees)?;
        if !item.joins.is_empty() && self.lateral.contains_key(&left.from) {
            return Err(refuse_at("LATERAL on the left of a join", item.relation.span())
                .hint("Put it last in FROM, behind a comma or CROSS JOIN LATERAL."));
        }
        for (join, number) in item.joins.iter().zip(1..) {
            if join.global {
                return Err(refuse_at("GLOBAL JOIN", join.relation.span()).hint("Write JOIN."));
            }
            let (kind, constraint) = match &join.join_operator {
                JoinOperator::Join(constraint) | JoinOperator::Inner(constraint) => (Kind::Inner, constraint),
                JoinOperator::CrossJoin(constraint @ JoinConstraint::None) => (Kind::Inner, constraint),
                JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) => (Kind::Left, constraint),
                JoinOperator::Right(constraint) | JoinOperator::RightOuter(constraint) => (Kind::Right, constraint),
                JoinOperator::FullOuter(constraint) => (Kind::Full, constraint),
                _ => return Err(refuse_at("this kind of join", join.span())),
            };
            if matches!(constraint, JoinConstraint::None) && !matches!(join.join_operator, JoinOperator::CrossJoin(_)) {
                let place = char_span(join.relation.span());
                return Err(placed(Diag::new(SqlState::SYNTAX_ERROR, "this join lacks its condition"), place)
                    .hint("Write JOIN ... ON condition, JOIN ... USING (columns), or CROSS JOIN."));
            }
            let right = self.factor_of_join(item, number, left.from)?;
            left = self.pair(kind, constraint, left, right, &|| join.relation.span())?;
        }
        Ok(left)
    }

    /// The relation of this number among joined ones. Where a join may give NULLs in place of its rows, no recursive query is named.
    fn factor_of_join(&mut self, item: &'a ast::TableWithJoins, number: usize, sees: usize) -> Result<Part, Diag> {
        let own = number.checked_sub(1).and_then(|at| item.joins.get(at));
        let of_right = matches!(
            own.map(|join| &join.join_operator),
            Some(JoinOperator::Left(_) | JoinOperator::LeftOuter(_) | JoinOperator::FullOuter(_))
        );
        let of_left = item.joins.iter().skip(number).any(|join| {
            matches!(
                join.join_operator,
                JoinOperator::Right(_) | JoinOperator::RightOuter(_) | JoinOperator::FullOuter(_)
            )
        });
        let around = self.env.barrier;
        if of_right || of_left {
            self.env.barrier = around.and("the side of an outer join that may be NULL");
        }
        let factor = own.map_or(&item.relation, |join| &join.relation);
        let part = self.factor(factor, sees);
        self.env.barrier = around;
        part
    }

    fn factor(&mut self, factor: &'a TableFactor, sees: usize) -> Result<Part, Diag> {
        let place = || factor.span();
        if let Some(call) = function::called(factor)? {
            let (relation, seen) = self.function(&call, sees)?;
            return self.add_lateral(relation, seen, &place);
        }
        let relation = match factor {
            TableFactor::Table {
                name,
                alias,
                args,
                with_hints,
                version,
                with_ordinality,
                partitions,
                json_path,
                sample,
                index_hints,
            } => {
                for (present, what) in [
                    (args.is_some(), "a table function"),
                    (!with_hints.is_empty() || !index_hints.is_empty(), "a hint"),
                    (version.is_some(), "a table's version"),
                    (*with_ordinality, "WITH ORDINALITY"),
                    (!partitions.is_empty(), "PARTITION in FROM"),
                    (json_path.is_some(), "a path in FROM"),
                    (sample.is_some(), "TABLESAMPLE"),
                ] {
                    if present {
                        return Err(refuse_at(what, place()));
                    }
                }
                self.named(&object_of(name)?, alias.as_ref()).map_err(|diag| placed(diag, char_span(place())))?
            }
            TableFactor::Derived { lateral: true, subquery, alias, sample: None } => {
                let env = deeper(&self.env, super::start_of(subquery))?;
                let sight = self.sight(sees, self.relations.len(), &[]);
                let outer = Outer::new(&sight);
                let output = super::query_of(subquery, &env, Some(&outer), self.params);
                let seen = outer.seen.into_inner();
                self.asked = sight.asked;
                let output = output?;
                let columns = super::visible(&output.plan.projection);
                let name = alias.as_ref().map(|alias| name_of(&alias.name)).transpose()?;
                let plan = std::sync::Arc::new(output.plan);
                let mut relation = Relation::query(Source::Query(plan), columns, name.map(|name| name.value));
                renamed(&mut relation, alias.as_ref())?;
                return self.add_lateral(relation, seen, &place);
            }
            TableFactor::Derived { sample: Some(_), .. } => return Err(refuse_at("TABLESAMPLE", place())),
            TableFactor::Derived { subquery, alias, .. } => {
                let env = deeper(&self.env, super::start_of(subquery))?;
                let output = super::query_of(subquery, &env, self.outer, self.params)
                    .map_err(|diag| lateral_is_missing(diag, &self.relations))?;
                let columns = super::visible(&output.plan.projection);
                let name = alias.as_ref().map(|alias| name_of(&alias.name)).transpose()?;
                let plan = std::sync::Arc::new(output.plan);
                let mut relation = Relation::query(Source::Query(plan), columns, name.map(|name| name.value));
                renamed(&mut relation, alias.as_ref())?;
                relation
            }
            TableFactor::NestedJoin { table_with_joins, alias: None } => {
                return self.with_joins(table_with_joins, sees);
            }
            TableFactor::NestedJoin { alias: Some(_), .. } => return Err(refuse_at("an alias of a join", place())),
            TableFactor::TableFunction { .. } | TableFactor::Function { .. } | TableFactor::UNNEST { .. } => {
                return Err(refuse_at("a table function", place()));
            }
            _ => return Err(refuse_at("this form of FROM", place())),
        };
        self.add(relation, &place)
    }

    /// A table, a system table or a common table expression.
    fn named(
        &mut self,
        name: &crate::statement::ObjectName,
        alias: Option<&ast::TableAlias>,
    ) -> Result<Relation<'a>, Diag> {
        let called = alias.map(|alias| name_of(&alias.name)).transpose()?;
        if name.namespace.is_none()
            && let Some(cte) = self.env.ctes.iter().rev().find(|cte| cte.name == name.name.value)
        {
            let plan = std::sync::Arc::clone(&cte.plan);
            let source = match (&cte.working, cte.id) {
                (Some(working), _) => {
                    let barrier = self.env.barrier;
                    if barrier.count > working.barriers {
                        return Err(recursion_behind(barrier.what, &cte.name, name.span()));
                    }
                    if working.named.replace(true) {
                        return Err(recursion_twice(&cte.name, name.span()));
                    }
                    Source::Working { id: working.id, name: cte.name.clone() }
                }
                (None, Some(id)) => {
                    // A subquery may run for many rows, and the step of a recursive query in many rounds.
                    let is_run_once = self.outer.is_none() && self.env.ctes.iter().all(|known| known.working.is_none());
                    if cte.place.is_some_and(|place| self.params.reads(place, is_run_once)) {
                        Source::Query(plan)
                    } else {
                        Source::Shared { id, name: cte.name.clone(), plan }
                    }
                }
                (None, None) => Source::Query(plan),
            };
            let qualifier = called.map_or_else(|| cte.name.clone(), |called| called.value);
            let mut relation = Relation::query(source, cte.columns.clone(), Some(qualifier));
            renamed(&mut relation, alias)?;
            return Ok(relation);
        }
        let found = names::relation(name, &self.env.context).map_err(|mut diag| {
            if diag.sqlstate == SqlState::UNDEFINED_TABLE && name.namespace.is_none() {
                let ctes = self.env.ctes.iter().map(|cte| cte.name.as_str());
                diag.suggestions.extend(crate::suggest::nearest(&name.name.value, ctes));
                diag.suggestions.truncate(5);
            }
            diag
        })?;
        let mut relation = match found {
            names::Relation::Table(table) => {
                if table.kind == TableKind::Shared {
                    self.params.names_not_owned(false, name.span());
                }
                Relation::table(table, called.as_ref(), true)
            }
            names::Relation::System(table) => {
                self.params.names_not_owned(true, name.span());
                Relation::system(table, called.as_ref())
            }
        };
        renamed(&mut relation, alias)?;
        Ok(relation)
    }

    fn add(
        &mut self,
        mut relation: Relation<'a>,
        place: &dyn Fn() -> sqlparser::tokenizer::Span,
    ) -> Result<Part, Diag> {
        let repeated = self.relations.iter().any(|known| {
            // Tables of two namespaces may share a name: only an alias stands for itself alone.
            let told_apart =
                known.namespace != relation.namespace && known.namespace.is_some() && relation.namespace.is_some();
            known.qualifier.is_some() && known.qualifier == relation.qualifier && !told_apart
        });
        if repeated {
            let name = relation.qualifier.unwrap_or_default();
            let diag = Diag::new(SqlState::DUPLICATE_ALIAS, format!("\"{name}\" stands twice in FROM"));
            return Err(placed(diag, char_span(place())).hint("Give each an alias of its own."));
        }
        let number = self.relations.len();
        if number >= limits::MAX_RELATIONS {
            let diag = Diag::new(
                SqlState::PROGRAM_LIMIT,
                format!("a SELECT joins at most {} relations", limits::MAX_RELATIONS),
            );
            return Err(placed(diag, char_span(place())));
        }
        relation.first = self.relations.last().map_or(0, |last| last.first.saturating_add(last.width()));
        let star = stars(&relation);
        self.relations.push(relation);
        Ok(Part { joined: Joined::Leaf(number), from: number, to: number + 1, star, merged: Vec::new() })
    }

    /// A relation that may look at those on its left.
    fn add_lateral(
        &mut self,
        relation: Relation<'a>,
        seen: Vec<(u16, Expr)>,
        place: &dyn Fn() -> sqlparser::tokenizer::Span,
    ) -> Result<Part, Diag> {
        let part = self.add(relation, place)?;
        if !seen.is_empty() {
            self.lateral.insert(part.from, seen);
        }
        Ok(part)
    }

    /// Two sides joined.
    fn joined(
        &mut self,
        kind: Kind,
        left: Joined,
        right: Joined,
        on: Vec<Expr>,
        place: &dyn Fn() -> sqlparser::tokenizer::Span,
    ) -> Result<Joined, Diag> {
        if let Joined::Leaf(number) = right
            && let Some(outer) = self.lateral.remove(&number)
        {
            if !matches!(kind, Kind::Inner | Kind::Left) {
                return Err(refuse_at("LATERAL on the right of a RIGHT or FULL JOIN", place()));
            }
            return Ok(Joined::Lateral { kind, left: Box::new(left), right: number, outer, on });
        }
        Ok(Joined::Pair { kind, left: Box::new(left), right: Box::new(right), on })
    }

    fn pair(
        &mut self,
        kind: Kind,
        constraint: &'a JoinConstraint,
        left: Part,
        right: Part,
        place: &dyn Fn() -> sqlparser::tokenizer::Span,
    ) -> Result<Part, Diag> {
        let (from, to) = (left.from, right.to);
        let mut star: Vec<Star> = Vec::new();
        let mut merged: Vec<Merged> = left.merged.iter().chain(&right.merged).cloned().collect();
        let on = match constraint {
            JoinConstraint::None => Vec::new(),
            JoinConstraint::On(condition) => self.on(kind, condition, from, to, &merged)?,
            JoinConstraint::Using(names) => {
                let names = names.iter().map(names::single).collect::<Result<Vec<Name>, Diag>>()?;
                self.using(kind, &names, &left, &right, &mut merged, &mut star)?
            }
            JoinConstraint::Natural => {
                let common = left.star.iter().filter(|star| right.star.iter().any(|other| other.name == star.name));
                let span = Span { start: 0, end: 0 };
                let names: Vec<Name> = common.map(|star| Name { value: star.name.clone(), span }).collect();
                self.using(kind, &names, &left, &right, &mut merged, &mut star)?
            }
        };
        let rest = left.star.into_iter().chain(right.star);
        let rest: Vec<Star> = rest.filter(|one| !star.iter().any(|made| made.name == one.name)).collect();
        star.extend(rest);
        let nullable = |side: std::ops::Range<usize>, relations: &mut Vec<Relation<'a>>| {
            relations.iter_mut().take(side.end).skip(side.start).for_each(|relation| relation.nullable = true);
        };
        if matches!(kind, Kind::Left | Kind::Full) {
            nullable(right.from..right.to, &mut self.relations);
        }
        if matches!(kind, Kind::Right | Kind::Full) {
            nullable(left.from..left.to, &mut self.relations);
        }
        let joined = self.joined(kind, left.joined, right.joined, on, place)?;
        Ok(Part { joined, from, to, star, merged })
    }

    /// What conditions of a join can see: its own relations.
    fn sight(&mut self, from: usize, to: usize, merged: &[Merged]) -> Scope<'a> {
        Scope {
            relations: self.relations.get(from..to).unwrap_or_default().to_vec(),
            merged: merged.to_vec(),
            env: Some(self.env.clone()),
            outer: self.outer,
            asked: std::mem::take(&mut self.asked),
            ..Scope::nothing()
        }
    }

    fn on(
        &mut self,
        kind: Kind,
        condition: &ast::Expr,
        from: usize,
        to: usize,
        merged: &[Merged],
    ) -> Result<Vec<Expr>, Diag> {
        let scope = self.sight(from, to, merged);
        let before = scope.asked.subqueries.borrow().len();
        let mut none = Vec::new();
        let bound = Binder::new(&scope, self.params, Clause::On, &mut none).condition(condition);
        self.asked = scope.asked;
        let bound = bound?;
        let asks = self.asked.subqueries.borrow().len() > before;
        let mut conjuncts = Vec::new();
        super::tree::conjuncts(&bound, &mut conjuncts);
        if asks && kind != Kind::Inner {
            return Err(refuse_at(
                "a subquery that looks at the joined rows, in ON of an outer join",
                condition.span(),
            )
            .hint("Join with a subquery in FROM instead."));
        }
        if asks {
            self.late.extend(conjuncts);
            return Ok(Vec::new());
        }
        Ok(conjuncts)
    }

    fn using(
        &mut self,
        kind: Kind,
        names: &[Name],
        left: &Part,
        right: &Part,
        merged: &mut Vec<Merged>,
        star: &mut Vec<Star>,
    ) -> Result<Vec<Expr>, Diag> {
        let mut on = Vec::new();
        for name in names {
            let mut side = |from: usize, to: usize, merged: &[Merged]| {
                let scope = self.sight(from, to, merged);
                let found = scope.local(name);
                let found = found.and_then(|found| found.ok_or_else(|| scope.unknown_column(&name.value, name.span)));
                self.asked = scope.asked;
                found
            };
            let (left_expr, left_type) = side(left.from, left.to, &left.merged)?;
            let (right_expr, right_type) = side(right.from, right.to, &right.merged)?;
            let span = (name.span.start != name.span.end).then_some(name.span);
            let scope = Scope::nothing();
            let mut none = Vec::new();
            let mut binder = Binder::new(&scope, self.params, Clause::On, &mut none);
            let typed = |expr: &Expr, data_type: DataType| Typed::leaf(expr.clone(), Some(data_type), span);
            let (l, r) = (typed(&left_expr, left_type), typed(&right_expr, right_type));
            on.push(binder.operation(BinaryOp::Equal, l.clone(), r.clone())?.expr);
            let (expr, data_type) = match kind {
                Kind::Inner | Kind::Left => (left_expr.clone(), left_type),
                Kind::Right => (right_expr.clone(), right_type),
                Kind::Full => {
                    let either = crate::bind::function::resolved(&mut binder, "coalesce", vec![l, r], span)?;
                    let data_type = either.data_type.unwrap_or(left_type);
                    (either.expr, data_type)
                }
            };
            let mut hides = Vec::new();
            merged.retain(|known| {
                let replaced = known.name == name.value;
                if replaced {
                    hides.extend(known.hides.iter().copied());
                }
                !replaced
            });
            for side in [&left_expr, &right_expr] {
                side.visit(&mut |part| {
                    if let Expr::Column(position, _) = part {
                        hides.push(*position);
                    }
                });
            }
            merged.push(Merged { name: name.value.clone(), expr: expr.clone(), data_type, hides });
            star.push(Star { name: name.value.clone(), expr, data_type });
        }
        Ok(on)
    }
}

/// The surroundings of a query inside another.
pub(in crate::bind) fn deeper<'a>(env: &Env<'a>, span: Option<Span>) -> Result<Env<'a>, Diag> {
    let depth = env.depth + 1;
    if depth > limits::MAX_QUERY_NESTING {
        let diag = Diag::new(
            SqlState::PROGRAM_LIMIT,
            format!("queries are nested deeper than {} levels", limits::MAX_QUERY_NESTING),
        );
        return Err(placed(diag, span).hint("Name the inner ones in WITH."));
    }
    Ok(Env { depth, ..env.clone() })
}

/// Columns renamed by an alias: `AS t (a, b)`.
fn renamed(relation: &mut Relation<'_>, alias: Option<&ast::TableAlias>) -> Result<(), Diag> {
    let Some(alias) = alias else { return Ok(()) };
    if alias.at.is_some() {
        return Err(refuse_at("AT behind an alias", alias.name.span));
    }
    rename_columns(&mut relation.columns, &alias.columns, &alias.name)
}

/// Gives columns the names of a list.
pub(super) fn rename_columns(
    columns: &mut [Visible],
    list: &[ast::TableAliasColumnDef],
    of: &ast::Ident,
) -> Result<(), Diag> {
    if list.len() > columns.len() {
        let diag = Diag::new(
            SqlState::INVALID_COLUMN_REFERENCE,
            format!("\"{}\" has {} columns, but {} names are given", of.value, columns.len(), list.len()),
        );
        return Err(placed(diag, char_span(of.span)));
    }
    for (column, given) in columns.iter_mut().zip(list) {
        if given.data_type.is_some() {
            return Err(refuse_at("a type in an alias", given.name.span));
        }
        column.name = name_of(&given.name)?.value;
    }
    Ok(())
}

/// Shows the conditions of every join.
pub(super) fn each_condition(joined: &Joined, see: &mut dyn FnMut(&Expr)) {
    match joined {
        Joined::Leaf(_) => {}
        Joined::Pair { left, right, on, .. } => {
            each_condition(left, see);
            each_condition(right, see);
            on.iter().for_each(see);
        }
        Joined::Lateral { left, outer, on, .. } => {
            each_condition(left, see);
            outer.iter().for_each(|(_, expr)| see(expr));
            on.iter().for_each(see);
        }
    }
}

/// A subquery of FROM that names what stands on its left.
fn lateral_is_missing(diag: Diag, relations: &[Relation<'_>]) -> Diag {
    let named = |relation: &Relation<'_>| {
        let name = relation.qualifier.as_deref().unwrap_or_default();
        diag.message == format!("\"{name}\" is not a table of this statement")
    };
    if diag.sqlstate == SqlState::UNDEFINED_TABLE && diag.hint.is_none() && relations.iter().any(named) {
        return diag.hint("Write LATERAL before a subquery that looks at what stands on its left.");
    }
    diag
}

/// A recursive query that reads itself twice: its rounds would have to remember all that came before.
fn recursion_twice(name: &str, span: Span) -> Diag {
    let diag = format!("the recursive query \"{name}\" names itself more than once");
    Diag::new(SqlState::INVALID_RECURSION, diag).hint("Its second part reads it in one place, in FROM.").at(span)
}

/// A recursive query that reads itself where a later round could take back what an earlier one gave.
fn recursion_behind(what: &str, name: &str, span: Span) -> Diag {
    let diag = format!("the recursive query \"{name}\" cannot name itself within {what}");
    Diag::new(SqlState::INVALID_RECURSION, diag).hint("Its second part reads it in one place, in FROM.").at(span)
}
