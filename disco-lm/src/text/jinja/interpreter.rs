//! Statements of a template, executed.

use std::{collections::HashMap, rc::Rc, time::SystemTime};

use super::{
    ast::{Action, Body, Expr, For, Macro, Statement, Target},
    budget::{Budget, Failure, Outcome},
    loops::LoopState,
    value::{Items, Value},
};

/// How a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    On,
    Break,
    Continue,
}

type Scope = HashMap<Rc<str>, Value>;

/// A macro with the variables that it could see where it was defined, those of the whole template excepted.
pub(super) struct Closure<'t> {
    definition: &'t Macro,
    scope: Scope,
}

/// The state of a rendering.
pub(super) struct Interpreter<'t> {
    pub(super) budget: Budget,
    /// The time that `strftime_now` writes.
    pub(super) now: SystemTime,
    /// Scopes, the innermost last. The first are the template's variables.
    scopes: Vec<Scope>,
    pub(super) namespaces: Vec<Vec<(Rc<str>, Value)>>,
    closures: Vec<Closure<'t>>,
    pub(super) loops: Vec<LoopState<'t>>,
    pub(super) cyclers: Vec<(Rc<Items>, usize)>,
    pub(super) joiners: Vec<(Rc<str>, bool)>,
    /// The text of the block that filters are applied to.
    pub(super) block: Option<Value>,
}

impl<'t> Interpreter<'t> {
    pub(super) fn new(variables: Vec<(Rc<str>, Value)>, now: SystemTime) -> Self {
        Self {
            budget: Budget::default(),
            now,
            scopes: vec![variables.into_iter().collect()],
            namespaces: Vec::new(),
            closures: Vec::new(),
            loops: Vec::new(),
            cyclers: Vec::new(),
            joiners: Vec::new(),
            block: None,
        }
    }

    /// The value of a variable; the template's own come before the engine's functions.
    pub(super) fn variable(&self, name: &Rc<str>) -> Value {
        let found = self.scopes.iter().rev().find_map(|scope| scope.get(name));
        found
            .cloned()
            .or_else(|| super::functions::named(name))
            .unwrap_or_else(|| Value::Undefined(format!("'{name}' is undefined").into()))
    }

    pub(super) fn define(&mut self, name: Rc<str>, value: Value) -> Outcome<()> {
        self.budget.bytes(64)?;
        self.scopes.last_mut().expect("there is a scope").insert(name, value);
        Ok(())
    }

    /// Runs `inner` with a new scope.
    pub(super) fn scoped<T>(&mut self, inner: impl FnOnce(&mut Self) -> Outcome<T>) -> Outcome<T> {
        self.scopes.push(Scope::new());
        let outcome = inner(self);
        self.scopes.pop();
        outcome
    }

    /// Executes statements, which write to `to`.
    pub(super) fn run(&mut self, body: &'t Body, to: &mut String) -> Outcome<Flow> {
        for statement in body {
            self.budget.steps(0)?;
            self.budget.enter()?;
            let flow = self.statement(statement, to);
            self.budget.leave();
            match flow.map_err(|error| error.at(statement.line))? {
                Flow::On => {}
                other => return Ok(other),
            }
        }
        Ok(Flow::On)
    }

    pub(super) fn write(&self, text: &str, to: &mut String) -> Outcome<()> {
        self.budget.output(text.len())?;
        to.push_str(text);
        Ok(())
    }

