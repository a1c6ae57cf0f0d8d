//! The places in a text that features look for.

use std::ops::Range;

use super::own_rule::TextRule;
use crate::{contexts::TextContext, spec::FeatureSpec};

/// The places in a text that the features of a spec look for. Features on the whole text, of text scorers, and that are made of others
/// look for none.
#[derive(Clone, Debug)]
pub struct Marks {
    rules: Vec<TextRule>,
}

impl Marks {
    /// The places of these features. A pattern that cannot be compiled has none.
    pub fn new(features: &[FeatureSpec]) -> Self {
        let rules = features.iter().filter_map(|feature| TextRule::new(&feature.kind)?.ok());
        Self { rules: rules.collect() }
    }

    /// Ranges of bytes, of each feature in turn. In no context, or in one without its column, a feature that looks for a column has
    /// none.
    pub fn of(&self, context: Option<&TextContext>, text: &str) -> Vec<Range<usize>> {
        let nowhere = TextContext::from("");
        let context = context.unwrap_or(&nowhere);
        let rules = self.rules.iter().filter_map(|rule| rule.in_context(context).ok());
        rules.flat_map(|rule| rule.occurrences(text)).collect()
    }
}
