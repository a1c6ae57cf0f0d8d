//! Finite spaces: where sums over all samples can be written out.

use std::{collections::HashMap, hash::Hash, sync::Arc};

use crate::{Error, Feature, Result, Scorer, numerics::log_sum_exp, score::every_score};

/// A finite set of distinct outcomes, enumerated in a fixed order.
///
/// Sums over it are exact, so that every estimate made elsewhere from samples has an exact counterpart here:
/// [`log_z`](Self::log_z), and with [`normalise`](Self::normalise) the whole target as a [`Table`](crate::Table). A clone
/// shares the outcomes. Cost of each sum: one score per outcome.
///
/// ```
/// use disco_core::{Space, scorer};
/// let space = Space::new(0..200u64)?;
/// // sum_k 10^k / k! = e^10, but for a tail below 1e-100.
/// let log_factorial = |k: u64| (1..=k).map(|i| (i as f64).ln()).sum::<f64>();
/// let poisson = scorer(|_: &(), k: &u64| *k as f64 * 10f64.ln() - log_factorial(*k));
/// assert!((space.log_z(&poisson, &())? - 10.0).abs() < 1e-12);
/// # Ok::<(), disco_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Space<X>(Arc<Inner<X>>);

#[derive(Debug)]
struct Inner<X> {
    // Invariant: not empty, all different.
    outcomes: Vec<X>,
    // Invariant: positions[outcomes[i]] == i.
    positions: HashMap<X, usize>,
}

impl<X> Clone for Space<X> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<X: Eq + Hash> PartialEq for Space<X> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.outcomes == other.0.outcomes
    }
}

impl<X: Clone + Eq + Hash> Space<X> {
    /// The space of these outcomes, in this order.
    ///
    /// # Errors
    /// [`Error::Empty`]; [`Error::Invalid`] for an outcome that comes twice, naming both positions.
    pub fn new(outcomes: impl IntoIterator<Item = X>) -> Result<Self> {
        let outcomes: Vec<X> = outcomes.into_iter().collect();
        if outcomes.is_empty() {
            return Err(Error::Empty { what: "space of outcomes".into() });
        }
        let mut positions = HashMap::with_capacity(outcomes.len());
        for (position, outcome) in outcomes.iter().enumerate() {
            if let Some(earlier) = positions.insert(outcome.clone(), position) {
                return Err(Error::invalid(
                    format!("outcome {position} of a space"),
                    format!("the same as outcome {earlier}"),
                    "distinct outcomes",
                ));
            }
        }
        Ok(Self(Arc::new(Inner { outcomes, positions })))
    }
}

impl<S: Clone + Eq + Hash> Space<Vec<S>> {
    /// All sequences of `length` symbols, in lexicographic order of the symbols' positions:
    /// `symbols.len().pow(length)` of them.
    ///
    /// # Errors
    /// As [`new`](Self::new); [`Error::Invalid`] for more than `2^32` sequences.
    pub fn sequences(symbols: &[S], length: usize) -> Result<Self> {
        let count = u32::try_from(length).ok().and_then(|length| symbols.len().checked_pow(length));
        if count.is_none_or(|count| count as u64 > 1 << 32) {
            let value = format!("{} symbols to the power {length}", symbols.len());
            return Err(Error::invalid("number of sequences", value, "at most 2^32"));
        }
        let mut sequences = vec![Vec::new()];
        for _ in 0..length {
            let longer =
                |sequence: &Vec<S>, symbol: &S| [sequence.as_slice(), std::slice::from_ref(symbol)].concat();
            sequences = sequences
                .iter()
                .flat_map(|sequence| symbols.iter().map(move |symbol| longer(sequence, symbol)))
                .collect();
        }
        Self::new(sequences)
    }
}

impl<X> Space<X> {
    /// The outcomes, in order.
    pub fn outcomes(&self) -> &[X] {
        &self.0.outcomes
    }

    /// The number of outcomes: at least one.
    #[allow(clippy::len_without_is_empty)] // It is never empty.
    pub fn len(&self) -> usize {
        self.0.outcomes.len()
    }

    /// The position of `outcome`, if it is in the space.
    pub fn position(&self, outcome: &X) -> Option<usize>
    where
        X: Eq + Hash,
    {
        self.0.positions.get(outcome).copied()
    }

    /// The log-score of every outcome (nats), in order.
    ///
    /// # Errors
    /// The scorer's; a skipped outcome is an error too, since the sum over the space would lack it;
    /// [`Error::NotANumber`] for NaN and `+inf`.
    pub fn log_scores<C: ?Sized>(&self, scorer: &impl Scorer<C, X>, context: &C) -> Result<Vec<f64>> {
        let samples: Vec<&X> = self.outcomes().iter().collect();
        every_score("scorer", scorer.log_scores(context, &samples)?, samples.len())
    }

    /// The value of a feature for every outcome, in order.
    ///
    /// # Errors
    /// The feature's; a skipped outcome is an error too; [`Error::NotANumber`] for a value that is not finite.
    pub fn values<C: ?Sized>(&self, feature: &impl Feature<C, X>, context: &C) -> Result<Vec<f64>> {
        let samples: Vec<&X> = self.outcomes().iter().collect();
        let values = every_score(feature.name(), feature.values(context, &samples)?, samples.len())?;
        match values.iter().position(|value| !value.is_finite()) {
            Some(index) => Err(Error::NotANumber { by: feature.name().into(), index, value: values[index] }),
            None => Ok(values),
        }
    }

    /// `ln Z`, `Z = sum_x exp(log_score(x))`: exact; `-inf` where the scorer allows nothing.
    ///
    /// # Errors
    /// As [`log_scores`](Self::log_scores).
    pub fn log_z<C: ?Sized>(&self, scorer: &impl Scorer<C, X>, context: &C) -> Result<f64> {
        Ok(log_sum_exp(&self.log_scores(scorer, context)?))
    }
}
