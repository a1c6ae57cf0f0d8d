//! The tables `[[features]]`: a kind with its fields, and a target.

use std::path::Path;

use toml::de::DeTable;

use super::{
    FeatureKind, FeatureSpec, LengthUnit, Phrase, Words,
    allowed::SOME_TEXT,
    category::{CATEGORY_FIELDS, read_category},
    classifier::{CLASSIFIER_FIELDS, read_classifier},
    command::{COMMAND_FIELDS, read_command},
    fields::Fields,
    http::{HTTP_FIELDS, read_http},
    json::{JSON_FIELDS, read_json},
    names::Alias,
    parts::{read_all_of, read_between, read_of},
    phrase::pattern_problem,
    section::Section,
    target::{TARGET_FIELDS, Target, read_given, read_target},
    words::{WORD_LIST_FIELDS, read_word_list},
};

/// A kind as a run file names it: its name, the fields of its table, and their reader.
type Kind = (&'static str, (&'static [&'static str], fn(&Section<'_>, &Path) -> FeatureKind));

/// All kinds. A new kind is a line here, a variant of [`FeatureKind`], and a rule in the folder `features`.
const KINDS: [Kind; 17] = [
    ("contains", (WORDS, |section, _| FeatureKind::Contains(read_words(section)))),
    ("count", (WORDS, |section, _| FeatureKind::Count(read_words(section)))),
    ("regex", (&["pattern"], |section, _| read_regex(section))),
    (
        "starts_with",
        (&["text"], |section, _| FeatureKind::StartsWith { text: section.required_phrase("text") }),
    ),
    ("ends", (&["text"], |section, _| read_ends(section))),
    (
        "classifier",
        (CLASSIFIER_FIELDS, |section, folder| FeatureKind::Classifier(read_classifier(section, folder))),
    ),
    ("command", (COMMAND_FIELDS, |section, folder| FeatureKind::Command(read_command(section, folder)))),
    ("http", (HTTP_FIELDS, |section, _| FeatureKind::Http(read_http(section)))),
    (
        "recorded",
        (&["binary"], |section, _| FeatureKind::Recorded {
            binary: section.boolean("binary").unwrap_or(false),
        }),
    ),
    ("length", (&["unit"], |section, _| read_length(section))),
    ("words", (WORD_LIST_FIELDS, |section, folder| FeatureKind::WordList(read_word_list(section, folder)))),
    ("json", (JSON_FIELDS, |section, _| FeatureKind::Json(read_json(section)))),
    ("between", (&["of", "low", "high"], |section, _| read_between(section))),
    ("all", (OF, |section, _| FeatureKind::All { of: read_all_of(section) })),
    ("any", (OF, |section, _| FeatureKind::Any { of: read_all_of(section) })),
    ("not", (OF, |section, _| FeatureKind::Not { of: read_of(section) })),
    ("category", (CATEGORY_FIELDS, |section, _| FeatureKind::Category(read_category(section)))),
];

/// The fields of [`Words`].
const WORDS: &[&str] = &["text", "whole_word", "ignore_case"];

/// The fields of kinds that are made of other features alone.
const OF: &[&str] = &["of"];

/// Other names of kinds.
const ALIASES: &[Alias] = &[
    ("word", &["contains"]),
    ("word_list", &["words"]),
    ("list", &["words"]),
    ("lexicon", &["words"]),
    ("valid_json", &["json"]),
    ("json_path", &["json"]),
    ("range", &["between"]),
    ("and", &["all"]),
    ("or", &["any"]),
    ("one_of", &["any", "category"]),
    ("none", &["not"]),
    ("choice", &["category"]),
    ("choices", &["category"]),
    ("categorical", &["category"]),
    ("classes", &["category"]),
    ("keyword", &["contains"]),
    ("includes", &["contains"]),
    ("has", &["contains"]),
    ("occurrences", &["count"]),
    ("frequency", &["count"]),
    ("pattern", &["regex"]),
    ("regexp", &["regex"]),
    ("matches", &["regex"]),
    ("match", &["regex"]),
    ("begins_with", &["starts_with"]),
    ("prefix", &["starts_with"]),
    ("ends_with", &["ends"]),
    ("suffix", &["ends"]),
    ("finished", &["ends"]),
    ("len", &["length"]),
    ("tokens", &["length"]),
    ("characters", &["length"]),
    ("sentiment", &["classifier"]),
    ("label", &["classifier"]),
    ("program", &["command"]),
    ("script", &["command"]),
    ("python", &["command"]),
    ("server", &["http"]),
    ("https", &["http"]),
    ("url", &["http"]),
    ("reward_model", &["http", "command"]),
];

