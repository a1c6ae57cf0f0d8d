//! Categories: features whose value is one of several labels, with the shares that these should have.

use std::sync::Arc;

use disco_core::{Error as CoreError, Estimate, Feature, ImportanceWeights};
use ndarray::{Array1, Array2};
use serde::{Deserialize, Serialize};

use crate::{
    Constraint, ConstraintKind, ContextErrors, Result, constraint::Label, context_shares::context_shares,
    strata::Strata,
};

/// The distance from 1 that the sum of shares may have.
const SUM_TOLERANCE: f64 = 1e-9;

/// A feature whose value is the position of one of several labels, from 0.
///
/// A whole distribution of shares is asked of it by one constraint per label. One of them follows from the others, and gets
/// the coefficient 0 without a warning. A share of 0 is "never", one of 1 "always".
///
/// ```
/// use std::sync::Arc;
/// use disco_core::{Space, feature};
/// use disco_ebm::{Category, FitConfig, Measured, features};
/// let space = Space::new(0..12u32)?;
/// let rest = feature("rest", |_: &(), x: &u32| f64::from(x % 3));
/// let category = Category::new(Arc::new(rest), ["none", "one", "two"])?;
/// let constraints = category.shares(&[0.5, 0.25, 0.25])?;
/// assert_eq!(constraints[1].name(), "rest = one");
/// let measured = Measured::exact(&space.uniform(), &space, vec![()], &features(&constraints))?;
/// let fit = measured.fit(&constraints, &FitConfig::default())?;
/// let p = space.normalise(&fit.target(space.uniform()), &())?;
/// assert!((p.log_prob(&0) - p.log_prob(&1) - 2f64.ln()).abs() < 1e-12);
/// assert!(fit.report().warnings().is_empty());
/// # Ok::<(), disco_ebm::Error>(())
/// ```
pub struct Category<C: ?Sized, X: ?Sized> {
    feature: Arc<dyn Feature<C, X>>,
    // Invariant: two or more, distinct.
    labels: Arc<[String]>,
}

impl<C: ?Sized, X: ?Sized> Clone for Category<C, X> {
    fn clone(&self) -> Self {
        Self { feature: Arc::clone(&self.feature), labels: Arc::clone(&self.labels) }
    }
}

impl<C: ?Sized, X: ?Sized> std::fmt::Debug for Category<C, X> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Category")
            .field("feature", &self.feature.name())
            .field("labels", &self.labels)
            .finish()
    }
}

