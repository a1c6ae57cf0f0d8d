//! The choice of beta for a goal.

use disco_core::Error;
use serde::{Deserialize, Serialize};

use crate::{
    Error as QrsError, Goal, Interval, Point, Ratios, Result, bisection::bisect, interval::interval,
};

/// A beta chosen from proposals, with the diagnostics expected at it and the uncertainty of the choice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Choice {
    /// `ln beta`.
    pub log_beta: f64,
    /// The standard error of `ln beta` as an estimate of the beta that reaches the goal exactly: the error of the
    /// wanted quantity, divided by its slope in `ln beta`. This is of first order: where the slope changes within
    /// the error (a small total variation, which falls ever more slowly), [`interval`](Self::interval) is right.
    /// `None` where the slope is zero, and for [`Goal::LargestRatio`], where no sample tells how much larger ratios
    /// can be: [`Point::above_at_most`] bounds how often they come.
    #[serde(with = "disco_core::infinite::option")]
    pub std_error: Option<f64>,
    /// The betas that would reach the goal as well, as far as these proposals can tell: those whose acceptance rate
    /// or total variation has the wanted value in its own 95% interval. `None` for [`Goal::LargestRatio`].
    pub interval: Option<Interval>,
    /// The diagnostics at this beta, from the same proposals; over several contexts their mean.
    pub point: Point,
}

/// Chooses one beta for several contexts: acceptance rate and total variation are means over them.
///
/// ```
/// use disco_core::{Space, scorer};
/// use disco_qrs::{Goal, Ratios, choose_beta};
/// // Two contexts in which even numbers are wanted, and 0 is wanted more or less.
/// let space = Space::new(0..10)?;
/// let ratios = |weight: f64| {
///     let target = scorer(move |_: &(), x: &i32| match x {
///         0 => weight.ln(),
///         x if x % 2 == 0 => 0.0,
///         _ => f64::NEG_INFINITY,
///     });
///     Ratios::exact(&space.log_scores(&target, &())?, space.uniform().as_log_probs())
/// };
/// let choice = choose_beta(&[ratios(2.0)?, ratios(4.0)?], Goal::AcceptanceRate(0.4))?;
/// assert!((choice.point.acceptance_rate.value - 0.4).abs() < 1e-12);
/// # Ok::<(), disco_qrs::Error>(())
/// ```
///
/// # Cost
/// About 60 binary searches per context for beta, twice as many for its interval, and one [`Ratios::point`] each.
///
/// # Errors
/// [`Error::Empty`] for no context; [`Error::Invalid`] for a goal outside its range;
/// [`Unreachable`](QrsError::Unreachable) for an acceptance rate that no beta has.
pub fn choose_beta(contexts: &[Ratios], goal: Goal) -> Result<Choice> {
    if contexts.is_empty() {
        return Err(Error::Empty { what: "contexts to choose a beta for".into() }.into());
    }
    let mean = |of: &dyn Fn(&Ratios) -> f64| contexts.iter().map(of).sum::<f64>() / contexts.len() as f64;
    let least = contexts.iter().map(Ratios::smallest_log_ratio).fold(f64::INFINITY, f64::min);
    let largest = contexts.iter().map(Ratios::largest_log_ratio).fold(f64::NEG_INFINITY, f64::max);
    let log_beta = match goal {
        Goal::AcceptanceRate(wanted) => {
            if !(wanted > 0.0 && wanted <= 1.0) {
                return Err(Error::invalid("wanted acceptance rate", wanted, "above 0, at most 1").into());
            }
            let most = mean(&|ratios| ratios.masses.log_from(0).exp());
            if wanted > most {
                return Err(QrsError::Unreachable { wanted, most });
            }
            // Above the largest ratio, the rate is Z / beta.
            let high =
                largest.max(contexts.iter().map(Ratios::log_z_value).fold(least, f64::max) - wanted.ln());
            let enough = |log_beta: f64| mean(&|ratios| ratios.acceptance(log_beta)) >= wanted;
            bisect(least, high, enough).0
        }
        Goal::TotalVariation(wanted) => {
            if !(0.0..=1.0).contains(&wanted) {
                return Err(Error::invalid("wanted total variation", wanted, "0 to 1").into());
            }
            let too_far = |log_beta: f64| mean(&|ratios| ratios.total_variation_at(log_beta)) > wanted;
            if too_far(least) { bisect(least, largest, too_far).1 } else { least }
        }
        Goal::LargestRatio => largest,
    };
    let points: Vec<Point> = contexts.iter().map(|ratios| ratios.point(log_beta)).collect::<Result<_>>()?;
    let mut point = Point::mean(&points)?;
    point.log_beta = log_beta;
    let (error, slope) = match goal {
        Goal::AcceptanceRate(_) => {
            let slope = |ratios: &Ratios| (ratios.log_below(ratios.position(log_beta)).0 - log_beta).exp();
            (point.acceptance_rate.std_error, mean(&slope))
        }
        Goal::TotalVariation(_) => {
            let slope = |ratios: &Ratios| -ratios.total_variation_slope(log_beta);
            (point.total_variation.std_error, mean(&slope))
        }
        Goal::LargestRatio => (0.0, 0.0),
    };
    let std_error = (slope > 0.0).then(|| error / slope);
    Ok(Choice { log_beta, std_error, interval: interval(contexts, goal, log_beta), point })
}

impl Ratios {
    /// Chooses beta for one context; where every context is to have its own, for each.
    ///
    /// ```
    /// use disco_qrs::{Goal, Ratios};
    /// // Ten proposals, of which five satisfy the constraint and one of these has twice the weight.
    /// let log_target = [0.0, 0.0, 0.0, 0.0, 2f64.ln()];
    /// let log_target = [log_target, [f64::NEG_INFINITY; 5]].concat();
    /// let ratios = Ratios::new(&log_target, &[0.0; 10])?;
    /// let choice = ratios.choose(Goal::AcceptanceRate(0.4))?;
    /// assert!((choice.log_beta - (4.0 / 3.0f64).ln()).abs() < 1e-12);
    /// assert!(ratios.choose(Goal::AcceptanceRate(0.6)).is_err());
    /// # Ok::<(), disco_qrs::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`choose_beta`].
    pub fn choose(&self, goal: Goal) -> Result<Choice> {
        choose_beta(std::slice::from_ref(self), goal)
    }

    /// The largest `ln beta` with at least this logarithm of the acceptance rate, which must be reachable.
    pub(crate) fn log_beta_for_acceptance(&self, log_wanted: f64) -> f64 {
        let high = self.largest_log_ratio().max(self.log_z_value() - log_wanted);
        bisect(self.smallest_log_ratio(), high, |log_beta| self.log_acceptance(log_beta).0 >= log_wanted).0
    }
}
