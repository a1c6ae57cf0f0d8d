//! The variable `loop` of a loop.

use std::rc::Rc;

use super::{
    ast::For,
    value::{Items, Value},
};

/// A loop that runs, or that has run.
pub(super) struct LoopState<'t> {
    pub(super) each: &'t For,
    items: Rc<Items>,
    pub(super) index: usize,
    pub(super) depth: usize,
    /// The arguments of the last call of `loop.changed`.
    pub(super) changed: Option<Vec<Value>>,
}

impl<'t> LoopState<'t> {
    pub(super) fn new(each: &'t For, items: Rc<Items>, depth: usize) -> Self {
        Self { each, items, index: 0, depth, changed: None }
    }

    /// An attribute of `loop` that is no method.
    pub(super) fn attribute(&self, name: &str) -> Option<Value> {
        let length = self.items.values.len();
        let int = |value: usize| Some(Value::Int(value as i64));
        let neighbour = |index: Option<usize>, which: &str| {
            let value = index.and_then(|index| self.items.values.get(index)).cloned();
            Some(value.unwrap_or_else(|| Value::Undefined(format!("there is no {which} item").into())))
        };
        match name {
            "index" => int(self.index + 1),
            "index0" => int(self.index),
            "revindex" => int(length - self.index),
            "revindex0" => int(length - self.index - 1),
            "first" => Some(Value::Bool(self.index == 0)),
            "last" => Some(Value::Bool(self.index + 1 == length)),
            "length" => int(length),
            "depth" => int(self.depth + 1),
            "depth0" => int(self.depth),
            "previtem" => neighbour(self.index.checked_sub(1), "previous"),
            "nextitem" => neighbour(Some(self.index + 1), "next"),
            _ => None,
        }
    }
}
