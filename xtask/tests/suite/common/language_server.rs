//! A server that runs a small language model, in the dialect of vLLM or llama.cpp, with faults that such servers have.
//!
//! The shapes are those of vLLM's `entrypoints/openai/completion` and of llama.cpp's `tools/server/README.md`.

use std::{net::TcpStream, sync::Arc};

use disco_core::StreamRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use super::loopback::{Request, send, serve};

/// The number of tokens: the last ends a sample.
const VOCABULARY: u32 = 60;
const END: u32 = VOCABULARY - 1;
/// A token that is a part of a character: llama.cpp leaves its probability out.
pub(crate) const PART: u32 = 7;

/// A fault of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// Log-probabilities are those before all settings, as vLLM's without `--logprobs-mode processed_logprobs`.
    RawLogProbs,
    /// The settings of requests are dropped: llama.cpp's defaults hold.
    OwnDefaults,
    /// As `OwnDefaults`, and the server does not tell which settings it used.
    HiddenDefaults,
    /// Samples are drawn at another temperature than their log-probabilities are of.
    HiddenTemperature,
    /// Log-probabilities of what it is given are not those of what it draws.
    OtherScores,
    /// Every log-probability is above 0.
    AboveZero,
    /// The sum of probabilities is above 1.
    MassAboveOne,
    /// The log-probability of the end token is left out.
    WithoutEnd,
    /// Samples are cut before the length that was asked for.
    Cut,
    /// There are several choices.
    TwoChoices,
    /// No token is a part of a character: this is no fault.
    WholeCharacters,
    /// Another token than the one that was drawn, whose probability may be 0, takes its place.
    Substitutes,
}

/// A server's dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Vllm,
    LlamaCpp,
}

/// How tokens are drawn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) temperature: f64,
    pub(crate) top_k: usize,
    pub(crate) min_p: f64,
}

pub(crate) const PLAIN: Settings = Settings { temperature: 1.0, top_k: 0, min_p: 0.0 };
/// llama.cpp's defaults, on a vocabulary of this size.
const DEFAULTS: Settings = Settings { temperature: 0.8, top_k: 40, min_p: 0.05 };

/// The text of a token.
pub(crate) fn text(id: u32) -> String {
    if id == END { String::new() } else { format!(" w{id}") }
}

/// The ids of a context's tokens.
pub(crate) fn context_ids(context: &str) -> Vec<u32> {
    [0].into_iter().chain(context.bytes().map(|byte| u32::from(byte) % END)).collect()
}

/// The log-probabilities of all tokens behind a token.
pub(crate) fn log_probs(before: u32, settings: &Settings) -> Vec<f64> {
    let logit = |id: u32| {
        let own = 2.0 * (f64::from(before) * 7.3 + f64::from(id) * 1.7).sin();
        (if id == END { 0.5 } else { own }) / settings.temperature
    };
    let logits: Vec<f64> = (0..VOCABULARY).map(logit).collect();
    let mut sorted = logits.clone();
    sorted.sort_by(|one, other| other.total_cmp(one));
    let by_rank = if settings.top_k == 0 { f64::NEG_INFINITY } else { sorted[settings.top_k - 1] };
    let least = by_rank.max(sorted[0] + settings.min_p.ln());
    let mass: f64 = logits.iter().filter(|logit| **logit >= least).map(|logit| logit.exp()).sum();
    let log_prob = |logit: f64| if logit >= least { logit - mass.ln() } else { f64::NEG_INFINITY };
    logits.into_iter().map(log_prob).collect()
}

/// The log-probability of tokens behind a context.
pub(crate) fn log_prob(context: &str, ids: &[u32], settings: &Settings) -> f64 {
    let mut before = *context_ids(context).last().unwrap();
    let mut sum = 0.0;
    for id in ids {
        sum += log_probs(before, settings)[*id as usize];
        before = *id;
    }
    sum
}

/// Starts a server; returns its address.
pub(crate) fn language_server(kind: Kind, fault: Fault) -> String {
    let server = Arc::new(Server { kind, fault });
    serve(move |request, stream| server.answer(request, stream)) + "/v1"
}

