//! The dialect of `/v1/completions`: vLLM's and that of disco's own server.
//!
//! The shapes are those of vLLM's `entrypoints/openai/completion/protocol.py` and `serving.py` of 2026. `token_ids`, and with them the
//! log-probabilities, have the end token of a sample that the model ended.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    RemoteSample,
    next_tokens::NextTokens,
    server::{Drawn, Server, Told, one_log_prob},
};
use crate::spec::{ModelSpec, ServerDialect};

const PATH: &str = "/v1/completions";
/// The largest number of most probable tokens that vLLM gives, unless it is told otherwise; and that of OpenAI.
const TOP: [usize; 2] = [20, 5];

#[derive(Deserialize)]
struct Completion {
    choices: Vec<Choice>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    text: String,
    logprobs: Option<LogProbs>,
    finish_reason: Option<String>,
    token_ids: Option<Vec<u32>>,
    prompt_token_ids: Option<Vec<u32>>,
}

#[derive(Deserialize)]
struct Usage {
    completion_tokens: Option<usize>,
}

#[derive(Deserialize)]
struct LogProbs {
    #[serde(default)]
    tokens: Vec<String>,
    token_logprobs: Vec<Option<f64>>,
    #[serde(default)]
    top_logprobs: Option<Vec<Option<Map<String, Value>>>>,
}

/// The largest difference of the same log-probability at two places of an answer, which may round it (nats, relative to 1 + its size).
const SAME: f64 = 1e-3;

/// The settings of a run file that such a server cannot honour exactly, with the reason.
pub(super) fn refused(decoding: &ModelSpec, dialect: ServerDialect) -> Option<(&'static str, &'static str)> {
    let penalises = decoding.repetition_penalty != 1.0;
    let cuts = |share: Option<f64>, neutral| share.is_some_and(|share| share != neutral);
    let of_vllm = dialect == ServerDialect::Vllm;
    [
        ("typical_p", of_vllm && cuts(decoding.typical_p, 1.0), "it has no such setting"),
        ("forbidden_tokens", !decoding.forbidden_tokens.is_empty(), "it only makes tokens improbable"),
        (
            "penalize_context",
            penalises && !decoding.penalize_context,
            "its repetition penalty is of the context too: write penalize_context = true",
        ),
        (
            "min_p",
            of_vllm && cuts(decoding.min_p, 0.0) && cuts(decoding.top_p, 1.0),
            "it applies min_p before top_p, and disco after it: give one of them",
        ),
    ]
    .into_iter()
    .find(|(_, holds, _)| *holds)
    .map(|(field, _, reason)| (field, reason))
}

/// Whether the scores of texts that it is given are those of its samples: vLLM's are always of the model without any setting.
pub(super) fn scores_samples(decoding: &ModelSpec) -> bool {
    decoding.temperature == 1.0 && decoding.repetition_penalty == 1.0 && !decoding.truncates()
}

/// One sample from the random numbers that `seed` gives.
pub(super) fn draw(server: &Server, context: &str, seed: u64) -> Drawn {
    let request = request(server, &server.decoding, context, seed, server.decoding.max_new_tokens, 1);
    let completion: Completion = server.post(PATH, &request)?;
    let counted = completion.usage.and_then(|usage| usage.completion_tokens);
    let choice = only(completion.choices)?;
    let finished = match choice.finish_reason.as_deref() {
        Some("stop") => true,
        Some("length") => false,
        other => {
            return Err(format!(
                "it ended a sample with the reason {other:?}; allowed: \"stop\", \"length\""
            ));
        }
    };
    let log_probs = choice.logprobs.ok_or("it gave no `logprobs`")?.token_logprobs;
    let ids = choice.token_ids.unwrap_or_default();
    let tokens = if ids.is_empty() { counted.unwrap_or(log_probs.len()) } else { ids.len() };
    let sample = RemoteSample { text: choice.text, ids, tokens, finished };
    server.checked(Told { sample, log_probs })
}

