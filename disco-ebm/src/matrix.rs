//! Fits to plain matrices: feature values and weights of samples that no model or closure is needed for.

use std::sync::Arc;

use disco_core::{Error as CoreError, Feature, Score, numerics::log_sum_exp};
use ndarray::Array2;

use crate::{
    Constraint, ConstraintKind, ContextSamples, Error, EvaluatedSamples, Measured, Result, Tilt,
    context_samples::Evaluated, context_shares::context_shares, tilt::check_distinct,
};

/// A column of the matrices: the feature of a row, by the positions of its context and of itself.
#[derive(Debug)]
struct Column {
    name: String,
    /// `[contexts][rows]`.
    values: Vec<Vec<f64>>,
}

impl Feature<usize, usize> for Column {
    fn name(&self) -> &str {
        &self.name
    }

    fn values(&self, context: &usize, rows: &[&usize]) -> disco_core::Result<Vec<Score>> {
        let value = |row: &&usize| {
            let found = self.values.get(*context).and_then(|values| values.get(**row));
            found.copied().ok_or_else(|| {
                let field = format!("row of `{}`", self.name);
                CoreError::invalid(field, format!("{row} in context {context}"), "a row of the matrix")
            })
        };
        rows.iter().map(|row| value(row).map(Ok)).collect()
    }
}

impl EvaluatedSamples {
    /// Samples with design weights: each stands for so many of the population that fits refer to, as in a survey. Their
    /// sum does not matter: `ln Z` is that of weights with the mean 1.
    ///
    /// # Errors
    /// [`disco_core::Error`] for a weight that is negative or not finite, where all are zero, and as
    /// [`sampled`](Self::sampled).
    pub fn with_design_weights(weights: &[f64], values: Array2<f64>) -> Result<Self> {
        if let Some((index, weight)) =
            weights.iter().enumerate().find(|(_, weight)| !(**weight >= 0.0 && weight.is_finite()))
        {
            let field = format!("design weight of row {index}");
            return Err(CoreError::invalid(field, weight, "finite and not negative").into());
        }
        let logs: Vec<f64> = weights.iter().map(|weight| weight.ln()).collect();
        let log_mean = log_sum_exp(&logs) - (logs.len() as f64).ln();
        if log_mean == f64::NEG_INFINITY && !logs.is_empty() {
            return Err(CoreError::invalid("design weights", "all zero", "one above zero").into());
        }
        Self::sampled(logs.into_iter().map(|log| log - log_mean).collect(), values)
    }
}

impl Measured<usize, usize> {
    /// Samples that are rows of matrices: one [`EvaluatedSamples`] for each context, with the features of these `names` as
    /// columns. A context is its position, and a sample the position of its row; nothing is evaluated.
    ///
    /// [`moment`](Self::moment) and [`pointwise`](Self::pointwise) make constraints on columns, and
    /// [`target_weights`](Measured::target_weights) gives the rows their weights under a fit. Log-weights of all points of
    /// a space ([`EvaluatedSamples::exact`]) may have any sum: they are normalised.
    ///
    /// ```
    /// use disco_ebm::{EvaluatedSamples, FitConfig, Measured};
    /// use ndarray::array;
    /// // Four people asked, of whom the third stands for twice as many as the others: half of all should be women.
    /// let values = array![[1.0, 31.0], [0.0, 45.0], [0.0, 62.0], [1.0, 70.0]];
    /// let asked = EvaluatedSamples::with_design_weights(&[1.0, 1.0, 2.0, 1.0], values)?;
    /// let measured = Measured::from_matrices(["woman", "age"], vec![asked])?;
    /// let constraints = [measured.moment("woman", 0.5)?];
    /// let fit = measured.fit(&constraints, &FitConfig { min_ess: 0.0, held_out: 0.0, ..FitConfig::default() })?;
    /// let weights = measured.target_weights(fit.tilt())?;
    /// for (found, expected) in weights[0].iter().zip([1.0 / 4.0, 1.0 / 6.0, 1.0 / 3.0, 1.0 / 4.0]) {
    ///     assert!((found - expected).abs() < 1e-12);
    /// }
    /// # Ok::<(), disco_ebm::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`disco_core::Error`] for no contexts, rows or names, a number of columns that differs from that of the names, exact
    /// and sampled points together; [`Error::DuplicateFeature`]; [`Error::NoSupport`] for exact points without weight.
    pub fn from_matrices(
        names: impl IntoIterator<Item = impl Into<String>>,
        contexts: Vec<EvaluatedSamples>,
    ) -> Result<Self> {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        if names.is_empty() {
            return Err(CoreError::Empty { what: "list of features".into() }.into());
        }
        check_distinct(names.iter().map(String::as_str))?;
        let shares = context_shares(None, contexts.len())?;
        let exact = contexts[0].exact;
        let mut evaluated = Vec::with_capacity(contexts.len());
        for (context, points) in contexts.into_iter().enumerate() {
            let columns = points.values.ncols();
            CoreError::check_length("columns of feature values", names.len(), columns)
                .map_err(|cause| Error::InContext { context, cause })?;
            if points.exact != exact {
                return Err(
                    CoreError::invalid("points", "exact and sampled", "one kind in all contexts").into()
                );
            }
            let EvaluatedSamples { mut log_weights, values, left_out, .. } = points;
            let rows = log_weights.len();
            if exact {
                let log_sum = log_sum_exp(&log_weights);
                if log_sum == f64::NEG_INFINITY {
                    return Err(Error::NoSupport { context, samples: rows, never: Vec::new() });
                }
                log_weights.iter_mut().for_each(|weight| *weight -= log_sum);
            }
            let drawn = ContextSamples {
                context,
                samples: (0..rows).collect(),
                log_base: log_weights,
                log_proposal: vec![0.0; rows],
            };
            evaluated.push(Evaluated { drawn, values, left_out });
        }
        Ok(Self { names, contexts: evaluated, shares, skipped: Default::default(), exact })
    }

