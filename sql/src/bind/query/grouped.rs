//! The row of a grouped query: its keys, then its aggregates.

use crate::bind::expr::{AGGREGATE_BASE, SUBQUERY_BASE};
use crate::bind::scope::{SEQ, Scope, Source};
use crate::diag::{Diag, SqlState};
use crate::eval;
use crate::expr::{BinaryOp, Expr, Function};
use crate::value::{DataType, Value};

/// Where the row of groups says which keys are not in its grouping set, while a query is bound.
pub(super) const GROUPING: u32 = SUBQUERY_BASE - 1;

/// GROUPING of keys, as it stands until the keys are known.
pub(in crate::bind) fn grouping(keys: Vec<Expr>) -> Expr {
    let args = std::iter::once(Expr::Column(GROUPING, DataType::BigInt)).chain(keys).collect();
    Expr::Function { function: Function::Coalesce, args, data_type: DataType::Int }
}

fn as_grouping(expr: &Expr) -> Option<&[Expr]> {
    match expr {
        Expr::Function { function: Function::Coalesce, args, .. } => match args.as_slice() {
            [Expr::Column(GROUPING, _), keys @ ..] => Some(keys),
            _ => None,
        },
        _ => None,
    }
}

/// Whether GROUPING stands in an expression.
pub(super) fn asks_grouping(expr: &Expr) -> bool {
    let mut asks = false;
    expr.visit(&mut |part| asks |= as_grouping(part).is_some());
    asks
}

pub(super) fn no_grouping() -> Diag {
    Diag::new(SqlState::GROUPING_ERROR, "the arguments of GROUPING are keys of GROUP BY")
}

/// The keys of a grouped query, over the row that FROM gives.
pub(super) struct Grouped<'a> {
    pub(super) keys: &'a [Expr],
    pub(super) scope: &'a Scope<'a>,
}

impl Grouped<'_> {
    /// The expression over the row of groups; a column that is no key is refused.
    pub(super) fn over_groups(&self, expr: &Expr) -> Result<Expr, Diag> {
        if let Some(key) = self.keys.iter().position(|key| key == expr) {
            return Ok(Expr::Column(u32::try_from(key).unwrap_or(u32::MAX), eval::data_type(expr)));
        }
        if let Some(asked) = as_grouping(expr) {
            return self.grouping(asked);
        }
        match expr {
            Expr::Column(index, _) if *index >= SUBQUERY_BASE => Ok(expr.clone()),
            Expr::Column(index, data_type) => match index.checked_sub(AGGREGATE_BASE) {
                Some(call) => Ok(Expr::Column(
                    u32::try_from(self.keys.len()).unwrap_or(u32::MAX).saturating_add(call),
                    *data_type,
                )),
                None => Err(self.outside(*index)),
            },
            other => other.with_children(&mut |part| self.over_groups(part)),
        }
    }

    /// A bit per key, the first one's the highest: 1 where the key is not in the grouping set of the row.
    fn grouping(&self, asked: &[Expr]) -> Result<Expr, Diag> {
        let mask = Expr::Column(GROUPING, DataType::BigInt);
        let literal = |number: i64| Box::new(Expr::Literal(Value::BigInt(number), DataType::BigInt));
        let binary = |op, left: Expr, right: Box<Expr>| Expr::Binary {
            op,
            left: Box::new(left),
            right,
            data_type: DataType::BigInt,
        };
        let mut bits = *literal(0);
        for key in asked {
            let at = self.keys.iter().position(|known| known == key).ok_or_else(no_grouping)?;
            let Some(mask) = self.keys.iter().position(|known| *known == mask) else { continue };
            let mask = Expr::Column(u32::try_from(mask).unwrap_or(u32::MAX), DataType::BigInt);
            // Bits are taken apart by division: (mask / 2^at) % 2.
            let power = 1_i64.checked_shl(u32::try_from(at).unwrap_or(u32::MAX)).unwrap_or(i64::MAX);
            let bit = binary(BinaryOp::Modulo, binary(BinaryOp::Divide, mask, literal(power)), literal(2));
            bits = binary(BinaryOp::Add, binary(BinaryOp::Multiply, bits, literal(2)), Box::new(bit));
        }
        Ok(Expr::Cast { expr: Box::new(bits), to: DataType::Int, assignment: false })
    }

    fn outside(&self, position: u32) -> Diag {
        let name = self.scope.at(position).map_or(SEQ, |(_, column)| column.name.as_str());
        let shown = match self.scope.relation_at(position).and_then(|relation| relation.qualifier.as_ref()) {
            Some(qualifier) if self.scope.relations.len() > 1 => format!("{qualifier}.{name}"),
            _ => name.to_owned(),
        };
        Diag::new(SqlState::GROUPING_ERROR, format!("column \"{shown}\" must be in GROUP BY or inside an aggregate"))
    }
}

/// Whether a column has one value per group because the whole key of its table is grouped by.
pub(super) fn depends_on_keys(position: u32, keys: &[Expr], scope: &Scope<'_>) -> bool {
    let Some(relation) = scope.relation_at(position) else { return false };
    let Source::Table(table) = &relation.source else { return false };
    table.primary_key.iter().all(|key| {
        let wanted = relation.first.saturating_add(*key);
        keys.iter().any(|known| matches!(known, Expr::Column(position, _) if *position == wanted))
    })
}
