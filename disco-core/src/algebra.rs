//! How scorers combine: powers, features as factors, fixed contexts, and the operators for these and for products.

use std::borrow::Cow;

use crate::{Error, Feature, FnScorer, Product, Result, Score, Scorer, TryScorer};

/// `exp(coefficient * feature)`: a feature as a factor, such as `exp(reward / beta)`.
#[derive(Clone, Copy, Debug)]
pub struct Exponential<F> {
    /// The feature: the exponent before it is multiplied by `coefficient`.
    pub feature: F,
    /// The factor of the feature in the exponent.
    pub coefficient: f64,
}

impl<F> Exponential<F> {
    /// `exp(reward / beta)`: times a base, it is the target of reinforcement learning with a KL penalty
    /// of strength `beta` (Korbak et al. 2022, equation 3, <https://arxiv.org/abs/2206.00761>).
    ///
    /// # Errors
    /// [`Error::Invalid`] unless `beta` is positive and finite.
    pub fn reward(reward: F, beta: f64) -> Result<Self> {
        if beta > 0.0 && (1.0 / beta).is_finite() && beta.is_finite() {
            Ok(Self { feature: reward, coefficient: 1.0 / beta })
        } else {
            Err(Error::invalid("beta", beta, "positive and finite"))
        }
    }
}

impl<C: ?Sized, X: ?Sized, F: Feature<C, X>> Scorer<C, X> for Exponential<F> {
    fn log_scores(&self, context: &C, samples: &[&X]) -> Result<Vec<Score>> {
        let values = self.feature.values(context, samples)?;
        if !self.coefficient.is_finite() {
            let field = format!("coefficient of feature `{}`", self.feature.name());
            return Err(Error::invalid(field, self.coefficient, "finite"));
        }
        let exponent = |(index, value): (usize, Score)| match value {
            Ok(value) if !value.is_finite() => {
                Err(Error::NotANumber { by: format!("feature `{}`", self.feature.name()), index, value })
            }
            Ok(value) => Ok(Ok((self.coefficient * value).clamp(f64::MIN, f64::MAX))),
            Err(skipped) => Ok(Err(skipped)),
        };
        values.into_iter().enumerate().map(exponent).collect()
    }

    fn scorer_name(&self) -> Cow<'_, str> {
        format!("exp({} * `{}`)", self.coefficient, self.feature.name()).into()
    }
}

/// A binary feature as a hard constraint: log-score 0 where it has the wanted value, `-inf` elsewhere.
///
/// ```
/// use disco_core::{Condition, Scorer, predicate};
/// let rain = predicate("rain", |_: &(), text: &str| text.contains("rain"));
/// let scores = Condition::never(rain).log_scores(&(), &["rainbow", "sun"])?;
/// assert_eq!(scores, [Ok(f64::NEG_INFINITY), Ok(0.0)]);
/// # Ok::<(), disco_core::Error>(())
/// ```
///
/// # Errors
/// Scoring is an [`Error::Invalid`] where the feature is neither 0 nor 1.
#[derive(Clone, Copy, Debug)]
pub struct Condition<F> {
    feature: F,
    wanted: bool,
}

impl<F> Condition<F> {
    /// Allows the samples for which the feature is 1.
    pub fn always(feature: F) -> Self {
        Self { feature, wanted: true }
    }

    /// Allows the samples for which the feature is 0.
    pub fn never(feature: F) -> Self {
        Self { feature, wanted: false }
    }

    /// The feature.
    pub fn feature(&self) -> &F {
        &self.feature
    }
}

impl<C: ?Sized, X: ?Sized, F: Feature<C, X>> Scorer<C, X> for Condition<F> {
    fn log_scores(&self, context: &C, samples: &[&X]) -> Result<Vec<Score>> {
        let values = self.feature.values(context, samples)?;
        let wanted = f64::from(u8::from(self.wanted));
        values
            .into_iter()
            .map(|value| match value {
                Ok(value) if value == wanted => Ok(Ok(0.0)),
                Ok(value) if value == 1.0 - wanted => Ok(Ok(f64::NEG_INFINITY)),
                Ok(value) => {
                    Err(Error::invalid(format!("condition `{}`", self.feature.name()), value, "0 or 1"))
                }
                Err(skipped) => Ok(Err(skipped)),
            })
            .collect()
    }

    fn has_hard_constraints(&self) -> bool {
        true
    }

    fn scorer_name(&self) -> Cow<'_, str> {
        format!("condition `{}`", self.feature.name()).into()
    }
}

/// A scorer raised to a power: its log-score times `exponent` (an inverse temperature).
#[derive(Clone, Copy, Debug)]
pub struct Power<S> {
    base: S,
    exponent: f64,
}

