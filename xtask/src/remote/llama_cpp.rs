//! The dialect of llama.cpp's server: its own `/completion`.
//!
//! It gives the probabilities after all settings (`post_sampling_probs`), and scores nothing that it is given. A token can be scored all
//! the same: it is forced by a bias that no other token has a chance against, and its log-probability before all settings is asked for. A
//! token that is a part of a character is left out of its answers, so that another token is forced, and the one that is looked for is found
//! among the most probable ones.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    RemoteSample,
    next_tokens::NextTokens,
    server::{Drawn, Server, Told, one_log_prob},
};
use crate::spec::ModelSpec;

const PATH: &str = "/completion";
/// The number of most probable tokens that are looked at.
const TOP: usize = 2000;
/// The bias that forces a token, in nats.
const FORCED: f64 = 1e6;

#[derive(Deserialize)]
struct Completion {
    content: String,
    #[serde(default)]
    tokens: Vec<u32>,
    stop_type: String,
    #[serde(default)]
    truncated: bool,
    #[serde(default)]
    completion_probabilities: Vec<Token>,
    #[serde(default)]
    generation_settings: serde_json::Map<String, Value>,
}

#[derive(Deserialize)]
struct Token {
    id: u32,
    prob: Option<f64>,
    logprob: Option<f64>,
    #[serde(default, alias = "top_logprobs")]
    top_probs: Vec<Token>,
}

impl Token {
    fn log_prob(&self) -> Option<f64> {
        self.prob.map(f64::ln).or(self.logprob)
    }
}

#[derive(Deserialize)]
struct Tokens {
    tokens: Vec<u32>,
}

/// The settings of a run file that it cannot honour exactly, with the reason.
pub(super) fn refused(decoding: &ModelSpec) -> Option<(&'static str, &'static str)> {
    [
        (
            "repetition_penalty",
            decoding.repetition_penalty != 1.0,
            "its repetition penalty is of another form than disco's",
        ),
        ("min_new_tokens", decoding.min_new_tokens > 0, "it has no such setting"),
    ]
    .into_iter()
    .find(|(_, holds, _)| *holds)
    .map(|(field, _, reason)| (field, reason))
}

/// Whether it can score the samples that it draws: only without any setting.
pub(super) fn scores_samples(decoding: &ModelSpec) -> bool {
    decoding.temperature == 1.0 && !decoding.truncates()
}

/// One sample from the random numbers that `seed` gives.
pub(super) fn draw(server: &Server, context: &str, seed: u64) -> Drawn {
    let mut request = request(&server.decoding, json!(context), server.decoding.max_new_tokens, seed);
    request["n_probs"] = json!(1);
    request["post_sampling_probs"] = json!(true);
    let completion: Completion = server.post(PATH, &request)?;
    let finished = match completion.stop_type.as_str() {
        "eos" => true,
        "limit" if !completion.truncated => false,
        "limit" => return Err("it cut the sample at its context length".into()),
        other => return Err(format!("it ended a sample by \"{other}\"; allowed: \"eos\", \"limit\"")),
    };
    let (ids, told) = (completion.tokens, completion.completion_probabilities);
    let sample = RemoteSample { text: completion.content, tokens: ids.len(), ids, finished };
    if told.len() < sample.tokens && scores_samples(&server.decoding) {
        // Some tokens are parts of a character, and it is not told which.
        let context = context_ids(server, context)?;
        let log_prob = score(server, &context, &sample.ids)?;
        return Ok((sample, log_prob));
    }
    if told.len() < sample.tokens {
        return Err(format!(
            "it gave {} probabilities for the {} tokens of a sample with a character of several tokens, which it leaves out; they can \
             be asked for one by one at temperature 1 without truncation alone",
            told.len(),
            sample.tokens
        ));
    }
    if let Some((token, id)) = told.iter().zip(&sample.ids).find(|(token, id)| token.id != **id) {
        return Err(format!("it gave the probability of token {} where token {id} was drawn", token.id));
    }
    server.checked(Told { log_probs: told.iter().map(Token::log_prob).collect(), sample })
}

/// The most probable tokens behind a context, and one that is drawn: after all settings, or `raw`, as the model gives them.
pub(super) fn next_tokens(
    server: &Server,
    context: &str,
    seed: u64,
    raw: bool,
) -> Result<NextTokens, String> {
    let asked = server.vocabulary.map_or(TOP, |vocabulary| vocabulary.min(TOP));
    // A token that is a part of a character is left out: another one is drawn.
    const TRIES: u64 = 16;
    for number in 0..TRIES {
        let mut request = request(&server.decoding, json!(context), 1, seed.wrapping_add(number) % SEEDS);
        request["n_probs"] = json!(asked);
        request["post_sampling_probs"] = json!(!raw);
        let completion: Completion = server.post(PATH, &request)?;
        check_settings(&request, &completion)?;
        let Some(token) = completion.completion_probabilities.first() else { continue };
        let number = |token: &Token| Ok((token.id.to_string(), one_log_prob(token.log_prob())?));
        let top = token.top_probs.iter().map(number).collect::<Result<Vec<_>, String>>()?;
        return Ok(NextTokens::new(token.id.to_string(), top, asked));
    }
    Err("it gave no `completion_probabilities`".into())
}

