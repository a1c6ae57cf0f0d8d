//! Diagnostics for a grid of beta, in one pass over sorted ratios.

use disco_core::{Error, Estimate};
use disco_divergence::FDivergence;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{
    Point, Ratios, Result, Warning,
    beta::LARGEST_EXCESS,
    divergences::Setting,
    point::mean_of,
    quadrature::{QuadratureNode, compress},
    run::share_at_most,
    sums::not_negative,
};

/// Fidelity against efficiency: the diagnostics of quasi-rejection sampling for a grid of beta.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Curve {
    /// One point per beta, in the order they were asked for.
    pub points: Vec<Point>,
    /// The names of the features of each point.
    pub features: Vec<String>,
    /// `ln Z` of the target (nats); over several contexts, the mean.
    pub log_z: Estimate,
    /// The effective sample size of the weights P/q; over several contexts, the smallest. Infinite for exact sums:
    /// `null` in JSON.
    #[serde(with = "disco_core::infinite::size")]
    pub ess: f64,
    /// The largest weight's share of all; over several contexts, the largest.
    pub largest_share: f64,
    /// The reasons to doubt the whole curve.
    pub warnings: Vec<Warning>,
}

impl Curve {
    /// The mean curve over contexts, for the same grid of beta: see [`Point::mean`].
    ///
    /// # Errors
    /// [`Error::Empty`]; [`Error::Length`] or [`Error::Invalid`] where grids or features differ.
    pub fn mean(curves: &[Self]) -> Result<Self> {
        let Some(first) = curves.first() else {
            return Err(Error::Empty { what: "curves to average".into() }.into());
        };
        for curve in curves {
            Error::check_length("betas of each curve", first.points.len(), curve.points.len())?;
            if curve.features != first.features {
                let allowed = format!("{:?} in each context", first.features);
                return Err(Error::invalid("features", format!("{:?}", curve.features), allowed).into());
            }
            for (point, expected) in curve.points.iter().zip(&first.points) {
                if point.log_beta != expected.log_beta {
                    let allowed = format!("{} in each context", expected.log_beta);
                    return Err(Error::invalid("ln beta", point.log_beta, allowed).into());
                }
            }
        }
        let points = (0..first.points.len())
            .map(|i| Point::mean(&curves.iter().map(|curve| curve.points[i].clone()).collect::<Vec<_>>()))
            .collect::<Result<_>>()?;
        let warnings = Warning::worst(curves.iter().flat_map(|curve| &curve.warnings));
        Ok(Self {
            points,
            features: first.features.clone(),
            log_z: mean_of(curves.iter().map(|curve| curve.log_z)),
            ess: curves.iter().map(|curve| curve.ess).fold(f64::INFINITY, f64::min),
            largest_share: curves.iter().map(|curve| curve.largest_share).fold(0.0, f64::max),
            warnings,
        })
    }
}

/// The most betas that a grid may have: far more than any curve shows.
const MOST_BETAS: usize = 1_000_000;

/// The divergences that are computed at each beta, in the order of [`Point`]'s fields.
const DIVERGENCES: [FDivergence; 4] =
    [FDivergence::TotalVariation, FDivergence::KlForward, FDivergence::KlReverse, FDivergence::JensenShannon];

