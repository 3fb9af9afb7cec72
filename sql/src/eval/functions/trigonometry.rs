//! Functions of angles, and their inverses: the `libm` crate's, radians unless the name says degrees.

use crate::diag::{Diag, SqlState};
use crate::eval::operators::checked_double;
use crate::expr::Function;
use crate::value::Value;

fn beyond(name: &str) -> Diag {
    Diag::new(SqlState::OUT_OF_RANGE, format!("input is out of range for {name}"))
}

/// The function's value; `None` when it is none of these.
pub(super) fn call(function: Function, x: f64) -> Option<Result<Value, Diag>> {
    let finite = |name: &str, value: fn(f64) -> f64| if x.is_infinite() { Err(beyond(name)) } else { Ok(value(x)) };
    let within = |name: &str, value: fn(f64) -> f64| {
        if x.is_nan() || (-1.0..=1.0).contains(&x) { Ok(value(x)) } else { Err(beyond(name)) }
    };
    let unbounded = |value: f64| checked_double(value, x.is_infinite(), true);
    let value = match function {
        Function::Degrees => unbounded(x * (180.0 / std::f64::consts::PI)),
        Function::Radians => Ok(x * (std::f64::consts::PI / 180.0)),
        Function::Sin => finite("sin", libm::sin),
        Function::Cos => finite("cos", libm::cos),
        Function::Tan => finite("tan", libm::tan),
        Function::Cot => finite("cot", |x| 1.0 / libm::tan(x)),
        Function::Asin => within("asin", libm::asin),
        Function::Acos => within("acos", libm::acos),
        Function::Atan => Ok(libm::atan(x)),
        Function::Sinh => unbounded(libm::sinh(x)),
        Function::Cosh => unbounded(libm::cosh(x)),
        Function::Tanh => Ok(libm::tanh(x)),
        Function::Asinh => Ok(libm::asinh(x)),
        Function::Acosh if x < 1.0 => Err(beyond("acosh")),
        Function::Acosh => Ok(libm::acosh(x)),
        Function::Atanh if x == 1.0 => Ok(f64::INFINITY),
        Function::Atanh if x == -1.0 => Ok(f64::NEG_INFINITY),
        Function::Atanh => within("atanh", libm::atanh),
        Function::Cbrt => Ok(libm::cbrt(x)),
        _ => return None,
    };
    Some(value.map(Value::Double))
}
