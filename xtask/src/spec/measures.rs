//! The numbers that a run measures of each sample: the features, and for each label of a category whether a sample has it.

use super::{ContextSpec, FeatureSpec, Spec, Target};
use crate::contexts::TextContext;

/// A number of a sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Measure<'a> {
    /// Its name: the feature's, or `FEATURE = LABEL` for a label of a category.
    pub name: String,
    /// The feature.
    pub feature: &'a FeatureSpec,
    /// The position of its feature in the spec.
    pub index: usize,
    /// The label, for a category.
    pub label: Option<String>,
}

impl Spec {
    /// All measures, in the order of the features and of their labels. Records have a number for each.
    pub fn measures(&self) -> Vec<Measure<'_>> {
        measures(&self.features)
    }
}

/// The measures of some features.
pub(crate) fn measures(features: &[FeatureSpec]) -> Vec<Measure<'_>> {
    let of = |(index, feature): (usize, &'_ FeatureSpec)| {
        let labels = feature.kind.labels().map(|labels| labels.into_iter().map(str::to_owned).collect());
        let labels: Vec<Option<String>> =
            labels.map_or_else(|| vec![None], |labels: Vec<String>| labels.into_iter().map(Some).collect());
        (index, labels)
    };
    let mut found = Vec::new();
    for (index, labels) in features.iter().enumerate().map(of) {
        let feature = &features[index];
        for label in labels {
            let name = match &label {
                None => feature.name.clone(),
                Some(label) => format!("{} = {label}", feature.name),
            };
            found.push(Measure { name, feature, index, label });
        }
    }
    found
}

impl Measure<'_> {
    /// Whether its values are 0 and 1.
    pub fn is_binary(&self) -> bool {
        self.label.is_some() || self.feature.kind.is_binary()
    }

    /// Whether each sample of the target has the same value of it, by what is asked: 1 for always, 0 for never and for a label of share 0.
    pub fn is_hard(&self) -> bool {
        match (&self.feature.target, &self.label) {
            (Some(Target::Always | Target::Never), _) => true,
            (Some(Target::Distribution(shares)), Some(label)) => {
                shares.iter().any(|share| share.label == *label && share.share.number() == Some(0.0))
            }
            _ => false,
        }
    }

    /// The mean that is asked for in a context; `None` if nothing is asked.
    ///
    /// # Errors
    /// The problem with a column, as a sentence that names it.
    pub fn asked_in(&self, context: &TextContext) -> Result<Option<f64>, String> {
        let level = match (&self.feature.target, &self.label) {
            (None, _) => None,
            (Some(Target::Distribution(shares)), Some(label)) => {
                shares.iter().find(|share| share.label == *label).map(|share| share.share.clone())
            }
            (Some(target), _) => target.level(),
        };
        level.map(|level| level.of(context)).transpose()
    }

    /// The mean that is asked for, over contexts by their weights; `None` if nothing is asked.
    pub fn asked(&self, contexts: &ContextSpec) -> Option<f64> {
        let weights = contexts.weights();
        let (mut sum, mut all) = (0.0, 0.0);
        for (context, weight) in contexts.items.iter().zip(weights) {
            // The columns were checked when the spec was read.
            sum += weight * self.asked_in(context).ok()??;
            all += weight;
        }
        Some(sum / all)
    }

    /// How far from what is asked the mean may be.
    pub fn tolerance(&self) -> f64 {
        match self.feature.target {
            Some(Target::Mean { tolerance, .. }) => tolerance,
            _ => 0.0,
        }
    }
}
