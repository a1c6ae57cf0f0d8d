//! The categorical distribution over an enumerated space.

use std::hash::Hash;

use crate::{
    Distribution, Error, Feature, Result, Sampled, Score, Scorer, Space, Streams,
    alias::Alias,
    numerics::{check_log_scores, log_softmax, log_sum_exp},
};

/// The distance from 1 that the sum of the probabilities given to [`Table::from_log_probs`] may have: the error of
/// rounding to eight decimals in a file, far below the error of any estimate.
const SUM_TOLERANCE: f64 = 1e-7;

/// Checks that probabilities (linear) are not negative and sum to 1 within [`SUM_TOLERANCE`].
pub(crate) fn check_probabilities(what: &str, probabilities: &[f64]) -> Result<()> {
    if let Some((index, value)) = probabilities.iter().enumerate().find(|(_, value)| !(**value >= 0.0)) {
        return Err(Error::invalid(format!("{what}, number {index}"), value, "0 to 1"));
    }
    check_sum(what, probabilities.iter().sum())
}

fn check_sum(what: &str, sum: f64) -> Result<()> {
    if (sum - 1.0).abs() <= SUM_TOLERANCE {
        Ok(())
    } else {
        Err(Error::invalid(format!("sum of {what}"), sum, "1, within 1e-7"))
    }
}

/// A categorical distribution: a log-probability for each outcome of a [`Space`].
///
/// It takes any context and ignores it ([`PerContext`](crate::PerContext) has a table for each). Outcomes
/// outside the space have log-probability `-inf`. Expectations under it are exact sums.
///
/// # Performance
/// Building costs one pass; a sample costs its stream, two draws and a clone of the outcome (alias
/// method), whatever the number of outcomes; a log-probability costs one hash look-up.
///
/// ```
/// use disco_core::{Distribution, Space, Streams, Table};
/// let coin = Table::from_probabilities(Space::new(["heads", "tails"])?, &[0.25, 0.75])?;
/// let samples = coin.sample(&(), &Streams::new(7, 1000))?;
/// let heads = samples.iter().filter(|sample| sample.value == "heads").count();
/// assert!((200..300).contains(&heads));
/// assert_eq!(coin.log_probs(&(), &[&"heads", &"edge"])?, [0.25f64.ln(), f64::NEG_INFINITY]);
/// # Ok::<(), disco_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Table<X> {
    space: Space<X>,
    // Invariant: one per outcome, neither NaN nor +inf, the exponentials sum to 1.
    log_probs: Vec<f64>,
    // Invariant: exp(log_probs).
    probabilities: Vec<f64>,
    alias: Alias,
}

impl<X> Table<X> {
    /// `p(x) = exp(log_score(x)) / Z`, from one unnormalised log-score per outcome (nats).
    ///
    /// # Errors
    /// [`Error::Length`]; [`Error::NotANumber`] for NaN or `+inf`; [`Error::ZeroWeights`] if all are `-inf`.
    pub fn from_log_scores(space: Space<X>, log_scores: Vec<f64>) -> Result<Self> {
        Error::check_length("log-scores of a table", space.len(), log_scores.len())?;
        check_log_scores("table", &log_scores)?;
        if log_scores.iter().all(|score| *score == f64::NEG_INFINITY) {
            return Err(Error::ZeroWeights { count: log_scores.len() });
        }
        Ok(Self::of(space, log_softmax(&log_scores)))
    }

