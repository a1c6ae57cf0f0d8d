//! The interval of a chosen beta.

use serde::{Deserialize, Serialize};

use crate::{Goal, Ratios, bisection::bisect};

/// A 95% interval of `ln beta`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The lower end; `-inf` where no beta is too small for the goal, as far as these proposals show.
    #[serde(with = "disco_core::infinite")]
    pub low: f64,
    /// The upper end; `+inf` where no beta is too large.
    #[serde(with = "disco_core::infinite")]
    pub high: f64,
}

/// Standard errors in half of a 95% interval.
const Z95: f64 = 1.959_963_984_540_054;

/// The betas around the chosen one whose quantity has the wanted value in its own 95% interval: no slope is
/// involved, which may change within the error and is itself estimated (Fieller 1954 for a ratio).
///
/// Acceptance rate and total variation fall as beta grows. `None` for a goal that has no quantity.
pub(crate) fn interval(contexts: &[Ratios], goal: Goal, log_beta: f64) -> Option<Interval> {
    let wanted = match goal {
        Goal::AcceptanceRate(wanted) | Goal::TotalVariation(wanted) => wanted,
        Goal::LargestRatio => return None,
    };
    // The mean over contexts, and how far its interval reaches.
    let quantity = |log_beta: f64| {
        let (mut value, mut variance) = (0.0, 0.0);
        for ratios in contexts {
            let (of_context, error) = match goal {
                Goal::AcceptanceRate(_) => ratios.acceptance_and_error(log_beta),
                _ => (ratios.total_variation_at(log_beta), ratios.total_variation_error(log_beta)),
            };
            value += of_context;
            variance += error * error;
        }
        let count = contexts.len() as f64;
        (value / count, Z95 * variance.sqrt() / count)
    };
    let too_small = |log_beta: f64| {
        let (value, reach) = quantity(log_beta);
        value - reach > wanted
    };
    let not_too_large = |log_beta: f64| {
        let (value, reach) = quantity(log_beta);
        value + reach >= wanted
    };
    let least = contexts.iter().map(Ratios::smallest_log_ratio).fold(f64::INFINITY, f64::min);
    let largest = contexts.iter().map(Ratios::largest_log_ratio).fold(f64::NEG_INFINITY, f64::max);
    // If every proposal is accepted, the rate's error shows as 0: the share that no proposal shows bounds it.
    let unseen = match goal {
        Goal::AcceptanceRate(_) => {
            let contexts_of_ones = contexts.iter().filter(|ratios| ratios.below(least) == 0);
            contexts_of_ones.map(|ratios| ratios.below_at_most(least)).sum::<f64>() / contexts.len() as f64
        }
        _ => 0.0,
    };
    let least_is_too_small = {
        let (value, reach) = quantity(least);
        value - reach - unseen > wanted
    };
    let low = if least_is_too_small { bisect(least, log_beta, too_small).1 } else { f64::NEG_INFINITY };
    // Above the largest ratio, the acceptance rate and its error are proportional to 1 / beta, the total variation
    // is zero without error.
    let (value, reach) = quantity(largest);
    let top = match goal {
        _ if !(value + reach >= wanted) => largest,
        Goal::AcceptanceRate(_) => largest + ((value + reach) / wanted).ln(),
        _ => f64::INFINITY,
    };
    let high = if top < f64::INFINITY { bisect(log_beta, top.max(log_beta), not_too_large).0 } else { top };
    Some(Interval { low, high })
}

impl Ratios {
    fn acceptance_and_error(&self, log_beta: f64) -> (f64, f64) {
        let (log_value, log_square) = self.log_acceptance(log_beta);
        let (value, square) = (log_value.exp(), log_square.exp());
        (value, self.error_of_mean(square - value * value))
    }

