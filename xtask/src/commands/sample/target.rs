//! Samples of a saved target, from the proposals of a model.

use std::hash::Hash;

use disco_core::{Distribution, Scorer};
use disco_qrs::Draw;
use serde::{Serialize, de::DeserializeOwned};

use super::TargetSampling;
use crate::{
    Result, StageError,
    contexts::TextContext,
    features::TextSample,
    stages::{BoundTarget, SampleLines},
    steering::{Accepted, Untuned, UntunedTask, accept, on_untuned_model},
    terminal::say,
};

/// A line. It has no `log_prob`: the probability with which a sample was accepted is known up to a factor only.
#[derive(Serialize)]
struct Line<'a, X> {
    context: &'a TextContext,
    sample: &'a X,
    /// Its log-score under the distribution of the accepted samples, which is not normalised, in nats.
    log_score: f64,
    /// Its log-score under the target, which is not normalised.
    log_target: f64,
    /// Its log-probability under the model that proposed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    log_proposal: Option<f64>,
}

pub(super) fn run(sampling: &TargetSampling) -> Result<()> {
    let lines = SampleLines::open(sampling.out.as_deref(), sampling.inputs.as_ref())?;
    on_untuned_model(&sampling.target.spec, &sampling.model, Task { sampling, lines })
}

struct Task<'a> {
    sampling: &'a TargetSampling,
    lines: SampleLines,
}

impl UntunedTask for Task<'_> {
    type Output = ();

    fn run<X, B, Q, D>(self, load: impl FnOnce() -> Result<(Untuned<B, Q, X>, D)>) -> Result<()>
    where
        X: TextSample + Eq + Hash + Serialize + DeserializeOwned,
        B: Scorer<TextContext, X>,
        Q: Distribution<TextContext, X>,
        D: Distribution<TextContext, X>,
    {
        let Self { sampling, mut lines } = self;
        let BoundTarget { plan, base, beside: policy, fit } = BoundTarget::new(&sampling.target, load)?;
        let take = |context: &TextContext, draw: &Draw<X>| {
            let Draw { value, log_target, log_proposal, log_score, .. } = draw;
            lines.write(&Line {
                context,
                sample: value,
                log_score: *log_score,
                log_target: *log_target,
                log_proposal: *log_proposal,
            })
        };
        let accepted = accept(&plan, &base, &fit, &policy, sampling.accept, take)?;
        lines.finish()?;
        let Accepted { asked, draws, proposals, .. } = accepted;
        say(format_args!("{:<16} {draws} samples of the target from {proposals} proposals", "sample"));
        accepted.notes.iter().for_each(|note| say(format_args!("{:<16} {note}", "")));
        if draws < asked {
            return Err(StageError::TooFew { asked, draws, proposals }.into());
        }
        Ok(())
    }
}
