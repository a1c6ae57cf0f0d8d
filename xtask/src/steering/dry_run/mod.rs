//! A dry run: everything that can be checked is checked, a probe of a few samples tells the cost of a run, and nothing is written.
//!
//! `probe.rs` measures seconds and memory of a few samples; `times.rs` and `memory.rs` make of them the numbers of a whole run.

mod memory;
mod probe;
mod times;

use std::{hash::Hash, path::Path, time::Instant};

use disco_core::{Distribution, Scorer};
#[cfg(feature = "lm")]
use disco_tuner::{Checkpointed, Policy};
use serde::Serialize;
#[cfg(feature = "lm")]
use serde::de::DeserializeOwned;

use self::{memory::memory_need, probe::Probe, times::stage_costs};
use super::{
    CheckpointFolder, RunControl, RunPlan, StartMode, Untuned, WeightBytes, logs::check_log_places,
    workflow::checkpoint_bytes,
};
#[cfg(feature = "lm")]
use super::{Loaded, ModelTask, features_of_target};
use crate::{
    Backend, ProgressTarget, Result,
    contexts::TextContext,
    features::{TextSample, TextScorers},
    results::{DiskSpace, RunCost, StageCost, keep_apart},
    samples::Shard,
    scorers::external_scorers,
    spec::{FeatureKind, Spec},
};

/// The stages whose cost is estimated.
#[derive(Clone, Debug)]
pub(crate) enum DryStages {
    /// All.
    Run,
    /// The stage "measure", or a shard of it.
    Measure(Shard),
    /// The stage "tune" towards this target.
    #[cfg_attr(not(feature = "lm"), expect(dead_code, reason = "tuning needs a language model here"))]
    Tune(Box<disco_ebm::SavedTarget>),
}

impl DryStages {
    /// Whether a policy is tuned.
    fn tunes(&self, spec: &Spec) -> bool {
        spec.tune.steps > 0 && !matches!(self, Self::Measure(_))
    }
}

/// A run that is not made.
#[derive(Clone, Debug)]
pub(crate) struct DryRun<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) out: &'a Path,
    pub(crate) control: &'a RunControl,
    pub(crate) stages: DryStages,
}