    /// The standard error of [`total_variation_at`](Self::total_variation_at), by binary searches.
    ///
    /// With A where p > p_beta, the total variation is `mean((u - v) 1_A)`, `u = p/q`, `v = p_beta/q`, and its
    /// influence function, Z and `Z_beta` being means over the same proposals, `u (1_A - p(A)) - v (1_A - p_beta(A))`.
    /// Up to beta v is proportional to u, and above it constant; A lies above beta.
    fn total_variation_error(&self, log_beta: f64) -> f64 {
        let log_z = self.log_z_value();
        let (log_acceptance, _) = self.log_acceptance(log_beta);
        let k = self.position(log_beta);
        let j = self.position(log_z - log_acceptance).max(k);
        let target_from = |k: usize| (self.log_above[k] - log_z).exp();
        let mass_from = |k: usize| self.masses.log_from(k).exp();
        // Of u^2 over the first k: of samples of one context, at most their number.
        let log_squares = |k: usize| match k.checked_sub(1) {
            None => f64::NEG_INFINITY,
            Some(k) => self.log_below_squares[k] - 2.0 * log_z,
        };
        let squares_to = |k: usize| log_squares(k).exp();
        let v = (-log_acceptance).exp();
        let (in_target, in_sampler) = (target_from(j), v * mass_from(j));
        // (a u - b v)^2 over a range above beta; rounding can leave it below zero.
        let above = |a: f64, b: f64, squares: f64, target: f64, mass: f64| {
            (a * a * squares - 2.0 * a * b * v * target + b * b * v * v * mass).max(0.0)
        };
        let log_gain = log_z - log_beta - log_acceptance;
        let below =
            in_sampler * (0.5 * log_squares(k) + log_gain).exp() - in_target * (0.5 * log_squares(k)).exp();
        let between = above(
            in_target,
            in_sampler,
            squares_to(j) - squares_to(k),
            target_from(k) - target_from(j),
            mass_from(k) - mass_from(j),
        );
        let all = squares_to(self.sorted.len());
        let in_a =
            above(1.0 - in_target, 1.0 - in_sampler, all - squares_to(j), target_from(j), mass_from(j));
        self.error_of_mean(below * below + between + in_a)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 500 proposals with a few equal ratios, some of them zero, and a spread of six nats.
    fn ratios(seed: f64) -> Ratios {
        let log_target: Vec<f64> = (0..500)
            .map(|i| match i % 11 {
                0 => f64::NEG_INFINITY,
                1 => 0.25,
                _ => 3.0 * (f64::from(i) * 1.37 + seed).sin(),
            })
            .collect();
        Ratios::new(&log_target, &[-1.0; 500]).unwrap()
    }

    #[test]
    fn errors_are_those_of_the_diagnostics() {
        let ratios = ratios(0.3);
        for step in 0..60 {
            let log_beta = -3.0 + 0.13 * f64::from(step);
            let point = ratios.point(log_beta).unwrap();
            let found = ratios.total_variation_error(log_beta);
            let expected = point.total_variation.std_error;
            assert!((found - expected).abs() < 1e-9 * expected + 1e-12, "{log_beta}: {found} {expected}");
            let (value, error) = ratios.acceptance_and_error(log_beta);
            assert_eq!((value, error), (point.acceptance_rate.value, point.acceptance_rate.std_error));
        }
    }

    #[test]
    fn at_the_ends_the_goal_is_at_the_end_of_its_own_interval() {
        let contexts = [ratios(0.0), ratios(2.0), ratios(4.0)];
        for goal in [Goal::AcceptanceRate(0.4), Goal::TotalVariation(0.15)] {
            let choice = crate::choose_beta(&contexts, goal).unwrap();
            let interval = choice.interval.unwrap();
            assert!(interval.low < choice.log_beta && choice.log_beta < interval.high);
            for (log_beta, end) in [(interval.low, -Z95), (interval.high, Z95)] {
                let points: Vec<_> = contexts.iter().map(|ratios| ratios.point(log_beta).unwrap()).collect();
                let point = crate::Point::mean(&points).unwrap();
                let (estimate, wanted) = match goal {
                    Goal::AcceptanceRate(wanted) => (point.acceptance_rate, wanted),
                    Goal::TotalVariation(wanted) => (point.total_variation, wanted),
                    Goal::LargestRatio => unreachable!("not among these goals"),
                };
                assert!((estimate.value + end * estimate.std_error - wanted).abs() < 1e-9, "{goal:?}");
            }
        }
    }

    #[test]
    fn what_no_proposal_excludes_has_no_end() {
        let ratios = ratios(0.0);
        let of = |goal| interval(std::slice::from_ref(&ratios), goal, ratios.choose(goal).unwrap().log_beta);
        assert_eq!(of(Goal::LargestRatio), None);
        // However small beta is, the total variation is not as large; nor is it negative however large beta is.
        let wide = of(Goal::TotalVariation(0.99)).unwrap();
        assert_eq!(wide.low, f64::NEG_INFINITY);
        assert_eq!(of(Goal::TotalVariation(0.0)).unwrap().high, f64::INFINITY);
        // Above the largest ratio the rate is Z / beta.
        let rate = of(Goal::AcceptanceRate(1e-4)).unwrap();
        let (value, error) = ratios.acceptance_and_error(rate.high);
        assert!((value + Z95 * error - 1e-4).abs() < 1e-12 && rate.low > ratios.largest_log_ratio());
        // A single proposal has no error to go by, a whole space none at all.
        let one = Ratios::new(&[0.0], &[0.0]).unwrap().choose(Goal::AcceptanceRate(0.5)).unwrap();
        assert_eq!(one.interval, Some(Interval { low: f64::NEG_INFINITY, high: f64::INFINITY }));
        let exact = Ratios::exact(&[0.0, -3.0, 1.0], &[-3f64.ln(); 3]).unwrap();
        for goal in [Goal::AcceptanceRate(0.5), Goal::TotalVariation(0.1)] {
            let choice = exact.choose(goal).unwrap();
            let Interval { low, high } = choice.interval.unwrap();
            assert!((low - choice.log_beta).abs() < 1e-12 && (high - choice.log_beta).abs() < 1e-12);
        }
    }
}
