//! The stage "tune": a policy follows the gradient to a saved target.

use std::{
    hash::Hash,
    path::{Path, PathBuf},
};

use disco_core::{Distribution, Scorer};
use disco_ebm::SavedTarget;
use disco_tuner::{Checkpointed, Policy};
use serde::{Serialize, de::DeserializeOwned};

use super::Inputs;
use crate::{
    Result,
    contexts::TextContext,
    features::TextSample,
    process::peak_bytes,
    results::RunRecord,
    spec::Spec,
    steering::{
        Finished, Loaded, ModelTask, RunControl, WeightBytes, Work, features_of_target, in_results, tune,
        tuning_lap,
    },
};

/// The stage, with its settings.
#[derive(Clone, Debug)]
pub(crate) struct TuneStage<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) target: SavedTarget,
    pub(crate) out: &'a Path,
    pub(crate) inputs: Inputs,
    pub(crate) control: &'a RunControl,
}

impl ModelTask for TuneStage<'_> {
    type Output = (PathBuf, RunRecord);

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
        P: Policy<TextContext, X> + Checkpointed,
    {
        let Self { spec, target, out, inputs, control } = self;
        in_results(spec, out, weights, control, load, save, |work| {
            let Work { plan, model, base, policy, clock, checkpoints, folder } = work;
            let fit = target.bind(features_of_target::<X>(plan, &target)?)?;
            let tuned = tune(plan, base, &fit, policy, Some(checkpoints))?;
            tuning_lap(plan, &tuned, clock);
            let mut record = RunRecord::new(spec, model);
            record.tuning = Some(tuned.record);
            record.peak_memory_bytes = peak_bytes();
            inputs.write(folder)?;
            Ok(Finished { record, fit })
        })
    }
}
