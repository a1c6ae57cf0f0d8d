//! Fits that sample again, from better proposals, until the effective sample size is large enough.

use std::sync::Arc;

use disco_core::{Contexts, Distribution, Error as CoreError, numerics::log_sum_exp};
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::{
    Constraint, ConstraintKind, Error, Fit, FitConfig, Measured, Result, Tilt, features, problem::Problem,
    split::Split, towards::Start,
};

/// Halvings of the interval in which the farthest reachable intermediate target lies.
const BISECTIONS: usize = 12;

/// Settings of [`fit_adaptively`].
///
/// | field | default | range |
/// |---|---|---|
/// | `samples` | 1000 | 1 or more |
/// | `wanted_ess` | 500 | positive, finite |
/// | `step_ess` | 50 | positive, finite |
/// | `max_rounds` | 10 | 1 or more |
/// | `reuse` | `all` | `all`, `latest` |
/// | `fit` | as [`FitConfig`] | |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdaptiveConfig {
    /// Samples per context and round.
    pub samples: usize,
    /// The effective sample size at which the fit is done.
    pub wanted_ess: f64,
    /// The effective sample size that an intermediate target must have for a proposal to be made from it.
    pub step_ess: f64,
    /// The largest number of rounds, including the first, which samples the base.
    pub max_rounds: usize,
    /// The samples that a fit uses.
    pub reuse: ReusePolicy,
    /// The settings of each fit.
    pub fit: FitConfig,
}

impl Default for AdaptiveConfig {
    fn default() -> Self {
        Self {
            samples: 1000,
            wanted_ess: 500.0,
            step_ess: 50.0,
            max_rounds: 10,
            reuse: ReusePolicy::default(),
            fit: FitConfig::default(),
        }
    }
}

impl AdaptiveConfig {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`disco_core::Error::Invalid`] for the first that is out of range.
    pub fn validate(&self) -> Result<()> {
        self.fit.validate()?;
        for (field, value) in [("samples", self.samples), ("max_rounds", self.max_rounds)] {
            if value == 0 {
                return Err(CoreError::invalid(field, value, "1 or more").into());
            }
        }
        for (field, value) in [("wanted_ess", self.wanted_ess), ("step_ess", self.step_ess)] {
            if !(value > 0.0 && value.is_finite()) {
                return Err(CoreError::invalid(field, value, "positive and finite").into());
            }
        }
        Ok(())
    }
}

/// The samples that a fit uses after several rounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ReusePolicy {
    /// The samples of all rounds, as samples of the mixture of all proposals (the balance heuristic, Veach and
    /// Guibas 1995): each proposal scores the samples of all rounds.
    #[default]
    All,
    /// The samples of the last round: nothing is scored again.
    Latest,
}

/// One round of [`fit_adaptively`]: samples are drawn from a proposal, and the targets, or intermediate targets, are fitted to
/// them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AdaptiveRound {
    /// The samples the round's fit used, in all contexts.
    pub samples: usize,
    /// The fraction of the way from the moments under the pointwise constraints alone (0) to the targets (1) that the
    /// round reached.
    pub progress: f64,
    /// The effective sample size there.
    pub ess: f64,
}

/// The result of [`fit_adaptively`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AdaptiveFit<C, X> {
    /// The fit to the targets.
    pub fit: Fit<C, X>,
    /// The samples it was made from.
    pub measured: Measured<C, X>,
    /// One entry per round; the last one reached the targets.
    pub rounds: Vec<AdaptiveRound>,
}