/// The most probable tokens behind a context under these settings, and one that is drawn.
pub(super) fn next_tokens(
    server: &Server,
    decoding: &ModelSpec,
    context: &str,
    seed: u64,
) -> Result<NextTokens, String> {
    let [many, few] = TOP;
    let ask = |top: usize| {
        server
            .try_post::<Completion>(PATH, &request(server, decoding, context, seed, 1, top))
            .map(|found| (found, top))
    };
    let (completion, asked) = match ask(many) {
        // It may allow fewer.
        Err(unanswered) if unanswered.status.is_some_and(|status| (400..500).contains(&status)) => ask(few),
        answered => answered,
    }
    .map_err(|unanswered| unanswered.problem)?;
    let log_probs = only(completion.choices)?.logprobs.ok_or("it gave no `logprobs`")?;
    let drawn =
        log_probs.tokens.into_iter().next().ok_or("it gave no token, or none with a log-probability")?;
    let top = log_probs.top_logprobs.unwrap_or_default().into_iter().next().flatten();
    let top = top.ok_or("it gave no `top_logprobs`")?;
    let number = |(token, value): (String, Value)| Ok((token, one_log_prob(value.as_f64())?));
    let top = top.into_iter().map(number).collect::<Result<Vec<_>, String>>()?;
    let told = log_probs.token_logprobs.first().copied().flatten();
    if let (Some(told), Some((_, ranked))) = (told, top.iter().find(|(token, _)| *token == drawn))
        && (told - ranked).abs() > SAME * (1.0 + ranked.abs())
    {
        return Err(format!(
            "of the token {drawn:?} that it drew, `token_logprobs` says {told} and `top_logprobs` says {ranked}: one of them is not its \
             log-probability"
        ));
    }
    Ok(NextTokens::new(drawn, top, asked))
}

/// The ids of a context's tokens.
pub(super) fn context_ids(server: &Server, context: &str) -> Result<Vec<u32>, String> {
    let request = request(server, &server.decoding, context, 0, 1, 1);
    let choice = only(server.post::<Completion>(PATH, &request)?.choices)?;
    choice
        .prompt_token_ids
        .ok_or_else(|| "it does not tell the ids of a context's tokens (`prompt_token_ids`)".into())
}

/// The log-probabilities of the tokens `ids` behind those of a context.
pub(super) fn score(server: &Server, context: &[u32], ids: &[u32]) -> Result<Vec<f64>, String> {
    let all = [context, ids].concat();
    let mut request = request(server, &server.decoding, "", 0, 0, 1);
    request["prompt"] = json!(all);
    request["echo"] = json!(true);
    let choice = only(server.post::<Completion>(PATH, &request)?.choices)?;
    let log_probs = choice.logprobs.ok_or("it gave no `logprobs` with `echo`")?.token_logprobs;
    if log_probs.len() != all.len() {
        return Err(format!(
            "it gave {} log-probabilities for {} tokens with `echo`",
            log_probs.len(),
            all.len()
        ));
    }
    log_probs.into_iter().skip(context.len()).map(one_log_prob).collect()
}

/// A request. Every setting is sent, so that no default of the server or of the model's `generation_config.json` holds.
fn request(
    server: &Server,
    decoding: &ModelSpec,
    context: &str,
    seed: u64,
    max_tokens: usize,
    top: usize,
) -> Value {
    let mut request = json!({
        "model": server.name,
        "prompt": context,
        "max_tokens": max_tokens,
        "min_tokens": decoding.min_new_tokens.min(max_tokens),
        "temperature": decoding.temperature,
        "top_k": decoding.top_k.unwrap_or(0),
        "top_p": decoding.top_p.unwrap_or(1.0),
        "min_p": decoding.min_p.unwrap_or(0.0),
        "repetition_penalty": decoding.repetition_penalty,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "n": 1,
        "seed": seed,
        "stream": false,
        "logprobs": top,
        "return_token_ids": true,
        "return_tokens_as_token_ids": true,
    });
    if server.dialect == ServerDialect::Disco {
        request["typical_p"] = json!(decoding.typical_p.unwrap_or(1.0));
    }
    request
}

/// The only choice of an answer.
fn only(choices: Vec<Choice>) -> Result<Choice, String> {
    let count = choices.len();
    match choices.into_iter().next() {
        Some(choice) if count == 1 => Ok(choice),
        _ => Err(format!("it gave {count} choices where one was asked for")),
    }
}
