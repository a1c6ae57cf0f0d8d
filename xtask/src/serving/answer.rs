//! The answer to a request while it is drawn: choices of all prompts, piece by piece.

use std::{sync::Arc, time::Instant};

use axum::http::StatusCode;
use tokio::{
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::timeout_at,
};

use super::{
    api_error::ApiError,
    app::App,
    choice::{Choice, Piece},
    engine::{DrawEvent, DrawRequest, Drawing, DrawnToken},
    request::CompletionRequest,
};

/// An answer that is being drawn. Dropping it cancels what is left.
pub(super) struct Answer {
    app: Arc<App>,
    pub(super) request: CompletionRequest,
    pub(super) seed: u64,
    choices: Vec<Choice>,
    drawings: Vec<Box<dyn Drawing>>,
    events: UnboundedReceiver<(usize, DrawEvent)>,
    begun: Instant,
    is_finished: bool,
}

/// A part of an answer: of the choice with this index.
#[derive(Debug)]
pub(super) enum Part {
    /// The prompt with its tokens, of which the first has no log-probability.
    Prompt { choice: usize, tokens: Vec<DrawnToken> },
    /// A part of the completion.
    Piece { choice: usize, piece: Piece },
}

impl Answer {
    /// Hands the request to the engine.
    pub(super) fn begin(app: &Arc<App>, request: CompletionRequest) -> Result<Self, ApiError> {
        let seed = request.seed.unwrap_or_else(|| app.next_seed());
        let (sender, events) = unbounded_channel();
        let stops: Arc<[String]> = request.stops.as_slice().into();
        let (mut choices, mut drawings) = (Vec::new(), Vec::new());
        for (number, prompt) in request.prompts.iter().enumerate() {
            app.metrics.prompt_tokens(prompt.ids.len());
            let ids: Arc<[u32]> = prompt.ids.as_slice().into();
            let first = number * request.count;
            let new =
                (first..first + request.count).map(|index| Choice::new(index, ids.clone(), stops.clone()));
            choices.extend(new);
            let sender = sender.clone();
            // The answer may be gone; its drawings are cancelled then.
            let on_event = Box::new(move |event| sender.send((number, event)).unwrap_or_default());
            let context_log_probs = request.echo && request.alternatives.is_some();
            if request.sampling.max_tokens == 0 && !context_log_probs {
                continue;
            }
            let asked = DrawRequest {
                prompt: prompt.clone(),
                seed,
                first_stream: first as u64,
                count: request.count,
                sampling: request.sampling.clone(),
                alternatives: request.alternatives,
                context_log_probs,
            };
            drawings.push(app.engine.draw(asked, on_event)?);
        }
        let begun = Instant::now();
        Ok(Self { app: app.clone(), request, seed, choices, drawings, events, begun, is_finished: false })
    }

    /// The parts that come next; none at the end.
    pub(super) async fn next(&mut self) -> Result<Vec<Part>, ApiError> {
        loop {
            if self.choices.iter().all(Choice::is_done) {
                self.finish();
                return Ok(Vec::new());
            }
            if self.drawings.is_empty() {
                // Nothing was to be drawn.
                return self.end_all();
            }
            let deadline = tokio::time::Instant::from_std(self.begun + self.app.settings.request_time);
            let event = timeout_at(deadline, self.events.recv()).await.map_err(|_| self.timed_out())?;
            let Some((prompt, event)) = event else {
                return Err(ApiError::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "the engine ended without an answer",
                ));
            };
            let parts = self.take(prompt, event)?;
            if !parts.is_empty() {
                return Ok(parts);
            }
        }
    }

    fn take(&mut self, prompt: usize, event: DrawEvent) -> Result<Vec<Part>, ApiError> {
        let (engine, count) = (&*self.app.engine, self.request.count);
        match event {
            DrawEvent::Failed(refusal) => Err(refusal.into()),
            DrawEvent::Prompt(tokens) => {
                let choices = prompt * count..(prompt + 1) * count;
                let mut parts: Vec<Part> =
                    choices.clone().map(|choice| Part::Prompt { choice, tokens: tokens.clone() }).collect();
                if self.request.sampling.max_tokens == 0 {
                    for choice in choices {
                        let piece = self.choices[choice].finish(engine, true)?;
                        parts.push(Part::Piece { choice, piece });
                    }
                }
                Ok(parts)
            }
            DrawEvent::Facts { completion, facts } => {
                self.choices[prompt * count + completion].facts = facts;
                Ok(Vec::new())
            }
            DrawEvent::Token { completion, token } => {
                self.app.metrics.completion_token();
                let choice = &mut self.choices[prompt * count + completion];
                let piece = choice.push(engine, token)?;
                if choice.is_done() {
                    self.drawings[prompt].cancel(completion);
                }
                Ok(part(choice.index, piece))
            }
            DrawEvent::Finished { completion, is_cut } => {
                let choice = &mut self.choices[prompt * count + completion];
                let piece = choice.finish(engine, is_cut)?;
                Ok(part(choice.index, piece))
            }
        }
    }

    /// Ends every choice without a token.
    fn end_all(&mut self) -> Result<Vec<Part>, ApiError> {
        let engine = &*self.app.engine;
        let mut parts = Vec::new();
        for choice in &mut self.choices {
            let piece = choice.finish(engine, true)?;
            parts.push(Part::Piece { choice: choice.index, piece });
        }
        Ok(parts)
    }

    fn timed_out(&self) -> ApiError {
        let seconds = self.app.settings.request_time.as_secs_f64();
        ApiError::new(StatusCode::GATEWAY_TIMEOUT, format!("the request took longer than {seconds} seconds"))
    }

    fn finish(&mut self) {
        if !std::mem::replace(&mut self.is_finished, true) {
            self.app.metrics.finished(self.begun.elapsed());
        }
    }

    /// The numbers of tokens: of the prompts, and of the completions.
    pub(super) fn usage(&self) -> [usize; 2] {
        let prompts = self.request.prompts.iter().map(|prompt| prompt.ids.len()).sum();
        [prompts, self.choices.iter().map(Choice::tokens).sum()]
    }

    pub(super) fn choices(&self) -> usize {
        self.choices.len()
    }

    pub(super) fn app(&self) -> &App {
        &self.app
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if !self.is_finished {
            self.app.metrics.abandoned();
        }
    }
}

/// A piece that has something in it.
fn part(choice: usize, piece: Piece) -> Vec<Part> {
    let is_empty = piece.text.is_empty() && piece.tokens.is_empty() && piece.finish_reason.is_none();
    if is_empty { Vec::new() } else { vec![Part::Piece { choice, piece }] }
}
