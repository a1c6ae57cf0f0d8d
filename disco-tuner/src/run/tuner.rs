//! The tuner: validated settings, from which runs are started.

use std::sync::Arc;

use disco_core::Error as CoreError;
use disco_divergence::{Divergence, FDivergence};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    Run,
    collective::{Sharing, agree},
};
use crate::{
    checkpoint::Fingerprint,
    config::{Baseline, TunerConfig},
    error::{Error, Result},
    gradient::WeightRule,
    observer::{Observer, Outcome},
    policy::{PendingGradient, Policy},
    problem::Problem,
    workers::{Single, Workers},
};

/// Tunes a [`Policy`] towards a target by minimising `mean_c D_f(pi(.|c) || p(.|c))`, `p = P / Z`.
///
/// One step draws contexts and, in each, samples `x_i ~ q`; scores them under the target; and descends
///
/// ```text
/// mean_c mean_i pi/q (f'(pi/p) - b) grad log pi(x_i|c)
/// ```
///
/// (Go et al. 2023, eq. 4), where `q` is the policy itself or a frozen proposal, `Z_c` inside `p` is the
/// mean of `P/q` over other samples, and the baseline `b` comes from other samples too. Where `P(x) = 0`,
/// `f'` is `f'(inf)`. A sample that the target [skips](disco_core::Skipped) counts as one with `P(x) = 0`. Where the outcomes
/// of a context can be listed, [`Sampling::Enumerated`](crate::Sampling::Enumerated) takes exact sums in the place of means.
///
/// # Cost
/// Per step: each sample is drawn once and scored once under the target; it takes part in a forward and
/// backward pass of the policy only if its weight is not zero. Samples that the policy did not draw itself
/// (offline, replayed, in later epochs) need one more forward pass if every weight depends on every
/// log-probability (`baseline: leave-one-out`), and at steps with metrics. Memory does not grow with the
/// number of steps.
///
/// ```
/// use disco_core::{Contexts, Space, scorer};
/// use disco_tuner::{InMemory, Problem, SoftmaxTable, Tuner, TunerConfig};
/// let space = Space::new(0..8u8)?;
/// let target = scorer(|_: &(), x: &u8| -f64::from(*x) / 2.0);
/// let contexts = Contexts::single(());
/// let mut policy = SoftmaxTable::uniform(Space::new([()])?, space.clone());
/// let config = TunerConfig { steps: 200, learning_rate: 0.05, ..TunerConfig::default() };
/// let mut observed = InMemory::default();
/// Tuner::new(config)?.run(&mut policy, &Problem::new(&contexts, &target), &mut observed)?;
/// let exact = space.normalise(&target, &())?;
/// let gaps = exact.probabilities().iter().zip(policy.rows()[0].probabilities()).map(|(p, pi)| (p - pi).abs());
/// assert!(gaps.sum::<f64>() / 2.0 < 0.02);
/// assert!(observed.last("tv_target_policy").unwrap().value < 0.05);
/// # Ok::<(), disco_tuner::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Tuner {
    // Invariant: validated.
    config: TunerConfig,
    divergence: Arc<dyn Divergence>,
}

impl Tuner {
    /// A tuner with these settings.
    ///
    /// # Errors
    /// [`disco_core::Error::Invalid`] naming the first setting outside its range.
    pub fn new(config: TunerConfig) -> Result<Self> {
        config.validate()?;
        let divergence = Arc::new(config.divergence);
        Ok(Self { config, divergence })
    }

    /// A tuner for a divergence of your own; the divergence in the settings is ignored. Test it first with
    /// [`disco_divergence::check`].
    ///
    /// # Errors
    /// As [`new`](Self::new); the exact baseline of forward KL is refused.
    pub fn with_divergence(config: TunerConfig, divergence: impl Divergence + 'static) -> Result<Self> {
        config.validate()?;
        if config.baseline == Baseline::ForwardKl {
            let allowed = "none or leave-one-out, for a divergence that has no name";
            return Err(CoreError::invalid("baseline", "forward-kl", allowed).into());
        }
        Ok(Self { config, divergence: Arc::new(divergence) })
    }

