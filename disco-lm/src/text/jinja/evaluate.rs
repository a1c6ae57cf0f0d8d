//! Expressions of a template, evaluated.

use std::rc::Rc;

use super::{
    ast::{Comparison, Expr, Kind},
    budget::{Failure, Outcome},
    interpreter::Interpreter,
    methods,
    value::{Method, Value},
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

    fn missing(of: &Value, name: &str) -> Value {
        let message = match of {
            Value::None => format!("'None' has no attribute {name}"),
            _ => format!("'{} object' has no attribute {name}", of.kind()),
        };
        Value::Undefined(message.into())
    }

    /// `value.name`: an attribute, or else an item.
    pub(super) fn attribute(&mut self, of: &Value, name: &Rc<str>) -> Outcome<Value> {
        of.defined()?;
        if name.starts_with("__") && name.ends_with("__") {
            return Err(Failure::new(format!(
                "access to attribute '{name}' of '{}' object is unsafe",
                of.kind()
            )));
        }
        if let Some(value) = self.own_attribute(of, name)? {
            return Ok(value);
        }
        match of {
            Value::Dict(dict) => {
                self.budget.steps(dict.entries.len())?;
                let found = dict.get(&Value::Str(name.clone())).cloned();
                Ok(found.unwrap_or_else(|| Self::missing(of, &format!("'{name}'"))))
            }
            _ => Ok(Self::missing(of, &format!("'{name}'"))),
        }
    }

    /// An attribute in Python's sense: a method, or a property of `loop` or a namespace.
    fn own_attribute(&mut self, of: &Value, name: &Rc<str>) -> Outcome<Option<Value>> {
        let own = match of {
            Value::Namespace(id) => {
                self.budget.steps(self.namespaces[*id].len())?;
                self.namespaces[*id].iter().find(|(other, _)| other == name).map(|(_, value)| value.clone())
            }
            Value::Loop(id) => self.loops[*id].attribute(name),
            Value::Cycler(id) if **name == *"current" => {
                let (items, at) = &self.cyclers[*id];
                Some(items.values[*at].clone())
            }
            Value::Macro(id) if **name == *"name" => Some(Value::Str(self.definition(*id).name.clone())),
            _ => None,
        };
        if own.is_some() {
            return Ok(own);
        }
        if methods::changes(of, name) {
            return Err(Failure::new(format!(
                "access to attribute '{name}' of '{}' object is unsafe",
                of.kind()
            )));
        }
        let method = || Value::Method(Method { receiver: of.clone(), name: name.clone() }.into());
        Ok(methods::exists(of, name).then(method))
    }

    /// `value[index]`: an item, or else an attribute.
    pub(super) fn item(&mut self, of: &Value, index: &Value) -> Outcome<Value> {
        of.defined()?;
        if let Value::Dict(dict) = of {
            self.budget.steps(dict.entries.len() * index.size().min(16))?;
            if let Some(value) = dict.get(index) {
                return Ok(value.clone());
            }
        }
        if let Some(at) = index.as_int() {
            let element = self.element(of, at)?;
            if let Some(value) = element {
                return Ok(value);
            }
        }
        if let Value::Str(name) = index
            && !matches!(of, Value::Str(_) if name.is_empty())
            && let Some(value) = self.own_attribute(of, name)?
        {
            return Ok(value);
        }
        let shown = self.repr(index).unwrap_or_else(|_| index.kind().into());
        Ok(Self::missing(of, &shown))
    }

    /// The element of a sequence at a place, which counts from the end if it is negative.
    fn element(&self, of: &Value, at: i64) -> Outcome<Option<Value>> {
        let place = |length: usize| {
            let place = if at < 0 { at.checked_add_unsigned(length as u64)? } else { at };
            usize::try_from(place).ok().filter(|place| *place < length)
        };
        Ok(match of {
            Value::Str(text) | Value::Markup(text) => {
                self.budget.steps(text.len())?;
                let letter = place(text.chars().count()).and_then(|place| text.chars().nth(place));
                letter.map(|letter| Value::Str(letter.to_string().into()))
            }
            Value::List(items) | Value::Tuple(items) => {
                place(items.values.len()).map(|place| items.values[place].clone())
            }
            Value::Range(range) => place(range.len()).map(|place| range.get(place)),
            _ => None,
        })
    }

    fn slice(&self, of: &Value, [start, stop, step]: [Option<i64>; 3]) -> Outcome<Value> {
        of.defined()?;
        let step = step.unwrap_or(1);
        if step == 0 {
            return Err(Failure::new("slice step cannot be zero"));
        }
        let places = |length: usize| {
            let length = length as i64;
            let bound = |value: Option<i64>, default: i64| {
                let Some(value) = value else { return default };
                let value = if value < 0 { value.saturating_add(length) } else { value };
                if step > 0 { value.clamp(0, length) } else { value.clamp(-1, length - 1) }
            };
            let (start, stop) = if step > 0 {
                (bound(start, 0), bound(stop, length))
            } else {
                (bound(start, length - 1), bound(stop, -1))
            };
            super::value::Range { start, stop, step }
        };
        let taken = |values: &[Value]| -> Vec<Value> {
            let places = places(values.len());
            (0..places.len())
                .map(|index| values[(places.start + step * index as i64) as usize].clone())
                .collect()
        };
        match of {
            Value::Str(text) | Value::Markup(text) => {
                self.budget.bytes(text.len() * 4)?;
                let letters: Vec<char> = text.chars().collect();
                let places = places(letters.len());
                let text: String = (0..places.len())
                    .map(|index| letters[(places.start + step * index as i64) as usize])
                    .collect();
                Value::text(&self.budget, text)
            }
            Value::List(items) => Value::list(&self.budget, taken(&items.values)),
            Value::Tuple(items) => Value::tuple(&self.budget, taken(&items.values)),
            Value::Range(range) => {
                let range = *range;
                self.budget.bytes(range.len().saturating_mul(size_of::<Value>()))?;
                let values: Vec<Value> = (0..range.len()).map(|index| range.get(index)).collect();
                let values = taken(&values);
                // Python gives a range, which differs only in its text.
                Value::generator(&self.budget, values)
            }
            // Python takes the slice for a key, and finds none.
            Value::Dict(_) => Err(Failure::new("unhashable type: 'slice'")),
            other => Ok(Self::missing(other, "'slice'")),
        }
    }
}
