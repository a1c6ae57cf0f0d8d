//! The parts of a record side by side, context by context, and category by category.

use disco_core::Estimate;
use serde::Serialize;

use super::{
    record::{CategoryDistance, RunRecord},
    rows::AskedRange,
    unknown::known,
};

/// One measure in one context, at every stage.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ContextRow {
    /// The position of the context among those of the spec.
    pub context: usize,
    /// The name of the measure.
    pub name: String,
    /// The mean that is asked of this context; for a target over all contexts, the mean that is asked over them.
    pub asked: Option<f64>,
    /// How far from what is asked the mean may be.
    #[serde(skip)]
    pub tolerance: f64,
    /// Its coefficient in this context alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coefficient: Option<Estimate>,
    /// Its mean under the base.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<Estimate>,
    /// Its mean under the target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fitted: Option<Estimate>,
    /// Its mean under the tuned policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tuned: Option<Estimate>,
    /// Its mean over accepted proposals.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qrs: Option<Estimate>,
}

impl ContextRow {
    /// The range in which the mean is asked for.
    pub(crate) fn range(&self) -> Option<AskedRange> {
        self.asked.map(|mean| AskedRange::around(mean, self.tolerance))
    }

    /// The distance of the last stage that there is from what was asked, in the units of the measure; 0 if nothing was asked.
    pub(crate) fn miss(&self) -> f64 {
        let last = self.qrs.or(self.tuned).or(self.fitted).or(self.base);
        let outside = |(asked, last): (f64, Estimate)| ((last.value - asked).abs() - self.tolerance).max(0.0);
        self.asked.zip(last).map_or(0.0, outside)
    }
}

/// The distances of one category from the shares that were asked for, at every stage.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CategoryRow {
    /// Its name.
    pub name: String,
    /// Of the base.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<CategoryDistance>,
    /// Of the target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fitted: Option<CategoryDistance>,
    /// Of the tuned policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tuned: Option<CategoryDistance>,
    /// Of accepted proposals.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qrs: Option<CategoryDistance>,
}

impl RunRecord {
    /// One row per measure and context, measure by measure; none for a run with one context.
    pub fn contexts(&self) -> Vec<ContextRow> {
        let contexts = &self.spec.contexts;
        if contexts.items.len() < 2 {
            return Vec::new();
        }
        let of = |means: Option<&Vec<Vec<Option<Estimate>>>>, context: usize, measure: usize| {
            means.and_then(|means| known((*means.get(context)?.get(measure)?)?))
        };
        let mut rows = Vec::new();
        for (measure, spec) in self.spec.measures().into_iter().enumerate() {
            let over_all = spec.asked(contexts);
            for (context, item) in contexts.items.iter().enumerate() {
                // The columns were checked when the spec was read.
                let own = spec.asked_in(item).ok().flatten();
                rows.push(ContextRow {
                    context,
                    name: spec.name.clone(),
                    asked: if spec.feature.per_context { own } else { over_all },
                    tolerance: spec.tolerance(),
                    coefficient: of(
                        self.target.as_ref().map(|target| &target.coefficients),
                        context,
                        measure,
                    ),
                    base: of(self.base.as_ref().map(|base| &base.by_context), context, measure),
                    fitted: of(self.target.as_ref().map(|target| &target.by_context), context, measure),
                    tuned: of(self.policy.as_ref().map(|policy| &policy.by_context), context, measure),
                    qrs: of(self.qrs.as_ref().map(|qrs| &qrs.by_context), context, measure),
                });
            }
        }
        rows
    }

    /// One row per category whose shares were asked for.
    pub fn categories(&self) -> Vec<CategoryRow> {
        let stages = [
            self.base.as_ref().map(|base| &base.categories),
            self.target.as_ref().map(|target| &target.categories),
            self.policy.as_ref().map(|policy| &policy.categories),
            self.qrs.as_ref().map(|qrs| &qrs.categories),
        ];
        let Some(first) = stages.iter().flatten().next() else { return Vec::new() };
        let row = |(index, category): (usize, &CategoryDistance)| {
            let [base, fitted, tuned, qrs] =
                stages.map(|stage| stage.and_then(|stage| stage.get(index)).cloned());
            CategoryRow { name: category.name.clone(), base, fitted, tuned, qrs }
        };
        first.iter().enumerate().map(row).collect()
    }
}
