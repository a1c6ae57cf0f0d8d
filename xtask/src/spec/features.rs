//! Features of a text and what is asked of them.

use std::path::Path;

use serde::Serialize;

use super::{
    allowed::{FINITE, INSIDE_UNIT, NEGATIVE, NOT_NEGATIVE, SOME_TEXT},
    classifier::{ClassifierSpec, LabelValue, read_classifier},
    reader::{Allowed, Section},
};

/// A feature and what is asked of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FeatureSpec {
    /// Its name in reports and in the saved target.
    pub name: String,
    /// What it computes.
    #[serde(flatten)]
    pub kind: FeatureKind,
    /// What is asked.
    pub target: Target,
}

/// What a feature computes from a sample's text, which does not include the context.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FeatureKind {
    /// 1 if `text` occurs.
    Contains(Words),
    /// How often `text` occurs, without overlap.
    Count(Words),
    /// 1 if a match of the regular expression is found.
    Regex {
        /// In the syntax of Rust's regex crate.
        pattern: String,
    },
    /// 1 if the text begins with `text`.
    StartsWith {
        /// The beginning.
        text: String,
    },
    /// 1 if the text ends with `text`, or, without it, if the model ended it (it was not cut off).
    Ends {
        /// The end, white space after it not counted.
        text: Option<String>,
    },
    /// How long the sample is.
    Length {
        /// What is counted.
        unit: LengthUnit,
    },
    /// What a classifier says of the text.
    Classifier(ClassifierSpec),
}

/// A word or piece of text that is looked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Words {
    /// What is looked for.
    pub text: String,
    /// Only where neither side continues with a letter, digit or underscore.
    pub whole_word: bool,
    /// Upper and lower case are the same.
    pub ignore_case: bool,
}

/// What a length counts.
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

/// What is asked of a feature.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// It holds for every sample.
    Always,
    /// It holds for no sample.
    Never,
    /// Its mean is this.
    Mean(f64),
}

impl Target {
    /// The mean that the feature is to have.
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
        !matches!(self, Self::Count(_) | Self::Length { .. } | Self::Classifier(_))
    }

    /// The means that it can have.
    fn means(&self) -> &'static Allowed<f64> {
        match self {
            Self::Count(_) | Self::Length { .. } => &NOT_NEGATIVE,
            Self::Classifier(classifier) => match classifier.value {
                LabelValue::Probability => &INSIDE_UNIT,
                LabelValue::LogProbability => &NEGATIVE,
                LabelValue::Logit => &FINITE,
            },
            _ => &INSIDE_UNIT,
        }
    }
}

/// Reads one table of `[[features]]`; none if a problem was reported.
pub(super) fn read_feature(section: &Section<'_>, folder: &Path) -> Option<FeatureSpec> {
    let kind = read_kind(section, folder);
    let name = section.string("name", &SOME_TEXT);
    if !section.has("name") {
        section.wrong_table("has no `name`", "a name that no other feature has");
    }
    let target = read_target(section, kind.as_ref());
    Some(FeatureSpec { name: name?, kind: kind?, target: target? })
}

fn read_kind(section: &Section<'_>, folder: &Path) -> Option<FeatureKind> {
    type Read = fn(&Section<'_>, &Path) -> Option<FeatureKind>;
    let kinds: [(&str, Read); 7] = [
        ("contains", |section, _| read_words(section).map(FeatureKind::Contains)),
        ("count", |section, _| read_words(section).map(FeatureKind::Count)),
        ("regex", |section, _| read_regex(section)),
        ("starts_with", |section, _| Some(FeatureKind::StartsWith { text: required_text(section, "text")? })),
        ("ends", |section, _| Some(FeatureKind::Ends { text: section.string("text", &SOME_TEXT) })),
        ("classifier", |section, folder| read_classifier(section, folder).map(FeatureKind::Classifier)),
        ("length", |section, _| {
            let units = [
                ("tokens", LengthUnit::Tokens),
                ("characters", LengthUnit::Characters),
                ("words", LengthUnit::Words),
            ];
            if !section.has("unit") {
                section.wrong_table("has no `unit`", "tokens, characters, words");
            }
            Some(FeatureKind::Length { unit: section.choice("unit", &units)? })
        }),
    ];
    if !section.has("kind") {
        section.wrong_table("has no `kind`", &kinds.map(|(name, _)| name).join(", "));
    }
    let read = section.choice("kind", &kinds);
    if read.is_none() {
        // Which fields there are depends on the kind: without it none is unknown.
        for field in [
            "text",
            "whole_word",
            "ignore_case",
            "pattern",
            "unit",
            "model",
            "label",
            "value",
            "temperature",
            "truncate",
        ] {
            section.has(field);
        }
    }
    read?(section, folder)
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
