//! A language model as the engine of a server.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use disco_core::Streams;
use disco_lm::{
    Decoding, FinishReason, GenerationEvent, GenerationRequest, GenerationService, LanguageModel, Message,
    RequestGuard, RequestProblem, ServiceLimits, TokenLogProb,
};
use serde_json::Map;

use super::engine::{
    ChatMessage, DrawEvent, DrawRequest, Drawing, DrawnToken, Engine, EngineLoad, OnEvent, Refusal,
};
use crate::Result;

/// A language model as the engine of a [`Server`](super::Server), with continuous batching across requests.
#[derive(Debug)]
pub struct LanguageModelEngine {
    model: LanguageModel,
    positions: usize,
    service: GenerationService,
    /// The texts of tokens that were shown.
    texts: Mutex<HashMap<u32, String>>,
}

impl LanguageModelEngine {
    /// Starts to serve a model.
    ///
    /// # Errors
    /// As [`GenerationService::start`].
    pub fn start(model: LanguageModel, limits: ServiceLimits) -> Result<Self> {
        let service = GenerationService::start(model.tokens(), limits)?;
        let positions = model.tokens().positions();
        Ok(Self { model, positions, service, texts: Mutex::default() })
    }

    /// The text of a token by itself: its id, where it has none of its own.
    fn text_of(&self, id: u32) -> String {
        let text = self.model.completion(vec![id]).map(|completion| completion.text).unwrap_or_default();
        let is_own = !text.is_empty() && !text.contains(char::REPLACEMENT_CHARACTER);
        if is_own { text } else { format!("token_id:{id}") }
    }
}

impl Engine for LanguageModelEngine {
    fn positions(&self) -> usize {
        self.positions
    }

    fn encode(&self, text: &str) -> Result<Vec<u32>, Refusal> {
        self.model.encode(text).map_err(|error| Refusal::Invalid(error.to_string()))
    }

    fn encode_chat(&self, messages: &[ChatMessage]) -> Result<Vec<u32>, Refusal> {
        let message = |message: &ChatMessage| Message::new(&*message.role, &*message.content);
        let messages: Vec<Message> = messages.iter().map(message).collect();
        self.model.chat_ids(&messages).map_err(|error| Refusal::Invalid(error.to_string()))
    }

    fn text_after(&self, before: &[u32], tokens: &[u32]) -> Result<String, Refusal> {
        if let Some(id) = tokens.iter().find(|id| **id as usize >= self.model.tokens().vocabulary()) {
            return Err(Refusal::Invalid(format!("token id {id} is not in the vocabulary")));
        }
        let completion = self.model.completion_after(before, tokens.to_vec());
        completion.map(|completion| completion.text).map_err(|error| Refusal::Failed(error.to_string()))
    }

    fn token_text(&self, id: u32) -> String {
        let mut texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        texts.entry(id).or_insert_with(|| self.text_of(id)).clone()
    }

    fn draw(&self, request: DrawRequest, mut on_event: OnEvent) -> Result<Box<dyn Drawing>, Refusal> {
        let sampling = request.sampling;
        let decoding = Decoding {
            min_new_tokens: sampling.min_tokens,
            temperature: sampling.temperature,
            top_k: sampling.top_k,
            top_p: sampling.top_p,
            min_p: sampling.min_p,
            typical_p: sampling.typical_p,
            repetition_penalty: sampling.repetition_penalty,
            ..Decoding::default()
        };
        let streams = request.first_stream..request.first_stream + request.count as u64;
        let asked = GenerationRequest {
            decoding,
            max_new_tokens: sampling.max_tokens,
            greedy: sampling.greedy,
            alternatives: request.alternatives,
            context_log_probs: request.context_log_probs,
            ..GenerationRequest::new(request.context, Streams::numbered(request.seed, streams))
        };
        let guard = self.service.submit_to(&asked, move |event| on_event(translated(event)));
        match guard {
            Ok(guard) => Ok(Box::new(Guarded(guard))),
            Err(error) => Err(refusal(error)),
        }
    }

    fn load(&self) -> EngineLoad {
        let load = self.service.load();
        EngineLoad { waiting: load.waiting, running: load.running }
    }

    fn close(&self) {
        self.service.close();
    }
}

/// A request to the service.
struct Guarded(RequestGuard);

impl Drawing for Guarded {
    fn cancel(&self, completion: usize) {
        self.0.cancel(completion);
    }
}

fn refusal(error: disco_lm::Error) -> Refusal {
    match error {
        disco_lm::Error::Request { problem: problem @ RequestProblem::QueueFull { .. } } => {
            Refusal::Busy(problem.to_string())
        }
        disco_lm::Error::Request { problem: RequestProblem::Stopped } => Refusal::Stopped,
        error => Refusal::Invalid(error.to_string()),
    }
}

fn translated(event: disco_lm::Result<GenerationEvent>) -> DrawEvent {
    let token = |token: TokenLogProb| DrawnToken {
        id: token.id,
        log_prob: token.log_prob,
        alternatives: token.alternatives,
    };
    match event {
        Ok(GenerationEvent::Context(tokens)) => DrawEvent::Context(tokens.into_iter().map(token).collect()),
        Ok(GenerationEvent::Token { sequence, token: drawn }) => {
            DrawEvent::Token { completion: sequence, token: token(drawn) }
        }
        Ok(GenerationEvent::Finished { sequence, reason }) => {
            let is_cut = reason == FinishReason::Length;
            DrawEvent::Finished { completion: sequence, is_cut, facts: Map::new() }
        }
        Ok(_) => DrawEvent::Failed("an event that is not known".into()),
        Err(error) => DrawEvent::Failed(error.to_string()),
    }
}
