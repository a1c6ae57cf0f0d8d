//! Log-scores of samples under a policy, a base and a target.

use std::{collections::BTreeMap, hash::Hash};

use disco_core::{Distribution, Scorer};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use super::Scoring;
use crate::{
    Progress, Result,
    contexts::TextContext,
    features::TextSample,
    samples::{SampleLine, StoredLine},
    stages::{BoundTarget, SampleLines, TargetFile},
    steering::{Untuned, UntunedTask, on_untuned_model, score_chunk},
};

/// The number of samples of one context that are scored at once.
const CHUNK: usize = 256;

pub(super) fn run(scoring: &Scoring, target: &TargetFile) -> Result<()> {
    let lines = SampleLines::open(scoring.out.as_deref(), scoring.shard.as_ref())?;
    on_untuned_model(&target.spec, &scoring.model.source, Task { scoring, target, lines })
}

struct Task<'a> {
    scoring: &'a Scoring,
    target: &'a TargetFile,
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
        let Self { scoring, target, mut lines } = self;
        let samples = scoring.lines.iter().map(sample).collect::<Result<Vec<X>>>()?;
        let BoundTarget { plan, base, beside: policy, fit } = BoundTarget::new(target, load)?;
        let mut progress = Progress::new(plan.progress, "score", "samples", samples.len());
        let mut first = 0;
        let same = |one: &StoredLine, next: &StoredLine| one.context == next.context;
        for chunk in scoring.lines.chunk_by(same).flat_map(|lines| lines.chunks(CHUNK)) {
            let context = &chunk[0].context;
            let own: Vec<&X> = samples[first..first + chunk.len()].iter().collect();
            first += chunk.len();
            let log_probs = policy.log_probs(context, &own)?;
            let scored = score_chunk(&plan, &base.base, fit.tilt(), context, &own)?;
            for (index, line) in chunk.iter().enumerate() {
                let named = plan.measures.iter().map(|measure| measure.name.as_str());
                lines.write(&SampleLine {
                    context,
                    index: line.index,
                    sample: own[index],
                    log_prob: log_probs[index],
                    log_base: Some(scored.log_base[index]),
                    log_target: Some(scored.log_target[index]),
                    features: named.zip(scored.values[index].iter().copied()).collect::<BTreeMap<_, _>>(),
                })?;
            }
            progress.advance(chunk.len(), String::new);
        }
        drop(progress);
        lines.finish()
    }
}

/// The sample of a line, with its token ids.
fn sample<X: DeserializeOwned>(line: &StoredLine) -> Result<X> {
    let Some(tokens) = &line.sample.tokens else {
        let problem = "there are no token ids (`tokens` in `sample`), and a target scores samples as they were drawn: `score` without \
                       `--target` finds the ids of a text";
        return Err(line.place.wrong(problem).into());
    };
    let written = json!({"tokens": tokens, "text": line.sample.text, "finished": line.sample.finished});
    Ok(serde_json::from_value(written).map_err(|error| line.place.wrong(error.to_string()))?)
}
