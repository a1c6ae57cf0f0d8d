//! From a spec and a model to a record: measure the base, fit the target, tune the policy, sample from it,
//! and reject.
//!
//! Nothing here knows of a language model: only of distributions over samples that have a text.

mod clock;
mod fit;
mod reject;
mod scored;
mod step_log;
mod tune;

use disco_core::{Distribution, Estimate, StreamRng};
use disco_divergence::LogZ;
use disco_ebm::{ConstraintReport, Fit};
use disco_qrs::Draw;
use disco_tuner::Policy;
use rand::{Rng, SeedableRng};
use serde::{Serialize, de::DeserializeOwned};

pub use clock::Clock;

pub(crate) use self::scored::draw;
use self::scored::{Scored, feature_mean, mean, means, records, score, size};
use crate::{
    Kept, Progress, ProgressTarget, Result,
    memory::peak_bytes,
    record::{DistanceRecord, FeatureRecord, FromBase, ModelRecord, RunRecord, SampleRecord, Samples},
    spec::{FeatureSpec, Spec, Target},
    text::{Judges, TextFeature, TextSample},
};

/// What a run gives.
#[derive(Debug)]
pub struct Finished<X> {
    /// Everything that was measured.
    pub record: RunRecord,
    /// The fitted target.
    pub fit: Fit<String, X>,
}

/// The random numbers of each stage, so that none depends on how many another has used.
struct Seeds {
    base: u64,
    tune: u64,
    sample: u64,
    reject: u64,
}

impl Seeds {
    fn new(seed: u64) -> Self {
        let mut rng = StreamRng::seed_from_u64(seed);
        let mut next = || rng.next_u64();
        Self { base: next(), tune: next(), sample: next(), reject: next() }
    }
}

/// How the report names the divergences of `scored::DIVERGENCES`.
const NAMES: [(&str, &str); 4] = [
    ("forward KL", "KL(p‖π)"),
    ("reverse KL", "KL(π‖p)"),
    ("total variation", "TV"),
    ("Jensen-Shannon", "JS"),
];

/// Steers `policy`, which starts as `base`, to what the spec asks for.
///
/// `judges` are those of the spec's classifiers. The same spec gives the same record but for seconds and memory,
/// also where tuning goes on from the checkpoints that were `kept`; what comes before it is then computed again.
///
/// # Errors
/// Those of the model, fit, tuner and sampler; [`Error::NothingAccepted`](crate::Error::NothingAccepted).
///
/// # Cost
/// `fit.samples` samples of the base; `tune.steps * tune.samples_per_step` of the policy, scored by the base
/// and differentiated; twice `sample.count` of the tuned policy, scored by the base.
#[expect(clippy::too_many_arguments, reason = "the parts of a run; a struct would serve one call")]
pub fn run_pipeline<X, B, P>(
    spec: &Spec,
    model: ModelRecord,
    judges: &Judges,
    base: &B,
    policy: &mut P,
    clock: &mut Clock,
    target: ProgressTarget,
    kept: Option<&Kept>,
) -> Result<Finished<X>>
where
    X: TextSample + Serialize + DeserializeOwned,
    B: Distribution<String, X>,
    P: Policy<String, X>,
{
    let features: Vec<TextFeature> =
        spec.features.iter().map(|feature| TextFeature::new(feature, judges)).collect::<Result<_>>()?;
    let seeds = Seeds::new(spec.seed);
    let contexts = &spec.contexts;

    let count = spec.per_context(spec.fit.samples);
    let mut progress = Progress::new(target, "measure base", "samples", count * contexts.len());
    let of_base = draw(base, contexts, count, seeds.base, &mut progress)?;
    drop(progress);
    let tokens = of_base.iter().flatten().map(|sample| sample.value.token_count()).sum();
    clock.lap("measure base", count * contexts.len(), tokens);

    let fitted = fit::fit(spec, &features, of_base.clone())?;
    let mut hidden = Progress::new(ProgressTarget::Hidden, "", "", 0);
    let base_scored = score(contexts, of_base, None::<&B>, fitted.tilt(), &mut hidden)?;
    clock.lap("fit", 0, 0);

    let (steps, before) = tune::tune(spec, &features, base, &fitted, policy, seeds.tune, target, kept)?;
    let tokens = steps[before..].iter().map(|step| step.tokens).sum();
    clock.lap("tune", (steps.len() - before) * spec.tune.samples_per_step, tokens);

    let tuned = policy.freeze()?;
    let count = spec.per_context(spec.sample.count);
    let mut progress = Progress::new(target, "sample", "samples", count * contexts.len());
    let of_tuned = draw(&tuned, contexts, count, seeds.sample, &mut progress)?;
    drop(progress);
    let mut progress = Progress::new(target, "score", "samples", count * contexts.len());
    let tuned_scored = score(contexts, of_tuned, Some(base), fitted.tilt(), &mut progress)?;
    drop(progress);
    let (samples, tokens) = size(&tuned_scored);
    clock.lap("sample and score", samples, tokens);

    let planned = reject::plan(spec.sample.qrs, &tuned_scored)?;
    let (draws, qrs) = reject::reject(spec, base, &fitted, &tuned, &planned, seeds.reject, target)?;
    clock.lap("reject", qrs.proposals, 0);

    let record = RunRecord {
        version: env!("CARGO_PKG_VERSION"),
        spec: spec.clone(),
        model,
        features: feature_records(spec, &features, &fitted, &tuned_scored, &draws)?,
        fit: fit::record(spec, &fitted),
        steps,
        distances: distances(&base_scored, &tuned_scored, &planned)?,
        kl_from_base: FromBase {
            target: fitted.report().kl_from_base,
            tuned: kl_from_base(&tuned_scored)?,
            qrs: Some(planned.kl_to_base),
        },
        qrs,
        samples: Samples {
            base: records(contexts, &base_scored, &features)?,
            tuned: records(contexts, &tuned_scored, &features)?,
            qrs: drawn(contexts, &draws, &features)?,
        },
        stages: clock.stages().to_vec(),
        peak_memory_bytes: peak_bytes(),
    };
    Ok(Finished { record, fit: fitted })
}

