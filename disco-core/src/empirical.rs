//! Samples that some other engine drew, with the log-probabilities it gave them.

use std::{collections::HashMap, hash::Hash, path::Path};

use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    Distribution, Error, Replacement, Result, Sampled, Score, Scorer, Skipped, Streams,
    json_lines::{Field, read_json_lines},
    permutation::{Permutation, mix},
};

/// How far two log-probabilities of one sample in one context may lie apart (nats): the noise of a
/// half-precision engine passes, two different models or token sequences do not.
const AGREEMENT: f64 = 0.01;

/// One sample that was drawn elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub struct Record<C, X> {
    /// The context it was drawn in.
    pub context: C,
    /// The sample.
    pub sample: X,
    /// Its log-probability in that context under the distribution it was drawn from (nats).
    pub log_prob: f64,
}

/// A distribution known by independent samples drawn from it elsewhere, each with its log-probability.
///
/// With it, a target can be fitted, diagnosed and sampled without running the model that the samples come
/// from. To average over the samples, each once, use [`samples`](Self::samples).
///
/// As a [`Distribution`] it hands out its own samples in a random order given by the key of the streams. By
/// default it does so *without* replacement: the streams of one key get different records, and asking for
/// more samples than there are records is an error. The log-probability of a sample is the one recorded; a sample
/// that is not among the records is [`Skipped`], because its probability is not known.
///
/// ```
/// use disco_core::{Distribution, Empirical, Record, Streams};
/// let record = |sample: &'static str, log_prob| Record { context: (), sample, log_prob };
/// let records = [record("a", -0.7), record("b", -0.9), record("a", -0.7)];
/// let drawn_elsewhere = Empirical::new(records)?;
/// let mut all: Vec<_> = drawn_elsewhere.sample(&(), &Streams::new(7, 3))?;
/// all.sort_by_key(|sample| sample.value);
/// assert_eq!(all.iter().map(|sample| sample.log_prob).collect::<Vec<_>>(), [-0.7, -0.7, -0.9]);
/// assert!(drawn_elsewhere.sample(&(), &Streams::new(7, 4)).is_err());
/// # Ok::<(), disco_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Empirical<C, X> {
    // Invariant: not empty.
    contexts: Vec<C>,
    // Invariant: positions[contexts[i]] == i.
    positions: HashMap<C, usize>,
    // Invariant: one per context.
    pools: Vec<Pool<X>>,
    replacement: Replacement,
}

/// The records of one context.
#[derive(Clone, Debug)]
struct Pool<X> {
    // Invariant: not empty; finite log-probabilities.
    samples: Vec<Sampled<X>>,
    // Invariant: the log-probability of every sample in `samples`.
    log_probs: HashMap<X, f64>,
    // Invariant: the sum of exp(log_prob) over `log_probs`.
    mass: f64,
}

/// One line of a file of records.
#[derive(Deserialize)]
#[serde(bound = "C: DeserializeOwned, X: DeserializeOwned")]
struct Line<C, X> {
    sample: X,
    log_prob: f64,
    // Absent is null, which the context `()` accepts.
    #[serde(default)]
    context: Option<C>,
}

/// The fields of a [`Line`].
const FIELDS: [Field<'static>; 3] = [
    Field { name: "sample", allowed: "values that JSON has" },
    Field { name: "log_prob", allowed: "a finite number: the sample was drawn" },
    Field { name: "context", allowed: "values that JSON has" },
];

impl<C: Clone + Eq + Hash, X: Clone + Eq + Hash> Empirical<C, X> {
    /// The distribution of these records.
    ///
    /// # Errors
    /// [`Error::Empty`]; [`Error::Invalid`] for a log-probability that is NaN, infinite or above 0.01 (some engines write
    /// negative log-likelihoods instead), and for one that differs by more than 0.01 from an earlier record of the same
    /// sample in the same context. Differences up to 0.01 are taken as noise of the engine: the first value counts for all.
    /// [`Error::Invalid`] for a record with which the probabilities of the different samples of its context sum to more than
    /// 1, beyond the same noise: a mean of token log-probabilities is no log-probability, and the samples of two contexts
    /// that were not recorded are not those of one.
    pub fn new(records: impl IntoIterator<Item = Record<C, X>>) -> Result<Self> {
        let mut empirical = Self::empty();
        for (index, record) in records.into_iter().enumerate() {
            empirical.push(record).map_err(|(value, allowed)| {
                Error::invalid(format!("log_prob of record {index}"), value, allowed)
            })?;
        }
        empirical.filled()
    }

    /// Records from JSON lines: objects with `sample`, `log_prob` (nats) and, unless `C` is `()`, `context`.
    /// Other fields are ignored, and so are blank lines at the end.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Malformed`], with the number of the line, for a line that is not such a record, is longer than
    /// [`LINE_LIMIT`](crate::input::LINE_LIMIT), or whose log-probability [`new`](Self::new) refuses; [`Error::Empty`].
    pub fn from_json_lines(path: impl AsRef<Path>) -> Result<Self>
    where
        C: DeserializeOwned,
        X: DeserializeOwned,
    {
        let path = path.as_ref();
        let mut empirical = Self::empty();
        for line in read_json_lines(path, &FIELDS, |line| serde_json::from_str::<Line<C, X>>(line))? {
            let (number, line) = line?;
            let context = match line.context {
                Some(context) => context,
                None => C::deserialize(serde_json::Value::Null)
                    .map_err(|source| Error::malformed(path, number, format!("field `context`: {source}")))?,
            };
            empirical.push(Record { context, sample: line.sample, log_prob: line.log_prob }).map_err(
                |(value, allowed)| Error::malformed(path, number, Error::invalid("log_prob", value, allowed)),
            )?;
        }
        empirical.filled()
    }

