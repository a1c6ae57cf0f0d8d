//! Values of a template, as Python has them: lists, tuples and dicts cannot be changed, and are shared.

use std::{cell::Cell, cmp::Ordering, rc::Rc};

use super::budget::{Budget, Failure, NESTING, Outcome};

/// A value.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// A missing value, with the message of the error when it is used.
    Undefined(Rc<str>),
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(Rc<str>),
    /// Text that is marked as safe for HTML. Adding to it would escape in Python, so that it is only printed here.
    Markup(Rc<str>),
    List(Rc<Items>),
    Tuple(Rc<Items>),
    Dict(Rc<Dict>),
    /// `dict_items`, `dict_keys` or `dict_values`.
    View(&'static str, Rc<Items>),
    /// An iterator, whose values can be taken once.
    Generator(Rc<Generator>),
    Range(Range),
    /// Things that change live in the interpreter, by number: so values hold no rings.
    Namespace(usize),
    Macro(usize),
    Loop(usize),
    Cycler(usize),
    Joiner(usize),
    Method(Rc<Method>),
    Function(&'static str),
}

/// A sequence.
#[derive(Debug)]
pub(super) struct Items {
    pub(super) values: Vec<Value>,
    shape: Shape,
}

/// How large a value is, known without walking through it: lists that share their elements may have 2^100 leaves.
#[derive(Clone, Copy, Debug, Default)]
struct Shape {
    /// Lists and dicts inside of each other.
    depth: usize,
    /// The cost of walking through it.
    size: usize,
}

/// A dict, in the order of insertion.
#[derive(Debug, Default)]
pub(super) struct Dict {
    pub(super) entries: Vec<(Value, Value)>,
    shape: Shape,
}

#[derive(Debug)]
pub(super) struct Generator {
    pub(super) items: Rc<Items>,
    pub(super) taken: Cell<usize>,
}

/// A method with the value that it belongs to.
#[derive(Debug)]
pub(super) struct Method {
    pub(super) receiver: Value,
    pub(super) name: Rc<str>,
}

/// Python's `range`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) start: i64,
    pub(super) stop: i64,
    pub(super) step: i64,
}

impl Range {
    pub(super) fn len(self) -> usize {
        let [start, stop, step] = [self.start, self.stop, self.step].map(i128::from);
        let distance = if step > 0 { stop - start } else { start - stop };
        usize::try_from((distance + step.abs() - 1).div_euclid(step.abs()).max(0)).unwrap_or(usize::MAX)
    }

    pub(super) fn get(self, index: usize) -> Value {
        Value::Int(self.start + self.step * index as i64)
    }
}

fn shape(value: &Value) -> Shape {
    match value {
        Value::List(items) | Value::Tuple(items) | Value::View(_, items) => items.shape,
        Value::Dict(dict) => dict.shape,
        Value::Generator(generator) => generator.items.shape,
        Value::Method(method) => {
            let Shape { depth, size } = shape(&method.receiver);
            Shape { depth: depth + 1, size }
        }
        Value::Str(text) | Value::Markup(text) => Shape { depth: 0, size: text.len() },
        _ => Shape { depth: 0, size: 1 },
    }
}

/// The shape of a value that holds others.
fn around<'a>(values: impl Iterator<Item = &'a Value>) -> Outcome<Shape> {
    let mut all = Shape { depth: 1, size: 8 };
    for Shape { depth, size } in values.map(shape) {
        all =
            Shape { depth: all.depth.max(depth + 1), size: all.size.saturating_add(size).saturating_add(8) };
    }
    if all.depth > NESTING {
        return Err(Failure::new(format!("values are nested more than {NESTING} times")));
    }
    Ok(all)
}

impl Items {
    pub(super) fn new(budget: &Budget, values: Vec<Value>) -> Outcome<Rc<Self>> {
        budget.bytes(40 + values.len() * size_of::<Value>())?;
        Ok(Self { shape: around(values.iter())?, values }.into())
    }
}

impl Value {
    pub(super) fn text(budget: &Budget, text: impl AsRef<str> + Into<Rc<str>>) -> Outcome<Self> {
        budget.bytes(16 + text.as_ref().len())?;
        Ok(Self::Str(text.into()))
    }

    pub(super) fn list(budget: &Budget, values: Vec<Self>) -> Outcome<Self> {
        Ok(Self::List(Items::new(budget, values)?))
    }

    pub(super) fn tuple(budget: &Budget, values: Vec<Self>) -> Outcome<Self> {
        Ok(Self::Tuple(Items::new(budget, values)?))
    }

    pub(super) fn generator(budget: &Budget, values: Vec<Self>) -> Outcome<Self> {
        Ok(Self::Generator(Generator { items: Items::new(budget, values)?, taken: Cell::new(0) }.into()))
    }

    /// A dict; a later entry with the key of an earlier one replaces its value.
    pub(super) fn dict(budget: &Budget, entries: Vec<(Self, Self)>) -> Outcome<Self> {
        budget.bytes(40 + entries.len() * 2 * size_of::<Self>())?;
        let mut shape = around(entries.iter().flat_map(|(key, value)| [key, value]))?;
        // A comparison searches for each key.
        shape.size = shape.size.saturating_add(entries.len().saturating_mul(entries.len()));
        let mut unique: Vec<(Self, Self)> = Vec::new();
        for (key, value) in entries {
            key.check_key()?;
            budget.steps(unique.len())?;
            match unique.iter_mut().find(|(other, _)| other.equals(&key)) {
                Some(entry) => entry.1 = value,
                None => unique.push((key, value)),
            }
        }
        Ok(Self::Dict(Dict { entries: unique, shape }.into()))
    }

