//! Standard errors where contexts have coefficients of their own.
//!
//! An estimate depends on the samples of a context directly, and through the coefficients. With `S` the Schur complement of
//! the Hessian ([`Arrow`]), a sample of context `c` with the weight `W` moves the shared coefficients by `-t_c S^-1 W e`, with
//! `e = (phi_s - m_s) - H_sc H_cc^-1 (phi_o - m_o)` the part of its shared features that the own ones do not explain, and the
//! own ones by `-H_cc^-1 (W (phi_o - m_o) + H_cs d s)`. The variance of an estimate is the sum of the squares of such
//! contributions (delta method), each inflated by the sample's leverage as in [`Inference`](crate::inference::Inference). Where
//! contexts are drawn, the errors of shared coefficients are those of a mean over independent contexts.

use ndarray::{Array1, Array2, Axis, Slice};

use crate::{
    ContextErrors, Dual,
    arrow::Arrow,
    dual::At,
    duals::Duals,
    inference::{LONELY, root},
    linalg::{Cholesky, block},
    solved::Solved,
    strata::Strata,
};

/// The errors of a fit with own coefficients.
pub(crate) struct JointInference {
    pub(crate) arrow: Arrow,
    pub(crate) shares: Vec<f64>,
    /// `S^-1`, 0 for coefficients that are held at 0; `None` if it cannot be inverted.
    pub(crate) inverse: Option<Array2<f64>>,
    /// The covariance of the standardised shared coefficients, and the part of it that comes from each context's samples.
    pub(crate) shared: Array2<f64>,
    pub(crate) shared_from: Vec<Array2<f64>>,
    pub(crate) contexts: Vec<OwnErrors>,
    shared_scale: Array1<f64>,
    shared_moment_errors: Vec<f64>,
    exact: bool,
    /// Exact, in contexts that are all there are.
    certain: bool,
}

/// The errors in one context.
pub(crate) struct OwnErrors {
    /// The normalised weights of its points in support.
    pub(crate) weights: Array1<f64>,
    /// Deviations from their means of the own features, and of the part of the shared ones that they do not explain: `[points,
    /// features]`.
    pub(crate) shared: Array2<f64>,
    pub(crate) own: Array2<f64>,
    /// The means of the shared and of the own features above the origins that their factors have, standardised.
    pub(crate) origins: (Array1<f64>, Array1<f64>),
    pub(crate) leverages: Array1<f64>,
    /// The distance of its shared moments from those over contexts, standardised; empty without shared moments.
    pub(crate) between: Array1<f64>,
    /// Whether a single point has all its weight: its own errors are unknown.
    lonely: bool,
    own_scale: Array1<f64>,
    /// The standard error of each own coefficient and moment.
    pub(crate) coefficients: Vec<f64>,
    pub(crate) moments: Vec<f64>,
}

/// A dual with the weights of all factors.
fn complete(dual: &Dual, log_weights: Array1<f64>, lambda: &[f64]) -> (Dual, At) {
    let mut dual = dual.clone();
    dual.log_weights = log_weights;
    let at = dual.at(Array1::from(lambda.to_vec()) * &dual.standard.scale);
    (dual, at)
}