    fn statement(&mut self, statement: &'t Statement, to: &mut String) -> Outcome<Flow> {
        match &statement.kind {
            Action::Text(text) => self.write(text, to)?,
            Action::Print(value) => {
                let value = self.evaluate(value)?;
                match &value {
                    Value::Str(text) | Value::Markup(text) => self.write(text, to)?,
                    other => self.write(&self.to_str(other)?, to)?,
                }
            }
            Action::If(branches) => {
                for (condition, body) in branches {
                    let holds = match condition {
                        Some(condition) => self.evaluate(condition)?.is_true(),
                        None => true,
                    };
                    if holds {
                        return self.run(body, to);
                    }
                }
            }
            Action::For(each) => {
                let values = self.evaluate(&each.values)?;
                self.for_loop(each, &values, 0, to)?;
            }
            Action::Set(target, value) => {
                let value = self.evaluate(value)?;
                self.assign(target, value)?;
            }
            Action::SetBlock(target, body, filters) => {
                let text = self.captured(body)?;
                let value = self.filtered(text, filters)?;
                self.assign(target, value)?;
            }
            Action::With(values, body) => {
                let evaluated: Vec<Value> =
                    values.iter().map(|(_, value)| self.evaluate(value)).collect::<Outcome<_>>()?;
                return self.scoped(|interpreter| {
                    for ((target, _), value) in values.iter().zip(evaluated) {
                        interpreter.assign(target, value)?;
                    }
                    interpreter.run(body, to)
                });
            }
            Action::Filter(body, filters) => {
                let text = self.captured(body)?;
                let value = self.filtered(text, filters)?;
                let text = self.to_str(&value)?;
                self.write(&text, to)?;
            }
            Action::Macro(definition) => {
                let value = self.closure(definition, false)?;
                self.define(definition.name.clone(), value)?;
            }
            Action::Call(caller, call) => {
                let caller = self.closure(caller, true)?;
                let value = self.call_with_caller(call, caller)?;
                let text = self.to_str(&value)?;
                self.write(&text, to)?;
            }
            Action::Generation(body) => {
                self.scoped(|interpreter| interpreter.run(body, to))?;
            }
            Action::Break => return Ok(Flow::Break),
            Action::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::On)
    }

    /// The text that a body writes.
    fn captured(&mut self, body: &'t Body) -> Outcome<Value> {
        let mut text = String::new();
        self.scoped(|interpreter| interpreter.run(body, &mut text))?;
        Value::text(&self.budget, text)
    }

    fn filtered(&mut self, text: Value, filters: &'t Expr) -> Outcome<Value> {
        let before = self.block.replace(text);
        let value = self.evaluate(filters);
        self.block = before;
        value
    }

    pub(super) fn assign(&mut self, target: &Target, value: Value) -> Outcome<()> {
        match target {
            Target::Name(name) => self.define(name.clone(), value),
            Target::Tuple(targets) => {
                let values = self.iterate(&value)?;
                if values.len() != targets.len() {
                    return Err(Failure::new(format!(
                        "{} values cannot be assigned to {} names",
                        values.len(),
                        targets.len()
                    )));
                }
                targets.iter().zip(values).try_for_each(|(target, value)| self.assign(target, value))
            }
            Target::Attribute(name, attribute) => {
                let Value::Namespace(id) = self.variable(name) else {
                    return Err(Failure::new(format!(
                        "cannot assign attribute on non-namespace object `{name}`"
                    )));
                };
                self.set_in_namespace(id, attribute.clone(), value)
            }
        }
    }

    pub(super) fn set_in_namespace(&mut self, id: usize, name: Rc<str>, value: Value) -> Outcome<()> {
        if name.starts_with('_') {
            return Err(Failure::new(format!("a namespace cannot hold `{name}`, which begins with `_`")));
        }
        let entries = &mut self.namespaces[id];
        self.budget.steps(entries.len())?;
        match entries.iter_mut().find(|(other, _)| *other == name) {
            Some(entry) => entry.1 = value,
            None => {
                self.budget.bytes(64)?;
                entries.push((name, value));
            }
        }
        Ok(())
    }

