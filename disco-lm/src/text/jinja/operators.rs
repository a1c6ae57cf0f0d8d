//! Arithmetic of values, as in Python.

use super::{
    ast::Operator,
    budget::{Failure, Outcome},
    interpreter::Interpreter,
    value::Value,
};

fn overflow() -> Failure {
    Failure::new("a whole number has more than 64 bits")
}

fn division_by_zero() -> Failure {
    Failure::new("division by zero")
}

pub(super) fn negative(value: &Value) -> Outcome<Value> {
    match value.defined()? {
        Value::Float(value) => Ok(Value::Float(-value)),
        other => match other.as_int() {
            Some(value) => value.checked_neg().map(Value::Int).ok_or_else(overflow),
            None => Err(Failure::new(format!("bad operand type for unary -: '{}'", other.kind()))),
        },
    }
}

pub(super) fn positive(value: &Value) -> Outcome<Value> {
    match value.defined()? {
        Value::Float(value) => Ok(Value::Float(*value)),
        other => match other.as_int() {
            Some(value) => Ok(Value::Int(value)),
            None => Err(Failure::new(format!("bad operand type for unary +: '{}'", other.kind()))),
        },
    }
}

impl Interpreter<'_> {
    pub(super) fn operate(&self, operator: Operator, left: &Value, right: &Value) -> Outcome<Value> {
        if let (Operator::Modulo, Value::Str(format)) = (operator, left) {
            return self.percent(format, right);
        }
        let [left, right] = [left.defined()?, right.defined()?];
        if matches!(left, Value::Markup(_)) || matches!(right, Value::Markup(_)) {
            return Err(Failure::new("operators on text from `safe` or `escape` are not supported"));
        }
        if let (Some(a), Some(b)) = (left.as_int(), right.as_int()) {
            return whole(operator, a, b);
        }
        if let (Some(a), Some(b)) = (left.as_float(), right.as_float()) {
            return real(operator, a, b).map(Value::Float);
        }
        match (operator, left, right) {
            (Operator::Add, Value::Str(a), Value::Str(b)) => {
                self.budget.bytes(a.len() + b.len())?;
                Value::text(&self.budget, format!("{a}{b}"))
            }
            (Operator::Add, Value::List(a), Value::List(b)) => {
                Value::list(&self.budget, [&a.values[..], &b.values[..]].concat())
            }
            (Operator::Add, Value::Tuple(a), Value::Tuple(b)) => {
                Value::tuple(&self.budget, [&a.values[..], &b.values[..]].concat())
            }
            (Operator::Multiply, values, count) | (Operator::Multiply, count, values)
                if count.as_int().is_some() && is_sequence(values) =>
            {
                self.repeated(values, count.as_int().unwrap_or(0))
            }
            _ => Err(Failure::new(format!(
                "unsupported operand type(s) for {}: '{}' and '{}'",
                symbol(operator),
                left.kind(),
                right.kind()
            ))),
        }
    }

    fn repeated(&self, value: &Value, count: i64) -> Outcome<Value> {
        let count = usize::try_from(count.max(0)).unwrap_or(usize::MAX);
        let pay = |size: usize| self.budget.bytes(size.saturating_mul(count));
        match value {
            Value::Str(text) => {
                pay(text.len())?;
                Value::text(&self.budget, if text.is_empty() { String::new() } else { text.repeat(count) })
            }
            Value::List(items) => {
                pay(items.values.len() * size_of::<Value>())?;
                Value::list(&self.budget, repeat(&items.values, count))
            }
            Value::Tuple(items) => {
                pay(items.values.len() * size_of::<Value>())?;
                Value::tuple(&self.budget, repeat(&items.values, count))
            }
            other => Err(Failure::new(format!("'{}' cannot be repeated", other.kind()))),
        }
    }
}

fn repeat(values: &[Value], count: usize) -> Vec<Value> {
    if values.is_empty() {
        return Vec::new();
    }
    (0..count).flat_map(|_| values.iter().cloned()).collect()
}

fn is_sequence(value: &Value) -> bool {
    matches!(value, Value::Str(_) | Value::List(_) | Value::Tuple(_))
}

fn symbol(operator: Operator) -> &'static str {
    match operator {
        Operator::Add => "+",
        Operator::Subtract => "-",
        Operator::Multiply => "*",
        Operator::Divide => "/",
        Operator::FloorDivide => "//",
        Operator::Modulo => "%",
        Operator::Power => "** or pow()",
    }
}

fn whole(operator: Operator, a: i64, b: i64) -> Outcome<Value> {
    let value = match operator {
        Operator::Add => a.checked_add(b),
        Operator::Subtract => a.checked_sub(b),
        Operator::Multiply => a.checked_mul(b),
        Operator::Divide => return real(operator, a as f64, b as f64).map(Value::Float),
        Operator::FloorDivide | Operator::Modulo if b == 0 => return Err(division_by_zero()),
        Operator::FloorDivide => {
            let quotient = a.checked_div(b).ok_or_else(overflow)?;
            Some(if a % b != 0 && (a < 0) != (b < 0) { quotient - 1 } else { quotient })
        }
        Operator::Modulo => {
            let rest = a.checked_rem(b).unwrap_or(0);
            Some(if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest })
        }
        Operator::Power if b < 0 => return real(operator, a as f64, b as f64).map(Value::Float),
        Operator::Power => match (a, u32::try_from(b)) {
            (0 | 1, _) => Some(if b == 0 { 1 } else { a }),
            (-1, _) => Some(if b % 2 == 0 { 1 } else { -1 }),
            (_, Ok(b)) => a.checked_pow(b),
            (_, Err(_)) => None,
        },
    };
    value.map(Value::Int).ok_or_else(overflow)
}

fn real(operator: Operator, a: f64, b: f64) -> Outcome<f64> {
    let by_zero = b == 0.0;
    match operator {
        Operator::Add => Ok(a + b),
        Operator::Subtract => Ok(a - b),
        Operator::Multiply => Ok(a * b),
        Operator::Divide | Operator::FloorDivide | Operator::Modulo if by_zero => Err(division_by_zero()),
        Operator::Divide => Ok(a / b),
        Operator::Modulo => {
            let rest = a % b;
            // A rest of zero has the sign of the divisor.
            Ok(match rest {
                0.0 => 0.0_f64.copysign(b),
                rest if (rest < 0.0) != (b < 0.0) => rest + b,
                rest => rest,
            })
        }
        Operator::FloorDivide => {
            let rest = a % b;
            let quotient = (a - rest) / b;
            Ok(if rest != 0.0 && (rest < 0.0) != (b < 0.0) { quotient - 1.0 } else { quotient }.round())
        }
        Operator::Power if a == 0.0 && b < 0.0 => Err(Failure::new("zero to a negative power")),
        Operator::Power if a < 0.0 && b.fract() != 0.0 => Err(Failure::new("the power is a complex number")),
        Operator::Power => {
            let power = a.powf(b);
            if power.is_infinite() && a.is_finite() && b.is_finite() {
                return Err(Failure::new("the power is too large"));
            }
            Ok(power)
        }
    }
}