impl JointInference {
    /// `shifts` has, for each context, the numbers that the factors of the shared and of its own features subtract from them;
    /// `strata` the weights under all factors, of the contexts that were fitted.
    pub(crate) fn new(
        duals: &Duals,
        solved: &Solved,
        shifts: &[(Vec<f64>, Vec<f64>)],
        strata: &Strata,
        errors: ContextErrors,
    ) -> Self {
        let own_linear: Vec<Option<Array1<f64>>> = duals
            .contexts
            .iter()
            .zip(&solved.own)
            .map(|(context, own)| {
                let dual = context.dual.as_ref()?;
                Some(dual.linear(&(Array1::from(own.clone()) * &dual.standard.scale)))
            })
            .collect();
        let shared = duals.shared.as_ref().map(|dual| {
            let mut weights = dual.log_weights.clone();
            for (linear, (_, rows)) in own_linear.iter().zip(dual.ranges_of_contexts()) {
                if let Some(linear) = linear {
                    let mut part = weights.slice_axis_mut(Axis(0), Slice::from(rows));
                    part += linear;
                }
            }
            complete(dual, weights, &solved.shared)
        });
        let own: Vec<Option<(Dual, At)>> = duals
            .contexts
            .iter()
            .enumerate()
            .map(|(index, context)| {
                let dual = context.dual.as_ref()?;
                let mut weights = dual.log_weights.clone();
                if let Some((shared, at)) = &shared {
                    weights += &at
                        .linear
                        .slice_axis(Axis(0), Slice::from(shared.starts[index]..shared.starts[index + 1]));
                }
                let (mut dual, at) = complete(dual, weights, &solved.own[index]);
                // Redundant coefficients are held at 0, as a tolerance would hold them.
                for target in &mut dual.targets {
                    if solved.own_redundant[index].iter().any(|one| one.feature == target.name) {
                        target.tolerance = f64::MAX;
                    }
                }
                Some((dual, at))
            })
            .collect();
        let references: Vec<Option<(&Dual, &At)>> =
            own.iter().map(|own| own.as_ref().map(|(dual, at)| (dual, at))).collect();
        let arrow = match &shared {
            Some((dual, at)) => Arrow::new(dual, at, &references),
            None => Arrow::own_only(&references),
        };
        let d = shared.as_ref().map_or(0, |(dual, _)| dual.dimension());
        let held = |i: usize| {
            shared.as_ref().is_some_and(|(dual, _)| {
                dual.targets[i].tolerance > 0.0 && solved.shared[i] == 0.0
                    || solved.redundant.iter().any(|one| one.feature == dual.targets[i].name)
            })
        };
        let free: Vec<usize> = (0..d).filter(|&i| !held(i)).collect();
        let inverse = Cholesky::new(&block(&arrow.schur, &free)).map(|factor| {
            let mut inverse = Array2::zeros((d, d));
            for ((i, j), value) in factor.inverse().indexed_iter() {
                inverse[[free[i], free[j]]] = *value;
            }
            inverse
        });
        let mut this = Self {
            inverse,
            shared: Array2::zeros((d, d)),
            shared_from: Vec::new(),
            contexts: Vec::new(),
            shared_scale: shared
                .as_ref()
                .map_or_else(|| Array1::zeros(0), |(dual, _)| dual.standard.scale.clone()),
            shared_moment_errors: vec![0.0; d],
            shares: duals.contexts.iter().map(|context| context.share).collect(),
            arrow,
            exact: strata.is_exact(),
            certain: strata.is_certain(),
        };
        this.collect(shared.as_ref(), &own, shifts, strata, errors);
        this
    }

    fn collect(
        &mut self,
        shared: Option<&(Dual, At)>,
        own: &[Option<(Dual, At)>],
        shifts: &[(Vec<f64>, Vec<f64>)],
        strata: &Strata,
        errors: ContextErrors,
    ) {
        let d = self.shared_scale.len();
        let zero = Array2::zeros((d, d));
        let inverse = self.inverse.clone().unwrap_or_else(|| zero.clone());
        let (mut variance, mut biases) = (zero.clone(), Array1::<f64>::zeros(d));
        let mut raw_variance = Array1::<f64>::zeros(d);
        let mut between = zero.clone();
        let alone = own.len() == 1;
        let from_mean = shared.map(|(dual, at)| dual.distances(at));
        for (index, own) in own.iter().enumerate() {
            let share = self.shares[index];
            let all = strata.normalised_of(index);
            let weights: Array1<f64> = strata.in_support(index).map(|point| all[point]).collect();
            let nothing = || (Array2::zeros((weights.len(), 0)), Array1::zeros(0));
            let (shared_part, shared_origin) = shared.map_or_else(nothing, |(dual, at)| {
                let rows = dual.starts[index]..dual.starts[index + 1];
                let values = dual.values.slice_axis(Axis(0), Slice::from(rows));
                let mean = at.means.row(index);
                (&values - &mean, dual.standard.above(index, mean, &shifts[index].0))
            });
            let (own_part, own_origin) = own.as_ref().map_or_else(nothing, |(dual, at)| {
                let mean = at.means.row(0);
                (&dual.values - &mean, dual.standard.above(0, mean, &shifts[index].1))
            });
            let block = &self.arrow.blocks[index];
            let own_inverse = &block.inverse;
            // The part of the shared features that the own ones do not explain.
            let left = &shared_part - &own_part.dot(&own_inverse.dot(&block.cross.t()));
            let form = |rows: &Array2<f64>, matrix: &Array2<f64>| (rows.dot(matrix) * rows).sum_axis(Axis(1));
            let leverages = if self.exact {
                Array1::zeros(weights.len())
            } else {
                &weights * &(1.0 + form(&own_part, own_inverse) + share * form(&left, &inverse))
            };
            let squares = &weights * &weights * (1.0 + &leverages);
            let sum = |rows: &Array2<f64>, squares: &Array1<f64>| {
                rows.t().dot(&(rows * &squares.view().insert_axis(Axis(1))))
            };
            let scatter = |rows: &Array2<f64>| sum(rows, &squares);
            let about = |rows: &Array2<f64>| sum(rows, &(&weights * &weights));
            let lonely = !self.exact && 1.0 < LONELY * (&weights * &weights).sum();
            let distance = from_mean
                .as_ref()
                .map_or_else(|| Array1::zeros(0), |from_mean| from_mean.row(index).to_owned());
            let pulls = &weights * &leverages;
            biases.scaled_add(share, &shared_part.t().dot(&pulls));
            let mut from_samples = zero.clone();
            if lonely && alone {
                raw_variance.fill(f64::INFINITY);
                variance.fill(f64::INFINITY);
            } else if !self.exact {
                // A single point varies about the mean over contexts, as in `Inference`.
                let of = |rows: &Array2<f64>| if lonely { about(&(rows + &distance)) } else { scatter(rows) };
                from_samples = of(&left) * (share * share);
                raw_variance.scaled_add(share * share, &of(&shared_part).diag());
                variance += &from_samples;
            }
            let deviation = &distance * share;
            for i in 0..d {
                for j in 0..d {
                    between[[i, j]] += deviation[i] * deviation[j];
                }
            }
            self.shared_from.push(inverse.dot(&from_samples).dot(&inverse));
            let scale =
                own.as_ref().map_or_else(|| Array1::zeros(0), |(dual, _)| dual.standard.scale.clone());
            let error = |i: usize, square: f64| {
                if lonely { f64::INFINITY } else { root(square) * scale[i] }
            };
            let own_bias = own_part.t().dot(&pulls);
            let own_scatter = scatter(&own_part);
            let moment = |i: usize| {
                if self.exact { 0.0 } else { error(i, own_scatter[[i, i]] + own_bias[i] * own_bias[i]) }
            };
            let moments = (0..scale.len()).map(moment).collect();
            self.contexts.push(OwnErrors {
                weights,
                shared: left,
                own: own_part,
                origins: (shared_origin, own_origin),
                leverages,
                between: distance,
                lonely,
                own_scale: scale,
                coefficients: Vec::new(),
                moments,
            });
        }
        let count = self.shares.len() as f64;
        let drawn = errors == ContextErrors::Drawn;
        if drawn {
            let factor = if count > 1.0 { count / (count - 1.0) } else { f64::INFINITY };
            variance = between * factor;
            raw_variance = variance.diag().to_owned();
            self.shared_from.iter_mut().for_each(|part| part.fill(0.0));
        }
        self.shared = inverse.dot(&variance).dot(&inverse);
        let scale = &self.shared_scale;
        let moment = |i: usize| root(raw_variance[i] + biases[i] * biases[i]) * scale[i];
        self.shared_moment_errors = (0..d).map(moment).collect();
        for index in 0..self.contexts.len() {
            self.contexts[index].coefficients = self.own_coefficient_errors(index);
        }
    }