/// A server with a fault.
pub(crate) struct Server {
    pub(crate) kind: Kind,
    pub(crate) fault: Fault,
}

impl Server {
    /// Answers a request as such a server does.
    pub(crate) fn answer(&self, request: &Request, stream: &mut TcpStream) {
        let body = &request.body;
        let answer = match (self.kind, request.path.as_str()) {
            (Kind::Vllm, "/v1/models") => json!({"data": [{"id": "small", "owned_by": "vllm"}]}),
            (Kind::LlamaCpp, "/v1/models") => {
                json!({"data": [{"id": "small.gguf", "owned_by": "llamacpp", "meta": {"n_vocab": VOCABULARY}}]})
            }
            (Kind::Vllm, "/v1/completions") => self.vllm(body),
            (Kind::LlamaCpp, "/completion") => self.llama_cpp(body),
            (Kind::LlamaCpp, "/tokenize") => {
                let ids = context_ids(body["content"].as_str().unwrap());
                let special = body["add_special"] == json!(true);
                json!({"tokens": if special { &ids[..] } else { &ids[1..] }})
            }
            _ => return send(stream, "404 Not Found", b"no such path"),
        };
        send(stream, "200 OK", answer.to_string().as_bytes());
    }

    fn ids(prompt: &Value) -> Vec<u32> {
        match prompt {
            Value::String(context) => context_ids(context),
            ids => serde_json::from_value(ids.clone()).unwrap(),
        }
    }

    fn settings(&self, body: &Value) -> Settings {
        match self.fault {
            Fault::OwnDefaults | Fault::HiddenDefaults => DEFAULTS,
            _ => Settings {
                temperature: body["temperature"].as_f64().unwrap(),
                top_k: body["top_k"].as_u64().unwrap() as usize,
                min_p: body["min_p"].as_f64().unwrap(),
            },
        }
    }

    /// Tokens behind `before`, and whether they end by themselves. A bias that forces a token is obeyed.
    fn draw(&self, body: &Value, before: &[u32], most: usize) -> (Vec<u32>, bool) {
        let mut rng = StreamRng::seed_from_u64(body["seed"].as_u64().unwrap());
        let mut settings = self.settings(body);
        settings.temperature *= if self.fault == Fault::HiddenTemperature { 0.3 } else { 1.0 };
        let forced = body["logit_bias"].get(0).and_then(|pair| pair[0].as_u64());
        let most = if self.fault == Fault::Cut { most.min(3) } else { most };
        let mut ids = Vec::new();
        while ids.len() < most {
            let last = *ids.last().or(before.last()).unwrap();
            let mut at = rng.random::<f64>();
            let probs = log_probs(last, &settings).into_iter().map(f64::exp);
            let drawn = probs.into_iter().position(|p| {
                at -= p;
                at < 0.0
            });
            let mut id = forced.unwrap_or(drawn.unwrap_or(END as usize) as u64) as u32;
            if id == PART && self.fault == Fault::Substitutes {
                id = PART + 1;
            }
            ids.push(id);
            if id == END {
                return (ids, true);
            }
        }
        (ids, false)
    }

    /// The log-probabilities of all tokens behind a token, as the server tells of them.
    fn told(&self, before: u32, settings: &Settings) -> Vec<f64> {
        let settings = if self.fault == Fault::RawLogProbs { &PLAIN } else { settings };
        let shift = match self.fault {
            Fault::AboveZero => 9.0,
            Fault::MassAboveOne => 0.2,
            _ => 0.0,
        };
        log_probs(before, settings).into_iter().map(|log_prob| log_prob + shift).collect()
    }

