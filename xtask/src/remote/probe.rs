//! The check that a server samples from the distribution that it gives log-probabilities of.

use disco_core::Streams;

use super::{RemoteModel, next_tokens::NextTokens};
use crate::{
    http::in_order,
    spec::{ModelSpec, ServerDialect},
};

/// The key of the random numbers of a probe: the samples of a run do not depend on it.
const KEY: u64 = 0x70726f6265;
/// The number of tokens that are drawn, to be compared with their probabilities.
const DRAWN: usize = 128;
/// A count as far from its expectation as this, or farther, is taken for a mistake of the server. A probe looks at two counts.
const ALPHA: f64 = 1e-7;
/// The difference of two log-probabilities of a token that computing twice in half precision makes, at most, in nats.
const TOKEN: f64 = 0.05;
/// The difference of the sum of all probabilities from 1.
const MASS: f64 = 0.01;
/// A probability this much smaller than the largest is 0 in f32, in nats.
const VANISHING: f64 = -80.0;

/// Checks what a model's server says of the next tokens behind a context, and of a sample.
///
/// # Errors
/// The problem, as a sentence about the server, with the setting to change.
pub(super) fn probe(model: &RemoteModel, context: &str) -> Result<(), String> {
    let streams = Streams::new(KEY, DRAWN + 2);
    let raw = model.next_tokens(context, streams.rng(DRAWN), true)?;
    let asked = model.next_tokens(context, streams.rng(DRAWN), false)?;
    check_mass(&raw)?;
    check_mass(&asked)?;
    check_temperature(model, &raw, &asked)?;
    check_kept(model, &raw, &asked)?;
    let numbers: Vec<usize> = (0..DRAWN).collect();
    let drawn =
        in_order(&numbers, model.connections(), |_, number| model.next_token(context, streams.rng(*number)))?;
    check_counts(&asked, &drawn)?;
    check_score(model, context, &streams)
}

/// The probabilities of tokens sum to 1 at most, and to 1 if they are all that can be drawn.
fn check_mass(tokens: &NextTokens) -> Result<(), String> {
    let mass = tokens.mass();
    if mass > 1.0 + MASS || (tokens.is_all() && mass < 1.0 - MASS) {
        return Err(format!(
            "the probabilities of the {} tokens that can be drawn first sum to {mass:.4}, and not to 1",
            tokens.top.len()
        ));
    }
    Ok(())
}

/// The ratios of probabilities are those of the model, to the power of 1 / temperature.
fn check_temperature(model: &RemoteModel, raw: &NextTokens, asked: &NextTokens) -> Result<(), String> {
    let decoding = model.decoding();
    let penalised = decoding.repetition_penalty != 1.0 || decoding.min_new_tokens > 0;
    let pairs: Vec<(f64, f64)> =
        asked.top.iter().filter_map(|(token, log_prob)| Some((raw.log_prob(token)?, *log_prob))).collect();
    let Some(&(first_raw, first)) = pairs.first().filter(|_| !penalised) else { return Ok(()) };
    for (other_raw, other) in pairs {
        let (given, without) = (other - first, other_raw - first_raw);
        let expected = without / decoding.temperature;
        if (given - expected).abs() <= 2.0 * TOKEN + 0.01 * expected.abs() {
            continue;
        }
        let is_raw = (given - without).abs() <= 2.0 * TOKEN + 0.01 * without.abs();
        return Err(match is_raw {
            true => format!(
                "its log-probabilities are those at temperature 1, and not those at {} that it samples with: {}",
                decoding.temperature,
                processed(model)
            ),
            false => format!(
                "the ratios of its probabilities are not those at temperature {}: a default of the server, such as a penalty, or a \
                 proxy changes them",
                decoding.temperature
            ),
        });
    }
    // Without truncation the probabilities themselves are the model's, and not only their ratios.
    if decoding.temperature == 1.0 && !decoding.truncates() && (first - first_raw).abs() > TOKEN {
        return Err(format!(
            "its most probable first token has the probability {:.4} when it samples and {:.4} in the model: something cuts tokens off, \
             although nothing was asked to ({})",
            first.exp(),
            first_raw.exp(),
            switches(model)
        ));
    }
    Ok(())
}

/// As many tokens can be drawn as the settings leave.
fn check_kept(model: &RemoteModel, raw: &NextTokens, asked: &NextTokens) -> Result<(), String> {
    let decoding = model.decoding();
    let ratio =
        |log_prob: f64| (log_prob - raw.top.first().map_or(0.0, |(_, first)| *first)) / decoding.temperature;
    let most = decoding.top_k.unwrap_or(usize::MAX);
    let is_kept = |index: usize, log_prob: f64, slack: f64| {
        index < most && ratio(log_prob) + slack >= decoding.min_p.map_or(f64::NEG_INFINITY, f64::ln)
    };
    let kept = |slack: f64, least: f64| {
        let tokens = raw.top.iter().enumerate();
        tokens.filter(|(index, (_, p))| is_kept(*index, *p, slack) && ratio(*p) > least).count()
    };
    if asked.is_all() || asked.top.len() == raw.top.len() {
        // Ties and rounding may keep some more.
        let at_most = kept(2.0 * TOKEN, f64::NEG_INFINITY);
        if asked.top.len() > at_most + at_most / 10 + 1 && !is_penalised(decoding) {
            return Err(format!(
                "it gives probabilities of {} first tokens, where the settings leave {at_most}: {}",
                asked.top.len(),
                processed(model)
            ));
        }
    }
    // Which tokens these leave cannot be told from the most probable ones.
    let is_known = decoding.top_p.is_none_or(|p| p == 1.0) && decoding.typical_p.is_none_or(|p| p == 1.0);
    let forbidden = decoding.forbidden_tokens.len() + usize::from(decoding.min_new_tokens > 0);
    let at_least = kept(-2.0 * TOKEN, VANISHING).saturating_sub(forbidden);
    if is_known && !is_penalised(decoding) && asked.top.len() < at_least - at_least / 10 {
        return Err(format!(
            "it draws its first token from {} tokens, where the settings leave at least {at_least}: something cuts tokens off ({})",
            asked.top.len(),
            switches(model)
        ));
    }
    Ok(())
}

