//! Targets that hold in each context, and how a context is told from others.

use std::{collections::HashMap, sync::Arc};

use disco_core::Error as CoreError;
use serde::Serialize;
use serde_json::Value;

use crate::{Error, Result, constraint_kind::check_target};

/// The characters of a context that a message shows.
const SHOWN: usize = 80;

/// The targets of a mean per context.
pub(crate) enum Targets<C: ?Sized> {
    Same(f64),
    /// In the order of the contexts.
    Each(Arc<[f64]>),
    By(Arc<dyn Fn(&C) -> f64 + Send + Sync>),
}

impl<C: ?Sized> Clone for Targets<C> {
    fn clone(&self) -> Self {
        match self {
            Self::Same(target) => Self::Same(*target),
            Self::Each(targets) => Self::Each(Arc::clone(targets)),
            Self::By(target) => Self::By(Arc::clone(target)),
        }
    }
}

/// Targets per context, with the function by which contexts are told apart.
pub(crate) struct PerContext<C: ?Sized> {
    targets: Targets<C>,
    /// Kept here, so that nothing but the constructors of such constraints asks for contexts that can be written as JSON.
    key: KeyOf<C>,
}

/// Gives a context its key.
pub(crate) type KeyOf<C> = fn(&C) -> Result<ContextKey>;

impl<C: ?Sized> Clone for PerContext<C> {
    fn clone(&self) -> Self {
        Self { targets: self.targets.clone(), key: self.key }
    }
}

impl<C: Serialize + ?Sized> PerContext<C> {
    pub(crate) fn new(targets: Targets<C>) -> Self {
        Self { targets, key: ContextKey::of }
    }
}

impl<C: ?Sized> PerContext<C> {
    pub(crate) fn key_of(&self) -> KeyOf<C> {
        self.key
    }

    /// The target in the context at this position of `count`.
    pub(crate) fn target(&self, name: &str, position: usize, count: usize, context: &C) -> Result<f64> {
        let target = match &self.targets {
            Targets::Same(target) => *target,
            Targets::Each(targets) => {
                if targets.len() != count {
                    let what = format!("targets of `{name}`, one per context").into();
                    return Err(CoreError::Length { what, expected: count, actual: targets.len() }.into());
                }
                targets[position]
            }
            Targets::By(target) => target(context),
        };
        check_target(|| format!("target of `{name}` in context {position}"), target)?;
        Ok(target)
    }
}

/// A context as JSON: equal for equal contexts, whatever the order of the fields.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ContextKey(pub(crate) Value);

impl ContextKey {
    pub(crate) fn of<C: Serialize + ?Sized>(context: &C) -> Result<Self> {
        match serde_json::to_value(context) {
            Ok(value) => Ok(Self(value)),
            Err(cause) => Err(CoreError::failed("a context as JSON", cause).into()),
        }
    }

    /// The JSON, as messages show it.
    pub(crate) fn shown(&self) -> String {
        let text = self.0.to_string();
        match text.char_indices().nth(SHOWN) {
            Some((end, _)) => format!("{}...", &text[..end]),
            None => text,
        }
    }
}

/// The contexts that have coefficients of their own, and their positions.
pub(crate) struct ContextIndex<C: ?Sized> {
    key: KeyOf<C>,
    // Invariant: distinct; positions[keys[i]] == i.
    keys: Vec<ContextKey>,
    positions: HashMap<ContextKey, usize>,
}

impl<C: ?Sized> ContextIndex<C> {
    /// # Errors
    /// [`Error::DuplicateContext`].
    pub(crate) fn new(key: KeyOf<C>, keys: Vec<ContextKey>) -> Result<Self> {
        let mut positions = HashMap::with_capacity(keys.len());
        for (position, one) in keys.iter().enumerate() {
            if let Some(first) = positions.insert(one.clone(), position) {
                return Err(Error::DuplicateContext { context: one.shown(), first, second: position });
            }
        }
        Ok(Self { key, keys, positions })
    }

    pub(crate) fn keys(&self) -> &[ContextKey] {
        &self.keys
    }

    /// # Errors
    /// [`Error::UnknownContext`] for one that is not here.
    pub(crate) fn position(&self, context: &C) -> Result<usize> {
        let key = (self.key)(context)?;
        let unknown = || Error::UnknownContext { context: key.shown(), known: self.keys.len() };
        self.positions.get(&key).copied().ok_or_else(unknown)
    }
}
