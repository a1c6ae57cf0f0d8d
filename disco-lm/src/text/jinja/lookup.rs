//! Attributes, items and slices of values: methods of [`Interpreter`].

use std::rc::Rc;

use super::{
    budget::{Failure, Outcome},
    interpreter::Interpreter,
    methods,
    value::{Method, Value},
};

impl Interpreter<'_> {
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

    pub(super) fn slice(&self, of: &Value, [start, stop, step]: [Option<i64>; 3]) -> Outcome<Value> {
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
