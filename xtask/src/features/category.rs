//! The label of a text.

use std::{ops::Range, sync::LazyLock};

use regex::Regex;

use crate::spec::{CategoryRule, CategorySpec};

/// A category that is decided by the text alone, ready to be computed.
#[derive(Clone, Debug)]
pub(super) enum Labels {
    /// The longest with which the text begins.
    Choices(Vec<String>),
    /// The first pattern that is found.
    Patterns(Vec<Regex>),
}

impl Labels {
    /// The rule of a category; `None` where another feature decides.
    ///
    /// # Errors
    /// For a pattern that is none, or is too large to compile.
    pub(super) fn new(spec: &CategorySpec) -> Option<Result<Self, regex::Error>> {
        match &spec.rule {
            CategoryRule::Choices => Some(Ok(Self::Choices(spec.labels.clone()))),
            CategoryRule::Patterns { patterns } => {
                let patterns: Result<_, _> = patterns.iter().map(|pattern| Regex::new(pattern)).collect();
                Some(patterns.map(Self::Patterns))
            }
            CategoryRule::Of { .. } => None,
        }
    }

    /// The position of the label of a text; the number of labels where it has none.
    pub(super) fn label(&self, text: &str) -> usize {
        let found = self.find(text).map(|(label, _)| label);
        found.unwrap_or(match self {
            Self::Choices(choices) => choices.len(),
            Self::Patterns(patterns) => patterns.len(),
        })
    }

    /// The label of a text, and the place that decides.
    pub(super) fn find(&self, text: &str) -> Option<(usize, Range<usize>)> {
        match self {
            Self::Choices(choices) => {
                let start = text.len() - text.trim_start().len();
                let fits = |choice: &&String| {
                    text[start..].strip_prefix(choice.as_str()).is_some_and(|rest| !goes_on(rest))
                };
                let fitting = choices.iter().enumerate().filter(|(_, choice)| fits(choice));
                let (label, choice) = fitting.max_by_key(|(_, choice)| choice.len())?;
                Some((label, start..start + choice.len()))
            }
            Self::Patterns(patterns) => patterns
                .iter()
                .enumerate()
                .find_map(|(label, pattern)| Some((label, pattern.find(text)?.range()))),
        }
    }
}

/// Whether a text begins with a letter, digit or underscore.
fn goes_on(text: &str) -> bool {
    static WORD: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\A\w").expect("the pattern is right"));
    WORD.is_match(text)
}
