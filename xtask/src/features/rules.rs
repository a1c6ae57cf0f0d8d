//! The rules of all features of a spec, and their evaluation in the order in which they are made of each other.

use disco_core::{Error as CoreError, Result, Score};

use super::{
    TextSample, TextScorers,
    combination::{Combination, part_value},
    own_rule::TextRule,
    remembered::Remembered,
    text_feature::view,
};
use crate::{
    Error,
    contexts::TextContext,
    spec::{FeatureSpec, Part, evaluation_order, named_parts},
};

/// The rules of all features of a spec.
#[derive(Debug)]
pub(super) struct Rules {
    /// One per feature.
    rules: Vec<Rule>,
    /// The positions of the features, each after those that it is made of.
    order: Vec<usize>,
}

#[derive(Debug)]
struct Rule {
    /// The name of the feature.
    name: String,
    source: Source,
}

/// The origin of a feature's values. The value of a category is the position of its label.
#[derive(Debug)]
enum Source {
    Text(TextRule),
    Scored(Remembered),
    Made { of: Vec<Part>, by: Combination },
}

impl Rules {
    /// The rules of some features.
    ///
    /// # Errors
    /// As [`TextFeatures::new`](super::TextFeatures::new).
    pub(super) fn new(features: &[FeatureSpec], scorers: &TextScorers) -> crate::Result<Self> {
        let parts = named_parts(features);
        let mut made_of = Vec::with_capacity(features.len());
        let mut rules = Vec::with_capacity(features.len());
        for feature in features {
            let name = &feature.name;
            let mut of = Vec::new();
            for (_, part) in feature.kind.part_names() {
                let wrong =
                    || Error::Parts { feature: name.clone(), problem: format!("there is no `{part}`") };
                of.push(*parts.get(part).ok_or_else(wrong)?);
            }
            made_of.push(of.clone());
            let source = if let Some(by) = Combination::new(&feature.kind) {
                Source::Made { of, by }
            } else if let Some(rule) = TextRule::new(&feature.kind) {
                Source::Text(rule?)
            } else {
                let scorer =
                    scorers.get(name).ok_or_else(|| Error::NoTextScorer { feature: name.clone() })?;
                Source::Scored(Remembered::new(name, scorer.clone()))
            };
            rules.push(Rule { name: name.clone(), source });
        }
        let order = evaluation_order(&made_of).map_err(|rings| Error::Parts {
            feature: rings.first().map_or_else(String::new, |ring| features[ring[0]].name.clone()),
            problem: "it is made of itself".into(),
        })?;
        Ok(Self { rules, order })
    }

    /// The values of some parts for all samples: for each part a list with one score per sample. Each feature is computed once.
    ///
    /// # Errors
    /// As [`TextFeature::scores_of`](super::TextFeature::scores_of).
    pub(super) fn scores<X: TextSample>(
        &self,
        parts: &[Part],
        context: &TextContext,
        samples: &[&X],
    ) -> Result<Vec<Vec<Score>>> {
        let mut is_needed = vec![false; self.rules.len()];
        parts.iter().for_each(|part| is_needed[part.feature] = true);
        for &feature in self.order.iter().rev() {
            if let (true, Source::Made { of, .. }) = (is_needed[feature], &self.rules[feature].source) {
                of.iter().for_each(|part| is_needed[part.feature] = true);
            }
        }
        let mut known: Vec<Vec<Score>> = vec![Vec::new(); self.rules.len()];
        for &feature in self.order.iter().filter(|&&feature| is_needed[feature]) {
            known[feature] = self.rules[feature].scores(&known, context, samples)?;
        }
        let column = |part: &Part| {
            known[part.feature].iter().map(|score| part_value(*part, score)).collect::<Vec<Score>>()
        };
        Ok(parts.iter().map(column).collect())
    }
}

impl Rule {
    /// The values for all samples, of which those of the features that it is made of are `known`.
    fn scores<X: TextSample>(
        &self,
        known: &[Vec<Score>],
        context: &TextContext,
        samples: &[&X],
    ) -> Result<Vec<Score>> {
        match &self.source {
            Source::Text(rule) => {
                let rule =
                    rule.in_context(context).map_err(|problem| CoreError::failed(&self.name, problem))?;
                Ok(samples.iter().map(|sample| rule.value(*sample, &self.name)).collect())
            }
            Source::Scored(scorer) => {
                let views: Vec<_> = samples.iter().map(|sample| view(*sample)).collect();
                scorer.scores(context, &views)
            }
            Source::Made { of, by } => {
                let value = |index: usize| {
                    by.value(of.iter().map(|part| part_value(*part, &known[part.feature][index])))
                };
                Ok((0..samples.len()).map(value).collect())
            }
        }
    }
}
