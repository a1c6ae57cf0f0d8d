//! The whole pipeline on a text model whose texts can be listed, so that every answer is known exactly.

use std::{fs, path::Path};

use disco_core::{Estimate, Scorer};
use disco_tuner::{Checkpointed, Policy, SoftmaxTable};
use xtask::{
    BaseModel, Clock, Error, Finished, Loaded, ModelRecord, ProgressTarget, RunControl, RunOptions, RunPlan,
    RunRecord, Spec, TextContext, TextSample, TextScorers, TuneSpec, WEIGHTS, WeightBytes, read_spec,
    run_pipeline, run_workflow,
};

use crate::common::speech::{Speech, base, speeches};

pub(crate) const SPEC: &str = r#"
title = "Kings without swords"
seed = 1
[model]
source = "embedded"
[contexts]
list = ["calm"]
[[features]]
name = "king"
kind = "contains"
text = "king"
mean = 0.5
[[features]]
name = "sword"
kind = "contains"
text = "sword"
never = true
[[features]]
name = "stops"
kind = "count"
text = "."
mean = 0.9
[fit]
samples = 4000
[tune]
steps = 150
samples_per_step = 256
learning_rate = 0.05
[sample]
count = 2000
acceptance_rate = 0.6
"#;

fn spec(changes: &[(&str, &str)]) -> Spec {
    let text = changes.iter().fold(SPEC.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    });
    read_spec("test.toml", &text, Path::new("")).unwrap()
}

fn model() -> ModelRecord {
    ModelRecord { name: "speeches".into(), facts: Default::default() }
}

/// Runs the pipeline; gives the policy too.
fn run(spec: &Spec) -> (Finished<Speech>, SoftmaxTable<TextContext, Speech>) {
    let mut policy = base(&spec.contexts.items);
    let base = policy.freeze().unwrap();
    let plan = RunPlan::new(spec, &TextScorers::new(), ProgressTarget::Hidden).unwrap();
    let finished =
        run_pipeline(&plan, model(), &BaseModel::new(base), &mut policy, &mut Clock::default(), None)
            .unwrap();
    (finished, policy)
}

#[track_caller]
fn near(found: Estimate, exact: f64, what: &str) {
    // Four standard errors: one seed in ten thousand would fail by chance, and the seeds are fixed.
    assert!(
        (found.value - exact).abs() <= 4.0 * found.std_error + 1e-9,
        "{what}: {found:?}, exactly {exact}"
    );
}

#[test]
fn without_tuning_proposals_come_from_the_base() {
    let spec = spec(&[("steps = 150", "steps = 1")]);
    let spec = Spec { tune: TuneSpec { steps: 0, ..spec.tune.clone() }, ..spec };
    let (finished, policy) = run(&spec);
    assert!(finished.record.tuning.is_none());
    let speeches = speeches();
    let texts: Vec<&Speech> = speeches.outcomes().iter().collect();
    let scores = |table: &SoftmaxTable<TextContext, Speech>| {
        table.log_scores(&spec.contexts.items[0], &texts).unwrap()
    };
    assert_eq!(scores(&policy), scores(&base(&spec.contexts.items)));
    let (of_base, proposals) = (finished.record.base.unwrap(), finished.record.policy.unwrap());
    // Other samples of the same distribution.
    let (one, other) = (of_base.means[0], proposals.means[0]);
    assert_ne!(one.value, other.value);
    assert!((one.value - other.value).abs() <= 4.0 * one.std_error.hypot(other.std_error));
    let qrs = finished.record.qrs.unwrap();
    near(qrs.means[1], 0.0, "sword");
    let bias = 2.0 * qrs.total_variation.value;
    assert!((qrs.means[0].value - 0.5).abs() <= bias + 4.0 * qrs.means[0].std_error, "{:?}", qrs.means[0]);
}

