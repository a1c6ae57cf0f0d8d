//! Methods of Python's texts, lists and dicts.

use super::{
    budget::{Failure, Outcome},
    calls::Args,
    interpreter::Interpreter,
    lexer::is_space,
    search::{bounds, part_of},
    value::Value,
};

/// Methods of `str`.
const STR: [&str; 45] = [
    "capitalize",
    "casefold",
    "center",
    "count",
    "encode",
    "endswith",
    "expandtabs",
    "find",
    "format",
    "format_map",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdecimal",
    "isdigit",
    "isidentifier",
    "islower",
    "isnumeric",
    "isprintable",
    "isspace",
    "istitle",
    "isupper",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "swapcase",
    "title",
    "upper",
    "zfill",
];

const DICT: [&str; 6] = ["copy", "fromkeys", "get", "items", "keys", "values"];

/// Methods that change a list or a dict, which the sandbox of transformers forbids.
const CHANGING: [&str; 12] = [
    "append",
    "clear",
    "extend",
    "insert",
    "pop",
    "popitem",
    "remove",
    "reverse",
    "setdefault",
    "sort",
    "update",
    "add",
];

/// Whether a value has a method of this name.
pub(super) fn exists(of: &Value, name: &str) -> bool {
    match of {
        Value::Str(_) | Value::Markup(_) => STR.contains(&name),
        Value::Dict(_) => DICT.contains(&name),
        Value::List(_) => ["copy", "count", "index"].contains(&name),
        Value::Tuple(_) | Value::Range(_) => ["count", "index"].contains(&name),
        Value::Loop(_) => ["cycle", "changed"].contains(&name),
        Value::Cycler(_) => ["next", "reset"].contains(&name),
        Value::Function("dict") => name == "fromkeys",
        Value::Int(_) | Value::Bool(_) => ["bit_length", "bit_count"].contains(&name),
        Value::Float(_) => name == "is_integer",
        _ => false,
    }
}

/// Whether a value has a method of this name that would change it.
pub(super) fn changes(of: &Value, name: &str) -> bool {
    match of {
        Value::List(_) => {
            CHANGING.contains(&name) && !["popitem", "setdefault", "update", "add"].contains(&name)
        }
        Value::Dict(_) => ["clear", "pop", "popitem", "setdefault", "update"].contains(&name),
        _ => false,
    }
}