    fn own_coefficient_errors(&self, index: usize) -> Vec<f64> {
        let context = &self.contexts[index];
        let block = &self.arrow.blocks[index];
        let others = &self.shared - &self.shared_from[index];
        let response = block.inverse.dot(&block.cross.t());
        let through = response.dot(&self.inverse_or_zero());
        let count = context.own_scale.len();
        let error = |i: usize| {
            if block.inverse[[i, i]] == 0.0 {
                return 0.0;
            }
            // The errors of shared coefficients that the samples do not determine are unknown.
            if self.inverse.is_none() && !self.certain && !block.cross.is_empty() {
                return f64::INFINITY;
            }
            let row = response.row(i);
            let of_others = row.dot(&others.dot(&row));
            if self.exact {
                return root(of_others) / context.own_scale[i];
            }
            // -H^-1 W (phi_o - m_o) + H^-1 H_os t S^-1 W e, of each point.
            let share = self.share(index);
            let own = context.own.dot(&block.inverse.row(i));
            let shared = context.shared.dot(&through.row(i)) * share;
            let terms = (own - shared) * &context.weights;
            let of_own = (&terms * &terms * (1.0 + &context.leverages)).sum();
            if context.lonely { f64::INFINITY } else { root(of_own + of_others) / context.own_scale[i] }
        };
        (0..count).map(error).collect()
    }

    pub(crate) fn inverse_or_zero(&self) -> Array2<f64> {
        self.inverse.clone().unwrap_or_else(|| Array2::zeros(self.shared.dim()))
    }

    pub(crate) fn share(&self, index: usize) -> f64 {
        self.shares[index]
    }

    /// The standard error of each shared coefficient.
    pub(crate) fn shared_coefficient_errors(&self) -> Vec<f64> {
        let error = |(variance, scale): (&f64, &f64)| {
            if self.inverse.is_none() { f64::INFINITY } else { root(*variance) / scale }
        };
        self.shared.diag().iter().zip(&self.shared_scale).map(error).collect()
    }

    /// The error of each shared moment of the fitted target, as its own samples show it.
    pub(crate) fn shared_moment_errors(&self) -> &[f64] {
        &self.shared_moment_errors
    }
}
