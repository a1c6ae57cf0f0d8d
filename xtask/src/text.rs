//! Samples that are texts, and the features that a spec can ask of them.

use std::{collections::BTreeMap, fmt, ops::Range, sync::Arc};

use disco_core::{Feature, Result, Score};
use regex::Regex;

use crate::Error;

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
    Judged(Arc<dyn Judge>),
}

/// Something that gives texts a value each, such as a classifier.
pub trait Judge: fmt::Debug + Send + Sync {
    /// One finite value per text.
    ///
    /// # Errors
    /// Those of the judge; they end the run.
    fn judge(&self, texts: &[&str]) -> Result<Vec<f64>>;
}

/// The judges of a spec's classifiers, by the names of their features.
pub type Judges = BTreeMap<String, Arc<dyn Judge>>;

impl TextFeature {
    /// The feature that `spec` describes; a classifier is found among `judges`.
    ///
    /// # Errors
    /// If its pattern is no regular expression, or one too large to compile; [`Error::NoJudge`].
    pub fn new(spec: &FeatureSpec, judges: &Judges) -> crate::Result<Self> {
        let rule = match &spec.kind {
            FeatureKind::Contains(words) => Rule::Matches(words_pattern(words)?),
            FeatureKind::Count(words) => Rule::Count(words_pattern(words)?),
            FeatureKind::Regex { pattern } => Rule::Matches(Regex::new(pattern)?),
            FeatureKind::StartsWith { text } => Rule::StartsWith(text.clone()),
            FeatureKind::Ends { text: Some(text) } => Rule::EndsWith(text.clone()),
            FeatureKind::Ends { text: None } => Rule::Finished,
            FeatureKind::Length { unit } => Rule::Length(*unit),
            FeatureKind::Classifier(_) => match judges.get(&spec.name) {
                Some(judge) => Rule::Judged(judge.clone()),
                None => return Err(Error::NoJudge { feature: spec.name.clone() }),
            },
        };
        Ok(Self { name: spec.name.clone(), rule })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The feature's value of every sample.
    ///
    /// # Errors
    /// Those of its judge, if it has one.
    pub fn values_of<X: TextSample>(&self, samples: &[&X]) -> Result<Vec<f64>> {
        let each = |value: &dyn Fn(&X) -> f64| Ok(samples.iter().map(|sample| value(sample)).collect());
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
            Rule::Judged(judge) => {
                judge.judge(&samples.iter().map(|sample| sample.text()).collect::<Vec<_>>())
            }
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
        Ok(self.values_of(samples)?.into_iter().map(Ok).collect())
    }
}