    /// Refuses what Python calls unhashable.
    fn check_key(&self) -> Outcome<()> {
        match self {
            Self::List(_) | Self::Dict(_) => Err(Failure::new(format!("unhashable type: '{}'", self.kind()))),
            Self::Tuple(items) => items.values.iter().try_for_each(Self::check_key),
            _ => Ok(()),
        }
    }

    /// The name of its type in Python.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Undefined(_) => "Undefined",
            Self::None => "NoneType",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float",
            Self::Str(_) => "str",
            Self::Markup(_) => "Markup",
            Self::List(_) => "list",
            Self::Tuple(_) => "tuple",
            Self::Dict(_) => "dict",
            Self::View(kind, _) => kind,
            Self::Generator(_) => "generator",
            Self::Range(_) => "range",
            Self::Namespace(_) => "TemplateNamespace",
            Self::Macro(_) => "Macro",
            Self::Loop(_) => "LoopContext",
            Self::Cycler(_) => "Cycler",
            Self::Joiner(_) => "Joiner",
            Self::Method(_) | Self::Function(_) => "function",
        }
    }

    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Undefined(_) | Self::None => false,
            Self::Bool(value) => *value,
            Self::Int(value) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::Str(text) | Self::Markup(text) => !text.is_empty(),
            Self::List(items) | Self::Tuple(items) | Self::View(_, items) => !items.values.is_empty(),
            Self::Dict(dict) => !dict.entries.is_empty(),
            Self::Range(range) => range.len() > 0,
            _ => true,
        }
    }

    /// Fails for a missing value.
    pub(super) fn defined(&self) -> Outcome<&Self> {
        match self {
            Self::Undefined(message) => Err(Failure::new(&**message)),
            _ => Ok(self),
        }
    }

    pub(super) fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) | Self::Markup(text) => Some(text),
            _ => None,
        }
    }

    /// A whole number; as in Python, `true` and `false` are 1 and 0.
    pub(super) fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            Self::Bool(value) => Some(i64::from(*value)),
            _ => None,
        }
    }

    pub(super) fn as_float(&self) -> Option<f64> {
        match self {
            Self::Float(value) => Some(*value),
            _ => self.as_int().map(|value| value as f64),
        }
    }

    pub(super) fn int(&self, what: &str) -> Outcome<i64> {
        self.defined()?.as_int().ok_or_else(|| {
            Failure::new(format!("{what}: '{}' object cannot be interpreted as an integer", self.kind()))
        })
    }

    pub(super) fn str(&self, what: &str) -> Outcome<&str> {
        let failure = || Failure::new(format!("{what}: expected str instance, {} found", self.kind()));
        self.defined()?.as_str().ok_or_else(failure)
    }

    /// Python's `==`.
    pub(super) fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Undefined(_), Self::Undefined(_)) | (Self::None, Self::None) => true,
            (Self::Str(a) | Self::Markup(a), Self::Str(b) | Self::Markup(b)) => a == b,
            (Self::List(a), Self::List(b)) | (Self::Tuple(a), Self::Tuple(b)) => {
                Rc::ptr_eq(a, b)
                    || a.values.len() == b.values.len()
                        && a.values.iter().zip(&b.values).all(|(a, b)| a.equals(b))
            }
            (Self::Dict(a), Self::Dict(b)) => {
                a.entries.len() == b.entries.len()
                    && a.entries
                        .iter()
                        .all(|(key, value)| b.get(key).is_some_and(|other| value.equals(other)))
            }
            (Self::Range(a), Self::Range(b)) => {
                let [a, b] = [*a, *b];
                a.len() == b.len()
                    && (a.len() == 0 || a.start == b.start && (a.len() == 1 || a.step == b.step))
            }
            (Self::Namespace(a), Self::Namespace(b)) | (Self::Macro(a), Self::Macro(b)) => a == b,
            (Self::Function(a), Self::Function(b)) => a == b,
            _ => match (self.as_int(), other.as_int()) {
                (Some(a), Some(b)) => a == b,
                _ => matches!((self.as_float(), other.as_float()), (Some(a), Some(b)) if a == b),
            },
        }
    }

    /// Python's order of two values; `None` if a number is NaN.
    pub(super) fn compare(&self, other: &Self, operator: &str) -> Outcome<Option<Ordering>> {
        let [left, right] = [self.defined()?, other.defined()?];
        if let (Some(a), Some(b)) = (left.as_str(), right.as_str()) {
            return Ok(Some(a.cmp(b)));
        }
        if let (Some(a), Some(b)) = (left.as_int(), right.as_int()) {
            return Ok(Some(a.cmp(&b)));
        }
        if let (Some(a), Some(b)) = (left.as_float(), right.as_float()) {
            return Ok(a.partial_cmp(&b));
        }
        if let (Self::List(a), Self::List(b)) | (Self::Tuple(a), Self::Tuple(b)) = (left, right) {
            for (a, b) in a.values.iter().zip(&b.values) {
                if !a.equals(b) {
                    return a.compare(b, operator);
                }
            }
            return Ok(Some(a.values.len().cmp(&b.values.len())));
        }
        Err(Failure::new(format!(
            "'{operator}' not supported between instances of '{}' and '{}'",
            left.kind(),
            right.kind()
        )))
    }

    /// The cost of walking through it.
    pub(super) fn size(&self) -> usize {
        shape(self).size
    }
}

impl Dict {
    pub(super) fn get(&self, key: &Value) -> Option<&Value> {
        self.entries.iter().find(|(other, _)| other.equals(key)).map(|(_, value)| value)
    }
}
