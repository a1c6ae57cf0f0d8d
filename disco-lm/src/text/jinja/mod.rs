//! Jinja, the language of chat templates, as transformers sets it up: `trim_blocks` and `lstrip_blocks`, the sandbox that forbids to
//! change lists and dicts, loop controls, the tag `generation`, `tojson` without escapes for HTML, `raise_exception` and
//! `strftime_now`.
//!
//! A template is a program of a stranger, and a text that differs from transformers' in one letter is another context. minijinja 3.1,
//! with its limit on steps, does not do for it: a namespace that holds itself overflows the stack, and of the 212 entries of
//! `tests/suite/reference/jinja.json` some 80 are rendered differently (numbers, `%`, methods of texts, arguments of filters). So this is
//! an interpreter of our own: every operation pays for its steps, its memory and its depth before it runs (`budget.rs`), values hold no
//! rings and cannot be nested deeply (`value.rs`), and a rendering runs on a thread with a stack of known size. Values are printed,
//! compared and calculated with as in Python. Features of Jinja that templates have no use for (inheritance, includes, HTML) are refused
//! by name.

mod ast;
mod budget;
mod calls;
mod conditions;
mod cursor;
mod evaluate;
mod expressions;
mod filters;
mod format;
mod functions;
mod interpreter;
mod json;
mod lexer;
mod literals;
mod lookup;
mod loops;
mod methods;
mod numbers;
mod operands;
mod operators;
mod parser;
mod percent;
mod printing;
mod search;
pub(super) mod strftime;
#[cfg(test)]
mod tests;
mod text_methods;
mod value;
mod words;

use std::time::SystemTime;

pub(crate) use budget::Failure;
use budget::{Budget, Outcome};
use interpreter::Interpreter;
use value::Value;

/// The stack of the thread that renders: depth is limited so that a tenth of it is enough.
const STACK: usize = 32 << 20;

/// A value that a template is given. Dicts keep their order.
#[derive(Clone, Debug)]
pub(crate) enum Data {
    None,
    Bool(bool),
    Text(String),
    List(Vec<Data>),
    Dict(Vec<(String, Data)>),
}

/// The text that a template makes of its variables; `now` is the time of `strftime_now`.
pub(crate) fn render(source: &str, variables: &[(String, Data)], now: SystemTime) -> Result<String, Failure> {
    let failed = |cause: std::io::Error| Failure::new(format!("no thread can be started: {cause}"));
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("chat template".into()).stack_size(STACK);
        let thread = thread.spawn_scoped(scope, || render_here(source, variables, now)).map_err(failed)?;
        thread.join().unwrap_or_else(|_| Err(Failure::new("the engine that renders templates failed")))
    })
}

fn render_here(source: &str, variables: &[(String, Data)], now: SystemTime) -> Outcome<String> {
    let body = parser::parse(source)?;
    let entries = variables.iter().map(|(name, data)| Ok((name.as_str().into(), value(data)?)));
    let variables = entries.collect::<Outcome<_>>()?;
    let mut text = String::new();
    Interpreter::new(variables, now).run(&body, &mut text)?;
    Ok(text)
}

fn value(data: &Data) -> Outcome<Value> {
    // The caller's variables are not the template's expense.
    let budget = Budget::default();
    match data {
        Data::None => Ok(Value::None),
        Data::Bool(value) => Ok(Value::Bool(*value)),
        Data::Text(text) => Ok(Value::Str(text.as_str().into())),
        Data::List(values) => Value::list(&budget, values.iter().map(value).collect::<Outcome<_>>()?),
        Data::Dict(entries) => {
            let entries =
                entries.iter().map(|(key, data)| Ok((Value::Str(key.as_str().into()), value(data)?)));
            Value::dict(&budget, entries.collect::<Outcome<_>>()?)
        }
    }
}