/// A token that is drawn behind a context.
pub(super) fn next_token(server: &Server, context: &str, seed: u64) -> Result<String, String> {
    let completion: Completion = server.post(PATH, &request(&server.decoding, json!(context), 1, seed))?;
    let first = completion.tokens.first().ok_or("it gave no `tokens`")?;
    Ok(first.to_string())
}

/// The ids of a context's tokens.
pub(super) fn context_ids(server: &Server, context: &str) -> Result<Vec<u32>, String> {
    let request = json!({"content": context, "add_special": true});
    Ok(server.post::<Tokens>("/tokenize", &request)?.tokens)
}

/// The log-probability of the tokens `ids` behind those of a context.
pub(super) fn score(server: &Server, context: &[u32], ids: &[u32]) -> Result<f64, String> {
    let mut before = context.to_vec();
    let mut sum = 0.0;
    for id in ids {
        sum += one_log_prob(Some(score_next(server, &before, *id)?))?;
        before.push(*id);
    }
    Ok(sum)
}

/// The log-probability of the token `id` behind others.
fn score_next(server: &Server, before: &[u32], id: u32) -> Result<f64, String> {
    let forced = |forced: u32, top: usize| {
        let mut request = request(&server.decoding, json!(before), 1, 0);
        request["logit_bias"] = json!([[forced, FORCED]]);
        request["n_probs"] = json!(top);
        server.post::<Completion>(PATH, &request)
    };
    let drawn = forced(id, 1)?;
    if let Some(token) = drawn.completion_probabilities.first() {
        let found = (token.id == id).then(|| token.log_prob()).flatten();
        return found.ok_or_else(|| format!("it drew token {} where token {id} was forced", token.id));
    }
    // The token is a part of a character.
    let whole = server.post::<Tokens>("/tokenize", &json!({"content": "a"}))?.tokens;
    let whole = *whole.last().ok_or("it has no token for \"a\"")?;
    let drawn = forced(whole, server.vocabulary.unwrap_or(1 << 20))?;
    let listed = drawn.completion_probabilities.first().map(|token| &token.top_probs[..]).unwrap_or_default();
    let found = listed.iter().find(|token| token.id == id).and_then(Token::log_prob);
    found.ok_or_else(|| format!("it does not give the log-probability of token {id}"))
}

/// The number of seeds: the last one means a random seed.
pub(super) const SEEDS: u64 = (1 << 32) - 1;

/// A request. Every setting is sent, so that no default of the server holds, and in the order in which disco applies them.
fn request(decoding: &ModelSpec, prompt: Value, n_predict: usize, seed: u64) -> Value {
    let forbidden: Vec<Value> = decoding.forbidden_tokens.iter().map(|id| json!([id, false])).collect();
    json!({
        "prompt": prompt,
        "n_predict": n_predict,
        "seed": seed,
        "temperature": decoding.temperature,
        "top_k": decoding.top_k.unwrap_or(0),
        "top_p": decoding.top_p.unwrap_or(1.0),
        "min_p": decoding.min_p.unwrap_or(0.0),
        "typical_p": decoding.typical_p.unwrap_or(1.0),
        "top_n_sigma": -1.0,
        "xtc_probability": 0.0,
        "dynatemp_range": 0.0,
        "repeat_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "dry_multiplier": 0.0,
        "mirostat": 0,
        "samplers": ["temperature", "top_k", "top_p", "min_p", "typ_p"],
        "logit_bias": forbidden,
        "ignore_eos": false,
        "stop": [],
        "stream": false,
        "return_tokens": true,
        "cache_prompt": true,
    })
}

/// Checks that the settings that a server says to have used are those that were asked for.
fn check_settings(request: &Value, completion: &Completion) -> Result<(), String> {
    const CHECKED: [&str; 12] = [
        "temperature",
        "top_k",
        "top_p",
        "min_p",
        "typical_p",
        "xtc_probability",
        "dynatemp_range",
        "repeat_penalty",
        "presence_penalty",
        "frequency_penalty",
        "dry_multiplier",
        "mirostat",
    ];
    for field in CHECKED {
        let (asked, used) = (request[field].as_f64(), completion.generation_settings.get(field));
        let Some((asked, used)) = asked.zip(used.and_then(Value::as_f64)) else { continue };
        if (asked - used).abs() > 1e-5 * asked.abs().max(1.0) {
            // The server holds it as f32.
            let used = used as f32;
            return Err(format!(
                "it uses {field} = {used} where {asked} was asked for: a server or proxy overrides it"
            ));
        }
    }
    Ok(())
}
