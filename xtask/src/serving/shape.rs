//! Answers in the shapes of OpenAI's API: whole, and in chunks.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    answer::{Answer, Part},
    engine::{DrawnToken, Engine},
    request::CompletionRequest,
};

/// The log-probability that stands for minus infinity, which JSON does not have, as in OpenAI's API.
const IMPOSSIBLE: f64 = -9999.0;

/// Facts that all chunks of an answer share.
pub(super) struct Shape {
    id: String,
    created: u64,
    model: String,
}

/// A choice of a whole answer, made of its parts.
#[derive(Default)]
struct Whole {
    text: String,
    /// Tokens with log-probabilities; the first of a prompt has none.
    tokens: Vec<(u32, Option<DrawnToken>)>,
    ids: Vec<u32>,
    finish_reason: Option<&'static str>,
    facts: Map<String, Value>,
}

impl Shape {
    pub(super) fn new(answer: &Answer, number: u64) -> Self {
        let prefix = if answer.request.is_chat { "chatcmpl" } else { "cmpl" };
        let app = answer.app();
        Self { id: format!("{prefix}-{number}"), created: app.now(), model: app.settings.model.clone() }
    }

    /// The whole answer, of all of its parts.
    pub(super) fn whole(&self, answer: &Answer, parts: Vec<Part>) -> Value {
        let mut choices: Vec<Whole> = (0..answer.choices()).map(|_| Whole::default()).collect();
        for (index, choice) in choices.iter_mut().enumerate() {
            choice.echo(&answer.request, index);
        }
        for part in parts {
            match part {
                Part::Prompt { choice, tokens } => {
                    choices[choice].add_prompt(&answer.request, choice, tokens)
                }
                Part::Piece { choice, piece } => {
                    let whole = &mut choices[choice];
                    whole.text.push_str(&piece.text);
                    whole.ids.extend(piece.tokens.iter().map(|token| token.id));
                    whole.tokens.extend(piece.tokens.into_iter().map(|token| (token.id, Some(token))));
                    whole.finish_reason = piece.finish_reason.or(whole.finish_reason);
                    whole.facts.extend(piece.facts);
                }
            }
        }
        let choices: Vec<Value> = choices
            .into_iter()
            .enumerate()
            .map(|(index, choice)| choice.json(answer, index, false))
            .collect();
        let mut body =
            self.body(answer, if answer.request.is_chat { "chat.completion" } else { "text_completion" });
        body["choices"] = choices.into();
        body["usage"] = usage(answer);
        body
    }

    /// The chunks at the beginning of a stream: the role of a chat's answer, or the prompt that is echoed.
    pub(super) fn first(&self, answer: &Answer) -> Vec<Value> {
        let request = &answer.request;
        let mut chunks = Vec::new();
        for index in 0..answer.choices() {
            if request.is_chat {
                let choice = json!({
                    "index": index, "delta": {"role": "assistant", "content": ""}, "logprobs": null, "finish_reason": null,
                });
                chunks.push(self.chunk(answer, choice));
            } else if request.echo && request.alternatives.is_none() {
                let mut whole = Whole::default();
                whole.echo(request, index);
                chunks.push(self.chunk(answer, whole.json(answer, index, true)));
            }
        }
        chunks
    }

    /// The chunk of a part.
    pub(super) fn part(&self, answer: &Answer, part: Part) -> Value {
        let mut whole = Whole::default();
        let index = match part {
            Part::Prompt { choice, tokens } => {
                whole.echo(&answer.request, choice);
                whole.add_prompt(&answer.request, choice, tokens);
                choice
            }
            Part::Piece { choice, piece } => {
                whole.ids.extend(piece.tokens.iter().map(|token| token.id));
                whole.tokens.extend(piece.tokens.into_iter().map(|token| (token.id, Some(token))));
                (whole.text, whole.finish_reason, whole.facts) =
                    (piece.text, piece.finish_reason, piece.facts);
                choice
            }
        };
        self.chunk(answer, whole.json(answer, index, true))
    }

    /// The last chunk of a stream whose client wants the numbers of tokens.
    pub(super) fn usage(&self, answer: &Answer) -> Value {
        let mut body = self.chunk(answer, Value::Null);
        body["choices"] = json!([]);
        body["usage"] = usage(answer);
        body
    }

    fn chunk(&self, answer: &Answer, choice: Value) -> Value {
        let object = if answer.request.is_chat { "chat.completion.chunk" } else { "text_completion" };
        let mut body = self.body(answer, object);
        body["choices"] = json!([choice]);
        body
    }

