//! Weighted sums of distributions.

use crate::{
    Distribution, Error, Result, Sampled, Score, Scorer, Skipped, Streams, alias::Alias,
    numerics::log_sum_exp, table::check_probabilities,
};

/// The mixture `sum_k weight_k p_k(x|c)`.
///
/// Its components are of one type; `Box<dyn Distribution<C, X>>` takes any. Its support is the union of the supports of its
/// components. With scorers as components it is the weighted sum of their unnormalised scores. A sample that one component
/// skips is skipped. A score that is NaN or `+inf` is an [`Error::NotANumber`] with the name of the component.
///
/// # Performance
/// A sample costs one draw of its component, and one score by each *other* component.
///
/// ```
/// use disco_core::{Distribution, Discrete, Mixture, Streams, statrs::distribution::Poisson};
/// let mixture = Mixture::new([
///     (0.25, Discrete(Poisson::new(1.0)?)),
///     (0.75, Discrete(Poisson::new(10.0)?)),
/// ])?;
/// let zero = mixture.log_probs(&(), &[&0])?[0];
/// assert!((zero.exp() - (0.25 * (-1f64).exp() + 0.75 * (-10f64).exp())).abs() < 1e-15);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Mixture<D> {
    // Invariant: not empty.
    components: Vec<D>,
    // Invariant: one per component, finite; the exponentials sum to 1.
    log_weights: Vec<f64>,
    alias: Alias,
}

impl<D> Mixture<D> {
    /// The mixture of components with their weights.
    ///
    /// # Errors
    /// [`Error::Empty`]; [`Error::Invalid`] for a weight that is not above zero, and where they do not sum
    /// to 1 within `1e-7`.
    pub fn new(components: impl IntoIterator<Item = (f64, D)>) -> Result<Self> {
        let (weights, components): (Vec<f64>, Vec<D>) = components.into_iter().unzip();
        if components.is_empty() {
            return Err(Error::Empty { what: "list of mixture components".into() });
        }
        if let Some((index, weight)) = weights.iter().enumerate().find(|(_, weight)| !(**weight > 0.0)) {
            return Err(Error::invalid(format!("mixture weight {index}"), weight, "above 0"));
        }
        check_probabilities("mixture weights", &weights)?;
        let log_weights = weights.iter().map(|weight| weight.ln()).collect();
        Ok(Self { components, log_weights, alias: Alias::new(weights) })
    }

    /// The components.
    pub fn components(&self) -> &[D] {
        &self.components
    }

    /// The log-weights of the components (nats).
    pub fn log_weights(&self) -> &[f64] {
        &self.log_weights
    }
}

impl<C: ?Sized, X: ?Sized, S: Scorer<C, X>> Scorer<C, X> for Mixture<S> {
    fn log_scores(&self, context: &C, samples: &[&X]) -> Result<Vec<Score>> {
        let mut terms: Vec<std::result::Result<Vec<f64>, Skipped>> = vec![Ok(Vec::new()); samples.len()];
        for (component, log_weight) in self.components.iter().zip(&self.log_weights) {
            let scores = component.log_scores(context, samples)?;
            Error::check_length("scores of a mixture component", samples.len(), scores.len())?;
            for (index, (terms, score)) in terms.iter_mut().zip(scores).enumerate() {
                match (&mut *terms, score) {
                    (_, Ok(value)) if value.is_nan() || value == f64::INFINITY => {
                        let by = component.scorer_name().into();
                        return Err(Error::NotANumber { by, index, value });
                    }
                    (Ok(terms), Ok(score)) => terms.push(log_weight + score),
                    (Ok(_), Err(skipped)) => *terms = Err(skipped),
                    (Err(_), _) => {}
                }
            }
        }
        Ok(terms.into_iter().map(|terms| terms.map(|terms| log_sum_exp(&terms))).collect())
    }

    // A sample that one component forbids may be allowed by another.
    fn has_hard_constraints(&self) -> bool {
        self.components.iter().all(Scorer::has_hard_constraints)
    }
}

impl<C: ?Sized, X, D: Distribution<C, X>> Distribution<C, X> for Mixture<D> {
    fn sample(&self, context: &C, streams: &Streams) -> Result<Vec<Sampled<X>>> {
        let chosen: Vec<usize> = streams.iter().map(|mut rng| self.alias.sample(&mut rng)).collect();
        let streams = streams.child(0);
        let mut drawn: Vec<(usize, Sampled<X>)> = Vec::with_capacity(chosen.len());
        for (k, component) in self.components.iter().enumerate() {
            let indices: Vec<usize> = (0..chosen.len()).filter(|&i| chosen[i] == k).collect();
            if !indices.is_empty() {
                let samples = component.sample(context, &streams.select(&indices))?;
                Error::check_length("samples of a mixture component", indices.len(), samples.len())?;
                drawn.extend(indices.into_iter().zip(samples));
            }
        }
        drawn.sort_unstable_by_key(|(index, _)| *index);

        // Terms of the sum over components, in the order of the components: addition is not associative,
        // and a sample must get the same log-probability here as from `log_scores`.
        let mut terms: Vec<Vec<f64>> = vec![Vec::with_capacity(self.components.len()); drawn.len()];
        for (k, (component, log_weight)) in self.components.iter().zip(&self.log_weights).enumerate() {
            let foreign = drawn.iter().filter(|(index, _)| chosen[*index] != k);
            let foreign: Vec<&X> = foreign.map(|(_, sample)| &sample.value).collect();
            let scored =
                if foreign.is_empty() { Vec::new() } else { component.log_probs(context, &foreign)? };
            Error::check_length("log-probabilities of a mixture component", foreign.len(), scored.len())?;
            let mut scored = scored.into_iter();
            for (index, sample) in &drawn {
                let own = chosen[*index] == k;
                let log_prob = if own { Some(sample.log_prob) } else { scored.next() };
                terms[*index].extend(log_prob.map(|log_prob| log_weight + log_prob));
            }
        }
        let samples = drawn.into_iter().zip(&terms);
        Ok(samples
            .map(|((_, sample), terms)| Sampled { value: sample.value, log_prob: log_sum_exp(terms) })
            .collect())
    }

    /// The smallest supply of a component: it is not known beforehand which streams go to which component.
    fn supply(&self, context: &C) -> Result<Option<u64>> {
        let supplies: Vec<Option<u64>> =
            self.components.iter().map(|component| component.supply(context)).collect::<Result<_>>()?;
        Ok(supplies.into_iter().flatten().min())
    }
}

crate::impl_product!([D] Mixture<D>);
