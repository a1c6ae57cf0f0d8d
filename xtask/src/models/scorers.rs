//! Completions as samples with a text, and classifiers as text scorers.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use disco_core::Score;
use disco_lm::{Classifier, Completion, LabelFeature, Overlong};

use super::{ModelKind, device, folder_of};
use crate::{
    Result,
    contexts::TextContext,
    features::{SampleView, TextSample, TextScorer, TextScorers},
    spec::{FeatureKind, LabelValue, ModelSource, Spec},
};

impl TextSample for Completion {
    fn text(&self) -> &str {
        &self.text
    }

    fn token_count(&self) -> usize {
        self.tokens.len()
    }

    fn token_ids(&self) -> &[u32] {
        &self.tokens
    }

    fn finished(&self) -> bool {
        self.finished
    }
}

impl TextScorer for LabelFeature {
    /// A classifier scores every text that it can read; one that is too long is an error or truncated, never skipped.
    fn scores(&self, _: &TextContext, samples: &[SampleView<'_>]) -> disco_core::Result<Vec<Score>> {
        let texts: Vec<&str> = samples.iter().map(|sample| sample.text).collect();
        Ok(self.of(&texts)?.into_iter().map(Ok).collect())
    }
}

/// The text scorers of a spec's classifiers. A classifier that several features use is loaded once.
///
/// # Errors
/// The errors of loading a classifier, and of a label that it does not have.
pub(crate) fn text_scorers(spec: &Spec) -> Result<TextScorers> {
    let device = device(spec.backend)?;
    let mut loaded: BTreeMap<(&ModelSource, bool), Classifier> = BTreeMap::new();
    let mut scorers = TextScorers::new();
    for feature in &spec.features {
        let FeatureKind::Classifier(asked) = &feature.kind else { continue };
        let overlong = if asked.truncate { Overlong::Truncate } else { Overlong::Refuse };
        let classifier = match loaded.entry((&asked.model, asked.truncate)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let folder = folder_of(&asked.model, ModelKind::Classifier)?;
                place.insert(Classifier::load(&folder, &device, overlong)?)
            }
        };
        let value = label_value(asked.value);
        let scorer = classifier.feature(&feature.name, &asked.label, value, asked.temperature)?;
        scorers.insert(feature.name.clone(), Arc::new(scorer));
    }
    Ok(scorers)
}

/// disco-lm's name of a value.
fn label_value(value: LabelValue) -> disco_lm::LabelValue {
    match value {
        LabelValue::Probability => disco_lm::LabelValue::Probability,
        LabelValue::LogProbability => disco_lm::LabelValue::LogProbability,
        LabelValue::Logit => disco_lm::LabelValue::Logit,
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;
    use crate::Backend;

    /// xtask reads a spec without disco-lm, and so has enums of its own for two of disco-lm's.
    #[test]
    fn twins_of_disco_lm_have_the_same_variants() {
        let ours: Vec<_> =
            Backend::value_variants().iter().map(|one| (one.feature(), one.is_compiled())).collect();
        assert_eq!(ours, disco_lm::Backend::ALL.map(|twin| (twin.name(), twin.is_compiled())));
        for value in [LabelValue::Probability, LabelValue::LogProbability, LabelValue::Logit] {
            assert_eq!(format!("{:?}", label_value(value)), format!("{value:?}"));
        }
    }
}
