//! Features of a text and their targets.

use regex::Regex;
use serde::Serialize;

use super::{
    Allowed,
    allowed::{COUNT_MEAN, FINITE, NEGATIVE, POSITIVE, PREVALENCE},
    classifier::{ClassifierSpec, LabelValue},
    command::CommandSpec,
    http::HttpSpec,
    target::Target,
};

/// A feature and its target.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FeatureSpec {
    /// Its name in reports and in the saved target.
    pub name: String,
    /// The kind, which says how its values are computed.
    #[serde(flatten)]
    pub kind: FeatureKind,
    /// The target for its values; a feature without one is measured only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// The name of the feature under whose condition the mean is asked: only samples of which that is 1 count for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub given: Option<String>,
    /// Whether the target holds in every context by itself, rather than on average over contexts.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub per_context: bool,
}

impl FeatureSpec {
    /// Whether something is asked of every sample, rather than of their mean.
    pub(crate) fn is_hard(&self) -> bool {
        self.target.as_ref().is_some_and(Target::is_hard)
    }

    /// The mean that is asked for, where it is exactly one number for all contexts and samples.
    pub(crate) fn asked(&self) -> Option<f64> {
        match &self.target {
            Some(Target::Mean { tolerance, .. }) if *tolerance > 0.0 => None,
            Some(target) if self.given.is_none() => target.number(),
            _ => None,
        }
    }
}

/// A kind of feature: a function of a sample's text, which does not include the context.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FeatureKind {
    /// 1 if `text` occurs, else 0.
    Contains(Words),
    /// The number of occurrences of `text`, without overlap.
    Count(Words),
    /// 1 if a match of the regular expression is found, else 0.
    Regex {
        /// In the syntax of Rust's regex crate.
        pattern: String,
    },
    /// 1 if the text begins with `text`, else 0.
    StartsWith {
        /// The beginning.
        text: String,
    },
    /// 1 if the text ends with `text`, else 0; without `text`, 1 if the model ended the sample (it was not cut off).
    Ends {
        /// The end, white space after it not counted.
        text: Option<String>,
    },
    /// The length of the sample.
    Length {
        /// The unit of the length.
        unit: LengthUnit,
    },
    /// The value that a classifier gives for a label of the text.
    Classifier(ClassifierSpec),
    /// The value that a program gives.
    Command(CommandSpec),
    /// The value that a server gives.
    Http(HttpSpec),
}

/// A word or piece of text to find.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Words {
    /// The text to find.
    pub text: String,
    /// Whether occurrences count only where neither side continues with a letter, digit or underscore.
    pub whole_word: bool,
    /// Whether upper and lower case are the same.
    pub ignore_case: bool,
}

impl Words {
    /// The regular expression that finds it. A half boundary holds where the other side has no character of a word, also for words
    /// that begin or end with punctuation.
    ///
    /// # Errors
    /// For a text that is too large to compile.
    pub(crate) fn pattern(&self) -> Result<Regex, regex::Error> {
        let escaped = regex::escape(&self.text);
        let bounded =
            if self.whole_word { format!(r"\b{{start-half}}{escaped}\b{{end-half}}") } else { escaped };
        Regex::new(&if self.ignore_case { format!("(?i){bounded}") } else { bounded })
    }
}

/// The unit of a length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LengthUnit {
    /// Tokens of the model, the end token included.
    Tokens,
    /// Characters.
    Characters,
    /// Runs of characters that are not white space.
    Words,
}

impl FeatureKind {
    /// The least and the largest value that the feature can have, whatever the text is.
    pub fn range(&self) -> (f64, f64) {
        match self {
            Self::Contains(_) | Self::Regex { .. } | Self::StartsWith { .. } | Self::Ends { .. } => {
                (0.0, 1.0)
            }
            Self::Count(_) | Self::Length { .. } => (0.0, f64::INFINITY),
            Self::Command(_) | Self::Http(_) if self.is_binary() => (0.0, 1.0),
            Self::Command(_) | Self::Http(_) => (f64::NEG_INFINITY, f64::INFINITY),
            Self::Classifier(classifier) => match classifier.value {
                LabelValue::Probability => (0.0, 1.0),
                LabelValue::LogProbability => (f64::NEG_INFINITY, 0.0),
                LabelValue::Logit => (f64::NEG_INFINITY, f64::INFINITY),
            },
        }
    }

    /// Whether the order of a category's labels is a scale.
    pub fn is_ordered(&self) -> bool {
        false
    }

    /// The labels of a category, of which each sample has one; `None` for other kinds, whose values are numbers.
    pub fn labels(&self) -> Option<Vec<&str>> {
        None
    }

    /// Whether its values are 0 and 1.
    pub fn is_binary(&self) -> bool {
        match self {
            Self::Contains(_) | Self::Regex { .. } | Self::StartsWith { .. } | Self::Ends { .. } => true,
            Self::Count(_) | Self::Length { .. } | Self::Classifier(_) => false,
            Self::Command(CommandSpec { binary, .. }) | Self::Http(HttpSpec { binary, .. }) => *binary,
        }
    }

    /// The regular expression that finds its text or pattern; `None` for kinds that have none.
    ///
    /// # Errors
    /// For a pattern that is none, or is too large to compile.
    pub(crate) fn pattern(&self) -> Option<Result<Regex, regex::Error>> {
        match self {
            Self::Contains(words) | Self::Count(words) => Some(words.pattern()),
            Self::Regex { pattern } => Some(Regex::new(pattern)),
            _ => None,
        }
    }

    /// The means that can be asked for.
    pub(super) fn means(&self) -> &'static Allowed<f64> {
        match self {
            Self::Count(_) => &COUNT_MEAN,
            Self::Length { .. } => &POSITIVE,
            Self::Classifier(classifier) => match classifier.value {
                LabelValue::Probability => &PREVALENCE,
                LabelValue::LogProbability => &NEGATIVE,
                LabelValue::Logit => &FINITE,
            },
            Self::Command(_) | Self::Http(_) if !self.is_binary() => &FINITE,
            Self::Contains(_) | Self::Regex { .. } | Self::StartsWith { .. } | Self::Ends { .. } => {
                &PREVALENCE
            }
            Self::Command(_) | Self::Http(_) => &PREVALENCE,
        }
    }
}
