//! The features that a spec file can name.

use std::{ops::Range, sync::Arc};

use disco_core::{Error as CoreError, Feature, Result, Score};
use regex::Regex;

use super::{SampleView, TextSample, TextScorer, TextScorers};
use crate::{
    Error,
    contexts::TextContext,
    spec::{FeatureKind, FeatureSpec, LengthUnit},
};

/// A feature of a spec, ready to be computed.
#[derive(Clone, Debug)]
pub struct TextFeature {
    name: String,
    rule: Rule,
}

#[derive(Clone, Debug)]
enum Rule {
    Matches(Regex),
    Count(Regex),
    StartsWith(String),
    EndsWith(String),
    Finished,
    Length(LengthUnit),
    Scored(Arc<dyn TextScorer>),
}

impl TextFeature {
    /// The feature that `spec` describes; the text scorer of a classifier is found in `scorers` by the feature's name.
    ///
    /// # Errors
    /// [`Error::Pattern`] if its pattern is not a regular expression, or is too large to compile; [`Error::NoTextScorer`].
    pub fn new(spec: &FeatureSpec, scorers: &TextScorers) -> crate::Result<Self> {
        let rule = match &spec.kind {
            FeatureKind::Contains(words) => Rule::Matches(words.pattern()?),
            FeatureKind::Count(words) => Rule::Count(words.pattern()?),
            FeatureKind::Regex { pattern } => Rule::Matches(Regex::new(pattern)?),
            FeatureKind::StartsWith { text } => Rule::StartsWith(text.clone()),
            FeatureKind::Ends { text: Some(text) } => Rule::EndsWith(text.clone()),
            FeatureKind::Ends { text: None } => Rule::Finished,
            FeatureKind::Length { unit } => Rule::Length(*unit),
            FeatureKind::Classifier(_) => match scorers.get(&spec.name) {
                Some(scorer) => Rule::Scored(scorer.clone()),
                None => return Err(Error::NoTextScorer { feature: spec.name.clone() }),
            },
        };
        Ok(Self { name: spec.name.clone(), rule })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The feature's value for every sample of a context, or that its text scorer skips the sample.
    ///
    /// # Errors
    /// The errors of its text scorer, if it has one, and [`CoreError::Length`] if that gives another number of scores.
    pub fn scores_of<X: TextSample>(&self, context: &TextContext, samples: &[&X]) -> Result<Vec<Score>> {
        let each = |value: &dyn Fn(&X) -> f64| Ok(samples.iter().map(|sample| Ok(value(sample))).collect());
        let truth = |holds: bool| f64::from(u8::from(holds));
        match &self.rule {
            Rule::Matches(pattern) => each(&|sample| truth(pattern.is_match(sample.text()))),
            Rule::Count(pattern) => each(&|sample| pattern.find_iter(sample.text()).count() as f64),
            Rule::StartsWith(start) => each(&|sample| truth(sample.text().starts_with(start.as_str()))),
            Rule::EndsWith(end) => each(&|sample| truth(sample.text().trim_end().ends_with(end.trim_end()))),
            Rule::Finished => each(&|sample| truth(sample.finished())),
            Rule::Length(LengthUnit::Tokens) => each(&|sample| sample.token_count() as f64),
            Rule::Length(LengthUnit::Characters) => each(&|sample| sample.text().chars().count() as f64),
            Rule::Length(LengthUnit::Words) => {
                each(&|sample| sample.text().split_whitespace().count() as f64)
            }
            Rule::Scored(scorer) => {
                let views: Vec<SampleView<'_>> = samples.iter().map(|sample| view(*sample)).collect();
                let scores = scorer.scores(context, &views)?;
                CoreError::check_length("scores, one per sample", samples.len(), scores.len())?;
                Ok(scores)
            }
        }
    }

    /// The ranges of bytes at which the feature's pattern or text occurs; no range for features of the whole text.
    pub fn occurrences(&self, text: &str) -> Vec<Range<usize>> {
        match &self.rule {
            Rule::Matches(pattern) | Rule::Count(pattern) => {
                pattern.find_iter(text).map(|found| found.range()).collect()
            }
            Rule::StartsWith(start) if text.starts_with(start.as_str()) => {
                Some(0..start.len()).into_iter().collect()
            }
            Rule::EndsWith(end) if text.trim_end().ends_with(end.trim_end()) => {
                let stop = text.trim_end().len();
                Some(stop - end.trim_end().len()..stop).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }
}

/// A sample, as text scorers see it.
fn view(sample: &impl TextSample) -> SampleView<'_> {
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
