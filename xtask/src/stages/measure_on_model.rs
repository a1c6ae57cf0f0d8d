//! The stage "measure" on a language model of disco-lm.

use std::{
    hash::Hash,
    path::{Path, PathBuf},
};

use disco_core::{Distribution, Scorer};
use disco_tuner::{Checkpointed, Policy};
use serde::{Serialize, de::DeserializeOwned};

use super::MeasureStage;
use crate::{
    Result,
    contexts::TextContext,
    features::TextSample,
    results::RunRecord,
    steering::{Loaded, ModelTask, WeightBytes},
};

impl ModelTask for MeasureStage<'_> {
    type Output = (PathBuf, RunRecord);

    fn run<X, B, Q, P>(
        self,
        _: WeightBytes,
        load: impl FnOnce() -> Result<Loaded<B, Q, X, P>>,
        _: impl FnOnce(&P, &Path) -> Result<()>,
    ) -> Result<Self::Output>
    where
        X: TextSample + Eq + Hash + Serialize + DeserializeOwned,
        B: Scorer<TextContext, X>,
        Q: Distribution<TextContext, X>,
        P: Policy<TextContext, X> + Checkpointed,
    {
        self.measure(|| {
            let Loaded { base, scorers, record, .. } = load()?;
            Ok((base, scorers, record))
        })
    }
}