    fn vllm(&self, body: &Value) -> Value {
        let context = Self::ids(&body["prompt"]);
        let most = body["max_tokens"].as_u64().unwrap() as usize;
        let top = body["logprobs"].as_u64().unwrap() as usize;
        let (ids, ended) = self.draw(body, &context, most);
        let settings = self.settings(body);
        let name = |id: u32| format!("token_id:{id}");
        let (mut tokens, mut log_probs, mut tops) = (Vec::new(), Vec::new(), Vec::new());
        let all = [&context[..], &ids].concat();
        let from = if body["echo"] == json!(true) { 0 } else { context.len() };
        for at in from..all.len() {
            tokens.push(name(all[at]));
            let Some(before) = at.checked_sub(1).map(|before| all[before]) else {
                log_probs.push(Value::Null);
                tops.push(Value::Null);
                continue;
            };
            // The log-probabilities of what it is given are never those after the settings.
            let is_given = at < context.len();
            let told = self.told(before, if is_given { &PLAIN } else { &settings });
            let other = if is_given && self.fault == Fault::OtherScores { 1.0 } else { 0.0 };
            log_probs.push(json!(told[all[at] as usize].max(-9999.0) - other));
            let mut ranked: Vec<u32> = (0..VOCABULARY).collect();
            ranked.sort_by(|one, other| told[*other as usize].total_cmp(&told[*one as usize]));
            ranked.truncate(top);
            ranked.push(all[at]);
            let top = ranked.iter().map(|id| (name(*id), json!(told[*id as usize].max(-9999.0))));
            tops.push(Value::Object(top.collect()));
        }
        if self.fault == Fault::WithoutEnd && ended {
            tokens.pop();
            log_probs.pop();
            tops.pop();
        }
        let choice = json!({
            "index": 0,
            "text": ids.iter().map(|id| text(*id)).collect::<String>(),
            "logprobs": {"text_offset": [], "tokens": tokens, "token_logprobs": log_probs, "top_logprobs": tops},
            "finish_reason": if ended { "stop" } else { "length" },
            "stop_reason": null,
            "token_ids": ids,
            "prompt_logprobs": null,
            "prompt_token_ids": context,
        });
        let choices =
            if self.fault == Fault::TwoChoices { vec![choice.clone(), choice] } else { vec![choice] };
        json!({
            "id": "cmpl-1", "object": "text_completion", "created": 1, "model": "small", "choices": choices,
            "usage": {"prompt_tokens": context.len(), "completion_tokens": ids.len(), "total_tokens": all.len()},
        })
    }

    fn llama_cpp(&self, body: &Value) -> Value {
        let context = Self::ids(&body["prompt"]);
        let (ids, ended) = self.draw(body, &context, body["n_predict"].as_u64().unwrap() as usize);
        let is_processed = body["post_sampling_probs"] == json!(true);
        let settings = if is_processed { self.settings(body) } else { PLAIN };
        let asked = body["n_probs"].as_u64().unwrap_or(0) as usize;
        let (value, list) = if is_processed { ("prob", "top_probs") } else { ("logprob", "top_logprobs") };
        let written = |log_prob: f64| json!(if is_processed { log_prob.exp() } else { log_prob });
        let mut before = *context.last().unwrap();
        let mut probabilities = Vec::new();
        for id in &ids {
            let told = self.told(before, &settings);
            before = *id;
            let mut ranked: Vec<u32> = (0..VOCABULARY).collect();
            ranked.retain(|id| told[*id as usize] > f64::NEG_INFINITY);
            ranked.sort_by(|one, other| told[*other as usize].total_cmp(&told[*one as usize]));
            ranked.truncate(asked);
            let top: Vec<_> = ranked
                .iter()
                .map(|id| json!({"id": id, "token": text(*id), "bytes": [], value: written(told[*id as usize])}))
                .collect();
            let is_left_out = *id == PART && self.fault == Fault::None;
            if !is_left_out && asked > 0 {
                let told = written(told[*id as usize]);
                probabilities
                    .push(json!({"id": id, "token": text(*id), "bytes": [], value: told, list: top}));
            }
        }
        if self.fault == Fault::WithoutEnd && ended {
            probabilities.pop();
        }
        let Settings { temperature, top_k, min_p } = self.settings(body);
        let used = match self.fault {
            Fault::HiddenDefaults => json!({}),
            _ => json!({"temperature": temperature, "top_k": top_k, "min_p": min_p, "repeat_penalty": 1.0}),
        };
        json!({
            "content": ids.iter().map(|id| text(*id)).collect::<String>(),
            "tokens": ids,
            "stop": true,
            "stop_type": if ended { "eos" } else { "limit" },
            "truncated": false,
            "generation_settings": used,
            "completion_probabilities": probabilities,
        })
    }
}