fn feature_records<X: TextSample>(
    spec: &Spec,
    features: &[TextFeature],
    fitted: &Fit<String, X>,
    tuned: &[Scored<X>],
    draws: &[Draw<X>],
) -> Result<Vec<FeatureRecord>> {
    let mut accepted: Vec<Vec<X>> = spec.contexts.iter().map(|_| Vec::new()).collect();
    draws.iter().for_each(|draw| accepted[draw.context].push(draw.value.clone()));
    let record = |((spec, feature), report): ((&FeatureSpec, &TextFeature), &ConstraintReport)| {
        Ok(FeatureRecord {
            name: spec.name.clone(),
            asked: spec.target.moment(),
            base: report.base,
            tuned: feature_mean(feature, tuned.iter().map(|scored| scored.samples.as_slice()))?,
            qrs: feature_mean(feature, accepted.iter().map(Vec::as_slice))?,
            coefficient: report.coefficient.filter(|_| matches!(spec.target, Target::Mean(_))),
            fitted: report.achieved,
            held_out: report.held_out,
        })
    };
    spec.features.iter().zip(features).zip(&fitted.report().constraints).map(record).collect()
}

/// The samples of quasi-rejection sampling as they are written down.
fn drawn<X: TextSample>(
    contexts: &[String],
    draws: &[Draw<X>],
    features: &[TextFeature],
) -> Result<Vec<SampleRecord>> {
    let values = scored::values(features, &draws.iter().map(|draw| &draw.value).collect::<Vec<_>>())?;
    let record = |(draw, values): (&Draw<X>, Vec<f64>)| {
        scored::record(&contexts[draw.context], &draw.value, draw.log_score, values)
    };
    Ok(draws.iter().zip(values).map(record).collect())
}

fn distances<X: TextSample>(
    base: &[Scored<X>],
    tuned: &[Scored<X>],
    planned: &reject::Planned,
) -> Result<Vec<DistanceRecord>> {
    let of = |contexts: &[Scored<X>]| -> Result<Vec<Estimate>> {
        Ok(means(&contexts.iter().map(Scored::distances_to_target).collect::<Result<Vec<_>>>()?))
    };
    let point = &planned.point;
    let qrs = [point.forward_kl, point.reverse_kl, point.total_variation, point.jensen_shannon];
    let (base, tuned) = (of(base)?, of(tuned)?);
    let row = |(index, (name, formula)): (usize, &(&str, &str))| DistanceRecord {
        name: (*name).into(),
        formula: (*formula).into(),
        base: base[index],
        tuned: tuned[index],
        qrs: Some(qrs[index]),
    };
    Ok(NAMES.iter().enumerate().map(row).collect())
}

fn kl_from_base<X: TextSample>(tuned: &[Scored<X>]) -> Result<Estimate> {
    let kl = |scored: &Scored<X>| scored.kl_to_base(&scored.log_prob, LogZ::Known(0.0));
    Ok(mean(&tuned.iter().map(kl).collect::<Result<Vec<_>>>()?))
}

/// With a capital letter and a full stop.
fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", characters.as_str())
}