/// Fits constraints that the base satisfies so rarely that its own samples are not enough.
///
/// The first round samples the base. As long as the effective sample size at the targets is below
/// `wanted_ess`, `propose` is asked for a distribution near to the best intermediate target so far (a policy tuned
/// towards it, or a mixture of such a policy and the base), which is sampled next. The intermediate target is the
/// target itself if its effective sample size is at least `step_ess`; otherwise the farthest point with that size on
/// the straight line from the moments under the pointwise constraints alone to the targets.
///
/// `propose` is given the intermediate target as the factor ([`Tilt`]) that the base is multiplied by, and the round that
/// reached it. It may return any normalised distribution: weights correct for the difference.
///
/// Contexts of weight zero are left out: positions of contexts in the result and in errors count only the others, and lists
/// of targets per context are of the others. Where constraints are per context, the effective sample sizes are those of the
/// context with the least, and all contexts go the same fraction of the way.
///
/// # Errors
/// As [`Measured::draw`], [`Measured::with_context_weights`] and [`Measured::fit`]; [`Error::NotReached`]
/// after `max_rounds`; the errors of `propose`. An error of a fit that no intermediate target avoids is
/// returned as it is.
///
/// # Performance
/// Features are evaluated once on each sample. With [`ReusePolicy::All`], round `k` (from 0) also scores its own samples with
/// the `k` earlier proposals, and the samples of the earlier rounds with its own proposal.
pub fn fit_adaptively<C: Clone, X, R: Rng + ?Sized>(
    base: &impl Distribution<C, X>,
    contexts: &Contexts<C>,
    constraints: &[Constraint<C, X>],
    config: &AdaptiveConfig,
    rng: &mut R,
    mut propose: impl FnMut(&Tilt<C, X>, &AdaptiveRound) -> disco_core::Result<Arc<dyn Distribution<C, X>>>,
) -> Result<AdaptiveFit<C, X>> {
    config.validate()?;
    let features = features(constraints);
    let possible =
        || contexts.items().iter().zip(contexts.probabilities()).filter(|(_, weight)| **weight > 0.0);
    let items = || possible().map(|(context, _)| context.clone()).collect::<Vec<C>>();
    let weights: Vec<f64> = possible().map(|(_, weight)| *weight).collect();
    let mut measured =
        Measured::draw(base, items(), &features, config.samples, rng)?.with_context_weights(&weights)?;
    let mut pool = Pool::new(&measured);
    let mut rounds: Vec<AdaptiveRound> = Vec::new();
    // The samples of later rounds may be far from the base, and tell little about where the way to the targets begins.
    let mut start: Option<Start> = None;
    loop {
        let reached = rounds.last().map_or(0.0, |round| round.progress);
        let (tilt, round) = match measured.fit(constraints, &config.fit) {
            Ok(fit) => {
                let report = fit.report();
                let each =
                    constraints.iter().any(|one| matches!(one.kind(), ConstraintKind::PerContext { .. }));
                let ess = if each { report.least_context_ess } else { report.ess };
                let ess = ess.expect("samples have an effective sample size");
                let round = AdaptiveRound { samples: measured.samples(), progress: 1.0, ess };
                if ess >= config.wanted_ess {
                    rounds.push(round);
                    return Ok(AdaptiveFit { fit, measured, rounds });
                }
                if ess >= config.step_ess {
                    (fit.tilt().clone(), round)
                } else {
                    step(&measured, constraints, config, &mut start, reached, None)?
                }
            }
            Err(error) => step(&measured, constraints, config, &mut start, reached, Some(error))?,
        };
        rounds.push(round);
        if rounds.len() == config.max_rounds {
            let reached = rounds.iter().filter(|round| round.progress == 1.0);
            let ess = reached.map(|round| round.ess).fold(0.0, f64::max);
            return Err(Error::NotReached { rounds: rounds.len(), ess, wanted: config.wanted_ess });
        }
        let proposal = propose(&tilt, &round)?;
        let batch = Measured::draw_from(base, &proposal.as_ref(), items(), &features, config.samples, rng)?;
        match config.reuse {
            ReusePolicy::Latest => measured = batch.with_shares_of(&measured),
            ReusePolicy::All => pool.add(&mut measured, batch, proposal)?,
        }
    }
}

