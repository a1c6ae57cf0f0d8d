//! Quasi-rejection sampling, and rejection sampling.

use std::{fmt, ops::ControlFlow};

use disco_core::{Distribution, Error, Scorer};

use crate::{
    Draw, Result, RunConfig, Sampler, Statistics,
    beta::check_log_beta,
    bounds::{check_bound, check_log_bound},
    proposals::{Proposals, Scored},
};

/// Quasi-rejection sampling (Eikema et al. 2022): a proposal `x ~ q` is accepted with probability
/// `min(1, P(x) / (beta q(x)))`.
///
/// The samples are independent draws of `p_beta = min(P, beta q) / Z_beta`, which is the target `p` where no ratio
/// P/q exceeds beta, and approaches the proposal (restricted to the target's support) as beta goes to 0. For any beta,
/// its distance from the target and the number of proposals per accepted sample are estimated by
/// [`Ratios::curve`](crate::Ratios::curve).
///
/// It is an iterator over all contexts in turn: proposal 0 of each, proposal 1 of each, and so on. After an error
/// it ends.
///
/// ```
/// use disco_core::{Space, scorer};
/// use disco_qrs::{Budget, Qrs, RunConfig, Sampler};
/// // Uniform proposals of 0 to 9; the target wants even numbers, and 8 five times as often.
/// let proposal = Space::new(0..10)?.uniform();
/// let target = scorer(|_: &(), x: &i32| match x {
///     8 => 5f64.ln(),
///     x if x % 2 == 0 => 0.0,
///     _ => f64::NEG_INFINITY,
/// });
/// // The largest ratio P/q is 50.
/// let mut qrs = Qrs::new(&proposal, &target, (), 50f64.ln(), RunConfig::new(7, Budget::draws(900)))?;
/// let mut eights = 0;
/// for draw in qrs.by_ref() {
///     let draw = draw?;
///     assert!(draw.value % 2 == 0 && (draw.log_score - draw.log_target).abs() < 1e-12);
///     eights += i32::from(draw.value == 8);
/// }
/// // 5/9 of 900, and an acceptance rate of 9/50.
/// assert!((440..560).contains(&eights));
/// assert!((qrs.statistics().acceptance_rate().unwrap().value - 0.18).abs() < 0.03);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Performance
/// `beta / Z_beta` proposals, each scored once by the target, and one uniform number per accepted sample.
pub struct Qrs<'a, C, X, D, S> {
    proposals: Proposals<'a, C, X, D, S>,
    // Invariant: finite; one per context.
    log_betas: Vec<f64>,
    // Invariant: finite; one per context.
    log_bounds: Vec<Option<f64>>,
}

impl<C, X, D, S> fmt::Debug for Qrs<'_, C, X, D, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Qrs")
            .field("proposals", &self.proposals)
            .field("log_betas", &self.log_betas)
            .finish_non_exhaustive()
    }
}

impl<'a, C, X, D: Distribution<C, X>, S: Scorer<C, X>> Qrs<'a, C, X, D, S> {
    /// Samples in one context, with `ln beta`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a `ln beta` that is not finite, and for a batch or budget outside its range.
    pub fn new(proposal: D, target: S, context: C, log_beta: f64, config: RunConfig) -> Result<Self> {
        Self::each(proposal, target, vec![context], vec![log_beta], config)
    }

    /// Samples in each context, with a `ln beta` of its own; repeat it for a common one.
    ///
    /// Context `k` gives the same samples whatever the other contexts are.
    ///
    /// # Errors
    /// As [`new`](Self::new), and [`Error::Empty`] or [`Error::Length`] for lists that are empty or differ.
    pub fn each(
        proposal: D,
        target: S,
        contexts: Vec<C>,
        log_betas: Vec<f64>,
        config: RunConfig,
    ) -> Result<Self> {
        Error::check_length("ln beta, one per context", contexts.len(), log_betas.len())?;
        log_betas.iter().try_for_each(|log_beta| check_log_beta(*log_beta).map(|_| ()))?;
        let log_bounds = vec![None; contexts.len()];
        Ok(Self { proposals: Proposals::new(proposal, target, contexts, config)?, log_betas, log_bounds })
    }

    /// Known bounds of `ln(P/q)`, one per context, where there is one. In a context whose beta is at least its bound, the samples
    /// are draws of the target itself: [`is_certified`](Self::is_certified). A ratio above a bound is an error, whatever beta is:
    /// the bound was wrong.
    ///
    /// Where proposals are those of the base of a fitted target, `disco_ebm::Tilt::log_bound` is such a bound.
    ///
    /// # Errors
    /// [`Error::Length`]; [`Error::Invalid`] for a bound that is not finite.
    pub fn with_bounds(mut self, log_bounds: Vec<Option<f64>>) -> Result<Self> {
        Error::check_length("bounds of ln(P/q), one per context", self.log_betas.len(), log_bounds.len())?;
        log_bounds.iter().flatten().try_for_each(|bound| check_log_bound(*bound))?;
        self.log_bounds = log_bounds;
        Ok(self)
    }