    fn for_loop(&mut self, each: &'t For, values: &Value, depth: usize, to: &mut String) -> Outcome<()> {
        let mut values = self.iterate(values)?;
        if let Some(condition) = &each.condition {
            let mut kept = Vec::new();
            for value in values {
                self.budget.steps(0)?;
                let holds = self.scoped(|interpreter| {
                    interpreter.assign(&each.target, value.clone())?;
                    Ok(interpreter.evaluate(condition)?.is_true())
                })?;
                if holds {
                    kept.push(value);
                }
            }
            values = kept;
        }
        if values.is_empty() {
            self.scoped(|interpreter| interpreter.run(&each.otherwise, to))?;
            return Ok(());
        }
        let items = Items::new(&self.budget, values)?;
        let id = self.loops.len();
        self.budget.bytes(size_of::<LoopState<'_>>())?;
        self.loops.push(LoopState::new(each, items.clone(), depth));
        for (index, value) in items.values.iter().enumerate() {
            self.loops[id].index = index;
            let flow = self.scoped(|interpreter| {
                interpreter.define("loop".into(), Value::Loop(id))?;
                interpreter.assign(&each.target, value.clone())?;
                interpreter.run(&each.body, to)
            })?;
            if flow == Flow::Break {
                break;
            }
        }
        Ok(())
    }

    /// `loop(values)` in a recursive loop.
    pub(super) fn call_loop(&mut self, id: usize, values: &Value) -> Outcome<Value> {
        let (each, depth) = (self.loops[id].each, self.loops[id].depth);
        if !each.recursive {
            return Err(Failure::new("the loop is not marked as `recursive`"));
        }
        let mut text = String::new();
        self.for_loop(each, values, depth + 1, &mut text)?;
        Value::text(&self.budget, text)
    }

    fn closure(&mut self, definition: &'t Macro, is_caller: bool) -> Outcome<Value> {
        let mut scope = Scope::new();
        for (name, value) in self.scopes.iter().skip(1).flatten() {
            scope.insert(name.clone(), value.clone());
        }
        self.budget.bytes(64 * (1 + scope.len()))?;
        let id = self.closures.len();
        if !is_caller {
            // A macro can call itself.
            scope.insert(definition.name.clone(), Value::Macro(id));
        }
        self.closures.push(Closure { definition, scope });
        Ok(Value::Macro(id))
    }

    pub(super) fn definition(&self, id: usize) -> &'t Macro {
        self.closures[id].definition
    }

    /// Runs the body of a macro, whose arguments `bind` defines.
    pub(super) fn run_macro(
        &mut self,
        id: usize,
        bind: impl FnOnce(&mut Self) -> Outcome<()>,
    ) -> Outcome<Value> {
        let definition = self.closures[id].definition;
        let scope = self.closures[id].scope.clone();
        self.budget.bytes(64 * scope.len())?;
        // A macro sees the template's variables and its own, not those of its caller.
        let hidden = self.scopes.split_off(1);
        self.scopes.extend([scope, Scope::new()]);
        let mut text = String::new();
        let outcome = bind(self).and_then(|()| self.run(&definition.body, &mut text));
        self.scopes.truncate(1);
        self.scopes.extend(hidden);
        outcome?;
        Value::text(&self.budget, text)
    }

    /// The values of something that can be iterated over; those of a generator are taken from it.
    pub(super) fn iterate(&self, value: &Value) -> Outcome<Vec<Value>> {
        let values: Vec<Value> = match value {
            Value::Undefined(_) => Vec::new(),
            Value::Str(text) | Value::Markup(text) => {
                self.budget.bytes(text.len() * 48)?;
                text.chars().map(|letter| Value::Str(letter.to_string().into())).collect()
            }
            Value::List(items) | Value::Tuple(items) | Value::View(_, items) => items.values.clone(),
            Value::Dict(dict) => dict.entries.iter().map(|(key, _)| key.clone()).collect(),
            Value::Range(range) => {
                self.budget.bytes(range.len().saturating_mul(size_of::<Value>()))?;
                (0..range.len()).map(|index| range.get(index)).collect()
            }
            Value::Generator(generator) => {
                let taken = generator.taken.replace(generator.items.values.len());
                generator.items.values[taken..].to_vec()
            }
            other => return Err(Failure::new(format!("'{}' object is not iterable", other.kind()))),
        };
        self.budget.bytes(values.len() * size_of::<Value>())?;
        Ok(values)
    }
}
