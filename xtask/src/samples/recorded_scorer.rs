//! Values that a file has for its samples, as a text scorer.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use disco_core::{Error as CoreError, Score, Skipped};

use super::ContextSamples;
use crate::{
    Result,
    contexts::TextContext,
    features::{SampleView, TextScorer, TextScorers},
};

/// The reason of a `null` in a file.
const SKIPPED: &str = "its line has null";

/// The text of a sample, its number of tokens, and whether it is finished: all that a text scorer sees of it.
type Seen = (String, usize, bool);

/// The values of one feature, as the lines of a file have them.
#[derive(Debug)]
struct RecordedScorer {
    feature: String,
    /// By context and sample.
    values: HashMap<TextContext, BTreeMap<Seen, Option<f64>>>,
}

/// Scorers for those of these features whose value every line has, by name.
///
/// # Errors
/// [`CoreError::Malformed`] for a feature of which only some lines have a value, for a value that is not finite, and for two values of one
/// sample.
pub(crate) fn recorded_scorers(
    names: &[&str],
    samples: &[ContextSamples],
    contexts: &[TextContext],
) -> Result<TextScorers> {
    let mut scorers = TextScorers::new();
    for name in names {
        let lines = || samples.iter().flatten();
        let Some(first) = lines().find(|line| line.features.contains_key(*name)) else { continue };
        let mut values: HashMap<TextContext, BTreeMap<_, _>> = HashMap::new();
        for (context, lines) in contexts.iter().zip(samples) {
            let known = values.entry(context.clone()).or_default();
            for line in lines {
                let Some(value) = line.features.get(*name) else {
                    let problem = format!(
                        "there is no value of `{name}`, which line {} has; allowed: a value in every line, or in none",
                        first.place.line
                    );
                    return Err(line.place.wrong(problem).into());
                };
                if value.is_some_and(|value| !value.is_finite()) {
                    let problem = format!(
                        "the value of `{name}` is not finite; allowed: a number, or null for a skipped sample"
                    );
                    return Err(line.place.wrong(problem).into());
                }
                let key = (line.sample.text.clone(), line.sample.token_count, line.sample.finished);
                if let Some(other) = known.insert(key, *value).filter(|other| other != value) {
                    let shown =
                        |value: Option<f64>| value.map_or("null".to_owned(), |value| value.to_string());
                    let problem = format!(
                        "`{name}` is {}, and another line has {} for the same text",
                        shown(*value),
                        shown(other)
                    );
                    return Err(line.place.wrong(problem).into());
                }
            }
        }
        scorers.insert((*name).to_owned(), Arc::new(RecordedScorer { feature: (*name).to_owned(), values }));
    }
    Ok(scorers)
}

impl TextScorer for RecordedScorer {
    fn scores(&self, context: &TextContext, samples: &[SampleView<'_>]) -> disco_core::Result<Vec<Score>> {
        let known = self.values.get(context);
        let score = |sample: &SampleView<'_>| {
            let key = (sample.text.to_owned(), sample.tokens, sample.finished);
            match known.and_then(|known| known.get(&key)) {
                Some(Some(value)) => Ok(Ok(*value)),
                Some(None) => Ok(Err(Skipped::new(&self.feature, SKIPPED))),
                None => Err(CoreError::failed(&self.feature, "the file has no value for this sample")),
            }
        };
        samples.iter().map(score).collect()
    }
}