#[test]
fn moments_come_where_they_were_asked_on_three_seeds() {
    for seed in [1, 2, 3] {
        let (Finished { record, .. }, _) = run(&spec(&[("seed = 1", &format!("seed = {seed}"))]));
        for feature in record.features() {
            let size = if feature.name == "stops" { 2.0 } else { 1.0 };
            let [tuned, by_qrs] = [feature.tuned, feature.qrs].map(|mean| mean.unwrap().value);
            assert!((tuned - feature.asked.unwrap()).abs() < 0.1 * size, "seed {seed}: {feature:?}");
            assert!((by_qrs - feature.asked.unwrap()).abs() < 0.05 * size, "seed {seed}: {feature:?}");
        }
        let qrs = record.qrs.unwrap();
        assert_eq!(qrs.means[1].value, 0.0, "QRS keeps to what is never to hold");
        assert!((qrs.acceptance_rate.value - 0.6).abs() < 0.05, "{:?}", qrs.acceptance_rate);
    }
}

#[test]
fn every_estimate_agrees_with_the_exact_answer() {
    let spec = spec(&[
        ("[\"calm\"]", "[\"calm\", \"stormy\"]"),
        ("learning_rate", "contexts_per_step = 2\nlearning_rate"),
    ]);
    let (Finished { record, fit }, policy) = run(&spec);
    let (space, start) = (speeches(), base(&spec.contexts.items));
    let base = start.freeze().unwrap();
    let target = fit.target(&base);

    let mut exact = [0.0; 6];
    let mut before = 0.0;
    for (index, context) in spec.contexts.items.iter().enumerate() {
        let p = space.normalise(&target, context).unwrap().probabilities().to_vec();
        let pi = policy.rows()[index].probabilities();
        let a = start.rows()[index].probabilities();
        let sum = |term: &dyn Fn(usize) -> f64| (0..p.len()).map(term).sum::<f64>() / 2.0;
        let kl = |p: f64, q: f64| if p > 0.0 { p * (p / q).ln() } else { 0.0 };
        exact[0] += sum(&|i| kl(p[i], pi[i]));
        exact[1] += sum(&|i| kl(pi[i], p[i]));
        exact[2] += sum(&|i| (p[i] - pi[i]).abs() / 2.0);
        exact[3] += sum(&|i| {
            let middle = (p[i] + pi[i]) / 2.0;
            (kl(p[i], middle) + kl(pi[i], middle)) / 2.0
        });
        exact[4] += sum(&|i| kl(p[i], a[i]));
        exact[5] += sum(&|i| kl(pi[i], a[i]));
        before += sum(&|i| (p[i] - a[i]).abs() / 2.0);
    }
    let (distances, from_base) = (record.distances(), record.kl_from_base());
    assert_eq!((exact[1], distances[1].tuned.unwrap().value), (f64::INFINITY, f64::INFINITY));
    for (index, name) in [(0, "KL(p||pi)"), (2, "TV"), (3, "JS")] {
        near(distances[index].tuned.unwrap(), exact[index], name);
    }
    near(from_base.target.unwrap(), exact[4], "KL(p||a)");
    near(from_base.tuned.unwrap(), exact[5], "KL(pi||a)");
    near(distances[2].base.unwrap(), before, "TV of the base");

    // p_beta = min(P, beta pi) / Z_beta, and the share of proposals that it accepts, Z_beta / beta.
    let qrs = record.qrs.as_ref().unwrap();
    let beta = qrs.log_beta.exp();
    let (mut rate, mut kings) = (0.0, 0.0);
    for (index, context) in spec.contexts.items.iter().enumerate() {
        let outcomes: Vec<&Speech> = space.outcomes().iter().collect();
        let scores = target.log_scores(context, &outcomes).unwrap();
        let pi = policy.rows()[index].probabilities();
        let accepted: Vec<f64> =
            scores.into_iter().zip(pi).map(|(score, pi)| score.unwrap().exp().min(beta * pi)).collect();
        let z: f64 = accepted.iter().sum();
        let king = |speech: &Speech| f64::from(u8::from(speech.text().contains("king")));
        rate += z / beta / 2.0;
        kings += outcomes.iter().zip(&accepted).map(|(one, mass)| king(one) * mass).sum::<f64>() / z / 2.0;
    }
    near(qrs.predicted_rate.unwrap(), rate, "predicted acceptance rate");
    near(qrs.acceptance_rate, rate, "acceptance rate");
    near(qrs.predicted_means[0], kings, "predicted share of kings");
    near(qrs.means[0], kings, "share of kings");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let short = spec(&[
        ("steps = 150", "steps = 5"),
        ("samples = 4000", "samples = 1000"),
        ("count = 2000", "count = 300"),
    ]);
    let without_time =
        |record: RunRecord| RunRecord { stages: Vec::new(), peak_memory_bytes: None, ..record };
    let (first, one) = run(&short);
    let (second, two) = run(&short);
    assert_eq!(without_time(first.record.clone()), without_time(second.record));
    assert_eq!(one.logits(), two.logits());
    let other = Spec { seed: 2, ..short };
    assert_ne!(first.record.base.unwrap().samples, run(&other).0.record.base.unwrap().samples);
}

