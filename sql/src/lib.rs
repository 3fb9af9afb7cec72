//! The dialect: values and types, parser, binder, planner, expressions and operators.
