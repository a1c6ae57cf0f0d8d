//! Jinja's tests: what stands behind `is`.

use std::rc::Rc;

use super::{
    ast::Comparison,
    budget::{Failure, Outcome},
    calls::Args,
    interpreter::Interpreter,
    value::Value,
};

impl Interpreter<'_> {
    /// `value is name(args)`.
    pub(super) fn test(&mut self, name: &str, value: &Value, args: Args) -> Outcome<bool> {
        let comparison = match name {
            "eq" | "equalto" | "==" => Some(Comparison::Equal),
            "ne" | "!=" => Some(Comparison::NotEqual),
            "lt" | "lessthan" | "<" => Some(Comparison::Less),
            "le" | "<=" => Some(Comparison::LessEqual),
            "gt" | "greaterthan" | ">" => Some(Comparison::Greater),
            "ge" | ">=" => Some(Comparison::GreaterEqual),
            "in" => Some(Comparison::In),
            _ => None,
        };
        if let Some(comparison) = comparison {
            let [other] = args.bind(name, ["other"])?;
            return self.compare(comparison, value, &Args::required(other, name, "other")?);
        }
        match name {
            "divisibleby" => {
                let [number] = args.bind(name, ["num"])?;
                let number = Args::required(number, name, "num")?.int(name)?;
                let value = value.int(name)?;
                let rest = value.checked_rem(number).or((number == -1).then_some(0));
                return rest.map(|rest| rest == 0).ok_or_else(|| Failure::new("division by zero"));
            }
            "sameas" => {
                let [other] = args.bind(name, ["other"])?;
                return same(value, &Args::required(other, name, "other")?);
            }
            _ => {}
        }
        let [] = args.bind(name, [])?;
        Ok(match name {
            "defined" => !matches!(value, Value::Undefined(_)),
            "undefined" => matches!(value, Value::Undefined(_)),
            "none" => matches!(value, Value::None),
            "boolean" => matches!(value, Value::Bool(_)),
            "true" => matches!(value, Value::Bool(true)),
            "false" => matches!(value, Value::Bool(false)),
            "integer" => matches!(value, Value::Int(_)),
            "float" => matches!(value, Value::Float(_)),
            "number" => matches!(value, Value::Int(_) | Value::Float(_) | Value::Bool(_)),
            "string" => value.as_str().is_some(),
            "mapping" => matches!(value, Value::Dict(_)),
            "sequence" => matches!(
                value,
                Value::Undefined(_)
                    | Value::Str(_)
                    | Value::Markup(_)
                    | Value::List(_)
                    | Value::Tuple(_)
                    | Value::Dict(_)
                    | Value::Range(_)
            ),
            "iterable" => !matches!(
                value,
                Value::None
                    | Value::Bool(_)
                    | Value::Int(_)
                    | Value::Float(_)
                    | Value::Namespace(_)
                    | Value::Macro(_)
                    | Value::Joiner(_)
                    | Value::Method(_)
                    | Value::Function(_)
            ),
            "callable" => matches!(
                value,
                Value::Undefined(_)
                    | Value::Macro(_)
                    | Value::Loop(_)
                    | Value::Joiner(_)
                    | Value::Method(_)
                    | Value::Function(_)
            ),
            "odd" => value.int(name)?.rem_euclid(2) == 1,
            "even" => value.int(name)?.rem_euclid(2) == 0,
            "lower" => super::words::is("islower", &self.to_str(value)?),
            "upper" => super::words::is("isupper", &self.to_str(value)?),
            "escaped" => matches!(value, Value::Markup(_)),
            _ => return Err(Failure::new(format!("No test named '{name}'"))),
        })
    }
}

/// Python's `is`, where it does not depend on how values are stored.
fn same(value: &Value, other: &Value) -> Outcome<bool> {
    match (value, other) {
        (Value::None, Value::None) => Ok(true),
        (Value::Bool(a), Value::Bool(b)) => Ok(a == b),
        (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => Ok(Rc::ptr_eq(a, b)),
        (Value::Dict(a), Value::Dict(b)) => Ok(Rc::ptr_eq(a, b)),
        (a, b) if a.kind() != b.kind() => Ok(false),
        (a, _) => Err(Failure::new(format!("`sameas` of two values of type {} is not supported", a.kind()))),
    }
}
