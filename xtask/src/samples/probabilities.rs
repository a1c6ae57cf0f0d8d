//! Whether log-probabilities can be those of one distribution.

use std::collections::BTreeMap;

use disco_core::numerics::log_sum_exp;

use super::{ContextSamples, StoredLine};
use crate::Result;

/// How far a sum of probabilities may be above 1: they may have been computed in `f32`.
const ROUNDING: f64 = 1e-3;
/// Log-probabilities of one text that are nearer than this are of one sample, which was scored more than once.
const SAME: f64 = 1e-2;

/// Checks that the probabilities of the different samples of each context do not sum to more than 1.
///
/// Samples with token ids differ if these do. Texts without ids may be spelled in several ways, so that two of them with other
/// probabilities are two samples.
///
/// # Errors
/// [`disco_core::Error::Malformed`] with the line of the context's most probable sample: log-probabilities may be of one token, or to the
/// base 10 or 2.
pub(crate) fn check_probabilities(contexts: &[ContextSamples]) -> Result<()> {
    for samples in contexts {
        let log_probs = distinct(samples);
        let sum = log_sum_exp(&log_probs).exp();
        if sum > 1.0 + ROUNDING {
            let Some(most) = samples.iter().max_by(|a, b| a.log_prob.total_cmp(&b.log_prob)) else {
                continue;
            };
            let problem = format!(
                "the probabilities of the {} different samples of this context sum to {sum:.4}; allowed: at most 1. `log_prob` is the natural \
                 logarithm of the probability of the whole sample",
                log_probs.len()
            );
            return Err(most.place.wrong(problem).into());
        }
    }
    Ok(())
}

/// The log-probability of each different sample.
fn distinct(samples: &[StoredLine]) -> Vec<f64> {
    let mut by_sample: BTreeMap<_, Vec<f64>> = BTreeMap::new();
    for line in samples {
        // The text of ids does not count: it may depend on what decoded them.
        let key = match &line.sample.tokens {
            Some(ids) => (Some(ids), ""),
            None => (None, line.sample.text.as_str()),
        };
        by_sample.entry(key).or_default().push(line.log_prob);
    }
    let mut found = Vec::new();
    for ((ids, _), mut log_probs) in by_sample {
        log_probs.sort_by(f64::total_cmp);
        match ids {
            // The smallest: an engine may compute one sample in several ways.
            Some(_) => log_probs.truncate(1),
            None => log_probs.dedup_by(|next, before| *next - *before < SAME),
        }
        found.extend(log_probs);
    }
    found
}
