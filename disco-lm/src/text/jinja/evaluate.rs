//! Expressions of a template, evaluated: methods of [`Interpreter`].

use super::{
    ast::{Comparison, Expr, Kind},
    budget::{Failure, Outcome},
    interpreter::Interpreter,
    value::Value,
};

impl<'t> Interpreter<'t> {
    pub(super) fn evaluate(&mut self, expression: &'t Expr) -> Outcome<Value> {
        self.budget.steps(0)?;
        self.budget.enter()?;
        let value = self.value_of(expression);
        self.budget.leave();
        value.map_err(|error| error.at(expression.line))
    }

    fn all(&mut self, expressions: &'t [Expr]) -> Outcome<Vec<Value>> {
        expressions.iter().map(|expression| self.evaluate(expression)).collect()
    }

    fn value_of(&mut self, expression: &'t Expr) -> Outcome<Value> {
        match &expression.kind {
            Kind::Constant(value) => Ok(value.clone()),
            Kind::Name(name) => Ok(self.variable(name)),
            Kind::List(elements) => {
                let values = self.all(elements)?;
                Value::list(&self.budget, values)
            }
            Kind::Tuple(elements) => {
                let values = self.all(elements)?;
                Value::tuple(&self.budget, values)
            }
            Kind::Dict(entries) => {
                let mut values = Vec::with_capacity(entries.len());
                for (key, value) in entries {
                    values.push((self.evaluate(key)?, self.evaluate(value)?));
                }
                Value::dict(&self.budget, values)
            }
            Kind::Chain(first, others) => {
                let mut value = self.evaluate(first)?;
                for (operator, other) in others {
                    let other = self.evaluate(other)?;
                    value = self.operate(*operator, &value, &other)?;
                }
                Ok(value)
            }
            Kind::Concat(parts) => {
                let mut text = String::new();
                for part in parts {
                    let value = self.evaluate(part)?;
                    text += &self.to_str(&value)?;
                }
                Value::text(&self.budget, text)
            }
            Kind::Compare(first, others) => {
                let mut left = self.evaluate(first)?;
                for (comparison, other) in others {
                    let right = self.evaluate(other)?;
                    if !self.compare(*comparison, &left, &right)? {
                        return Ok(Value::Bool(false));
                    }
                    left = right;
                }
                Ok(Value::Bool(true))
            }
            Kind::And(parts) => self.first_that(parts, false),
            Kind::Or(parts) => self.first_that(parts, true),
            Kind::Not(inner) => Ok(Value::Bool(!self.evaluate(inner)?.is_true())),
            Kind::Negative(inner) => {
                let value = self.evaluate(inner)?;
                super::operators::negative(&value)
            }
            Kind::Positive(inner) => {
                let value = self.evaluate(inner)?;
                super::operators::positive(&value)
            }
            Kind::Choice { condition, value, other } => {
                if self.evaluate(condition)?.is_true() {
                    return self.evaluate(value);
                }
                match other {
                    Some(other) => self.evaluate(other),
                    None => {
                        Ok(Value::Undefined("the condition of an `if` without `else` does not hold".into()))
                    }
                }
            }
            Kind::Attribute(of, name) => {
                let of = self.evaluate(of)?;
                self.attribute(&of, name)
            }
            Kind::Item(of, index) => {
                let of = self.evaluate(of)?;
                let index = self.evaluate(index)?;
                self.item(&of, &index)
            }
            Kind::Slice(of, bounds) => {
                let of = self.evaluate(of)?;
                let mut limits = [None; 3];
                for (limit, bound) in limits.iter_mut().zip(bounds) {
                    if let Some(bound) = bound {
                        *limit = match self.evaluate(bound)? {
                            Value::None => None,
                            value => Some(value.int("slice index")?),
                        };
                    }
                }
                self.slice(&of, limits)
            }
            Kind::Call(callee, arguments) => {
                let callee = self.evaluate(callee)?;
                let arguments = self.arguments(arguments)?;
                self.call(&callee, arguments)
            }
            Kind::Filter(value, name, arguments) => {
                let value = self.evaluate(value)?;
                let arguments = self.arguments(arguments)?;
                self.filter(name, &value, arguments)
            }
            Kind::Test(value, name, arguments) => {
                let value = self.evaluate(value)?;
                let arguments = self.arguments(arguments)?;
                Ok(Value::Bool(self.test(name, &value, arguments)?))
            }
            Kind::Block => Ok(self.block.clone().expect("filters of a block run with its text")),
        }
    }

    /// The first value whose truth is `wanted`, or the last value.
    fn first_that(&mut self, parts: &'t [Expr], wanted: bool) -> Outcome<Value> {
        let mut value = Value::None;
        for part in parts {
            value = self.evaluate(part)?;
            if value.is_true() == wanted {
                break;
            }
        }
        Ok(value)
    }

    pub(super) fn compare(&self, comparison: Comparison, left: &Value, right: &Value) -> Outcome<bool> {
        self.budget.steps(left.size().min(right.size()))?;
        let ordered = |operator: &str| left.compare(right, operator);
        match comparison {
            Comparison::Equal => Ok(left.equals(right)),
            Comparison::NotEqual => Ok(!left.equals(right)),
            Comparison::Less => Ok(ordered("<")?.is_some_and(|order| order.is_lt())),
            Comparison::LessEqual => Ok(ordered("<=")?.is_some_and(|order| order.is_le())),
            Comparison::Greater => Ok(ordered(">")?.is_some_and(|order| order.is_gt())),
            Comparison::GreaterEqual => Ok(ordered(">=")?.is_some_and(|order| order.is_ge())),
            Comparison::In => self.contains(right, left),
            Comparison::NotIn => Ok(!self.contains(right, left)?),
        }
    }

    fn contains(&self, container: &Value, value: &Value) -> Outcome<bool> {
        match container {
            Value::Str(text) | Value::Markup(text) => {
                self.budget.steps(text.len())?;
                let part = value.defined()?.as_str();
                let part = part.ok_or_else(|| {
                    let kind = value.kind();
                    Failure::new(format!("'in <string>' requires string as left operand, not {kind}"))
                })?;
                Ok(text.contains(part))
            }
            Value::Dict(dict) => {
                self.budget.steps(dict.entries.len() * value.size().min(16))?;
                Ok(dict.get(value).is_some())
            }
            Value::Range(range) => Ok(value.as_int().is_some_and(|value| {
                let distance = i128::from(value) - i128::from(range.start);
                let index = distance.div_euclid(i128::from(range.step));
                distance.rem_euclid(i128::from(range.step)) == 0
                    && usize::try_from(index).is_ok_and(|index| index < range.len())
            })),
            Value::Namespace(_) | Value::None | Value::Bool(_) | Value::Int(_) | Value::Float(_) => {
                Err(Failure::new(format!("argument of type '{}' is not iterable", container.kind())))
            }
            other => {
                let values = self.iterate(other)?;
                for element in &values {
                    self.budget.steps(element.size().min(value.size()))?;
                    if element.equals(value) {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }
}
