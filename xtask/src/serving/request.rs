//! Requests for completions, as clients of OpenAI's API write them.

use axum::http::StatusCode;
use serde_json::Value;

use super::{
    api_error::ApiError,
    engine::{Asked, ChatMessage, Engine, Prompt, SamplingSettings},
    fields::Fields,
    settings::ServerSettings,
};

/// The most alternatives that are reported beside a token, as in OpenAI's API for chats.
const ALTERNATIVES: usize = 20;

/// The most texts at which a completion stops, and the most bytes of one.
const STOPS: [usize; 2] = [16, 1024];

/// The number of tokens of a completion, by default, as in OpenAI's API.
const MAX_TOKENS: usize = 16;

/// A request for completions, of texts or of a conversation.
#[derive(Debug)]
pub(super) struct CompletionRequest {
    pub(super) prompts: Vec<Prompt>,
    pub(super) is_chat: bool,
    /// The number of completions of each prompt.
    pub(super) count: usize,
    pub(super) seed: Option<u64>,
    pub(super) sampling: SamplingSettings,
    /// How many alternatives are reported beside each token; `None`: nor are log-probabilities.
    pub(super) alternatives: Option<usize>,
    /// Whether the prompt is part of the answer.
    pub(super) echo: bool,
    pub(super) stops: Vec<String>,
    pub(super) stream: bool,
    /// Whether a stream ends with the numbers of tokens.
    pub(super) include_usage: bool,
    /// Whether the ids of tokens are part of the answer.
    pub(super) token_ids: bool,
    /// Whether tokens in log-probabilities are named by their ids, as `token_id:7`.
    pub(super) tokens_as_ids: bool,
}

impl CompletionRequest {
    /// A request for completions of texts or lists of token ids.
    pub(super) fn completions(
        body: Value,
        engine: &dyn Engine,
        settings: &ServerSettings,
    ) -> Result<Self, ApiError> {
        let mut fields = Fields::new(body)?;
        check_model(&mut fields, settings)?;
        let prompts = prompts(&mut fields, engine)?;
        let echo = fields.flag("echo")?;
        let least = usize::from(!echo);
        let max_tokens = fields.whole("max_tokens", least, settings.max_tokens)?;
        let alternatives = fields.whole("logprobs", 0, ALTERNATIVES)?;
        let mut request = Self::common(&mut fields, settings, prompts)?;
        // `best_of` draws more than it returns.
        let count = request.count;
        fields.read("best_of", &format!("{count}, the value of `n`"), |value| {
            (value.as_u64() == Some(count as u64)).then_some(())
        })?;
        fields.finish()?;
        let default = engine.default_tokens().unwrap_or(MAX_TOKENS).min(settings.max_tokens);
        request.sampling.max_tokens = max_tokens.unwrap_or(default);
        (request.echo, request.alternatives) = (echo, alternatives);
        request.check(engine)
    }

    /// A request for answers in a conversation.
    pub(super) fn chat(
        body: Value,
        engine: &dyn Engine,
        settings: &ServerSettings,
    ) -> Result<Self, ApiError> {
        let mut fields = Fields::new(body)?;
        check_model(&mut fields, settings)?;
        let prompt = engine.read(Asked::Chat(messages(&mut fields)?))?;
        let asked = [
            fields.whole("max_tokens", 1, settings.max_tokens)?,
            fields.whole("max_completion_tokens", 1, settings.max_tokens)?,
        ];
        let left = engine.positions().saturating_sub(prompt.ids.len());
        let default = engine.default_tokens().unwrap_or(left).clamp(1, settings.max_tokens);
        let has_log_probs = fields.flag("logprobs")?;
        let alternatives = fields.whole("top_logprobs", 0, ALTERNATIVES)?;
        if alternatives.is_some() && !has_log_probs {
            return Err(ApiError::invalid("top_logprobs", "is given, and `logprobs` is not true"));
        }
        let mut request = Self::common(&mut fields, settings, vec![prompt])?;
        fields.finish()?;
        request.sampling.max_tokens = asked.into_iter().flatten().min().unwrap_or(default);
        request.alternatives = has_log_probs.then_some(alternatives.unwrap_or(0));
        Self { is_chat: true, ..request }.check(engine)
    }

    /// The fields that both kinds of requests have.
    fn common(
        fields: &mut Fields,
        settings: &ServerSettings,
        prompts: Vec<Prompt>,
    ) -> Result<Self, ApiError> {
        let share = |value: f64| value > 0.0 && value <= 1.0;
        let temperature = fields.number("temperature", 1.0, "0, or from 1e-30 to 1e30", |value| {
            value == 0.0 || (1e-30..=1e30).contains(&value)
        })?;
        let greedy = temperature == 0.0;
        let sampling = SamplingSettings {
            max_tokens: 0,
            min_tokens: fields.whole("min_tokens", 0, settings.max_tokens)?.unwrap_or(0),
            greedy,
            // Of a greedy choice, the log-probabilities are those of the model.
            temperature: if greedy { 1.0 } else { temperature },
            top_k: fields
                .read("top_k", "a whole number from -1; 0 and -1: all", |value| {
                    value.as_i64().filter(|count| *count >= -1)
                })?
                .map_or(0, |count| usize::try_from(count).unwrap_or(0)),
            top_p: fields.number("top_p", 1.0, "a number above 0 and at most 1", share)?,
            min_p: fields
                .number("min_p", 0.0, "a number from 0 to 1", |value| (0.0..=1.0).contains(&value))?,
            typical_p: fields.number("typical_p", 1.0, "a number above 0 and at most 1", share)?,
            repetition_penalty: fields.number(
                "repetition_penalty",
                1.0,
                "a finite number above 0",
                |value| value > 0.0 && value.is_finite() && value.recip().is_finite(),
            )?,
        };
        let most = (settings.max_completions / prompts.len().max(1)).max(1);
        let count = fields.whole("n", 1, most)?.unwrap_or(1);
        if prompts.len() * count > settings.max_completions {
            let problem = format!(
                "has {} prompts; allowed: at most {} completions in a request",
                prompts.len(),
                settings.max_completions
            );
            return Err(ApiError::invalid("prompt", problem));
        }
        let stream = fields.flag("stream")?;
        let options =
            fields.read("stream_options", "an object such as {\"include_usage\": true}", |value| {
                value.is_object().then(|| value["include_usage"] == true)
            })?;
        Ok(Self {
            prompts,
            is_chat: false,
            count,
            seed: fields.seed()?,
            sampling,
            alternatives: None,
            echo: false,
            stops: stops(fields)?,
            stream,
            include_usage: options.unwrap_or(false),
            token_ids: fields.flag("return_token_ids")?,
            tokens_as_ids: fields.flag("return_tokens_as_token_ids")?,
        })
    }

