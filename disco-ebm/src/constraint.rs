//! Constraints on the target distribution.

use std::{fmt, sync::Arc};

use disco_core::{Error, Feature};

use crate::{ConstraintKind, Result, range::Range, targets::PerContext};

/// A feature, and the condition on it in the target.
///
/// ```
/// use disco_core::{feature, predicate};
/// use disco_ebm::Constraint;
/// let constraints = [
///     Constraint::always(predicate("short", |_: &(), text: &String| text.len() < 100)),
///     Constraint::moment(predicate("rain", |_: &(), text: &String| text.contains("rain")), 0.5)?,
///     Constraint::moment(feature("length", |_: &(), text: &String| text.len() as f64), 40.0)?.within(2.0)?,
///     Constraint::reward(feature("spaces", |_: &(), text: &String| text.matches(' ').count() as f64), 0.1)?,
/// ];
/// assert_eq!(constraints[1].name(), "rain");
/// assert!(constraints[0].clone().within(0.1).is_err());
/// # Ok::<(), disco_ebm::Error>(())
/// ```
pub struct Constraint<C: ?Sized, X: ?Sized> {
    name: Arc<str>,
    feature: Arc<dyn Feature<C, X>>,
    // Invariant: all numbers are finite, and tolerances not negative; `PerContext` if and only if there are targets
    // per context.
    kind: ConstraintKind,
    given: Option<Arc<dyn Feature<C, X>>>,
    label: Option<Label>,
    range: Range,
    per_context: Option<PerContext<C>>,
}

/// One of the labels of a category: the constraint is on the binary feature "the category's value is this label".
#[derive(Clone, Debug)]
pub(crate) struct Label {
    /// The labels; the value of the category's feature is the position of one.
    pub(crate) labels: Arc<[String]>,
    pub(crate) position: usize,
}

impl<C: ?Sized, X: ?Sized> Constraint<C, X> {
    /// The feature has the mean `target`, over contexts and samples.
    ///
    /// If the target is 0 or 1 and the feature has no other values than 0 and 1 on the samples, it becomes a pointwise constraint.
    ///
    /// # Errors
    /// [`disco_core::Error::Invalid`] for a target that is not finite.
    pub fn moment(feature: impl Feature<C, X> + 'static, target: f64) -> Result<Self> {
        Self::new(Arc::new(feature), ConstraintKind::Moment { target, tolerance: 0.0 })
    }

    /// The feature has a mean from `low` to `high`: [`moment`](Self::moment) in the middle,
    /// [`within`](Self::within) half of the distance.
    ///
    /// # Errors
    /// [`disco_core::Error::Invalid`] for ends that are not finite, or a `high` below `low`.
    pub fn between(feature: impl Feature<C, X> + 'static, low: f64, high: f64) -> Result<Self> {
        if !(low <= high && low.is_finite() && high.is_finite()) {
            let field = format!("mean of `{}`", feature.name());
            let value = format!("between {low} and {high}");
            return Err(Error::invalid(field, value, "two finite numbers, the lower one first").into());
        }
        // Halves first: the sum of two finite numbers may be beyond `f64`.
        let (target, tolerance) = (0.5 * low + 0.5 * high, 0.5 * high - 0.5 * low);
        Self::new(Arc::new(feature), ConstraintKind::Moment { target, tolerance })
    }

    /// The binary feature is 1 in every sample of the target.
    pub fn pointwise(feature: impl Feature<C, X> + 'static) -> Self {
        Self::raw(Arc::new(feature), ConstraintKind::Pointwise { wanted: true })
    }

    /// The same as [`pointwise`](Self::pointwise), in the word of run files; the opposite of [`never`](Self::never).
    pub fn always(feature: impl Feature<C, X> + 'static) -> Self {
        Self::pointwise(feature)
    }

    /// The binary feature is 0 in every sample of the target.
    pub fn never(feature: impl Feature<C, X> + 'static) -> Self {
        Self::raw(Arc::new(feature), ConstraintKind::Pointwise { wanted: false })
    }

    /// Nothing is asked of the feature; the target has the factor `exp(coefficient phi(x, c))`.
    ///
    /// # Errors
    /// [`disco_core::Error::Invalid`] for a coefficient that is not finite.
    pub fn fixed(feature: impl Feature<C, X> + 'static, coefficient: f64) -> Result<Self> {
        Self::new(Arc::new(feature), ConstraintKind::Fixed { coefficient })
    }