    /// The constraint that a column has this mean.
    ///
    /// # Errors
    /// [`Error::NotMeasured`]; [`disco_core::Error::Invalid`] for a target that is not finite.
    pub fn moment(&self, name: &str, target: f64) -> Result<Constraint<usize, usize>> {
        self.constraint(name, ConstraintKind::Moment { target, tolerance: 0.0 })
    }

    /// The constraint that a binary column is always 1 (`wanted`), or never.
    ///
    /// # Errors
    /// [`Error::NotMeasured`].
    pub fn pointwise(&self, name: &str, wanted: bool) -> Result<Constraint<usize, usize>> {
        self.constraint(name, ConstraintKind::Pointwise { wanted })
    }

    fn constraint(&self, name: &str, kind: ConstraintKind) -> Result<Constraint<usize, usize>> {
        let column = self.columns_of([name])?[0];
        let values = self.contexts.iter().map(|context| context.values.column(column).to_vec()).collect();
        Constraint::new(Arc::new(Column { name: name.into(), values }), kind)
    }
}

impl<C, X> Measured<C, X> {
    /// The weights of the samples under a target, of each context: they sum to 1. (In a context of weight 0 in which the
    /// target allows no sample they are all 0.)
    ///
    /// For samples with design weights these are the calibrated weights (raking).
    ///
    /// # Errors
    /// [`Error::NotMeasured`], [`Error::NotBinary`]; [`Error::InContext`] with [`disco_core::Error::ZeroWeights`] for a
    /// context in which the target allows no sample.
    ///
    /// # Shapes
    /// - result: `[contexts][samples]`
    pub fn target_weights(&self, tilt: &Tilt<C, X>) -> Result<Vec<Vec<f64>>> {
        let columns = self.columns_of(tilt.feature_names())?;
        let weights = |(index, context): (usize, &Evaluated<C, X>)| {
            let mut terms = context.log_weights();
            let position = match tilt.position(&context.drawn.context) {
                Err(Error::UnknownContext { .. }) if self.shares[index] == 0.0 => {
                    return Ok(vec![0.0; terms.len()]);
                }
                position => position?,
            };
            let factors = tilt.log_factors_at(position, context.values.view(), &columns)?;
            terms.iter_mut().zip(factors).for_each(|(term, factor)| *term += factor);
            let found = disco_core::ImportanceWeights::from_log(terms);
            match found {
                // The contexts that count for nothing were not asked to have support.
                Err(CoreError::ZeroWeights { count }) if self.shares[index] == 0.0 => Ok(vec![0.0; count]),
                found => {
                    let found = found.map_err(|cause| Error::InContext { context: index, cause })?;
                    Ok(found.normalised().to_vec())
                }
            }
        };
        self.contexts.iter().enumerate().map(weights).collect()
    }
}
