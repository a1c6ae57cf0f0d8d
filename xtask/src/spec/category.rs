//! The kind `category`: one of several labels for each text.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::{Allowed, parts::read_name, phrase::pattern_problem, section::Section, target::OTHER};

/// A feature whose value is a label. A text without one of the labels has the label `other`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CategorySpec {
    /// The labels, without `other`.
    pub labels: Vec<String>,
    /// The rule that gives a text its label.
    #[serde(flatten)]
    pub rule: CategoryRule,
    /// Whether the order of the labels is a scale, on which the distance of two labels is the number of steps between them. `other`
    /// is on no scale.
    pub ordered: bool,
}

/// The rule that gives a text its label.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum CategoryRule {
    /// The longest label with which the text begins, white space before it aside, and which no letter, digit or underscore follows.
    Choices,
    /// The first label whose pattern is found in the text.
    Patterns {
        /// A regular expression for each label.
        patterns: Vec<String>,
    },
    /// The label whose position, from 0, is the value of another feature.
    Of {
        /// The name of the feature.
        of: String,
    },
}

impl CategorySpec {
    /// All labels in order, `other` last.
    pub(super) fn all_labels(&self) -> Vec<&str> {
        self.labels.iter().map(String::as_str).chain([OTHER]).collect()
    }
}

/// The fields of a feature of this kind, beside those of all kinds.
pub(super) const CATEGORY_FIELDS: &[&str] = &["choices", "labels", "patterns", "of", "ordered"];

/// The fields that say which labels there are.
pub(super) const LABEL_FIELDS: [&str; 2] = ["choices", "labels"];

const WHERE: &str = "choices = [\"...\", \"...\"]; or labels = [\"...\", \"...\"], with patterns = [...] or of = \"the name of a feature\"";

const LABELS: Allowed<Vec<String>> = Allowed {
    words: "strings that differ, at least one, none of them `other`: the name of all texts without a label",
    holds: |labels| !labels.is_empty(),
};

const PATTERNS: Allowed<Vec<String>> =
    Allowed { words: "a regular expression for each label", holds: |patterns| !patterns.is_empty() };

/// Reads the fields of a feature of this kind.
pub(super) fn read_category(section: &Section<'_>) -> CategorySpec {
    let choices = read_labels(section, "choices");
    let labels = read_labels(section, "labels");
    let patterns = section.strings("patterns", &PATTERNS);
    let of = read_name(section);
    let ordered = section.boolean("ordered").unwrap_or(false);
    let has = |field| section.has(field);
    let is_known = |field| !section.is_doubtful(field);
    let says = [has("choices"), has("labels"), has("patterns"), has("of")];
    let is_clear = ["choices", "labels", "patterns", "of"].into_iter().all(is_known);
    match says {
        [true, false, false, false] | [false, true, true, false] | [false, true, false, true] => {}
        _ if !is_clear => {}
        [false, false, ..] => section.wrong_table("has no `choices` and no `labels`", WHERE, CATEGORY_FIELDS),
        [false, true, false, false] => {
            section.wrong_table("has `labels`, but no `patterns` and no `of`", WHERE, CATEGORY_FIELDS);
        }
        _ => {
            let names = ["choices", "labels", "patterns", "of"].into_iter().zip(says);
            let names: Vec<String> =
                names.filter(|(_, has)| *has).map(|(name, _)| format!("`{name}`")).collect();
            let message = format!("has more than one rule for its labels: {}", names.join(", "));
            section.wrong_table(&message, WHERE, CATEGORY_FIELDS);
        }
    }
    let rule = match (patterns, of) {
        (Some(patterns), _) => {
            check_patterns(section, &patterns, labels.as_deref());
            CategoryRule::Patterns { patterns }
        }
        (None, Some(of)) => CategoryRule::Of { of },
        (None, None) => CategoryRule::Choices,
    };
    CategorySpec { labels: choices.or(labels).unwrap_or_default(), rule, ordered }
}

/// Reads labels: they differ, have text at both ends, and leave `other` free.
fn read_labels(section: &Section<'_>, field: &'static str) -> Option<Vec<String>> {
    let labels = section.strings(field, &LABELS)?;
    let mut known = HashSet::new();
    for (index, label) in labels.iter().enumerate() {
        let problem = if label.is_empty() {
            "which is empty"
        } else if label.trim() != label {
            "which begins or ends with white space"
        } else if label == OTHER {
            "which is the name of all texts without a label"
        } else if !known.insert(label) {
            "a second time"
        } else {
            continue;
        };
        section.wrong_item(field, index, &format!("has \"{label}\", {problem}"), LABELS.words);
        return None;
    }
    Some(labels)
}

fn check_patterns(section: &Section<'_>, patterns: &[String], labels: Option<&[String]>) {
    let wrong = patterns.iter().map(|pattern| pattern_problem(pattern));
    if let Some((index, problem)) = (0..).zip(wrong).find_map(|(index, wrong)| Some((index, wrong?))) {
        let message = format!("has an item that is no regular expression: {problem}");
        section.wrong_item("patterns", index, &message, "the syntax of https://docs.rs/regex");
        return;
    }
    if let Some(labels) = labels.filter(|labels| labels.len() != patterns.len()) {
        let message = format!("has {} items, and there are {} `labels`", patterns.len(), labels.len());
        section.wrong("patterns", &message, PATTERNS.words);
        LABEL_FIELDS.into_iter().for_each(|field| section.document.doubt(section.name(field)));
    }
}