#[test]
fn the_record_tells_the_whole_run() {
    let (Finished { record, .. }, _) =
        run(&spec(&[("steps = 150", "steps = 3"), ("count = 2000", "count = 500")]));
    let steps = &record.tuning.as_ref().unwrap().steps;
    assert_eq!(steps.len(), 3);
    let step = &steps[2];
    assert_eq!((step.step, step.tokens, step.learning_rate), (3, 3 * 256, 0.05));
    assert_eq!(step.divergences.keys().collect::<Vec<_>>(), ["JS", "KL(p‖π)", "KL(π‖p)", "TV"]);
    assert!(step.moments.iter().all(Option::is_some));
    let (base, policy, qrs) = (record.base.unwrap(), record.policy.unwrap(), record.qrs.unwrap());
    assert_eq!(base.samples.len(), 4000);
    assert_eq!(policy.samples.len(), 500);
    assert_eq!(qrs.samples.len(), qrs.accepted);
    assert_eq!(qrs.proposals, 500);
    assert!(qrs.samples.iter().all(|sample| sample.features[1] == Some(0.0) && sample.context == "calm"));
    let counts = &qrs.by_context_counts;
    assert_eq!((counts.len(), counts[0].proposals, counts[0].accepted), (1, 500, qrs.accepted));
    let target = record.target.unwrap();
    let shares: Vec<f64> = target.heaviest.iter().map(|one| one.share).collect();
    assert!(shares.len() == 10 && shares.is_sorted_by(|one, next| one >= next), "{shares:?}");
    assert!(
        (shares[0] - target.fit.largest_share).abs() < 1e-12,
        "{} {}",
        shares[0],
        target.fit.largest_share
    );
    // The factor of the target is largest for kings, and no sword has a weight.
    let heavy = &target.heaviest[0].sample;
    assert!(heavy.text.contains("king") && heavy.features[1] == Some(0.0) && heavy.context == "calm");
    let names: Vec<&str> = record.stages.iter().map(|stage| &*stage.name).collect();
    assert_eq!(names, ["measure base", "fit", "tune", "sample and score", "reject"]);
    assert_eq!(record.stages[2].tokens, 3 * 3 * 256);
}

/// Runs the workflow into `out`, with weights that are a file of the policy's own.
pub(crate) fn workflow(spec: &Spec, out: &Path) -> xtask::Result<RunRecord> {
    let load = || {
        let policy = base(&[&spec.contexts.items[..], &spec.contexts.held_out].concat());
        Ok(Loaded {
            base: BaseModel::new(policy.freeze()?),
            policy,
            scorers: TextScorers::new(),
            record: model(),
        })
    };
    let save = |policy: &SoftmaxTable<TextContext, Speech>, to: &Path| {
        fs::create_dir(to).map_err(|source| Error::write(to, source))?;
        Ok(policy.save(to)?)
    };
    run_workflow(spec, out, WeightBytes::default(), &RunControl::new(ProgressTarget::Hidden), load, save)
        .map(|(_, record)| record)
}