    /// The settings.
    pub fn config(&self) -> &TunerConfig {
        &self.config
    }

    /// The divergence that is minimised.
    pub fn divergence(&self) -> &dyn Divergence {
        &*self.divergence
    }

    /// A run at its beginning, to be driven [step by step](Run::step) or [to its end](Run::drive).
    ///
    /// # Errors
    /// [`Error::HardConstraints`]; [`Error::Metric`]; [`disco_core::Error::Invalid`] for settings that do not fit the problem.
    pub fn start<'a, P, C, X>(
        &'a self,
        policy: &'a mut P,
        problem: &'a Problem<'a, C, X>,
    ) -> Result<Run<'a, P, C, X>>
    where
        P: Policy<C, X>,
    {
        Run::new(self, policy, problem, &Single, None)
    }

    /// A run at its beginning that several workers share. All of them call this with the same settings and an equal problem
    /// and policy, and then make the same calls on the run: as many steps, or [`Run::drive`], each with observers of its
    /// own. An error on one worker, or an observer that stops the run, ends it on all of them.
    ///
    /// Each worker draws, scores and differentiates its part of the samples. The samples of all workers together are
    /// the samples of a run of one worker, and so are metrics and decisions; parameters differ by the rounding of the
    /// summed gradient. Samples are sent to other workers for checkpoints and
    /// [statistics](Problem::with_statistic) only, as JSON.
    ///
    /// # Errors
    /// Errors of [`start`](Self::start); [`Error::Workers`], also where settings or problems of the workers differ;
    /// [`Error::OtherWorker`] for an error on another worker.
    pub fn start_shared<'a, P, C, X>(
        &'a self,
        policy: &'a mut P,
        problem: &'a Problem<'a, C, X>,
        workers: &'a dyn Workers,
    ) -> Result<Run<'a, P, C, X>>
    where
        P: Policy<C, X> + PendingGradient,
        X: Serialize + DeserializeOwned,
    {
        let run = Run::new(self, policy, problem, workers, Some(Sharing::new()));
        agree(workers, run)?.checked_among_workers()
    }

    /// Runs all steps, reporting to `observer`.
    ///
    /// # Errors
    /// As [`start`](Self::start) and [`Run::drive`].
    pub fn run<P, C, X>(
        &self,
        policy: &mut P,
        problem: &Problem<'_, C, X>,
        observer: &mut dyn Observer,
    ) -> Result<Outcome>
    where
        P: Policy<C, X>,
    {
        self.start(policy, problem)?.drive(observer)
    }

    /// The rule for the weights of the gradient.
    pub(crate) fn weight_rule(&self) -> WeightRule<'_> {
        WeightRule::new(&self.config, &*self.divergence)
    }

    /// The fingerprint of a run of this tuner.
    pub(crate) fn fingerprint<C: Serialize, X>(&self, problem: &Problem<'_, C, X>) -> Result<Fingerprint> {
        Ok(Fingerprint::new(&self.config, &self.divergence.name(), problem)?)
    }

    /// Whether the divergence is infinite for a policy that leaves the target's support.
    pub(crate) fn refuses_hard_constraints(&self) -> bool {
        self.divergence.derivative_at_infinity() == f64::INFINITY
    }

    pub(crate) fn hard_constraints(&self, found: String) -> Error {
        let divergence = self.divergence.name().into_owned();
        Error::HardConstraints { divergence, found, alternatives: Self::alternatives() }
    }

    /// The divergences that are finite for targets with hard constraints.
    pub(crate) fn alternatives() -> Vec<String> {
        FDivergence::NAMED
            .iter()
            .filter(|other| other.derivative_at_infinity() < f64::INFINITY)
            .map(ToString::to_string)
            .chain(["alpha:A with A < 1", "skewed-kl:W", "skewed-js:W"].map(String::from))
            .collect()
    }
}
