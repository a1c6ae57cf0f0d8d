//! The filter `tojson`, as transformers defines it: Python's `json.dumps`, which escapes nothing for HTML.

use super::{
    budget::{Failure, Outcome},
    calls::Args,
    interpreter::Interpreter,
    printing,
    value::Value,
};

/// The arguments of `json.dumps`.
struct Style {
    ascii: bool,
    /// The text of one level of indentation.
    indent: Option<String>,
    /// Between elements, and between a key and its value.
    separators: [String; 2],
    sorted: bool,
}

impl Interpreter<'_> {
    pub(super) fn to_json(&mut self, value: &Value, args: Args) -> Outcome<Value> {
        let names = ["ensure_ascii", "indent", "separators", "sort_keys"];
        let [ascii, indent, separators, sorted] = args.bind("tojson", names)?;
        let flag = |value: Option<Value>| value.is_some_and(|value| value.is_true());
        let indent = match indent.unwrap_or(Value::None) {
            Value::None => None,
            Value::Str(text) => Some(text.to_string()),
            width => {
                let width = usize::try_from(width.int("indent")?).unwrap_or(0);
                self.budget.bytes(width)?;
                Some(" ".repeat(width))
            }
        };
        let separators = match separators.unwrap_or(Value::None) {
            Value::None => [if indent.is_some() { "," } else { ", " }, ": "].map(String::from),
            given => {
                let given = self.iterate(&given)?;
                let given: Vec<String> = given
                    .iter()
                    .map(|text| text.str("separators").map(String::from))
                    .collect::<Outcome<_>>()?;
                given.try_into().map_err(|_| Failure::new("tojson: separators are two texts"))?
            }
        };
        let style = Style { ascii: flag(ascii), indent, separators, sorted: flag(sorted) };
        let mut text = String::new();
        self.write_json(value, &style, 0, &mut text)?;
        Value::text(&self.budget, text)
    }

    fn write_json(&self, value: &Value, style: &Style, level: usize, to: &mut String) -> Outcome<()> {
        let before = to.len();
        match value {
            Value::None => to.push_str("null"),
            Value::Bool(value) => *to += if *value { "true" } else { "false" },
            Value::Int(value) => *to += &value.to_string(),
            Value::Float(value) => *to += &float(*value),
            Value::Str(text) | Value::Markup(text) => quote(text, style.ascii, to),
            Value::List(items) | Value::Tuple(items) => {
                let elements = items.values.iter().map(|value| (None, value)).collect();
                self.write_elements(['[', ']'], elements, style, level, to)?;
            }
            Value::Dict(dict) => {
                let mut entries = Vec::with_capacity(dict.entries.len());
                for (key, value) in &dict.entries {
                    let name = match key {
                        Value::Str(text) => text.to_string(),
                        Value::None => "null".into(),
                        Value::Bool(value) => value.to_string(),
                        Value::Int(value) => value.to_string(),
                        Value::Float(value) => float(*value),
                        other => {
                            let kind = other.kind();
                            let message = format!("keys must be str, int, float, bool or None, not {kind}");
                            return Err(Failure::new(message));
                        }
                    };
                    self.budget.bytes(name.len() + 48)?;
                    entries.push((Some(name), value));
                }
                if style.sorted {
                    if dict.entries.iter().any(|(key, _)| key.as_str().is_none()) {
                        return Err(Failure::new("tojson: keys that are no texts cannot be sorted"));
                    }
                    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
                }
                self.write_elements(['{', '}'], entries, style, level, to)?;
            }
            Value::Undefined(_) => {
                return Err(Failure::new("Object of type Undefined is not JSON serializable"));
            }
            other => {
                return Err(Failure::new(format!(
                    "Object of type {} is not JSON serializable",
                    other.kind()
                )));
            }
        }
        self.budget.bytes(to.len() - before)
    }

    fn write_elements(
        &self,
        [open, close]: [char; 2],
        elements: Vec<(Option<String>, &Value)>,
        style: &Style,
        level: usize,
        to: &mut String,
    ) -> Outcome<()> {
        let line = |to: &mut String, level: usize| -> Outcome<()> {
            if let Some(indent) = &style.indent {
                self.budget.bytes(indent.len().saturating_mul(level))?;
                to.push('\n');
                *to += &indent.repeat(level);
            }
            Ok(())
        };
        to.push(open);
        let is_empty = elements.is_empty();
        for (index, (name, value)) in elements.into_iter().enumerate() {
            if index > 0 {
                self.budget.bytes(style.separators[0].len())?;
                *to += &style.separators[0];
            }
            line(to, level + 1)?;
            if let Some(name) = name {
                quote(&name, style.ascii, to);
                self.budget.bytes(style.separators[1].len())?;
                *to += &style.separators[1];
            }
            self.budget.deeper(|| self.write_json(value, style, level + 1, to))?;
        }
        if !is_empty {
            line(to, level)?;
        }
        to.push(close);
        Ok(())
    }
}

fn float(value: f64) -> String {
    match value {
        value if value.is_nan() => "NaN".into(),
        f64::INFINITY => "Infinity".into(),
        f64::NEG_INFINITY => "-Infinity".into(),
        value => printing::float(value),
    }
}

fn quote(text: &str, ascii: bool, to: &mut String) {
    to.push('"');
    for letter in text.chars() {
        match letter {
            '"' => to.push_str("\\\""),
            '\\' => to.push_str("\\\\"),
            '\n' => to.push_str("\\n"),
            '\r' => to.push_str("\\r"),
            '\t' => to.push_str("\\t"),
            '\x08' => to.push_str("\\b"),
            '\x0c' => to.push_str("\\f"),
            letter if letter < ' ' || ascii && !letter.is_ascii() => {
                for unit in letter.encode_utf16(&mut [0; 2]) {
                    *to += &format!("\\u{unit:04x}");
                }
            }
            letter => to.push(letter),
        }
    }
    to.push('"');
}