    fn empty() -> Self {
        Self {
            contexts: Vec::new(),
            positions: HashMap::new(),
            pools: Vec::new(),
            replacement: Replacement::Without,
        }
    }

    fn filled(self) -> Result<Self> {
        if self.pools.is_empty() { Err(Error::Empty { what: "list of records".into() }) } else { Ok(self) }
    }

    /// Adds a record; the error is its log-probability and the values that would be allowed.
    fn push(&mut self, record: Record<C, X>) -> std::result::Result<(), (f64, String)> {
        let Record { context, sample, log_prob } = record;
        if !log_prob.is_finite() {
            return Err((log_prob, "finite: the sample was drawn".into()));
        }
        if log_prob > AGREEMENT {
            let allowed = "at most 0: a log-probability, not a negative log-likelihood";
            return Err((log_prob, allowed.into()));
        }
        let position = self.positions.get(&context).copied().unwrap_or_else(|| {
            self.contexts.push(context.clone());
            self.pools.push(Pool { samples: Vec::new(), log_probs: HashMap::new(), mass: 0.0 });
            self.positions.insert(context, self.pools.len() - 1);
            self.pools.len() - 1
        });
        let pool = &mut self.pools[position];
        let known = *pool.log_probs.entry(sample.clone()).or_insert_with(|| {
            pool.mass += log_prob.exp();
            log_prob
        });
        if pool.mass > AGREEMENT.exp() {
            let allowed = format!(
                "such that the probabilities of the {} different samples of its context sum to at most 1, not {:.4}: is it \
                 a mean of token log-probabilities instead of their sum, or do the records lack their contexts?",
                pool.log_probs.len(),
                pool.mass
            );
            return Err((log_prob, allowed));
        }
        if (known - log_prob).abs() > AGREEMENT {
            let allowed =
                format!("within {AGREEMENT} of {known}, that of the same sample in an earlier record");
            return Err((log_prob, allowed));
        }
        pool.samples.push(Sampled { value: sample, log_prob: known });
        Ok(())
    }

    /// Hands out samples with replacement: any number of them, which are no longer independent samples of the original
    /// distribution.
    #[must_use]
    pub fn with_replacement(self) -> Self {
        Self { replacement: Replacement::With, ..self }
    }

    /// The contexts, in the order in which they first came.
    pub fn contexts(&self) -> &[C] {
        &self.contexts
    }

    /// The samples of a context, in the order of the records.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a context that has none.
    pub fn samples(&self, context: &C) -> Result<&[Sampled<X>]> {
        Ok(&self.pool(context)?.samples)
    }

    fn pool(&self, context: &C) -> Result<&Pool<X>> {
        match self.positions.get(context) {
            Some(&position) => Ok(&self.pools[position]),
            None => {
                let allowed = format!("one of the {} that have records", self.contexts.len());
                Err(Error::invalid("context", "without records", allowed))
            }
        }
    }
}

impl<C: Clone + Eq + Hash + Send + Sync, X: Clone + Eq + Hash + Send + Sync> Scorer<C, X>
    for Empirical<C, X>
{
    fn log_scores(&self, context: &C, samples: &[&X]) -> Result<Vec<Score>> {
        let pool = self.pool(context)?;
        let unknown = || Skipped::new("empirical distribution", "the sample is not among the records");
        Ok(samples.iter().map(|sample| pool.log_probs.get(*sample).copied().ok_or_else(unknown)).collect())
    }
}

impl<C: Clone + Eq + Hash + Send + Sync, X: Clone + Eq + Hash + Send + Sync> Distribution<C, X>
    for Empirical<C, X>
{
    fn sample(&self, context: &C, streams: &Streams) -> Result<Vec<Sampled<X>>> {
        let samples = &self.pool(context)?.samples;
        let n = samples.len();
        let order = Permutation::new(n, mix(streams.key()));
        let place = |stream: usize| match self.replacement {
            Replacement::With => Ok(rand::RngExt::random_range(&mut streams.rng(stream), 0..n)),
            Replacement::Without => match usize::try_from(streams.number(stream)) {
                Ok(number) if number < n => Ok(order.at(number)),
                _ => {
                    let allowed =
                        format!("at most {n} per key, the records of the context, without replacement");
                    let value = streams.number(stream).saturating_add(1);
                    Err(Error::invalid("number of samples of an empirical distribution", value, allowed))
                }
            },
        };
        (0..streams.len()).map(|stream| Ok(samples[place(stream)?].clone())).collect()
    }

    fn supply(&self, context: &C) -> Result<Option<u64>> {
        let count = self.pool(context)?.samples.len() as u64;
        Ok((self.replacement == Replacement::Without).then_some(count))
    }
}

crate::impl_product!([C, X] Empirical<C, X>);