/// The farthest intermediate target with enough effective samples.
///
/// `start` is where the way to the targets begins, as the first round that makes a step finds it; `reached` is how far
/// along it the last proposal is. Samples of a proposal that is far along have few effective samples near the start, so
/// that the search begins where they were drawn.
///
/// `error` is the error of the fit to the targets themselves, if it failed; it is returned if no step can be made.
fn step<C, X>(
    measured: &Measured<C, X>,
    constraints: &[Constraint<C, X>],
    config: &AdaptiveConfig,
    start: &mut Option<Start>,
    reached: f64,
    error: Option<Error>,
) -> Result<(Tilt<C, X>, AdaptiveRound)> {
    let error = match error {
        Some(error) if !is_too_far(&error) => return Err(error),
        error => error,
    };
    let problem = Problem::new(measured, constraints)?;
    let errors = config.fit.context_errors;
    let here = problem.start(errors)?;
    let mut most: f64 = here.ess;
    let start = start.get_or_insert(here);
    let mut attempt = |progress: f64| {
        let nearer = problem.towards(start, progress).ok()?;
        let fitted = nearer.fit(Split::All, &config.fit, None).ok()?;
        let found = nearer.assess(&fitted.tilt, Split::All, errors).ok()?;
        let ess = nearer.decisive_ess(found.ess, found.least_context_ess);
        most = most.max(ess);
        let round = AdaptiveRound { samples: measured.samples(), progress, ess };
        (ess >= config.step_ess).then_some((fitted.tilt, round))
    };
    let (mut best, mut low, mut high) = (None, 0.0, 1.0);
    if reached > 0.0 && reached < 1.0 {
        best = attempt(reached);
        if best.is_some() {
            low = reached;
        }
    }
    for _ in 0..BISECTIONS {
        let progress = 0.5 * (low + high);
        match attempt(progress) {
            Some(found) => {
                best = Some(found);
                low = progress;
            }
            None => high = progress,
        }
    }
    best.ok_or_else(|| error.unwrap_or(Error::TooFewEffectiveSamples { ess: most, needed: config.step_ess }))
}

/// Whether an error says no more than that targets are too far for the samples.
fn is_too_far(error: &Error) -> bool {
    match error {
        Error::OutOfReach { .. }
        | Error::OutsideHull { .. }
        | Error::NotSolved { .. }
        | Error::TooFewEffectiveSamples { .. } => true,
        Error::InOneContext { cause, .. } => is_too_far(cause),
        Error::InContexts { faults, .. } => faults.iter().all(|fault| is_too_far(&fault.cause)),
        _ => false,
    }
}

/// The proposals so far, and the log-probability of every sample under each of them.
struct Pool<C, X> {
    /// All proposals but the first, which is the base.
    proposals: Vec<Arc<dyn Distribution<C, X>>>,
    /// `[contexts][samples][proposals]`, the base first.
    log_probs: Vec<Vec<Vec<f64>>>,
}

impl<C, X> Pool<C, X> {
    fn new(measured: &Measured<C, X>) -> Self {
        let of = |log_base: &Vec<f64>| log_base.iter().map(|log_prob| vec![*log_prob]).collect();
        let log_probs = measured.contexts.iter().map(|context| of(&context.drawn.log_base)).collect();
        Self { proposals: Vec::new(), log_probs }
    }

    /// Adds a batch, and treats all samples as samples of the mixture of all proposals.
    ///
    /// All proposals drew equally many samples, so that they have equal shares in the mixture.
    fn add(
        &mut self,
        measured: &mut Measured<C, X>,
        batch: Measured<C, X>,
        proposal: Arc<dyn Distribution<C, X>>,
    ) -> Result<()> {
        for (index, (old, new)) in measured.contexts.iter().zip(&batch.contexts).enumerate() {
            let in_context = |cause| Error::InContext { context: index, cause };
            let rows = &mut self.log_probs[index];
            let (context, samples) = (&old.drawn.context, old.drawn.samples.iter().collect::<Vec<_>>());
            let log_probs = proposal.log_probs(context, &samples).map_err(in_context)?;
            CoreError::check_length("log-probabilities under the proposal", rows.len(), log_probs.len())?;
            rows.iter_mut().zip(log_probs).for_each(|(row, log_prob)| row.push(log_prob));

            let samples: Vec<&X> = new.drawn.samples.iter().collect();
            let mut added: Vec<Vec<f64>> =
                new.drawn.log_base.iter().map(|log_prob| vec![*log_prob]).collect();
            for earlier in &self.proposals {
                let log_probs = earlier.log_probs(context, &samples).map_err(in_context)?;
                CoreError::check_length("log-probabilities under a proposal", added.len(), log_probs.len())?;
                added.iter_mut().zip(log_probs).for_each(|(row, log_prob)| row.push(log_prob));
            }
            added.iter_mut().zip(&new.drawn.log_proposal).for_each(|(row, log_prob)| row.push(*log_prob));
            rows.append(&mut added);
        }
        self.proposals.push(proposal);
        measured.append(batch)?;
        let log_count = ((self.proposals.len() + 1) as f64).ln();
        for (context, rows) in measured.contexts.iter_mut().zip(&self.log_probs) {
            context.drawn.log_proposal = rows.iter().map(|row| log_sum_exp(row) - log_count).collect();
        }
        Ok(())
    }
}