/// The fields that a table of `[[features]]` may have.
pub(super) fn feature_fields(table: &DeTable<'_>) -> Fields {
    let kinds = KINDS.map(|(name, (fields, _))| (name, fields));
    let common: Vec<&str> = ["name", "kind"].into_iter().chain(TARGET_FIELDS).collect();
    Fields::by_kind(&common, &kinds, None, table)
}

/// Reads one table of `[[features]]`.
pub(super) fn read_feature(section: &Section<'_>, folder: &Path) -> FeatureSpec {
    section.require("name", "a name that no other feature has");
    section.require("kind", &KINDS.map(|(name, _)| name).join(", "));
    let name = section.string("name", &SOME_TEXT).unwrap_or_default();
    let kind = match section.choice("kind", &KINDS, ALIASES) {
        // Of fields that may be those of another kind, nothing more is said.
        Some((_, read)) if !section.is_doubtful("kind") => read(section, folder),
        _ => FeatureKind::Ends { text: None },
    };
    let target = read_target(section, &kind);
    let given = read_given(section);
    let differs = target.as_ref().is_some_and(Target::has_columns);
    let per_context = section.boolean("per_context").unwrap_or(differs);
    FeatureSpec { name, kind, target, given, per_context }
}

fn read_length(section: &Section<'_>) -> FeatureKind {
    let units = [
        ("tokens", LengthUnit::Tokens),
        ("characters", LengthUnit::Characters),
        ("words", LengthUnit::Words),
    ];
    let aliases = &[("chars", &["characters"][..]), ("letters", &["characters"]), ("bytes", &["characters"])];
    section.require("unit", &units.map(|(name, _)| name).join(", "));
    FeatureKind::Length { unit: section.choice("unit", &units, aliases).unwrap_or(LengthUnit::Tokens) }
}

fn read_words(section: &Section<'_>) -> Words {
    let words = Words {
        text: section.required_phrase("text"),
        whole_word: section.boolean("whole_word").unwrap_or(false),
        ignore_case: section.boolean("ignore_case").unwrap_or(false),
    };
    if words.pattern().is_some_and(|pattern| pattern.is_err()) {
        section.wrong("text", "is too long to be searched for", "a shorter text");
    }
    words
}

fn read_ends(section: &Section<'_>) -> FeatureKind {
    let text = section.phrase("text");
    let is_blank = text.as_ref().and_then(Phrase::text).is_some_and(|text| text.trim().is_empty());
    if is_blank && !section.is_doubtful("text") {
        // White space at the end of a sample does not count, so that every sample would end so.
        let allowed = "a text with more than white space, or no `text`: the model ended the sample itself";
        section.wrong("text", "is nothing but white space", allowed);
    }
    FeatureKind::Ends { text }
}

fn read_regex(section: &Section<'_>) -> FeatureKind {
    section.require("pattern", SOME_TEXT.words);
    let pattern = section.string("pattern", &SOME_TEXT).unwrap_or_default();
    if let Some(reason) = pattern_problem(&pattern) {
        let message = format!("is no regular expression: {reason}");
        section.wrong("pattern", &message, "the syntax of https://docs.rs/regex");
    }
    FeatureKind::Regex { pattern }
}
