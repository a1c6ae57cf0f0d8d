//! How far the moments of a dual are from those that were asked for.

use ndarray::Array1;

use crate::{Dual, Error, dual::At};

impl Dual {
    /// By how much the conditions of optimality are violated, in standardised coordinates: one for each feature.
    fn violations<'a>(&'a self, at: &'a At) -> impl Iterator<Item = f64> + 'a {
        at.gradient.iter().zip(&at.lambda).zip(self.tolerances()).map(|((gradient, lambda), tolerance)| {
            if *lambda == 0.0 {
                let excess = gradient.abs() - tolerance;
                if excess < 0.0 { 0.0 } else { excess }
            } else {
                (gradient + tolerance * lambda.signum()).abs()
            }
        })
    }

    /// The largest violation of the conditions of optimality, in these units.
    pub(crate) fn residual(&self, at: &At, units: &Array1<f64>) -> f64 {
        let in_units = |(violation, unit): (f64, &f64)| if violation == 0.0 { 0.0 } else { violation / unit };
        // Unlike `f64::max`, this keeps NaN.
        self.violations(at)
            .zip(units)
            .map(in_units)
            .fold(0.0, |largest, violation| if violation <= largest { largest } else { violation })
    }

    /// Whether all violations are rounding errors of the sums that they are computed from.
    pub(crate) fn is_rounding(&self, at: &At) -> bool {
        let terms = 256.0 + 0.25 * at.weights.len() as f64;
        let mut sizes = self.standard.asked.mapv(f64::abs) + (&self.ridges() * &at.lambda).mapv(f64::abs);
        for (row, weight) in self.values.rows().into_iter().zip(&at.weights) {
            ndarray::Zip::from(&mut sizes).and(row).for_each(|size, value| *size += weight * value.abs());
        }
        self.violations(at).zip(&sizes).all(|(violation, size)| violation <= terms * f64::EPSILON * size)
    }

    /// The error that says which features cannot be told apart, or which one misses its target most.
    pub(crate) fn not_solved(&self, at: &At, iterations: usize) -> Error {
        self.nearly_dependent().unwrap_or_else(|| self.missed(at, iterations))
    }

    /// The error that says which feature misses its target most.
    pub(crate) fn missed(&self, at: &At, iterations: usize) -> Error {
        let scale = &self.standard.scale;
        let missed: Vec<f64> = self.violations(at).collect();
        let worst = (0..missed.len()).max_by(|&a, &b| missed[a].total_cmp(&missed[b])).unwrap_or(0);
        let target = &self.targets[worst];
        let achieved = target.target + (at.moments[worst] - self.standard.asked[worst]) * scale[worst];
        Error::NotSolved {
            feature: target.name.clone(),
            target: target.target,
            achieved,
            missed: missed[worst] * scale[worst],
            iterations,
        }
    }
}