    fn body(&self, answer: &Answer, object: &str) -> Value {
        json!({
            "id": self.id, "object": object, "created": self.created, "model": self.model, "seed": answer.seed,
        })
    }
}

impl Whole {
    /// Begins with the prompt's text, if it is to be echoed.
    fn echo(&mut self, request: &CompletionRequest, index: usize) {
        if request.echo {
            self.text.push_str(&request.prompts[index / request.count].text);
        }
    }

    /// Begins with the prompt's tokens.
    fn add_prompt(&mut self, request: &CompletionRequest, index: usize, tokens: Vec<DrawnToken>) {
        let first = request.prompts[index / request.count].ids.first();
        let prompt = first.map(|id| (*id, None)).into_iter();
        let prompt = prompt.chain(tokens.into_iter().map(|token| (token.id, Some(token))));
        self.tokens.splice(0..0, prompt);
    }

    fn json(self, answer: &Answer, index: usize, is_chunk: bool) -> Value {
        let (request, engine) = (&answer.request, &*answer.app().engine);
        let name = |id: u32| match request.tokens_as_ids {
            true => format!("token_id:{id}"),
            false => engine.token_text(id),
        };
        let log_probs = request.alternatives.map(|_| match request.is_chat {
            true => chat_log_probs(&self.tokens, &name),
            false => log_probs(&self.tokens, &name),
        });
        let mut choice = json!({"index": index, "logprobs": log_probs, "finish_reason": self.finish_reason});
        match (request.is_chat, is_chunk) {
            (true, true) => choice["delta"] = json!({"content": self.text}),
            (true, false) => {
                choice["message"] = json!({"role": "assistant", "content": self.text, "refusal": null})
            }
            (false, _) => choice["text"] = self.text.into(),
        }
        if request.token_ids {
            choice["token_ids"] = self.ids.into();
            if !is_chunk {
                choice["prompt_token_ids"] = request.prompts[index / request.count].ids.clone().into();
            }
        }
        if !self.facts.is_empty() {
            choice["disco"] = self.facts.into();
        }
        choice
    }
}

/// A log-probability as JSON; null if it is not known.
fn number(log_prob: Option<f64>) -> Value {
    log_prob.map_or(
        Value::Null,
        |log_prob| if log_prob.is_finite() { log_prob.into() } else { IMPOSSIBLE.into() },
    )
}

/// Log-probabilities of tokens in the shape of `/v1/completions`.
fn log_probs(tokens: &[(u32, Option<DrawnToken>)], name: &dyn Fn(u32) -> String) -> Value {
    let mut offset = 0;
    let (mut names, mut offsets) = (Vec::new(), Vec::new());
    let (mut scores, mut alternatives) = (Vec::new(), Vec::new());
    for (id, token) in tokens {
        let text = name(*id);
        offsets.push(offset);
        offset += text.chars().count();
        names.push(text);
        scores.push(token.as_ref().map(|token| number(token.log_prob)));
        // The token itself is among them, as in OpenAI's API.
        let of = |token: &DrawnToken| {
            let others = token.alternatives.iter().map(|(id, log_prob)| (*id, Some(*log_prob)));
            let all = others.chain([(token.id, token.log_prob)]);
            all.map(|(id, log_prob)| (name(id), number(log_prob))).collect::<BTreeMap<String, Value>>()
        };
        alternatives.push(token.as_ref().map(of));
    }
    json!({"tokens": names, "token_logprobs": scores, "top_logprobs": alternatives, "text_offset": offsets})
}

/// Log-probabilities of tokens in the shape of `/v1/chat/completions`.
fn chat_log_probs(tokens: &[(u32, Option<DrawnToken>)], name: &dyn Fn(u32) -> String) -> Value {
    let entry = |id: u32, log_prob: Option<f64>| {
        let text = name(id);
        json!({"token": text, "logprob": number(log_prob), "bytes": text.as_bytes()})
    };
    let one = |token: &DrawnToken| {
        let mut one = entry(token.id, token.log_prob);
        one["top_logprobs"] =
            token.alternatives.iter().map(|(id, log_prob)| entry(*id, Some(*log_prob))).collect();
        one
    };
    let content: Vec<Value> = tokens.iter().filter_map(|(_, token)| token.as_ref()).map(one).collect();
    json!({"content": content, "refusal": null})
}

fn usage(answer: &Answer) -> Value {
    let [prompt, completion] = answer.usage();
    json!({"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion})
}

/// The entry of `/v1/models`.
pub(super) fn model(name: &str, created: u64, engine: &dyn Engine) -> Value {
    json!({
        "id": name, "object": "model", "created": created, "owned_by": "disco", "max_model_len": engine.positions(),
    })
}
