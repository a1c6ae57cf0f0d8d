//! Filters of numbers.

use super::super::{
    ast::{Comparison, Operator},
    budget::{Failure, Outcome},
    calls::Args,
    interpreter::Interpreter,
    operators,
    value::Value,
};

impl Interpreter<'_> {
    pub(super) fn number_filter(&mut self, name: &str, value: &Value, args: Args) -> Outcome<Value> {
        match name {
            "abs" => {
                let [] = args.bind(name, [])?;
                match value.defined()? {
                    Value::Float(value) => Ok(Value::Float(value.abs())),
                    value if value.int(name)? < 0 => operators::negative(value),
                    value => operators::positive(value),
                }
            }
            "round" => {
                let [precision, method] = args.bind(name, ["precision", "method"])?;
                let precision = precision.map_or(Ok(0), |precision| precision.int(name))?;
                let number = value.defined()?.as_float();
                let number =
                    number.ok_or_else(|| Failure::new(format!("'{}' cannot be rounded", value.kind())))?;
                let method = method.unwrap_or(Value::Str("common".into()));
                let scale = 10_f64.powi(precision.clamp(-400, 400) as i32);
                match method.str(name)? {
                    "common" => match value.as_int() {
                        Some(_) if precision >= 0 => operators::positive(value),
                        Some(_) => Err(Failure::new("a whole number rounded to tens is not supported")),
                        None => {
                            let places = usize::try_from(precision.max(0)).unwrap_or(0).min(400);
                            let text = format!("{number:.places$}");
                            let rounded = if precision < 0 {
                                (number * scale).round_ties_even() / scale
                            } else {
                                text.parse().unwrap_or(number)
                            };
                            Ok(Value::Float(rounded))
                        }
                    },
                    "ceil" => Ok(Value::Float((number * scale).ceil() / scale)),
                    "floor" => Ok(Value::Float((number * scale).floor() / scale)),
                    _ => Err(Failure::new("method must be common, ceil or floor")),
                }
            }
            "int" => {
                let [default, base] = args.bind(name, ["default", "base"])?;
                let default = default.unwrap_or(Value::Int(0));
                let base = base.map_or(Ok(10), |base| base.int(name))?;
                whole(value.defined()?, default, base)
            }
            "float" => {
                let [default] = args.bind(name, ["default"])?;
                let default = default.unwrap_or(Value::Float(0.0));
                let number = match value.defined()? {
                    Value::Str(text) | Value::Markup(text) => parsed(text),
                    value => value.as_float(),
                };
                Ok(number.map_or(default, Value::Float))
            }
            "sum" => {
                let [attribute, start] = args.bind(name, ["attribute", "start"])?;
                let mut sum = start.unwrap_or(Value::Int(0));
                for value in self.iterate(value)? {
                    let value = self.by(&value, attribute.as_ref())?;
                    sum = self.operate(Operator::Add, &sum, &value)?;
                }
                Ok(sum)
            }
            _ => {
                let [case_sensitive, attribute] = args.bind(name, ["case_sensitive", "attribute"])?;
                let case_sensitive = case_sensitive.is_some_and(|value| value.is_true());
                let mut best: Option<(Value, Value)> = None;
                for value in self.iterate(value)? {
                    let key = self.by(&value, attribute.as_ref())?;
                    let key = self.without_case(&key, case_sensitive)?;
                    let comparison = if name == "min" { Comparison::Less } else { Comparison::Greater };
                    let better = match &best {
                        None => true,
                        Some((_, other)) => self.compare(comparison, &key, other)?,
                    };
                    if better {
                        best = Some((value, key));
                    }
                }
                let empty = || Value::Undefined("No aggregated item, sequence was empty.".into());
                Ok(best.map_or_else(empty, |(value, _)| value))
            }
        }
    }

    /// The value, or the one at a path inside of it.
    pub(super) fn by(&mut self, value: &Value, path: Option<&Value>) -> Outcome<Value> {
        match path.filter(|path| !matches!(path, Value::None)) {
            Some(path) => self.path(value, path),
            None => Ok(value.clone()),
        }
    }

    /// A key to compare by: texts in lower case, unless case matters.
    pub(super) fn without_case(&self, value: &Value, case_sensitive: bool) -> Outcome<Value> {
        match value {
            Value::Str(text) if !case_sensitive => Value::text(&self.budget, text.to_lowercase()),
            value => Ok(value.clone()),
        }
    }
}

/// A number that Python's `float` reads.
fn parsed(text: &str) -> Option<f64> {
    let text = text.trim_matches(super::super::lexer::is_space).replace('_', "");
    text.parse().ok()
}

fn whole(value: &Value, default: Value, base: i64) -> Outcome<Value> {
    let large = || Failure::new("a whole number has more than 64 bits");
    let from_float = |number: f64| match number.trunc() {
        number if !number.is_finite() => Ok(default.clone()),
        number if number.abs() < 9.2e18 => Ok(Value::Int(number as i64)),
        _ => Err(large()),
    };
    match value {
        Value::Str(text) | Value::Markup(text) => {
            let text = text.trim_matches(super::super::lexer::is_space);
            let (sign, digits) = match text.strip_prefix('-') {
                Some(digits) => (-1, digits),
                None => (1, text.strip_prefix('+').unwrap_or(text)),
            };
            let prefixes: &[&str] = match base {
                16 => &["0x", "0X"],
                8 => &["0o", "0O"],
                2 => &["0b", "0B"],
                _ => &[],
            };
            let digits = prefixes.iter().find_map(|prefix| digits.strip_prefix(prefix)).unwrap_or(digits);
            let radix = u32::try_from(base).ok().filter(|base| (2..=36).contains(base));
            let radix = radix.ok_or_else(|| Failure::new("the base of `int` is between 2 and 36"))?;
            let digits = digits.replace('_', "");
            let is_whole = !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix));
            if is_whole {
                return i64::from_str_radix(&digits, radix)
                    .map(|value| Value::Int(sign * value))
                    .map_err(|_| large());
            }
            parsed(text).map_or(Ok(default.clone()), from_float)
        }
        Value::Float(number) => from_float(*number),
        value => Ok(value.as_int().map_or(default.clone(), Value::Int)),
    }
}
