//! The errors of `ln Z` and KL where contexts have coefficients of their own.
//!
//! This is a part of [`JointInference`].

use disco_core::Estimate;
use ndarray::Array1;

use crate::{inference::root, joint_inference::JointInference, strata::Strata};

impl JointInference {
    /// `ln Z` and `KL(p||base)` with the errors of samples and coefficients: the means over contexts, and of each context.
    ///
    /// `log_factors` has the log-factor of each point of the strata; the points in support are those of the duals.
    pub(crate) fn log_z_and_kl(
        &self,
        strata: &Strata,
        log_factors: &[Vec<f64>],
    ) -> [(Estimate, Vec<Estimate>); 2] {
        [1.0, -1.0].map(|sign| {
            let kl = sign < 0.0;
            let gradients: Vec<(Array1<f64>, Array1<f64>)> = (0..self.contexts.len())
                .map(|index| self.gradients(index, strata, &log_factors[index], kl))
                .collect();
            let mut shared = Array1::<f64>::zeros(self.shared.nrows());
            for (index, (of_shared, _)) in gradients.iter().enumerate() {
                shared.scaled_add(self.share(index), of_shared);
            }
            let inverse = self.inverse_or_zero();
            let exponents = |index: usize, along: &Array1<f64>, share: f64| -> Array1<f64> {
                let context = &self.contexts[index];
                let own = context.own.dot(&self.arrow.blocks[index].inverse.dot(&gradients[index].1));
                let through = context.shared.dot(&inverse.dot(along)) * share;
                self.spread(strata, index, -(own + through), kl.then_some(log_factors[index].as_slice()))
            };
            // Of the mean over contexts, also the part that the shared moments of a context, other than those over contexts, have in
            // the shared coefficients: the errors of drawn contexts come from such differences. Its mean over contexts is 0.
            let moved = inverse.dot(&shared);
            let of_mean = |index: usize| {
                let mut exponents = exponents(index, &shared, 1.0);
                let between = self.contexts[index].between.dot(&moved);
                strata.in_support(index).for_each(|point| exponents[point] -= between);
                exponents
            };
            let mean: Vec<Array1<f64>> = (0..self.contexts.len()).map(of_mean).collect();
            let inflations: Vec<Array1<f64>> = (0..self.contexts.len())
                .map(|index| {
                    let inflation = self.contexts[index].leverages.mapv(|leverage| (1.0 + leverage).sqrt());
                    self.spread(strata, index, inflation, None)
                })
                .collect();
            // Errors that depend on coefficients which the samples do not determine are unknown.
            let known = |estimate: Estimate| match self.inverse {
                None if !strata.is_certain() => Estimate { std_error: f64::INFINITY, ..estimate },
                _ => estimate,
            };
            let overall =
                strata.with_log_z(sign, |c| mean[c].view(), |context, point| inflations[context][point]);
            let of_context = |index: usize| {
                let single = strata.single(index);
                let own = exponents(index, &gradients[index].0, self.share(index));
                let found = single.with_log_z(sign, |_| own.view(), |_, point| inflations[index][point]);
                let along = &gradients[index].0;
                let others = &self.shared - &self.shared_from[index];
                let variance = found.std_error.powi(2) + root(along.dot(&others.dot(along))).powi(2);
                known(Estimate { std_error: variance.sqrt(), ..found })
            };
            (known(overall), (0..self.contexts.len()).map(of_context).collect())
        })
    }

    /// How `ln Z_c` or `KL_c` depends on the coefficients: on the shared ones with the own ones following, and on the own ones.
    fn gradients(
        &self,
        index: usize,
        strata: &Strata,
        log_factors: &[f64],
        kl: bool,
    ) -> (Array1<f64>, Array1<f64>) {
        let context = &self.contexts[index];
        let block = &self.arrow.blocks[index];
        let (own, left) = if kl {
            // The covariance with the log-factor.
            let factors = strata.in_support(index).map(|point| log_factors[point]);
            let factors: Array1<f64> = factors.collect();
            let mean = factors.dot(&context.weights);
            let terms = (factors - mean) * &context.weights;
            (context.own.t().dot(&terms), context.shared.t().dot(&terms))
        } else {
            let (shared, own) = &context.origins;
            (own.clone(), shared - &block.cross.dot(&block.inverse.dot(own)))
        };
        (left, own)
    }

    /// One number for each point of a context, 0 outside of the support, from numbers of those inside; `plus` is added.
    fn spread(
        &self,
        strata: &Strata,
        index: usize,
        inside: Array1<f64>,
        plus: Option<&[f64]>,
    ) -> Array1<f64> {
        let mut all = Array1::zeros(strata.normalised_of(index).len());
        for (point, value) in strata.in_support(index).zip(inside) {
            all[point] = value + plus.map_or(0.0, |plus| plus[point]);
        }
        all
    }
}