    /// The feature is a reward `r`: the target has the factor `exp(r(x, c) / beta)`, as the optimum of `E[r] - beta
    /// KL(p || base)` has, the objective of RLHF (Korbak, Perez and Buckley 2022). Several rewards multiply.
    ///
    /// # Errors
    /// [`disco_core::Error::Invalid`] for a beta that is not positive and finite, or whose inverse is not finite.
    pub fn reward(feature: impl Feature<C, X> + 'static, beta: f64) -> Result<Self> {
        let coefficient = 1.0 / beta;
        if !(beta > 0.0 && beta.is_finite() && coefficient.is_finite()) {
            let field = format!("beta of reward `{}`", feature.name());
            return Err(Error::invalid(field, beta, "positive and finite, and so its inverse").into());
        }
        Self::new(Arc::new(feature), ConstraintKind::Fixed { coefficient })
    }

    /// A constraint of this kind. A `PerContext` one is made from a moment, by [`per_context`](Self::per_context).
    ///
    /// # Errors
    /// [`disco_core::Error::Invalid`] for a target, tolerance or coefficient that is not finite, a negative tolerance, and
    /// [`ConstraintKind::PerContext`].
    pub fn new(feature: Arc<dyn Feature<C, X>>, kind: ConstraintKind) -> Result<Self> {
        if matches!(kind, ConstraintKind::PerContext { .. }) {
            let field = format!("kind of the constraint on `{}`", feature.name());
            let allowed = "another: give a moment, and then its targets per context";
            return Err(Error::invalid(field, "per context", allowed).into());
        }
        kind.validate(feature.name())?;
        Ok(Self::raw(feature, kind))
    }

    fn raw(feature: Arc<dyn Feature<C, X>>, kind: ConstraintKind) -> Self {
        let name = feature.name().into();
        Self { name, feature, kind, given: None, label: None, range: Range::UNKNOWN, per_context: None }
    }

