//! Samples that are texts, and the features that a spec can ask of them.

use std::ops::Range;

use disco_core::{Feature, Result, Score};
use regex::Regex;

use crate::spec::{FeatureKind, FeatureSpec, LengthUnit, Words};

/// A sample whose features a workflow can compute.
pub trait TextSample: Clone + Send + Sync {
    /// The text, without the context and without an end token.
    fn text(&self) -> &str;
    /// How many tokens it has, the end token included.
    fn token_count(&self) -> usize;
    /// Whether the model ended it; otherwise it was cut off.
    fn finished(&self) -> bool;
}

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
}

impl TextFeature {
    /// The feature that `spec` describes.
    ///
    /// # Errors
    /// If its pattern is no regular expression, or one too large to compile.
    pub fn new(spec: &FeatureSpec) -> std::result::Result<Self, regex::Error> {
        let rule = match &spec.kind {
            FeatureKind::Contains(words) => Rule::Matches(words_pattern(words)?),
            FeatureKind::Count(words) => Rule::Count(words_pattern(words)?),
            FeatureKind::Regex { pattern } => Rule::Matches(Regex::new(pattern)?),
            FeatureKind::StartsWith { text } => Rule::StartsWith(text.clone()),
            FeatureKind::Ends { text: Some(text) } => Rule::EndsWith(text.clone()),
            FeatureKind::Ends { text: None } => Rule::Finished,
            FeatureKind::Length { unit } => Rule::Length(*unit),
        };
        Ok(Self { name: spec.name.clone(), rule })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The feature's value of one sample.
    pub fn value<X: TextSample>(&self, sample: &X) -> f64 {
        let text = sample.text();
        let truth = |holds: bool| f64::from(u8::from(holds));
        match &self.rule {
            Rule::Matches(pattern) => truth(pattern.is_match(text)),
            Rule::Count(pattern) => pattern.find_iter(text).count() as f64,
            Rule::StartsWith(start) => truth(text.starts_with(start.as_str())),
            Rule::EndsWith(end) => truth(text.trim_end().ends_with(end.trim_end())),
            Rule::Finished => truth(sample.finished()),
            Rule::Length(LengthUnit::Tokens) => sample.token_count() as f64,
            Rule::Length(LengthUnit::Characters) => text.chars().count() as f64,
            Rule::Length(LengthUnit::Words) => text.split_whitespace().count() as f64,
        }
    }

    /// Where in the text the feature finds what it looks for, in bytes; nothing for features of the whole text.
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

/// The regular expression of a word. The half boundaries hold where nothing that belongs to a word is on
/// the other side, also for words that begin or end with punctuation.
fn words_pattern(words: &Words) -> std::result::Result<Regex, regex::Error> {
    let escaped = regex::escape(&words.text);
    let bounded =
        if words.whole_word { format!(r"\b{{start-half}}{escaped}\b{{end-half}}") } else { escaped };
    Regex::new(&if words.ignore_case { format!("(?i){bounded}") } else { bounded })
}

impl<X: TextSample> Feature<String, X> for TextFeature {
    fn name(&self) -> &str {
        &self.name
    }

    fn values(&self, _: &String, samples: &[&X]) -> Result<Vec<Score>> {
        Ok(samples.iter().map(|sample| Ok(self.value(*sample))).collect())
    }
}