fn is_penalised(decoding: &ModelSpec) -> bool {
    decoding.repetition_penalty != 1.0
}

/// Tokens are drawn as often as their probabilities say.
fn check_counts(asked: &NextTokens, drawn: &[String]) -> Result<(), String> {
    let mut mass = 0.0;
    let half = asked.top.iter().take_while(|(_, log_prob)| {
        let is_before = mass < 0.5;
        mass += log_prob.exp();
        is_before
    });
    let half = half.count();
    for count in [half, asked.top.len()] {
        let tokens = &asked.top[..count];
        let probability: f64 = tokens.iter().map(|(_, log_prob)| log_prob.exp()).sum();
        let found = drawn.iter().filter(|drawn| tokens.iter().any(|(token, _)| token == *drawn)).count();
        if tail(drawn.len(), found, probability.min(1.0)) < ALPHA {
            return Err(format!(
                "of {} first tokens that it drew, {found} were among the {count} most probable ones, whose probabilities sum to \
                 {probability:.4}: it does not sample what it gives log-probabilities of",
                drawn.len()
            ));
        }
    }
    Ok(())
}

/// The smaller of the probabilities that a binomial count is at most, and at least, `found`.
fn tail(trials: usize, found: usize, probability: f64) -> f64 {
    // Rounded sums of probabilities may be 1 where they are a little less.
    let p = probability.clamp(1e-12, 1.0 - 1e-4);
    let mut log_term = trials as f64 * (1.0 - p).ln();
    let (mut below, mut above) = (0.0, 0.0);
    for count in 0..=trials {
        let term = log_term.exp();
        below += if count <= found { term } else { 0.0 };
        above += if count >= found { term } else { 0.0 };
        log_term += ((trials - count) as f64).ln() - ((count + 1) as f64).ln() + p.ln() - (1.0 - p).ln();
    }
    below.min(above)
}

/// A sample's log-probability is its score, where the server can score.
fn check_score(model: &RemoteModel, context: &str, streams: &Streams) -> Result<(), String> {
    let (sample, drawn) = model.draw(context, streams.rng(DRAWN + 1))?;
    if !model.scores_samples() || sample.ids.is_empty() {
        return Ok(());
    }
    if model.has_impossible_tokens(context)? {
        return Err(format!(
            "it gives some tokens of a text the probability 0: something cuts tokens off, although nothing was asked to ({})",
            switches(model)
        ));
    }
    let scored = model.score(context, &sample)?;
    let allowed = TOKEN * (sample.tokens as f64).sqrt().max(1.0) + 0.01 * drawn.abs();
    if (drawn - scored).abs() > allowed {
        return Err(format!(
            "a sample of {} tokens has the log-probability {drawn:.3} when it is drawn and {scored:.3} when it is scored: {}",
            sample.tokens,
            processed(model)
        ));
    }
    Ok(())
}

/// The setting that makes log-probabilities those of the samples.
fn processed(model: &RemoteModel) -> &'static str {
    match model.dialect() {
        ServerDialect::Vllm => "start vLLM with --logprobs-mode processed_logprobs",
        ServerDialect::LlamaCpp => {
            "a server that knows `post_sampling_probs` is needed (llama.cpp of 2025 or later)"
        }
        ServerDialect::Disco => "the server and this program may be of different versions",
    }
}

/// The defaults of a server that cut tokens off.
fn switches(model: &RemoteModel) -> &'static str {
    match model.dialect() {
        ServerDialect::LlamaCpp => {
            "llama.cpp's defaults are top_k 40, top_p 0.95, min_p 0.05: a proxy that drops settings of requests would bring them \
             back; start the server with --top-k 0 --top-p 1 --min-p 0"
        }
        ServerDialect::Vllm => {
            "vLLM takes defaults from the model's generation_config.json: start it with --generation-config vllm"
        }
        ServerDialect::Disco => {
            "disco's server has no such defaults: a proxy before it changes settings of requests"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_of_a_binomial_count_is_exact() {
        // P(X <= 1) of 4 trials at 1/2 is 5/16, and P(X >= 4) is 1/16.
        assert!((tail(4, 1, 0.5) - 5.0 / 16.0).abs() < 1e-12);
        assert!((tail(4, 4, 0.5) - 1.0 / 16.0).abs() < 1e-12);
        assert!(tail(128, 128, 0.5) < 1e-38 && tail(128, 128, 1.0) > 0.9);
    }
}