    /// The mean may lie anywhere in `target -+ tolerance`: box constraints (Dudík, Phillips and Schapire
    /// 2004), which put a penalty `tolerance * |lambda|` on the coefficient in the dual.
    ///
    /// # Errors
    /// [`disco_core::Error::Invalid`] for a tolerance that is negative or not finite, and for a constraint that asks for no
    /// mean, or for a conditional one: a box about a conditional mean is no box about a mean.
    pub fn within(mut self, tolerance: f64) -> Result<Self> {
        let refused = |allowed: &'static str| {
            Err(Error::invalid(format!("tolerance of `{}`", self.name), tolerance, allowed).into())
        };
        if self.given.is_some() {
            return refused("none: the mean is conditional");
        }
        self.kind = match self.kind {
            ConstraintKind::Moment { target, .. } => ConstraintKind::Moment { target, tolerance },
            ConstraintKind::PerContext { .. } => ConstraintKind::PerContext { tolerance },
            ConstraintKind::Pointwise { .. } => return refused("none: the constraint is pointwise"),
            ConstraintKind::Fixed { .. } => return refused("none: the coefficient is given"),
        };
        self.kind.validate(&self.name)?;
        Ok(self)
    }

    /// The condition holds among the samples in which the binary feature `g` is 1.
    ///
    /// For a mean `m` this is the linear constraint `E[g (phi - m)] = 0`, whose factor is `exp(lambda g (phi - m))`; for a
    /// pointwise constraint, the implication: the feature has the wanted value wherever `g` is 1. The name becomes
    /// "`phi` given `g`".
    ///
    /// # Errors
    /// [`disco_core::Error::Invalid`] for a constraint with a tolerance, a fixed coefficient, or another condition.
    pub fn given(mut self, g: Arc<dyn Feature<C, X>>) -> Result<Self> {
        let field = || format!("condition of `{}`", self.name);
        let allowed = match self.kind {
            _ if self.given.is_some() => Some("one condition"),
            ConstraintKind::Fixed { .. } => Some("none: the coefficient is given"),
            ConstraintKind::Moment { tolerance, .. } | ConstraintKind::PerContext { tolerance }
                if tolerance > 0.0 =>
            {
                Some("none: it has a tolerance, which a conditional mean cannot have")
            }
            _ => None,
        };
        if let Some(allowed) = allowed {
            return Err(Error::invalid(field(), format!("given `{}`", g.name()), allowed).into());
        }
        self.name = format!("{} given {}", self.name, g.name()).into();
        self.given = Some(g);
        Ok(self)
    }

    /// The same feature with targets per context, for each of which the mean may lie within the tolerance.
    pub(crate) fn made_per_context(mut self, tolerance: f64, targets: PerContext<C>) -> Self {
        self.kind = ConstraintKind::PerContext { tolerance };
        self.per_context = Some(targets);
        self
    }

    /// The values of the feature are known to lie from `low` to `high`, which may be infinite: from such bounds
    /// [`Tilt::log_bound`](crate::Tilt::log_bound) follows. A value outside of them is an error wherever one is met.
    ///
    /// # Errors
    /// [`disco_core::Error::Invalid`] for NaN, or a `high` below `low`, and for a constraint on a label of a category.
    pub fn ranged(mut self, low: f64, high: f64) -> Result<Self> {
        if self.label.is_some() {
            let (field, value) = (format!("range of `{}`", self.name), format!("{low} to {high}"));
            return Err(Error::invalid(field, value, "none: it is a label, 0 or 1").into());
        }
        self.range = Range::new(&self.name, low, high)?;
        Ok(self)
    }

    /// The feature is binary: its range is from 0 to 1.
    #[must_use]
    pub fn binary(mut self) -> Self {
        self.range = Range::BINARY;
        self
    }

    /// The same condition on one label of a category, whose feature is the position of its label.
    pub(crate) fn on_label(mut self, label: Label) -> Self {
        self.name = format!("{} = {}", self.name, label.labels[label.position]).into();
        self.label = Some(label);
        self.range = Range::BINARY;
        self
    }

    /// The same feature and condition, pointwise.
    pub(crate) fn made_pointwise(&self, wanted: bool) -> Self {
        Self { kind: ConstraintKind::Pointwise { wanted }, per_context: None, ..self.clone() }
    }

    /// The same feature and condition, with another target.
    pub(crate) fn with_target(&self, target: f64, tolerance: f64) -> Result<Self> {
        let kind = ConstraintKind::Moment { target, tolerance };
        kind.validate(&self.name)?;
        Ok(Self { kind, ..self.clone() })
    }

    /// The feature.
    pub fn feature(&self) -> &Arc<dyn Feature<C, X>> {
        &self.feature
    }

    /// The binary feature that the condition is under, if it is.
    pub fn condition(&self) -> Option<&Arc<dyn Feature<C, X>>> {
        self.given.as_ref()
    }

    /// The label of the category that the constraint is on, if it is on one.
    pub fn label(&self) -> Option<&str> {
        self.label.as_ref().map(|label| label.labels[label.position].as_str())
    }

    pub(crate) fn label_of(&self) -> Option<&Label> {
        self.label.as_ref()
    }

    /// The name of the constraint: that of its feature, with its label and its condition, if it has them.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The kind of the constraint.
    pub fn kind(&self) -> ConstraintKind {
        self.kind
    }

    pub(crate) fn range(&self) -> Range {
        self.range
    }

    pub(crate) fn targets(&self) -> Option<&PerContext<C>> {
        self.per_context.as_ref()
    }
}

impl<C: ?Sized, X: ?Sized> Clone for Constraint<C, X> {
    fn clone(&self) -> Self {
        Self {
            name: Arc::clone(&self.name),
            feature: Arc::clone(&self.feature),
            kind: self.kind,
            given: self.given.clone(),
            label: self.label.clone(),
            range: self.range,
            per_context: self.per_context.clone(),
        }
    }
}

impl<C: ?Sized, X: ?Sized> fmt::Debug for Constraint<C, X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Constraint")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// The features of constraints, in order, as [`Measured`](crate::Measured) takes them: those of conditions too, and a
/// feature that several constraints share once.
pub fn features<C: ?Sized, X: ?Sized>(constraints: &[Constraint<C, X>]) -> Vec<Arc<dyn Feature<C, X>>> {
    let mut found: Vec<Arc<dyn Feature<C, X>>> = Vec::new();
    for feature in constraints.iter().flat_map(|one| [Some(&one.feature), one.given.as_ref()]).flatten() {
        // Two features of one name are left for `Measured` to refuse.
        if !found.iter().any(|other| Arc::as_ptr(other).cast::<()>() == Arc::as_ptr(feature).cast::<()>()) {
            found.push(Arc::clone(feature));
        }
    }
    found
}
