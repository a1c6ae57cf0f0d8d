//! Features that are decided by a sample and its context alone.

use std::{borrow::Cow, ops::Range};

use disco_core::Score;
use regex::Regex;

use super::{TextSample, category::Labels, json_value::json_value, word_set::WordList};
use crate::{
    contexts::TextContext,
    spec::{FeatureKind, JsonSpec, LengthUnit},
};

/// The rule of a feature that needs nothing but a sample and its context.
#[derive(Clone, Debug)]
pub(super) enum TextRule {
    /// The same rule in all contexts.
    Fixed(OwnRule),
    /// A rule that looks for the text of a column of the context.
    ByContext(Box<FeatureKind>),
}

impl TextRule {
    /// The rule of a kind; `None` for one whose values come from elsewhere.
    ///
    /// # Errors
    /// For a pattern that is none, or is too large to compile.
    pub(super) fn new(kind: &FeatureKind) -> Option<Result<Self, regex::Error>> {
        if kind.has_column() {
            return Some(Ok(Self::ByContext(Box::new(kind.clone()))));
        }
        OwnRule::new(kind).map(|rule| rule.map(Self::Fixed))
    }

    /// The rule in a context.
    ///
    /// # Errors
    /// The problem with a column or its text, as a sentence that names it.
    pub(super) fn in_context(&self, context: &TextContext) -> Result<Cow<'_, OwnRule>, String> {
        match self {
            Self::Fixed(rule) => Ok(Cow::Borrowed(rule)),
            Self::ByContext(kind) => {
                let rule = OwnRule::new(&kind.in_context(context)?).ok_or("nothing is looked for")?;
                rule.map(Cow::Owned).map_err(|error| error.to_string())
            }
        }
    }
}

/// A rule that gives a number for a sample alone. That of a category is the position of its label.
#[derive(Clone, Debug)]
pub(super) enum OwnRule {
    Matches(Regex),
    Count(Regex),
    StartsWith(String),
    EndsWith(String),
    Finished,
    Length(LengthUnit),
    Words(Box<WordList>),
    Json(Box<JsonSpec>),
    Labels(Labels),
}

impl OwnRule {
    /// The rule of a kind without columns; `None` for one whose values come from elsewhere.
    fn new(kind: &FeatureKind) -> Option<Result<Self, regex::Error>> {
        Some(Ok(match kind {
            FeatureKind::Contains(_) | FeatureKind::Regex { .. } => {
                return kind.pattern().map(|pattern| pattern.map(Self::Matches));
            }
            FeatureKind::Count(_) => return kind.pattern().map(|pattern| pattern.map(Self::Count)),
            FeatureKind::StartsWith { text } => Self::StartsWith(text.text()?.into()),
            FeatureKind::Ends { text: Some(text) } => Self::EndsWith(text.text()?.trim_end().into()),
            FeatureKind::Ends { text: None } => Self::Finished,
            FeatureKind::Length { unit } => Self::Length(*unit),
            FeatureKind::WordList(words) => Self::Words(Box::new(WordList::new(words))),
            FeatureKind::Json(json) => Self::Json(Box::new(json.clone())),
            FeatureKind::Category(category) => {
                return Labels::new(category).map(|labels| labels.map(Self::Labels));
            }
            FeatureKind::Classifier(_)
            | FeatureKind::Recorded { .. }
            | FeatureKind::Command(_)
            | FeatureKind::Http(_)
            | FeatureKind::Between { .. }
            | FeatureKind::All { .. }
            | FeatureKind::Any { .. }
            | FeatureKind::Not { .. } => return None,
        }))
    }

    /// The value for a sample; `name` is that of the feature.
    pub(super) fn value(&self, sample: &impl TextSample, name: &str) -> Score {
        let truth = |holds: bool| f64::from(u8::from(holds));
        let text = sample.text();
        Ok(match self {
            Self::Matches(pattern) => truth(pattern.is_match(text)),
            Self::Count(pattern) => pattern.find_iter(text).count() as f64,
            Self::StartsWith(start) => truth(text.starts_with(start.as_str())),
            Self::EndsWith(end) => truth(text.trim_end().ends_with(end.as_str())),
            Self::Finished => truth(sample.finished()),
            Self::Length(LengthUnit::Tokens) => sample.token_count() as f64,
            Self::Length(LengthUnit::Characters) => text.chars().count() as f64,
            Self::Length(LengthUnit::Words) => text.split_whitespace().count() as f64,
            Self::Words(words) => words.value(text),
            Self::Json(json) => return json_value(json, text, name),
            Self::Labels(labels) => labels.label(text) as f64,
        })
    }

    /// The ranges of bytes at which what it looks for stands; no range for rules on the whole text.
    pub(super) fn occurrences(&self, text: &str) -> Vec<Range<usize>> {
        match self {
            Self::Matches(pattern) | Self::Count(pattern) => {
                pattern.find_iter(text).map(|found| found.range()).collect()
            }
            Self::StartsWith(start) if text.starts_with(start.as_str()) => {
                Some(0..start.len()).into_iter().collect()
            }
            Self::EndsWith(end) if text.trim_end().ends_with(end.as_str()) => {
                let stop = text.trim_end().len();
                Some(stop - end.len()..stop).into_iter().collect()
            }
            Self::Words(words) => words.occurrences(text),
            Self::Labels(labels) => labels.find(text).map(|(_, range)| range).into_iter().collect(),
            _ => Vec::new(),
        }
    }
}