    /// A table with exactly these log-probabilities (nats).
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::NotANumber`], and [`Error::Invalid`] where the probabilities do not
    /// sum to 1 within `1e-7`.
    pub fn from_log_probs(space: Space<X>, log_probs: Vec<f64>) -> Result<Self> {
        Error::check_length("log-probabilities of a table", space.len(), log_probs.len())?;
        check_log_scores("table", &log_probs)?;
        check_sum("a table's probabilities", log_sum_exp(&log_probs).exp())?;
        Ok(Self::of(space, log_probs))
    }

    /// A table with these probabilities (not their logarithms).
    ///
    /// # Errors
    /// As [`from_log_probs`](Self::from_log_probs); a negative probability is [`Error::Invalid`].
    pub fn from_probabilities(space: Space<X>, probabilities: &[f64]) -> Result<Self> {
        check_probabilities("a table's probabilities", probabilities)?;
        Self::from_log_probs(space, probabilities.iter().map(|probability| probability.ln()).collect())
    }

    /// The uniform distribution.
    pub fn uniform(space: Space<X>) -> Self {
        let log_prob = -(space.len() as f64).ln();
        let log_probs = vec![log_prob; space.len()];
        Self::of(space, log_probs)
    }

    fn of(space: Space<X>, log_probs: Vec<f64>) -> Self {
        let probabilities: Vec<f64> = log_probs.iter().map(|log_prob| log_prob.exp()).collect();
        let alias = Alias::new(probabilities.iter().copied());
        Self { space, log_probs, probabilities, alias }
    }

    /// The outcomes.
    pub fn space(&self) -> &Space<X> {
        &self.space
    }

    /// The log-probability of each outcome (nats), in the order of the space. ([`Distribution::log_probs`] takes
    /// samples.)
    pub fn as_log_probs(&self) -> &[f64] {
        &self.log_probs
    }

    /// The probability of each outcome, in the order of the space.
    pub fn probabilities(&self) -> &[f64] {
        &self.probabilities
    }

    /// The log-probability of one outcome: `-inf` outside the space.
    pub fn log_prob(&self, outcome: &X) -> f64
    where
        X: Eq + Hash,
    {
        self.space.position(outcome).map_or(f64::NEG_INFINITY, |position| self.log_probs[position])
    }

    /// The exact mean `sum_x p(x) v(x)` of one value per outcome; where `p(x) = 0`, `v(x)` is ignored.
    ///
    /// # Errors
    /// [`Error::Length`]; [`Error::NotANumber`] for a value that is not finite and has probability.
    pub fn expectation(&self, values: &[f64]) -> Result<f64> {
        Error::check_length("values to average", self.probabilities.len(), values.len())?;
        let mut mean = 0.0;
        for (index, (&probability, &value)) in self.probabilities.iter().zip(values).enumerate() {
            if probability > 0.0 {
                if !value.is_finite() {
                    return Err(Error::NotANumber { by: "value to average".into(), index, value });
                }
                mean += probability * value;
            }
        }
        Ok(mean)
    }

    /// The exact moments `E[phi_i]` of features in a context.
    ///
    /// # Errors
    /// The errors of the features; a skipped outcome is an error too.
    pub fn moments<C: ?Sized, F: Feature<C, X>>(&self, features: &[F], context: &C) -> Result<Vec<f64>> {
        features.iter().map(|feature| self.expectation(&self.space.values(feature, context)?)).collect()
    }
}

/// Distributions over the space.
impl<X> Space<X> {
    /// The normalised distribution `exp(log_score(x)) / Z` in a context.
    ///
    /// # Errors
    /// As [`log_scores`](Self::log_scores), and [`Error::ZeroWeights`] where the scorer allows nothing.
    pub fn normalise<C: ?Sized>(&self, scorer: &impl Scorer<C, X>, context: &C) -> Result<Table<X>> {
        Table::from_log_scores(self.clone(), self.log_scores(scorer, context)?)
    }

    /// The uniform distribution over the space.
    pub fn uniform(&self) -> Table<X> {
        Table::uniform(self.clone())
    }
}

impl<C: ?Sized, X: Eq + Hash + Send + Sync> Scorer<C, X> for Table<X> {
    fn log_scores(&self, _: &C, samples: &[&X]) -> Result<Vec<Score>> {
        Ok(samples.iter().map(|sample| Ok(self.log_prob(sample))).collect())
    }
}

impl<C: ?Sized, X: Clone + Eq + Hash + Send + Sync> Distribution<C, X> for Table<X> {
    fn sample(&self, _: &C, streams: &Streams) -> Result<Vec<Sampled<X>>> {
        let draw = |mut rng| {
            let position = self.alias.sample(&mut rng);
            Sampled { value: self.space.outcomes()[position].clone(), log_prob: self.log_probs[position] }
        };
        Ok(streams.iter().map(draw).collect())
    }
}

crate::impl_product!([X] Table<X>);