    /// Whether the samples of a context are draws of the target itself: its beta is at least its known bound.
    pub fn is_certified(&self, context: usize) -> bool {
        let pairs = self.log_bounds.get(context).copied().flatten().zip(self.log_betas.get(context));
        pairs.is_some_and(|(bound, log_beta)| *log_beta >= bound)
    }

    /// Calls `progress` each time a batch is used up, with the state so far; `Break` ends the run; the samples
    /// returned until then are valid.
    #[must_use]
    pub fn on_batch(mut self, progress: impl FnMut(&Statistics) -> ControlFlow<()> + Send + 'a) -> Self {
        self.proposals.on_batch(Box::new(progress));
        self
    }

    /// The counts of one context so far.
    pub fn statistics_of(&self, context: usize) -> Option<Statistics> {
        self.proposals.statistics_of(context)
    }
}

/// The largest `ln beta` at which a proposal is accepted, with its own uniform number `u`: `u < w / beta`.
/// `-inf` for P = 0.
pub(crate) fn acceptance_threshold<X>(scored: &Scored<X>) -> f64 {
    if scored.log_target == f64::NEG_INFINITY {
        f64::NEG_INFINITY
    } else {
        scored.log_ratio() - scored.log_uniform
    }
}

/// `min(ln P, ln beta + ln q)`.
pub(crate) fn log_score(log_target: f64, log_proposal: f64, log_beta: f64) -> f64 {
    log_target.min(log_beta + log_proposal)
}

impl<C, X, D: Distribution<C, X>, S: Scorer<C, X>> Iterator for Qrs<'_, C, X, D, S> {
    type Item = Result<Draw<X>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let scored = match self.proposals.next()? {
                Ok(scored) => scored,
                Err(error) => return Some(Err(error)),
            };
            let (context, log_beta) = (scored.context, self.log_betas[scored.context]);
            if let Some(bound) = self.log_bounds[context]
                && let Err(error) = check_bound(context, scored.number, scored.log_ratio(), bound)
            {
                self.proposals.close();
                return Some(Err(error));
            }
            if log_beta < acceptance_threshold(&scored) {
                self.proposals.accept(context);
                self.proposals.draw(context);
                let log_score = if self.is_certified(context) {
                    scored.log_target
                } else {
                    log_score(scored.log_target, scored.log_proposal, log_beta)
                };
                return Some(Ok(scored.into_draw(log_score)));
            }
        }
    }
}

impl<C, X, D: Distribution<C, X>, S: Scorer<C, X>> Sampler<X> for Qrs<'_, C, X, D, S> {
    fn name(&self) -> &'static str {
        "qrs"
    }

    fn statistics(&self) -> Statistics {
        self.proposals.statistics()
    }
}

/// Rejection sampling (von Neumann 1951): exact samples of the target, where a bound on P/q is known.
///
/// It is [`Qrs`] with `beta` at the bound, and the bound [known](Qrs::with_bounds): a ratio above it is an error, since the
/// samples returned until then do not follow the target.
pub struct Rejection<'a, C, X, D, S>(Qrs<'a, C, X, D, S>);

impl<C, X, D, S> fmt::Debug for Rejection<'_, C, X, D, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Rejection").field(&self.0).finish()
    }
}

impl<'a, C, X, D: Distribution<C, X>, S: Scorer<C, X>> Rejection<'a, C, X, D, S> {
    /// Samples in one context, where `ln(P/q) <= log_bound` everywhere.
    ///
    /// # Errors
    /// As [`Qrs::new`].
    pub fn new(proposal: D, target: S, context: C, log_bound: f64, config: RunConfig) -> Result<Self> {
        Self::each(proposal, target, vec![context], vec![log_bound], config)
    }

    /// Samples in each context, with a bound of its own.
    ///
    /// # Errors
    /// As [`Qrs::each`].
    pub fn each(
        proposal: D,
        target: S,
        contexts: Vec<C>,
        log_bounds: Vec<f64>,
        config: RunConfig,
    ) -> Result<Self> {
        let bounds = log_bounds.iter().copied().map(Some).collect();
        Ok(Self(Qrs::each(proposal, target, contexts, log_bounds, config)?.with_bounds(bounds)?))
    }

    /// As [`Qrs::on_batch`].
    #[must_use]
    pub fn on_batch(self, progress: impl FnMut(&Statistics) -> ControlFlow<()> + Send + 'a) -> Self {
        Self(self.0.on_batch(progress))
    }

    /// The counts of one context so far.
    pub fn statistics_of(&self, context: usize) -> Option<Statistics> {
        self.0.statistics_of(context)
    }
}

impl<C, X, D: Distribution<C, X>, S: Scorer<C, X>> Iterator for Rejection<'_, C, X, D, S> {
    type Item = Result<Draw<X>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

impl<C, X, D: Distribution<C, X>, S: Scorer<C, X>> Sampler<X> for Rejection<'_, C, X, D, S> {
    fn name(&self) -> &'static str {
        "rejection"
    }

    fn statistics(&self) -> Statistics {
        self.0.statistics()
    }
}