impl Ratios {
    /// The diagnostics at each `ln beta` of a grid.
    ///
    /// With `u = p/q` and `v = p_beta/q`, each divergence is `mean(u f(v/u))`; Z and `Z_beta` are means over the
    /// same proposals, so that the standard error is computed from the influence function `u f(v/u) - a u - b v`,
    /// `b = mean(v f'(v/u))`, `a = D - b` (delta method). Up to beta, `v/u` is constant and sums of ratios are
    /// enough; above it, the sums over the proposals are taken on a few thousand nodes of a quadrature, with
    /// relative errors below 1e-12.
    ///
    /// # Cost
    /// O(n + k m) for k betas and m nodes (at most 64 per nat of the spread of `ln(P/q)` above the smallest beta,
    /// and 16 per beta), over all threads.
    ///
    /// # Errors
    /// [`Error::Empty`] for no beta; [`Error::Invalid`] for a `ln beta` that is not finite, or more than 700 above
    /// or 1e9 below the largest `ln(P/q)`, and where the `ln(P/q)` are so far apart that a divergence is no number.
    pub fn curve(&self, log_betas: &[f64]) -> Result<Curve> {
        if log_betas.is_empty() {
            return Err(Error::Empty { what: "grid of beta".into() }.into());
        }
        let mut edges = Vec::with_capacity(2 * log_betas.len());
        for &log_beta in log_betas {
            // Kinks: where the ratio passes beta, and where p_beta passes p.
            edges.push(self.check_log_beta(log_beta)?);
            edges.push(self.log_z_value() - self.log_acceptance(log_beta).0);
        }
        edges.sort_unstable_by(f64::total_cmp);
        let first = self.position(edges[0]);
        let nodes = compress(&self.sorted, &self.masses, first, &edges);
        let points: Vec<Result<Point>> =
            log_betas.par_iter().map(|&log_beta| self.point_without_features(log_beta, &nodes)).collect();
        let mut points: Vec<Point> = points.into_iter().collect::<Result<_>>()?;
        for feature in &self.features {
            for (point, mean) in points.iter_mut().zip(self.feature_means(feature, log_betas)) {
                point.features.push(mean);
            }
        }
        Ok(Curve {
            points,
            features: self.features.iter().map(|feature| feature.name.clone()).collect(),
            log_z: self.log_z(),
            ess: self.ess(),
            largest_share: self.largest_share(),
            warnings: self.warnings(),
        })
    }

    /// The diagnostics at one `ln beta`.
    ///
    /// # Errors
    /// As [`curve`](Self::curve).
    pub fn point(&self, log_beta: f64) -> Result<Point> {
        Ok(self.curve(&[log_beta])?.points.remove(0))
    }

    /// `count` values of `ln beta` at equal distances: from the smallest ratio that is seen (everything with
    /// P > 0 is accepted, and `p_beta` is the proposal, restricted to the target's support) to the largest
    /// (nothing that was seen is clipped, and `p_beta` is the target).
    ///
    /// Ratios far below the mean weight are left out: the grid starts where at most a thousandth of the
    /// acceptance rate is lost, and at most 700 nats below the largest ratio.
    ///
    /// # Errors
    /// [`Error::Invalid`] for fewer than two, or more than a million.
    pub fn grid(&self, count: usize) -> Result<Vec<f64>> {
        if !(2..=MOST_BETAS).contains(&count) {
            let allowed = format!("2 to {MOST_BETAS}");
            return Err(Error::invalid("number of betas in a grid", count, allowed).into());
        }
        let log_wanted = 0.999f64.ln() + self.masses.log_from(0);
        let high = self.largest_log_ratio();
        let low = self.log_beta_for_acceptance(log_wanted).max(high - LARGEST_EXCESS);
        let step = not_negative(high - low) / (count - 1) as f64;
        Ok((0..count).map(|i| if i + 1 == count { high } else { low + i as f64 * step }).collect())
    }

    fn warnings(&self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        if self.is_exact() {
            return warnings;
        }
        if self.largest_share() > Warning::DOMINANT_SHARE {
            warnings.push(Warning::DominantWeight { share: self.largest_share() });
        }
        if self.ess() < Warning::FEW_EFFECTIVE {
            warnings.push(Warning::FewEffective { ess: self.ess() });
        }
        // A single proposal has infinite errors, which is warning enough.
        let spread = self.largest_log_ratio() - self.smallest_log_ratio();
        if self.len() > 1 && self.sorted.len() == self.len() && spread <= Warning::EQUAL_RATIOS {
            warnings.push(Warning::EqualRatios);
        }
        warnings
    }

