//! Means that no sample of a model can have, which are known once its tokens are.

use super::{FeatureKind, LengthUnit, Spec, WordValue};
use crate::Error;

/// How long the text of one token of a model is, at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongestToken {
    /// The number of characters.
    pub characters: usize,
    /// The number of words.
    pub words: usize,
}

impl Spec {
    /// Whether [`check_reach`](Self::check_reach) depends on the tokens.
    pub fn needs_longest_token(&self) -> bool {
        let unit = LongestToken { characters: 1, words: 1 };
        self.features.iter().any(|feature| most(&feature.kind, unit, 1).is_some())
    }

    /// Checks that `max_new_tokens` tokens can have the means that are asked of lengths and counts.
    ///
    /// # Errors
    /// [`Error::OutOfReach`] for the first feature whose mean they cannot have.
    pub fn check_reach(&self, longest: LongestToken) -> crate::Result<()> {
        let tokens = self.model.max_new_tokens;
        for feature in &self.features {
            let Some(mean) = feature.asked() else { continue };
            match most(&feature.kind, longest, tokens) {
                Some(most) if mean > most as f64 => {
                    return Err(Error::OutOfReach { feature: feature.name.clone(), mean, most, tokens });
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// The largest value that a feature can have in a number of tokens.
fn most(kind: &FeatureKind, longest: LongestToken, tokens: usize) -> Option<usize> {
    let characters = tokens.saturating_mul(longest.characters);
    match kind {
        FeatureKind::Length { unit: LengthUnit::Characters } => Some(characters),
        FeatureKind::Length { unit: LengthUnit::Words } => Some(tokens.saturating_mul(longest.words)),
        FeatureKind::Count(words) => Some(characters / words.text.text()?.chars().count().max(1)),
        // Between two words is at least one character.
        FeatureKind::WordList(words) if words.value == WordValue::Count => {
            Some(characters.saturating_add(1) / 2)
        }
        _ => None,
    }
}
