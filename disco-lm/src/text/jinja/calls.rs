//! Calls: arguments, macros, functions and methods.

use std::rc::Rc;

use super::{
    ast::{Arguments, Expr, Kind, Macro},
    budget::{Failure, Outcome},
    interpreter::Interpreter,
    value::Value,
};

/// The arguments of a call.
#[derive(Clone, Debug, Default)]
pub(super) struct Args {
    pub(super) positional: Vec<Value>,
    pub(super) named: Vec<(Rc<str>, Value)>,
}

impl Args {
    /// The arguments by the names of the parameters; missing ones are `None`.
    pub(super) fn bind<const N: usize>(self, what: &str, names: [&str; N]) -> Outcome<[Option<Value>; N]> {
        let mut bound = [const { None }; N];
        if self.positional.len() > N {
            let given = self.positional.len();
            return Err(Failure::new(format!("{what} takes at most {N} arguments, {given} given")));
        }
        for (place, value) in bound.iter_mut().zip(self.positional) {
            *place = Some(value);
        }
        for (name, value) in self.named {
            let place = names.iter().position(|other| **other == *name);
            let Some(place) = place else {
                return Err(Failure::new(format!("{what} has no argument `{name}`")));
            };
            if bound[place].replace(value).is_some() {
                return Err(Failure::new(format!("{what} has two values for the argument `{name}`")));
            }
        }
        Ok(bound)
    }

    /// A required argument of [`bind`](Self::bind).
    pub(super) fn required(value: Option<Value>, what: &str, name: &str) -> Outcome<Value> {
        value.ok_or_else(|| Failure::new(format!("{what} needs the argument `{name}`")))
    }
}

impl<'t> Interpreter<'t> {
    pub(super) fn arguments(&mut self, arguments: &'t Arguments) -> Outcome<Args> {
        let mut args = Args::default();
        for value in &arguments.positional {
            args.positional.push(self.evaluate(value)?);
        }
        for (name, value) in &arguments.named {
            args.named.push((name.clone(), self.evaluate(value)?));
        }
        if let Some(values) = &arguments.spread {
            let values = self.evaluate(values)?;
            args.positional.extend(self.iterate(&values)?);
        }
        if let Some(entries) = &arguments.spread_named {
            let Value::Dict(dict) = self.evaluate(entries)? else {
                return Err(Failure::new("argument after ** must be a mapping"));
            };
            for (key, value) in &dict.entries {
                args.named.push((key.str("a name of an argument")?.into(), value.clone()));
            }
        }
        self.budget.bytes((args.positional.len() + args.named.len()) * 64)?;
        Ok(args)
    }

    /// `{% call %}`: a call whose callee can call the body.
    pub(super) fn call_with_caller(&mut self, call: &'t Expr, caller: Value) -> Outcome<Value> {
        let Kind::Call(callee, arguments) = &call.kind else {
            return Err(Failure::new("`call` needs a call"));
        };
        let callee = self.evaluate(callee)?;
        let mut arguments = self.arguments(arguments)?;
        arguments.named.push(("caller".into(), caller));
        self.call(&callee, arguments)
    }

    pub(super) fn call(&mut self, callee: &Value, arguments: Args) -> Outcome<Value> {
        self.budget.steps(arguments.positional.len())?;
        match callee.defined()? {
            Value::Function(name) => self.function(name, arguments),
            Value::Method(method) => self.method(&method.receiver, &method.name, arguments),
            Value::Macro(id) => self.call_macro(*id, arguments),
            Value::Loop(id) => {
                let [values] = arguments.bind("loop", ["iterable"])?;
                self.call_loop(*id, &Args::required(values, "loop", "iterable")?)
            }
            Value::Joiner(id) => {
                let (text, used) = &mut self.joiners[*id];
                let value = if std::mem::replace(used, true) { text.clone() } else { "".into() };
                Ok(Value::Str(value))
            }
            other => Err(Failure::new(format!("'{}' object is not callable", other.kind()))),
        }
    }

    fn call_macro(&mut self, id: usize, arguments: Args) -> Outcome<Value> {
        let definition = self.definition(id);
        let Args { positional, mut named } = arguments;
        let mut positional = positional.into_iter();
        let what = &definition.name;
        self.run_macro(id, |interpreter| {
            for (name, default) in &definition.parameters {
                let by_name = named.iter().position(|(other, _)| other == name);
                let by_name = by_name.map(|index| named.remove(index).1);
                let value = match (positional.next(), by_name) {
                    (Some(_), Some(_)) => {
                        let message = format!("macro '{what}' got multiple values for argument '{name}'");
                        return Err(Failure::new(message));
                    }
                    (Some(value), None) | (None, Some(value)) => value,
                    (None, None) => match default {
                        Some(default) => interpreter.evaluate(default)?,
                        None => Value::Undefined(format!("parameter '{name}' was not provided").into()),
                    },
                };
                interpreter.define(name.clone(), value)?;
            }
            interpreter.define_rest(definition, positional.collect(), named)
        })
    }

    /// Arguments beyond a macro's parameters are `varargs`, `kwargs` and `caller`, for a macro that names these.
    fn define_rest(
        &mut self,
        definition: &Macro,
        positional: Vec<Value>,
        mut named: Vec<(Rc<str>, Value)>,
    ) -> Outcome<()> {
        let Macro { name: what, uses: [uses_varargs, uses_kwargs, uses_caller], .. } = definition;
        if *uses_caller {
            let caller = named.iter().position(|(name, _)| **name == *"caller");
            let caller = caller.map(|index| named.remove(index).1);
            self.define("caller".into(), caller.unwrap_or(Value::Undefined("No caller defined".into())))?;
        }
        if !positional.is_empty() && !uses_varargs {
            let parameters = definition.parameters.len();
            return Err(Failure::new(format!("macro '{what}' takes not more than {parameters} argument(s)")));
        }
        if let Some((name, _)) = named.first().filter(|_| !uses_kwargs) {
            return Err(Failure::new(format!("macro '{what}' takes no keyword argument '{name}'")));
        }
        if *uses_varargs {
            let value = Value::tuple(&self.budget, positional)?;
            self.define("varargs".into(), value)?;
        }
        if *uses_kwargs {
            let entries = named.into_iter().map(|(name, value)| (Value::Str(name), value)).collect();
            let value = Value::dict(&self.budget, entries)?;
            self.define("kwargs".into(), value)?;
        }
        Ok(())
    }
}
