//! Features of a text and their targets.

use regex::Regex;
use serde::{Deserialize, Serialize};

use super::{
    Allowed,
    allowed::{COUNT_MEAN, FINITE, INSIDE_UNIT, NEGATIVE, POSITIVE, PREVALENCE, SIGN_MEAN},
    category::{CategoryRule, CategorySpec},
    classifier::{ClassifierSpec, LabelValue},
    command::CommandSpec,
    http::HttpSpec,
    json::JsonSpec,
    phrase::{Phrase, Words},
    target::Target,
    words::{WordListSpec, WordValue},
};
use crate::contexts::TextContext;

/// A feature and its target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
        text: Phrase,
    },
    /// 1 if the text ends with `text`, else 0; without `text`, 1 if the model ended the sample (it was not cut off).
    Ends {
        /// The end, white space after it not counted.
        text: Option<Phrase>,
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
    /// The value that a file of samples has for each of them, under the feature's name.
    Recorded {
        /// Whether its values are 0 and 1.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        binary: bool,
    },
    /// The words of a list in the text.
    #[serde(rename = "words")]
    WordList(WordListSpec),
    /// Whether the text is JSON, or a value in it.
    Json(JsonSpec),
    /// 1 if the value of a feature lies in a range, its ends included, else 0.
    Between {
        /// The name of the feature.
        of: String,
        /// The lowest value; `None` for no lower end.
        #[serde(skip_serializing_if = "Option::is_none")]
        low: Option<f64>,
        /// The highest value; `None` for no upper end.
        #[serde(skip_serializing_if = "Option::is_none")]
        high: Option<f64>,
    },
    /// 1 if all of these features are 1, else 0. A sample that one of them skips is skipped, here and in all features that are made
    /// of others.
    All {
        /// Names of features that are 0 or 1, or of labels (`FEATURE = LABEL`).
        of: Vec<String>,
    },
    /// 1 if one of these features is 1, else 0.
    Any {
        /// Names of features that are 0 or 1, or of labels (`FEATURE = LABEL`).
        of: Vec<String>,
    },
    /// 1 if the feature is 0, and 0 if it is 1.
    Not {
        /// The name of a feature that is 0 or 1, or of a label (`FEATURE = LABEL`).
        of: String,
    },
    /// One of several labels.
    Category(CategorySpec),
}

/// The unit of a length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Whether the order of a category's labels is a scale.
    pub fn is_ordered(&self) -> bool {
        matches!(self, Self::Category(category) if category.ordered)
    }

    /// The labels of a category, of which each sample has one, with `other` at the end; `None` for other kinds, whose values are
    /// numbers.
    pub fn labels(&self) -> Option<Vec<&str>> {
        match self {
            Self::Category(category) => Some(category.all_labels()),
            _ => None,
        }
    }

    /// Whether a model, a program, a server or a file gives its values.
    pub(crate) fn is_scored(&self) -> bool {
        matches!(self, Self::Classifier(_) | Self::Command(_) | Self::Http(_) | Self::Recorded { .. })
    }

    /// Whether its values are 0 and 1.
    pub fn is_binary(&self) -> bool {
        match self {
            Self::Contains(_) | Self::Regex { .. } | Self::StartsWith { .. } | Self::Ends { .. } => true,
            Self::Between { .. } | Self::All { .. } | Self::Any { .. } | Self::Not { .. } => true,
            Self::WordList(words) => words.value == WordValue::Presence,
            Self::Json(json) => json.is_binary(),
            Self::Count(_) | Self::Length { .. } | Self::Classifier(_) | Self::Category(_) => false,
            Self::Command(CommandSpec { binary, .. })
            | Self::Http(HttpSpec { binary, .. })
            | Self::Recorded { binary } => *binary,
        }
    }

    /// The least and the largest value that it can have, whatever the text is; infinite where there is none. The values of a category
    /// are those of its labels: 0 and 1.
    pub fn range(&self) -> (f64, f64) {
        const ANY: (f64, f64) = (f64::NEG_INFINITY, f64::INFINITY);
        const UNIT: (f64, f64) = (0.0, 1.0);
        const FROM_0: (f64, f64) = (0.0, f64::INFINITY);
        match self {
            _ if self.is_binary() => UNIT,
            Self::Category(_) => UNIT,
            Self::Count(_) | Self::Length { .. } => FROM_0,
            Self::WordList(words) => match words.value {
                WordValue::Presence | WordValue::Share => UNIT,
                WordValue::Count => FROM_0,
                WordValue::Sign => (-1.0, 1.0),
            },
            Self::Classifier(classifier) => match classifier.value {
                LabelValue::Probability => UNIT,
                LabelValue::LogProbability => (f64::NEG_INFINITY, 0.0),
                LabelValue::Logit => ANY,
            },
            _ => ANY,
        }
    }

    /// The means that can be asked for: inside of the range, since a mean at its end is had by samples at that end alone.
    pub(super) fn means(&self) -> &'static Allowed<f64> {
        match self {
            Self::Count(_) => &COUNT_MEAN,
            Self::Classifier(ClassifierSpec { value: LabelValue::Probability, .. }) => &PREVALENCE,
            _ if self.is_binary() => &PREVALENCE,
            _ => match self.range() {
                (0.0, 1.0) => &INSIDE_UNIT,
                (-1.0, 1.0) => &SIGN_MEAN,
                (0.0, _) => &POSITIVE,
                (_, 0.0) => &NEGATIVE,
                _ => &FINITE,
            },
        }
    }

    /// Whether it is a category whose labels are the choices with which texts begin.
    pub(super) fn has_choices(&self) -> bool {
        matches!(self, Self::Category(category) if category.rule == CategoryRule::Choices)
    }

    /// Whether what it looks for is the column of a context.
    pub(crate) fn has_column(&self) -> bool {
        self.phrase().is_some_and(|phrase| phrase.text().is_none())
    }

    /// The text that it looks for, for kinds that have one.
    fn phrase(&self) -> Option<&Phrase> {
        match self {
            Self::Contains(words) | Self::Count(words) => Some(&words.text),
            Self::StartsWith { text } | Self::Ends { text: Some(text) } => Some(text),
            _ => None,
        }
    }

    /// The kind with the text that it looks for in a context.
    ///
    /// # Errors
    /// The problem with the column, as a sentence that names it.
    pub(crate) fn in_context(&self, context: &TextContext) -> Result<Self, String> {
        let words =
            |words: &Words| Ok::<_, String>(Words { text: words.text.in_context(context)?, ..words.clone() });
        Ok(match self {
            Self::Contains(own) => Self::Contains(words(own)?),
            Self::Count(own) => Self::Count(words(own)?),
            Self::StartsWith { text } => Self::StartsWith { text: text.in_context(context)? },
            Self::Ends { text: Some(text) } => Self::Ends { text: Some(text.in_context(context)?) },
            other => other.clone(),
        })
    }

    /// The regular expression that finds its text or pattern; `None` for kinds that have none, or one that depends on the context.
    ///
    /// # Errors
    /// For a pattern that is none, or is too large to compile.
    pub(crate) fn pattern(&self) -> Option<Result<Regex, regex::Error>> {
        match self {
            Self::Contains(words) | Self::Count(words) => words.pattern(),
            Self::Regex { pattern } => Some(Regex::new(pattern)),
            _ => None,
        }
    }
}
