//! The errors of `ln Z` and KL of a fit whose coefficients are shared by all contexts.

use ndarray::{Array1, ArrayView1};

use crate::{
    Result,
    inference::Inference,
    problem::{Asked, Problem},
    weighed::Weighed,
};

impl<C, X> Problem<'_, C, X> {
    /// The errors of `ln Z` and of the KL of a fit, as estimates of the values for infinitely many samples. They
    /// include the error at fixed coefficients and the error of the coefficients.
    pub(crate) fn limit_errors(
        &self,
        inference: Option<&Inference<'_>>,
        weighed: &Weighed,
    ) -> Result<(f64, f64)> {
        let fixed = self.fixed_log_factors(weighed)?;
        let origins: Vec<f64> = self.shared_moments().iter().map(|(i, _)| self.origin(*i, 0)).collect();
        let in_support = fixed.as_ref().map(|fixed| {
            let points = fixed.iter().enumerate().flat_map(|(context, factors)| {
                weighed.strata.in_support(context).map(move |point| factors[point])
            });
            points.collect::<Array1<f64>>()
        });
        let sensitivities = match inference {
            None => Some(Default::default()),
            Some(inference) => inference.sensitivities(&origins, in_support.as_ref()),
        };
        let Some((of_log_z, of_kl)) = sensitivities else {
            // Sums over a whole space are certain, however little their terms vary.
            let error = if weighed.strata.is_certain() { 0.0 } else { f64::INFINITY };
            return Ok((error, error));
        };
        // The dual has the points of positive weight only, in the same order.
        let mut leverages = inference.iter().flat_map(|inference| inference.leverages().iter().copied());
        let mut inflation = |weights: &[f64]| -> Vec<f64> {
            let leverage = |weight: &f64| {
                if *weight > f64::NEG_INFINITY { leverages.next().unwrap_or(0.0) } else { 0.0 }
            };
            weights.iter().map(leverage).map(|leverage| (1.0 + leverage).sqrt()).collect()
        };
        let inflations: Vec<Vec<f64>> = weighed.strata.log_weights().map(&mut inflation).collect();
        let error = |sign: f64, sensitivity: &[f64], fixed: Option<&Vec<Vec<f64>>>| {
            let exponents: Vec<Vec<f64>> =
                (0..weighed.rows.len()).map(|c| self.exponents(weighed, c, sensitivity, fixed)).collect();
            let exponents = |context: usize| ArrayView1::from(&exponents[context]);
            let inflation = |context: usize, point: usize| inflations[context][point];
            weighed.strata.with_log_z(sign, exponents, inflation).std_error
        };
        Ok((error(1.0, &of_log_z, None), error(-1.0, &of_kl, fixed.as_ref())))
    }

    /// `v . (phi - origin)` of the shared moments, for each point of a context, plus the factors that are not fitted.
    fn exponents(
        &self,
        weighed: &Weighed,
        context: usize,
        v: &[f64],
        fixed: Option<&Vec<Vec<f64>>>,
    ) -> Vec<f64> {
        let (index, rows) = &weighed.rows[context];
        let moments = self.shared_moments();
        let exponent = |(point, &row): (usize, &usize)| {
            let row = self.row(*index, row);
            let terms = moments.iter().zip(v).map(|((i, moment), factor)| {
                factor * (self.coordinate(row, *i, moment.target) - self.origin(*i, *index))
            });
            terms.sum::<f64>() + fixed.map_or(0.0, |fixed| fixed[context][point])
        };
        rows.iter().enumerate().map(exponent).collect()
    }

    /// The log-factors of fixed coefficients; `None` if there are none.
    fn fixed_log_factors(&self, weighed: &Weighed) -> Result<Option<Vec<Vec<f64>>>> {
        if !self.asked.iter().any(|asked| matches!(asked, Asked::Fixed { .. })) {
            return Ok(None);
        }
        let of_context = |(index, rows): &(usize, Vec<usize>)| {
            let row = |row: &usize| {
                let row = self.row(*index, *row);
                let terms = self.asked.iter().enumerate().map(|(i, asked)| match asked {
                    Asked::Fixed { coefficient } => coefficient * row[self.column(i)],
                    _ => 0.0,
                });
                terms.sum::<f64>()
            };
            rows.iter().map(row).collect()
        };
        Ok(Some(weighed.rows.iter().map(of_context).collect()))
    }
}
