//! Jinja's filters, one file per kind of value.

mod numbers;
mod sequences;
mod texts;

use super::{
    budget::{Failure, Outcome},
    calls::Args,
    interpreter::Interpreter,
    value::Value,
};

impl Interpreter<'_> {
    /// `value | name(args)`.
    pub(super) fn filter(&mut self, name: &str, value: &Value, args: Args) -> Outcome<Value> {
        self.budget.steps(0)?;
        match name {
            "default" | "d" => {
                let [default, boolean] = args.bind(name, ["default_value", "boolean"])?;
                let boolean = boolean.is_some_and(|boolean| boolean.is_true());
                let missing = matches!(value, Value::Undefined(_)) || boolean && !value.is_true();
                Ok(if missing { default.unwrap_or(Value::Str("".into())) } else { value.clone() })
            }
            "attr" => {
                let [attribute] = args.bind(name, ["name"])?;
                let attribute = Args::required(attribute, name, "name")?;
                match value {
                    // Unlike the operator `.`, the filter does not look for an item.
                    Value::Dict(_) if !super::methods::exists(value, attribute.str(name)?) => {
                        Ok(Value::Undefined(format!("'dict object' has no attribute {attribute:?}").into()))
                    }
                    value => self.attribute(value, &attribute.str(name)?.into()),
                }
            }
            "abs" | "round" | "int" | "float" | "sum" | "min" | "max" => {
                self.number_filter(name, value, args)
            }
            "tojson" => self.to_json(value, args),
            "string" | "safe" | "escape" | "e" | "forceescape" | "upper" | "lower" | "capitalize"
            | "title" | "trim" | "replace" | "indent" | "center" | "truncate" | "format" | "wordcount" => {
                self.text_filter(name, value, args)
            }
            "length" | "count" | "list" | "first" | "last" | "join" | "reverse" | "sort" | "unique"
            | "map" | "select" | "reject" | "selectattr" | "rejectattr" | "items" | "dictsort"
            | "groupby" | "batch" | "slice" => self.sequence_filter(name, value, args),
            "filesizeformat" | "pprint" | "random" | "striptags" | "urlencode" | "urlize" | "wordwrap"
            | "xmlattr" => Err(Failure::new(format!("the filter `{name}` is not supported"))),
            _ => Err(Failure::new(format!("No filter named '{name}'"))),
        }
    }

    /// The element that a path such as `function.name` or `0` leads to.
    pub(super) fn path(&mut self, value: &Value, path: &Value) -> Outcome<Value> {
        let Some(text) = path.as_str() else { return self.item(value, path) };
        let mut value = value.clone();
        for part in text.split('.') {
            let key = match part.parse() {
                Ok(index) if part.bytes().all(|byte| byte.is_ascii_digit()) => Value::Int(index),
                _ => Value::Str(part.into()),
            };
            value = self.item(&value, &key)?;
        }
        Ok(value)
    }
}
