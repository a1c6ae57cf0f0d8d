//! Computable properties of a sample.

use std::sync::Arc;

use crate::{Error, Failure, Result, Score};

/// A named, real-valued property of a sample in its context. No gradient is needed.
///
/// A *binary* feature has the values 0 and 1 only.
pub trait Feature<C: ?Sized, X: ?Sized>: Send + Sync {
    /// The name it has in constraints, reports and saved targets.
    fn name(&self) -> &str;

    /// One finite value per sample.
    ///
    /// # Errors
    /// An error stops the run. A sample that alone cannot be evaluated is [`Skipped`](crate::Skipped).
    fn values(&self, context: &C, samples: &[&X]) -> Result<Vec<Score>>;
}

macro_rules! forward_feature {
    ($($pointer:ty),*) => {$(
        impl<C: ?Sized, X: ?Sized, F: Feature<C, X> + ?Sized> Feature<C, X> for $pointer {
            fn name(&self) -> &str {
                (**self).name()
            }

            fn values(&self, context: &C, samples: &[&X]) -> Result<Vec<Score>> {
                (**self).values(context, samples)
            }
        }
    )*};
}
forward_feature!(&F, Box<F>, Arc<F>);

/// A feature from a closure of one sample; made by [`feature`], [`predicate`] and [`try_feature`].
#[derive(Clone, Debug)]
pub struct FnFeature<F, K> {
    name: String,
    evaluate: F,
    kind: std::marker::PhantomData<K>,
}

/// Marks an [`FnFeature`] whose closure gives a number; see [`feature`].
#[derive(Clone, Copy, Debug)]
pub struct Total;
/// Marks an [`FnFeature`] whose closure gives a truth value; see [`predicate`].
#[derive(Clone, Copy, Debug)]
pub struct Predicate;
/// Marks an [`FnFeature`] whose closure can fail; see [`try_feature`].
#[derive(Clone, Copy, Debug)]
pub struct Fallible;

/// A feature from a closure that gives a finite number.
///
/// ```
/// use disco_core::{Feature, feature};
/// let length = feature("length", |_: &(), text: &String| text.len() as f64);
/// assert_eq!(length.values(&(), &[&"four".to_string()])?, [Ok(4.0)]);
/// # Ok::<(), disco_core::Error>(())
/// ```
pub fn feature<C: ?Sized, X: ?Sized, F>(name: impl Into<String>, evaluate: F) -> FnFeature<F, Total>
where
    F: Fn(&C, &X) -> f64 + Send + Sync,
{
    FnFeature { name: name.into(), evaluate, kind: std::marker::PhantomData }
}

/// A binary feature from a closure that gives a truth value.
pub fn predicate<C: ?Sized, X: ?Sized, F>(name: impl Into<String>, evaluate: F) -> FnFeature<F, Predicate>
where
    F: Fn(&C, &X) -> bool + Send + Sync,
{
    FnFeature { name: name.into(), evaluate, kind: std::marker::PhantomData }
}

/// A feature from a closure that can fail: [`Failure::Skip`] leaves the sample out, [`Failure::Stop`] ends the run.
pub fn try_feature<C: ?Sized, X: ?Sized, F>(name: impl Into<String>, evaluate: F) -> FnFeature<F, Fallible>
where
    F: Fn(&C, &X) -> std::result::Result<f64, Failure> + Send + Sync,
{
    FnFeature { name: name.into(), evaluate, kind: std::marker::PhantomData }
}

/// A feature must be finite: NaN and the infinities have no moment.
fn finite(name: &str, index: usize, value: f64) -> Result<Score> {
    if value.is_finite() { Ok(Ok(value)) } else { Err(Error::NotANumber { by: name.into(), index, value }) }
}

impl<C: ?Sized, X: ?Sized, F: Fn(&C, &X) -> f64 + Send + Sync> Feature<C, X> for FnFeature<F, Total> {
    fn name(&self) -> &str {
        &self.name
    }

    fn values(&self, context: &C, samples: &[&X]) -> Result<Vec<Score>> {
        let evaluated = samples.iter().map(|sample| (self.evaluate)(context, sample));
        evaluated.enumerate().map(|(index, value)| finite(&self.name, index, value)).collect()
    }
}

impl<C: ?Sized, X: ?Sized, F: Fn(&C, &X) -> bool + Send + Sync> Feature<C, X> for FnFeature<F, Predicate> {
    fn name(&self) -> &str {
        &self.name
    }

    fn values(&self, context: &C, samples: &[&X]) -> Result<Vec<Score>> {
        Ok(samples.iter().map(|sample| Ok(f64::from(u8::from((self.evaluate)(context, sample))))).collect())
    }
}

impl<C: ?Sized, X: ?Sized, F> Feature<C, X> for FnFeature<F, Fallible>
where
    F: Fn(&C, &X) -> std::result::Result<f64, Failure> + Send + Sync,
{
    fn name(&self) -> &str {
        &self.name
    }

    fn values(&self, context: &C, samples: &[&X]) -> Result<Vec<Score>> {
        let evaluated = samples.iter().map(|sample| (self.evaluate)(context, sample));
        evaluated
            .enumerate()
            .map(|(index, outcome)| match outcome {
                Ok(value) => finite(&self.name, index, value),
                Err(failure) => failure.named(&self.name),
            })
            .collect()
    }
}
