//! The scores of the base that a file has for its samples.

use std::collections::HashMap;

use disco_core::{Distribution, Error as CoreError, Sampled, Score, Scorer, Space, Streams};

use crate::{
    Result,
    contexts::TextContext,
    samples::{ContextSamples, StoredSample},
    steering::{BaseModel, Drawn, Origin},
};

/// The base, as it is known from a file. It draws nothing.
#[derive(Clone, Debug)]
pub(super) struct StoredBase {
    log_scores: HashMap<TextContext, HashMap<StoredSample, f64>>,
}

impl Scorer<TextContext, StoredSample> for StoredBase {
    fn log_scores(&self, context: &TextContext, samples: &[&StoredSample]) -> disco_core::Result<Vec<Score>> {
        let known = self.log_scores.get(context);
        let score = |sample: &&StoredSample| {
            let found = known.and_then(|known| known.get(*sample)).copied();
            found.map(Ok).ok_or_else(|| unknown("score"))
        };
        samples.iter().map(score).collect()
    }
}

impl Distribution<TextContext, StoredSample> for StoredBase {
    fn sample(&self, _: &TextContext, _: &Streams) -> disco_core::Result<Vec<Sampled<StoredSample>>> {
        Err(unknown("draw"))
    }

    fn log_probs(&self, context: &TextContext, samples: &[&StoredSample]) -> disco_core::Result<Vec<f64>> {
        let scores = self.log_scores(context, samples)?;
        scores.into_iter().map(|score| score.map_err(|skipped| CoreError::failed("base", skipped))).collect()
    }
}

fn unknown(verb: &str) -> CoreError {
    CoreError::failed("base", format!("there is no model: a file of samples cannot {verb} others"))
}

/// A base that is known from a file, and its samples.
type Stored = (BaseModel<StoredBase, StoredBase, StoredSample>, Vec<Drawn<StoredSample>>);

/// Samples of a file as the base of a run, and as its samples. `lists` says that they are all texts of each context, each once.
///
/// Lines without `log_base` were drawn from the base.
///
/// # Errors
/// [`disco_core::Error::Malformed`] where only some lines have `log_base`, and for two lines of the same sample that differ in it, or, if
/// they are lists, that are there twice.
pub(super) fn stored_base(
    contexts: &[TextContext],
    samples: &[ContextSamples],
    lists: bool,
) -> Result<Stored> {
    let has_base = samples.iter().flatten().any(|line| line.log_base.is_some());
    let mut base = StoredBase { log_scores: HashMap::new() };
    let (mut drawn, mut spaces) = (Vec::new(), Vec::new());
    let mut is_drawn_by_base = true;
    for (context, lines) in contexts.iter().zip(samples) {
        let known = base.log_scores.entry(context.clone()).or_default();
        let mut own =
            Drawn { samples: Vec::new(), log_proposal: Vec::new(), log_policy: Vec::new(), exact: lists };
        for line in lines {
            let log_base = match (line.log_base, has_base) {
                (Some(log_base), _) => log_base,
                (None, false) => line.log_prob,
                (None, true) => {
                    let problem =
                        "there is no `log_base`, which other lines have; allowed: in every line, or in none";
                    return Err(line.place.wrong(problem).into());
                }
            };
            let earlier = known.insert(line.sample.clone(), log_base);
            if let Some(earlier) = earlier.filter(|earlier| lists || *earlier != log_base) {
                let problem = match lists {
                    true => "the choice is there twice; allowed: each choice of a context once".to_owned(),
                    false => {
                        format!("`log_base` is {log_base}, and another line of this sample has {earlier}")
                    }
                };
                return Err(line.place.wrong(problem).into());
            }
            is_drawn_by_base &= log_base == line.log_prob;
            own.samples.push(line.sample.clone());
            own.log_proposal.push(line.log_prob);
            own.log_policy.push(log_base);
        }
        if lists {
            spaces.push(Space::new(own.samples.clone())?);
        }
        drawn.push(own);
    }
    let origin = match (lists, is_drawn_by_base) {
        (true, _) => Origin::Listed(spaces),
        (false, true) => Origin::Base,
        (false, false) => Origin::Proposal,
    };
    Ok((BaseModel { proposal: base.clone(), base, origin }, drawn))
}
