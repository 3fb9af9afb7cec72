//! Walking expressions: the one place, besides evaluation, that lists the parts of every kind of expression.

use super::Expr;
use crate::diag::Diag;

impl Expr {
    /// Shows each direct part, in order of evaluation.
    pub fn each_child<'e>(&'e self, see: &mut dyn FnMut(&'e Self)) {
        match self {
            Self::Literal(..) | Self::Column(..) | Self::Param(..) => {}
            Self::Unary { expr, .. }
            | Self::IsNull { expr, .. }
            | Self::Cast { expr, .. }
            | Self::IsBool { expr, .. } => see(expr),
            Self::Binary { left, right, .. } | Self::IsDistinct { left, right, .. } => {
                see(left);
                see(right);
            }
            Self::InList { expr, list, .. } => {
                see(expr);
                list.iter().for_each(see);
            }
            Self::Like { expr, pattern, .. } => {
                see(expr);
                see(pattern);
            }
            Self::Case { branches, otherwise, .. } => {
                for (condition, result) in branches {
                    see(condition);
                    see(result);
                }
                if let Some(otherwise) = otherwise {
                    see(otherwise);
                }
            }
            Self::Function { args, .. } => args.iter().for_each(see),
        }
    }

    /// Shows the expression and every part of it, the whole first.
    pub fn visit<'e>(&'e self, see: &mut dyn FnMut(&'e Self)) {
        see(self);
        self.each_child(&mut |part| part.visit(see));
    }

    /// The expression with every direct part replaced by what `make` makes of it.
    ///
    /// # Errors
    /// The first that `make` gives.
    pub fn with_children(&self, make: &mut dyn FnMut(&Self) -> Result<Self, Diag>) -> Result<Self, Diag> {
        let mut boxed = |expr: &Self| make(expr).map(Box::new);
        Ok(match self {
            Self::Literal(..) | Self::Column(..) | Self::Param(..) => self.clone(),
            Self::Unary { op, expr } => Self::Unary { op: *op, expr: boxed(expr)? },
            Self::Binary { op, left, right, data_type } => {
                Self::Binary { op: *op, left: boxed(left)?, right: boxed(right)?, data_type: *data_type }
            }
            Self::IsNull { expr, negated } => Self::IsNull { expr: boxed(expr)?, negated: *negated },
            Self::InList { expr, list, negated } => Self::InList {
                expr: boxed(expr)?,
                list: list.iter().map(make).collect::<Result<_, _>>()?,
                negated: *negated,
            },
            Self::Like { expr, pattern, escape, case_insensitive, negated } => Self::Like {
                expr: boxed(expr)?,
                pattern: boxed(pattern)?,
                escape: *escape,
                case_insensitive: *case_insensitive,
                negated: *negated,
            },
            Self::Case { branches, otherwise, data_type } => Self::Case {
                branches: branches
                    .iter()
                    .map(|(condition, result)| Ok((make(condition)?, make(result)?)))
                    .collect::<Result<_, Diag>>()?,
                otherwise: otherwise.as_deref().map(|otherwise| make(otherwise).map(Box::new)).transpose()?,
                data_type: *data_type,
            },
            Self::Cast { expr, to, assignment } => Self::Cast { expr: boxed(expr)?, to: *to, assignment: *assignment },
            Self::Function { function, args, data_type } => Self::Function {
                function: *function,
                args: args.iter().map(make).collect::<Result<_, _>>()?,
                data_type: *data_type,
            },
            Self::IsDistinct { left, right, negated } => {
                Self::IsDistinct { left: boxed(left)?, right: boxed(right)?, negated: *negated }
            }
            Self::IsBool { expr, value, negated } => {
                Self::IsBool { expr: boxed(expr)?, value: *value, negated: *negated }
            }
        })
    }
}
