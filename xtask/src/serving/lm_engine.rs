//! A language model as the engine of a server.

use disco_core::Streams;
use disco_lm::{
    Decoding, FinishReason, GenerationEvent, GenerationRequest, GenerationService, LanguageModel,
    RequestGuard, RequestProblem, ServiceLimits, TokenLogProb,
};

use super::{
    engine::{
        Asked, DrawEvent, DrawRequest, Drawing, DrawnToken, Engine, EngineLoad, OnEvent, Prompt, Refusal,
    },
    lm_text::LmText,
};
use crate::Result;

/// A language model as the engine of a [`Server`](super::Server), with continuous batching across requests.
#[derive(Debug)]
pub struct LanguageModelEngine {
    text: LmText,
    service: GenerationService,
}

impl LanguageModelEngine {
    /// Starts to serve a model.
    ///
    /// # Errors
    /// As [`GenerationService::start`].
    pub fn start(model: LanguageModel, limits: ServiceLimits) -> Result<Self> {
        let service = GenerationService::start(model.tokens(), limits)?;
        Ok(Self { text: LmText::new(model), service })
    }
}

impl Engine for LanguageModelEngine {
    fn positions(&self) -> usize {
        self.text.positions()
    }

    fn read(&self, asked: Asked) -> Result<Prompt, Refusal> {
        match asked {
            Asked::Text(text) => self.text.of_text(text),
            Asked::Ids(ids) => self.text.of_ids(ids),
            Asked::Chat(messages) => self.text.of_chat(&messages),
        }
    }

    fn text_after(&self, before: &[u32], tokens: &[u32]) -> Result<String, Refusal> {
        self.text.text_after(before, tokens)
    }

    fn token_text(&self, id: u32) -> String {
        self.text.token_text(id)
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
            alternatives: request.alternatives.unwrap_or(0),
            context_log_probs: request.context_log_probs,
            ..GenerationRequest::new(request.prompt.ids, Streams::numbered(request.seed, streams))
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
        log_prob: Some(token.log_prob),
        alternatives: token.alternatives,
    };
    match event {
        Ok(GenerationEvent::Context(tokens)) => DrawEvent::Prompt(tokens.into_iter().map(token).collect()),
        Ok(GenerationEvent::Token { sequence, token: drawn }) => {
            DrawEvent::Token { completion: sequence, token: token(drawn) }
        }
        Ok(GenerationEvent::Finished { sequence, reason }) => {
            let is_cut = reason == FinishReason::Length;
            DrawEvent::Finished { completion: sequence, is_cut }
        }
        Ok(_) => DrawEvent::Failed(Refusal::Failed("an event that is not known".into())),
        Err(error) => DrawEvent::Failed(Refusal::Failed(error.to_string())),
    }
}
