//! Features of a text and their targets.

use std::path::Path;

use serde::Serialize;

use super::{
    allowed::{FINITE, INSIDE_UNIT, NEGATIVE, NOT_NEGATIVE, SOME_TEXT},
    classifier::{CLASSIFIER_FIELDS, ClassifierSpec, LabelValue, read_classifier},
    reader::{Allowed, Section},
};

/// A feature and its target.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FeatureSpec {
    /// Its name in reports and in the saved target.
    pub name: String,
    /// The kind, which says how its values are computed.
    #[serde(flatten)]
    pub kind: FeatureKind,
    /// The target for its values.
    pub target: Target,
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

/// The target of a feature.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// It holds for every sample.
    Always,
    /// It holds for no sample.
    Never,
    /// It has this mean.
    Mean(f64),
}

impl Target {
    /// The mean that is asked for: 1 for always, 0 for never.
    pub fn moment(self) -> f64 {
        match self {
            Self::Always => 1.0,
            Self::Never => 0.0,
            Self::Mean(mean) => mean,
        }
    }
}

impl FeatureKind {
    /// Whether its values are 0 and 1.
    pub fn is_binary(&self) -> bool {
        match self {
            Self::Contains(_) | Self::Regex { .. } | Self::StartsWith { .. } | Self::Ends { .. } => true,
            Self::Count(_) | Self::Length { .. } | Self::Classifier(_) => false,
        }
    }

    /// The means that can be asked for.
    fn means(&self) -> &'static Allowed<f64> {
        match self {
            Self::Count(_) | Self::Length { .. } => &NOT_NEGATIVE,
            Self::Classifier(classifier) => match classifier.value {
                LabelValue::Probability => &INSIDE_UNIT,
                LabelValue::LogProbability => &NEGATIVE,
                LabelValue::Logit => &FINITE,
            },
            Self::Contains(_) | Self::Regex { .. } | Self::StartsWith { .. } | Self::Ends { .. } => {
                &INSIDE_UNIT
            }
        }
    }
}

/// Reads one table of `[[features]]`; `None` if a problem was reported.
pub(super) fn read_feature(section: &Section<'_>, folder: &Path) -> Option<FeatureSpec> {
    let kind = read_kind(section, folder);
    let name = section.string("name", &SOME_TEXT);
    if !section.has("name") {
        section.wrong_table("has no `name`", "a name that no other feature has");
    }
    let target = read_target(section, kind.as_ref());
    Some(FeatureSpec { name: name?, kind: kind?, target: target? })
}

/// A kind as a spec file names it: its name, the fields of its table, and their reader.
type Kind = (&'static str, (&'static [&'static str], fn(&Section<'_>, &Path) -> Option<FeatureKind>));

/// All kinds. A new kind is a line here, a variant of [`FeatureKind`], and a rule of `features::TextFeature`.
const KINDS: [Kind; 7] = [
    ("contains", (WORDS, |section, _| read_words(section).map(FeatureKind::Contains))),
    ("count", (WORDS, |section, _| read_words(section).map(FeatureKind::Count))),
    ("regex", (&["pattern"], |section, _| read_regex(section))),
    (
        "starts_with",
        (&["text"], |section, _| Some(FeatureKind::StartsWith { text: required_text(section, "text")? })),
    ),
    ("ends", (&["text"], |section, _| Some(FeatureKind::Ends { text: section.string("text", &SOME_TEXT) }))),
    (
        "classifier",
        (CLASSIFIER_FIELDS, |section, folder| read_classifier(section, folder).map(FeatureKind::Classifier)),
    ),
    ("length", (&["unit"], |section, _| read_length(section))),
];

/// The fields of [`Words`].
const WORDS: &[&str] = &["text", "whole_word", "ignore_case"];

fn read_kind(section: &Section<'_>, folder: &Path) -> Option<FeatureKind> {
    if !section.has("kind") {
        section.wrong_table("has no `kind`", &KINDS.map(|(name, _)| name).join(", "));
    }
    let Some((_, read)) = section.choice("kind", &KINDS) else {
        // The allowed fields depend on the kind: without a kind, no field of any kind is reported as unknown.
        for field in KINDS.iter().flat_map(|(_, (fields, _))| *fields) {
            section.has(field);
        }
        return None;
    };
    read(section, folder)
}

fn read_length(section: &Section<'_>) -> Option<FeatureKind> {
    let units = [
        ("tokens", LengthUnit::Tokens),
        ("characters", LengthUnit::Characters),
        ("words", LengthUnit::Words),
    ];
    if !section.has("unit") {
        section.wrong_table("has no `unit`", "tokens, characters, words");
    }
    Some(FeatureKind::Length { unit: section.choice("unit", &units)? })
}

fn required_text(section: &Section<'_>, field: &'static str) -> Option<String> {
    if !section.has(field) {
        section.wrong_table(&format!("has no `{field}`"), SOME_TEXT.words);
    }
    section.string(field, &SOME_TEXT)
}

fn read_words(section: &Section<'_>) -> Option<Words> {
    let whole_word = section.boolean("whole_word").unwrap_or(false);
    let ignore_case = section.boolean("ignore_case").unwrap_or(false);
    Some(Words { text: required_text(section, "text")?, whole_word, ignore_case })
}

fn read_regex(section: &Section<'_>) -> Option<FeatureKind> {
    let pattern = required_text(section, "pattern")?;
    match regex::Regex::new(&pattern) {
        Ok(_) => Some(FeatureKind::Regex { pattern }),
        Err(error) => {
            let reason = error.to_string();
            let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ");
            section.wrong(
                "pattern",
                &format!("is no regular expression: {reason}"),
                "the syntax of https://docs.rs/regex",
            );
            None
        }
    }
}

const TARGETS: &str = "one of: always = true, never = true, mean = NUMBER";

fn read_target(section: &Section<'_>, kind: Option<&FeatureKind>) -> Option<Target> {
    let given =
        ["always", "never", "mean"].into_iter().filter(|field| section.has(field)).collect::<Vec<_>>();
    let &[field] = given.as_slice() else {
        let message = if given.is_empty() { "has no target" } else { "has more than one target" };
        section.wrong_table(message, TARGETS);
        return None;
    };
    if field == "mean" {
        return section.number("mean", kind.map_or(&FINITE, FeatureKind::means)).map(Target::Mean);
    }
    if !section.boolean(field)? {
        section.wrong(field, "is false", TARGETS);
        return None;
    }
    if kind.is_some_and(|kind| !kind.is_binary()) {
        section.wrong(
            field,
            "is asked of a feature that is not 0 or 1",
            "mean = NUMBER, or a feature of another kind",
        );
        return None;
    }
    Some(if field == "always" { Target::Always } else { Target::Never })
}
