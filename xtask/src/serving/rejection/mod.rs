//! A target as the engine of a server: each completion is a sample of it, by quasi-rejection sampling from a policy.
//!
//! A request becomes a job (`jobs.rs`). Threads take jobs, find the beta of the context (`calibration.rs`), and accept proposals
//! (`sampler.rs`), which are drawn in batches for all of them (`joint_draws.rs`).

mod calibration;
mod jobs;
mod joint_draws;
mod sampler;

use std::sync::Arc;

use disco_core::{Distribution, Scorer};
use disco_ebm::Fit;
use disco_lm::LanguageModel;
pub(crate) use sampler::Acceptance;

use self::{
    jobs::{Cancelled, Handle, Job, Jobs},
    sampler::TargetSampler,
};
use super::{
    engine::{
        Asked, ChatMessage, DrawRequest, Drawing, Engine, EngineLoad, OnEvent, Prompt, Refusal,
        SamplingSettings,
    },
    lm_text::LmText,
};
use crate::{
    contexts::TextContext,
    features::TextSample,
    spec::{ChatSpec, ContextSpec, Spec},
};

/// A target as the engine of a [`Server`](super::Server).
///
/// How a completion is sampled follows from the target's run file: requests may choose prompt, number, seed, length and texts at
/// which to stop, and nothing else. A sample that is longer than a request allows is cut.
pub(crate) struct TargetEngine {
    text: LmText,
    contexts: ContextSpec,
    max_new_tokens: usize,
    jobs: Arc<Jobs>,
}

impl TargetEngine {
    /// The engine of the target of a run file. Its samples are proposed by `model`; at most `waiting` requests wait.
    pub(crate) fn new(spec: &Spec, model: LanguageModel, waiting: usize) -> Self {
        Self {
            text: LmText::new(model),
            contexts: spec.contexts.clone(),
            max_new_tokens: spec.model.max_new_tokens,
            jobs: Arc::new(Jobs::new(waiting)),
        }
    }

    /// Serves while `work` goes on, which gets the engine; at its end, the samples that are still being drawn are finished or cancelled.
    pub(crate) fn serve<X, T>(
        self,
        base: &impl Scorer<TextContext, X>,
        policy: &impl Distribution<TextContext, X>,
        fit: &Fit<TextContext, X>,
        acceptance: Acceptance,
        work: impl FnOnce(Arc<dyn Engine>) -> T,
    ) -> T
    where
        X: TextSample,
    {
        let jobs = self.jobs.clone();
        TargetSampler::new(base, policy, fit, acceptance).run(&jobs, || work(Arc::new(self)))
    }

    /// The context of a prompt, with the columns of the run file's row.
    fn context(&self, text: &str) -> Result<TextContext, Refusal> {
        let mut rows = self.contexts.items.iter().filter(|context| context.text() == text);
        match (rows.next(), rows.next()) {
            (None, _) => Ok(text.into()),
            (Some(row), None) => Ok(row.clone()),
            (Some(_), Some(_)) => {
                let message = "several rows of the run file's contexts have this text, and a prompt cannot say which of them is meant";
                Err(Refusal::Invalid(message.into()))
            }
        }
    }

    /// The message of the user, if the conversation is one that the run file's contexts can be.
    fn user_message(&self, chat: &ChatSpec, mut messages: Vec<ChatMessage>) -> Result<String, Refusal> {
        let system = messages.first().filter(|message| message.role == "system");
        let is_own = system.is_none_or(|message| Some(message.content.as_str()) == chat.system.as_deref());
        let others = messages.len() - usize::from(system.is_some());
        match messages.pop() {
            Some(last) if is_own && others == 1 && last.role == "user" => Ok(last.content),
            _ => {
                let system = chat.system.as_ref().map_or_else(String::new, |system| {
                    format!(", which may be preceded by the message of the system {system:?}")
                });
                Err(Refusal::Invalid(format!(
                    "`messages` of this target are one message of the user{system}"
                )))
            }
        }
    }
}

impl Engine for TargetEngine {
    fn positions(&self) -> usize {
        self.text.positions()
    }

    fn default_tokens(&self) -> Option<usize> {
        Some(self.max_new_tokens)
    }

    fn read(&self, asked: Asked) -> Result<Prompt, Refusal> {
        let prompt = match (asked, &self.contexts.chat) {
            (Asked::Chat(messages), Some(chat)) => self.text.of_text(self.user_message(chat, messages)?)?,
            (Asked::Text(text), None) => self.text.of_text(text)?,
            (Asked::Ids(ids), None) => {
                let prompt = self.text.of_ids(ids)?;
                let again = self.text.of_text(prompt.text.clone())?;
                if again.ids != prompt.ids {
                    let message =
                        "`prompt` has token ids that its text does not have: a target continues texts";
                    return Err(Refusal::Invalid(message.into()));
                }
                prompt
            }
            (Asked::Chat(_), None) => {
                let message = "the contexts of this target are texts; they are continued at /v1/completions";
                return Err(Refusal::Invalid(message.into()));
            }
            (_, Some(_)) => {
                let message = "the contexts of this target are messages of a user; they are answered at /v1/chat/completions";
                return Err(Refusal::Invalid(message.into()));
            }
        };
        self.context(&prompt.text)?;
        Ok(prompt)
    }

    fn text_after(&self, before: &[u32], tokens: &[u32]) -> Result<String, Refusal> {
        self.text.text_after(before, tokens)
    }

    fn token_text(&self, id: u32) -> String {
        self.text.token_text(id)
    }

    fn draw(&self, request: DrawRequest, on_event: OnEvent) -> Result<Box<dyn Drawing>, Refusal> {
        if request.alternatives.is_some() || request.context_log_probs {
            let message = "`logprobs` is given; allowed: nothing, since the probability of a sample of the target is known up to a factor \
                           only, which `log_target` has";
            return Err(Refusal::Invalid(message.into()));
        }
        check_sampling(&request.sampling)?;
        let context = self.context(&request.prompt.text)?;
        let handle = Handle(Cancelled::new(request.count));
        self.jobs.push(Job {
            context,
            seed: request.seed,
            stream: request.first_stream,
            count: request.count,
            max_tokens: request.sampling.max_tokens,
            cancelled: handle.0.clone(),
            on_event,
        })?;
        Ok(Box::new(handle))
    }

    fn load(&self) -> EngineLoad {
        self.jobs.load()
    }

    fn close(&self) {
        self.jobs.close();
    }
}

/// Refuses a request that would change the distribution of the completions.
fn check_sampling(sampling: &SamplingSettings) -> Result<(), Refusal> {
    let temperature = if sampling.greedy { 0.0 } else { sampling.temperature };
    let settings = [
        ("min_tokens", sampling.min_tokens as f64, 0.0),
        ("temperature", temperature, 1.0),
        ("top_k", sampling.top_k as f64, 0.0),
        ("top_p", sampling.top_p, 1.0),
        ("min_p", sampling.min_p, 0.0),
        ("typical_p", sampling.typical_p, 1.0),
        ("repetition_penalty", sampling.repetition_penalty, 1.0),
    ];
    match settings.into_iter().find(|(_, value, neutral)| value != neutral) {
        Some((name, value, neutral)) => Err(Refusal::Invalid(format!(
            "`{name}` is {value}; allowed: {neutral}, or nothing, since the target's run file says how the model is sampled"
        ))),
        None => Ok(()),
    }
}
