//! The features of a spec file, ready to be computed.

use std::sync::Arc;

use disco_core::{Feature, Result, Score};

use super::{SampleView, TextSample, TextScorers, rules::Rules};
use crate::{
    contexts::TextContext,
    spec::{FeatureSpec, Part, measures, named_parts},
};

/// A number of a sample: the value of a feature of a spec, or for a label of a category 1 if the sample has it and 0 if not.
#[derive(Clone, Debug)]
pub struct TextFeature {
    name: String,
    part: Part,
    rules: Arc<Rules>,
}

/// The features that compute the measures of a spec, one for each ([`Spec::measures`](crate::Spec::measures)).
///
/// They share what they are made of: [`scores_of_all`](Self::scores_of_all) computes each feature of the spec once.
#[derive(Clone, Debug)]
pub struct TextFeatures {
    features: Vec<TextFeature>,
    rules: Arc<Rules>,
}

impl TextFeatures {
    /// The features of a spec; the text scorer of a classifier is found in `scorers` by the feature's name.
    ///
    /// # Errors
    /// [`Error::Pattern`](crate::Error::Pattern) if a pattern is not a regular expression, or is too large to compile;
    /// [`Error::NoTextScorer`](crate::Error::NoTextScorer); [`Error::Parts`](crate::Error::Parts) for a feature that is made of one
    /// that is not there, or of itself.
    pub fn new(features: &[FeatureSpec], scorers: &TextScorers) -> crate::Result<Self> {
        let rules = Arc::new(Rules::new(features, scorers)?);
        let parts = named_parts(features);
        let measures = measures(features).into_iter();
        // Every measure has its own name among the parts.
        let feature = |name: String| {
            let part = *parts.get(&name)?;
            Some(TextFeature { name, part, rules: rules.clone() })
        };
        Ok(Self { features: measures.filter_map(|measure| feature(measure.name)).collect(), rules })
    }

    /// The values of all features for every sample of a context: for each feature a list with one score per sample.
    ///
    /// # Errors
    /// As [`TextFeature::scores_of`].
    ///
    /// # Cost
    /// Each feature of the spec is computed once, whatever it is part of, and each text scorer is asked once.
    pub fn scores_of_all<X: TextSample>(
        &self,
        context: &TextContext,
        samples: &[&X],
    ) -> Result<Vec<Vec<Score>>> {
        let parts: Vec<Part> = self.features.iter().map(|feature| feature.part).collect();
        self.rules.scores(&parts, context, samples)
    }
}

/// The features, one per measure.
impl std::ops::Deref for TextFeatures {
    type Target = [TextFeature];

    fn deref(&self) -> &[TextFeature] {
        &self.features
    }
}

impl TextFeature {
    /// Its name: the feature's, or `FEATURE = LABEL` for a label of a category.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The feature's value for every sample of a context, or that the sample is skipped: by its text scorer, because there is no
    /// number at the place in the JSON text that it asks for, or because one of the features that it is made of skips it.
    ///
    /// # Errors
    /// The errors of text scorers; [`Error::Length`](disco_core::Error::Length) or
    /// [`Error::NotANumber`](disco_core::Error::NotANumber) if one gives another number of scores, or no finite ones;
    /// [`Error::Failed`](disco_core::Error::Failed) for a context without the column that the feature looks for.
    ///
    /// # Cost
    /// The features that it is made of are computed too, each once.
    pub fn scores_of<X: TextSample>(&self, context: &TextContext, samples: &[&X]) -> Result<Vec<Score>> {
        let mut scores = self.rules.scores(&[self.part], context, samples)?;
        Ok(scores.swap_remove(0))
    }
}

/// A sample, as text scorers see it.
pub(super) fn view(sample: &impl TextSample) -> SampleView<'_> {
    SampleView { text: sample.text(), tokens: sample.token_count(), finished: sample.finished() }
}

impl<X: TextSample> Feature<TextContext, X> for TextFeature {
    fn name(&self) -> &str {
        &self.name
    }

    fn values(&self, context: &TextContext, samples: &[&X]) -> Result<Vec<Score>> {
        self.scores_of(context, samples)
    }
}
