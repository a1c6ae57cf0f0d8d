//! Work on a model whose types it does not know.

use std::{hash::Hash, path::Path};

use disco_core::{Distribution, Scorer};
use disco_tuner::{Checkpointed, Policy};
use serde::{Serialize, de::DeserializeOwned};

use super::{Loaded, WeightBytes};
use crate::{Result, contexts::TextContext, features::TextSample};

/// A run, or a stage of one, for any kind of model: as it is, under a grammar, or over listed choices.
pub(crate) trait ModelTask {
    /// The result.
    type Output;

    /// Does the work. Places that cannot be written to are found before `load` is called, which loads the model and makes the
    /// policy; `save` writes a policy to a folder, and `weights` says how many bytes that takes.
    ///
    /// # Errors
    /// Those of the work, of `load` and of `save`.
    fn run<X, B, Q, P>(
        self,
        weights: WeightBytes,
        load: impl FnOnce() -> Result<Loaded<B, Q, X, P>>,
        save: impl FnOnce(&P, &Path) -> Result<()>,
    ) -> Result<Self::Output>
    where
        X: TextSample + Eq + Hash + Serialize + DeserializeOwned,
        B: Scorer<TextContext, X>,
        Q: Distribution<TextContext, X>,
        P: Policy<TextContext, X> + Checkpointed;
}
