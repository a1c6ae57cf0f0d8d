//! How scorers combine: products, powers, features as factors, fixed contexts.

use std::borrow::Cow;

use crate::{Error, Feature, FnScorer, Result, Score, Scorer, TryScorer};

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

/// The product of two scorers: the sum of their log-scores.
///
/// A sample that one factor forbids (`-inf`) is forbidden, whatever the other factor gives: a number, a skip, NaN or `+inf`.
/// (A likelihood is often undefined where the prior is zero.) Any other sample that a factor skips is skipped. So the scores
/// do not depend on the order of the factors; only the scorer that a [`Skipped`](crate::Skipped) names does, where both skip.
///
/// A sum of finite log-scores beyond the range of `f64` is `f64::MAX` or `f64::MIN`: it is not forbidden.
///
/// # Performance
/// The second factor scores only the samples that the first does not forbid: put a cheap factor, and one that forbids,
/// first.
///
/// # Errors
/// [`Error::NotANumber`], with the [name](Scorer::scorer_name) of the factor, for a log-score that is NaN or `+inf` and not
/// forbidden by the other factor.
#[derive(Clone, Copy, Debug)]
pub struct Product<A, B>(pub A, pub B);

impl<C: ?Sized, X: ?Sized, A: Scorer<C, X>, B: Scorer<C, X>> Scorer<C, X> for Product<A, B> {
    fn log_scores(&self, context: &C, samples: &[&X]) -> Result<Vec<Score>> {
        let mut scores = match self.0.log_scores(context, samples) {
            Err(refused @ Error::NotANumber { .. }) => {
                return self.without_forbidden(context, samples, refused);
            }
            other => other?,
        };
        check_factor(|| self.0.scorer_name(), samples.len(), scores.len())?;
        let open: Vec<usize> = (0..samples.len())
            .filter(|&i| !matches!(scores[i], Ok(score) if score == f64::NEG_INFINITY))
            .collect();
        if open.is_empty() {
            return Ok(scores);
        }
        let rest: Vec<&X> = open.iter().map(|&i| samples[i]).collect();
        let others = self.1.log_scores(context, &rest).map_err(|error| error.at_sample(|i| open[i]))?;
        check_factor(|| self.1.scorer_name(), rest.len(), others.len())?;
        let refuse = |by: Cow<'_, str>, index, value| Err(Error::NotANumber { by: by.into(), index, value });
        for (&index, other) in open.iter().zip(others) {
            scores[index] = match (std::mem::replace(&mut scores[index], Ok(0.0)), other) {
                (_, Ok(f64::NEG_INFINITY)) => Ok(f64::NEG_INFINITY),
                (Ok(value), _) if !value.is_finite() => return refuse(self.0.scorer_name(), index, value),
                (_, Ok(value)) if !value.is_finite() => return refuse(self.1.scorer_name(), index, value),
                (Ok(first), Ok(second)) => Ok((first + second).clamp(f64::MIN, f64::MAX)),
                (Err(skipped), _) | (_, Err(skipped)) => Err(skipped),
            };
        }
        Ok(scores)
    }

    fn has_hard_constraints(&self) -> bool {
        self.0.has_hard_constraints() || self.1.has_hard_constraints()
    }

    fn scorer_name(&self) -> Cow<'_, str> {
        format!("{} * {}", self.0.scorer_name(), self.1.scorer_name()).into()
    }
}

impl<A, B> Product<A, B> {
    /// The scores where the first factor, a product itself, has refused a sample: the second factor may forbid that sample.
    fn without_forbidden<C: ?Sized, X: ?Sized>(
        &self,
        context: &C,
        samples: &[&X],
        refused: Error,
    ) -> Result<Vec<Score>>
    where
        A: Scorer<C, X>,
        B: Scorer<C, X>,
    {
        let Ok(others) = self.1.log_scores(context, samples) else { return Err(refused) };
        check_factor(|| self.1.scorer_name(), samples.len(), others.len())?;
        let open: Vec<usize> =
            (0..samples.len()).filter(|&i| !matches!(others[i], Ok(f64::NEG_INFINITY))).collect();
        // Fewer samples each time, so that this ends.
        if open.len() == samples.len() {
            return Err(refused);
        }
        let rest: Vec<&X> = open.iter().map(|&i| samples[i]).collect();
        let allowed = self.log_scores(context, &rest).map_err(|error| error.at_sample(|i| open[i]))?;
        let mut scores = vec![Ok(f64::NEG_INFINITY); samples.len()];
        for (index, score) in open.into_iter().zip(allowed) {
            scores[index] = score;
        }
        Ok(scores)
    }
}

/// Checks that a factor gave as many log-scores as it was asked for.
fn check_factor<'a>(name: impl Fn() -> Cow<'a, str>, expected: usize, actual: usize) -> Result<()> {
    let what = || format!("log-scores of factor {}", name()).into();
    if expected == actual { Ok(()) } else { Err(Error::Length { what: what(), expected, actual }) }
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