impl<C: ?Sized, X: ?Sized, S: Scorer<C, X>> Scorer<C, X> for Power<S> {
    fn log_scores(&self, context: &C, samples: &[&X]) -> Result<Vec<Score>> {
        let scores = self.base.log_scores(context, samples)?;
        // -inf, +inf and NaN stay what they are; a finite log-score does not become one of them.
        let raised = |score: f64| match self.exponent * score {
            product if score.is_finite() => product.clamp(f64::MIN, f64::MAX),
            product => product,
        };
        Ok(scores.into_iter().map(|score| score.map(raised)).collect())
    }

    fn has_hard_constraints(&self) -> bool {
        self.base.has_hard_constraints()
    }

    fn scorer_name(&self) -> Cow<'_, str> {
        format!("({})^{}", self.base.scorer_name(), self.exponent).into()
    }
}

/// A scorer, distribution or feature whose context is fixed: it takes the context `()` instead.
#[derive(Clone, Copy, Debug)]
pub struct Given<S, C> {
    scorer: S,
    context: C,
}

impl<C: Send + Sync, X: ?Sized, S: Scorer<C, X>> Scorer<(), X> for Given<S, C> {
    fn log_scores(&self, _: &(), samples: &[&X]) -> Result<Vec<Score>> {
        self.scorer.log_scores(&self.context, samples)
    }

    fn has_hard_constraints(&self) -> bool {
        self.scorer.has_hard_constraints()
    }

    fn scorer_name(&self) -> Cow<'_, str> {
        self.scorer.scorer_name()
    }
}

impl<C: Send + Sync, X: ?Sized, F: Feature<C, X>> Feature<(), X> for Given<F, C> {
    fn name(&self) -> &str {
        self.scorer.name()
    }

    fn values(&self, _: &(), samples: &[&X]) -> Result<Vec<Score>> {
        self.scorer.values(&self.context, samples)
    }
}

impl<C: Send + Sync, X, D: crate::Distribution<C, X>> crate::Distribution<(), X> for Given<D, C> {
    fn sample(&self, _: &(), streams: &crate::Streams) -> Result<Vec<crate::Sampled<X>>> {
        self.scorer.sample(&self.context, streams)
    }

    fn supply(&self, _: &()) -> Result<Option<u64>> {
        self.scorer.supply(&self.context)
    }
}

/// Methods that combine scorers. Every type has them.
///
/// Types that call [`impl_product!`](crate::impl_product) also have `*`.
pub trait ScorerExt: Sized {
    /// The product with another scorer.
    fn times<S>(self, other: S) -> Product<Self, S> {
        Product(self, other)
    }

    /// The scorer to the power `exponent`, positive and finite.
    ///
    /// # Errors
    /// [`Error::Invalid`] for any other exponent: zero would turn `-inf` into NaN.
    fn power(self, exponent: f64) -> Result<Power<Self>> {
        if exponent > 0.0 && exponent.is_finite() {
            Ok(Power { base: self, exponent })
        } else {
            Err(Error::invalid("exponent", exponent, "positive and finite"))
        }
    }

    /// `self * exp(reward / beta)`: the target of reinforcement learning with a KL penalty of strength
    /// `beta` towards `self`.
    ///
    /// ```
    /// use disco_core::{ScorerExt, Space, feature};
    /// let base = Space::new([0, 1])?.uniform();
    /// let target = (&base).rewarded(feature("reward", |_: &(), x: &i32| f64::from(*x)), 0.5)?;
    /// let tuned = base.space().normalise(&target, &())?;
    /// assert!((tuned.log_prob(&1) - tuned.log_prob(&0) - 1.0 / 0.5).abs() < 1e-12);
    /// # Ok::<(), disco_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`] unless `beta` is positive and finite.
    fn rewarded<F>(self, reward: F, beta: f64) -> Result<Product<Self, Exponential<F>>> {
        Ok(Product(self, Exponential::reward(reward, beta)?))
    }

    /// The scorer, distribution or feature with its context fixed.
    fn given<C>(self, context: C) -> Given<Self, C> {
        Given { scorer: self, context }
    }
}

impl<S> ScorerExt for S {}

/// Gives a scorer type the operator `*`: `a * b` is [`Product(a, b)`](crate::Product).
///
/// ```
/// struct Mine;
/// disco_core::impl_product!([] Mine);
/// struct Holds<T>(T);
/// disco_core::impl_product!([T] Holds<T>);
/// let _ = Mine * Holds(1);
/// ```
#[macro_export]
macro_rules! impl_product {
    ([$($generic:tt)*] $type:ty) => {
        impl<Other, $($generic)*> ::std::ops::Mul<Other> for $type {
            type Output = $crate::Product<$type, Other>;
            fn mul(self, other: Other) -> Self::Output {
                $crate::Product(self, other)
            }
        }
    };
}

impl_product!([F] FnScorer<F>);
impl_product!([F] TryScorer<F>);
impl_product!([F] Exponential<F>);
impl_product!([F] Condition<F>);
impl_product!([A, B] Product<A, B>);
impl_product!([S] Power<S>);
impl_product!([S, C] Given<S, C>);
