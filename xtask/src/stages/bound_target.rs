//! A saved target with its base and its features.

use disco_ebm::Fit;

use super::TargetFile;
use crate::{
    ProgressTarget, Result,
    contexts::TextContext,
    features::TextSample,
    scorers::external_scorers,
    steering::{BaseModel, RunPlan, Untuned, features_of_target},
};

/// A target whose samples can be scored, with a distribution beside its base that proposes or scores them.
pub(crate) struct BoundTarget<'a, B, Q, X, D> {
    pub(crate) plan: RunPlan<'a>,
    pub(crate) base: BaseModel<B, Q, X>,
    pub(crate) beside: D,
    pub(crate) fit: Fit<TextContext, X>,
}

impl<'a, B, Q, X: TextSample, D> BoundTarget<'a, B, Q, X, D> {
    /// Binds a target. Programs are started before `load` is called, so that one that cannot run is found before a model is loaded.
    ///
    /// # Errors
    /// Those of programs, of `load`, and of features that the target has and its run file does not.
    pub(crate) fn new(
        target: &'a TargetFile,
        load: impl FnOnce() -> Result<(Untuned<B, Q, X>, D)>,
    ) -> Result<Self> {
        let programs = external_scorers(&target.spec.features)?;
        let (Untuned { base, mut scorers, .. }, beside) = load()?;
        scorers.extend(programs);
        let plan = RunPlan::new(&target.spec, &scorers, ProgressTarget::detect())?;
        let fit = target.saved.bind(features_of_target::<X>(&plan, &target.saved)?)?;
        Ok(Self { plan, base, beside, fit })
    }
}