    /// Checks what several fields say together.
    fn check(self, engine: &dyn Engine) -> Result<Self, ApiError> {
        let (new, positions) = (self.sampling.max_tokens, engine.positions());
        if self.sampling.min_tokens > new {
            let problem = format!("is {}; allowed: at most `max_tokens`, {new}", self.sampling.min_tokens);
            return Err(ApiError::invalid("min_tokens", problem));
        }
        let field = if self.is_chat { "messages" } else { "prompt" };
        for prompt in &self.prompts {
            let length = prompt.ids.len();
            if length == 0 {
                return Err(ApiError::invalid(field, "has no token; at least one is needed"));
            }
            if length + new > positions {
                let problem = format!(
                    "has {length} tokens, and {new} new ones are asked for; allowed: {positions} together"
                );
                return Err(ApiError::invalid(field, problem).with_code("context_length_exceeded"));
            }
        }
        Ok(self)
    }
}

/// Checks that the request names the model that is served, if it names one.
fn check_model(fields: &mut Fields, settings: &ServerSettings) -> Result<(), ApiError> {
    match fields.text("model")? {
        Some(name) if name != settings.model => {
            let message = format!("there is no model `{name}`; there is: {}", settings.model);
            Err(ApiError::new(StatusCode::NOT_FOUND, message).with_code("model_not_found"))
        }
        _ => Ok(()),
    }
}

/// The prompts: a text, a list of token ids, or a list of either.
fn prompts(fields: &mut Fields, engine: &dyn Engine) -> Result<Vec<Prompt>, ApiError> {
    const ALLOWED: &str = "a string, a list of token ids, or a list of strings or of lists of token ids";
    let prompt = fields
        .take("prompt")
        .ok_or_else(|| ApiError::invalid("prompt", format!("is missing; allowed: {ALLOWED}")))?;
    let refused = || ApiError::invalid("prompt", format!("is of another type; allowed: {ALLOWED}"));
    let is_ids = |items: &[Value]| !items.is_empty() && items.iter().all(Value::is_number);
    let read = |prompt: &Value| match prompt {
        Value::String(text) => Ok(engine.read(Asked::Text(text.clone()))?),
        Value::Array(items) if is_ids(items) => {
            let ids = items.iter().map(|id| u32::try_from(id.as_u64()?).ok()).collect::<Option<Vec<u32>>>();
            Ok(engine.read(Asked::Ids(ids.ok_or_else(refused)?))?)
        }
        _ => Err(refused()),
    };
    match &prompt {
        Value::Array(items) if !is_ids(items) => {
            let prompts = items.iter().map(read).collect::<Result<Vec<Prompt>, ApiError>>()?;
            if prompts.is_empty() { Err(refused()) } else { Ok(prompts) }
        }
        one => Ok(vec![read(one)?]),
    }
}

/// The messages of a conversation. The content of one is a text, or a list of parts that are texts.
fn messages(fields: &mut Fields) -> Result<Vec<ChatMessage>, ApiError> {
    const ALLOWED: &str = "a list, not empty, of {\"role\": TEXT, \"content\": TEXT}";
    let messages = fields.read("messages", ALLOWED, |value| {
        let messages = value.as_array().filter(|messages| !messages.is_empty())?;
        let part = |part: &Value| (part["type"] == "text").then(|| part["text"].as_str())?.map(str::to_owned);
        let content = |content: &Value| match content {
            Value::String(text) => Some(text.clone()),
            Value::Array(parts) => parts.iter().map(part).collect::<Option<String>>(),
            _ => None,
        };
        let message = |message: &Value| {
            Some(ChatMessage {
                role: message["role"].as_str()?.into(),
                content: content(&message["content"])?,
            })
        };
        messages.iter().map(message).collect::<Option<Vec<ChatMessage>>>()
    })?;
    messages.ok_or_else(|| ApiError::invalid("messages", format!("is missing; allowed: {ALLOWED}")))
}

/// The texts at which a completion stops.
fn stops(fields: &mut Fields) -> Result<Vec<String>, ApiError> {
    let [most, longest] = STOPS;
    let allowed = format!("a string, or at most {most} strings, each of 1 to {longest} bytes");
    let stops = fields.read("stop", &allowed, |value| {
        let stops: Vec<String> = match value {
            Value::String(text) => vec![text.clone()],
            Value::Array(texts) => {
                texts.iter().map(|text| text.as_str().map(str::to_owned)).collect::<Option<_>>()?
            }
            _ => return None,
        };
        let fit = stops.iter().all(|text| (1..=longest).contains(&text.len()));
        (fit && stops.len() <= most).then_some(stops)
    })?;
    Ok(stops.unwrap_or_default())
}
