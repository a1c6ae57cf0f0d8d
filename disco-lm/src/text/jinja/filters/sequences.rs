//! Filters of sequences and dicts.

use super::super::{
    ast::Comparison,
    budget::{Failure, Outcome},
    calls::Args,
    interpreter::Interpreter,
    value::Value,
};

fn flag(value: Option<Value>, default: bool) -> bool {
    value.map_or(default, |value| value.is_true())
}

impl Interpreter<'_> {
    /// `len(value)`.
    pub(in super::super) fn length(&self, value: &Value) -> Outcome<usize> {
        match value {
            Value::Undefined(_) => Ok(0),
            Value::Str(text) | Value::Markup(text) => {
                self.budget.steps(text.len())?;
                Ok(text.chars().count())
            }
            Value::List(items) | Value::Tuple(items) | Value::View(_, items) => Ok(items.values.len()),
            Value::Dict(dict) => Ok(dict.entries.len()),
            Value::Range(range) => Ok(range.len()),
            other => Err(Failure::new(format!("object of type '{}' has no len()", other.kind()))),
        }
    }

    pub(super) fn sequence_filter(&mut self, name: &str, value: &Value, args: Args) -> Outcome<Value> {
        match name {
            "length" | "count" => {
                let [] = args.bind(name, [])?;
                Ok(Value::Int(self.length(value)? as i64))
            }
            "list" => {
                let [] = args.bind(name, [])?;
                let values = self.iterate(value)?;
                Value::list(&self.budget, values)
            }
            "first" => {
                let [] = args.bind(name, [])?;
                let first = match value {
                    Value::Generator(generator) => {
                        let taken = generator.taken.get();
                        let first = generator.items.values.get(taken).cloned();
                        generator.taken.set(taken + usize::from(first.is_some()));
                        first
                    }
                    value => self.iterate(value)?.into_iter().next(),
                };
                Ok(first.unwrap_or(Value::Undefined("No first item, sequence was empty.".into())))
            }
            "last" => {
                let [] = args.bind(name, [])?;
                if matches!(value, Value::Generator(_)) {
                    return Err(Failure::new("'generator' object is not reversible"));
                }
                let last = self.iterate(value)?.pop();
                Ok(last.unwrap_or(Value::Undefined("No last item, sequence was empty.".into())))
            }
            "join" => self.join(value, args),
            "reverse" => {
                let [] = args.bind(name, [])?;
                if let Value::Str(text) = value {
                    return Value::text(&self.budget, text.chars().rev().collect::<String>());
                }
                let mut values = self.iterate(value)?;
                values.reverse();
                Value::generator(&self.budget, values)
            }
            "sort" => {
                let [reverse, case_sensitive, attribute] =
                    args.bind(name, ["reverse", "case_sensitive", "attribute"])?;
                let values = self.iterate(value)?;
                let values = self.sorted(
                    values,
                    attribute.as_ref(),
                    flag(case_sensitive, false),
                    flag(reverse, false),
                )?;
                Value::list(&self.budget, values)
            }
            "unique" => {
                let [case_sensitive, attribute] = args.bind(name, ["case_sensitive", "attribute"])?;
                let case_sensitive = flag(case_sensitive, false);
                let mut seen: Vec<Value> = Vec::new();
                let mut kept = Vec::new();
                for value in self.iterate(value)? {
                    let key = self.by(&value, attribute.as_ref())?;
                    let key = self.without_case(&key, case_sensitive)?;
                    self.budget.steps(seen.len().saturating_mul(key.size().min(64)))?;
                    if !seen.iter().any(|other| other.equals(&key)) {
                        seen.push(key);
                        kept.push(value);
                    }
                }
                Value::generator(&self.budget, kept)
            }
            "map" => self.map(value, args),
            "select" | "reject" | "selectattr" | "rejectattr" => self.select(name, value, args),
            "items" => {
                let [] = args.bind(name, [])?;
                match value {
                    Value::Undefined(_) => Value::generator(&self.budget, Vec::new()),
                    Value::Dict(dict) => {
                        let entries = self.items_of(dict)?;
                        Value::generator(&self.budget, entries)
                    }
                    _ => Err(Failure::new("Can only get item pairs from a mapping.")),
                }
            }
            "dictsort" => self.sorted_dict(value, args),
            "groupby" => self.groups(value, args),
            _ => self.parts(name, value, args),
        }
    }

    fn join(&mut self, value: &Value, args: Args) -> Outcome<Value> {
        let [separator, attribute] = args.bind("join", ["d", "attribute"])?;
        let separator = self.to_str(&separator.unwrap_or(Value::Str("".into())))?;
        let mut text = String::new();
        for (index, value) in self.iterate(value)?.iter().enumerate() {
            if index > 0 {
                text += &separator;
            }
            let value = self.by(value, attribute.as_ref())?;
            text += &self.to_str(&value)?;
            self.budget.bytes(separator.len())?;
        }
        Value::text(&self.budget, text)
    }

    /// Sorted values; equal ones keep their order.
    fn sorted(
        &mut self,
        values: Vec<Value>,
        attribute: Option<&Value>,
        case_sensitive: bool,
        reverse: bool,
    ) -> Outcome<Vec<Value>> {
        let mut keyed = Vec::with_capacity(values.len());
        for value in values {
            let mut keys = Vec::new();
            match attribute.and_then(Value::as_str).filter(|paths| paths.contains(',')) {
                Some(paths) => {
                    for path in paths.split(',') {
                        let key = self.path(&value, &Value::Str(path.into()))?;
                        keys.push(self.without_case(&key, case_sensitive)?);
                    }
                }
                None => {
                    let key = self.by(&value, attribute)?;
                    keys.push(self.without_case(&key, case_sensitive)?);
                }
            }
            keyed.push((keys, value));
        }
        let mut failure = None;
        keyed.sort_by(|(a, _), (b, _)| {
            for (a, b) in a.iter().zip(b) {
                if failure.is_some() {
                    break;
                }
                let order = self.budget.steps(a.size().min(b.size())).and_then(|()| a.compare(b, "<"));
                match order {
                    Ok(Some(std::cmp::Ordering::Equal)) => {}
                    Ok(order) => {
                        let order = order.unwrap_or(std::cmp::Ordering::Equal);
                        return if reverse { order.reverse() } else { order };
                    }
                    Err(error) => failure = Some(error),
                }
            }
            std::cmp::Ordering::Equal
        });
        match failure {
            Some(failure) => Err(failure),
            None => Ok(keyed.into_iter().map(|(_, value)| value).collect()),
        }
    }

    fn map(&mut self, value: &Value, mut args: Args) -> Outcome<Value> {
        let values = self.iterate(value)?;
        let mut mapped = Vec::with_capacity(values.len());
        if args.positional.is_empty() {
            let [attribute, default] = args.bind("map", ["attribute", "default"])?;
            let attribute = Args::required(attribute, "map", "attribute")?;
            let default = default.filter(|default| !matches!(default, Value::None));
            for value in &values {
                let found = self.path(value, &attribute)?;
                mapped.push(match (found, &default) {
                    (Value::Undefined(_), Some(default)) => default.clone(),
                    (found, _) => found,
                });
            }
        } else {
            let filter = args.positional.remove(0);
            for value in &values {
                mapped.push(self.filter(filter.str("map")?, value, args.clone())?);
            }
        }
        Value::generator(&self.budget, mapped)
    }

    fn select(&mut self, name: &str, value: &Value, mut args: Args) -> Outcome<Value> {
        let wanted = name.starts_with("select");
        let path = match name.ends_with("attr") {
            true if args.positional.is_empty() => {
                return Err(Failure::new("Missing parameter for attribute name"));
            }
            true => Some(args.positional.remove(0)),
            false => None,
        };
        let test = if args.positional.is_empty() { None } else { Some(args.positional.remove(0)) };
        let mut kept = Vec::new();
        for value in self.iterate(value)? {
            let tested = self.by(&value, path.as_ref())?;
            let holds = match &test {
                Some(test) => self.test(test.str(name)?, &tested, args.clone())?,
                None => tested.is_true(),
            };
            if holds == wanted {
                kept.push(value);
            }
        }
        Value::generator(&self.budget, kept)
    }

    fn sorted_dict(&mut self, value: &Value, args: Args) -> Outcome<Value> {
        let [case_sensitive, by, reverse] = args.bind("dictsort", ["case_sensitive", "by", "reverse"])?;
        let Value::Dict(dict) = value else { return Err(Failure::new("dictsort needs a dict")) };
        let place = match by.unwrap_or(Value::Str("key".into())).str("by")? {
            "key" => 0,
            "value" => 1,
            _ => return Err(Failure::new("You can only sort by either \"key\" or \"value\"")),
        };
        let entries = self.items_of(dict)?;
        let place = Value::Int(place);
        let entries =
            self.sorted(entries, Some(&place), flag(case_sensitive, false), flag(reverse, false))?;
        Value::list(&self.budget, entries)
    }

    fn groups(&mut self, value: &Value, args: Args) -> Outcome<Value> {
        let [attribute, default, case_sensitive] =
            args.bind("groupby", ["attribute", "default", "case_sensitive"])?;
        let attribute = Args::required(attribute, "groupby", "attribute")?;
        if default.is_some() {
            return Err(Failure::new("the argument `default` of `groupby` is not supported"));
        }
        let case_sensitive = flag(case_sensitive, false);
        let values = self.iterate(value)?;
        let values = self.sorted(values, Some(&attribute), case_sensitive, false)?;
        let mut groups: Vec<(Value, Value, Vec<Value>)> = Vec::new();
        for value in values {
            let shown = self.path(&value, &attribute)?;
            let key = self.without_case(&shown, case_sensitive)?;
            match groups.last_mut() {
                Some((_, last, members)) if self.compare(Comparison::Equal, last, &key)? => {
                    members.push(value)
                }
                _ => groups.push((shown, key, vec![value])),
            }
        }
        let mut tuples = Vec::new();
        for (shown, _, members) in groups {
            let members = Value::list(&self.budget, members)?;
            tuples.push(Value::tuple(&self.budget, vec![shown, members])?);
        }
        Value::list(&self.budget, tuples)
    }

    /// `batch` and `slice`: lists of some of the values.
    fn parts(&mut self, name: &str, value: &Value, args: Args) -> Outcome<Value> {
        let [count, fill] = args.bind(name, ["count", "fill_with"])?;
        let count = Args::required(count, name, "count")?.int(name)?;
        let count = usize::try_from(count).ok().filter(|count| *count > 0);
        let count = count.ok_or_else(|| Failure::new(format!("{name} needs a positive number")))?;
        let values = self.iterate(value)?;
        let fill = fill.filter(|fill| !matches!(fill, Value::None));
        let mut parts: Vec<Vec<Value>> = Vec::new();
        if name == "batch" {
            parts = values.chunks(count).map(<[Value]>::to_vec).collect();
            if let (Some(last), Some(fill)) = (parts.last_mut(), fill) {
                self.budget.bytes(count.saturating_mul(size_of::<Value>()))?;
                last.resize(count, fill);
            }
        } else {
            self.budget.bytes(count.saturating_mul(64))?;
            let (each, longer) = (values.len() / count, values.len() % count);
            let mut rest = &values[..];
            for index in 0..count {
                let (part, others) = rest.split_at(each + usize::from(index < longer));
                rest = others;
                let mut part = part.to_vec();
                if let (Some(fill), true) = (&fill, index >= longer && longer > 0) {
                    part.push(fill.clone());
                }
                parts.push(part);
            }
        }
        let parts = parts.into_iter().map(|part| Value::list(&self.budget, part)).collect::<Outcome<_>>()?;
        Value::generator(&self.budget, parts)
    }
}