    fn point_without_features(&self, log_beta: f64, nodes: &[QuadratureNode]) -> Result<Point> {
        let (log_acceptance, log_square) = self.log_acceptance(log_beta);
        let acceptance_rate = self.acceptance_rate(log_beta)?;
        let (k, log_z) = (self.position(log_beta), self.log_z_value());
        let (log_target_below, concentration) = self.log_below(k);
        let setting = Setting {
            ratios: self,
            log_z,
            log_beta,
            log_v: -log_acceptance,
            log_gain: log_z - log_beta - log_acceptance,
            log_target_below: log_target_below - log_z,
            sampler_below: (log_target_below - log_beta - log_acceptance).exp(),
            concentration,
            above: &nodes[nodes.partition_point(|node| node.log_ratio <= log_beta)..],
        };
        let [total_variation, forward_kl, reverse_kl, jensen_shannon] =
            DIVERGENCES.map(|divergence| setting.estimate(&divergence));
        let certified = self.log_bound.is_some_and(|bound| log_beta >= bound);
        let nothing = Estimate { value: 0.0, std_error: 0.0, ess: f64::INFINITY };
        let known = |estimate: Result<Estimate>| if certified { Ok(nothing) } else { estimate };
        let (total_variation, forward_kl) = (known(total_variation)?, known(forward_kl)?);
        let (reverse_kl, jensen_shannon) = (known(reverse_kl)?, known(jensen_shannon)?);
        let (above, below) = (self.sorted.len() - k, self.below(log_beta));
        let mut warnings = Vec::new();
        if !self.is_exact() {
            match above {
                _ if certified => {}
                0 => warnings.push(Warning::NoneAbove),
                1..Warning::FEW_ABOVE => warnings.push(Warning::FewAbove { above }),
                _ => {}
            }
            match below {
                0 => warnings.push(Warning::NoneBelow),
                1..Warning::FEW_BELOW => warnings.push(Warning::FewBelow { below }),
                _ => {}
            }
        }
        Ok(Point {
            log_beta,
            acceptance_rate,
            log_z_beta: Estimate {
                value: log_beta + log_acceptance,
                std_error: self.error_of_mean((log_square - 2.0 * log_acceptance).exp() - 1.0),
                ess: self.effective(log_acceptance, log_square),
            },
            total_variation,
            forward_kl,
            reverse_kl,
            jensen_shannon,
            features: Vec::with_capacity(self.features.len()),
            above,
            above_at_most: if certified { 0.0 } else { self.above_at_most(k) },
            below_at_most: self.below_at_most(log_beta),
            certified,
            warnings,
        })
    }

    /// The number of proposals that have a ratio below `log_beta`, those with P = 0 included.
    pub(crate) fn below(&self, log_beta: f64) -> usize {
        self.len() - self.sorted.len() + self.first_from(log_beta)
    }

    /// The sorted position of the first ratio that is not below `log_beta`.
    fn first_from(&self, log_beta: f64) -> usize {
        self.sorted.partition_point(|log_ratio| *log_ratio < log_beta)
    }

    /// The upper end of the one-sided 95% interval of the share of proposals from sorted position `k` on.
    fn above_at_most(&self, k: usize) -> f64 {
        if self.is_exact() {
            self.masses.log_from(k).exp()
        } else {
            share_at_most(self.sorted.len() - k, self.len(), 0.05)
        }
    }

    /// The upper end of the one-sided 95% interval of the share of proposals below `log_beta`.
    pub(crate) fn below_at_most(&self, log_beta: f64) -> f64 {
        if self.is_exact() {
            // Rounding can leave a sum of probabilities above 1.
            not_negative(-self.masses.log_from(self.first_from(log_beta)).exp_m1())
        } else {
            share_at_most(self.below(log_beta), self.len(), 0.05)
        }
    }
}
