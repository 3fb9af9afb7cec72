//! The differences that are meant to be, each with its reason.

/// A difference that is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rule {
    /// Last digits of DOUBLE.
    Doubles,
    /// Last digits of REAL.
    Reals,
    /// Digits of DECIMAL quotients and averages.
    Quotients,
    /// Which of several equal INTERVALs stands for them.
    Spans,
    /// Another SQLSTATE of the same class.
    ErrorCode,
    /// Which of a statement's data errors is met first.
    FirstError,
    /// A data error in an expression that only one of the two evaluated.
    Evaluation,
}

impl Rule {
    /// All, in the order of the report.
    pub(crate) const ALL: [Self; 7] =
        [Self::Doubles, Self::Reals, Self::Quotients, Self::Spans, Self::ErrorCode, Self::FirstError, Self::Evaluation];

    /// Why.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Doubles => {
                "the last digits of a DOUBLE: sums in another order, functions of another library (12 digits agree)"
            }
            Self::Reals => "the last digits of a REAL: PostgreSQL adds up REALs in 32 bits (5 digits agree)",
            Self::Quotients => {
                "the number of digits of a DECIMAL quotient or average: 28 in all here (14 digits agree)"
            }
            Self::Spans => "which of equal INTERVALs stands for all of them: 1 month and 30 days are equal",
            Self::ErrorCode => "both refuse, with two SQLSTATEs of one class",
            Self::FirstError => "both refuse a statement with several wrong values, for different ones of them",
            Self::Evaluation => "a value that cannot be computed, in a part that only one of the two evaluates",
        }
    }
}
