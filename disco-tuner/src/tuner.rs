//! The tuner: settings that were checked, ready to run.

use std::sync::Arc;

use disco_core::Error as CoreError;
use disco_divergence::{Divergence, FDivergence};

use crate::{Baseline, Error, Observer, Outcome, Policy, Problem, Result, Run, TunerConfig, credit::Credit};

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
/// `f'` is `f'(inf)`.
///
/// # Cost
/// Per step: each sample is drawn once and scored once under the target; it takes part in a forward and
/// backward pass of the policy only if its weight is not zero. Samples that the policy did not draw itself
/// (offline, replayed, in later epochs) need one forward pass more where all weights depend on all
/// log-probabilities (`baseline: leave-one-out`) and at steps with metrics. Memory does not grow with the
/// number of steps.
///
/// ```
/// use disco_core::{Contexts, Space, scorer};
/// use disco_tuner::{Memory, Problem, SoftmaxTable, Tuner, TunerConfig};
/// let space = Space::new(0..8u8)?;
/// let target = scorer(|_: &(), x: &u8| -f64::from(*x) / 2.0);
/// let contexts = Contexts::one(());
/// let mut policy = SoftmaxTable::uniform(Space::new([()])?, space.clone());
/// let config = TunerConfig { steps: 200, learning_rate: 0.05, ..TunerConfig::default() };
/// let mut observed = Memory::default();
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

    /// A tuner for a divergence of one's own; the one in the settings is ignored. Test it first with
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

    /// What is minimised.
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
        Run::new(self, policy, problem)
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

    pub(crate) fn credit(&self) -> Credit<'_> {
        Credit {
            divergence: &*self.divergence,
            baseline: self.config.baseline,
            max_log_ratio: self.config.max_importance_ratio.map_or(f64::INFINITY, f64::ln),
            max_pseudo_reward: self.config.max_pseudo_reward.unwrap_or(f64::INFINITY),
        }
    }

    /// Whether the divergence is infinite where the policy leaves the target's support.
    pub(crate) fn refuses_hard_constraints(&self) -> bool {
        self.divergence.derivative_at_infinity() == f64::INFINITY
    }

    pub(crate) fn hard_constraints(&self, found: String) -> Error {
        Error::HardConstraints { divergence: self.divergence.name().into_owned(), found, able: Self::able() }
    }

    /// The divergences that can have hard constraints.
    pub(crate) fn able() -> String {
        let able: Vec<String> = FDivergence::NAMED
            .iter()
            .filter(|other| other.derivative_at_infinity() < f64::INFINITY)
            .map(ToString::to_string)
            .chain(["alpha:A with A < 1", "skewed-kl:W", "skewed-js:W"].map(String::from))
            .collect();
        able.join(", ")
    }
}