#[test]
fn a_workflow_leaves_everything_that_a_run_made() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("runs").join("speeches");
    let spec = spec(&[("steps = 150", "steps = 3"), ("count = 2000", "count = 200")]);
    let record = workflow(&spec, &out).unwrap();
    for name in
        ["report.html", "run.toml", "summary.json", "record.json", "samples.jsonl", "target.json", WEIGHTS]
    {
        assert!(out.join(name).exists(), "{name}");
    }
    let mut beside: Vec<_> = fs::read_dir(place.path().join("runs"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    beside.sort();
    assert_eq!(beside, ["speeches", "speeches.checkpoints"]);
    assert!(fs::read_dir(out.join(WEIGHTS)).unwrap().next().is_some());
    let lines = fs::read_to_string(out.join("samples.jsonl")).unwrap().lines().count();
    assert_eq!(lines, 4000 + 200 + record.qrs.unwrap().accepted);
    let saved = disco_ebm::SavedTarget::load(out.join("target.json")).unwrap();
    assert_eq!(saved.feature_names().collect::<Vec<_>>(), ["king", "sword", "stops"]);
    if let Some(copy) = std::env::var_os("DISCO_PIPELINE_REPORT") {
        fs::copy(out.join("report.html"), copy).unwrap();
    }
}

/// Checks that the spec fails with an error that says `expected`, and leaves nothing behind but these.
#[track_caller]
fn check_failure(spec: &Spec, expected: &str, left_over: &[&str]) {
    let place = tempfile::tempdir().unwrap();
    let error = workflow(spec, &place.path().join("runs")).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
    let left: Vec<_> = fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, left_over);
}

#[test]
fn what_cannot_be_had_is_an_error_that_names_it_and_leaves_what_can_be_used_again() {
    check_failure(&spec(&[("text = \"king\"", "text = \"emperor\"")]), "`king`", &["runs.measured.jsonl"]);
    check_failure(&spec(&[("mean = 0.9", "mean = 3.5")]), "`stops`: target 3.5", &["runs.measured.jsonl"]);
    check_failure(
        &spec(&[
            ("never = true", "mean = 0.2"),
            ("acceptance_rate = 0.6", "log_beta = 600.0"),
            ("steps = 150", "steps = 1"),
        ]),
        "ln beta",
        &["runs.measured.jsonl"],
    );
    check_failure(
        &spec(&[("acceptance_rate = 0.6", "acceptance_rate = 0.999"), ("steps = 150", "steps = 1")]),
        "no beta has an acceptance rate of 0.999",
        &["runs.checkpoints"],
    );
}

#[test]
fn a_divergence_that_cannot_have_the_constraints_is_refused_before_anything_is_computed() {
    let options = |name: &str| RunOptions { divergence: Some(name.into()), ..RunOptions::default() };
    let read = |name| options(name).read("test.toml", SPEC, Path::new("")).map_err(|error| error.to_string());
    let error = read("reverse-kl").unwrap_err();
    let expected = "\"reverse-kl\", which is infinite, since `sword` is to hold always or never";
    assert!(error.contains(expected), "{error}");
    assert!(read("forward-kl").is_ok());
    let error = read("kl").unwrap_err();
    assert!(error.contains("forward-kl, reverse-kl"), "{error}");
}

#[test]
fn the_base_is_not_changed_by_tuning() {
    let spec = spec(&[("steps = 150", "steps = 2"), ("count = 2000", "count = 200")]);
    let mut policy = base(&spec.contexts.items);
    let frozen = policy.freeze().unwrap();
    let speech = speeches().outcomes()[0].clone();
    let before = frozen.log_scores(&spec.contexts.items[0], &[&speech]).unwrap();
    let plan = RunPlan::new(&spec, &TextScorers::new(), ProgressTarget::Hidden).unwrap();
    run_pipeline(&plan, model(), &BaseModel::new(frozen.clone()), &mut policy, &mut Clock::default(), None)
        .unwrap();
    assert_eq!(frozen.log_scores(&spec.contexts.items[0], &[&speech]).unwrap(), before);
}