impl<C: ?Sized, X: ?Sized> Category<C, X> {
    /// The category of this feature, whose value is the position of one of the labels.
    ///
    /// # Errors
    /// [`disco_core::Error::Invalid`] for fewer than two labels, or two that are equal.
    pub fn new(
        feature: Arc<dyn Feature<C, X>>,
        labels: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Self> {
        let labels: Arc<[String]> = labels.into_iter().map(Into::into).collect();
        let field = || format!("labels of category `{}`", feature.name());
        if labels.len() < 2 {
            return Err(CoreError::invalid(field(), labels.len(), "two or more").into());
        }
        if let Some((_, twice)) = labels.iter().enumerate().find(|(i, label)| labels[..*i].contains(label)) {
            return Err(CoreError::invalid(field(), format!("`{twice}` twice"), "distinct ones").into());
        }
        Ok(Self { feature, labels })
    }

    /// The name of the feature.
    pub fn name(&self) -> &str {
        self.feature.name()
    }

    /// The labels.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// Shares by label. If `other` is a label that is not named, it gets the rest.
    ///
    /// # Errors
    /// [`disco_core::Error::Invalid`] for an unknown label, one that is named twice or not at all, and as
    /// [`shares`](Self::shares).
    pub fn shares_named(&self, named: &[(&str, f64)]) -> Result<Vec<f64>> {
        let field = || format!("shares of category `{}`", self.name());
        let mut shares: Vec<Option<f64>> = vec![None; self.labels.len()];
        for (label, share) in named {
            let known = self.labels.iter().position(|known| known == label);
            let Some(at) = known else {
                let allowed = format!("its labels: {}", self.labels.join(", "));
                return Err(CoreError::invalid(field(), format!("with label `{label}`"), allowed).into());
            };
            if shares[at].replace(*share).is_some() {
                return Err(CoreError::invalid(field(), format!("with label `{label}` twice"), "once").into());
            }
        }
        let sum: f64 = named.iter().map(|(_, share)| share).sum();
        for (label, share) in self.labels.iter().zip(&mut shares) {
            match share {
                None if label == "other" && sum <= 1.0 + SUM_TOLERANCE => *share = Some((1.0 - sum).max(0.0)),
                None if label == "other" => return Err(self.bad_sum(sum)),
                None => {
                    return Err(CoreError::invalid(
                        field(),
                        format!("without label `{label}`"),
                        "all labels",
                    )
                    .into());
                }
                Some(_) => {}
            }
        }
        let shares: Vec<f64> = shares.into_iter().flatten().collect();
        self.check(&shares)?;
        Ok(shares)
    }

    /// One constraint for each label: that it has this share. Those of one label may be made
    /// [per context](Constraint::per_context), or [conditional](Constraint::given).
    ///
    /// # Errors
    /// [`disco_core::Error::Length`]; [`disco_core::Error::Invalid`] for a share outside of 0 to 1, and for shares that do not
    /// sum to 1 within 1e-9.
    pub fn shares(&self, shares: &[f64]) -> Result<Vec<Constraint<C, X>>> {
        self.check(shares)?;
        let constraint = |(position, share): (usize, &f64)| self.share(position, *share);
        shares.iter().enumerate().map(constraint).collect()
    }

    /// As [`shares`](Self::shares), with shares for each context, in the order of the contexts that are fitted.
    ///
    /// # Errors
    /// As [`shares`](Self::shares).
    pub fn shares_in_each(&self, contexts: &[Vec<f64>]) -> Result<Vec<Constraint<C, X>>>
    where
        C: Serialize,
    {
        contexts.iter().try_for_each(|shares| self.check(shares))?;
        let constraint = |position: usize| {
            let shares = contexts.iter().map(|shares| shares[position]).collect();
            self.share(position, 0.0)?.with_targets(shares)
        };
        (0..self.labels.len()).map(constraint).collect()
    }

    fn share(&self, position: usize, target: f64) -> Result<Constraint<C, X>> {
        let label = Label { labels: Arc::clone(&self.labels), position };
        let kind = ConstraintKind::Moment { target, tolerance: 0.0 };
        Ok(Constraint::new(Arc::clone(&self.feature), kind)?.on_label(label))
    }

    fn check(&self, shares: &[f64]) -> Result<()> {
        if shares.len() != self.labels.len() {
            let what = format!("shares of category `{}`", self.name()).into();
            let (expected, actual) = (self.labels.len(), shares.len());
            return Err(CoreError::Length { what, expected, actual }.into());
        }
        for (label, share) in self.labels.iter().zip(shares) {
            if !(0.0..=1.0).contains(share) {
                let field = format!("share of `{label}` in category `{}`", self.name());
                return Err(CoreError::invalid(field, share, "0 to 1").into());
            }
        }
        let sum: f64 = shares.iter().sum();
        if (sum - 1.0).abs() <= SUM_TOLERANCE { Ok(()) } else { Err(self.bad_sum(sum)) }
    }

    fn bad_sum(&self, sum: f64) -> crate::Error {
        CoreError::invalid(format!("sum of the shares of category `{}`", self.name()), sum, "1, within 1e-9")
            .into()
    }
}

/// The shares of a category's labels, and their distance from those that were asked for.
///
/// Errors are those of the delta method: of a distance `sum_k s_k (p_k - a_k)`, with `s_k` the signs that the differences
/// happen to have, the error of the mean of `s` over samples. Where a difference is small against its error, the distance is
/// biased upwards: a distance of two errors or less says no more than that the shares agree.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct CategoryDistance {
    /// The share of each label.
    pub shares: Vec<Estimate>,
    /// The total variation `sum_k |p_k - a_k| / 2`.
    pub total_variation: Estimate,
    /// The Wasserstein-1 distance `sum_k |P_k - A_k| (x_{k+1} - x_k)` of cumulated shares, in units of the positions `x` of
    /// ordered labels; `None` without positions.
    pub wasserstein: Option<Estimate>,
}