impl Interpreter<'_> {
    pub(super) fn method(&mut self, of: &Value, name: &str, args: Args) -> Outcome<Value> {
        match of {
            Value::Str(text) => {
                self.budget.bytes(text.len())?;
                self.text_method(text, name, args)
            }
            Value::Markup(_) => {
                Err(Failure::new("methods of text from `safe` or `escape` are not supported"))
            }
            Value::Dict(dict) => match name {
                "get" => {
                    let [key, default] = args.bind(name, ["key", "default"])?;
                    let key = Args::required(key, name, "key")?;
                    self.budget.steps(dict.entries.len() * key.size().min(16))?;
                    Ok(dict.get(&key).cloned().or(default).unwrap_or(Value::None))
                }
                "copy" => Ok(of.clone()),
                "items" => {
                    let values = self.items_of(dict)?;
                    self.view("dict_items", values)
                }
                "keys" => {
                    let keys = dict.entries.iter().map(|(key, _)| key.clone()).collect();
                    self.view("dict_keys", keys)
                }
                "values" => {
                    let values = dict.entries.iter().map(|(_, value)| value.clone()).collect();
                    self.view("dict_values", values)
                }
                _ => self.from_keys(args),
            },
            Value::List(_) | Value::Tuple(_) | Value::Range(_) => self.sequence_method(of, name, args),
            Value::Loop(id) if name == "cycle" => {
                let count = args.positional.len();
                if count == 0 {
                    return Err(Failure::new("no items for cycling given"));
                }
                Ok(args.positional[self.loops[*id].index % count].clone())
            }
            Value::Loop(id) => {
                let before = self.loops[*id].changed.replace(args.positional.clone());
                let same = before.is_some_and(|before| {
                    before.len() == args.positional.len()
                        && before.iter().zip(&args.positional).all(|(a, b)| a.size() < 4096 && a.equals(b))
                });
                Ok(Value::Bool(!same))
            }
            Value::Cycler(id) => {
                let (items, at) = &mut self.cyclers[*id];
                let current = items.values[*at].clone();
                *at = if name == "next" { (*at + 1) % items.values.len() } else { 0 };
                Ok(if name == "next" { current } else { Value::None })
            }
            Value::Function(_) => self.from_keys(args),
            Value::Float(value) => Ok(Value::Bool(value.fract() == 0.0)),
            other => {
                let value = other.int(name)?.unsigned_abs();
                let bits = if name == "bit_count" { value.count_ones() } else { 64 - value.leading_zeros() };
                Ok(Value::Int(i64::from(bits)))
            }
        }
    }

    fn view(&self, kind: &'static str, values: Vec<Value>) -> Outcome<Value> {
        Ok(Value::View(kind, super::value::Items::new(&self.budget, values)?))
    }

    /// The entries of a dict, as tuples.
    pub(super) fn items_of(&self, dict: &super::value::Dict) -> Outcome<Vec<Value>> {
        let entries = dict.entries.iter();
        entries.map(|(key, value)| Value::tuple(&self.budget, vec![key.clone(), value.clone()])).collect()
    }

    fn from_keys(&self, args: Args) -> Outcome<Value> {
        let [keys, value] = args.bind("fromkeys", ["iterable", "value"])?;
        let keys = self.iterate(&Args::required(keys, "fromkeys", "iterable")?)?;
        let value = value.unwrap_or(Value::None);
        Value::dict(&self.budget, keys.into_iter().map(|key| (key, value.clone())).collect())
    }

    fn sequence_method(&self, of: &Value, name: &str, args: Args) -> Outcome<Value> {
        if name == "copy" {
            return Ok(of.clone());
        }
        let [wanted, start, stop] = args.bind(name, ["value", "start", "stop"])?;
        let wanted = Args::required(wanted, name, "value")?;
        let values = self.iterate(of)?;
        for value in &values {
            self.budget.steps(value.size().min(wanted.size()))?;
        }
        if name == "count" {
            return Ok(Value::Int(values.iter().filter(|value| value.equals(&wanted)).count() as i64));
        }
        let [start, stop] = bounds(values.len(), start.as_ref(), stop.as_ref())?;
        let place = (start..stop).find(|place| values[*place].equals(&wanted));
        place.map(|place| Value::Int(place as i64)).ok_or_else(|| Failure::new("value is not in list"))
    }

    fn text_method(&mut self, text: &str, name: &str, args: Args) -> Outcome<Value> {
        if let Some(value) = self.changed_text(text, name, &args)? {
            return Ok(value);
        }
        match name {
            "split" | "rsplit" => self.split(text, name == "rsplit", args),
            "splitlines" => {
                let [keep] = args.bind(name, ["keepends"])?;
                let keep = keep.is_some_and(|keep| keep.is_true());
                self.texts(super::words::lines(text, keep))
            }
            "partition" | "rpartition" => {
                let [separator] = args.bind(name, ["sep"])?;
                let separator = Args::required(separator, name, "sep")?;
                let separator = separator.str(name)?;
                if separator.is_empty() {
                    return Err(Failure::new("empty separator"));
                }
                let found = if name == "partition" {
                    text.split_once(separator)
                } else {
                    text.rsplit_once(separator)
                };
                let parts = match found {
                    Some((before, after)) => [before, separator, after],
                    None if name == "partition" => [text, "", ""],
                    None => ["", "", text],
                };
                let parts =
                    parts.into_iter().map(|part| Value::text(&self.budget, part)).collect::<Outcome<_>>()?;
                Value::tuple(&self.budget, parts)
            }
            "join" => {
                let [values] = args.bind(name, ["iterable"])?;
                let values = self.iterate(Args::required(values, name, "iterable")?.defined()?)?;
                let mut joined = String::new();
                for (index, value) in values.iter().enumerate() {
                    let value = value.str("sequence item")?;
                    self.budget.bytes(text.len() + value.len())?;
                    if index > 0 {
                        joined += text;
                    }
                    joined += value;
                }
                Value::text(&self.budget, joined)
            }
            "count" | "find" | "index" | "rfind" | "rindex" => self.search(text, name, args),
            "startswith" | "endswith" => {
                let [part, start, stop] = args.bind(name, ["prefix", "start", "end"])?;
                let text = part_of(text, start.as_ref(), stop.as_ref())?.1;
                let part = Args::required(part, name, "prefix")?;
                let is_at = |part: &Value| -> Outcome<bool> {
                    let part = part.str(name)?;
                    Ok(if name == "startswith" { text.starts_with(part) } else { text.ends_with(part) })
                };
                let found = match &part {
                    Value::Tuple(parts) => {
                        let found: Vec<bool> = parts.values.iter().map(is_at).collect::<Outcome<_>>()?;
                        found.contains(&true)
                    }
                    part => is_at(part)?,
                };
                Ok(Value::Bool(found))
            }
            "format" => self.format(text, args),
            "encode" | "format_map" | "isidentifier" => {
                Err(Failure::new(format!("the method `{name}` of a text is not supported")))
            }
            _ => {
                let [] = args.bind(name, [])?;
                Ok(Value::Bool(super::words::is(name, text)))
            }
        }
    }

    fn split(&self, text: &str, from_right: bool, args: Args) -> Outcome<Value> {
        let [separator, most] = args.bind("split", ["sep", "maxsplit"])?;
        let most = most.map_or(Ok(-1), |most| most.int("maxsplit"))?;
        let most = usize::try_from(most).unwrap_or(usize::MAX - 1);
        let parts: Vec<&str> = match separator.unwrap_or(Value::None) {
            Value::None => super::words::split(text, most, from_right),
            separator => match (separator.str("sep")?, from_right) {
                ("", _) => return Err(Failure::new("empty separator")),
                (separator, false) => text.splitn(most + 1, separator).collect(),
                (separator, true) => {
                    let mut parts: Vec<&str> = text.rsplitn(most + 1, separator).collect();
                    parts.reverse();
                    parts
                }
            },
        };
        self.texts(parts)
    }

    fn texts(&self, parts: Vec<&str>) -> Outcome<Value> {
        self.budget.bytes(parts.len() * 64)?;
        let values = parts.into_iter().map(|part| Value::text(&self.budget, part)).collect::<Outcome<_>>()?;
        Value::list(&self.budget, values)
    }
}

/// A text without the given characters, or whitespace, at its ends.
pub(super) fn strip<'t>(text: &'t str, letters: Option<&str>, left: bool, right: bool) -> &'t str {
    let goes = |letter: char| letters.map_or_else(|| is_space(letter), |letters| letters.contains(letter));
    let text = if left { text.trim_start_matches(goes) } else { text };
    if right { text.trim_end_matches(goes) } else { text }
}