impl DryRun<'_> {
    /// The cost of a run whose model only samples and scores.
    ///
    /// # Errors
    /// Those that the run would have before it measures the base, and those of the probe: the errors of the model and the features.
    pub(crate) fn untuned<X, B, Q>(self, load: impl FnOnce() -> Result<Untuned<B, Q, X>>) -> Result<RunCost>
    where
        X: TextSample + Eq + Hash + Serialize,
        B: Scorer<TextContext, X>,
        Q: Distribution<TextContext, X>,
    {
        let (disk, programs) = self.checked(WeightBytes::default())?;
        let start = Instant::now();
        let Untuned { base, mut scorers, .. } = load()?;
        scorers.extend(programs);
        let seconds = start.elapsed().as_secs_f64();
        let plan = RunPlan::new(self.spec, &scorers, ProgressTarget::Hidden)?;
        let probe = Probe::of_base(&plan, &base)?;
        Ok(self.cost(disk, seconds, &probe, WeightBytes::default()))
    }

    /// The checks of a run whose models are not all here.
    ///
    /// # Errors
    /// Those that the run would have before its model is loaded.
    #[cfg(feature = "lm")]
    pub(crate) fn without_model(self, missing: &[String]) -> Result<RunCost> {
        let (disk, _) = self.checked(WeightBytes::default())?;
        let note = format!(
            "not in the cache of the hub, from which a run downloads it: {}. Its size is not known before, and with it time, memory, and \
             the disk space for weights and checkpoints.",
            missing.join(", ")
        );
        Ok(RunCost { stages: Vec::new(), memory: None, disk, answered: Vec::new(), notes: vec![note] })
    }

    /// Checks places and starts programs, in the order in which a run does.
    fn checked(&self, weights: WeightBytes) -> Result<(DiskSpace, TextScorers)> {
        let Self { spec, out, control, stages } = self;
        keep_apart(out, spec)?;
        let bytes = match stages.tunes(spec) {
            true => weights.most.saturating_add(checkpoint_bytes(spec, weights.least)),
            false => 0,
        };
        let disk = DiskSpace::check(out, bytes)?;
        if !matches!(stages, DryStages::Measure(_)) {
            CheckpointFolder::check_unwritten(out, control)?;
        }
        if stages.tunes(spec) {
            check_log_places(&spec.log)?;
        }
        let programs = external_scorers(&spec.features)?;
        Ok((disk, programs))
    }

    fn cost<X: TextSample>(
        &self,
        mut disk: DiskSpace,
        load: f64,
        probe: &Probe<X>,
        weights: WeightBytes,
    ) -> RunCost {
        let Self { spec, stages, .. } = self;
        let mut costs = vec![StageCost { name: "load", samples: [0; 2], seconds: [load; 2] }];
        costs.extend(stage_costs(spec, stages, probe));
        let held: usize = costs.iter().filter(|cost| cost.name != "tune").map(|cost| cost.samples[1]).sum();
        let samples = (held as f64 * probe.sample_bytes(spec)) as u64;
        disk.needed = disk.needed.saturating_add(samples);
        let memory = memory_need(spec, stages.tunes(spec), weights, probe, samples);
        let is_external = |kind: &FeatureKind| matches!(kind, FeatureKind::Command(_) | FeatureKind::Http(_));
        let answered = spec.features.iter().filter(|feature| is_external(&feature.kind));
        let mut notes = self.notes(probe);
        if let Some(memory) = &memory
            && memory.available.is_some_and(|available| available < memory.needed())
        {
            notes.push("the run needs more memory than there is, by this estimate.".into());
        }
        if disk.available.is_some_and(|available| available < disk.needed) {
            notes.push("the run needs more disk space than there is, by this estimate.".into());
        }
        RunCost {
            stages: costs,
            memory,
            disk,
            answered: answered.map(|feature| feature.name.clone()).collect(),
            notes,
        }
    }

    /// Sentences on the limits of the numbers.
    fn notes<X: TextSample>(&self, probe: &Probe<X>) -> Vec<String> {
        let Self { spec, control, stages, .. } = self;
        let mut notes = vec![format!(
            "estimated from {} samples, for this machine as busy as it is now; a number may be half or twice as large.",
            probe.samples()
        )];
        if stages.tunes(spec) {
            notes.push(format!(
                "a tuned policy may give longer or shorter samples than the base, whose samples have {:.1} tokens on average.",
                probe.tokens
            ));
        }
        if stages.tunes(spec) && spec.tune.early_stopping.is_some() {
            notes.push("tuning may end earlier (`tune.early_stopping`).".into());
        }
        if matches!(stages, DryStages::Run) {
            notes.push("the fit is left out: it calls no model.".into());
            if spec.sample.accepted.is_some() {
                notes.push(
                    "how many proposals `sample.accepted` takes depends on the acceptance rate, which is known at the end alone.".into(),
                );
            }
        }
        if control.start == StartMode::Resume {
            notes.push("steps that an earlier run has made are not subtracted.".into());
        }
        if !matches!(spec.backend, Backend::Flex) {
            notes.push("the memory of the device is not estimated, only that of this process.".into());
        }
        notes
    }
}

#[cfg(feature = "lm")]
impl ModelTask for DryRun<'_> {
    type Output = RunCost;

    fn run<X, B, Q, P>(
        self,
        weights: WeightBytes,
        load: impl FnOnce() -> Result<Loaded<B, Q, X, P>>,
        _: impl FnOnce(&P, &Path) -> Result<()>,
    ) -> Result<RunCost>
    where
        X: TextSample + Eq + Hash + Serialize + DeserializeOwned,
        B: Scorer<TextContext, X>,
        Q: Distribution<TextContext, X>,
        P: Policy<TextContext, X> + Checkpointed,
    {
        let (disk, programs) = self.checked(weights)?;
        let start = Instant::now();
        let Loaded { base, mut policy, mut scorers, .. } = load()?;
        scorers.extend(programs);
        let seconds = start.elapsed().as_secs_f64();
        let plan = RunPlan::new(self.spec, &scorers, ProgressTarget::Hidden)?;
        if let DryStages::Tune(target) = &self.stages {
            target.bind(features_of_target::<X>(&plan, target)?)?;
        }
        let mut probe = Probe::of_base(&plan, &base)?;
        if self.stages.tunes(self.spec) {
            probe.add_policy(&plan, &mut policy)?;
        }
        Ok(self.cost(disk, seconds, &probe, weights))
    }
}