impl CategoryDistance {
    /// From samples in several contexts: their weights and the positions of their labels.
    ///
    /// - `asked`: the shares that were asked for;
    /// - `positions`: of ordered labels, ascending;
    /// - `context_weights`: one per context, of any sum; without them all count the same. Those of weight 0 are left out.
    ///
    /// # Errors
    /// [`disco_core::Error`] for lengths that differ, no contexts, labels that are not among those asked for, and positions
    /// that do not ascend.
    pub fn new(
        asked: &[f64],
        positions: Option<&[f64]>,
        contexts: Vec<(ImportanceWeights, Vec<usize>)>,
        context_weights: Option<&[f64]>,
        errors: ContextErrors,
    ) -> Result<Self> {
        let shares = context_shares(context_weights, contexts.len())?;
        for (weights, labels) in &contexts {
            CoreError::check_length("labels of samples", weights.log_weights().len(), labels.len())?;
            if let Some(label) = labels.iter().find(|label| **label >= asked.len()) {
                let allowed = format!("below {}, the number of shares", asked.len());
                return Err(CoreError::invalid("label of a sample", label, allowed).into());
            }
        }
        let counted = contexts.into_iter().zip(shares).filter(|(_, share)| *share > 0.0);
        let (contexts, shares): (Vec<_>, Vec<f64>) = counted.unzip();
        let (weights, labels): (Vec<_>, Vec<_>) = contexts.into_iter().unzip();
        let left_out = vec![0; weights.len()];
        let strata = Strata::new(shares, weights, left_out, false, errors);
        Self::of(&strata, asked, positions, |context, point| labels[context][point])
    }

    /// From weights, and the label of each point.
    pub(crate) fn of(
        strata: &Strata,
        asked: &[f64],
        positions: Option<&[f64]>,
        label: impl Fn(usize, usize) -> usize,
    ) -> Result<Self> {
        let count = asked.len();
        let gaps: Vec<f64> = match positions {
            None => Vec::new(),
            Some(positions) => {
                CoreError::check_length("positions of labels", count, positions.len())?;
                let gaps: Vec<f64> = positions.windows(2).map(|pair| pair[1] - pair[0]).collect();
                if let Some(gap) = gaps.iter().find(|gap| !(**gap > 0.0 && gap.is_finite())) {
                    return Err(CoreError::invalid("distance of two labels", gap, "above 0, finite").into());
                }
                gaps
            }
        };
        // The row of a point is the one of its label, in a table of what is averaged.
        let unit = Array2::<f64>::eye(count);
        let all: Vec<usize> = (0..count).collect();
        let means = strata.means(&all, |context, point| unit.row(label(context, point)));
        let shares: Vec<Estimate> = means.iter().map(|mean| mean.estimate).collect();
        let differences: Array1<f64> =
            shares.iter().zip(asked).map(|(share, asked)| share.value - asked).collect();
        let sign = |value: f64| if value == 0.0 { 0.0 } else { value.signum() };
        let mut table = Array2::<f64>::zeros((count, 2));
        for k in 0..count {
            table[[k, 0]] = 0.5 * sign(differences[k]);
        }
        let (mut cumulated, mut wasserstein) = (0.0, 0.0);
        for (k, gap) in gaps.iter().enumerate() {
            cumulated += differences[k];
            wasserstein += gap * cumulated.abs();
            // Samples of this label and of those below it are in the cumulated share.
            (0..=k).for_each(|below| table[[below, 1]] += gap * sign(cumulated));
        }
        let errors = strata.means(&[0, 1], |context, point| table.row(label(context, point)));
        let distance = |value: f64, column: usize| Estimate { value, ..errors[column].estimate };
        Ok(Self {
            total_variation: distance(0.5 * differences.mapv(f64::abs).sum(), 0),
            wasserstein: positions.map(|_| distance(wasserstein, 1)),
            shares,
        })
    }
}

/// A category in a report: its shares under the base and under the fitted target, as means over contexts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct CategoryReport {
    /// The name of the feature.
    pub category: String,
    /// The labels.
    pub labels: Vec<String>,
    /// The share that is asked of each label, as a mean over contexts.
    pub asked: Vec<f64>,
    /// Under the base.
    pub base: CategoryDistance,
    /// Under the fitted target, on the samples of the fit: its errors are those at fixed coefficients.
    pub achieved: CategoryDistance,
}
