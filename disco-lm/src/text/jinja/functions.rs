//! Functions that every template can call.

use std::rc::Rc;

use super::{
    budget::{Failure, Outcome},
    calls::Args,
    interpreter::Interpreter,
    strftime,
    value::{Items, Range, Value},
};

const FUNCTIONS: [&str; 9] =
    ["range", "dict", "namespace", "cycler", "joiner", "lipsum", "raise_exception", "strftime_now", "self"];

/// The function of this name.
pub(super) fn named(name: &str) -> Option<Value> {
    FUNCTIONS.into_iter().find(|function| *function == name).map(Value::Function)
}

/// The most elements of a `range`, as in Jinja's sandbox.
const RANGE: usize = 100_000;

impl Interpreter<'_> {
    pub(super) fn function(&mut self, name: &'static str, args: Args) -> Outcome<Value> {
        match name {
            "range" => {
                let count = args.positional.len();
                let [first, second, step] = args.bind(name, ["start", "stop", "step"])?;
                let first = Args::required(first, name, "stop")?.int(name)?;
                let (start, stop) = match second {
                    None => (0, first),
                    Some(stop) => (first, stop.int(name)?),
                };
                let step = step.map_or(Ok(1), |step| step.int(name))?;
                if step == 0 || count == 0 {
                    return Err(Failure::new("range() arg 3 must not be zero"));
                }
                let range = Range { start, stop, step };
                if range.len() > RANGE {
                    let message = format!("Range too big. The sandbox blocks ranges larger than {RANGE}.");
                    return Err(Failure::new(message));
                }
                Ok(Value::Range(range))
            }
            "dict" => {
                let entries = self.entries(args)?;
                Value::dict(&self.budget, entries)
            }
            "namespace" => {
                let entries = self.entries(args)?;
                self.budget.bytes(64)?;
                let id = self.namespaces.len();
                self.namespaces.push(Vec::new());
                for (key, value) in entries {
                    self.set_in_namespace(id, key.str("a name in a namespace")?.into(), value)?;
                }
                Ok(Value::Namespace(id))
            }
            "cycler" => {
                if args.positional.is_empty() {
                    return Err(Failure::new("at least one item has to be provided"));
                }
                let items = Items::new(&self.budget, args.positional)?;
                self.cyclers.push((items, 0));
                Ok(Value::Cycler(self.cyclers.len() - 1))
            }
            "joiner" => {
                let [separator] = args.bind(name, ["sep"])?;
                let separator = separator.unwrap_or(Value::Str(", ".into()));
                self.budget.bytes(64)?;
                self.joiners.push((separator.str(name)?.into(), false));
                Ok(Value::Joiner(self.joiners.len() - 1))
            }
            "raise_exception" => {
                let [message] = args.bind(name, ["message"])?;
                let message = Args::required(message, name, "message")?;
                Err(Failure::new(self.to_str(&message)?))
            }
            "strftime_now" => {
                let [format] = args.bind(name, ["format"])?;
                let format = Args::required(format, name, "format")?;
                let format = format.str(name)?;
                self.budget.bytes(format.len().saturating_mul(32))?;
                let text = strftime::format(format, self.now).map_err(Failure::new)?;
                Value::text(&self.budget, text)
            }
            _ => Err(Failure::new(format!("the function `{name}` is not supported"))),
        }
    }

    /// The entries of a new dict: those of a dict or of a list of pairs, then the named ones.
    fn entries(&mut self, args: Args) -> Outcome<Vec<(Value, Value)>> {
        let mut entries = Vec::new();
        for value in &args.positional {
            if args.positional.len() > 1 {
                return Err(Failure::new("dict expected at most 1 argument"));
            }
            if let Value::Dict(dict) = value {
                entries.extend(dict.entries.iter().cloned());
                continue;
            }
            for pair in self.iterate(value.defined()?)? {
                let pair = self.iterate(&pair)?;
                let [key, value] = <[Value; 2]>::try_from(pair)
                    .map_err(|pair| Failure::new(format!("a pair of a dict has {} elements", pair.len())))?;
                entries.push((key, value));
            }
        }
        let named = args.named.into_iter().map(|(name, value): (Rc<str>, Value)| (Value::Str(name), value));
        entries.extend(named);
        self.budget.bytes(entries.len() * 96)?;
        Ok(entries)
    }
}
